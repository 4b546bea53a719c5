"""core.remembered: what is written is believed, what cannot have been written is not; what a database is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core import remembered
from ckptd.core.ranges import Extents
from ckptd.core.remembered import Age, Soundness
from ckptd.core.response import Validator

OURS = 2
MAGIC = b"SQLite format 3\0"
DEEP = "[" * 100_000

# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "value"),
    [
        pytest.param(remembered.text, None, id="text: nothing"),
        pytest.param(remembered.text, b"a", id="text: bytes"),
        pytest.param(remembered.text, "\udcff", id="text: no UTF-8"),
        pytest.param(remembered.number, -1, id="size: negative"),
        pytest.param(remembered.number, 1.0, id="size: with a point"),
        pytest.param(remembered.number, True, id="size: yes"),
        pytest.param(remembered.number, 2**63, id="size: of no file"),
        pytest.param(remembered.moment, float("nan"), id="time: no number"),
        pytest.param(remembered.moment, -1.0, id="time: negative"),
        pytest.param(remembered.moment, 1e300, id="time: in no calendar"),
        pytest.param(remembered.moment, "1.5e9", id="time: text"),
        pytest.param(remembered.sha256, "a" * 63, id="sha256: too short"),
        pytest.param(remembered.sha256, "A" * 64, id="sha256: not as we write it"),
        pytest.param(remembered.sha256, "a" * 63 + "g", id="sha256: no digit"),
        pytest.param(remembered.file_name, "", id="name: none"),
        pytest.param(remembered.file_name, "..", id="name: the way out"),
        pytest.param(remembered.file_name, "../../etc/passwd", id="name: a path"),
        pytest.param(remembered.file_name, "a\0", id="name: NUL"),
        pytest.param(remembered.validators, "[]", id="validators: a list"),
        pytest.param(remembered.validators, '{"u": 1}', id="validators: a number"),
        pytest.param(remembered.validators, '{"u": {"etag": 1}}', id="validators: of another type"),
        pytest.param(remembered.validators, '{"u": {"etah": "x"}}', id="validators: an unknown field"),
        pytest.param(remembered.validators, '{"u": {"total": -1}}', id="validators: negative"),
        pytest.param(remembered.validators, '{"u": {"settled": "no"}}', id="validators: neither true nor false"),
        pytest.param(remembered.validators, '{"\\udcff": {}}', id="validators: no UTF-8"),
        pytest.param(remembered.witnesses, '[["s", "md5", "0"]]', id="witnesses: half a byte"),
        pytest.param(remembered.witnesses, '[["s", "md5"]]', id="witnesses: a pair"),
        pytest.param(remembered.witnesses, "3", id="witnesses: a number"),
        pytest.param(remembered.labels, "[1]", id="labels: a number"),
        pytest.param(remembered.labels, '"xy"', id="labels: text"),
        pytest.param(remembered.labels, "[", id="labels: torn"),
        pytest.param(remembered.labels, DEEP, id="labels: without an end"),
        pytest.param(remembered.digests, '{"md5": "xy"}', id="digests: no hex"),
        pytest.param(remembered.digests, '{"md5": 7}', id="digests: a number"),
    ],
)
def test_what_cannot_be_is_not_believed(read: Callable[[object], object], value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(value)


@pytest.mark.parametrize(
    ("text", "total", "expected"),
    [
        pytest.param("[]", None, (), id="nothing"),
        pytest.param("[[0, 5], [7, 9]]", 9, ((0, 5), (7, 9)), id="two"),
        pytest.param("[[0, 5]]", None, ((0, 5),), id="of no known size"),
        pytest.param("[[0, 5]]", 4, None, id="past the end"),
        pytest.param("[[-1, 5]]", 9, None, id="before the beginning"),
        pytest.param("[[5, 5]]", 9, None, id="empty"),
        pytest.param("[[5, 2]]", 9, None, id="backwards"),
        pytest.param('[["0", 5]]', 9, None, id="text"),
        pytest.param("[[0, 5, 6]]", 9, None, id="three"),
        pytest.param("[[0, 1e3]]", None, None, id="with a point"),
    ],
)
def test_spans(text: str, total: int | None, expected: tuple[tuple[int, int], ...] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=r"."):
            remembered.spans(text, total)
    else:
        assert remembered.spans(text, total) == Extents(expected)


@pytest.mark.parametrize(
    ("value", "name", "good"),
    [
        ("m/m.bin", "m", True),
        ("m/tree", "m", True),
        ("n/m.bin", "m", False),
        ("m.bin", "m", False),
        ("m/../n/n.bin", "m", False),
        ("m/", "m", False),
        ("/m/m.bin", "m", False),
    ],
)
def test_key(value: str, name: str, good: bool) -> None:
    if good:
        assert remembered.key(value, name) == value
    else:
        with pytest.raises(ValueError, match=r"."):
            remembered.key(value, name)


TEXT = st.text(st.characters(codec="utf-8"), max_size=9)
VALIDATORS = st.builds(Validator, etag=TEXT, settled=st.booleans(), total=st.none() | st.integers(0, 2**40))


@given(st.dictionaries(TEXT, VALIDATORS, max_size=3))
def test_validators_come_back(written: dict[str, Validator]) -> None:
    text = json.dumps({source: asdict(each) for source, each in written.items()})
    assert remembered.validators(text) == written


@given(st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | TEXT)
def test_whatever_it_is_it_raises_nothing_else(text: str) -> None:
    for read in (remembered.validators, remembered.witnesses, remembered.labels, remembered.digests):
        try:
            read(text)
        except ValueError:
            continue


# --- the database ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (0, Age.OLDER),
        (1, Age.OLDER),
        (OURS, Age.OURS),
        (OURS + 1, Age.NEWER),
        (999, Age.NEWER),
        (1000, Age.NOBODY),
        (0x02000002, Age.NOBODY),
        (-1, Age.NOBODY),
    ],
)
def test_age(version: int, expected: Age) -> None:
    assert remembered.age(version, OURS) is expected
    head = MAGIC + bytes(44) + version.to_bytes(4, "big", signed=True) + bytes(36)
    assert remembered.header_age(head, OURS) is expected


def header(**fields: int) -> bytes:
    head = bytearray(MAGIC + bytes(84))
    head[18] = fields.get("write", 2)
    head[19] = fields.get("read", 2)
    head[44:48] = fields.get("format", 4).to_bytes(4, "big")
    head[56:60] = fields.get("encoding", 1).to_bytes(4, "big")
    return bytes(head)


@pytest.mark.parametrize(
    ("head", "good"),
    [
        pytest.param(b"", True, id="nothing yet"),
        pytest.param(header(), True, id="with a log"),
        pytest.param(header(write=1, read=1), True, id="with a journal"),
        pytest.param(header(format=0, encoding=0), True, id="without tables"),
        pytest.param(header()[:99], False, id="cut"),
        pytest.param(b"x" * 100, False, id="something else"),
        pytest.param(header(write=3), False, id="to be read only"),
        pytest.param(header(read=0), False, id="for nobody to read"),
        pytest.param(header(format=5), False, id="a format of the future"),
        pytest.param(header(encoding=2), False, id="UTF-16"),
    ],
)
def test_header_problem(head: bytes, good: bool) -> None:
    assert (remembered.header_problem(head) == "") == good


def test_the_age_of_what_is_no_database() -> None:
    assert remembered.header_age(b"x" * 100, OURS) is Age.NOBODY
    assert remembered.header_age(MAGIC, OURS) is Age.NOBODY


@pytest.mark.parametrize(
    ("size", "unfinished", "doubted", "expected"),
    [
        (remembered.SMALL, False, False, True),
        (remembered.SMALL + 1, False, False, False),
        (remembered.SMALL + 1, True, False, True),
        (remembered.SMALL + 1, False, True, True),
    ],
)
def test_wants_check(size: int, unfinished: bool, doubted: bool, expected: bool) -> None:
    assert remembered.wants_check(size, unfinished=unfinished, doubted=doubted) == expected


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (["ok"], Soundness.SOUND),
        ([], Soundness.SOUND),
        (["row 5 missing from index sqlite_autoindex_files_1"], Soundness.ROWS),
        (["wrong # of entries in index files_by_name", "NULL value in files.size"], Soundness.ROWS),
        (["non-INTEGER value in files.size\nTEXT value in files.size"], Soundness.ROWS),
        (["NULL value in files.size", "Tree 4 page 4: btreeInitPage() returns error code 11"], Soundness.BROKEN),
        (["*** in database main ***\nPage 7: never used"], Soundness.BROKEN),
        (["something that a later SQLite says"], Soundness.BROKEN),
    ],
)
def test_soundness(complaints: list[str], expected: Soundness) -> None:
    assert remembered.soundness(complaints) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("SQLITE_CORRUPT", True),
        ("SQLITE_CORRUPT_INDEX", True),
        ("SQLITE_NOTADB", True),
        ("SQLITE_ERROR", True),
        ("", True),
        ("SQLITE_IOERR_SHORT_READ", True),
        ("SQLITE_IOERR", False),
        ("SQLITE_FULL", False),
        ("SQLITE_BUSY", False),
        ("SQLITE_READONLY", False),
        ("SQLITE_CANTOPEN", False),
    ],
)
def test_is_damage(code: str, expected: bool) -> None:
    assert remembered.is_damage(code) == expected

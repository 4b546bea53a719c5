"""The lock: one text for one content, and no reading of a text that is not whole."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.lock import difference, parse, render
from ckptd.core.models import Lock, LockEntry, Trust
from ckptd.errors import ConfigError

HEX = "0123456789abcdef" * 4
PIECES = f"blake3:16777216:{HEX}"
RESNET = LockEntry(
    "resnet50",
    "https://h/resnet50.tgz",
    123,
    HEX,
    Trust.WITNESSED,
    ("x-goog-hash:crc32c", "x-goog-hash:md5"),
    PIECES,
)
ALPHA = LockEntry("alpha", "gs://b/o", 1, "f" * 64, Trust.FIRST_USE)

TEXT = f"""\
# Written by ckptd; what was proven to be there. `ckptd update NAME` changes a digest.
version = 1

[[checkpoint]]
name = "alpha"
url = "gs://b/o"
size = 1
sha256 = "{"f" * 64}"
trust = "first-use"
witnesses = []

[[checkpoint]]
name = "resnet50"
url = "https://h/resnet50.tgz"
size = 123
sha256 = "{HEX}"
trust = "witnessed"
witnesses = [
    "x-goog-hash:crc32c",
    "x-goog-hash:md5",
]
pieces = "{PIECES}"
"""


def lock_of(*entries: LockEntry) -> Lock:
    return Lock({entry.name: entry for entry in entries})


def test_the_text_is_this_one_whatever_the_order() -> None:
    assert render(lock_of(RESNET, ALPHA)) == TEXT
    assert render(lock_of(ALPHA, RESNET)) == TEXT


def test_it_reads_back() -> None:
    assert parse(TEXT) == lock_of(ALPHA, RESNET)
    assert parse("\ufeff" + TEXT.replace("\n", "\r\n")) == lock_of(ALPHA, RESNET)
    assert parse(render(Lock())) == Lock()


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
ENTRIES = st.builds(
    LockEntry,
    name=NAMES,
    url=TEXTS,
    size=st.integers(1, 2**63 - 1),
    sha256=DIGESTS,
    trust=st.sampled_from(Trust),
    witnesses=st.lists(TEXTS, max_size=3, unique=True).map(tuple),
    pieces=st.none() | DIGESTS.map("blake3:16777216:{}".format),
    revision=st.none() | DIGESTS | DIGESTS.map(lambda text: text[:40]),
)
LOCKS = st.lists(ENTRIES, max_size=4).map(lambda entries: lock_of(*entries))


@settings(deadline=None)
@given(LOCKS)
def test_any_lock_reads_back_and_is_toml(lock: Lock) -> None:
    text = render(lock)
    assert parse(text) == lock
    assert render(parse(text)) == text
    plain = tomllib.loads(text)
    assert [entry["name"] for entry in plain.get("checkpoint", [])] == sorted(lock.entries)


@settings(deadline=None)
@given(st.text())
def test_every_text_is_escaped_so_that_others_can_read_it(url: str) -> None:
    entry = LockEntry("a", url, 1, HEX, Trust.PINNED, (url,))
    (plain,) = tomllib.loads(render(lock_of(entry)))["checkpoint"]
    assert plain["url"] == url
    assert plain["witnesses"] == [url]


def test_a_torn_lock_is_noticed_or_at_least_never_says_anything_else() -> None:
    whole = parse(TEXT).entries
    refused = 0
    for length in range(len(TEXT)):
        try:
            entries = parse(TEXT[:length]).entries
        except ConfigError:
            refused += 1
            continue
        for name, found in entries.items():
            assert (found.size, found.sha256, found.trust) == (
                whole[name].size,
                whole[name].sha256,
                whole[name].trust,
            )
    assert refused > len(TEXT) * 0.8


LINE = {"version": 2, "name": 5, "url": 6, "size": 7, "sha256": 8, "trust": 9, "witnesses": 10}


def with_line(key: str, value: str) -> str:
    lines = TEXT.split("\n")
    lines[LINE[key] - 1] = value
    return "\n".join(lines)


MISTAKES: list[tuple[str, str, list[str]]] = [
    ("", "1", ["empty", "torn"]),
    (" \n\ufeff", "1", ["empty"]),
    ("\x00" * 4096, "1", ["empty"]),
    (TEXT + "\x00" * 10, "23", ["NUL"]),
    (TEXT.split("\n", maxsplit=1)[0], "1", ['"version" is missing', "cut short"]),
    (TEXT.replace("version = 1\n", ""), "1", ['"version" is missing']),
    (with_line("version", "version = true"), "2", ["version"]),
    (with_line("version", "version = 0"), "2", ["version"]),
    (with_line("version", 'version = "1"'), "2", ["version"]),
    (TEXT.replace("[[checkpoint]]", "<<<<<<< HEAD\n[[checkpoint]]", 1), "4", ["merge conflict"]),
    (with_line("version", "version = 1\ntime = 5"), "3", ['unknown key "time"']),
    (
        with_line("url", 'url = "https://h"\nmtime = 5'),
        "7",
        ['[[checkpoint]] "alpha"', 'unknown key "mtime"'],
    ),
    (with_line("name", "# cut"), "4", ["number 1", '"name" is missing']),
    (with_line("url", ""), "4", ['"alpha"', '"url" is missing']),
    (with_line("size", ""), "4", ['"size" is missing']),
    (with_line("sha256", ""), "4", ['"sha256" is missing']),
    (with_line("trust", ""), "4", ['"trust" is missing']),
    (with_line("name", 'name = "resnet50"'), "13", ["name", '"resnet50"', "already has an entry"]),
    (with_line("name", 'name = "../x"'), "5", ["is not a name"]),
    (with_line("url", 'url = ""'), "6", ["url", "empty"]),
    (with_line("url", 'url = "a\\u0000"'), "6", ["control"]),
    (with_line("size", "size = -1"), "7", ["size: -1"]),
    (with_line("size", "size = true"), "7", ["size: true"]),
    (with_line("size", 'size = "1 MB"'), "7", ["whole number"]),
    (with_line("sha256", f'sha256 = "{HEX.upper()}"'), "8", ["lower-case"]),
    (with_line("sha256", f'sha256 = "{HEX}0"'), "8", ["64"]),
    (with_line("sha256", "sha256 = 5"), "8", ["64"]),
    (with_line("trust", 'trust = "first_use"'), "9", ['did you mean "first-use"?']),
    (with_line("trust", "trust = 1"), "9", ['"pinned"']),
    (with_line("witnesses", 'witnesses = "x"'), "10", ["not a list"]),
    (with_line("witnesses", "witnesses = [1]"), "10", ["number 1"]),
    (TEXT.replace("blake3:16777216", "blake3:1048576"), "22", ["blake3:16777216"]),
    (TEXT.replace("blake3:", "sha256:"), "22", ["pieces"]),
    (f'{TEXT}revision = "main"\n', "23", ["revision", "commit"]),
    (f'{TEXT}revision = "{HEX[:39]}"\n', "23", ["revision", "40"]),
    (f'{TEXT}revision = "{"A" * 40}"\n', "23", ["revision", "lower-case"]),
    (f"{TEXT}revision = 5\n", "23", ["revision"]),
    ("version = 1\n[checkpoint]\n", "2", ["two brackets"]),
]


@pytest.mark.parametrize(("text", "line", "parts"), MISTAKES)
def test_a_mistake_is_explained_where_it_stands(text: str, line: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = caught.value.message
    assert message.startswith(f"manifest.lock:{line}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert "version control" in caught.value.hint
    assert "delete the entry" in caught.value.hint


def test_a_newer_lock_asks_for_a_newer_ckptd() -> None:
    with pytest.raises(ConfigError, match="newer ckptd") as caught:
        parse("version = 2\nshape = 'unheard of'\n", "/srv/manifest.lock")
    assert caught.value.message.startswith("/srv/manifest.lock: version 2")
    assert "Upgrade" in caught.value.hint
    assert "delete" not in caught.value.hint


def changed(**values: object) -> LockEntry:
    kept = {key: getattr(RESNET, key) for key in RESNET.__slots__}
    return LockEntry(**(kept | values))


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([RESNET], [RESNET], ()),
        ([], [ALPHA], ("alpha: added, sha256 ffffffffffff.., first-use",)),
        ([ALPHA, RESNET], [RESNET], ("alpha: removed",)),
        (
            [RESNET],
            [changed(sha256="e" * 64, size=5)],
            ("resnet50: sha256 0123456789ab.. -> eeeeeeeeeeee.., size 123 -> 5",),
        ),
        ([RESNET], [changed(trust=Trust.PINNED)], ("resnet50: trust witnessed -> pinned",)),
        (
            [RESNET],
            [changed(url="https://i/f?sig=SECRET")],
            ('resnet50: url "https://h/resnet50.tgz" -> "https://i/f?..."',),
        ),
        (
            [RESNET],
            [changed(witnesses=())],
            ("resnet50: witnesses x-goog-hash:crc32c x-goog-hash:md5 -> none",),
        ),
        ([RESNET], [changed(pieces=None)], ("resnet50: piece digests removed",)),
        ([RESNET], [changed(revision="c" * 40)], ("resnet50: revision none -> cccccccccccc..",)),
        (
            [changed(pieces=None), ALPHA],
            [RESNET],
            ("alpha: removed", "resnet50: piece digests added"),
        ),
    ],
)
def test_difference(old: list[LockEntry], new: list[LockEntry], lines: tuple[str, ...]) -> None:
    assert difference(lock_of(*old), lock_of(*new)) == lines


@settings(deadline=None)
@given(LOCKS, LOCKS)
def test_locks_differ_when_their_texts_do(one: Lock, other: Lock) -> None:
    assert bool(difference(one, other)) == (render(one) != render(other))

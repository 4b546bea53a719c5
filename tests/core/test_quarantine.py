"""What an entry of the quarantine is called, what its report says, which entries go."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.models import Damage, Holder, Usage
from ckptd.core.quarantine import (
    Action,
    Entry,
    Kept,
    Report,
    admit,
    entry_name,
    parse,
    render,
    time_of,
    to_remove,
    unused,
)

SHA256 = "deadbeef" + 56 * "0"
NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC
DAY = 86400.0
REPORT = Report(
    name="resnet50",
    file="resnet50/resnet50.tar.gz",
    expected_size=1000,
    expected_sha256=SHA256,
    expected_pieces="blake3:16777216:" + 64 * "1",
    actual_size=900,
    actual_sha256=64 * "2",
    damage=(Damage(100, 50, "changed", "one bit"), Damage(900, 100, "truncated")),
    cause="truncated",
    summary="The file was cut off at 900 bytes.",
    found_at=NOON + 0.25,
    last_good=NOON - DAY,
    action=Action.REPAIRED,
    history=({"at": 1.5, "verdict": "intact", "holders": [1, {"a": None}]},),
    usage=Usage((Holder(42, "ada", "python train.py", NOON - 60, "open and mapped"),), unseen=3, complete=False),
    kept=(Kept("100-50.bin", 100, 50),),
)

# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "name", "taken", "entry"),
    [
        (0.0, "a", set(), "19700101T000000Z-a-deadbeef"),
        (NOON + 0.9, "resnet50_v1.5-x", set(), "20260101T120000Z-resnet50_v1.5-x-deadbeef"),
        (0.0, "a", {"19700101T000000Z-b-deadbeef"}, "19700101T000000Z-a-deadbeef"),
        (0.0, "a", {"19700101T000000Z-a-deadbeef"}, "19700101T000000Z-a-deadbeef-2"),
        (0.0, "a", {f"19700101T000000Z-a-deadbeef{end}" for end in ("", "-2", "-4")}, "19700101T000000Z-a-deadbeef-3"),
    ],
    ids=["epoch", "dashes and dots", "another's", "taken", "a gap"],
)
def test_what_an_entry_is_called(at: float, name: str, taken: set[str], entry: str) -> None:
    assert unused(entry_name(at, name, SHA256), taken) == entry


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)


@given(
    st.integers(0, 4_000_000_000),
    NAMES,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(0, 3),
)
def test_a_name_tells_when_it_was_made(at: int, name: str, sha256: str, taken: int) -> None:
    names: list[str] = []
    for _ in range(taken + 1):
        names.append(unused(entry_name(at, name, sha256), names))  # each depends on those before
    assert len(set(names)) == len(names)
    assert [time_of(each) for each in names] == [at] * len(names)
    assert all(len(each.encode()) <= 200 for each in names)  # with what is put before it, a file name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "lost+found",
        "20260101T120000Z",
        "20260101T120000Z-deadbeef",
        "20260101T120000Z-a-deadbee",
        "20260101T120000Z-a-DEADBEEF",
        "20260101T120000Z-a-deadbeef-",
        "20260101T120000Z-a-deadbeef/..",
        "20260101T120000Z-../../a-deadbeef",
        "20260101T120000Z-a-deadbeef\n",
        "20260231T120000Z-a-deadbeef",
        "20260101T250000Z-a-deadbeef",
        "00000101T120000Z-a-deadbeef",
        ".keep-00000000-20260101T120000Z-a-deadbeef",
    ],
)
def test_what_is_no_entrys_name(name: str) -> None:
    assert time_of(name) is None


# --- what goes -------------------------------------------------------------------------------------------------------


def entries(*sizes: int) -> list[Entry]:
    """One a day, the oldest first, the last of them now."""
    return [Entry(f"e{number}", size, NOON + (number - len(sizes) + 1) * DAY) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("waiting", "cap", "max_age", "gone"),
    [
        ([], 0, DAY, ()),
        (entries(1, 1, 1), 3, 9 * DAY, ()),
        (entries(1, 1, 1), 2, 9 * DAY, ("e0",)),
        (entries(1, 1, 1), 1, 9 * DAY, ("e0", "e1")),
        (entries(100, 1, 1), 101, 9 * DAY, ("e0",)),
        (entries(1, 100, 1), 100, 9 * DAY, ("e0", "e1")),  # not the large one alone: the oldest first
        (entries(1, 1, 100), 10, 9 * DAY, ("e0", "e1")),  # nobody has seen the newest yet
        (entries(1, 1, 1), 99, 1 * DAY, ("e0",)),  # of exactly that age may stay
        (entries(1, 1, 1), 2, 1 * DAY, ("e0",)),
        (entries(5), 99, -1.0, ("e0",)),  # the newest too goes when it is old
        (list(reversed(entries(1, 1, 1))), 1, 9 * DAY, ("e0", "e1")),
        ([Entry("b", 1, NOON), Entry("a", 1, NOON)], 1, DAY, ("a",)),
        ([Entry("a", 9, NOON + 99 * DAY), Entry("b", 1, NOON)], 9, DAY, ("b",)),  # the clock was wrong
        (entries(0, 0, 0), 0, 9 * DAY, ()),
    ],
)
def test_which_entries_go(waiting: list[Entry], cap: int, max_age: float, gone: tuple[str, ...]) -> None:
    assert to_remove(waiting, cap=cap, max_age=max_age, now=NOON) == gone


@given(
    st.lists(st.builds(Entry, st.uuids().map(str), st.integers(0, 50), st.integers(0, 40).map(float)), unique=True),
    st.integers(0, 100),
    st.integers(0, 40),
    st.integers(0, 60),
)
def test_what_stays_is_within_both_limits(waiting: list[Entry], cap: int, max_age: int, now: int) -> None:
    gone = to_remove(waiting, cap=cap, max_age=max_age, now=now)
    stays = [entry for entry in waiting if entry.name not in gone]
    left = [entry for entry in waiting if entry.name in gone]
    assert len(left) == len(gone) == len(set(gone))
    assert all(now - entry.at <= max_age for entry in stays)
    if all(admit(entry.bytes, cap) for entry in waiting):
        assert sum(entry.bytes for entry in stays) <= cap
    assert len(stays) <= 1 or sum(entry.bytes for entry in stays) <= cap
    assert all(old.at <= young.at for old in left for young in stays)
    # and none that could have stayed
    if left:
        last = max(left, key=lambda entry: (entry.at, entry.name))
        assert now - last.at > max_age or last.bytes + sum(entry.bytes for entry in stays) > cap
    assert to_remove(stays, cap=cap, max_age=max_age, now=now) == ()


@pytest.mark.parametrize(("count", "cap", "may"), [(0, 0, True), (5, 5, True), (6, 5, False), (1, 0, False)])
def test_what_is_let_in(count: int, cap: int, may: bool) -> None:
    assert admit(count, cap) is may


# --- reports ---------------------------------------------------------------------------------------------------------


def test_a_report_says_it_in_these_words() -> None:
    assert json.loads(render(REPORT)) == {
        "schema": 1,
        "name": "resnet50",
        "file": "resnet50/resnet50.tar.gz",
        "expected": {"size": 1000, "sha256": SHA256, "pieces": "blake3:16777216:" + 64 * "1"},
        "actual": {"size": 900, "sha256": 64 * "2"},
        "damage": [
            {"offset": 100, "length": 50, "verdict": "changed", "detail": "one bit"},
            {"offset": 900, "length": 100, "verdict": "truncated", "detail": ""},
        ],
        "cause": "truncated",
        "summary": "The file was cut off at 900 bytes.",
        "found_at": "2026-01-01T12:00:00.250Z",
        "last_good": "2025-12-31T12:00:00.000Z",
        "history": [{"at": 1.5, "verdict": "intact", "holders": [1, {"a": None}]}],
        "holders": [
            {
                "pid": 42,
                "user": "ada",
                "command": "python train.py",
                "since": "2026-01-01T11:59:00.000Z",
                "how": "open and mapped",
            }
        ],
        "holders_unseen": 3,
        "holders_complete": False,
        "kept": [{"file": "100-50.bin", "offset": 100, "length": 50}],
        "action": "repaired",
    }


def test_no_secret_gets_into_a_report() -> None:
    url = "https://user:hunter2@example.org/x?X-Amz-Signature=hunter2"
    report = replace(
        REPORT,
        cause=f"from {url}",
        summary=f"see {url}",
        damage=(Damage(0, 1, "html", f"holds {url}"),),
        usage=Usage((Holder(1, "ada", f"curl {url}", NOON, "open"),)),
    )
    assert "hunter2" not in render(report)
    assert render(report).count("https://example.org/x?...") == 4


COUNTS = st.integers(0, 2**63 - 1)
# No URL, which would come back redacted.
TEXTS = st.text(st.characters(exclude_characters=":?&"), max_size=20)
MOMENTS = st.integers(0, 4_000_000_000_000).map(lambda number: number / 1000)
JSON = st.recursive(
    st.none() | st.booleans() | COUNTS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)
REPORTS = st.builds(
    Report,
    name=TEXTS,
    file=TEXTS,
    expected_size=COUNTS,
    expected_sha256=TEXTS,
    expected_pieces=st.none() | TEXTS,
    actual_size=st.none() | COUNTS,
    actual_sha256=st.none() | TEXTS,
    damage=st.lists(st.builds(Damage, COUNTS, COUNTS, TEXTS, TEXTS), max_size=3).map(tuple),
    cause=TEXTS,
    summary=TEXTS,
    found_at=MOMENTS,
    last_good=st.none() | MOMENTS,
    action=st.sampled_from(Action),
    history=st.lists(st.dictionaries(TEXTS, JSON, max_size=3), max_size=3).map(tuple),
    usage=st.builds(
        Usage,
        st.lists(st.builds(Holder, COUNTS, TEXTS, TEXTS, MOMENTS, TEXTS), max_size=3).map(tuple),
        COUNTS,
        st.booleans(),
    ),
    kept=st.lists(st.builds(Kept, TEXTS, COUNTS, COUNTS), max_size=3).map(tuple),
)


@given(REPORTS)
def test_what_was_written_is_read_back(report: Report) -> None:
    assert parse(render(report)) == report


def test_keys_of_a_later_version_are_passed_over() -> None:
    content = json.loads(render(REPORT)) | {"weather": "fine"}
    content["damage"][0]["colour"] = "red"
    assert parse(json.dumps(content)) == REPORT


def damaged(path: str, value: object) -> str:
    """The report with another value at `path`; a key of it taken out when that is `...`."""
    content = json.loads(render(REPORT))
    *folders, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = content
    for each in folders:
        place = place[each]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("null", "the report is not an object"),
        ("[]", "the report is not an object"),
        ("[" * 100_000, "nested too deep"),
        (damaged("schema", ...), "schema is not a whole number"),
        (damaged("schema", 2), "schema 2 was written by another ckptd"),
        (damaged("name", None), "name is not a text"),
        (damaged("expected", None), "expected is not an object"),
        (damaged("expected.size", -1), "size is not a whole number"),
        (damaged("expected.size", True), "size is not a whole number"),
        (damaged("expected.size", 1.5), "size is not a whole number"),
        (damaged("actual.sha256", 5), "sha256 is not a text"),
        (damaged("damage", {}), "damage is not a list"),
        (damaged("damage.0", "x"), "damage is not an object"),
        (damaged("damage.1.offset", "0"), "offset is not a whole number"),
        (damaged("found_at", "yesterday"), "found_at is not a time"),
        (damaged("found_at", "2026-01-01T12:00:00.000"), "found_at is not a time"),
        (damaged("last_good", 5), "last_good is not a time"),
        (damaged("history", [1]), "history is not an object"),
        (damaged("holders.0.since", None), "since is not a time"),
        (damaged("holders_complete", 1), "holders_complete is neither true nor false"),
        (damaged("action", "eaten"), "'eaten' is not a valid Action"),
    ],
)
def test_what_is_no_report(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


@pytest.mark.parametrize("path", ["expected.pieces", "actual.size", "actual.sha256", "last_good"])
@pytest.mark.parametrize("value", [None, ...], ids=["null", "left out"])
def test_what_may_be_unknown(path: str, value: object) -> None:
    parse(damaged(path, value))


def test_what_was_taken_away_goes_by_its_age_alone() -> None:
    entries = [Entry("held", 90, 1.0, held=True), Entry("copy", 60, 2.0), Entry("another", 50, 3.0)]
    assert to_remove(entries, cap=100, max_age=100.0, now=10.0) == ("copy",)
    assert to_remove(entries, cap=100, max_age=8.5, now=10.0) == ("held", "copy")

"""Does an origin still serve what is locked: every row of the decision, the second answer, several sources, trust."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.drift import (
    Answer,
    Evidence,
    Known,
    State,
    Verdict,
    confirmed,
    judge,
    locked_facts,
    origin_facts,
    overall,
    pairs,
    promoted,
    stale,
    vouchers,
)
from ckptd.core.models import LockEntry, Trust, Witness
from ckptd.core.response import Validator

OURS = {"sha256": b"\1" * 32, "sha512": b"\2" * 64, "md5": b"\3" * 16, "crc32c": b"\4" * 4}
MONDAY, TUESDAY = "Mon, 06 Jan 2020 00:00:00 GMT", "Tue, 07 Jan 2020 00:00:00 GMT"
FETCHED, NOW = 1_600_000_000.0, 1_600_100_000.0

STRONG = Validator(etag='"v1"', last_modified=TUESDAY, settled=True, total=7)
WEAK = replace(STRONG, etag='W/"v1"')
DATED = replace(STRONG, etag="")
NUMBERED = replace(STRONG, generation="1700000000000001")
VERSIONED = replace(STRONG, version="abc")
PLAIN = Known("m.tar.gz", 7, {"sha256": OURS["sha256"]}, STRONG, FETCHED)
RICH = replace(PLAIN, digests=OURS)
LOST = replace(PLAIN, validator=None, fetched_at=None)

SAME, CHANGED, GONE, UNKNOWN = State.SAME, State.CHANGED, State.GONE, State.UNKNOWN


def said(validator: Validator, *witnesses: Witness, size: int | None = 7, **more: object) -> Answer:
    """A 200 whose Content-Length is `size`."""
    answer = Answer(200, size, replace(validator, total=size), witnesses, "application/gzip")
    return replace(answer, **more)  # type: ignore[arg-type]  # fields of Answer, spelled by the rows below


def right(algorithm: str, source: str = "repr-digest") -> Witness:
    return Witness(f"{source}:{algorithm}", algorithm, OURS[algorithm])


def wrong(algorithm: str, source: str = "repr-digest") -> Witness:
    return Witness(f"{source}:{algorithm}", algorithm, b"\7" * len(OURS[algorithm]))


def knowing(validator: Validator | None) -> Known:
    return replace(PLAIN, validator=validator)


NEW = replace(STRONG, etag='"v2"', last_modified="Wed, 08 Jan 2020 00:00:00 GMT")
OLD = replace(STRONG, etag='"v0"', last_modified=MONDAY)
DIGEST, SIZE, ETAG, NONE = Evidence.DIGEST, Evidence.SIZE, Evidence.ETAG, Evidence.NONE
WEAKLY, DATE = Evidence.WEAK_ETAG, Evidence.DATE

ROWS: dict[str, tuple[Known, Answer, State, Evidence]] = {
    # digests decide before everything else
    "sha256 is ours": (PLAIN, said(STRONG, right("sha256")), SAME, DIGEST),
    "sha256 is ours, all else is new": (PLAIN, said(NEW, right("sha256")), SAME, DIGEST),
    "sha256 is ours, length is not": (PLAIN, said(NEW, right("sha256"), size=9), SAME, DIGEST),
    "sha256 is another": (PLAIN, said(NEW, wrong("sha256")), CHANGED, DIGEST),
    "sha256 is another, all else is old": (PLAIN, said(STRONG, wrong("sha256")), CHANGED, DIGEST),
    "sha256 without record": (LOST, said(NEW, right("sha256")), SAME, DIGEST),
    "another sha256 without record": (LOST, said(NEW, wrong("sha256")), CHANGED, DIGEST),
    "sha512 is ours": (RICH, said(NEW, right("sha512")), SAME, DIGEST),
    "crc32c is ours": (RICH, said(NEW, right("crc32c")), SAME, DIGEST),
    "crc32c is ours, length is not": (RICH, said(NEW, right("crc32c"), size=9), CHANGED, SIZE),
    "md5 is another": (RICH, said(NEW, wrong("md5")), CHANGED, DIGEST),
    "sha256 is ours, md5 is not": (RICH, said(NEW, right("sha256"), wrong("md5")), SAME, DIGEST),
    "md5 is ours, sha256 is not": (RICH, said(NEW, right("md5"), wrong("sha256")), CHANGED, DIGEST),
    "crc32c is ours, md5 is not": (RICH, said(NEW, right("crc32c"), wrong("md5")), UNKNOWN, DIGEST),
    "two sha256": (PLAIN, said(NEW, right("sha256"), wrong("sha256")), UNKNOWN, DIGEST),
    "crc32c that we have not": (PLAIN, said(NEW, wrong("crc32c")), CHANGED, ETAG),
    "crc32c that we have not, same ETag": (PLAIN, said(STRONG, wrong("crc32c")), SAME, ETAG),
    # size
    "longer": (PLAIN, said(STRONG, size=8), CHANGED, SIZE),
    "shorter, without record": (LOST, said(STRONG, size=6), CHANGED, SIZE),
    "as long, without record": (LOST, said(STRONG), UNKNOWN, NONE),
    "no size, without record": (LOST, said(STRONG, size=None), UNKNOWN, NONE),
    "empty, asked for its first byte": (replace(LOST, size=0), said(NEW, size=0, status=416), UNKNOWN, NONE),
    "no longer empty": (replace(LOST, size=0), said(NEW, size=3, status=206), CHANGED, SIZE),
    # names for bytes
    "same generation": (knowing(NUMBERED), said(NUMBERED), SAME, Evidence.GENERATION),
    "same generation, new ETag": (knowing(NUMBERED), said(replace(NUMBERED, etag='"m2"')), SAME, Evidence.GENERATION),
    "higher generation": (
        knowing(replace(NUMBERED, etag="")),
        said(replace(NUMBERED, generation="1700000000000002", etag="")),
        CHANGED,
        Evidence.GENERATION,
    ),
    "higher generation, same ETag": (
        knowing(NUMBERED),
        said(replace(NUMBERED, generation="1700000000000002")),
        SAME,
        ETAG,
    ),
    "lower generation is old news, not news": (
        knowing(NUMBERED),
        said(replace(NUMBERED, generation="1600000000000001", etag='"v0"')),
        UNKNOWN,
        ETAG,
    ),
    "same version id": (knowing(VERSIONED), said(replace(VERSIONED, etag='"x"')), SAME, Evidence.VERSION),
    "another version id": (
        knowing(replace(VERSIONED, etag="")),
        said(replace(VERSIONED, version="abd", etag="")),
        CHANGED,
        Evidence.VERSION,
    ),
    "same strong ETag": (PLAIN, said(STRONG), SAME, ETAG),
    "same strong ETag, no size": (PLAIN, said(STRONG, size=None), SAME, ETAG),
    "same strong ETag, new date": (PLAIN, said(replace(NEW, etag='"v1"')), SAME, ETAG),
    "another strong ETag": (PLAIN, said(NEW), CHANGED, ETAG),
    "another strong ETag, same date": (PLAIN, said(replace(STRONG, etag='"v2"')), CHANGED, ETAG),
    # metadata
    "same weak ETag": (knowing(WEAK), said(WEAK), SAME, WEAKLY),
    "same weak ETag, no size": (knowing(replace(WEAK, last_modified="")), said(WEAK, size=None), UNKNOWN, NONE),
    "strong ETag turned weak": (PLAIN, said(WEAK), SAME, WEAKLY),
    "another weak ETag": (knowing(WEAK), said(replace(WEAK, etag='W/"v2"')), UNKNOWN, WEAKLY),
    "strong ETag turned weak and new": (PLAIN, said(replace(WEAK, etag='W/"v2"')), UNKNOWN, WEAKLY),
    "same date": (knowing(DATED), said(DATED), SAME, DATE),
    "another date": (knowing(DATED), said(replace(DATED, last_modified=MONDAY)), UNKNOWN, DATE),
    "same date, no size": (knowing(DATED), said(DATED, size=None), UNKNOWN, NONE),
    "nothing in common": (knowing(DATED), said(replace(STRONG, last_modified="")), UNKNOWN, NONE),
    # caches on the way
    "older, from a cache": (PLAIN, said(OLD, age=60, cached=True), UNKNOWN, ETAG),
    "older and longer, from a cache": (PLAIN, said(OLD, size=9, age=60, cached=True), UNKNOWN, SIZE),
    "older digest, from a cache": (PLAIN, said(OLD, wrong("sha256"), age=60, cached=True), UNKNOWN, DIGEST),
    "older, not from a cache": (PLAIN, said(OLD), CHANGED, ETAG),
    "newer, from a cache": (PLAIN, said(NEW, age=60, cached=True), CHANGED, ETAG),
    "undated, in a cache since before our fetch": (
        PLAIN,
        said(replace(NEW, last_modified=""), age=int(NOW - FETCHED) + 60, cached=True),
        UNKNOWN,
        ETAG,
    ),
    "undated, in a cache since after our fetch": (
        PLAIN,
        said(replace(NEW, last_modified=""), age=60, cached=True),
        CHANGED,
        ETAG,
    ),
    "same, from a cache": (PLAIN, said(STRONG, age=9999, cached=True), SAME, ETAG),
    # answers that are not of the file
    "a page": (PLAIN, said(NEW, size=900, content_type="text/html; charset=utf-8"), UNKNOWN, NONE),
    "a media type that was always wrong": (PLAIN, said(STRONG, content_type="text/html"), SAME, ETAG),
    "coded though not asked for": (PLAIN, said(NEW, size=None, coding="gzip"), UNKNOWN, ETAG),
    "404": (PLAIN, said(NEW, status=404), GONE, NONE),
    "410": (PLAIN, said(NEW, status=410), GONE, NONE),
    "401": (PLAIN, said(NEW, status=401), UNKNOWN, NONE),
    "403": (PLAIN, said(NEW, wrong("sha256"), status=403), UNKNOWN, NONE),
    "416 without a size": (PLAIN, said(NEW, size=None, status=416), UNKNOWN, NONE),
    "429": (PLAIN, said(NEW, status=429), UNKNOWN, NONE),
    "500": (PLAIN, said(NEW, status=500), UNKNOWN, NONE),
    "304": (PLAIN, said(STRONG, status=304), UNKNOWN, NONE),
    "no answer": (PLAIN, Answer(error="h: connection refused"), UNKNOWN, NONE),
}


@pytest.mark.parametrize("row", ROWS)
def test_decision(row: str) -> None:
    known, answer, state, evidence = ROWS[row]
    verdict = judge(known, answer, NOW)
    assert (verdict.state, verdict.evidence) == (state, evidence), verdict
    assert verdict.reason


@given(
    st.sampled_from([PLAIN, RICH, LOST, *(row[0] for row in ROWS.values())]),
    st.sampled_from([row[1] for row in ROWS.values()]),
)
def test_an_alarm_or_calm_stands_on_evidence(known: Known, answer: Answer) -> None:
    """Whatever is known and whatever is said: no verdict that could be acted on without something behind it."""
    verdict = judge(known, answer, NOW)
    assert (verdict.state in {SAME, CHANGED}) <= (verdict.evidence is not NONE)
    assert verdict.decisive == (verdict.evidence is not NONE)
    if verdict.state is CHANGED:
        assert verdict.evidence not in {WEAKLY, DATE}


def test_the_kind_of_an_error_is_that_of_what_failed() -> None:
    assert judge(PLAIN, Answer(error="x", kind="policy", hint="y"), NOW) == Verdict(
        UNKNOWN, "x", kind="policy", hint="y"
    )
    assert judge(PLAIN, said(NEW, status=500), NOW).kind == "origin"


def test_rewritten_with_the_same_bytes_is_noted() -> None:
    (note,) = judge(PLAIN, said(NEW, right("sha256")), NOW).notes
    assert "rewritten with the same bytes" in note
    assert "etag" in note
    assert "last-modified" in note
    assert judge(PLAIN, said(STRONG, right("sha256")), NOW).notes == ()
    (note,) = judge(knowing(NUMBERED), said(replace(NUMBERED, etag='"m2"')), NOW).notes
    assert "only its metadata changed" in note


def test_a_witness_that_contradicts_itself_is_noted() -> None:
    """The same generation and ETag, and yet another digest than the one that agreed."""
    (note,) = judge(RICH, said(STRONG, wrong("md5", "x-goog-hash")), NOW).notes
    assert "x-goog-hash:md5" in note
    assert "same version" in note
    assert judge(RICH, said(NEW, wrong("md5")), NOW).notes == ()
    assert judge(replace(RICH, validator=None), said(STRONG, wrong("md5")), NOW).notes == ()
    (note,) = judge(RICH, said(STRONG, right("sha256"), wrong("md5")), NOW).notes
    assert "md5 differs" in note


def test_only_a_cache_makes_an_older_date_stale() -> None:
    assert stale(PLAIN, said(OLD, cached=True), NOW)
    assert not stale(PLAIN, said(OLD), NOW)
    assert not stale(PLAIN, said(NEW, cached=True, age=int(NOW)), NOW)  # newer than ours, however old
    assert not stale(LOST, said(OLD, cached=True, age=int(NOW)), NOW)
    assert not stale(PLAIN, said(replace(OLD, last_modified="yesterday"), cached=True, age=1), NOW)


# ---- the second answer

BIGGER = said(replace(STRONG, etag='"v2"'), size=9)
SECOND: dict[str, tuple[Answer, Answer, State]] = {
    "the same again": (BIGGER, BIGGER, CHANGED),
    "less, but the same": (BIGGER, replace(BIGGER, validator=Validator(total=9)), CHANGED),
    "what is locked": (BIGGER, said(STRONG), UNKNOWN),
    "a third version": (BIGGER, said(replace(STRONG, etag='"v3"'), size=9), UNKNOWN),
    "a third size": (BIGGER, replace(BIGGER, size=10), UNKNOWN),
    "a third digest": (said(NEW, wrong("sha256")), said(NEW, Witness("x", "sha256", b"\6" * 32)), UNKNOWN),
    "an old copy": (BIGGER, said(OLD, cached=True, age=3), UNKNOWN),
    "gone": (BIGGER, said(NEW, status=404), UNKNOWN),
    "no answer": (BIGGER, Answer(error="h: no answer in time"), UNKNOWN),
}


@pytest.mark.parametrize(
    ("answer", "calm"),
    [
        (said(OLD, cached=True, age=3), True),
        (said(replace(DATED, last_modified="Wed, 08 Jan 2020 00:00:00 GMT")), True),
        (Answer(error="h: no answer in time"), False),
        (said(NEW, status=500), False),
        (Answer(status=200), False),
    ],
)
def test_what_calls_nobody(answer: Answer, calm: bool) -> None:
    """An old copy in a cache, or another date alone, is neither drift nor a failure."""
    known = replace(PLAIN, validator=DATED) if answer.validator.etag == "" else PLAIN
    verdict = judge(known, answer, NOW)
    assert (verdict.state, verdict.exit_status == 0) == (UNKNOWN, calm)


@pytest.mark.parametrize("row", SECOND)
def test_a_change_is_said_twice(row: str) -> None:
    first, second, state = SECOND[row]
    assert judge(PLAIN, first, NOW).state is CHANGED
    verdict = confirmed(PLAIN, first, second, NOW)
    assert verdict.state is state
    assert (state is CHANGED) == ("disagree" not in verdict.reason)


# ---- several sources

_SAME = Verdict(SAME, "its ETag", ETAG)
_CHANGED = Verdict(CHANGED, "it has 9 bytes", SIZE)
_GONE = Verdict(GONE, "answered 404")
_DOWN = Verdict(UNKNOWN, "connection refused", kind="network")
_VAGUE = Verdict(UNKNOWN, "only its date changed", DATE)

SEVERAL: dict[str, tuple[list[Verdict], int, State]] = {
    "one": ([_CHANGED], 0, CHANGED),
    "the first that answers": ([_DOWN, _SAME], 1, SAME),
    "a mirror does not hide a change": ([_CHANGED, _SAME], 0, CHANGED),
    "gone, and a mirror has it": ([_GONE, _SAME], 1, SAME),
    "gone, and a mirror has another": ([_GONE, _CHANGED], 1, CHANGED),
    "gone everywhere": ([_GONE, _GONE], 0, GONE),
    "gone, and a mirror is down": ([_GONE, _DOWN], 1, UNKNOWN),
    "down, and gone from the mirror": ([_DOWN, _GONE], 0, UNKNOWN),
    "all down": ([_DOWN, _DOWN], 0, UNKNOWN),
    "vague, and a mirror has it": ([_VAGUE, _SAME], 0, UNKNOWN),
}


@pytest.mark.parametrize("row", SEVERAL)
def test_several_sources(row: str) -> None:
    verdicts, index, state = SEVERAL[row]
    spoke, verdict = overall([(f"s{number}", each) for number, each in enumerate(verdicts)])
    assert (spoke, verdict.state) == (index, state)
    assert len(verdict.notes) == len(verdicts) - 1
    assert all(not note.startswith(f"s{index}") for note in verdict.notes)
    if _SAME in verdicts and state is not SAME:
        assert verdict.notes == ("s1 still serves what is locked",)


# ---- what is shown


def test_old_stands_beside_new() -> None:
    answer = said(replace(NEW, generation="2"), wrong("md5", "x-goog-hash"))
    rows = pairs(locked_facts(RICH), origin_facts(answer))
    assert rows == (
        ("size", "7 bytes", "7 bytes"),
        ("md5", "03" * 16, "07" * 16),
        ("etag", '"v1"', '"v2"'),
        ("generation", "", "2"),
        ("last-modified", TUESDAY, "Wed, 08 Jan 2020 00:00:00 GMT"),
    )


def test_what_a_server_says_is_shown_short_and_without_secrets() -> None:
    shown = origin_facts(said(Validator(etag='"https://h/x?Signature=SECRET"', version="v" * 9999)))
    assert "SECRET" not in shown.etag
    assert len(shown.version) == 200


# ---- trust

ENTRY = LockEntry("m", "https://h/m.tar.gz", 7, OURS["sha256"].hex(), Trust.FIRST_USE)


@pytest.mark.parametrize(
    ("trust", "had", "labels", "becomes"),
    [
        (Trust.FIRST_USE, (), ("x:md5",), Trust.WITNESSED),
        (Trust.FIRST_USE, (), (), Trust.FIRST_USE),
        (Trust.WITNESSED, ("a:md5",), ("x:md5",), Trust.WITNESSED),
        (Trust.WITNESSED, ("a:md5",), (), Trust.WITNESSED),
        (Trust.PINNED, ("manifest-sha256",), ("x:md5",), Trust.PINNED),
    ],
)
def test_promotion(trust: Trust, had: tuple[str, ...], labels: tuple[str, ...], becomes: Trust) -> None:
    entry = replace(ENTRY, trust=trust, witnesses=had, pieces="blake3")
    after = promoted(entry, labels)
    assert after == replace(entry, trust=becomes, witnesses=tuple(sorted({*had, *labels})))


def test_who_vouches() -> None:
    agreeing = said(NEW, right("sha256"), right("md5", "x-goog-hash"))
    assert vouchers(RICH, [agreeing, said(NEW)]) == ("repr-digest:sha256", "x-goog-hash:md5")
    assert vouchers(PLAIN, [agreeing]) == ("repr-digest:sha256",)
    assert vouchers(RICH, [agreeing, said(NEW, wrong("crc32c"))]) == ()
    assert vouchers(RICH, []) == ()

"""What an answer means: every row of the tables in research/origins.md 4.1 and 4.2, and never a splice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.response import (
    Asked,
    Changed,
    Complete,
    Head,
    Ignored,
    Misfit,
    Refused,
    Sameness,
    Take,
    Validator,
    Verdict,
    WantRaw,
    compare,
    judge,
    validator_of,
)
from ckptd.core.retry import Failure

Lines = tuple[tuple[str, str], ...]
TAG, OTHER = ("etag", '"v1"'), ("etag", '"v2"')
MODIFIED = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")
DATE = ("date", "Thu, 02 Jan 2020 00:00:00 GMT")
V1 = Validator(etag='"v1"', total=1000)
# The usual question: 100 bytes from the middle of an object of which a part is here.
ASKED = Asked(100, 200, ranged=True, known=V1, total=1000)
OPEN_END = replace(ASKED, end=None)
NO_TOTAL = replace(ASKED, known=Validator(etag='"v1"'), total=None)
UNVALIDATED = replace(ASKED, known=Validator(total=1000))
GAMBLE = replace(UNVALIDATED, digest_known=True)
FIRST = Asked()
RAW = Asked(raw=True)
NAMED = Asked(file_name="a.tar.GZ")
PROMISED = Asked(digest_known=True, file_name="a.bin")
GZIP, LONG = ("content-encoding", "gzip"), ("content-length", "900")
STORED = "x-goog-stored-content-encoding"
PINNED = replace(ASKED, pinned_version=True)


def part(text: str, *more: tuple[str, str]) -> Lines:
    """Headers of a part of version 1."""
    return (("content-range", text), TAG, *more)


# what was asked, status, headers -> the kind of verdict, and where its bytes go: (start, length, total)
ROWS: dict[str, tuple[Asked, int, Lines, type[Verdict], tuple[int, int | None, int | None] | None]] = {
    # 4.1, first row: exactly what was asked, or the beginning of it
    "206, exactly": (ASKED, 206, part("bytes 100-199/1000", ("content-length", "100")), Take, (100, 100, 1000)),
    "206, no Content-Length": (ASKED, 206, part("bytes 100-199/1000"), Take, (100, 100, 1000)),
    "206, a subset (a server may cap)": (ASKED, 206, part("bytes 100-149/1000"), Take, (100, 50, 1000)),
    "206, open end": (OPEN_END, 206, part("bytes 100-999/1000"), Take, (100, 900, 1000)),
    "206, identity coding": (
        ASKED,
        206,
        part("bytes 100-199/1000", ("content-encoding", "Identity")),
        Take,
        (100, 100, 1000),
    ),
    "206, Content-Length of the whole": (
        ASKED,
        206,
        part("bytes 100-199/1000", ("content-length", "1000")),
        Misfit,
        None,
    ),
    "206, one byte more than asked": (ASKED, 206, part("bytes 100-200/1000"), Misfit, None),
    "206, coded": (ASKED, 206, part("bytes 100-199/1000", ("content-encoding", "gzip")), Misfit, None),
    # The next rows
    "206, aligned to a block before": (ASKED, 206, part("bytes 64-199/1000"), Misfit, None),
    "206, the whole for a part": (ASKED, 206, part("bytes 0-999/1000"), Misfit, None),
    "206, later than asked": (ASKED, 206, part("bytes 101-199/1000"), Misfit, None),
    "206, other unit": (ASKED, 206, part("items 100-199/1000"), Misfit, None),
    "206, with =": (ASKED, 206, part("bytes=100-199/1000"), Misfit, None),
    "206, two lines": (ASKED, 206, part("bytes 100-199/1000", ("content-range", "bytes 0-9/1000")), Misfit, None),
    "206, the same line twice": (
        ASKED,
        206,
        part("bytes 100-199/1000", ("content-range", "bytes 100-199/1000")),
        Misfit,
        None,
    ),
    "206, no Content-Range": (ASKED, 206, (TAG, ("content-length", "100")), Misfit, None),
    "206, backwards": (ASKED, 206, part("bytes 199-100/1000"), Misfit, None),
    "206, beyond its own total": (OPEN_END, 206, part("bytes 100-1000/1000"), Misfit, None),
    "206, says unsatisfied": (ASKED, 206, part("bytes */1000"), Misfit, None),
    "206, multipart": (
        ASKED,
        206,
        part("bytes 100-199/1000", ("content-type", "Multipart/ByteRanges; boundary=x")),
        Misfit,
        None,
    ),
    "206, multipart as it is": (ASKED, 206, (TAG, ("content-type", "multipart/byteranges; boundary=x")), Misfit, None),
    "206, nothing was asked": (FIRST, 206, part("bytes 0-999/1000"), Misfit, None),
    "206, total *, known elsewhere": (ASKED, 206, part("bytes 100-199/*"), Take, (100, 100, 1000)),
    "206, total *, unknown": (NO_TOTAL, 206, part("bytes 100-199/*"), Misfit, None),
    "206, total learnt": (NO_TOTAL, 206, part("bytes 100-199/1000"), Take, (100, 100, 1000)),
    "206, other total": (ASKED, 206, part("bytes 100-199/1001"), Changed, None),
    "206, other total, digest known": (
        replace(ASKED, digest_known=True),
        206,
        part("bytes 100-199/1001"),
        Changed,
        None,
    ),
    # 4.2: after a 206 the validators are always compared, whatever If-Range should have done
    "206, other ETag": (ASKED, 206, (("content-range", "bytes 100-199/1000"), OTHER), Changed, None),
    "206, other ETag, digest known": (
        replace(ASKED, digest_known=True),
        206,
        (("content-range", "bytes 100-199/1000"), OTHER),
        Changed,
        None,
    ),
    "206, the ETag became weak": (
        ASKED,
        206,
        (("content-range", "bytes 100-199/1000"), ("etag", 'W/"v1"')),
        Changed,
        None,
    ),
    "206, nothing to compare": (UNVALIDATED, 206, (("content-range", "bytes 100-199/1000"),), Changed, None),
    "206, nothing to compare, a gamble": (
        GAMBLE,
        206,
        (("content-range", "bytes 100-199/1000"),),
        Take,
        (100, 100, 1000),
    ),
    "206, same settled date": (
        replace(ASKED, known=Validator(last_modified=MODIFIED[1], settled=True, total=1000)),
        206,
        (("content-range", "bytes 100-199/1000"), MODIFIED, DATE),
        Take,
        (100, 100, 1000),
    ),
    "206, same date, written within its second": (
        replace(ASKED, known=Validator(last_modified=MODIFIED[1], settled=False, total=1000)),
        206,
        (("content-range", "bytes 100-199/1000"), MODIFIED, DATE),
        Changed,
        None,
    ),
    "206, other date": (
        replace(GAMBLE, known=Validator(last_modified="Tue, 31 Dec 2019 00:00:00 GMT", settled=True, total=1000)),
        206,
        (("content-range", "bytes 100-199/1000"), MODIFIED, DATE),
        Changed,
        None,
    ),
    # 200
    "200, first": (FIRST, 200, (TAG, ("content-length", "1000")), Take, (0, 1000, 1000)),
    "200, no length": (FIRST, 200, (TAG,), Take, (0, None, None)),
    "200, an empty file": (FIRST, 200, (TAG, ("content-length", "0")), Take, (0, 0, 0)),
    "200 for a part": (ASKED, 200, (TAG, ("content-length", "1000")), Ignored, (0, 1000, 1000)),
    "200 for a part, with Content-Range": (ASKED, 200, part("bytes 100-199/1000"), Misfit, None),
    "200 for everything, with Content-Range": (FIRST, 200, part("bytes 0-999/1000"), Misfit, None),
    "200, coded": (FIRST, 200, (TAG, ("content-encoding", "gzip")), Refused, None),
    "200, decoded on the fly": (FIRST, 200, (TAG, ("x-goog-stored-content-encoding", "gzip")), WantRaw, None),
    "200, stored bytes as asked": (
        RAW,
        200,
        (("x-goog-stored-content-encoding", "gzip"), ("content-encoding", "gzip"), ("content-length", "900")),
        Take,
        (0, 900, 900),
    ),
    "200, stored bytes, length beside": (
        RAW,
        200,
        (
            ("x-goog-stored-content-encoding", "gzip"),
            ("content-encoding", "gzip"),
            ("x-goog-stored-content-length", "900"),
        ),
        Take,
        (0, None, 900),
    ),
    "200, coded for us alone": (RAW, 200, (("content-encoding", "gzip"), ("content-length", "900")), Refused, None),
    # 200 with a label that is the file's own: its bytes as they come (origins.md 0.2 and 1)
    "200, coded, as the name says": (NAMED, 200, (GZIP, LONG), Take, (0, 900, 900)),
    "200, coded, x-gzip": (NAMED, 200, (("content-encoding", "X-GZIP"), LONG), Take, (0, 900, 900)),
    "200, coded, .tgz": (Asked(file_name="a.tgz"), 200, (GZIP, LONG), Take, (0, 900, 900)),
    "200, coded, .tar.bz2": (
        Asked(file_name="a.tar.bz2"),
        200,
        (("content-encoding", "bzip2"), LONG),
        Take,
        (0, 900, 900),
    ),
    "200, coded, another name": (Asked(file_name="a.tar.xz"), 200, (GZIP, LONG), Refused, None),
    "200, coded, br and .gz": (NAMED, 200, (("content-encoding", "br"), LONG), Refused, None),
    "200, coded twice": (NAMED, 200, (("content-encoding", "gzip, gzip"), LONG), Refused, None),
    "200, coded, as the name says, for us": (replace(NAMED, raw=True), 200, (GZIP, LONG), Refused, None),
    "200, coded, as the name says, stored is not": (NAMED, 200, (GZIP, (STORED, "identity")), Refused, None),
    "200, coded, digest known": (PROMISED, 200, (GZIP, LONG), Take, (0, 900, 900)),
    "200, coded as it is stored, nobody asked": (FIRST, 200, (GZIP, LONG, (STORED, "gzip")), Take, (0, 900, 900)),
    "200, coded as it is stored, nobody asked, no length": (
        FIRST,
        200,
        (GZIP, (STORED, "GZIP"), ("x-goog-stored-content-length", "900")),
        Take,
        (0, None, 900),
    ),
    "200 for a part, coded, as the name says": (
        replace(ASKED, file_name="a.gz"),
        200,
        (TAG, GZIP, LONG),
        Ignored,
        (0, 900, 900),
    ),
    # A coded body and a plain part make no file
    "206, plain, of a coded body": (
        replace(ASKED, known=replace(V1, coding="gzip")),
        206,
        part("bytes 100-199/1000"),
        Misfit,
        None,
    ),
    "206, coded, as the name says": (
        replace(ASKED, known=replace(V1, coding="gzip"), file_name="a.gz", digest_known=True),
        206,
        part("bytes 100-199/1000", GZIP),
        Misfit,
        None,
    ),
    # 416
    "416, all is here": (replace(OPEN_END, start=1000), 416, (("content-range", "bytes */1000"),), Complete, None),
    "416, all is here, total unknown": (
        replace(NO_TOTAL, start=1000, end=None),
        416,
        (("content-range", "bytes */1000"),),
        Complete,
        None,
    ),
    "416, shorter than what is here": (ASKED, 416, (("content-range", "bytes */50"),), Changed, None),
    "416, other total than was said": (
        replace(OPEN_END, start=500),
        416,
        (("content-range", "bytes */500"),),
        Changed,
        None,
    ),
    "416, though there is more": (
        replace(NO_TOTAL, end=None),
        416,
        (("content-range", "bytes */1000"),),
        Changed,
        None,
    ),
    "416, no Content-Range": (ASKED, 416, (), Changed, None),
    "416, unreadable": (ASKED, 416, (("content-range", "bytes 0-9/10"),), Changed, None),
    "416, nothing was asked": (FIRST, 416, (("content-range", "bytes */1000"),), Refused, None),
    # 304, 412, a version that went away
    "304": (ASKED, 304, (TAG,), Misfit, None),
    "412": (ASKED, 412, (TAG,), Misfit, None),
    "412, of a version": (PINNED, 412, (), Changed, None),
    "404, of a version": (PINNED, 404, (), Changed, None),
    "404": (ASKED, 404, (), Refused, None),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_table(row: str) -> None:
    asked, status, headers, kind, bytes_taken = ROWS[row]
    verdict = judge(asked, Head(status, headers))
    assert type(verdict) is kind
    take = verdict.take if isinstance(verdict, Ignored) else verdict
    if isinstance(take, Take):
        assert (take.start, take.length, take.total) == bytes_taken


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (404, Failure.PERMANENT),
        (403, Failure.PERMANENT),
        (408, Failure.TRANSIENT),
        (429, Failure.BUSY),
        (500, Failure.TRANSIENT),
        (503, Failure.BUSY),
        (511, Failure.IMPOSTOR),
        (204, Failure.IMPOSTOR),
        (300, Failure.IMPOSTOR),  # a 300 with a body is not the file
    ],
)
def test_only_200_and_206_are_data(status: int, failure: Failure) -> None:
    verdict = judge(FIRST, Head(status, (TAG, ("content-length", "1000"))))
    assert isinstance(verdict, Refused)
    assert verdict.failure is failure


@pytest.mark.parametrize(
    ("headers", "sameness"),
    [
        ((TAG, ("content-length", "1000")), Sameness.SAME),
        ((OTHER, ("content-length", "1000")), Sameness.CHANGED),
        ((TAG, ("content-length", "999")), Sameness.CHANGED),
        ((("content-length", "1000"),), Sameness.UNPROVEN),
    ],
)
def test_a_whole_body_for_a_part_says_whether_it_is_the_same(headers: Lines, sameness: Sameness) -> None:
    """The caller goes on from zero, and forgets what is here where it is not the same."""
    verdict = judge(ASKED, Head(200, headers))
    assert isinstance(verdict, Ignored)
    assert verdict.sameness is sameness


def test_the_first_gap_may_begin_at_zero() -> None:
    """Bytes 500-999 are here, 0-499 are asked for, and the whole new version comes."""
    asked = Asked(0, 500, ranged=True, known=V1, total=1000)
    verdict = judge(asked, Head(200, (OTHER, ("content-length", "1000"))))
    assert isinstance(verdict, Changed) or (isinstance(verdict, Ignored) and verdict.sameness is Sameness.CHANGED)


@pytest.mark.parametrize(
    "value",
    [
        "900 ",
        "\u00b2",  # a digit to str.isdigit, and none to int
        "9" * 5000,
        "-1",
        "",
        "0x10",
    ],
)
def test_a_strange_stored_length_is_no_length(value: str) -> None:
    headers = (
        ("x-goog-stored-content-encoding", "gzip"),
        ("content-encoding", "gzip"),
        ("x-goog-stored-content-length", value),
    )
    verdict = judge(RAW, Head(200, headers))
    assert isinstance(verdict, Take)
    assert verdict.total == (900 if value == "900 " else None)


# --- 4.2, validators -------------------------------------------------------------------------------------------------

DATED = Validator(last_modified=MODIFIED[1], settled=True, total=1000)


@pytest.mark.parametrize(
    ("known", "new", "sameness"),
    [
        (V1, V1, Sameness.SAME),
        (V1, replace(V1, etag='"v2"'), Sameness.CHANGED),
        (V1, replace(V1, total=999), Sameness.CHANGED),  # a random length each time (aria2 590)
        (V1, replace(V1, etag='"v1-gzip"'), Sameness.CHANGED),  # Apache
        (V1, Validator(total=1000), Sameness.UNPROVEN),
        # Weak ETags never prove equal bytes, but they can prove others.
        (replace(V1, etag='W/"v1"'), replace(V1, etag='W/"v1"'), Sameness.UNPROVEN),
        (replace(V1, etag='W/"v1"'), replace(V1, etag='W/"v2"'), Sameness.CHANGED),
        (V1, replace(V1, etag='W/"v1"'), Sameness.UNPROVEN),
        (replace(V1, etag="v1"), replace(V1, etag="v1"), Sameness.UNPROVEN),  # no quotes: no entity tag
        (replace(V1, etag='""'), replace(V1, etag='""'), Sameness.UNPROVEN),  # an empty one names nothing
        # One second of resolution.
        (DATED, DATED, Sameness.SAME),
        (replace(DATED, settled=False), DATED, Sameness.UNPROVEN),
        (DATED, replace(DATED, last_modified="Thu, 02 Jan 2020 00:00:00 GMT"), Sameness.CHANGED),
        (replace(DATED, total=None), DATED, Sameness.UNPROVEN),
        # Names of bytes outweigh an ETag, which may change with the metadata only (Google).
        (replace(V1, generation="7"), replace(V1, generation="7", etag='"v2"'), Sameness.SAME),
        (replace(V1, generation="7"), replace(V1, generation="8"), Sameness.CHANGED),
        (replace(V1, version="a"), replace(V1, version="b"), Sameness.CHANGED),
        (replace(V1, identity="ab"), replace(V1, identity="ab", etag='"edge2"'), Sameness.SAME),
        (replace(V1, identity="ab"), replace(V1, identity="cd"), Sameness.CHANGED),
        (replace(V1, identity="ab"), replace(V1, identity="ab", total=999), Sameness.CHANGED),
        (Validator(), Validator(), Sameness.UNPROVEN),
    ],
)
def test_whether_two_answers_speak_of_the_same_bytes(known: Validator, new: Validator, sameness: Sameness) -> None:
    assert compare(known, new) is sameness


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ((TAG,), '"v1"'),
        ((TAG, MODIFIED, DATE), '"v1"'),
        ((("etag", 'W/"v1"'),), None),  # RFC 9110 section 13.1.5
        ((("etag", 'W/"v1"'), MODIFIED, DATE), None),
        ((("etag", "v1"),), None),
        ((MODIFIED, DATE), MODIFIED[1]),
        ((MODIFIED, ("date", MODIFIED[1])), None),  # within the second: weak (section 8.8.2.2)
        ((MODIFIED, ("date", "Wed, 01 Jan 2020 00:00:01 GMT")), MODIFIED[1]),
        ((MODIFIED,), None),
        ((MODIFIED, ("date", "yesterday")), None),
        ((MODIFIED, ("date", "Thu, 02 Jan 2020 00:00:00 -0000")), MODIFIED[1]),  # a zone of -0000 is UTC
        (((MODIFIED[0], "a while ago"), DATE), None),
        ((), None),
    ],
)
def test_what_if_range_may_carry(headers: Lines, sent: str | None) -> None:
    assert validator_of(Head(200, headers), None).if_range == sent


def test_an_unversioned_bucket_names_no_version() -> None:
    """S3 says `null`, and says it of every version."""
    both = [validator_of(Head(200, (("x-amz-version-id", "null"), tag)), 10) for tag in (TAG, OTHER)]
    assert compare(*both) is Sameness.CHANGED


@pytest.mark.parametrize(
    ("asked", "headers", "foreign"),
    [
        (NAMED, (GZIP,), ""),
        (replace(NAMED, digest_known=True), (GZIP,), ""),
        (FIRST, (GZIP, (STORED, "gzip")), ""),
        (PROMISED, (GZIP,), "gzip"),
        (PROMISED, (GZIP, (STORED, "identity")), "gzip"),
        (PROMISED, (), ""),
    ],
)
def test_a_coding_that_only_a_digest_excuses_is_named(asked: Asked, headers: Lines, foreign: str) -> None:
    verdict = judge(asked, Head(200, headers))
    assert isinstance(verdict, Take)
    assert verdict.foreign == foreign


def test_a_repeated_content_encoding_is_not_identity() -> None:
    lines = (("content-encoding", "gzip"), ("content-encoding", "identity"))
    assert isinstance(judge(FIRST, Head(200, lines)), Refused)


# --- never a splice --------------------------------------------------------------------------------------------------

names = st.sampled_from(
    [
        *("content-range", "content-length", "content-encoding", "content-type", "etag", "last-modified", "date"),
        *("x-goog-generation", "x-amz-version-id", "x-goog-stored-content-encoding", "x-goog-stored-content-length"),
    ]
)
values = st.one_of(
    st.from_regex(r"bytes [0-9]{1,3}-[0-9]{1,3}/([0-9]{1,3}|\*)", fullmatch=True),
    st.sampled_from(
        ["bytes */100", "100", "90", '"v1"', '"v2"', 'W/"v1"', "gzip", "identity", "null", "7", MODIFIED[1]]
    ),
    st.text(st.characters(codec="ascii"), max_size=12),
)
questions = st.builds(
    Asked,
    start=st.integers(0, 100),
    end=st.none() | st.integers(1, 100),
    ranged=st.booleans(),
    known=st.none()
    | st.builds(Validator, etag=st.sampled_from(["", '"v1"', 'W/"v1"']), total=st.none() | st.just(100)),
    total=st.none() | st.just(100),
    digest_known=st.booleans(),
    pinned_version=st.booleans(),
    raw=st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(
    asked=questions,
    status=st.sampled_from([200, 206, 206, 206, 304, 404, 412, 416, 500]),
    headers=st.lists(st.tuples(names, values), max_size=6),
)
def test_whatever_comes_bytes_are_taken_only_where_they_belong(
    asked: Asked, status: int, headers: list[tuple[str, str]]
) -> None:
    verdict = judge(asked, Head(status, tuple(headers)))
    if not isinstance(verdict, Take):
        return
    assert status in {200, 206}
    if status == 200:
        assert verdict.start == 0
        return
    assert asked.ranged
    assert verdict.start == asked.start
    assert verdict.length is not None
    assert verdict.length > 0
    assert asked.end is None or verdict.start + verdict.length <= asked.end
    assert verdict.total is not None
    assert verdict.start + verdict.length <= verdict.total
    assert asked.total in {None, verdict.total}
    if asked.known is not None and not asked.digest_known:
        assert compare(asked.known, verdict.validator) is Sameness.SAME

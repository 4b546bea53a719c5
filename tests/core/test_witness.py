"""Digests in headers, dialect by dialect, and what they are worth."""

from __future__ import annotations

import base64
import hashlib

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.models import Trust, Witness
from ckptd.core.witness import (
    AMAZON,
    GOOGLE,
    IANA,
    LENGTHS,
    agreed,
    algorithms,
    collect,
    disagreement,
    stated_size,
    trust_of,
)

BODY = b"the whole file"
DIGESTS = {
    "crc32c": google_crc32c.value(BODY).to_bytes(4, "big"),
    "md5": hashlib.md5(BODY, usedforsecurity=False).digest(),
    "sha1": hashlib.sha1(BODY, usedforsecurity=False).digest(),
    "sha256": hashlib.sha256(BODY).digest(),
    "sha512": hashlib.sha512(BODY).digest(),
}
B64 = {name: base64.b64encode(value).decode() for name, value in DIGESTS.items()}
HEX = DIGESTS["sha256"].hex()
Lines = list[tuple[str, str]]

CRC, MD5 = "x-goog-hash:crc32c", "x-goog-hash:md5"
FULL = ("x-amz-checksum-type", "FULL_OBJECT")
SHA256 = ("x-amz-checksum-sha256", B64["sha256"])

# headers -> labels found on a 200, labels found on a 206
ROWS: dict[str, tuple[Lines, set[str], set[str]]] = {
    "goog, two lines": (
        [("x-goog-hash", f"crc32c={B64['crc32c']}"), ("x-goog-hash", f"md5={B64['md5']}")],
        {CRC, MD5},
        {CRC, MD5},
    ),
    "goog, one line": (
        [("X-Goog-Hash", f" crc32c={B64['crc32c']} ,md5={B64['md5']}")],
        {CRC, MD5},
        {CRC, MD5},
    ),
    "goog, unknown beside known": ([("x-goog-hash", f"sha9=AA==,md5={B64['md5']}")], {MD5}, {MD5}),
    "goog, sha256 is not of its dialect": ([("x-goog-hash", f"sha256={B64['sha256']}")], set(), set()),
    "repr-digest": (
        [("Repr-Digest", f"sha-512=:{B64['sha512']}:, sha-256=:{B64['sha256']}:")],
        {"repr-digest:sha-256", "repr-digest:sha-512"},
        {"repr-digest:sha-256", "repr-digest:sha-512"},
    ),
    "repr-digest, two lines and parameters": (
        [
            ("Repr-Digest", f"sha-256=:{B64['sha256']}:;a=1"),
            ("repr-digest", f"sha=:{B64['sha1']}:, md5=:{B64['md5']}:"),
        ],
        {"repr-digest:sha-256", "repr-digest:sha", "repr-digest:md5"},
        {"repr-digest:sha-256", "repr-digest:sha", "repr-digest:md5"},
    ),
    "repr-digest, unknown": ([("Repr-Digest", "unixcksum=:AAAAAA==:")], set(), set()),
    "digest": (
        [("Digest", f"SHA-256={B64['sha256']},sha-512={B64['sha512']}, MD5={B64['md5']},SHA={B64['sha1']}")],
        {"digest:sha-256", "digest:sha-512", "digest:md5", "digest:sha"},
        {"digest:sha-256", "digest:sha-512", "digest:md5", "digest:sha"},
    ),
    "digest, of the uncoded instance": ([("Digest", f"id-sha-256={B64['sha256']}")], set(), set()),
    "content-md5": ([("Content-MD5", B64["md5"])], {"content-md5"}, set()),
    "content-md5, empty": ([("Content-MD5", "")], set(), set()),
    "content-digest": (
        [("Content-Digest", f"sha-256=:{B64['sha256']}:, sha-512=:{B64['sha512']}:")],
        {"content-digest:sha-256", "content-digest:sha-512"},
        set(),
    ),
    "content-digest, identity": (
        [("Content-Digest", f"sha-256=:{B64['sha256']}:"), ("Content-Encoding", "identity")],
        {"content-digest:sha-256"},
        set(),
    ),
    "content-digest, coded": (
        [("Content-Digest", f"sha-256=:{B64['sha256']}:"), ("Content-Encoding", "gzip")],
        set(),
        set(),
    ),
    "content-digest, of a part that does not say so": (
        [("Content-Digest", f"sha-256=:{B64['sha256']}:"), ("Content-Range", "bytes 0-9/10")],
        set(),
        set(),
    ),
    "content-digest, garbage": ([("Content-Digest", "sha-256=:###:")], set(), set()),
    "amz": ([SHA256], {"x-amz-checksum-sha256"}, set()),
    "amz, full object": (
        [SHA256, FULL, ("X-Amz-Checksum-Crc32c", B64["crc32c"]), ("x-amz-checksum-sha1", B64["sha1"])],
        {"x-amz-checksum-sha256", "x-amz-checksum-crc32c", "x-amz-checksum-sha1"},
        {"x-amz-checksum-sha256", "x-amz-checksum-crc32c", "x-amz-checksum-sha1"},
    ),
    "amz, composite": ([SHA256, ("x-amz-checksum-type", "COMPOSITE")], set(), set()),
    "amz, of parts": ([("x-amz-checksum-sha256", f"{B64['sha256']}-3")], set(), set()),
    "amz, of parts though it says full": (
        [("x-amz-checksum-sha256", f"{B64['sha256']}-3"), FULL],
        set(),
        set(),
    ),
    "amz, of two minds": ([SHA256, FULL, ("x-amz-checksum-type", "COMPOSITE")], set(), set()),
    "amz, others": (
        [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), ("x-amz-checksum-crc32", "AAAAAA==")],
        set(),
        set(),
    ),
    "linked etag": ([("X-Linked-Etag", f'"{HEX}"')], {"x-linked-etag"}, {"x-linked-etag"}),
    "linked etag, weak, upper case": (
        [("X-Linked-Etag", f'W/"{HEX.upper()}"')],
        {"x-linked-etag"},
        {"x-linked-etag"},
    ),
    "linked etag of a git blob": ([("X-Linked-Etag", f'"{"ab" * 20}"')], set(), set()),
    "etag": ([("ETag", f'"{HEX}"'), ("x-xet-hash", HEX)], set(), set()),
    "etag that is the md5": ([("ETag", f'"{DIGESTS["md5"].hex()}"')], set(), set()),
    "content coding": (
        [("Content-Encoding", "gzip"), ("Digest", f"sha-256={B64['sha256']}")],
        {"digest:sha-256"},
        {"digest:sha-256"},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_dialects(row: str) -> None:
    """Which labels each way of saying it yields, of the whole and of a part; the values are the file's."""
    headers, whole, part = ROWS[row]
    for status, expected in ((200, whole), (206, part)):
        found = collect(headers, status=status, partial=status == 206, body=True)
        assert {each.source for each in found} == expected
        assert set(agreed(found, DIGESTS)) == expected
        assert disagreement(found, DIGESTS) == ()


def test_content_digest_of_no_content() -> None:
    """In an answer to HEAD it is of nothing (RFC 9530, appendix B.2)."""
    said = [("Content-Digest", f"sha-256=:{B64['sha256']}:")]
    assert collect(said, status=200, partial=False) == ()


MALFORMED: Lines = [
    ("x-goog-hash", "crc32c"),
    ("x-goog-hash", "crc32c="),
    ("x-goog-hash", "crc32c=AAAA"),
    ("x-goog-hash", "md5=not base64!,,=,"),
    ("x-goog-hash", "md5=\udc80\udcff"),
    ("x-goog-hash", B64["md5"]),
    ("Repr-Digest", "sha-256=::::, (("),
    ("Repr-Digest", f"SHA-256=:{B64['sha256']}:"),
    ("Repr-Digest", f"sha-256={B64['sha256']}"),
    ("Repr-Digest", "sha-256"),
    ("Repr-Digest", "sha-256=(:AA==: :AA==:)"),
    ("Repr-Digest", "sha-256=:AA==:"),
    ("Repr-Digest", "sha-256=@99999999999999"),
    ("Repr-Digest", ""),
    ("Repr-Digest", "\udc80"),
    ("Repr-Digest", "é"),
    ("Digest", f"SHA-256={HEX}"),
    ("Digest", "SHA-256=:AA==:"),
    ("Digest", "UNIXsum=12345,ADLER32=03da0195"),
    ("Content-MD5", DIGESTS["md5"].hex()),
    ("Content-MD5", B64["md5"].rstrip("=")),
    ("x-amz-checksum-sha256", ""),
    ("x-amz-checksum-sha256", HEX),
    ("X-Linked-Etag", ""),
    ("X-Linked-Etag", f'"{"g" * 64}"'),
    ("X-Linked-Etag", f'"{HEX}0"'),
    ("X-Linked-Etag", f'"{HEX}-2"'),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_malformed_says_nothing(name: str, value: str) -> None:
    """Neither a witness nor an error."""
    assert collect([(name, value)], status=200, partial=False) == ()


@pytest.mark.parametrize("status", [201, 203, 204, 301, 302, 304, 307, 404, 412, 416, 500, 503])
def test_other_answers_do_not_speak_of_the_file(status: int) -> None:
    """The digests of a redirect or an error are those of its own page; a redirect's linked ETag counts."""
    headers = [line for lines, _, _ in ROWS.values() for line in lines]
    found = {each.source for each in collect(headers, status=status, partial=False)}
    assert found == ({"x-linked-etag"} if 300 <= status < 400 else set())


def test_repeated_and_contradictory() -> None:
    """The same said twice is one witness; two values are two, and one of them disagrees."""
    other = base64.b64encode(bytes(16)).decode()
    headers = [("x-goog-hash", f"md5={B64['md5']}")] * 2 + [("x-goog-hash", f"md5={other}")]
    found = collect(headers, status=200, partial=False)
    assert len(found) == 2
    assert disagreement(found, DIGESTS) == (Witness(MD5, "md5", bytes(16)),)


def test_what_was_not_computed_says_nothing() -> None:
    """Neither agreed nor disagreeing."""
    witnesses = (Witness(MD5, "md5", bytes(16)), Witness(CRC, "crc32c", DIGESTS["crc32c"]))
    digests = {"sha256": DIGESTS["sha256"]}
    assert disagreement(witnesses, digests) == ()
    assert agreed(witnesses, digests) == ()


def test_labels_are_sorted_and_single() -> None:
    """They go into the lock as they are."""
    md5, crc = Witness(MD5, "md5", DIGESTS["md5"]), Witness(CRC, "crc32c", DIGESTS["crc32c"])
    assert agreed((md5, crc, md5), DIGESTS) == (CRC, MD5)


def test_algorithms_to_compute() -> None:
    """sha256 always is."""
    witnesses = collect([("Digest", f"MD5={B64['md5']},SHA-256={B64['sha256']}")], status=200, partial=False)
    assert algorithms(witnesses) == {"md5"}
    assert algorithms(()) == frozenset()


@pytest.mark.parametrize(
    ("pinned", "labels", "trust"),
    [
        (True, (), Trust.PINNED),
        (True, (CRC,), Trust.PINNED),
        (False, (CRC,), Trust.WITNESSED),
        (False, (), Trust.FIRST_USE),
    ],
)
def test_trust(pinned: bool, labels: tuple[str, ...], trust: Trust) -> None:
    """Contract, Lock."""
    assert trust_of(pinned, labels) is trust


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ([("X-Goog-Stored-Content-Length", "1234")], 1234),
        ([("x-linked-size", " 1234 ")], 1234),
        ([("x-linked-size", "1234"), ("x-goog-stored-content-length", "1234")], 1234),
        ([("x-linked-size", "1234"), ("x-linked-size", "1235")], None),
        ([("x-linked-size", "0")], 0),
        ([("x-linked-size", "-1")], None),
        ([("x-linked-size", "12e3")], None),
        ([("x-linked-size", "١٢")], None),
        ([("x-linked-size", "")], None),
        ([("x-linked-size", "9" * 5000)], None),
        ([("Content-Length", "1234")], None),
        ([], None),
    ],
)
def test_stated_size(headers: Lines, size: int | None) -> None:
    """Only what is plainly a number, and only one number."""
    assert stated_size(headers) == size


NAMES = st.sampled_from(
    ["x-goog-hash", "Repr-Digest", "Digest", "Content-MD5", *AMAZON, "x-amz-checksum-type", "X-Linked-Etag"]
)
KEYS = st.sampled_from([*GOOGLE, *IANA, *(name.upper() for name in IANA), ""])
VALUES = st.one_of(
    st.text(max_size=40),
    st.text('=:;,()"?@%* aA0+/-_', max_size=40),
    st.builds(
        lambda key, raw, mark: f"{key}={mark}{base64.b64encode(raw).decode()}{mark}",
        KEYS,
        st.binary(max_size=70),
        st.sampled_from(["", ":", '"']),
    ),
)


@settings(deadline=None)  # the first Repr-Digest pays for importing http_sf
@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.sampled_from([200, 206, 302, 404]), st.booleans())
def test_garbage_never_raises(headers: Lines, status: int, partial: bool) -> None:
    """Whatever an origin sends: no error, and only values that can be digests."""
    for each in collect(headers, status=status, partial=partial):
        assert len(each.value) == LENGTHS[each.algorithm]


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=4, max_size=4))
def test_every_digest_survives_base64(md5: bytes, crc: bytes) -> None:
    """`+`, `/` and `=` included (python-storage shipped that bug)."""
    text = f"crc32c={base64.b64encode(crc).decode()},md5={base64.b64encode(md5).decode()}"
    found = collect([("x-goog-hash", text)], status=200, partial=False)
    assert {each.algorithm: each.value for each in found} == {"crc32c": crc, "md5": md5}

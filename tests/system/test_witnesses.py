"""Digests that the origin publishes in its headers (origins.md 1, 2, 3, 4.4): checked and recorded.

A right one makes the lock say `witnessed`; a wrong one fails the attempt, and nothing is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import faults as f
import pytest
from digests_of import b64, crc32c, md5, sha256, sha512
from origin import Origin, Origins
from workplace import Batch, Workplace, tgz
from workplace import sha256 as hex_sha256

A = tgz(260_000, 1)
B = tgz(260_000, 2)
CUT = 100_000
PATH = "/a.tar.gz"
Lines = list[tuple[str, str]]


def dialects(body: bytes) -> dict[str, tuple[str, Lines]]:
    """Each way to say the digest of `body`: how a witness of it begins in the lock, and the header lines."""
    composite = {"x-amz-checksum-type": "FULL_OBJECT"}
    return {
        "goog crc32c": ("x-goog-hash:crc32c", [("x-goog-hash", f"crc32c={crc32c(body)}")]),
        "goog one line": ("x-goog-hash:crc32c", [("x-goog-hash", f"crc32c={crc32c(body)},md5={md5(body)}")]),
        "goog two lines": (
            "x-goog-hash:crc32c",
            [("x-goog-hash", f"crc32c={crc32c(body)}"), ("x-goog-hash", f"md5={md5(body)}")],
        ),
        "goog two lines, md5 first, spaces": (
            "x-goog-hash:crc32c",
            [("X-Goog-Hash", f"md5={md5(body)}"), ("X-Goog-Hash", f" crc32c={crc32c(body)} ")],
        ),
        "goog md5 alone": ("x-goog-hash:md5", [("x-goog-hash", f"md5={md5(body)}")]),
        "Repr-Digest": ("repr-digest:sha-256", [("Repr-Digest", f"sha-256=:{sha256(body)}:")]),
        "Repr-Digest of two": (
            "repr-digest:sha-",
            [("Repr-Digest", f"sha-512=:{sha512(body)}:, sha-256=:{sha256(body)}:")],
        ),
        "Content-Digest": ("content-digest:sha-256", [("Content-Digest", f"sha-256=:{sha256(body)}:")]),
        "Content-Digest, sha-512": ("content-digest:sha-512", [("Content-Digest", f"sha-512=:{sha512(body)}:")]),
        "Digest": ("digest:", [("Digest", f"SHA-256={sha256(body)}")]),
        "Digest, lower case": ("digest:", [("Digest", f"sha-256={sha256(body)}")]),
        "Content-MD5": ("content-md5", [("Content-MD5", md5(body))]),
        "amz sha256": ("x-amz-checksum-sha256", [("x-amz-checksum-sha256", sha256(body))]),
        "amz sha256, full object": (
            "x-amz-checksum-sha256",
            [("x-amz-checksum-sha256", sha256(body)), *composite.items()],
        ),
        "amz crc32c, full object": (
            "x-amz-checksum-crc32c",
            [("x-amz-checksum-crc32c", crc32c(body)), *composite.items()],
        ),
    }


ROWS = sorted(dialects(b""))


def with_plus_and_slash() -> bytes:
    """A body whose md5 has both `+` and `/` in base64."""
    return next(body for body in (tgz(20_000, seed) for seed in range(500)) if "+" in md5(body) and "/" in md5(body))


def published(root: Path, said: Mapping[str, Lines]) -> Iterator[Batch]:
    """Body A for every row, with the row's header lines."""
    with Batch(root, said) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            for name in {name for name, _ in said[row]}:
                first, *more = [value for key, value in said[row] if key == name]
                origin.on(PATH, f.header(name, first, *more), times=None, method=None)
        batch.sync()
        yield batch


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from published(tmp_path_factory.mktemp("right"), {row: dialects(A)[row][1] for row in ROWS})


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from published(tmp_path_factory.mktemp("wrong"), {row: dialects(B)[row][1] for row in ROWS})


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    yield from published(tmp_path_factory.mktemp("silent"), IGNORED)


@pytest.mark.parametrize("row", ROWS)
def test_right_witness_is_recorded(right: Batch, row: str) -> None:
    """4.4: the digest agrees; the lock says so, and by whom."""
    right.assert_good(row, A)
    assert right.entry(row)["trust"] == right.locked(row)["trust"] == "witnessed"
    prefix = dialects(A)[row][0]
    assert [x for x in right.locked(row)["witnesses"] if x.startswith(prefix)], right.locked(row)


@pytest.mark.parametrize("row", ROWS)
def test_wrong_witness_fails(wrong: Batch, row: str) -> None:
    """4.4, conflict rule: a digest that disagrees fails, though nothing is pinned; exit 3, bounded."""
    wrong.assert_failed(row, "integrity")
    assert wrong.result.status == 3
    assert len(wrong.origin[row].requests(method="GET")) < 12


@pytest.mark.parametrize("wrong", ["md5", "crc32c"])
def test_one_wrong_line_of_two_fails(origin: Origin, site: Workplace, wrong: str) -> None:
    """0.9: both lines of x-goog-hash count, whichever comes first."""
    right, other = (crc32c(A), md5(B)) if wrong == "md5" else (crc32c(B), md5(A))
    lines = [("x-goog-hash", f"crc32c={right}"), ("x-goog-hash", f"md5={other}")]
    site.one(origin.put(PATH, A, headers=lines))
    site.sync().expect(3)
    site.assert_absent("a")


def test_plus_and_slash_in_base64(origin: Origin, site: Workplace) -> None:
    """0.9: `+` and `/` belong to the base64 (python-storage shipped that bug)."""
    body = with_plus_and_slash()
    site.one(origin.put(PATH, body, headers=[("x-goog-hash", f"crc32c={crc32c(body)},md5={md5(body)}")]))
    site.sync().expect(0)
    site.assert_good("a", body)
    assert {"x-goog-hash:crc32c", "x-goog-hash:md5"} <= set(site.lock["a"]["witnesses"])


def test_flipped_bit_is_caught_and_fetched_again(origin: Origin, site: Workplace) -> None:
    """1, Hashes: a mismatch discards and retries; a single damaged transfer ends well."""
    site.one(origin.put(PATH, A, headers=[("x-goog-hash", f"crc32c={crc32c(A)}")]))
    origin.on(PATH, f.flip(123_456))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert site.lock["a"]["trust"] == "witnessed"


def test_flipped_bit_every_time(origin: Origin, site: Workplace) -> None:
    """1, Hashes: "to avoid potentially expensive infinite loops" the retries are bounded."""
    site.one(origin.put(PATH, A, headers=[("x-goog-hash", f"md5={md5(A)}")]))
    origin.on(PATH, f.flip(123_456), times=None)
    run = site.sync().expect(3)
    assert run.kind("a") == "integrity"
    site.assert_absent("a")
    assert len(origin.requests(method="GET")) < 12


def test_pin_beats_a_wrong_insecure_witness_or_fails(origin: Origin, site: Workplace) -> None:
    """4.4, conflict rule: manifest sha256 > origin digest; never published as `witnessed`."""
    site.one(origin.put(PATH, A, headers=[("x-goog-hash", f"crc32c={crc32c(B)}")]), sha256=hex_sha256(A))
    site.sync().expect(0, 3)
    site.assert_same_or_absent("a", A)
    if "a" in site.lock:
        assert site.lock["a"]["trust"] == "pinned"


def test_pinned_and_witnessed(origin: Origin, site: Workplace) -> None:
    """Contract, Lock: `witnesses` names what was checked; the pin is the best trust."""
    site.one(origin.put(PATH, A, headers=[("x-goog-hash", f"crc32c={crc32c(A)}")]), sha256=hex_sha256(A))
    run = site.sync().expect(0)
    assert run.entry("a")["trust"] == "pinned"
    assert {"manifest-sha256", "x-goog-hash:crc32c"} <= set(site.lock["a"]["witnesses"])


def test_no_witness_is_first_use(origin: Origin, site: Workplace) -> None:
    """Contract, Lock: nobody but us says so; an ETag is no witness."""
    site.one(origin.put(PATH, A, etag=f'"{hex_sha256(B)}"'))
    run = site.sync().expect(0)
    assert run.entry("a")["trust"] == site.lock["a"]["trust"] == "first-use"
    assert not site.lock["a"].get("witnesses")


IGNORED: dict[str, Lines] = {
    "unknown algorithm": [("x-goog-hash", "sha3=AAAA")],
    "empty": [("x-goog-hash", "")],
    "md5 of the wrong length": [("Content-MD5", "AAAA")],
    "amz composite": [("x-amz-checksum-sha256", f"{sha256(B)}-3")],
    "amz composite by type": [
        ("x-amz-checksum-sha256", sha256(B)),
        ("x-amz-checksum-type", "COMPOSITE"),
    ],
    "insecure and unknown": [("Digest", "UNIXsum=12345,ADLER32=03da0195")],
    "garbage structured field": [("Repr-Digest", "sha-256=::::, ((")],
    "unknown repr digest": [("Repr-Digest", "unixcksum=:AAAAAA==:")],
    "multipart etag": [("ETag", f'"{"a" * 32}-7"')],
}


@pytest.mark.parametrize("row", sorted(IGNORED))
def test_what_says_nothing_is_ignored(silent: Batch, row: str) -> None:
    """1, 3, 4.4: unknown algorithms and checksums of checksums are neither failure nor witness."""
    silent.assert_good(row, A)
    assert silent.locked(row)["trust"] == "first-use"


def test_partial_digests_on_a_206_are_of_the_part(origin: Origin, site: Workplace) -> None:
    """4.4: Content-Digest and Content-MD5 on a 206 may be of the part; Repr-Digest is of the whole."""
    site.one(origin.put(PATH, A))
    rest = A[CUT:]
    origin.on(PATH, f.cut(CUT))
    origin.on(
        PATH,
        f.header("Content-Digest", f"sha-256=:{sha256(rest)}:"),
        f.header("Content-MD5", md5(rest)),
        f.header("x-amz-checksum-sha256", sha256(rest)),
        f.header("Repr-Digest", f"sha-256=:{sha256(A)}:"),
        resume=True,
    )
    site.sync().expect(0)
    site.assert_good("a", A)


def test_repr_digest_on_the_206_alone_can_fail_it(origin: Origin, site: Workplace) -> None:
    """4.4: Repr-Digest covers the whole file, also on a 206; a wrong one is a disagreement."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT), times=None, resume=False)
    origin.on(PATH, f.header("Repr-Digest", f"sha-256=:{sha256(B)}:"), times=None, resume=True)
    site.sync().expect(1, 3)
    site.assert_absent("a")


def test_short_200_against_the_stored_length(origin: Origin, site: Workplace) -> None:
    """1, "Short 200": less than x-goog-stored-content-length is not the object."""
    site.one(origin.put(PATH, A, headers=[("x-goog-stored-content-length", str(len(A)))]))
    origin.on(PATH, f.cut(CUT), f.says_length(CUT))
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- Hugging Face


def hub(origins: Origins, *headers: tuple[str, str]) -> tuple[Origin, str]:
    """A hub that answers with a signed redirect to a CDN; the headers are on the 302 alone."""
    front, cdn = origins.new(), origins.new(host="localhost")
    target = cdn.put("/xet/object", A, etag=f'"{hex_sha256(B)}"', content_type="application/octet-stream")
    path = "/org/repo/resolve/main/model.tar.gz"
    front.on(path, f.redirect(f"{target}?Signature=abc", 302, *headers), times=None, method=None)
    return cdn, front.url(path)


def test_linked_etag_of_the_302(origins: Origins, site: Workplace) -> None:
    """2: X-Linked-Etag and X-Linked-Size are on the 302 only; the CDN's ETag is another 64 hex digits."""
    _, url = hub(origins, ("X-Linked-Etag", f'"{hex_sha256(A)}"'), ("X-Linked-Size", str(len(A))))
    site.one(url)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert site.lock["a"]["trust"] == "witnessed"


def test_linked_etag_that_disagrees(origins: Origins, site: Workplace) -> None:
    """2: a wrong sha256 on the 302 fails, though the CDN is content."""
    _, url = hub(origins, ("X-Linked-Etag", f'"{hex_sha256(B)}"'), ("X-Linked-Size", str(len(A))))
    site.one(url)
    site.sync().expect(3)
    site.assert_absent("a")


def test_linked_size_that_disagrees(origins: Origins, site: Workplace) -> None:
    """2: another size than X-Linked-Size is another file."""
    _, url = hub(origins, ("X-Linked-Etag", f'"{hex_sha256(A)}"'), ("X-Linked-Size", str(len(A) + 1)))
    site.one(url)
    site.sync().expect(1, 3)
    site.assert_absent("a")


def test_git_blob_etag_is_no_sha256(origins: Origins, site: Workplace) -> None:
    """2: 40 hex digits are a git blob id, weak spelling and quotes included; no failure."""
    _, url = hub(origins, ("X-Linked-Etag", f'W/"{"ab" * 20}"'))
    site.one(url)
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- policy.require

TRUSTS = ["first-use", "witnessed", "pinned"]


@pytest.mark.parametrize("require", TRUSTS)
def test_least_trust_that_may_be_published(tmp_path: Path, require: str) -> None:
    """Contract, `policy.require`: less trust than required is not published; `error.kind` is policy."""
    with Batch(tmp_path, TRUSTS) as batch:
        for trust, origin in batch.origin.items():
            said = [("Repr-Digest", f"sha-256=:{sha256(A)}:")] if trust == "witnessed" else []
            origin.put(PATH, A, headers=said)
        batch.sync({"pinned": {"sha256": hex_sha256(A)}}, policy={"require": require})
        for trust in TRUSTS:
            if TRUSTS.index(trust) >= TRUSTS.index(require):
                batch.assert_good(trust, A)
                assert batch.locked(trust)["trust"] == trust
            else:
                batch.assert_failed(trust, "policy")


def test_equal_content_has_base64_helpers_right() -> None:
    """The helpers themselves: the check value of CRC32C, and of MD5."""
    assert crc32c(b"123456789") == b64(bytes.fromhex("e3069283"))
    assert md5(b"") == b64(bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e"))

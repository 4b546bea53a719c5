"""Headers of an answer -> digests of the whole file that somebody else vouches for; whether ours agree.

A dialect is a function in `_READERS`, its names for algorithms are a table. A value that cannot be understood
says nothing: it is no witness and no error. The plain ETag is never a digest: S3's is one for some uploads
only, and a CDN's may look like another's SHA-256. `Content-Digest` covers the content of one message
(RFC 9530 section 2): a part of the file on a 206, nothing in an answer to HEAD. So it counts only where the content is
the whole file, and not coded.

All digests here are of stored bytes, which are what is kept: `Repr-Digest`, `Digest` and `Content-MD5` cover
the bytes after content coding (RFC 9530 section 3, RFC 3230 section 4.2), `x-goog-hash` the object as stored.
Nothing here computes a digest.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptd.core.models import Trust, Witness

# Bytes of a digest; a value of another length is not one. CRC32C is big-endian, as Google and Amazon send it.
LENGTHS = {"crc32c": 4, "md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

# What each dialect calls an algorithm -> what we call it. Others are ignored (crc64nvme, adler32).
GOOGLE = {"crc32c": "crc32c", "md5": "md5"}
IANA = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5", "sha": "sha1"}  # RFC 9530 section 7.2
AMAZON = {
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-sha1": "sha1",
    "x-amz-checksum-sha256": "sha256",
}
NAMES = frozenset(
    {
        *("x-goog-hash", "repr-digest", "content-digest", "digest", "content-md5", "x-amz-checksum-type"),
        *("x-linked-etag", *AMAZON),
    }
)
SIZES = frozenset({"x-goog-stored-content-length", "x-linked-size"})
LINKED_ETAG = re.compile(r'(?:W/)?"?([0-9a-fA-F]{64})"?')
DECIMAL = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Header values by lower-case name, in the order of their lines."""

    fields: Mapping[str, Sequence[str]]
    partial: bool
    redirect: bool
    content: bool  # the file, whole and uncoded, is the content of the message

    def values(self, name: str) -> Sequence[str]:
        return self.fields.get(name, ())

    def listed(self, name: str) -> Iterator[tuple[str, str]]:
        """`a=b` members of a comma-separated field, however many lines it has (RFC 9110 section 5.3).

        Split on the first `=` only: base64 may end in more of them.
        """
        for member in ",".join(self.values(name)).split(","):
            key, _, value = member.partition("=")
            yield key.strip().lower(), value.strip()


def collect(
    headers: Sequence[tuple[str, str]], *, status: int, partial: bool, body: bool = False
) -> tuple[Witness, ...]:
    """The witnesses in the raw headers of one answer, each once; contradictory ones are all kept.

    Args:
        headers: names in any case, repeated lines kept.
        status: of this answer. Only 200 and 206 speak of the file, and redirects by `X-Linked-Etag`.
        partial: whether the body is a part of the file.
        body: whether there is one: the request was a GET.
    """
    fields: dict[str, list[str]] = {}
    other = {"content-range": "", "content-encoding": "identity"}  # without these the content is the file
    plain = body and status == 200 and not partial
    for name, value in headers:
        if value.strip().lower() != other.get(name.lower(), value.strip().lower()):
            plain = False
        if name.lower() in NAMES:
            fields.setdefault(name.lower(), []).append(value.strip())
    if not fields:
        return ()
    answer = _Answer(fields, partial or status == 206, 300 <= status < 400, plain)
    if not answer.redirect and status not in {200, 206}:
        return ()
    # The digests of a redirect are those of its own little page.
    readers = (_linked,) if answer.redirect else _READERS
    return tuple(dict.fromkeys(witness for reader in readers for witness in reader(answer)))


def stated_size(headers: Sequence[tuple[str, str]]) -> int | None:
    """Bytes of the stored file, where an object store or hub says so beside Content-Length; else None.

    It holds also where the body is a part, decoded, or delimited by nothing but its end.
    """
    found = {
        int(value.strip()) for name, value in headers if name.lower() in SIZES and DECIMAL.fullmatch(value.strip())
    }
    return found.pop() if len(found) == 1 else None


def disagreement(witnesses: Sequence[Witness], digests: Mapping[str, bytes]) -> tuple[Witness, ...]:
    """Those whose value differs from ours; an algorithm that is not in `digests` says nothing."""
    return tuple(each for each in witnesses if digests.get(each.algorithm, each.value) != each.value)


def agreed(witnesses: Sequence[Witness], digests: Mapping[str, bytes]) -> tuple[str, ...]:
    """The sorted labels of those whose value is ours."""
    return tuple(sorted({each.source for each in witnesses if digests.get(each.algorithm) == each.value}))


def trust_of(pinned: bool, agreed: Sequence[str]) -> Trust:  # noqa: FBT001 (reads as one table with Trust)
    """The level that the contract names, for bytes with which nobody disagreed."""
    if pinned:
        return Trust.PINNED
    return Trust.WITNESSED if agreed else Trust.FIRST_USE


def algorithms(witnesses: Sequence[Witness]) -> frozenset[str]:
    """What must be computed besides sha256, which always is."""
    return frozenset(each.algorithm for each in witnesses) - {"sha256"}


def _google(answer: _Answer) -> Iterator[Witness]:
    """`x-goog-hash`: one line or two, of the complete stored object (Google's "Hashes and ETags")."""
    for name, value in answer.listed("x-goog-hash"):
        yield from _decoded(f"x-goog-hash:{name}", GOOGLE.get(name), value)


def _repr_digest(answer: _Answer) -> Iterator[Witness]:
    """`Repr-Digest`, of the whole also on a 206 (RFC 9530 section 3)."""
    return _integrity(answer, "repr-digest")


def _content_digest(answer: _Answer) -> Iterator[Witness]:
    """`Content-Digest`, where the content is the file (RFC 9530 section 2)."""
    return _integrity(answer, "content-digest") if answer.content else iter(())


def _integrity(answer: _Answer, name: str) -> Iterator[Witness]:
    """The members of an integrity field, a dictionary of byte sequences (RFC 9530 section 5)."""
    lines = answer.values(name)
    if not lines:
        return
    import http_sf  # noqa: PLC0415 (50 ms that most runs and every `status` can do without)

    try:
        members = http_sf.parse(", ".join(lines).encode("ascii"), tltype="dictionary")
    except ValueError:
        return  # RFC 9651 section 4.2: a field that does not parse is ignored as a whole
    if not isinstance(members, dict):
        return
    for key, member in members.items():
        value = member[0] if isinstance(member, tuple) else member
        if isinstance(value, bytes):
            yield from _witness(f"{name}:{key}", IANA.get(key), value)


def _digest(answer: _Answer) -> Iterator[Witness]:
    """`Digest` (RFC 3230 section 4.3.2): of the instance, which is the whole also on a 206."""
    for name, value in answer.listed("digest"):
        yield from _decoded(f"digest:{name}", IANA.get(name), value)


def _content_md5(answer: _Answer) -> Iterator[Witness]:
    """`Content-MD5` (RFC 1864): on a 206 some servers mean the part, some the whole, so only on a 200."""
    for value in () if answer.partial else answer.values("content-md5"):
        yield from _decoded("content-md5", "md5", value)


def _amazon(answer: _Answer) -> Iterator[Witness]:
    """`x-amz-checksum-*`, unless it is a checksum of the parts' checksums (`COMPOSITE`, or `-N` at its end).

    Without a type on a 206 it may be the part's.
    """
    kinds = {kind.upper() for kind in answer.values("x-amz-checksum-type")}
    if kinds - {"FULL_OBJECT"} or (answer.partial and not kinds):
        return
    for name, algorithm in AMAZON.items():
        for value in answer.values(name):
            yield from _decoded(name, algorithm, value)


def _linked(answer: _Answer) -> Iterator[Witness]:
    """`X-Linked-Etag` of the Hugging Face Hub: SHA-256 of a large file, or a git blob id (40 digits)."""
    for value in answer.values("x-linked-etag"):
        found = LINKED_ETAG.fullmatch(value)
        if found:
            yield from _witness("x-linked-etag", "sha256", bytes.fromhex(found[1]))


_READERS: tuple[Callable[[_Answer], Iterator[Witness]], ...] = (
    _google,
    _repr_digest,
    _content_digest,
    _digest,
    _content_md5,
    _amazon,
    _linked,
)


def _decoded(source: str, algorithm: str | None, value: str) -> Iterator[Witness]:
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        return
    yield from _witness(source, algorithm, raw)


def _witness(source: str, algorithm: str | None, value: bytes) -> Iterator[Witness]:
    if algorithm is not None and len(value) == LENGTHS[algorithm]:
        yield Witness(source, algorithm, value)

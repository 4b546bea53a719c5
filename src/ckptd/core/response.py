"""What an answer means: what was asked + status + headers -> what to do with the body. One table, no I/O.

Stands on RFC 9110 (sections 8.8, 13.1.5, 14, 15.3.7, 15.5.17) and on what origins do instead. The rule behind every
row: bytes are appended only when the answer proves that they are the asked bytes of the same object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ckptd.core import httpdate
from ckptd.core.ranges import ContentRange, Unsatisfied, parse_content_range
from ckptd.core.retry import Failure, of_status
from ckptd.core.sniff import NAMED_CODINGS

Headers = Sequence[tuple[str, str]]


class Sameness(Enum):
    """Whether two answers speak of the same bytes."""

    SAME = "same"
    CHANGED = "changed"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Validator:
    """What an answer says about which bytes it speaks of. Empty strings where it says nothing."""

    etag: str = ""  # as sent, with W/ and quotes
    last_modified: str = ""
    settled: bool = False  # Date is at least a second after Last-Modified (RFC 9110 section 8.8.2.2)
    total: int | None = None  # bytes of the whole
    generation: str = ""  # x-goog-generation
    version: str = ""  # x-amz-version-id
    identity: str = ""  # a published SHA-256 of the whole
    commit: str = ""  # of a Hugging Face repository: which one answered; others may have the same bytes
    coding: str = ""  # the Content-Encoding under which the bytes came

    @property
    def strong(self) -> bool:
        """Whether the ETag may be used in If-Range (RFC 9110 section 13.1.5)."""
        return self.etag.startswith('"') and self.etag.endswith('"') and len(self.etag) > 2

    @property
    def provable(self) -> bool:
        """Whether a later answer can be shown to speak of the same bytes at all."""
        named = self.identity or self.generation or self.version or self.strong
        return bool(named or (self.last_modified and self.settled))

    @property
    def if_range(self) -> str | None:
        """What to send in If-Range: a strong ETag, else a settled date, else nothing."""
        if self.strong:
            return self.etag
        return self.last_modified if self.last_modified and self.settled and not self.etag else None


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of one answer, names in lower case, repeated lines kept."""

    status: int
    headers: Headers

    def all(self, name: str) -> list[str]:
        """Every line of a header."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """The first line of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def length(self) -> int | None:
        """Content-Length, where it is one plain number."""
        return number(self.get("content-length"))

    @property
    def coding(self) -> str:
        """Content-Encoding in lower case, `x-gzip` as gzip (RFC 9110 section 8.4.1.3); empty for identity."""
        members = ",".join(self.all("content-encoding")).lower().split(",")
        value = ",".join(each.strip().removeprefix("x-") for each in members)
        return "" if value == "identity" else value

    @property
    def stored_coding(self) -> str | None:
        """What Google Cloud Storage says of the object as stored; empty for identity, None where it says nothing."""
        value = self.get("x-goog-stored-content-encoding")
        name = None if value is None else value.strip().lower().removeprefix("x-")
        return "" if name == "identity" else name


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked for and what is already known of the object."""

    start: int = 0
    end: int | None = None
    ranged: bool = False
    known: Validator | None = None  # of the bytes already here, from the same source
    total: int | None = None
    digest_known: bool = False  # a pinned or locked SHA-256 decides in the end, so an unproven part may be tried
    pinned_version: bool = False  # the URL names a generation
    raw: bool = False  # Accept-Encoding: gzip was sent to get stored bytes
    file_name: str = ""  # under which the file stands in the store


@dataclass(frozen=True, slots=True)
class Take:
    """The body is the file's bytes from `start`, `length` of them (None: until the framing ends).

    `foreign`: a coding that nothing but a known SHA-256 can show to be the file's own.
    """

    start: int
    length: int | None
    total: int | None
    validator: Validator
    foreign: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A whole body where a part was asked: ranges are ignored, or If-Range did not match."""

    take: Take
    sameness: Sameness


@dataclass(frozen=True, slots=True)
class Changed:
    """The object is not the one that was begun (or nothing proves that it is): begin again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything is here already: go and prove it."""

    total: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """The answer does not fit what was asked. Nothing of it may be used, nor its connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class WantRaw:
    """The origin decodes on the fly; ask again for the stored bytes with `Accept-Encoding: gzip`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No data in this answer, and why."""

    failure: Failure
    reason: str


Verdict = Take | Ignored | Changed | Complete | Misfit | WantRaw | Refused


def validator_of(head: Head, total: int | None, identity: str = "") -> Validator:
    """What `head` says about which bytes it speaks of."""
    etag = (head.get("etag") or "").strip()
    modified = (head.get("last-modified") or "").strip()
    version = (head.get("x-amz-version-id") or "").strip()
    return Validator(
        etag=etag,
        last_modified=modified,
        settled=_settled(modified, head.get("date") or ""),
        total=total,
        generation=(head.get("x-goog-generation") or "").strip(),
        version="" if version == "null" else version,
        identity=identity,
        coding=head.coding,
    )


def own_coding(head: Head, file_name: str, *, raw: bool = False) -> bool:
    """Whether the answer's Content-Encoding says what the file is, and not what was done to it on the way.

    An object store tells how it stores the object. Where none does, a coding that was not asked for (`raw`: it was) and
    by which the file is named is of the file: servers make it up from the name. Bytes as they come over the wire are
    then the stored ones.
    """
    if head.stored_coding is not None:
        return head.coding == head.stored_coding
    return not head.coding or (not raw and file_name.lower().endswith(NAMED_CODINGS.get(head.coding, ())))


def _settled(modified: str, date: str) -> bool:
    then, now = httpdate.parse(modified), httpdate.parse(date)
    return then is not None and now is not None and now - then >= 1


def compare(known: Validator, new: Validator) -> Sameness:
    """Whether `new` speaks of the bytes that `known` spoke of, by the best evidence that both carry."""
    if known.total is not None and new.total is not None and known.total != new.total:
        return Sameness.CHANGED
    # A published digest, then names that an origin gives to bytes and not to metadata.
    for ours, theirs in (
        (known.identity, new.identity),
        (known.generation, new.generation),
        (known.version, new.version),
    ):
        if ours and theirs:
            return Sameness.SAME if ours == theirs else Sameness.CHANGED
    if known.etag and new.etag:
        if known.strong and new.strong:
            return Sameness.SAME if known.etag == new.etag else Sameness.CHANGED
        if known.etag.removeprefix("W/") != new.etag.removeprefix("W/"):
            return Sameness.CHANGED
    if known.last_modified and new.last_modified:
        if known.last_modified != new.last_modified:
            return Sameness.CHANGED
        if known.settled and known.total is not None and new.total is not None:
            return Sameness.SAME
    return Sameness.UNPROVEN


def judge(asked: Asked, head: Head, identity: str = "") -> Verdict:
    """What to do with an answer. `identity` is a SHA-256 of the whole that came with it (or a redirect to it)."""
    if head.status == 206:
        return _judge_part(asked, head, identity)
    if head.status == 200:
        return _judge_whole(asked, head, identity)
    if head.status == 416 and asked.ranged:
        return _judge_unsatisfied(asked, head)
    if asked.pinned_version and head.status in {404, 412}:
        return Changed("the version that was begun is no longer there")
    if head.status in {304, 412}:
        return Misfit(f"answered {head.status} to a request that it does not fit")
    return Refused(of_status(head.status), f"answered {head.status}")


def _judge_part(asked: Asked, head: Head, identity: str) -> Verdict:
    lines = head.all("content-range")
    part = parse_content_range(lines[0]) if len(lines) == 1 else None
    if not asked.ranged:
        return Misfit("answered 206 to a request without Range")
    if (head.get("content-type") or "").lower().startswith("multipart/"):
        return Misfit("answered one range with multipart/byteranges")
    spliced = _other_coding(asked, head)
    if spliced is not None:
        return spliced
    if not isinstance(part, ContentRange):
        return Misfit("answered 206 without one readable Content-Range")
    if part.start != asked.start or (asked.end is not None and part.end > asked.end):
        return Misfit(f"asked for bytes from {asked.start}, answered with {part.start}-{part.end - 1}")
    if head.length is not None and head.length != part.end - part.start:
        return Misfit(f"Content-Length {head.length} does not fit Content-Range {lines[0].strip()}")
    total = part.total if part.total is not None else asked.total
    if total is None:
        return Misfit("answered 206 without saying how long the whole is")
    if asked.total is not None and total != asked.total:
        return Changed(f"its size went from {asked.total} to {total} bytes")
    validator = validator_of(head, total, identity)
    if asked.known is not None:
        sameness = compare(asked.known, validator)
        if sameness is Sameness.CHANGED:
            return Changed("the origin has another version now")
        if sameness is Sameness.UNPROVEN and not asked.digest_known:
            return Changed("nothing proves that the origin still has the same version")
    return Take(part.start, part.end - part.start, total, validator)


def _other_coding(asked: Asked, head: Head) -> Misfit | None:
    """Coded bytes and plain ones make no file, whatever validators and sizes say."""
    if head.coding and not asked.raw:
        return Misfit(f"answered with a coded part ({head.coding})")
    if asked.known is not None and asked.known.coding and not head.coding:
        return Misfit(f"answered with a part that is not coded, of a body that was ({asked.known.coding})")
    return None


def _judge_whole(asked: Asked, head: Head, identity: str) -> Verdict:
    if head.all("content-range"):
        return Misfit("answered 200 with a Content-Range: a part that does not say so")
    if head.stored_coding and not head.coding and not asked.raw:
        return WantRaw()
    foreign = "" if own_coding(head, asked.file_name, raw=asked.raw) else head.coding
    if foreign and not asked.digest_known:
        return Refused(Failure.IMPOSTOR, unasked_coding(foreign))
    total = head.length
    if total is None and head.stored_coding:
        total = number(head.get("x-goog-stored-content-length"))
    validator = validator_of(head, total, identity)
    take = Take(0, head.length, total, validator, foreign)
    if asked.ranged:
        known = asked.known
        return Ignored(take, Sameness.UNPROVEN if known is None else compare(known, validator))
    return take


def unasked_coding(coding: str) -> str:
    """Why a body is of no use, in words whose subject is the origin."""
    return f"sent a coded body ({coding}) though none was asked for"


def _judge_unsatisfied(asked: Asked, head: Head) -> Verdict:
    lines = head.all("content-range")
    part = parse_content_range(lines[0]) if len(lines) == 1 else None
    if not isinstance(part, Unsatisfied):
        return Changed("answered 416 without saying the size")
    if part.total == asked.start and asked.total in {None, part.total}:
        return Complete(part.total)
    return Changed(f"has {part.total} bytes now, asked for more from {asked.start}")


def number(value: str | None) -> int | None:
    """A header's plain decimal number, or None. Longer ones than any file's are none."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

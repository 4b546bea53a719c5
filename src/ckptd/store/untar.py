"""A tar stream, member by member: its headers as `Entry`, followed by their content in parts.

Reads to the end of the stream and tells a whole archive from one that was cut: without both end-of-archive blocks, or
with anything but zeros behind them, it is damaged. What the headers mean is `core.tarblocks`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.document import shown
from ckptd.core.members import Damaged, Entry, Refuse, Refused
from ckptd.core.models import UnpackSettings
from ckptd.core.tarblocks import (
    BLOCK,
    LONGEST_EXTENSION,
    Extensions,
    Header,
    Member,
    Segments,
    check_segments,
    extended,
    looks_like_tar,
    member_of,
    parse,
    pax_records,
    refuse_global,
    sparse_pairs,
)
from ckptd.store.archives import CHUNK, Stream, not_tar

Item = Entry | memoryview
_ZERO_BLOCK = bytes(BLOCK)
_HOLE = memoryview(bytes(CHUNK))


def members(stream: Stream, name: str, settings: UnpackSettings) -> Iterator[Item]:
    """Every member and its content. `name` is the archive's. Raises Damaged, Refused, and what the stream raises."""
    extensions = Extensions()
    block = stream.take(BLOCK)
    if not looks_like_tar(block):
        raise not_tar(name, f"it holds no tar archive (it begins with {block[:8].hex(' ') or 'nothing'})")
    while block != _ZERO_BLOCK:
        if len(block) < BLOCK:
            raise Damaged(f"it is cut short: no end-of-archive blocks where it ends, at byte {stream.at} of its tar")
        header = _parse(block, stream)
        if not _extension(header, stream, extensions, settings):
            yield from _content(member_of(header, extensions), stream)
            extensions = Extensions()
        block = stream.take(BLOCK)
    if not extensions.empty:
        raise Damaged("an extended header is the last thing in it, without a member")
    yield from _finish(stream)


def _parse(block: bytes, stream: Stream) -> Header:
    try:
        return parse(block)
    except Damaged as error:
        raise Damaged(f"{error} (at byte {stream.at - BLOCK} of its tar)") from None


def _extension(header: Header, stream: Stream, extensions: Extensions, settings: UnpackSettings) -> bool:
    """Take in a header that belongs to a later one; False when it is a member itself."""
    if header.flag not in {"x", "g", "L", "K"}:
        return False
    if header.flag in {"L", "K"} and header.size > max(4 * settings.max_path, BLOCK):
        raise Refused(Refuse(f"a member's name is {header.size} bytes long"))
    if header.size > LONGEST_EXTENSION:
        raise Refused(Refuse(f"an extended header is {header.size} bytes long"))
    begins = stream.at
    body = b"".join(stream.flow(header.size, "an extended header"))
    _skip_padding(stream, header.size)
    if header.flag == "g":
        refuse_global(_records(body, begins))
        return True
    slot = {"x": "pax", "L": "name", "K": "link"}[header.flag]
    if getattr(extensions, slot) is not None:
        raise Refused(Refuse("a member has two extended headers of one kind"))
    setattr(extensions, slot, _records(body, begins) if header.flag == "x" else extended(body))
    return True


def _records(body: bytes, begins: int) -> dict[str, bytes]:
    try:
        return pax_records(body)
    except Damaged as error:
        raise Damaged(f"{error} (at byte {begins} of its tar)") from None


def _content(member: Member, stream: Stream) -> Iterator[Item]:
    segments, stored = member.segments, member.stored
    what = shown(member.entry.name.decode(errors="backslashreplace"))
    if member.more and segments is not None:
        segments = [*segments, *_more_pairs(stream)]
    if member.mapped:
        segments, used = _map(stream, member)
        stored -= used
    yield member.entry
    if segments is None:
        yield from stream.flow(stored, what)
    else:
        try:
            check_segments(segments, member.entry.size, stored)
        except Damaged as error:
            raise Damaged(f"{error}: {what}") from None
        yield from _spread(segments, member.entry.size, stream, what)
    _skip_padding(stream, stored)


def _more_pairs(stream: Stream) -> Iterator[tuple[int, int]]:
    """The blocks that continue the sparse map of GNU's old format."""
    for _ in range(LONGEST_EXTENSION // BLOCK):
        block = stream.take(BLOCK)
        if len(block) < BLOCK:
            raise Damaged("it is cut short within a sparse map")
        yield from sparse_pairs(block[:504])
        if not block[504]:
            return
    raise Refused(Refuse("a sparse map is too long"))


def _map(stream: Stream, member: Member) -> tuple[Segments, int]:
    """The map before the content (GNU.sparse 1.0): decimal lines, padded to a block; and its length in bytes."""
    lines: list[bytes] = []
    rest = b""
    used, wanted = 0, 1
    while len(lines) < wanted:
        if used + BLOCK > min(member.stored, LONGEST_EXTENSION):
            raise Damaged("a sparse map does not end where it should")
        *more, rest = (rest + b"".join(stream.flow(BLOCK, "a sparse map"))).split(b"\n")
        lines += more
        used += BLOCK
        if lines:
            wanted = 1 + 2 * _decimal(lines[0])
    numbers = [_decimal(line) for line in lines[1:wanted]]
    return list(zip(numbers[::2], numbers[1::2], strict=True)), used


def _decimal(line: bytes) -> int:
    if not line.isdigit() or len(line) > 19:
        raise Damaged("a sparse map is malformed")
    return int(line)


def _spread(segments: Segments, size: int, stream: Stream, what: str) -> Iterator[memoryview]:
    """The content of a sparse file with its holes, which are written out: what was counted is what it takes."""
    at = 0
    for offset, length in (*segments, (size, 0)):
        while at < offset:
            hole = _HOLE[: offset - at]
            at += len(hole)
            yield hole
        yield from stream.flow(length, what)
        at += length


def _skip_padding(stream: Stream, size: int) -> None:
    for _ in stream.flow(-size % BLOCK, "the padding of a member"):
        pass


def _finish(stream: Stream) -> Iterator[Item]:
    """The second zero block, and nothing but zeros behind it: tar pads to its record size. Yields emptiness."""
    second = stream.take(BLOCK)
    if len(second) < BLOCK:
        raise Damaged(f"it is cut short: one end-of-archive block where there must be two, at byte {stream.at}")
    if second != _ZERO_BLOCK:
        raise Damaged(f"a single empty block stands at byte {stream.at - 2 * BLOCK} of its tar, where a header should")
    for view in stream.rest():
        if bytes(view).count(0) != len(view):
            raise Damaged(f"something follows its end-of-archive blocks, before byte {stream.at} of its tar")
        yield view[:0]  # so that whoever waits can see that it goes on

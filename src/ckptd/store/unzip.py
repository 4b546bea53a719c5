"""A zip archive, member by member: each as `Entry`, followed by its content in parts, in the central directory's order.

Content is inflated and its CRC-32 and size checked to the end. Members that share bytes are refused (as Fifield's
bombs have them), local headers compared with the central directory. What records mean is `core.ziprecords`.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator

from ckptd.core.document import shown
from ckptd.core.members import Damaged, Entry, Refuse, Refused, Type
from ckptd.core.models import UnpackSettings
from ckptd.core.ziprecords import (
    CENTRAL_SIZE,
    DEFLATED,
    DESCRIPTOR,
    LOCAL_SIZE,
    TAIL,
    Directory,
    Record,
    check_local,
    descriptor_length,
    directory_of,
    entry_of,
    link_entry,
    local_length,
    record_length,
    record_of,
)
from ckptd.store.archives import CHUNK, READ, Inflate, Source, decode

Item = Entry | memoryview


def members(source: Source, settings: UnpackSettings) -> Iterator[Item]:
    """Every member and its content. Raises Damaged, Refused and StorageError."""
    directory = directory_of(source.at(max(0, source.size - TAIL), TAIL), source.size)
    if directory.count > settings.max_members:
        hint = "raise max_members under [unpack] in the manifest if you trust this archive"
        raise Refused(Refuse(f"it has {directory.count} members", hint))
    begins = _begins(source, directory)
    for record in _records(source, directory):
        start = _data_of(source, record)
        end = start + record.packed
        after = source.at(end, DESCRIPTOR)
        end += descriptor_length(after, record)
        following = begins[bisect_right(begins, record.offset)]
        if end > following:
            raise Refused(_overlap(record))
        entry = entry_of(record)
        if entry.type is Type.SYMLINK:
            yield _link(source, record, start, entry, settings)
        else:
            yield entry
            yield from _content(source, record, start)


def _records(source: Source, directory: Directory) -> Iterator[Record]:
    """The central directory, a part at a time: it has to be filled exactly by as many records as its end says."""
    at, end, count, raw = directory.offset, directory.offset + directory.size, 0, b""
    while at < end or raw:
        if len(raw) < CENTRAL_SIZE or len(raw) < record_length(raw[:CENTRAL_SIZE]):
            more = source.at(at, min(READ + 4 * 65536, end - at))
            if not more:
                raise Damaged("its central directory is damaged")
            raw, at = raw + more, at + len(more)
        cursor = 0
        while len(raw) - cursor >= CENTRAL_SIZE:
            length = record_length(raw[cursor : cursor + CENTRAL_SIZE])
            if len(raw) - cursor < length:
                break
            yield record_of(raw[cursor : cursor + length])
            count += 1
            cursor += length
        raw = raw[cursor:]
    if count != directory.count:
        raise Damaged(f"its end record counts {directory.count} members, its central directory has {count}")


def _begins(source: Source, directory: Directory) -> array[int]:
    """Where each member begins, in order, and last the central directory. Refuses those that lie in each other."""
    begins, reach = array("Q"), 0
    ordered = True
    for record in _records(source, directory):
        if record.offset + record.least > directory.offset:
            raise Refused(Refuse(f"{_name(record)} reaches into the central directory"))
        ordered = ordered and record.offset >= reach
        reach = record.offset + record.least
        begins.append(record.offset)
    if not ordered:
        begins = array("Q", sorted(begins))
        if any(begins[index] == begins[index + 1] for index in range(len(begins) - 1)):
            raise Refused(Refuse("two of its members are the same bytes of it"))
    begins.append(directory.offset)
    return begins


def _overlap(record: Record) -> Refuse:
    return Refuse(f"{_name(record)} shares bytes with another member")


def _data_of(source: Source, record: Record) -> int:
    """Where the content begins, behind a local header that agrees."""
    head = source.at(record.offset, LOCAL_SIZE)
    length = local_length(head, record)
    check_local(head + source.at(record.offset + LOCAL_SIZE, length - LOCAL_SIZE), record)
    return record.offset + length


def _link(source: Source, record: Record, start: int, entry: Entry, settings: UnpackSettings) -> Entry:
    """A symbolic link: its target is its content."""
    if record.size > settings.max_path:
        raise Refused(Refuse(f"{_name(record)} is a link whose target has {record.size} bytes"))
    return link_entry(entry, b"".join(_content(source, record, start)))


def _content(source: Source, record: Record, start: int) -> Iterator[memoryview]:
    """What a member unpacks to; its size and CRC-32 are right once it has ended."""
    crc = size = 0
    for out in _inflated(source, record, start) if record.method == DEFLATED else _parts(source, record, start):
        crc = zlib.crc32(out, crc)
        size += len(out)
        if size > record.size:
            raise Damaged(f"{_name(record)} unpacks to more than the {record.size} bytes that it claims")
        yield memoryview(out)
    if size != record.size:
        raise Damaged(f"{_name(record)} unpacks to {size} bytes and claims {record.size}")
    if crc != record.crc:
        raise Damaged(f"{_name(record)} is damaged: its CRC-32 is {crc:08x} and has to be {record.crc:08x}")


def _parts(source: Source, record: Record, start: int, size: int = CHUNK) -> Iterator[bytes]:
    at, end = start, start + record.packed
    while at < end:
        data = source.at(at, min(size, end - at))
        if not data:
            raise Damaged(f"it is cut short within {_name(record)}")
        yield data
        at += len(data)


def _inflated(source: Source, record: Record, start: int) -> Iterator[bytes]:
    decoder = Inflate(-zlib.MAX_WBITS)
    parts = _parts(source, record, start, READ)
    while not decoder.eof:
        data = next(parts, b"") if decoder.needs_input else b""
        out = decode(decoder, data, CHUNK, _name(record))
        if not out and not data and not decoder.eof:
            raise Damaged(f"{_name(record)} is cut short: its compressed bytes have no end")
        if out:
            yield out
    if decoder.unused_data or next(parts, b""):
        raise Damaged(f"{_name(record)} has something behind its compressed bytes")


def _name(record: Record) -> str:
    return shown(record.name.decode(errors="backslashreplace"))

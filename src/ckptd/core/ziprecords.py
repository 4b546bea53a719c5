"""Zip records: bytes -> what they say, or a refusal. PKWARE's APPNOTE 6.3, the sections of which are named. No I/O.

Parsed here and not by `zipfile`, whose checks of overlapping members and contradicting headers depend on the patch
level. The central directory decides; where a local header says something else the archive is refused, because a reader
that goes by local headers would see another one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ckptd.core.document import shown
from ckptd.core.members import Damaged, Entry, Refuse, Refused, Type

END_SIZE = 22  # bytes of the end record without its comment (4.3.16)
_ZIP64_END_SIZE, _LOCATOR_SIZE = 56, 20
TAIL = END_SIZE + 65535 + _LOCATOR_SIZE + _ZIP64_END_SIZE  # bytes at the end in which all of them lie
CENTRAL_SIZE = 46  # bytes of a central header without names (4.3.12)
LOCAL_SIZE = 30  # bytes of a local header without names (4.3.7)
DESCRIPTOR = 24  # bytes of the longest data descriptor (4.3.9)
STORED, DEFLATED = 0, 8
_ENCRYPTED, _DESCRIBED, _PATCH, _STRONG, _UTF8, _MASKED = 1, 1 << 3, 1 << 5, 1 << 6, 1 << 11, 1 << 13
_FLAGS = _ENCRYPTED | _DESCRIBED | _PATCH | _STRONG | _UTF8 | _MASKED
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the zip64 record"
_FORMATS = {0x4000: Type.FOLDER, 0x8000: Type.FILE, 0xA000: Type.SYMLINK}  # S_IFMT
_ODD = {0x1000: "a named pipe", 0x2000: "a device", 0x6000: "a device", 0xC000: "a socket"}
_DOS_FOLDER = 0x10


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies, and how many records it has. Bytes."""

    offset: int
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Record:
    """One member as the central directory has it. Sizes and offsets in bytes."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int
    extra: bytes

    @property
    def least(self) -> int:
        """How many bytes it takes at the least, with its local header."""
        return LOCAL_SIZE + len(self.name) + self.packed


def directory_of(tail: bytes, size: int) -> Directory:
    """Find the central directory by the end of the archive (4.3.14 to 4.3.16). Raises Damaged or Refused.

    `tail` is the last TAIL bytes of the archive, or all of it; `size` the archive's.
    """
    ends = [at for at in _occurrences(tail, b"PK\5\6") if _fits(tail, at)]
    if not ends:
        raise Damaged("it has no end record at its end: it is cut short, or something was appended")
    if len(ends) > 1:
        raise Refused(Refuse("it has two end records, so that readers would disagree on what is in it"))
    at = ends[0]
    disk, start_disk, here, count, length, offset, _ = struct.unpack_from("<4H2LH", tail, at + 4)
    end = size - len(tail) + at
    low = (disk, start_disk, here, count, length, offset)
    if tail[max(0, at - _LOCATOR_SIZE) : at].startswith(b"PK\6\7"):
        end -= _LOCATOR_SIZE + _ZIP64_END_SIZE
        low = _zip64_end(tail, at - _LOCATOR_SIZE, end, low)
    disk, start_disk, here, count, length, offset = low
    if disk or start_disk or here != count:
        raise Refused(Refuse("it is a part of a multi-volume archive"))
    if offset + length != end:
        raise Damaged("its central directory does not lie right before its end record")
    return Directory(offset, length, count)


def _occurrences(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _fits(tail: bytes, at: int) -> bool:
    """Whether an end record at `at` ends, with its comment, where the archive does."""
    return at + END_SIZE <= len(tail) and at + END_SIZE + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)


def _zip64_end(tail: bytes, locator: int, end: int, low: tuple[int, ...]) -> tuple[int, int, int, int, int, int]:
    disk, where, disks = struct.unpack_from("<LQL", tail, locator + 4)
    at = locator - _ZIP64_END_SIZE
    if at < 0 or not tail.startswith(b"PK\6\6", at) or disk or disks > 1 or where != end:
        raise Damaged("its zip64 end record is not where its locator says")
    length, _, _, *high = struct.unpack_from("<QHH2L4Q", tail, at + 4)
    full = (_FULL16,) * 4 + (_FULL32,) * 2
    if length != _ZIP64_END_SIZE - 12 or any(a not in {b, most} for a, b, most in zip(low, high, full, strict=True)):
        raise Refused(Refuse("its two end records contradict each other"))
    one, two, here, count, size, offset = high
    return one, two, here, count, size, offset


def record_length(head: bytes) -> int:
    """How long the central header that begins with `head` (CENTRAL_SIZE bytes) is. Raises Damaged."""
    if len(head) < CENTRAL_SIZE or not head.startswith(b"PK\1\2"):
        raise Damaged("its central directory is damaged")
    return CENTRAL_SIZE + int(sum(struct.unpack_from("<3H", head, 28)))


def record_of(raw: bytes) -> Record:
    """A whole central header (4.3.12). Raises Damaged or Refused."""
    flags, method, _, _, crc, packed, size, name_length, extra_length = struct.unpack_from("<4H3L2H", raw, 8)
    disk, _, attributes, offset = struct.unpack_from("<2H2L", raw, 34)
    name = raw[CENTRAL_SIZE : CENTRAL_SIZE + name_length]
    extra = raw[CENTRAL_SIZE + name_length : CENTRAL_SIZE + name_length + extra_length]
    size, packed, offset, disk = _widened(extra, (size, packed, offset), disk)
    if disk:
        raise Refused(Refuse("it is a part of a multi-volume archive"))
    record = Record(name, flags, method, crc, packed, size, offset, attributes, extra)
    reason = _unreadable(record)
    if reason:
        raise Refused(Refuse(f"{_shown(name)} {reason}"))
    return record


def _widened(extra: bytes, low: tuple[int, int, int], disk: int) -> tuple[int, int, int, int]:
    """Sizes and offset with those that did not fit taken from the zip64 extra field (4.5.3)."""
    wide = _extras(extra).get(1, b"")
    values = [*low]
    at = 0
    for index, value in enumerate(low):
        if value == _FULL32:
            if len(wide) < at + 8:
                raise Damaged("a zip64 field is missing")
            values[index] = int.from_bytes(wide[at : at + 8], "little")
            at += 8
    if disk == _FULL16 and len(wide) >= at + 4:
        disk = int.from_bytes(wide[at : at + 4], "little")
    return values[0], values[1], values[2], disk


def _extras(raw: bytes) -> dict[int, bytes]:
    """Extra fields by their numbers (4.5.1); of two with one number the first. Padding at the end is let pass."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(raw):
        number, length = struct.unpack_from("<2H", raw, at)
        found.setdefault(number, raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _unreadable(record: Record) -> str:
    """Why a member cannot be read, "" if it can."""
    if record.flags & (_ENCRYPTED | _STRONG | _MASKED):
        return "is encrypted"
    if record.flags & _PATCH or record.method not in {STORED, DEFLATED}:
        return f"is compressed in a way that ckptd does not read (method {record.method})"
    if record.method == STORED and record.packed != record.size:
        return "is stored and yet has two sizes"
    # An extra field may give another name (4.6.9); a reader that knows it would write elsewhere.
    other = _extras(record.extra).get(0x7075)
    if other is not None and other[5:] != record.name:
        return f"has another name too, {_shown(other[5:])}"
    return ""


def _shown(name: bytes) -> str:
    return shown(name.decode(errors="backslashreplace"))


def local_length(head: bytes, record: Record) -> int:
    """How long the local header that begins with `head` (LOCAL_SIZE bytes) is. Raises Damaged."""
    if len(head) < LOCAL_SIZE or not head.startswith(b"PK\3\4"):
        raise Damaged(f"{_shown(record.name)} has no local header at byte {record.offset}")
    return LOCAL_SIZE + int(sum(struct.unpack_from("<2H", head, 26)))


def check_local(raw: bytes, record: Record) -> None:
    """A whole local header (4.3.7) has to say what the central directory says. Raises Refused or Damaged."""
    flags, method, _, _, crc, packed, size, name_length = struct.unpack_from("<4H3LH", raw, 6)
    name = raw[LOCAL_SIZE : LOCAL_SIZE + name_length]
    extra = raw[LOCAL_SIZE + name_length :]
    if name != record.name:
        raise Refused(Refuse(f"{_shown(record.name)} is called {_shown(name)} in its local header"))
    said: tuple[int, int, int] = (crc, packed, size)
    if flags & _DESCRIBED:
        # They follow the content; here stands nothing, or the same, or "see zip64" where that has nothing yet.
        true = (record.crc, record.packed, record.size)
        same = all(value in {0, real, _FULL32} for value, real in zip(said, true, strict=True))
    else:
        size, packed, _, _ = _widened(extra, (size, packed, 0), 0)
        same = (crc, packed, size) == (record.crc, record.packed, record.size)
    if not same or method != record.method or (flags ^ record.flags) & _FLAGS:
        raise Refused(Refuse(f"{_shown(record.name)} has a local header that contradicts the central directory"))


def descriptor_length(raw: bytes, record: Record) -> int:
    """How long the data descriptor (4.3.9) is that `raw` begins with; 0 where the member needs none.

    Raises Refused where none of its four spellings says what the central directory says.
    """
    if not record.flags & _DESCRIBED:
        return 0
    for mark in (b"PK\7\b", b""):
        for form in ("<3L", "<L2Q"):
            if form == "<3L" and max(record.packed, record.size) > _FULL32:
                continue
            wanted = mark + struct.pack(form, record.crc, record.packed, record.size)
            if raw.startswith(wanted):
                return len(wanted)
    raise Refused(Refuse(f"{_shown(record.name)} has a data descriptor that contradicts the central directory"))


def entry_of(record: Record) -> Entry:
    """The member in the words of `core.members`. Attributes are judged as Unix's wherever they look like those."""
    mode = record.attributes >> 16
    form = mode & 0xF000
    ends_as_folder = record.name.endswith(b"/")
    kind = _FORMATS.get(form, Type.OTHER)
    if not form:
        kind = Type.FOLDER if ends_as_folder or record.attributes & _DOS_FOLDER else Type.FILE
    what = _ODD.get(form, "of a type that ckptd does not know")
    return Entry(record.name, kind, record.size, mode=mode & 0o7777, mtime=_mtime(record.extra), what=what)


def link_entry(entry: Entry, target: bytes) -> Entry:
    """A symbolic link, whose content is its target."""
    return replace(entry, target=target, size=0)


def _mtime(extra: bytes) -> int | None:
    """The extended timestamp, in UTC; the one every member has is local time of an unknown place (4.4.6)."""
    raw = _extras(extra).get(0x5455, b"")
    return int.from_bytes(raw[1:5], "little", signed=True) if len(raw) >= 5 and raw[0] & 1 else None

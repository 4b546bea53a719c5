"""Tar headers: blocks of 512 bytes -> what they say, or a refusal. POSIX.1-2017 pax, ustar, GNU and V7. No I/O.

Parsed here and not by `tarfile`, which takes a damaged header or a single zero block for the end of the archive, reads
numbers that are none, and changes its mind about member types between patch levels (CVE-2025-13462, CVE-2025-8194).
Where two headers of one member contradict each other it is refused: readers that believe the other one would see
another archive (CVE-2025-62518).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptd.core.document import shown
from ckptd.core.members import Damaged, Entry, Refuse, Refused, Type

BLOCK = 512  # bytes
LONGEST_EXTENSION = 1024 * 1024  # bytes of one pax header or sparse map; names and attributes need far less
_SMALL = 8**11  # sizes from here on do not fit into a ustar header, so that it may say something else
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_SECONDS = re.compile(rb"(-?[0-9]{1,15})(?:\.[0-9]*)?")
_RECORD = re.compile(rb"([1-9][0-9]{0,7}) ([^=\n]+)=")
_DIGITS = re.compile(rb"[0-9]{1,19}")
_DEVICES = {"3": "a device", "4": "a device", "6": "a named pipe", "M": "a part of a multi-volume archive"}
_TYPES = {"0": Type.FILE, "\0": Type.FILE, "7": Type.FILE, "S": Type.FILE}
_TYPES |= {"1": Type.HARDLINK, "2": Type.SYMLINK, "5": Type.FOLDER}
_NEVER_GLOBAL = ("path", "linkpath", "size")
_SPARSE = "GNU.sparse."

Segments = Sequence[tuple[int, int]]  # offset and length of what is not a hole, in bytes


@dataclass(frozen=True, slots=True)
class Header:
    """One header block. `size` is that of the content stored behind it."""

    name: bytes
    flag: str
    size: int
    mode: int
    mtime: int | None
    link: bytes
    block: bytes

    @property
    def is_gnu(self) -> bool:
        """Whether it is of GNU tar's old format."""
        return self.block[257:265] == b"ustar  \0"


@dataclass(slots=True)
class Extensions:
    """What preceded a header and overrides it."""

    pax: dict[str, bytes] | None = None
    name: bytes | None = None  # GNU's `L`
    link: bytes | None = None  # GNU's `K`

    @property
    def empty(self) -> bool:
        """Nothing is waiting for its header."""
        return self.pax is None and self.name is None and self.link is None


@dataclass(frozen=True, slots=True)
class Member:
    """A member and how its content is stored: `stored` bytes; of a sparse file only what is not a hole."""

    entry: Entry
    stored: int
    mapped: bool = False  # the content begins with a sparse map (GNU.sparse 1.0)
    segments: Segments | None = None  # of a sparse file with the map in its header; None: the content is all there is
    more: bool = False  # the sparse map goes on in the next block


def looks_like_tar(block: bytes) -> bool:
    """Whether an archive may begin with this block."""
    return len(block) == BLOCK and (block[257:262] == b"ustar" or _sums_up(block) or not any(block))


def parse(block: bytes) -> Header:
    """Read one header. Raises Damaged where it is none, or not what was written."""
    if not _sums_up(block):
        raise Damaged("a header's checksum is wrong")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = _text(block[345:500]) + b"/" + name
    mode, mtime = _maybe(block[100:108]), _maybe(block[136:148])
    flag = chr(block[156])
    return Header(name, flag, number(block[124:136], "size"), mode or 0, mtime, _text(block[157:257]), block)


def _sums_up(block: bytes) -> bool:
    """Whether the checksum is right: the sum of all bytes, its own field as spaces; old ones summed signed bytes."""
    wanted = _maybe(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if wanted == total:
        return True
    signed = sum(1 for byte in block[:148] + block[156:] if byte > 127) * 256
    return wanted is not None and wanted == total - signed


def number(raw: bytes, what: str) -> int:
    """A number in octal, or in GNU's base 256 where its first bit is set. Raises Damaged."""
    if raw[0] & 0x80:
        if raw[0] & 0x40:
            raise Damaged(f"a header's {what} is negative")
        return int.from_bytes(bytes((raw[0] & 0x7F,)) + raw[1:])
    found = _OCTAL.fullmatch(raw)
    if found is None:
        raise Damaged(f"a header's {what} is not a number")
    return int(found[1] or b"0", 8)


def _maybe(raw: bytes) -> int | None:
    try:
        return number(raw, "")
    except Damaged:
        return None


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def pax_records(body: bytes) -> dict[str, bytes]:
    """The records of a pax header, `"%d %s=%s\\n"`. Raises Damaged, or Refused where one contradicts another."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        found = _RECORD.match(body, at)
        end = at + int(found[1]) if found else 0
        if found is None or end > len(body) or end <= found.end() or body[end - 1] != 0x0A:
            raise Damaged("a pax header is malformed")
        key, value = found[2].decode(errors="replace"), body[found.end() : end - 1]
        if key in _NEVER_GLOBAL and records.get(key, value) != value:
            raise Refused(Refuse(f"a pax header has two different values for {key}"))
        records[key] = value
        at = end
    return records


def refuse_global(records: Mapping[str, bytes]) -> None:
    """A header for all members that follow may say who made the archive, not what they are called. Raises Refused."""
    for key in records:
        if key in _NEVER_GLOBAL or key.startswith(_SPARSE):
            raise Refused(Refuse(f"a global pax header sets {shown(key)} for every member"))


def extended(body: bytes) -> bytes:
    """The name in a GNU `L` or `K` member."""
    return body.rstrip(b"\0")


def member_of(header: Header, extensions: Extensions) -> Member:
    """A header and what preceded it, as one. Raises Damaged or Refused."""
    pax = extensions.pax or {}
    name = _agreed("name", header.name, extensions.name, pax.get("path"))
    target = _agreed("link target", header.link, extensions.link, pax.get("linkpath"))
    stored = _size(header, pax, name)
    kind = _TYPES.get(header.flag, Type.OTHER)
    # V7 had no type for folders. Decided by the whole name: a shortened one ends anywhere (CVE-2025-13462).
    if header.flag == "\0" and name.endswith(b"/") and not stored:
        kind = Type.FOLDER
    what = _DEVICES.get(header.flag, f"of a type that ckptd does not know ({shown(header.flag)})")
    entry = Entry(name, kind, stored, target, header.mode, _mtime(header, pax), what)
    return _sparse(entry, header, pax, stored)


def _agreed(what: str, short: bytes, gnu: bytes | None, pax: bytes | None) -> bytes:
    if gnu is not None and pax is not None and gnu != pax:
        raise Refused(Refuse(f"a member has two {what}s, {shown(_readable(gnu))} and {shown(_readable(pax))}"))
    return gnu if gnu is not None else pax if pax is not None else short


def _readable(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _size(header: Header, pax: Mapping[str, bytes], name: bytes) -> int:
    """The size of the stored content. The header may say something else only where it has no room for the number."""
    raw = pax.get("size")
    if raw is None:
        return header.size
    size = _decimal(raw, "size")
    if size != header.size and size < _SMALL:
        raise Refused(
            Refuse(f"{shown(_readable(name))} has two sizes, {header.size} and {size} bytes: readers would disagree")
        )
    return size


def _decimal(raw: bytes, what: str) -> int:
    if not _DIGITS.fullmatch(raw):
        raise Damaged(f"a pax header's {what} is not a number")
    return int(raw)


def _mtime(header: Header, pax: Mapping[str, bytes]) -> int | None:
    found = _SECONDS.fullmatch(pax.get("mtime", b""))
    return int(found[1]) if found else header.mtime


def _sparse(entry: Entry, header: Header, pax: Mapping[str, bytes], stored: int) -> Member:
    """Sparse files of GNU tar's old format and of version 1.0, which bsdtar writes too; older ones are refused."""
    keys = {key.removeprefix(_SPARSE): value for key, value in pax.items() if key.startswith(_SPARSE)}
    old = header.flag == "S"
    if not keys and not old and "SCHILY.realsize" not in pax and "SUN.holesdata" not in pax:
        return Member(entry, stored)
    plain = entry.type is Type.FILE and not (old and keys)
    if plain and old and header.is_gnu:
        real = number(header.block[483:495], "real size")
        segments = sparse_pairs(header.block[386:482])
        return Member(_resized(entry, entry.name, real), stored, segments=segments, more=header.block[482] != 0)
    if plain and (keys.get("major"), keys.get("minor")) == (b"1", b"0") and {"name", "realsize"} <= keys.keys():
        real = _decimal(keys["realsize"], "real size")
        return Member(_resized(entry, keys["name"], real), stored, mapped=True)
    raise Refused(Refuse(f"{shown(_readable(entry.name))} is a sparse file of a kind that ckptd does not read"))


def _resized(entry: Entry, name: bytes, size: int) -> Entry:
    return Entry(name, entry.type, size, entry.target, entry.mode, entry.mtime)


def sparse_pairs(raw: bytes) -> list[tuple[int, int]]:
    """The segments of a GNU sparse header: pairs of 12-byte numbers, up to the first empty one."""
    pairs: list[tuple[int, int]] = []
    for at in range(0, len(raw) - 23, 24):
        if not raw[at] or not raw[at + 12]:
            break
        pairs.append((number(raw[at : at + 12], "sparse map"), number(raw[at + 12 : at + 24], "sparse map")))
    return pairs


def check_segments(segments: Segments, size: int, stored: int) -> None:
    """A sparse map has to be in order, within the file, and account for all that is stored. Raises Damaged."""
    at = total = 0
    for offset, length in segments:
        if offset < at:
            raise Damaged("a sparse map is out of order")
        at = offset + length
        total += length
    if at > size or total != stored:
        raise Damaged("a sparse map does not fit its file")

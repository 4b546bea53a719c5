"""Archives that attack, lie or are damaged, and some that are only unusual; made block by block.

`ATTACKS` are refused by policy, `DAMAGED` are integrity failures, each with words that the reason must have in it;
`UNUSUAL` are good, each with what must come out. The standard library would refuse to write most of them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 512
END = bytes(2 * BLOCK)
SYMLINK_MODE = 0o120777 << 16


# --- tar -------------------------------------------------------------------------------------------------------------


def header(
    name: bytes,
    flag: bytes = b"0",
    size: int | bytes = 0,
    *,
    link: bytes = b"",
    mode: int = 0o644,
    mtime: int = 1_600_000_000,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    patch: tuple[int, bytes] | None = None,
) -> bytes:
    """One header with a right checksum; `patch` puts raw bytes at an offset first."""
    length = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:136] = b"%07o\0" % mode + b"0000000\0" * 2 + length
    block[136:148] = b"%011o\0" % mtime
    block[148:156] = b" " * 8
    block[156:157] = flag
    block[157 : 157 + len(link)] = link
    block[257 : 257 + len(magic)] = magic
    block[345 : 345 + len(prefix)] = prefix
    if patch:
        block[patch[0] : patch[0] + len(patch[1])] = patch[1]
    assert len(block) == BLOCK
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def file(name: bytes, data: bytes = b"content", **more: int) -> bytes:
    return header(name, b"0", len(data), mode=more.get("mode", 0o644), mtime=more.get("mtime", 0)) + padded(data)


def folder(name: bytes) -> bytes:
    return header(name, b"5", mode=0o755)


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hard_link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def records(**values: bytes) -> bytes:
    """The body of a pax header; underscores in the names of keys stand for dots."""
    body = b""
    for key, value in values.items():
        plain = b" " + key.replace("_", ".").encode() + b"=" + value + b"\n"
        length = len(plain)
        while len(b"%d" % length) + len(plain) != length:
            length = len(b"%d" % length) + len(plain)
        body += b"%d" % length + plain
    return body


def pax(flag: bytes = b"x", **values: bytes) -> bytes:
    body = records(**values)
    return header(b"PaxHeaders/0", flag, len(body)) + padded(body)


def gnu_long(flag: bytes, name: bytes) -> bytes:
    return header(b"././@LongLink", flag, len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def gnu_sparse(name: bytes, pairs: list[tuple[int, int]], real: int, data: bytes, *, blocks: bool = False) -> bytes:
    """A sparse file in GNU's old format; with `blocks` the map goes on behind the header after its first pair."""
    spelled = [b"%011o\0%011o\0" % pair for pair in pairs]
    inside, outside = (spelled[:1], spelled[1:]) if blocks else (spelled, [])
    area = b"".join(inside).ljust(96, b"\0") + (b"\1" if outside else b"\0") + b"%011o\0" % real
    more = b"".join(outside).ljust(504, b"\0") + bytes(8) if outside else b""
    return header(name, b"S", len(data), magic=b"ustar  \0", patch=(386, area)) + more + padded(data)


def pax_sparse(name: bytes, pairs: list[tuple[int, int]], real: int, data: bytes, **more: bytes) -> bytes:
    """A sparse file in version 1.0, as GNU tar and bsdtar write it."""
    body = padded(b"%d\n" % len(pairs) + b"".join(b"%d\n%d\n" % pair for pair in pairs)) + data
    keys = {"GNU_sparse_major": b"1", "GNU_sparse_minor": b"0", "GNU_sparse_name": name}
    keys |= {"GNU_sparse_realsize": b"%d" % real, **more}
    return pax(**keys) + header(b"./GNUSparseFile.1/x", b"0", len(body)) + padded(body)


# --- zip -------------------------------------------------------------------------------------------------------------


@dataclass
class Zipped:
    """One member of a zip archive, with what its two headers shall say wrongly."""

    name: bytes
    data: bytes = b"content"
    deflate: bool = True
    flags: int = 0
    attributes: int = 0o100644 << 16
    tail: bytes = b""  # behind the compressed content, counted as a part of it
    descriptor: bytes | None = None  # behind the content, in place of a right one
    central: dict[str, int | bytes] = field(default_factory=dict)
    local: dict[str, int | bytes] = field(default_factory=dict)

    def packed(self) -> bytes:
        if not self.deflate:
            return self.data
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        return squeeze.compress(self.data) + squeeze.flush() + self.tail

    def values(self, changes: dict[str, int | bytes]) -> dict[str, int | bytes]:
        base: dict[str, int | bytes] = {
            "name": self.name,
            "flags": self.flags,
            "method": 8 if self.deflate else 0,
            "crc": zlib.crc32(self.data),
            "packed": len(self.packed()),
            "size": len(self.data),
            "extra": b"",
        }
        return base | changes


def _fields(values: dict[str, int | bytes]) -> tuple[bytes, bytes, bytes]:
    name, extra = values["name"], values["extra"]
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    numbers = (values["flags"], values["method"], 0, 0x21, values["crc"], values["packed"], values["size"])
    return struct.pack("<4H3L2H", *numbers, len(name), len(extra)), name, extra


def zip_of(*members: Zipped, comment: bytes = b"", end: dict[str, int] | None = None, backwards: bool = False) -> bytes:
    """A zip archive; `end` overrides fields of its end record, `backwards` turns its central directory round."""
    body, listed = b"", []
    for member in members:
        fields, name, extra = _fields(member.values(member.local))
        offset = len(body)
        body += b"PK\3\4" + struct.pack("<H", 20) + fields + name + extra + member.packed()
        if member.flags & 8:
            right = struct.pack("<3L", zlib.crc32(member.data), len(member.packed()), len(member.data))
            body += b"PK\7\b" + right if member.descriptor is None else member.descriptor
        changed = member.values(member.central)
        fields, name, extra = _fields(changed)
        where = changed.get("offset", offset)
        entry = b"PK\1\2" + struct.pack("<HH", 0x031E, 20) + fields
        listed.append(entry + struct.pack("<3H2L", 0, 0, 0, member.attributes, where) + name + extra)
    central = b"".join(reversed(listed) if backwards else listed)
    record = {"disk": 0, "start": 0, "here": len(members), "count": len(members)}
    record |= {"size": len(central), "offset": len(body)} | (end or {})
    return body + central + b"PK\5\6" + struct.pack("<4H2LH", *record.values(), len(comment)) + comment


def quoted_overlap() -> bytes:
    """Fifield's bomb in small: the second member's content is the first's local header and all that follows it."""
    kernel = Zipped(b"b", bytes(1000))
    squeezed = kernel.packed()
    fields, name, _ = _fields(kernel.values({}))
    inner = b"PK\3\4" + struct.pack("<H", 20) + fields + name + squeezed
    quote = bytes([0]) + struct.pack("<HH", len(inner) - len(squeezed), 0xFFFF ^ (len(inner) - len(squeezed)))
    outer_data = inner[: len(inner) - len(squeezed)] + kernel.data
    outer = {"packed": len(quote) + len(inner), "size": len(outer_data), "crc": zlib.crc32(outer_data)}
    first, name, _ = _fields(Zipped(b"a").values(dict(outer)))
    body = b"PK\3\4" + struct.pack("<H", 20) + first + name + quote + inner
    offsets = (0, len(body) - len(inner))
    central = b""
    for values, at in ((Zipped(b"a").values(dict(outer)), offsets[0]), (kernel.values({}), offsets[1])):
        fields, name, _ = _fields(values)
        central += b"PK\1\2" + struct.pack("<HH", 0x031E, 20) + fields
        central += struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, at) + name
    return body + central + b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 2, 2, len(central), len(body), 0)


def streamed_zip(names: dict[str, bytes]) -> bytes:
    """What zipfile writes into a pipe: sizes in data descriptors only."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.all = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            assert isinstance(data, bytes | bytearray | memoryview)
            self.all += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return pipe.all


def zip64() -> bytes:
    """Local headers, and with 65 536 members the end record too, in their zip64 form."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("a", "b/c"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(b"content")
    whole = buffer.getvalue()
    at = whole.rindex(b"PK\5\6")
    count, length, offset = struct.unpack_from("<H2L", whole, at + 10)
    end64 = b"PK\6\6" + struct.pack("<QHH2L4Q", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, at, 1)
    last = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return whole[:at] + end64 + locator + last


# --- what is refused -------------------------------------------------------------------------------------------------

LONG = b"d/" * 70
_UP = b"/".join([b".."] * 9)
_STEP = b"d" * 200

# CVE-2025-4517: links whose expansion grows past PATH_MAX, after which a check by realpath() gave up.
_REALPATH = b"".join(
    gnu_long(b"L", b"/".join([_STEP] * depth))
    + folder(b"d")
    + gnu_long(b"L", b"/".join([_STEP] * (depth - 1) + [b"s"]))
    + gnu_long(b"K", _STEP)
    + symlink(b"s", b"d")
    for depth in range(1, 4)
)

ATTACKS: dict[str, tuple[bytes, str]] = {
    "tar-upwards": (file(b"../outside/pw"), "leads upwards"),
    "tar-upwards-within": (file(b"a/../b"), "leads upwards"),
    "tar-return-traversal": (file(b"../evil/../dest/sub/f"), "leads upwards"),
    "tar-absolute": (file(b"/etc/passwd"), "absolute"),
    "tar-drive-letter": (file(b"C:/autoexec"), "drive letter"),
    "tar-backslash": (file(b"..\\pw"), "backslash"),
    "tar-control-character": (file(b"a\x1b[2Jb"), "control character"),
    "tar-line-feed": (file(b"a\nb"), "control character"),
    "tar-right-to-left": (file("a\u202egnp.sh".encode()), "control character"),
    "tar-not-utf8": (file(b"caf\xe9"), "not UTF-8"),
    "tar-no-name": (file(b""), "no name"),
    "tar-name-too-long": (gnu_long(b"L", b"x/" * 600 + b"y") + file(b"x"), "more than 1024 bytes"),
    "tar-huge-name": (gnu_long(b"L", b"x" * 70000) + file(b"x"), "70001 bytes long"),
    "tar-one-name-too-long": (gnu_long(b"L", b"x" * 256) + file(b"x"), "more than 255 bytes"),
    "tar-too-deep": (pax(path=LONG + b"f") + file(b"x"), "64 folders deep"),
    "tar-device": (header(b"null", b"3"), "is a device"),
    "tar-block-device": (header(b"sda", b"4"), "is a device"),
    "tar-pipe": (header(b"pipe", b"6"), "a named pipe"),
    "tar-multi-volume": (header(b"rest", b"M"), "multi-volume"),
    "tar-unknown-type": (header(b"odd", b"Q"), "does not know"),
    "tar-volume-label": (header(b"label", b"V"), "does not know"),
    "tar-symlink-absolute": (symlink(b"l", b"/etc/passwd"), "absolute"),
    "tar-symlink-upwards": (symlink(b"a/l", b"../../x"), "out of the tree"),
    "tar-symlink-empty": (symlink(b"l", b""), "leads nowhere"),
    "tar-symlink-without-name": (symlink(b"", b"x"), "no name"),
    "tar-symlink-for-the-top": (symlink(b".", b"x"), "although its name is a folder's"),
    "tar-symlink-control": (symlink(b"l", b"a\x07"), "control character"),
    "tar-symlink-not-utf8": (symlink(b"l", b"\xff"), "not UTF-8"),
    "tar-write-through-symlink": (symlink(b"l", b"d") + file(b"l/f"), "through the link"),
    "tar-write-through-outer-symlink": (folder(b"d") + symlink(b"l", b"d") + file(b"l/e/f"), "through the link"),
    "tar-folder-through-symlink": (symlink(b"l", b"d") + folder(b"l/e"), "through the link"),
    "tar-symlink-through-symlinks": (
        folder(b"a/b") + symlink(b"s", b"a/b") + symlink(b"t", b"s/../../../x"),
        "out of the tree",
    ),
    "tar-symlink-led-out-later": (
        symlink(b"a/l", b"b/../../x") + symlink(b"a/b", b"."),
        "out of the tree",
    ),
    "tar-symlink-circle": (symlink(b"a", b"b") + symlink(b"b", b"a"), "circle"),
    "tar-symlink-to-itself": (symlink(b"a", b"a"), "circle"),
    "tar-CVE-2025-4517": (
        _REALPATH + symlink(b"e", b"s/" * 3 + _UP) + hard_link(b"f", b"e/pw") + file(b"f", b"owned"),
        "out of the tree",
    ),
    "tar-CVE-2026-11940": (
        folder(b"a/b/c") + symlink(b"a/b/c/l", b"../../../x") + hard_link(b"l", b"a/b/c/l"),
        "a symbolic link|which is a link",
    ),
    "tar-CVE-2026-82049": (symlink(b"l", b"x") + hard_link(b"h", b"l"), "not a file"),
    "tar-CVE-2026-114583": (symlink(b"d/", b"../.."), "although its name is a folder's"),
    "tar-hard-link-upwards": (hard_link(b"h", b"../pw"), "leads upwards"),
    "tar-hard-link-absolute": (hard_link(b"h", b"/etc/passwd"), "absolute"),
    "tar-hard-link-forwards": (hard_link(b"h", b"f") + file(b"f"), "does not come before"),
    "tar-hard-link-to-folder": (folder(b"d") + hard_link(b"h", b"d"), "not a file"),
    "tar-hard-link-with-content": (file(b"f") + header(b"h", b"1", 7, link=b"f") + padded(b"content"), "claims 7"),
    "tar-folder-with-content": (header(b"d", b"5", 7) + padded(b"content"), "claims 7"),
    "tar-file-named-as-folder": (file(b"d/"), "although its name is a folder's"),
    "tar-file-where-folder-was": (file(b"a/b") + file(b"a"), "twice"),
    "tar-folder-where-file-was": (file(b"a") + folder(b"a"), "twice"),
    "tar-below-a-file": (file(b"a") + file(b"a/b"), "which is a file"),
    "tar-file-where-symlink-was": (symlink(b"a", b"b") + file(b"a"), "twice"),
    "tar-symlink-where-folder-was": (folder(b"a") + symlink(b"a", b"b"), "twice"),
    "tar-two-symlinks": (symlink(b"a", b"b") + symlink(b"a", b"c"), "twice"),
    "tar-two-files": (file(b"a", b"one") + file(b"./a", b"two"), "different bytes"),
    "tar-hard-link-over-file": (file(b"a", b"one") + file(b"b", b"two") + hard_link(b"b", b"a"), "twice"),
    "tar-gnu-long-upwards": (gnu_long(b"L", b"../" * 60 + b"x") + file(b"x"), "leads upwards"),
    "tar-gnu-long-link-upwards": (gnu_long(b"K", b"../" * 60 + b"x") + symlink(b"l", b"x"), "out of the tree"),
    "tar-CVE-2025-13462": (gnu_long(b"L", b"d" * 120 + b"/") + header(b"d" * 100, b"\0", 7) + padded(b"c"), "folder's"),
    "tar-two-long-names": (gnu_long(b"L", b"a") + gnu_long(b"L", b"b") + file(b"x"), "two extended headers"),
    "tar-two-pax-headers": (pax(path=b"a") + pax(path=b"b") + file(b"x"), "two extended headers"),
    "tar-long-name-and-pax": (gnu_long(b"L", b"a") + pax(path=b"b") + file(b"x"), "two names"),
    "tar-pax-path-upwards": (pax(path=b"../x") + file(b"x"), "leads upwards"),
    "tar-pax-path-with-nul": (pax(path=b"x\0/../../y") + file(b"x"), "control character"),
    "tar-pax-link-upwards": (pax(linkpath=b"../x") + symlink(b"l", b"x"), "out of the tree"),
    "tar-pax-size-CVE-2025-62518": (pax(size=b"1024") + header(b"x") + file(b"../hidden", b"y" * 512), "two sizes"),
    "tar-pax-size-smaller": (pax(size=b"0") + file(b"x", file(b"hidden")), "two sizes"),
    "tar-pax-path-twice": (
        header(b"p", b"x", len(records(path=b"a") * 1 + records(path=b"b")))
        + padded(records(path=b"a") + records(path=b"b"))
        + file(b"x"),
        "two different values",
    ),
    "tar-pax-too-long": (header(b"p", b"x", 2 << 20) + bytes(2 << 20), "2097152 bytes long"),
    "tar-global-path": (pax(b"g", path=b"x") + file(b"x"), "global pax header"),
    "tar-global-size": (pax(b"g", size=b"1") + file(b"x"), "global pax header"),
    "tar-sparse-bomb": (gnu_sparse(b"s", [(0, 512)], 7 * 2**30, bytes(512)), "200 times"),
    "tar-pax-sparse-bomb": (pax_sparse(b"s", [(0, 512)], 10 * 2**30, bytes(512)), "200 times"),
    "tar-sparse-name-upwards": (pax_sparse(b"../s", [(0, 512)], 512, bytes(512)), "leads upwards"),
    "tar-sparse-old": (pax(GNU_sparse_map=b"0,7", GNU_sparse_size=b"7") + file(b"x"), "sparse file of a kind"),
    "tar-sparse-star": (pax(SCHILY_realsize=b"7") + file(b"x"), "sparse file of a kind"),
    "tar-nothing-in-it": (b"", "no members"),
    "zip-upwards": (zip_of(Zipped(b"../pw")), "leads upwards"),
    "zip-absolute": (zip_of(Zipped(b"/pw")), "absolute"),
    "zip-backslash": (zip_of(Zipped(b"..\\pw")), "backslash"),
    "zip-nul-in-name": (zip_of(Zipped(b"a\0.txt")), "control character"),
    "zip-not-utf8": (zip_of(Zipped(b"caf\x82")), "not UTF-8"),
    "zip-symlink-upwards": (zip_of(Zipped(b"l", b"../x", attributes=SYMLINK_MODE)), "out of the tree"),
    "zip-symlink-absolute": (zip_of(Zipped(b"l", b"/x", attributes=SYMLINK_MODE)), "absolute"),
    "zip-symlink-huge": (zip_of(Zipped(b"l", b"x" * 5000, attributes=SYMLINK_MODE)), "5000 bytes"),
    "zip-write-through-symlink": (zip_of(Zipped(b"l", b"d", attributes=SYMLINK_MODE), Zipped(b"l/f")), "through the"),
    "zip-device": (zip_of(Zipped(b"d", b"", attributes=0o020644 << 16)), "a device"),
    "zip-pipe": (zip_of(Zipped(b"d", b"", attributes=0o010644 << 16)), "a named pipe"),
    "zip-socket": (zip_of(Zipped(b"d", b"", attributes=0o140644 << 16)), "a socket"),
    "zip-folder-with-content": (zip_of(Zipped(b"d/", b"x", attributes=0o040755 << 16)), "claims 1"),
    "zip-file-named-as-folder": (zip_of(Zipped(b"d/", b"x")), "although its name is a folder's"),
    "zip-two-files": (zip_of(Zipped(b"a", b"1"), Zipped(b"a", b"2")), "different bytes"),
    "zip-encrypted": (zip_of(Zipped(b"a", flags=1)), "is encrypted"),
    "zip-strongly-encrypted": (zip_of(Zipped(b"a", flags=0x40)), "is encrypted"),
    "zip-method": (zip_of(Zipped(b"a", local={"method": 12}, central={"method": 12})), "method 12"),
    "zip-stored-two-sizes": (zip_of(Zipped(b"a", deflate=False, central={"size": 3})), "two sizes"),
    "zip-local-name": (zip_of(Zipped(b"a", local={"name": b"b"})), "in its local header"),
    "zip-local-size": (zip_of(Zipped(b"a", local={"size": 3})), "contradicts"),
    "zip-local-method": (zip_of(Zipped(b"a", local={"method": 0})), "contradicts"),
    "zip-local-crc": (zip_of(Zipped(b"a", local={"crc": 3})), "contradicts"),
    "zip-local-encrypted": (zip_of(Zipped(b"a", local={"flags": 1})), "contradicts"),
    "zip-local-described": (zip_of(Zipped(b"a", local={"flags": 8})), "contradicts"),
    "zip-descriptor": (zip_of(Zipped(b"a", flags=8, descriptor=b"PK\7\b" + bytes(12))), "data descriptor"),
    "zip-second-name": (
        zip_of(Zipped(b"a", central={"extra": struct.pack("<2HBL", 0x7075, 9, 1, zlib.crc32(b"a")) + b"../x"})),
        "another name",
    ),
    "zip-quoted-overlap": (quoted_overlap(), "shares bytes"),
    "zip-same-bytes": (zip_of(Zipped(b"a"), Zipped(b"a", central={"offset": 0})), "same bytes"),
    "zip-into-directory": (zip_of(Zipped(b"a", central={"packed": 400})), "central directory"),
    "zip-multi-volume": (zip_of(Zipped(b"a"), end={"disk": 1}), "multi-volume"),
    "zip-two-ends": (zip_of(Zipped(b"a"), comment=b"PK\5\6" + bytes(18)), "two end records"),
    "zip-nothing-in-it": (zip_of(), "no members"),
    "gzip-no-tar": (gzip.compress(b"weights" * 1000), "no tar archive"),
    "plain-file": (b"weights" * 1000, "only tar and zip"),
    "empty-file": (b"", "only tar and zip"),
}
ATTACKS = {name: (data + END if name.startswith("tar-") else data, reason) for name, (data, reason) in ATTACKS.items()}


# --- what is damaged -------------------------------------------------------------------------------------------------

GOOD = folder(b"d") + file(b"d/weights", bytes(range(256)) * 20) + file(b"small")
WHOLE = GOOD + bytes(18 * BLOCK)  # as tar pads it
ZIPPED = zip_of(Zipped(b"d/weights", bytes(range(256)) * 20), Zipped(b"small"))


def changed(data: bytes, at: int, mask: int = 0xFF) -> bytes:
    """`data` with one byte changed."""
    at %= len(data)
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def zstd_of(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


_GZ, _XZ, _ZST, _BZ2 = gzip.compress(WHOLE), lzma.compress(WHOLE), zstd_of(WHOLE), bz2.compress(WHOLE)

DAMAGED: dict[str, tuple[bytes, str]] = {
    "gzip-crc": (changed(_GZ, -8), "gzip stream"),
    "gzip-length": (changed(_GZ, -1), "gzip stream"),
    "gzip-cut-in-trailer": (_GZ[:-3], "cut short"),
    "gzip-cut-in-the-middle": (_GZ[: len(_GZ) // 2], "cut short"),
    "gzip-garbage": (_GZ + b"garbage", "no further one"),
    "gzip-zeros": (_GZ + bytes(512), "no further one"),
    "gzip-garbage-like-gzip": (_GZ + b"\x1f\x8b\x08garbage", "gzip stream"),
    "gzip-second-member-hidden": (_GZ + gzip.compress(file(b"hidden") + END), "follows its end"),
    "gzip-second-archive": (_GZ + _GZ, "follows its end"),
    "gzip-data": (changed(_GZ, len(_GZ) // 2), "gzip stream"),
    "xz-crc": (changed(_XZ, -20), "xz stream"),
    "xz-cut": (_XZ[:-4], "cut short"),
    "xz-garbage": (_XZ + b"garbage!", "no further one"),
    "xz-padding": (_XZ + bytes(3), "padding"),
    "zstd-checksum": (changed(_ZST, -1), "zstd stream"),
    "zstd-cut": (_ZST[:-1], "cut short"),
    "zstd-garbage": (_ZST + b"garbage", "no further one"),
    "bzip2-crc": (changed(_BZ2, -5), "bzip2 stream"),
    "bzip2-cut": (_BZ2[:-2], "cut short"),
    "bzip2-garbage": (_BZ2 + b"garbage", "no further one"),
    "tar-without-end": (GOOD, "no end-of-archive blocks"),
    "tar-one-end-block": (GOOD + bytes(BLOCK), "two"),
    "tar-lone-zero-block": (file(b"a") + bytes(BLOCK) + file(b"b") + END, "single empty block"),
    "tar-garbage-after-end": (WHOLE + b"garbage", "follows its end"),
    "tar-archive-after-end": (GOOD + END + GOOD + END, "follows its end"),
    "tar-header-checksum": (changed(GOOD, 1, 1) + END, "checksum"),
    "tar-later-header-checksum": (file(b"a") + changed(file(b"b"), 3, 1) + END, "checksum is wrong .at byte 1024"),
    "tar-size-no-number": (header(b"a", size=b"12x45678901 ") + END, "size is not a number"),
    "tar-size-negative": (header(b"a", size=b"\xff" * 12) + END, "size is negative"),
    "tar-size-of-the-archive": (header(b"a", size=100000) + END, "cut short"),
    "tar-pax-malformed": (header(b"p", b"x", 9) + padded(b"7 path=ab") + file(b"a") + END, "pax header is malformed"),
    "tar-pax-length": (header(b"p", b"x", 11) + padded(b"99 path=ab\n") + file(b"a") + END, "pax header is malformed"),
    "tar-pax-size-no-number": (pax(size=b"-1") + file(b"a") + END, "size is not a number"),
    "tar-pax-last": (file(b"a") + pax(path=b"x") + END, "last thing in it"),
    "tar-sparse-disorder": (gnu_sparse(b"s", [(512, 512), (0, 512)], 1024, bytes(1024)) + END, "out of order"),
    "tar-sparse-too-little": (gnu_sparse(b"s", [(0, 512)], 1024, bytes(1024)) + END, "does not fit"),
    "tar-sparse-too-far": (pax_sparse(b"s", [(0, 512)], 100, bytes(512)) + END, "does not fit"),
    "tar-sparse-endless-map": (
        pax(GNU_sparse_major=b"1", GNU_sparse_minor=b"0", GNU_sparse_name=b"s", GNU_sparse_realsize=b"1")
        + header(b"s", b"0", 512)
        + padded(b"999999\n")
        + END,
        "sparse map",
    ),
    "zip-crc": (zip_of(Zipped(b"a", central={"crc": 7}, local={"crc": 7})), "CRC-32"),
    "zip-size-lie": (
        zip_of(Zipped(b"a", bytes(10**6), central={"size": 10}, local={"size": 10})),
        "more than the 10 bytes",
    ),
    "zip-size-lie-upwards": (zip_of(Zipped(b"a", central={"size": 99}, local={"size": 99})), "unpacks to 7 bytes"),
    "zip-behind-content": (zip_of(Zipped(b"a", tail=b"hidden")), "something behind its compressed bytes"),
    "zip-content-cut": (
        zip_of(Zipped(b"a", b"x" * 99, central={"packed": 3}, local={"packed": 3})),
        "compressed bytes have no end",
    ),
    "zip-garbage": (ZIPPED + b"garbage", "no end record"),
    "zip-cut": (ZIPPED[:-1], "no end record"),
    "zip-prefixed": (b"PK\3\4" + ZIPPED, "right before its end record"),
    "zip-directory": (ZIPPED.replace(b"PK\1\2", b"PK\1\3", 1), "central directory is damaged"),
    "zip-count": (zip_of(Zipped(b"a"), end={"here": 2, "count": 2}), "2"),
    "zip-local-header": (b"PK\3\4" + ZIPPED[4:].replace(b"PK\3\4", b"PK\3\5"), "no local header"),
    "zip-zip64-locator": (zip64().replace(b"PK\6\6", b"PK\6\5"), "zip64"),
}


# --- what is only unusual --------------------------------------------------------------------------------------------

_LONG_NAME = b"deep/" * 30 + b"file"
_SPREAD = bytes(1024) + b"x" * 512 + bytes(2048) + b"y" * 512 + bytes(512)
_PAIRS = [(1024, 512), (3584, 512)]

UNUSUAL: dict[str, tuple[bytes, dict[str, bytes | str | None]]] = {
    # What comes out: content of files, the target of links, None for folders.
    "tar-dot-names": (folder(b"./") + folder(b"./d/") + file(b".//d/./f") + END, {"d": None, "d/f": b"content"}),
    "tar-v7": (
        header(b"f", b"\0", 1, magic=b"") + padded(b"x") + header(b"d/", b"\0", magic=b"") + END,
        {"f": b"x", "d": None},
    ),
    "tar-v7-folder-of-long-name": (
        gnu_long(b"L", b"d" * 120 + b"/") + header(b"d" * 100, b"\0") + END,
        {"d" * 120: None},
    ),
    "tar-contiguous": (header(b"f", b"7", 1) + padded(b"x") + END, {"f": b"x"}),
    "tar-ustar-prefix": (
        header(b"f", b"0", 1, prefix=b"a/b") + padded(b"x") + END,
        {"a": None, "a/b": None, "a/b/f": b"x"},
    ),
    "tar-gnu-long-name": (gnu_long(b"L", b"n" * 200) + file(b"n" * 100) + END, {"n" * 200: b"content"}),
    "tar-gnu-long-link": (gnu_long(b"K", b"n" * 200) + symlink(b"l", b"n" * 100) + END, {"l": "n" * 200}),
    "tar-pax-name": (pax(path="poids/été".encode()) + file(b"x") + END, {"poids": None, "poids/été": b"content"}),
    "tar-global-comment": (pax(b"g", comment=b"0123abcd") + file(b"x") + END, {"x": b"content"}),
    "tar-base-256": (header(b"x", b"0", b"\x80" + bytes(10) + b"\x01") + padded(b"y") + END, {"x": b"y"}),
    "tar-not-padded": (file(b"x") + END, {"x": b"content"}),
    "tar-same-file-twice": (file(b"x") + file(b"x") + END, {"x": b"content"}),
    "tar-same-symlink-twice": (symlink(b"l", b"x") * 2 + END, {"l": "x"}),
    "tar-hard-link": (
        file(b"a/x") + hard_link(b"b/y", b"./a/x") + END,
        {"a": None, "a/x": b"content", "b": None, "b/y": b"content"},
    ),
    "tar-hard-link-to-itself": (file(b"x") + hard_link(b"x", b"x") + END, {"x": b"content"}),
    "tar-symlink-hard-linked-to-itself": (symlink(b"l", b"x") + hard_link(b"l", b"l") + END, {"l": "x"}),
    "tar-symlinks-inside": (
        symlink(b"latest", b"v/2/../1") + file(b"v/1/w") + symlink(b"v/2", b"../v/1") + symlink(b"up", b"./v/.") + END,
        {"latest": "v/2/../1", "v": None, "v/1": None, "v/1/w": b"content", "v/2": "../v/1", "up": "./v/."},
    ),
    "tar-set-id-bits": (file(b"x", mode=0o6755) + END, {"x": b"content"}),
    "tar-sparse-gnu": (gnu_sparse(b"s", _PAIRS, len(_SPREAD), b"x" * 512 + b"y" * 512) + END, {"s": _SPREAD}),
    "tar-sparse-gnu-long-map": (
        gnu_sparse(b"s", _PAIRS, len(_SPREAD), b"x" * 512 + b"y" * 512, blocks=True) + END,
        {"s": _SPREAD},
    ),
    "tar-sparse-pax": (pax_sparse(b"s", _PAIRS, len(_SPREAD), b"x" * 512 + b"y" * 512) + END, {"s": _SPREAD}),
    "gzip-members": (gzip.compress(WHOLE[:700]) + gzip.compress(b"") + gzip.compress(WHOLE[700:]), {}),
    "xz-streams": (lzma.compress(WHOLE[:700]) + bytes(8) + lzma.compress(WHOLE[700:]) + bytes(4), {}),
    "zstd-frames": (
        b"\x5a\x2a\x4d\x18\x03\0\0\0abc"
        + zstd_of(WHOLE[:700])
        + b"\x50\x2a\x4d\x18\0\0\0\0"
        + zstd.compress(WHOLE[700:]),
        {},
    ),
    "bzip2-streams": (bz2.compress(WHOLE[:700]) + bz2.compress(WHOLE[700:]), {}),
    "zip-plain": (ZIPPED, {"d": None, "d/weights": bytes(range(256)) * 20, "small": b"content"}),
    "zip-stored": (zip_of(Zipped(b"x", deflate=False)), {"x": b"content"}),
    "zip-streamed": (streamed_zip({"a": b"content", "d/": b"", "d/b": b""}), {"a": b"content", "d": None, "d/b": b""}),
    "zip-descriptor-unmarked": (
        zip_of(Zipped(b"x", flags=8, deflate=False, descriptor=struct.pack("<3L", zlib.crc32(b"content"), 7, 7))),
        {"x": b"content"},
    ),
    "zip-zip64": (zip64(), {"a": b"content", "b": None, "b/c": b"content"}),
    "zip-symlink": (zip_of(Zipped(b"x"), Zipped(b"l", b"./x", attributes=SYMLINK_MODE)), {"x": b"content", "l": "./x"}),
    "zip-comment": (zip_of(Zipped(b"x"), comment=b"made by hand"), {"x": b"content"}),
    "zip-utf8": (zip_of(Zipped("été".encode(), flags=0x800)), {"été": b"content"}),
    "zip-out-of-order": (
        zip_of(Zipped(b"a", b"one"), Zipped(b"b", b"two"), Zipped(b"c", b"three"), backwards=True),
        {"a": b"one", "b": b"two", "c": b"three"},
    ),
}
_COMPRESSED = {"d": None, "d/weights": bytes(range(256)) * 20, "small": b"content"}
UNUSUAL = {name: (data, wanted or dict(_COMPRESSED)) for name, (data, wanted) in UNUSUAL.items()}


def tar_of(members: dict[str, bytes | str | None], form: int = tarfile.PAX_FORMAT) -> bytes:
    """What tarfile makes of these: content of files, the target of links, None for folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_500_000_000
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()

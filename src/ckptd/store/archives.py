"""Archives as they are read: which format it is, by its content, and its bytes decompressed as a stream.

Every stream is read to its very end: checksums, what follows the last one, and concatenated streams are looked at, so
that a damaged archive is never taken for a whole one. Flat in memory whatever the sizes; a stream whose own window
needs more than `WINDOW` is refused. What is in the stream is the business of `store.untar` and `store.unzip`.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ckptd.core.members import Damaged, Refuse, Refused, over_ratio
from ckptd.core.models import UnpackSettings
from ckptd.core.sniff import MAGICS
from ckptd.core.tarblocks import looks_like_tar
from ckptd.errors import StorageError
from ckptd.store.places import storage_error

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READ = 64 * 1024  # bytes at a time; what a decoder could not take yet is copied, so more is slower
CHUNK = 256 * 1024  # bytes decompressed at a time: they stay in the processor's cache until they are hashed
WINDOW_LOG = 27  # the zstd program's own limit without --long=28 and above
WINDOW = 160 * 1024 * 1024  # bytes of memory for xz: its largest preset takes 65 MiB
HEAD = 512  # bytes that tell the format


class Format(StrEnum):
    """What ckptd unpacks; all but zip hold a tar archive."""

    TAR = "tar"
    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    ZIP = "zip"


_MAGICS = {
    Format.GZIP: MAGICS[".gz"],
    Format.XZ: MAGICS[".xz"],
    Format.ZSTD: MAGICS[".zst"],
    Format.BZIP2: MAGICS[".bz2"],
    Format.ZIP: MAGICS[".zip"],
}
_TAR_NAMES = (".tar", ".tgz", ".txz", ".tzst", ".tbz", ".tbz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2")
NO_TAR = "take `unpack = true` out of the entry: the file itself is what you want"


def format_of(head: bytes) -> Format | None:
    """The format of what begins with `head`, by content alone: names are often wrong."""
    found = (each for each, magics in _MAGICS.items() if head.startswith(magics))
    return next(found, Format.TAR if looks_like_tar(head[:HEAD]) else None)


def not_tar(name: str, what: str) -> Damaged | Refused:
    """What to raise: an archive's name is a promise, any other is none."""
    if name.lower().endswith((*_TAR_NAMES, ".zip")):
        return Damaged(f"{what}, although its name is an archive's")
    return Refused(Refuse(f"{what}, and only tar and zip archives are unpacked", NO_TAR))


class Source:
    """An archive, open for reading. `done` counts the bytes read, for whoever watches from another thread."""

    def __init__(self, fd: int, path: Path, size: int) -> None:
        self._fd = fd
        self._path = path
        self.name = path.name
        self.size = size
        self.done = 0

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end. Raises StorageError."""
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise storage_error(error, f"cannot read {self._path}") from error
        self.done += len(data)
        return data

    def parts(self, size: int) -> Iterator[bytes]:
        """The whole archive in order, `size` bytes at a time."""
        at = 0
        while data := self.at(at, size):
            yield data
            at += len(data)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open an archive; only a plain file is one. Raises StorageError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise storage_error(error, f"cannot open {path}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{path} is not a plain file")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield Source(fd, path, found.st_size)
    finally:
        os.close(fd)


class Decoder(Protocol):
    """What the standard library's bz2, lzma and zstd decompressors can do."""

    @property
    def eof(self) -> bool:
        """The stream has ended, and its checksum was right."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether it can give more without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data`, give up to `max_length` bytes."""
        ...


class Inflate:
    """zlib's decompressor with the face of the others."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        """The stream has ended, and its checksum was right."""
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        """Whether it can give more without more input."""
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data`, give up to `max_length` bytes."""
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _decoder(form: Format) -> Callable[[], Decoder]:
    if form is Format.GZIP:
        return lambda: Inflate(16 + zlib.MAX_WBITS)
    if form is Format.XZ:
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)
    if form is Format.BZIP2:
        return bz2.BZ2Decompressor
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return lambda: zstd.ZstdDecompressor(options=options)


def decode(decoder: Decoder, data: bytes, size: int, where: str) -> bytes:
    """One step of decompression. Raises Damaged saying `where`, or Refused for a window that is too large."""
    try:
        return decoder.decompress(data, size)
    except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError) as error:
        if "emory" in str(error):  # both libraries say so in words alone
            raise Refused(Refuse(f"{where} needs too much memory to unpack ({error})")) from error
        raise Damaged(f"{where}: {str(error).rpartition(': ')[2].lower()}") from error


def decompressed(source: Source, form: Format, settings: UnpackSettings) -> Iterator[bytes]:
    """What a compressed archive holds, all of its streams one after another. Raises Damaged or Refused.

    RFC 1952 section 2.2 (gzip members), the .xz format section 2 (streams and padding), RFC 8878 section 3 (frames).
    """
    make, magics, parts = _decoder(form), _MAGICS[form], source.parts(READ)
    data, total, streams = next(parts, b""), 0, 0
    while data:
        if len(data) < 8:
            data += next(parts, b"")
        if not data.startswith(magics):
            raise Damaged(f"what follows its {form} stream near byte {source.done - len(data)} is no further one")
        decoder, streams = make(), streams + 1
        while not decoder.eof:
            if decoder.needs_input and not data and not (data := next(parts, b"")):
                raise Damaged(f"it is cut short: its {form} stream has no end")
            out = decode(decoder, data, CHUNK, f"its {form} stream near byte {source.done}")
            data = b""
            total += len(out)
            refusal = over_ratio(total, source.size, settings)
            if refusal is not None:
                raise Refused(refusal)
            if out:
                yield out
        data = decoder.unused_data or next(parts, b"")
        if form is Format.XZ:
            data = _without_padding(data, parts)


def _without_padding(data: bytes, parts: Iterator[bytes]) -> bytes:
    """xz allows zero bytes between and after streams, four at a time."""
    zeros = 0
    while True:
        rest = data.lstrip(b"\0")
        zeros += len(data) - len(rest)
        if rest or not (data := next(parts, b"")):
            break
    if zeros % 4:
        raise Damaged("the padding of its xz streams is damaged")
    return rest


class Stream:
    """Bytes in order, from parts of any size. `at` is how many were taken."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = memoryview(b"")
        self.at = 0

    def _next(self, most: int) -> memoryview:
        """Up to `most` bytes without copying them; empty at the end."""
        if not self._left:
            self._left = memoryview(next(self._parts, b""))
        view, self._left = self._left[:most], self._left[most:]
        self.at += len(view)
        return view

    def take(self, length: int) -> bytes:
        """`length` bytes; fewer only at the end."""
        view = self._next(length)
        if len(view) == length or not view:
            return bytes(view)
        taken = bytearray(view)
        while len(taken) < length and (view := self._next(length - len(taken))):
            taken += view
        return bytes(taken)

    def flow(self, length: int, what: str) -> Iterator[memoryview]:
        """The next `length` bytes in parts. Raises Damaged saying `what` they are, where there are fewer."""
        while length:
            view = self._next(length)
            if not view:
                raise Damaged(f"it is cut short within {what}, at byte {self.at} of what it unpacks to")
            length -= len(view)
            yield view

    def rest(self) -> Iterator[memoryview]:
        """All that is left."""
        while view := self._next(CHUNK):
            yield view

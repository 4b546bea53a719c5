"""Reading back: every byte of a stored file against its digests, from the medium, leaving the page cache as it was.

Reads with O_DIRECT where the filesystem has it: that proves the disk and not the memory, and brings nothing into the
cache. Elsewhere it drops what it brought in, and only that. Blocking functions for disk threads; they decide nothing:
what a difference means is the caller's business.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from ckptd.core.audit import piece_count
from ckptd.core.models import PIECE
from ckptd.store.digests import DIGEST_SIZE, Blocks, Bundle, Pieces, pieces_field

CHUNK = 1024 * 1024  # bytes read at a time
Progress = Callable[[int], None]  # called in the reading thread with the number of bytes just read


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored file, open for reading."""

    fd: int
    size: int
    direct: bool
    stat: os.stat_result


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a stored file; anything but a plain file is refused. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    direct = True
    try:
        fd = os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd, direct = os.open(path, flags), False
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EISDIR, "not a plain file")
        if not direct:
            # Otherwise the kernel reads ahead, past what we look at and clean up behind us.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        yield Opened(fd, found.st_size, direct, found)
    finally:
        os.close(fd)


class _Buffers(threading.local):
    """A page-aligned buffer a thread, as O_DIRECT wants it."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, CHUNK))


_buffers = _Buffers()


def chunks(file: Opened, start: int, end: int, *, fresh: bool = False) -> Iterator[memoryview]:
    """Bytes `[start, end)`, or up to the end of the file, in a buffer that the next step reuses.

    `start` is a multiple of `CHUNK`. `fresh` makes sure that they come from the medium. Raises OSError.
    """
    if fresh and not file.direct:
        os.posix_fadvise(file.fd, start, end - start, os.POSIX_FADV_DONTNEED)
    absent = None if file.direct else _absent(file.fd, start, min(end, file.size))
    view = _buffers.view
    at = start
    try:
        while at < end:
            count = os.preadv(file.fd, [view], at)
            if not count:
                return
            yield view[: min(count, end - at)]
            at += count
            if file.direct and count % mmap.PAGESIZE:
                return  # the tail: the file ends here
    finally:
        for first, last in absent or ():
            os.posix_fadvise(file.fd, first, last - first, os.POSIX_FADV_DONTNEED)


def piece_digest(file: Opened, index: int, progress: Progress, *, fresh: bool = False) -> bytes:
    """BLAKE3 of one piece as it is on the disk. Raises OSError."""
    hasher = blake3()
    for view in chunks(file, index * PIECE, (index + 1) * PIECE, fresh=fresh):
        hasher.update(view)
        progress(len(view))
    return hasher.digest()


@dataclass(frozen=True, slots=True)
class Whole:
    """What a whole file came to: its size in bytes, SHA-256 (hex), piece table and block sums; other digests that were
    asked for by their algorithms."""

    size: int
    sha256: str
    table: bytes
    sums: bytes
    digests: dict[str, bytes] = field(default_factory=dict)


def whole_digests(path: Path, progress: Progress, *, fresh: bool = False, algorithms: Iterable[str] = ()) -> Whole:
    """Read a stored file from its beginning to its end, in one pass. Raises OSError."""
    sha256, pieces, blocks, others = hashlib.sha256(), Pieces(), Blocks(), Bundle(algorithms)
    size = 0
    with opened(path) as file:
        for start in range(0, file.size, PIECE):
            for view in chunks(file, start, start + PIECE, fresh=fresh):
                sha256.update(view)
                pieces.update(view)
                blocks.update(view)
                others.update(view)
                size += len(view)
                progress(len(view))
    return Whole(size, sha256.hexdigest(), pieces.digest(), blocks.digest(), others.digests())


def stored_table(pieces: Path, sha256: str, field: str | None, size: int) -> tuple[bytes, ...] | None:
    """The piece digests kept for a file, or None when there are none or they are not those that the lock names."""
    if field is None:
        return None
    try:
        table = (pieces / sha256).read_bytes()
    except OSError:
        return None
    if pieces_field(table) != field or len(table) != piece_count(size) * DIGEST_SIZE:
        return None
    return tuple(table[at : at + DIGEST_SIZE] for at in range(0, len(table), DIGEST_SIZE))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def _absent(fd: int, start: int, end: int) -> list[tuple[int, int]]:
    """The stretches of `[start, end)` that are not in the page cache now (mincore(2)); none when it cannot be told."""
    length = end - start
    if length <= 0:
        return []
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, start)
    if address in {None, ctypes.c_void_p(-1).value}:
        return []
    try:
        vector = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        if _libc.mincore(address, length, vector) != 0:
            return []
        pages = bytes(byte & 1 for byte in vector.raw)
    finally:
        _libc.munmap(address, length)
    stretches: list[tuple[int, int]] = []
    at = 0
    with suppress(ValueError):
        while True:
            at = pages.index(0, at)
            last = pages.find(1, at)
            last = len(pages) if last < 0 else last
            stretches.append((start + at * mmap.PAGESIZE, start + last * mmap.PAGESIZE))
            at = last
    return stretches

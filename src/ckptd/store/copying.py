"""A second copy of a stored file's good bytes: shared blocks where the filesystem has them, else copied.

Blocking, for disk threads. Reads as the scrub does, from the medium and past the page cache: what is copied is what the
disk holds. Of what is not to be copied no page is read: it may be what the disk cannot read.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ckptd.core.ranges import Span
from ckptd.store import disk, scrub
from ckptd.store.places import storage_error

_FICLONE = 0x40049409  # ioctl_ficlone(2)


def fill(
    source: Path,
    target: int,
    spans: Sequence[Span],
    total: int,
    flips: Sequence[tuple[int, int]],
    check_room: Callable[[], None],
) -> None:
    """Bring the bytes `spans` of `source` into the open, empty file `target`, which gets `total` bytes in the end.

    `flips`: the bytes at these offsets have these bits turned. `check_room` is asked before room is taken. Raises
    StorageError; then `target` is empty again, and holds no room that others may need.
    """
    try:
        with scrub.opened(source) as file:
            if not _share(file.fd, target):
                check_room()
                disk.preallocate(target, total)
                for start, end in spans:
                    _copy(file, target, start, end)
        os.ftruncate(target, total)
        for offset, bits in flips:
            byte = os.pread(target, 1, offset)
            disk.write_at(target, memoryview(bytes([byte[0] ^ bits])), offset)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(target, 0)
        raise storage_error(error, f"cannot make a copy of {source}") from error


def _share(source: int, target: int) -> bool:
    """Have both files share their blocks until one is written to; whether the filesystem can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy(file: scrub.Opened, target: int, start: int, end: int) -> None:
    """Copy `[start, end)`, whole chunks at a time where it has some."""
    first, last = -(-start // scrub.CHUNK) * scrub.CHUNK, end // scrub.CHUNK * scrub.CHUNK
    if first >= last:
        _copy_pages(file, target, start, end)
        return
    _copy_pages(file, target, start, first)
    at = first
    for view in scrub.chunks(file, first, last):
        disk.write_at(target, view, at)
        at += len(view)
    _copy_pages(file, target, last, end)


def _copy_pages(file: scrub.Opened, target: int, start: int, end: int) -> None:
    """Copy `[start, end)`, reading no other pages than its own."""
    buffer = memoryview(mmap.mmap(-1, scrub.CHUNK))  # page-aligned, as O_DIRECT wants it
    at = start - start % mmap.PAGESIZE
    while at < end:
        wanted = -(-min(scrub.CHUNK, end - at) // mmap.PAGESIZE) * mmap.PAGESIZE
        count = os.preadv(file.fd, [buffer[:wanted]], at)
        if not count:
            return  # the file ends here by now; whatever is proven of the copy shows it
        skip = max(0, start - at)
        disk.write_at(target, buffer[skip : min(count, end - at)], at + skip)
        at += count
        if file.direct and count % mmap.PAGESIZE:
            return

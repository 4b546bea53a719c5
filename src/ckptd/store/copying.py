"""A second copy of a stored file's good bytes: shared blocks where the filesystem has them, else copied.

Blocking, for disk threads. Reads as the scrub does, from the medium and past the page cache: what is copied is what the
disk holds. Raises OSError.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from ckptd.core.ranges import Span
from ckptd.store import disk, scrub

_FICLONE = 0x40049409  # ioctl_ficlone(2)


def fill(source: Path, target: int, spans: Sequence[Span], total: int, flips: Sequence[tuple[int, int]]) -> None:
    """Bring the bytes `spans` of `source` into the open, empty file `target`, which gets `total` bytes in the end.

    `flips`: the bytes at these offsets have these bits turned.
    """
    with scrub.opened(source) as file:
        if not _share(file.fd, target):
            disk.preallocate(target, total)
            for start, end in spans:
                _copy(file, target, start, end)
    os.ftruncate(target, total)
    for offset, bits in flips:
        byte = os.pread(target, 1, offset)
        disk.write_at(target, memoryview(bytes([byte[0] ^ bits])), offset)


def _share(source: int, target: int) -> bool:
    """Have both files share their blocks until one is written to; whether the filesystem can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy(file: scrub.Opened, target: int, start: int, end: int) -> None:
    first = start - start % scrub.CHUNK  # where O_DIRECT can begin
    at = first
    for view in scrub.chunks(file, first, end):
        skip = max(0, start - at)
        disk.write_at(target, view[skip:], at + skip)
        at += len(view)

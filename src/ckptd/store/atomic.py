"""Small files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ckptd.store.places import fsync_folder


def write_atomically(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    """Write a small file whole or not at all, durable when this returns. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if group is not None:
                os.fchown(fd, -1, group)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)

"""One writer per store: an exclusive lock that dies with its holder.

An open-file-description lock (fcntl F_OFD_SETLK): unlike flock it is a POSIX lock, which cluster filesystems keep
across machines, and unlike lockf it is not lost when another descriptor of the file is closed. Where the filesystem
has no locks at all we say so: never a spin, never "assume locked".
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ckptd.errors import BusyError, StorageError
from ckptd.store.places import storage_error

_FLOCK = struct.Struct("hhqqi4x")  # struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid
_MODE = 0o644
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


class Owner:
    """Holds the store while it is entered. Raises BusyError when another instance does."""

    def __init__(self, state: Path) -> None:
        self._path = state / "owner.lock"
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            # Never unlinked: a lock on a file that was removed and made again guards nothing.
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise storage_error(error, f"cannot open {self._path}") from error
        try:
            self._acquire()
            with suppress(OSError):  # somebody else made it
                os.fchmod(self._fd, _MODE)  # whatever the umask: others want to know who works here
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{socket.gethostname()} pid {os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def _acquire(self) -> None:
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                holder = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise BusyError(
                    f"{self._path.parent} is in use by {holder}",
                    hint="wait for it, or stop it; what it has done so far is kept",
                ) from None
            if error.errno in _NO_LOCKS:
                raise StorageError(
                    f"the filesystem of {self._path.parent} has no working file locks",
                    hint="mount it with locks (Lustre: -o flock), or put [store] state on one that has them",
                ) from error
            raise storage_error(error, f"cannot lock {self._path}") from error

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def holder(state: Path) -> str | None:
    """Who holds the store now ("host pid 123"), or None when nobody does or it cannot be told. Takes nothing."""
    try:
        fd = os.open(state / "owner.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK:
            return None
        return os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
    except OSError:
        return None
    finally:
        os.close(fd)

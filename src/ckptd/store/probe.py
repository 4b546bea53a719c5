"""What a filesystem can do, found out by trying it, in a private folder in the state that is removed afterwards.

Never touches anything that was there before. A trial that fails says so and stops no other; all of them together take
at most `DEADLINE` seconds, since a network filesystem may hang in any call. What follows from it is `core.doctor_store`'s
business. Blocks: run in a thread.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from ckptd.core.abilities import Ability, Mount, Trial
from ckptd.store import disk
from ckptd.store.atomic import write_atomically
from ckptd.store.places import FOLDER_MODE, NETWORK_FILESYSTEMS, SHARED_FOLDER_MODE, fsync_folder, make_folder
from ckptd.store.places import storage_error
from ckptd.store.publish import FILE_MODE
from ckptd.store.survey import PROBE

DEADLINE = 10.0  # seconds for all trials
LOCK_SECONDS = 5.0  # for another process to take or be refused a lock
SIZE = 64 * 1024  # bytes of a file that is tried with

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_ENABLE_VERITY = 0x40806685  # FS_IOC_ENABLE_VERITY, Documentation/filesystems/fsverity.rst
_VERITY_ARGUMENT = struct.Struct("=IIIIQII11Q")  # version, SHA-256, 4096-byte blocks, no salt, no signature
_CACHESTAT = 451  # on every architecture
_HERE, _EXCHANGE, _KEEP_SIZE = -100, 2, 1  # AT_FDCWD, RENAME_EXCHANGE, FALLOC_FL_KEEP_SIZE
_LACKING = {errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EPERM, errno.ENOLCK}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

# Another process holds a lock of the kind that guards the store, until it is told to end.
_HOLDER = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
try:
    fcntl.fcntl(fd, 37, request)
    print("held", flush=True)
except OSError as error:
    print(error.errno, flush=True)
sys.stdin.read()
"""
_FLOCK = struct.Struct("hhqqi4x")
_SET, _HELD = 37, {errno.EAGAIN, errno.EACCES}  # F_OFD_SETLK


def mount_of(path: Path) -> Mount:
    """The filesystem that holds `path`, by /proc/self/mountinfo (proc_pid_mountinfo(5)). Raises OSError."""
    device, real = path.stat().st_dev, os.path.realpath(path)
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Mount()
    found: list[tuple[bool, int, Mount]] = []
    for line in lines:
        left, _, right = (part.split(" ") for part in line.partition(" - "))
        if len(left) < 6 or len(right) < 3:
            continue
        point = left[4].replace("\\040", " ")
        if real == point or real.startswith(f"{point.rstrip('/')}/"):
            mount = Mount(right[0], point, frozenset({*left[5].split(","), *right[2].split(",")}))
            # Of several on one point the last counts; btrfs shows another device than stat(2), so that only helps.
            found.append((left[2] == wanted, len(point), mount))
    return max(enumerate(found), key=lambda each: (each[1][0], each[1][1], each[0]))[1][2] if found else Mount()


def probe(state: Path, group: int | None) -> Mapping[Ability, Trial]:
    """Try everything in `state`. Raises StorageError when nothing can be written there."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PROBE, dir=state))
    except OSError as error:
        raise storage_error(error, f"cannot write in {state}") from error
    trials: dict[Ability, Trial] = {}

    def work() -> None:
        try:
            for ability, attempt in _ATTEMPTS.items():
                trials[ability] = _try(lambda attempt=attempt: attempt(folder, group))  # type: ignore[misc]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=work, name="ckptd-probe", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    done = dict(trials)
    return {each: done.get(each, Trial(None, f"no answer within {DEADLINE:.0f} s")) for each in Ability}


def _try(attempt: Callable[[], Trial]) -> Trial:
    try:
        return attempt()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return Trial(False if error.errno in _LACKING else None, reason)
    except sqlite3.Error as error:
        return Trial(False, str(error))


def _made(folder: Path, name: str, content: bytes = b"x" * SIZE) -> Path:
    path = folder / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    return path

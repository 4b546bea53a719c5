"""Positioned reads and writes that finish or raise, native preallocation, and the threads they run in.

Thin over system calls; raises OSError, which callers put into the operator's words with `places.storage_error`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

READ_SIZE = 1024 * 1024  # bytes read at a time when hashing; larger falls out of the processor's cache
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE
_NOT_NATIVE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.ESPIPE}
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_WHO_PROCESS, _IDLE, _CLASS_SHIFT = 1, 3, 13
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)


def stand_back() -> None:
    """Let everybody else's I/O go first: this thread's gets the idle class (ioprio_set(2)), where the system has it."""
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        _libc.syscall(number, _WHO_PROCESS, 0, _IDLE << _CLASS_SHIFT)


def workers() -> ThreadPoolExecutor:
    """Threads for hashing and disk, apart from asyncio's own, which resolve names."""
    # One more than there are processors, for who waits for the disk; with more they only get into each other's way.
    return ThreadPoolExecutor(min(32, max(2, os.cpu_count() or 1) + 1), thread_name_prefix="ckptd-disk")


def write_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data`: near a full disk, or at a size limit, the system writes a part first."""
    while len(data):
        count = os.pwrite(fd, data, offset)
        data = data[count:]
        offset += count


_local = threading.local()


def read_at(fd: int, offset: int, length: int) -> memoryview:
    """Up to `length` (at most READ_SIZE) bytes in a buffer that the thread's next call reuses; empty at the end."""
    try:
        buffer: bytearray = _local.buffer
    except AttributeError:
        buffer = _local.buffer = bytearray(READ_SIZE)
    view = memoryview(buffer)[: min(length, READ_SIZE)]
    return view[: os.preadv(fd, [view], offset)]


def preallocate(fd: int, length: int) -> None:
    """Reserve `length` bytes where the filesystem can by itself; the file's size stays. Raises OSError when full.

    glibc's posix_fallocate would write into every block where it is not native, so the system call is made directly.
    """
    if length and _libc.fallocate(fd, _KEEP_SIZE, 0, length) != 0:
        code = ctypes.get_errno()
        if code not in _NOT_NATIVE:
            raise OSError(code, os.strerror(code))


@cache
def boot_id() -> str:
    """Names the time since the machine started: what was written in it is still in the page cache."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""  # hidden by a sandbox: then only what was synced counts

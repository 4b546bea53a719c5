"""What a filesystem can do, found out by trying it, in a private folder in the state that is removed afterwards.

Never touches anything that was there before. A trial that fails says so and stops no other; all of them together take
at most `DEADLINE` seconds, since a network filesystem may hang in any call. What follows from it is said in
`core.doctor_store`. Blocks: run in a thread.
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
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import psutil

from ckptd.core.abilities import Ability, Trial
from ckptd.errors import StorageError
from ckptd.store import disk
from ckptd.store.atomic import write_atomically
from ckptd.store.places import (
    FOLDER_MODE,
    NETWORK_FILESYSTEMS,
    SHARED_FOLDER_MODE,
    filesystem_of,
    make_folder,
    storage_error,
)
from ckptd.store.publish import FILE_MODE
from ckptd.store.survey import PROBE

DEADLINE = 10.0  # seconds for all trials
LOCK_SECONDS = 5.0  # for another process to take or be refused a lock
SIZE = 64 * 1024  # bytes of a file that is tried with

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_ENABLE_VERITY = 0x40806685  # FS_IOC_ENABLE_VERITY, Documentation/filesystems/fsverity.rst
_VERITY_ARGUMENT = struct.Struct("=IIIIQII12Q")  # version, SHA-256, blocks of 4096 bytes, no salt, no signature
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
                place = folder / ability
                trials[ability] = _try(attempt, place, group)
                shutil.rmtree(place, ignore_errors=True)  # on a full disk the next one wants the space
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=work, name="ckptd-probe", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    done = dict(trials)
    return {each: done.get(each, Trial(works=None, detail=f"no answer within {DEADLINE:.0f} s")) for each in Ability}


def _try(attempt: Callable[[Path, int | None], Trial], folder: Path, group: int | None) -> Trial:
    try:
        folder.mkdir()
        return attempt(folder, group)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return Trial(works=False if error.errno in _LACKING else None, detail=reason)
    except sqlite3.Error as error:
        return Trial.lacks(str(error))
    except StorageError as error:
        return Trial.lacks(error.message)


def may_stand_back() -> bool:
    """Whether a thread can let everybody else's disk I/O go first (ioprio_set(2)), by trying it in one that ends."""
    found: list[int] = []

    def attempt() -> None:
        disk.stand_back()
        with suppress(psutil.Error):
            found.append(psutil.Process(threading.get_native_id()).ionice().ioclass)

    thread = threading.Thread(target=attempt, name="ckptd-ioprio")
    thread.start()
    thread.join()
    return found == [psutil.IOPRIO_CLASS_IDLE]


def _made(folder: Path, name: str, content: bytes = b"x" * SIZE) -> Path:
    path = folder / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    return path


# --- names and durability ---------------------------------------------------------------------------------------------


def _rename(folder: Path, _: int | None) -> Trial:
    old, new = _made(folder, "old", b"old"), _made(folder, "new", b"new")
    with old.open("rb") as reader:
        new.rename(old)
        if old.read_bytes() != b"new" or new.exists():
            return Trial.lacks("the name did not change its file")
        kept = reader.read() == b"old"
    return Trial.of(works=True) if kept else Trial.lacks("who had the old file open got other bytes")


def _exchange(folder: Path, _: int | None) -> Trial:
    one, other = _made(folder, "one", b"1"), _made(folder, "other", b"2")
    try:
        renameat2 = _libc.renameat2
    except AttributeError:
        return Trial.lacks("the C library has no renameat2")
    _check(renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE))
    return Trial.of(works=one.read_bytes() == b"2")


def _fsync(folder: Path, _: int | None) -> Trial:
    with _made(folder, "fsync").open("rb") as file:
        os.fsync(file.fileno())
    return Trial.of(works=True)


def _fsync_folder(folder: Path, _: int | None) -> Trial:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return Trial.of(works=True)


def _modes(folder: Path, group: int | None) -> Trial:
    """By the functions that make all files and folders of the store."""
    inner = folder / "modes"
    make_folder(inner, group)
    write_atomically(inner / "file", b"", FILE_MODE, group)
    wanted = (FOLDER_MODE if group is None else SHARED_FOLDER_MODE, FILE_MODE)
    found = [path.lstat() for path in (inner, inner / "file")]
    modes = tuple(stat.S_IMODE(each.st_mode) for each in found)
    if modes != wanted:
        return Trial.lacks(f"modes are {modes[0]:04o} and {modes[1]:04o} in the place of {wanted[0]:04o} and 0444")
    if group is not None and any(each.st_gid != group for each in found):
        return Trial.lacks("files do not keep the group that they are given")
    return Trial.of(works=True)


# --- locks and the database -------------------------------------------------------------------------------------------


def _locks(folder: Path, _: int | None) -> Trial:
    path = _made(folder, "locks")
    command = [sys.executable, "-I", "-S", "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        # Whatever it hangs in, it does not hold us up: without it there is nothing to be read.
        timer = threading.Timer(LOCK_SECONDS, other.kill)
        timer.start()
        try:
            said = other.stdout.readline().strip() if other.stdout is not None else ""
            if said != "held":
                return _no_lock(said)
            if _take(path):
                return Trial.lacks("two processes had the same lock at the same time")
            other.kill()
            other.wait()
        finally:
            timer.cancel()
            other.kill()
    return Trial.of(works=True) if _take(path) else Trial.lacks("the lock of a process that was killed stays")


def _no_lock(said: str) -> Trial:
    if not said.isdecimal():
        return Trial(works=None, detail="another process could not be started, or did not answer")
    code = int(said)
    return Trial(works=False if code in _LACKING else None, detail=os.strerror(code))


def _take(path: Path) -> bool:
    """Whether we get the lock, as another process than the holder. It is given back at once."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, _SET, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    finally:
        os.close(fd)
    return True


def _database(folder: Path, _: int | None) -> Trial:
    """As `store.state` would have it."""
    path = folder / "database"
    mode = "truncate" if filesystem_of(folder) in NETWORK_FILESYSTEMS else "wal"
    with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
        (given,) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        connection.execute("CREATE TABLE rows (content BLOB)")
        connection.execute("INSERT INTO rows VALUES (?)", (b"x" * SIZE,))
        with closing(sqlite3.connect(path, timeout=1.0)) as reader:
            (length,) = reader.execute("SELECT length(content) FROM rows").fetchone()
    if given != mode or length != SIZE:
        return Trial.lacks(f"journal mode {given} in the place of {mode}, {length} bytes read of {SIZE}")
    return Trial.of(works=True)


# --- space and blocks -------------------------------------------------------------------------------------------------


def _fallocate(folder: Path, _: int | None) -> Trial:
    with _made(folder, "fallocate", b"").open("r+b") as file:
        _check(_libc.fallocate(file.fileno(), _KEEP_SIZE, ctypes.c_longlong(0), ctypes.c_longlong(SIZE)))
    return Trial.of(works=True)


def _reflink(folder: Path, _: int | None) -> Trial:
    source, target = _made(folder, "source"), _made(folder, "target", b"")
    with source.open("rb") as reader, target.open("r+b") as writer:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
    return Trial.of(works=target.read_bytes() == source.read_bytes())


def _hard_links(folder: Path, _: int | None) -> Trial:
    source = _made(folder, "source")
    os.link(source, folder / "target")
    return Trial.of(works=source.stat().st_nlink == 2)


# --- reading ----------------------------------------------------------------------------------------------------------


def _direct(folder: Path, _: int | None) -> Trial:
    fd = os.open(_made(folder, "direct"), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with closing(mmap.mmap(-1, SIZE)) as buffer:
            count = os.preadv(fd, [buffer], 0)
            return Trial.of(works=count == SIZE and buffer[:] == b"x" * SIZE)
    finally:
        os.close(fd)


def _mincore(folder: Path, _: int | None) -> Trial:
    with _made(folder, "mincore").open("rb") as file:
        file.read()
        address = _libc.mmap(None, SIZE, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if address in {None, ctypes.c_void_p(-1).value}:
            _check(-1)
        try:
            vector = ctypes.create_string_buffer(SIZE // mmap.PAGESIZE or 1)
            _check(_libc.mincore(address, SIZE, vector))
        finally:
            _libc.munmap(address, SIZE)
    # Since Linux 5.2 pages of files that one may not write to are all said to be there; ours is our own.
    return Trial.of(works=any(byte & 1 for byte in vector.raw))


def _cachestat(folder: Path, _: int | None) -> Trial:
    with _made(folder, "cachestat").open("rb") as file:
        file.read()
        asked, told = (ctypes.c_uint64 * 2)(0, SIZE), (ctypes.c_uint64 * 5)()
        _check(_libc.syscall(_CACHESTAT, file.fileno(), asked, told, 0))
    return Trial.of(works=told[0] > 0)


def _verity(folder: Path, _: int | None) -> Trial:
    fd = os.open(_made(folder, "verity"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _ENABLE_VERITY, _VERITY_ARGUMENT.pack(1, 1, 4096, *(0,) * 16))
    finally:
        os.close(fd)
    return Trial.of(works=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_ATTEMPTS: Mapping[Ability, Callable[[Path, int | None], Trial]] = {
    Ability.RENAME: _rename,
    Ability.EXCHANGE: _exchange,
    Ability.FSYNC: _fsync,
    Ability.FSYNC_FOLDER: _fsync_folder,
    Ability.MODES: _modes,
    Ability.LOCKS: _locks,
    Ability.DATABASE: _database,
    Ability.FALLOCATE: _fallocate,
    Ability.REFLINK: _reflink,
    Ability.HARD_LINKS: _hard_links,
    Ability.DIRECT: _direct,
    Ability.MINCORE: _mincore,
    Ability.CACHESTAT: _cachestat,
    Ability.VERITY: _verity,
}

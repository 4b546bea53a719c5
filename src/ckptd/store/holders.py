"""Who uses a stored file: the processes that have it open or mapped, as far as /proc tells and lets us look.

A file is known by device and inode, so one that was renamed or unlinked is still recognised. What the kernel itself
holds (loop devices, descriptors on their way through a socket) belongs to no process and is not seen. Changes nothing,
decides nothing. Blocks, at most `DEADLINE` seconds: run in a disk thread.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ckptd.core.models import Holder, Usage
from ckptd.core.urls import redact_text

DEADLINE = 10.0  # seconds; a thousand processes take about one
LONGEST_COMMAND = 200  # characters
_READ = 4096  # characters of a command line that are looked at
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the flags of /proc/PID/stat, proc_pid_stat(5)
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMES = r"[\w.-]{0,60}(?:token(?!iz|s)|secret|passw|credential|api[_-]?key|access[_-]?key|authorization)[\w.-]{0,60}"
_OPTION = re.compile(rf"--?{_NAMES}", re.IGNORECASE)  # its value is the next argument
_WHOLE = re.compile(rf"{_NAMES}[=:]", re.IGNORECASE)
_WITHIN = re.compile(
    rf"""(?<![\w.-])((?:--?{_NAMES}\s|{_NAMES}["']?\s*[=:]|bearer\s)\s*)(?:(?:bearer|basic)\s+)?\S+""", re.IGNORECASE
)
# A thread that hangs in a process that cannot be read (its memory is locked, its files are on a dead server) stays.
_SLOTS = threading.BoundedSemaphore(4)


@dataclass(frozen=True, slots=True)
class _Target:
    """The file that is looked for. `mapped` is how /proc/PID/maps spells its device and inode."""

    identity: tuple[int, int]
    mapped: tuple[int, int]
    path: str | None


class _Search:
    """One look at every process; what is found so far can be read by whoever has no more time."""

    def __init__(self, target: _Target, until: float) -> None:
        self._target = target
        self._until = until
        self.holders: list[Holder] = []
        self.unseen = 0
        self.complete = False

    def run(self) -> None:
        try:
            with suppress(OSError):
                self._look_at_all()
        finally:
            _SLOTS.release()

    def _look_at_all(self) -> None:
        numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
        for pid in numbers:
            if time.monotonic() >= self._until:
                return
            try:
                if pid != os.getpid():
                    self._look_at(pid)
            except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
                continue  # it ended while we looked
            except (OSError, psutil.Error):
                self.unseen += 1
        # Process 1 is always there: where it is not listed, /proc hides others too (hidepid, ProtectProc).
        self.complete = 1 in numbers

    def _look_at(self, pid: int) -> None:
        # Everything is read through this: it never leads to a later process of the same number.
        folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            opened, mapped, denied = False, False, False
            try:
                opened = _has_open(folder, self._target.identity)
            except PermissionError:
                denied = True
            try:
                mapped = _has_mapped(folder, self._target)
            except PermissionError:
                denied = True
            if opened or mapped:
                how = "open and mapped" if opened and mapped else "open" if opened else "mapped"
                holder = _describe(pid, how)
                os.stat("stat", dir_fd=folder)  # still the same process
                self.holders.append(holder)
            elif denied and _can_hold(folder):
                self.unseen += 1
        finally:
            os.close(folder)


def holders(file: Path | tuple[int, int]) -> Usage:
    """Every process but this one that has `file` (a path, or device and inode as stat has them) open or mapped.

    Sorted by process number. A path is not followed where it is a link; one that is not there is used by nobody.
    Where the filesystem shows another device in maps than in stat (btrfs, overlayfs), a path finds more than a pair.
    """
    until = time.monotonic() + DEADLINE
    try:
        target = _target(file)
    except OSError:
        return Usage()
    if not _SLOTS.acquire(timeout=DEADLINE):
        return Usage(complete=False)
    search = _Search(target, until)
    thread = threading.Thread(target=search.run, name="ckptd-holders", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    return Usage(tuple(search.holders), search.unseen, search.complete)


def _target(file: Path | tuple[int, int]) -> _Target:
    if isinstance(file, tuple):
        return _Target(file, file, None)
    found = os.lstat(file)
    identity = (found.st_dev, found.st_ino)
    return _Target(identity, _as_mapped(file) or identity, os.path.abspath(file))


def _as_mapped(path: Path) -> tuple[int, int] | None:
    """Device and inode as maps shows them, found out by mapping the file here; None where that cannot be."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A private, writable mapping is the only kind whose address can be asked for; nothing is read or written.
        with mmap.mmap(fd, 1, access=mmap.ACCESS_COPY) as view:
            start = ctypes.addressof(ctypes.c_char.from_buffer(view))
            with open("/proc/self/maps", "rb") as maps:
                found = re.search(rb"^0*%x-\S+ \S+ \S+ (\S+):(\S+) (\d+) " % start, maps.read(), re.MULTILINE)
    except (OSError, ValueError, BufferError):  # not mappable: empty, or no plain file
        return None
    finally:
        os.close(fd)
    return None if found is None else (os.makedev(int(found[1], 16), int(found[2], 16)), int(found[3]))


def _has_open(folder: int, identity: tuple[int, int]) -> bool:
    """Whether a descriptor of the process is the file. Raises PermissionError where that cannot be told."""
    fds = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    denied: PermissionError | None = None
    try:
        for name in os.listdir(fds):
            try:
                found = os.stat(name, dir_fd=fds)
            except PermissionError as error:  # the list may be read where what is listed may not
                denied = error
            except OSError:
                continue  # closed meanwhile, or on a filesystem that does not answer
            else:
                if (found.st_dev, found.st_ino) == identity:
                    return True
    finally:
        os.close(fds)
    if denied is not None:
        raise denied
    return False


def _has_mapped(folder: int, target: _Target) -> bool:
    """Whether a mapping of the process is the file. Raises PermissionError where that cannot be told."""
    with open(os.open("maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
        maps = file.read()
    inodes = {b"%d" % target.identity[1], b"%d" % target.mapped[1]}
    if not any(b" %s " % inode in maps for inode in inodes):
        return False
    line = rb"^(\S+)-(\S+) \S+ \S+ (\S+):(\S+) (%s) +(.*)$" % b"|".join(inodes)
    return any(_is_mapping_of(target, folder, found) for found in re.finditer(line, maps, re.MULTILINE))


def _is_mapping_of(target: _Target, folder: int, line: re.Match[bytes]) -> bool:
    """Whether a line of maps with the right inode means the file, and not one of another filesystem."""
    first, last, major, minor, inode, path = line.groups()
    try:
        found = os.stat(b"map_files/%x-%x" % (int(first, 16), int(last, 16)), dir_fd=folder)
    except OSError:  # not allowed without CAP_CHECKPOINT_RESTORE, or unmapped meanwhile
        name = os.fsdecode(path.removesuffix(b" (deleted)").replace(rb"\012", b"\n"))
        shown_as = (os.makedev(int(major, 16), int(minor, 16)), int(inode))
        return shown_as in {target.identity, target.mapped} or name == target.path
    return (found.st_dev, found.st_ino) == target.identity


def _can_hold(folder: int) -> bool:
    """Whether this may hold files at all: kernel threads and those who have ended do not."""
    with open(os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
        state, *numbers = file.read().rpartition(b") ")[2].split()
    return state not in {b"Z", b"X"} and not int(numbers[5]) & _KERNEL_THREAD


def _describe(pid: int, how: str) -> Holder:
    process = psutil.Process(pid)
    with process.oneshot():
        try:
            command = shown(process.cmdline()) or f"[{shown([process.name()])}]"
        except psutil.AccessDenied:
            command = "unknown"
        return Holder(pid, process.username(), command, process.create_time(), how)


def shown(arguments: Sequence[str]) -> str:
    """A command line fit to be shown: one line, cropped, without what looks like a secret."""
    words: list[str] = []
    room, value_next = _READ, False
    for argument in arguments:
        if room <= 0:
            break
        whole = _WHOLE.match(argument)
        if value_next and not argument.startswith("-"):
            words.append("...")
        elif whole is not None:
            words.append(f"{whole[0]}...")
        else:
            words.append(_WITHIN.sub(r"\1...", argument[:room]))
        value_next = _OPTION.fullmatch(argument) is not None
        room -= len(words[-1]) + 1
    text = redact_text(_HIDDEN.sub("\ufffd", " ".join(words))).strip()
    return text if len(text) <= LONGEST_COMMAND else text[: LONGEST_COMMAND - 3] + "..."

"""The Metalink of `ckptd export`: files are read once, for SHA-256 digests of their pieces, and compared with the lock.

Other tools know SHA-256 and not BLAKE3, so that the piece table is of no use to them. What is read leaves the page
cache as it was; a file whose bytes are not the locked ones is left out: digests of rot are never exported.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ckptd.core import events, export
from ckptd.core.export import Listed
from ckptd.core.models import PIECE, LockEntry, Outcome, Problem
from ckptd.core.pace import Bucket
from ckptd.service.export import Exported, by_name, came_to, chosen, stored
from ckptd.service.sync import finished
from ckptd.service.telling import received
from ckptd.service.workplace import Workplace
from ckptd.store import disk, scrub
from ckptd.version import __version__

_GONE = {errno.ENOENT, errno.ENOTDIR}
_NOT_OURS = {errno.ELOOP, errno.EISDIR, errno.ENXIO}  # a link, a folder, a device where the file should be


class _StoppedError(Exception):
    """Nobody waits for this reading any more."""


class Metalink:
    """Makes one. Files are read several at a time, in threads that let everybody else's I/O go first."""

    def __init__(self, workplace: Workplace, emit: events.Emit) -> None:
        self._workplace = workplace
        self._emit = emit
        rate = workplace.manifest.verify.rate
        self._bucket = None if rate is None else Bucket(rate)
        self._stopping = threading.Event()

    async def run(self, names: Sequence[str], *, pieces: bool = True) -> Exported:
        """The Metalink of what is locked (only `names` and tags, if given); without `pieces` nothing is read."""
        files, outcomes = chosen(self._workplace, names)
        good = []
        for each in files:
            fault = export.metalink_fault(each)
            if fault is None:
                good.append(each)
            else:
                problem = Problem("config", fault, "--format sha256sums can name it")
                outcomes.append(came_to(self._workplace, each, "unlisted", problem))
        read = await self._read_all(good) if pieces else [(came_to(self._workplace, each), each) for each in good]
        outcomes += [outcome for outcome, _ in read]
        proven = [each for _, each in read if each is not None]
        return Exported(export.metalink(proven, __version__) if proven else "", by_name(outcomes))

    async def _read_all(self, files: Sequence[Listed]) -> list[tuple[Outcome, Listed | None]]:
        for each in files:
            self._emit(events.Queued(each.entry.name, each.entry.size, ""))
        pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ckptd-export", initializer=disk.stand_back)
        # The longest first, and the threads end together.
        ordered = sorted(files, key=lambda each: (-each.entry.size, each.entry.name))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read(pool, each)) for each in ordered]
            return [task.result() for task in tasks]
        finally:
            self._stopping.set()
            pool.shutdown(wait=True, cancel_futures=True)

    async def _read(self, pool: ThreadPoolExecutor, file: Listed) -> tuple[Outcome, Listed | None]:
        loop, name = asyncio.get_running_loop(), file.entry.name
        tell = received(name, self._emit)

        def progress(count: int) -> None:
            tell(count)
            if self._bucket is not None:
                self._stopping.wait(self._bucket.take(time.monotonic(), count))
            if self._stopping.is_set():
                raise _StoppedError

        def work() -> tuple[Outcome, Listed | None]:
            loop.call_soon_threadsafe(self._emit, events.Started(name, file.entry.size))
            return self._prove(file, progress)

        outcome, proven = await loop.run_in_executor(pool, work)
        # Why one is left out is said at the end, where it is not overlooked.
        self._emit(finished(outcome) if proven is not None else events.Finished(name, "left out"))
        return outcome, proven

    def _prove(self, file: Listed, progress: scrub.Progress) -> tuple[Outcome, Listed | None]:
        """Read one file, and compare it with the lock. Blocks."""
        entry, length = file.entry, export.piece_length(file.entry.size)
        try:
            path = self._workplace.places.opened(stored(self._workplace, file))
            sha256, pieces = piece_digests(path, entry, length, progress)
        except OSError as error:
            return self._unread(file, error), None
        if sha256 == entry.sha256:
            return came_to(self._workplace, file), replace(file, piece_length=length, pieces=pieces)
        found = f"its sha256 is {sha256}, not {entry.sha256}" if sha256 else "it has another size"
        problem = Problem("integrity", f"it is damaged: {found}", f"`ckptd verify {entry.name}` says more")
        return came_to(self._workplace, file, "corrupt", problem), None

    def _unread(self, file: Listed, error: OSError) -> Outcome:
        name, code = file.entry.name, error.errno if error.errno is not None else errno.EIO
        if code in _GONE:
            problem = Problem("storage", "it is not there", f"run `ckptd sync {name}`")
            return came_to(self._workplace, file, "missing", problem)
        if code in _NOT_OURS:
            message = "something that is no plain file is in its place"
            problem = Problem("integrity", message, f"`ckptd verify {name}` says more")
            return came_to(self._workplace, file, "corrupt", problem)
        problem = Problem("storage", f"it cannot be read: {os.strerror(code)}", "check its modes and the disk")
        return came_to(self._workplace, file, "unreadable", problem)


def piece_digests(path: Path, entry: LockEntry, length: int, progress: scrub.Progress) -> tuple[str, tuple[str, ...]]:
    """The SHA-256 of a whole file and of its pieces of `length` bytes, in hex, in one pass over it.

    An empty whole where the size alone says that it is not the locked one. Raises OSError. Blocks.
    """
    whole, done = hashlib.sha256(), 0
    pieces = [hashlib.sha256()]
    with scrub.opened(path) as file:
        if file.size != entry.size:
            return "", ()
        for start in range(0, file.size, PIECE):
            for view in scrub.chunks(file, start, start + PIECE):
                whole.update(view)
                at = 0
                while at < len(view):
                    if done == length:
                        pieces.append(hashlib.sha256())
                        done = 0
                    part = view[at : at + length - done]
                    pieces[-1].update(part)
                    at, done = at + len(part), done + len(part)
                progress(len(view))
    return whole.hexdigest(), tuple(each.hexdigest() for each in pieces) if entry.size else ()

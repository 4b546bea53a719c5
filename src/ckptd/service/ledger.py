"""Keeps lock and state in step with what was published, in the order that survives a crash.

Record, then rename, then lock, then forget the partial: a crash between any two is met by the next run as something it
knows how to finish. The lock is written whole, so for many small checkpoints it is written now and then, and always
at the end.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from typing import TypeVar

from ckptd.core.ages import Ages
from ckptd.core.audit import piece_count
from ckptd.core.models import Lock as LockContent
from ckptd.core.models import LockEntry
from ckptd.core.revision import kept
from ckptd.errors import StorageError
from ckptd.store import lockfile, publish
from ckptd.store.history import Visit, add_history
from ckptd.store.places import Places
from ckptd.store.publish import Published, Verified
from ckptd.store.records import FileRecord, drop_partials, save_files, save_sums, settle_files
from ckptd.store.state import State

T = TypeVar("T")
WRITE_EVERY = 0.5  # seconds between two writes of the lock at least
TRY_EVERY = 1.0  # seconds, after it could not be written


class Ledger:
    """The lock's only writer while the store is ours."""

    def __init__(self, places: Places, state: State, pool: ThreadPoolExecutor) -> None:
        self._entries: dict[str, LockEntry] = {}
        self._places = places
        self._state = state
        self._pool = pool
        self._seen: str | None = None  # what the lock file was like when it was last read or written
        self._version = 0  # of the entries; counts up with every change
        self._on_disk = 0  # the version that the lock has
        self._mutex = Lock()  # a write that was begun is finished before the next, also when its waiter has gone
        self._dirty = asyncio.Event()
        self._done: list[str] = []  # names whose partials may be forgotten once the lock is written

    def refresh(self) -> LockContent:
        """The lock as it is, read again if somebody else has written it. Raises ConfigError. Blocks."""
        with self._mutex:
            mark = _mark(self._places.lock)
            if mark != self._seen and self._version == self._on_disk:
                self._entries = dict(lockfile.read(self._places.lock).entries)
                self._seen = mark
            return LockContent(dict(self._entries))

    def unlockable(self) -> StorageError | None:
        """Why no entry can be new: the lock cannot be replaced. Blocks."""
        if os.access(self._places.lock.parent, os.W_OK | os.X_OK):
            return None
        return StorageError(
            f"cannot write {self._places.lock}: its folder is read-only for this user",
            hint="nothing was fetched for it; run as a user who may write there, or name another [store] lock",
        )

    async def publish(
        self, verified: Verified, *, action: str, fetched: int, seconds: float, frozen: bool = False
    ) -> Published:
        """Make a verified partial visible, and its lock entry due. Raises StorageError."""
        mark = await self.thread(lambda: publish.settle(verified, self._places))
        await self.record(verified, mark, action=action, read=fetched, seconds=seconds)
        published = await self.thread(lambda: publish.publish(verified, self._places))
        self.enter(published.entry, frozen=frozen)
        return published

    async def record(self, verified: Verified, mark: str, *, action: str, read: int, seconds: float) -> None:
        """Note in the state what was proven of a file. Survives a power cut before it returns."""
        entry, now = verified.entry, time.time()
        file = FileRecord(
            path=f"{entry.name}/{verified.checkpoint.file_name}",
            name=entry.name,
            sha256=entry.sha256,
            size=entry.size,
            stamp=mark,
            trust=entry.trust,
            witnesses=entry.witnesses,
            pieces=entry.pieces or "",
            verified_at=now,
            verdict="intact",
            pending=True,
            validators=verified.validators,
            digests=verified.digests,
            ages=Ages.whole(piece_count(entry.size), now).to_json(),
        )
        visit = Visit(now, entry.name, action, entry.sha256, "sha256", read, seconds, "intact")

        def save(database: Connection) -> None:
            save_files(database, [file])
            if verified.sums:
                save_sums(database, entry.sha256, verified.sums)
            add_history(database, [visit])

        await self._state.do(save, durable=True)

    def enter(self, entry: LockEntry, *, frozen: bool = False) -> None:
        """The lock has to say this from now on. With `frozen` (`--locked`) it says so already, or stays as it is."""
        before = self._entries.get(entry.name)
        entry = kept(before, entry)
        if not frozen and before != entry:
            self._entries[entry.name] = entry
            self._version += 1
        self._done.append(entry.name)
        self._dirty.set()

    async def keep_writing(self) -> None:
        """Write the lock whenever it is due, until cancelled; what cannot be written now is tried again."""
        while True:
            await self._dirty.wait()
            begun = time.monotonic()
            try:
                await self.write()
            except StorageError:
                # A disk that is full for a moment ends nobody's work. The last write of a run says so if it still is.
                self._dirty.set()
                await asyncio.sleep(TRY_EVERY)
            else:
                # A lock of thousands of entries takes its time to write: that must not become all that is done.
                await asyncio.sleep(max(WRITE_EVERY, 20 * (time.monotonic() - begun)))

    async def write(self) -> None:
        """Write the lock if it is due, then forget the partials it makes superfluous. Raises StorageError."""
        self._dirty.clear()
        done, self._done = self._done, []
        version, content = self._version, LockContent(dict(self._entries))

        def forget(database: Connection) -> None:
            settle_files(database, done)
            drop_partials(database, done)

        try:
            await self.thread(lambda: self._write(version, content))
            if done:
                await self._state.do(forget)
        except BaseException:
            self._done = done + self._done  # whoever writes next does it
            raise

    def _write(self, version: int, content: LockContent) -> None:
        with self._mutex:
            if version > self._on_disk:
                lockfile.write(self._places.lock, content)
                self._on_disk = version
                self._seen = _mark(self._places.lock)

    async def thread(self, work: Callable[[], T]) -> T:
        """Run blocking `work` in a disk thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _mark(path: Path) -> str | None:
    """What a file is like from the outside; None where there is none."""
    try:
        return publish.stamp(path.stat())
    except OSError:
        return None

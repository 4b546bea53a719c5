"""Keeps lock and state in step with what was published, in the order that survives a crash.

Record, then rename, then lock, then forget the partial: a crash between any two is met by the next run as something it
knows how to finish. The lock is written whole, so for many small checkpoints it is written now and then, and always
at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from sqlite3 import Connection
from typing import TypeVar

from ckptd.core.models import Lock, LockEntry
from ckptd.store import inventory, lockfile, publish
from ckptd.store.places import Places
from ckptd.store.publish import Published, Verified
from ckptd.store.state import FileRecord, State, Visit, add_history, drop_partials, save_files

T = TypeVar("T")
WRITE_EVERY = 0.5  # seconds between two writes of the lock at least


class Ledger:
    """The lock's only writer during a run. A `frozen` one (`--locked`) never writes it."""

    def __init__(self, lock: Lock, places: Places, state: State, pool: ThreadPoolExecutor, *, frozen: bool) -> None:
        self._entries = dict(lock.entries)
        self._places = places
        self._state = state
        self._pool = pool
        self._frozen = frozen
        self._changed = False
        self._dirty = asyncio.Event()
        self._done: list[str] = []  # names whose partials may be forgotten once the lock is written

    async def publish(self, verified: Verified, *, fetched: int, seconds: float) -> Published:
        """Make a verified partial visible, and its lock entry due. Raises StorageError."""
        mark = await self.thread(lambda: publish.settle(verified, self._places))
        await self.record(verified, mark, action="fetch", read=fetched, seconds=seconds)
        published = await self.thread(lambda: publish.publish(verified, self._places))
        self.enter(published.entry)
        return published

    async def record(self, verified: Verified, mark: str, *, action: str, read: int, seconds: float) -> None:
        """Note in the state what was proven of a file. Survives a power cut before it returns."""
        final = self._places.final(verified.checkpoint)
        entry, now = verified.entry, time.time()
        file = FileRecord(
            path=inventory.key(final, self._places.store),
            name=entry.name,
            sha256=entry.sha256,
            size=entry.size,
            stamp=mark,
            trust=entry.trust,
            witnesses=entry.witnesses,
            pieces=entry.pieces or "",
            verified_at=now,
            verdict="intact",
        )
        visit = Visit(now, entry.name, action, "sha256", read, seconds, "intact")

        def save(database: Connection) -> None:
            save_files(database, [file])
            add_history(database, [visit])

        await self._state.do(save, durable=True)

    def enter(self, entry: LockEntry) -> None:
        """The lock has to say this from now on."""
        if not self._frozen and self._entries.get(entry.name) != entry:
            self._entries[entry.name] = entry
            self._changed = True
        self._done.append(entry.name)
        self._dirty.set()

    async def keep_writing(self) -> None:
        """Write the lock whenever it is due, until cancelled. Raises StorageError."""
        while True:
            await self._dirty.wait()
            await self.write()
            await asyncio.sleep(WRITE_EVERY)

    async def write(self) -> None:
        """Write the lock if it is due, then forget the partials it makes superfluous. Raises StorageError."""
        if not self._dirty.is_set():
            return
        self._dirty.clear()
        done, self._done = self._done, []
        if self._changed:
            self._changed = False
            lock = Lock(dict(self._entries))
            await self.thread(lambda: lockfile.write(self._places.lock, lock))
        await self._state.do(lambda database: drop_partials(database, done))

    async def thread(self, work: Callable[[], T]) -> T:
        """Run blocking `work` in a disk thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

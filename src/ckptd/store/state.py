"""The state database, open for writing: one thread, one transaction for whatever has queued up.

SQLite in the state folder; committing together means that ten thousand small checkpoints do not mean ten thousand
fsyncs. WAL on a local disk; on a network filesystem, where
WAL's shared memory does not work, the rollback journal. How it is opened, and set aside when it is damaged, is
`store.opening`. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from ckptd.errors import StorageError
from ckptd.store.opening import is_damage, note_damage, open_or_begin_again

T = TypeVar("T")
BATCH = 500  # operations in one transaction


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[sqlite3.Connection], T]
    durable: bool
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop


class State:
    """The database, open for writing. Entered once per process that owns the store (or verifies)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="ckptd-state", daemon=True)
        self.note = ""

    def __enter__(self) -> Self:
        """Open or make the database. A damaged one is moved aside and begun again; `note` says so."""
        self._connection, self.note = open_or_begin_again(self._path, owned=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.put(None)
        self._thread.join()

    async def do(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work` in a transaction; with `durable`, return only once it would survive a power cut.

        Raises StorageError.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job: _Job[T] = _Job(work, durable, future, loop)
        self._jobs.put(job)  # type: ignore[arg-type]  # the thread hands each result to its own future only
        try:
            return await future
        except sqlite3.Error as error:
            raise _failed(self._path, error) from error

    def _run(self) -> None:
        connection = self._connection
        if connection is None:
            return
        with closing(connection):
            stopping = False
            while not stopping:
                jobs = [self._jobs.get()]
                with suppress(queue.Empty):
                    while len(jobs) < BATCH:
                        jobs.append(self._jobs.get_nowait())
                stopping = None in jobs
                batch = [job for job in jobs if job is not None]
                if batch:
                    _commit(connection, batch, self._path)


def _commit(connection: sqlite3.Connection, batch: list[_Job[object]], path: Path) -> None:
    results: list[tuple[_Job[object], object, BaseException | None]] = []
    try:
        durable = any(job.durable for job in batch)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            results.append((job, job.work(connection), None))  # noqa: PERF401  # work has effects
        connection.execute("COMMIT")
    except BaseException as error:  # noqa: BLE001  # whatever it is belongs to those who wait
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            note_damage(path, error)
        results = [(job, None, error) for job in batch]
    for job, result, failure in results:
        with suppress(RuntimeError):  # the loop has gone: nobody waits any more
            job.loop.call_soon_threadsafe(_settle, job.future, result, failure)


def _settle(future: asyncio.Future[object], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def write(path: Path, work: Callable[[sqlite3.Connection], None]) -> str:
    """Run `work` in one transaction of its own, for who does not own the store; what there is to say of the database.

    Raises StorageError. Blocks: run in a thread.
    """
    connection, note = open_or_begin_again(path, owned=False)
    with closing(connection):
        try:
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            note_damage(path, error)
            raise _failed(path, error) from error
    return note


def _failed(path: Path, error: sqlite3.Error) -> StorageError:
    """What to say of an error while the database was in use."""
    if is_damage(error):
        return StorageError(f"{path} is damaged: {error}", hint="run it again: what is damaged is then set aside")
    return StorageError(f"cannot write {path}: {error}", hint="is the disk full?")

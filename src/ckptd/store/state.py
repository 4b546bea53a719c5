"""The state database, open for writing: one thread, one transaction for whatever has queued up.

SQLite in the state folder; committing together means that ten thousand small checkpoints do not mean ten thousand
fsyncs. WAL on a local disk; on a network filesystem, where
WAL's shared memory does not work, the rollback journal. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from ckptd.errors import StorageError
from ckptd.store.history import Visit, add_history
from ckptd.store.places import NETWORK_FILESYSTEMS, filesystem_of
from ckptd.store.records import BUSY_SECONDS, SCHEMA, SCHEMA_VERSION

T = TypeVar("T")
MODE = 0o644  # whatever the umask: readers of a shared store want to know when it was verified
LARGEST_CHECK = 64 * 1024 * 1024  # bytes of a database that is checked whenever it is opened
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
        self._connection, self.note = _open_or_begin_again(self._path)
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
            raise StorageError(f"cannot write {self._path}: {error}", hint="is the disk full?") from error

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
                    _commit(connection, batch)


def _commit(connection: sqlite3.Connection, batch: list[_Job[object]]) -> None:
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
    connection, note = _open_or_begin_again(path)
    with closing(connection):
        try:
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"cannot write {path}: {error}", hint="is the disk full?") from error
    return note


def _open_or_begin_again(path: Path) -> tuple[sqlite3.Connection, str]:
    """The database, and what to say when it was damaged: it is moved aside, and everything in it is due again."""
    try:
        return _open(path), ""
    except sqlite3.OperationalError as error:
        raise StorageError(f"cannot open {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        note = f"{path} was damaged ({error}) and begun again, so everything is due again; the old one is {aside}"
        return _open(path), note


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if path.stat().st_mode & 0o777 != MODE:
            with suppress(PermissionError):
                path.chmod(MODE)
        if path.stat().st_size <= LARGEST_CHECK and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its pages do not fit together")
        mode = "TRUNCATE" if filesystem_of(path.parent) in NETWORK_FILESYSTEMS else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StorageError(f"{path} was written by a newer ckptd", hint="upgrade ckptd on this machine")
        if version < SCHEMA_VERSION:
            _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Make the tables, or those of an older version into ours, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:  # another process was quicker
        connection.execute("ROLLBACK")
        return
    if version == 1:
        visits = connection.execute(
            "SELECT at, name, action, '', digest, bytes, seconds, verdict FROM history ORDER BY id"
        ).fetchall()
        for statement in (
            "ALTER TABLE files ADD COLUMN validators TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE files ADD COLUMN digests TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE files ADD COLUMN ages TEXT NOT NULL DEFAULT '[]'",
            "DROP TABLE history",
        ):
            connection.execute(statement)
    else:
        visits = []
    for statement in SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement)
    add_history(connection, (Visit(*visit) for visit in visits))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")

"""The state database: unfinished downloads, what is known of published files, and the history of verifications.

SQLite in the state folder, written by one thread of its own that commits whatever has queued up as one transaction, so
that ten thousand small checkpoints do not mean ten thousand fsyncs. WAL on a local disk; on a network filesystem, where
WAL's shared memory does not work, the rollback journal. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar
from urllib.parse import quote

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator
from ckptd.errors import StorageError
from ckptd.store.places import NETWORK_FILESYSTEMS, filesystem_of

T = TypeVar("T")
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE partials (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, file TEXT NOT NULL, boot TEXT NOT NULL, total INTEGER,
    written TEXT NOT NULL, synced TEXT NOT NULL, validators TEXT NOT NULL, witnesses TEXT NOT NULL
) STRICT;
CREATE TABLE files (
    path TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    stamp TEXT NOT NULL, trust TEXT NOT NULL, witnesses TEXT NOT NULL, pieces TEXT NOT NULL,
    verified_at REAL NOT NULL, verdict TEXT NOT NULL
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, name TEXT NOT NULL, action TEXT NOT NULL, digest TEXT NOT NULL,
    bytes INTEGER NOT NULL, seconds REAL NOT NULL, verdict TEXT NOT NULL
) STRICT;
CREATE INDEX history_by_name ON history (name, at);
"""
BATCH = 500  # operations in one transaction
BUSY_SECONDS = 30.0  # how long to wait for another process's transaction


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """An unfinished download. `written` counts while the machine stays up (`boot`), `synced` in any case."""

    name: str
    url: str
    file: str
    boot: str
    total: int | None
    written: Extents
    synced: Extents
    validators: dict[str, Validator]  # by source URL, without its query
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What was proven of a published file; `stamp` is its size, inode and times at that moment."""

    path: str
    name: str
    sha256: str
    size: int
    stamp: str
    trust: str
    witnesses: tuple[str, ...]
    pieces: str
    verified_at: float  # POSIX seconds
    verdict: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One row of the history: what was read, with which digest, how long it took, what came of it."""

    at: float  # POSIX seconds
    name: str
    action: str  # "fetch", "verify", "adopt"
    digest: str
    bytes: int
    seconds: float
    verdict: str


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
        try:
            self._connection = _open(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StorageError(f"cannot open {self._path}: {error}") from error
            aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
            self._path.rename(aside)
            for suffix in ("-wal", "-shm", "-journal"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self.note = f"{self._path} was damaged ({error}) and begun again; the old one is {aside}"
            self._connection = _open(self._path)
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


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        mode = "TRUNCATE" if filesystem_of(path.parent) in NETWORK_FILESYSTEMS else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StorageError(f"{path} was written by a newer ckptd", hint="upgrade ckptd on this machine")
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def read_only(path: Path) -> sqlite3.Connection | None:
    """The database for reading, by anybody who may read the folder; None when there is none (that can be read)."""
    if not path.is_file():
        return None
    # In a folder that we may not write, WAL can be read only when nobody has it open: then it is immutable.
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True, timeout=BUSY_SECONDS)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT count(*) FROM files").fetchone()
        except sqlite3.Error:
            connection.close()
            continue
        if version == SCHEMA_VERSION:
            return connection
        connection.close()
        return None
    return None


def save_partial(connection: sqlite3.Connection, record: PartialRecord) -> None:
    """Insert or replace."""
    connection.execute(
        "INSERT OR REPLACE INTO partials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.name,
            record.url,
            record.file,
            record.boot,
            record.total,
            json.dumps(record.written.spans),
            json.dumps(record.synced.spans),
            json.dumps({source: asdict(validator) for source, validator in record.validators.items()}),
            json.dumps([[each.source, each.algorithm, each.value.hex()] for each in record.witnesses]),
        ),
    )


def load_partials(connection: sqlite3.Connection) -> dict[str, PartialRecord]:
    """Every unfinished download by name."""
    return {row[0]: _partial(row) for row in connection.execute("SELECT * FROM partials")}


def _partial(row: tuple[str, str, str, str, int | None, str, str, str, str]) -> PartialRecord:
    name, url, file, boot, total, written, synced, validators, witnesses = row
    return PartialRecord(
        name=name,
        url=url,
        file=file,
        boot=boot,
        total=total,
        written=Extents.of(*(tuple(span) for span in json.loads(written))),
        synced=Extents.of(*(tuple(span) for span in json.loads(synced))),
        validators={source: Validator(**fields) for source, fields in json.loads(validators).items()},
        witnesses=tuple(
            Witness(source, algorithm, bytes.fromhex(value)) for source, algorithm, value in json.loads(witnesses)
        ),
    )


def drop_partials(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget unfinished downloads."""
    connection.executemany("DELETE FROM partials WHERE name = ?", [(name,) for name in names])


def save_files(connection: sqlite3.Connection, records: Iterable[FileRecord]) -> None:
    """Insert or replace what is known of published files."""
    connection.executemany(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(each.path, each.name, each.sha256, each.size, each.stamp, each.trust),
                *(json.dumps(each.witnesses), each.pieces, each.verified_at, each.verdict),
            )
            for each in records
        ],
    )


def load_files(connection: sqlite3.Connection) -> dict[str, FileRecord]:
    """What is known of published files, by path relative to the store."""
    columns = "path, name, sha256, size, stamp, trust, witnesses, pieces, verified_at, verdict"
    return {
        path: FileRecord(path, name, sha256, size, stamp, trust, tuple(json.loads(witnesses)), pieces, at, verdict)
        for path, name, sha256, size, stamp, trust, witnesses, pieces, at, verdict in connection.execute(
            f"SELECT {columns} FROM files"
        )
    }


def add_history(connection: sqlite3.Connection, visits: Iterable[Visit]) -> None:
    """Append to the history."""
    connection.executemany(
        "INSERT INTO history (at, name, action, digest, bytes, seconds, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(each.at, each.name, each.action, each.digest, each.bytes, each.seconds, each.verdict) for each in visits],
    )

"""What the state database holds, and how it is read and written: tables, rows, values.

Unfinished downloads, what is known of published files, and the history of verifications. Readers need no more than
this module; `store.state` is the one writer. Quick to import: `ckptd status` stands on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator

BUSY_SECONDS = 30.0  # how long to wait for another process's transaction
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE partials (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, file TEXT NOT NULL, boot TEXT NOT NULL, total INTEGER,
    written TEXT NOT NULL, synced TEXT NOT NULL, validators TEXT NOT NULL, witnesses TEXT NOT NULL
) STRICT;
CREATE TABLE files (
    path TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    stamp TEXT NOT NULL, trust TEXT NOT NULL, witnesses TEXT NOT NULL, pieces TEXT NOT NULL,
    verified_at REAL NOT NULL, verdict TEXT NOT NULL,
    pending INTEGER NOT NULL
) STRICT;
CREATE TABLE history (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, name TEXT NOT NULL, action TEXT NOT NULL, digest TEXT NOT NULL,
    bytes INTEGER NOT NULL, seconds REAL NOT NULL, verdict TEXT NOT NULL
) STRICT;
CREATE INDEX files_by_name ON files (name);
CREATE INDEX history_by_name ON history (name, at);
"""


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
    pending: bool = False  # published, and its lock entry not yet written


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


def read_only(path: Path) -> sqlite3.Connection | None:
    """The database for reading, by anybody who may read the folder; None when there is none (that can be read)."""
    if not path.is_file():
        return None
    # With a log (WAL) but none there, nobody has it open, and reading it as immutable leaves no trace. Otherwise
    # reading makes files beside it; where the folder may not be written, what the database itself says has to do.
    still, shared = "mode=ro&immutable=1", "mode=ro"
    for options in (still, shared) if _is_at_rest(path) else (shared, still):
        with suppress(sqlite3.Error):
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


def _is_at_rest(path: Path) -> bool:
    """Whether the database keeps a log (bytes 18 and 19 of SQLite's file format say so) and has none now."""
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == b"\x02\x02" and not path.with_name(f"{path.name}-wal").exists()
    except OSError:
        return False


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
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(each.path, each.name, each.sha256, each.size, each.stamp, each.trust),
                *(json.dumps(each.witnesses), each.pieces, each.verified_at, each.verdict, each.pending),
            )
            for each in records
        ],
    )


def load_files(connection: sqlite3.Connection) -> dict[str, FileRecord]:
    """What is known of published files, by path relative to the store."""
    rows = connection.execute(
        "SELECT path, name, sha256, size, stamp, trust, witnesses, pieces, verified_at, verdict, pending FROM files"
    )
    return {
        path: FileRecord(
            path, name, sha256, size, stamp, trust, tuple(json.loads(witnesses)), pieces, at, verdict, bool(pending)
        )
        for path, name, sha256, size, stamp, trust, witnesses, pieces, at, verdict, pending in rows
    }


def settle_files(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """The lock says what is published for these: nothing is pending any more."""
    connection.executemany("UPDATE files SET pending = 0 WHERE name = ?", [(name,) for name in names])


def add_history(connection: sqlite3.Connection, visits: Iterable[Visit]) -> None:
    """Append to the history."""
    connection.executemany(
        "INSERT INTO history (at, name, action, digest, bytes, seconds, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(each.at, each.name, each.action, each.digest, each.bytes, each.seconds, each.verdict) for each in visits],
    )

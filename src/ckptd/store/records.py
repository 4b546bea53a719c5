"""What the state database holds, and how it is read and written: tables, rows, values.

Unfinished downloads and what is known of published files; the history of verifications is `store.history`. Readers need
no more than these; `store.state` is the one writer. Quick to import: `ckptd status` stands on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator

DROPPED = "dropped"  # the verdict on an archive that was removed once its tree stood
BUSY_SECONDS = 30.0  # how long to wait for another process's transaction
SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS partials (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, file TEXT NOT NULL, boot TEXT NOT NULL, total INTEGER,
    written TEXT NOT NULL, synced TEXT NOT NULL, validators TEXT NOT NULL, witnesses TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    stamp TEXT NOT NULL, trust TEXT NOT NULL, witnesses TEXT NOT NULL, pieces TEXT NOT NULL,
    verified_at REAL NOT NULL, verdict TEXT NOT NULL,
    pending INTEGER NOT NULL, validators TEXT NOT NULL, digests TEXT NOT NULL, ages TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sums (sha256 TEXT PRIMARY KEY, blocks BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, name TEXT NOT NULL, action TEXT NOT NULL,
    sha256 TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL, seconds REAL NOT NULL, verdict TEXT NOT NULL,
    detail TEXT NOT NULL, chain TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS files_by_name ON files (name);
CREATE INDEX IF NOT EXISTS history_by_name ON history (name, at);
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
    validators: dict[str, Validator] = field(default_factory=dict)  # by source URL, without its query
    digests: dict[str, str] = field(default_factory=dict)  # hex, by algorithm: what witnesses were compared with
    ages: str = "[]"  # when each piece was last found good: `core.ages` as JSON


def read_only(path: Path) -> sqlite3.Connection | None:
    """The database for reading, by anybody who may read the folder; None when there is none (that can be read)."""
    try:
        if not path.is_file():
            return None
    except OSError:  # the state folder is not for us
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
            _validators_to_json(record.validators),
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
        validators=_validators(validators),
        witnesses=tuple(
            Witness(source, algorithm, bytes.fromhex(value)) for source, algorithm, value in json.loads(witnesses)
        ),
    )


def _validators_to_json(validators: dict[str, Validator]) -> str:
    return json.dumps({source: asdict(validator) for source, validator in validators.items()})


def _validators(text: str) -> dict[str, Validator]:
    return {source: Validator(**fields) for source, fields in json.loads(text).items()}


def drop_partials(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget unfinished downloads."""
    connection.executemany("DELETE FROM partials WHERE name = ?", [(name,) for name in names])


def save_files(connection: sqlite3.Connection, records: Iterable[FileRecord]) -> None:
    """Insert or replace what is known of published files."""
    connection.executemany(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_row(each) for each in records],
    )


def _row(record: FileRecord) -> tuple[str | int | float, ...]:
    return (
        record.path,
        record.name,
        record.sha256,
        record.size,
        record.stamp,
        record.trust,
        json.dumps(record.witnesses),
        record.pieces,
        record.verified_at,
        record.verdict,
        record.pending,
        _validators_to_json(record.validators),
        json.dumps(record.digests),
        record.ages,
    )


def load_files(connection: sqlite3.Connection) -> dict[str, FileRecord]:
    """What is known of published files, by path relative to the store."""
    rows = connection.execute(
        "SELECT path, name, sha256, size, stamp, trust, witnesses, pieces, verified_at, verdict, pending, "
        "validators, digests, ages FROM files"
    )
    return {row[0]: _file(row) for row in rows}


def _file(row: tuple[str, str, str, int, str, str, str, str, float, str, int, str, str, str]) -> FileRecord:
    path, name, sha256, size, stamp, trust, witnesses, pieces, at, verdict, pending, validators, digests, ages = row
    return FileRecord(
        path=path,
        name=name,
        sha256=sha256,
        size=size,
        stamp=stamp,
        trust=trust,
        witnesses=tuple(json.loads(witnesses)),
        pieces=pieces,
        verified_at=at,
        verdict=verdict,
        pending=bool(pending),
        validators=_validators(validators),
        digests=json.loads(digests),
        ages=ages,
    )


def settle_files(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """The lock says what is published for these: nothing is pending any more."""
    connection.executemany("UPDATE files SET pending = 0 WHERE name = ?", [(name,) for name in names])


def save_verdict(connection: sqlite3.Connection, record: FileRecord) -> None:
    """Note what a verification found of a file, unless other bytes have been published under its name meanwhile.

    What is known from its download (validators, digests) stays.
    """
    connection.execute(
        "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
        "stamp = excluded.stamp, pieces = excluded.pieces, verified_at = excluded.verified_at, "
        "verdict = excluded.verdict, ages = excluded.ages WHERE sha256 = excluded.sha256",
        _row(record),
    )


def save_origin(connection: sqlite3.Connection, path: str, validators: dict[str, Validator]) -> None:
    """Note that the same bytes came again, and what the answers said of them. Nothing was read back from the disk."""
    connection.execute("UPDATE files SET validators = ? WHERE path = ?", (_validators_to_json(validators), path))


def tree_key(name: str) -> str:
    """The path under which the unpacked tree of a checkpoint is recorded."""
    return f"{name}/tree"


def save_sums(connection: sqlite3.Connection, sha256: str, blocks: bytes) -> None:
    """Keep the block sums of a file (`store.digests.Blocks`)."""
    connection.execute("INSERT OR REPLACE INTO sums VALUES (?, ?)", (sha256, blocks))


def load_sums(connection: sqlite3.Connection, sha256: str) -> bytes | None:
    """The block sums of a file, None where there are none."""
    row = connection.execute("SELECT blocks FROM sums WHERE sha256 = ?", (sha256,)).fetchone()
    return None if row is None else bytes(row[0])

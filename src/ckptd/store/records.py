"""What the state database holds, and how it is read and written: tables, rows, values.

Unfinished downloads and what is known of published files; the history of verifications is `store.history`. Readers need
no more than these; `store.state` is the one writer. Quick to import: `ckptd status` stands on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ckptd.core import remembered
from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator

T = TypeVar("T")
DROPPED = "dropped"  # the verdict on an archive that was removed once its tree stood
BUSY_SECONDS = 30.0  # how long to wait for another process's transaction
SCHEMA_VERSION = 3
READABLE = (2, 3)  # versions in which what readers ask for is the same
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
CREATE TABLE IF NOT EXISTS arrivals (
    file TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (file, start)
) STRICT, WITHOUT ROWID;
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
        if not path.is_file() or remembered.header_problem(_head(path)):
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
                ours = version in READABLE and has_our_tables(connection, ALL_BUT_HISTORY)
            except (sqlite3.Error, UnicodeDecodeError):  # of a message that quotes a damaged list of tables
                connection.close()
                continue
            if ours:
                return connection
            connection.close()
    return None


def trouble(path: Path) -> tuple[str, str]:
    """Why a database that is there says nothing, or less than it should, and what to do; nothing where all is well.

    For who only reads. A folder that is not for us is no trouble.
    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return "", ""
    connection = read_only(path)
    if connection is None:
        return _unreadable(path, head) if head else ("", "")  # without a byte it was only just made
    with closing(connection):
        try:
            senseless = len(_sensible(connection, PARTIALS, _partial)[1] + _sensible(connection, FILES, _file)[1])
        except sqlite3.Error as error:
            return f"{path} cannot be read: {error}; {UNKNOWN}", MENDED
    rows = "a row" if senseless == 1 else f"{senseless} rows"
    said = f"{rows} of {path} cannot be read, and what was known by them is due again"
    return (said, "the next `ckptd sync` or `ckptd verify` drops them") if senseless else ("", "")


def _unreadable(path: Path, head: bytes) -> tuple[str, str]:
    """Why nothing can be read of a database that begins with `head`, and what to do."""
    match remembered.header_age(head, SCHEMA_VERSION):
        case remembered.Age.NEWER:
            return f"{path} cannot be read: a newer ckptd wrote it; {UNKNOWN}", "upgrade ckptd on this machine"
        case remembered.Age.OLDER if any(head[60:64]):
            hint = "`ckptd verify` by its owner brings it up to date"
            return f"{path} cannot be read: an older ckptd wrote it; {UNKNOWN}", hint
    reason = remembered.header_problem(head) or "it is damaged, or no database of ours"
    return f"{path} cannot be read: {reason}; {UNKNOWN}", MENDED


UNKNOWN = "so it is not known what was proven when"
MENDED = "the next `ckptd sync` or `ckptd verify` moves a damaged database aside and begins a new one"


ALL_BUT_HISTORY = ("files", "partials", "sums")  # of the history, its check is to say what is wrong


def has_our_tables(connection: sqlite3.Connection, wanted: Collection[str] | None = None) -> bool:
    """Whether every column that our statements count on is there (of `wanted` tables), and nothing else.

    Raises sqlite3.Error.
    """
    found = [row for row in _shape(connection) if wanted is None or row[0] in wanted]
    return found == [row for row in _our_shape() if wanted is None or row[0] in wanted]


def _shape(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT s.name, i.cid, i.name, i.type, i.pk FROM sqlite_schema AS s, pragma_table_info(s.name) AS i "
        "WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%' ORDER BY s.name, i.cid"
    ).fetchall()


@cache
def _our_shape() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return _shape(connection)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


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
    """Every unfinished download by name; rows without sense left out."""
    return {record.name: record for record in _sensible(connection, PARTIALS, _partial)[0]}


PARTIALS = "SELECT rowid, name, url, file, boot, total, written, synced, validators, witnesses FROM partials"
FILES = (
    "SELECT rowid, path, name, sha256, size, stamp, trust, witnesses, pieces, verified_at, verdict, pending, "
    "validators, digests, ages FROM files"
)


def _sensible(
    connection: sqlite3.Connection, statement: str, record: Callable[[Sequence[object]], T]
) -> tuple[list[T], list[tuple[int, object]]]:
    """What the rows of a table say, and number and key of those that say nothing. Raises sqlite3.Error."""
    try:
        rows = connection.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", ""):
            raise
        rows = _not_unicode(connection, statement)
    found, senseless = [], []
    for number, *values in rows:
        try:
            found.append(record(values))
        except ValueError:
            senseless.append((number, values[0]))
    return found, senseless


def _not_unicode(connection: sqlite3.Connection, statement: str) -> list[Sequence[object]]:
    """Rows with text that is no UTF-8: as such it is to be found, and not to end the reading of the others."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.text_factory = before


def drop_senseless(connection: sqlite3.Connection) -> list[str]:
    """Forget rows that say nothing that can be believed; what they were about, as far as that can be told.

    A download is begun again, a file is due again. Raises sqlite3.Error.
    """
    dropped: list[str] = []
    for table, statement, record in (("partials", PARTIALS, _partial), ("files", FILES, _file)):
        for number, key in _sensible(connection, statement, record)[1]:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))  # noqa: S608
            dropped.append(str(key).encode("ascii", "backslashreplace").decode())
    if dropped:
        connection.execute("DELETE FROM arrivals WHERE file NOT IN (SELECT file FROM partials)")
    return dropped


def _partial(row: Sequence[object]) -> PartialRecord:
    """Raises ValueError where a row makes no sense."""
    name, url, file, boot, total, written, synced, validators, witnesses = row
    size = None if total is None else remembered.number(total)
    return PartialRecord(
        name=remembered.file_name(name),
        url=remembered.text(url),
        file=remembered.file_name(file),
        boot=remembered.text(boot),
        total=size,
        written=remembered.spans(written, size),
        synced=remembered.spans(synced, size),
        validators=remembered.validators(validators),
        witnesses=remembered.witnesses(witnesses),
    )


def _validators_to_json(validators: dict[str, Validator]) -> str:
    return json.dumps({source: asdict(validator) for source, validator in validators.items()})


def drop_partials(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget unfinished downloads."""
    names = list(names)
    connection.executemany(
        "DELETE FROM arrivals WHERE file IN (SELECT file FROM partials WHERE name = ?)", [(name,) for name in names]
    )
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
    """What is known of published files, by path relative to the store; rows without sense left out."""
    return {record.path: record for record in _sensible(connection, FILES, _file)[0]}


_READ: dict[object, tuple[Sequence[object], FileRecord]] = {}  # by path: what a row said when it was last read


def _file(row: Sequence[object]) -> FileRecord:
    """Raises ValueError where a row makes no sense. A daemon reads them all every minute, and few have changed."""
    before = _READ.get(row[0])
    if before is not None and before[0] == row:
        return before[1]
    record = _file_of(row)
    _READ[row[0]] = row, record
    return record


def _file_of(row: Sequence[object]) -> FileRecord:
    path, name, sha256, size, stamp, trust, witnesses, pieces, at, verdict, pending, validators, digests, ages = row
    checkpoint = remembered.file_name(name)
    return FileRecord(
        path=remembered.key(path, checkpoint),
        name=checkpoint,
        sha256=remembered.sha256(sha256),
        size=remembered.number(size),
        stamp=remembered.text(stamp),
        trust=remembered.one_of(trust, remembered.TRUSTS),
        witnesses=remembered.labels(witnesses),
        pieces=remembered.text(pieces),
        verified_at=remembered.moment(at),
        verdict=remembered.one_of(verdict, remembered.VERDICTS),
        pending=remembered.number(pending) != 0,
        validators=remembered.validators(validators),
        digests=remembered.digests(digests),
        ages=remembered.text(ages),
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

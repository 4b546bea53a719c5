"""The history of verifications: append-only rows, each with a digest over its own fields and the one before it.

Whoever edits, removes or inserts a row has to write every later one anew, and SQLite's counter of rows with them; a
head that was noted elsewhere (a log, a ticket, another machine) then shows that they did. Reads and writes rows; what a
row is, and what its digest covers, stands in `core.attestation`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ckptd.core.attestation import BEGUN, GENESIS, Checked, Row, Visit, chained, settled
from ckptd.core.remembered import Age, header_age
from ckptd.errors import CkptdError, IntegrityError, MissingError, StorageError
from ckptd.store.records import MENDED, SCHEMA_VERSION, read_only

__all__ = ["GENESIS", "Checked", "Row", "Visit", "add_history", "check", "link", "names", "opened", "rows"]

COLUMNS = "at, name, action, sha256, digest, bytes, seconds, verdict, detail"
_VERSION_AT = 60  # where SQLite's file format keeps user_version, as 4 bytes, big-endian


def link(before: str, visit: Visit) -> str:
    """The chain digest of a row, given that of the one before it: 64 hex digits."""
    return hashlib.sha256(chained(before, visit)).hexdigest()


def add_history(connection: sqlite3.Connection, visits: Iterable[Visit]) -> None:
    """Append to the history. In the caller's transaction, so that no two rows follow the same one."""
    head = _head(connection)
    made = []
    for each in visits:
        visit = settled(each)
        head = link(head, visit)
        made.append((*_fields(visit), head))
    connection.executemany(f"INSERT INTO history ({COLUMNS}, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", made)  # noqa: S608


def _fields(visit: Visit) -> tuple[str | int | float, ...]:
    return (
        visit.at,
        visit.name,
        visit.action,
        visit.sha256,
        visit.digest,
        visit.bytes,
        visit.seconds,
        visit.verdict,
        visit.detail,
    )


def _head(connection: sqlite3.Connection) -> str:
    # As bytes: where they are no UTF-8 any more, that is for `check` to find, and must not keep us from going on.
    row = connection.execute("SELECT CAST(chain AS BLOB) FROM history ORDER BY id DESC LIMIT 1").fetchone()
    return GENESIS if row is None else bytes(row[0] or b"").decode("utf-8", "surrogateescape")


# --- reading -------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database for reading, all of it as at one moment, by anybody who may read it; takes no lock of the store.

    Raises MissingError when it is not there, StorageError when it cannot be read, IntegrityError when the history's
    table is gone from it; also when that shows only later.
    """
    connection = None
    with suppress(OSError):  # told below
        connection = read_only(path)
    if connection is None:
        raise _unreadable(path)
    with closing(connection):
        # What is no UTF-8 was not written by us: it is to be found, and not to end the search for it.
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            if _lacks_history(connection):
                message = f"the history in {path} was changed: its table is gone, or is not the one that was made"
                raise IntegrityError(message, hint="compare it with a backup") from error
            raise StorageError(f"the history in {path} cannot be read: {error}", hint=MENDED) from error


def _lacks_history(connection: sqlite3.Connection) -> bool:
    """Whether a database that can be read lacks the history, its counter, or columns of it."""
    with suppress(sqlite3.Error, UnicodeDecodeError):
        columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(history)")}
        counted = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone()
        return counted is None or not columns.issuperset({"id", "chain", *COLUMNS.split(", ")})
    return False


def _unreadable(path: Path) -> CkptdError:
    """Why it cannot be read, and what to do."""
    message = f"the history in {path} cannot be read"
    try:
        with path.open("rb") as file:
            head = file.read(_VERSION_AT + 4)
    except FileNotFoundError:
        return MissingError(
            f"there is no history: {path} is not there", hint="`ckptd sync` and `ckptd verify` write one"
        )
    except OSError as error:
        return StorageError(f"{message}: {os.strerror(error.errno or 0)}", hint="ask the owner of the store")
    age = header_age(head, SCHEMA_VERSION)
    if age is Age.NEWER:
        return StorageError(f"{message}: a newer ckptd wrote it", hint="upgrade ckptd on this machine")
    if age is Age.OLDER and any(head[_VERSION_AT:]):
        return StorageError(
            f"{message}: an older ckptd wrote it", hint="`ckptd verify` by its owner brings it up to date"
        )
    return StorageError(f"{message}: it is damaged, or no database of ours", hint=MENDED)


def rows(
    connection: sqlite3.Connection,
    wanted: Collection[str] | None = None,
    *,
    since: float | None = None,
    limit: int | None = None,
) -> Iterator[Row]:
    """Rows in the order in which they were written: those of the `wanted` names (None: all), not older than `since`
    (POSIX seconds), of these the newest `limit`."""
    # The names as one JSON value: there may be more of them than SQLite takes as parameters.
    which = None if wanted is None else json.dumps(sorted(wanted))
    where = "(?1 IS NULL OR name IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR at >= ?2)"
    newest = f"SELECT min(id) FROM (SELECT id FROM history WHERE {where} ORDER BY id DESC LIMIT ?3)"  # noqa: S608
    before = "SELECT chain FROM history AS h WHERE h.id < history.id ORDER BY h.id DESC LIMIT 1"
    found = connection.execute(
        f"SELECT id, {COLUMNS}, chain, ({before}) FROM history "  # noqa: S608  # all of it constant
        f"WHERE {where} AND (?3 IS NULL OR id >= ({newest})) ORDER BY id",
        (which, since, limit),
    )
    for number, *fields, chain, earlier in found:
        yield Row(number, _visit(fields), str(chain), GENESIS if earlier is None else str(earlier))


def _visit(fields: Sequence[object]) -> Visit:
    """The fields of a row, which somebody may have given other types than ours."""
    at, name, action, sha256, digest, count, seconds, verdict, detail = fields
    return Visit(
        at=_float(at),
        name=str(name),
        action=str(action),
        sha256=str(sha256),
        digest=str(digest),
        bytes=count if isinstance(count, int) else -1,
        seconds=_float(seconds),
        verdict=str(verdict),
        detail=str(detail),
    )


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else -1.0


def names(connection: sqlite3.Connection) -> set[str]:
    """Every name that the history knows."""
    found = connection.execute("SELECT DISTINCT name FROM history WHERE action <> ?", (BEGUN,))
    return {str(name) for (name,) in found}


def check(connection: sqlite3.Connection, noted: str | None = None) -> Checked:
    """Whether every row follows from the one before it and none is missing; the first that is wrong ends it.

    `noted` is the beginning of a chain digest that was the head once; `Checked.noted` stays None when no row has it.
    SQLite never gives a number twice here, so that rows taken from the end leave a gap to its counter.
    """
    head, last, begun = GENESIS, 0, ""
    place: int | None = None
    for row in rows(connection):
        wrong = _wrong(row, head, last)
        if wrong:
            return Checked(last, head, wrong, place, begun)
        if not last and row.visit.action == BEGUN:
            begun = row.visit.detail
        head, last = row.chain, row.id
        if noted is not None and place is None and head.startswith(noted):
            place = last
    if not last and noted is not None and GENESIS.startswith(noted):
        place = 0  # of a history without a record, its beginning is the head
    return Checked(last, head, _missing_from_the_end(connection, last), place, begun)


def _wrong(row: Row, head: str, last: int) -> str:
    """What is wrong with a row, of which `last` should be the one before it, with the chain digest `head`."""
    if row.id > last + 1:
        return f"{_span(last + 1, row.id - 1)} missing"
    if row.id <= last:  # only below 1: SQLite sorts them
        return f"record {row.id} was inserted"
    if link(head, row.visit) != row.chain:
        before = f"record {last}" if last else "the beginning"
        return (
            f"record {row.id} ({row.visit.name}) does not follow from {before}: it was edited, or what stood before it "
            "was edited, removed or inserted"
        )
    return ""


def _missing_from_the_end(connection: sqlite3.Connection, last: int) -> str:
    counted = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'history'").fetchone()[0] or 0
    if counted == last:
        return ""
    if isinstance(counted, int) and counted > last:
        return f"{_span(last + 1, counted)} missing from the end"
    return f"record {last} was inserted, or SQLite's counter of records was edited: it stands at {counted}"


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"

"""Opens the state database for writing: looks whether it is whole, and sets a damaged one aside and begins a new one.

Rows without sense are dropped, indexes that do not fit are made again; what the rest is worth says `core.remembered`.
To look at all pages takes as long as reading them (22 MB, a history of 100 000 records: 100 to 200 ms), so a large
database is looked at only when its last user did not close it (it left its log), or met damage (`note_damage` left a
mark). Whoever reads without writing uses `store.records`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ckptd.core import remembered
from ckptd.core.attestation import BEGUN
from ckptd.core.remembered import Age, Soundness, age, header_age, header_problem, soundness, wants_check
from ckptd.errors import StorageError
from ckptd.store.history import Visit, add_history
from ckptd.store.owner import holder
from ckptd.store.places import NETWORK_FILESYSTEMS, filesystem_of, storage_error
from ckptd.store.records import BUSY_SECONDS, SCHEMA, SCHEMA_VERSION, drop_senseless, has_our_tables

MODE = 0o644  # whatever the umask: readers of a shared store want to know when it was verified
COMPLAINTS = 10_000  # of a check of all pages that are looked at
NAMED = 3  # of what was dropped
LOST = "state.db was missing though files were locked: what was recorded before is lost"


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is to blame, and not the disk, a lock or a limit."""
    return isinstance(error, sqlite3.DatabaseError) and remembered.is_damage(getattr(error, "sqlite_errorname", ""))


def note_damage(path: Path, error: sqlite3.Error) -> None:
    """After an error: whoever opens the database next looks at all of it, however large it is."""
    if is_damage(error):
        with suppress(OSError):
            _doubt(path).touch()


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}.doubt")


# --- opening ---------------------------------------------------------------------------------------------------------


def open_or_begin_again(path: Path, *, owned: bool) -> tuple[sqlite3.Connection, str]:
    """The database, and what to say when it was damaged: it is moved aside, and everything in it is due again.

    `owned`: the store is ours, so that nobody else has it open for long. Raises StorageError, also for one that a newer
    ckptd wrote, and for a damaged one that another process owns: those are left alone.
    """
    seen = _inode(path)
    try:
        return _open(path, owned=owned)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise StorageError(f"cannot open {path}: {error}") from error
        if header_age(_head(path), SCHEMA_VERSION) is Age.NEWER:
            raise _newer(path) from error
        if not owned and (who := holder(path.parent)) is not None:
            note_damage(path, error)
            raise StorageError(f"{path} is damaged: {error}", hint=f"{who} has it open: start that again") from error
        with _alone(path.parent):
            if _inode(path) != seen:  # another process was quicker: what is there now is its new one
                return _open_again(path), ""
            aside = _set_aside(path)
            note = f"{path} was damaged ({error}) and begun again, so everything is due again; the old one is {aside}"
            connection = _open_again(path)
            _note_break(connection, f"state.db was damaged ({error}); what was recorded before is in {aside.name}")
        return connection, note


def _open_again(path: Path) -> sqlite3.Connection:
    try:
        return _open(path, owned=False)[0]
    except sqlite3.Error as error:
        raise StorageError(f"cannot open {path}: {error}") from error


def _set_aside(path: Path) -> Path:
    """Give a damaged database another name, with its log, so that SQLite can still be asked what it makes of both."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    try:
        path.rename(aside)
        for suffix in ("-wal", "-journal"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(f"{aside}{suffix}")
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        _doubt(path).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, f"cannot set the damaged {path} aside") from error
    return aside


def _note_break(connection: sqlite3.Connection, why: str) -> None:
    """The first record of a new history says that there was another."""
    connection.execute("BEGIN IMMEDIATE")
    begin_anew(connection, why)
    connection.execute("COMMIT")


def begin_anew(connection: sqlite3.Connection, why: str) -> None:
    """Note that this history follows one that is lost, if nothing is noted yet. In the caller's transaction."""
    if connection.execute("SELECT 1 FROM history LIMIT 1").fetchone() is None:
        add_history(connection, [Visit(time.time(), "-", BEGUN, "", "", 0, 0.0, "", why)])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time sets aside, where the filesystem has such locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(100)
    except OSError:
        return b""


def _newer(path: Path) -> StorageError:
    hint = "upgrade ckptd on this machine, or move it away: then everything is proven again"
    return StorageError(f"{path} was written by a newer ckptd", hint=hint)


def _open(path: Path, *, owned: bool) -> tuple[sqlite3.Connection, str]:
    """The database, whole, and what to say of rows that were dropped. Raises StorageError, sqlite3.Error."""
    problem = header_problem(_head(path))
    if problem:  # before SQLite works its log into it
        raise sqlite3.DatabaseError(problem)
    # Where others may have it open, its log says nothing of how it was left.
    unfinished = owned and any(_size(path.with_name(path.name + suffix)) for suffix in ("-wal", "-journal"))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if path.stat().st_mode & 0o777 != MODE:
            with suppress(PermissionError):
                path.chmod(MODE)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if age(version, SCHEMA_VERSION) is Age.NEWER:
            raise _newer(path)
        if age(version, SCHEMA_VERSION) is Age.NOBODY:
            raise sqlite3.DatabaseError("its header does not make sense")
        mode = "TRUNCATE" if filesystem_of(path.parent) in NETWORK_FILESYSTEMS else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        if version < SCHEMA_VERSION:
            _migrate(connection)
        if not has_our_tables(connection):
            raise sqlite3.DatabaseError("its tables are not those that were made")
        doubted = _doubt(path).exists()
        rows = Soundness.SOUND
        if wants_check(_size(path), unfinished=unfinished, doubted=doubted):
            rows = _check(connection)
        note = _drop_senseless(connection, path)
        if rows is Soundness.ROWS:
            connection.execute("REINDEX")
            _check(connection)
        if doubted:
            _doubt(path).unlink(missing_ok=True)
    except UnicodeDecodeError as error:  # SQLite quotes what is damaged, and Python cannot read that
        connection.close()
        raise sqlite3.DatabaseError("its list of tables is damaged") from error
    except BaseException:
        connection.close()
        raise
    return connection, note


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check(connection: sqlite3.Connection) -> Soundness:
    """Look at all pages and indexes. Raises sqlite3.DatabaseError where the tables do not hold."""
    complaints = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({COMPLAINTS})")]
    found = soundness(complaints)
    if found is Soundness.BROKEN:
        raise sqlite3.DatabaseError("its pages do not fit together")
    return found


def _drop_senseless(connection: sqlite3.Connection, path: Path) -> str:
    connection.execute("BEGIN IMMEDIATE")
    dropped = drop_senseless(connection)
    connection.execute("COMMIT")
    if not dropped:
        return ""
    rows = "a row" if len(dropped) == 1 else f"{len(dropped)} rows"
    named = ", ".join(dropped[:NAMED]) + (", ..." if len(dropped) > NAMED else "")
    return f"{rows} of {path} made no sense and went; what was known by them is due again: {named}"


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

"""store.history: the chain holds, whatever is written; whatever is edited is found; older databases are taken along."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from house import plain_users_thread
from hypothesis import assume, given
from hypothesis import strategies as st

from ckptd.core.attestation import settled
from ckptd.errors import IntegrityError, MissingError, StorageError
from ckptd.store.history import GENESIS, Checked, Row, Visit, add_history, check, link, names, opened, rows
from ckptd.store.records import SCHEMA, load_files, load_partials
from ckptd.store.state import State, write

A = "a" * 64
COLUMNS = ("at", "name", "action", "sha256", "digest", "bytes", "seconds", "verdict", "detail", "chain")
TEXT = st.text(st.characters(), max_size=8)  # lone surrogates, NUL and all
VISITS = st.builds(
    Visit,
    at=st.floats(),
    name=TEXT,
    action=TEXT,
    sha256=TEXT,
    digest=TEXT,
    bytes=st.integers(),
    seconds=st.floats(),
    verdict=TEXT,
    detail=TEXT,
)


def visit(at: float, name: str = "m", verdict: str = "intact") -> Visit:
    return Visit(at, name, "verify", A, "blake3", 7, 0.5, verdict)


@contextmanager
def database(*batches: Sequence[Visit]) -> Iterator[sqlite3.Connection]:
    """A database in memory with these visits, each batch in a transaction of its own."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA)
        for batch in batches:
            connection.execute("BEGIN")
            add_history(connection, batch)
            connection.execute("COMMIT")
        yield connection


def content(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM history ORDER BY id").fetchall()


# --- what is written -------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(VISITS, max_size=3), max_size=3))
def test_the_chain_holds_for_anything(batches: list[list[Visit]]) -> None:
    with database(*batches) as connection:
        found = list(rows(connection))
        assert [row.visit for row in found] == [settled(each) for batch in batches for each in batch]
        assert [row.before for row in found] == [GENESIS, *(row.chain for row in found)][: len(found)]
        assert check(connection) == Checked(len(found), found[-1].chain if found else GENESIS)
        assert all(link(row.before, row.visit) == row.chain for row in found)


def test_the_digest_of_a_row_is_what_it_always_was() -> None:
    """Written down here, so that a later version does not find fault with what an earlier one wrote."""
    first = link(GENESIS, Visit(1.5e9, "m", "verify", A, "sha256", 7, 0.25, "corrupt", "ü\n"))
    assert first == "9a5aa7b164a96530d80fdfbe7bf93b7e0c70e1d0750e5c8a68dc242a3bbad105"


def test_which_rows() -> None:
    with database([visit(at, name) for at, name in enumerate("abcab")]) as connection:

        def numbers(found: Iterator[Row]) -> list[int]:
            return [row.id for row in found]

        assert names(connection) == {"a", "b", "c"}
        assert numbers(rows(connection)) == [1, 2, 3, 4, 5]
        assert numbers(rows(connection, {"a", "b"})) == [1, 2, 4, 5]
        assert numbers(rows(connection, [])) == []
        assert numbers(rows(connection, {"a", "c"}, since=2.0)) == [3, 4]
        assert numbers(rows(connection, limit=2)) == [4, 5]
        assert numbers(rows(connection, {"a", "b", "c"}, since=1.0, limit=3)) == [3, 4, 5]
        assert numbers(rows(connection, {"c"}, limit=9)) == [3]
        assert [row.before for row in rows(connection, {"c"})] == [content(connection)[1][-1]]
        assert numbers(rows(connection, {f"x{number}" for number in range(100_000)} | {"c"})) == [3]


# --- what is edited --------------------------------------------------------------------------------------------------

SEVERAL = st.lists(VISITS, min_size=1, max_size=5)
OTHER = {
    **dict.fromkeys(("at", "seconds"), st.floats(allow_nan=False, allow_infinity=False)),
    "bytes": st.integers(-(2**63), 2**63 - 1),
    **dict.fromkeys(("name", "action", "sha256", "digest", "verdict", "detail", "chain"), st.text(max_size=8)),
}


@given(SEVERAL, st.data())
def test_an_edited_field_is_found(visits: list[Visit], data: st.DataObject) -> None:
    with database(visits) as connection:
        before = content(connection)
        number = data.draw(st.integers(1, len(visits)))
        column = data.draw(st.sampled_from(COLUMNS))
        value = data.draw(OTHER[column])
        connection.execute(f"UPDATE history SET {column} = ? WHERE id = ?", (value, number))  # noqa: S608
        assume(content(connection) != before)
        found = check(connection)
        assert found.count == number - 1
        assert f"record {number} " in found.wrong


@given(SEVERAL, st.data())
def test_a_removed_row_is_found(visits: list[Visit], data: st.DataObject) -> None:
    """Wherever it stood, also at the end."""
    with database(visits) as connection:
        number = data.draw(st.integers(1, len(visits)))
        connection.execute("DELETE FROM history WHERE id = ?", (number,))
        found = check(connection)
        assert (found.count, found.wrong.startswith(f"record {number} is missing")) == (number - 1, True)


@given(SEVERAL, st.data())
def test_a_removed_row_is_found_when_others_take_its_number(visits: list[Visit], data: st.DataObject) -> None:
    with database(visits) as connection:
        number = data.draw(st.integers(1, len(visits)))
        connection.execute("DELETE FROM history WHERE id = ?", (number,))
        for later in range(number + 1, len(visits) + 1):
            connection.execute("UPDATE history SET id = id - 1 WHERE id = ?", (later,))
        found = check(connection)
        assert found.count == number - 1
        assert found.wrong


@given(st.lists(VISITS, min_size=2, max_size=5), st.data())
def test_swapped_rows_are_found(visits: list[Visit], data: st.DataObject) -> None:
    with database(visits) as connection:
        one, two = sorted(data.draw(st.sets(st.integers(1, len(visits)), min_size=2, max_size=2)))
        for old, new in ((one, -1), (two, one), (-1, two)):
            connection.execute("UPDATE history SET id = ? WHERE id = ?", (new, old))
        found = check(connection)
        assert found.count == one - 1
        assert f"record {one} " in found.wrong


@given(SEVERAL, VISITS, st.data())
def test_an_inserted_row_is_found(visits: list[Visit], extra: Visit, data: st.DataObject) -> None:
    """Chained to the one before it, but the next is not chained to it."""
    with database(visits) as connection:
        number = data.draw(st.integers(1, len(visits)))
        for later in range(len(visits), number - 1, -1):
            connection.execute("UPDATE history SET id = id + 1 WHERE id = ?", (later,))
        made = settled(extra)
        before = next((row.chain for row in rows(connection) if row.id == number - 1), GENESIS)
        fields = tuple(getattr(made, column) for column in COLUMNS[:-1])
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *fields, link(before, made))
        )
        connection.execute("UPDATE sqlite_sequence SET seq = ?", (len(visits) + 1,))
        found = check(connection)
        assert (found.count, found.wrong != "") == (number, True)


def rewrite(connection: sqlite3.Connection) -> None:
    """What somebody does who knows how: change the first verdict, and everything after it to fit."""
    visits = [row.visit for row in rows(connection)]
    connection.execute("DELETE FROM history")
    connection.execute("DELETE FROM sqlite_sequence")
    add_history(connection, [visit(visits[0].at, verdict="corrupt"), *visits[1:]])


def test_only_a_head_that_was_noted_shows_that_all_was_rewritten() -> None:
    with database([visit(1), visit(2)], [visit(3)]) as connection:
        noted = [row.chain for row in rows(connection)]
        assert [check(connection, each).noted for each in noted] == [1, 2, 3]
        assert check(connection, noted[1][:12]).noted == 2
        assert check(connection, GENESIS).noted is None
        assert check(connection, "f" * 12).noted is None
        rewrite(connection)
        assert check(connection).wrong == ""
        assert [check(connection, each).noted for each in noted] == [None, None, None]


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["DELETE FROM history WHERE id < 3"], "records 1 to 2 are missing"),
        (["DELETE FROM history WHERE id > 1"], "records 2 to 4 are missing from the end"),
        (["DELETE FROM history"], "records 1 to 4 are missing from the end"),
        (["UPDATE history SET id = -5 WHERE id = 1"], "record -5 was inserted"),
        (["DELETE FROM sqlite_sequence"], "counter of records was edited"),
        (["UPDATE sqlite_sequence SET seq = 'x'"], "counter of records was edited"),
        (["UPDATE history SET name = CAST(x'ff' AS TEXT) WHERE id = 2"], "record 2 "),
        (["CREATE TABLE h AS SELECT * FROM history", "DROP TABLE history", "ALTER TABLE h RENAME TO history",
          "UPDATE history SET at = x'ff', bytes = 'many', detail = NULL WHERE id = 3"], "record 3 "),
        (["CREATE TABLE h AS SELECT * FROM history", "DROP TABLE history", "ALTER TABLE h RENAME TO history",
          "UPDATE history SET seconds = 9e999 WHERE id = 3"], "record 3 "),
    ],
    ids=["the first", "the last", "all", "below the first", "no counter", "counter of another kind", "no UTF-8",
         "other types", "infinity"],
)  # fmt: skip
def test_crude_edits(tmp_path: Path, statements: list[str], says: str) -> None:
    path = tmp_path / "state.db"
    write(path, lambda connection: add_history(connection, [visit(at) for at in range(4)]))
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    with opened(path) as connection:
        assert says in check(connection).wrong
        assert all(row.chain for row in rows(connection))  # it can still be shown


# --- who may read it, and when ---------------------------------------------------------------------------------------


def of_version(number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA)
            connection.execute(f"PRAGMA user_version = {number}")

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"no database at all" * 100), "damaged"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), "damaged"),
        (of_version(1), "older"),
        (of_version(99), "newer"),
    ],
    ids=["a folder", "empty", "something else", "rotten", "of version 1", "of a later version"],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "state.db"
    make(path)
    with pytest.raises(StorageError, match=says) as caught, opened(path):
        pass
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_none_yet(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not there"), opened(tmp_path / "state.db"):
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE history",
        "ALTER TABLE history DROP COLUMN detail",
        "ALTER TABLE history RENAME COLUMN chain TO links",
    ],
)
def test_a_history_whose_table_is_gone_was_changed(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "state.db"
    write(path, lambda connection: add_history(connection, [visit(1)]))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)
    with pytest.raises(IntegrityError, match="its table is gone") as caught, opened(path) as opened_one:
        check(opened_one)
    assert caught.value.hint


def test_the_head_of_nothing_is_none_of_a_history_with_records(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, lambda connection: None)
    with opened(path) as connection:
        assert check(connection, GENESIS).noted == 0
    write(path, lambda connection: add_history(connection, [visit(1)]))
    with opened(path) as connection:
        assert check(connection, GENESIS).noted is None


def test_what_shows_only_later_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, lambda connection: add_history(connection, [visit(at) for at in range(2000)]))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 65536)
    with pytest.raises(StorageError, match="cannot be read"), opened(path) as connection:
        check(connection)


def read_as_a_plain_user(path: Path) -> int:
    def read() -> int:
        with opened(path) as connection:
            return check(connection).count

    with plain_users_thread() as pool:
        return pool.submit(read).result()


def test_reading_needs_no_permission_to_write(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, lambda connection: add_history(connection, [visit(1)]))
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert read_as_a_plain_user(path) == 1
        assert [each.name for each in tmp_path.iterdir()] == ["state.db"]
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_what_may_not_be_read_is_said(tmp_path: Path, hidden: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    write(folder / "state.db", lambda connection: add_history(connection, [visit(1)]))
    (folder / "state.db" if hidden == "file" else folder).chmod(0o000)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            read_as_a_plain_user(folder / "state.db")
    finally:
        folder.chmod(0o755)


async def test_a_reader_sees_one_moment_while_others_write(tmp_path: Path) -> None:
    """Otherwise rows that arrive between two looks would seem to be missing."""
    path = tmp_path / "state.db"
    with State(path) as state:
        await state.do(lambda database: add_history(database, [visit(1)]))
        with opened(path) as connection:
            assert len(list(rows(connection))) == 1
            await state.do(lambda database: add_history(database, [visit(2)]))
            assert check(connection) == Checked(1, next(rows(connection)).chain)
        with opened(path) as connection:
            assert check(connection).count == 2


# --- databases of version 1 ------------------------------------------------------------------------------------------

VERSION_1 = """
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
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
INSERT INTO partials VALUES ('p', 'https://h/p', 'p.0.part', 'boot', 9, '[[0, 5]]', '[]', '{}', '[]');
INSERT INTO files VALUES
    ('m/m.bin', 'm', lower(hex(zeroblob(32))), 7, '7:1:2', 'witnessed', '["x"]', '', 1.5e9, 'intact', 1);
INSERT INTO history (at, name, action, digest, bytes, seconds, verdict) VALUES
    (1.5e9, 'm', 'fetch', 'sha256', 7, 0.5, 'intact'), (1.6e9, 'm', 'verify', 'blake3', 7, 0, 'corrupt');
"""


async def test_a_database_of_version_1_is_taken_along(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    with pytest.raises(StorageError, match="older"), opened(path):
        pass
    with State(path) as state:
        assert state.note == ""
        await state.do(lambda database: add_history(database, [visit(1.7e9)]))
        (file,) = (await state.do(load_files)).values()
        assert (file.path, file.verified_at, file.pending, file.witnesses) == ("m/m.bin", 1.5e9, True, ("x",))
        assert (file.validators, file.digests, file.ages) == ({}, {}, "[]")
        assert (await state.do(load_partials))["p"].total == 9
    with opened(path) as connection:
        assert [row.visit for row in rows(connection)] == [
            Visit(1.5e9, "m", "fetch", "", "sha256", 7, 0.5, "intact"),
            Visit(1.6e9, "m", "verify", "", "blake3", 7, 0.0, "corrupt"),
            visit(1.7e9),
        ]
        assert check(connection).count == 3
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        assert {name for (name,) in indexes} == {"files_by_name", "history_by_name"}
    with State(path) as state:
        assert len(await state.do(lambda database: list(rows(database)))) == 3  # and is not taken along again


def test_a_database_of_version_1_that_cannot_be_taken_along_is_kept_as_it_is(tmp_path: Path) -> None:
    """Under another name: nobody has to do anything, and nothing is lost."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("ALTER TABLE files ADD COLUMN ages TEXT")  # what comes last is in the way
        before = list(connection.iterdump())
    with State(path) as state:
        assert "ages" in state.note
    (aside,) = tmp_path.glob("state.db.damaged-*")
    with closing(sqlite3.connect(aside)) as connection:
        assert list(connection.iterdump()) == before
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)

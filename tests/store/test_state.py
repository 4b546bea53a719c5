"""The state database: transactions shared, damage moved aside, and readers who may write nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from house import plain_users_thread

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator
from ckptd.errors import StorageError
from ckptd.store.history import Visit, add_history
from ckptd.store.records import (
    FileRecord,
    PartialRecord,
    drop_partials,
    load_files,
    load_partials,
    read_only,
    save_files,
    save_partial,
)
from ckptd.store.state import State

FILE = FileRecord("m/m.bin", "m", "a" * 64, 7, "7:1:2", "witnessed", ("x", "y"), "", 1.5e9, "intact")
PARTIAL = PartialRecord(
    name="m",
    url="https://h/m.bin",
    file="m.0.part",
    boot="boot",
    total=None,
    written=Extents.of((0, 5), (7, 9)),
    synced=Extents.of((0, 5)),
    validators={"https://h/m.bin": Validator(etag='W/"ü"', settled=True, total=9)},
    witnesses=(Witness("x-goog-hash:md5", "md5", b"\0" * 16),),
)


async def test_what_was_saved_is_there_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State(path) as state:
        await state.do(lambda database: save_partial(database, PARTIAL))
        await state.do(lambda database: save_files(database, [FILE]))
        visit = Visit(1.0, "m", "fetch", "a" * 64, "sha256", 7, 0.5, "intact")
        await state.do(lambda database: add_history(database, [visit]))
    with State(path) as state:
        assert state.note == ""
        assert await state.do(load_partials) == {"m": PARTIAL}
        assert await state.do(load_files) == {"m/m.bin": FILE}
        await state.do(lambda database: drop_partials(database, ["m", "unknown"]))
        assert await state.do(load_partials) == {}


async def test_what_queues_up_is_one_transaction(tmp_path: Path) -> None:
    """Ten thousand small checkpoints must not mean ten thousand fsyncs."""
    gate, statements = threading.Event(), list[str]()

    def first(database: sqlite3.Connection) -> None:
        database.set_trace_callback(statements.append)
        gate.wait(20)

    with State(tmp_path / "state.db") as state:
        async with asyncio.TaskGroup() as group:
            group.create_task(state.do(first))
            for number in range(100):
                visit = Visit(1.0, f"m{number}", "fetch", "a" * 64, "sha256", 7, 0.5, "intact")
                group.create_task(state.do(lambda database, visit=visit: add_history(database, [visit])))  # type: ignore[misc]
            await asyncio.sleep(0)
            gate.set()
        rows = await state.do(lambda database: database.execute("SELECT count(*) FROM history").fetchone()[0])
    assert rows == 100
    assert sum(statement == "COMMIT" for statement in statements) <= 3


@pytest.mark.parametrize("durable", [False, True])
async def test_durable_reaches_the_disk_before_it_returns(tmp_path: Path, durable: bool) -> None:
    """One durable job makes its whole transaction so: synchronous is FULL (2) or more while it commits."""

    def level(database: sqlite3.Connection) -> int:
        found: int = database.execute("PRAGMA synchronous").fetchone()[0]
        return found

    with State(tmp_path / "state.db") as state:
        await state.do(level, durable=not durable)
        assert (await state.do(level, durable=durable) >= 2) == durable


async def test_a_failed_transaction_leaves_nothing_and_the_next_works(tmp_path: Path) -> None:
    def broken(database: sqlite3.Connection) -> None:
        save_partial(database, PARTIAL)
        database.execute("INSERT INTO no_such_table VALUES (1)")

    with State(tmp_path / "state.db") as state:
        with pytest.raises(StorageError, match=r"state\.db"):
            await state.do(broken)
        assert await state.do(load_partials) == {}
        await state.do(lambda database: save_partial(database, PARTIAL))
        assert await state.do(load_partials) == {"m": PARTIAL}


async def test_whoever_stops_waiting_stops_nobody_else(tmp_path: Path) -> None:
    """A cancelled job is done all the same; those in its transaction hear of theirs."""
    gate = threading.Event()
    with State(tmp_path / "state.db") as state:
        blocked = asyncio.ensure_future(state.do(lambda database: gate.wait(20)))
        given_up = asyncio.ensure_future(state.do(lambda database: save_partial(database, PARTIAL)))
        waiting = asyncio.ensure_future(state.do(load_partials))
        await asyncio.sleep(0)
        given_up.cancel()
        gate.set()
        await blocked
        assert await waiting == {"m": PARTIAL}


def test_leaving_finishes_what_was_asked(tmp_path: Path) -> None:
    """Also when the loop that asked has gone."""
    path = tmp_path / "state.db"
    with State(path) as state:

        async def ask_and_go() -> None:
            asyncio.ensure_future(state.do(lambda database: save_partial(database, PARTIAL)))  # noqa: RUF006
            await asyncio.sleep(0)

        asyncio.run(ask_and_go())
    connection = read_only(path)
    assert connection is not None
    assert load_partials(connection) == {"m": PARTIAL}
    connection.close()


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"this is not a database" * 200, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_database_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    for suffix in ("-wal", "-shm", "-journal"):
        (tmp_path / f"state.db{suffix}").write_bytes(b"of the old one")
    with State(path) as state:
        assert "damaged" in state.note
        await state.do(lambda database: save_partial(database, PARTIAL))
        assert await state.do(load_partials) == {"m": PARTIAL}
    aside, journal, log = sorted(tmp_path.glob("state.db.damaged-*"))  # noqa: ASYNC240
    assert aside.read_bytes() == content
    assert str(aside) in state.note
    assert (journal.name, log.name) == (f"{aside.name}-journal", f"{aside.name}-wal")
    assert journal.read_bytes() == log.read_bytes() == b"of the old one"


async def test_an_emptied_database_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"")
    with State(path) as state:
        assert await state.do(load_files) == {}


async def test_a_rotten_page_needs_nobodys_help(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State(path) as state:
        await state.do(lambda database: save_partial(database, PARTIAL))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with State(path) as state:
        assert await state.do(load_partials) == {}
        assert "damaged" in state.note


def test_a_newer_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer ckptd"), State(path):
        pass
    assert path.read_bytes() == before
    assert read_only(path) is None


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StorageError, match=r"state\.db"), State(tmp_path / "state.db"):
        pass


# --- readers ---------------------------------------------------------------------------------------------------------


async def written(path: Path) -> None:
    with State(path) as state:
        await state.do(lambda database: save_files(database, [FILE]))


def read_as_a_plain_user(path: Path) -> dict[str, FileRecord] | None:
    def read() -> dict[str, FileRecord] | None:
        connection = read_only(path)
        if connection is None:
            return None
        try:
            return load_files(connection)
        finally:
            connection.close()

    with plain_users_thread() as pool:
        return pool.submit(read).result()


async def test_it_can_be_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "read only #1?"  # a path that an URI would take apart
    folder.mkdir()
    await written(folder / "state.db")
    (folder / "state.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        assert read_as_a_plain_user(folder / "state.db") == {"m/m.bin": FILE}
        assert [path.name for path in folder.iterdir()] == ["state.db"]
    finally:
        folder.chmod(0o755)


async def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        await state.do(lambda database: save_files(database, [FILE]))
        assert read_as_a_plain_user(tmp_path / "state.db") == {"m/m.bin": FILE}


def test_nothing_there_is_nothing_known(tmp_path: Path) -> None:
    assert read_only(tmp_path / "state.db") is None
    (tmp_path / "state.db").write_bytes(b"")
    assert read_only(tmp_path / "state.db") is None
    (tmp_path / "state.db").write_bytes(b"no database at all" * 100)
    assert read_only(tmp_path / "state.db") is None


async def test_what_may_not_be_read_is_nothing_known(tmp_path: Path) -> None:
    await written(tmp_path / "state.db")
    (tmp_path / "state.db").chmod(0o000)
    assert read_as_a_plain_user(tmp_path / "state.db") is None


async def test_the_umask_does_not_hide_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        await written(tmp_path / "state.db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o644

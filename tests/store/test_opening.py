"""store.opening: a damaged database is set aside and begun again, a row without sense costs that row, nothing is lost
that could be kept; what a newer version wrote is left alone."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ckptd.core import remembered
from ckptd.core.ages import Ages
from ckptd.core.ranges import Extents
from ckptd.errors import CkptdError, StorageError
from ckptd.store.history import Visit, add_history, check, opened, rows
from ckptd.store.owner import Owner
from ckptd.store.records import (
    FileRecord,
    PartialRecord,
    load_files,
    load_partials,
    save_files,
    save_partial,
    save_verdict,
    trouble,
)
from ckptd.store.state import State, write

A = "a" * 64
NAMES = tuple(f"m{number:02}" for number in range(20))


def record(name: str) -> FileRecord:
    ages = Ages.whole(1, 1.5e9).to_json()
    return FileRecord(f"{name}/{name}.bin", name, A, 7, "7:1:2", "first-use", ("x",), "", 1.5e9, "intact", ages=ages)


def partial(name: str) -> PartialRecord:
    return PartialRecord(name, "https://h/m", f"{name}.0.part", "boot", 9, Extents.of((0, 5)), Extents(), {}, ())


def visit(at: float) -> Visit:
    return Visit(at, "m00", "verify", A, "blake3", 7, 0.5, "intact")


def made(path: Path, *, visits: int = 3) -> None:
    def fill(database: sqlite3.Connection) -> None:
        save_files(database, map(record, NAMES))
        for name in NAMES[:3]:
            save_partial(database, partial(name))
        add_history(database, map(visit, range(visits)))

    write(path, fill)


def altered(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(script)


def replaced(path: Path, old: bytes, new: bytes, which: int) -> None:
    """One of the places in the file where `old` stands."""
    data, at = path.read_bytes(), -1
    for _ in range(which + 1):
        at = data.index(old, at + 1)
    path.write_bytes(data[:at] + new + data[at + len(old) :])


def asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


# --- rows ------------------------------------------------------------------------------------------------------------

SENSELESS = {
    "JSON": "UPDATE files SET validators = '{' WHERE name = 'm01'",
    "no UTF-8": "UPDATE files SET stamp = CAST(x'ff00fe' AS TEXT) WHERE name = 'm01'",
    "a negative size": "UPDATE files SET size = -7 WHERE name = 'm01'",
    "a time in no calendar": "UPDATE files SET verified_at = 9e300 WHERE name = 'm01'",
    "a verdict of nobody": "UPDATE files SET verdict = 'intacu' WHERE name = 'm01'",
    "a digest": "UPDATE files SET sha256 = 'xyz' WHERE name = 'm01'",
    "the folder of another": "UPDATE files SET name = 'm99' WHERE name = 'm01'",
}


@pytest.mark.parametrize("script", SENSELESS.values(), ids=SENSELESS)
async def test_a_file_without_sense_costs_that_file(tmp_path: Path, script: str) -> None:
    path = tmp_path / "state.db"
    made(path)
    altered(path, script)
    others = {record(name).path for name in NAMES if name != "m01"}
    assert trouble(path)[0].startswith("a row of")
    with State(path) as state:
        assert "m01/m01.bin" in state.note
        assert set(await state.do(load_files)) == others
        await state.do(lambda database: save_verdict(database, record("m01")))
        assert await state.do(load_files) == {record(name).path: record(name) for name in NAMES}
        assert len(await state.do(load_partials)) == 3
    with State(path) as state:
        assert state.note == ""  # it was told once
    assert trouble(path) == ("", "")
    assert asides(path) == []
    with opened(path) as database:
        assert (check(database).wrong, check(database).begun, check(database).count) == ("", "", 3)


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE partials SET written = '[[0, 99]]' WHERE name = 'm01'",
        "UPDATE partials SET total = -1 WHERE name = 'm01'",
        "UPDATE partials SET file = '../m01.0.part' WHERE name = 'm01'",
        "UPDATE partials SET validators = '[1]' WHERE name = 'm01'",
    ],
    ids=["more than there is", "a negative size", "a way out", "JSON of another kind"],
)
async def test_a_download_without_sense_is_begun_again(tmp_path: Path, script: str) -> None:
    path = tmp_path / "state.db"
    made(path)
    altered(path, script)
    with State(path) as state:
        assert "m01" in state.note
        assert set(await state.do(load_partials)) == {"m00", "m02"}
        assert len(await state.do(load_files)) == len(NAMES)


@pytest.mark.parametrize("which", [0, 1])
async def test_an_index_that_does_not_fit_is_made_again(tmp_path: Path, which: int) -> None:
    """The key of a row, in the table or in its index: either way nothing but that row is lost, and it can come back."""
    path = tmp_path / "state.db"
    made(path)
    replaced(path, b"m05/m05.bin", b"m05/m05.bim", which)
    with State(path) as state:
        await state.do(lambda database: save_verdict(database, record("m05")))
        assert set(await state.do(load_files)) >= {record(name).path for name in NAMES}
    with State(path) as state, closing(sqlite3.connect(path)) as database:
        assert state.note == ""
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert asides(path) == []


async def test_a_head_that_is_no_utf8_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    made(path)
    altered(path, "UPDATE history SET chain = CAST(x'fffe' AS TEXT) WHERE id = 3")
    with State(path) as state:
        await state.do(lambda database: add_history(database, [visit(4)]))
    with opened(path) as database:
        assert "record 3 " in check(database).wrong


# --- the whole -------------------------------------------------------------------------------------------------------

BROKEN = {
    "a table is missing": "DROP TABLE sums",
    "a column is missing": "ALTER TABLE files DROP COLUMN ages",
    "a column more": "ALTER TABLE files ADD COLUMN more TEXT",
    "another type": "DROP TABLE sums; CREATE TABLE sums (sha256 TEXT PRIMARY KEY, blocks TEXT)",
    "a version that nobody writes": "PRAGMA user_version = 33554434",
    "the version before": "PRAGMA user_version = 1",
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
async def test_it_is_set_aside_with_a_word(tmp_path: Path, script: str) -> None:
    path = tmp_path / "state.db"
    made(path)
    altered(path, script)
    before = path.read_bytes()
    with State(path) as state:
        (aside,) = asides(path)
        assert str(aside) in state.note
        assert await state.do(load_files) == {}
    assert aside.read_bytes() == before
    with opened(path) as database:
        found = check(database)
        (first,) = rows(database)
    assert (found.wrong, found.count, first.visit.action) == ("", 1, "begin")
    assert aside.name in found.begun
    with State(path) as state:
        assert state.note == ""


def test_its_log_goes_with_it(tmp_path: Path) -> None:
    """SQLite finds it by the name: both can still be asked."""
    path, torn = tmp_path / "state.db", tmp_path / "torn" / "state.db"
    torn.parent.mkdir()
    made(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE files SET size = 8")
        database.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{torn}{suffix}")
    with torn.open("r+b") as file:
        file.write(b"no database any more")
    log = Path(f"{torn}-wal").read_bytes()
    with State(torn):
        pass
    aside = next(each for each in asides(torn) if not each.name.endswith("-wal"))
    assert Path(f"{aside}-wal").read_bytes() == log


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.95])
async def test_a_log_that_is_cut_loses_what_was_not_whole(tmp_path: Path, share: float) -> None:
    path, torn = tmp_path / "state.db", tmp_path / "torn" / "state.db"
    torn.parent.mkdir()
    made(path)
    with State(path) as state:
        for at in range(10, 40):
            await state.do(lambda database, at=at: add_history(database, [visit(at)]), durable=True)  # type: ignore[misc]
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{torn}{suffix}")
    os.truncate(f"{torn}-wal", int(os.stat(f"{torn}-wal").st_size * share))
    with State(torn) as state:
        assert state.note == ""
        assert len(await state.do(load_files)) == len(NAMES)
        await state.do(lambda database: add_history(database, [visit(50)]))
    with opened(torn) as database:
        assert (check(database).wrong, check(database).count >= 4) == ("", True)


@pytest.mark.parametrize(("offset", "count"), [(2 * 4096, 4096), (18, 1)], ids=["a page", "its header"])
def test_what_a_newer_version_wrote_is_left_alone_even_damaged(tmp_path: Path, offset: int, count: int) -> None:
    path = tmp_path / "state.db"
    made(path)
    altered(path, "PRAGMA user_version = 4")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer"), State(path):
        pass
    assert path.read_bytes() == before
    assert asides(path) == []
    assert "newer" in trouble(path)[0]


def test_a_damaged_one_that_somebody_has_open_stays(tmp_path: Path) -> None:
    """Its owner would go on writing into what was moved away."""
    path = tmp_path / "state.db"
    made(path)
    altered(path, "DROP TABLE sums")
    with Owner(tmp_path):
        with pytest.raises(StorageError, match="damaged"):
            write(path, lambda database: None)
        assert asides(path) == []
    assert "begun again" in write(path, lambda database: None)


# --- large ones ------------------------------------------------------------------------------------------------------


def large(path: Path) -> None:
    made(path, visits=5000)
    assert path.stat().st_size > remembered.SMALL


def rotten_end(path: Path) -> None:
    """Pages that are only met when something is written to the history."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * (path.stat().st_size // 2))


async def test_damage_that_is_met_later_is_set_aside_with_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    large(path)
    rotten_end(path)
    with State(path) as state:
        assert state.note == ""  # it was closed in order, and is large: nobody looked
        with pytest.raises(StorageError, match=r"state\.db is damaged") as caught:
            await state.do(lambda database: add_history(database, [visit(1)]))
        assert "again" in caught.value.hint
    with State(path) as state:
        assert "begun again" in state.note
        await state.do(lambda database: add_history(database, [visit(1)]))
    with State(path) as state:
        assert state.note == ""
    assert len(asides(path)) == 1
    assert "state.db.doubt" not in os.listdir(tmp_path)


async def test_one_that_was_not_closed_is_looked_at(tmp_path: Path) -> None:
    path, killed = tmp_path / "state.db", tmp_path / "killed" / "state.db"
    killed.parent.mkdir()
    large(path)
    with State(path) as state:
        await state.do(lambda database: add_history(database, [visit(1)]), durable=True)
        shutil.copy(path, killed)
        shutil.copy(f"{path}-wal", f"{killed}-wal")
    rotten_end(killed)
    with State(killed) as state:
        assert "begun again" in state.note


# --- a byte ----------------------------------------------------------------------------------------------------------


def number_of(data: bytearray) -> int:
    """The version of the schema."""
    return int.from_bytes(data[60:64], "big")


@pytest.mark.parametrize("seed", range(4))
async def test_a_byte_anywhere(tmp_path: Path, seed: int) -> None:
    """Whatever it is: it can be read as far as it goes, is worked with afterwards, and the second time all is well."""
    good, path, source = tmp_path / "good.db", tmp_path / "now" / "state.db", random.Random(seed)  # noqa: S311
    made(good)
    size = good.stat().st_size
    for number in range(20):
        path.parent.mkdir()
        data = bytearray(good.read_bytes())
        offset = source.randrange((100, 4096, size)[number % 3])
        data[offset] = source.choice([0xFF, data[offset] ^ 1 << source.randrange(8)])
        path.write_bytes(data)
        said = f"byte {offset} is {data[offset]}"
        try:
            trouble(path)
            with opened(path) as database:
                check(database)
        except CkptdError:
            pass
        if offset in range(60, 64) and number_of(data) in range(3, 1000):
            with pytest.raises(StorageError, match="newer"), State(path):
                pass
        else:
            with State(path) as state:
                await state.do(lambda database: save_files(database, map(record, NAMES)))
                await state.do(lambda database: add_history(database, [visit(9)]))
                assert set(await state.do(load_files)) >= {record(name).path for name in NAMES}, said
            with State(path) as state:
                assert state.note == "", said
            assert trouble(path) == ("", ""), said
        shutil.rmtree(path.parent)

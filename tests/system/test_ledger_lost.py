"""What is known is lost: the state database deleted, torn, overwritten, or altered by a byte. It is said, what was lost
with it is due again, and everything works.

The lock and the store are what everything is made again from.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from origin import Origin
from workplace import Workplace, sha256

PIECE = 16 * 1024 * 1024
BLOCK = 64 * 1024
BODIES = {
    "a": random.Random(1).randbytes(PIECE + 300_000),  # noqa: S311
    **{f"m{number:02}": random.Random(number).randbytes(70_000) for number in range(12)},  # noqa: S311
}
Spoiling = Callable[[Path], object]


def chance(path: Path) -> random.Random:
    return random.Random(path.stat().st_size)  # noqa: S311


def noise(path: Path) -> None:
    path.write_bytes(chance(path).randbytes(path.stat().st_size))


def noise_in(share: float) -> Spoiling:
    """Random bytes over one page."""

    def spoil(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * share) // 4096 * 4096)
            file.write(chance(path).randbytes(4096))

    return spoil


def sprinkled(seed: int) -> Spoiling:
    """Single bytes here and there, as bad memory does it: SQLite may not notice."""

    def spoil(path: Path) -> None:
        source = random.Random(seed)  # noqa: S311
        data = bytearray(path.read_bytes())
        for _ in range(40):
            data[source.randrange(4096, len(data))] = source.choice(b'{}[]"\x00\xff1a')
        path.write_bytes(data)

    return spoil


def cut_at(share: float) -> Spoiling:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def rows(statement: str) -> Spoiling:
    """Rows that are no longer what was written, in a database that is one."""

    def spoil(path: Path) -> None:
        with sqlite3.connect(path) as database:
            database.executescript(statement)
        database.close()

    return spoil


def header(offset: int, value: int) -> Spoiling:
    """A byte of the header."""

    def spoil(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes([value]))

    return spoil


SPOILED: dict[str, Spoiling] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "random bytes": noise,
    "text": lambda path: path.write_text("not a database\n" * 500),
    "its first page": noise_in(0),
    "a page in the middle": noise_in(0.4),
    "a page near its end": noise_in(0.8),
    "cut in half": cut_at(0.5),
    "cut to a page and a bit": cut_at(0.1),
    "single bytes (1)": sprinkled(1),
    "single bytes (2)": sprinkled(2),
    "single bytes (3)": sprinkled(3),
    "no table": rows("DROP TABLE files"),
    "no column": rows("ALTER TABLE files DROP COLUMN ages"),
    "another type": rows("DROP TABLE sums; CREATE TABLE sums (sha256 TEXT PRIMARY KEY, blocks TEXT)"),
    "negative sizes": rows("UPDATE files SET size = -size, verified_at = -1e300"),
    "a format of the future": header(18, 9),
    "a version that nobody writes": header(60, 0x7F),
    "rows without sense": rows("UPDATE files SET validators = 'x', ages = '[', digests = '[1]', witnesses = '3'"),
    "no UTF-8": rows("UPDATE files SET validators = CAST(x'ff00fe' AS TEXT), stamp = CAST(x'fffe' AS TEXT)"),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere"))[1],  # type: ignore[func-returns-value]
}
# Where nothing can be kept of it: it is set aside (but for the one that is not there), and a new one is begun.
GONE = {
    *("deleted", "random bytes", "text", "its first page", "cut in half", "cut to a page and a bit", "no table"),
    *("no column", "another type", "a format of the future", "a version that nobody writes"),
}
UNTOLD = {"deleted"}  # there is nothing that a reader could find damaged


def synced(origin: Origin, site: Workplace, spoil: Spoiling) -> None:
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", body)} for name, body in BODIES.items()))
    site.sync().expect(0)
    site.verify().expect(0)
    for suffix in ("-wal", "-shm"):
        Path(f"{site.state / 'state.db'}{suffix}").unlink(missing_ok=True)
    spoil(site.state / "state.db")
    origin.forget()


def assert_all_read(site: Workplace) -> None:
    """Who only reads answers, and has no error of ours to report."""
    site.run("history", "--json").expect(0, 1, 3, 5)
    site.run("export", "--format", "json").expect(0)
    for arguments in (["doctor", "--offline", "--json"], ["path", "a"]):
        assert "internal error" not in (run := site.run(*arguments)).err + run.out
        assert "Error:" not in run.out  # what stopped a part of `doctor`


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILED)
def test_verify_status_and_sync_go_on(origin: Origin, site: Workplace, how: str) -> None:
    synced(origin, site, SPOILED[how])
    status = site.run("status", "--json").expect(0)
    assert {entry["name"] for entry in status.report["checkpoints"]} == set(BODIES)
    if how in GONE - UNTOLD:
        assert f"{site.state / 'state.db'} cannot be read" in status.err
        assert {entry["state"] for entry in status.report["checkpoints"]} == {"touched"}  # nothing is proven
    assert_all_read(site)
    run = site.verify("--older-than", "1h", invariants=True).expect(0)
    if how in GONE:
        assert {entry["name"]: entry["state"] for entry in run.report["checkpoints"]} == dict.fromkeys(BODIES, "intact")
        assert "due again" in run.err
        assert "begins anew" in site.run("history", "--check").expect(0).out
    synced_again = site.sync().expect(0)
    assert {entry["state"] for entry in synced_again.report["checkpoints"]} == {"present"}
    assert origin.body_bytes() == 0
    again = site.verify("--older-than", "1h").expect(0)
    assert again.report["checkpoints"] == []
    assert "damaged" not in again.err
    assert "due again" not in again.err
    assert not site.run("status").expect(0).err
    site.run("history", "--check").expect(0, *([] if how in GONE else [3]))  # what was altered in it is found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "random bytes", "a page in the middle", "single bytes (1)"])
def test_sync_comes_first(origin: Origin, site: Workplace, how: str) -> None:
    """Everything is read and taken over, nothing is fetched; and it is said."""
    synced(origin, site, SPOILED[how])
    run = site.sync().expect(0)
    assert {entry["state"] for entry in run.report["checkpoints"]} == {"present"}
    assert origin.body_bytes() == 0
    if how in GONE:
        assert "due again" in run.err
        assert "begins anew" in site.run("history", "--check").expect(0).out
    for name, body in BODIES.items():
        site.assert_good(name, body)
    again = site.verify("--older-than", "1h").expect(0)
    assert again.report["checkpoints"] == [] or how not in GONE  # of some only the times were lost


def offsets(size: int, seed: int, count: int) -> list[int]:
    """Half of them in the header and the list of tables, where a byte says most."""
    source = random.Random(seed)  # noqa: S311
    return [source.randrange(100 if number % 4 == 0 else 4096 if number % 2 == 0 else size) for number in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_single_byte(origin: Origin, site: Workplace, seed: int) -> None:
    """Anywhere in the file: what comes next ends well or says in a line why not, and no file suffers."""
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", BODIES[name])} for name in ("m00", "m01", "m02")))
    site.sync().expect(0)
    database = site.state / "state.db"
    good = database.read_bytes()
    origin.forget()
    for offset in offsets(len(good), seed, 10):
        data = bytearray(good)
        data[offset] ^= 1 << random.Random(offset).randrange(8)  # noqa: S311
        for each in site.state.glob("state.db*"):
            each.unlink()
        database.write_bytes(data)
        site.run("status").expect(0)
        run = site.sync().expect(0, 5)
        assert run.status == 0 or "newer ckptd" in run.err, f"byte {offset}: {run}"
        site.verify().expect(0)
        for name in ("m00", "m01", "m02"):
            site.assert_good(name, BODIES[name])
    assert origin.body_bytes() == 0


def test_a_row_without_sense_costs_that_row(origin: Origin, site: Workplace) -> None:
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", BODIES[name])} for name in ("m00", "m01", "m02")))
    site.sync().expect(0)
    rows("UPDATE files SET verified_at = 1e9, digests = '[1' WHERE name = 'm01'")(site.state / "state.db")
    origin.forget()
    status = site.run("status", "--json").expect(0)
    assert "a row of" in status.err
    states = {entry["name"]: entry["state"] for entry in status.report["checkpoints"]}
    assert states == {"m00": "present", "m01": "touched", "m02": "present"}
    run = site.verify("--older-than", "1h").expect(0)
    assert [entry["name"] for entry in run.report["checkpoints"]] == ["m01"]
    assert "m01/m01.bin" in run.err
    site.run("history", "--check").expect(0)
    assert not site.run("status").expect(0).err
    assert not list(site.state.glob("state.db.damaged-*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "random bytes"])
def test_damage_is_still_found_and_mended(origin: Origin, site: Workplace, how: str) -> None:
    """Without validators and block sums: a piece is fetched, proven, and published."""
    synced(origin, site, SPOILED[how])
    path = site.file("a")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"????")
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert origin.body_bytes() <= PIECE
    site.assert_good("a", BODIES["a"])


def test_the_old_database_is_kept(origin: Origin, site: Workplace) -> None:
    """It may hold the history: it is moved aside, and the new one is for everybody to read."""
    site.one(origin.put("/a.bin", BODIES["m00"]))
    site.sync().expect(0)
    database = site.state / "state.db"
    noise(database)
    damaged = database.read_bytes()
    run = site.verify().expect(0)
    (aside,) = site.state.glob("state.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert str(aside) in run.err
    assert database.stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_block_sums_come_back(origin: Origin, site: Workplace) -> None:
    """With the next reading of the whole; then a repair costs a block again."""
    site.one(origin.put("/a.bin", BODIES["a"]))
    site.sync().expect(0)
    (site.state / "state.db").unlink()
    site.verify("--sha256").expect(0)
    path = site.file("a")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"????")
    path.chmod(0o444)
    origin.forget()
    site.verify("--repair").expect(0)
    assert origin.body_bytes() == BLOCK
    site.assert_good("a", BODIES["a"])


def test_a_database_of_a_newer_version_is_left_alone(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.bin", BODIES["m00"]))
    site.sync().expect(0)
    rows("PRAGMA user_version = 99")(site.state / "state.db")
    before = sha256((site.state / "state.db").read_bytes())
    assert site.verify().expect(0).entry("a")["state"] == "intact"
    assert "newer" in site.run("status").expect(0).err
    assert "newer" in site.sync().expect(5).err
    assert sha256((site.state / "state.db").read_bytes()) == before

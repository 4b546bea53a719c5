"""Damage of every kind, made for real in stored files: found, located, explained, mended; and what happens when not.

What is said of traffic is counted at the origin. Power cuts and kills are in test_repair_powercut.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults as f
import pytest
from origin import Hold, Origin, Origins
from workplace import CKPTD, Run, Workplace, sha256, wait_until

pytestmark = pytest.mark.slow

PIECE = 16 * 1024 * 1024
BLOCK = 64 * 1024
SIZE = PIECE + 722_784  # two pieces; the last block is short
LAST = SIZE - SIZE % BLOCK
PATH = "/a.bin"
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
Damaging = Callable[[Path], object]
Lacking = Callable[[str], None]


def made(size: int, seed: object) -> bytes:
    return random.Random(str(seed)).randbytes(size)  # noqa: S311


BODY = made(SIZE, "a")
OTHER = made(SIZE, "another version of the same size")


# --- damage ----------------------------------------------------------------------------------------------------------


def write(offset: int, data: bytes) -> Damaging:
    def damage(path: Path) -> None:
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        path.chmod(0o444)

    return damage


def flip(*offsets: int) -> Damaging:
    def damage(path: Path) -> None:
        for offset in offsets:
            with path.open("rb") as file:
                file.seek(offset)
                (byte,) = file.read(1)
            write(offset, bytes([byte ^ 4]))(path)

    return damage


def cut(size: int) -> Damaging:
    def damage(path: Path) -> None:
        path.chmod(0o644)
        os.truncate(path, size)
        path.chmod(0o444)

    return damage


def both(*parts: Damaging) -> Damaging:
    return lambda path: [part(path) for part in parts]


def replaced(data: bytes) -> Damaging:
    def damage(path: Path) -> None:
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o444)

    return damage


def instead(make: Damaging) -> Damaging:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def traceless(damage: Damaging) -> Damaging:
    """As a disk does it: the times stay as they were."""

    def done(path: Path) -> None:
        before = path.stat()
        damage(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return done


@dataclass(frozen=True)
class Row:
    """A kind of damage: what is to be said of it, and how much is to be fetched at most to mend it."""

    damage: Damaging
    cause: str | None
    where: list[tuple[int, int]] | None  # (offset, length)
    fetched: int
    state: str = "corrupt"
    size: int = SIZE
    sums: bool = True  # whether block sums are there
    table: bool = True  # whether the piece table is


AT = 5 * BLOCK + 4096  # in the first piece
JOINT = 100 * BLOCK
END = len(PAGE)
ROWS = {
    "one bit": Row(flip(AT), "flipped-bit", [(5 * BLOCK, BLOCK)], 0),
    "one bit, without a trace": Row(traceless(flip(AT)), "flipped-bit", [(5 * BLOCK, BLOCK)], 0),
    "two bits": Row(flip(AT, PIECE + 7), "flipped-bit", [(5 * BLOCK, BLOCK), (PIECE, BLOCK)], 0),
    "a block of 4 KiB": Row(write(AT, made(4096, 1)), "one-block", [(5 * BLOCK, BLOCK)], BLOCK),
    "two blocks": Row(
        both(write(AT, made(4096, 1)), write(LAST + 1, made(9, 2))),
        "rewritten",
        [(5 * BLOCK, BLOCK), (LAST, SIZE - LAST)],
        BLOCK + SIZE - LAST,
    ),
    "two blocks, without a trace": Row(
        traceless(both(write(AT, made(4096, 1)), write(PIECE, made(9, 2)))),
        "changed",
        [(5 * BLOCK, BLOCK), (PIECE, BLOCK)],
        2 * BLOCK,
    ),
    "the last bytes": Row(write(SIZE - 3, b"\0\0\0"), "one-block", [(LAST, SIZE - LAST)], SIZE - LAST),
    "a run of zeros": Row(write(8 * BLOCK, bytes(3 * BLOCK)), "run-of-zeros", [(8 * BLOCK, 3 * BLOCK)], 3 * BLOCK),
    "zeros where no sector begins": Row(
        write(8 * BLOCK + 1001, bytes(70_000)), "run-of-zeros", [(8 * BLOCK, 2 * BLOCK)], 2 * BLOCK
    ),
    "its end cut off": Row(cut(SIZE - 100_000), "truncated", [(SIZE - 100_000, 100_000)], 100_000),
    "a piece cut off": Row(cut(PIECE), "truncated", [(PIECE, SIZE - PIECE)], SIZE - PIECE),
    "empty": Row(cut(0), "empty", [(0, SIZE)], SIZE),
    "grown": Row(write(SIZE, b"more"), "grown", [(SIZE, 4)], 0),
    "grown by a piece": Row(write(SIZE, made(PIECE, 3)), "grown", [(SIZE, PIECE)], 0),
    "a page": Row(both(cut(0), write(0, PAGE)), "page-instead-of-data", [(0, END), (END, SIZE - END)], SIZE),
    "two versions joined": Row(
        write(JOINT, OTHER[JOINT:]), "two-versions-joined", [(JOINT, SIZE - JOINT)], SIZE - JOINT
    ),
    "another file": Row(replaced(OTHER), "rewritten", [(0, SIZE)], SIZE),
    "a link": Row(instead(lambda path: path.symlink_to("/etc/hostname")), "replaced-by-link", [(0, SIZE)], SIZE),
    "a link to nowhere": Row(instead(lambda path: path.symlink_to("nowhere")), "replaced-by-link", [(0, SIZE)], SIZE),
    "a fifo": Row(instead(os.mkfifo), "replaced-by-other-type", [(0, SIZE)], SIZE),
    "gone": Row(Path.unlink, None, [(0, SIZE)], SIZE, state="missing"),
    "gone with its folder": Row(lambda path: shutil.rmtree(path.parent), None, [(0, SIZE)], SIZE, state="missing"),
    "one piece, one block": Row(write(AT, made(9, 4)), "one-block", [(5 * BLOCK, BLOCK)], BLOCK, size=600_000),
    "one piece, one bit": Row(flip(599_999), "flipped-bit", [(9 * BLOCK, 600_000 - 9 * BLOCK)], 0, size=600_000),
    "less than a block, one bit": Row(flip(50), "flipped-bit", [(0, 100)], 0, size=100),
    "one block, one bit": Row(flip(0), "flipped-bit", [(0, BLOCK)], 0, size=BLOCK),
    "one block, zeros in it": Row(write(7001, bytes(600)), "run-of-zeros", [(0, BLOCK)], BLOCK, size=BLOCK),
    "less than a block": Row(write(50, b"??"), "rewritten", [(0, 100)], 100, size=100),
    "nothing, and something added": Row(write(0, b"x"), "grown", None, 0, size=0),
    "no block sums": Row(write(AT, made(9, 5)), "rewritten", [(0, PIECE)], PIECE, sums=False),
    "no block sums, cut": Row(cut(PIECE + 5), "truncated", [(PIECE + 5, SIZE - PIECE - 5)], SIZE - PIECE, sums=False),
    "no table": Row(write(AT, made(9, 6)), "one-block", [(5 * BLOCK, BLOCK)], BLOCK, table=False),
    "neither": Row(write(AT, made(9, 7)), "rewritten", None, SIZE, sums=False, table=False),
}  # fmt: skip
FINE = {
    "touched": Row(lambda path: os.utime(path, (1, 1)), None, [], 0, state="intact"),
    "copied": Row(lambda path: replaced(path.read_bytes())(path), None, [], 0, state="intact"),
    "untouched, without a table": Row(lambda path: None, None, [], 0, state="intact", table=False),
}
EVERY = ROWS | FINE


class Ward:
    """Every row as a checkpoint of one store: synced, damaged, verified, repaired, verified again."""

    def __init__(self, root: Path, origins: Origins) -> None:
        self.origin = origins.new()
        self.site = Workplace(root, origins.made)
        self.names = {row: f"row{number:02}" for number, row in enumerate(EVERY)}
        self.bodies = {row: made(EVERY[row].size, row) for row in EVERY}
        self.urls = {row: f"/{name}.bin" for row, name in self.names.items()}
        octets = "application/octet-stream"
        pins = {row: {} if body else {"sha256": sha256(body)} for row, body in self.bodies.items()}  # empty: if meant
        entries = [
            {"name": name, "url": self.origin.put(self.urls[row], self.bodies[row], content_type=octets), **pins[row]}
            for row, name in self.names.items()
        ]
        self.site.write(*entries, transfer={"connections": 1})  # a second one has what the first was sent in vain
        self.site.sync().expect(0)
        self.lock = self.site.lock_path.read_bytes()
        with sqlite3.connect(self.site.state / "state.db") as database:
            for row, body in self.bodies.items():
                if not EVERY[row].sums:
                    database.execute("DELETE FROM sums WHERE sha256 = ?", (sha256(body),))
        database.close()
        self.tables = {row: self.site.state / "pieces" / sha256(body) for row, body in self.bodies.items()}
        self.table = self.tables["touched"].read_bytes()
        for row, table in self.tables.items():
            if not EVERY[row].table:
                table.unlink()
        self.paths = {row: self.site.file(name) for row, name in self.names.items()}
        for row, path in self.paths.items():
            EVERY[row].damage(path)
        plain = [row for row, path in self.paths.items() if path.is_file() and not path.is_symlink()]
        self.damaged = {row: self.paths[row].read_bytes() for row in plain}
        self.held = {row: os.open(self.paths[row], os.O_RDONLY) for row in plain}
        self.origin.forget()
        self.found = self.site.verify()
        self.asked = len(self.origin.requests())
        self.mended = self.site.verify("--repair")
        self.after = self.site.verify("--sha256")

    def close(self) -> None:
        for fd in self.held.values():
            os.close(fd)
        self.site.finish()

    def evidence(self, row: str) -> Path:
        (folder,) = (self.site.state / "quarantine").glob(f"*-{self.names[row]}-*")
        return folder


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with Origins() as origins:
        made = Ward(tmp_path_factory.mktemp("ward"), origins)
        yield made
        made.close()


@pytest.mark.slow
@pytest.mark.parametrize("row", EVERY)
def test_it_is_found_and_explained(ward: Ward, row: str) -> None:
    """Contract: exit 3; `damage` where digests exist; the network is not touched."""
    ward.found.expect(3)
    assert ward.asked == 0
    expected, entry = EVERY[row], ward.found.entry(ward.names[row])
    assert entry["state"] == expected.state
    assert (entry.get("diagnosis") or {}).get("cause") == expected.cause
    damage = entry.get("damage")
    assert (None if damage is None else [(each["offset"], each["length"]) for each in damage]) == expected.where
    kind = {"corrupt": "integrity", "missing": "storage", "intact": None}[expected.state]
    assert ward.found.kind(ward.names[row]) == kind


@pytest.mark.slow
@pytest.mark.parametrize("row", EVERY)
def test_it_is_mended(ward: Ward, row: str) -> None:
    """Contract: state `repaired`, exit 0; the file is what was locked, under its name and modes, and stays it."""
    ward.mended.expect(0)
    ward.site.check_report(ward.mended)
    ward.after.expect(0)
    entry, name = ward.mended.entry(ward.names[row]), ward.names[row]
    assert entry["state"] == ("repaired" if row in ROWS else "intact")
    assert entry["error"] is None
    assert ward.after.entry(name)["state"] == "intact"
    ward.site.assert_good(name, ward.bodies[row])
    assert ward.site.lock_path.read_bytes() == ward.lock


@pytest.mark.slow
@pytest.mark.parametrize("row", EVERY)
def test_only_what_is_damaged_is_fetched(ward: Ward, row: str) -> None:
    """Counted at the origin; every part with the validator of what is locked."""
    expected, entry, requests = EVERY[row], ward.mended.entry(ward.names[row]), ward.origin.requests(ward.urls[row])
    sent = ward.origin.body_bytes(ward.urls[row])
    assert sent <= expected.fetched
    assert entry["bytes_fetched"] == sent
    if row in ROWS:
        assert entry["bytes_reused"] == expected.size - sent
    if expected.fetched == 0 and expected.size:
        assert not requests
    if 0 < expected.fetched < expected.size:
        blob = ward.origin.blob(ward.urls[row])
        assert blob is not None
        assert all(each.request.header("if-range") == blob.etag for each in requests)
        assert all(each.status == 206 for each in requests)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_whoever_has_the_old_file_open_keeps_it(ward: Ward, row: str) -> None:
    if row not in ward.held:
        assert not ward.paths[row].is_symlink()  # whatever stood there was no plain file
        return
    fd = ward.held[row]
    assert os.pread(fd, len(ward.damaged[row]) + 1, 0) == ward.damaged[row]
    assert os.fstat(fd).st_ino != ward.paths[row].stat().st_ino


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_the_damaged_bytes_are_kept_as_evidence(ward: Ward, row: str) -> None:
    expected, name = ROWS[row], ward.names[row]
    if expected.state == "missing":
        assert not list((ward.site.state / "quarantine").glob(f"*-{name}-*"))
        return
    folder = ward.evidence(row)
    report = json.loads((folder / "report.json").read_text())
    assert report["name"] == name
    assert report["expected"]["sha256"] == sha256(ward.bodies[row])
    assert report["expected"]["size"] == expected.size
    assert report["action"] == "repaired"
    assert report["cause"] == expected.cause
    assert report["last_good"] is not None
    assert [each["verdict"] for each in report["history"]][:1] == ["intact"]
    assert report["history"][-1]["verdict"] == expected.state
    assert ward.mended.entry(name)["diagnosis"]["quarantine"] == str(folder)
    if row not in ward.damaged:
        return
    damaged = ward.damaged[row]
    assert report["actual"]["size"] == len(damaged)
    assert [holder["pid"] for holder in report["holders"]] == [os.getpid()]
    where = expected.where if expected.where is not None else [(0, len(damaged))]
    kept = {each["offset"]: (folder / each["file"]).read_bytes() for each in report["kept"]}
    assert all(len(kept[each["offset"]]) == each["length"] for each in report["kept"])
    wanted = [(offset, damaged[offset : offset + length]) for offset, length in where]
    for offset, data in wanted:
        holding = [(at, part) for at, part in kept.items() if at <= offset and offset + len(data) <= at + len(part)]
        assert not data or any(part[offset - at :][: len(data)] == data for at, part in holding)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) in {0o400, 0o444}


@pytest.mark.slow
@pytest.mark.parametrize("row", FINE)
def test_a_lost_table_is_made_again(ward: Ward, row: str) -> None:
    assert ward.tables[row].read_bytes() == ward.table if row == "touched" else ward.tables[row].stat().st_size == 64


@pytest.mark.slow
def test_the_history_has_all_of_it(ward: Ward) -> None:
    run = ward.site.run("history", "--json", ward.names["a block of 4 KiB"]).expect(0)
    records = run.report["history"]
    told = [(each["action"], each["verdict"]) for each in records]
    assert [action for action, _ in told] == ["fetch", "verify", "verify", "repair", "verify"]
    assert [verdict for _, verdict in told] == ["intact", "corrupt", "corrupt", "intact", "intact"]
    assert records[3]["bytes"] == BLOCK
    ward.site.run("history", "--check").expect(0)


@pytest.mark.slow
def test_nothing_is_left_behind(ward: Ward) -> None:
    assert list((ward.site.state / "partials").iterdir()) == []
    ward.site.check_invariants()
    run = ward.site.sync().expect(0)
    assert {entry["state"] for entry in run.report["checkpoints"]} == {"present"}


# --- one at a time ---------------------------------------------------------------------------------------------------


SMALL = made(900_000, "small")  # one piece
SMALL_TOO = made(900_000, "another version of the same size")
OTHER_ONE = made(500_000, "another checkpoint")


def stored(site: Workplace, url: str, damage: Damaging | None = None, **keys: Any) -> Path:
    """One synced checkpoint, then damaged; its file."""
    tables = {name: keys.pop(name) for name in ("verify", "transfer", "store") if name in keys}
    site.write({"name": "a", "url": url, **keys}, **tables)
    site.sync().expect(0)
    path = site.file("a")
    if damage is not None:
        damage(path)
    return path


def assert_left(path: Path, run: Run, *words: str) -> None:
    """The damaged original is where it was, told clearly, exit 3."""
    run.expect(3)
    entry = run.entry("a")
    assert entry["state"] == "corrupt"
    assert "Not mended" in entry["error"]["message"]
    for word in words:
        assert word in run.message("a"), run.message("a")
    assert path.exists()


def hooked(site: Workplace, source: str) -> dict[str, str]:
    """The environment in which the program does something else than usual, as `source` says."""
    folder = site.root / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(source))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def held_folder(site: Workplace) -> Path:
    (folder,) = (site.state / "quarantine").iterdir()
    return folder


BAD_BLOCK = write(AT, made(4096, 1))


def test_a_bit_costs_no_network(origin: Origin, site: Workplace) -> None:
    stored(site, origin.put(PATH, SMALL), traceless(flip(AT)))
    origin.refuse()
    origin.forget()
    run = site.verify("--repair").expect(0)
    assert (run.entry("a")["state"], run.entry("a")["bytes_fetched"]) == ("repaired", 0)
    site.assert_good("a", SMALL)


@pytest.mark.slow
def test_one_piece_of_a_large_file(origin: Origin, site: Workplace) -> None:
    """Without block sums: at most two pieces of traffic."""
    body = made(100_000_000, 9)
    stored(site, origin.put(PATH, body), write(3 * PIECE + 5, b"????"))
    with sqlite3.connect(site.state / "state.db") as database:
        database.execute("DELETE FROM sums")
    database.close()
    origin.forget()
    run = site.verify("--repair").expect(0)
    assert origin.body_bytes() <= 2 * PIECE
    assert run.entry("a")["bytes_fetched"] == origin.body_bytes()
    site.assert_good("a", body)


def test_what_people_are_told(origin: Origin, site: Workplace) -> None:
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    plain = site.run("verify", invariants=False).expect(3)
    for word in ("a", "64 KiB", "program wrote", "ckptd verify --repair a"):
        assert word in plain.out, plain
    quiet = site.run("verify", "--quiet", invariants=False).expect(3)
    assert quiet.out == ""
    assert "corrupt" in quiet.err
    site.run("verify", "--verbose", invariants=False).expect(3)
    mended = site.run("verify", "--repair", "--quiet").expect(0)
    assert mended.out == ""
    good = site.run("verify", "--quiet").expect(0)
    assert (good.out, good.err) == ("", "")


def test_names_that_the_manifest_forgot(origin: Origin, site: Workplace) -> None:
    """What is only in the lock is kept, verified, and mended from the lock's URL."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    lock = site.lock_path.read_bytes()
    site.write({"name": "b", "url": origin.put("/b.bin", b"b" * 100)})
    run = site.verify().expect(3)
    assert run.entry("a")["state"] == "corrupt"
    origin.forget()
    run = site.verify("--repair").expect(1)  # b was never fetched
    assert run.entry("a")["state"] == "repaired"
    assert run.entry("b")["state"] == "unlocked"
    assert path.read_bytes() == SMALL
    assert origin.body_bytes() == BLOCK
    assert site.lock_path.read_bytes() == lock


def test_a_pin_without_a_size(origin: Origin, site: Workplace) -> None:
    """How long the file is then stands in the lock alone."""
    site.one(origin.put(PATH, SMALL), sha256=sha256(SMALL))
    site.sync().expect(0)
    BAD_BLOCK(site.file("a"))
    origin.forget()
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    assert origin.body_bytes() == BLOCK
    site.assert_good("a", SMALL)


def test_only_what_was_named(origin: Origin, site: Workplace) -> None:
    site.write({"name": "a", "url": origin.put(PATH, SMALL)}, {"name": "b", "url": origin.put("/b.bin", OTHER_ONE)})
    site.sync().expect(0)
    BAD_BLOCK(site.file("a"))
    BAD_BLOCK(site.file("b"))
    run = site.verify("--repair", "b").expect(0)
    assert [entry["name"] for entry in run.report["checkpoints"]] == ["b"]
    assert site.file("a").read_bytes() != SMALL
    site.assert_good("b", OTHER_ONE)


def test_one_can_be_mended_and_one_not(origin: Origin, site: Workplace) -> None:
    site.write({"name": "a", "url": origin.put(PATH, SMALL)}, {"name": "b", "url": origin.put("/b.bin", OTHER_ONE)})
    site.sync().expect(0)
    BAD_BLOCK(site.file("a"))
    BAD_BLOCK(site.file("b"))
    origin.remove(PATH)
    run = site.verify("--repair").expect(3)
    assert (run.entry("a")["state"], run.entry("b")["state"]) == ("corrupt", "repaired")
    assert "404" in run.message("a")
    site.assert_good("b", OTHER_ONE)
    assert site.file("a").read_bytes() != SMALL


def test_a_folder_in_its_place_is_left_alone(origin: Origin, site: Workplace) -> None:
    path = stored(site, origin.put(PATH, SMALL), instead(Path.mkdir))
    (path / "mine").write_text("x")
    run = site.verify("--repair").expect(3)
    assert_left(path, run, "folder")
    assert (path / "mine").read_text() == "x"


@pytest.mark.slow
def test_many_at_once(origin: Origin, site: Workplace) -> None:
    names = [f"m{number:02}" for number in range(40)]
    bodies = {name: made(700_000, name) for name in names}
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", bodies[name])} for name in names))
    site.sync().expect(0)
    for name in names:
        write(3 * BLOCK, b"????")(site.file(name))
    origin.forget()
    site.verify("--repair").expect(0)
    for name in names:
        site.assert_good(name, bodies[name])
    assert origin.body_bytes() == 40 * BLOCK


# --- the evidence ----------------------------------------------------------------------------------------------------


def test_evidence_beyond_the_cap_is_a_report_only(origin: Origin, site: Workplace) -> None:
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK, verify={"quarantine_size": "10 KB"})
    site.verify("--repair").expect(0)
    assert [path.name for path in held_folder(site).iterdir()] == ["report.json"]
    site.assert_good("a", SMALL)


def test_old_evidence_goes(origin: Origin, site: Workplace) -> None:
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, verify={"quarantine_age": "30d"})
    site.verify("--repair").expect(0)
    folder = held_folder(site)
    old = folder.rename(folder.with_name("20200101T000000Z-" + folder.name.partition("-")[2]))
    BAD_BLOCK(path)
    site.verify("--repair").expect(0)
    assert not old.exists()
    assert held_folder(site).name > "2021"


def test_evidence_keeps_to_the_cap(origin: Origin, site: Workplace) -> None:
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, verify={"quarantine_size": "100 KB"})
    site.verify("--repair").expect(0)
    folder = held_folder(site)
    old = folder.rename(folder.with_name("20240101T000000Z-" + folder.name.partition("-")[2]))
    BAD_BLOCK(path)
    site.verify("--repair").expect(0)
    assert not old.exists()
    assert (held_folder(site) / f"{5 * BLOCK}-{BLOCK}.bin").exists()


# --- origins that do not help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["down", "404", "500", "a page", "cut"])
def test_an_origin_that_fails_leaves_the_damaged_file(origin: Origin, site: Workplace, answer: str) -> None:
    """It may come back; until then nobody takes anything away."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, transfer={"retries": 1})
    damaged = path.read_bytes()
    if answer == "down":
        origin.refuse()
    elif answer == "404":
        origin.remove(PATH)
    else:
        how = {"500": f.status(500), "a page": f.page(), "cut": f.cut(0)}[answer]
        origin.on(PATH, how, times=None)
    run = site.verify("--repair")
    assert_left(path, run)
    assert path.read_bytes() == damaged
    assert not list(site.state.glob("quarantine/*/*.bin"))
    origin.calm()
    origin.put(PATH, SMALL)
    if answer == "down":
        origin.listen()
    site.verify("--repair").expect(0)
    site.assert_good("a", SMALL)


def test_to_hold_is_heeded_when_nothing_can_be_mended(origin: Origin, site: Workplace) -> None:
    """The origin may come back, and the damaged bytes are read by nobody until then."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, verify={"on_damage": "hold"}, transfer={"retries": 0})
    damaged = path.read_bytes()
    origin.remove(PATH)
    run = site.verify("--repair").expect(3)
    assert not path.exists()
    assert "404" in run.message("a")
    assert (held_folder(site) / f"0-{len(SMALL)}.bin").read_bytes() == damaged
    site.run("path", "a").expect(1)
    origin.put(PATH, SMALL)
    site.sync().expect(0)
    site.assert_good("a", SMALL)


@pytest.mark.parametrize("damage", ["other bytes", "longer", "found by verify"])
def test_to_keep_binds_sync_too(origin: Origin, site: Workplace, damage: str) -> None:
    """Only who asks for mending gets it."""
    how = write(len(SMALL), b"more") if damage == "longer" else BAD_BLOCK
    path = stored(site, origin.put(PATH, SMALL), how, verify={"on_damage": "keep"})
    damaged = path.read_bytes()
    if damage == "found by verify":
        site.verify().expect(3)
    origin.forget()
    for _ in range(2):
        run = site.sync(invariants=False).expect(3)
        assert run.entry("a")["error"]["kind"] == "integrity"
        assert "on_damage" in run.message("a")
        assert "verify --repair a" in run.entry("a")["error"]["hint"]
        assert path.read_bytes() == damaged
    assert origin.body_bytes() == 0
    site.verify("--repair").expect(0)
    site.assert_good("a", SMALL)


@pytest.mark.parametrize("size", [len(SMALL), len(SMALL) + 1000], ids=["of the same size", "longer"])
@pytest.mark.parametrize("policy", ["repair", "keep"])
def test_the_origin_has_another_version(origin: Origin, site: Workplace, size: int, policy: str) -> None:
    """No repair: the file is moved away and it is said so, or left where it is."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, verify={"on_damage": policy})
    damaged, lock = path.read_bytes(), site.lock_path.read_bytes()
    origin.put(PATH, made(size, "new"))
    run = site.verify("--repair").expect(3)
    assert run.entry("a")["state"] == "corrupt"
    assert site.lock_path.read_bytes() == lock
    if policy == "keep":
        assert_left(path, run, "left where it is", "on_damage")
        assert path.read_bytes() == damaged
        return
    assert not path.exists()
    folder = held_folder(site)
    assert str(folder) in run.message("a")
    assert "ckptd update a" in run.message("a")
    assert run.entry("a")["diagnosis"]["quarantine"] == str(folder)
    assert (folder / f"0-{len(SMALL)}.bin").read_bytes() == damaged
    assert json.loads((folder / "report.json").read_text())["action"] == "held"
    assert site.verify().expect(1).entry("a")["state"] == "missing"
    assert site.run("status", "--json").expect(0).entry("a")["state"] == "missing"
    site.run("path", "a").expect(1)
    site.sync().expect(4)
    origin.put(PATH, SMALL)
    site.verify("--repair").expect(0)
    site.assert_good("a", SMALL)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without"])
@pytest.mark.parametrize("etag", ['"rewritten"', 'W/"rewritten"', None], ids=["strong", "weak", "none"])
def test_the_same_bytes_under_another_validator(
    origin: Origin, site: Workplace, etag: str | None, ranges: bool
) -> None:
    """Its name for them proves nothing about the bytes: the locked SHA-256 decides, after the whole came once."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    lock = site.lock_path.read_bytes()
    origin.put(PATH, SMALL, etag=etag, last_modified="Thu, 02 Jan 2020 00:00:00 GMT")
    if not ranges:
        origin.on(PATH, f.ignores_range(), times=None)
    origin.forget()
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert path.read_bytes() == SMALL
    assert site.lock_path.read_bytes() == lock
    assert len([x for x in origin.requests() if not x.range]) == 1
    BAD_BLOCK(path)
    if etag == '"rewritten"' and ranges:  # known by its new name from now on
        origin.forget()
        site.verify("--repair").expect(0)
        assert origin.body_bytes() == BLOCK


def test_one_source_agrees_and_one_has_another_name_for_it(origin: Origin, origins: Origins, site: Workplace) -> None:
    """Whoever can be shown to have the same file is asked for the part, before anybody is asked for the whole."""
    mirror = origins.new()
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK, mirrors=[mirror.put("/m.bin", SMALL)])
    origin.put(PATH, SMALL, etag='"rewritten"')
    mirror.forget()
    site.verify("--repair").expect(0)
    assert mirror.body_bytes() == BLOCK
    assert [x for x in origin.requests() if not x.range and x.request.method == "GET"][1:] == []
    assert site.file("a").read_bytes() == SMALL


def test_a_mirror_still_has_it(origin: Origin, origins: Origins, site: Workplace) -> None:
    mirror = origins.new()
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK, mirrors=[mirror.put("/m.bin", SMALL)])
    origin.put(PATH, SMALL_TOO)
    mirror.forget()
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert mirror.body_bytes() == BLOCK
    assert site.file("a").read_bytes() == SMALL
    assert site.lock["a"]["url"] == origin.url(PATH)


def test_a_mirror_that_has_other_bytes_too(origin: Origin, origins: Origins, site: Workplace) -> None:
    mirror = origins.new()
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK, mirrors=[mirror.put("/m.bin", SMALL)])
    origin.put(PATH, SMALL_TOO)
    mirror.put("/m.bin", SMALL_TOO)
    site.verify("--repair").expect(3)
    assert not path.exists()


def test_an_origin_that_ignores_ranges(origin: Origin, site: Workplace) -> None:
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    origin.on(PATH, f.ignores_range(), times=None)
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert run.entry("a")["bytes_reused"] >= 0
    site.assert_good("a", SMALL)


def test_wrong_bytes_under_the_same_etag(origin: Origin, site: Workplace) -> None:
    """Nothing of it is published, whatever the headers say."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    origin.on(PATH, f.flip(AT), times=None)
    run = site.verify("--repair").expect(3)
    assert run.entry("a")["state"] == "corrupt"
    assert run.entry("a")["bytes_reused"] >= 0
    assert not path.exists()
    assert not list(site.state.glob("partials/*"))


def test_wrong_bytes_first_and_right_ones_from_a_mirror(origin: Origin, origins: Origins, site: Workplace) -> None:
    mirror = origins.new()
    small = SMALL[:40_000]
    stored(site, origin.put(PATH, small), write(100, b"????"), mirrors=[mirror.put("/m.bin", small)])
    origin.on(PATH, f.flip(200), times=None)
    run = site.verify("--repair").expect(0)
    entry = run.entry("a")
    assert entry["state"] == "repaired"
    assert entry["bytes_fetched"] == origin.body_bytes() + mirror.body_bytes() - 2 * len(small) + len(small)
    assert entry["bytes_reused"] >= 0
    site.assert_good("a", small)


def test_more_is_damaged_than_was_known(origin: Origin, site: Workplace) -> None:
    """What gets worse between verdict and repair is no reason to say that the origin has changed."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    hook = hooked(
        site,
        f"""
        import ckptd.service.repair as module
        run = module.Repair.run
        async def worse(self, **keys):
            with open({str(path)!r}, "r+b") as file:
                file.seek({9 * BLOCK})
                file.write(b"worse")
            return await run(self, **keys)
        module.Repair.run = worse
        """,
    )
    path.chmod(0o644)
    run = site.run("verify", "--repair", "--json", env=hook, invariants=False).expect(0)
    assert run.entry("a")["state"] == "repaired"
    site.assert_good("a", SMALL)


def test_a_url_that_moved(origin: Origin, site: Workplace) -> None:
    """The manifest names another URL, with another file name, by now: what is locked is mended where it is."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    site.one(origin.put("/moved/b.bin", SMALL))
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert path.read_bytes() == SMALL


def test_an_update_that_was_cut_short_is_finished_not_undone(origin: Origin, site: Workplace) -> None:
    """The new version is there, the lock has the old one: what lies there is no damage."""
    path = stored(site, origin.put(PATH, SMALL))
    old = site.lock_path.read_bytes()
    origin.put(PATH, SMALL_TOO)
    site.run("update", "a").expect(0)
    with sqlite3.connect(site.state / "state.db") as database:
        database.execute("UPDATE files SET pending = 1")
    database.close()
    site.lock_path.write_bytes(old)
    run = site.verify("--repair")
    assert path.read_bytes() == SMALL_TOO
    run.expect(0)
    assert site.lock["a"]["sha256"] == sha256(SMALL_TOO)


# --- disks that do not help ------------------------------------------------------------------------------------------


@pytest.fixture
def as_root(lacking: Lacking) -> None:
    if os.geteuid() != 0:
        lacking("only root can mount a file system")


class Image:
    """A file with an ext4 in it, mounted; its bytes can be reached past the filesystem."""

    def __init__(self, folder: Path, size: str) -> None:
        self.file, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir(parents=True)
        subprocess.run(["truncate", "-s", size, str(self.file)], check=True)
        made = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", str(self.file)]
        subprocess.run(made, check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(self.file), str(self.path)], check=True, capture_output=True)

    def find(self, body: bytes, offset: int) -> int:
        """Where `body[offset:]` lies on the disk."""
        subprocess.run(["sync", "-f", str(self.path)], check=True)
        at = self.file.read_bytes().find(body[offset : offset + 64])
        assert at >= 0
        return at

    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, name: str, leave: int = 0) -> Path:
        path = self.path / name
        subprocess.run(["fallocate", "-l", str(self.free() - leave), str(path)], check=True)
        return path

    def leave(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def image(as_root: None, tmp_path: Path) -> Iterator[Image]:
    del as_root
    made = Image(tmp_path / "image", "96M")
    yield made
    made.leave()


def on_image(image: Image, origins: Origins) -> Workplace:
    return Workplace(image.path / "site", origins.made)


def test_the_disk_is_full(image: Image, origin: Origin, origins: Origins) -> None:
    """The damaged original stays, nothing else does, and what room there was is there again."""
    site = on_image(image, origins)
    path = stored(site, origin.put(PATH, BODY), BAD_BLOCK)
    damaged = path.read_bytes()
    filler = image.fill("filler", leave=8_000_000)
    free = image.free()
    run = site.verify("--repair")
    assert_left(path, run, "No space left")
    assert path.read_bytes() == damaged
    assert image.free() > free - 1_000_000
    filler.unlink()
    site.verify("--repair").expect(0)
    site.assert_good("a", BODY)


def test_room_that_is_kept_free(image: Image, origin: Origin, origins: Origins) -> None:
    """[store] keep_free holds for the copy, too."""
    site = on_image(image, origins)
    url = origin.put(PATH, SMALL)
    path = stored(site, url, traceless(flip(AT)))
    site.write({"name": "a", "url": url}, store={"keep_free": f"{image.free() - 500_000}"})
    run = site.verify("--repair")
    assert_left(path, run, "keep_free")


def test_rot_that_the_page_cache_hides(image: Image, origin: Origin, origins: Origins) -> None:
    """Written through the block device: readers still get the good bytes from memory, the disk has others."""
    site = on_image(image, origins)
    path = stored(site, origin.put(PATH, SMALL))
    at = image.find(SMALL, AT)
    assert path.read_bytes() == SMALL  # in the page cache
    with image.file.open("r+b") as disk:
        disk.seek(at)
        disk.write(made(4096, 1))
    assert path.read_bytes() == SMALL
    found = site.verify().expect(3).entry("a")
    assert found["damage"] == [{"offset": 5 * BLOCK, "length": BLOCK, "verdict": "changed"}]
    assert "disk" in found["diagnosis"]["summary"]
    origin.forget()
    site.verify("--repair").expect(0)
    assert origin.body_bytes() == BLOCK
    site.assert_good("a", SMALL)
    site.verify().expect(0)


def test_a_part_that_the_disk_cannot_read(image: Image, origin: Origin, origins: Origins) -> None:
    """The disk ends in the middle of the file: `unreadable`, exit 5, the rest is judged; and mended."""
    site = on_image(image, origins)
    low = image.fill("low", leave=40_000_000)
    path = stored(site, origin.put(PATH, SMALL))
    high = image.fill("high", leave=1_000_000)
    low.unlink()
    bad = len(SMALL) - len(SMALL) % 4096 - 9 * 4096  # within the last blocks, and in the middle of what is read at once
    at = image.find(SMALL, bad)
    assert image.find(SMALL, len(SMALL) - 64) > at > image.find(SMALL, 0), "not in one stretch"
    del high
    (path.parent / "moved").write_bytes(b"")
    (path.parent / "moved").unlink()
    os.truncate(image.file, at)
    found = site.verify().expect(5).entry("a")
    assert found["state"] == "unreadable"
    assert found["error"]["kind"] == "storage"
    start = bad - bad % BLOCK
    assert [(each["offset"], each["verdict"]) for each in found["damage"]] == [(start, "unreadable")]
    origin.forget()
    run = site.verify("--repair").expect(0)
    assert run.entry("a")["state"] == "repaired"
    assert origin.body_bytes() == len(SMALL) - start
    site.assert_good("a", SMALL)


@pytest.fixture
def strace(lacking: Lacking) -> list[str]:
    command = ["strace", "-f", "-qq", "-o", "/dev/null"]
    if shutil.which("strace") is None:
        lacking("strace is not installed")
    probe = subprocess.run([*command, "-e", "inject=fsync:error=EIO", "true"], check=False, capture_output=True)
    if probe.returncode != 0:
        lacking(f"strace cannot trace here: {probe.stderr.decode()}")
    return command


def test_a_disk_that_reads_nothing_of_it(origin: Origin, site: Workplace, strace: list[str]) -> None:
    """EIO for every read of this file: `unreadable`, exit 5; the others are judged."""
    small = SMALL[:300_000]
    site.write({"name": "a", "url": origin.put(PATH, SMALL)}, {"name": "b", "url": origin.put("/b.bin", small)})
    site.sync().expect(0)
    path = site.file("a")
    reads = "read,pread64,preadv,preadv2"
    eio = [*strace, "-P", str(path), "-e", f"trace={reads}", "-e", f"inject={reads}:error=EIO"]
    run = site.run("verify", "--json", prefix=eio).expect(5)
    assert run.entry("a")["state"] == "unreadable"
    assert {each["verdict"] for each in run.entry("a")["damage"]} == {"unreadable"}
    assert run.entry("b")["state"] == "intact"
    mended = site.run("verify", "--repair", "--json", prefix=eio).expect(0)
    assert mended.entry("a")["state"] == "repaired"
    site.assert_good("a", SMALL)


def test_it_vanishes_while_it_is_read(origin: Origin, site: Workplace) -> None:
    path = stored(site, origin.put(PATH, BODY))
    hook = hooked(
        site,
        f"""
        import os, ckptd.store.scrub as module
        digest = module.piece_digest
        def vanishing(*args, **keys):
            if os.path.exists({str(path)!r}):
                os.unlink({str(path)!r})
                return digest(*args, **keys)
            raise FileNotFoundError(2, "as the next open would")
        module.piece_digest = vanishing
        """,
    )
    run = site.run("verify", "--json", env=hook, invariants=False).expect(1)
    assert run.entry("a")["state"] == "missing"
    assert "not there" in run.message("a")


def is_open(folder: Path, path: Path) -> bool:
    for each in folder.iterdir():
        try:
            if each.readlink() == path:
                return True
        except OSError:
            continue
    return False


# --- others ----------------------------------------------------------------------------------------------------------


def test_another_instance_owns_the_store(origin: Origin, site: Workplace) -> None:
    """The verdict is told all the same, and why nothing was mended."""
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    site.write(
        {"name": "a", "url": origin.url(PATH)},
        {"name": "b", "url": origin.put("/b.bin", SMALL)},
        transfer={"stall_timeout": "60s"},
    )
    place = Hold()
    origin.on("/b.bin", f.hold(65_536, place), times=None)
    other = site.start("sync", "b")
    wait_until(place.reached.is_set, what="another one is at work")
    run = site.run("verify", "--repair", "--json", "a", invariants=False)
    other.kill()
    place.release()
    assert_left(path, run, "working on it" if "working on it" in run.message("a") else "pid")
    assert run.entry("a")["damage"]


@pytest.fixture
def nobody(lacking: Lacking, origins: Origins) -> Iterator[tuple[Workplace, list[str]]]:
    """A site that others may look at, and how to run as somebody else."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    can = subprocess.run([*command, str(CKPTD), "--version"], check=False, capture_output=True)
    if os.geteuid() != 0 or can.returncode != 0:
        lacking("another user cannot run the program here")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        site = Workplace(Path(folder) / "site", origins.made)
        yield site, command
        site.finish()


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


@pytest.mark.parametrize("more", [[], ["--repair"]], ids=["verify", "with --repair"])
def test_an_auditor_who_may_only_read(origin: Origin, nobody: tuple[Workplace, list[str]], more: list[str]) -> None:
    """Gets the verdict, and leaves no trace."""
    site, command = nobody
    path = stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    before = everything(site.store)
    run = site.run("verify", "--json", *more, prefix=command, invariants=False, env={"HOME": "/nonexistent"}).expect(3)
    assert run.entry("a")["state"] == "corrupt"
    assert [(each["offset"], each["length"]) for each in run.entry("a")["damage"]] == [(5 * BLOCK, BLOCK)]
    assert everything(site.store) == before
    if more:
        assert_left(path, run)


def test_a_file_that_its_owner_may_not_read(origin: Origin, nobody: tuple[Workplace, list[str]]) -> None:
    """Mode 0000: `unreadable`, exit 5; and mended, since it can be replaced."""
    site, command = nobody
    os.chown(site.root, 65534, 65534)
    site.one(origin.put(PATH, SMALL))
    site.run("sync", "--json", prefix=command).expect(0)
    site.file("a").chmod(0)
    run = site.run("verify", "--json", prefix=command, invariants=False).expect(5)
    assert run.entry("a")["state"] == "unreadable"
    assert "denied" in run.message("a")
    site.run("verify", "--json", "--repair", prefix=command).expect(0)
    site.assert_good("a", SMALL)


def bytes_read(pid: int) -> int:
    """What a process has read from disks so far."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("rchar: ")[2].split()[0])


# --- being stopped ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("known", [True, False], ids=["", "nothing known"])
def test_stopped_it_remembers_what_was_read(
    origin: Origin, site: Workplace, number: int, status: int, known: bool, strace: list[str]
) -> None:
    """`--older-than` reads only the rest."""
    body = made(5 * PIECE, 8)
    url = origin.put(PATH, body)
    stored(site, url, verify={"rate": "25 MB/s"})
    if known:
        with sqlite3.connect(site.state / "state.db") as database:
            ages = json.dumps([1.7e9, [[0, 5, 1.7e9]], []])
            database.execute("UPDATE files SET ages = ?, verified_at = 1.7e9", (ages,))
        database.close()
    else:
        (site.state / "state.db").unlink()
    two = hooked(site, "import os\nos.cpu_count = lambda: 2\n")
    running = site.start("verify", "--json", env=two)
    wait_until(lambda: bytes_read(running.process.pid) > 3.2 * PIECE, what="three pieces are read, or half of four")
    running.signal(number)
    running.wait(20).expect(status)
    site.one(url)
    log = site.root / "log"
    calls = [*strace[:3], "-o", str(log), "-P", str(site.file("a")), "-e", "trace=preadv,preadv2"]
    run = site.run("verify", "--json", "--older-than", "1h", prefix=calls).expect(0)
    assert run.entry("a")["state"] == "intact"
    read = sum(int(count) for count in re.findall(r"preadv.* = (\d+)$", log.read_text(), re.MULTILINE))
    assert PIECE <= read <= 4 * PIECE
    assert read % PIECE == 0
    again = site.run("verify", "--json", "--older-than", "1h").expect(0)
    assert again.report["checkpoints"] == []


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--sha256"]], ids=["by pieces", "sha256"])
def test_it_stops_at_once(origin: Origin, site: Workplace, more: list[str]) -> None:
    """In the middle of a large file, too: nobody waits for its end."""
    body = made(6 * PIECE, 8)
    stored(site, origin.put(PATH, body), verify={"rate": "10 MB/s"})
    running = site.start("verify", *more)
    folder = Path(f"/proc/{running.process.pid}/fd")
    wait_until(lambda: is_open(folder, site.file("a")), what="it is being read")
    running.signal(signal.SIGTERM)
    begun = time.monotonic()
    running.wait(20).expect(143)
    assert time.monotonic() - begun < 5, "the whole file would have taken ten seconds"


# --- what was written to it since ------------------------------------------------------------------------------------


def test_what_was_written_to_is_due_whenever_it_was_read(origin: Origin, site: Workplace) -> None:
    """`--older-than` is about bytes that were verified, and these were not."""
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    assert site.verify("--older-than", "7d").expect(3).entry("a")["state"] == "corrupt"


def test_a_lock_and_a_table_that_agree_on_other_bytes(origin: Origin, site: Workplace) -> None:
    """`--sha256` believes no piece digests, whoever wrote them."""
    from ckptd.store.digests import Pieces, pieces_field  # noqa: PLC0415

    path = stored(site, origin.put(PATH, BODY), BAD_BLOCK)
    pieces = Pieces()
    pieces.update(memoryview(path.read_bytes()))
    table = site.state / "pieces" / sha256(BODY)
    table.chmod(0o644)
    table.write_bytes(pieces.digest())
    locked = site.lock_path.read_text()
    site.lock_path.write_text(locked.replace(site.lock["a"]["pieces"], pieces_field(pieces.digest())))
    site.verify().expect(0)  # by pieces it looks good
    assert site.verify("--sha256").expect(3).entry("a")["state"] == "corrupt"


@pytest.mark.parametrize("spoil", ["lost", "torn", "of another file"])
def test_a_table_that_is_not_the_locks(origin: Origin, site: Workplace, spoil: str) -> None:
    """Not used: the SHA-256 decides, and the table is made again."""
    stored(site, origin.put(PATH, BODY))
    table = site.state / "pieces" / sha256(BODY)
    right = table.read_bytes()
    table.chmod(0o644)
    if spoil == "lost":
        table.unlink()
    else:
        table.write_bytes(right[:-7] if spoil == "torn" else right[::-1])
    run = site.verify().expect(0)
    assert run.entry("a")["state"] == "intact"
    assert table.read_bytes() == right
    BAD_BLOCK(site.file("a"))
    table.unlink()
    assert site.verify().expect(3).entry("a")["state"] == "corrupt"


# --- memory ----------------------------------------------------------------------------------------------------------


def peak(site: Workplace, *args: str) -> int:
    """The most memory that a run had, in bytes."""
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
    )  # from a process of its own: what a process had before exec counts, and ours is large
    command = [sys.executable, "-c", measure, str(CKPTD), *args]
    done = subprocess.run(command, cwd=site.root, env=site.environment(), capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(origin: Origin, site: Workplace) -> None:
    """Peak memory under 100 MB, for verifying and for mending."""
    bodies = {f"m{number}": made(75_000_000, number) for number in range(4)}
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", body)} for name, body in bodies.items()))
    site.sync().expect(0)
    assert peak(site, "verify") < 100e6
    assert peak(site, "verify", "--sha256") < 100e6
    for name in bodies:
        write(PIECE + 5, b"????")(site.file(name))
    assert peak(site, "verify", "--repair") < 100e6
    for name, body in bodies.items():
        site.assert_good(name, body)


def test_the_shape_of_json(origin: Origin, site: Workplace) -> None:
    stored(site, origin.put(PATH, SMALL), BAD_BLOCK)
    run = site.verify().expect(3)
    site.check_report(run)
    entry: Mapping[str, Any] = run.entry("a")
    diagnosis = entry["diagnosis"]
    assert {"cause", "summary", "last_good", "used_by", "unseen_processes", "quarantine"} <= set(diagnosis)
    assert diagnosis["quarantine"] is None
    assert (entry["bytes_fetched"], entry["bytes_reused"], entry["trust"]) == (0, 0, "first-use")
    assert entry["path"] == str(site.file("a"))

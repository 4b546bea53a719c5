"""The scrub over a real small store: what it reads, what it tells, and that it neither spins nor forgets.

Its clock is ours where days pass: a rest takes no time, and reading takes none either.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import mmap
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptd.core import events
from ckptd.core.ages import Ages
from ckptd.core.models import PIECE, Lock, LockEntry, Manifest, Trust, VerifySettings
from ckptd.core.pressure import Gate, Mode
from ckptd.service import promise
from ckptd.service.judging import Judged
from ckptd.service.scrub import Scrub
from ckptd.service.workplace import Workplace
from ckptd.store import lockfile
from ckptd.store import scrub as medium
from ckptd.store.digests import Blocks, Pieces, pieces_field
from ckptd.store.history import rows
from ckptd.store.inventory import tree_mark
from ckptd.store.places import Places, prepare
from ckptd.store.publish import keep_table, stamp
from ckptd.store.records import FileRecord, load_files, save_files, save_sums, tree_key
from ckptd.store.state import State
from ckptd.store.trees import save_tree, scan

DAY = 86400.0
NOW = 1_800_000_000.0
MIB = 1024 * 1024
BODY = random.Random(1).randbytes(2 * PIECE + 300_000)  # noqa: S311  # three pieces
SMALL = random.Random(2).randbytes(200_000)  # noqa: S311


class Clock:
    """Stands in for the module `time`; it moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - NOW + 1000


class OverError(Exception):
    """The simulated time is up."""


class Timed(Scrub):
    """A scrub whose rests are over at once, by `clock`; it ends after `limit` seconds."""

    clock: Clock
    limit: float
    rests: list[float]
    told: list[events.Event]

    async def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.clock.now += max(seconds, 0.01)  # a real clock moves on, too
        await asyncio.sleep(0)
        if self.clock.now - NOW > self.limit:
            raise OverError


class Shelf:
    """A store with files, their lock, tables and records, all read and found good at `NOW`."""

    def __init__(self, root: Path, settings: VerifySettings | None = None) -> None:
        self.places = Places(root / "store", root / "store/.ckptd", root / "manifest.lock")
        prepare(self.places)
        self.manifest = Manifest((), verify=settings or VerifySettings(io_pressure=None, memory_pressure=None))
        self.entries: dict[str, LockEntry] = {}
        self.records: list[FileRecord] = []
        self.sums: dict[str, bytes] = {}
        self.found: list[Judged] = []

    def add(self, name: str, body: bytes, *, age: float | None = 0.0, table: bool = True) -> Path:
        """A locked file, last verified `age` seconds ago; None: nothing is known of it."""
        path = self.places.folder(name) / f"{name}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o444)
        pieces, blocks = Pieces(), Blocks()
        pieces.update(memoryview(body))
        blocks.update(memoryview(body))
        sha256 = hashlib.sha256(body).hexdigest()
        entry = LockEntry(
            name, f"https://h/{name}.bin", len(body), sha256, Trust.FIRST_USE, (), pieces_field(pieces.digest())
        )
        self.entries[name] = entry
        if table:
            keep_table(sha256, len(body), pieces.digest(), self.places)
        self.sums[sha256] = blocks.digest()
        if age is not None:
            self.records.append(self.record(entry, path, NOW - age))
        return path

    def record(self, entry: LockEntry, path: Path, at: float) -> FileRecord:
        count = -(-entry.size // PIECE)
        ages = Ages.whole(count, at).to_json()
        key = str(path.relative_to(self.places.store))
        mark = stamp(path.stat())
        return FileRecord(
            key,
            entry.name,
            entry.sha256,
            entry.size,
            mark,
            "first-use",
            (),
            entry.pieces or "",
            at,
            "intact",
            ages=ages,
        )

    def place(self) -> Workplace:
        return Workplace(self.places.store, self.manifest, self.places, Lock(dict(self.entries)), ())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[State]:
        lockfile.write(self.places.lock, Lock(self.entries))
        with State(self.places.database) as state:
            await state.do(lambda database: save_files(database, self.records))
            for sha256, sums in self.sums.items():
                await state.do(lambda database, sha256=sha256, sums=sums: save_sums(database, sha256, sums))  # type: ignore[misc]
            yield state

    async def tell(self, judged: Judged) -> None:
        self.found.append(judged)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("scrub", "reading", "judging", "trees"):
        monkeypatch.setattr(f"ckptd.service.{module}.time", made)
    return made


class Reads:
    """Which pieces were read, by the path and the offset of their first chunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces: Counter[tuple[str, int]] = Counter()
        self.fails: Callable[[str, int], int | None] = lambda name, at: None
        real = os.preadv

        def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}")).removesuffix(".bin")
            if offset % PIECE == 0:
                self.pieces[name, offset // PIECE] += 1
            code = self.fails(name, offset)
            if code is not None:
                raise OSError(code, os.strerror(code))
            return real(fd, buffers, offset)

        monkeypatch.setattr(medium, "os", SimpleNamespace(**{**vars(os), "preadv": preadv}))

    def of(self, name: str) -> int:
        return sum(count for (each, _), count in self.pieces.items() if each == name)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def live(shelf: Shelf, state: State, clock: Clock, seconds: float) -> Timed:
    """Scrub for `seconds` of simulated time."""
    told: list[events.Event] = []
    scrub = Timed(shelf.place, state, told.append, shelf.tell)
    scrub.told = told
    scrub.clock, scrub.limit, scrub.rests = clock, clock.now - NOW + seconds, []
    async with asyncio.timeout(60):
        with suppress(OverError):
            try:
                await scrub.run()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
    return scrub


def damage(path: Path, offset: int, data: bytes, *, traceless: bool = True) -> None:
    """Write into a stored file; `traceless` leaves its times as they were, as a disk does."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    path.chmod(0o444)
    if traceless:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def record_of(state: State, name: str) -> FileRecord:
    return (await state.do(load_files))[f"{name}/{name}.bin"]


def grow(shelf: Shelf, name: str) -> Path:
    """A file's tree, with one member, last verified long ago."""
    entry, tree = shelf.entries[name], shelf.places.tree(name)
    (tree / "m").mkdir(parents=True)
    (tree / "m/f").write_bytes(SMALL)
    (tree / "m/f").chmod(0o444)
    for folder in (tree, tree / "m"):
        folder.chmod(0o755)
    listed = scan(tree, lambda count: None).tree
    save_tree(listed, shelf.places.trees, entry.sha256)
    path, at, mark = tree_key(name), NOW - 6.9 * DAY, tree_mark(shelf.places, name)
    shelf.records.append(
        FileRecord(
            path, name, entry.sha256, listed.size, mark, "", (), "", at, "intact", ages=Ages.whole(1, at).to_json()
        )
    )
    return tree


# --- the ordinary course ---------------------------------------------------------------------------------------------


async def test_every_piece_is_read_in_time(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    shelf.add("a", BODY)
    shelf.add("b", SMALL)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 30 * DAY)
        held = promise.standing(shelf.place().lock, await state.do(load_files), 7 * DAY, clock.now)
        visits = await state.do(lambda database: [row.visit for row in rows(database)])
    assert held.kept
    assert shelf.found == []
    assert {visit.verdict for visit in visits} == {"intact"}
    for piece, count in reads.pieces.items():
        assert 4 <= count <= 10, (piece, count)
    assert len(reads.pieces) == 4


async def test_an_empty_store_rests(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    async with shelf.opened() as state:
        scrub = await live(shelf, state, clock, 2 * DAY)
    assert not reads.pieces
    assert 1 <= len(scrub.rests) <= 200
    assert "nothing to verify" in scrub.doing.why


async def test_killed_fifty_times_it_still_reaches_every_byte(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    """A slow disk, a megabyte a second, and lives of a few seconds: what was read before is not read again."""
    chance = random.Random(5)  # noqa: S311
    shelf.add("a", BODY, age=6.5 * DAY)
    shelf.add("b", SMALL, age=6.5 * DAY)
    loop, left = asyncio.get_running_loop(), [0]
    task: asyncio.Future[Timed] = loop.create_future()

    def age(name: str, at: int) -> int | None:
        del name, at
        clock.now += 1
        left[0] -= 1
        if left[0] == 0:
            loop.call_soon_threadsafe(task.cancel)
        return None

    reads.fails = age
    async with shelf.opened() as state:
        for _ in range(50):
            left[0] = chance.randrange(1, 40)
            task = asyncio.ensure_future(live(shelf, state, clock, 60))
            with suppress(asyncio.CancelledError):
                await task
            clock.now += 300
        held = promise.standing(shelf.place().lock, await state.do(load_files), 7 * DAY, clock.now)
    assert held.kept
    assert max(reads.pieces.values()) < 40


# --- damage ----------------------------------------------------------------------------------------------------------


async def test_damage_is_told_once(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    path = shelf.add("a", BODY, age=4 * DAY)
    damage(path, PIECE + 5 * 65536, b"x" * 4096)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        record = await record_of(state, "a")
        visits = await state.do(lambda database: [row.visit.verdict for row in rows(database)])
    assert [judged.outcome.state for judged in shelf.found] == ["corrupt"]
    outcome = shelf.found[0].outcome
    assert outcome.damage is not None
    assert [(each.offset, each.length) for each in outcome.damage] == [(PIECE + 5 * 65536, 65536)]
    assert record.verdict == "corrupt"
    assert visits.count("corrupt") == 1
    assert reads.of("a") <= 8  # each piece once, the bad one again from the medium, and examined


async def test_a_tree_that_others_may_write(shelf: Shelf, clock: Clock) -> None:
    """No damage: its modes are set right, and that is told."""
    shelf.add("a", SMALL)
    tree = grow(shelf, "a")
    (tree / "m").chmod(0o777)
    (tree / "m/f").chmod(0o666)
    async with shelf.opened() as state:
        scrub = await live(shelf, state, clock, 3 * DAY)
        record = (await state.do(load_files))[tree_key("a")]
    assert ((tree / "m").stat().st_mode & 0o7777, (tree / "m/f").stat().st_mode & 0o7777) == (0o755, 0o444)
    assert shelf.found == []
    assert record.verdict == "intact"
    told = [event.text for event in scrub.told if isinstance(event, events.Noted)]
    assert len(told) == 1
    assert "set right (m, m/f)" in told[0]


async def test_a_link_in_place_of_a_tree(shelf: Shelf, clock: Clock, tmp_path: Path) -> None:
    """Damage, noted and told; what it leads to is not read."""
    shelf.add("a", SMALL)
    tree = grow(shelf, "a")
    tree.rename(tmp_path / "away")
    tree.symlink_to(tmp_path / "away")
    async with shelf.opened() as state:
        await live(shelf, state, clock, 3 * DAY)
        record = (await state.do(load_files))[tree_key("a")]
    assert record.verdict == "corrupt"
    found = shelf.found[0].outcome
    assert (found.state, found.tree_only) == ("corrupt", True)
    assert "a link stands in its place" in (found.error.message if found.error is not None else "")


async def test_damage_that_stays_is_told_now_and_then(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    path = shelf.add("a", BODY, age=4 * DAY)
    damage(path, 0, b"x" * 4096)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 14 * DAY)
    assert 2 <= len(shelf.found) <= 5
    assert reads.of("a") <= 5 * 8


async def test_what_is_damaged_is_not_called_intact_for_its_other_pieces(shelf: Shelf, clock: Clock) -> None:
    """After damage was found, the other pieces come of age first, and are as good as ever."""
    path = shelf.add("a", BODY, age=4 * DAY)
    damage(path, 2 * PIECE, b"x" * 4096)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).verdict == "corrupt"
        record = await record_of(state, "a")
        ages = Ages.from_json(record.ages).mark(0, 1, clock.now - 4 * DAY)  # only the first piece is due
        await state.do(lambda database: save_files(database, [replace(record, ages=ages.to_json())]))
        await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).verdict == "corrupt"
    assert len(shelf.found) == 1


async def test_a_mended_file_is_intact_again(shelf: Shelf, clock: Clock) -> None:
    path = shelf.add("a", BODY, age=4 * DAY)
    good = path.read_bytes()[PIECE : PIECE + 4096]
    damage(path, PIECE, b"x" * 4096)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        damage(path, PIECE, good)
        await live(shelf, state, clock, 8 * DAY)
        assert (await record_of(state, "a")).verdict == "intact"
    assert len(shelf.found) == 1


async def test_who_did_it_is_still_known_when_the_damage_is_come_to(shelf: Shelf, clock: Clock) -> None:
    """A program wrote to it; pieces that are still good are read first, and must not make it look untouched."""
    path = shelf.add("a", BODY, age=0.0)
    damage(path, 2 * PIECE, b"x" * 4096, traceless=False)
    async with shelf.opened() as state:
        record = await record_of(state, "a")
        ages = Ages.from_json(record.ages).mark(0, 1, NOW - 4 * DAY)
        await state.do(lambda database: save_files(database, [replace(record, ages=ages.to_json())]))
        await live(shelf, state, clock, 7 * DAY)
    (found,) = shelf.found
    assert found.outcome.case is not None
    assert "A program wrote to it" in found.outcome.case.summary


async def test_a_touched_file_is_good_only_when_all_of_it_was_read(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    path = shelf.add("a", BODY, age=0.0)
    os.utime(path, (1, 1))
    marks: list[tuple[str, int]] = []
    async with shelf.opened() as state:
        record = await record_of(state, "a")
        ages = Ages.from_json(record.ages).mark(0, 1, NOW - 4 * DAY)
        await state.do(lambda database: save_files(database, [replace(record, ages=ages.to_json())]))
        real = state.do

        async def watched(work: Callable[..., object], *, durable: bool = False) -> object:
            done = await real(work, durable=durable)
            now = (await real(load_files))["a/a.bin"]
            marks.append((now.stamp, sum(reads.pieces.values())))
            return done

        state.do = watched  # type: ignore[method-assign,assignment]
        await live(shelf, state, clock, 7 * DAY)
        state.do = real  # type: ignore[method-assign]
        assert (await record_of(state, "a")).stamp == stamp(path.stat())
    early = [count for mark, count in marks if mark == stamp(path.stat()) and count < 3]
    assert not early, "believed before all of it was read"
    assert shelf.found == []
    assert reads.of("a") <= 6


# --- what cannot be read ---------------------------------------------------------------------------------------------


async def test_a_missing_file_does_not_spin(shelf: Shelf, clock: Clock) -> None:
    shelf.add("a", SMALL, age=4 * DAY).unlink()
    shelf.add("b", SMALL, age=4 * DAY)
    async with shelf.opened() as state:
        scrub = await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).verdict == "missing"
        assert (await record_of(state, "b")).verified_at > NOW - 1
    assert [judged.outcome.state for judged in shelf.found] == ["missing"]
    assert len(scrub.rests) < 200


async def test_a_file_that_vanishes_while_it_is_read(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    path = shelf.add("a", BODY, age=4 * DAY)

    def vanish(name: str, at: int) -> int | None:
        if at == PIECE:
            path.unlink(missing_ok=True)
        return None

    reads.fails = vanish
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
    assert [judged.outcome.state for judged in shelf.found] == ["missing"]


@pytest.mark.parametrize("at", [0, 5 * MIB], ids=["its first byte", "its middle"])
async def test_a_bad_sector_is_told_and_does_not_spin(shelf: Shelf, clock: Clock, reads: Reads, at: int) -> None:
    shelf.add("a", BODY, age=4 * DAY)
    reads.fails = lambda name, offset: errno.EIO if offset == PIECE + at else None
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).verdict == "unreadable"
    assert [judged.outcome.state for judged in shelf.found] == ["unreadable"]
    assert reads.of("a") < 20


async def test_a_disk_that_reads_nothing_at_all(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    shelf.add("a", SMALL, age=4 * DAY)
    reads.fails = lambda name, offset: errno.EIO
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
    assert [judged.outcome.state for judged in shelf.found] == ["unreadable"]


async def test_a_flicker_is_no_damage(shelf: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read wrong once and right the second time."""
    shelf.add("a", SMALL, age=4 * DAY)
    real, told, wrong = os.preadv, list[events.Event](), [True]

    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        count = real(fd, buffers, offset)
        if wrong:
            wrong.pop()
            buffers[0][7] ^= 1
        return count

    monkeypatch.setattr(medium, "os", SimpleNamespace(**{**vars(os), "preadv": preadv}))
    async with shelf.opened() as state:
        scrub = Timed(shelf.place, state, told.append, shelf.tell)
        scrub.clock, scrub.limit, scrub.rests = clock, DAY, []
        with pytest.raises(OverError):
            await scrub.run()
        assert (await record_of(state, "a")).verdict == "intact"
    assert shelf.found == []
    notes = [event.text for event in told if isinstance(event, events.Noted)]
    assert len(notes) == 1
    assert "suspect memory" in notes[0]


# --- what is known ---------------------------------------------------------------------------------------------------


async def test_nothing_is_known(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    """The state was lost: everything is read once, soon, and then it is known again."""
    shelf.add("a", BODY, age=None)
    shelf.add("b", SMALL, age=None)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 6 * DAY)
        held = promise.standing(shelf.place().lock, await state.do(load_files), 7 * DAY, clock.now)
    assert held.kept
    assert set(reads.pieces.values()) <= {1, 2}


@pytest.mark.parametrize("age", [None, 2000.0], ids=["never read", "read once"])
async def test_others_need_the_disk_all_the_time(
    shelf: Shelf, clock: Clock, reads: Reads, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    """It waits as long as it can, and not longer: also with what was never read, and over restarts."""

    def busy(scrub: Scrub, *, reading: bool) -> None:
        del reading
        scrub._gate = Gate(mode=Mode.CLOSED, why="others wait")

    monkeypatch.setattr(Scrub, "_look", busy)
    shelf.add("a", SMALL, age=age)
    shelf.manifest = replace(shelf.manifest, verify=replace(shelf.manifest.verify, max_age=7200))
    async with shelf.opened() as state:
        for _ in range(10):
            await live(shelf, state, clock, 200)
        assert not reads.pieces
        for _ in range(10):
            await live(shelf, state, clock, 500)
        held = promise.standing(shelf.place().lock, await state.do(load_files), 7200, clock.now)
    assert held.kept


async def test_a_lock_that_was_put_back(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    """What is recorded is about other bytes than the lock names: it is read once, and noted, not over and over."""
    path = shelf.add("a", SMALL)
    shelf.records = [replace(shelf.record(shelf.entries["a"], path, NOW), sha256="e" * 64)]
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).sha256 == shelf.entries["a"].sha256
    assert reads.of("a") == 1


async def test_published_and_not_yet_seen_under_its_name(shelf: Shelf, clock: Clock, reads: Reads) -> None:
    """The power went between the note and the rename: what lies there was not verified."""
    path = shelf.add("a", SMALL)
    shelf.records = [replace(shelf.records[0], pending=True, stamp="1:2:3")]
    damage(path, 0, b"x")
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
    assert [judged.outcome.state for judged in shelf.found] == ["corrupt"]
    assert reads.of("a") <= 4


async def test_without_a_table_the_whole_is_read_and_the_table_made_again(
    shelf: Shelf, clock: Clock, reads: Reads
) -> None:
    shelf.add("a", BODY, age=4 * DAY, table=False)
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
        assert (await record_of(state, "a")).verdict == "intact"
    assert shelf.found == []
    assert (shelf.places.pieces / shelf.entries["a"].sha256).exists()
    assert reads.of("a") == 3


# --- waking and ending -----------------------------------------------------------------------------------------------


async def test_it_wakes_when_something_changed(shelf: Shelf, reads: Reads) -> None:
    async with shelf.opened() as state:
        scrub = Scrub(shelf.place, state, lambda event: None, shelf.tell)
        task = asyncio.ensure_future(scrub.run())
        async with asyncio.timeout(20):
            while "nothing to verify" not in scrub.doing.why:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            shelf.add("a", SMALL, age=None)
            scrub.wake()
            while not reads.pieces:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("table", [True, False], ids=["by pieces", "as a whole"])
async def test_it_ends_in_the_middle_of_a_piece(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, table: bool) -> None:
    """Whoever stops it does not wait for a whole file to be read."""
    shelf.add("a", BODY, age=None, table=table)
    loop, chunks = asyncio.get_running_loop(), list[int]()
    real = os.preadv

    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        chunks.append(offset)
        if len(chunks) == 2:
            asyncio.run_coroutine_threadsafe(stop(), loop).result()
        return real(fd, buffers, offset)

    async def stop() -> None:
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)

    monkeypatch.setattr(medium, "os", SimpleNamespace(**{**vars(os), "preadv": preadv}))
    async with shelf.opened() as state:
        task = asyncio.ensure_future(Scrub(shelf.place, state, lambda event: None, shelf.tell).run())
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(chunks) <= 3


async def test_a_slow_rate_does_not_hold_up_the_end(shelf: Shelf) -> None:
    shelf.manifest = replace(shelf.manifest, verify=replace(shelf.manifest.verify, rate=1.0, max_age=1e9))
    shelf.add("a", BODY, age=6e8)
    async with shelf.opened() as state:
        scrub = Scrub(shelf.place, state, lambda event: None, shelf.tell)
        task = asyncio.ensure_future(scrub.run())
        async with asyncio.timeout(20):
            while not scrub.doing.name:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


# --- the page cache --------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


def resident(path: Path) -> bytes:
    """A byte a page: whether the kernel holds it (mincore(2))."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        anchor = ctypes.c_char.from_buffer(view)
        vector = ctypes.create_string_buffer(-(-len(view) // mmap.PAGESIZE))
        assert _libc.mincore(ctypes.addressof(anchor), len(view), vector) == 0
        del anchor
        return bytes(byte & 1 for byte in vector.raw[: -(-path.stat().st_size // mmap.PAGESIZE)])


async def test_the_page_cache_stays_as_it_was(shelf: Shelf, clock: Clock, reads: Reads, tmp_path: Path) -> None:
    paths = [shelf.add("a", BODY, age=4 * DAY), shelf.add("b", BODY, age=4 * DAY), tmp_path / "other"]
    paths[2].write_bytes(BODY)
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, len(BODY), 8 * MIB):
            if path != paths[1]:
                os.pread(fd, 4 * MIB, at)
        os.close(fd)
    before = [resident(path) for path in paths]
    if all(before[1]):
        pytest.skip("this filesystem's cache cannot be emptied")
    async with shelf.opened() as state:
        await live(shelf, state, clock, 2 * DAY)
    assert reads.of("a") == reads.of("b") == 3
    for path, then in zip(paths, before, strict=True):
        now = resident(path)
        dropped, brought = (
            sum(a > b for a, b in pairs) for pairs in (zip(then, now, strict=True), zip(now, then, strict=True))
        )
        assert brought == 0, path
        assert dropped <= sum(then) // 10, path  # the kernel itself may have needed some room

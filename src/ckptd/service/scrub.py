"""The scrub: reading what is kept, oldest first, so that nothing gets older than promised, for as long as it runs.

When to read what is `core.schedule`'s decision, whether others need the disk `core.pressure`'s; reading and judging is
`service.reading`. What becomes of damage is whoever runs this one's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection

from ckptd.core import events
from ckptd.core.ages import Ages, Kept
from ckptd.core.audit import EXIT_STATUS
from ckptd.core.models import LockEntry, Outcome
from ckptd.core.pressure import Gate
from ckptd.core.schedule import GRAINS, Haste, Read, Rest, Stretch, decide
from ckptd.errors import CkptdError
from ckptd.service import trees
from ckptd.service.judging import UNREAD, Judged, Reading
from ckptd.service.promise import kept_files, unread
from ckptd.service.reading import Reader
from ckptd.service.workplace import Workplace
from ckptd.store.history import add_history
from ckptd.store.places import Places
from ckptd.store.publish import stamp
from ckptd.store.records import FileRecord, load_files, save_verdict, tree_key
from ckptd.store.state import State
from ckptd.store.weather import weather

SAVE_EVERY = 5.0  # seconds between two notes of how far a stint has come
LOOK_EVERY = 1.0  # seconds between two looks at the machine's pressure while reading
TREE = "/tree"
MISSED = 1.0  # seconds to wait when nothing could be read after all
KEEP_SPEED = 0.7  # how much of the measured speed stays when a new measure comes


@dataclass(slots=True)
class Doing:
    """What the scrub is at, for whoever watches."""

    name: str = ""  # of the file that is read; empty while resting
    why: str = "starting"
    urgent: bool = False
    shortfall: int = 0  # bytes that will be older than promised in any case


class Scrub:
    """Scrubs the store that `place()` describes, now and after every change of manifest or lock."""

    def __init__(
        self,
        place: Callable[[], Workplace],
        state: State,
        emit: events.Emit,
        found: Callable[[Judged], Awaitable[None]],
    ) -> None:
        self.doing = Doing()
        self.seen = _unseen  # told of every file that was read to its end and is good
        self._place = place
        self._state = state
        self._emit = emit
        self._found = found
        self._gate = Gate()
        self._done = 0  # bytes read since the start
        self._speed: float | None = None
        self._haste = Haste.NONE
        self._rest_until = 0.0  # monotonic seconds
        self._changed = asyncio.Event()
        self._read: dict[str, tuple[int, float]] = {}  # bytes and seconds of the present round, by name

    @property
    def scrubbed(self) -> int:
        """Bytes read since the start, what is being read now not among them."""
        return self._done

    def wake(self) -> None:
        """Something has changed (manifest, lock, files): look again now."""
        self._changed.set()

    async def run(self) -> None:
        """Scrub until cancelled. Raises StorageError when the state cannot be written."""
        with Reader(self._place().places, {}, self._emit, rate=None, action="scrub") as reader:
            await self._doubt()
            while True:
                seconds = await self._turn(reader)
                if seconds > 0:
                    await self._sleep(seconds)

    async def _doubt(self) -> None:
        """What an earlier run was about to publish, and what does not stand under its name, was not verified."""
        store, now = self._place().places.store, time.time()

        def forget(database: Connection) -> None:
            for record in load_files(database).values():
                if record.pending and record.verdict == "intact" and not _stands(store / record.path, record.stamp):
                    save_verdict(database, replace(record, verdict=UNREAD, ages=Ages((), (), now).to_json()))

        await self._state.do(forget)

    async def _turn(self, reader: Reader) -> float:
        """Decide once, and act; seconds to rest afterwards."""
        place = self._place()
        settings = place.manifest.verify
        records = await self._state.do(load_files)
        reader.know(place.places, records)
        now = time.time()
        files = await self._settled(place, records, now, settings.max_age)
        reader.grain = settings.max_age / GRAINS
        self._gate = replace(self._gate, io=settings.io_pressure, memory=settings.memory_pressure)
        self._look(reading=False)
        decision = decide(
            settings,
            files,
            now=now,
            minute=_minute(),
            speed=self._speed,
            pause=self._gate.why if self._gate.paused else "",
            rest=max(0.0, self._rest_until - time.monotonic()),
            last=self._haste,
        )
        self._haste = decision.haste
        if isinstance(decision, Rest):
            self.doing = Doing(why=decision.why)
            return decision.seconds
        begun, before = time.monotonic(), self._done
        await self._stint(reader, place, decision)
        self._look(reading=True)
        share = min(1.0, (self._done - before) / decision.size) if decision.size else 1.0
        self._rest_until = begun + decision.seconds * share
        return 0.0 if self._done > before else MISSED

    async def _stint(self, reader: Reader, place: Workplace, decision: Read) -> None:
        """Read what was decided, as long as it may be read."""
        until = time.monotonic() + decision.within
        reader.limit(decision.rate)
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch(decision))
            for stretch in decision.stretches:
                if time.monotonic() >= until or self._held(decision):
                    break
                self.doing = Doing(stretch.name, decision.why, decision.urgent, decision.shortfall)
                await self._stretch(reader, place, stretch, decision, until)
            watcher.cancel()

    async def _stretch(self, reader: Reader, place: Workplace, stretch: Stretch, decision: Read, until: float) -> None:
        if stretch.name.endswith(TREE):
            await self._tree(reader, place, place.lock.entries[stretch.name.removesuffix(TREE)])
            return
        entry = place.lock.entries[stretch.name]
        self._emit(events.Started(entry.name, entry.size))
        try:
            reading = reader.begin(entry, range(stretch.first, stretch.end), sha256=False)
        except OSError as error:
            await self._settle(await reader.judge.unread(entry, error))
            return
        units = iter([None] if reading.table is None else reading.wanted)
        saved = begun = time.monotonic()

        async def work() -> None:
            nonlocal saved
            for index in units:
                if time.monotonic() >= until or self._held(decision):
                    return
                await reader.read(reading, index)
                if time.monotonic() - saved >= SAVE_EVERY:
                    saved = time.monotonic()
                    await self._save_so_far(reader, reading)

        async with asyncio.TaskGroup() as group:
            for _ in range(reader.threads if decision.urgent else 1):
                group.create_task(work())
        if not reading.pieces and reading.whole is None and reading.error is None:
            return
        self._done += reading.count
        self._measure(reading, time.monotonic() - begun, limited=decision.rate is not None)
        await self._settle(await reader.conclude(reading), reading)

    async def _tree(self, reader: Reader, place: Workplace, entry: LockEntry) -> None:
        """Read the unpacked tree of a checkpoint, as a whole."""
        record, places = reader.files.records[tree_key(entry.name)], place.places
        progress = reader.progress(entry.name)
        outcome = Outcome(entry.name, "intact", entry.size, entry.sha256, entry.trust, str(places.tree(entry.name)))
        audited = await reader.thread(lambda: trees.audit(places, entry, record, "scrub", progress))
        self._done += record.size

        def save(database: Connection) -> None:
            save_verdict(database, audited.record)
            add_history(database, [audited.visit])

        await self._state.do(save)
        merged = trees.with_tree(outcome, audited)
        if merged.exit_status != EXIT_STATUS["intact"]:
            await self._found(Judged(merged))
        elif merged.loose:
            await self._tighten(reader, places, merged)

    async def _tighten(self, reader: Reader, places: Places, outcome: Outcome) -> None:
        """Set the modes in a tree right that is intact otherwise, and say so."""
        try:
            notes = await reader.thread(lambda: trees.tightened(places, outcome.name))
        except CkptdError as error:
            notes = (*outcome.notes, f"{error.message}; {error.hint}")
        for note in notes:
            self._emit(events.Noted(outcome.name, note))

    def _held(self, decision: Read) -> bool:
        return self._gate.paused and decision.haste < Haste.ANY_LOAD

    def _measure(self, reading: Reading, seconds: float, *, limited: bool) -> None:
        """How fast this disk is read, as long as nothing but the disk held it up."""
        if limited or seconds < 0.05:
            return
        speed = reading.count / seconds
        self._speed = speed if self._speed is None else KEEP_SPEED * self._speed + (1 - KEEP_SPEED) * speed

    async def _settled(
        self, place: Workplace, records: Mapping[str, FileRecord], now: float, max_age: float
    ) -> list[Kept]:
        """What is kept, with times that a wrong clock noted made harmless; that is remembered, too."""
        files, changed = [], []
        for kept in kept_files(place.lock, records):
            ages = kept.ages.settled(now, max_age)
            files.append(kept if ages is kept.ages else replace(kept, ages=ages))
            if ages is not kept.ages:
                entry = place.lock.entries[kept.name.removesuffix(TREE)]
                changed.append(unread(kept.name, entry, records, ages))
        if changed:

            def save(database: Connection) -> None:
                for record in changed:
                    save_verdict(database, record)

            await self._state.do(save)
        return files

    # --- what came of it -----------------------------------------------------------------------------------------

    async def _save_so_far(self, reader: Reader, reading: Reading) -> None:
        record = reader.judge.so_far(reading)
        if record is not None:
            await self._state.do(lambda database: save_verdict(database, record))

    async def _settle(self, judged: Judged, reading: Reading | None = None) -> None:
        """Note the verdict: in the history once a round, when all of a file has been read again, or is not good."""
        outcome, visit = judged.outcome, judged.visit
        size, seconds = self._read.get(outcome.name, (0, 0.0))
        if visit is not None:
            size, seconds = size + visit.bytes, seconds + visit.seconds
        self._read[outcome.name] = size, seconds
        good = outcome.exit_status == EXIT_STATUS["intact"]
        rounded = reading is None or not good or size >= reading.entry.size

        def save(database: Connection) -> None:
            judged.save(database)
            if rounded and visit is not None:
                add_history(database, [replace(visit, bytes=size, seconds=seconds)])

        await self._state.do(save, durable=not good)
        if rounded:
            self._read.pop(outcome.name, None)
        for note in outcome.notes:
            self._emit(events.Noted(outcome.name, note))
        if not good:
            await self._found(judged)
        elif rounded:
            self.seen(outcome)

    # --- time and weather ----------------------------------------------------------------------------------------

    async def _watch(self, decision: Read) -> None:
        """Look at the machine's pressure while we read."""
        del decision
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._look(reading=True)

    def _look(self, *, reading: bool) -> None:
        if self._gate.io is not None or self._gate.memory is not None:
            self._gate = self._gate.step(time.monotonic(), weather(), reading=reading)

    async def _sleep(self, seconds: float) -> None:
        """Rest, unless something changes; meanwhile the gate is looked at as often as it wants to be."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._changed.is_set():
            try:
                async with asyncio.timeout(min(left, LOOK_EVERY) if self._gate.paused else left):
                    await self._changed.wait()
            except TimeoutError:
                self._look(reading=False)
        self._changed.clear()


def _stands(path: Path, mark: str) -> bool:
    try:
        return stamp(path.lstat()) == mark
    except OSError:
        return False


def _unseen(outcome: Outcome) -> None:
    """Nobody wants to know what is well."""
    del outcome


def _minute() -> float:
    """Minutes after local midnight, by the clock on the wall."""
    local = datetime.now().astimezone()
    return local.hour * 60 + local.minute + local.second / 60

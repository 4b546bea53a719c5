"""One pass of `verify`: every locked byte, or every byte that is due, on all cores. No network, no damage done.

Decides what is read in which order, and sees to it that what was found is remembered: every few seconds, so that an
audit that is stopped need not begin again. Reading and judging is `service.reading`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from sqlite3 import Connection

from ckptd.core import events
from ckptd.core.ages import Ages
from ckptd.core.audit import EXIT_STATUS, piece_count
from ckptd.core.models import LockEntry, Outcome, Problem
from ckptd.core.urls import file_name
from ckptd.errors import CkptdError
from ckptd.service import trees
from ckptd.service.judging import UNREAD, Judged, Reading
from ckptd.service.reading import Reader
from ckptd.service.sync import finished
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, state
from ckptd.store.history import add_history
from ckptd.store.opening import LOST, begin_anew
from ckptd.store.records import FileRecord, save_verdict, tree_key, trouble

SAVE_EVERY = 5.0  # seconds between two notes of how far an audit has come


class Audit:
    """Reads locked files and says what they are. `sha256`: compare the SHA-256 even where piece digests would do.

    `settled` is told each outcome at once.
    """

    def __init__(
        self,
        workplace: Workplace,
        emit: events.Emit,
        *,
        sha256: bool,
        settled: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._workplace = workplace
        self._emit = emit
        self._settled = settled
        self._sha256 = sha256
        self._records = inventory.records(workplace.places)
        self._outcomes: dict[str, Outcome] = {}
        self._judged: list[Judged] = []  # not yet noted in the state
        self._open: dict[str, Reading] = {}
        self._noted: set[str] = set()
        self._trees: dict[str, FileRecord] = {}  # that are still to be read: until then their checkpoints are not told
        self._lost = False  # there was no database, though there are locked files

    async def run(self, wanted: Iterable[str] | None, *, older_than: float | None = None) -> list[Outcome]:
        """Verify what is locked (only `wanted` names, if given), and say what is not.

        With `older_than` seconds, only what was not found intact since then.
        """
        chosen = self._chosen(wanted)
        for name in chosen:
            if name not in self._workplace.lock.entries:
                self._tell(_unlocked(name))
        entries = [entry for name, entry in sorted(self._workplace.lock.entries.items()) if name in chosen]
        self._warn(entries)
        rate = self._workplace.manifest.verify.rate
        with Reader(self._workplace.places, self._records, self._emit, rate=rate, action="verify") as reader:
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._keep(reader))
                try:
                    await self._read_all(reader, entries, older_than)
                finally:
                    keeper.cancel()
                    reader.stop()
                    await self._remember(reader)
        return [self._outcomes[name] for name in sorted(self._outcomes)]

    async def _read_all(self, reader: Reader, entries: Iterable[LockEntry], older_than: float | None) -> None:
        due = [(entry, pieces) for entry in entries if (pieces := self._due(reader, entry, older_than)) != ()]
        for entry, _ in due:
            self._emit(events.Queued(entry.name, entry.size, ""))
            if (record := self._tree(entry)) is not None:
                self._trees[entry.name] = record
        # A whole file keeps one thread busy for long: the longest first, and the threads end together.
        due.sort(key=lambda each: (-each[0].size if self._sha256 else 0, each[0].name))
        units = self._units(reader, due)
        async with asyncio.TaskGroup() as group:
            for _ in range(reader.threads):
                group.create_task(self._work(reader, units))
        await self._audit_trees(reader, [entry for entry, _ in due])

    def _warn(self, entries: Sequence[LockEntry]) -> None:
        """Say so where all that was known is lost."""
        database = self._workplace.places.database
        if not os.access(self._workplace.places.state, os.W_OK):
            said, _ = trouble(database)  # who may write sets it aside, and says that
        elif entries and not database.exists():
            said, self._lost = f"{database} is not there: everything is due again, and it is made anew", True
        else:
            said = ""
        if said:
            self._emit(events.Noted("state", said))

    def _chosen(self, wanted: Iterable[str] | None) -> set[str]:
        selected = {checkpoint.name for checkpoint in self._workplace.selected}
        # Without names also what the lock still has and the manifest does not: those bytes are kept, too.
        return selected if wanted else selected | set(self._workplace.lock.entries)

    def _due(self, reader: Reader, entry: LockEntry, older_than: float | None) -> tuple[int, ...] | None:
        """The pieces to read; None for all of them."""
        try:
            record = reader.files.as_read(entry, reader.files.opened(entry).lstat())
        except OSError:
            return None
        if older_than is None or record is None or record.verdict not in {"intact", UNREAD}:
            return None
        count, now = piece_count(entry.size), time.time()
        if not count:
            return () if now - older_than <= record.verified_at <= now else None
        spans = Ages.from_json(record.ages).due(count, now - older_than, now)
        return tuple(sorted(index for first, end in spans for index in range(first, end)))

    def _units(
        self, reader: Reader, due: Iterable[tuple[LockEntry, tuple[int, ...] | None]]
    ) -> Iterator[tuple[Reading | LockEntry, int | None, OSError | None]]:
        """What to read, a piece (or, as None, a whole file) at a time; shared by all threads."""
        for entry, wanted in due:
            self._emit(events.Started(entry.name, entry.size))
            path = f"{entry.name}/{file_name(entry.url)}"
            if inventory.archive_dropped(self._workplace.places, path, entry.sha256, self._records):
                self._tell(_tree_kept(entry, self._workplace))
                continue
            try:
                reading = reader.begin(entry, wanted, sha256=self._sha256)
            except OSError as error:
                yield entry, None, error
                continue
            self._open[entry.name] = reading
            if reading.table is None:
                yield reading, None, None
            else:
                yield from ((reading, index, None) for index in reading.wanted)

    async def _work(
        self, reader: Reader, units: Iterator[tuple[Reading | LockEntry, int | None, OSError | None]]
    ) -> None:
        for unit, index, error in units:
            if isinstance(unit, LockEntry):
                self._settle(await reader.judge.unread(unit, error or OSError()))
                continue
            await reader.read(unit, index)
            if unit.left == 0:
                judged = await reader.conclude(unit)
                self._open.pop(unit.entry.name, None)
                self._settle(judged)

    async def _audit_trees(self, reader: Reader, entries: Sequence[LockEntry]) -> None:
        """Read the unpacked trees of these, too; many at once."""
        waiting = iter([(entry, self._trees[entry.name]) for entry in entries if entry.name in self._trees])

        async def work() -> None:
            for entry, record in waiting:
                await self._audit_tree(reader, entry, record)

        async with asyncio.TaskGroup() as group:
            for _ in range(reader.threads):
                group.create_task(work())

    def _tree(self, entry: LockEntry) -> FileRecord | None:
        record = self._records.get(tree_key(entry.name))
        return record if record is not None and record.sha256 == entry.sha256 else None

    async def _audit_tree(self, reader: Reader, entry: LockEntry, record: FileRecord) -> None:
        outcome, places = self._outcomes[entry.name], self._workplace.places
        progress = reader.progress(entry.name)
        audited = await reader.thread(lambda: trees.audit(places, entry, record, "verify", progress))
        self._judged.append(Judged(outcome, audited.record, audited.visit))
        del self._trees[entry.name]
        self._tell(trees.with_tree(outcome, audited))

    def _settle(self, judged: Judged) -> None:
        self._judged.append(judged)
        self._tell(judged.outcome)

    def _tell(self, outcome: Outcome) -> None:
        """Note an outcome, and say it: once, when all that belongs to a checkpoint has been judged."""
        self._outcomes[outcome.name] = outcome
        if outcome.name in self._trees:
            return
        if self._settled is not None:
            self._settled(outcome)
        self._emit(finished(outcome))
        for note in outcome.notes:
            self._emit(events.Noted(outcome.name, note))

    # --- remembering ---------------------------------------------------------------------------------------------

    async def _keep(self, reader: Reader) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY)
            await self._remember(reader)

    async def _remember(self, reader: Reader) -> None:
        """Note the verdicts, where we may: an auditor who can only read still gets an answer."""
        judged, self._judged = self._judged, []
        halfway = [record for reading in self._open.values() if (record := reader.judge.so_far(reading)) is not None]
        if not (judged or halfway) or not os.access(self._workplace.places.state, os.W_OK):
            return

        def save(database: Connection) -> None:
            if self._lost:
                begin_anew(database, LOST)
            for record in halfway:
                save_verdict(database, record)
            for each in judged:
                each.save(database)
            add_history(database, [each.visit for each in judged if each.visit is not None])

        with suppress(OSError):
            try:
                note = await asyncio.to_thread(state.write, self._workplace.places.database, save)
            except CkptdError as error:
                note = f"what was found is not remembered: {error.message}; {error.hint}"
            if note and note not in self._noted:
                self._noted.add(note)
                self._emit(events.Noted("state", note))


def _tree_kept(entry: LockEntry, workplace: Workplace) -> Outcome:
    """The outcome of an archive that is not kept, before its tree is looked at."""
    tree = str(workplace.places.tree(entry.name))
    return Outcome(entry.name, "intact", entry.size, entry.sha256, entry.trust, tree)


def _unlocked(name: str) -> Outcome:
    problem = Problem("storage", "it is not locked: it was never fetched", f"run `ckptd sync {name}`")
    return Outcome(name, "unlocked", error=problem, exit_status=EXIT_STATUS["unlocked"])

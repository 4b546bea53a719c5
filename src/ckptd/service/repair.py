"""Mending what `verify` found damaged: only the damaged ranges are fetched, and nothing goes before it is replaced.

A pass over the store (`service.fetch`) with other orders: which bytes of a file are good is known already, the damaged
ones are kept as evidence, and where nobody serves the locked bytes any more the policy says what becomes of them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

from ckptd.core import events, quarantine
from ckptd.core.models import Checkpoint, LockEntry, OnDamage, Outcome, Problem, Trust, Usage
from ckptd.core.plan import Check, Conflict, Fetch, Keep, Mend, Relock, in_place_hint
from ckptd.core.quarantine import Report
from ckptd.core.remedy import MENDABLE, remedy
from ckptd.core.urls import file_name
from ckptd.errors import CkptdError, DriftError, IntegrityError
from ckptd.service.fetch import Pass
from ckptd.service.sync import Task
from ckptd.service.tenancy import Tenancy
from ckptd.service.trees import loose_note, tightened
from ckptd.service.workplace import Workplace
from ckptd.store import history, inventory, state
from ckptd.store import quarantine as folder
from ckptd.store.records import FileRecord, read_only, tree_key

ROWS = 20  # of the history that go into a report


class Repair:
    """Mends the damaged among `outcomes` of an audit of `workplace`; with `locked` the lock stays as it is."""

    def __init__(
        self,
        workplace: Workplace,
        emit: events.Emit,
        outcomes: Sequence[Outcome],
        *,
        locked: bool = False,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._workplace = workplace
        self._places = workplace.places
        self._settings = workplace.manifest.verify
        self._emit = emit
        self._locked = locked
        self._tenancy = tenancy
        self._found = {outcome.name: outcome for outcome in outcomes}
        self._evidence: dict[str, Path] = {}
        self._held: set[str] = set()
        self._seen: set[str] = set()  # what the pass makes anew, or reads

    async def run(self, *, hold: bool = False) -> list[Outcome]:
        """The outcomes anew, after mending what could be; with `hold` after taking away what is damaged.

        Where nothing can be done at all (the store is somebody else's, a token cannot be read), they say why.
        """
        if hold:
            return [await self._take_away(outcome) for outcome in self._found.values()]
        for outcome in self._found.values():
            if outcome.loose:
                self._found[outcome.name] = await self._tightened(outcome)
        known = {checkpoint.name: checkpoint for checkpoint in self._workplace.manifest.checkpoints}
        self._found = {name: self._left(outcome, named=name in known) for name, outcome in self._found.items()}
        damaged = {name for name, outcome in self._found.items() if outcome.state in MENDABLE}
        damaged -= self._places.watched.keys()
        damaged -= {name for name in damaged - known.keys() if self._found[name].state == "missing"}
        records = await asyncio.to_thread(inventory.records, self._places)
        wanted = [
            _as_locked(known.get(name), entry, tree=has_tree(entry, records))
            for name in sorted(damaged)
            if (entry := self._workplace.lock.entries.get(name)) is not None
        ]
        if not wanted:
            return list(self._found.values())
        place = replace(self._workplace, selected=tuple(wanted))
        try:
            tasks = [Task.of(place, checkpoint) for checkpoint in wanted]
            work = Pass(place, self._emit, locked=self._locked, update=False, remedy=self, tenancy=self._tenancy)
            done = await work.run(tasks)
        except CkptdError as error:
            return [self._not_mended(outcome, error) for outcome in self._found.values()]
        records = await asyncio.to_thread(inventory.records, self._places)
        mended = {outcome.name: await self._settled(outcome, records) for outcome in done}
        await asyncio.to_thread(self._tidy)
        return [mended.get(name, outcome) for name, outcome in self._found.items()]

    async def _settled(self, done: Outcome, records: Mapping[str, FileRecord]) -> Outcome:
        """What is told of a checkpoint in the end; if the policy is to hold, what was not mended loses its name."""
        hold = self._settings.on_damage is OnDamage.HOLD and not self._found[done.name].tree_only
        if done.error is not None and hold and done.name not in self._held:
            return await self._take_away(self._found[done.name], f"{done.error.message}; ")
        return self._after(done, records)

    async def _take_away(self, found: Outcome, why: str = "") -> Outcome:
        """Damaged bytes lose their name at once: nobody is to read them, whatever can be had instead."""
        entry = self._workplace.lock.entries.get(found.name)
        if found.state not in {"corrupt", "unreadable"} or found.tree_only or entry is None:
            return found
        if found.name in self._places.watched:
            return self._left(found)
        final = self._places.folder(entry.name) / file_name(entry.url)
        try:
            report = self._report(entry, final, found, quarantine.Action.HELD)
            moved = await asyncio.to_thread(folder.move_in, self._places, report, final)
        except CkptdError as error:
            return self._not_mended(found, error)
        await self._note(entry, found, moved)
        case = None if found.case is None else replace(found.case, quarantine=str(moved))
        held = DriftError(f"{why}it was moved to {moved}, so that nobody reads it ([verify] on_damage)")
        return self._not_mended(replace(found, case=case), held)

    def _left(self, found: Outcome, *, named: bool = True) -> Outcome:
        """What is told of a file that nothing is done about: one that is watched in place stays as it is, and one that
        is not there is not fetched when the manifest does not name it any more (it may have been watched)."""
        if found.name in self._places.watched and not found.tree_only:
            why = Problem("policy", "it is watched in place, and never written", in_place_hint(found.name))
            return self._not_mended(found, why)
        if found.state == "missing" and not named:
            hint = "`ckptd prune --yes` takes it out of the lock; or name it in the manifest again"
            return self._not_mended(found, Problem("policy", "the manifest does not name it any more", hint))
        return found

    async def _tightened(self, found: Outcome) -> Outcome:
        """What is told of a tree that was intact but for its modes, which are set right."""
        try:
            notes = await asyncio.to_thread(tightened, self._places, found.name)
        except CkptdError as error:
            return replace(found, notes=(*found.notes, f"not mended: {error.message}"))
        told = loose_note(found.name, found.loose)
        return replace(found, loose=(), notes=(*(note for note in found.notes if note not in told), *notes))

    def _after(self, done: Outcome, records: Mapping[str, FileRecord]) -> Outcome:
        """What is told of a checkpoint in the end: what was found, and what came of mending it.

        `repaired` is said only of what was then seen to be right.
        """
        found = self._found[done.name]
        case, evidence = found.case, self._evidence.get(done.name)
        if case is not None and evidence is not None:
            case = replace(case, quarantine=str(evidence))
        found = replace(found, case=case, bytes_fetched=done.bytes_fetched, bytes_reused=done.bytes_reused)
        if done.error is not None and evidence is not None and done.name not in self._held:
            with suppress(CkptdError):  # it could not be published after all
                folder.amend(self._places, evidence.name, quarantine.Action.KEPT)
        if done.error is not None:
            return self._not_mended(found, done.error)
        entry = self._workplace.lock.entries[done.name]
        grown = not has_tree(entry, records) or inventory.tree_stands(self._places, done.name, entry.sha256, records)
        if done.name not in self._seen or not grown:
            why = "its tree does not stand" if not grown else "the lock or the manifest says otherwise by now"
            return self._not_mended(found, Problem("storage", why, f"run `ckptd verify {done.name}` again"))
        notes = tuple(dict.fromkeys((*found.notes, *done.notes)))
        return replace(found, state="repaired", error=None, exit_status=0, trust=done.trust, notes=notes)

    def _not_mended(self, found: Outcome, why: CkptdError | Problem) -> Outcome:
        if found.error is None or found.state not in MENDABLE:
            return found
        message = f"{found.error.message} Not mended: {why.message}"
        hint = why.hint if why.hint or isinstance(why, CkptdError) else found.error.hint
        return replace(found, error=Problem(found.error.kind, message, hint))

    def _tidy(self) -> None:
        with suppress(CkptdError):
            cap, age = self._settings.quarantine_size, self._settings.quarantine_age
            folder.enforce(self._places, cap=cap, max_age=age, now=time.time())

    # --- what a pass asks ----------------------------------------------------------------------------------------

    def regrows(self, task: Task) -> bool:
        """Whether its tree is made again: what was found is held against what is remembered of it."""
        found = self._found.get(task.checkpoint.name)
        again = task.tree
        if found is not None and found.tree_only and task.entry is not None:
            again = again or task.entry.sha256 == found.sha256
        if again:
            self._seen.add(task.checkpoint.name)
        return again

    def action(self, task: Task) -> Mend | Fetch | None:
        """What is to be done about this checkpoint; None when the lock or the manifest says otherwise by now."""
        action = self._action(task)
        if action is not None or not isinstance(task.action, Keep | Relock):
            self._seen.add(task.checkpoint.name)
        return action

    def _action(self, task: Task) -> Mend | Fetch | None:
        found = self._found.get(task.checkpoint.name)
        same = task.entry is not None and found is not None and task.entry.sha256 == found.sha256
        if found is None or not same or isinstance(task.action, Conflict):
            return None
        if isinstance(task.action, Check) and task.action.adopt:
            return None  # an update that ended before its lock was written: it is finished, not undone
        try:
            plain = stat.S_ISREG(os.lstat(self._places.final(task.checkpoint)).st_mode)
        except OSError:
            plain = False
        return remedy(found, plain=plain)

    async def secure(self, task: Task) -> None:
        """Keep the damaged bytes, before proven ones take their place; what is no plain file is moved away."""
        final, found = self._places.final(task.checkpoint), self._found[task.checkpoint.name]
        if found.state == "missing" or task.entry is None:
            return
        entry = task.entry

        def keep() -> Path:
            report = self._report(entry, final, found, quarantine.Action.REPAIRED)
            if not stat.S_ISREG(os.lstat(final).st_mode):
                return folder.move_in(self._places, report, final)
            stretches = [(each.offset, each.length) for each in found.damage or ()]
            if found.damage is None and found.state != "unreadable":
                stretches = [(0, final.lstat().st_size)]
            if not quarantine.admit(sum(length for _, length in stretches), self._settings.quarantine_size):
                stretches = []
            return folder.keep(self._places, report, final, stretches)

        self._evidence[entry.name] = await asyncio.to_thread(keep)

    async def hold(self, task: Task, error: DriftError) -> CkptdError:
        """Nobody serves the locked bytes any more: unless the policy is to keep it, the file loses its name."""
        final, found, entry = self._places.final(task.checkpoint), self._found[task.checkpoint.name], task.entry
        hint = f"restore it from a backup, or `ckptd update {task.checkpoint.name}` accepts what is served now"
        if entry is None or found.state == "missing":
            return DriftError(error.message, hint=hint)
        if self._settings.on_damage is OnDamage.KEEP:
            return IntegrityError(f"{error.message}; it was left where it is ([verify] on_damage)", hint=hint)

        def move() -> Path:
            return folder.move_in(self._places, self._report(entry, final, found, quarantine.Action.HELD), final)

        try:
            self._evidence[entry.name] = await asyncio.to_thread(move)
        except CkptdError as failed:
            return IntegrityError(f"{error.message}; it could not be moved away: {failed.message}", hint=failed.hint)
        self._held.add(entry.name)
        moved = self._evidence[entry.name]
        await self._note(entry, found, moved)
        return IntegrityError(f"{error.message}; it was moved to {moved}, so that nobody reads it", hint=hint)

    async def _note(self, entry: LockEntry, found: Outcome, moved: Path) -> None:
        """The history knows when the file lost its name, and where it is."""
        detail = f"moved to {moved}"
        visit = history.Visit(time.time(), entry.name, "hold", entry.sha256, "", 0, 0.0, found.state, detail)
        with suppress(CkptdError):
            await asyncio.to_thread(
                state.write, self._places.database, lambda database: history.add_history(database, [visit])
            )

    def _report(self, entry: LockEntry, final: Path, found: Outcome, action: quarantine.Action) -> Report:
        case = found.case
        try:
            size = os.lstat(final).st_size
        except OSError:
            size = None
        return Report(
            name=entry.name,
            file=str(final.relative_to(self._places.store)),
            expected_size=entry.size,
            expected_sha256=entry.sha256,
            expected_pieces=entry.pieces,
            actual_size=size,
            actual_sha256=None,
            damage=found.damage or (),
            cause=case.cause if case is not None else found.state,
            summary=case.summary if case is not None else "",
            found_at=time.time(),
            last_good=case.last_good if case is not None else None,
            action=action,
            history=self._history(entry.name),
            usage=case.usage if case is not None else Usage(),
        )

    def _history(self, name: str) -> tuple[dict[str, object], ...]:
        connection = read_only(self._places.database)
        if connection is None:
            return ()
        with closing(connection), suppress(sqlite3.Error):
            rows = list(history.rows(connection, [name], limit=ROWS))
            return tuple({"id": row.id, **asdict(row.visit), "chain": row.chain} for row in rows)
        return ()


def has_tree(entry: LockEntry, records: Mapping[str, FileRecord]) -> bool:
    """Whether a tree was made from the locked archive."""
    record = records.get(tree_key(entry.name))
    return record is not None and record.sha256 == entry.sha256


def _as_locked(known: Checkpoint | None, entry: LockEntry, *, tree: bool) -> Checkpoint:
    """The checkpoint whose file is locked: the manifest may name another file by now, or not name it any more.

    With `tree` it has one, which is mended too, whether the manifest still wants it or not.
    """
    if known is not None and known.file_name == file_name(entry.url):
        return replace(known, unpack=known.unpack or tree)
    pin = entry.sha256 if entry.trust is Trust.PINNED else None
    mirrors = (known.url, *known.mirrors) if known is not None else ()
    return Checkpoint(entry.name, entry.url, file_name(entry.url), mirrors, sha256=pin, unpack=tree)

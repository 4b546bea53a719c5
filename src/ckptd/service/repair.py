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
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

from ckptd.core import events, quarantine
from ckptd.core.models import Checkpoint, LockEntry, OnDamage, Outcome, Problem, Trust, Usage
from ckptd.core.plan import Check, Conflict, Fetch, Mend, in_place_hint
from ckptd.core.quarantine import Report
from ckptd.core.remedy import MENDABLE, remedy
from ckptd.core.urls import file_name
from ckptd.errors import CkptdError, DriftError, IntegrityError
from ckptd.service.fetch import Pass
from ckptd.service.sync import Task
from ckptd.service.tenancy import Tenancy
from ckptd.service.workplace import Workplace
from ckptd.store import history, state
from ckptd.store import quarantine as folder
from ckptd.store.records import read_only

ROWS = 20  # of the history that go into a report


class Repair:
    """Mends the damaged among `outcomes` of an audit of `workplace`."""

    def __init__(
        self,
        workplace: Workplace,
        emit: events.Emit,
        outcomes: Sequence[Outcome],
        *,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._workplace = workplace
        self._places = workplace.places
        self._settings = workplace.manifest.verify
        self._emit = emit
        self._tenancy = tenancy
        self._found = {outcome.name: outcome for outcome in outcomes}
        self._evidence: dict[str, Path] = {}
        self._held: set[str] = set()

    async def run(self, *, hold: bool = False) -> list[Outcome]:
        """The outcomes anew, after mending what could be; with `hold` after taking away what is damaged.

        Where nothing can be done at all (the store is somebody else's, a token cannot be read), they say why.
        """
        if hold:
            return [await self._take_away(outcome) for outcome in self._found.values()]
        known = {checkpoint.name: checkpoint for checkpoint in self._workplace.manifest.checkpoints}
        self._found = {name: self._left(outcome, named=name in known) for name, outcome in self._found.items()}
        damaged = {name for name, outcome in self._found.items() if outcome.state in MENDABLE}
        damaged -= self._places.watched.keys()
        damaged -= {name for name in damaged - known.keys() if self._found[name].state == "missing"}
        wanted = [
            _as_locked(known.get(name), entry)
            for name in sorted(damaged)
            if (entry := self._workplace.lock.entries.get(name)) is not None
        ]
        if not wanted:
            return list(self._found.values())
        place = replace(self._workplace, selected=tuple(wanted))
        try:
            tasks = [Task.of(place, checkpoint) for checkpoint in wanted]
            done = await Pass(place, self._emit, locked=False, update=False, remedy=self, tenancy=self._tenancy).run(
                tasks
            )
        except CkptdError as error:
            return [self._not_mended(outcome, error) for outcome in self._found.values()]
        mended = {outcome.name: await self._settled(outcome) for outcome in done}
        await asyncio.to_thread(self._tidy)
        return [mended.get(name, outcome) for name, outcome in self._found.items()]

    async def _settled(self, done: Outcome) -> Outcome:
        """What is told of a checkpoint in the end; if the policy is to hold, what could not be mended loses its name."""
        hold = self._settings.on_damage is OnDamage.HOLD
        if done.error is not None and hold and done.name not in self._held:
            return await self._take_away(self._found[done.name], f"{done.error.message}; ")
        return self._after(done)

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

    def _after(self, done: Outcome) -> Outcome:
        """What is told of a checkpoint in the end: what was found, and what came of mending it."""
        found = self._found[done.name]
        case, evidence = found.case, self._evidence.get(done.name)
        if case is not None and evidence is not None:
            case = replace(case, quarantine=str(evidence))
        found = replace(found, case=case, bytes_fetched=done.bytes_fetched, bytes_reused=done.bytes_reused)
        if done.error is not None and evidence is not None and done.name not in self._held:
            with suppress(CkptdError):  # it could not be published after all
                folder.amend(self._places, evidence.name, quarantine.Action.KEPT)
        if done.error is None:
            return replace(found, state="repaired", error=None, exit_status=0, trust=done.trust)
        return self._not_mended(found, done.error)

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

    def action(self, task: Task) -> Mend | Fetch | None:
        """What is to be done about this checkpoint; None when the lock or the manifest says otherwise by now."""
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


def _as_locked(known: Checkpoint | None, entry: LockEntry) -> Checkpoint:
    """The checkpoint whose file is locked: the manifest may name another file by now, or not name it any more."""
    if known is not None and known.file_name == file_name(entry.url):
        return known
    pin = entry.sha256 if entry.trust is Trust.PINNED else None
    mirrors = (known.url, *known.mirrors) if known is not None else ()
    return Checkpoint(entry.name, entry.url, file_name(entry.url), mirrors, sha256=pin)

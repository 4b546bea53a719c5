"""The passes that a daemon runs, joined where they are about the same checkpoint.

Two callers who want the same checkpoint wait for one download. A caller who goes away leaves the work to the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from ckptd.core import events
from ckptd.core.models import Checkpoint, Outcome
from ckptd.core.remedy import MENDABLE
from ckptd.errors import CkptdError, first_known
from ckptd.service.fetch import Pass
from ckptd.service.hub import Hub
from ckptd.service.mending import Mender
from ckptd.service.repair import Repair
from ckptd.service.sync import Task, finished, plan, refused
from ckptd.service.tenancy import Tenancy
from ckptd.service.verify import Audit
from ckptd.service.workplace import Workplace
from ckptd.store.records import load_files

Waiting = asyncio.Future[Outcome]


class Jobs:
    """Runs passes in a store that is ours. Entered tasks live in `group`."""

    def __init__(self, tenancy: Tenancy, hub: Hub, group: asyncio.TaskGroup, found: Callable[[Outcome], None]) -> None:
        self._tenancy = tenancy
        self._hub = hub
        self._group = group
        self._found = found  # told what an audit found, before anything is mended
        self._running: dict[str, Waiting] = {}

    @property
    def busy(self) -> frozenset[str]:
        """The names that are being worked on."""
        return frozenset(self._running)

    async def place(self, workplace: Workplace, selected: Sequence[Checkpoint]) -> Workplace:
        """`workplace` with the lock as it is now. Raises ConfigError."""
        lock = await self._tenancy.thread(self._tenancy.ledger.refresh)
        return Workplace(workplace.path, workplace.manifest, workplace.places, lock, tuple(selected))

    async def sync(self, workplace: Workplace, *, locked: bool = False, update: bool = False) -> list[Outcome]:
        """The outcome of every selected checkpoint; those that are being worked on already are waited for."""
        if update:  # what runs now may fetch what was locked before
            await self._quiet({checkpoint.name for checkpoint in workplace.selected})
        joined = self.begin(workplace, locked=locked, update=update)
        outcomes = [await asyncio.shield(joined[checkpoint.name]) for checkpoint in workplace.selected]
        await self._tenancy.ledger.write()  # what is told to be locked is in the lock by then
        return outcomes

    def begin(self, workplace: Workplace, *, locked: bool = False, update: bool = False) -> dict[str, Waiting]:
        """Begin with the selected checkpoints that nobody is working on; what to wait for, by name."""
        joined: dict[str, Waiting] = {}
        new: dict[str, Waiting] = {}
        for checkpoint in workplace.selected:
            running = self._running.get(checkpoint.name)
            if running is None:
                running = new[checkpoint.name] = self._take(checkpoint.name)
            joined[checkpoint.name] = running
        if new:
            self._group.create_task(self._pass(workplace, new, locked=locked, update=update))
        return joined

    async def _pass(self, workplace: Workplace, new: Mapping[str, Waiting], *, locked: bool, update: bool) -> None:
        """One pass to its end, whatever that is: nobody who waits is left waiting."""
        place, failure = workplace, CkptdError("it was not done: the pass ended before")
        chosen = tuple(checkpoint for checkpoint in workplace.selected if checkpoint.name in new)
        stopped = False

        def settled(outcome: Outcome) -> None:
            self._settle(new[outcome.name], outcome)

        try:
            place = await self.place(workplace, chosen)
            records = await self._tenancy.state.do(load_files)
            tasks = await self._tenancy.thread(lambda: plan(place, records, update=update))
            work = Pass(
                place,
                self._hub.emit,
                locked=locked,
                update=update,
                mend=Mender(place, self._hub.emit, locked=locked, found=self._found).mend,
                tenancy=self._tenancy,
                settled=settled,
            )
            await work.run(tasks)
        except asyncio.CancelledError:
            stopped, failure = True, CkptdError("stopped before it was done")
            raise
        except CkptdError as error:
            failure = error
        except BaseExceptionGroup as group:
            if group.split(CkptdError)[1] is not None:
                raise
            failure = first_known(group) or failure
        finally:
            for checkpoint in chosen:
                if not new[checkpoint.name].done():
                    outcome = refused(Task.of(place, checkpoint), failure, place.places)
                    settled(outcome)
                    # Nothing went wrong with it where somebody stops the daemon.
                    told = events.Noted(outcome.name, failure.message) if stopped else finished(outcome)
                    self._hub.emit(told)

    def _take(self, name: str) -> Waiting:
        """`name` is being worked on from now on, by nobody else."""
        waiting: Waiting = asyncio.get_running_loop().create_future()
        self._running[name] = waiting
        return waiting

    def _settle(self, waiting: Waiting, outcome: Outcome) -> None:
        """The end of one checkpoint's work, which others may have begun anew by the time a pass ends."""
        if self._running.get(outcome.name) is waiting:
            del self._running[outcome.name]
        if not waiting.done():
            waiting.set_result(outcome)

    async def _quiet(self, names: Collection[str]) -> None:
        """Wait until none of `names` is being worked on; between this and what follows nobody may be let in."""
        while running := [self._running[name] for name in names if name in self._running]:
            await asyncio.wait(running)

    async def verify(
        self, workplace: Workplace, wanted: Sequence[str], *, sha256: bool, repair: bool, older_than: float | None
    ) -> list[Outcome]:
        """Read what is locked, and mend what is damaged if that is asked for."""
        place = await self.place(workplace, workplace.selected)
        outcomes = await Audit(place, self._tell_reading, sha256=sha256).run(wanted or None, older_than=older_than)
        for outcome in outcomes:
            self._found(outcome)
        return await self.repair(place, outcomes) if repair else outcomes

    def _tell_reading(self, event: events.Event) -> None:
        """What is told of a file that is read, unless the same checkpoint is being fetched: that is the news then."""
        if event.name not in self._running or isinstance(event, events.Noted):
            self._hub.emit(event)

    async def repair(self, place: Workplace, outcomes: Sequence[Outcome], *, hold: bool = False) -> list[Outcome]:
        """Mend the damaged among `outcomes`, or only take them away; what is being fetched is waited for first."""
        damaged = {outcome.name for outcome in outcomes if outcome.state in MENDABLE}
        await self._quiet(damaged)
        taken = {name: self._take(name) for name in damaged}
        done = list(outcomes)
        try:
            done = await Repair(place, self._hub.emit, outcomes, tenancy=self._tenancy).run(hold=hold)
        finally:
            for outcome in done:
                if outcome.name in taken:
                    self._settle(taken[outcome.name], outcome)
        return done

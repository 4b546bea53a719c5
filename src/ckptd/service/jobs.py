"""The passes that a daemon runs, joined where they are about the same checkpoint.

Two callers who want the same checkpoint wait for one download. A caller who goes away leaves the work to the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ckptd.core.models import Checkpoint, Outcome
from ckptd.errors import CkptdError
from ckptd.service.fetch import Pass
from ckptd.service.hub import Hub
from ckptd.service.repair import Repair
from ckptd.service.sync import Task, plan, refused
from ckptd.service.tenancy import Tenancy
from ckptd.service.verify import Audit
from ckptd.service.workplace import Workplace
from ckptd.store.records import load_files

Waiting = asyncio.Future[Outcome]


class Jobs:
    """Runs passes in a store that is ours. Entered tasks live in `group`."""

    def __init__(self, tenancy: Tenancy, hub: Hub, group: asyncio.TaskGroup) -> None:
        self._tenancy = tenancy
        self._hub = hub
        self._group = group
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
            await self._quiet(checkpoint.name for checkpoint in workplace.selected)
        joined = self.begin(workplace, locked=locked, update=update)
        return [await asyncio.shield(joined[checkpoint.name]) for checkpoint in workplace.selected]

    def begin(self, workplace: Workplace, *, locked: bool = False, update: bool = False) -> dict[str, Waiting]:
        """Begin with the selected checkpoints that nobody is working on; what to wait for, by name."""
        joined: dict[str, Waiting] = {}
        new = []
        for checkpoint in workplace.selected:
            running = self._running.get(checkpoint.name)
            if running is None:
                new.append(checkpoint)
                running = asyncio.get_running_loop().create_future()
                self._running[checkpoint.name] = running
            joined[checkpoint.name] = running
        if new:
            self._group.create_task(self._pass(workplace, new, locked=locked, update=update))
        return joined

    async def _pass(self, workplace: Workplace, new: Sequence[Checkpoint], *, locked: bool, update: bool) -> None:
        """One pass to its end, whatever that is: nobody who waits is left waiting."""
        place, failure = workplace, CkptdError("it was not come to")
        try:
            place = await self.place(workplace, new)
            records = await self._tenancy.state.do(load_files)
            tasks = await self._tenancy.thread(lambda: plan(place, records, update=update))
            work = Pass(
                place, self._hub.emit, locked=locked, update=update, tenancy=self._tenancy, settled=self._settled
            )
            await work.run(tasks)
        except CkptdError as error:
            failure = error
        except BaseExceptionGroup as group:
            known, other = group.split(CkptdError)
            if other is not None:
                raise
            failure = next((each for each in _leaves(known) if isinstance(each, CkptdError)), failure)
        finally:
            self._abandon(place, new, failure)

    def _settled(self, outcome: Outcome) -> None:
        waiting = self._running.pop(outcome.name, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def _abandon(self, place: Workplace, new: Sequence[Checkpoint], error: CkptdError) -> None:
        for checkpoint in new:
            if checkpoint.name in self._running:
                self._settled(refused(Task.of(place, checkpoint), error, place.places))

    async def _quiet(self, names: Iterable[str]) -> None:
        """Wait until none of `names` is being worked on."""
        for name in names:
            running = self._running.get(name)
            if running is not None:
                await asyncio.shield(running)

    async def verify(
        self, workplace: Workplace, wanted: Sequence[str], *, sha256: bool, repair: bool, older_than: float | None
    ) -> list[Outcome]:
        """Read what is locked, and mend what is damaged if that is asked for."""
        place = await self.place(workplace, workplace.selected)
        outcomes = await Audit(place, self._hub.emit, sha256=sha256).run(wanted or None, older_than=older_than)
        return await self.repair(place, outcomes) if repair else outcomes

    async def repair(self, place: Workplace, outcomes: Sequence[Outcome], *, hold: bool = False) -> list[Outcome]:
        """Mend the damaged among `outcomes`, or only take them away; what is being fetched is waited for first."""
        damaged = [outcome.name for outcome in outcomes if outcome.exit_status]
        await self._quiet(damaged)
        for name in damaged:
            self._running[name] = asyncio.get_running_loop().create_future()
        done = list(outcomes)
        try:
            done = await Repair(place, self._hub.emit, outcomes, tenancy=self._tenancy).run(hold=hold)
        finally:
            for outcome in done:
                if outcome.name in damaged:
                    self._settled(outcome)
        return done


def _leaves(group: BaseExceptionGroup[BaseException] | None) -> Iterable[BaseException]:
    for error in group.exceptions if group is not None else ():
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)

"""What a sync finds damaged is read closer and mended like what an audit finds: by ranges, with evidence of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ckptd.core import events
from ckptd.core.models import Outcome
from ckptd.service.sync import Task
from ckptd.service.tenancy import Tenancy
from ckptd.service.workplace import Workplace

STATES = {"intact": "present", "repaired": "repaired"}  # of an audit that mends -> of a sync


class Mender:
    """Mends checkpoints of `workplace` in a store that is ours; with `locked` the lock stays as it is.

    `found` is told of damage before it is mended.
    """

    def __init__(
        self,
        workplace: Workplace,
        emit: events.Emit,
        *,
        locked: bool,
        found: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._workplace = workplace
        self._emit = emit
        self._locked = locked
        self._found = found
        self._reading = asyncio.Lock()  # one file keeps all processors busy
        self._slots = asyncio.Semaphore(workplace.manifest.transfer.downloads)

    async def mend(self, task: Task, tenancy: Tenancy) -> Outcome:
        """Read the file of a locked checkpoint, and fetch what is damaged of it; what a sync tells of that.

        Raises CkptdError.
        """
        from ckptd.service.repair import Repair  # noqa: PLC0415 (seldom needed, and long to import)
        from ckptd.service.verify import Audit  # noqa: PLC0415

        lock = await tenancy.thread(tenancy.ledger.refresh)
        place = replace(self._workplace, lock=lock, selected=(task.checkpoint,))
        async with self._reading:
            (found,) = await Audit(place, self._tell, sha256=False).run([task.checkpoint.name])
        if self._found is not None:
            self._found(found)
        async with self._slots:
            (done,) = await Repair(place, self._tell, [found], locked=self._locked, tenancy=tenancy).run()
        return replace(done, state=STATES.get(done.state, "failed"))

    def _tell(self, event: events.Event) -> None:
        """What goes on is told; beginning and end are the sync's to tell."""
        if not isinstance(event, events.Queued | events.Finished):
            self._emit(event)

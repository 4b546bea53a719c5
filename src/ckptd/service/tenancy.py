"""A store that we own: its folders, its lock against others, its state, the writer of its lock file, disk threads.

Entered for one pass, or by a daemon for as long as it lives. Decides nothing about checkpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar

from ckptd.core import events
from ckptd.core.models import TransferSettings
from ckptd.service.ledger import Ledger
from ckptd.service.trees import Grower
from ckptd.store import disk, quarantine
from ckptd.store.opening import LOST, begin_anew
from ckptd.store.owner import Owner
from ckptd.store.partials import sweep
from ckptd.store.places import Places, make_folder, prepare
from ckptd.store.records import load_partials
from ckptd.store.state import State
from ckptd.transfer.budget import Budget

T = TypeVar("T")


class Tenancy:
    """What goes with owning a store."""

    def __init__(self, places: Places, state: State, pool: ThreadPoolExecutor, emit: events.Emit) -> None:
        self.places = places
        self.state = state
        self.pool = pool
        self.ledger = Ledger(places, state, pool)
        self.grower = Grower(places, state, emit)
        self._budget: Budget | None = None
        self._limits: tuple[int, int, float | None] | None = None

    def budget(self, settings: TransferSettings) -> Budget:
        """The one budget of connections and bandwidth for all passes; a new one where the settings have changed."""
        limits = (settings.connections_per_host, settings.connections, settings.bandwidth)
        if self._budget is None or limits != self._limits:
            self._budget, self._limits = Budget(*limits), limits
        return self._budget

    async def thread(self, work: Callable[[], T]) -> T:
        """Run blocking `work` in a disk thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


@asynccontextmanager
async def tenancy(places: Places, emit: events.Emit) -> AsyncIterator[Tenancy]:
    """Take the store, and put right what a crash left behind. Raises BusyError, ConfigError, StorageError."""

    def begin() -> tuple[State, ThreadPoolExecutor, ExitStack, bool]:
        prepare(places)
        make_folder(places.lock.parent, None)  # where that cannot be, it is said before a byte is fetched
        lost = not places.database.exists()
        disk.boot_id()
        with ExitStack() as held:
            held.enter_context(Owner(places.state))
            state = held.enter_context(State(places.database))
            pool = disk.workers()
            held.callback(pool.shutdown)
            return state, pool, held.pop_all(), lost

    # Off the event loop: a network filesystem may take its time.
    state, pool, held, lost = await asyncio.to_thread(begin)
    try:
        if state.note:
            emit(events.Noted("state", state.note))
        tenant = Tenancy(places, state, pool, emit)
        held.callback(tenant.grower.close)
        if (await tenant.thread(tenant.ledger.refresh)).entries and lost:
            emit(events.Noted("state", f"{places.database} was missing; it is begun again, so everything is due again"))
            await state.do(lambda database: begin_anew(database, LOST))
        kept_files = {record.file for record in (await state.do(load_partials)).values()}
        await tenant.thread(lambda: sweep(places, kept_files))
        await tenant.thread(lambda: quarantine.sweep(places))
        yield tenant
    finally:
        await asyncio.to_thread(held.close)

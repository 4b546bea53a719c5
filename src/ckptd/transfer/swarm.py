"""The connections of one download attempt: as many as help, each on its own segment, all watched.

The first connection's body runs on as long as nobody else has the bytes that follow. Others are opened when the rest
would take long, and go when the host is crowded. A connection that fails gives its bytes back; the attempt fails only
when none is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ckptd.core import events
from ckptd.core.models import TransferSettings, Witness
from ckptd.core.pace import StallMeter
from ckptd.core.ranges import Extents
from ckptd.core.response import Take, Validator
from ckptd.core.retry import RETRY_AFTER_CAP, Failure, wait
from ckptd.core.segments import Lease, WorkList, connections_wanted, segment_length
from ckptd.errors import CkptdError, NetworkError
from ckptd.transfer.budget import Budget
from ckptd.transfer.buffers import Pool
from ckptd.transfer.client import Client, Reply
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.intake import Intake, Sink
from ckptd.transfer.source import Manners, Opened, Source

TICK = 0.1  # seconds between looks at a running download
FLUSH_EVERY = 0.25  # seconds that received bytes may stay in memory only


class Storage(Sink, Protocol):
    """Where the bytes go and what is remembered of them (`store.partials`)."""

    written: Extents
    total: int | None
    validators: dict[str, Validator]
    witnesses: tuple[Witness, ...]

    async def learn(self, total: int | None, source: str, validator: Validator, witnesses: Iterable[Witness]) -> None:
        """Remember what an answer says before its bytes count."""
        ...

    async def whole(
        self, body: bytes, source: str, validator: Validator, witnesses: Iterable[Witness]
    ) -> dict[str, bytes]:
        """Store a small file in one piece; its digests."""
        ...

    async def drained(self) -> None:
        """Wait until all bytes are written."""
        ...

    async def remember(self, *, force: bool = False) -> None:
        """Note what is written."""
        ...

    async def begin_again(self) -> None:
        """Forget every byte."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all downloads of a run share. `jitter` gives numbers in [0, 1)."""

    client: Client
    budget: Budget
    pool: Pool
    settings: TransferSettings
    emit: events.Emit
    jitter: Callable[[], float]


@dataclass(slots=True, eq=False)
class _Carrier:
    reply: Reply
    intake: Intake


class Swarm:
    """One attempt's connections to one source."""

    def __init__(
        self,
        name: str,
        source: Source,
        storage: Storage,
        shared: Shared,
        work: WorkList | None,
        *,
        ask: Callable[[int, int], Awaitable[Opened]],
        check_head: Callable[[bytes, bool], None],
        count: Callable[[int], None],
    ) -> None:
        self.trouble: TransferFailed | None = None  # what ended the last connection that ended badly
        self._name = name
        self._source = source
        self._storage = storage
        self._shared = shared
        self._work = work
        self._ask = ask
        self._check_head = check_head
        self._count_bytes = count
        self._loop = asyncio.get_running_loop()
        self._carriers: list[_Carrier] = []
        self._active = 0
        self._extras_allowed = work is not None and source.manners is not Manners.WHOLE
        self._received = 0
        self._ramp = shared.budget.ramp(source.host)
        self._begun = self._grow_at = self._loop.time()
        self._troubles = 0
        self._ended = asyncio.Event()

    async def run(self, reply: Reply, length: int | None) -> None:
        """Carry `length` bytes of an answer that is open, and whatever else is missing, as far as it goes."""
        try:
            async with asyncio.TaskGroup() as group:
                self._spawn(group, self._first(reply, length))
                keeper = group.create_task(self._keep())
                await self._watch(group)
                keeper.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._report(0)

    # --- connections ---------------------------------------------------------------------------------------------

    def _spawn(self, group: asyncio.TaskGroup, work: Awaitable[None]) -> None:
        self._active += 1
        self._report(self._active)

        async def connection() -> None:
            try:
                await work
            except TransferFailed as failed:
                self._troubled(failed)
            finally:
                self._active -= 1
                self._report(self._active)
                self._ended.set()

        group.create_task(connection())

    def _troubled(self, failed: TransferFailed) -> None:
        """A connection failed: the others go on, and new ones wait a little longer each time."""
        self.trouble = failed
        self._troubles += 1
        pause = wait(self._troubles, self._shared.jitter())
        self._grow_at = self._loop.time() + pause
        if failed.failure is Failure.BUSY:
            seconds = min(failed.retry_after or pause, RETRY_AFTER_CAP)
            self._shared.budget.push_back(self._source.host, seconds, failed.error)

    async def _first(self, reply: Reply, length: int | None) -> None:
        lease = self._work.take(self._segment()) if self._work is not None else None
        await self._pump(reply, lease, length)
        await self._segments()

    async def _extra(self) -> None:
        try:
            await self._segments()
        finally:
            self._shared.budget.release(self._source.host)

    async def _segments(self) -> None:
        """Fetch segments until there are none, or the host is crowded, or an answer does not fit."""
        budget, host = self._shared.budget, self._source.host
        while self._work is not None and self._extras_allowed:
            if self._active > 1 and (budget.crowded(host) or self._active > self._ramp.level):
                return
            lease = self._work.take(self._segment())
            if lease is None:
                return
            try:
                opened = await self._ask(lease.at, lease.end)
            except BaseException:
                self._work.give_back(lease)
                raise
            if not isinstance(opened.verdict, Take) or opened.verdict.start != lease.at:
                # Answers that do not agree: whoever carries the bytes now goes on alone, the next attempt sorts it out.
                opened.reply.close()
                self._work.give_back(lease)
                self._extras_allowed = False
                return
            try:
                await self._pump(opened.reply, lease, opened.verdict.length)
            finally:
                opened.reply.close()
            budget.good(host)

    async def _pump(self, reply: Reply, lease: Lease | None, length: int | None) -> None:
        settings = self._shared.settings
        intake = Intake(
            self._storage,
            self._shared.pool,
            StallMeter(settings.min_rate, settings.stall_timeout, self._loop.time()),
            at=0 if lease is None else lease.at,
            work=self._work,
            lease=lease,
            segment=self._segment,
            bucket=self._shared.budget.bandwidth,
            check_head=self._check_head,
            on_bytes=self._on_bytes,
            most=settings.max_size,
        )
        carrier = _Carrier(reply, intake)
        self._carriers.append(carrier)
        try:
            await reply.pump(intake, length)
        finally:
            self._carriers.remove(carrier)
            if lease is not None and self._work is not None:
                self._work.give_back(lease)

    def _on_bytes(self, count: int) -> None:
        self._received += count
        self._ramp.add(count)
        self._count_bytes(count)

    # --- watching ------------------------------------------------------------------------------------------------

    async def _watch(self, group: asyncio.TaskGroup) -> None:
        """Until no connection is left: end those that stall, open more where that helps."""
        flushed = self._loop.time()
        while self._active:
            self._ended.clear()
            try:
                async with asyncio.timeout(TICK):
                    await self._ended.wait()
            except TimeoutError:
                pass
            now = self._loop.time()
            for carrier in list(self._carriers):
                if carrier.intake.meter.stalled(now):
                    error = NetworkError(f"{self._source.host}: stalled")
                    carrier.reply.abort(TransferFailed(Failure.TRANSIENT, error))
                elif now - flushed >= FLUSH_EVERY:
                    carrier.intake.flush()
            if now - flushed >= FLUSH_EVERY:
                flushed = now
            if self._extras_allowed and self._active:
                self._grow(group, now)

    def _grow(self, group: asyncio.TaskGroup, now: float) -> None:
        if self._work is None:
            return
        idle = self._shared.budget.ask_idle()  # asked for early, since it takes a while to know
        if now < self._grow_at:
            return
        elapsed = now - self._begun
        wanted = connections_wanted(
            active=self._active,
            limit=self._shared.settings.connections,
            left=self._work.left,
            rate=self._received / max(elapsed, TICK),
            elapsed=elapsed,
        )
        if wanted > self._active:
            wanted = min(wanted, self._ramp.consider(now, idle=idle))
        while self._active < wanted and self._shared.budget.try_acquire(self._source.host):
            self._spawn(group, self._extra())

    async def _keep(self) -> None:
        """Note what is written, so that a crash costs little."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            await self._storage.remember()

    def _segment(self) -> int:
        elapsed = max(self._loop.time() - self._begun, TICK)
        return segment_length(self._received / elapsed / max(self._active, 1))

    def _report(self, count: int) -> None:
        self._shared.emit(events.Connections(self._name, count, self._source.host))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the connections ended with, as one error: the disk's before the network's."""
    errors = [_first(each) if isinstance(each, BaseExceptionGroup) else each for each in group.exceptions]
    return next((each for each in errors if isinstance(each, CkptdError)), errors[0])

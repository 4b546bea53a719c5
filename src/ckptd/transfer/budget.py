"""What all downloads share: connections per host, a host's rest after 429 and 503, and the bandwidth.

Whoever learns that a host wants quiet tells it here, and everybody keeps it. Concurrency falls by half when a host
pushes back and rises by one when a connection's worth of answers was good (additive increase, multiplicative
decrease, as TCP does it).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from ckptd.core.pace import Bucket, Ramp, idle_share
from ckptd.errors import CkptdError

LOOK_EVERY = 0.1  # seconds
PATIENCE = 10  # looks after the last time that somebody asked
SPARE_PROCESSORS = 0.25  # share of all processors' time
BUSY_LOOP = 0.7  # share of one processor's time


@dataclass(slots=True, eq=False)
class _Host:
    allowed: float
    ramp: Ramp
    active: int = 0
    quiet_until: float = 0.0  # loop time
    refusal: CkptdError | None = None
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Budget:
    """Connections and bandwidth over all downloads of one process."""

    def __init__(self, per_host: int, per_download: int, bandwidth: float | None) -> None:
        self._per_host = per_host
        self._per_download = per_download
        self._hosts: dict[str, _Host] = {}
        self.asked = asyncio.Event()
        self.spare = False
        self.bandwidth = None if bandwidth is None else Bucket(bandwidth)

    def _host(self, name: str) -> _Host:
        found = self._hosts.get(name)
        if found is None:
            found = self._hosts[name] = _Host(float(self._per_host), Ramp(self._per_download))
        return found

    def ask_idle(self) -> bool:
        """Whether processors have time to spare, as far as that is known; `watch_load` looks while this is asked."""
        self.asked.set()
        return self.spare

    def quiet(self, name: str) -> float:
        """Seconds that `name` still wants to be left alone."""
        return max(0.0, self._host(name).quiet_until - asyncio.get_running_loop().time())

    def try_acquire(self, name: str) -> bool:
        """A connection to `name`, if one is free at once and nobody waits for one."""
        host = self._host(name)
        if host.waiting or host.active >= int(host.allowed) or self.quiet(name):
            return False
        host.active += 1
        return True

    async def acquire(self, name: str) -> None:
        """A connection to `name`, in the order of asking."""
        host = self._host(name)
        if not host.waiting and host.active < int(host.allowed):
            host.active += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        host.waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(name)
            else:
                with suppress(ValueError):
                    host.waiting.remove(future)
            raise

    def release(self, name: str) -> None:
        """The connection is free for somebody else."""
        host = self._host(name)
        host.active -= 1
        self._wake(host)

    def crowded(self, name: str) -> bool:
        """Whether more connections are open than the host now stands, so that extra ones should go."""
        host = self._host(name)
        return host.active > int(host.allowed) or bool(host.waiting)

    def refusal(self, name: str) -> CkptdError | None:
        """What the host last said when it asked to be left alone."""
        return self._host(name).refusal

    def push_back(self, name: str, seconds: float, refusal: CkptdError | None = None) -> None:
        """The host asked for less: half the connections, and none at all for `seconds`."""
        host = self._host(name)
        host.refusal = refusal or host.refusal
        host.allowed = max(1.0, host.allowed / 2)
        host.quiet_until = max(host.quiet_until, asyncio.get_running_loop().time() + seconds)

    def good(self, name: str) -> None:
        """The host answered well: it may have a little more."""
        host = self._host(name)
        if host.allowed < self._per_host:
            host.allowed = min(float(self._per_host), host.allowed + 1.0 / host.allowed)
            self._wake(host)

    def ramp(self, name: str) -> Ramp:
        """How many connections a download to this host should have."""
        return self._host(name).ramp

    @staticmethod
    def _wake(host: _Host) -> None:
        while host.waiting and host.active < int(host.allowed):
            future = host.waiting.popleft()
            if not future.done():
                host.active += 1
                future.set_result(None)


def processor_times() -> tuple[int, ...]:
    """What /proc/stat says of all processors together; empty where there is no such thing. Blocks briefly."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return tuple(int(each) for each in file.readline().split()[1:])
    except (OSError, ValueError):
        return ()


async def watch_load(budget: Budget) -> None:
    """Keep the answer of `budget.ask_idle` up to date while somebody asks, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        budget.spare = spared = False
        await budget.asked.wait()
        before, busy = await loop.run_in_executor(None, processor_times), time.thread_time()
        patience = PATIENCE
        while patience:
            patience = PATIENCE if budget.asked.is_set() else patience - 1
            budget.asked.clear()
            await asyncio.sleep(LOOK_EVERY)
            after = await loop.run_in_executor(None, processor_times)
            used, busy = time.thread_time() - busy, time.thread_time()
            # The event loop is one thread: with that at its limit, idle processors are of no use.
            spare = idle_share(before, after) > SPARE_PROCESSORS and used < LOOK_EVERY * BUSY_LOOP
            budget.spare = spare and spared  # twice in a row: at the beginning everybody has time
            before, spared = after, spare

"""A clock that leaps: an event loop in which waiting takes no time, so that a week passes in a minute.

Whenever nothing is ready and no thread of ours is at work, the time until the next timer is skipped. `time.time` and
`time.monotonic` follow, and the clock on the wall can be set. What is asked for by name is answered here, so that name
servers can be away.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from ckptd.store.state import State

T = TypeVar("T")
GRACE = 0.001  # real seconds in which what another thread has just finished may reach the loop
REAL_TIME, REAL_MONOTONIC = time.time, time.monotonic


class Clock:
    """Seconds that were skipped, and by how much the clock on the wall is wrong."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.wrong = 0.0
        self.at_work = 0  # threads that do something for the loop

    def monotonic(self) -> float:
        return REAL_MONOTONIC() + self.skipped

    def time(self) -> float:
        return REAL_TIME() + self.skipped + self.wrong


class Leaping(selectors.EpollSelector):
    """Waits for events, and for threads, and otherwise for nothing."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        ready = super().select(GRACE)
        while not ready and self._clock.at_work:
            ready = super().select(0.05)
        if ready:
            return ready
        if timeout is None:
            return super().select(0.05)
        self._clock.skipped += timeout
        return []


class Loop(asyncio.SelectorEventLoop):
    """The loop of `run`. `names` answers for name servers: an address, or an error to raise."""

    def __init__(self, clock: Clock, names: Callable[[str], str]) -> None:
        super().__init__(Leaping(clock))
        self._clock = clock
        self._names = names

    def time(self) -> float:
        return self._clock.monotonic()

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        address = self._names(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


@contextmanager
def leaping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """While it is entered, everything goes by its clock."""
    clock = Clock()
    submit, do = ThreadPoolExecutor.submit, State.do

    def counted(self: ThreadPoolExecutor, work: Callable[..., T], /, *args: Any, **more: Any) -> Future[T]:
        clock.at_work += 1
        future = submit(self, work, *args, **more)

        def done(_: Future[T]) -> None:
            clock.at_work -= 1

        future.add_done_callback(done)
        return future

    async def counted_do(self: State, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        clock.at_work += 1
        try:
            return await do(self, work, durable=durable)
        finally:
            clock.at_work -= 1

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    monkeypatch.setattr(State, "do", counted_do)
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    yield clock


def run(clock: Clock, names: Callable[[str], str], work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a loop that leaps."""
    with asyncio.Runner(loop_factory=lambda: Loop(clock, names)) as runner:
        return runner.run(work)

"""Places for downloads: so many at once, and a few more for small ones, which need not wait for large ones to end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

QUICK = 2  # small downloads that may run beside a full set of large ones
LONG_REST = 5.0  # seconds; who rests for longer gives its place to others meanwhile


class Slots:
    """All the places there are: `downloads`, and those for small ones."""

    def __init__(self, downloads: int) -> None:
        self._any = asyncio.Semaphore(downloads)
        self._quick = asyncio.Semaphore(QUICK)

    async def take(self, *, small: bool) -> asyncio.Semaphore:
        """Wait for a place; what is to be released for it."""
        chosen = self._quick if small and self._any.locked() else self._any
        await chosen.acquire()
        return chosen


class Place:
    """The place of one download while it is entered."""

    def __init__(self, slots: Slots, *, small: bool) -> None:
        self._slots = slots
        self._small = small
        self._held: asyncio.Semaphore | None = None

    async def __aenter__(self) -> Self:
        self._held = await self._slots.take(small=self._small)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def rest(self, seconds: float) -> None:
        """Sleep: others must not wait for a host that wants to be left alone, or for one that is away."""
        if seconds < LONG_REST:
            await asyncio.sleep(seconds)
            return
        self._leave()
        await asyncio.sleep(seconds)
        self._held = await self._slots.take(small=self._small)

    def _leave(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None

"""Events of all that a daemon does, to everybody who wants them: logs, metrics, watchers, callers.

Whoever comes late is told first what runs now. A watcher who does not read is left behind, never waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ckptd.core import events

EVERY = 0.1  # seconds of bytes that one event tells, at most
MOST = 20_000  # events that may wait for one reader


@dataclass(slots=True)
class Active:
    """What is known of a checkpoint that is being worked on. Bytes."""

    size: int | None = None
    done: int = 0
    connections: int = 0
    host: str = ""
    why: str = ""
    started: bool = False


class Subscription:
    """One reader's events, of some names or of all. Bytes that arrive are added up between two looks."""

    def __init__(self, names: Collection[str] | None) -> None:
        self.lost = False  # it did not read, and events were dropped
        self._names = names
        self._waiting: list[events.Event] = []
        self._counts: dict[str, int] = {}
        self._hashed: dict[str, int] = {}
        self._wake = asyncio.Event()

    def push(self, event: events.Event) -> None:
        """Take an event, if it is about one of our names."""
        if self._names is not None and event.name not in self._names:
            return
        match event:
            case events.Received(name, count):
                self._counts[name] = self._counts.get(name, 0) + count
            case events.Hashed(name, done):
                self._hashed[name] = done
            case _:
                self._flush()
                if len(self._waiting) >= MOST:
                    self.lost = True
                    self._waiting.clear()
                self._waiting.append(event)
        self._wake.set()

    def _flush(self) -> None:
        self._waiting += [events.Received(name, count) for name, count in self._counts.items()]
        self._waiting += [events.Hashed(name, done) for name, done in self._hashed.items()]
        self._counts.clear()
        self._hashed.clear()

    def take(self) -> list[events.Event]:
        """What has come since the last look."""
        self._wake.clear()
        self._flush()
        taken, self._waiting = self._waiting, []
        return taken

    async def batch(self) -> list[events.Event]:
        """Wait until something has come, and a moment longer."""
        await self._wake.wait()
        await asyncio.sleep(EVERY)
        return self.take()


class Hub:
    """Where all events go."""

    def __init__(self) -> None:
        self.active: dict[str, Active] = {}
        self._readers: set[Subscription] = set()
        self._listeners: list[Callable[[events.Event], None]] = []

    def listen(self, listener: Callable[[events.Event], None]) -> None:
        """Call `listener` with every event from now on; it must not block."""
        self._listeners.append(listener)

    def emit(self, event: events.Event) -> None:
        """Tell everybody."""
        self._learn(event)
        for reader in self._readers:
            reader.push(event)
        for listener in self._listeners:
            listener(event)

    @contextmanager
    def subscribed(self, names: Collection[str] | None) -> Iterator[Subscription]:
        """Events from now on, after those that tell what runs already."""
        subscription = Subscription(names)
        for name, active in self.active.items():
            for event in _recap(name, active):
                subscription.push(event)
        self._readers.add(subscription)
        try:
            yield subscription
        finally:
            self._readers.discard(subscription)

    def _learn(self, event: events.Event) -> None:
        if isinstance(event, events.Finished):
            self.active.pop(event.name, None)
            return
        if isinstance(event, events.Queued | events.Started):
            self.active.setdefault(event.name, Active())
        active = self.active.get(event.name)
        if active is None:
            return  # said of what has ended, such as bytes that were counted in another thread
        match event:
            case events.Queued(_, size, why):
                active.size, active.why = size, why
            case events.Started(_, size, have):
                active.size, active.done, active.started = size or active.size, have, True
            case events.Sized(_, size):
                active.size = size
            case events.Received(_, count):
                active.done += count
            case events.Rewound(_, have, _):
                active.done = have
            case events.Connections(_, count, host):
                active.connections, active.host = count, host
            case _:
                pass


def _recap(name: str, active: Active) -> Iterator[events.Event]:
    yield events.Queued(name, active.size, active.why)
    if active.started:
        yield events.Started(name, active.size, active.done)
    if active.connections:
        yield events.Connections(name, active.connections, active.host)

"""The daemon's log: every event and incident that is worth a line, to the journal or to stderr.

Joins `core.log` (what is said), `core.log_limit` (how often) and `front.journal` (where to); decides nothing itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ckptd.core import events, log
from ckptd.core.incidents import Incident
from ckptd.core.log import Line, Priority, Scribe
from ckptd.core.log_limit import Limiter
from ckptd.front.journal import Journal, Sink, sink
from ckptd.service.daemon import Daemon


class Log:
    """Lines of one daemon. `most` is the least weighty priority that is written."""

    def __init__(self, daemon: Daemon, write: Sink, most: Priority) -> None:
        self._daemon = daemon
        self._write = write
        self._most = most
        self._scribe = Scribe(verbose=most is Priority.DEBUG)
        self._limiter = Limiter()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Say where things stand, and listen from now on."""
        daemon = self._daemon
        count = len(daemon.place.manifest.checkpoints)
        noun = "checkpoint" if count == 1 else "checkpoints"
        self.say("started", "daemon", f"{count} {noun}, store {daemon.place.places.store}")
        for told in daemon.watchman.recent:  # before there was a log
            self.hear(events.Noted(told.name, told.text))
        for incident in daemon.watchman.incidents.open.values():
            text = f"still: {incident.kind}: {incident.message}"
            self._out([Line(Priority.WARNING, "incident-open", incident.name, text, verdict=incident.kind)])
        daemon.hub.listen(self.hear)
        daemon.watchman.alarms.append(self.alarm)

    def say(self, event: str, name: str, text: str, priority: Priority = Priority.NOTICE) -> None:
        """A line that is no event's."""
        self._out([Line(priority, event, name, text, urgent=True)])

    def hear(self, event: events.Event) -> None:
        """Take one event in."""
        line = self._scribe.line(event, time.monotonic())
        if line is not None and line.priority <= self._most:
            self._out(self._limiter.take(line, time.monotonic()))
            self._wind()

    def alarm(self, incident: Incident) -> None:
        """An incident began or ended."""
        self._out([log.of_incident(incident)])

    def end(self) -> None:
        """Say what was left out, and that this is the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._out(self._limiter.due(float("inf")))
        self.say("stopped", "daemon", "stopping; partials are kept")

    def _out(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if line.priority <= self._most:
                self._write(line, self._is_checkpoint(line.name))

    def _is_checkpoint(self, name: str) -> bool:
        place = self._daemon.place
        return name in place.lock.entries or any(name == each.name for each in place.manifest.checkpoints)

    def _wind(self) -> None:
        """Come back when there is something to say of what was left out."""
        until = self._limiter.until
        if until is None or self._timer is not None:
            return

        def look() -> None:
            self._timer = None
            self._out(self._limiter.due(time.monotonic()))
            self._wind()

        self._timer = asyncio.get_running_loop().call_later(max(0.0, until - time.monotonic()), look)


def logging(*, quiet: bool, verbose: bool) -> Callable[[Daemon], AbstractAsyncContextManager[None]]:
    """A front that writes lines: warnings and worse when `quiet`, and how far things are when `verbose`."""
    most = Priority.WARNING if quiet else Priority.DEBUG if verbose else Priority.INFO

    @asynccontextmanager
    async def front(daemon: Daemon) -> AsyncIterator[None]:
        write = sink(os.environ, sys.stderr)
        lines = Log(daemon, write, most)
        lines.begin()
        try:
            yield
        finally:
            lines.end()
            if isinstance(write, Journal):
                write.close()

    return front

"""Who is told of an incident: the operator's command and webhook, one alert after the other, each on its own lane.

Which incidents there are, and that each is told once, is the watchman's business; what is said is `core.alert`'s. A
lane that is stuck holds up neither the daemon nor the other lane, and what could not be told is logged.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePath

from ckptd.core import alert
from ckptd.core.alert import Alert
from ckptd.core.incidents import Incident
from ckptd.core.log import one_line
from ckptd.core.models import AlertSettings
from ckptd.core.urls import host_label
from ckptd.front.alert_command import call
from ckptd.front.webhook import post
from ckptd.service.daemon import Daemon
from ckptd.service.workplace import Workplace

COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 10.0  # for one attempt
BACKOFF = (1.0, 5.0, 30.0)  # seconds between attempts
WAITING = 100  # alerts that may wait on a lane
LAST_WORDS = 4.0  # seconds that alerts get when the daemon stops

Tell = Callable[[Alert], Awaitable[str]]  # empty when told, otherwise why not


class Lane:
    """Tells alerts in their order, one at a time. `complain` is called for each that could not be told."""

    def __init__(self, tell: Tell, complain: Callable[[str], None], backoff: Sequence[float] = ()) -> None:
        self._tell = tell
        self._complain = complain
        self._backoff = backoff
        self._waiting: deque[Alert] = deque()
        self._now: Alert | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, one: Alert) -> None:
        """Tell of `one` when its turn comes. When too many wait, the oldest is given up."""
        if len(self._waiting) >= WAITING:
            self._give_up(self._waiting.popleft(), "too many wait")
        self._waiting.append(one)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._now = self._waiting.popleft()
                if why := await self._attempts(self._now):
                    self._give_up(self._now, why)
                self._now = None
            self._idle.set()

    async def _attempts(self, one: Alert) -> str:
        why = await self._tell(one)
        for seconds in self._backoff:
            if not why:
                break
            await asyncio.sleep(seconds)
            why = await self._tell(one)
        return why

    async def drain(self) -> None:
        """Until nothing waits."""
        await self._idle.wait()

    def abandon(self) -> None:
        """What waits is not told any more."""
        for one in (*([self._now] if self._now is not None else []), *self._waiting):
            self._give_up(one, "the daemon stops")
        self._waiting.clear()

    def _give_up(self, one: Alert, why: str) -> None:
        about = f"{one.label} ({one.incident.name or 'store'})"
        self._complain(f"{about} was not told: {why}")


def _by_command(settings: Callable[[], AlertSettings]) -> Tell:
    async def tell(one: Alert) -> str:
        command = settings().command
        if not command:
            return ""
        why = await call(command, alert.body(one), alert.environment(one, os.environ), COMMAND_SECONDS)
        return why and f"{one_line(PurePath(command[0]).name)} {why}"

    return tell


def _by_webhook(settings: Callable[[], AlertSettings]) -> Tell:
    async def tell(one: Alert) -> str:
        url = settings().webhook
        if url is None:
            return ""
        why = await post(url, alert.body(one), WEBHOOK_SECONDS)
        return why and f"{host_label(url)}: {why}"

    return tell


@asynccontextmanager
async def alerting(daemon: Daemon) -> AsyncIterator[None]:
    """A front that tells of incidents. [alerts] is read anew for every one."""

    def settings() -> AlertSettings:
        return daemon.place.manifest.alerts

    def complain(text: str) -> None:
        daemon.watchman.tell("alerts", text)

    lanes = (Lane(_by_command(settings), complain), Lane(_by_webhook(settings), complain, BACKOFF))

    def alarm(incident: Incident) -> None:
        one = Alert(incident, socket.gethostname(), str(daemon.place.places.store))
        for lane in lanes:
            lane.put(one)

    daemon.watchman.alarms.append(alarm)
    tasks = [asyncio.create_task(lane.run()) for lane in lanes]
    try:
        yield
    finally:
        daemon.watchman.alarms.remove(alarm)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                for lane in lanes:
                    await lane.drain()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for lane in lanes:
            lane.abandon()


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether a test alert came through, `to` whom; `why` it did not."""

    to: str
    why: str

    @property
    def passed(self) -> bool:
        """Whether it arrived."""
        return not self.why


async def rehearse(place: Workplace) -> list[Arrival]:
    """Send a test incident, its beginning and its end, to whomever [alerts] names; empty where it names nobody.

    Nothing is tried again: what does not work at once is what a drill should show.
    """
    settings = place.manifest.alerts
    ways: list[tuple[str, Tell]] = []
    if settings.command:
        ways.append((f"command {one_line(PurePath(settings.command[0]).name)}", _by_command(lambda: settings)))
    if settings.webhook is not None:
        ways.append((f"webhook {host_label(settings.webhook)}", _by_webhook(lambda: settings)))
    arrivals = []
    for to, tell in ways:
        why = ""
        for one in alert.rehearsal(socket.gethostname(), str(place.places.store), time.time()):
            why = why or await tell(one)
        arrivals.append(Arrival(to, why))
    return arrivals

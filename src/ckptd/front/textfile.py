"""Metrics for sites without a listener: a file for the textfile collector of Prometheus' node_exporter.

Written whole or not at all, every minute and when something goes wrong or is over. What cannot be written is told once
and tried again. Metrics of the process are left out: the collector has its own, and two of a name would be an error.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path

from ckptd.core import events
from ckptd.core.incidents import Incident
from ckptd.errors import CkptdError
from ckptd.front.beside import beside
from ckptd.front.tally import Tally
from ckptd.service.account import account
from ckptd.service.daemon import Daemon, Front
from ckptd.store.atomic import write_atomically

EVERY = 60.0  # seconds
PATIENCE = 30.0  # seconds for the store to say how it stands
MODE = 0o644  # the collector is another user


def writing(tally: Tally) -> Front:
    """A front that writes the file that `[daemon] textfile` names."""

    @asynccontextmanager
    async def front(daemon: Daemon) -> AsyncIterator[None]:
        tally.follow(daemon)
        async with beside(daemon, "textfile", Writer(daemon, tally).run()):
            yield

    return front


class Writer:
    """Keeps the file up to date, wherever the manifest wants it now."""

    def __init__(self, daemon: Daemon, tally: Tally) -> None:
        self._daemon = daemon
        self._tally = tally
        self._at: Path | None = None
        self._trouble = ""
        self._wake = asyncio.Event()
        daemon.hub.listen(self._look)
        daemon.watchman.alarms.append(self._alarm)

    def _look(self, event: events.Event) -> None:
        if isinstance(event, events.Noted) and self._wanted() != self._at:
            self._wake.set()  # the manifest was read again

    def _alarm(self, incident: Incident) -> None:
        del incident
        self._wake.set()

    def _wanted(self) -> Path | None:
        """The path that the manifest names; relative ones are relative to its folder."""
        place = self._daemon.place
        named = place.manifest.daemon.textfile
        return None if named is None else Path(os.path.normpath(place.path.absolute().parent / named))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            wanted = self._wanted()
            if wanted != self._at:
                await self._leave()
                self._at, self._trouble = wanted, ""
            if wanted is not None:
                await self._write(wanted)
            try:
                async with asyncio.timeout(None if wanted is None else EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _leave(self) -> None:
        """What is no longer kept up to date would be believed for ever."""
        if self._at is not None:
            with suppress(OSError):
                await asyncio.to_thread(self._at.unlink, missing_ok=True)

    async def _write(self, path: Path) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                content = await self._content()
            await asyncio.to_thread(write_atomically, path, content, MODE)
        except (OSError, CkptdError) as error:
            trouble = f"cannot write {path}: {_reason(error)}; trying again every minute"
            if trouble != self._trouble:
                self._daemon.watchman.tell("textfile", trouble)
            self._trouble = trouble
            return
        if self._trouble:
            self._daemon.watchman.tell("textfile", f"{path} is written again")
        self._trouble = ""

    async def _content(self) -> bytes:
        await asyncio.to_thread(import_module, "ckptd.front.metrics")
        from ckptd.front.metrics import exposition  # noqa: PLC0415

        found, counts, scrubbed = await account(self._daemon), self._tally.counts(), self._daemon.scrub.scrubbed
        return await asyncio.to_thread(exposition, found, counts, scrubbed=scrubbed, process=False)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "the store did not answer in time"

"""Metrics for sites without a listener: a file for the textfile collector of Prometheus' node_exporter.

Written whole or not at all, every minute and when something goes wrong or is over. What cannot be written is told once
and tried again. Metrics of the process are left out: the collector has its own, and two of a name would be an error.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from ckptd.core import events
from ckptd.core.incidents import Incident
from ckptd.errors import CkptdError
from ckptd.front.beside import beside
from ckptd.front.tally import Tally
from ckptd.service.account import Readings, brief, readings, whole
from ckptd.service.daemon import Daemon, Front
from ckptd.store.atomic import write_atomically

EVERY = 60.0  # seconds
READ_AGAIN = 300.0  # seconds until all checkpoints are looked at again although nothing happened
CONSEQUENCES = 2  # times that they are looked at after something happened: what follows from it may come a little later
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
        self._read: Readings | None = None
        self._by_name = b""
        self._due = 0  # how often the checkpoints are to be looked at again
        daemon.hub.listen(self._look)
        daemon.watchman.alarms.append(self._alarm)

    def _look(self, event: events.Event) -> None:
        if isinstance(event, events.Finished | events.Noted):
            self._due = CONSEQUENCES
            if self._wanted() != self._at:
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
        from ckptd.front.metrics import overall  # noqa: PLC0415

        account = brief(self._daemon, await self._readings())
        counts, scrubbed = self._tally.counts(), self._daemon.scrub.scrubbed
        return self._by_name + overall(account, counts, scrubbed=scrubbed, process=False)

    async def _readings(self) -> Readings:
        """How everything stands; the checkpoints one by one only now and then, which would be work for an idle hour."""
        from ckptd.front.metrics import by_name  # noqa: PLC0415

        read = self._read
        if read is not None and not self._due and time.monotonic() - read.at < READ_AGAIN:
            return replace(read, promise=await self._daemon.promise())
        self._due = max(0, self._due - 1)
        read = self._read = await readings(self._daemon)
        checkpoints = whole(self._daemon, read)["checkpoints"]
        self._by_name = await asyncio.to_thread(by_name, cast("list[dict[str, object]]", checkpoints))
        return read


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "the store did not answer in time"

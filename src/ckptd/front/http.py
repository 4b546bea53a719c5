"""Listens for those who look: opens and closes what `[daemon] listen` names, and says so.

An address that cannot be had is told once and tried again every minute; the daemon goes on without it. What is served
stands in `front.site`, which is imported once something is listened to.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from ckptd.core import events
from ckptd.core.hosts import is_loopback_host
from ckptd.front.beside import beside
from ckptd.front.tally import Tally
from ckptd.service.daemon import Daemon, Front

if TYPE_CHECKING:
    from ckptd.front.board import Board
    from ckptd.front.site import Site

TRY_AGAIN = 60.0  # seconds
RESOLVE = 10.0  # seconds for a name to become an address


def serving(tally: Tally) -> Front:
    """A front that serves the page and the metrics where the manifest says so."""

    @asynccontextmanager
    async def front(daemon: Daemon) -> AsyncIterator[None]:
        tally.follow(daemon)
        listener = Listener(daemon, tally)
        try:
            async with beside(daemon, "page", listener.run()):
                yield
        finally:
            await listener.close()

    return front


class Listener:
    """The listening socket, as the manifest wants it now."""

    def __init__(self, daemon: Daemon, tally: Tally) -> None:
        self._daemon = daemon
        self._tally = tally
        self._board: Board | None = None
        self._open: tuple[asyncio.Server, Site] | None = None
        self._at: str | None = None  # where it listens, or tries to
        self._trouble = ""
        self._changed = asyncio.Event()
        daemon.hub.listen(self._look)

    def _look(self, event: events.Event) -> None:
        if isinstance(event, events.Noted) and self._daemon.place.manifest.daemon.listen != self._at:
            self._changed.set()  # the manifest was read again

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            wanted = self._daemon.place.manifest.daemon.listen
            if wanted != self._at:
                if self._open is not None:
                    self._tell(f"no longer at http://{self._at}/")
                await self.close()
                self._at, self._trouble = wanted, ""
            if wanted is not None and self._open is None:
                await self._try(wanted)
            try:
                async with asyncio.timeout(TRY_AGAIN if wanted is not None and self._open is None else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Listen no more."""
        if self._open is not None:
            server, site = self._open
            self._open = None
            server.close()
            await site.close()

    async def _try(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            site = await self._site(host)
            async with asyncio.timeout(RESOLVE):
                server = await asyncio.get_running_loop().create_server(site.guests, host, int(port))
        except (OSError, TimeoutError) as error:
            trouble = f"cannot listen on {address}: {_reason(error)}; trying again every minute"
            if trouble != self._trouble:
                self._tell(trouble)
            self._trouble = trouble
            return
        self._open, self._trouble = (server, site), ""
        reach = "" if is_loopback_host(host) else ", for everybody who can reach this machine"
        self._tell(f"at http://{address}/{reach}")

    async def _site(self, host: str) -> Site:
        # In a thread: it takes a while, and the event loop has other things to do.
        await asyncio.to_thread(import_module, "ckptd.front.site")
        from ckptd.front.board import Board  # noqa: PLC0415
        from ckptd.front.site import Site  # noqa: PLC0415

        if self._board is None:
            self._board = Board(self._daemon)
        return Site(self._daemon, self._board, self._tally, host)

    def _tell(self, text: str) -> None:
        self._daemon.watchman.tell("page", text)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "the name was not resolved in time"
    if isinstance(error, socket.gaierror):
        return str(error.strerror or "the name does not resolve").lower()
    # From Python 3.13 on asyncio passes over addresses that are not this machine's, and gives no number in the end.
    return os.strerror(error.errno or errno.EADDRNOTAVAIL).lower()

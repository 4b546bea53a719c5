"""What is served over HTTP: the page, its events, `/metrics`, `/healthz`, `/status.json`. Read-only, GET and HEAD.

Bounds are set in `front.guests`, where it listens in `front.http`. On loopback only requests for this machine's own
names are answered: otherwise any web page could have its reader's browser look (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from aiohttp import web

from ckptd.core.hosts import is_loopback_host
from ckptd.core.urls import redact_text
from ckptd.errors import CkptdError, StorageError
from ckptd.front.board import READ_SELDOM, Board
from ckptd.front.guests import HEADERS, Guest, Guests, plain
from ckptd.front.page import POLICY, Reader, document
from ckptd.front.tally import Tally
from ckptd.service.daemon import Daemon

MOST_WATCHERS = 32  # open pages that are kept up to date
TICK, IDLE = 1.0, 10.0  # seconds between two looks: while something moves, and otherwise at the latest
SLOW = 10.0  # seconds for a watcher to take what it is sent
HEALTH = 5.0  # seconds for the state database to answer
COME_BACK = 3000  # milliseconds until a page tries again
CLOSING = 1.0  # seconds for requests under way when it closes

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Site:
    """Serves one daemon. `guests` makes the protocols of a listening socket; `name` is the host that it listens on."""

    def __init__(self, daemon: Daemon, board: Board, tally: Tally, name: str) -> None:
        self._daemon = daemon
        self._board = board
        self._tally = tally
        self._name = name
        self._watchers = 0
        self._closing = False
        self._complained = ""
        self._server = web.Server(self._answer, handler_cancellation=True)
        self.guests = Guests(self._server)
        self._pages: dict[str, Handler] = {
            "/": self._page,
            "/events": self._events,
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/status.json": self._status,
        }

    async def close(self) -> None:
        """End every connection."""
        self._closing = True
        self._board.ring()
        self._server.pre_shutdown()
        await self._server.shutdown(CLOSING)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return plain(405, "this only shows: GET and HEAD", Allow="GET, HEAD")
        if not self._meant(request):
            return plain(421, "this name is not one of this machine's: ask for localhost")
        handler = self._pages.get(request.path)
        if handler is None:
            return plain(404, f"there are {', '.join(self._pages)}")
        try:
            answer = await handler(request)
        except CkptdError as error:
            return plain(503, redact_text(error.message))
        except Exception as error:  # noqa: BLE001  # a mistake in the page must not end the daemon, nor pass in silence
            self._complain(error)
            return plain(500, "something went wrong here; the daemon's log says what")
        answer.force_close()
        return answer

    def _meant(self, request: web.BaseRequest) -> bool:
        """Whether it is for us by name. Programs without a Host header (HTTP/1.0) are no browsers."""
        if not is_loopback_host(self._name):
            return True
        try:
            names = [urlsplit(f"//{each}").hostname or "" for each in request.headers.getall("Host", [])]
        except ValueError:
            return False
        return all(is_loopback_host(name) or name == self._name for name in names)

    def _complain(self, error: Exception) -> None:
        text = f"went wrong: {type(error).__name__}: {redact_text(str(error))[:200]}"
        if text != self._complained:
            self._complained = text
            self._daemon.watchman.tell("page", text)

    # --- what there is -------------------------------------------------------------------------------------------

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        del request
        shown = await self._board.frame()
        headers = HEADERS | {"Content-Security-Policy": POLICY}
        answer = web.Response(text=document(shown), content_type="text/html", headers=headers)
        answer.enable_compression()
        return answer

    async def _status(self, request: web.BaseRequest) -> web.StreamResponse:
        del request
        text = json.dumps(_harmless(await self._board.account()), indent=1)
        return web.Response(text=f"{text}\n", content_type="application/json", headers=HEADERS)

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        from ckptd.front.metrics import CONTENT_TYPE, exposition  # noqa: PLC0415  # only where it is scraped

        del request
        account = await self._board.account(READ_SELDOM)
        counts, scrubbed = self._tally.counts(), self._daemon.scrub.scrubbed
        body = await asyncio.to_thread(exposition, account, counts, scrubbed=scrubbed, process=True)
        return web.Response(body=body, headers=HEADERS | {"Content-Type": CONTENT_TYPE})

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        """Whether the daemon can work: it answers, and its state takes a transaction."""
        del request
        try:
            async with asyncio.timeout(HEALTH):
                await self._daemon.tenancy.state.do(lambda database: database.execute("SELECT 1").fetchone())
        except TimeoutError:
            raise StorageError(f"the state database did not answer within {HEALTH:.0f} s") from None
        return plain(200, "ok")

    # --- events --------------------------------------------------------------------------------------------------

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._watchers >= MOST_WATCHERS or self._closing:
            return plain(503, "too many pages are open", **{"Retry-After": "30"})
        answer = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream; charset=utf-8"})
        answer.force_close()
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        guest = cast("Guest", request.protocol)
        transport = guest.transport
        guest.stay()
        self._watchers += 1
        try:
            reader = Reader(request.headers.get("Last-Event-ID") or request.query.get("have", ""))
            await self._tell(answer, reader)
        except (TimeoutError, ConnectionError, CkptdError):
            if transport is not None:
                transport.abort()  # it does not read, or there is nothing to tell: the page tries again
        finally:
            self._watchers -= 1
        return answer

    async def _tell(self, answer: web.StreamResponse, reader: Reader) -> None:
        """What changes, as long as somebody reads it."""
        text = f"retry: {COME_BACK}\n\n"
        while not self._closing:
            bell, begun = self._board.bell, time.monotonic()
            text += reader.news(await self._board.frame())
            async with asyncio.timeout(SLOW):
                await answer.write((text or ":\n\n").encode())
            text = ""
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK if self._board.busy else IDLE):
                    await bell.wait()
            if not self._closing:
                await asyncio.sleep(max(0.0, begun + TICK - time.monotonic()))


def _harmless(value: object) -> object:
    """The same without secrets in its texts. What comes here has none; this is the last door."""
    match value:
        case str():
            return redact_text(value) if "://" in value or "=" in value else str(value)
        case dict():
            return {key: _harmless(each) for key, each in value.items()}
        case list() | tuple():
            return [_harmless(each) for each in value]
        case _:
            return value

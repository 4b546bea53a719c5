"""Who may come in to the page, and for how long: a bound on connections, on their time, on what they send.

Knows HTTP as far as aiohttp's server leaves it open, and nothing of what is served.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any, cast

from aiohttp import web

MOST = 64  # connections at once
LONGEST = 30.0  # seconds from the connection to the end of the answer, unless it is a stream of events
SILENT = 30_000  # milliseconds that sent bytes may go unacknowledged (tcp(7)): whoever has vanished is forgotten
LIMITS: dict[str, Any] = {
    "max_line_size": 4096,  # bytes of the request line
    "max_field_size": 4096,  # of a header
    "max_headers": 64,
    "lingering_time": 0.0,  # nothing that is sent to us is waited for
    "access_log": None,
}
HEADERS = {  # of every answer
    "Server": "ckptd",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 30\r\nConnection: close\r\n\r\n"
_silence = logging.getLogger("ckptd.page")  # what strangers send is no news
_silence.addHandler(logging.NullHandler())
_silence.propagate = False


def plain(status: int, text: str, **headers: str) -> web.Response:
    """A short answer in plain text, after which the connection ends."""
    answer = web.Response(status=status, text=f"{text}\n", headers=HEADERS | headers)
    answer.force_close()
    return answer


class Guest(web.RequestHandler):
    """One connection. Ends by itself unless it is told to `stay`."""

    __slots__ = ("_end", "_house")

    def __init__(self, house: Guests, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, logger=_silence, **LIMITS)
        self._house = house
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._house.here.add(self)
        self._end = asyncio.get_running_loop().call_later(LONGEST, cast("asyncio.Transport", transport).abort)
        with suppress(OSError, AttributeError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """They have gone."""
        self._house.here.discard(self)
        self.stay()
        super().connection_lost(exc)

    def stay(self) -> None:
        """A stream of events: it ends when it is not read any more."""
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What could not be understood is answered like everything else, and not told back."""
        del request, exc, message
        return plain(status, "this is not understood" if status < 500 else "something went wrong here")


class Guests:
    """Makes a protocol for each connection that is accepted, as `loop.create_server` wants it."""

    def __init__(self, server: web.Server) -> None:
        self.here: set[Guest] = set()
        self._server = server

    def __call__(self) -> asyncio.BaseProtocol:
        """One more; a refusal where there are too many."""
        if len(self.here) >= MOST:
            return _Refusal()
        return Guest(self, self._server, asyncio.get_running_loop())


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(_FULL)
        transport.close()

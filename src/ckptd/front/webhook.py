"""One POST of JSON, bounded in time, and what came of it in words that never hold the URL.

urllib in a thread of its own: https is verified, the environment's proxies are used, redirects are not followed (what
is posted is for the host that was named). Retrying is the caller's business.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import socket
import ssl
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from ckptd.core.log import one_line
from ckptd.transfer.tls import SYSTEM_CA_FILE
from ckptd.version import __version__


async def post(url: str, body: bytes, seconds: float) -> str:
    """Send `body`; empty when it was taken (2xx), otherwise why not. Takes at most `seconds`, whatever happens."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()
    sockets: list[socket.socket] = []

    def settle(said: str) -> None:
        if not done.done():
            done.set_result(said)

    def work() -> None:
        said = _post(url, body, seconds, sockets)
        with suppress(RuntimeError):  # the loop has ended, nobody wants to know
            loop.call_soon_threadsafe(settle, said)

    # Not the loop's threads: those are waited for when the program ends, and a name server may take its time.
    threading.Thread(target=work, name="webhook", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError:
        return "no answer in time"
    finally:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _post(url: str, body: bytes, seconds: float, sockets: list[socket.socket]) -> str:
    try:
        parts = urlsplit(url)
        user, at, where = parts.netloc.rpartition("@")
        headers = {"Content-Type": "application/json", "User-Agent": f"ckptd/{__version__}"}
        if at:
            headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
        request = Request(parts._replace(netloc=where, fragment="").geturl(), body, headers, method="POST")  # noqa: S310
        opener = build_opener(ProxyHandler(), _Plain(sockets), _Tls(sockets), _NoRedirects())
        with opener.open(request, timeout=seconds):
            return ""
    except HTTPError as error:
        with error:
            follow = "; redirects are not followed" if 300 <= error.code < 400 else ""
            return f"answered {error.code} {_phrase(error.code)}".rstrip() + follow
    except Exception as error:  # noqa: BLE001  # whatever it is: its text may hold the URL
        return _reason(error)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *args: object, **more: object) -> None:
        """None: the 3xx is the answer."""


class _Plain(HTTPHandler):
    """Keeps the sockets, so that they can be shut from outside."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_kept(http.client.HTTPConnection, self._sockets), req)


class _Tls(HTTPSHandler):
    """The same, with certificates verified."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        context = ssl.create_default_context()  # reads SSL_CERT_FILE and SSL_CERT_DIR
        if not context.cert_store_stats()["x509_ca"] and os.path.exists(SYSTEM_CA_FILE):
            context.load_verify_locations(SYSTEM_CA_FILE)
        return self.do_open(_kept(http.client.HTTPSConnection, self._sockets), req, context=context)


def _kept(base: type[http.client.HTTPConnection], sockets: list[socket.socket]) -> Any:
    class Kept(base):  # type: ignore[misc,valid-type]
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Kept


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return ""


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
    match inner:
        case ssl.SSLCertVerificationError():
            return f"TLS: {one_line(inner.verify_message)}"
        case ssl.SSLError():
            return "TLS: failed"
        case socket.gaierror():
            return "its name cannot be resolved"
        case TimeoutError():
            return "no answer in time"
        case OSError() if inner.errno:
            return os.strerror(inner.errno).lower()
        case http.client.RemoteDisconnected():
            return "closed the connection without an answer"
        case http.client.HTTPException():
            return "sent something that is not HTTP"
        case ValueError():
            return "its URL cannot be used"
    return "connection failed"

"""HTTP as we need it: the only importer of aiohttp's client.

Adds to aiohttp: our own redirects (signatures stay as they are, credentials stay at home), a deadline for headers, no
total timeout, no decoding, no cookies, no netrc, connections that are checked before they are used again. Returns
answers unjudged: what they mean is `core.response`'s business.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiofiles
import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from ckptd.core import redirect
from ckptd.core.hosts import Reach, reach_of, reach_of_address
from ckptd.core.models import Auth
from ckptd.core.response import Head
from ckptd.core.retry import Failure
from ckptd.core.urls import host_label, origin_of, redact, redact_text
from ckptd.errors import CkptdError, ConfigError, NetworkError, PolicyError
from ckptd.transfer import tls
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.intake import Intake
from ckptd.transfer.tap import Tap
from ckptd.version import __version__

MOST_IDLE = 64  # connections to one host that wait for another request
LONGEST_HEADER = 64 * 1024  # bytes; signed Locations are long
READ_BUFFER = 1024 * 1024  # bytes aiohttp may read ahead before we take over


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds to connect (name, TCP, TLS, proxy) and then to send the headers."""

    connect: float
    headers: float


@dataclass(frozen=True, slots=True)
class Request:
    """A GET, or a HEAD, whose answer has no body. `entry_url` is the manifest's URL behind it: credentials are bound to
    its origin.

    `fresh`: on a connection of its own. A stray answer to somebody else's request (aiohttp issue 13656) may come at any
    time on a kept-alive one, and where nothing is known of the file nothing would tell it from ours.
    """

    url: str
    entry_url: str
    headers: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    method: str = "GET"


class Reply:
    """One answer, with its body still to come. Close it, or read its body to the end."""

    def __init__(self, response: aiohttp.ClientResponse, url: str, hops: tuple[Head, ...]) -> None:
        self._response = response
        self._tap: Tap | None = None
        self.url = url
        self.hops = hops
        self.reused = _reused.get()  # the connection had carried other answers before
        self.head = _head(response)
        # Nothing more is read until somebody wants the body: what aiohttp has buffered when a connection breaks is
        # lost, what the kernel has is not.
        connection = response.connection
        self._transport = None if connection is None or response.content.is_eof() else connection.transport
        if self._transport is not None:
            self._transport.pause_reading()

    @property
    def framed(self) -> bool:
        """Whether the end of the body can be told from a connection cut short (RFC 9112 section 8)."""
        coded = (self.head.get("transfer-encoding") or "").lower()
        return self.head.length is not None or "chunked" in coded

    @property
    def label(self) -> str:
        """The host that answered."""
        return host_label(self.url)

    async def read(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes. Raises TransferFailed."""
        self._go_on()
        parts: list[bytes] = []
        left = limit
        try:
            while left > 0 and (part := await self._response.content.read(left)):
                parts.append(part)
                left -= len(part)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _failed(error, self.url) from error
        return b"".join(parts)

    async def pump(self, intake: Intake, length: int | None) -> None:
        """Move the body into `intake`, until it ends or the intake wants no more.

        Raises TransferFailed when it is cut short, and what the intake raises.
        """
        try:
            if length is None or not await self._take_over(intake, length):
                await self._copy(intake)
        except asyncio.CancelledError:
            with suppress(CkptdError, TransferFailed):  # being stopped is what counts now
                intake.finish(ended=False)
            raise
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            intake.finish(ended=False)
            raise _failed(error, self.url) from error
        except BaseException:
            intake.finish(ended=False)
            raise
        intake.finish(ended=True)

    async def _copy(self, intake: Intake) -> None:
        """Through aiohttp's reader: for chunked bodies, bodies without a length, and those that are here already."""
        self._go_on()
        while part := await self._response.content.readany():
            rest = memoryview(part)
            while rest:
                if not intake.wants_more():
                    self.close()
                    return
                space = intake.space()
                if space is None:
                    await _room(intake)
                    continue
                count = min(len(space), len(rest))
                space[:count] = rest[:count]
                rest = rest[count:]
                wait = intake.received(count)
                if wait:
                    intake.paused()
                    await asyncio.sleep(wait)
                    intake.resumed()
        # Read to its end: aiohttp keeps the connection if it may.

    async def _take_over(self, intake: Intake, length: int) -> bool:
        content, connection, transport = self._response.content, self._response.connection, self._transport
        protocol = None if connection is None else connection.protocol
        if transport is None or protocol is None or content.is_eof() or transport.is_closing():
            return False
        early = bytearray()
        while part := content.read_nowait(-1):
            early += part
        transport.pause_reading()
        tap = self._tap = Tap(transport, protocol, length, intake)
        transport.set_protocol(tap)
        tap.start(bytes(early))
        try:
            await tap.done
        finally:
            if not tap.lost:
                transport.set_protocol(protocol)
            if tap.remaining == 0 and not tap.lost:
                # Bytes that follow must not be parsed as more of this body: without a parser aiohttp keeps them as
                # a tail, and does not use a connection with a tail again.
                protocol._parser = None  # noqa: SLF001
                transport.resume_reading()
                content.feed_eof()
            else:
                transport.abort()
                self.close()
        return True

    def _go_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self, error: BaseException) -> None:
        """Stop moving the body; `pump` raises `error`."""
        if self._tap is not None:
            self._tap.stop(error)
        else:
            self._response.content.set_exception(error)

    def close(self) -> None:
        """Done with this answer; its connection is not used again unless the body was read to its end."""
        self._response.close()


# What one request wants of its connection, and what it got; both stay within the task that asks.
_fresh: ContextVar[bool] = ContextVar("fresh", default=False)
_reused: ContextVar[bool] = ContextVar("reused", default=False)


class _Connector(aiohttp.TCPConnector):
    """Hands out a kept-alive connection only when nothing unasked-for has arrived on it (aiohttp issue 13656)."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        _reused.set(False)
        if _fresh.get():
            return None
        while (connection := await super()._get(key, traces)) is not None:
            protocol, transport = connection.protocol, connection.transport
            if protocol is not None and transport is not None and not protocol.should_close:
                raw = transport.get_extra_info("socket")
                if raw is not None and not select.select([raw.fileno()], [], [], 0)[0]:
                    _reused.set(True)
                    return connection
            connection.close()
        return None

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        full = len(self._conns.get(key, ())) >= MOST_IDLE
        super()._release(key, protocol, should_close=should_close or full)


class Client:
    """Sends requests. Entered once per run; knows the hosts' tokens and never shows them."""

    def __init__(self, deadlines: Deadlines, auth: tuple[Auth, ...], *, private_redirects: bool) -> None:
        self._deadlines = deadlines
        self._auth = auth
        self._private_redirects = private_redirects
        self._proxies: dict[tuple[str, str, int], str | None] = {}
        self._session: aiohttp.ClientSession | None = None
        self._reach: dict[str, Reach] = {}

    async def __aenter__(self) -> Self:
        connector = _Connector(limit=0, ttl_dns_cache=60, keepalive_timeout=20, ssl=await tls.context())
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            requote_redirect_url=False,
            max_field_size=LONGEST_HEADER,
            max_line_size=LONGEST_HEADER,
            read_bufsize=READ_BUFFER,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect),
            headers={"User-Agent": f"ckptd/{__version__}"},
            skip_auto_headers=("Accept-Encoding", "Accept"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def open(self, request: Request) -> Reply:
        """Send `request`, follow its redirects, and return the answer once its headers are here.

        Raises TransferFailed (network, redirect policy) and ConfigError (a token that cannot be read).
        """
        url = request.url
        hops: list[Head] = []
        while True:
            response = await self._send(url, request)
            head = _head(response)
            if head.status not in redirect.REDIRECTS:
                return Reply(response, url, tuple(hops))
            response.close()
            following = redirect.target(url, head.get("location"), len(hops))
            if isinstance(following, CkptdError):
                raise TransferFailed(Failure.PERMANENT, following)
            await self._check_private(request.url, following)
            hops.append(head)
            url = following

    async def _send(self, url: str, request: Request) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is not entered")
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **request.headers}
        grant = redirect.credential(url, request.entry_url, self._auth)
        if grant is not None:
            headers["Authorization"] = f"Bearer {await token(grant)}"
        try:
            async with asyncio.timeout(self._deadlines.connect + self._deadlines.headers):
                _fresh.set(request.fresh)
                return await self._session.request(
                    request.method,
                    _url(url),
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy(url),
                )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _failed(error, url) from error

    def _proxy(self, url: str) -> str | None:
        """The environment's proxy for this URL's host, looked up once a host."""
        origin = origin_of(url)
        if origin not in self._proxies:
            scheme, host, port = origin
            named = getproxies_environment()
            proxy = None if not named or proxy_bypass(f"{host}:{port}") else named.get(scheme) or named.get("all")
            self._proxies[origin] = proxy
        return self._proxies[origin]

    async def _check_private(self, begun: str, following: str) -> None:
        """Nobody sends us further in than we began (server-side request forgery)."""
        if self._private_redirects:
            return
        near = await self._reach_of(following)
        if near is not Reach.PUBLIC and redirect.inward(await self._reach_of(begun), near):
            raise TransferFailed(
                Failure.PERMANENT,
                PolicyError(
                    f"{host_label(begun)} redirected to a {near.value} address ({host_label(following)})",
                    hint="set [policy] private_redirects = true if that is meant",
                ),
            )

    async def _reach_of(self, url: str) -> Reach:
        _, host, port = origin_of(url)
        if host not in self._reach:
            # Behind a proxy it is the proxy that resolves names; what is written as an address can be judged here.
            found = reach_of(host)
            if found is Reach.PUBLIC and self._proxy(url) is None:
                found = await _resolved_reach(host, port)
            self._reach[host] = found
        return self._reach[host]


async def token(grant: Auth) -> str:
    """The bearer token for a host. Raises ConfigError, which names where it was looked for and never the token."""
    if grant.bearer_env is not None:
        value = os.environ.get(grant.bearer_env, "")
        where = f"environment variable {grant.bearer_env}"
    else:
        where = str(grant.bearer_file)
        try:
            async with aiofiles.open(where, encoding="utf-8") as file:
                value = await file.read(64 * 1024)
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not text"
            raise ConfigError(f'[auth."{grant.host}"]: cannot read {where}: {reason}') from None
    value = value.strip()
    if not value or not value.isascii() or any(char <= " " for char in value):
        raise ConfigError(f'[auth."{grant.host}"]: {where} holds no token (one line of printable ASCII)')
    return value


def _head(response: aiohttp.ClientResponse) -> Head:
    pairs: Iterable[tuple[bytes, bytes]] = response.raw_headers
    return Head(
        response.status,
        tuple((key.decode("ascii", "replace").lower(), value.decode("utf-8", "replace")) for key, value in pairs),
    )


def _url(text: str) -> URL:
    """As it stands where that is possible: re-quoting would break a signature."""
    return URL(text, encoded=text.isascii() and " " not in text)


async def _room(intake: Intake) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    intake.call_when_free(lambda: None if future.done() else future.set_result(None))
    intake.paused()
    await future
    intake.resumed()


async def _resolved_reach(host: str, port: int) -> Reach:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return Reach.PUBLIC  # the request itself will say so
    all_ = {reach_of_address(ipaddress.ip_address(str(each[4][0]).partition("%")[0])) for each in found}
    return next((each for each in (Reach.LINK_LOCAL, Reach.PRIVATE) if each in all_), Reach.PUBLIC)


def _failed(error: Exception, url: str) -> TransferFailed:
    """A foreign error in our words. Its own text may hold the whole URL, signature and all."""
    where = host_label(url) if urlsplit(url).netloc else redact(url)
    failure, reason = _explain(error)
    return TransferFailed(failure, NetworkError(f"{where}: {reason}"))


def _explain(error: Exception) -> tuple[Failure, str]:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        detail = getattr(error, "certificate_error", None) or error
        return Failure.PERMANENT, f"TLS: {redact_text(str(getattr(detail, 'verify_message', '') or 'failed'))}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure.TRANSIENT, "its name cannot be resolved"
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) == 111:
        return Failure.BUSY, "connection refused"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Failure.TRANSIENT, "the proxy cannot be reached"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Failure.TRANSIENT, f"the proxy answered {error.status}"
    if isinstance(error, TimeoutError):
        return Failure.TRANSIENT, "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Failure.TRANSIENT, "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError | ConnectionResetError):
        return Failure.TRANSIENT, "closed the connection in the middle of the body"
    if isinstance(error, aiohttp.ClientResponseError):
        return Failure.TRANSIENT, "sent something that is not HTTP"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Failure.PERMANENT, "its URL cannot be used"
    if isinstance(error, OSError) and error.errno:
        return Failure.TRANSIENT, os.strerror(error.errno).lower()
    return Failure.TRANSIENT, "connection failed"

"""A loopback HTTP/1.1 origin on raw sockets that behaves well unless a script tells it not to.

It keeps versioned blobs by path, answers GET and HEAD with full range and conditional semantics, and records
every request and every body byte it hands to the kernel. What it does wrong is scripted with `Origin.on` and
the behaviours of `faults`. One thread a connection, nothing but the standard library: a library would not
misbehave enough. It never sleeps to wait for somebody: it waits on events, or paces its own sending.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

CHUNK = 64 * 1024
Headers = list[tuple[str, str]]
LAST_MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"

REASONS = {
    200: "OK",
    206: "Partial Content",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    410: "Gone",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Blob:
    """One version of an object. `etag` is spelled as it goes on the wire, quotes and `W/` included."""

    body: bytes
    etag: str | None
    last_modified: str | None = LAST_MODIFIED
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/gzip"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        """The path as it came, still percent-encoded; for a proxy request without scheme and host."""
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    def header(self, name: str) -> str | None:
        """The first header line of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def range(self) -> tuple[int, int | None] | None:
        """`Range: bytes=a-b` as (a, b), b None when open; suffix ranges and lists count as none."""
        text = self.header("range")
        if text is None or not text.startswith("bytes="):
            return None
        first, dash, last = text.removeprefix("bytes=").strip().partition("-")
        if not dash or not first.isdigit() or (last and not last.isdigit()):
            return None
        return int(first), int(last) if last else None


@dataclass(slots=True)
class Exchange:
    """The record of one request. `sent` counts body bytes given to the kernel; times are monotonic."""

    number: int
    connection: int
    request: Request
    at: float
    status: int = 0
    sent: int = 0
    answered: float = 0.0
    finished: bool = False

    @property
    def range(self) -> tuple[int, int | None] | None:
        return self.request.range


class Hold:
    """A place where a response stands still until the test lets it go on.

    `reached` is set when a response stands there; `release()` lets all of them, and later ones, pass.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go = threading.Event()
        self._lock = threading.Lock()
        self.count = 0

    def release(self) -> None:
        self._go.set()

    @property
    def released(self) -> bool:
        return self._go.is_set()

    def arrive(self) -> None:
        with self._lock:
            self.count += 1
        self.reached.set()


@dataclass(slots=True)
class Reply:
    """What is about to be sent, for behaviours to spoil. Offsets count bytes of this body."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: memoryview = field(default_factory=lambda: memoryview(b""))
    framing: Literal["length", "chunked", "chunked-open", "close"] = "length"
    length: int | None = None  # a Content-Length that lies
    before: bytes = b""  # sent ahead of the status line
    raw: bytes | None = None  # sent instead of the head, then the connection ends
    endless: bytes | None = None  # repeated after `before` or `raw` until the client goes
    cut: tuple[int, Literal["fin", "rst"]] | None = None
    cut_after: float = 0.0  # seconds between the last byte and the cut
    hold: tuple[int, Hold] | None = None  # -1 holds before the status line
    pace: tuple[int, float] | None = None  # bytes, seconds between them
    same_packet: bytes = b""  # stray bytes in the packet of the body's end
    later: bytes = b""  # stray bytes once the response is out and acknowledged
    ahead: bytes = b""  # stray bytes ahead of the answer to the next request on this connection
    close: bool = False
    then: list[Callable[[], None]] = field(default_factory=list)

    def set(self, name: str, value: str) -> None:
        """Replace every line of `name` by one."""
        self.drop(name)
        self.headers.append((name, value))

    def drop(self, name: str) -> None:
        self.headers = [(key, value) for key, value in self.headers if key.lower() != name.lower()]


@dataclass(slots=True)
class Turn:
    """One request while it is being answered: what a behaviour may look at and change."""

    origin: Origin
    request: Request
    exchange: Exchange
    blob: Blob | None
    reply: Reply


Behaviour = Callable[[Turn], None]


@dataclass(slots=True)
class Rule:
    """Behaviours for some requests to one path; `fired` says for how many so far."""

    path: str
    behaviours: tuple[Behaviour, ...]
    times: int | None
    skip: int
    ranged: bool | None
    resume: bool | None
    method: str | None
    when: Callable[[Request], bool] | None
    fired: int = 0

    def wants(self, request: Request) -> bool:
        first = request.range[0] if request.range else 0
        return (
            self.path in ("*", request.path)
            and (self.times is None or self.fired < self.times)
            and (self.ranged is None or self.ranged == (request.header("range") is not None))
            and (self.resume is None or self.resume == (first > 0))
            and (self.method is None or self.method == request.method)
            and (self.when is None or self.when(request))
        )


class _GoneError(Exception):
    """The connection is over, by script or because the client went."""


def strong_etag(body: bytes) -> str:
    return f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'


class Origin:
    """The server. Use as a context manager; `url(path)` is what goes into a manifest.

    With `tls` it speaks TLS. `host` is what its URLs say: "127.0.0.1" or "localhost".
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self._tls = tls
        self._lock = threading.RLock()
        self._blobs: dict[str, Blob] = {}
        self._rules: list[Rule] = []
        self._exchanges: list[Exchange] = []
        self._digests: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._connections = 0
        self._active: dict[str, int] = {}
        self.peak = 0  # most requests being answered at one moment
        self.closing = threading.Event()
        self._listener: socket.socket | None = None
        self.port = 0
        self.listen()

    # ---- life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def listen(self) -> None:
        """Accept connections (again), always on the same port."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(256)
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
        self._spawn(self._accept, listener)

    def refuse(self) -> None:
        """Refuse new connections until `listen` is called; those that are open stay."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        self.closing.set()
        self.refuse()
        with self._lock:
            open_sockets = list(self._sockets)
        for sock in open_sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Do `call` in a while, on a thread of its own, unless the origin stops first."""

        def wait() -> None:
            if not self.closing.wait(seconds):
                call()

        self._spawn(wait)

    # ---- what it serves

    def url(self, path: str) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}{path}"

    def put(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = "auto",
        last_modified: str | None = LAST_MODIFIED,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str = "application/gzip",
    ) -> str:
        """Serve `body` at `path` from now on (a new version if there was one); returns the URL."""
        tag = strong_etag(body) if etag == "auto" else etag
        with self._lock:
            self._blobs[path] = Blob(body, tag, last_modified, tuple(headers), content_type)
            self._digests.add(hashlib.sha256(body).hexdigest())
        return self.url(path)

    def blob(self, path: str) -> Blob | None:
        """The version that is served now."""
        with self._lock:
            return self._blobs.get(path)

    def remove(self, path: str) -> None:
        with self._lock:
            del self._blobs[path]

    def on(
        self,
        path: str,
        *behaviours: Behaviour,
        times: int | None = 1,
        skip: int = 0,
        ranged: bool | None = None,
        resume: bool | None = None,
        method: str | None = "GET",
        when: Callable[[Request], bool] | None = None,
    ) -> Rule:
        """Script `behaviours` for `times` requests to `path` ("*": any; None: all), after `skip` of them.

        `ranged` limits it to requests with (or without) a Range header, `resume` to those for bytes after the
        first (or not). Of several rules that want a request all apply, in the order in which they were given.
        """
        rule = Rule(path, behaviours, times, skip, ranged, resume, method, when)
        with self._lock:
            self._rules.append(rule)
        return rule

    def calm(self) -> None:
        """Forget every script; records stay."""
        with self._lock:
            self._rules.clear()

    # ---- what was asked

    def requests(self, path: str | None = None, *, method: str | None = None) -> list[Exchange]:
        with self._lock:
            return [
                exchange
                for exchange in self._exchanges
                if path in (None, exchange.request.path) and method in (None, exchange.request.method)
            ]

    def body_bytes(self, path: str | None = None) -> int:
        """Body bytes handed to the kernel so far, over all requests."""
        return sum(exchange.sent for exchange in self.requests(path))

    def forget(self) -> None:
        """Begin to record anew."""
        with self._lock:
            self._exchanges.clear()
            self.peak = 0

    @property
    def digests(self) -> frozenset[str]:
        """SHA-256 of every whole body that was ever put here."""
        with self._lock:
            return frozenset(self._digests)

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self._lock:
            return self._connections

    # ---- threads

    def _accept(self, listener: socket.socket) -> None:
        while not self.closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections += 1
                number = self._connections
            self._spawn(self._connection, sock, number)

    def _connection(self, raw: socket.socket, number: int) -> None:
        sock = raw
        with contextlib.suppress(OSError, _GoneError):
            raw.settimeout(30)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if self._tls is not None:
                    sock = self._tls.wrap_socket(raw, server_side=True, suppress_ragged_eofs=True)
                with self._lock:
                    self._sockets.add(sock)
                self._talk(sock, number)
            finally:
                with self._lock:
                    self._sockets.discard(sock)
                sock.close()
                raw.close()

    def _talk(self, sock: socket.socket, number: int) -> None:
        rest = ahead = b""
        while not self.closing.is_set():
            request, rest = self._read_request(sock, rest)
            if ahead:
                sock.sendall(ahead)
            with self._lock:
                exchange = Exchange(len(self._exchanges) + 1, number, request, time.monotonic())
                self._exchanges.append(exchange)
                self._active[request.path] = self._active.get(request.path, 0) + 1
                self.peak = max(self.peak, sum(self._active.values()))
            try:
                turn = self._prepare(request, exchange)
                try:
                    _Sender(self, sock, turn).send()
                finally:
                    for call in turn.reply.then:
                        call()
            finally:
                with self._lock:
                    self._active[request.path] -= 1
            ahead = turn.reply.ahead
            if turn.reply.close or (request.header("connection") or "").lower() == "close":
                raise _GoneError

    def _read_request(self, sock: socket.socket, data: bytes) -> tuple[Request, bytes]:
        while b"\r\n\r\n" not in data:
            piece = self._receive(sock)
            if not piece:
                raise _GoneError
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ", 2)
        headers = tuple((key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines))
        return Request(method, target, headers), rest

    def _receive(self, sock: socket.socket) -> bytes:
        while not self.closing.is_set():
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            if pending or select.select([sock], [], [], 0.2)[0]:
                return sock.recv(CHUNK)
        raise _GoneError

    def _prepare(self, request: Request, exchange: Exchange) -> Turn:
        with self._lock:
            blob = self._blobs.get(request.path)
            turn = Turn(self, request, exchange, blob, Reply())
            answer(turn)
            chosen = []
            for rule in self._rules:
                if rule.wants(request):
                    if rule.skip > 0:
                        rule.skip -= 1
                        continue
                    rule.fired += 1
                    chosen.append(rule)
            for rule in chosen:
                for behaviour in rule.behaviours:
                    behaviour(turn)
            if request.method == "HEAD":
                turn.reply.length = len(turn.reply.body) if turn.reply.length is None else turn.reply.length
                turn.reply.body = memoryview(b"")
        return turn


class Origins:
    """Makes origins and stops them all at the end; a context manager."""

    def __init__(self) -> None:
        self.made: list[Origin] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        for one in self.made:
            one.stop()

    def new(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Origin:
        self.made.append(Origin(tls=tls, host=host))
        return self.made[-1]


# ---- the right answer


def answer(turn: Turn, *, ranges: bool = True, if_range: bool = True) -> None:
    """Fill `turn.reply` with what a correct server says; without `ranges` or `if_range` it ignores those.

    How the reply is delivered (framing, cuts, pace) stays as it was.
    """
    reply = turn.reply
    reply.status, reply.headers, reply.body = 200, [], memoryview(b"")
    blob, request = turn.blob, turn.request
    if request.method not in ("GET", "HEAD"):
        page(reply, 405, b"not here")
        return
    generation = dict(blob.headers).get("x-goog-generation") if blob else None
    asked = parse_qs(request.query).get("generation", [generation])[0]
    if blob is None or (generation is not None and asked != generation):
        page(reply, 404, b"<Error><Code>NoSuchKey</Code><Message>No such object</Message></Error>")
        return
    describe(reply, blob)
    status = _precondition(request, blob, generation)
    if status is not None:
        reply.status = status
        return
    reply.body = memoryview(blob.body)
    wanted = request.range if ranges else None
    if wanted is not None and (not if_range or _if_range_holds(request, blob)):
        first, last = wanted
        total = len(blob.body)
        last = total - 1 if last is None else min(last, total - 1)
        if first >= total or last < first:
            reply.status = 416
            reply.body = memoryview(b"")
            reply.set("Content-Range", f"bytes */{total}")
            return
        partial(reply, blob, first, last)


def describe(reply: Reply, blob: Blob) -> None:
    """The headers that describe `blob`."""
    reply.headers = [("Content-Type", blob.content_type), ("Accept-Ranges", "bytes")]
    if blob.etag is not None:
        reply.headers.append(("ETag", blob.etag))
    if blob.last_modified is not None:
        reply.headers.append(("Last-Modified", blob.last_modified))
    reply.headers.extend(blob.headers)


def partial(reply: Reply, blob: Blob, first: int, last: int) -> None:
    """Make `reply` the 206 for bytes first..last of `blob`, both inclusive."""
    reply.status = 206
    reply.body = memoryview(blob.body)[first : last + 1]
    reply.set("Content-Range", f"bytes {first}-{last}/{len(blob.body)}")


def page(reply: Reply, status: int, body: bytes, content_type: str = "text/plain") -> None:
    """Make `reply` a page of its own, nothing left of the object."""
    reply.status = status
    reply.headers = [("Content-Type", content_type)]
    reply.body = memoryview(body)


def _precondition(request: Request, blob: Blob, generation: str | None) -> int | None:
    if_match = request.header("if-match")
    if if_match is not None and if_match not in ("*", blob.etag):
        return 412
    wanted = request.header("x-goog-if-generation-match")
    if wanted is not None and wanted != generation:
        return 412
    unmodified = request.header("if-unmodified-since")
    if if_match is None and unmodified is not None and unmodified != blob.last_modified:
        return 412
    none_match = request.header("if-none-match")
    if none_match is not None and blob.etag is not None and blob.etag.removeprefix("W/") in none_match:
        return 304
    return None


def _if_range_holds(request: Request, blob: Blob) -> bool:
    condition = request.header("if-range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):  # strong comparison: a weak tag never matches
        return condition == blob.etag and not condition.startswith("W/")
    return condition == blob.last_modified


# ---- sending


class _Sender:
    """Puts one reply on the wire, with its faults."""

    def __init__(self, origin: Origin, sock: socket.socket, turn: Turn) -> None:
        self.origin = origin
        self.sock = sock
        self.turn = turn
        self.reply = turn.reply
        self.exchange = turn.exchange

    def send(self) -> None:
        reply = self.reply
        self.exchange.status = reply.status
        if reply.hold is not None and reply.hold[0] < 0:
            self._wait(reply.hold[1])
        if reply.before:
            self.sock.sendall(reply.before)
        if reply.raw is not None:
            self.sock.sendall(reply.raw)
        if reply.endless is not None:
            self._repeat(reply.endless)
        if reply.raw is not None:
            self.exchange.answered = time.monotonic()
            self._end("fin")
        self.sock.sendall(self._head())
        self.exchange.answered = time.monotonic()
        if self.turn.request.method != "HEAD" and reply.status != 304:
            self._body()
        self.exchange.finished = True
        if reply.later:
            self._drain()
            self.sock.sendall(reply.later)
        if reply.framing == "close":
            self._end("fin")

    def _head(self) -> bytes:
        reply = self.reply
        lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Whatever')}"]
        lines += [f"{key}: {value}" for key, value in reply.headers]
        if not any(key.lower() == "date" for key, _ in reply.headers):
            lines.append(f"Date: {formatdate(usegmt=True)}")
        if reply.framing == "length":
            length = len(reply.body) if reply.length is None else reply.length
            if reply.status != 304 and not any(key.lower() == "content-length" for key, _ in reply.headers):
                lines.append(f"Content-Length: {length}")
        elif reply.framing != "close":
            lines.append("Transfer-Encoding: chunked")
        if reply.close or reply.framing == "close":
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _body(self) -> None:
        reply = self.reply
        body, size = reply.body, len(reply.body)
        stops = sorted({at for at in (reply.cut and reply.cut[0], reply.hold and reply.hold[0]) if at is not None})
        step = reply.pace[0] if reply.pace else CHUNK
        at = 0
        while True:
            if reply.hold is not None and at == reply.hold[0]:
                self._wait(reply.hold[1])
            if reply.cut is not None and at >= reply.cut[0]:
                self._drain()
                self.origin.closing.wait(reply.cut_after)
                self._end(reply.cut[1])
            if at >= size:
                break
            end = min([size, at + step, *(stop for stop in stops if stop > at)])
            self._part(body[at:end], stray=reply.same_packet if end == size else b"")
            at = end
            if reply.pace is not None:
                self._alive()
                self.origin.closing.wait(reply.pace[1])
        if reply.framing == "chunked":
            self.sock.sendall(b"0\r\n\r\n")
        elif reply.framing == "chunked-open":
            self._end("fin")

    def _part(self, part: memoryview, stray: bytes) -> None:
        data = bytes(part)
        if self.reply.framing.startswith("chunked"):
            data = f"{len(part):x}\r\n".encode() + data + b"\r\n"
        self.sock.sendall(data + stray)
        self.exchange.sent += len(part)

    def _repeat(self, data: bytes) -> None:
        while not self.origin.closing.is_set():
            self.sock.sendall(data)
            self._alive()
            self.origin.closing.wait(0.01)
        raise _GoneError

    def _wait(self, hold: Hold) -> None:
        hold.arrive()
        while not hold.released and not self.origin.closing.wait(0.01):
            self._alive()

    def _alive(self) -> None:
        """Stop when the client has gone."""
        if isinstance(self.sock, ssl.SSLSocket):
            if select.select([self.sock], [], [], 0)[0] and not self.sock.recv(1):
                raise _GoneError
        elif select.select([self.sock], [], [], 0)[0] and not self.sock.recv(1, socket.MSG_PEEK):
            raise _GoneError

    def _drain(self) -> None:
        """Until the client's kernel has acknowledged everything, or the client has gone."""
        outstanding = True
        while outstanding and not self.origin.closing.wait(0.002):
            buffer = fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
            outstanding = struct.unpack("i", buffer)[0] > 0

    def _end(self, how: Literal["fin", "rst"]) -> None:
        """End the connection as scripted; TLS ends without close_notify."""
        self._drain()
        if how == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _GoneError

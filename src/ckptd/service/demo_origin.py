"""The origin of `ckptd demo`: an HTTP server on 127.0.0.1 that behaves like an object store on a slow line.

It knows ranges, If-Range, strong ETags and published digests; it sends at a set rate over all connections, and cuts a
connection where it was told to. It counts what it was asked for and what it sent, so that the demo's claims rest on
somebody other than the program. A thread a connection; nothing here is for use outside the demo and its test.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, Self

import google_crc32c

from ckptd.service.demo_archives import Archive, Vouching

CHUNK = 32 * 1024  # bytes; a few milliseconds' worth, so that the dashboard moves smoothly
END_POLL = 0.05  # seconds between two looks at whether it is to stop
IDLE = 30.0  # seconds that a silent connection is kept
MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Object:
    """One version of what is served under a name."""

    path: Path
    size: int
    etag: str
    digests: tuple[tuple[str, str], ...]


class Origin:
    """Serves the files of `folder` while it is entered, at `rate` bytes a second in all."""

    def __init__(self, folder: Path, rate: float) -> None:
        self._folder = folder
        self._objects: dict[str, _Object] = {}
        self._cuts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._free_at = 0.0  # when the line can take the next byte
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(END_POLL,), name="ckptd-demo-origin", daemon=True
        )
        self.rate = rate  # may be changed while it serves
        self.requests = 0
        self.sent = 0  # body bytes given to the kernel
        self.cuts_made = 0

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, chosen by the kernel."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, archive: Archive) -> str:
        """Where `archive` is served."""
        return f"http://127.0.0.1:{self.port}/{archive.file_name}"

    def put(self, archive: Archive, body: bytes) -> None:
        """Serve `body` from now on; who is reading the version before it reads on."""
        path = self._folder / archive.file_name
        new = path.with_suffix(".new")
        new.write_bytes(body)
        new.replace(path)
        md5 = hashlib.md5(body, usedforsecurity=False)
        with self._lock:
            digests = _digests(body, archive.vouching)
            self._objects[archive.file_name] = _Object(path, len(body), f'"{md5.hexdigest()}"', digests)

    def cut_next(self, archive: Archive, after: int) -> None:
        """Break the next transfer of `archive` off after so many bytes of its body, once."""
        with self._lock:
            self._cuts[archive.file_name] = after

    def forget(self) -> None:
        """Count from zero again."""
        with self._lock:
            self.requests = self.sent = 0

    # --- for the connections -------------------------------------------------------------------------------------

    def find(self, target: str) -> _Object | None:
        """What is served under a request's target."""
        with self._lock:
            self.requests += 1
            return self._objects.get(target.removeprefix("/"))

    def cut_after(self, name: str, length: int) -> int | None:
        """After how many bytes a transfer of `length` is to be cut; None for not at all."""
        with self._lock:
            if self._cuts.get(name, length) >= length:
                return None
            self.cuts_made += 1
            return self._cuts.pop(name)

    def pace(self, count: int) -> bool:
        """Wait until the line is free for `count` bytes; False when the origin is to stop."""
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self.rate
        return not self._stopped.wait(begin - now)

    def count(self, sent: int) -> None:
        """So many more bytes have left."""
        with self._lock:
            self.sent += sent


def _digests(body: bytes, vouching: Vouching) -> tuple[tuple[str, str], ...]:
    """Header lines in which an origin publishes digests of the whole object, whatever part of it is asked for."""

    def text(digest: bytes) -> str:
        return base64.b64encode(digest).decode("ascii")

    if vouching == "google":
        crc = int(google_crc32c.value(body)).to_bytes(4, "big")
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        return ("x-goog-hash", f"crc32c={text(crc)}"), ("x-goog-hash", f"md5={text(md5)}")
    if vouching == "rfc9530":
        return (("Repr-Digest", f"sha-256=:{text(hashlib.sha256(body).digest())}:"),)
    return ()


class _Server(ThreadingTCPServer):
    """Not `HTTPServer`, which asks the name service for its own name."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the story, not an error to print."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
        """The terminal belongs to the program."""

    def do_HEAD(self) -> None:  # http.server asks for these names
        found = self._find()
        if found is not None:
            self._head(found, None)

    def do_GET(self) -> None:
        found = self._find()
        if found is None:
            return
        with found.path.open("rb") as file:
            part = self._part(found)
            if part is not None and part[0] >= found.size:
                self._unsatisfiable(found)
                return
            self._head(found, part)
            start, end = part or (0, found.size)
            file.seek(start)
            cut = self.server.origin.cut_after(found.path.name, end - start)
            sent = self._send(file.fileno(), end - start if cut is None else cut)
            self.close_connection = self.close_connection or sent < end - start

    def _find(self) -> _Object | None:
        found = self.server.origin.find(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        return found

    def _part(self, found: _Object) -> tuple[int, int] | None:
        """`[start, end)` of what is asked for; None for all of it (RFC 9110 sections 13.1.5 and 14.2)."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", found.etag) != found.etag:
            return None
        last = int(match[2]) if match[2] else found.size - 1
        return int(match[1]), min(last + 1, found.size)

    def _unsatisfiable(self, found: _Object) -> None:
        self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        self.send_header("Content-Range", f"bytes */{found.size}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _head(self, found: _Object, part: tuple[int, int] | None) -> None:
        start, end = part or (0, found.size)
        self.send_response(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT)
        if part is not None:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{found.size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", "application/gzip")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", found.etag)
        self.send_header("Last-Modified", MODIFIED)
        for name, value in found.digests:
            self.send_header(name, value)
        self.end_headers()

    def _send(self, file: int, length: int) -> int:
        """Send `length` bytes at the pace of the line; how many were sent before somebody hung up."""
        sent = 0
        while sent < length:
            data = os.read(file, min(CHUNK, length - sent))
            if not data or not self.server.origin.pace(len(data)):
                break
            try:
                self.connection.sendall(data)
            except OSError:
                break
            sent += len(data)
            self.server.origin.count(len(data))
        return sent

"""What origins do wrong, one behaviour each, for `Origin.on`. Offsets count bytes of the body being sent.

Every function here returns a behaviour; several given together spoil the same reply one after the other.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from itertools import count
from typing import Literal

import origin as o
from origin import Behaviour, Hold, Turn

HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"


def cut(at: int, how: Literal["fin", "rst"] = "fin", *, after: float = 0.05) -> Behaviour:
    """End the connection after exactly `at` body bytes, `after` seconds behind the last of them.

    With `after=0` the end arrives together with the bytes, so that a client may see it before it has looked at
    them, and lose them; a moment later it has them in hand.
    """

    def behave(turn: Turn) -> None:
        turn.reply.cut = (at, how)
        turn.reply.cut_after = after

    return behave


def hold(at: int, where: Hold) -> Behaviour:
    """Send `at` body bytes, then stand still at `where`; -1 stands before the status line."""

    def behave(turn: Turn) -> None:
        turn.reply.hold = (at, where)

    return behave


def pace(size: int, seconds: float) -> Behaviour:
    """Send `size` bytes every `seconds`."""

    def behave(turn: Turn) -> None:
        turn.reply.pace = (size, seconds)

    return behave


def then(call: Callable[[], object]) -> Behaviour:
    """Do `call` once this reply is out, whatever became of it."""

    def behave(turn: Turn) -> None:
        turn.reply.then.append(lambda: (call(), None)[1])

    return behave


# ---- framing


def no_length() -> Behaviour:
    """No Content-Length and no chunks: the end of the connection is the end of the body."""

    def behave(turn: Turn) -> None:
        turn.reply.framing = "close"

    return behave


def chunked(*, last_chunk: bool = True) -> Behaviour:
    def behave(turn: Turn) -> None:
        turn.reply.framing = "chunked" if last_chunk else "chunked-open"

    return behave


def says_length(length: int) -> Behaviour:
    """A Content-Length that is not true; the body is sent whole and the connection ends after it."""

    def behave(turn: Turn) -> None:
        turn.reply.length = length
        turn.reply.close = True

    return behave


def header(name: str, value: str, *more: str) -> Behaviour:
    """Send `name` with this value in place of any other; with several values, one line each."""

    def behave(turn: Turn) -> None:
        turn.reply.set(name, value)
        turn.reply.headers += [(name, other) for other in more]

    return behave


def drop(*names: str) -> Behaviour:
    def behave(turn: Turn) -> None:
        for name in names:
            turn.reply.drop(name)

    return behave


def raw(data: bytes) -> Behaviour:
    """Send `data` in place of everything, then close."""

    def behave(turn: Turn) -> None:
        turn.reply.raw = data

    return behave


def before(data: bytes) -> Behaviour:
    """Send `data` ahead of the status line."""

    def behave(turn: Turn) -> None:
        turn.reply.before = data

    return behave


def endless(data: bytes, start: bytes = b"") -> Behaviour:
    """Send `start`, then `data` again and again until the client goes."""

    def behave(turn: Turn) -> None:
        turn.reply.before, turn.reply.endless = start, data

    return behave


def stray(data: bytes, when: Literal["same packet", "later", "next request"]) -> Behaviour:
    """Extra bytes on a connection that stays open: in the body's last packet, once all of it has arrived, or as
    soon as the next request comes, ahead of its answer."""

    def behave(turn: Turn) -> None:
        if when == "later":
            turn.reply.later = data
        elif when == "next request":
            turn.reply.ahead = data
        else:
            turn.reply.same_packet = data

    return behave


def closes() -> Behaviour:
    """`Connection: close`, honestly."""

    def behave(turn: Turn) -> None:
        turn.reply.close = True

    return behave


# ---- ranges


def ignores_range() -> Behaviour:
    """200 with the whole object, whatever was asked."""
    return lambda turn: o.answer(turn, ranges=False)


def ignores_if_range() -> Behaviour:
    """Honours Range though If-Range does not hold: 206 of the new object (Dormice#86)."""
    return lambda turn: o.answer(turn, if_range=False)


def refuses_etag_if_range() -> Behaviour:
    """Drops the Range whenever If-Range holds an ETag: always 200 (VK, aria2-next#43)."""

    def behave(turn: Turn) -> None:
        if (turn.request.header("if-range") or "").startswith(('"', "W/")):
            o.answer(turn, ranges=False)

    return behave


def sends(first: int, last: int | None = None, *, from_asked: bool = False) -> Behaviour:
    """206 with other bytes than those asked for, and the Content-Range that describes them truthfully.

    With `from_asked` the offsets are added to the first byte asked for; last None means to the end.
    """

    def behave(turn: Turn) -> None:
        blob, asked = turn.blob, turn.request.range
        if blob is None or asked is None:
            return
        start = asked[0] if from_asked else 0
        end = len(blob.body) - 1 if last is None else min(start + last, len(blob.body) - 1)
        o.describe(turn.reply, blob)
        o.partial(turn.reply, blob, start + first, end)

    return behave


def content_range(*values: str) -> Behaviour:
    """Spell Content-Range otherwise, a line each; none at all leaves it out.

    `{first}`, `{last}`, `{total}`, `{next}` and `{size}` stand for the true numbers.
    """

    def behave(turn: Turn) -> None:
        reply, blob = turn.reply, turn.blob
        if reply.status != 206 or blob is None:
            return
        true = next(value for key, value in reply.headers if key == "Content-Range")
        span, _, total = true.removeprefix("bytes ").partition("/")
        first, _, last = span.partition("-")
        reply.drop("Content-Range")
        for value in values:
            text = value.format(
                first=first, last=last, total=total, next=int(total) + 1, size=int(last) - int(first) + 1
            )
            reply.headers.append(("Content-Range", text))

    return behave


def whole_as_206() -> Behaviour:
    """206 `bytes 0-(T-1)/T` with the whole body (aria2#1129)."""
    return sends(0)


def multipart() -> Behaviour:
    """206 multipart/byteranges for a single range."""

    def behave(turn: Turn) -> None:
        reply, blob = turn.reply, turn.blob
        if reply.status != 206 or blob is None:
            return
        part = next(value for key, value in reply.headers if key == "Content-Range")
        head = f"--B\r\nContent-Type: {blob.content_type}\r\nContent-Range: {part}\r\n\r\n".encode()
        reply.drop("Content-Range")
        reply.set("Content-Type", "multipart/byteranges; boundary=B")
        reply.body = memoryview(head + bytes(reply.body) + b"\r\n--B--\r\n")

    return behave


def unasked_206() -> Behaviour:
    """206 to a request without Range."""

    def behave(turn: Turn) -> None:
        if turn.blob is not None and turn.request.header("range") is None:
            o.partial(turn.reply, turn.blob, 0, len(turn.blob.body) - 1)

    return behave


def slice_as_200() -> Behaviour:
    """200 with Content-Range and only the slice (ModelScope)."""

    def behave(turn: Turn) -> None:
        if turn.reply.status == 206:
            turn.reply.status = 200

    return behave


def not_satisfiable(content_range_value: str | None = None) -> Behaviour:
    """416, with or without a Content-Range."""

    def behave(turn: Turn) -> None:
        turn.reply.status = 416
        turn.reply.body = memoryview(b"")
        turn.reply.drop("Content-Range")
        if content_range_value is not None:
            turn.reply.set("Content-Range", content_range_value)

    return behave


# ---- validators


def etags(values: Iterable[str]) -> Behaviour:
    """The next of `values` as ETag each time, for equal bytes. If-Range is judged by the blob's own tag."""
    supply = iter(values)

    def behave(turn: Turn) -> None:
        value = next(supply)
        if turn.request.header("if-range") not in (None, value):
            o.answer(turn, ranges=False)
        turn.reply.set("ETag", value)

    return behave


def changing_etags() -> Behaviour:
    """A new strong ETag each time."""
    return etags(f'"edge-{number}"' for number in count())


def changing_length(shorter: Iterable[int]) -> Behaviour:
    """Each reply is a whole object of another length (aria2#590): as many bytes shorter as the next says."""
    supply = iter(shorter)

    def behave(turn: Turn) -> None:
        o.answer(turn, ranges=False)
        turn.reply.body = turn.reply.body[: len(turn.reply.body) - next(supply, 0)]

    return behave


# ---- other bytes


def flip(offset: int) -> Behaviour:
    """One bit of the object at `offset` differs on the wire, whichever range carries it."""

    def behave(turn: Turn) -> None:
        reply, blob = turn.reply, turn.blob
        if blob is None or reply.status not in (200, 206):
            return
        start = 0
        if reply.status == 206:
            true = next(value for key, value in reply.headers if key == "Content-Range")
            start = int(true.removeprefix("bytes ").partition("-")[0])
        if start <= offset < start + len(reply.body):
            body = bytearray(reply.body)
            body[offset - start] ^= 0x10
            reply.body = memoryview(bytes(body))

    return behave


def page(body: bytes = HTML, *, status: int = 200, content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """A page in place of the object."""
    return lambda turn: o.page(turn.reply, status, body, content_type)


def gzip_coded() -> Behaviour:
    """Content-Encoding: gzip, really coded, although identity was asked for."""

    def behave(turn: Turn) -> None:
        turn.reply.body = memoryview(gzip.compress(bytes(turn.reply.body), 1, mtime=0))
        turn.reply.set("Content-Encoding", "gzip")

    return behave


# ---- statuses


def status(code: int, *headers: tuple[str, str], body: bytes = b"not now\n") -> Behaviour:
    def behave(turn: Turn) -> None:
        o.page(turn.reply, code, body)
        turn.reply.headers += headers

    return behave


def later(code: int, retry_after: str) -> Behaviour:
    """429 or 503 with Retry-After."""
    return status(code, ("Retry-After", retry_after))


def redirect(location: str | None, code: int = 302, *headers: tuple[str, str]) -> Behaviour:
    """A redirect; without a location the header is missing."""
    extra = () if location is None else (("Location", location),)
    return status(code, *extra, *headers, body=b"")

"""`ckptd.front.http` and `guests`: where is listened to, and who may come in for how long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from web import free_port

from ckptd.core.events import Noted
from ckptd.front import guests, http
from ckptd.front.guests import HEADERS, Guests, plain
from ckptd.front.http import Listener
from ckptd.front.tally import Tally
from ckptd.service.daemon import Daemon
from ckptd.service.hub import Hub

SECONDS = 20.0  # before a test has failed


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # the other side is a socket: it sets no event
            await asyncio.sleep(0.005)


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """All that comes."""
    async with asyncio.timeout(SECONDS):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


# --- guests ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def house(size: int = 2) -> AsyncIterator[tuple[int, Guests]]:
    """A server whose answer has so many bytes, on a port."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        del request
        return plain(200, "x" * size)

    server = web.Server(answer, handler_cancellation=True)
    made = Guests(server)
    listening = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], made
    finally:
        listening.close()
        await server.shutdown(0.1)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: y\r\n"], ids=["nothing", "a bit", "no end"])
async def test_whoever_dawdles_has_to_go(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "LONGEST", 0.1)
    async with house() as (port, made):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await until_closed(reader) == b""
        writer.close()
        assert not made.here


async def test_whoever_does_not_read_has_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "LONGEST", 0.5)
    async with house(50_000_000) as (port, made):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: made.here)
        await until(lambda: not made.here)
        assert len(await until_closed(reader)) < 50_000_000
        writer.close()


async def test_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MOST", 2)
    async with house() as (port, made):
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        await until(lambda: len(made.here) == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 503 ")
        for each in (*writers, writer):
            each.close()
        await until(lambda: not made.here)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET /<script> HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: <script>\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["another protocol", "another version", "a long header", "a long line", "many headers", "a wrong length"],
)
async def test_what_is_not_understood_is_not_told_back(sent: bytes) -> None:
    async with house() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head, _, body = (await until_closed(reader)).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
        assert body == b"this is not understood\n"
        assert all(f"{name}: {value}".encode() in head for name, value in HEADERS.items())


# --- where -----------------------------------------------------------------------------------------------------------


class Stage:
    """A daemon as far as the listener knows it."""

    def __init__(self, listen: str | None) -> None:
        self.hub = Hub()
        self.said: list[str] = []
        self.watchman = SimpleNamespace(tell=self.tell)
        self.want(listen)

    def want(self, listen: str | None) -> None:
        self.place = SimpleNamespace(manifest=SimpleNamespace(daemon=SimpleNamespace(listen=listen)))

    def tell(self, name: str, text: str) -> None:
        self.said.append(f"{name} {text}")
        self.hub.emit(Noted(name, text))

    def read_again(self, listen: str | None) -> None:
        self.want(listen)
        self.hub.emit(Noted("manifest", "read again"))

    async def says(self, text: str) -> None:
        """Wait until it has said so."""
        await until(lambda: any(text in each for each in self.said))


class Counting(Listener):
    """Knows how often it has tried."""

    tries = 0

    async def _try(self, address: str) -> None:
        self.tries += 1
        await super()._try(address)


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[Counting]:
    listener = Counting(cast("Daemon", stage), Tally())
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait({task})
        await listener.close()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


async def test_a_port_in_use_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TRY_AGAIN", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        stage = Stage(f"127.0.0.1:{port}")
        async with listening(stage) as listener:
            await until(lambda: listener.tries > 3)
            other.close()
            await stage.says(f"page at http://127.0.0.1:{port}/")
            assert answers(port)
    assert stage.said == [
        f"page cannot listen on 127.0.0.1:{port}: address already in use; trying again every minute",
        f"page at http://127.0.0.1:{port}/",
    ]
    assert not answers(port)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("192.0.2.1:8473", "cannot assign requested address"),
        ("no-such-host.invalid:8473", "cannot listen on no-such-host.invalid:8473: "),
    ],
)
async def test_an_address_that_cannot_be_had(address: str, says: str) -> None:
    stage = Stage(address)
    async with listening(stage):
        await stage.says(says)


async def test_it_moves_when_the_manifest_says_so() -> None:
    first, second = free_port(), free_port()
    stage = Stage(None)
    async with listening(stage):
        stage.read_again(f"127.0.0.1:{first}")
        await stage.says(f"page at http://127.0.0.1:{first}/")
        assert answers(first)
        stage.read_again(f"0.0.0.0:{second}")
        await stage.says(f"page at http://0.0.0.0:{second}/, for everybody who can reach this machine")
        assert not answers(first)
        assert answers(second)
        stage.read_again(None)
        await stage.says(f"page no longer at http://0.0.0.0:{second}/")
        await until(lambda: not answers(second))

"""The event loop is never blocked: whoever waits for a disk or a lock does it in a thread."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from ckptd.core import events
from ckptd.core.models import Outcome
from ckptd.service import sync
from ckptd.service.fetch import Pass
from ckptd.service.workplace import Workplace, enter
from ckptd.store import inventory

BODIES = {"/large.tar.gz": gzip.compress(os.urandom(5_000_000), 0), "/small.tar.gz": gzip.compress(b"small")}


@asynccontextmanager
async def origin(*, cut: int | None = None) -> AsyncIterator[int]:
    """A loopback origin on this very loop; its port. `cut`: the first answer ends after so many bytes."""
    cuts = [cut]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                body, first = BODIES[request.split()[1]], 0
                wanted = re.search(r"^range: bytes=(\d+)-", request, re.IGNORECASE | re.MULTILINE)
                status, extra = "200 OK", ""
                if wanted:
                    first = int(wanted[1])
                    status, extra = (
                        "206 Partial Content",
                        f"Content-Range: bytes {first}-{len(body) - 1}/{len(body)}\r\n",
                    )
                head = f'HTTP/1.1 {status}\r\nETag: "v"\r\nContent-Length: {len(body) - first}\r\n{extra}\r\n'
                length = cuts.pop() if cuts and len(body) > 100_000 else None
                writer.write(head.encode() + body[first : None if length is None else first + length])
                await writer.drain()
                if length is not None:
                    return
        writer.close()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        server.close()
        await server.wait_closed()


def workplace(root: Path, port: int) -> Workplace:
    entries = [f'[[checkpoint]]\nname = "{path[1:6]}"\nurl = "http://127.0.0.1:{port}{path}"\n' for path in BODIES]
    (root / "manifest.toml").write_text("\n".join(entries))
    return enter(root / "manifest.toml", ())


async def run(place: Workplace, emit: events.Emit) -> list[Outcome]:
    tasks = sync.plan(place, inventory.records(place.places))
    return await Pass(place, emit, locked=False, update=False).run(tasks)


class Watch:
    """Calls that block raise, from the first `Started` to the last `Finished`."""

    def __init__(self, buster: BlockBuster) -> None:
        self._buster = buster
        self._left = len(BODIES)
        self.watched = 0

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Started):
            self._buster.activate()
        if isinstance(event, events.Finished):
            self._left -= 1
            if not self._left:
                self._buster.deactivate()
        self.watched += 1


@pytest.fixture
def buster() -> BlockBuster:
    return BlockBuster(scanned_modules=["ckptd"])


@pytest.mark.parametrize("cut", [None, 2_000_000])
async def test_nothing_blocks_while_bytes_move(tmp_path: Path, buster: BlockBuster, cut: int | None) -> None:
    """Received, written, digested, remembered, cut off and resumed, proven, published, locked."""
    watch = Watch(buster)
    async with origin(cut=cut) as port:
        try:
            outcomes = await run(workplace(tmp_path, port), watch)
        finally:
            buster.deactivate()
    assert [(outcome.state, outcome.error) for outcome in outcomes] == [("fetched", None)] * 2
    assert watch.watched > 4
    assert (tmp_path / "manifest.lock").exists()


async def test_nothing_blocks_from_beginning_to_end(tmp_path: Path, buster: BlockBuster) -> None:
    async with origin() as port:
        place = workplace(tmp_path, port)
        tasks = sync.plan(place, inventory.records(place.places))  # before there is a loop, in the program
        buster.activate()
        try:
            await Pass(place, lambda event: None, locked=False, update=False).run(tasks)
        finally:
            buster.deactivate()

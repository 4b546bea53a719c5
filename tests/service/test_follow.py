"""`service.follow`: what a daemon says, over its restarts, at a socket that a test answers at."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from ckptd.core import wire
from ckptd.core.events import Started
from ckptd.errors import CkptdError, ConfigError, MissingError, PolicyError, StorageError
from ckptd.service.follow import LONGEST_PAUSE, NOBODY, Away, follow, pause


@asynccontextmanager
async def daemon(path: Path, *lines: bytes) -> AsyncIterator[list[wire.Request]]:
    """Somebody who reads a request, says these lines, and hangs up; the requests."""
    asked: list[wire.Request] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(wire.parse_request(await reader.readline()))
        writer.writelines(lines)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    async with server:
        yield asked


class Naps:
    """Sleeps that take no time; after the last of them, patience is at its end."""

    def __init__(self, most: int) -> None:
        self.taken: list[float] = []
        self.most = most

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)
        if len(self.taken) >= self.most:
            raise EndError


class EndError(Exception):
    """Enough was seen."""


async def said(path: Path, naps: Naps, *, wait: bool = False) -> list[object]:
    """Everything until patience is at its end."""
    found: list[object] = []
    try:
        async with aclosing(follow(path, wait=wait, sleep=naps)) as words:
            async for word in words:
                found.append(word)  # noqa: PERF401  # what came before the end counts
    except EndError:
        pass
    return found


STANDING = wire.status_line({"pid": 1})


async def test_it_asks_to_watch_and_tells_what_is_said(short_path: Path) -> None:
    started = Started("a", 10)
    async with daemon(short_path / "s", STANDING, wire.event_line(started)) as asked:
        found = await said(short_path / "s", Naps(1))
    assert found == [wire.Standing({"pid": 1}), started, Away(NOBODY, pause(0))]
    assert [request.command for request in asked] == ["watch"]


async def test_nobody_at_the_start_is_an_error_that_says_what_to_do(short_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        await said(short_path / "s", Naps(1))
    assert "ckptd daemon" in caught.value.hint


async def test_a_socket_that_nobody_listens_on_is_nobody(short_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(short_path / "s"))
    dead.close()
    with pytest.raises(MissingError):
        await said(short_path / "s", Naps(1))


async def test_who_waits_is_told_that_there_is_nobody(short_path: Path) -> None:
    naps = Naps(3)
    assert await said(short_path / "s", naps, wait=True) == [Away(NOBODY, seconds) for seconds in naps.taken]
    assert naps.taken == sorted(naps.taken)


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause(attempt) for attempt in range(2000)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 1
    assert pauses[-1] == LONGEST_PAUSE


async def test_a_daemon_that_comes_back_is_met_again(short_path: Path) -> None:
    async with daemon(short_path / "s", STANDING) as asked:
        naps = Naps(3)
        found = await said(short_path / "s", naps)
    assert len(asked) == 3
    assert found == [wire.Standing({"pid": 1}), Away(NOBODY, pause(0))] * 3
    assert naps.taken == [pause(0)] * 3, "who was met is no reason to wait longer"


@pytest.mark.parametrize(
    "error", [PolicyError("not for you"), ConfigError("another version"), StorageError("broken")], ids=type
)
async def test_what_forbids_watching_ends_it_at_the_start(short_path: Path, error: CkptdError) -> None:
    async with daemon(short_path / "s", wire.error_line(error)):
        with pytest.raises(type(error), match=error.message):
            await said(short_path / "s", Naps(1))


async def test_what_forbids_watching_later_is_waited_out(short_path: Path) -> None:
    """A daemon that is just starting may not be everybody's yet."""
    async with daemon(short_path / "s", STANDING, wire.error_line(PolicyError("too many callers at once"))):
        found = await said(short_path / "s", Naps(1))
    assert found[-1] == Away("too many callers at once", pause(0))


@pytest.mark.parametrize(
    "line",
    [wire.error_line(ConfigError("this daemon speaks version 2")), b'{"event":"Unheard","name":"a"}\n', b"garbage\n"],
    ids=["other version", "unknown event", "no protocol at all"],
)
async def test_another_version_ends_it_whenever_it_comes(short_path: Path, line: bytes) -> None:
    async with daemon(short_path / "s", STANDING, line):
        with pytest.raises(ConfigError):
            await said(short_path / "s", Naps(1))

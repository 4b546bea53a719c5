"""A body received straight into buffers: none is lost when buffers run out, nothing beyond the body is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ckptd.core.pace import StallMeter
from ckptd.transfer.buffers import Buffer, Pool
from ckptd.transfer.intake import Intake
from ckptd.transfer.tap import SPILL, Tap

BODY = bytes(range(256)) * 512  # 128 KiB


class Store:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}

    def put(self, offset: int, view: memoryview, release: Callable[[], None]) -> None:
        self.parts[offset] = bytes(view)
        release()

    @property
    def content(self) -> bytes:
        return b"".join(self.parts[offset] for offset in sorted(self.parts))


class Wire(asyncio.Transport):
    """A transport that only notes whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = False

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True


def deliver(tap: Tap, data: bytes) -> int:
    """What asyncio does when bytes have come: ask for room, fill it, say so. The number of bytes that fitted."""
    room = tap.get_buffer(-1)
    count = min(len(room), len(data))
    room[:count] = data[:count]
    tap.buffer_updated(count)
    return count


@pytest.fixture
def pool() -> Pool:
    return Pool(1)


def tapped(pool: Pool, store: Store, wire: Wire, length: int) -> Tap:
    meter = StallMeter(1.0, 60.0, 0.0)
    intake = Intake(store, pool, meter, at=0, segment=lambda: 1, on_bytes=lambda count: None, most=1 << 40)
    return Tap(wire, asyncio.Protocol(), length, intake)


async def test_what_aiohttp_had_read_comes_first(pool: Pool) -> None:
    store, wire = Store(), Wire()
    tap = tapped(pool, store, wire, len(BODY))
    tap.start(BODY[:1000])
    assert wire.is_reading()
    at = 1000
    while at < len(BODY):
        at += deliver(tap, BODY[at : at + 7001])
    await tap.done
    tap._intake.finish(ended=True)
    assert store.content == BODY


async def test_bytes_that_come_while_no_buffer_is_free_are_kept(pool: Pool) -> None:
    """Others have all buffers: the last bytes go into a spill, reading stops, and goes on when a buffer comes back."""
    store, wire = Store(), Wire()
    tap = tapped(pool, store, wire, len(BODY))
    tap.start(b"")
    at = deliver(tap, BODY[:5000])
    others: list[Buffer] = []
    while (buffer := pool.get()) is not None:
        others.append(buffer)
    pool.call_when_free(lambda: None)  # somebody waits
    tap._intake.flush()  # so ours goes to whoever waits
    others.extend(buffer for buffer in [pool.get()] if buffer is not None)
    at += deliver(tap, BODY[at : at + 9000])
    assert at == 14_000
    assert not wire.is_reading()
    others.pop().release()
    assert wire.is_reading()
    while at < len(BODY):
        at += deliver(tap, BODY[at:])
    await tap.done
    tap._intake.finish(ended=True)
    assert store.content == BODY


async def test_room_never_exceeds_the_body(pool: Pool) -> None:
    tap = tapped(pool, Store(), Wire(), 100)
    tap.start(b"")
    assert len(tap.get_buffer(-1)) == 100
    while pool.get() is not None:
        pass
    assert SPILL > 100
    deliver(tap, b"x" * 60)
    assert len(tap.get_buffer(-1)) == 40

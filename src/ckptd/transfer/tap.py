"""A body received straight into our buffers: takes a connection over from aiohttp once the headers are judged.

aiohttp's reader costs about a CPU-second a gigabyte in copies and wake-ups. For a body of known length the framing is
simple enough to do ourselves: count. The connection goes back to aiohttp only when its body ended exactly.
"""

from __future__ import annotations

import asyncio

from ckptd.transfer.intake import Intake

SPILL = 16 * 1024  # bytes
BRIEF = 0.005  # seconds; a shorter wait for bandwidth is left to the next buffer


class Tap(asyncio.BufferedProtocol):
    """Receives `remaining` bytes into an intake; `done` says when, or raises why not."""

    def __init__(self, transport: asyncio.Transport, previous: asyncio.BaseProtocol, remaining: int, intake: Intake):
        self.remaining = remaining
        self.lost = False
        self._transport = transport
        self._previous = previous
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._early = memoryview(b"")  # received, and not yet in the intake
        self._spill: bytearray | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def start(self, early: bytes) -> None:
        """Begin with the bytes that aiohttp had read already, then read the rest."""
        self._early = memoryview(early)
        self._resume()

    def stop(self, error: BaseException | None) -> None:
        """End here: well, or with `error`."""
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
            if not self.lost:
                self._transport.pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio asks where to put bytes."""
        space = self._intake.space()
        if space is None:
            # Our buffer went to somebody who waited. asyncio must have room all the same; it is little, and the last.
            self._spill = bytearray(SPILL)
            space = memoryview(self._spill)
        return space[: self.remaining]

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio has put `nbytes` there."""
        if self._spill is not None:
            self._early, self._spill = memoryview(self._spill)[:nbytes], None
            self._transport.pause_reading()
            self._intake.paused()
            self._intake.call_when_free(self._resume)
            return
        try:
            self._go_on(self._count(nbytes))
        except Exception as error:  # noqa: BLE001  # it is raised again where the body is awaited
            self.stop(error)

    def eof_received(self) -> None:
        """The origin will send no more; the transport closes itself and `connection_lost` follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. aiohttp, which owns it, must know."""
        self.lost = True
        if isinstance(self._previous, asyncio.Protocol):
            self._previous.connection_lost(exc)
        self.stop(exc or ConnectionResetError("closed"))

    def _count(self, count: int) -> float:
        self.remaining -= count
        return self._intake.received(count)

    def _go_on(self, wait: float) -> None:
        if self.done.done():
            return
        if self.remaining == 0 or not self._intake.wants_more():
            self.stop(None)
        elif wait > BRIEF:
            self._transport.pause_reading()
            self._intake.paused()
            self._loop.call_later(wait, self._resume)
        elif self._intake.space() is None:
            self._transport.pause_reading()
            self._intake.paused()
            self._intake.call_when_free(self._resume)

    def _resume(self) -> None:
        if self.done.done():
            return
        wait = 0.0
        try:
            while self._early and self.remaining and self._intake.wants_more():
                space = self._intake.space()
                if space is None:
                    self._intake.call_when_free(self._resume)
                    return
                count = min(len(space), len(self._early), self.remaining)
                space[:count] = self._early[:count]
                self._early = self._early[count:]
                wait = self._count(count)
            self._go_on(wait)
        except Exception as error:  # noqa: BLE001  # it is raised again where the body is awaited
            self.stop(error)
            return
        if not self.done.done() and wait <= BRIEF and self._intake.space() is not None:
            self._intake.resumed()
            self._transport.resume_reading()

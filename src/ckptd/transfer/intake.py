"""Where received bytes go: from a connection into buffers, and filled buffers to whoever stores them.

Bookkeeping for one connection's body. Runs on the event loop and touches no byte but the first few, which tell an
impostor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ckptd.core.pace import Bucket, StallMeter
from ckptd.core.retry import Failure
from ckptd.core.segments import Lease, WorkList
from ckptd.core.sniff import HEAD_NEEDED
from ckptd.errors import PolicyError
from ckptd.transfer.buffers import Buffer, Pool
from ckptd.transfer.failure import TransferFailed


class Sink(Protocol):
    """What takes filled buffers."""

    def put(self, offset: int, view: memoryview, release: Callable[[], None]) -> None:
        """Store `view` at `offset` and call `release` once when it is no longer needed."""
        ...


class Intake:
    """One body's way into the sink, from `at` on, as far as the lease goes (without a lease: to its end)."""

    def __init__(
        self,
        sink: Sink,
        pool: Pool,
        meter: StallMeter,
        *,
        at: int,
        work: WorkList | None = None,
        lease: Lease | None = None,
        segment: Callable[[], int],
        bucket: Bucket | None = None,
        check_head: Callable[[bytes, bool], None] | None = None,
        on_bytes: Callable[[int], None],
        most: int,
    ) -> None:
        self.at = at
        self.meter = meter
        self.lease = lease
        self._sink = sink
        self._pool = pool
        self._work = work
        self._segment = segment
        self._bucket = bucket
        self._check_head = check_head if at == 0 else None
        self._on_bytes = on_bytes
        self._most = most
        self._buffer: Buffer | None = None
        self._begin = self._fill = 0  # the part of the buffer that is filled and not handed over
        self._loop = asyncio.get_running_loop()

    def wants_more(self) -> bool:
        """Whether further bytes of this body are ours to fetch; claims the next segment if nobody has it."""
        if self.lease is None or self._work is None:
            return True
        return self.lease.left > 0 or self._work.extend(self.lease, self._segment())

    def space(self) -> memoryview | None:
        """Where the next bytes go; None when all buffers are in use (then see `call_when_free`)."""
        if self._buffer is None:
            self._buffer = self._pool.get()
            self._begin = self._fill = 0
            if self._buffer is None:
                return None
        room = self._pool.size - self._fill
        if self.lease is not None:
            room = min(room, self.lease.left)
        if self._bucket is not None:
            room = min(room, self._bucket.gulp)
        return self._buffer.view[self._fill : self._fill + room]

    def call_when_free(self, function: Callable[[], None]) -> None:
        """Call `function` once when `space` may have some again."""
        self._pool.call_when_free(function)

    def received(self, count: int) -> float:
        """`count` bytes were put into `space`; the seconds to wait before reading on.

        Raises TransferFailed when the first bytes are an impostor's, StorageError when the disk has failed.
        """
        self._fill += count
        self.at += count
        if self.at > self._most:
            error = PolicyError("the body goes on beyond [transfer] max_size", hint="raise max_size if that is meant")
            raise TransferFailed(Failure.PERMANENT, error)
        self.meter.add(count)
        if self.lease is not None:
            self.lease.at += count
        self._on_bytes(count)
        if self._fill == self._pool.size:
            self._hand_over(whole=False)
            self._drop()
        return 0.0 if self._bucket is None else self._bucket.take(self._loop.time(), count)

    def paused(self) -> None:
        """We are the ones who wait: that is no stall."""
        self.meter.hold()

    def resumed(self) -> None:
        """The origin's turn again."""
        self.meter.go(self._loop.time())

    def flush(self) -> None:
        """Hand over what is there, so that it is on the disk before long; the first bytes only once they are judged."""
        if self._check_head is None or self._fill >= HEAD_NEEDED:
            self._hand_over(whole=False)
            if self._pool.wanted:
                self._drop()

    def finish(self, *, ended: bool) -> None:
        """No more bytes come: hand over the rest, give the buffer back. `ended`: the body came to its proper end."""
        try:
            if ended:
                self._hand_over(whole=True)
            else:
                self.flush()
        finally:
            self._drop()

    def _hand_over(self, *, whole: bool) -> None:
        buffer = self._buffer
        if self._check_head is not None:
            head = b"" if buffer is None else bytes(buffer.view[: min(self._fill, HEAD_NEEDED)])
            self._check_head(head, whole and self._fill < HEAD_NEEDED)
            self._check_head = None  # only now: what was refused stays refused
        if buffer is None or self._fill == self._begin:
            return
        length = self._fill - self._begin
        view = buffer.view[self._begin : self._fill]
        self._begin = self._fill
        buffer.hold()
        self._sink.put(self.at - length, view, buffer.release)

    def _drop(self) -> None:
        if self._buffer is not None:
            buffer, self._buffer = self._buffer, None
            buffer.release()

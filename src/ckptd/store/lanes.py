"""Digests of a partial, computed in order by threads while its bytes still arrive in any order.

A lane takes buffers that continue its digest while they are hot, and reads back what was written out of order, or by an
earlier run, once it gets there. Knows nothing of where bytes come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ckptd.core.ranges import Extents
from ckptd.errors import CkptdError, StorageError
from ckptd.store import disk
from ckptd.store.digests import Bundle

Release = Callable[[], None]


class Stored(Protocol):
    """What a lane needs of the partial that it digests."""

    fd: int
    path: Path
    written: Extents
    error: CkptdError | None

    def in_thread(self, work: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        """Run `work` in a disk thread, then `then` on the loop with what it raised."""
        ...

    def from_thread(self, function: Callable[..., None], *args: object) -> None:
        """Call `function` on the loop."""
        ...

    def moved(self) -> None:
        """Something was digested."""
        ...

    def fail(self, error: BaseException) -> None:
        """Digesting failed."""
        ...


@dataclass(slots=True)
class _Piece:
    """Bytes for one lane: in `view` while the buffer is ours, else to be read back from the file."""

    offset: int
    length: int
    view: memoryview | None
    release: Release | None


class Lane:
    """One thread's worth of digests, fed strictly in order, by at most one thread at a time."""

    READ_BACK = 8 * disk.READ_SIZE  # bytes of one job that reads back

    def __init__(self, partial: Stored, bundle: Bundle) -> None:
        self._partial = partial
        self.bundle = bundle
        self.frontier = 0  # handed to the lane
        self.done = 0  # digested
        self._queue: deque[_Piece] = deque()
        self._busy = False
        self._reading = 0  # queued pieces that are to be read back

    def offer(self, offset: int, view: memoryview, release: Release) -> bool:
        """Take a buffer that continues the digest; False when it does not."""
        if offset != self.frontier:
            return False
        self.frontier += len(view)
        self._queue.append(_Piece(offset, len(view), view, release))
        self.kick()
        return True

    def catch_up(self, written: Extents) -> None:
        """Read back what was written out of order, or by an earlier run, and is next in line."""
        reach = written.reach(self.frontier)
        while self.frontier < reach and self._reading < 4:
            length = min(self.READ_BACK, reach - self.frontier)
            self._queue.append(_Piece(self.frontier, length, None, None))
            self._reading += 1
            self.frontier += length
        self.kick()

    def kick(self) -> None:
        """Have a thread work the queue off, unless one does."""
        if self._queue and not self._busy and self._partial.error is None:
            self._busy = True
            self._partial.in_thread(self._work, self._idle)

    @property
    def idle(self) -> bool:
        """No thread is at it."""
        return not self._busy

    def drop(self) -> None:
        """Give every buffer back; nothing more will be digested."""
        while self._queue:
            piece = self._queue.popleft()
            if piece.release is not None:
                piece.release()

    def _work(self) -> None:
        while True:
            try:
                piece = self._queue.popleft()
            except IndexError:
                return
            try:
                if piece.view is not None:
                    self.bundle.update(piece.view)
                else:
                    self._read_back(piece)
            except BaseException:
                if piece.release is not None:
                    self._partial.from_thread(piece.release)
                raise
            self._partial.from_thread(self._digested, piece)

    def _read_back(self, piece: _Piece) -> None:
        at, end = piece.offset, piece.offset + piece.length
        while at < end:
            view = disk.read_at(self._partial.fd, at, end - at)
            if not view:
                raise StorageError(f"{self._partial.path} ends at {at} bytes although {end} were written")
            self.bundle.update(view)
            at += len(view)

    def _digested(self, piece: _Piece) -> None:
        self.done = piece.offset + piece.length
        if piece.release is not None:
            piece.release()
        else:
            self._reading -= 1
        self._partial.moved()

    def _idle(self, error: BaseException | None) -> None:
        self._busy = False
        if error is not None:
            self._partial.fail(error)
        else:
            self.catch_up(self._partial.written)
        self._partial.moved()

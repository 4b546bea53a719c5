"""The memory that received bytes live in: a fixed number of buffers, so that memory has a ceiling.

When none is left, connections stop reading: the disk's and the digests' speed become the network's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

TOTAL = 40 * 1024 * 1024  # bytes in all buffers together
LARGEST = 1024 * 1024
SMALLEST = 64 * 1024
SPARE = 16  # buffers beyond one a connection: those that are being written and digested
MOST_SIZED_FOR = 32  # connections; with more, buffers do not get smaller: handling each costs the same


class Buffer:
    """One stretch of memory with a count of who still needs it."""

    __slots__ = ("_holders", "_pool", "view")

    def __init__(self, pool: Pool, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self._pool = pool
        self._holders = 0

    def hold(self) -> None:
        """One more needs it."""
        self._holders += 1

    def release(self) -> None:
        """One less needs it; with nobody left it goes back to the pool."""
        self._holders -= 1
        if self._holders == 0:
            self._pool.put_back(self)


class Pool:
    """As many buffers as memory allows, made when first needed; larger ones where fewer connections want them.

    There may be more connections than buffers: then nobody keeps a buffer that is not full while others wait.
    """

    def __init__(self, connections: int) -> None:
        self.size = max(SMALLEST, min(LARGEST, TOTAL // (min(connections, MOST_SIZED_FOR) + SPARE))) & ~0xFFFF
        self._left = TOTAL // self.size
        self._free: list[Buffer] = []
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a buffer."""
        return bool(self._waiting)

    def get(self) -> Buffer | None:
        """A buffer, held once, or None when all are in use."""
        if self._free:
            buffer = self._free.pop()
        elif self._left:
            self._left -= 1
            buffer = Buffer(self, self.size)
        else:
            return None
        buffer.hold()
        return buffer

    def call_when_free(self, function: Callable[[], None]) -> None:
        """Call `function` once when there may be a buffer again; whoever waits longest comes first."""
        self._waiting.append(function)

    def put_back(self, buffer: Buffer) -> None:
        """A buffer that nobody needs."""
        self._free.append(buffer)
        # Whoever is called takes a buffer, or has no use for one any more: then the next is asked.
        while self._free and self._waiting:
            self._waiting.popleft()()

"""The shared work list of one download: which connection fetches which bytes.

Connections take the earliest missing segment, so that the digest, which is sequential, can follow closely. A
connection whose body runs on may claim the next segment without a new request, and one that finds nothing left takes
over the second half of what the slowest has not begun. State without I/O: the caller says what arrived.
"""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.core.ranges import Extents, Span

SEGMENT = 16 * 1024 * 1024  # bytes handed out at a time
LARGEST_SEGMENT = 16 * SEGMENT
WORTH_SPLITTING = 4 * 1024 * 1024  # bytes; less than this is not worth a connection of its own
SECONDS_PER_REQUEST = 2.0  # a request should carry at least this much time's worth of bytes


@dataclass(slots=True, eq=False)
class Lease:
    """Bytes `[start, end)` promised to one connection, of which `[start, at)` have arrived."""

    start: int
    at: int
    end: int

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.end - self.at


class WorkList:
    """What is missing of a file of `total` bytes, and who has promised to fetch it."""

    def __init__(self, total: int, done: Extents) -> None:
        self.total = total
        self._free: list[Span] = list(done.gaps(total))
        self._leases: list[Lease] = []

    @property
    def left(self) -> int:
        """Bytes that have not arrived."""
        return sum(end - start for start, end in self._free) + sum(lease.left for lease in self._leases)

    @property
    def complete(self) -> bool:
        """Whether everything has arrived."""
        return not self._free and all(not lease.left for lease in self._leases)

    def take(self, length: int = SEGMENT) -> Lease | None:
        """The earliest segment nobody has, else half of the largest rest; None when nothing is worth taking."""
        if self._free:
            start, end = self._free[0]
            cut = min(end, start + length)
            # a small rest is not left behind for somebody else to ask for
            cut = end if end - cut < WORTH_SPLITTING else cut
            self._free[0:1] = [(cut, end)] if cut < end else []
            return self._lease(start, cut)
        victim = max(self._leases, key=lambda lease: lease.left, default=None)
        if victim is None or victim.left < WORTH_SPLITTING:
            return None
        middle = victim.end - victim.left // 2
        end, victim.end = victim.end, middle
        return self._lease(middle, end)

    def extend(self, lease: Lease, length: int = SEGMENT) -> bool:
        """Whether `lease` may run on into the bytes that follow it: if nobody has them, it has them now."""
        for index, (start, end) in enumerate(self._free):
            if start == lease.end:
                cut = min(end, start + length)
                self._free[index : index + 1] = [(cut, end)] if cut < end else []
                lease.end = cut
                return True
        return False

    def give_back(self, lease: Lease) -> None:
        """The connection is done with `lease`; what has not arrived is free again."""
        self._leases.remove(lease)
        if lease.left:
            self._free = sorted([*self._free, (lease.at, lease.end)])

    def _lease(self, start: int, end: int) -> Lease:
        lease = Lease(start, start, end)
        self._leases.append(lease)
        return lease


def segment_length(rate: float) -> int:
    """How many bytes to ask for at once from a connection that brings `rate` bytes a second."""
    pieces = int(rate * SECONDS_PER_REQUEST) // SEGMENT
    return min(max(pieces, 1) * SEGMENT, LARGEST_SEGMENT)


def connections_wanted(*, active: int, limit: int, left: int, rate: float, elapsed: float) -> int:
    """How many connections a download should have, given `left` bytes at `rate` bytes a second after `elapsed` s.

    More connections help where the path or the origin limits each of them, and cost where one already fills the
    machine: they are opened only when the rest would take longer than a second.
    """
    worthwhile = left // WORTH_SPLITTING
    if elapsed < 0.1 or left < rate * 1.0 or worthwhile <= active:
        return min(active, limit)
    return min(limit, worthwhile)

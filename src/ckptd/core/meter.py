"""How fast bytes flow, for people: a smoothed rate, and the time that is left at it.

Clock values are arguments, in seconds; rates are bytes a second. It holds nothing back and detects no stalls:
that is `ckptd.core.pace`.
"""

from __future__ import annotations

import math

SMOOTH = 5.0  # seconds: what happened that long ago counts for a third
FIRST = 0.25  # seconds that the first bytes after a silence are taken to have needed
LONGEST = 100 * 86400.0  # seconds: nobody plans with an estimate beyond this


class Meter:
    """Bytes a second, older ones counting for less; a silence fades it out."""

    __slots__ = ("_last", "_since", "_weight")

    def __init__(self) -> None:
        self._weight = 0.0  # bytes, each faded by its age
        self._since = self._last = -math.inf

    def add(self, now: float, count: int) -> None:
        """`count` bytes arrived."""
        age = max(0.0, now - self._last)
        if age > 4 * SMOOTH:
            self._weight, self._since, age = 0.0, now - FIRST, 0.0
        self._weight = self._weight * math.exp(-age / SMOOTH) + count
        self._last = max(now, self._last)

    def rate(self, now: float) -> float:
        """Bytes a second, never negative."""
        age = max(0.0, now - self._last)
        if age > 4 * SMOOTH:
            return 0.0
        seen = self._last - self._since + age
        # Without the divisor a transfer would seem slow until the weights have filled up.
        return self._weight * math.exp(-age / SMOOTH) / (SMOOTH * (1 - math.exp(-seen / SMOOTH)))

    def fresh(self, now: float) -> bool:
        """Whether bytes arrived within the last two seconds."""
        return now - self._last < 2.0


def time_left(left: float | None, rate: float) -> float | None:
    """Seconds for `left` bytes; None where nobody can say, or nothing is left."""
    if left is None or left <= 0 or rate < 1.0 or left / rate > LONGEST:
        return None
    return left / rate

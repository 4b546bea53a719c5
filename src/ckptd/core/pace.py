"""How fast: a token bucket for bandwidth and scrub rate, and a meter that says when a transfer has stalled.

Clock values are arguments, in seconds; rates are bytes a second.
"""

from __future__ import annotations

BURST = 0.1  # seconds' worth of bytes that may pass at once


class Bucket:
    """A token bucket that lets a taker go into debt and says how long to hold still afterwards."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._ready = 0.0  # the time at which everything taken so far is paid for

    def take(self, now: float, count: int) -> float:
        """Take `count` bytes at `now`; the seconds to wait before taking more (0.0 for none)."""
        self._ready = max(self._ready, now - BURST) + count / self.rate
        return max(0.0, self._ready - now)

    @property
    def gulp(self) -> int:
        """The most bytes worth taking at once, so that a slow rate stays smooth."""
        return max(4096, int(self.rate * BURST))


class StallMeter:
    """Stalled: slower than `min_rate` for the whole of the last `timeout` seconds.

    One byte now and then does not count as life, unlike with a timeout per read.
    """

    def __init__(self, min_rate: float, timeout: float, now: float) -> None:
        self._min_rate = min_rate
        self._timeout = timeout
        self._since: float | None = now
        self._bytes = 0

    def add(self, count: int) -> None:
        """`count` bytes arrived."""
        self._bytes += count

    def hold(self) -> None:
        """From now on we are the ones who wait (backpressure, or our own limit): it does not count."""
        self._since = None

    def go(self, now: float) -> None:
        """It counts again."""
        self._since = now
        self._bytes = 0

    def stalled(self, now: float) -> bool:
        """Whether to give this connection up; call it a few times per timeout."""
        if self._since is None:
            return False
        span = now - self._since
        if self._bytes and self._bytes >= self._min_rate * span:
            self._since = now
            self._bytes = 0
            return False
        return span >= self._timeout

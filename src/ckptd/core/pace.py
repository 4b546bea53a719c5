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


class Ramp:
    """How many connections a download should have to one host.

    More connections help where the path or the origin limits each of them, and cost where the machine is the limit
    (on loopback four a file took three times as long as one). While processors are idle the machine is not the limit:
    then all that are allowed. While they are busy, try: double, look whether the host's total rate rises with it, and
    go back when it does not; a trial that failed is repeated ever more rarely, and none is made at a rate that shows
    that connections are not what is lacking.
    """

    STEP = 0.15  # seconds before the step up while processors are idle
    TRIAL = 1.0  # seconds over which a rate is measured; some origins send a second's worth at a time
    FAST = 125e6  # bytes a second, a gigabit: a busy machine that takes in so much is limited by itself
    GAIN = 1.3  # what twice the connections must bring; limits per connection bring nearly 2
    FIRST_HOLD = 2.0  # seconds until a failed trial is repeated

    def __init__(self, limit: int) -> None:
        self.level = 1
        self._limit = limit
        self._bytes = 0
        self._since: float | None = None
        self._before: float | None = None  # the rate before the trial that runs now
        self._level_before = 1
        self._hold = self.FIRST_HOLD
        self._hold_until = 0.0

    def add(self, count: int) -> None:
        """`count` bytes came from the host."""
        self._bytes += count

    def consider(self, now: float, *, idle: bool) -> int:
        """The connections per download from now on; called a few times a second by downloads that could use more."""
        if self._since is None:
            self._since, self._bytes = now, 0
        span = now - self._since
        if span < (self.STEP if idle else self.TRIAL) or not self._bytes:
            return self.level
        rate = self._bytes / span
        self._since, self._bytes = now, 0
        if not idle and self._before is not None and rate < self._before * self.GAIN:
            self.level = self._level_before
            self._before = None
            self._hold_until, self._hold = now + self._hold, self._hold * 2
        elif self.level < self._limit and (idle or (now >= self._hold_until and rate < self.FAST)):
            step = self._limit if idle else self.level * 2
            self._level_before, self.level = self.level, min(self._limit, step)
            self._before = None if idle else rate
        else:
            self._before = None
        return self.level


def idle_share(before: tuple[int, ...], after: tuple[int, ...]) -> float:
    """The share of time that processors had nothing to do between two readings of /proc/stat's first line (proc(5)).

    Waiting for a disk (the fifth number) is not idleness for a program that writes.
    """
    spent = [later - earlier for earlier, later in zip(before, after, strict=False)]
    total = sum(spent[:8])
    return spent[3] / total if total > 0 else 0.0

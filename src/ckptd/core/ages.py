"""When each piece of a file was last read and found good, and the promise that follows from it for all files.

Kept as spans of pieces, so that a file read in one go is one span however large it is. A piece is `PIECE` bytes,
except the last, which is what is left of the file; a file that can only be read as a whole (no table of piece
digests) has one piece. Times are POSIX seconds and arguments. What is read next, and when, is decided in
`core.schedule`; how it is read, and how this is stored, is not known here.

Clocks are set wrong. A reading cannot have happened in the future: such a time counts as "never verified" as long
as it lies ahead, and `Ages.settled` sees to it that it does not pass for a fresh reading once its hour has come.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Self

from ckptd.core.models import PIECE

Span = tuple[int, int, float]  # first piece, the one after the last, POSIX seconds

SLACK = 60.0  # seconds that a time may lie ahead of the clock: small steps of NTP are not worth a reading
NEVER = -math.inf
MOST_PIECES = 2**40


class Known(IntEnum):
    """What is known of a piece."""

    GOOD = 0  # read and found good
    BAD = 1  # read since, and not found good: damaged, unreadable or missing
    NEVER = 2  # not read as far as we know


View = tuple[int, int, float, Known]  # first, end, the time that its next reading is counted from, what is known


@dataclass(frozen=True, slots=True)
class Ages:
    """The readings of one file. Spans are sorted and disjoint; neighbours of one time are one span.

    `tried` are the readings that did not end well: without them a damaged piece, never verified, would be read over
    and over. `since` is the time from which the age of what was never read is counted, such as when the file came.
    """

    spans: tuple[Span, ...] = ()
    tried: tuple[Span, ...] = ()
    since: float | None = None

    @classmethod
    def whole(cls, count: int, at: float) -> Self:
        """A file of `count` pieces, read and found good at `at`."""
        return cls(((0, count, at),) if count > 0 else (), (), at)

    def mark(self, first: int, end: int, at: float, grain: float = 0.0) -> Ages:
        """Pieces `[first, end)` were read and found good at `at`, whatever was known of them before.

        When the pieces before them are older by at most `grain` seconds, these count as that old, too: a file read bit
        by bit over days would otherwise be thousands of spans.
        """
        if grain:
            at = next((old for _, last, old in self.spans if last == first and old <= at <= old + grain), at)
        return Ages(_put(self.spans, first, end, at), _put(self.tried, first, end, None), self.since)

    def unmark(self, first: int, end: int, at: float) -> Ages:
        """Pieces `[first, end)` were read, or looked for, at `at` and are not good: they count as never verified."""
        return Ages(_put(self.spans, first, end, None), _put(self.tried, first, end, at), self.since)

    def settled(self, now: float, max_age: float) -> Ages:
        """Times that lie ahead of `now` made harmless; the same object when there is nothing to do, the usual case.

        A time that is ahead by less than `max_age` seconds is dropped: it would soon look fresh without a reading. One
        that is further ahead is kept: the piece is read again before that time comes, and when it is the clock that
        is wrong (a machine that starts in 1970), nothing is lost once it is right. In both cases the age of these
        pieces counts from now on (`since`), so that they are read again at an ordinary pace and not in one burst.
        """
        limit = now + SLACK
        ahead = any(at > limit for _, _, at in self.spans) or any(at > limit for _, _, at in self.tried)
        if not ahead and self.since is not None and self.since <= limit:
            return self
        spans = tuple(span for span in self.spans if not limit < span[2] < now + max_age)
        tried = tuple(span for span in self.tried if not limit < span[2] < now + max_age)
        dropped = (spans, tried) != (self.spans, self.tried)
        since = self.since
        if since is None or since > limit or dropped or since < now - max_age:
            since = now
        return self if (spans, tried, since) == (self.spans, self.tried, self.since) else Ages(spans, tried, since)

    def view(self, count: int, now: float) -> list[View]:
        """All of `[0, count)` in order, with what is known of it at `now`.

        The time is that of the last reading, good or bad; for what was never read `since`, or `NEVER`.
        """
        limit = now + SLACK
        if len(self.spans) == 1 and not self.tried:  # the most frequent by far
            first, end, at = self.spans[0]
            if not first and end >= count > 0 and at <= limit:
                return [(0, count, at, Known.GOOD)]
        since = self.since if self.since is not None and self.since <= limit else NEVER
        known = [(first, end, at, Known.GOOD) for first, end, at in self.spans]
        if self.tried:
            known = sorted(known + [(first, end, at, Known.BAD) for first, end, at in self.tried])
        found: list[View] = []
        reached = 0
        for first, end, at, state in known:
            if first >= count:
                break
            if at > limit:
                continue
            if reached < first:
                found.append((reached, first, since, Known.NEVER))
            reached = min(end, count)
            found.append((first, reached, at, state))
        if reached < count:
            found.append((reached, count, since, Known.NEVER))
        return found

    def oldest(self, count: int, now: float) -> float | None:
        """When the least recently verified of `count` pieces was; None when one never was, or there are none."""
        view = self.view(count, now)
        if any(state is not Known.GOOD for _, _, _, state in view):
            return None
        return min((at for _, _, at, _ in view), default=None)

    def due(self, count: int, before: float, now: float) -> list[tuple[int, int]]:
        """The pieces not verified since `before`, as `(first, end)`: never verified ones first, then oldest first."""
        view = self.view(count, now)
        old = [(at if state is Known.GOOD else NEVER, first, end) for first, end, at, state in view]
        return [(first, end) for at, first, end in sorted(old) if at < before]

    def to_json(self) -> str:
        """One compact line, which `from_json` reads."""
        return json.dumps([self.since, self.spans, self.tried], separators=(",", ":"))

    @staticmethod
    @lru_cache(maxsize=4096)  # a daemon asks for all of them every minute, and few have changed
    def from_json(text: str | bytes | None) -> Ages:
        """What `to_json` wrote. Anything else means that nothing is known: the empty Ages, never an exception."""
        try:
            match json.loads(text or ""):
                case [since, [*spans], [*tried]]:
                    good, bad = tuple(map(_span, spans)), tuple(map(_span, tried))
                    _check(good)
                    _check(bad)
                    _check(tuple(sorted(good + bad)))
                    return Ages(good, bad, None if since is None else _time(since))
        except (ValueError, TypeError, RecursionError):
            pass
        return Ages()


def _span(value: object) -> Span:
    match value:
        case [int(first), int(end), at] if type(first) is int and type(end) is int:
            return first, end, _time(at)
    raise ValueError("is not a span")


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ValueError("is not a time")
    return float(value)


def _check(spans: tuple[Span, ...]) -> None:
    """Sorted, disjoint, none empty."""
    reached = 0
    for first, end, _ in spans:
        if not reached <= first < end <= MOST_PIECES:
            raise ValueError("are not spans")
        reached = end


def _end_of(span: Span) -> int:
    return span[1]


def _first_of(span: Span) -> int:
    return span[0]


def _put(spans: tuple[Span, ...], first: int, end: int, at: float | None) -> tuple[Span, ...]:
    """`spans` with `[first, end)` at `at`; None cuts it out. The same object when that changes nothing."""
    left = bisect_right(spans, first, key=_end_of)
    right = bisect_left(spans, end, key=_first_of)
    if first >= end or (at is None and left >= right):
        return spans
    before, after = list(spans[:left]), list(spans[right:])
    if left < right:
        if spans[left][0] < first:
            before.append((spans[left][0], first, spans[left][2]))
        if spans[right - 1][1] > end:
            after.insert(0, (end, spans[right - 1][1], spans[right - 1][2]))
    if at is None:
        return (*before, *after)
    if before and before[-1][1] == first and before[-1][2] == at:
        first = before.pop()[0]
    if after and after[0][0] == end and after[0][2] == at:
        end = after.pop(0)[1]
    return (*before, (first, end, at), *after)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is kept and has to be verified: `size` in bytes, in `count` pieces. Names are unique."""

    name: str
    size: int
    count: int
    ages: Ages

    def length(self, first: int, end: int) -> int:
        """Bytes of the pieces `[first, end)`."""
        if end < self.count:
            return (end - first) * PIECE
        return max(0, self.size - first * PIECE) if first else self.size


@dataclass(frozen=True, slots=True)
class Promise:
    """Whether no byte is older than the promise allows, unverified."""

    oldest: float | None  # POSIX seconds of the least recently verified byte; None: one never was, or there are none
    age: float | None  # seconds since then
    share: float  # bytes verified within the promise, of all; 1.0 when there are none
    unverified_bytes: int  # bytes never verified, or read last and not found good
    kept: bool


def promise(files: Iterable[Kept], max_age: float, now: float) -> Promise:
    """How the promise of `max_age` seconds stands at `now` for all files together. Files without bytes do not count."""
    total = within = unverified = 0
    oldest = math.inf
    for kept in files:
        if not kept.size or not kept.count:
            continue
        total += kept.size
        for first, end, at, state in kept.ages.view(kept.count, now):
            length = kept.length(first, end)
            if state is not Known.GOOD:
                unverified += length
                continue
            oldest = min(oldest, at)
            if now - at <= max_age:
                within += length
    if unverified or not total:
        return Promise(None, None, within / total if total else 1.0, unverified, kept=not total)
    return Promise(oldest, max(0.0, now - oldest), within / total, 0, kept=within == total)

"""Folds the events of a run into a picture of it: which rows can be shown, and the totals.

Takes events in any order for any names and never raises; clock values are arguments, in seconds. Applying an
event costs the same however many checkpoints there are, and a picture costs what it shows and what is in
work, so a run may have thousands. It draws nothing and decides nothing: what it infers is for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ckptd.core.activity import Activity, Standing
from ckptd.core.events import Event, Received
from ckptd.core.meter import Meter, time_left
from ckptd.core.picture import Counts, Picture, Row, Totals


@dataclass(slots=True)
class _Sums:
    """Kept up to date with every event, so that no picture has to add up thousands of rows."""

    done: int = 0
    size: int = 0
    sized: int = 0
    unsized: int = 0
    left: int = 0  # bytes still to come, of those that have not ended
    connections: int = 0

    def count(self, activity: Activity, sign: int) -> None:
        """Count `activity` in (1) or out again (-1)."""
        done = activity.done
        self.done += sign * done
        self.connections += sign * activity.connections
        if activity.size is None and not activity.ended:
            self.unsized += sign
            return
        size = done if activity.size is None else activity.size
        self.size += sign * size
        self.sized += sign
        if not activity.ended:
            self.left += sign * (size - done)


class Progress:
    """`apply` events as they come, ask for a `picture` as often as somebody looks. Not thread-safe.

    `local` says that the work is reading what is stored (verify), so that nothing connects anywhere.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._all: dict[str, Activity] = {}
        # The same by standing, in the order in which they got there.
        self._by: dict[Standing, dict[str, Activity]] = {standing: {} for standing in Standing}
        self._sums = _Sums()
        self._meter = Meter()
        self._longest = 0
        self._began: float | None = None

    def __len__(self) -> int:
        """How many checkpoints were heard of."""
        return len(self._all)

    def apply(self, event: Event, now: float) -> None:
        """Take one event in, at `now`."""
        if self._began is None:
            self._began = now
        activity = self._all.get(event.name)
        if activity is None:
            activity = self._all[event.name] = Activity(event.name, len(self._all), self._local)
            self._by[activity.standing][event.name] = activity
            self._longest = max(self._longest, len(event.name))
        else:
            self._sums.count(activity, -1)
        before = activity.standing
        activity.take(event, now)
        self._sums.count(activity, 1)
        if activity.standing is not before:
            del self._by[before][event.name]
            self._by[activity.standing][event.name] = activity
        if isinstance(event, Received):
            self._meter.add(now, max(0, event.count))

    def row(self, name: str, now: float) -> Row | None:
        """The row of one checkpoint; None where it was never heard of."""
        activity = self._all.get(name)
        return None if activity is None else activity.row(now)

    def picture(self, now: float, limit: int) -> Picture:
        """The run at `now`, with at most `limit` rows in the order in which the names were first heard of.

        That order is kept even where rows are left out, so that a row never jumps over another: done ones
        scroll away above the work, queued ones come up below it.
        """
        chosen = sorted(self._choose(max(0, limit), now), key=lambda activity: activity.index)
        live = self._by[Standing.LIVE].values()
        waiting = sum(activity.waits(now) for activity in live)
        counts = Counts(
            queued=len(self._by[Standing.QUEUED]),
            active=len(live) - waiting,
            waiting=waiting,
            done=len(self._by[Standing.DONE]),
            failed=len(self._by[Standing.FAILED]),
        )
        rows = tuple(activity.row(now) for activity in chosen)
        return Picture(rows, self._longest, counts.less(_count(chosen, now)), self._totals(counts, now))

    def _choose(self, limit: int, now: float) -> list[Activity]:
        if len(self._all) <= limit:
            return list(self._all.values())
        queued, live, done, failed = (self._by[standing] for standing in Standing)
        work = [activity for activity in live.values() if not activity.waits(now)]
        work += [activity for activity in live.values() if activity.waits(now)]
        # Failures stay, but a third of the rows at most: they may not push out the work.
        chosen = list(islice(reversed(failed.values()), max((limit + 1) // 3, limit - len(work))))
        chosen += work[: limit - len(chosen)]
        room = limit - len(chosen)
        chosen += islice(queued.values(), max((room + 2) // 3, room - len(done)))
        chosen += islice(reversed(done.values()), limit - len(chosen))
        return chosen

    def _totals(self, counts: Counts, now: float) -> Totals:
        sums, rate = self._sums, self._meter.rate(now)
        # Those of unknown size are taken to be as large as the others are on average.
        guess = sums.unsized * sums.size / sums.sized if sums.sized else None
        whole = sums.size + (guess or 0.0)
        known = guess is not None or not sums.unsized
        return Totals(
            counts=counts,
            done=sums.done,
            size=sums.size,
            unsized=sums.unsized,
            fraction=min(1.0, sums.done / whole) if known and whole else None,
            rate=rate,
            eta=time_left(sums.left + (guess or 0.0), rate) if known else None,
            connections=sums.connections,
            elapsed=0.0 if self._began is None else max(0.0, now - self._began),
        )


def _count(activities: Iterable[Activity], now: float) -> Counts:
    tally = dict.fromkeys(Standing, 0)
    waiting = 0
    for activity in activities:
        tally[activity.standing] += 1
        waiting += activity.waits(now)
    return Counts(
        queued=tally[Standing.QUEUED],
        active=tally[Standing.LIVE] - waiting,
        waiting=waiting,
        done=tally[Standing.DONE],
        failed=tally[Standing.FAILED],
    )

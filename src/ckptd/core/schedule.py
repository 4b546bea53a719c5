"""What to verify next, and when: oldest first, spread over the time there is, and the promise above all.

Every byte is due `max_age` after it was last read. Sorted by when they are due, the bytes up to each deadline, divided
by the time in which reading is allowed until then, give a rate; the highest of these is the least steady rate that
keeps every deadline. Reading at that rate, with `PLAN` of max_age for the deadline, is the ordinary course: a stint
of about a minute's worth, then a rest for what is left of the minute. Nothing is read before its time (`floor`).

`verify.rate`, the window and other people's need for the disk hold it back as long as everything still fits before
`LATEST` of max_age, counting on `TRUST` of the speed that was measured. When it does not fit any more the deadline
wins, and takes no more than it must: first the rate gives way, then the window, then the pressure gate (`Haste`). The
decision says so, and says too when not even full speed can keep the promise.

Clocks: `now` is POSIX seconds, `minute` the local time of day; only times of day and differences are computed with,
so a change to or from summer time moves the window and nothing else. All answers are in seconds from now, and ask
for another look within `LONGEST_REST`. A clock that jumped ahead makes everything due: urgent, oldest first. What
bears a time that has not come yet is read first, but at the ordinary pace (see `Ages.settled`).

It keeps nothing: the state is the readings' times, which the caller saves. It reads no clock, no file, no pressure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heapify, heappop

from ckptd.core.ages import Kept, Known
from ckptd.core.models import PIECE, VerifySettings
from ckptd.core.units import format_duration, format_rate, format_size

# Shares of max_age.
FLOOR = 0.5  # nothing younger is read, unless reading everything takes so long that it must
PLAN = 0.8  # the deadline aimed at
LATEST = 0.9  # from here on the deadline wins
LAST = 0.95  # nothing is to get older than that; the rest is for what nobody foresaw
CATCH_UP = 0.02  # the time in which it is made up for what was put off

TRUST = 0.5  # of the measured speed: a disk that others use, too, may be slower tomorrow
GENTLE = 0.1  # of it, while others wait
RELIEF = 0.8  # of that, before haste ends, so that it does not come and go
CAUTIOUS = 100e6  # bytes a second that a disk is taken for before its speed was measured
STINT = 60.0  # seconds' worth of reading in one decision
SPRINT = 10.0  # the same at full speed
LONGEST_REST = 900.0  # seconds without another look: the clock may have been set, the files may be others
GLANCE = 5.0  # seconds to wait while others need the disk
GRAINS = 100  # deadlines nearer to each other than this part of max_age are taken for one
MOST_STRETCHES = 1000  # in one decision
ALWAYS = (0, 1440)
DAY = 86400.0


class Haste(IntEnum):
    """What the deadline overrides; each includes those before it."""

    NONE = 0
    FASTER = 1  # than verify.rate
    ANY_TIME = 2  # outside the window
    ANY_LOAD = 3  # though others are waiting


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pieces `[first, end)` of one file."""

    name: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Read:
    """Read these stretches, in this order, and mark each piece; then rest for what is left of `seconds`."""

    stretches: tuple[Stretch, ...]
    size: int  # bytes of them
    seconds: float  # how long reading and the rest after it are to take together; 0.0: go on at once
    within: float  # seconds from now after which no further piece is begun: the window closes, or look again
    rate: float | None  # bytes a second not to exceed while reading; None is unlimited
    haste: Haste
    shortfall: int  # bytes that will be older than promised even at full speed; 0 when the promise can be kept
    why: str

    @property
    def urgent(self) -> bool:
        """Whether the deadline overrides the operator's limits or other people's need."""
        return self.haste > Haste.NONE


@dataclass(frozen=True, slots=True)
class Rest:
    """Read nothing for so many seconds, then ask again."""

    seconds: float
    haste: Haste
    why: str


def open_seconds(window: tuple[int, int], minute: float, seconds: float) -> float:
    """How many of the next `seconds` lie in the window, when it is `minute` minutes after local midnight."""
    length = _length(window)
    if length == DAY:
        return seconds
    at = _since_opening(window, minute)
    days, part = divmod(at + seconds, DAY)
    return days * length + min(part, length) - min(at, length)


def closes_in(window: tuple[int, int], minute: float) -> float:
    """Seconds until the window closes: infinite when it never does, 0.0 when it is closed."""
    length = _length(window)
    return math.inf if length == DAY else max(0.0, length - _since_opening(window, minute))


def opens_in(window: tuple[int, int], minute: float) -> float:
    """Seconds until the window opens: 0.0 when it is open."""
    return 0.0 if closes_in(window, minute) else DAY - _since_opening(window, minute)


def _length(window: tuple[int, int]) -> float:
    """Seconds a day; a window that ends where it begins is refused with the manifest, so that is the whole day."""
    return float((window[1] - window[0]) % 1440 or 1440) * 60


def _since_opening(window: tuple[int, int], minute: float) -> float:
    return (minute - window[0]) % 1440 * 60


def floor(settings: VerifySettings, total: int, speed: float) -> float:
    """The age in seconds below which nothing is read again: `FLOOR` of max_age, or less where time is short.

    What came all at once is due all at once: between this age and `PLAN` there is time to read everything twice.
    """
    allowed = min(settings.rate or math.inf, TRUST * speed)
    share = total * DAY / (allowed * _length(settings.window) * settings.max_age)
    return max(0.0, min(FLOOR, PLAN - 2 * share)) * settings.max_age


_Due = tuple[float, str, int, int, int]  # counted from, name, first, end, index of the file


@dataclass(frozen=True, slots=True)
class _Load:
    """All that there is to read, summed up. `steps`: (counted from, bytes due until then), oldest first."""

    settings: VerifySettings
    now: float
    minute: float
    speed: float
    total: int
    steps: list[tuple[float, int]]
    never: list[_Due]
    old: list[_Due]  # older than the floor
    wait: float  # seconds until more is


def decide(
    settings: VerifySettings,
    files: Sequence[Kept],
    *,
    now: float,
    minute: float,
    speed: float | None = None,
    pause: str = "",
    rest: float = 0.0,
    last: Haste = Haste.NONE,
) -> Read | Rest:
    """What to do at `now`, when it is `minute` minutes after local midnight.

    `speed` is the measured read speed in bytes a second, unhindered by `verify.rate`; None when there is no measure
    yet. `pause` says why others need the disk, empty when they do not. `rest` are the seconds still to rest after the
    last stint, and `last` the haste of the last decision; 0.0 and none after a start. The files' ages are `settled`:
    otherwise what was never read is overdue, and read at full speed whatever the load.
    """
    load = _sum_up(settings, files, now, minute, CAUTIOUS if speed is None else max(1.0, speed))
    haste, pace = _haste(load, pause, last)
    if not load.never and not load.old:
        young = floor(settings, load.total, load.speed)
        why = f"nothing is older than {_span(young)}" if files else "there is nothing to verify"
        return Rest(min(max(1.0, load.wait), LONGEST_REST), haste, why)
    if rest > 0 and haste <= last:
        return Rest(min(rest, LONGEST_REST), haste, "resting: the reading is spread over the time there is")
    closed = opens_in(settings.window, minute) if haste < Haste.ANY_TIME else 0.0
    if closed:
        return Rest(min(closed, LONGEST_REST), haste, f"outside the window {_clock(settings.window)}")
    if pause and haste < Haste.ANY_LOAD:
        return Rest(GLANCE, haste, pause)
    budget = pace * STINT if pace < load.speed else load.speed * SPRINT
    stretches, size = _pick(load, files, budget, urgent=haste > Haste.NONE)
    late = _shortfall(load) if haste is Haste.ANY_LOAD else 0
    return Read(
        stretches=stretches,
        size=size,
        seconds=size / pace,
        within=min(closes_in(settings.window, minute) if haste < Haste.ANY_TIME else math.inf, 2 * STINT),
        rate=None if settings.rate is None or pace == math.inf else max(settings.rate, pace),
        haste=haste,
        shortfall=late,
        why=_why(load, haste, pace=pace, pause=pause, late=late),
    )


def _sum_up(settings: VerifySettings, files: Sequence[Kept], now: float, minute: float, speed: float) -> _Load:
    total = sum(kept.size for kept in files)
    young = now - floor(settings, total, speed)
    expired, grain = now - settings.max_age, settings.max_age / GRAINS
    sums, firsts = [0] * (GRAINS + 2), [math.inf] * (GRAINS + 2)  # the first is for what is overdue
    never: list[_Due] = []
    old: list[_Due] = []
    next_old = math.inf
    for index, kept in enumerate(files):
        for first, end, at, known in kept.ages.view(kept.count, now):
            slot = int((at - expired) / grain) + 1 if at > expired else 0
            slot = slot if slot <= GRAINS else GRAINS + 1
            sums[slot] += kept.length(first, end)
            if firsts[slot] > at:  # noqa: PLR1730  # min() takes five times as long
                firsts[slot] = at
            if known is Known.NEVER:
                never.append((at, kept.name, first, end, index))
            elif at <= young:
                old.append((at, kept.name, first, end, index))
            elif at < next_old:
                next_old = at
    steps: list[tuple[float, int]] = []
    due = 0
    for size, at in zip(sums, firsts, strict=True):
        if size:
            due += size
            steps.append((at, due))
    return _Load(settings, now, minute, speed, total, steps, never, old, next_old - young)


def _pace(load: _Load, window: tuple[int, int], aim: float, end: float) -> float:
    """The least steady rate, in bytes a second within the window, so that everything is read at `aim` of max_age.

    What is later than that, since others came first or the machine was off, is made up for within `CATCH_UP` and not
    in one burst; but before `end` of max_age. Infinite when that is past, or the window does not open before.
    """
    max_age = load.settings.max_age
    aimed, ended = load.now - aim * max_age, load.now - end * max_age
    least = CATCH_UP * max_age * _length(window) / DAY
    worst = 0.0
    for at, due in load.steps:
        seconds = open_seconds(window, load.minute, max(0.0, at - aimed))
        if seconds < least:
            seconds = min(least, open_seconds(window, load.minute, max(0.0, at - ended)))
        worst = max(worst, due / seconds if seconds else math.inf)
    return worst


def _haste(load: _Load, pause: str, last: Haste) -> tuple[Haste, float]:
    """What the deadline overrides, and the pace in bytes a second (at least 1; infinite: no rest at all)."""
    window, limit = load.settings.window, load.settings.rate or math.inf
    trusted = TRUST * load.speed
    if pause:  # reading later, but faster, would hinder others more
        trusted = min(trusted, max(GENTLE * load.speed, 2 * load.total / load.settings.max_age))
    for haste in (Haste.NONE, Haste.FASTER, Haste.ANY_TIME):
        pace = _pace(load, window if haste < Haste.ANY_TIME else ALWAYS, LATEST, LAST)
        available = min(limit, trusted) if haste is Haste.NONE else trusted
        if pace > available * (1.0 if haste >= last else RELIEF):
            continue
        if haste is Haste.NONE:
            pace = min(_pace(load, window, PLAN, LATEST), limit, load.speed)
        return haste, max(1.0, pace)
    return Haste.ANY_LOAD, max(1.0, _pace(load, ALWAYS, LATEST, LAST))


def _shortfall(load: _Load) -> int:
    """Bytes that expire unread even at full speed."""
    expired = load.now - load.settings.max_age
    return max((max(0, math.ceil(due - load.speed * max(0.0, at - expired))) for at, due in load.steps), default=0)


def _pick(load: _Load, files: Sequence[Kept], budget: float, *, urgent: bool) -> tuple[tuple[Stretch, ...], int]:
    """At least one piece, then as many as fit. Never verified first; when it is urgent, whatever is due first."""
    found: list[Stretch] = []
    size = 0
    for heap in [load.never + load.old] if urgent else [load.never, load.old]:
        heapify(heap)
        while heap and len(found) < MOST_STRETCHES and (not found or size < budget):
            _, name, first, end, index = heappop(heap)
            end = min(end, first + max(1, math.ceil((budget - size) / PIECE)))
            found.append(Stretch(name, first, end))
            size += files[index].length(first, end)
    return tuple(found), size


def _why(load: _Load, haste: Haste, *, pace: float, pause: str, late: int) -> str:
    settings = load.settings
    task = f"{format_size(load.total)} in {_span(settings.max_age)}"
    speed = "full speed" if pace == math.inf else format_rate(pace)
    if late:
        return f"{format_size(late)} of {task} will be late even at full speed: reading regardless of anything else"
    match haste:
        case Haste.NONE:
            return f"oldest first, {task}: reading at {speed}"
        case Haste.FASTER:
            return f"{format_rate(settings.rate)} is too slow for {task}: reading at {speed}"
        case Haste.ANY_TIME:
            return f"the window {_clock(settings.window)} is too short for {task}: reading outside of it at {speed}"
        case _:
            return f"the deadline is near, {task}: reading at {speed}" + (f" although {pause}" if pause else "")


def _clock(window: tuple[int, int]) -> str:
    return "-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in window)


def _span(seconds: float) -> str:
    return format_duration(seconds).removesuffix(" 00s").removesuffix(" 00m").removesuffix(" 0h")

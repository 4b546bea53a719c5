"""The schedule: windows over midnight, single decisions as a table, and weeks of them on a simulated machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.ages import Ages, Kept, Known, promise
from ckptd.core.models import PIECE, VerifySettings
from ckptd.core.schedule import (
    ALWAYS,
    GLANCE,
    GRAINS,
    LONGEST_REST,
    MOST_STRETCHES,
    Haste,
    Read,
    Rest,
    Stretch,
    closes_in,
    decide,
    floor,
    open_seconds,
    opens_in,
)

HOUR, DAY, WEEK = 3600.0, 86400.0, 7 * 86400.0
NOW = 1_800_000_000.0
NIGHT = (22 * 60, 6 * 60)
MB, GB, TB = 10**6, 10**9, 10**12


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "minute", "seconds", "opened"),
    [
        pytest.param(ALWAYS, 700, 12345.5, 12345.5, id="always"),
        pytest.param((0, 720), 0, DAY, DAY / 2, id="half of a day"),
        pytest.param((60, 120), 0, HOUR, 0.0, id="not yet"),
        pytest.param((60, 120), 0, 1.5 * HOUR, HOUR / 2, id="opens meanwhile"),
        pytest.param((60, 120), 90, 5 * HOUR, HOUR / 2, id="closes meanwhile"),
        pytest.param((60, 120), 120, 23 * HOUR, 0.0, id="just closed"),
        pytest.param((60, 120), 60, 60.0, 60.0, id="just open"),
        pytest.param((60, 120), 90, DAY, HOUR, id="closes and opens again"),
        pytest.param(NIGHT, 23 * 60, 2 * HOUR, 2 * HOUR, id="over midnight"),
        pytest.param(NIGHT, 5 * 60, 2 * HOUR, HOUR, id="after midnight, until it closes"),
        pytest.param(NIGHT, 12 * 60, WEEK, 7 * 8 * HOUR, id="a week of nights"),
        pytest.param((1380, 1440), 1410.5, DAY, HOUR, id="until 24:00"),
        pytest.param(NIGHT, 12 * 60, 0.0, 0.0, id="no time"),
    ],
)
def test_open_time(window: tuple[int, int], minute: float, seconds: float, opened: float) -> None:
    assert open_seconds(window, minute, seconds) == pytest.approx(opened)


windows = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda window: window[0] != window[1])


@settings(deadline=None, max_examples=50)
@given(windows, st.integers(0, 1439), st.integers(0, 3000))
def test_open_time_minute_by_minute(window: tuple[int, int], minute: int, minutes: int) -> None:
    start, end = window

    def is_open(at: int) -> bool:
        return start <= at % 1440 < end if start < end else at % 1440 >= start or at % 1440 < end

    assert open_seconds(window, minute, minutes * 60.0) == 60 * sum(
        is_open(at) for at in range(minute, minute + minutes)
    )
    assert (closes_in(window, minute) > 0) == is_open(minute) == (opens_in(window, minute) == 0)
    if not is_open(minute):
        assert is_open(minute + round(opens_in(window, minute) / 60))
        assert open_seconds(window, minute, opens_in(window, minute)) == 0
    elif window != ALWAYS:
        assert not is_open(minute + round(closes_in(window, minute) / 60))
        assert open_seconds(window, minute, closes_in(window, minute)) == closes_in(window, minute)


# --- single decisions ------------------------------------------------------------------------------------------------


def kept(name: str, size: int, ages: Ages | float) -> Kept:
    """A file, as old as `ages` seconds in all its pieces where that is a number."""
    count = -(-size // PIECE)
    return Kept(name, size, count, ages if isinstance(ages, Ages) else Ages.whole(count, NOW - ages))


def at(
    files: list[Kept],
    *,
    settings: VerifySettings = VerifySettings(),  # noqa: B008  # frozen
    minute: float = 720.0,
    speed: float | None = 500e6,
    pause: str = "",
    rest: float = 0.0,
    last: Haste = Haste.NONE,
) -> Read | Rest:
    return decide(settings, files, now=NOW, minute=minute, speed=speed, pause=pause, rest=rest, last=last)


def read(files: list[Kept], **given: object) -> Read:
    found = at(files, **given)  # type: ignore[arg-type]
    assert isinstance(found, Read), found
    return found


def rest(files: list[Kept], **given: object) -> Rest:
    found = at(files, **given)  # type: ignore[arg-type]
    assert isinstance(found, Rest), found
    return found


OLD = kept("a", 100 * GB, 4 * DAY)
OVERDUE = kept("a", 100 * GB, 8 * DAY)
NIGHTLY = VerifySettings(window=NIGHT)


def test_nothing_to_verify() -> None:
    assert rest([]).seconds == LONGEST_REST
    assert "nothing to verify" in rest([]).why


def test_what_is_fresh_is_left_alone() -> None:
    found = rest([kept("a", 100 * GB, DAY)])
    assert found.seconds == LONGEST_REST
    assert "3d 12h" in found.why
    assert rest([kept("a", 100 * GB, 3.5 * DAY - 60)]).seconds == pytest.approx(60)


def test_ordinary_reading_is_slow_and_in_stints() -> None:
    found = read([OLD])
    assert not found.urgent
    assert found.stretches == (Stretch("a", 0, found.stretches[0].end),)
    pace = found.size / found.seconds
    assert pace == pytest.approx(100 * GB / (1.6 * DAY), rel=0.05)  # 80 % of a week, and 4 days of it are gone
    assert found.seconds < 120
    assert found.rate is None


def test_what_was_put_off_is_made_up_for_in_hours() -> None:
    """Past the plan, but with time: not in one burst at full speed."""
    found = read([kept("a", 100 * GB, 0.82 * WEEK)])
    assert not found.urgent
    assert HOUR < 100 * GB / (found.size / found.seconds) < 8 * HOUR


def test_urgent_reading_outside_the_window_does_not_wait_for_it() -> None:
    found = read([OVERDUE], settings=NIGHTLY)
    assert found.haste is Haste.ANY_LOAD
    assert found.within >= 60


def test_the_oldest_first_then_by_name_and_offset() -> None:
    mixed = Ages.whole(6, NOW - 4 * DAY).mark(0, 2, NOW).mark(4, 6, NOW - 5 * DAY)
    files = [kept("c", 3 * PIECE, 4 * DAY), kept("b", 6 * PIECE, mixed), kept("a", 1, 5 * DAY), kept("d", 9, NOW - 1)]
    found = read(files, settings=VerifySettings(max_age=4 * DAY + 1))  # so late that all is read at once
    assert found.stretches[:3] == (Stretch("d", 0, 1), Stretch("a", 0, 1), Stretch("b", 4, 6))
    assert found.stretches[3:] == (Stretch("b", 2, 4), Stretch("c", 0, 3))
    assert found.size == 9 + 1 + 4 * PIECE + 3 * PIECE


def test_never_verified_first_of_all_while_there_is_time() -> None:
    new = kept("z", 50 * GB, Ages((), (), NOW))
    assert read([OLD, new]).stretches[0].name == "z"
    assert not read([OLD, new]).urgent
    late = kept("a", 100 * GB, 6.9 * DAY)
    assert read([late, new]).urgent
    assert read([late, new]).stretches[0].name == "a"  # otherwise the promise would be broken for it


def test_what_came_from_nowhere_is_overdue() -> None:
    found = read([kept("a", 10 * GB, Ages()), kept("b", 10 * GB, 5 * DAY)])
    assert (found.urgent, found.seconds, found.stretches[0].name) == (True, 0.0, "a")


def test_a_file_goes_on_where_it_stopped() -> None:
    found = read([OLD])
    _, first, end = found.stretches[0].name, found.stretches[0].first, found.stretches[0].end
    again = read([replace(OLD, ages=OLD.ages.mark(first, end, NOW)), kept("b", GB, 4 * DAY)])
    assert again.stretches[0] == Stretch("a", end, again.stretches[0].end)


def test_a_file_that_can_only_be_read_as_a_whole() -> None:
    found = read([Kept("a", 80 * GB, 1, Ages.whole(1, NOW - 4 * DAY))])
    assert (found.stretches, found.size) == ((Stretch("a", 0, 1),), 80 * GB)
    assert found.seconds > HOUR  # and a long rest after it


def test_a_damaged_piece_is_neither_read_over_and_over_nor_in_the_way() -> None:
    damaged = replace(OLD, ages=OLD.ages.unmark(0, 1, NOW))
    assert read([damaged]).stretches[0].first == 1
    assert isinstance(at([replace(OLD, ages=Ages.whole(OLD.count, NOW).unmark(0, 1, NOW))]), Rest)
    later = replace(OLD, ages=Ages.whole(OLD.count, NOW).unmark(0, 1, NOW - 4 * DAY))
    assert read([later]).stretches == (Stretch("a", 0, 1),)


def test_an_empty_file_is_looked_at_and_costs_nothing() -> None:
    found = read([Kept("a", 0, 1, Ages((), (), NOW))])
    assert (found.stretches, found.size, found.seconds) == ((Stretch("a", 0, 1),), 0, 0.0)
    assert isinstance(at([Kept("a", 0, 0, Ages())]), Rest)


def test_many_small_files_share_a_decision() -> None:
    found = read([kept(f"f{number:05d}", 10, 8 * DAY) for number in range(5000)])
    assert len(found.stretches) == MOST_STRETCHES
    assert found.stretches[-1].name == f"f{MOST_STRETCHES - 1:05d}"


@pytest.mark.parametrize(
    ("minute", "seconds"),
    [(21 * 60 + 50, 600.0), (6 * 60, LONGEST_REST), (12 * 60, LONGEST_REST), (21 * 60 + 59.5, 30.0)],
)
def test_outside_the_window_it_rests(minute: float, seconds: float) -> None:
    found = rest([OLD], settings=NIGHTLY, minute=minute)
    assert found.seconds == pytest.approx(seconds)
    assert "22:00-06:00" in found.why


def test_no_piece_is_begun_after_the_window() -> None:
    assert read([OLD], settings=NIGHTLY, minute=5 * 60 + 59.5).within == pytest.approx(30)


def test_the_rate_is_kept_while_it_suffices() -> None:
    found = read([OLD], settings=VerifySettings(rate=20e6))
    assert (found.rate, found.urgent) == (20e6, False)


def test_it_waits_for_others_while_there_is_time() -> None:
    assert at([OLD], pause="others wait") == Rest(GLANCE, Haste.NONE, "others wait")


@pytest.mark.parametrize("haste", [Haste.NONE, Haste.ANY_LOAD])
def test_the_rest_of_a_stint_is_kept(haste: Haste) -> None:
    assert rest([OLD], rest=40.0, last=haste).seconds == 40.0
    assert rest([OLD], rest=5000.0, last=haste).seconds == LONGEST_REST


def test_a_deadline_that_came_near_ends_the_rest() -> None:
    """Such as by a clock that was set, or by files that came."""
    assert read([kept("a", 100 * GB, 8 * DAY)], rest=5000.0).urgent


@pytest.mark.parametrize(
    ("files", "given", "haste", "why"),
    [
        pytest.param(
            [kept("a", 3200 * GB, 5.9 * DAY)],
            {"settings": VerifySettings(rate=20e6)},
            Haste.FASTER,
            "20 MB/s is too slow for 3.2 TB in 7d: reading at",
            id="the rate",
        ),
        pytest.param(
            [kept("a", 3200 * GB, 5.9 * DAY)],
            {"settings": VerifySettings(window=(60, 90))},
            Haste.ANY_TIME,
            "the window 01:00-01:30 is too short for 3.2 TB in 7d: reading outside of it at",
            id="the window",
        ),
        pytest.param(
            [kept("a", 3200 * GB, 5.9 * DAY)],
            {"settings": VerifySettings(window=(60, 90), rate=200e6)},
            Haste.ANY_TIME,
            "the window",
            id="rate and window",
        ),
        pytest.param(
            [kept("a", 3200 * GB, 5.9 * DAY)],
            {"pause": "others wait for the disk (40% of the time)"},
            Haste.ANY_LOAD,
            "although others wait for the disk (40% of the time)",
            id="pressure",
        ),
        pytest.param([kept("a", 100 * GB, 6.9 * DAY)], {}, Haste.ANY_LOAD, "reading at full speed", id="late"),
        pytest.param([OVERDUE], {"pause": "x"}, Haste.ANY_LOAD, "100 GB of 100 GB in 7d will be late", id="overdue"),
    ],
)
def test_the_deadline_wins_and_takes_no_more_than_it_must(
    files: list[Kept], given: dict[str, object], haste: Haste, why: str
) -> None:
    found = read(files, **given)
    assert found.haste is haste
    assert found.urgent
    assert why in found.why
    assert (found.shortfall > 0) == (files == [OVERDUE])
    limit = given.get("settings", VerifySettings())
    assert isinstance(limit, VerifySettings)
    if limit.rate and haste is Haste.FASTER:
        assert found.rate is not None
        assert limit.rate < found.rate < 250e6
    if limit.rate and haste is Haste.ANY_TIME:
        assert found.rate == limit.rate  # it suffices outside the window


def test_what_full_speed_cannot_do_is_said() -> None:
    """A day left, at 10 MB/s, for a terabyte."""
    found = read([kept("a", TB, 6 * DAY)], speed=10e6)
    assert found.shortfall == pytest.approx(TB - 10e6 * DAY, rel=1e-3)
    assert "136 GB of 1 TB in 7d will be late even at full speed" in found.why
    assert read([kept("a", TB, 6 * DAY)], speed=12e6).shortfall == 0


def test_haste_does_not_come_and_go() -> None:
    """Just enough time is no reason to stop hurrying; more than enough is."""
    limit = VerifySettings(rate=100 * GB / DAY)
    tight = [kept("a", 100 * GB, 0.9 * WEEK - 1.02 * DAY)]
    assert not read(tight, settings=limit).urgent
    assert read(tight, settings=limit, last=Haste.FASTER).haste is Haste.FASTER
    ample = [kept("a", 100 * GB, 0.9 * WEEK - 1.5 * DAY)]
    assert not read(ample, settings=limit, last=Haste.FASTER).urgent


def test_an_unknown_speed_is_taken_for_a_low_one() -> None:
    due = [kept("a", 3200 * GB, 5.9 * DAY)]
    assert read(due, speed=None).urgent
    assert not read(due, speed=2e9).urgent
    assert at(due, speed=0.0) == at(due, speed=1.0)


@pytest.mark.parametrize(
    ("size", "limit", "share"),
    [
        (GB, VerifySettings(), 0.5),
        (10 * TB, VerifySettings(), 0.5),
        (50 * TB, VerifySettings(), 0.8 - 2 * 50e12 / (250e6 * WEEK)),
        (10 * TB, VerifySettings(window=NIGHT), 0.8 - 2 * 10e12 / (250e6 * WEEK / 3)),
        (TB, VerifySettings(rate=5e6), 0.8 - 2 * 1e12 / (5e6 * WEEK)),
        (100 * TB, VerifySettings(), 0.0),
    ],
)
def test_the_floor_is_lower_where_reading_takes_long(size: int, limit: VerifySettings, share: float) -> None:
    assert floor(limit, size, 500e6) == pytest.approx(share * WEEK)


# --- a machine -------------------------------------------------------------------------------------------------------


def store(ages: Callable[[int], float]) -> list[Kept]:
    """40 files, 1 MB to 80 GB, 318 GB in all, each as old as `ages` says."""
    return [kept(f"f{number:02d}", round(MB * 80e3 ** (number / 39)), ages(number)) for number in range(40)]


@dataclass
class Machine:
    """Follows decisions for days without waiting; what it has read in its last 5 seconds is lost when it is killed."""

    settings: VerifySettings
    files: dict[str, Kept]
    speed: float = 500e6
    pressure: Callable[[float], bool] = lambda now: False
    kills: list[float] = field(default_factory=list)  # seconds of running, ascending
    kill_in: str = ""  # killed while this file is read, too
    kills_left: int = 0
    slices: int = 0  # read of it since the last kill
    jumps: list[tuple[float, float]] = field(default_factory=list)  # (seconds of running, what the clock is set by)

    now: float = 0.0  # true seconds of running
    offset: float = NOW  # what the clock shows then
    oldest: float = 0.0  # the highest age there ever was, by the clock
    youngest: float = math.inf  # the lowest age of what was read
    read: int = 0  # bytes
    lost: int = 0
    hours: Counter[int] = field(default_factory=Counter)  # bytes by hour
    beyond: Counter[str] = field(default_factory=Counter)  # bytes read outside the window, too fast, under pressure
    order: list[str] = field(default_factory=list)
    _unsaved: list[tuple[float, Kept]] = field(default_factory=list)  # when, and the file before

    @property
    def clock(self) -> float:
        return self.now + self.offset

    @property
    def minute(self) -> float:
        return self.clock % DAY / 60

    def run(self, seconds: float) -> Machine:
        until, free, last = self.now + seconds, 0.0, Haste.NONE
        while self.now < until:
            while self.jumps and self.jumps[0][0] <= self.now:
                self.offset += self.jumps.pop(0)[1]
            if self._killed():
                free, last = 0.0, Haste.NONE
                self.now += 20
            self._settle()
            found = self._decide(max(0.0, free - self.now), last)
            last = found.haste
            if isinstance(found, Rest):
                # While others wait a real reader looks more often; that would only take longer here.
                self.now += 60.0 if found.seconds == GLANCE else found.seconds
                continue
            free = self.now + found.seconds
            for _ in self._follow(found):
                if self.kills and self.kills[0] <= self.now:
                    break
            if last is Haste.NONE and not self.kills and not self.jumps and not self.pressure(self.now):
                self.now = max(self.now, min(free, self.now + LONGEST_REST))  # as it would decide, but sooner
        return self

    def _decide(self, rest: float, last: Haste) -> Read | Rest:
        files = list(self.files.values())
        pause = "others wait" if self.pressure(self.now) else ""
        clock, minute = self.clock, self.minute
        return decide(
            self.settings, files, now=clock, minute=minute, speed=self.speed, pause=pause, rest=rest, last=last
        )

    def _settle(self) -> None:
        for each in list(self.files.values()):
            ages = each.ages.settled(self.clock, self.settings.max_age)
            if ages is not each.ages:
                self.files[each.name] = replace(each, ages=ages)
            times = [at for _, _, at in ages.spans if at <= self.clock]
            if times:
                self.oldest = max(self.oldest, self.clock - min(times))

    def _follow(self, decision: Read) -> Iterator[None]:
        """Read as the decision says, 5 seconds' worth at a time."""
        begun, clock = self.now, self.clock
        rate = min(self.speed, decision.rate or math.inf)
        for stretch in decision.stretches:
            first = stretch.first
            self.order.append(stretch.name)
            while first < stretch.end:
                ignored = decision.haste is Haste.ANY_LOAD
                if self.now >= begun + decision.within or (self.pressure(self.now) and not ignored):
                    return
                before = self.files[stretch.name]
                end = min(stretch.end, first + max(1, int(rate * 5 / PIECE)))
                self._note(before, first, end, rate)
                self._unsaved.append((self.now, before))
                ages = before.ages.mark(first, end, clock, self.settings.max_age / GRAINS)
                self.files[stretch.name] = replace(before, ages=ages)
                first = end
                self.slices += stretch.name == self.kill_in
                if self.slices == 4 and self.kills_left:
                    self.slices, self.kills_left = 0, self.kills_left - 1
                    self.kills.insert(0, self.now)
                yield

    def _note(self, each: Kept, first: int, end: int, rate: float) -> None:
        size = each.length(first, end)
        for one, other, at, known in each.ages.view(each.count, self.clock):
            if known is Known.GOOD and one < end and first < other:
                self.youngest = min(self.youngest, self.clock - at)
        self.read += size
        self.hours[int(self.now // HOUR)] += size
        if opens_in(self.settings.window, self.minute):
            self.beyond["window"] += size
        if self.settings.rate and rate > self.settings.rate:
            self.beyond["rate"] += size
        if self.pressure(self.now):
            self.beyond["pressure"] += size
        self.now += size / rate

    def _killed(self) -> bool:
        """Whether it was killed: then all that it read in the last 5 seconds was in vain."""
        self._unsaved = [(at, before) for at, before in self._unsaved if at > self.now - 5]
        if not self.kills or self.kills[0] > self.now:
            return False
        self.kills.pop(0)
        for _, before in reversed(self._unsaved):
            self.lost += 1
            self.files[before.name] = before
        self._unsaved.clear()
        return True

    def kept(self) -> bool:
        return promise(self.files.values(), self.settings.max_age, self.clock).kept


def machine(limits: VerifySettings, files: list[Kept], **given: object) -> Machine:
    return Machine(limits, {each.name: each for each in files}, **given)  # type: ignore[arg-type]


def same(age: float) -> Callable[[int], float]:
    return lambda number: age


TOTAL = sum(each.size for each in store(same(0)))
SHORT = 6 * HOUR  # as max_age: only shares of it matter, and weeks take long also on a simulated machine
LIMITS = VerifySettings(max_age=SHORT)
NIGHTS = VerifySettings(max_age=4 * DAY, window=NIGHT)


def up_to(share: float, max_age: float = SHORT) -> Callable[[int], float]:
    """Ages from 0 to that share of max_age, in no order."""
    return lambda number: (number * 7 % 40) / 39 * share * max_age


def busy(share: float) -> Callable[[float], bool]:
    """Others need the disk for that share of every ten minutes."""
    return lambda now: now % 600 < share * 600


@pytest.mark.parametrize(
    ("limits", "given", "beyond"),
    [
        pytest.param(LIMITS, {}, set[str](), id="no limits"),
        pytest.param(replace(LIMITS, rate=60e6), {}, set[str](), id="a rate"),
        pytest.param(NIGHTS, {}, set[str](), id="at night"),
        pytest.param(replace(NIGHTS, rate=15e6), {}, set[str](), id="a rate, at night"),
        pytest.param(LIMITS, {"pressure": busy(0.6)}, set[str](), id="busy now and then"),
        pytest.param(LIMITS, {"pressure": busy(1.0)}, {"pressure"}, id="always busy"),
        pytest.param(NIGHTS, {"pressure": busy(1.0)}, {"window", "pressure"}, id="always busy, at night"),
        pytest.param(replace(LIMITS, rate=12e6), {}, {"rate"}, id="the rate is too low"),
        pytest.param(replace(LIMITS, window=(60, 70)), {}, {"window"}, id="the window is too short"),
        pytest.param(replace(LIMITS, rate=12e6, window=(60, 70)), {}, {"window", "rate"}, id="both"),
        pytest.param(LIMITS, {"speed": 40e6}, set[str](), id="a slow disk"),
        pytest.param(LIMITS, {"speed": 25e6}, set[str](), id="a disk that is just enough"),
        pytest.param(LIMITS, {"kills": [each * 300.0 for each in range(1, 200)]}, set[str](), id="killed now and then"),
    ],
)
def test_the_promise_is_kept(limits: VerifySettings, given: dict[str, object], beyond: set[str]) -> None:
    """And limits are kept to wherever it can be kept with them."""
    found = machine(limits, store(up_to(0.3, limits.max_age)), **given).run(2.2 * limits.max_age)
    assert found.oldest < 0.98 * limits.max_age
    assert found.kept()
    assert {limit for limit, size in found.beyond.items() if size} == beyond
    assert found.read < 1.6 * 2.2 * TOTAL  # no byte is read much more often than it must


def test_all_at_once_is_spread_over_the_time_there_is() -> None:
    """Everything came on one day. In the first round it has to wait, later no hour stands out."""
    limits = VerifySettings(max_age=1.5 * DAY)
    found = machine(limits, store(same(0))).run(0.49 * 1.5 * DAY)
    assert not found.read
    found.run(1.3 * 1.5 * DAY)
    assert max(found.hours.values()) < 4 * TOTAL / 36
    found.hours.clear()
    found.now, found.offset, before = 0.0, found.clock, found.read
    hours = 24
    found.run(hours * HOUR)
    mean = (found.read - before) / hours
    assert mean > TOTAL / 36
    assert max(found.hours.values()) < 1.5 * mean
    assert min(found.hours[hour] for hour in range(hours)) > mean / 2
    assert found.youngest > 0.49 * 1.5 * DAY
    assert found.kept()


def test_every_night_has_its_share() -> None:
    found = machine(NIGHTS, store(up_to(0.6, 4 * DAY))).run(7 * DAY)
    nights = Counter[int]()
    for hour, size in found.hours.items():
        nights[(hour + 12) // 24] += size
    assert not found.beyond
    assert len(nights) >= 6
    assert max(nights.values()) < 3 * found.read / 7
    assert max(found.hours.values()) < 4 * found.read / (7 * 8)
    assert found.kept()


def test_fifty_kills_in_the_middle_of_one_file() -> None:
    """Each costs what was not saved and no more; the file is finished, and so are the others."""
    files = [kept("a", GB, SHORT / 2), kept("b", 50 * GB, SHORT / 2), kept("c", 9 * GB, SHORT / 2)]
    found = machine(LIMITS, files, speed=50e6, kill_in="b", kills_left=50).run(0.45 * SHORT)
    assert found.kills_left == 0
    assert found.lost >= 50
    assert found.kept()
    assert found.oldest < 0.97 * SHORT
    assert found.read < 60 * GB + 50 * 10 * 50e6


def test_a_clock_that_jumps_a_week_ahead_makes_all_urgent_and_oldest_first() -> None:
    files = store(lambda number: number * 60.0)
    found = machine(VerifySettings(rate=20e6, window=NIGHT), files, jumps=[(HOUR, 1.5 * WEEK)]).run(2 * HOUR)
    assert found.kept()
    assert found.read == TOTAL
    assert found.order == sorted(found.order, reverse=True)  # the last one is the oldest
    assert found.run(2 * DAY).read == TOTAL


@pytest.mark.parametrize("back", [0.1 * DAY, 0.7 * DAY, 30 * DAY])
def test_a_clock_that_jumps_back_causes_no_burst(back: float) -> None:
    """What seems to be from the future is read first, but at the ordinary pace, and once."""
    found = machine(VerifySettings(max_age=DAY), store(up_to(0.6, DAY)), jumps=[(0.2 * DAY, -back)]).run(1.1 * DAY)
    assert found.kept()
    assert max(found.hours.values()) < 3 * TOTAL / 24
    assert found.read < 1.8 * TOTAL
    assert not found.beyond


def test_a_clock_that_was_wrong_for_a_day_is_made_up_for() -> None:
    """A year ahead, then right again: all is read at once, once, and again at leisure."""
    year = 365 * DAY
    jumps = [(0.1 * DAY, year), (0.3 * DAY, -year)]
    found = machine(VerifySettings(max_age=DAY), store(up_to(0.4, DAY)), jumps=jumps).run(0.35 * DAY)
    assert TOTAL <= found.read < 1.2 * TOTAL
    assert not found.kept()
    found.hours.clear()
    assert found.run(0.85 * DAY).kept()
    assert max(found.hours.values()) < 3 * TOTAL / 24


def test_what_cannot_be_kept_is_said_and_nothing_starves() -> None:
    """A disk that would need three times as long as was promised."""
    files = [kept(f"f{number}", GB, number * 600.0) for number in range(9)]
    found = machine(LIMITS, files, speed=9 * GB / (3 * SHORT)).run(6 * SHORT)
    decision = found._decide(0.0, Haste.NONE)
    assert isinstance(decision, Read)
    assert decision.shortfall > 0
    assert "will be late" in decision.why
    assert set(found.order[-500:]) == set(found.files)
    assert found.oldest < 3.5 * SHORT


scenario = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.sampled_from([MB, 50 * MB, GB, 10 * GB, 80 * GB]), min_size=1, max_size=6),
        "load": st.floats(0.01, 0.25),  # the share of max_age that reading everything once takes at full speed
        "rate": st.none() | st.floats(0.01, 2),  # of the speed
        "window": st.just(ALWAYS) | windows,
        "busy": st.sampled_from([0.0, 0.3, 0.7, 1.0]),
        "ages": st.lists(st.floats(0, 0.6), min_size=6, max_size=6),
        "kills": st.lists(st.floats(0, SHORT), max_size=20),
    }
)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(scenario)
def test_whatever_the_limits_what_can_be_kept_is_kept(scenario: dict[str, object]) -> None:
    sizes, ages, kills = scenario["sizes"], scenario["ages"], scenario["kills"]
    load, rate, window, share = scenario["load"], scenario["rate"], scenario["window"], scenario["busy"]
    assert isinstance(sizes, list)
    assert isinstance(ages, list)
    assert isinstance(kills, list)
    assert isinstance(window, tuple)
    assert isinstance(load, float)
    assert isinstance(share, float)
    speed = sum(sizes) / (load * SHORT)
    limits = VerifySettings(SHORT, rate * speed if isinstance(rate, float) else None, window)
    files = [kept(f"f{number}", size, ages[number] * SHORT) for number, size in enumerate(sizes)]
    found = machine(limits, files, speed=speed, pressure=busy(share), kills=sorted(kills))
    assert found.run(1.2 * SHORT).oldest <= SHORT
    assert found.kept()

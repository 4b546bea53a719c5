"""Rates: what a token bucket lets through, what counts as a stall, and how many connections a trial allows."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.pace import BURST, Bucket, Ramp, StallMeter, idle_share

RATE = 1000.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 5)), min_size=1, max_size=40))
def test_a_taker_who_waits_as_told_never_exceeds_the_rate(steps: list[tuple[int, float]]) -> None:
    """Over any time: the rate, a burst, and one gulp of debt. Idling saves nothing up."""
    bucket, now = Bucket(RATE), 50.0
    begun, taken = now, 0
    for count, idle in steps:
        waited = bucket.take(now, count)
        taken += count
        now += waited
        assert taken <= RATE * (now - begun + BURST) + 1e-6
        now += idle


@settings(deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=5, max_size=40))
def test_the_rate_is_used_to_the_full(counts: list[int]) -> None:
    bucket, now = Bucket(RATE), 50.0
    for count in counts:
        now += bucket.take(now, count)
    assert now - 50.0 == pytest.approx(max(0.0, sum(counts) / RATE - BURST), abs=1e-6)


def test_several_takers_share_it() -> None:
    bucket = Bucket(RATE)
    waits = [bucket.take(0.0, 1000) for _ in range(4)]
    assert [round(after - before, 6) for before, after in itertools.pairwise(waits)] == [1.0] * 3


@pytest.mark.parametrize(("rate", "gulp"), [(1.0, 4096), (1e6, 100_000), (1e9, 100_000_000)])
def test_a_gulp_is_small_where_the_rate_is(rate: float, gulp: int) -> None:
    assert Bucket(rate).gulp == gulp


# --- stalls ----------------------------------------------------------------------------------------------------------


def life(meter: StallMeter, arrivals: dict[float, int], until: float) -> float | None:
    """Tick every 0.1 s; when it is called stalled, if it is."""
    tick = 0
    while (now := tick / 10) <= until:
        meter.add(arrivals.get(now, 0))
        if meter.stalled(now):
            return now
        tick += 1
    return None


@pytest.mark.parametrize(
    ("arrivals", "stalls"),
    [
        ({}, 60.0),
        ({10.0: 100_000}, 70.0),  # it was fast, then nothing
        ({second / 1: 1 for second in range(600)}, 60.0),  # a byte a second is no life
        ({second / 1: 2000 for second in range(600)}, None),
        ({59.0: 100_000, 118.0: 100_000, 177.0: 100_000, 236.0: 100_000, 295.0: 400_000}, None),  # in gushes
        ({60.1: 1_000_000}, 60.0),  # too late
    ],
)
def test_what_counts_as_stalled(arrivals: dict[float, int], stalls: float | None) -> None:
    assert life(StallMeter(1024.0, 60.0, 0.0), arrivals, 300.0) == stalls


def test_our_own_waiting_does_not_count() -> None:
    meter = StallMeter(1024.0, 60.0, 0.0)
    meter.hold()
    assert not meter.stalled(1000.0)
    meter.go(1000.0)
    assert not meter.stalled(1059.0)
    assert meter.stalled(1060.0)


def test_bytes_of_before_do_not_excuse_the_time_after() -> None:
    meter = StallMeter(1024.0, 60.0, 0.0)
    meter.add(10_000_000)
    meter.hold()
    meter.go(10.0)
    assert meter.stalled(70.0)


# --- how many connections --------------------------------------------------------------------------------------------


def levels(limit: int, rate_of: Callable[[int, float], float], seconds: float, *, idle: bool = False) -> list[int]:
    """The levels over time, at ten looks a second, when the host brings `rate_of(level, now)` bytes a second."""
    ramp, found = Ramp(limit), []
    for tick in range(int(seconds * 10)):
        ramp.add(int(rate_of(ramp.level, tick / 10) / 10))
        found.append(ramp.consider(tick / 10, idle=idle))
    return found


def per_connection(level: int, now: float) -> float:
    """Each connection brings as much as the others."""
    return 10e6 * level


def in_all(level: int, now: float) -> float:
    """The machine is the limit, however many there are."""
    return 100e6


@pytest.mark.parametrize("idle", [False, True])
def test_it_doubles_where_each_connection_is_limited(idle: bool) -> None:
    found = levels(8, per_connection, 20, idle=idle)
    assert found == sorted(found)
    assert found[-1] == 8


def test_idle_processors_need_no_trial() -> None:
    assert levels(8, in_all, 20, idle=True)[-1] == 8
    assert levels(8, per_connection, 20, idle=True).index(8) < levels(8, per_connection, 20).index(8)


def test_it_goes_back_where_the_machine_is_the_limit() -> None:
    found = levels(8, in_all, 300)
    assert max(found) == 2
    assert found.count(1) > 4 * found.count(2)  # trials are short and become rare


def test_it_stays_where_more_stopped_helping() -> None:
    found = levels(8, lambda level, now: 10e6 * min(level, 2), 60)
    assert max(found) == 4
    assert found.count(2) > found.count(4)
    assert 1 not in found[300:]


def test_a_failed_trial_is_repeated_ever_more_rarely() -> None:
    found = levels(8, in_all, 300)
    begun = [at for at in range(1, len(found)) if found[at - 1] == 1 and found[at] == 2]
    pauses = [after - before for before, after in itertools.pairwise(begun)]
    assert len(pauses) >= 3
    assert all(after > 1.5 * before for before, after in itertools.pairwise(pauses))


def test_a_path_that_becomes_slow_per_connection_is_found_out() -> None:
    found = levels(4, lambda level, now: in_all(level, now) if now < 5 else per_connection(level, now), 60)
    assert found[-1] == 4


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("idle", [False, True])
def test_the_limit_is_kept(limit: int, idle: bool) -> None:
    assert max(levels(limit, per_connection, 60, idle=idle)) == limit


@pytest.mark.parametrize("idle", [False, True])
def test_a_host_that_brings_nothing_is_no_reason_for_more(idle: bool) -> None:
    assert set(levels(8, lambda level, now: 0.0, 60, idle=idle)) == {1}


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
        ((0,) * 10, (10, 0, 0, 90, 0, 0, 0, 0, 0, 0), 0.9),
        ((5, 5, 5, 5, 5, 5, 5, 5, 5, 5), (105, 5, 5, 5, 5, 5, 5, 5, 105, 5), 0.0),
        ((0,) * 10, (25, 0, 0, 50, 25, 0, 0, 0, 25, 0), 0.5),  # waiting for the disk is not idleness; guest is in user
        ((7,) * 10, (7,) * 10, 0.0),  # no time has passed
        ((), (), 0.0),
    ],
)
def test_how_idle_the_processors_were(before: tuple[int, ...], after: tuple[int, ...], share: float) -> None:
    assert idle_share(before, after) == pytest.approx(share)

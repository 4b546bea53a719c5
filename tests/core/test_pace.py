"""Rates: what a token bucket lets through, what counts as a stall, and how many connections a trial allows."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.pace import BURST, Bucket, Ramp, StallMeter

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


def levels(limit: int, rate_of: dict[int, float], seconds: float) -> list[int]:
    """The levels over time when the host brings `rate_of[level]` bytes a second."""
    ramp, found = Ramp(limit), []
    for tick in range(int(seconds * 10)):
        ramp.add(int(rate_of[ramp.level] / 10))
        found.append(ramp.consider(tick / 10))
    return found


def test_it_doubles_where_each_connection_is_limited() -> None:
    found = levels(8, {1: 10e6, 2: 20e6, 4: 40e6, 8: 80e6}, 10)
    assert found == sorted(found)
    assert found[-1] == 8


def test_it_goes_back_where_the_machine_is_the_limit() -> None:
    found = levels(8, {1: 100e6, 2: 100e6, 4: 100e6, 8: 100e6}, 9)
    assert max(found) == 2
    assert found[-1] == 1
    assert found.count(2) < 10  # a trial is short


def test_it_stays_where_more_stopped_helping() -> None:
    found = levels(8, {1: 10e6, 2: 20e6, 4: 21e6, 8: 21e6}, 9)
    assert max(found) == 4
    assert found[-1] == 2


def test_a_failed_trial_is_repeated_ever_more_rarely() -> None:
    found = levels(8, {1: 100e6, 2: 100e6}, 200)
    begun = [at for at in range(1, len(found)) if found[at - 1] == 1 and found[at] == 2]
    pauses = [after - before for before, after in itertools.pairwise(begun)]
    assert len(pauses) >= 3
    assert all(after > 1.7 * before for before, after in itertools.pairwise(pauses))


def test_a_path_that_became_slow_per_connection_is_found_out() -> None:
    ramp = Ramp(4)
    for tick in range(600):
        limited = tick > 50
        ramp.add(int((10e6 * ramp.level if limited else 100e6) / 10))
        ramp.consider(tick / 10)
    assert ramp.level == 4


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_the_limit_is_kept(limit: int) -> None:
    assert max(levels(limit, {level: 10e6 * level for level in range(1, 9)}, 20)) == limit

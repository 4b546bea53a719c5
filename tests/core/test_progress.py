"""`ckptd.core.progress` and what it stands on: meters, activities, pictures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.events import (
    Connections,
    Event,
    Finished,
    Hashed,
    Noted,
    Publishing,
    Queued,
    Received,
    Rewound,
    Sized,
    Started,
    Waiting,
)
from ckptd.core.meter import Meter
from ckptd.core.picture import Phase, Row, percent, plural, portion, span
from ckptd.core.progress import Progress

MB = 1_000_000


def fed(*events: Event, now: float = 0.0, local: bool = False) -> Progress:
    progress = Progress(local=local)
    for event in events:
        progress.apply(event, now)
    return progress


def row(progress: Progress, name: str = "a", now: float = 0.0) -> Row:
    found = progress.row(name, now)
    assert found is not None
    return found


PHASES: list[tuple[str, list[Event], Phase, str]] = [
    ("queued", [Queued("a", 10, "")], Phase.QUEUED, "queued"),
    ("queued, and why", [Queued("a", 10, "not there yet")], Phase.QUEUED, "queued: not there yet"),
    ("started", [Started("a", 10)], Phase.CONNECTING, "connecting"),
    ("resuming", [Started("a", 100, have=61)], Phase.RESUMING, "resuming at 61 %"),
    (
        "bytes flow",
        [Started("a", 100, have=61), Connections("a", 4, "h"), Received("a", 1)],
        Phase.DOWNLOADING,
        "4 connections",
    ),
    ("one connection", [Connections("a", 1, "h"), Sized("a", 9)], Phase.DOWNLOADING, "1 connection"),
    (
        "all bytes, half the digest",
        [Started("a", 100), Connections("a", 1, "h"), Received("a", 100), Hashed("a", 50)],
        Phase.HASHING,
        "hashing 50 %",
    ),
    (
        "all bytes, the whole digest",
        [Started("a", 100), Connections("a", 1, "h"), Received("a", 100), Hashed("a", 100)],
        Phase.PUBLISHING,
        "publishing",
    ),
    ("publishing", [Started("a", 100), Publishing("a")], Phase.PUBLISHING, "publishing"),
    ("waiting", [Waiting("a", 11.4, "Retry-After")], Phase.WAITING, "waiting 12s: Retry-After"),
    ("read from disk", [Started("a", 100), Received("a", 5)], Phase.CHECKING, "checking"),
    (
        "begun again",
        [Connections("a", 1, "h"), Received("a", 5), Rewound("a", 0, "the object changed")],
        Phase.DOWNLOADING,
        "begun again: the object changed",
    ),
    (
        "a note",
        [Connections("a", 1, "h"), Noted("a", "the origin ignores ranges")],
        Phase.DOWNLOADING,
        "the origin ignores ranges",
    ),
    ("fetched", [Finished("a", "fetched", "witnessed", size=7)], Phase.DONE, "fetched, witnessed"),
    ("failed", [Finished("a", "failed", error="HTTP 404")], Phase.FAILED, "failed: HTTP 404"),
    ("corrupt, unexplained", [Finished("a", "corrupt")], Phase.FAILED, "corrupt"),
]


@pytest.mark.parametrize(("events", "phase", "text"), [case[1:] for case in PHASES], ids=[c[0] for c in PHASES])
def test_phase_and_text(events: list[Event], phase: Phase, text: str) -> None:
    found = row(fed(*events))
    assert (found.phase, found.text) == (phase, text)


def test_verify_checks_from_the_start() -> None:
    assert row(fed(Started("a", 100), local=True)).phase is Phase.CHECKING


def test_notes_fade() -> None:
    progress = fed(Connections("a", 2, "h"), Noted("a", "odd"))
    assert row(progress, now=5).text == "odd"
    assert row(progress, now=9).text == "2 connections"


def test_waiting_counts_down_and_ends() -> None:
    progress = fed(Started("a", 10), Waiting("a", 12, "Retry-After"))
    texts = [row(progress, now=now).text for now in (0, 0.5, 1.5, 11.9, 12)]
    assert texts[0] == texts[1] == "waiting 12s: Retry-After"
    assert texts[2:] == ["waiting 11s: Retry-After", "waiting 1s: Retry-After", "connecting"]


def test_bytes_end_a_wait() -> None:
    progress = fed(Connections("a", 1, "h"), Waiting("a", 60, "retry"), Received("a", 1))
    assert row(progress).phase is Phase.DOWNLOADING


@pytest.mark.parametrize("seconds", [math.inf, math.nan, -math.inf, -1.0])
def test_an_odd_wait_is_none(seconds: float) -> None:
    assert row(fed(Waiting("a", seconds, "odd"))).phase is Phase.CONNECTING


def test_a_late_word_does_not_reopen_what_is_settled() -> None:
    progress = fed(Finished("a", "fetched", size=10), Received("a", 5), Connections("a", 3, "h"), Sized("a", 99))
    found = row(progress)
    assert (found.phase, found.done, found.size, found.connections) == (Phase.DONE, 10, 10, 0)


def test_starting_again_after_the_end_begins_anew() -> None:
    progress = fed(Received("a", 9), Finished("a", "corrupt", size=10), Started("a", 10))
    found = row(progress)
    assert (found.phase, found.done, found.state) == (Phase.CONNECTING, 0, "")
    assert progress.picture(0, 9).totals.counts.failed == 0


def test_fraction_needs_a_size_and_stays_below_one() -> None:
    progress = fed(Connections("a", 1, "h"), Received("a", 50))
    assert row(progress).fraction is None
    progress.apply(Sized("a", 40), 0.0)
    assert row(progress).fraction == 1.0
    assert row(fed(Sized("a", 0))).fraction == 1.0


def test_rewound_takes_bytes_back() -> None:
    progress = fed(Started("a", 100), Received("a", 80), Rewound("a", 16, "changed"))
    assert row(progress).done == 16
    assert progress.picture(0, 1).totals.done == 16


def stream(meter: Meter, start: float, seconds: float, rate: float, step: float = 0.1) -> float:
    now = start
    for _ in range(round(seconds / step)):
        now += step
        meter.add(now, int(rate * step))
    return now


@pytest.mark.parametrize("seconds", [2, 5, 20, 120])
def test_a_steady_rate_is_told_as_it_is(seconds: float) -> None:
    meter = Meter()
    now = stream(meter, 0.0, seconds, 25 * MB)
    assert meter.rate(now) == pytest.approx(25 * MB, rel=0.1)


def test_the_rate_follows_within_seconds() -> None:
    meter = Meter()
    now = stream(meter, stream(meter, 0.0, 60, 100 * MB), 12, 10 * MB)
    assert meter.rate(now) == pytest.approx(10 * MB, rel=1.0)
    assert meter.rate(now) < 20 * MB


def test_the_rate_fades_in_a_gap() -> None:
    meter = Meter()
    now = stream(meter, 0.0, 30, 10 * MB)
    rates = [meter.rate(now + gap) for gap in (0, 1, 5, 10, 30)]
    assert rates == sorted(rates, reverse=True)
    assert rates[2] < 4 * MB
    assert rates[4] == 0


def test_a_trickle_is_not_told_as_a_burst() -> None:
    meter = Meter()
    for when in range(0, 600, 6):
        meter.add(float(when), 60_000)
    assert meter.rate(600.0) < 20_000


def test_the_rate_after_a_wait_is_not_dragged_down_by_it() -> None:
    progress = fed(Started("a", 10_000 * MB), Connections("a", 1, "h"))
    for tick in range(100):
        progress.apply(Received("a", MB), tick / 10)
    progress.apply(Waiting("a", 12, "Retry-After"), 10.0)
    assert row(progress, now=11.0).rate == 0
    for tick in range(20):
        progress.apply(Received("a", MB), 22 + tick / 10)
    assert row(progress, now=24.0).rate == pytest.approx(10 * MB, rel=0.15)


def test_time_left() -> None:
    progress = fed(Started("a", 1000 * MB), Connections("a", 1, "h"))
    for tick in range(1, 301):
        progress.apply(Received("a", MB), tick / 10)
    found = row(progress, now=30.0)
    assert found.eta == pytest.approx(70, rel=0.05)
    assert progress.picture(30.0, 1).totals.eta == pytest.approx(70, rel=0.05)


def test_those_of_unknown_size_are_taken_for_average() -> None:
    progress = fed(Sized("a", 100), Received("a", 50), Queued("b", None, ""))
    totals = progress.picture(0.0, 5).totals
    assert (totals.size, totals.unsized, totals.fraction) == (100, 1, 0.25)
    assert totals.eta is not None


def test_nothing_known_is_said_to_be_unknown() -> None:
    totals = fed(Queued("a", None, "")).picture(0.0, 5).totals
    assert (totals.fraction, totals.eta, totals.rate) == (None, None, 0)


def many() -> Progress:
    progress = Progress()
    for number in range(500):
        progress.apply(Queued(f"c{number:03}", 10, ""), 0.0)
    for number in range(320):
        progress.apply(Started(f"c{number:03}", 10), 1.0)
    for number in range(312):
        state = "failed" if number in {3, 7} else "fetched"
        progress.apply(Finished(f"c{number:03}", state, error="x" * (state == "failed")), 2.0)
    progress.apply(Waiting("c312", 60, "Retry-After"), 3.0)
    return progress


def test_a_picture_shows_what_matters_in_its_first_order() -> None:
    picture = many().picture(4.0, 15)
    names = [row.name for row in picture.rows]
    assert names == sorted(names)
    assert len(names) == 15
    assert {"c003", "c007", *(f"c{number}" for number in range(312, 320))} <= set(names)
    phases = [row.phase for row in picture.rows]
    assert phases.count(Phase.QUEUED) == 2
    assert phases.count(Phase.DONE) == 3
    assert names[2:5] == ["c309", "c310", "c311"]
    hidden = picture.hidden
    assert (hidden.failed, hidden.active, hidden.waiting, hidden.done, hidden.queued) == (0, 0, 0, 307, 178)


def test_failures_cannot_push_the_work_out() -> None:
    progress = Progress()
    for number in range(100):
        progress.apply(Finished(f"f{number:02}", "failed", error="x"), 0.0)
    for number in range(6):
        progress.apply(Started(f"w{number}", 10), 0.0)
    phases = [row.phase for row in progress.picture(0.0, 9).rows]
    assert phases.count(Phase.FAILED) == 3
    assert phases.count(Phase.CONNECTING) == 6


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 7, 499, 500, 1000])
def test_no_more_rows_than_asked_for(limit: int) -> None:
    picture = many().picture(4.0, limit)
    assert len(picture.rows) == min(500, max(0, limit))
    assert picture.hidden.total + len(picture.rows) == 500


NAMES = st.sampled_from(["a", "b", "c", "d"])
COUNTS = st.integers(-5, 2**63)
EVENTS = st.one_of(
    st.builds(Queued, NAMES, st.none() | COUNTS, st.text(max_size=3)),
    st.builds(Started, NAMES, st.none() | COUNTS, COUNTS),
    st.builds(Sized, NAMES, COUNTS),
    st.builds(Received, NAMES, COUNTS),
    st.builds(Rewound, NAMES, COUNTS, st.text(max_size=3)),
    st.builds(Connections, NAMES, st.integers(-5, 99), st.sampled_from(["", "h"])),
    st.builds(Hashed, NAMES, COUNTS),
    st.builds(Waiting, NAMES, st.floats(), st.text(max_size=3)),
    st.builds(Publishing, NAMES),
    st.builds(Noted, NAMES, st.text(max_size=3)),
    st.builds(
        Finished,
        NAMES,
        st.sampled_from(["fetched", "failed", "intact", "corrupt", ""]),
        error=st.text(max_size=2),
        size=st.none() | COUNTS,
    ),
)


@given(st.lists(st.tuples(EVENTS, st.floats(-100, 1e6)), max_size=30), st.floats(-100, 1e6), st.integers(-1, 6))
def test_any_events_in_any_order(events: list[tuple[Event, float]], now: float, limit: int) -> None:
    progress = Progress()
    for event, when in events:
        progress.apply(event, when)
    picture = progress.picture(now, limit)
    totals = picture.totals
    assert totals.counts.total == len({event.name for event, _ in events}) == len(progress)
    assert len(picture.rows) + picture.hidden.total == totals.counts.total
    assert min(picture.hidden.queued, picture.hidden.active, picture.hidden.done, picture.hidden.failed) >= 0
    assert totals.fraction is None or 0 <= totals.fraction <= 1
    assert 0 <= totals.rate < math.inf
    rows = [row(progress, name, now) for name in {event.name for event, _ in events}]
    assert totals.done == sum(found.done for found in rows)
    assert totals.connections == sum(found.connections for found in rows)
    for found in rows:
        assert found.fraction is None or 0 <= found.fraction <= 1
        assert 0 <= found.rate < math.inf
        assert found.eta is None or found.eta >= 0
        assert found.done >= 0
        assert found.elapsed >= 0


def test_phrases() -> None:
    assert [percent(0.0), percent(0.999), percent(1.0)] == ["0 %", "99 %", "100 %"]
    assert portion(124 * MB, 204 * MB) == "124 of 204 MB"
    assert portion(50 * MB, 2_800 * MB) == "0.1 of 2.8 GB"
    assert portion(290 * MB, 1000 * MB) == "0.3 of 1 GB"
    assert portion(7, 9) == "7 of 9 B"
    assert portion(124 * MB, None) == "124 MB"
    assert [plural(1, "connection"), plural(4, "connection")] == ["1 connection", "4 connections"]
    assert [span(8.12), span(9.96), span(125)] == ["8.1s", "10s", "2m 05s"]

"""Ages as spans against a plain list of pieces; wrong clocks; and the promise against a naive sum."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.ages import NEVER, SLACK, Ages, Kept, Known, promise
from ckptd.core.models import PIECE

COUNT = 12
NOW = 1_800_000_000.0
WEEK = 7 * 86400.0

Step = tuple[bool, int, int, float]  # found good, first, end, at
steps = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, COUNT),
        st.integers(0, COUNT),
        st.sampled_from([NOW - 30.0, NOW - 20.0, NOW - 10.0, NOW, NOW + 1e6]),
    ),
    max_size=15,
)


@dataclass
class Model:
    """The same, piece by piece."""

    good: list[float | None]
    bad: list[float | None]

    def step(self, step: Step) -> None:
        well, first, end, at = step
        for index in range(first, end):
            self.good[index] = at if well else None
            self.bad[index] = None if well else at


def played(done: list[Step]) -> tuple[Ages, Model]:
    ages, model = Ages(), Model([None] * COUNT, [None] * COUNT)
    for step in done:
        well, first, end, at = step
        ages = ages.mark(first, end, at) if well else ages.unmark(first, end, at)
        model.step(step)
    return ages, model


def spread(spans: tuple[tuple[int, int, float], ...]) -> list[float | None]:
    """Spans as a list of pieces."""
    found: list[float | None] = [None] * COUNT
    for first, end, at in spans:
        for index in range(first, end):
            assert found[index] is None
            found[index] = at
    return found


@settings(deadline=None)
@given(steps)
def test_spans_say_what_a_list_of_pieces_says(done: list[Step]) -> None:
    ages, model = played(done)
    assert spread(ages.spans) == model.good
    assert spread(ages.tried) == model.bad
    for spans in (ages.spans, ages.tried):
        for before, after in itertools.pairwise(spans):
            assert before[1] < after[0] or (before[1] == after[0] and before[2] != after[2])


@settings(deadline=None)
@given(steps, st.integers(0, COUNT))
def test_the_view_covers_every_piece_once(done: list[Step], count: int) -> None:
    """Also of a file that has become shorter; and what lies in the future is not known."""
    ages, model = played(done)
    view = ages.view(count, NOW)
    assert [index for first, end, _, _ in view for index in range(first, end)] == list(range(count))
    for first, end, at, known in view:
        for index in range(first, end):
            good, bad = model.good[index], model.bad[index]
            if good is not None and good <= NOW:
                assert (at, known) == (good, Known.GOOD)
            elif bad is not None and bad <= NOW:
                assert (at, known) == (bad, Known.BAD)
            else:
                assert (at, known) == (NEVER, Known.NEVER)


@settings(deadline=None)
@given(steps, st.integers(0, COUNT), st.sampled_from([NOW - 25.0, NOW - 20.0, NOW + 1.0]))
def test_the_oldest_and_what_is_due(done: list[Step], count: int, before: float) -> None:
    ages, model = played(done)
    times = [-math.inf if at is None or at > NOW else at for at in model.good[:count]]
    never = -math.inf in times
    assert ages.oldest(count, NOW) == (None if never or not times else min(times))
    due = [index for first, end in ages.due(count, before, NOW) for index in range(first, end)]
    assert sorted(due) == [index for index, at in enumerate(times) if at < before]
    assert [times[index] for index in due] == sorted(times[index] for index in due)


@settings(deadline=None, max_examples=50)
@given(steps, st.none() | st.floats(0, 1e11))
def test_json_round_trip(done: list[Step], since: float | None) -> None:
    played_ages, _ = played(done)
    ages = Ages(played_ages.spans, played_ages.tried, since)
    text = ages.to_json()
    assert Ages.from_json(text) == ages
    assert Ages.from_json(text.encode()) == ages
    assert "\n" not in text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        "null",
        "[1,2",
        b"\xff\xfe",
        "[null,[]]",
        '[null,[],[],"more"]',
        '[null,"[]",[]]',
        "[null,[[0,1]],[]]",
        "[null,[[0,1,true]],[]]",
        "[null,[[false,true,1.0]],[]]",
        "[null,[[0.0,1.0,1.0]],[]]",
        '[null,[["0",1,1.0]],[]]',
        "[null,[[0,1,NaN]],[]]",
        "[null,[[0,1,1e999]],[]]",
        "[null,[[0,0,1.0]],[]]",
        "[null,[[2,1,1.0]],[]]",
        "[null,[[-1,1,1.0]],[]]",
        "[null,[[0,2,1.0],[1,3,2.0]],[]]",
        "[null,[[4,5,1.0],[0,1,1.0]],[]]",
        "[null,[[0,2,1.0]],[[1,3,2.0]]]",
        "[null,[[0," + "9" * 40 + ",1.0]],[]]",
        "[null,[[0," + "9" * 5000 + ",1.0]],[]]",
        '["then",[],[]]',
        "[NaN,[],[]]",
        "[" * 100_000,
        "garbage",
    ],
)
def test_what_cannot_be_read_is_nothing_known(text: str | bytes | None) -> None:
    assert Ages.from_json(text) == Ages()


@settings(deadline=None)
@given(st.text() | st.binary())
def test_reading_garbage_raises_nothing(text: str | bytes) -> None:
    assert isinstance(Ages.from_json(text), Ages)


def test_a_file_read_in_one_go_is_one_span_however_it_was_marked() -> None:
    ages = Ages()
    for index in (3, 1, 0, 2, 4):
        ages = ages.mark(index, index + 1, NOW)
    assert ages == Ages(((0, 5, NOW),))
    assert Ages.whole(5, NOW).spans == ages.spans


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.floats(0.1, 40)), min_size=1, max_size=40), st.sampled_from([0.0, 60.0])
)
def test_a_file_read_bit_by_bit_is_few_spans_and_never_younger_than_it_is(
    stints: list[tuple[int, float]], grain: float
) -> None:
    ages, now, reached, truth = Ages(), NOW, 0, list[float]()
    for count, seconds in stints:
        ages = ages.mark(reached, reached + count, now, grain)
        truth += [now] * count
        reached, now = reached + count, now + seconds
    found = [at for first, end, at in ages.spans for _ in range(first, end)]
    assert len(found) == reached
    assert all(real - grain <= at <= real for at, real in zip(found, truth, strict=True))
    assert len(ages.spans) <= (len(stints) if not grain else 1 + (now - NOW) / grain)


def test_a_clock_set_back_makes_nothing_younger() -> None:
    assert Ages().mark(0, 1, NOW).mark(1, 2, NOW - 30, 60.0).spans == ((0, 1, NOW), (1, 2, NOW - 30))


def test_one_damaged_piece_makes_the_whole_file_unverified() -> None:
    ages = Ages.whole(5, NOW - 50).unmark(2, 3, NOW)
    assert ages.oldest(5, NOW) is None
    assert ages.due(5, NOW, NOW) == [(2, 3), (0, 2), (3, 5)]
    assert ages.mark(2, 3, NOW).oldest(5, NOW) == NOW - 50


# --- wrong clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "since", "settled"),
    [
        pytest.param(NOW - 5, NOW - 9, Ages(((0, 4, NOW - 5),), (), NOW - 9), id="an ordinary day"),
        pytest.param(NOW + SLACK, NOW, Ages(((0, 4, NOW + SLACK),), (), NOW), id="a small step back"),
        pytest.param(NOW + 3600, NOW - 9, Ages((), (), NOW), id="an hour ahead: it would pass for fresh in an hour"),
        pytest.param(NOW + WEEK, NOW - 9, Ages(((0, 4, NOW + WEEK),), (), NOW - 9), id="far ahead: read before that"),
        pytest.param(
            NOW + 9e8, NOW - 2 * WEEK, Ages(((0, 4, NOW + 9e8),), (), NOW), id="far ahead, and nothing counts since"
        ),
        pytest.param(NOW + 9e8, NOW + 9e8, Ages(((0, 4, NOW + 9e8),), (), NOW), id="a machine that starts in 1970"),
        pytest.param(NOW - 5, None, Ages(((0, 4, NOW - 5),), (), NOW), id="of an unknown age"),
        pytest.param(NOW - 5, NOW + 3600, Ages(((0, 4, NOW - 5),), (), NOW), id="came in the future"),
        pytest.param(NOW - 5, 0.0, Ages(((0, 4, NOW - 5),), (), 0.0), id="came long ago"),
    ],
)
def test_times_in_the_future_are_made_harmless(at: float, since: float | None, settled: Ages) -> None:
    ages = Ages(((0, 4, at),), (), since)
    assert ages.settled(NOW, WEEK) == settled
    mirrored = Ages((), ages.spans, since).settled(NOW, WEEK)
    assert (mirrored.tried, mirrored.since) == (settled.spans, settled.since)


@settings(deadline=None, max_examples=50)
@given(steps, st.none() | st.floats(NOW - 1e7, NOW + 1e7), st.floats(NOW - 1e6, NOW + 1e6), st.floats(0, WEEK))
def test_settled_once_is_settled_while_the_clock_goes_on(
    done: list[Step], since: float | None, now: float, later: float
) -> None:
    """Otherwise what was never read would never be due. (A week later, it had its chance.)"""
    played_ages, _ = played(done)
    first = Ages(played_ages.spans, played_ages.tried, since).settled(now, WEEK)
    assert first.settled(now, WEEK) is first
    assert first.since is not None
    if now + later <= first.since + WEEK:
        again = first.settled(now + later, WEEK)
        assert again is first or (again.spans, again.tried) != (first.spans, first.tried)
    assert all(at <= now + SLACK or at >= now + WEEK for _, _, at in first.spans + first.tried)
    assert all(at <= now + SLACK or at == NEVER for _, _, at, _ in first.view(COUNT, now))


def test_what_was_never_read_counts_from_when_it_came() -> None:
    assert Ages((), (), NOW - 5).view(3, NOW) == [(0, 3, NOW - 5, Known.NEVER)]
    assert Ages((), (), NOW + 500).view(3, NOW) == [(0, 3, NEVER, Known.NEVER)]
    assert Ages().view(3, NOW) == [(0, 3, NEVER, Known.NEVER)]
    assert Ages().view(0, NOW) == []


# --- the promise -----------------------------------------------------------------------------------------------------

TAIL = 1000
SIZE = (COUNT - 1) * PIECE + TAIL  # bytes


@settings(deadline=None, max_examples=50)
@given(st.lists(steps, max_size=4), st.sampled_from([5.0, 15.0, 20.0, 100.0]))
def test_the_promise_is_a_sum_over_all_pieces(histories: list[list[Step]], max_age: float) -> None:
    plays = [played(done) for done in histories]
    found = promise((Kept(str(at), SIZE, COUNT, ages) for at, (ages, _) in enumerate(plays)), max_age, NOW)
    sizes = [PIECE] * (COUNT - 1) + [TAIL]
    pieces = [
        (None if at is None or at > NOW else at, size)
        for _, model in plays
        for at, size in zip(model.good, sizes, strict=True)
    ]
    known = [at for at, _ in pieces if at is not None]
    assert found.unverified_bytes == sum(size for at, size in pieces if at is None)
    within = sum(size for at, size in pieces if at is not None and NOW - at <= max_age)
    assert found.share == (within / sum(size for _, size in pieces) if pieces else 1.0)
    assert found.kept == all(at is not None and NOW - at <= max_age for at, _ in pieces)
    assert found.oldest == (min(known) if known and len(known) == len(pieces) else None)
    assert found.age == (None if found.oldest is None else NOW - found.oldest)


@pytest.mark.parametrize(
    ("kept", "length"),
    [
        (Kept("a", 80_000_000_000, 1, Ages()), 80_000_000_000),  # can only be read as a whole
        (Kept("a", SIZE, COUNT, Ages()), SIZE),
        (Kept("a", 5, 1, Ages()), 5),
        (Kept("a", 0, 0, Ages()), 0),
    ],
)
def test_the_bytes_of_all_pieces_are_the_file(kept: Kept, length: int) -> None:
    assert kept.length(0, kept.count) == length
    assert sum(kept.length(index, index + 1) for index in range(kept.count)) == length


def test_files_without_bytes_break_no_promise() -> None:
    found = promise([Kept("a", 0, 1, Ages()), Kept("b", 0, 0, Ages())], WEEK, NOW)
    assert (found.kept, found.share, found.oldest, found.unverified_bytes) == (True, 1.0, None, 0)
    found = promise([Kept("a", 0, 1, Ages()), Kept("b", 9, 1, Ages.whole(1, NOW + 5))], WEEK, NOW)
    assert (found.kept, found.share, found.age) == (True, 1.0, 0.0)  # a clock that goes a little wrong

"""When to try again, how long to wait, and what a Retry-After may say."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ckptd.core.retry import FIRST_WAIT, LONGEST_WAIT, Failure, may_retry, of_status, retry_after, wait

NOW = 1_577_880_000.0  # Wed, 01 Jan 2020 12:00:00 GMT


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        *((status, Failure.TRANSIENT) for status in (408, 425, 500, 502, 504, 520, 599)),
        *((status, Failure.BUSY) for status in (429, 503)),
        *((status, Failure.PERMANENT) for status in (400, 401, 403, 404, 405, 410, 412, 416, 451)),
        *((status, Failure.IMPOSTOR) for status in (201, 203, 204, 300, 304, 305, 511)),
    ],
)
def test_what_a_status_means(status: int, failure: Failure) -> None:
    assert of_status(status) is failure


@pytest.mark.parametrize(
    ("failure", "retries", "attempts"),
    [
        (Failure.TRANSIENT, 5, 6),
        (Failure.BUSY, 5, 6),
        (Failure.TRANSIENT, 0, 1),
        (Failure.IMPOSTOR, 5, 3),  # a page instead of a file will hardly become one
        (Failure.IMPOSTOR, 1, 2),
        (Failure.RE_RESOLVE, 5, 3),
        (Failure.PERMANENT, 5, 1),
    ],
)
def test_attempts_in_all_when_nothing_moves(failure: Failure, retries: int, attempts: int) -> None:
    fruitless = 1
    while may_retry(failure, fruitless, retries):
        fruitless += 1
    assert fruitless == attempts


jitters = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(st.integers(0, 10_000), jitters)
def test_the_wait_is_bounded_and_never_nothing(fruitless: int, jitter: float) -> None:
    assert FIRST_WAIT / 2 <= wait(fruitless, jitter) <= LONGEST_WAIT


@settings(deadline=None)
@given(jitters)
def test_the_wait_grows(jitter: float) -> None:
    waits = [wait(fruitless, jitter) for fruitless in range(1, 30)]
    assert waits == sorted(waits)
    assert all(after == pytest.approx(2 * before) for before, after in pairwise(waits[:7]))


def test_many_clients_do_not_come_back_together() -> None:
    assert wait(4, 0.99) - wait(4, 0.0) > wait(4, 0.0) * 0.9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Wed, 01 Jan 2020 12:02:00 GMT", 120.0),
        ("Wednesday, 01-Jan-20 12:02:00 GMT", 120.0),  # RFC 850
        ("Wed Jan  1 12:02:00 2020", 120.0),  # asctime: no zone means GMT
        ("Wed, 01 Jan 2020 11:00:00 GMT", 0.0),  # gone by
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("١٢٠", None),
        ("Wed, 01 Jan 99999999999999999999 12:02:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_an_absurd_number_is_long_and_nothing_worse() -> None:
    found = retry_after("9" * 5000, NOW)
    assert found is not None
    assert 1e9 < found < 1e13


date_like = st.from_regex(
    r"(Mon|Xyz)?,? ?[0-9]{1,6} (Jan|Feb|Foo) [0-9]{1,12} [0-9]{1,4}:[0-9]{1,4}(:[0-9]{1,4})? ([+-][0-9]{1,9}|GMT|Q)?",
    fullmatch=True,
)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=30) | date_like)
@example("\0")
@example("Mon, 1 Jan 1 0:0:0 +2359")
@example("Mon, 31 Dec 9999 23:59:59 -2359")
def test_no_value_makes_it_raise(value: str) -> None:
    found = retry_after(value, NOW)
    assert found is None or found >= 0.0

"""When each checkpoint is looked at again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.roster import FIRST_RETRY, JITTER, Roster, Turn

EVERY = 6 * 3600.0


def test_everything_is_due_at_first() -> None:
    assert Roster.of(["b", "a"], 10.0).due(10.0) == ("a", "b")
    assert Roster.of(["a"], 10.0).due(9.9) == ()
    assert Roster.of([], 10.0).wait(10.0) == math.inf


@pytest.mark.parametrize(("failures", "wait"), [(1, 60), (2, 120), (3, 240), (9, 15_360), (10, 21_600), (5000, 21_600)])
def test_patience_grows_to_the_interval(failures: int, wait: float) -> None:
    roster = Roster({"a": Turn(0.0, failures - 1)}).after("a", 100.0, EVERY, good=False, jitter=0.5)
    assert roster.turns["a"] == Turn(100.0 + wait, failures)


def test_success_forgets_the_failures() -> None:
    roster = Roster({"a": Turn(0.0, 7)}).after("a", 100.0, EVERY, good=True, jitter=0.5)
    assert roster.turns["a"] == Turn(100.0 + EVERY, 0)


def test_a_short_interval_is_never_exceeded() -> None:
    """Where one looks every second, a failure is no reason to look more seldom."""
    roster = Roster.of(["a"], 0.0).after("a", 0.0, 1.0, good=False, jitter=0.5)
    assert roster.wait(0.0) == 1.0 < FIRST_RETRY


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 30), st.booleans(), st.floats(1, 1e6))
def test_jitter_is_a_tenth(jitter: float, failures: int, good: bool, every: float) -> None:
    begun = Roster({"a": Turn(0.0, failures)})
    middle = begun.after("a", 0.0, every, good=good, jitter=0.5).wait(0.0)
    wait = begun.after("a", 0.0, every, good=good, jitter=jitter).wait(0.0)
    assert middle * (1 - JITTER) * 0.999 <= wait <= middle * (1 + JITTER) * 1.001


def test_one_failing_leaves_the_others_alone() -> None:
    roster = Roster.of(["a", "b"], 0.0).after("a", 5.0, EVERY, good=False, jitter=0.5)
    assert roster.turns["b"] == Turn(0.0)
    assert roster.due(5.0) == ("b",)


def test_a_new_manifest() -> None:
    """Who is gone is forgotten, who is new or has changed is due, the others keep their turns."""
    roster = Roster({"old": Turn(50.0), "same": Turn(90.0, 2), "mended": Turn(95.0, 4)})
    kept = roster.keep(["same", "mended", "new"], 10.0, {"mended"})
    assert kept.turns == {"same": Turn(90.0, 2), "mended": Turn(10.0), "new": Turn(10.0)}
    assert kept.after("old", 10.0, EVERY, good=True, jitter=0.5) == kept

"""Which incidents begin and end with what came of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.core.incidents import FAILURES, Incident, Kind
from ckptd.core.models import Outcome, Problem
from ckptd.service.hub import Hub
from ckptd.service.watchman import Watchman
from ckptd.store.places import Places, prepare

DAMAGE, DRIFT, FAILURE = Kind.DAMAGE, Kind.DRIFT, Kind.FAILURE


@pytest.mark.parametrize("before", [set(), {DAMAGE, DRIFT, FAILURE}])
@pytest.mark.parametrize(
    ("state", "kind", "failures", "begin", "end"),
    [
        ("corrupt", "integrity", 0, {DAMAGE}, set()),
        ("missing", "integrity", 0, {DAMAGE}, set()),
        ("unreadable", "storage", 0, {DAMAGE}, set()),
        ("intact", "", 0, set(), {DAMAGE}),
        ("repaired", "", 0, set(), {DAMAGE, FAILURE}),
        ("fetched", "", 0, set(), {DAMAGE, DRIFT, FAILURE}),
        ("present", "", 0, set(), {FAILURE}),
        ("same", "", 0, set(), {DRIFT}),
        ("changed", "drift", 0, {DRIFT}, set()),
        ("failed", "drift", 1, {DRIFT}, set()),
        ("failed", "network", FAILURES - 1, set(), set()),
        ("failed", "network", FAILURES, {FAILURE}, set()),
        ("failed", "drift", FAILURES, {DRIFT, FAILURE}, set()),
    ],
)
async def test_what_an_outcome_means(
    tmp_path: Path, state: str, kind: str, failures: int, begin: set[Kind], end: set[Kind], before: set[Kind]
) -> None:
    places = Places(tmp_path / "store", tmp_path / "store/.ckptd", tmp_path / "manifest.lock")
    prepare(places)
    watchman = Watchman(places, Hub())
    for each in before:
        watchman.observe(each, "a", "before")
    told: list[Incident] = []
    watchman.alarms.append(told.append)
    error = Problem(kind, "it is wrong", "") if kind else None
    watchman.note_outcome(Outcome("a", state, error=error), failures)
    assert {each for each, _ in watchman.incidents.open} == before - end | begin
    assert {each.kind for each in told if each.until is None} == begin - before
    assert {each.kind for each in told if each.until is not None} == end & before

"""`ckptd.service.report`: what the page is made from, where the state says little or nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptd.core.lock import render
from ckptd.core.models import PIECE, Case, Lock, LockEntry, Outcome, Problem, Trust
from ckptd.core.report import Page
from ckptd.service import report
from ckptd.service.workplace import Workplace, enter

DIGEST = "ab" * 32
SIZES = {"a": PIECE + 1, "b": 10, "empty": 0}
URL = "http://127.0.0.1/{}.tgz"


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """Three locked checkpoints, and a state that was never written: an auditor's view of somebody else's store."""
    lines = [f'[[checkpoint]]\nname = "{name}"\nurl = "{URL.format(name)}"\n' for name in SIZES if name != "b"]
    (tmp_path / "manifest.toml").write_text("\n".join(lines))
    entries = {n: LockEntry(n, URL.format(n), size, DIGEST, Trust.FIRST_USE) for n, size in SIZES.items()}
    (tmp_path / "manifest.lock").write_text(render(Lock(entries)))
    return enter(tmp_path / "manifest.toml", ())


def intact(name: str) -> Outcome:
    return Outcome(name, "intact", SIZES[name], DIGEST, Trust.FIRST_USE, f"/s/{name}")


def gathered(
    place: Workplace, outcomes: Sequence[Outcome], *, only_due: bool = False, names: Sequence[str] = ()
) -> Page:
    return report.gather(place, outcomes, names=names, seconds=5.0, only_due=only_due)


def test_what_was_just_read_counts_though_nobody_could_note_it(workplace: Workplace) -> None:
    before = time.time()
    page = gathered(workplace, [intact("a"), intact("b"), intact("empty")])
    assert not page.recorded
    assert page.promise.kept
    assert (page.promise.share, page.older_bytes, page.within_bytes) == (1.0, 0, PIECE + 11)
    found = {entry.outcome.name: entry.verified_at for entry in page.entries}
    for at in (found["a"], found["b"]):
        assert at is not None
        assert before - 6 < at <= time.time() - 5, "when reading began: a byte may have been read just then"
    assert found["empty"] is not None


def test_what_was_read_in_part_does_not_count_as_a_whole(workplace: Workplace) -> None:
    page = gathered(workplace, [intact("a"), intact("b")], only_due=True)
    assert page.recorded
    assert not page.promise.kept
    assert page.promise.unverified_bytes == PIECE + 11
    assert [(entry.outcome.name, entry.read) for entry in page.entries] == [("a", True), ("b", True), ("empty", False)]


def test_what_is_damaged_is_not_verified(workplace: Workplace) -> None:
    bad = Outcome(
        "a",
        "corrupt",
        SIZES["a"],
        DIGEST,
        error=Problem("integrity", "x"),
        exit_status=3,
        case=Case("changed", "x", last_good=77.0),
    )
    page = gathered(workplace, [bad, intact("b")], names=["a", "b"])
    entry = page.entries[0]
    assert (entry.verified_at, entry.last_good) == (None, 77.0)
    assert page.promise.unverified_bytes == SIZES["a"]


def test_who_was_not_asked_for_is_counted(workplace: Workplace) -> None:
    place = enter(workplace.path, ["a"])
    page = gathered(place, [intact("a")], names=["a"])
    assert [entry.outcome.name for entry in page.entries] == ["a"]
    assert page.left_out == 2


def test_a_quarantine_that_cannot_be_read_is_no_evidence(workplace: Workplace) -> None:
    workplace.places.state.mkdir(parents=True)
    (workplace.places.state / "quarantine").write_text("in the way")
    assert gathered(workplace, [intact("a")]).evidence == ()

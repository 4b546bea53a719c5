"""`ckptd.core.report`: the verdict in a sentence, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.ages import Promise
from ckptd.core.models import Case, Holder, Outcome, Problem, Usage
from ckptd.core.report import Entry, Page, Tone, headline, steps, written
from ckptd.core.units import parse_duration

KEPT = Promise(900.0, 100.0, 1.0, 0, kept=True)
EXIT = {"corrupt": 3, "unreadable": 5, "missing": 1, "unlocked": 1}


def entry(
    name: str, state: str = "intact", *, read: bool = True, holders: tuple[int, ...] = (), hint: str = ""
) -> Entry:
    problem = Problem("integrity", "it is bad", hint) if state in EXIT else None
    using = tuple(Holder(pid, "anna", "python train.py", 1.0, "open") for pid in holders)
    case = Case("changed", "It differs.", usage=Usage(using)) if state in {"corrupt", "repaired"} else None
    return Entry(Outcome(name, state, 100, error=problem, exit_status=EXIT.get(state, 0), case=case), read=read)


def page(*entries: Entry, promise: Promise = KEPT, mending: bool = False, manifest: str = "/srv/m.toml") -> Page:
    return Page(
        at=1000.0,
        seconds=1.0,
        host="h",
        store="/srv/s",
        manifest=manifest,
        version="1",
        entries=entries,
        promise=promise,
        locked_bytes=1000,
        max_age=7 * 86400.0,
        mending=mending,
    )


@pytest.mark.parametrize(
    ("states", "tone", "expected"),
    [
        ("", Tone.NOTE, "There is nothing to verify yet."),
        ("i", Tone.GOOD, "a is intact."),
        ("ii", Tone.GOOD, "All 2 checkpoints are intact."),
        ("r", Tone.GOOD, "a was damaged and has been mended."),
        ("ri", Tone.GOOD, "All 2 checkpoints are intact: a was damaged and has been mended."),
        ("rri", Tone.GOOD, "All 3 checkpoints are intact: a and b were damaged and have been mended."),
        ("rrrrr", Tone.GOOD, "All 5 checkpoints are intact: a, b, c and 2 more were damaged and have been mended."),
        ("c", Tone.BAD, "a is damaged."),
        ("ici", Tone.BAD, "1 of 3 checkpoints is damaged: b."),
        ("cci", Tone.BAD, "2 of 3 checkpoints are damaged."),
        ("imu", Tone.BAD, "1 of 3 checkpoints cannot be read and 1 is missing."),
        ("nmci", Tone.BAD, "1 of 4 checkpoints is damaged, 1 is missing and 1 was never fetched."),
        ("nni", Tone.NOTE, "2 of 3 checkpoints were never fetched."),
        ("cr", Tone.BAD, "1 of 2 checkpoints is damaged: a."),
        ("ddd", Tone.GOOD, "Nothing was due: every byte was verified recently enough."),
        ("idd", Tone.GOOD, "The one checkpoint that was due is intact."),
        ("iid", Tone.GOOD, "All 2 checkpoints that were due are intact."),
        ("cdd", Tone.BAD, "1 of 3 checkpoints is damaged: a."),
    ],
)
def test_headline(states: str, tone: Tone, expected: str) -> None:
    words = {"i": "intact", "r": "repaired", "c": "corrupt", "u": "unreadable", "m": "missing", "n": "unlocked"}
    names = "abcdefgh"
    entries = [entry(names[at], words.get(each, "intact"), read=each != "d") for at, each in enumerate(states)]
    assert headline(page(*entries)) == (tone, expected)


def commands(of: Page) -> list[str]:
    return [command for step in steps(of) for command in step.commands]


def test_nothing_to_do() -> None:
    assert steps(page(entry("a"), entry("b", "repaired"))) == ()


def test_what_is_wrong_is_mended_by_name_and_with_the_manifest() -> None:
    broken = replace(KEPT, oldest=None, age=None, share=0.8, unverified_bytes=200, kept=False)
    found = page(
        entry("a", "corrupt"), entry("b", "unreadable"), entry("c", "missing"), entry("d", "unlocked"), promise=broken
    )
    assert commands(found) == [
        "sudo dmesg --level=err,crit --ctime | tail -n 40",
        "ckptd verify --repair --manifest /srv/m.toml a b",
        "ckptd sync --manifest /srv/m.toml c",
        "ckptd sync --manifest /srv/m.toml d",
    ]


def test_who_uses_damaged_bytes_comes_first() -> None:
    found = page(entry("a", "corrupt", holders=(9, 7)), entry("b", "repaired", holders=(7, 5)))
    assert commands(found)[:2] == ["ps -o pid,user,lstart,args -p 7,9", "ps -o pid,user,lstart,args -p 5,7"]
    assert "2 processes that have a damaged file open" in steps(found)[0].text
    assert "Restart them" in steps(found)[1].text
    alone = steps(page(entry("b", "repaired", holders=(5,))))
    assert "Restart it" in alone[0].text


def test_what_could_not_be_mended_is_not_tried_again() -> None:
    bad = (entry("a", "corrupt", hint="do `this`"), entry("b", "corrupt", hint="do `this`"), entry("c", "missing"))
    found = steps(page(*bad, mending=True))
    assert [step.text for step in found] == [
        "a and b could not be mended: do `this`.",
        "c could not be mended; the reason stands below.",
    ]
    assert not any(step.commands for step in found)


@pytest.mark.parametrize(
    ("share", "unverified", "state", "due"),
    [
        pytest.param(0.9, 0, "intact", True, id="older than promised"),
        pytest.param(0.9, 100, "intact", True, id="never verified"),
        pytest.param(0.9, 100, "corrupt", False, id="only what is damaged"),
        pytest.param(0.8, 100, "corrupt", True, id="damaged, and others older"),
    ],
)
def test_a_broken_promise(share: float, unverified: int, state: str, *, due: bool) -> None:
    broken = Promise(None, None, share, unverified, kept=False)
    found = commands(page(entry("a", state), promise=broken))
    assert ("ckptd verify --older-than 7d --manifest /srv/m.toml" in found) is due


def test_a_path_with_blanks_can_be_pasted() -> None:
    assert commands(page(entry("a", "missing"), manifest="/srv/my models/$m.toml")) == [
        "ckptd sync --manifest '/srv/my models/$m.toml' a"
    ]


@given(st.integers(1, 10**9))
def test_a_span_is_written_so_that_the_command_line_reads_it(seconds: int) -> None:
    assert parse_duration(written(float(seconds))) == seconds

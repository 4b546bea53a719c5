"""ui.history: aligned lines in any width, harmless text, what is said of a day and of a check."""

from __future__ import annotations

import pytest

from ckptd.core.attestation import Evidence, Row, Visit
from ckptd.ui.history import check_lines, evidence_lines, history_lines, when
from ckptd.ui.text import cells

NAMES = ["a", "axial_swidernet_1_1_4.5_imagenet1k_with_a_name_that_goes_on_for_long", "größe"]
ROWS = [
    Row(number, Visit(1.5e9 + number, name, "verify", "a" * 64, "blake3", 10**number, 10.0**number, verdict), "c" * 64)
    for number, (name, verdict) in enumerate(zip(NAMES, ["intact", "corrupt", "unreadable"], strict=True), start=1)
]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_columns_stand_below_each_other(width: int) -> None:
    heading, *lines = history_lines(ROWS, width)
    assert len(lines) == len(ROWS)
    assert max(map(cells, [heading, *lines])) <= width
    at = heading.index("NAME")
    for line, row in zip(lines, ROWS, strict=True):
        assert line[at - 1] == " "
        assert line[at:].startswith(row.visit.name[:1])
        assert row.visit.verdict in line
    assert (NAMES[1] in lines[1]) == (width == 200)


def test_a_diagnosis_stands_below_in_the_width() -> None:
    visit = Visit(1.5e9, "m", "verify", "a" * 64, "blake3", 7, 1.0, "corrupt", "one bit is flipped, " * 20)
    lines = history_lines([Row(1, visit, "c" * 64)], 80)
    assert len(lines) == 3
    assert lines[2].startswith("  one bit is flipped")
    assert cells(lines[2]) <= 80


def test_nothing_is_said_too() -> None:
    assert history_lines([], 80) == ["nothing is on record"]
    assert evidence_lines([], 80) == ["nothing is on record"]


def test_what_was_edited_cannot_draw_on_a_terminal() -> None:
    visit = Visit(1e300, "m\x1b[2J\udcff", "\x1b", "a" * 64, "blake3", -1, -1.0, "\u202e", "\n\x1b[31m")
    text = "".join(history_lines([Row(1, visit, "c" * 64)], 80))
    assert text.isprintable()


@pytest.mark.parametrize("at", [1e300, -1e300, float("nan")])
def test_a_time_in_no_calendar(at: float) -> None:
    assert when(at) == "?"


def test_what_follows_stands_above_its_records() -> None:
    lines = evidence_lines([Evidence("m", ROWS[0], (), ROWS[1]), Evidence("n")], 80)
    assert [line[:2] for line in lines] == ["m:", "  ", "  ", "n:"]
    assert max(map(cells, lines[1:3])) <= 80


@pytest.mark.parametrize(
    ("count", "noted", "says"),
    [
        (0, None, "0 records hold together; head "),
        (1, None, "1 record holds together; head "),
        (7, 5, "is that of record 5; 2 written since"),
        (7, 7, "is that of record 7; none written since"),
    ],
)
def test_what_a_check_came_to(count: int, noted: int | None, says: str) -> None:
    lines = check_lines(count, "d" * 64, noted)
    assert says in "\n".join(lines)
    assert "d" * 64 in lines[0]
    assert any("noted elsewhere" in line for line in lines) == (noted is None)


def test_a_history_that_begins_anew_says_so() -> None:
    lines = check_lines(1, "d" * 64, None, "lost\x1b[31m")
    assert "\x1b" not in lines[1]
    assert "begins anew" in lines[1]
    assert not any("begins anew" in line for line in check_lines(1, "d" * 64, None))

"""`ckptd.ui.summary` and `ckptd.ui.text`."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.models import Damage, Outcome, Problem, Trust
from ckptd.ui.summary import StatusRow, status_lines, summarise
from ckptd.ui.text import cells, clean, crop, crop_middle

MB = 1_000_000
LONG = "axial_swidernet_1_1_4.5_imagenet1k_strong_training_strategy"


def fetched(name: str) -> Outcome:
    return Outcome(name, "fetched", 204 * MB, "ab" * 32, Trust.WITNESSED, bytes_fetched=204 * MB)


def test_a_sync() -> None:
    outcomes = [*(fetched(name) for name in "abc"), *(Outcome(f"p{n}", "present", MB) for n in range(11))]
    assert summarise("sync", outcomes, 21.4) == [
        "a: fetched, 204 MB, witnessed",
        "b: fetched, 204 MB, witnessed",
        "c: fetched, 204 MB, witnessed",
        "sync: 14 good (3 fetched, 11 present), 612 MB in 21s (28.6 MB/s)",
    ]


def test_quiet_entries_do_not_scroll() -> None:
    assert summarise("sync", [Outcome(f"p{n}", "present", MB) for n in range(500)], 0.31) == [
        "sync: 500 good (500 present) in 0.3s"
    ]


def test_failures_come_with_what_to_do() -> None:
    bad = Outcome("a", "failed", error=Problem("origin", "HTTP 404 Not Found\x1b[0m", "look at the URL"))
    assert summarise("sync", [bad, fetched("b")], 10) == [
        "a: failed: HTTP 404 Not Found?[0m",
        "  hint: look at the URL",
        "b: fetched, 204 MB, witnessed",
        "sync: 1 good (1 fetched), 1 failed, 204 MB in 10s (20.4 MB/s)",
    ]


def test_a_verify_tells_where_the_damage_is() -> None:
    damage = tuple(Damage(16 * MB * n, 4096, "zeros: a lost write") for n in range(7))
    bad = Outcome("a", "corrupt", 100 * MB, error=Problem("integrity", "7 pieces differ"), damage=damage)
    lines = summarise("verify", [bad, Outcome("b", "intact", 100 * MB)], 2.0)
    assert lines[0] == "a: corrupt: 7 pieces differ"
    assert lines[1] == "  damaged: 4096 bytes at offset 0: zeros: a lost write"
    assert lines[5] == "  damaged: 4096 bytes at offset 64000000: zeros: a lost write"
    assert lines[6:] == ["  and 2 more", "verify: 1 intact, 1 corrupt, 200 MB in 2.0s (100 MB/s)"]


def test_what_was_not_read_does_not_count_as_read() -> None:
    outcomes = [Outcome("a", "missing", 100 * MB), Outcome("b", "unlocked")]
    assert summarise("verify", outcomes, 2.0)[-1] == "verify: 1 missing, 1 unlocked in 2.0s"


def test_notes_and_resumed_bytes() -> None:
    outcome = Outcome(
        "a",
        "fetched",
        204 * MB,
        bytes_fetched=80 * MB,
        bytes_reused=124 * MB,
        notes=("the origin ignores ranges",),
    )
    assert summarise("sync", [outcome], 4)[:2] == [
        "a: fetched, 204 MB, 124 MB were here already",
        "  note: the origin ignores ranges",
    ]


def test_nothing_to_do() -> None:
    assert summarise("sync", [], 0.0) == ["sync: nothing to do in 0.0s"]


def test_long_names_of_good_ones_are_shortened_to_the_width() -> None:
    (line, _) = summarise("sync", [fetched(LONG * 2)], 1, width=60)
    assert len(line) == 60
    assert line.endswith("strategy: fetched, 204 MB, witnessed")


ROWS = [
    StatusRow("resnet50", "present", "witnessed", 204 * MB, 7300, "/srv/resnet50/resnet50.tar.gz", "", "tensorflow"),
    StatusRow(LONG, "missing", "", None, None, "", "61 % downloaded"),
]


def test_status_with_room_for_everything() -> None:
    assert status_lines(ROWS, 200) == [
        f"{'NAME':59}  STATE    TRUST        SIZE  VERIFIED  KIND        PATH",
        f"{'resnet50':59}  present  witnessed  204 MB  2h ago    tensorflow  /srv/resnet50/resnet50.tar.gz",
        f"{LONG}  missing                     never",
        "  61 % downloaded",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_status_fits_the_width(width: int) -> None:
    lines = status_lines(ROWS, width)
    assert max(map(len, lines)) <= width
    assert "PATH" not in lines[0]
    assert lines[2].startswith("axial_swidernet")
    assert len({line.index("  present") if "present" in line else line.index("  missing") for line in lines[1:3]}) == 1


def test_kinds_before_paths_and_neither_half() -> None:
    """A column comes with all its rows or not at all, and a path never without the kind."""
    whole = max(map(len, status_lines(ROWS, 300)))
    without_paths = whole - 2 - len(ROWS[0].path)
    assert "PATH" in status_lines(ROWS, whole)[0]
    assert status_lines(ROWS, whole - 1)[0].split()[-1] == "KIND"
    assert status_lines(ROWS, without_paths - 1)[0].split()[-1] == "VERIFIED"


def test_status_of_nothing() -> None:
    assert status_lines([], 80) == []


def test_starting_up_imports_no_display() -> None:
    code = "import sys, ckptd.ui.summary; print(sorted({'rich', 'aiohttp', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_clean() -> None:
    assert clean("plain [bold]") == "plain [bold]"
    assert clean("a\tb\r\nc") == "a b c"
    assert clean("\x1b[31m\x9b1A\u202e\u200b\x00") == "?[31m?1A???"
    assert clean("über 漢字 ✓") == "über 漢字 ✓"


@given(st.text())
def test_what_is_clean_is_printable_and_stays(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Cf"])), st.integers(0, 40))
def test_cropped_text_fits(text: str, width: int) -> None:
    for dots in ("…", "..."):
        assert cells(crop(text, width, dots)) <= width
        assert cells(crop_middle(text, width, dots)) <= width


def test_crop() -> None:
    assert crop("connection reset by peer", 14, "…") == "connection re…"
    assert crop("short", 5) == "short"
    assert crop("漢字漢字", 5, "…") == "漢字…"


def test_crop_middle() -> None:
    assert crop_middle(LONG, 31, "…") == "axial_swidernet_1_1_4.5…trategy"
    assert crop_middle(LONG, 24, "…") == "axial_swidernet_1_1_…egy"
    assert crop_middle(LONG, len(LONG)) == LONG

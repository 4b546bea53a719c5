"""What `drift` tells people: only what is worth a line, old beside new, nothing that a server could draw with."""

from __future__ import annotations

from ckptd.core.drift import Facts
from ckptd.core.identity import Finding, Kind
from ckptd.core.models import Outcome, Problem
from ckptd.ui.drift import drift_lines, total_line

SAME = Outcome("a", "same")
NOTED = Outcome("b", "same", notes=("rewritten",))
CHANGED = Outcome("c", "changed", error=Problem("drift", "its size", "update"))
OLD, NEW = Facts(7, '"v1"', last_modified="Monday"), Facts(9, '"v1"', digests={"md5": "00"})


def test_same_has_no_line_of_its_own() -> None:
    assert drift_lines([(SAME, OLD, OLD)], (), verbose=False) == []
    assert drift_lines([(SAME, OLD, OLD)], (), verbose=True)[0] == "a: same"
    assert drift_lines([(NOTED, OLD, OLD)], (), verbose=False) == ["b: same", "  note: rewritten"]


def test_old_beside_new() -> None:
    assert drift_lines([(CHANGED, OLD, NEW)], (), verbose=False) == [
        "c: changed: its size",
        "  hint: update",
        "                   locked   now",
        "    size           7 bytes  9 bytes  differs",
        "    md5            -        00",
        '    etag           "v1"     "v1"     same',
        "    last-modified  Monday   -",
    ]
    assert drift_lines([(CHANGED, OLD, None)], (), verbose=False) == ["c: changed: its size", "  hint: update"]


def test_a_server_cannot_draw() -> None:
    nasty = Facts(9, '"\x1b[31mred\u202e"' + "x" * 500)
    finding = Finding(Kind.SAME_URL, ("a",), (), "one\nURL \x1b[2J")
    lines = drift_lines([(CHANGED, OLD, nasty)], [finding], verbose=False)
    assert all(line.isprintable() and len(line) < 120 for line in lines)


def test_totals() -> None:
    assert total_line([CHANGED, SAME, NOTED]) == "drift: 2 same, 1 changed"
    assert total_line([]) == "drift: nothing to ask about"

"""The history as text: a line for each record, aligned; what it says of a day; what its check came to.

Takes rows and values, gives lines without colours; times are shown in local time. Imports neither rich nor anything
that moves bytes, and prints nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ckptd.core.attestation import Evidence, Row
from ckptd.core.units import format_duration, format_size
from ckptd.ui.text import cells, clean, crop, crop_middle, pad

GAP = "  "
HEADING = ("WHEN", "ACTION", "VERDICT", "READ", "TOOK", "NAME")
RIGHT = {3, 4}  # columns of numbers
LEAST_NAME = 16  # columns that a name gets in any case
PROOF = (
    "This shows that no record was edited, removed or inserted, unless somebody wrote all later ones anew as well.",
    "Only a head that was noted elsewhere catches that: keep this one, and give it to --expect next time.",
)


def history_lines(rows: Sequence[Row], width: int) -> list[str]:
    """A heading and a line for each row, in `width` columns; what happened to damaged bytes stands below its row."""
    if not rows:
        return ["nothing is on record"]
    table = [HEADING, *map(_columns, rows)]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    rest = sum(widths[:-1]) + (len(widths) - 1) * len(GAP)
    widths[-1] = min(widths[-1], max(LEAST_NAME, width - rest))
    lines = [_line(HEADING, widths)]
    for row, columns in zip(rows, table[1:], strict=True):
        lines.append(_line(columns, widths))
        lines += [crop(f"  {clean(row.visit.detail)}", width)] if row.visit.detail else []
    return lines


def _columns(row: Row) -> tuple[str, ...]:
    visit = row.visit
    read = format_size(visit.bytes) if visit.bytes else ""
    took = format_duration(visit.seconds) if visit.seconds >= 0.5 else ""
    return (when(visit.at), clean(visit.action), clean(visit.verdict), read, took, clean(visit.name))


def when(at: float) -> str:
    """POSIX seconds in local time: `2026-11-22 16:45:03`."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"


def _line(columns: tuple[str, ...], widths: list[int]) -> str:
    shown = [
        f"{text:>{width}}" if index in RIGHT else pad(text, width)
        for index, (text, width) in enumerate(zip(columns[:-1], widths, strict=False))
    ]
    return GAP.join([*shown, crop_middle(columns[-1], widths[-1])])


def evidence_lines(evidence: Sequence[Evidence], width: int) -> list[str]:
    """For each checkpoint what follows from its rows, and the rows themselves below."""
    lines: list[str] = []
    for each in evidence:
        lines += [f"{clean(each.name)}: {each.conclusion}"]
        lines += [f"  {line}" for line in history_lines(each.rows, width - 2)[1:]]
    return lines or ["nothing is on record"]


def check_lines(count: int, head: str, noted: int | None, begun: str = "") -> list[str]:
    """What the check of the whole chain came to; `noted` rows were there when the head that was given was noted.

    `begun` says what became of an earlier history, where this one begins anew.
    """
    records = "1 record holds" if count == 1 else f"{count} records hold"
    lines = [f"{records} together; head {head}"]
    if begun:
        lines.append(f"the history begins anew with record 1: {clean(begun)}")
    if noted is None:
        return [*lines, *PROOF]
    since = count - noted
    return [*lines, f"the head that was noted is that of record {noted}; {since or 'none'} written since"]

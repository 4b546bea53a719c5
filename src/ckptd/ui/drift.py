"""What `drift` tells people: what is not the same with old beside new, notes, findings, and the totals.

Gives plain lines without colours, as `ui.summary` does. Everything that a server said passes `clean` and `crop`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.core.drift import Facts, State, pairs
from ckptd.core.identity import Finding
from ckptd.core.models import Outcome
from ckptd.ui.text import cells, clean, crop, pad

LONGEST = 64  # columns of one value: the hex digits of a SHA-256


def drift_lines(
    told: Sequence[tuple[Outcome, Facts | None, Facts | None]], findings: Sequence[Finding], *, verbose: bool
) -> list[str]:
    """The lines for each outcome, with what was locked and what its source says now, then the findings.

    What is the same has none unless there is something to note, or everybody is to be told (`verbose`).
    """
    lines: list[str] = []
    for outcome, locked, origin in told:
        if outcome.error is not None or outcome.notes or verbose:
            lines += _outcome(outcome)
            if locked is not None and origin is not None and (outcome.error is not None or verbose):
                lines += _table(pairs(locked, origin))
    return [*lines, *(f"note: {clean(finding.message)}" for finding in findings)]


def _outcome(outcome: Outcome) -> list[str]:
    error = outcome.error
    lines = [f"{clean(outcome.name)}: {clean(outcome.state)}" + (f": {clean(error.message)}" if error else "")]
    lines += [f"  hint: {clean(error.hint)}"] if error and error.hint else []
    return lines + [f"  note: {clean(note)}" for note in outcome.notes]


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Old beside new, with a mark where they differ."""
    table = [("", "locked", "now"), *((label, _value(old), _value(new)) for label, old, new in rows)]
    widths = [max(cells(row[column]) for row in table) for column in (0, 1)]
    marks = ["", *("same" if old == new else "differs" if old and new else "" for _, old, new in rows)]
    last = max(cells(row[2]) for row in table)
    return [
        f"    {pad(label, widths[0])}  {pad(old, widths[1])}  {pad(new, last)}  {mark}".rstrip()
        for (label, old, new), mark in zip(table, marks, strict=True)
    ]


def _value(text: str) -> str:
    return crop(clean(text), LONGEST) or "-"


def total_line(outcomes: Sequence[Outcome]) -> str:
    """How many of each state, as the last line."""
    counts = [(sum(outcome.state == state for outcome in outcomes), state) for state in State]
    return "drift: " + (", ".join(f"{count} {state}" for count, state in counts if count) or "nothing to ask about")

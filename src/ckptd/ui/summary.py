"""The plain text that stays: what came of a run, and what the store holds.

Takes outcomes and rows, gives lines without colours. It imports neither rich nor anything that moves bytes:
`ckptd status` is run by scripts, and start-up is felt there. It prints nothing itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ckptd.core.activity import FAILURES
from ckptd.core.ages import Promise
from ckptd.core.models import Case, Damage, Outcome
from ckptd.core.picture import plural, span
from ckptd.core.units import format_duration, format_rate, format_size
from ckptd.ui.text import cells, clean, crop, crop_middle, pad

QUIET = frozenset({"present", "intact", "same"})  # the last line counts them, they have none of their own
READ = frozenset({"intact", "corrupt", "repaired"})  # states after which every byte has been read
ORDER = (
    "fetched",
    "repaired",
    "present",
    "intact",
    "same",
)  # the good states, in the order in which they are told
HOLDERS = 5  # processes that are listed for one damaged checkpoint
DAMAGES = 5  # damaged ranges that are listed for one checkpoint
GAP = "  "
HEADING = ("NAME", "STATE", "TRUST", "SIZE", "VERIFIED", "KIND", "PATH")


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One line of `ckptd status`. `verified_age` is in seconds, None when it was never verified."""

    name: str
    state: str
    trust: str
    size: int | None
    verified_age: float | None
    path: str
    note: str = ""
    kind: str = ""


def summarise(verb: str, outcomes: Sequence[Outcome], elapsed: float, *, width: int = 80) -> list[str]:
    """A line for each checkpoint that is worth one, what is wrong and what to do below it, then the totals.

    Messages and hints are never cropped, since people copy them; `width` only shortens names of good ones.
    """
    lines: list[str] = []
    for outcome in outcomes:
        lines += _told(outcome, width)
    return [*lines, f"{clean(verb)}: {_totals(verb, outcomes, elapsed)}"]


def _told(outcome: Outcome, width: int) -> list[str]:
    name, state, error = clean(outcome.name), clean(outcome.state), outcome.error
    if error is None and state in QUIET and not outcome.damage and not outcome.notes:
        return []
    if error is not None or state in FAILURES:
        lines = [f"{name}: {state}" + (f": {clean(error.message)}" if error else "")]
        lines += [f"  hint: {clean(error.hint)}"] if error and error.hint else []
    else:
        facts = f": {state}{_facts(outcome)}"
        lines = [crop_middle(name, max(24, width - cells(facts))) + facts]
    lines += _damage(outcome.damage or ())
    if outcome.case is not None:
        lines += [] if error is not None else [f"  {clean(outcome.case.summary)}"]
        lines += _case(outcome.case)
    return lines + [f"  note: {clean(note)}" for note in outcome.notes]


def _facts(outcome: Outcome) -> str:
    facts = [] if outcome.size is None else [format_size(outcome.size)]
    if outcome.bytes_reused and outcome.bytes_fetched:
        facts.append(f"{format_size(outcome.bytes_reused)} were here already")
    facts += [] if outcome.trust is None else [str(outcome.trust)]
    return "".join(f", {fact}" for fact in facts)


def _damage(damages: Sequence[Damage]) -> list[str]:
    lines = [
        f"  damaged: {damage.length} bytes at offset {damage.offset}: {clean(damage.detail or damage.verdict)}"
        for damage in damages[:DAMAGES]
    ]
    more = len(damages) - DAMAGES
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _case(case: Case) -> list[str]:
    """What people need to know beyond the damage itself: which work to doubt, and where the evidence is."""
    usage = case.usage
    lines = []
    if case.last_good is not None:
        lines.append(f"  last known to be good: {datetime.fromtimestamp(case.last_good).astimezone():%Y-%m-%d %H:%M}")
    lines += [
        f"  in use ({clean(each.how)}): pid {each.pid}, {clean(each.user)}, "
        f"since {datetime.fromtimestamp(each.since).astimezone():%Y-%m-%d %H:%M}: {clean(each.command)}"
        for each in usage.holders[:HOLDERS]
    ]
    more = len(usage.holders) - HOLDERS
    lines += [f"  and {more} more processes"] if more > 0 else []
    if usage.unseen or not usage.complete:
        count = plural(usage.unseen, "process") if usage.unseen else "some processes"
        lines.append(f"  {count} could not be looked at, so somebody else may have it open, too")
    if case.quarantine is not None:
        lines.append(f"  the damaged bytes and a report: {clean(case.quarantine)}")
    return lines


def _totals(verb: str, outcomes: Sequence[Outcome], elapsed: float) -> str:
    states = Counter(clean(outcome.state) for outcome in outcomes)
    good = [state for state in ORDER if states[state]]
    others = sorted(state for state in states if state not in ORDER)
    parts = []
    if verb in {"sync", "update"} and good:
        kinds = ", ".join(f"{states[state]} {state}" for state in good)
        parts.append(f"{sum(states[state] for state in good)} good ({kinds})")
    else:
        parts += [f"{states[state]} {state}" for state in good]
    parts += [f"{states[state]} {state}" for state in others]
    return f"{', '.join(parts) or 'nothing to do'}{_moved(verb, outcomes, elapsed)}"


def _moved(verb: str, outcomes: Sequence[Outcome], elapsed: float) -> str:
    """How much was moved, in what time: fetched, or read back by verify."""
    if verb == "verify":
        count = sum(outcome.size or 0 for outcome in outcomes if outcome.state in READ)
    else:
        count = sum(outcome.bytes_fetched for outcome in outcomes)
    if not count:
        return f" in {span(elapsed)}"
    rate = f" ({format_rate(count / elapsed)})" if elapsed >= 0.05 else ""
    return f", {format_size(count)} in {span(elapsed)}{rate}"


def status_lines(rows: Sequence[StatusRow], width: int) -> list[str]:
    """A heading and a line for each row, aligned; notes stand below their rows.

    Kinds, and after them paths, are shown where all of them fit, since half a path is of no use.
    """
    if not rows:
        return []
    table = [HEADING, *map(_columns, rows)]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    facts = HEADING.index("KIND")
    rest = sum(widths[1:facts]) + (facts - 1) * len(GAP)
    shown, taken = facts, widths[0] + rest
    while shown < len(widths) and any(columns[shown] for columns in table[1:]):
        taken += len(GAP) + widths[shown]
        if taken > width:
            break
        shown += 1
    widths[0] = min(widths[0], max(16, width - rest))
    lines = [_line(HEADING[:shown], widths)]
    for row, columns in zip(rows, table[1:], strict=True):
        lines.append(_line(columns[:shown], widths))
        lines += [crop(f"  {clean(row.note)}", width)] if row.note else []
    return lines


def promise_line(promise: Promise, max_age: float) -> str:
    """The one number: how old the least recently verified byte is, and how much is within the promise."""
    limit = format_duration(max_age).removesuffix(" 0h").removesuffix(" 0m")
    wanted = f"promise: no byte unverified for longer than {limit}"
    share = f"{math.floor(promise.share * 1000) / 10:g} % of the bytes within it"
    if promise.unverified_bytes:
        return f"{wanted}: broken, {format_size(promise.unverified_bytes)} are damaged or were never read; {share}"
    age = "" if promise.age is None else f"; the oldest was verified {_age(promise.age)} ago"
    return f"{wanted}: {'kept' if promise.kept else f'broken, {share}'}{age}"


def _columns(row: StatusRow) -> tuple[str, ...]:
    age = "never" if row.verified_age is None else f"{_age(row.verified_age)} ago"
    size = "" if row.size is None else format_size(row.size)
    return (clean(row.name), clean(row.state), clean(row.trust), size, age, clean(row.kind), clean(row.path))


def _age(seconds: float) -> str:
    """The largest unit alone: nobody acts on the minutes of "8d 2h"."""
    return format_duration(seconds).split(" ")[0]


def _line(columns: Sequence[str], widths: Sequence[int]) -> str:
    """The first of the columns, as many as are given; sizes to the right."""
    name, state, trust, size, *more = columns
    shown = [pad(crop_middle(name, widths[0]), widths[0]), pad(state, widths[1]), pad(trust, widths[2])]
    shown += [f"{size:>{widths[3]}}", *(pad(each, wide) for each, wide in zip(more, widths[4:], strict=False))]
    return GAP.join(shown).rstrip()

"""How the lines of a terminal are shared out among the parts of `ckptd watch`.

What matters most gets its lines first. Nothing here draws.
"""

from __future__ import annotations

from dataclasses import dataclass

RECENT_ROOM = 3  # lines that what happened last keeps where there is much work


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each part has; rules stand above parts that have any."""

    incidents: int
    facts: int  # of scrub, next and store
    rules: bool
    work: int
    recent: int
    foot: bool


def share(height: int, incidents: int, rows: int, recent: int, *, foot: bool) -> Room:
    """How to share `height` lines when there is so much to show; head and promise always have a line each."""
    foot, rules = foot and height >= 6, height >= 16
    facts = 3 if height >= 11 else 1 if height >= 7 else 0
    rest = max(0, height - 2 - facts - foot)
    wrong = min(incidents, max(0, rest - rules))
    rest -= wrong + (rules and wrong > 0)
    kept = min(recent, RECENT_ROOM) + rules if rules and recent else 0
    work = min(rows + 1 + rules, max(0, rest - kept)) if rows else 0
    work = work if work > rules else 0
    told = max(0, min(recent + rules, rest - work)) if recent else 0
    return Room(wrong, facts, rules, max(0, work - rules), max(0, told - rules), foot)


def rows_for(room: Room, rows: int) -> int:
    """How many of `rows` checkpoints are shown: below them stands what was left out, and the sum."""
    return rows if rows + 1 <= room.work else max(0, room.work - 2)

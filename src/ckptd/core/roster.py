"""When the daemon looks at each checkpoint again: every so often while all is well, sooner and ever later when not.

Pure; clock and jitter are arguments, times in seconds of a clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

FIRST_RETRY = 60.0  # seconds after a first failure
JITTER = 0.1  # of the interval, so that many machines do not ask at the same moment


@dataclass(frozen=True, slots=True)
class Turn:
    """When a checkpoint is due, and how often in a row it has failed."""

    due: float
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Roster:
    """Every checkpoint's turn, by name."""

    turns: dict[str, Turn]

    @classmethod
    def of(cls, names: Iterable[str], now: float) -> Roster:
        """Everything is due now."""
        return cls({name: Turn(now) for name in names})

    def keep(self, names: Iterable[str], now: float, changed: Collection[str] = ()) -> Roster:
        """The roster of `names`: who is new or has changed is due now, who is known keeps its turn."""
        return Roster({name: Turn(now) if name in changed else self.turns.get(name, Turn(now)) for name in names})

    def due(self, now: float) -> tuple[str, ...]:
        """Who is due, sorted."""
        return tuple(sorted(name for name, turn in self.turns.items() if turn.due <= now))

    def wait(self, now: float) -> float:
        """Seconds until somebody is due; 0.0 when somebody is, and endless when there is nobody."""
        return max(0.0, min((turn.due for turn in self.turns.values()), default=float("inf")) - now)

    def after(self, name: str, now: float, every: float, *, good: bool, jitter: float) -> Roster:
        """The roster after a turn of `name`. `jitter` is in [0, 1)."""
        if name not in self.turns:
            return self
        failures = 0 if good else self.turns[name].failures + 1
        wait = every if good else min(every, FIRST_RETRY * 2.0 ** min(failures - 1, 20))
        turn = Turn(now + wait * (1 + JITTER * (2 * jitter - 1)), failures)
        return Roster({**self.turns, name: turn})

"""The same thing said over and over is counted instead: an origin that comes and goes must not bury what counts.

Pure; clock values are arguments, in seconds. What is urgent always passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.log import Line

WINDOW = 60.0  # seconds
BURST = 4  # lines of one kind about one checkpoint in a window
BURST_NOTED = 20  # notes differ from each other, mostly
BURST_ALL = 40  # lines of one kind of trouble about all checkpoints: a host that flaps has many
MOST_WINDOWS = 2000  # before those that are over are forgotten
TROUBLE = frozenset({"waiting", "rewound"})


@dataclass(slots=True)
class _Window:
    """What was said of one thing since `began`."""

    began: float
    line: Line  # the last that was left out, or the first
    said: int = 0
    left_out: int = 0


@dataclass(slots=True)
class Limiter:
    """Leaves out what has been said often enough, and says in the end how much that was."""

    _windows: dict[tuple[str, str], _Window] = field(default_factory=dict)

    def take(self, line: Line, now: float) -> list[Line]:
        """What to say now that `line` has come."""
        if line.urgent:
            return [line]
        owed = self.due(now) if len(self._windows) >= MOST_WINDOWS or self.until is not None else []
        burst = BURST_NOTED if line.event == "noted" else BURST
        keys = [((line.name, line.event), burst)]
        if line.event in TROUBLE:
            keys.append((("", line.event), BURST_ALL))
        for key, most in keys:
            window = self._windows.get(key)
            if window is None or now - window.began >= WINDOW:
                window = self._windows[key] = _Window(now, line)
            if window.said >= most:
                window.left_out += 1
                window.line = line
                return owed
            window.said += 1
        return [*owed, line]

    def due(self, now: float) -> list[Line]:
        """What was left out in the windows that are over at `now`; infinite for all of them."""
        over = {key: window for key, window in self._windows.items() if now - window.began >= WINDOW}
        for key in over:
            del self._windows[key]
        return [_summary(key[0], window) for key, window in over.items() if window.left_out]

    @property
    def until(self) -> float | None:
        """When there will be something to say of what was left out; None when nothing was."""
        return min((each.began + WINDOW for each in self._windows.values() if each.left_out), default=None)


def _summary(name: str, window: _Window) -> Line:
    count, line = window.left_out, window.line
    message = f"suppressed {count} similar message{'' if count == 1 else 's'} ({line.event})"
    return Line(line.priority, "suppressed", name, message, line.host if name else "", urgent=True)

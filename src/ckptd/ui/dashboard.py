"""The live dashboard of a run on a terminal: takes events, redraws itself 8 times a second, then vanishes.

It is an `Emit`. Events come from the thread of the work and only update numbers; drawing happens in the
thread of rich's `Live`. What it looks like is `ckptd.ui.frame`'s; the summary that stays behind is
`ckptd.ui.summary`'s, printed by whoever ran it. It neither knows nor asks where the bytes come from.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment

from ckptd.core.events import Event
from ckptd.core.progress import Progress
from ckptd.ui.frame import ASCII, UNICODE, Screen, draw, foot
from ckptd.ui.layout import room_for_rows

FRAMES = 8  # a second


class Dashboard:
    """Use it as a context manager, and call it with events from within.

    `verb` is the command ("sync", "verify"), `clock` gives seconds and never goes back.
    """

    def __init__(self, console: Console, verb: str, clock: Callable[[], float]) -> None:
        self._console = console
        self._verb = verb
        self._clock = clock
        self._progress = Progress(local=verb in {"verify", "export"})
        self._lock = Lock()
        self._screen: Screen | None = None
        self._drawn: list[int] = []  # the widths of the lines on the screen
        self._live = Live(
            self,
            console=console,
            refresh_per_second=FRAMES,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=False,  # stdout carries results; what is written to stderr appears above the rows
        )

    @staticmethod
    def suits(console: Console) -> bool:
        """Whether `console` is a terminal that can be drawn on; plain lines are for the others."""
        return console.is_terminal and not console.is_dumb_terminal

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._live.__exit__(kind, error, trace)
            if kind is not None:
                self._console.print(self._stopped(), markup=False, highlight=False, soft_wrap=True)
        except OSError:
            pass  # the terminal is gone, and with it whoever looked; the work's own error matters more

    def __call__(self, event: Event) -> None:
        """Take an event in. Cheap, and safe from any thread."""
        with self._lock:
            self._progress.apply(event, self._clock())

    def _stopped(self) -> str:
        with self._lock:
            totals = self._progress.picture(self._clock(), 0).totals
        parts = foot(totals)
        told = (parts[key].strip() for key in ("count", "bytes", "failed") if key in parts)
        return f"{self._verb} stopped: {', '.join(told)}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.size.height
        with self._lock:
            limit = room_for_rows(height, len(self._progress))
            picture = self._progress.picture(self._clock(), limit)
        if self._screen is None or (self._screen.width, self._screen.height) != (width, height):
            self._screen = Screen(width, height, ASCII if options.ascii_only else UNICODE, held={})
        lines = draw(picture, self._verb, self._screen)
        if extra := _rewrapped(self._drawn, width):
            yield Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * extra)
        self._drawn = [sum(segment.cell_length for segment in line) for line in lines]
        for line in lines:
            yield from line
            yield Segment.line()


def _rewrapped(drawn: list[int], width: int) -> int:
    """How many lines more than were drawn the last frame takes in a terminal that is only `width` wide now.
    `Live` erases as many as were drawn; these are left to us."""
    return sum(max(0, (cells - 1) // max(1, width)) for cells in drawn)

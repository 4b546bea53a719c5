"""A terminal taken for a while, as top and less do: the alternate screen, no cursor, keys as they are pressed.

Gives it back as it was, however the work within ends. Frames are written line by line, and only what has changed. When
to draw and what keys mean is decided elsewhere.
"""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment

Lines = Sequence[list[Segment]]


class Fullscreen:
    """Use it as a context manager. `keys` is the descriptor of a terminal to read from; None: there is none."""

    def __init__(self, console: Console, keys: int | None = None) -> None:
        self._console = console
        self._keys = keys
        self._before: list[Any] | None = None
        self._drawn: list[list[Segment]] | None = None  # None: nobody knows what is on the screen
        self._size = (0, 0)

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
        try:
            self.take()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def take(self) -> None:
        """Take the terminal, at first or after others had it. Raises OSError when it is gone."""
        if self._keys is not None:  # first: in the background this is where we are stopped
            with suppress(termios.error):
                tty.setcbreak(self._keys, termios.TCSADRAIN)
        self._console.set_alt_screen(True)
        self._console.show_cursor(show=False)
        self.forget()

    def leave(self) -> None:
        """Give it back. Does nothing where it is gone."""
        with suppress(OSError):
            self._console.show_cursor(show=True)
            self._console.set_alt_screen(False)
        if self._keys is not None and self._before is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def forget(self) -> None:
        """Draw everything anew the next time."""
        self._drawn = None

    @property
    def ascii_only(self) -> bool:
        """Whether nothing but ASCII can be written to it."""
        return self._console.options.ascii_only

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now; what the environment says of them may be out of date."""
        with suppress(OSError, ValueError):
            columns, lines = os.get_terminal_size(self._console.file.fileno())
            if columns and lines:
                return columns, lines
        return self._console.size

    def paint(self, lines: Lines) -> None:
        """Make the screen look like `lines`. Raises OSError when the terminal is gone."""
        size = self.size
        if size != self._size:
            self._size = size
            self.forget()
        changed = _Changed(self._drawn, lines)
        if changed:
            self._console.print(changed, end="", crop=False)
        self._drawn = list(lines)

    def read(self) -> bytes:
        """The keys that were pressed; empty when the terminal is gone."""
        if self._keys is None:
            return b""
        try:
            return os.read(self._keys, 1024)
        except BlockingIOError:
            return b"\0"
        except OSError:
            return b""


class _Changed:
    """What has to be written so that a screen with the lines `old` shows `new`."""

    def __init__(self, old: Lines | None, new: Lines) -> None:
        self._clear = old is None
        before = old or []
        self._lines = [(at, line) for at, line in enumerate(new) if at >= len(before) or before[at] != line]
        self._gone = range(len(new), len(before))

    def __bool__(self) -> bool:
        return bool(self._clear or self._lines or self._gone)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._clear:
            yield Control.clear()
        for at, line in [*self._lines, *((at, []) for at in self._gone)]:
            yield Control.move_to(0, at)
            yield from line
            yield Control((ControlType.ERASE_IN_LINE, 0))


class Page:
    """Lines to be printed once, where the cursor is."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield from line
            yield Segment.line()

"""Emulated terminals: one to write to from a test, one in which a real program runs, both looked at through pyte.

Each keeps a second screen that is four times as wide: where that looks different, a line was wrapped.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

ALTERNATE, ORDINARY = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Screens:
    """What a terminal of `width` times `height` shows."""

    def __init__(self, width: int, height: int) -> None:
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Another size, and nothing on it: whoever draws is told, and draws anew."""
        self._screens = [pyte.Screen(columns, height) for columns in (width, width * 4)]
        self._streams = [pyte.Stream(screen) for screen in self._screens]

    def feed(self, text: str) -> None:
        for stream in self._streams:
            stream.feed(text)

    @property
    def lines(self) -> list[str]:
        """All lines, without spaces at their ends."""
        narrow, wide = ([line.rstrip() for line in screen.display] for screen in self._screens)
        assert narrow == wide, "a line wrapped"
        return narrow


class Terminal(io.StringIO):
    """A terminal to write to."""

    encoding = "utf-8"

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.screens = Screens(width, height)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.screens.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        return self.screens.lines


class Seat:
    """A program in a terminal of its own, which is its controlling one."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, *, width: int = 80, height: int = 24
    ) -> None:
        self.screens = Screens(width, height)
        self.raw = ""  # all that was ever written
        self.fd, self._theirs = pty.openpty()
        self._set_size(width, height)
        self.before = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={"TERM": "xterm-256color", **env},
            cwd=cwd,
        )

    def _set_size(self, width: int, height: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def resize(self, width: int, height: int) -> None:
        """What a terminal does when somebody pulls at its window."""
        self.read(0.0)
        self.screens.resize(width, height)
        self._set_size(width, height)
        os.killpg(os.tcgetpgrp(self.fd), signal.SIGWINCH)

    def send(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def read(self, seconds: float) -> bool:
        """Take in what is written within `seconds`; whether there was anything."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            text = os.read(self.fd, 1 << 16).decode(errors="replace")
        except OSError:
            return False
        self.raw += text
        self.screens.feed(text)
        return True

    @property
    def text(self) -> str:
        return "\n".join(self.screens.lines)

    @property
    def modes(self) -> list[object]:
        """The terminal's modes, as stty tells them."""
        return termios.tcgetattr(self._theirs)

    @property
    def whole(self) -> bool:
        """Whether the terminal is as it was before the program took it."""
        return (
            self.raw.rfind(ORDINARY) >= self.raw.rfind(ALTERNATE)
            and self.raw.rfind(SHOWN) >= self.raw.rfind(HIDDEN)
            and self.modes == self.before
        )

    def until(self, condition: Callable[[str], object], *, seconds: float = 20, what: str = "") -> str:
        """Read until `condition` holds for what is shown."""
        deadline = time.monotonic() + seconds
        while not condition(self.text):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.text}"
            self.read(0.05)
        return self.text

    def wait(self, *, seconds: float = 20) -> int:
        """Until the program has ended by itself; its status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still there after {seconds:g} s\n{self.text}"
            self.read(0.05)
        while self.read(0.0):
            pass
        return self.process.returncode

    def close(self) -> None:
        """End what still runs, and let the terminal go."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for descriptor in (self.fd, self._theirs):
            os.close(descriptor)

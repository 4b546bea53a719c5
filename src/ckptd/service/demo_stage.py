"""What `ckptd demo` tells its story with: narration on stdout, the real program as a child, promises that are checked.

The children have the user's terminal, so that what is seen is what `ckptd` shows, and an environment in which nothing
of the user's configuration leads elsewhere. Knows nothing of the story.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

WIDEST = 80  # columns; longer lines of prose are hard to read
LONGEST_RUN = 90.0  # seconds that any one command may take, on the slowest of machines
POLL = 0.02  # seconds between two looks at a condition
GRACE = 1.0, 5.0  # seconds that a child has to end by itself, and after SIGTERM

MEANINGS = {
    0: "good",
    1: "something could not be fetched, or is not there",
    2: "usage, manifest or lock is invalid",
    3: "integrity: bytes are not what was promised",
    4: "drift: the origin serves something else; the old lock is kept",
    5: "local storage",
    6: "busy: another instance owns the store",
}
BOLD, DIM, GOOD, BAD, COMMAND = "1", "2", "32", "31;1", "36"
SHOW_CURSOR = "\x1b[?25h"


class Unexpected(Exception):  # noqa: N818  # nothing need be broken: the story went another way
    """A step did not end as it was promised."""


class Stopped(Exception):  # noqa: N818
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped; after calling what is yielded, they are ignored.

    SIGHUP stays ignored where it was (`nohup`); SIGINT is heeded, as `sync` heeds it: a shell without job control lets
    what it starts in the background begin with it ignored.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise Stopped(number)

    def ignore() -> None:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)

    heeded = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = [(number, signal.signal(number, stop)) for number in heeded]
    try:
        yield ignore
    finally:
        for number, handler in before:
            signal.signal(number, handler)


class Stage:
    """Runs commands in `folder` and says so on `out`."""

    def __init__(self, out: TextIO, folder: Path) -> None:
        self.promises = 0
        self._out = out
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._colour = colour
        self._tick, self._cross = ("✓", "✗") if (out.encoding or "").lower().startswith("utf") else ("ok:", "NOT:")

    # --- narration -----------------------------------------------------------------------------------------------

    def headline(self, text: str) -> None:
        """A step begins."""
        self._print("")
        self._print(self._styled(BOLD, text))

    def say(self, text: str) -> None:
        """A paragraph."""
        for line in textwrap.wrap(text, self._columns(), initial_indent="   ", subsequent_indent="   "):
            self._print(line)

    def show(self, lines: Sequence[str]) -> None:
        """Lines of a file, cropped rather than wrapped."""
        width = self._columns()
        for line in lines:
            self._print(line if len(line) <= width else f"{line[: width - 3]}...")

    def command(self, text: str) -> None:
        """What the user would type."""
        self._print("")
        self._print(f"{self._styled(DIM, '$')} {self._styled(COMMAND, text)}")

    def suggest(self, *commands: str) -> None:
        """What the user may type next; never cropped or wrapped, since it is copied."""
        for each in commands:
            self._print(f"     {self._styled(COMMAND, each)}")

    def promise(self, what: str, *, kept: bool, but: str = "") -> None:
        """Say that something holds. Raises Unexpected when it does not; `but` tells more of what is otherwise."""
        self.promises += 1
        if not kept:
            raise Unexpected(f"this should hold, and does not: {what}" + (f" ({but})" if but else ""))
        first, *others = textwrap.wrap(what, self._columns() - len(self._tick) - 4)
        self._print(f"   {self._styled(GOOD, self._tick)} {first}")
        for line in others:
            self._print(" " * (len(self._tick) + 4) + line)

    def failed(self, what: str) -> None:
        """Say what went otherwise."""
        first, *others = textwrap.wrap(what, self._columns() - len(self._cross) - 1)
        self._print(f"\n{self._styled(BAD, self._cross)} {first}")
        for line in others:
            self._print(f"   {line}")

    def _ended(self, words: str) -> None:
        self._print(self._styled(DIM, f"[{words}]"))

    def _columns(self) -> int:
        return max(30, min(WIDEST, shutil.get_terminal_size().columns) - 1)

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def _print(self, line: str) -> None:
        # Flushed, since a child may write to the same terminal or file next.
        self._out.write(line.encode(self._out.encoding or "utf-8", "replace").decode(self._out.encoding or "utf-8"))
        self._out.write("\n")
        self._out.flush()

    # --- the program ---------------------------------------------------------------------------------------------

    def run(self, *args: str, expect: int = 0) -> None:
        """Run `ckptd` with `args` to its end. Raises Unexpected when its exit status is another."""
        self.command(f"ckptd {' '.join(args)}")
        child = self._start(args)
        try:
            status = child.wait(LONGEST_RUN)
        except subprocess.TimeoutExpired:
            raise Unexpected(f"`ckptd {' '.join(args)}` has not ended after {LONGEST_RUN:g} s") from None
        meaning = MEANINGS.get(status, "not a status of ours")
        self._ended(f"exit {status}: {meaning}")
        self.promises += 1
        if status != expect:
            raise Unexpected(f"`ckptd {' '.join(args)}` should have ended with {expect}, not {status} ({meaning})")

    def run_until(self, moment: Callable[[], bool], *args: str) -> None:
        """Run `ckptd` with `args` and kill it without warning at that moment. Raises Unexpected if it does not come."""
        self.command(f"ckptd {' '.join(args)}")
        child = self._start(args)
        deadline = time.monotonic() + LONGEST_RUN
        while not moment():
            if child.poll() is not None:
                raise Unexpected(f"`ckptd {' '.join(args)}` ended before it could be killed: {child.returncode}")
            if time.monotonic() > deadline:
                raise Unexpected("the moment to kill it did not come")
            time.sleep(POLL)
        child.kill()
        child.wait()
        self._restore_terminal()
        self._ended("killed by SIGKILL, as by the kernel when memory runs out")

    def ask(self, *args: str) -> dict[str, Any]:
        """What `ckptd ... --json` answers, unseen. Raises Unexpected when it is not one object."""
        try:
            done = subprocess.run(
                [*_program(), *args, "--json"],
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=LONGEST_RUN,
                check=False,
            )
            answer: dict[str, Any] = json.loads(done.stdout)
        except (ValueError, subprocess.TimeoutExpired):
            raise Unexpected(f"`ckptd {' '.join(args)} --json` did not print one object") from None
        return answer

    def _start(self, args: Sequence[str]) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(
            [*_program(), *args], cwd=self._folder, env=environment(), stdin=subprocess.DEVNULL
        )
        return self._child

    def close(self) -> None:
        """End the child that still runs: on ^C it got the signal itself, so it is given a moment first."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        for grace, insist in zip(GRACE, (child.terminate, child.kill), strict=True):
            try:
                child.wait(grace)
                break
            except subprocess.TimeoutExpired:
                insist()
        child.wait()
        self._restore_terminal()

    def _restore_terminal(self) -> None:
        """A killed dashboard leaves the cursor hidden."""
        with suppress(OSError, ValueError):
            if sys.stderr.isatty():
                sys.stderr.write(f"{SHOW_CURSOR}\n")
                sys.stderr.flush()


def _program() -> list[str]:
    # -P: whatever lies in the current folder is not the program.
    return [sys.executable, "-P", "-m", "ckptd"]


def environment() -> dict[str, str]:
    """The user's environment without what could lead a child away from the demo: proxies, our own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("CKPTD_", "_CKPTD_"))
    }
    return {**kept, "NO_PROXY": "*"}

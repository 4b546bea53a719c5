"""Who watches a run: the live dashboard on a terminal, plain lines elsewhere. Imports rich only for a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptd.core.events import Emit


@contextmanager
def watching(verb: str, *, quiet: bool, verbose: bool, plain: bool) -> Iterator[Emit]:
    """Something to send events to while a run lasts. `plain`: no dashboard even on a terminal."""
    if not quiet and not plain and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415  # costs 80 ms: only who looks pays

        from ckptd.ui.dashboard import Dashboard  # noqa: PLC0415

        console = Console(stderr=True)
        if Dashboard.suits(console):
            with Dashboard(console, verb, time.monotonic) as dashboard:
                yield dashboard
            return
    from ckptd.ui.plain import PlainLines  # noqa: PLC0415

    yield PlainLines(sys.stderr, verb, time.monotonic, verbose=verbose, quiet=quiet)


def width() -> int:
    """Columns for results on stdout; wide where nobody's terminal would wrap them."""
    if not sys.stdout.isatty():
        return 1000
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size().columns


def told_already() -> bool:
    """Whether plain lines on stderr have gone to where stdout goes: in a journal or a mail nobody wants them twice."""
    if sys.stderr.isatty():
        return False
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):
        return False

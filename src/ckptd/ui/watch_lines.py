"""`ckptd watch` without a terminal: one plain line for each event, and now and then one on how everything stands.

No colours, no cursor movements, no rich. Whether anybody can still read the stream is no concern of its: when writing
fails, it falls silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TextIO

from ckptd.core.events import Event
from ckptd.core.picture import plural
from ckptd.ui.account import Account, promise_words, read_account, wrongs
from ckptd.ui.plain import PlainLines
from ckptd.ui.text import clean

EVERY = 60.0  # seconds between two lines on how everything stands


class WatchLines:
    """Tell it what the daemon says. `clock` gives seconds and never goes back; `quiet` leaves nothing but failures."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float], *, verbose: bool = False, quiet: bool = False
    ) -> None:
        self._stream: TextIO | None = stream
        self._clock = clock
        self._verbose = verbose
        self._quiet = quiet
        self._events = PlainLines(stream, "watch", clock, verbose=verbose, quiet=quiet)
        self._account: Account | None = None
        self._told: float | None = None  # when the last line on how everything stands was written
        self._away = False

    def standing(self, content: Mapping[str, object]) -> None:
        """How everything stands, as the daemon has just said."""
        self._account = read_account(content, self._account)
        self._away = False
        now = self._clock()
        if self._told is None or now - self._told >= EVERY:
            self._told = now
            self._print(standing_line(self._account))

    def event(self, event: Event) -> None:
        """Something happened."""
        self._events(event)

    def away(self, why: str) -> None:
        """There is no daemon, or it is not for us: `why`."""
        if self._away:
            return
        self._print(f"waiting for the daemon: {clean(why)}")
        self._away, self._told = True, None
        if self._stream is not None:  # what ran is not known any more
            self._events = PlainLines(self._stream, "watch", self._clock, verbose=self._verbose, quiet=self._quiet)

    def _print(self, line: str) -> None:
        if self._stream is None or self._quiet:
            return
        try:
            print(line, file=self._stream, flush=True)
        except (OSError, ValueError):  # nobody reads any more, or the stream was closed
            self._stream = None


def standing_line(account: Account) -> str:
    """How everything stands, in one line."""
    pledge, scrub, wrong = account.pledge, account.scrub, len(wrongs(account))
    parts = [f"daemon {account.version}, pid {account.pid}"]
    parts += [f"promise {'kept' if pledge.kept else 'broken'}, {promise_words(pledge, account.now)[0]}"]
    parts += [f"{len(account.work)} at work"] if account.work else []
    parts += [f"scrub reads {scrub.name}" if scrub.name else f"scrub rests, {scrub.why}"]
    parts += [plural(wrong, "incident")] if wrong else []
    return clean(f"status: {'; '.join(parts)}")

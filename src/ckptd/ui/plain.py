"""One plain line an event, for logs, pipes and terminals that cannot be drawn on.

An `Emit` that writes what is worth a line, at once, and for long transfers now and then how far they are. No
colours, no cursor movements, no rich. Whether anybody can still read the stream is no concern of the work's:
when writing fails, it falls silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from ckptd.core.activity import FAILURES
from ckptd.core.events import (
    Connections,
    Event,
    Finished,
    Hashed,
    Noted,
    Publishing,
    Queued,
    Received,
    Rewound,
    Sized,
    Started,
    Waiting,
)
from ckptd.core.picture import Phase, Row, percent, portion, span
from ckptd.core.progress import Progress
from ckptd.core.units import format_duration, format_rate, format_size
from ckptd.ui.text import clean

CALM, EAGER = 30.0, 10.0  # seconds between two lines on how far a checkpoint is; EAGER when verbose
UNEVENTFUL = frozenset({"present", "same"})  # nothing happened: the summary counts them


@dataclass(slots=True)
class _Told:
    """What was said of one checkpoint: when last, and whether that it began."""

    at: float
    begun: bool = False
    host: str = ""


class PlainLines:
    """Call it with events. `verb` is the command, `clock` gives seconds and never goes back.

    `verbose` tells more, and more often; `quiet` nothing but failures.
    """

    def __init__(
        self,
        stream: TextIO,
        verb: str,
        clock: Callable[[], float],
        *,
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self._stream: TextIO | None = stream
        self._local = verb == "verify"
        self._clock = clock
        self._verbose = verbose
        self._quiet = quiet
        self._progress = Progress(local=self._local)
        self._told: dict[str, _Told] = {}

    def __call__(self, event: Event) -> None:
        """Take an event in, and write what it is worth."""
        if self._stream is None or (self._quiet and not isinstance(event, Finished)):
            return
        now = self._clock()
        self._progress.apply(event, now)
        told = self._told.setdefault(event.name, _Told(now))
        if isinstance(event, Received | Hashed) and told.begun and now - told.at < self._pace:
            return  # most events by far: no row is made for them
        row = self._progress.row(event.name, now)
        words = "" if row is None else self._words(event, row, told)
        if words:
            told.at = now
            self._write(event.name, words)
        if isinstance(event, Finished):
            del self._told[event.name]
            if event.hint and words:
                self._print(f"  hint: {clean(event.hint)}")

    @property
    def _pace(self) -> float:
        return EAGER if self._verbose else CALM

    def _words(self, event: Event, row: Row, told: _Told) -> str:
        """What to say about `event`, `row` being what is known after it; empty for nothing."""
        words = ""
        match event:
            case Finished():
                words = self._finished(event, row)
            case Started():
                words = self._started(event, told)
            case Sized() | Connections() | Received() | Hashed():
                words = self._under_way(event, row, told)
            case Queued() | Publishing() if self._verbose:
                words = row.text
            case Waiting() if row.phase is Phase.WAITING:
                words = row.text
            case Rewound():
                kept = f" at {portion(event.have, row.size)}" if event.have else ""
                words = f"begun again{kept}: {event.why}"
            case Noted():
                words = event.text
            case _:
                pass
        return words

    def _started(self, event: Started, told: _Told) -> str:
        told.begun = self._local or event.have > 0
        if event.have and event.size:
            share = percent(min(1.0, event.have / event.size))
            return f"resuming at {share} ({portion(event.have, event.size)})"
        if event.have:
            return f"resuming at {format_size(event.have)}"
        size = "" if event.size is None else f" {format_size(event.size)}"
        return f"checking{size}" if self._local and self._verbose else ""

    def _under_way(self, event: Event, row: Row, told: _Told) -> str:
        arriving = isinstance(event, Received | Hashed)
        if not told.begun:
            # The first line waits until it can name size and origin, but not longer than for the first bytes.
            told.begun = arriving or (row.size is not None and row.connections > 0)
            told.host = row.host
            size = "" if row.size is None else f" {format_size(row.size)}"
            source = f" from {row.host}" if row.host else ""
            verb = "checking" if row.phase is Phase.CHECKING else "fetching"
            return f"{verb}{size}{source}" if told.begun else ""
        if arriving:
            return _so_far(row)
        before, told.host = told.host, row.host
        return f"now from {row.host}" if self._verbose and before not in {"", row.host} else ""

    def _finished(self, event: Finished, row: Row) -> str:
        if event.error or event.state in FAILURES:
            return row.text
        if self._quiet or (event.state in UNEVENTFUL and not self._verbose):
            return ""
        words = event.state or "done"
        if event.fetched:
            rate = f" ({format_rate(event.fetched / row.elapsed)})" if row.elapsed >= 0.05 else ""
            words = f"{words} {_amount(event.fetched, event.size)} in {span(row.elapsed)}{rate}"
        return f"{words}, {event.detail}" if event.detail else words

    def _write(self, name: str, words: str) -> None:
        self._print(f"{clean(name)}: {clean(words)}")

    def _print(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            try:
                print(line, file=self._stream, flush=True)
            except UnicodeEncodeError:
                print(line.encode("ascii", "replace").decode(), file=self._stream, flush=True)
        except (OSError, ValueError):  # nobody reads any more, or the stream was closed
            self._stream = None


def _so_far(row: Row) -> str:
    if row.phase is Phase.HASHING:
        return row.text
    share = "" if row.fraction is None else f"{percent(row.fraction)} "
    told = f"{share}({portion(row.done, row.size)}), {format_rate(row.rate)}"
    return told if row.eta is None else f"{told}, {format_duration(row.eta)} left"


def _amount(fetched: int, size: int | None) -> str:
    """How much came of how much; of a file that had to be fetched again more came than it is long."""
    if size is None or size == fetched:
        return format_size(fetched)
    return (
        portion(fetched, size) if fetched < size else f"{format_size(size)} ({format_size(fetched)} over the network)"
    )

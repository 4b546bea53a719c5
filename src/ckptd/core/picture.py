"""What a run looks like at one moment, as frozen values, and the few phrases every display of it shares.

Sizes are bytes, times seconds, rates bytes a second. It says nothing about colours, columns or terminals, and
it does not know how a picture comes about: `ckptd.core.progress` folds events into one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.units import SCALE, format_duration, format_size


class Phase(StrEnum):
    """What is happening to one checkpoint."""

    QUEUED = "queued"
    CONNECTING = "connecting"
    RESUMING = "resuming"  # bytes of an earlier run are kept, new ones have not arrived yet
    DOWNLOADING = "downloading"
    HASHING = "hashing"  # every byte is here, the digest is not
    CHECKING = "checking"  # bytes are read back from the store, no connection carries them
    WAITING = "waiting"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"

    @property
    def moves(self) -> bool:
        """Whether bytes are expected to flow, so that a rate means something."""
        return self in {Phase.DOWNLOADING, Phase.CHECKING}


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint. `fraction` is in 0..1, or None while the size is unknown."""

    name: str
    phase: Phase
    fraction: float | None
    done: int
    size: int | None
    rate: float
    eta: float | None
    connections: int
    host: str
    text: str  # what is happening, in a few words
    state: str  # as in the contract ("fetched", "failed", "intact", ...), empty until the end
    elapsed: float  # since it was started


@dataclass(frozen=True, slots=True)
class Counts:
    """How many checkpoints are where; each is in exactly one of these."""

    queued: int = 0
    active: int = 0
    waiting: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.queued + self.active + self.waiting + self.done + self.failed

    def less(self, other: Counts) -> Counts:
        """What is left of these without `other`."""
        return Counts(
            self.queued - other.queued,
            self.active - other.active,
            self.waiting - other.waiting,
            self.done - other.done,
            self.failed - other.failed,
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """The foot. `size` sums the known sizes; while `unsized` is above 0, `fraction` and `eta` are estimates
    that take the others to be as large as the average."""

    counts: Counts
    done: int
    size: int
    unsized: int
    fraction: float | None
    rate: float
    eta: float | None
    connections: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class Picture:
    """`rows` in the order in which the names were first heard of, `hidden` what there was no room for;
    `longest` is the length of the longest name, shown or not, so that columns need not move."""

    rows: tuple[Row, ...]
    longest: int
    hidden: Counts
    totals: Totals


def percent(fraction: float) -> str:
    """ "61 %"; rounded down, so that 100 is said only of the whole."""
    return f"{math.floor(fraction * 100)} %"


def portion(done: int, size: int | None) -> str:
    """ "124 of 204 MB", "0.81 of 2.8 GB": both in the unit of `size`, so that the text keeps its width while
    `done` grows. "124 MB" where the size is unknown."""
    if size is None:
        return format_size(done)
    whole = format_size(size)
    number, unit = whole.split(" ")
    decimals = len(number.partition(".")[2]) or (1 if len(number) == 1 and unit != "B" else 0)
    return f"{done / 1000 ** SCALE.index(unit):.{decimals}f} of {whole}"


def plural(count: int, noun: str) -> str:
    """ "1 connection", "4 connections"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def span(seconds: float) -> str:
    """A time that something took: "8.1s", "42s", "2m 05s"."""
    return f"{max(0.0, seconds):.1f}s" if seconds < 9.95 else format_duration(seconds)

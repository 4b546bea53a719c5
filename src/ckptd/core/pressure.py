"""Whether others on this machine need the disk or the memory more than we do: the gate before every stint of reading.

The kernel's pressure stall information (Documentation/accounting/psi.rst) says for how long some task was held up by
I/O or by the lack of memory. Reading past the page cache, as we do, holds up ourselves, and that counts, too; so high
I/O pressure while we read proves nothing. Then the gate closes for a moment of quiet and looks again: if others are
still held up, it stays closed until they are not; otherwise it was us, and it asks that question ever more rarely.
Lack of memory needs no such doubt.

A state machine of values: `Gate.step` at least every few seconds, after each piece or so, with the clock and the
kernel's totals as arguments. It reads nothing (`store.weather` does) and stops nobody by itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum

INTERVAL = 5.0  # seconds over which a share is taken
LAG = 2.0  # seconds that totals may lag behind: the kernel's averages are renewed that often
STALE = 30.0  # seconds after which what was seen last says nothing about now
FIRST_HOLD = 30.0  # seconds without another question after it was only us; doubled each time
LONGEST_HOLD = 300.0
QUESTION = "a moment of quiet, to see whether others wait for the disk"

_TOTAL = re.compile(r"^some .*\btotal=(\d{1,20})\s*$", re.MULTILINE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    """For how long some task was held up since the machine started, in microseconds; None: this kernel does not say."""

    io: int | None = None
    memory: int | None = None


class Mode(StrEnum):
    OPEN = "open"
    ASKING = "asking"  # quiet, to see who it is
    CLOSED = "closed"  # others are held up


def stalled(text: str) -> int | None:
    """The `some` total of a file in /proc/pressure, in microseconds; None when it does not look like one."""
    found = _TOTAL.search(text)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Gate:
    """`io` and `memory` are the shares of time, above 0 up to 1, that count as pressure from there on; None is off."""

    io: float | None = None
    memory: float | None = None
    mode: Mode = Mode.OPEN
    why: str = ""  # why it is not open, for people
    begun: float = -math.inf  # when the present interval began, in seconds of a monotonic clock
    totals: Sample = Sample()  # as they were then
    read: float = -math.inf  # when we were last seen reading
    hold: float = FIRST_HOLD
    not_before: float = -math.inf  # no other question until then

    @property
    def paused(self) -> bool:
        """Whether to begin no further piece."""
        return self.mode is not Mode.OPEN

    def step(self, now: float, sample: Sample, *, reading: bool) -> Gate:
        """The gate after a look at `now`; `reading`: whether a piece was being read at any time since the last step.

        Best once a second; what was seen last is forgotten after `STALE` seconds without a step.
        """
        gate = replace(self, read=now) if reading else self
        if not 0 <= now - self.begun <= STALE:
            return replace(gate, begun=now, totals=sample)
        if self.mode is not Mode.ASKING:
            return _judge(gate, now, sample) if now - self.begun >= INTERVAL else gate
        if now - gate.read <= LAG:  # the last pieces are on their way, or in the totals
            return replace(gate, begun=now, totals=sample)
        enough = now - gate.read >= INTERVAL and now - gate.begun >= INTERVAL - LAG
        return _answer(gate, now, sample) if enough else gate


def _judge(gate: Gate, now: float, sample: Sample) -> Gate:
    """After an interval in which the gate was open or closed."""
    following = replace(gate, begun=now, totals=sample)
    short, busy = _short(gate, now, sample), _busy(gate, now, sample)
    if short:
        return replace(following, mode=Mode.CLOSED, why=short)
    if not busy:
        return replace(following, mode=Mode.OPEN, why="")
    if gate.read <= gate.begun - LAG:
        return _closed(following, busy)
    if gate.mode is Mode.OPEN and now >= gate.not_before:
        return replace(following, mode=Mode.ASKING, why=QUESTION, read=now)
    return following  # nobody knows whose need it is, and it is not the time to ask


def _answer(gate: Gate, now: float, sample: Sample) -> Gate:
    """After the moment of quiet: who is still held up is not us."""
    following = replace(gate, begun=now, totals=sample)
    short, busy = _short(gate, now, sample), _busy(gate, now, sample)
    if short:
        return replace(following, mode=Mode.CLOSED, why=short)
    if busy:
        return _closed(following, busy)
    hold = min(2 * gate.hold, LONGEST_HOLD)
    return replace(following, mode=Mode.OPEN, why="", not_before=now + gate.hold, hold=hold)


def _closed(gate: Gate, why: str) -> Gate:
    return replace(gate, mode=Mode.CLOSED, why=why, hold=FIRST_HOLD, not_before=-math.inf)


def _short(gate: Gate, now: float, sample: Sample) -> str:
    share = _share(gate.totals.memory, sample.memory, now - gate.begun)
    high = gate.memory is not None and share >= gate.memory
    return f"the machine is short of memory ({share:.0%} of the time)" if high else ""


def _busy(gate: Gate, now: float, sample: Sample) -> str:
    share = _share(gate.totals.io, sample.io, now - gate.begun)
    high = gate.io is not None and share >= gate.io
    return f"others wait for the disk ({share:.0%} of the time)" if high else ""


def _share(before: int | None, after: int | None, seconds: float) -> float:
    """The share of the time in which somebody was held up; below 0 when it cannot be told."""
    if before is None or after is None or seconds <= 0:
        return -1.0
    return min(1.0, (after - before) / (seconds * 1e6))

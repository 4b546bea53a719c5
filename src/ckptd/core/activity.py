"""What is known of one checkpoint during a run: the fold of its events, and its row of the picture.

Takes events in any order and never raises; clock values are arguments, in seconds. It knows nothing of the
other checkpoints: `ckptd.core.progress` keeps them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

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
from ckptd.core.meter import Meter, time_left
from ckptd.core.picture import Phase, Row, percent, plural
from ckptd.core.units import format_duration

RECENT = 8.0  # seconds a note stays in its row
FAILURES = frozenset({"failed", "corrupt", "missing", "unreadable", "changed", "gone"})


class Standing(Enum):
    """Where a checkpoint stands; unlike its phase, this changes with events alone and not with time."""

    QUEUED = "queued"
    LIVE = "live"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Activity:
    """One checkpoint's run. `index` is its place in the order in which the names were first heard of."""

    name: str
    index: int
    local: bool = False  # the work is reading what is stored: nothing connects anywhere
    standing: Standing = Standing.QUEUED
    size: int | None = None
    connections: int = 0
    host: str = ""
    _have: int = 0  # bytes of an earlier run
    _received: int = 0  # bytes that count, those included
    _hashed: int = 0
    _wired: bool = False  # a connection has carried it, so its bytes come from an origin
    _publishing: bool = False
    _started: float | None = None
    _ended: float = 0.0
    _until: float = -math.inf  # the end of a wait
    _text: str = ""  # why it is queued or waits; what became of it
    _state: str = ""
    _note: str = ""
    _noted: float = -math.inf
    _meter: Meter | None = None

    @property
    def done(self) -> int:
        """Bytes that count; never more than `size`."""
        return self._received if self.size is None else min(self._received, self.size)

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return self.standing in {Standing.DONE, Standing.FAILED}

    def waits(self, now: float) -> bool:
        """Whether it sits out a wait."""
        return self.standing is Standing.LIVE and self._until > now

    def take(self, event: Event, now: float) -> None:
        """Take one event in."""
        match event:
            case Queued() | Started():
                self._begin(event, now)
            case Finished():
                self._finish(event, now)
            case _ if self.ended:
                pass  # a late word about what is settled
            case Sized():
                self.size = max(0, event.size)
            case Noted():
                self._note, self._noted = event.text, now
            case Received():
                self._receive(event.count, now)
            case _:
                self._work(event, now)

    def _begin(self, event: Queued | Started, now: float) -> None:
        if self.ended:  # the same checkpoint again, such as a repair after a verification
            self._received = self._hashed = 0
            self._started, self._meter, self._state, self._noted = None, None, "", -math.inf
            self._wired = self._publishing = False
        if event.size is not None:
            self.size = max(0, event.size)
        self._until = -math.inf
        if isinstance(event, Queued):
            self.standing, self._text = Standing.QUEUED, event.why
        else:
            self._have = self._received = max(0, event.have)
            self._go_live(now)

    def _go_live(self, now: float) -> None:
        self.standing = Standing.LIVE
        if self._started is None:
            self._started = now

    def _receive(self, count: int, now: float) -> None:
        self._go_live(now)
        if self._meter is None:
            self._meter = Meter()
        self._meter.add(now, max(0, count))
        self._received += max(0, count)
        self._until = -math.inf  # bytes came, so nobody waits any more

    def _work(self, event: Event, now: float) -> None:
        self._go_live(now)
        match event:
            case Hashed():
                self._hashed = max(0, event.done)
            case Connections():
                self.connections, self.host = max(0, event.count), event.host or self.host
                if event.count > 0:
                    self._wired, self._until = True, -math.inf
            case Waiting():
                self._until = now + max(0.0, event.seconds) if math.isfinite(event.seconds) else now
                # The rate after a wait starts afresh: it is not dragged down by the silence.
                self._text, self._meter = event.why, None
            case Rewound():
                self._received = self._have = max(0, event.have)
                self._hashed, self._publishing = min(self._hashed, self._have), False
                self._note, self._noted = f"begun again: {event.why}", now
            case Publishing():
                self._publishing = True
            case _:
                pass

    def _finish(self, event: Finished, now: float) -> None:
        if event.size is not None:
            self.size = max(0, event.size)
        failed = bool(event.error) or event.state in FAILURES
        self.standing = Standing.FAILED if failed else Standing.DONE
        if not failed and self.size is not None:
            self._received = self.size
        self._state, self._ended, self.connections, self._meter = event.state, now, 0, None
        words = (event.state, event.error or event.detail)
        self._text = (": " if failed else ", ").join(word for word in words if word)

    def phase(self, now: float) -> Phase:
        """What is happening to it at `now`."""
        match self.standing:
            case Standing.QUEUED:
                return Phase.QUEUED
            case Standing.DONE:
                return Phase.DONE
            case Standing.FAILED:
                return Phase.FAILED
        if self._until > now:
            return Phase.WAITING
        return Phase.PUBLISHING if self._publishing else self._moving(now)

    def _moving(self, now: float) -> Phase:
        new = self._received > self._have
        if not self._wired and (self.local or new):
            return Phase.CHECKING
        if self.size is not None and self._received >= self.size:
            return Phase.HASHING if self._hashed < self.size else Phase.PUBLISHING
        if not new and self._have:
            return Phase.RESUMING
        fresh = self._meter is not None and self._meter.fresh(now)
        return Phase.DOWNLOADING if self.connections or fresh else Phase.CONNECTING

    def row(self, now: float) -> Row:
        """Its row of the picture at `now`."""
        phase = self.phase(now)
        rate = self._meter.rate(now) if phase.moves and self._meter is not None else 0.0
        left = None if self.size is None else self.size - self.done
        end = self._ended if self.ended else now
        return Row(
            name=self.name,
            phase=phase,
            fraction=None if self.size is None else self.done / self.size if self.size else 1.0,
            done=self.done,
            size=self.size,
            rate=rate,
            eta=time_left(left, rate),
            connections=self.connections,
            host=self.host,
            text=self._words(phase, now),
            state=self._state,
            elapsed=0.0 if self._started is None else max(0.0, end - self._started),
        )

    def _words(self, phase: Phase, now: float) -> str:
        if phase.moves and now - self._noted < RECENT:
            return self._note
        words = str(phase)
        match phase:
            case Phase.DONE | Phase.FAILED:
                words = self._text or words
            case Phase.QUEUED if self._text:
                words = f"queued: {self._text}"
            case Phase.WAITING:
                reason = f": {self._text}" if self._text else ""
                words = f"waiting {format_duration(math.ceil(self._until - now))}{reason}"
            case Phase.RESUMING if self.size:
                words = f"resuming at {percent(self.done / self.size)}"
            case Phase.HASHING if self.size:
                words = f"hashing {percent(self._hashed / self.size)}"
            case Phase.DOWNLOADING if self.connections:
                words = plural(self.connections, "connection")
            case _:
                pass
        return words

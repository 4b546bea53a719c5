"""What happens during a run, as values that flow one way: from the work to `core.progress` and on to `ui`.

Sizes are bytes, times seconds. An event never asks for an answer, so nobody waits for whoever draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queued:
    """`name` has work to do; `size` where it is known beforehand, `why` in a few words."""

    name: str
    size: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Started:
    """Work began; `have` bytes of an earlier run are kept (resuming when above 0)."""

    name: str
    size: int | None
    have: int = 0


@dataclass(frozen=True, slots=True)
class Sized:
    """The size became known."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Received:
    """`count` more bytes arrived from `host` (or, in verify, were read and compared)."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Rewound:
    """The download began again; `have` bytes still count, `why` in a few words."""

    name: str
    have: int
    why: str


@dataclass(frozen=True, slots=True)
class Connections:
    """`count` connections carry this checkpoint now, to `host`."""

    name: str
    count: int
    host: str


@dataclass(frozen=True, slots=True)
class Hashed:
    """The digest has been computed over the first `done` bytes."""

    name: str
    done: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing happens for `seconds`, because of `why` ("Retry-After", "retry 2 of 5: connection reset")."""

    name: str
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Publishing:
    """All bytes are here and proven; making them durable and visible."""

    name: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line that is no failure ("the origin ignores ranges: one connection from here")."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end for `name`. `state` as in the contract ("fetched", "failed", "intact", ...), `detail` a short
    phrase ("witnessed", "first-use"), `error` the message of a failure and `hint` what to do about it.
    `fetched` bytes came over the network, `size` is the size of the file, `kind` that of the error."""

    name: str
    state: str
    detail: str = ""
    error: str = ""
    hint: str = ""
    size: int | None = None
    fetched: int = 0
    kind: str = ""


Event = Queued | Started | Sized | Received | Rewound | Connections | Hashed | Waiting | Publishing | Noted | Finished
Emit = Callable[[Event], None]

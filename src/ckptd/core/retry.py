"""When to try again, how long to wait before, and when to give up. Jitter and clock are arguments.

Only attempts without progress count: a bad line that moves some bytes each time may go on for as long as it takes.
"""

from __future__ import annotations

import re
from enum import Enum

from ckptd.core import httpdate

FIRST_WAIT = 0.5  # seconds
LONGEST_WAIT = 60.0  # seconds
RETRY_AFTER_CAP = 600.0  # seconds that a one-shot run is willing to wait for an origin


class Failure(Enum):
    """What kind of failure an attempt ended with, and so whether another may end better."""

    TRANSIENT = "transient"  # connection, timeout, cut body, 408, 5xx
    BUSY = "busy"  # 429, 503, connection refused: the whole host needs a rest
    IMPOSTOR = "impostor"  # a page instead of a file, an answer that fits nothing asked
    RE_RESOLVE = "re-resolve"  # a signed URL behind a redirect ran out
    PERMANENT = "permanent"  # 404, certificate, policy


# Attempts without progress allowed beyond the first; None is the manifest's `retries`.
ALLOWED: dict[Failure, int | None] = {
    Failure.TRANSIENT: None,
    Failure.BUSY: None,
    Failure.IMPOSTOR: 2,
    Failure.RE_RESOLVE: 2,
    Failure.PERMANENT: 0,
}

# RFC 9110 section 15 and the origins' own documents; anything else below 500 is permanent.
_BY_STATUS: dict[int, Failure] = {
    408: Failure.TRANSIENT,
    425: Failure.TRANSIENT,
    429: Failure.BUSY,
    503: Failure.BUSY,
    511: Failure.IMPOSTOR,
}


def of_status(status: int) -> Failure:
    """What an answer that brings no data means."""
    default = Failure.TRANSIENT if status >= 500 else Failure.PERMANENT
    if status < 400:  # a 1xx, 2xx or 3xx that is neither data nor a redirect to follow
        default = Failure.IMPOSTOR
    return _BY_STATUS.get(status, default)


def may_retry(failure: Failure, fruitless: int, retries: int) -> bool:
    """Whether to try again after `fruitless` attempts in a row that moved nothing, this one included."""
    allowed = ALLOWED[failure]
    return fruitless <= (retries if allowed is None else min(allowed, retries))


def wait(fruitless: int, jitter: float) -> float:
    """Seconds to wait after `fruitless` (1 or more) fruitless attempts; `jitter` is in [0, 1).

    Exponential, truncated, between half and all of the step, so that many clients do not come back together.
    """
    step = min(LONGEST_WAIT, FIRST_WAIT * float(1 << min(max(fruitless, 1) - 1, 20)))
    return step * (0.5 + jitter / 2)


_SECONDS = re.compile(r"\d+", re.ASCII)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` (RFC 9110 section 10.2.3) asks for, 0.0 or more; None when it makes no sense.

    `now` is the wall clock as a POSIX timestamp. Never raises, whatever the value.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text[:12])  # 12 digits are 30 000 years; more would only overflow
    when = httpdate.parse(text)
    return None if when is None else max(0.0, when - now)

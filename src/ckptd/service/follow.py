"""Watching a daemon for as long as somebody looks: what it says, over its restarts.

Decides when to try again, and which errors end the matter; shows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from ckptd.core import wire
from ckptd.errors import CkptdError, ConfigError, MissingError
from ckptd.service import remote

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts to reach a daemon
NOBODY = "nobody answers"


@dataclass(frozen=True, slots=True)
class Away:
    """There is no daemon that can be watched; it is tried again after `seconds`."""

    why: str
    seconds: float


def pause(attempt: int) -> float:
    """Seconds to wait after so many attempts in vain, counted from 0: longer and longer, but bounded."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10))


async def follow(
    path: Path, *, wait: bool, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncGenerator[remote.Answer | Away, None]:
    """What the daemon at `path` says, and `Away` whenever there is none; endless.

    Raises MissingError when there is none at the start, and whatever forbids watching it then; with `wait` these are
    waited out, too. Raises ConfigError whenever the daemon is of a version that is not understood.
    """
    met, attempt = wait, 0
    while True:
        why = NOBODY
        try:
            said = await remote.answers(path, wire.Request("watch"))
            if said is not None:
                async with aclosing(said):
                    async for answer in said:
                        met, attempt = True, 0
                        yield answer
            elif not met:
                raise MissingError("there is no daemon to watch", hint="start it: `ckptd daemon`, or its service")
        except CkptdError as error:
            if not met or isinstance(error, ConfigError):
                raise
            why = error.message
        yield Away(why, pause(attempt))
        await sleep(pause(attempt))
        attempt += 1

"""Telling on the loop what happens in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ckptd.core import events


def received(name: str, emit: events.Emit) -> Callable[[int], None]:
    """To be called in any thread with a count of bytes just read of `name`: it is told on the running loop."""
    loop = asyncio.get_running_loop()

    def tell(count: int) -> None:
        loop.call_soon_threadsafe(emit, events.Received(name, count))

    return tell

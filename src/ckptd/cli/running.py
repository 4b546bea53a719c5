"""Running asynchronous work from a command: signals end it in good order, and its exit status says how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import TypeVar

from ckptd.errors import Stopped, first_known

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run `work` to its end. Raises Stopped after SIGINT or SIGTERM, and CkptdError.

    The first signal lets the work save what it has; the second ends the process at once.
    """
    received: list[int] = []

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def stop(number: int) -> None:
            if received:
                os._exit(128 + number)
            received.append(number)
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise Stopped(received[0] if received else signal.SIGINT) from None
    except BaseExceptionGroup as group:
        known = first_known(group)
        if known is None:
            raise
        raise known from None

"""Work that goes on beside the daemon's own: should it break, that is said, and the daemon goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from ckptd.core.urls import redact_text
from ckptd.service.daemon import Daemon


@asynccontextmanager
async def beside(daemon: Daemon, name: str, work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` while this is entered; `name` is what it is called when there is something to say."""

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            text = f"{type(error).__name__}: {redact_text(str(error))[:200]}"
            daemon.watchman.tell(name, f"broke ({text}); restart the daemon to have it again")

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})

"""What a daemon says on stderr: a line for everything worth one."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ckptd.service.daemon import Daemon
from ckptd.ui.plain import PlainLines


def logging(*, quiet: bool, verbose: bool) -> Callable[[Daemon], AbstractAsyncContextManager[None]]:
    """A front that writes lines."""

    @asynccontextmanager
    async def front(daemon: Daemon) -> AsyncIterator[None]:
        lines = PlainLines(sys.stderr, "daemon", time.monotonic, verbose=verbose, quiet=quiet)
        daemon.hub.listen(lines)
        yield

    return front

"""A fresh address for a checkpoint whose URL is signed and runs out: the first line that the operator's command prints.

The address is a secret: it is never shown, kept or logged, and the command's own output is not either.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from ckptd.core.retry import Failure
from ckptd.core.urls import origin_of
from ckptd.errors import OriginError
from ckptd.transfer.failure import TransferFailed

SECONDS = 60.0  # for the command to answer
LONGEST = 64 * 1024  # bytes of its output


async def fresh_url(command: Sequence[str]) -> str:
    """Run `command`, without a shell, and give the URL that it prints. Raises TransferFailed, not to be retried."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LONGEST,
            start_new_session=True,
        )
    except OSError as error:
        raise _refused(command, f"cannot be run: {os.strerror(error.errno or 0)}") from None
    try:
        async with asyncio.timeout(SECONDS):
            line = await process.stdout.readline() if process.stdout is not None else b""
            status = await process.wait()
    except TimeoutError:
        raise _refused(command, f"did not answer within {SECONDS:.0f} s") from None
    except ValueError:
        raise _refused(command, f"printed a line of more than {LONGEST} bytes") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise _refused(command, f"ended with status {status}")
    url = line.decode("utf-8", "replace").strip()
    try:
        origin_of(url)
    except ValueError:
        raise _refused(command, "did not print an http or https URL on its first line") from None
    return url


def _refused(command: Sequence[str], why: str) -> TransferFailed:
    error = OriginError(f"the refresh command {command[0]} {why}", hint="run it by hand and look at what it prints")
    return TransferFailed(Failure.PERMANENT, error)

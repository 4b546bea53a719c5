"""One run of the operator's command for an alert: JSON on stdin, no shell, a clean environment, an end in any case."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

from ckptd.core.log import one_line

HEARD = 4096  # bytes of its output that are kept; the rest is read and forgotten
SHOWN = 200  # characters of it in the log
GRACE = 2.0  # seconds from a kill to the end of the process


async def call(command: Sequence[str], body: bytes, environment: Mapping[str, str], seconds: float) -> str:
    """Run it; empty when it ended with 0, otherwise why that was not so. Past `seconds` its group is killed.

    Its arguments are never told, since they may hold a token.
    """
    heard, output = bytearray(), os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(output[1], True)
    loop = asyncio.get_running_loop()
    loop.add_reader(output[0], _hear, output[0], heard)
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output[1],
                stderr=output[1],
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a command"
            return f"cannot be started: {reason.lower()}"
        finally:
            os.close(output[1])
        status = await _watched(process, body, seconds)
        _hear(output[0], heard)
    finally:
        loop.remove_reader(output[0])
        os.close(output[0])
    if status == 0:
        return ""
    said = one_line(bytes(heard).decode("utf-8", "replace"), SHOWN)
    return f"{_ended(status, seconds)}{f': {said}' if said else ''}"


async def _watched(process: Process, body: bytes, seconds: float) -> int | None:
    """Its exit status; None when it had to be killed. Killed too when nobody waits for it any more."""
    try:
        async with asyncio.timeout(seconds):
            await _feed(process, body)
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await process.wait()


async def _feed(process: Process, body: bytes) -> None:
    if process.stdin is None:
        raise RuntimeError("started without stdin")
    with suppress(BrokenPipeError, ConnectionResetError):  # it does not want to know
        process.stdin.write(body)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


def _hear(source: int, heard: bytearray) -> None:
    """Read what is there, or forget it."""
    try:
        piece = os.read(source, 64 * 1024)
    except BlockingIOError:
        return
    if not piece:
        asyncio.get_running_loop().remove_reader(source)
    heard += piece[: HEARD - len(heard)]


def _ended(status: int | None, seconds: float) -> str:
    if status is None:
        return f"did not end within {seconds:g} s and was killed"
    return f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"

"""Asking the daemon that owns a store to do what was asked of us.

Events come back as they happen and are shown as our own would be. Knows nothing of checkpoints.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from ckptd.core import events, wire
from ckptd.core.models import Outcome
from ckptd.errors import StorageError
from ckptd.service import sockets
from ckptd.service.workplace import Workplace

Answer = events.Event | wire.Standing | wire.Result
AWAY = "the daemon went away in the middle of its answer"
ANSWER_SECONDS = 30.0  # for a daemon to say how everything stands


def socket_of(workplace: Workplace) -> Path:
    """Where the daemon of this store would be."""
    return sockets.path_of(workplace.manifest, workplace.places, workplace.path)


async def answers(path: Path, request: wire.Request) -> AsyncGenerator[Answer, None] | None:
    """What the daemon says to `request`, line by line; None when there is no daemon. Raises CkptdError."""
    connection = await sockets.connect(path)
    return None if connection is None else _answers(*connection, request)


async def _answers(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: wire.Request
) -> AsyncGenerator[Answer, None]:
    try:
        try:
            writer.write(wire.render_request(request))
            await writer.drain()
            while line := await reader.readline():
                yield wire.parse_answer(line)
        except (OSError, ValueError):
            raise StorageError(AWAY, hint="run the command again") from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(
    workplace: Workplace, command: str, names: tuple[str, ...], options: Mapping[str, object], emit: events.Emit
) -> list[Outcome] | None:
    """The outcomes of `command` from the daemon, which tells its progress; None when there is no daemon.

    Raises the CkptdError that the daemon answers with, and StorageError when it goes away.
    """
    manifest = await asyncio.to_thread(os.path.realpath, workplace.path)
    request = wire.Request(command, names, options, manifest)
    said = await answers(socket_of(workplace), request)
    if said is None:
        return None
    async for answer in said:
        if isinstance(answer, wire.Result):
            outcomes = answer.content.get("outcomes")
            return [wire.outcome_of(each) for each in outcomes] if isinstance(outcomes, list) else []
        if not isinstance(answer, wire.Standing):
            emit(answer)
    raise StorageError(AWAY, hint="run the command again")


async def document(workplace: Workplace) -> Mapping[str, object] | None:
    """How everything stands, by the daemon; None when there is none. Raises CkptdError."""
    path = socket_of(workplace)
    said = await answers(path, wire.Request("status"))
    if said is None:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS), aclosing(said):
            async for answer in said:
                if isinstance(answer, wire.Result):
                    return answer.content
    except TimeoutError:
        raise StorageError(f"the daemon at {path} does not answer", hint="look at its log, or restart it") from None
    return None

"""The daemon's end of the socket: one request a connection, answered as `core.wire` says.

Who is at the other end, the kernel tells; what they may, `core.permit`. A caller who goes away ends nothing but its
own answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ckptd.core import manifest as core_manifest
from ckptd.core import wire
from ckptd.core.events import Event, Finished, Noted
from ckptd.core.models import Checkpoint, Outcome
from ckptd.core.permit import crowded, permitted
from ckptd.errors import CkptdError, ConfigError, PolicyError, StorageError
from ckptd.service import sockets
from ckptd.service.account import Readings, account, brief, readings, whole
from ckptd.service.host import Host
from ckptd.service.hub import Subscription
from ckptd.version import __version__

REQUEST_SECONDS = 10.0  # for a caller to say what it wants
WATCH_EVERY = 1.0  # seconds between two standings for a watcher
READ_AGAIN, READ_SOON = 10.0, 2.0  # seconds until it is read anew how the checkpoints stand; when something happened


class Switchboard:
    """Answers callers. Work that they ask for is the daemon's, in `group`."""

    limit = wire.LONGEST_REQUEST

    def __init__(self, daemon: Host, group: asyncio.TaskGroup) -> None:
        self._daemon = daemon
        self._group = group
        self._callers: list[int] = []  # their uids

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One caller, from its request to the end of its answer."""
        uid = sockets.caller(writer.get_extra_info("socket")).uid
        crowd = crowded(uid, self._callers, os.getuid())
        self._callers.append(uid)
        try:
            if crowd:
                raise PolicyError(crowd, hint="try again in a moment")
            await self._answer(reader, writer)
        except CkptdError as error:
            with suppress(OSError):
                writer.write(wire.error_line(error))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller has gone
        except asyncio.CancelledError:
            pass  # the daemon ends; before Python 3.12 asyncio takes a cancelled caller for a failure of its own
        finally:
            self._callers.remove(uid)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
        except TimeoutError:
            raise ConfigError(f"no request came within {REQUEST_SECONDS:.0f} s") from None
        except ValueError:
            raise ConfigError(f"a request has at most {self.limit} bytes") from None
        request = wire.parse_request(line)
        self._check(writer, request)
        match request.command:
            case "hello":
                hello = {"version": __version__, "protocol": wire.PROTOCOL, "pid": os.getpid()}
                writer.write(wire.result_line(hello))
            case "status":
                writer.write(wire.result_line(await account(self._daemon)))
            case "watch":
                await self._watch(reader, writer)
                return
            case _:
                await self._work(request, reader, writer)
        await writer.drain()

    def _check(self, writer: asyncio.StreamWriter, request: wire.Request) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        places = self._daemon.place.places
        given = [name for name, value in (request.options or {}).items() if value]
        why = permitted(sockets.peer(connection), request.command, owner=os.getuid(), group=places.group, options=given)
        if why:
            raise StorageError(why, hint="run it as the store's owner, or with sudo")

    # --- work ----------------------------------------------------------------------------------------------------

    async def _work(self, request: wire.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Have the work done, tell its events, and in the end its outcomes."""
        daemon = self._daemon
        await daemon.heed(request.manifest)
        selected = core_manifest.select(daemon.place.manifest.checkpoints, request.names)
        task = self._group.create_task(self._outcomes(request, selected))
        names = None if request.command == "verify" and not request.names else {each.name for each in selected}
        gone = asyncio.ensure_future(reader.read(1))
        try:
            with daemon.hub.subscribed(names) as events:
                await _tell_until(task, gone, events, writer.write, writer.drain)
        finally:
            gone.cancel()
        outcomes = await asyncio.shield(task)
        if isinstance(outcomes, CkptdError):
            raise outcomes
        writer.write(wire.result_line({"outcomes": [wire.outcome_json(outcome) for outcome in outcomes]}))

    async def _outcomes(self, request: wire.Request, selected: Sequence[Checkpoint]) -> list[Outcome] | CkptdError:
        """What came of the request; an error as a value, since it is the caller's and not the daemon's."""
        daemon, option = self._daemon, request.option
        place = replace(daemon.place, selected=tuple(selected))
        try:
            if request.command == "verify":
                older = option("older_than")
                found = await daemon.jobs.verify(
                    place,
                    request.names,
                    sha256=bool(option("sha256")),
                    repair=bool(option("repair")),
                    older_than=float(older) if isinstance(older, int | float) else None,
                )
                if not option("repair"):
                    found = await daemon.heed_damage(found, mend=False)
            else:
                locked = bool(option("locked"))
                found = await daemon.jobs.sync(place, locked=locked, update=request.command == "update")
        except CkptdError as error:
            return error
        for outcome in found:
            daemon.watchman.note_outcome(outcome)
        await daemon.refresh_lock()
        if request.command != "verify":
            await daemon.follow(found)
        return found

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Events as they come and, every second, how everything stands, until the watcher goes."""
        gone = asyncio.ensure_future(reader.read(1))
        batch: asyncio.Future[list[Event]] | None = None
        try:
            with self._daemon.hub.subscribed(None) as told:
                read: Readings | None = None
                due, happened = 0.0, False
                while not gone.done():
                    fresh: list[Event] = []
                    if time.monotonic() >= due:
                        before = read
                        read = await self._read_again(before, READ_SOON if happened else READ_AGAIN)
                        happened = happened and read is before
                        standing = brief if read is before else whole
                        writer.write(wire.status_line(standing(self._daemon, read)))
                        fresh = told.take()  # what the standing knows has been told after this
                        due = time.monotonic() + WATCH_EVERY
                    if batch is not None and batch.done():
                        fresh = batch.result() + fresh
                        batch = None
                    for event in fresh:
                        happened = happened or isinstance(event, Finished | Noted)
                        writer.write(wire.event_line(event))
                    async with asyncio.timeout(sockets.CONNECT_SECONDS):
                        await writer.drain()
                    batch = batch or asyncio.ensure_future(told.batch())
                    wait = max(0.0, due - time.monotonic())
                    watched: set[asyncio.Future[Any]] = {gone, batch}  # only whether they have ended
                    await asyncio.wait(watched, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass  # it does not read: nobody waits for it
        finally:
            gone.cancel()
            if batch is not None:
                batch.cancel()

    async def _read_again(self, read: Readings | None, seconds: float) -> Readings:
        """`read`, or what is read now when that is as old as `seconds`."""
        if read is not None and time.monotonic() - read.at < seconds:
            return read
        return await readings(self._daemon)


async def _tell_until(
    task: asyncio.Task[list[Outcome] | CkptdError],
    gone: asyncio.Future[bytes],
    events: Subscription,
    write: Callable[[bytes], None],
    drain: Callable[[], Awaitable[None]],
) -> None:
    """Tell events until the work is done. Raises ConnectionError when the caller has gone."""
    while not task.done():
        batch = asyncio.ensure_future(events.batch())
        watched: set[asyncio.Future[Any]] = {task, gone, batch}  # only whether they have ended
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            batch.cancel()
            raise ConnectionResetError
        if batch.done():
            for event in batch.result():
                write(wire.event_line(event))
            await drain()
        else:
            batch.cancel()
    for event in events.take():
        write(wire.event_line(event))

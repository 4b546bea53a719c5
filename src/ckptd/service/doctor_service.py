"""Facts about systemd's units and the daemon, for `doctor`; they are judged in `core.doctor_service`.

Starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ckptd.core.doctor import Finding
from ckptd.core.doctor_service import PROPERTIES, UNITS, Daemon, Service, judge, parse
from ckptd.errors import CkptdError
from ckptd.service import remote, status
from ckptd.service.workplace import Workplace
from ckptd.version import __version__

BOOTED = Path("/run/systemd/system")  # sd_booted(3): there where systemd is process 1
SECONDS = 5.0  # for systemd, or the daemon, to answer


async def service(workplace: Workplace | None, *, booted: Path = BOOTED) -> tuple[list[Finding], bool]:
    """What there is to say of units and daemon, and whether the daemon runs."""
    facts = await _units(booted)
    if workplace is not None:
        facts = await _daemon(facts, workplace)
    return judge(facts), facts.daemon is not None


async def _units(booted: Path) -> Service:
    """What `systemctl show` says of our units."""
    facts = Service(version=__version__)
    if not await asyncio.to_thread(booted.is_dir):
        return replace(facts, unasked="it does not run this machine")
    program = shutil.which("systemctl")
    if program is None:
        return replace(facts, unasked="there is no systemctl")
    command = [program, "show", f"--property={','.join(PROPERTIES)}", "--no-pager", "--", *UNITS]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        return replace(facts, unasked=f"systemctl cannot be run: {os.strerror(error.errno or 0)}")
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return replace(facts, unasked=f"systemctl did not answer within {SECONDS:.0f} s")
    units = parse(said.decode("utf-8", "replace"))
    if process.returncode != 0 or not units:
        return replace(facts, unasked=f"systemctl failed with status {process.returncode}")
    return replace(facts, units=units)


def _belongs(store: Path) -> str:
    """The user to whom the store belongs; empty where that cannot be told."""
    try:
        return store.owner()
    except (OSError, KeyError):
        return ""


async def _daemon(facts: Service, workplace: Workplace) -> Service:
    """Who has the store, and what the daemon says of itself."""
    socket = remote.socket_of(workplace)
    owner, belongs = await asyncio.to_thread(lambda: (status.owner(workplace), _belongs(workplace.places.store)))
    facts = replace(facts, owner=owner, store=str(workplace.places.store), store_owner=belongs)
    if not await asyncio.to_thread(os.path.exists, socket):
        return facts
    if not await asyncio.to_thread(os.access, socket, os.W_OK):
        return replace(facts, denied=str(socket))
    try:
        async with asyncio.timeout(SECONDS):
            said = await remote.document(workplace)
    except CkptdError as error:
        return replace(facts, silent=error.message)
    except TimeoutError:
        return replace(facts, silent=f"the daemon at {socket} did not answer within {SECONDS:.0f} s")
    if said is None:
        return replace(facts, stale=str(socket))
    pid = said.get("pid")
    daemon = Daemon(
        version=str(said.get("version", "")),
        pid=pid if isinstance(pid, int) else 0,
        summary=str(said.get("summary", "")),
        config_error=str(said.get("config_error", "")),
    )
    return replace(facts, daemon=daemon)

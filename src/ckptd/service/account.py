"""How everything stands, as one JSON object: for `status`, for watchers, for the page.

What takes reading (sizes, records; no file bodies) is apart from what is known anyway: who asks every second need not
have it read every second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ckptd.core.ages import Promise, promise
from ckptd.core.schedule import CAUTIOUS, DAY, floor, opens_in
from ckptd.service.host import Host
from ckptd.service.promise import as_json, kept_files
from ckptd.service.status import Standing, standings
from ckptd.store.records import load_files
from ckptd.version import __version__


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read, and when (seconds of a clock that only goes forward)."""

    at: float
    promise: Promise
    due: float | None  # POSIX seconds from which something is old enough for the scrub; None: nothing is kept
    found: Sequence[Standing]


async def readings(daemon: Host) -> Readings:
    """Read sizes and records now."""
    place, now = replace(daemon.place, selected=daemon.place.manifest.checkpoints), time.time()
    records = await daemon.tenancy.state.do(load_files)
    kept = kept_files(place.lock, records)
    held = promise(kept, place.manifest.verify.max_age, now)
    oldest = min((at for each in kept for _, _, at, _ in each.ages.view(each.count, now)), default=None)
    young = floor(place.manifest.verify, sum(each.size for each in kept), CAUTIOUS)
    due = None if oldest is None else oldest + young
    found = await daemon.tenancy.thread(lambda: standings(place, records))
    return Readings(time.monotonic(), held, due, found)


async def account(daemon: Host) -> dict[str, object]:
    """The daemon's account of itself and its store."""
    return whole(daemon, await readings(daemon))


def brief(daemon: Host, read: Readings) -> dict[str, object]:
    """The account without its checkpoints, from what was read before. Reads nothing."""
    doing = daemon.scrub.doing
    return {
        "version": __version__,
        "pid": os.getpid(),
        "since": daemon.started,
        "now": time.time(),
        "manifest": str(daemon.place.path),
        "store": str(daemon.place.places.store),
        "config_error": daemon.config_error,
        "summary": daemon.summary(),
        "promise": as_json(read.promise, daemon.place.manifest.verify.max_age),
        "scrub": {
            "name": doing.name,
            "why": doing.why,
            "urgent": doing.urgent,
            "shortfall": doing.shortfall,
            "next_in": 0.0 if doing.name else _next_scrub(daemon, read),
        },
        "active": [
            {"name": name, "size": each.size, "done": each.done, "connections": each.connections, "host": each.host}
            for name, each in sorted(daemon.hub.active.items())
        ],
        "incidents": [
            {"kind": each.kind, "name": each.name, "message": each.message, "since": each.since}
            for each in daemon.watchman.incidents.open.values()
        ],
        "recent": [{"at": each.at, "name": each.name, "text": each.text} for each in daemon.watchman.recent],
    }


def whole(daemon: Host, read: Readings) -> dict[str, object]:
    """The account with its checkpoints, from what was read before. Reads nothing."""
    return brief(daemon, read) | {"checkpoints": _checkpoints(daemon, read)}


def _checkpoints(daemon: Host, read: Readings) -> list[dict[str, object]]:
    now = time.monotonic()
    return [
        {
            "name": each.outcome.name,
            "state": each.outcome.state,
            "trust": each.outcome.trust,
            "size": each.outcome.size,
            "sha256": each.outcome.sha256,
            "path": each.outcome.path,
            "verified_at": each.verified_at,
            "note": each.note,
            **_turn(daemon, each.outcome.name, now),
        }
        for each in read.found
    ]


def _turn(daemon: Host, name: str, now: float) -> dict[str, object]:
    turn = daemon.roster.turns.get(name)
    if turn is None or turn.due == float("inf"):
        return {"next_sync_in": None, "failures": 0 if turn is None else turn.failures}
    return {"next_sync_in": max(0.0, turn.due - now), "failures": turn.failures}


def _next_scrub(daemon: Host, read: Readings) -> float | None:
    """Seconds until something is old enough to be read again and the window is open; None: there is nothing to read."""
    if read.due is None:
        return None
    settings, wait = daemon.place.manifest.verify, max(0.0, read.due - time.time())
    clock = datetime.now().astimezone()
    seconds = (clock.hour * 3600 + clock.minute * 60 + clock.second + wait) % DAY
    return wait + opens_in(settings.window, seconds / 60)

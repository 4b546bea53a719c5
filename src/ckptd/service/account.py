"""How everything stands, as one JSON object: for `status`, for watchers, for the page."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptd import __version__
from ckptd.service import promise
from ckptd.service.status import standings

if TYPE_CHECKING:
    from ckptd.service.daemon import Daemon


async def account(daemon: Daemon) -> dict[str, object]:
    """The daemon's account of itself and its store. Reads sizes and records, no file bodies."""
    held = await daemon.promise()
    place = replace(daemon.place, selected=daemon.place.manifest.checkpoints)
    found = await daemon.tenancy.thread(lambda: standings(place))
    now = time.monotonic()
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
        "promise": promise.as_json(held, daemon.place.manifest.verify.max_age),
        "scrub": {"name": doing.name, "why": doing.why, "urgent": doing.urgent, "shortfall": doing.shortfall},
        "active": [
            {"name": name, "size": each.size, "done": each.done, "connections": each.connections, "host": each.host}
            for name, each in sorted(daemon.hub.active.items())
        ],
        "checkpoints": [
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
            for each in found
        ],
        "incidents": [
            {"kind": each.kind, "name": each.name, "message": each.message, "since": each.since}
            for each in daemon.watchman.incidents.open.values()
        ],
        "recent": [{"at": each.at, "name": each.name, "text": each.text} for each in daemon.watchman.recent],
    }


def _turn(daemon: Daemon, name: str, now: float) -> dict[str, object]:
    turn = daemon.roster.turns.get(name)
    if turn is None or turn.due == float("inf"):
        return {"next_sync_in": None, "failures": 0 if turn is None else turn.failures}
    return {"next_sync_in": max(0.0, turn.due - now), "failures": turn.failures}

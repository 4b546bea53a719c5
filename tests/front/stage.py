"""A daemon's account as the fronts get it, to be changed a little by each test."""

from __future__ import annotations

from typing import Any

NOW = 1_800_000_000.0  # POSIX seconds
DAY = 86400.0


def checkpoint(name: str, **changes: Any) -> dict[str, Any]:
    """One that is there."""
    return {
        "name": name,
        "state": "present",
        "trust": "witnessed",
        "size": 3_000_000,
        "sha256": "ab" * 32,
        "path": f"/store/{name}/{name}.tar.gz",
        "verified_at": NOW - 2 * DAY,
        "note": "",
        "next_sync_in": 3700.0,
        "failures": 0,
        **changes,
    }


def account(*checkpoints: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """All is well; the promise is for a week."""
    promise = {
        "max_age": 7 * DAY,
        "kept": True,
        "oldest_verified_at": NOW - 2 * DAY,
        "age": 2 * DAY,
        "share": 1.0,
        "unverified_bytes": 0,
        **changes.pop("promise", {}),
    }
    scrub = {
        "name": "",
        "why": "nothing is older than 3d 12h",
        "urgent": False,
        "shortfall": 0,
        "next_in": 1.5 * DAY,
        **changes.pop("scrub", {}),
    }
    return {
        "version": "1.2.3",
        "pid": 7,
        "since": NOW - 3 * DAY,
        "now": NOW,
        "manifest": "/etc/ckptd/manifest.toml",
        "store": "/store",
        "config_error": "",
        "summary": "",
        "promise": promise,
        "scrub": scrub,
        "active": [],
        "checkpoints": list(checkpoints),
        "incidents": [],
        "recent": [],
        **changes,
    }


def incident(kind: str, name: str, message: str = "something is wrong") -> dict[str, Any]:
    return {"kind": kind, "name": name, "message": message, "since": NOW - 600}


def told(name: str, text: str, ago: float = 60.0) -> dict[str, Any]:
    return {"at": NOW - ago, "name": name, "text": text}

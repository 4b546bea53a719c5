"""`status` and `path`: what is there, how sure we are, when it was last verified, what runs now.

Reads names, sizes and records; no file bodies, no network, nothing that is slow to import.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptd.core.models import Checkpoint, LockEntry, Outcome, Problem
from ckptd.core.plan import CONDEMNED, Amiss, Check, Conflict, Distrust, Fetch, Found, Keep, decide
from ckptd.core.units import format_size
from ckptd.service.locate import kind_of
from ckptd.service.workplace import Workplace
from ckptd.store import inventory
from ckptd.store.owner import holder
from ckptd.store.places import Places
from ckptd.store.records import FileRecord, PartialRecord, load_partials, read_only


@dataclass(frozen=True, slots=True)
class Standing:
    """How one checkpoint stands; `verified_at` in POSIX seconds."""

    outcome: Outcome
    verified_at: float | None
    note: str


def standings(workplace: Workplace, records: Mapping[str, FileRecord]) -> list[Standing]:
    """How each selected checkpoint stands, by what is known of the store's files."""
    partials = _partials(workplace)
    found = []
    for checkpoint in workplace.selected:
        record = records.get(inventory.key_of(checkpoint))
        outcome, note = _standing(workplace, checkpoint, partials.get(checkpoint.name), records)
        outcome = replace(outcome, usable=kind_of(workplace, checkpoint))
        found.append(Standing(outcome, record.verified_at if record is not None else None, note))
    return found


def owner(workplace: Workplace) -> str | None:
    """Who is working on the store right now ("host pid 123"), or None."""
    return holder(workplace.places.state)


def _partials(workplace: Workplace) -> dict[str, PartialRecord]:
    connection = read_only(workplace.places.database)
    if connection is None:
        return {}
    with closing(connection), suppress(sqlite3.Error):
        return load_partials(connection)
    return {}


def _standing(
    workplace: Workplace,
    checkpoint: Checkpoint,
    partial: PartialRecord | None,
    records: Mapping[str, FileRecord],
) -> tuple[Outcome, str]:
    entry = workplace.lock.entries.get(checkpoint.name)
    final = workplace.places.final(checkpoint)
    found = inventory.look(workplace.places, checkpoint, records)
    action = decide(checkpoint, entry, found, workplace.manifest.policy.require)
    state, note, error = "present", "", None
    places = workplace.places
    damage = inventory.tree_damage(places, checkpoint.name, entry.sha256, records) if entry is not None else ""
    stands = entry is not None and inventory.tree_stands(places, checkpoint.name, entry.sha256, records)
    if entry is not None and stands and _dropped(places, checkpoint, entry, records):
        action = Keep("unpacked, and its archive is not kept")
        final, found = places.tree(checkpoint.name), Found(entry.size)
    elif checkpoint.unpack and not (stands or damage) and isinstance(action, Keep):
        note = f"not unpacked; run `ckptd sync {checkpoint.name}`"
    match action:
        case Fetch(reason, mends=mends):
            state = "damaged" if mends else "missing" if entry is not None or found is None else "unlocked"
            state = "partial" if partial is not None else state
            note = "" if reason == "new" else reason
        case Check(reason, adopt=adopt):
            state, note = ("unlocked" if adopt else "damaged" if reason == CONDEMNED else "touched"), reason
        case Conflict(message):
            state, note = "conflict", message
        case Distrust(message):
            note = message
        case Amiss(message, missing=missing):
            state, note = ("missing" if missing else "damaged"), message
        case Keep():
            pass
        case _:
            note = "the lock would change with the next sync"
    if damage and (state in {"present", "touched"} or _dropped(places, checkpoint, entry, records)):
        state, note = "damaged", damage
    if state == "partial" and partial is not None:
        whole = f" of {format_size(partial.total)}" if partial.total else ""
        note = f"{format_size(partial.written.size)}{whole} are here; `ckptd sync` goes on from there"
    if state not in {"present", "touched"}:
        command = f"ckptd verify --repair {checkpoint.name}" if state == "damaged" else f"ckptd sync {checkpoint.name}"
        kind = "integrity" if state == "damaged" else "storage"
        hint = f"run `{command}`" if not isinstance(action, Amiss) else action.hint
        error = Problem(kind, note or "it was never fetched", hint)
    outcome = Outcome(
        name=checkpoint.name,
        state=state,
        size=entry.size if entry is not None else checkpoint.size or (partial.total if partial is not None else None),
        sha256=entry.sha256 if entry is not None else checkpoint.sha256,
        trust=entry.trust if entry is not None else None,
        path=str(final) if found is not None else None,
        error=error,
    )
    return outcome, note


def _dropped(
    places: Places, checkpoint: Checkpoint, entry: LockEntry | None, records: Mapping[str, FileRecord]
) -> bool:
    """Whether only its tree was kept."""
    key = inventory.key_of(checkpoint)
    return entry is not None and inventory.archive_dropped(places, key, entry.sha256, records)


def age(standing: Standing) -> float | None:
    """Seconds since the last verification."""
    return None if standing.verified_at is None else max(0.0, time.time() - standing.verified_at)

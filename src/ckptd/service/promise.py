"""The promise over everything that is locked: how long ago the least recently verified byte was verified.

Reads the records of the state; no file bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ckptd.core.ages import Ages, Kept, Promise, promise
from ckptd.core.audit import piece_count
from ckptd.core.models import Lock, LockEntry
from ckptd.core.urls import file_name
from ckptd.store.records import FileRecord


def kept_files(lock: Lock, records: Mapping[str, FileRecord]) -> list[Kept]:
    """Every locked file with what is known of its verifications; nothing is known of one that changed hands."""
    return [_kept(entry, records.get(f"{entry.name}/{file_name(entry.url)}")) for entry in lock.entries.values()]


def _kept(entry: LockEntry, record: FileRecord | None) -> Kept:
    known = record is not None and record.sha256 == entry.sha256
    ages = Ages.from_json(record.ages) if known and record is not None else Ages()
    return Kept(entry.name, entry.size, piece_count(entry.size), ages)


def unread(entry: LockEntry, records: Mapping[str, FileRecord], ages: Ages) -> FileRecord:
    """The record of a locked file with these ages; a new one where nothing is known of it."""
    path = f"{entry.name}/{file_name(entry.url)}"
    record = records.get(path)
    if record is not None and record.sha256 == entry.sha256:
        return replace(record, ages=ages.to_json())
    return FileRecord(
        path=path,
        name=entry.name,
        sha256=entry.sha256,
        size=entry.size,
        stamp="",
        trust=entry.trust,
        witnesses=entry.witnesses,
        pieces=entry.pieces or "",
        verified_at=0.0,
        verdict="unread",
        ages=ages.to_json(),
    )


def standing(lock: Lock, records: Mapping[str, FileRecord], max_age: float, now: float) -> Promise:
    """How the promise stands at `now` (POSIX seconds)."""
    return promise(kept_files(lock, records), max_age, now)


def as_json(found: Promise, max_age: float) -> dict[str, object]:
    """The promise as every `--json` shows it. Times in seconds."""
    return {
        "max_age": max_age,
        "kept": found.kept,
        "oldest_verified_at": found.oldest,
        "age": found.age,
        "share": found.share,
        "unverified_bytes": found.unverified_bytes,
    }

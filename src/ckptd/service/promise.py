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
from ckptd.store.records import DROPPED, FileRecord, tree_key


def kept_files(lock: Lock, records: Mapping[str, FileRecord]) -> list[Kept]:
    """Every locked file and every tree with what is known of its verifications; an archive that was removed once its
    tree stood is none. Nothing is known of a file that changed hands."""
    found = []
    for entry in lock.entries.values():
        record, tree = records.get(f"{entry.name}/{file_name(entry.url)}"), records.get(tree_key(entry.name))
        if record is None or record.verdict != DROPPED:
            found.append(_kept(entry, record))
        if tree is not None and tree.sha256 == entry.sha256:
            found.append(Kept(tree.path, tree.size, 1, Ages.from_json(tree.ages)))
    return found


def _kept(entry: LockEntry, record: FileRecord | None) -> Kept:
    known = record is not None and record.sha256 == entry.sha256
    ages = Ages.from_json(record.ages) if known and record is not None else Ages()
    return Kept(entry.name, entry.size, piece_count(entry.size), ages)


def unread(name: str, entry: LockEntry, records: Mapping[str, FileRecord], ages: Ages) -> FileRecord:
    """The record of a locked file, or of its tree, with these ages; a new one where nothing is known of it."""
    path = name if name == tree_key(entry.name) else f"{entry.name}/{file_name(entry.url)}"
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

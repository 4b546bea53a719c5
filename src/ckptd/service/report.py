"""The report of a verification: gathers what the page shows, and writes it.

What came of the verification is given; ages, the promise and the evidence are read from the state, as far as we may.
Reads no file bodies; decides nothing about what the page says (`core.report`) or looks like (`ui.report`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ckptd.core.ages import Ages, Kept, promise
from ckptd.core.models import LockEntry, Outcome
from ckptd.core.report import Entry, Evidence, Page
from ckptd.core.urls import file_name
from ckptd.errors import StorageError
from ckptd.service.promise import kept_files
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, quarantine
from ckptd.store.atomic import write_atomically
from ckptd.store.places import storage_error
from ckptd.store.records import FileRecord
from ckptd.version import __version__

MODE = 0o644
EVIDENCE = 50  # entries of the quarantine that are shown


def gather(
    workplace: Workplace,
    outcomes: Sequence[Outcome],
    *,
    names: Sequence[str],
    seconds: float,
    only_due: bool = False,
    mending: bool = False,
) -> Page:
    """What the page shows. `outcomes` are what came of verifying `names` (all, if empty) in `seconds`, just now.

    `only_due`: only what had not been verified for long was read; `mending`: mending what is damaged was tried. What
    cannot be read of the state counts as not known.
    """
    now = time.time()
    lock, places, settings = workplace.lock, workplace.places, workplace.manifest.verify
    every = inventory.records(places)
    records = {name: record for name, entry in lock.entries.items() if (record := _record(entry, every)) is not None}
    kept = {each.name: each for each in kept_files(lock, every)}
    unknown = _unrecorded(kept, outcomes, now - seconds) if not only_due else {}
    kept |= unknown
    told = {outcome.name: outcome for outcome in outcomes}
    chosen = {checkpoint.name for checkpoint in workplace.selected} | (set() if names else set(lock.entries))
    known = {checkpoint.name: checkpoint for checkpoint in workplace.manifest.checkpoints}
    entries = []
    for name in sorted(chosen.union(told)):
        checkpoint, locked = known.get(name), lock.entries.get(name)
        outcome = told.get(name) or (_not_due(workplace, locked) if locked is not None else None)
        if outcome is not None:
            entries.append(
                Entry(
                    outcome=outcome,
                    description=checkpoint.description if checkpoint is not None else "",
                    tags=checkpoint.tags if checkpoint is not None else (),
                    verified_at=_verified_at(kept.get(name), records.get(name), outcome, now),
                    last_good=_last_good(records.get(name), outcome),
                    read=name in told,
                    watched=name in places.watched,
                )
            )
    return Page(
        at=now,
        seconds=seconds,
        host=socket.gethostname(),
        store=str(places.store),
        manifest=str(workplace.path.absolute()),
        version=__version__,
        entries=tuple(entries),
        promise=promise(kept.values(), settings.max_age, now),
        locked_bytes=sum(each.size for each in kept.values()),
        max_age=settings.max_age,
        evidence=_evidence(workplace, chosen.union(told) if names else None),
        left_out=len(set(lock.entries).difference(chosen, told)),
        mending=mending,
        recorded=not unknown,
    )


def _unrecorded(kept: Mapping[str, Kept], outcomes: Iterable[Outcome], begun: float) -> dict[str, Kept]:
    """What was just found intact, all of it, and the state does not know of: whoever may only read cannot note it."""
    found = {}
    for outcome in outcomes:
        each = kept.get(outcome.name)
        if each is None or outcome.state != "intact" or not each.count:
            continue
        oldest = each.ages.oldest(each.count, time.time())
        if oldest is None or oldest < begun:
            found[each.name] = replace(each, ages=Ages.whole(each.count, begun))
    return found


def _record(entry: LockEntry, records: Mapping[str, FileRecord]) -> FileRecord | None:
    """What is known of a locked file, if that is still about the locked bytes."""
    record = records.get(f"{entry.name}/{file_name(entry.url)}")
    return record if record is not None and record.sha256 == entry.sha256 else None


def _verified_at(kept: Kept | None, record: FileRecord | None, outcome: Outcome, now: float) -> float | None:
    if kept is None or outcome.state not in {"intact", "repaired"}:
        return None
    if kept.count:
        return kept.ages.oldest(kept.count, now)
    return now if record is None else record.verified_at  # it has no bytes


def _last_good(record: FileRecord | None, outcome: Outcome) -> float | None:
    if outcome.case is not None and outcome.case.last_good is not None:
        return outcome.case.last_good
    return record.verified_at if record is not None and record.verified_at else None


def _not_due(workplace: Workplace, locked: LockEntry) -> Outcome:
    """What is known of a file that was not read: only what is intact is ever not due."""
    path = str(workplace.places.file(locked.name, file_name(locked.url)))
    return Outcome(locked.name, "intact", locked.size, locked.sha256, locked.trust, path)


def _evidence(workplace: Workplace, names: Container[str] | None) -> tuple[Evidence, ...]:
    """What is in quarantine (only of `names`, if given), newest first; nothing where we may not look."""
    places = workplace.places
    try:
        entries = quarantine.listed(places)
    except StorageError:
        return ()
    found = []
    for entry in reversed(entries):
        report = quarantine.read_report(places, entry.name)
        path = str(places.state / "quarantine" / entry.name)
        if report is None:
            found.append(Evidence(entry.at, path, entry.bytes))
        elif names is None or report.name in names:
            found.append(Evidence(entry.at, path, entry.bytes, report.name, report.summary, report.action))
    return tuple(found[:EVIDENCE])


def write(path: Path, text: str) -> None:
    """Write the page whole or not at all; anybody may read it. Raises StorageError."""
    try:
        write_atomically(path, text.encode(), MODE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(f"cannot write the report {path}: there is no such folder", hint="make it first") from error
    except OSError as error:
        raise storage_error(error, f"cannot write the report {path}") from error

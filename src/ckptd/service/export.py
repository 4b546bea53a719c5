"""`export`: what lock and ledger know, for other tools. Takes no lock of the store, and writes only what it is told to.

SHA256SUMS and JSON come from what is known, without reading a file; for a Metalink
`service.metalink` reads them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ckptd.core import export
from ckptd.core.attestation import as_json
from ckptd.core.audit import EXIT_STATUS
from ckptd.core.export import Known, Listed
from ckptd.core.models import Outcome, Problem
from ckptd.errors import CkptdError, ConfigError
from ckptd.service.workplace import Workplace
from ckptd.store import history, inventory
from ckptd.store.atomic import write_atomically
from ckptd.store.places import storage_error

MODE = 0o644


@dataclass(frozen=True, slots=True)
class Exported:
    """The text, empty when there is nothing to say, and what came of each checkpoint."""

    text: str
    outcomes: list[Outcome]


def sums(workplace: Workplace, names: Sequence[str]) -> Exported:
    """SHA256SUMS of what is locked (only `names` and tags, if given). Reads no bodies."""
    files, outcomes = chosen(workplace, names)
    return Exported(export.sha256sums(files), by_name([*outcomes, *(came_to(workplace, each) for each in files)]))


def known(workplace: Workplace, names: Sequence[str]) -> tuple[list[Outcome], dict[str, dict[str, object]]]:
    """What lock and ledger know of each checkpoint. Reads no bodies."""
    files, outcomes = chosen(workplace, names)
    records, rows = inventory.records(workplace.places), _history(workplace, {each.entry.name for each in files})
    found = {}
    for each in files:
        record = records.get(each.path)
        current = record is not None and record.sha256 == each.entry.sha256
        about = (
            Known(record.verified_at, record.verdict, record.digests, tuple(rows.get(each.entry.name, ())))
            if record is not None and current
            else None
        )
        found[each.entry.name] = export.described(each, about)
        outcome = came_to(workplace, each, about.verdict if about is not None else "unverified")
        there = inventory.is_file(workplace.places.opened(stored(workplace, each)))
        outcomes.append(outcome if there else replace(outcome, state="missing", path=None))
    return by_name(outcomes), dict(sorted(found.items()))


def _history(workplace: Workplace, names: set[str]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    with suppress(CkptdError), history.opened(workplace.places.database) as database:  # no history is no history
        for row in history.rows(database, names):
            found.setdefault(row.visit.name, []).append(as_json(row))
    return found


def chosen(workplace: Workplace, names: Sequence[str]) -> tuple[list[Listed], list[Outcome]]:
    """The locked files that are asked for, and what is wrong with the others."""
    in_manifest = {each.name: each for each in workplace.manifest.checkpoints}
    selected = {each.name for each in workplace.selected}
    # Without names also what the lock still has and the manifest does not: those bytes are kept, too.
    wanted = selected if names else selected | set(workplace.lock.entries)
    files, outcomes = [], []
    for name in sorted(wanted):
        entry = workplace.lock.entries.get(name)
        if entry is None:
            problem = Problem("storage", "it is not locked: it was never fetched", f"run `ckptd sync {name}`")
            outcomes.append(Outcome(name, "unlocked", error=problem, exit_status=EXIT_STATUS["unlocked"]))
            continue
        try:
            place = workplace.places.watched.get(name)
            files.append(export.listed(entry, in_manifest.get(name), "" if place is None else str(place)))
        except ValueError as error:
            raise ConfigError(f"{workplace.places.lock}: {name}: url: {error}", hint="restore the lock") from None
    return files, outcomes


def stored(workplace: Workplace, file: Listed) -> Path:
    """Where it lies."""
    return workplace.places.file(file.entry.name, file.file)


def by_name(outcomes: list[Outcome]) -> list[Outcome]:
    """Sorted, as in every `--json`."""
    return sorted(outcomes, key=lambda each: each.name)


def came_to(workplace: Workplace, file: Listed, state: str = "exported", problem: Problem | None = None) -> Outcome:
    """What came of a file: `exported`, or a problem."""
    entry = file.entry
    path = str(stored(workplace, file))
    status = 0 if problem is None else EXIT_STATUS.get(state, 1)
    return Outcome(entry.name, state, entry.size, entry.sha256, entry.trust, path, error=problem, exit_status=status)


# --- to a file -------------------------------------------------------------------------------------------------------


def target(workplace: Workplace, wanted: str, option: str) -> Path:
    """The file that `option` names, links followed. Raises ConfigError for one that is ours, or is no plain file.

    Asked before anything is read: nobody wants to hear it after hours. Whether it can be written is seen then.
    """
    places = workplace.places
    path = Path(os.path.realpath(wanted))
    ours = {Path(os.path.realpath(each)): what for each, what in ((workplace.path, "manifest"), (places.lock, "lock"))}
    if path in ours:
        raise ConfigError(f"{option} {wanted} is the {ours[path]}", hint="name another file")
    if any(path.is_relative_to(os.path.realpath(each)) for each in (places.store, places.state)):
        raise ConfigError(f"{option} {wanted} lies in the store", hint="name a file elsewhere")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {wanted}: there is no folder {path.parent}", hint="make it first")
    with suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{option} {wanted} is no plain file", hint="name a file that can be replaced")
    return path


def write(path: Path, text: str) -> None:
    """Write it whole or not at all; a file that was there keeps its mode. Raises StorageError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else MODE
        write_atomically(path, text.encode(), mode)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error

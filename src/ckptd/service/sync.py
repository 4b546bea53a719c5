"""One pass of `sync` or `update`: plan, fetch what is missing, prove it, publish it, lock it.

Wires the rooms together. What to do is `core.plan`, whether bytes are right is `core.proof`; this decides only the
order of things. One bad checkpoint never stops the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ckptd.core import events
from ckptd.core.models import Checkpoint, LockEntry, OnDamage, Outcome, Problem
from ckptd.core.plan import (
    Action,
    Adopt,
    Amiss,
    Check,
    Conflict,
    Distrust,
    Expectation,
    Fetch,
    Found,
    Keep,
    Mend,
    Relock,
    decide,
    decide_update,
    expectation,
    relocked,
)
from ckptd.errors import CkptdError, DriftError, IntegrityError, MissingError, PolicyError, StorageError
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, tree_modes
from ckptd.store.places import Places
from ckptd.store.records import FileRecord


@dataclass(frozen=True, slots=True)
class Task:
    """One checkpoint and what is to be done for it."""

    checkpoint: Checkpoint
    entry: LockEntry | None
    found: Found | None
    action: Action
    expected: Expectation
    blocked: bool = False  # a folder stands where the file should be
    tree: bool = False  # its tree is wanted, and does not stand
    loose: bool = False  # its tree stands, with modes that are not as they were made

    @classmethod
    def of(cls, workplace: Workplace, checkpoint: Checkpoint) -> Task:
        """What is locked, to be looked at once the store is ours."""
        entry = workplace.lock.entries.get(checkpoint.name)
        return cls(checkpoint, entry, None, Fetch("it is damaged", mends=True), expectation(checkpoint, entry))

    @property
    def in_place(self) -> bool:
        """Whether its file is somebody else's, which is read and never written."""
        return self.checkpoint.in_place is not None


def plan(workplace: Workplace, records: Mapping[str, FileRecord], *, update: bool = False) -> list[Task]:
    """What to do for each selected checkpoint. Reads sizes and times, no bodies."""
    tasks = []
    action: Action
    keep_archive = workplace.manifest.unpack.keep_archive
    for checkpoint in workplace.selected:
        entry = workplace.lock.entries.get(checkpoint.name)
        found = inventory.look(workplace.places, checkpoint, records)
        if update:
            # Whatever the origin serves now is accepted; only a pin still has a say.
            action, expected = decide_update(checkpoint, found), expectation(checkpoint, None)
        else:
            require = workplace.manifest.policy.require
            keep = workplace.manifest.verify.on_damage is OnDamage.KEEP
            action, expected = decide(checkpoint, entry, found, require, keep=keep), expectation(checkpoint, entry)
        blocked = found is None and inventory.is_folder(workplace.places.final(checkpoint))
        stands = entry is not None and inventory.tree_stands(workplace.places, checkpoint.name, entry.sha256, records)
        if entry is not None and checkpoint.unpack and stands and found is None and not (update or keep_archive):
            path = f"{checkpoint.name}/{checkpoint.file_name}"
            if inventory.archive_dropped(workplace.places, path, entry.sha256, records):
                action = Keep("unpacked, and its archive is not kept")
        loose = checkpoint.unpack and stands and _loose(workplace.places, checkpoint.name)
        tree = checkpoint.unpack and not stands
        tasks.append(Task(checkpoint, entry, found, action, expected, blocked, tree, loose))
    return tasks


def _loose(places: Places, name: str) -> bool:
    return bool(tree_modes.loose(places.tree(name), shared=places.group is not None))


def would_change_lock(task: Task) -> str | None:
    """Why `--locked` refuses a task, or None when the lock stays as it is."""
    if isinstance(task.action, Relock):
        return task.action.reason
    if task.entry is None:
        return "it is not locked yet"
    reads = isinstance(task.action, Fetch) or (task.in_place and isinstance(task.action, Check))
    if reads and relocked(task.checkpoint, task.entry) != task.entry:
        return getattr(task.action, "reason", "")
    return None


def describe(task: Task) -> str:
    """What would be done, in a few words (`--dry-run`)."""
    match task.action:
        case Keep() if task.loose:
            return "would set the modes of its tree right"
        case Keep():
            return "would unpack" if task.tree else "present"
        case Relock(reason):
            return f"would lock anew: {reason}"
        case Check(reason, adopt=adopt):
            return f"would verify{' and lock' if adopt else ''}: {reason}"
        case Fetch(reason, mends=True) if task.entry is not None:
            return f"would mend: {reason}"
        case Fetch(reason):
            return f"would fetch: {reason}"
        case Mend(reason):
            return f"would mend: {reason}"
        case Adopt(reason):
            return f"would take it in: {reason}"
        case Conflict(message):
            return f"conflict: {message}"
        case Distrust(message):
            return f"refused: {message}"
        case Amiss(message):
            return f"would fail: {message}"


def kept(task: Task, places: Places) -> Outcome:
    """The outcome of a checkpoint that is as it should be."""
    entry = task.entry
    return Outcome(
        name=task.checkpoint.name,
        state="present",
        size=entry.size if entry is not None else None,
        sha256=entry.sha256 if entry is not None else None,
        trust=entry.trust if entry is not None else None,
        path=str(places.final(task.checkpoint)),
    )


def pending(task: Task, places: Places) -> Outcome:
    """The outcome of a dry run for a checkpoint that a real one would work on: as it stands now."""
    outcome = kept(task, places)
    there = task.found is not None
    return replace(outcome, state="present" if there else "missing", path=outcome.path if there else None)


def refused(task: Task, error: CkptdError, places: Places, *, fetched: int = 0) -> Outcome:
    """The outcome of a checkpoint that could not be done. What is locked and still there is said too."""
    entry = task.entry
    there = task.found is not None and entry is not None and task.found.size == entry.size
    return Outcome(
        name=task.checkpoint.name,
        state="failed",
        size=entry.size if entry is not None else None,
        sha256=entry.sha256 if entry is not None else None,
        trust=entry.trust if entry is not None else None,
        path=str(places.final(task.checkpoint)) if there else None,
        bytes_fetched=fetched,
        error=Problem(error.kind, error.message, error.hint),
        exit_status=error.exit_status,
    )


def settle_without_work(task: Task, places: Places, *, locked: bool) -> Outcome | None:
    """The outcome of a task that needs neither disk nor network, or None when it does."""
    name = task.checkpoint.name
    if isinstance(task.action, Keep) and not (task.tree or task.loose):
        return kept(task, places)
    if isinstance(task.action, Conflict):
        return refused(task, DriftError(task.action.message, hint=f"`ckptd update {name}` settles it"), places)
    if isinstance(task.action, Distrust):
        hint = f"`ckptd drift --promote {name}` asks its origin to vouch for it; or pin its sha256 in the manifest"
        return refused(task, PolicyError(task.action.message, hint=hint), places)
    if isinstance(task.action, Amiss):
        kind = MissingError if task.action.missing else IntegrityError
        return refused(task, kind(task.action.message, hint=task.action.hint), places)
    if task.blocked:
        error = StorageError(f"{places.final(task.checkpoint)} is a folder", hint="move it away and run again")
        return refused(task, error, places)
    reason = would_change_lock(task) if locked else None
    if reason is not None:
        drift = DriftError(f"--locked, and the lock would change: {reason}", hint=f"run `ckptd sync {name}` without it")
        return refused(task, drift, places)
    return None


def settle(
    tasks: Iterable[Task], places: Places, emit: events.Emit, *, locked: bool = False
) -> tuple[dict[str, Outcome], list[Task]]:
    """The outcomes that need no work, by name, and the tasks that do."""
    outcomes: dict[str, Outcome] = {}
    work: list[Task] = []
    for task in tasks:
        outcome = settle_without_work(task, places, locked=locked)
        if outcome is None:
            work.append(task)
        else:
            outcomes[outcome.name] = outcome
            if outcome.error is not None:
                emit(finished(outcome))
    return outcomes, work


def finished(outcome: Outcome) -> events.Finished:
    """The event that tells an outcome."""
    error = outcome.error
    return events.Finished(
        outcome.name,
        outcome.state,
        detail=outcome.trust or "",
        error=error.message if error is not None else "",
        hint=error.hint if error is not None else "",
        size=outcome.size,
        fetched=outcome.bytes_fetched,
        kind=error.kind if error is not None else "",
    )

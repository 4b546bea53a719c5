"""Unpacked trees: made from proven archives, audited against the list of what was in them, made again from those.

What may be unpacked, and how, is `store.unpack`'s; what a difference means `core.tree`'s. A tree counts as standing
when the state says that the folder under its name was made from the locked archive and has been found good.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from sqlite3 import Connection

from ckptd.core import events, quarantine
from ckptd.core.ages import Ages
from ckptd.core.models import Checkpoint, LockEntry, Outcome, Problem, UnpackSettings
from ckptd.core.tree import Differences, compare
from ckptd.errors import StorageError
from ckptd.store import inventory, tree_modes, trees
from ckptd.store import quarantine as folder
from ckptd.store.history import Visit, add_history
from ckptd.store.places import Places, make_folder
from ckptd.store.records import DROPPED, FileRecord, load_files, save_files, tree_key
from ckptd.store.scrub import Progress
from ckptd.store.state import State

SHOWN = 10  # differing paths that are listed


class Grower:
    """Makes trees in threads of its own, beside whatever else goes on. Entered while it is needed."""

    def __init__(self, places: Places, state: State, emit: events.Emit) -> None:
        self._places = places
        self._state = state
        self._emit = emit
        self._pool = ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="ckptd-unpack")
        self._stop = threading.Event()

    def close(self) -> None:
        """End what runs: an unfinished tree is removed. Blocks."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def grow(self, checkpoint: Checkpoint, sha256: str, settings: UnpackSettings) -> tuple[str, ...]:
        """Unpack the verified archive of `checkpoint` and give the tree its name; what is odd about it.

        Raises PolicyError, IntegrityError, StorageError; then an older tree stays as it was.
        """
        self._emit(events.Noted(checkpoint.name, "unpacking"))
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        record, notes = await loop.run_in_executor(self._pool, lambda: self._grow(checkpoint, sha256, settings))
        now, seconds = time.time(), time.monotonic() - begun
        visit = Visit(now, checkpoint.name, "unpack", sha256, "sha256", record.size, seconds, "intact")
        final, keep = self._places.final(checkpoint), settings.keep_archive
        archive = f"{checkpoint.name}/{checkpoint.file_name}"

        def note(database: Connection) -> None:
            known = load_files(database).get(archive)
            gone = [] if keep or known is None else [replace(known, verdict=DROPPED)]
            save_files(database, [record, *gone])
            add_history(database, [visit])

        await self._state.do(note, durable=True)
        if not keep:
            with suppress(FileNotFoundError):
                await loop.run_in_executor(self._pool, final.unlink)
        return notes

    def _grow(
        self, checkpoint: Checkpoint, sha256: str, settings: UnpackSettings
    ) -> tuple[FileRecord, tuple[str, ...]]:
        from ckptd.store.unpack import unpack  # noqa: PLC0415 (all kinds of archives, and most runs unpack none)

        places, name = self._places, checkpoint.name
        staging = places.state / "staging" / name
        make_folder(staging.parent, places.group)
        tree = unpack(places.final(checkpoint), staging, settings, self._step, group=places.group)
        trees.save_tree(tree, places.trees, sha256, places.group)
        moved = make_way(places, name, sha256, tree.size)
        trees.publish_tree(staging, places.tree(name), places.state / "old-trees", group=places.group)
        now = time.time()
        record = FileRecord(
            path=tree_key(name),
            name=name,
            sha256=sha256,
            size=tree.size,
            stamp=inventory.tree_mark(places, name),
            trust="",
            witnesses=(),
            pieces="",
            verified_at=now,
            verdict="intact",
            ages=Ages.whole(1, now).to_json(),
        )
        return record, (*moved, *tree.notes)

    def _step(self, count: int) -> None:
        del count
        if self._stop.is_set():
            raise StorageError("stopped while unpacking")


@dataclass(frozen=True, slots=True)
class Audited:
    """What reading a tree back came to."""

    record: FileRecord
    visit: Visit
    differences: Differences | None  # None: there is no list to compare it with


def audit(places: Places, entry: LockEntry, record: FileRecord, action: str, progress: Progress) -> Audited:
    """Read a whole tree and compare. What differs is read a second time, from the medium. Blocks."""
    begun, at = time.monotonic(), time.time()
    listed = trees.load_tree(places.trees, entry.sha256)
    differences = None
    if listed is not None:
        differences = compare(listed, trees.scan(places.tree(entry.name), progress))
        if not differences.intact:
            differences = compare(listed, trees.scan(places.tree(entry.name), progress, fresh=True))
    good = differences is not None and differences.intact
    ages = Ages.from_json(record.ages)
    ages = ages.mark(0, 1, at) if good else ages.unmark(0, 1, at)
    verdict = "intact" if good else "unlisted" if differences is None else "corrupt"
    noted = replace(record, verdict=verdict, ages=ages.to_json(), verified_at=at if good else record.verified_at)
    detail = "" if good else "its tree: " + (told(differences) if differences is not None else "its list is lost")
    seconds = time.monotonic() - begun
    visit = Visit(at, entry.name, f"{action} tree", entry.sha256, "sha256", record.size, seconds, verdict, detail)
    return Audited(noted, visit, differences)


def told(differences: Differences) -> str:
    """The differences in words: what, how many, which."""
    kinds = (
        ("changed", differences.changed),
        ("missing", differences.missing),
        ("added", differences.added),
        ("unreadable", differences.unreadable),
    )
    if differences.instead:
        return f"{differences.instead} stands in its place"
    return "; ".join(f"{len(paths)} {kind} ({_listed(paths)})" for kind, paths in kinds if paths)


def _listed(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{', '.join(paths[:SHOWN])}{more}"


def loose_note(name: str, loose: tuple[str, ...]) -> tuple[str, ...]:
    """What is told of modes in a tree that is intact otherwise."""
    if not loose:
        return ()
    what = f"{len(loose)} of its tree with modes that are not as they were made ({_listed(loose)})"
    return (f"{what}; `ckptd verify --repair {name}` sets them right",)


def tightened(places: Places, name: str) -> tuple[str, ...]:
    """Set the modes in a tree right; what is to be told of that. Raises StorageError. Blocks."""
    done = tree_modes.tighten(places.tree(name), shared=places.group is not None)
    what = f"{len(done)} of its tree had modes that were not as they were made: set right ({_listed(done)})"
    return (what,) if done else ()


def make_way(places: Places, name: str, sha256: str, size: int) -> tuple[str, ...]:
    """Take what is no folder away from where a tree is to stand, into quarantine; what is to be told of that.

    A link goes itself, never what it leads to. `size`: of the tree, in bytes. Raises StorageError.
    """
    tree = places.tree(name)
    instead = inventory.foreign(tree)
    if not instead:
        return ()
    summary = f"{instead} stood in place of its tree"
    report = quarantine.Report(
        name=name,
        file=str(tree.relative_to(places.store)),
        expected_size=size,
        expected_sha256=sha256,
        expected_pieces=None,
        actual_size=None,
        actual_sha256=None,
        damage=(),
        cause="replaced",
        summary=summary,
        found_at=time.time(),
        last_good=None,
        action=quarantine.Action.REPAIRED,
    )
    return (f"{summary}; it was moved to {folder.move_in(places, report, tree)}",)


def with_tree(outcome: Outcome, audited: Audited) -> Outcome:
    """The outcome of a checkpoint whose archive came to `outcome` and whose tree was audited."""
    differences = audited.differences
    if outcome.exit_status:
        return outcome
    if differences is not None and differences.intact:
        loose = differences.modes
        return replace(outcome, loose=loose, notes=(*outcome.notes, *loose_note(outcome.name, loose)))
    hint = f"`ckptd verify --repair {outcome.name}` makes it again from its archive"
    if differences is None:
        problem = Problem("integrity", "the list of what is in its tree is lost", hint)
        return replace(outcome, state="corrupt", error=problem, exit_status=3, tree_only=True)
    only_unreadable = replace(differences, unreadable=()).intact
    state, status = ("unreadable", 5) if only_unreadable else ("corrupt", 3)
    kind = "storage" if only_unreadable else "integrity"
    problem = Problem(kind, f"its unpacked tree is not what its archive holds: {told(differences)}", hint)
    return replace(outcome, state=state, error=problem, exit_status=status, tree_only=True)

"""`prune`: what the manifest no longer names is listed, and removed when somebody says so.

The order survives a crash. The lock first, so that it never names what is not there; then each file is renamed out of
the store, forgotten, with a row in the history, and removed at last. Whatever a crash leaves is known as ours by the
records, or lies in the state, and goes with the next `prune`. What may go is decided in `core.prune`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection, Error

from ckptd.core import events
from ckptd.core.attestation import Visit
from ckptd.core.models import Lock, LockEntry, Usage
from ckptd.core.prune import Item, Kind, Plan, Rules, decide, spare
from ckptd.core.survey import Known, Survey, Wanted
from ckptd.core.urls import file_name
from ckptd.errors import BusyError, CkptdError, StorageError
from ckptd.service.tenancy import Tenancy, tenancy
from ckptd.service.workplace import Workplace
from ckptd.store import history, inventory, leases, lockfile, quarantine, removal, survey
from ckptd.store.holders import holders
from ckptd.store.places import storage_error
from ckptd.store.records import drop_partials, read_only

ACTION = "prune"  # in the history
REMOVED = "removed"  # the verdict of such a row
LOOK_SECONDS = 10.0  # for a list, to see what is in use; before something is removed it takes as long as it takes
MOST_OF_A_TREE = 8  # files of a tree that are looked for in /proc one by one, the largest first


@dataclass(slots=True)
class Pruned:
    """What there is to tell. `used` says by path who uses a thing; `spared` stays for that, `failed` for an error.

    `unseen` processes could not be looked at where nothing else tells whether a file is in use.
    """

    plan: Plan
    removed: list[Item] = field(default_factory=list)
    spared: list[Item] = field(default_factory=list)
    failed: list[tuple[Item, CkptdError]] = field(default_factory=list)
    used: dict[str, Usage] = field(default_factory=dict)
    unseen: int = 0


def look(workplace: Workplace) -> Survey:
    """All that lies in the store and its state. Raises StorageError. Reads no file bodies, needs no lock."""
    places, entries = workplace.places, workplace.lock.entries
    if entries and not places.store.is_dir():
        raise StorageError(
            f"the store {places.store} is not there, although the lock names {len(entries)} checkpoints",
            hint="is its filesystem mounted?",
        )
    locked = {name: Known(_file_of(entry), entry.sha256, entry.size) for name, entry in entries.items()}
    recorded: dict[str, tuple[Known, ...]] = {}
    for record in inventory.records(places).values():
        known = Known(record.path.partition("/")[2], record.sha256, record.size)
        recorded[record.name] = (*recorded.get(record.name, ()), known)
    digests = {name: [each.sha256 for each in known] for name, known in recorded.items()}
    for name, known in locked.items():
        digests.setdefault(name, []).append(known.sha256)
    return Survey(
        now=time.time(),
        wanted={each.name: Wanted(each.file_name, each.unpack) for each in workplace.manifest.checkpoints},
        locked=locked,
        recorded=recorded,
        names=_names(workplace),
        stored=survey.stored(places, {places.lock, workplace.path.absolute()}, digests),
        partials=survey.partials(places),
        quarantine=quarantine.listed(places),
        databases=survey.databases(places),
        tables=survey.named_by_digest(places.pieces),
        sums=survey.sums(places),
        listings=survey.named_by_digest(places.trees),
        old_trees=survey.old_trees(places),
        leftovers=survey.leftovers(places),
    )


def _file_of(entry: LockEntry) -> str:
    try:
        return file_name(entry.url)
    except ValueError:
        return ""  # the lock was edited: it names no file that could be there


def _names(workplace: Workplace) -> Collection[str]:
    connection = read_only(workplace.places.database)
    if connection is None:
        return ()
    with closing(connection):
        try:
            return history.names(connection)
        except Error:
            return ()


def listing(workplace: Workplace, rules: Rules) -> Pruned:
    """What `prune` would remove, and who uses what of it. Raises StorageError. Blocks; changes nothing."""
    found = Pruned(decide(look(workplace), rules))
    _look_who_uses(found, time.monotonic() + LOOK_SECONDS)
    return found


def _look_who_uses(found: Pruned, until: float) -> None:
    for item in found.plan.items:
        if item.visible and time.monotonic() < until:
            usage = _usage(Path(item.path), found)
            if usage is not None:
                found.used[item.path] = usage


def _usage(path: Path, found: Pruned) -> Usage | None:
    """Who has a file open or mapped, or one of a tree; None when nobody does, as far as can be told."""
    doubtful: list[Path] = []
    for file in survey.plain_files(path):
        opened = None
        with suppress(OSError):
            opened = leases.is_open(file)
        if opened:
            return holders(file)
        if opened is None:
            doubtful.append(file)
    for file in sorted(doubtful, key=_size, reverse=True)[:MOST_OF_A_TREE]:
        usage = holders(file)
        if usage.holders:
            return usage
        found.unseen = max(found.unseen, usage.unseen)
    return None


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


async def remove(workplace: Workplace, rules: Rules, *, even_if_open: bool) -> Pruned:
    """Remove what may go, but for what is in use.

    Raises BusyError, ConfigError, StorageError; then nothing has gone.
    """
    before = decide(await asyncio.to_thread(look, workplace), rules)
    if not await asyncio.to_thread(workplace.places.store.is_dir):
        return Pruned(before)
    try:
        async with tenancy(workplace.places, _untold) as tenant:
            fresh = replace(workplace, lock=await tenant.thread(tenant.ledger.refresh))
            return await _Removal(fresh, tenant).run(before, rules, even_if_open=even_if_open)
    except BusyError as busy:
        raise BusyError(
            busy.message, hint="a daemon? `systemctl stop ckptd`, prune, and start it again; or wait for the other run"
        ) from None


def _untold(event: events.Event) -> None:
    del event


class _Removal:
    """One run of it, in a store that is ours."""

    def __init__(self, workplace: Workplace, tenant: Tenancy) -> None:
        self._workplace = workplace
        self._places = workplace.places
        self._tenant = tenant

    async def run(self, before: Plan, rules: Rules, *, even_if_open: bool) -> Pruned:
        """Decide anew, now that nobody else changes anything, and act. `before`: the plan before the store was ours."""
        thread = self._tenant.thread
        seen = await thread(lambda: look(self._workplace))
        found = Pruned(decide(seen, rules))
        # Files that no record speaks of were swept when the store was taken; they are told, too.
        there = {part.path for part in seen.partials}
        found.removed += [each for each in before.items if each.kind is Kind.PARTIAL and each.path not in there]
        if not even_if_open:
            await thread(lambda: _look_who_uses(found, float("inf")))
            whole, found.plan = found.plan, spare(found.plan, seen, found.used)
            found.spared = [item for item in whole.items if item not in found.plan.items]
        await thread(lambda: self._unlock(found.plan.unlocked))
        for item in found.plan.items:
            try:
                await self._remove(item)
                found.removed.append(item)
            except CkptdError as error:
                found.failed.append((item, error))
        return found

    def _unlock(self, names: Collection[str]) -> None:
        """Take entries out of the lock, durably."""
        entries = {name: entry for name, entry in self._workplace.lock.entries.items() if name not in names}
        if names:
            lockfile.write(self._places.lock, Lock(entries))

    async def _remove(self, item: Item) -> None:
        """Remove one thing. Raises StorageError."""
        match item.kind:
            case Kind.TREE | Kind.CHECKPOINT | Kind.FILE:
                await self._take(item)
            case Kind.LOCK:
                await self._note(item)
            case Kind.FOLDER:
                await self._tenant.thread(lambda: self._drop(Path(item.path)))
            case Kind.RECORD:
                await self._note(item, f"{item.name}/{item.path}")
            case Kind.SUMS:
                await self._tenant.state.do(lambda database: removal.drop_sums(database, [item.sha256]))
            case Kind.QUARANTINE:
                await self._tenant.thread(lambda: quarantine.remove(self._places, [item.name]))
            case Kind.PARTIAL:
                await self._tenant.state.do(lambda database: drop_partials(database, [item.name]), durable=True)
                await self._tenant.thread(lambda: removal.erase(Path(item.path)))
            case Kind.OLD_TREE | Kind.DATABASE | Kind.PIECES | Kind.LISTING | Kind.LEFTOVER:
                await self._tenant.thread(lambda: removal.erase(Path(item.path)))

    async def _take(self, item: Item) -> None:
        """Out of sight, forgotten, gone."""
        path = Path(item.path)
        aside = await self._tenant.thread(lambda: removal.set_aside(self._places, path))
        await self._note(item, inventory.key(path, self._places.store))
        await self._tenant.thread(lambda: removal.erase(aside))

    async def _note(self, item: Item, key: str = "") -> None:
        """A row in the history; and what is known of the file `key` is dropped with it."""
        visit = Visit(time.time(), item.name, ACTION, item.sha256, "", 0, 0.0, REMOVED, f"{item.kind}: {item.why}")

        def write(database: Connection) -> None:
            removal.forget_files(database, [key] if key else [])
            history.add_history(database, [visit])

        await self._tenant.state.do(write, durable=True)

    def _drop(self, folder: Path) -> None:
        try:
            removal.drop_folder(folder)
        except OSError as error:
            raise storage_error(error, f"cannot remove {folder}") from error

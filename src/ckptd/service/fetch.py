"""The working part of a pass: tasks that read or download, many at once, each to its own end.

What lies there already is read here; what has to come is `service.delivery`'s. In a store that a daemon owns passes
run beside each other, on different checkpoints.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ckptd.core import events
from ckptd.core.models import OnDamage, Outcome, Trust
from ckptd.core.plan import Adopt, Check, Expectation, Fetch, Keep, Mend, Relock, kept_damaged, relocked
from ckptd.core.proof import Mismatch, Proven, demotion, prove
from ckptd.core.revision import learnt
from ckptd.errors import CkptdError, DriftError, IntegrityError
from ckptd.service.delivery import Delivery, Known, Remedy, admit
from ckptd.service.in_place import Vouching, Watch
from ckptd.service.linking import link_in
from ckptd.service.sync import Task, finished, kept, plan, refused, settle_without_work
from ckptd.service.telling import received
from ckptd.service.tenancy import Tenancy, tenancy
from ckptd.service.trees import tightened
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, scrub
from ckptd.store.places import storage_error
from ckptd.store.publish import Verified, mend_mode, save_table, stamp
from ckptd.store.records import FileRecord, load_files, load_partials
from ckptd.transfer.budget import Budget, watch_load
from ckptd.transfer.buffers import Pool
from ckptd.transfer.client import Client, Deadlines, token
from ckptd.transfer.inquire import Inquirer
from ckptd.transfer.swarm import Shared

BEHIND = 128  # checkpoints that may rest after a failure, or be proven and published, while others download

Mending = Callable[[Task, Tenancy], Awaitable[Outcome]]


class Pass:
    """One pass over a store, which is taken for it unless `tenancy` says that it is ours.

    With a `remedy` it mends what is damaged, and does nothing else. What is locked and found to be damaged otherwise is
    left to `mend`, or fetched anew where there is none. `settled` is told each outcome at once.
    """

    def __init__(
        self,
        workplace: Workplace,
        emit: events.Emit,
        *,
        locked: bool,
        update: bool,
        remedy: Remedy | None = None,
        mend: Mending | None = None,
        vouching: Vouching | None = None,
        tenancy: Tenancy | None = None,
        settled: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._workplace = workplace
        self._manifest = workplace.manifest
        self._places = workplace.places
        self._emit = emit
        self._locked = locked
        self._update = update
        self._remedy = remedy
        self._mend = mend
        self._vouching = vouching or Vouching()
        self._tenancy = tenancy
        self._settled = settled
        self._records: dict[str, FileRecord] = {}
        self._unlockable: CkptdError | None = None

    async def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Do the tasks. Raises BusyError, ConfigError, or StorageError when the store cannot be used at all."""
        for grant in self._manifest.auth:
            await token(grant)  # a token that cannot be read is said before any request
        if self._tenancy is not None:
            return await self._run(self._tenancy, tasks)
        async with tenancy(self._places, self._emit) as tenant:
            return await self._run(tenant, tasks)

    async def _run(self, tenant: Tenancy, tasks: Sequence[Task]) -> list[Outcome]:
        transfer = self._manifest.transfer
        self._tenant = tenant
        # Somebody else may have owned the store since the plan was made: what holds is what is there now.
        lock = await tenant.thread(tenant.ledger.refresh)
        self._unlockable = await tenant.thread(tenant.ledger.unlockable)
        self._records = await tenant.state.do(load_files)
        known = Known(await tenant.state.do(load_partials), self._records)
        selected = tuple(task.checkpoint for task in tasks)
        now = replace(self._workplace, lock=lock, selected=selected)
        tasks = await tenant.thread(lambda: self._plan(now))
        needed = sum(isinstance(task.action, Fetch) for task in tasks) or 1
        client = Client(
            Deadlines(transfer.connect_timeout, transfer.stall_timeout),
            self._manifest.auth,
            private_redirects=self._manifest.policy.private_redirects,
        )
        async with client:
            shared = Shared(
                client=client,
                budget=tenant.budget(transfer),
                pool=Pool(min(needed, transfer.downloads) * transfer.connections),
                settings=transfer,
                emit=self._emit,
                jitter=random.random,
            )
            self._delivery = Delivery(self._manifest, tenant, shared, known, remedy=self._remedy, locked=self._locked)
            self._watch = Watch(
                self._manifest,
                self._places,
                tenant,
                Inquirer(client, shared.budget, transfer.connect_timeout),
                self._emit,
                self._records,
                vouching=self._vouching,
                locked=self._locked,
                update=self._update,
            )
            try:
                return await self._all(tasks, shared.budget)
            finally:
                await tenant.ledger.write()

    def _plan(self, workplace: Workplace) -> list[Task]:
        tasks = plan(workplace, self._records, update=self._update)
        if self._remedy is None:
            return tasks
        remedied = [(replace(task, tree=self._remedy.regrows(task)), self._remedy.action(task)) for task in tasks]
        return [replace(task, action=action) if action is not None else task for task, action in remedied]

    async def _all(self, tasks: Sequence[Task], budget: Budget) -> list[Outcome]:
        outcomes: list[Outcome] = []
        alive = asyncio.Semaphore(self._manifest.transfer.downloads + BEHIND)

        async def one(task: Task) -> None:
            try:
                outcome = await self._one(task)
                outcomes.append(outcome)
                if self._settled is not None:
                    self._settled(outcome)
                self._emit(finished(outcome))
            finally:
                alive.release()

        tasks = sorted(tasks, key=lambda task: -task.checkpoint.priority)
        for task in tasks:
            size = task.entry.size if task.entry is not None else task.checkpoint.size
            self._emit(events.Queued(task.checkpoint.name, size, getattr(task.action, "reason", "")))
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._tenant.ledger.keep_writing())
            weather = group.create_task(watch_load(budget))
            async with asyncio.TaskGroup() as workers:
                for task in tasks:
                    await alive.acquire()
                    workers.create_task(one(task))
            writer.cancel()
            weather.cancel()
        return outcomes

    async def _one(self, task: Task) -> Outcome:
        """One checkpoint, and its tree if it is to have one, to its outcome."""
        outcome = await self._file(task)
        if outcome.error is not None or not task.checkpoint.unpack or outcome.sha256 is None:
            return outcome
        changed = task.entry is None or task.entry.sha256 != outcome.sha256
        try:
            if not (task.tree or changed):
                return await self._tighten(outcome) if task.loose else outcome
            if not await self._tenant.thread(self._places.final(task.checkpoint).exists):
                # Only its tree was kept, and that is damaged: the archive has to come again.
                outcome = await self._delivery.fetch(task, mends=True)
            if outcome.error is None:
                unpack = self._manifest.unpack
                if not any(each.unpack for each in self._manifest.checkpoints if each.name == outcome.name):
                    unpack = replace(unpack, keep_archive=True)  # a tree that was wanted once is mended beside it
                notes = await self._tenant.grower.grow(task.checkpoint, outcome.sha256 or "", unpack)
                outcome = replace(outcome, notes=(*outcome.notes, *notes))
        except CkptdError as error:
            return refused(task, error, self._places, fetched=outcome.bytes_fetched)
        return outcome

    async def _tighten(self, outcome: Outcome) -> Outcome:
        """Set the modes in a tree right. Raises StorageError."""
        notes = await self._tenant.thread(lambda: tightened(self._places, outcome.name))
        return replace(outcome, notes=(*outcome.notes, *notes))

    async def _file(self, task: Task) -> Outcome:
        """One checkpoint's file, to its outcome, whatever happens to it."""
        outcome = settle_without_work(task, self._places, locked=self._locked)
        if outcome is not None:
            return outcome
        try:
            if (task.entry is None or self._update) and not self._locked and self._unlockable is not None:
                raise self._unlockable  # before anything is fetched for it
            match task.action:
                case Keep():
                    return kept(task, self._places)
                case Relock():
                    return self._relock(task)
                case Check(adopt=adopt):
                    return await self._look_closer(task, adopt=adopt)
                case Fetch(mends=mends):
                    return await self._fetch(task, mends=mends)
                case Adopt():
                    return await self._take_in(task, task.action)
                case Mend():
                    return await self._delivery.mend(task, task.action)
                case _:
                    raise AssertionError(task.action)
        except DriftError as error:
            told = error if self._remedy is None else await self._remedy.hold(task, error)
            return refused(task, told, self._places)
        except CkptdError as error:
            return refused(task, error, self._places)
        except OSError as error:
            return refused(task, storage_error(error, task.checkpoint.name), self._places)

    def _relock(self, task: Task) -> Outcome:
        """Lock the entry of bytes that are right anew; what is to be said about it."""
        outcome = kept(task, self._places)
        if task.entry is None:
            return outcome
        entry = relocked(task.checkpoint, task.entry)
        notes = demotion(task.entry, entry, "its pin is gone from the manifest")
        for note in notes:
            self._emit(events.Noted(entry.name, note))
        self._tenant.ledger.enter(entry, frozen=self._locked)
        return replace(outcome, trust=entry.trust, notes=notes or outcome.notes)

    # --- what is there already -----------------------------------------------------------------------------------

    async def _look_closer(self, task: Task, *, adopt: bool) -> Outcome:
        """Read what is there; where it is not what it should be, and ours, it is fetched."""
        if task.in_place:
            return await self._watch.check(task)
        keep = self._manifest.verify.on_damage is OnDamage.KEEP
        condemned = task.found is not None and task.found.condemned and not (adopt or keep)
        if not condemned or self._mend is None:  # else the mending begins with reading it
            outcome = await self._check(task, adopt=adopt)
            if outcome is not None:
                return outcome
        if keep and task.entry is not None:
            kept = kept_damaged(task.checkpoint.name, "its bytes are not what is locked")
            raise IntegrityError(kept.message, hint=kept.hint)
        if adopt:  # an update that ended before its lock was written: it is finished, not undone
            return await self._delivery.fetch(task, mends=True)
        return await self._fetch(task, mends=True)

    async def _fetch(self, task: Task, *, mends: bool) -> Outcome:
        """Download it, or of what is locked and damaged only that."""
        if mends and task.entry is not None and self._mend is not None:
            return await self._mend(task, self._tenant)
        return await self._delivery.fetch(task, mends=mends)

    async def _take_in(self, task: Task, action: Adopt) -> Outcome:
        """Take in a file that is elsewhere on this machine."""
        if action.link:
            return await link_in(task, action, self._manifest, self._tenant, self._emit)
        return await self._delivery.adopt(task, action)

    async def _check(self, task: Task, *, adopt: bool) -> Outcome | None:
        """Read a file that is under its final name; None when it is not what it should be."""
        checkpoint, final, begun = task.checkpoint, self._places.final(task.checkpoint), time.monotonic()
        self._emit(events.Started(checkpoint.name, task.found.size if task.found is not None else None))
        progress = received(checkpoint.name, self._emit)
        before = await self._tenant.thread(final.lstat)
        whole = await self._tenant.thread(lambda: scrub.whole_digests(final, progress))
        size, sha256 = whole.size, whole.sha256
        record = self._records.get(inventory.key_of(checkpoint))
        expected = task.expected
        if adopt and record is not None and not expected.pinned:
            # What was proven when it was published; the lock, if it has an entry, still has the one before.
            expected = Expectation(record.sha256, record.size)
        digests = {"sha256": bytes.fromhex(sha256)}
        proof = prove(expected, size, digests, ())
        if isinstance(proof, Mismatch):
            self._emit(events.Noted(checkpoint.name, f"what is there is damaged ({proof.message})"))
            return None
        if expected.locked is None and record is not None and record.sha256 == sha256 and not expected.pinned:
            proof = Proven(sha256, Trust(record.trust), record.witnesses)
        admit(self._manifest, proof, expected, confirmed=True)
        verified = Verified(checkpoint, final, size, proof, whole.table, whole.sums)
        if record is not None and record.sha256 == sha256:
            revision = learnt(checkpoint.url, expected.locked, record.validators)
            verified = replace(verified, digests=record.digests, validators=record.validators, revision=revision)
        await self._tenant.thread(lambda: mend_mode(final, self._places.group))
        await self._tenant.thread(lambda: save_table(verified, self._places))
        seconds = time.monotonic() - begun
        await self._tenant.ledger.record(verified, stamp(before), action="adopt", read=size, seconds=seconds)
        entry = verified.entry
        self._tenant.ledger.enter(entry, frozen=self._locked)
        return Outcome(
            name=checkpoint.name,
            state="present",
            size=size,
            sha256=sha256,
            trust=entry.trust,
            path=str(final),
            bytes_reused=size,
        )

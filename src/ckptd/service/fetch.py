"""The working part of a pass: tasks that read or download, many at once, each to its own end.

A download slot is held only while bytes come over the network; digests, proof and publication go on behind it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from typing import TypeVar

from ckptd.core import events
from ckptd.core.models import Outcome, Trust
from ckptd.core.plan import Check, Expectation, Fetch, Relock, relocked
from ckptd.core.proof import BrokenPromiseError, Mismatch, Proven, admissible, after_mismatches, prove
from ckptd.core.urls import normalise, rewrite
from ckptd.errors import CkptdError, StorageError
from ckptd.service.ledger import Ledger
from ckptd.service.sync import Task, finished, kept, plan, refused, settle_without_work
from ckptd.service.workplace import Workplace
from ckptd.store import disk, inventory, lockfile, scrub
from ckptd.store.owner import Owner
from ckptd.store.partials import Partial, sweep
from ckptd.store.places import prepare, storage_error
from ckptd.store.publish import Verified, mend_mode, save_table, stamp
from ckptd.store.records import FileRecord, PartialRecord, load_files, load_partials
from ckptd.store.state import State
from ckptd.transfer.budget import Budget, watch_load
from ckptd.transfer.buffers import Pool
from ckptd.transfer.client import Client, Deadlines, token
from ckptd.transfer.download import Download, Landed, Want
from ckptd.transfer.swarm import Shared

T = TypeVar("T")
BEHIND = 32  # checkpoints that may be proven and published while others download
LAST_CARE = 10.0  # seconds to save what is there when stopped


class Pass:
    """One pass over a store that we own."""

    def __init__(self, workplace: Workplace, emit: events.Emit, *, locked: bool, update: bool) -> None:
        self._workplace = workplace
        self._manifest = workplace.manifest
        self._places = workplace.places
        self._emit = emit
        self._locked = locked
        self._update = update
        self._slots = asyncio.Semaphore(self._manifest.transfer.downloads)
        self._partials: dict[str, PartialRecord] = {}
        self._records: dict[str, FileRecord] = {}
        self._full: StorageError | None = None  # the disk refused bytes: begin no further download

    async def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Do the tasks. Raises BusyError, ConfigError, or StorageError when the store cannot be used at all."""
        transfer = self._manifest.transfer
        for grant in self._manifest.auth:
            await token(grant)  # a token that cannot be read is said before any request
        async with AsyncExitStack() as stack:
            await self._open(stack)
            # Somebody else may have owned the store since the plan was made: what holds is what is there now.
            lock = await self._thread(lambda: lockfile.read(self._places.lock))
            self._records = await self._state.do(load_files)
            selected = tuple(task.checkpoint for task in tasks)
            now = replace(self._workplace, lock=lock, selected=selected)
            tasks = await self._thread(lambda: plan(now, self._records, update=self._update))
            self._ledger = Ledger(lock, self._places, self._state, self._pool, frozen=self._locked)
            self._partials = await self._state.do(load_partials)
            kept_files = {record.file for record in self._partials.values()}
            await self._thread(lambda: sweep(self._places, kept_files))
            needed = sum(isinstance(task.action, Fetch) for task in tasks) or 1
            client = Client(
                Deadlines(transfer.connect_timeout, transfer.stall_timeout),
                self._manifest.auth,
                private_redirects=self._manifest.policy.private_redirects,
            )
            self._shared = Shared(
                client=await stack.enter_async_context(client),
                budget=Budget(transfer.connections_per_host, transfer.connections, transfer.bandwidth),
                pool=Pool(min(needed, transfer.downloads) * transfer.connections),
                settings=transfer,
                emit=self._emit,
                jitter=random.random,
            )
            try:
                return await self._all(tasks)
            finally:
                await self._ledger.write()

    async def _open(self, stack: AsyncExitStack) -> None:
        """Take the store, open its state. Off the event loop: a network filesystem may take its time."""

        def begin() -> tuple[State, ExitStack]:
            prepare(self._places)
            disk.boot_id()
            with ExitStack() as held:
                held.enter_context(Owner(self._places.state))
                state = held.enter_context(State(self._places.database))
                self._pool = disk.workers()
                held.callback(self._pool.shutdown)
                return state, held.pop_all()

        self._state, held = await asyncio.to_thread(begin)
        stack.push_async_callback(asyncio.to_thread, held.close)
        if self._state.note:
            self._emit(events.Noted("state", self._state.note))

    async def _all(self, tasks: Sequence[Task]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        alive = asyncio.Semaphore(self._manifest.transfer.downloads + BEHIND)

        async def one(task: Task) -> None:
            try:
                outcome = await self._one(task)
                outcomes.append(outcome)
                self._emit(finished(outcome))
            finally:
                alive.release()

        for task in tasks:
            size = task.entry.size if task.entry is not None else task.checkpoint.size
            self._emit(events.Queued(task.checkpoint.name, size, getattr(task.action, "reason", "")))
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._ledger.keep_writing())
            weather = group.create_task(watch_load(self._shared.budget))
            async with asyncio.TaskGroup() as workers:
                for task in tasks:
                    await alive.acquire()
                    workers.create_task(one(task))
            writer.cancel()
            weather.cancel()
        return outcomes

    async def _one(self, task: Task) -> Outcome:
        """One checkpoint, to its outcome, whatever happens to it."""
        outcome = settle_without_work(task, self._places, locked=self._locked)
        if outcome is not None:
            return outcome
        try:
            match task.action:
                case Relock():
                    self._enter(task)
                    return kept(task, self._places)
                case Check(adopt=adopt):
                    outcome = await self._check(task, adopt=adopt)
                    if outcome is not None:
                        return outcome
                    return await self._fetch(task, mends=True)
                case Fetch(mends=mends):
                    return await self._fetch(task, mends=mends)
                case _:
                    raise AssertionError(task.action)
        except CkptdError as error:
            return refused(task, error, self._places)
        except OSError as error:
            return refused(task, storage_error(error, task.checkpoint.name), self._places)

    def _enter(self, task: Task) -> None:
        if task.entry is not None:
            entry = relocked(task.checkpoint, task.entry)
            if entry.trust.rank > task.entry.trust.rank:
                text = f"trust goes down from {task.entry.trust} to {entry.trust}: its pin is gone from the manifest"
                self._emit(events.Noted(entry.name, text))
            self._ledger.enter(entry)

    # --- what is there already -----------------------------------------------------------------------------------

    async def _check(self, task: Task, *, adopt: bool) -> Outcome | None:
        """Read a file that is under its final name; None when it is not what it should be."""
        checkpoint, final, begun = task.checkpoint, self._places.final(task.checkpoint), time.monotonic()
        self._emit(events.Started(checkpoint.name, task.found.size if task.found is not None else None))
        loop = asyncio.get_running_loop()

        def read(count: int) -> None:
            loop.call_soon_threadsafe(self._emit, events.Received(checkpoint.name, count))

        before = await self._thread(final.lstat)
        size, sha256, table = await self._thread(lambda: scrub.whole_digests(final, read))
        record = self._records.get(inventory.key(final, self._places.store))
        expected = task.expected
        if adopt and record is not None and not expected.pinned:
            # What was proven when it was published; the lock, if it has an entry, still has the one before.
            expected = Expectation(record.sha256, record.size)
        digests = {"sha256": bytes.fromhex(sha256), "pieces": table}
        proof = prove(expected, size, digests, ())
        if isinstance(proof, Mismatch):
            self._emit(events.Noted(checkpoint.name, f"what is there is damaged ({proof.message}); fetching it"))
            return None
        if expected.locked is None and record is not None and record.sha256 == sha256 and not expected.pinned:
            proof = Proven(sha256, Trust(record.trust), record.witnesses)
        self._admit(proof, expected, confirmed=True)
        verified = Verified(checkpoint, final, size, proof, table)
        await self._thread(lambda: mend_mode(final, self._places.group))
        await self._thread(lambda: save_table(verified, self._places))
        await self._ledger.record(verified, stamp(before), action="adopt", read=size, seconds=time.monotonic() - begun)
        entry = verified.entry
        self._ledger.enter(entry)
        return Outcome(
            name=checkpoint.name,
            state="present",
            size=size,
            sha256=sha256,
            trust=entry.trust,
            path=str(final),
            bytes_reused=size,
        )

    # --- what has to come ----------------------------------------------------------------------------------------

    async def _fetch(self, task: Task, *, mends: bool) -> Outcome:
        name = task.checkpoint.name
        if self._full is not None:
            raise StorageError(f"not begun, because the disk is failing: {self._full.message}", hint=self._full.hint)
        loop = asyncio.get_running_loop()
        partial = Partial(
            name,
            task.checkpoint.url,
            self._places,
            self._state,
            self._pool,
            lambda done: self._emit(events.Hashed(name, done)),
        )
        begun = loop.time()
        fetched = _Counter()
        try:
            await partial.resume(self._partials.get(name))
            reused = partial.written.size
            total, proof, digests = await self._until_proven(task, partial, fetched)
            self._emit(events.Publishing(name))
            reused = max(0, min(reused, total - fetched.count))
            verified = Verified(task.checkpoint, partial.path, total, proof, digests["pieces"])
            return await self._finish(task, partial, verified, fetched.count, reused, loop.time() - begun, mends=mends)
        except CkptdError as error:
            self._heed(error)
            return refused(task, error, self._places, fetched=fetched.count)
        finally:
            await self._shelve(partial)

    def _heed(self, error: CkptdError) -> None:
        """When the disk refuses bytes, no further download is begun: it would only fail, and trouble the origin."""
        if isinstance(error, StorageError) and self._full is None:
            self._full = error

    async def _until_proven(
        self, task: Task, partial: Partial, fetched: _Counter
    ) -> tuple[int, Proven, dict[str, bytes]]:
        """Fetch until the bytes are what was promised. Raises CkptdError."""
        urls = self._urls(task)
        mismatches: list[Mismatch] = []
        while True:
            turn = len(mismatches) % len(urls)
            want = Want(
                task.checkpoint.name,
                task.checkpoint.file_name,
                urls[turn:] + urls[:turn],
                task.expected,
                fresh=bool(mismatches),
            )
            try:
                landed = await self._download(want, partial, fetched)
            except BrokenPromiseError as broken:
                wrong = broken.mismatch
            else:
                digests = landed.digests
                if digests is None:
                    digests = await partial.digests(landed.total)
                proof = prove(task.expected, landed.total, digests, partial.witnesses)
                if isinstance(proof, Proven):
                    self._admit(proof, task.expected, confirmed=landed.confirmed)
                    return landed.total, proof, digests
                wrong = proof
                await partial.begin_again()
            mismatches.append(wrong)
            error = after_mismatches(task.checkpoint.name, mismatches, len(urls))
            if error is not None:
                raise error
            self._emit(events.Rewound(task.checkpoint.name, partial.written.size, f"{wrong.message}; trying once more"))

    async def _download(self, want: Want, partial: Partial, fetched: _Counter) -> Landed:
        async with self._slots:
            self._emit(events.Started(want.name, partial.total, partial.written.size))
            download = Download(want, partial, self._shared)
            try:
                return await download.run()
            finally:
                fetched.count += download.received

    def _urls(self, task: Task) -> tuple[str, ...]:
        """Where the bytes may come from, in the order of trying."""
        named = (task.checkpoint.url, *task.checkpoint.mirrors)
        return tuple(dict.fromkeys(each for url in named for each in rewrite(normalise(url), self._manifest.sources)))

    def _admit(self, proof: Proven, expected: Expectation, *, confirmed: bool) -> None:
        error = admissible(proof, self._manifest.policy.require, confirmed=confirmed, expected=expected)
        if error is not None:
            raise error

    async def _finish(
        self,
        task: Task,
        partial: Partial,
        verified: Verified,
        fetched: int,
        reused: int,
        seconds: float,
        *,
        mends: bool,
    ) -> Outcome:
        """Publish, unless the very same bytes are there already."""
        entry, state = verified.entry, "repaired" if mends else "fetched"
        same = task.found is not None and task.found.unchanged and task.found.sha256 == entry.sha256
        if same:
            await partial.begin_again()
            self._ledger.enter(entry)
            state = "present"
        else:
            await self._ledger.publish(verified, fetched=fetched, seconds=seconds)
            partial.finished = True
        return Outcome(
            name=entry.name,
            state=state,
            size=entry.size,
            sha256=entry.sha256,
            trust=entry.trust,
            path=str(self._places.final(task.checkpoint)),
            bytes_fetched=fetched,
            bytes_reused=reused,
        )

    async def _shelve(self, partial: Partial) -> None:
        """Save what is there of an unfinished download; also when we are being stopped."""
        with suppress(CkptdError, TimeoutError):
            async with asyncio.timeout(LAST_CARE):
                if partial.fd >= 0 and partial.error is None and not partial.finished:
                    await partial.drained()
                    await partial.remember(force=True)
        await partial.close()

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class _Counter:
    """Bytes fetched for one checkpoint, over all its attempts."""

    def __init__(self) -> None:
        self.count = 0

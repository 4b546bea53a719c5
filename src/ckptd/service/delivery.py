"""Bytes that have to come: one checkpoint's way from its sources, through proof, into its place.

A download slot is held only while bytes come over the network; digests, proof and publication go on behind it. Which
checkpoints, and why, is the pass's business (`service.fetch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ckptd.core import events
from ckptd.core.models import LockEntry, Manifest, Outcome, Trust
from ckptd.core.plan import Adopt, Expectation, Fetch, Mend
from ckptd.core.proof import (
    BrokenPromiseError,
    Mismatch,
    Proven,
    admissible,
    after_mismatches,
    coded_on_the_way,
    demotion,
    prove,
    still_vouched,
)
from ckptd.core.ranges import Extents
from ckptd.core.remedy import mending
from ckptd.core.revision import learnt, steady
from ckptd.core.units import format_size
from ckptd.core.urls import normalise, rewrite
from ckptd.errors import (
    CkptdError,
    DriftError,
    IntegrityError,
    NetworkError,
    OriginError,
    PolicyError,
    StorageError,
)
from ckptd.service.sync import Task, refused
from ckptd.service.tenancy import Tenancy
from ckptd.store import inventory
from ckptd.store.digests import others
from ckptd.store.partials import Partial
from ckptd.store.publish import Verified
from ckptd.store.records import FileRecord, PartialRecord, save_origin
from ckptd.transfer.download import Download, Landed, Want
from ckptd.transfer.slots import Place, Slots
from ckptd.transfer.swarm import Shared

SMALL = 64 * 1024 * 1024  # bytes
DONE = {"fetch": "fetched", "repair": "repaired", "adopt": "adopted"}  # what the history calls it -> the state
LAST_CARE = 10.0  # seconds to save what is there when stopped


class Remedy(Protocol):
    """What a pass that repairs does otherwise than one that fetches (`service.repair`)."""

    def action(self, task: Task) -> Mend | Fetch | Adopt | None:
        """What is to be done about this checkpoint; None when there is nothing to mend any more."""
        ...

    def regrows(self, task: Task) -> bool:
        """Whether its tree is made again, whatever is known of the one that stands."""
        ...

    async def secure(self, task: Task) -> None:
        """Keep the damaged bytes, before proven ones take their place. Raises StorageError."""
        ...

    async def hold(self, task: Task, error: DriftError) -> CkptdError:
        """Nobody serves the locked bytes any more: what becomes of the damaged ones, and what to tell."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What the state knows at the beginning of a pass: unfinished downloads by name, stored files by path."""

    partials: Mapping[str, PartialRecord]
    records: Mapping[str, FileRecord]


class Delivery:
    """Brings checkpoints into a store that we own. With a `remedy` what they replace is kept as evidence."""

    def __init__(
        self,
        manifest: Manifest,
        tenancy: Tenancy,
        shared: Shared,
        known: Known,
        *,
        remedy: Remedy | None,
        locked: bool,
    ) -> None:
        self._manifest = manifest
        self._tenancy = tenancy
        self._shared = shared
        self._emit = shared.emit
        self._known = known
        self._remedy = remedy
        self._locked = locked
        self._slots = Slots(manifest.transfer.downloads)
        self._full: StorageError | None = None  # the disk refused bytes: begin no further download

    async def fetch(self, task: Task, *, mends: bool) -> Outcome:
        """Download what is missing, going on from what an earlier run left."""

        async def work(partial: Partial, fetched: _Counter) -> _Arrived:
            lost = await partial.resume(self._known.partials.get(task.checkpoint.name))
            if lost:
                text = f"{format_size(lost)} of what was here changed on the disk, and will be fetched again"
                self._emit(events.Noted(task.checkpoint.name, text))
            reused = partial.written.size
            total, proof, digests = await self._from_sources(task, partial, fetched)
            return _Arrived(total, proof, digests, max(0, min(reused, total - fetched.count)))

        return await self._into_place(task, work, "repair" if mends else "fetch")

    async def mend(self, task: Task, action: Mend) -> Outcome:
        """Take the good bytes of what is there, fetch the others."""

        async def work(partial: Partial, fetched: _Counter) -> _Arrived:
            total, proof, digests = await self._until_mended(task, action, partial, fetched)
            return _Arrived(total, proof, digests, total - fetched.count)

        return await self._into_place(task, work, "repair")

    async def adopt(self, task: Task, action: Adopt) -> Outcome:
        """Take the bytes from a file that is elsewhere on this machine, which stays as it is."""

        async def work(partial: Partial, fetched: _Counter) -> _Arrived:
            del fetched
            whole = Extents.of((0, action.size))
            await partial.seed(Path(action.path), whole, action.size, {}, witnesses=action.witnesses)
            digests = await partial.digests(action.size)
            proof = adoptable(self._manifest, task, action, digests)
            return _Arrived(action.size, proof, digests, action.size)

        return await self._into_place(task, work, "adopt")

    async def _into_place(
        self, task: Task, work: Callable[[Partial, _Counter], Awaitable[_Arrived]], action: str
    ) -> Outcome:
        """Have `work` fill a partial with proven bytes, and publish them; the history calls that `action`."""
        name = task.checkpoint.name
        if self._full is not None:
            raise StorageError(f"not begun, because the disk is failing: {self._full.message}", hint=self._full.hint)
        loop = asyncio.get_running_loop()
        partial = Partial(
            name,
            task.checkpoint.url,
            self._tenancy.places,
            self._tenancy.state,
            self._tenancy.pool,
            lambda done: self._emit(events.Hashed(name, done)),
            vouched=task.expected.digest_known,
        )
        begun = loop.time()
        fetched = _Counter()
        try:
            arrived = await work(partial, fetched)
            digests = arrived.digests
            self._emit(events.Publishing(name))
            verified = Verified(
                task.checkpoint,
                partial.path,
                arrived.total,
                arrived.proof,
                digests["pieces"],
                digests["blocks"],
                others(digests),
                dict(partial.validators),
                revision=learnt(task.checkpoint.url, task.expected.locked, partial.validators),
            )
            if action == "repair" and self._remedy is not None:
                await self._remedy.secure(task)
            seconds = loop.time() - begun
            return await self._finish(task, partial, verified, fetched.count, arrived.reused, seconds, action)
        except DriftError as error:
            if self._remedy is None:
                return refused(task, error, self._tenancy.places, fetched=fetched.count)
            raise
        except CkptdError as error:
            self._heed(error)
            return refused(task, error, self._tenancy.places, fetched=fetched.count)
        finally:
            await self._shelve(partial)

    def _heed(self, error: CkptdError) -> None:
        """When the disk refuses bytes, no further download is begun: it would only fail, and trouble the origin."""
        if isinstance(error, StorageError) and self._full is None:
            self._full = error

    async def _from_sources(
        self, task: Task, partial: Partial, fetched: _Counter
    ) -> tuple[int, Proven, dict[str, bytes]]:
        """Fetch what was promised: of a repository first at the locked commit, then at what its URL means by now.

        Raises CkptdError.
        """
        urls = self._urls(task)
        first = self._steady(task, urls)
        if first:
            try:
                return await self._until_proven(task, first, partial, fetched)
            except (NetworkError, OriginError, IntegrityError, DriftError) as error:
                if isinstance(error, NetworkError) and len(first) == 1:
                    raise  # the same host is no nearer at its other address
                self._emit(events.Noted(task.checkpoint.name, f"{error.message}; trying what its URL means now"))
        return await self._until_proven(task, urls, partial, fetched)

    async def _until_proven(
        self, task: Task, urls: tuple[str, ...], partial: Partial, fetched: _Counter
    ) -> tuple[int, Proven, dict[str, bytes]]:
        """Fetch from `urls` until the bytes are what was promised. Raises CkptdError."""
        mismatches: list[Mismatch] = []
        while True:
            turn = len(mismatches) % len(urls)
            want = Want(
                task.checkpoint.name,
                task.checkpoint.file_name,
                urls[turn:] + urls[:turn],
                task.expected,
                fresh=bool(mismatches),
                refresh=task.checkpoint.refresh,
                url=normalise(task.checkpoint.url),
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
                    proof = still_vouched(proof, task.entry)
                    admit(self._manifest, proof, task.expected, confirmed=landed.confirmed)
                    return landed.total, proof, digests
                wrong = coded_on_the_way(proof, landed.foreign)
                await partial.begin_again()
            mismatches.append(wrong)
            error = after_mismatches(task.checkpoint.name, mismatches, len(urls))
            if error is not None:
                raise error
            self._emit(events.Rewound(task.checkpoint.name, partial.written.size, f"{wrong.message}; trying once more"))

    async def _until_mended(
        self, task: Task, action: Mend, partial: Partial, fetched: _Counter
    ) -> tuple[int, Proven, dict[str, bytes]]:
        """Fetch the damaged ranges until the whole is what is locked. Raises CkptdError.

        First the ranges as narrow as they are known, then the whole pieces that they are in; from each source once.
        Where no source calls the file what it called it before, nothing says that a part of it would fit: then only the
        whole is asked for, and its SHA-256 decides.
        """
        checkpoint, final, urls = task.checkpoint, self._tenancy.places.final(task.checkpoint), self._urls(task)
        urls = tuple(dict.fromkeys((*self._steady(task, urls), *urls)))
        record = self._known.records.get(inventory.key_of(checkpoint))
        # A pin need not say the size; the lock, whose bytes these are, always does.
        total = task.expected.size or (task.entry.size if task.entry is not None else 0)
        wrong, apart = "", False
        for attempt in mending(action, total, len(urls)):
            if apart and not attempt.covers(total):
                continue
            good = Extents(Extents.of(*attempt.damage).gaps(total))
            known = record.validators if record is not None and record.sha256 == task.expected.sha256 else {}
            await partial.seed(final, good, total, known, attempt.flips)
            want = Want(
                checkpoint.name,
                checkpoint.file_name,
                urls[attempt.source :],
                task.expected,
                mends=True,
                refresh=checkpoint.refresh,
                url=normalise(checkpoint.url),
            )
            try:
                landed = await self._download(want, partial, fetched)
            except BrokenPromiseError as broken:
                wrong = broken.mismatch.message
                continue
            except DriftError as error:
                wrong, apart = error.message, True
                continue
            digests = landed.digests
            if digests is None:
                digests = await partial.digests(landed.total)
            proof = prove(task.expected, landed.total, digests, ())
            if isinstance(proof, Proven):
                return landed.total, proof, digests
            wrong = proof.message
        raise DriftError(f"none of its sources serves the locked bytes any more: {wrong}")

    async def _download(self, want: Want, partial: Partial, fetched: _Counter) -> Landed:
        size = partial.total if partial.total is not None else want.expected.size
        small = size is not None and size - partial.written.size <= SMALL
        async with Place(self._slots, small=small) as place:
            self._emit(events.Started(want.name, partial.total, partial.written.size))
            download = Download(want, partial, self._shared, place)
            try:
                return await download.run()
            finally:
                fetched.count += download.received

    def _urls(self, task: Task) -> tuple[str, ...]:
        """Where the bytes may come from, in the order of trying."""
        named = (task.checkpoint.url, *task.checkpoint.mirrors)
        return tuple(dict.fromkeys(each for url in named for each in rewrite(normalise(url), self._manifest.sources)))

    def _steady(self, task: Task, urls: tuple[str, ...]) -> tuple[str, ...]:
        """`urls` with the locked commit in place of a revision that moves; empty where there is none, or to be none."""
        checkpoint = task.checkpoint
        return () if checkpoint.refresh else steady(checkpoint.url, urls, task.expected.locked)

    async def _finish(
        self,
        task: Task,
        partial: Partial,
        verified: Verified,
        fetched: int,
        reused: int,
        seconds: float,
        action: str,
    ) -> Outcome:
        """Publish, unless the very same bytes are there already."""
        entry, state = verified.entry, DONE[action]
        same = task.found is not None and task.found.unchanged and task.found.sha256 == entry.sha256
        if same:
            await partial.begin_again()
            path = inventory.key_of(task.checkpoint)
            await self._tenancy.state.do(lambda database: save_origin(database, path, verified.validators))
            self._tenancy.ledger.enter(entry, frozen=self._locked)
            state = "present"
        else:
            await self._tenancy.ledger.publish(
                verified,
                action=action,
                fetched=fetched,
                seconds=seconds,
                frozen=self._locked,
            )
            partial.finished = True
        notes = self._demoted(task, entry)
        return Outcome(
            name=entry.name,
            notes=notes,
            state=state,
            size=entry.size,
            sha256=entry.sha256,
            trust=entry.trust,
            path=str(self._tenancy.places.final(task.checkpoint)),
            bytes_fetched=fetched,
            bytes_reused=reused,
        )

    def _demoted(self, task: Task, entry: LockEntry) -> tuple[str, ...]:
        """What is to be said where the lock trusts an entry less than before."""
        notes = demotion(task.entry, entry, "nobody vouches for it as before")
        for note in notes:
            self._emit(events.Noted(entry.name, note))
        return notes

    async def _shelve(self, partial: Partial) -> None:
        """Save what is there of an unfinished download; also when we are being stopped."""
        with suppress(CkptdError, TimeoutError):
            async with asyncio.timeout(LAST_CARE):
                if partial.seeded and not partial.finished:
                    await partial.begin_again()
                elif partial.fd >= 0 and not partial.finished:
                    with suppress(StorageError):  # what was written before the disk refused more is good
                        await partial.drained()
                    await partial.remember(force=True)
        await partial.close()


def admit(manifest: Manifest, proof: Proven, expected: Expectation, *, confirmed: bool) -> None:
    """Whether proven bytes may be published under the manifest's policy. Raises PolicyError, OriginError."""
    error = admissible(proof, manifest.policy.require, confirmed=confirmed, expected=expected)
    if error is not None:
        raise error


def adoptable(manifest: Manifest, task: Task, action: Adopt, digests: Mapping[str, bytes]) -> Proven:
    """What proves the bytes of a file that is to be taken in. Raises IntegrityError, PolicyError."""
    proof = prove(task.expected, action.size, digests, action.witnesses)
    if isinstance(proof, Mismatch):
        raise IntegrityError(f"{action.path} is not what is wanted: {proof.message}")
    if not task.expected.digest_known and proof.trust is Trust.FIRST_USE:
        hint = f'pin it, if you know that it is right: sha256 = "{digests["sha256"].hex()}"'
        raise PolicyError(f"nothing vouches for {action.path}: no pin, no lock, no digest of its origin", hint=hint)
    admit(manifest, proof, task.expected, confirmed=True)
    return proof


@dataclass(frozen=True, slots=True)
class _Arrived:
    """Proven bytes in a partial: how many, what proves them, their digests, how many of them were here already."""

    total: int
    proof: Proven
    digests: dict[str, bytes]
    reused: int


class _Counter:
    """Bytes fetched for one checkpoint, over all its attempts."""

    def __init__(self) -> None:
        self.count = 0

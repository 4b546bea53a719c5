"""Files that are watched in place: read, proven and locked where somebody else keeps them.

Such a file is never written, renamed, removed, nor given another mode: what is not as it should be is told. What
becomes of one is planned in `core.plan`; reading it again later is the same as for any other file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ckptd.core import events
from ckptd.core.drift import Answer
from ckptd.core.models import Manifest, Outcome, Trust
from ckptd.core.plan import in_place_hint
from ckptd.core.proof import Mismatch, Promise, Proven, prove
from ckptd.core.urls import strip_for_lock
from ckptd.errors import CkptdError, DriftError, IntegrityError, PolicyError
from ckptd.service.delivery import admit
from ckptd.service.sync import Task
from ckptd.service.telling import received
from ckptd.service.tenancy import Tenancy
from ckptd.service.vouching import published
from ckptd.store import inventory, scrub
from ckptd.store.digests import others
from ckptd.store.places import Places
from ckptd.store.publish import Verified, save_table, stamp
from ckptd.store.records import FileRecord
from ckptd.transfer.inquire import Inquirer


@dataclass(frozen=True, slots=True)
class Vouching:
    """Who is to vouch for bytes that neither pin nor lock knows. `ask`: whether origins may be asked for their digests;
    `needed`: whether somebody has to, as for `adopt`, or first use is enough."""

    ask: bool = True
    needed: bool = False


class Watch:
    """Proves files that are watched in place, for a store that is ours. `update`: what they are now may be locked."""

    def __init__(
        self,
        manifest: Manifest,
        places: Places,
        tenancy: Tenancy,
        inquirer: Inquirer,
        emit: events.Emit,
        records: Mapping[str, FileRecord],
        *,
        vouching: Vouching,
        locked: bool,
        update: bool,
    ) -> None:
        self._manifest = manifest
        self._places = places
        self._tenancy = tenancy
        self._inquirer = inquirer
        self._emit = emit
        self._records = records
        self._vouching = vouching
        self._locked = locked
        self._update = update

    async def check(self, task: Task) -> Outcome:
        """Read the file of a task, prove it, lock it. Raises CkptdError, OSError; then nothing is locked."""
        checkpoint, places, begun = task.checkpoint, self._places, time.monotonic()
        final = places.final(checkpoint)
        self._emit(events.Started(checkpoint.name, task.found.size if task.found is not None else None))
        answer = await self._ask(task)
        witnesses = answer.witnesses if answer is not None else ()
        progress = received(checkpoint.name, self._emit)

        def read() -> tuple[str, scrub.Whole]:
            path = places.opened(final)
            mark = stamp(path.lstat())
            return mark, scrub.whole_digests(path, progress, algorithms={each.algorithm for each in witnesses})

        mark, whole = await self._tenancy.thread(read)
        expected = task.expected
        if task.entry is not None and task.entry.sha256 == whole.sha256:
            expected = replace(expected, locked=task.entry)
        digests = {"sha256": bytes.fromhex(whole.sha256), **whole.digests}
        proof = prove(expected, whole.size, digests, witnesses)
        if isinstance(proof, Mismatch):
            raise self._refusal(task, proof)
        self._check_vouched(task, proof, answer, whole)
        admit(self._manifest, proof, expected, confirmed=True)
        verified = Verified(checkpoint, final, whole.size, proof, whole.table, whole.sums, others(whole.digests))
        record = self._records.get(inventory.key_of(checkpoint))
        if record is not None and record.sha256 == whole.sha256:
            known = {**record.digests, **verified.digests}
            verified = replace(verified, digests=known, validators=record.validators)
        await self._tenancy.thread(lambda: save_table(verified, places))
        seconds = time.monotonic() - begun
        await self._tenancy.ledger.record(verified, mark, action="adopt", read=whole.size, seconds=seconds)
        entry = verified.entry
        self._tenancy.ledger.enter(entry, frozen=self._locked)
        return Outcome(
            name=checkpoint.name,
            state="present",
            size=entry.size,
            sha256=entry.sha256,
            trust=entry.trust,
            path=str(final),
            bytes_reused=whole.size,
        )

    async def _ask(self, task: Task) -> Answer | None:
        """What its origin says of the file, where neither pin nor lock is enough."""
        moved = task.entry is not None and strip_for_lock(task.checkpoint.url) != task.entry.url
        if task.expected.pinned or not self._vouching.ask or not (task.entry is None or moved or self._update):
            return None
        return await published(self._inquirer, self._manifest, task.checkpoint)

    def _refusal(self, task: Task, wrong: Mismatch) -> CkptdError:
        """What bytes that are not what was promised amount to."""
        checkpoint = task.checkpoint
        message = f"{checkpoint.in_place}, which is watched in place, is not what is wanted: {wrong.message}"
        if wrong.promise is Promise.WITNESS and task.entry is not None:
            return _other_bytes(task, wrong.message)
        return IntegrityError(message, hint=in_place_hint(checkpoint.name))

    def _check_vouched(self, task: Task, proof: Proven, answer: Answer | None, whole: scrub.Whole) -> None:
        """Whether proven bytes may be locked where nothing promised them. Raises DriftError, PolicyError."""
        if answer is not None and answer.size not in {None, whole.size} and task.entry is not None:
            raise _other_bytes(task, f"it has {answer.size} bytes there, and {whole.size} here")
        if task.expected.digest_known or proof.trust is not Trust.FIRST_USE:
            return
        changed = task.entry is not None and task.entry.sha256 != whole.sha256
        if self._vouching.needed or changed:
            raise PolicyError(
                f"nothing vouches for {task.checkpoint.in_place}: no pin, no lock, no digest of its origin",
                hint=f'pin it, if you know that it is right: sha256 = "{whole.sha256}"',
            )


def _other_bytes(task: Task, why: str) -> DriftError:
    name = task.checkpoint.name
    return DriftError(
        f"its origin serves other bytes than {task.checkpoint.in_place}, which is watched in place: {why}",
        hint=f"it is never written: put the new file there and run `ckptd update {name}`; or take in_place out of its "
        f"entry, and `ckptd update {name}` fetches it",
    )

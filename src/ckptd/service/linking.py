"""Taking a file in as a hard link: no second copy, and the bytes are shared with the name that it has elsewhere.

What is proven here is what the file holds now. Whoever writes through the other name changes the store's file, which
the next audit finds.
"""

from __future__ import annotations

import time
from pathlib import Path

from ckptd.core import events
from ckptd.core.models import Manifest, Outcome
from ckptd.core.plan import Adopt
from ckptd.errors import CkptdError
from ckptd.service.delivery import adoptable
from ckptd.service.sync import Task, refused
from ckptd.service.telling import received
from ckptd.service.tenancy import Tenancy
from ckptd.store import scrub
from ckptd.store.digests import others
from ckptd.store.linking import link_beside
from ckptd.store.publish import Verified, stamp


async def link_in(task: Task, action: Adopt, manifest: Manifest, tenancy: Tenancy, emit: events.Emit) -> Outcome:
    """The outcome of taking in `action.path` under a second name, in a store that is ours. Raises OSError."""
    name, source, begun = task.checkpoint.name, Path(action.path), time.monotonic()
    progress = received(name, emit)
    emit(events.Started(name, action.size))

    def read() -> tuple[str, scrub.Whole]:
        mark = stamp(source.lstat())
        return mark, scrub.whole_digests(source, progress, algorithms={each.algorithm for each in action.witnesses})

    path: Path | None = None
    try:
        mark, whole = await tenancy.thread(read)
        digests = {"sha256": bytes.fromhex(whole.sha256), **whole.digests}
        proof = adoptable(manifest, task, action, digests)
        path = await tenancy.thread(lambda: link_beside(source, mark, tenancy.places, name))
        verified = Verified(
            task.checkpoint, path, whole.size, proof, whole.table, whole.sums, others(whole.digests), linked=True
        )
        seconds = time.monotonic() - begun
        published = await tenancy.ledger.publish(verified, action="adopt", fetched=0, seconds=seconds)
    except CkptdError as error:
        return refused(task, error, tenancy.places)
    finally:
        if path is not None:
            path.unlink(missing_ok=True)  # it has another name by now, unless something went wrong
    note = f"{source} shares its bytes: a write through that name changes the store's file; both are read-only now"
    return Outcome(
        name=name,
        state="adopted",
        size=whole.size,
        sha256=whole.sha256,
        trust=published.entry.trust,
        path=str(published.path),
        bytes_reused=whole.size,
        notes=(note,),
    )

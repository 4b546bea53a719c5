"""One checkpoint's bytes, from whichever source has them, into its partial: segments, resume, failover, patience.

Decides nothing by itself: what an answer means is `core.response`, who fetches which bytes `core.segments`, whether to
go on after a failure `core.retry`. Proof is somebody else's business: what comes out of here is merely all there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from ckptd.core import events, retry
from ckptd.core.plan import Expectation
from ckptd.core.proof import BrokenPromiseError, prove_announced, prove_size
from ckptd.core.response import (
    Asked,
    Changed,
    Complete,
    Ignored,
    Misfit,
    Sameness,
    Take,
    Validator,
    WantRaw,
    unasked_coding,
)
from ckptd.core.retry import Failure
from ckptd.core.segments import WorkList
from ckptd.core.sniff import impostor, page_type
from ckptd.core.units import format_duration, format_size
from ckptd.errors import CkptdError, DriftError, NetworkError, OriginError, PolicyError
from ckptd.transfer.client import Reply
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.slots import Place
from ckptd.transfer.source import Manners, Opened, Source
from ckptd.transfer.swarm import Shared, Storage, Swarm

SMALL = 64 * 1024  # bytes; a body up to this size is read at once
RESTARTS = 3  # versions begun before we insist on one connection and one answer


@dataclass(frozen=True, slots=True)
class Want:
    """What to fetch, from where (in the order of trying), and what it must be.

    `fresh`: on connections of its own, because what came before was not what it must be. `mends`: what is missing are
    the damaged parts of a file that is here; a source that no longer has that very file is of no use.
    """

    name: str
    file_name: str
    sources: tuple[str, ...]
    expected: Expectation
    fresh: bool = False
    mends: bool = False
    refresh: tuple[str, ...] = ()  # the command that gives an address for the first of the sources named `url`
    url: str = ""


@dataclass(frozen=True, slots=True)
class Landed:
    """All bytes are in the partial. `confirmed`: something said where the end is; `digests` of a small file.

    `foreign`: the coding under which they came, where only a SHA-256 can tell whether they are the file's.
    """

    total: int
    confirmed: bool
    digests: dict[str, bytes] | None = None
    foreign: str = ""


class Download:
    """Fetches one checkpoint into its storage."""

    def __init__(self, want: Want, storage: Storage, shared: Shared, place: Place) -> None:
        self.received = 0  # bytes that came over the network so far
        self._want = want
        self._storage = storage
        self._shared = shared
        self._place = place
        self._sources = [Source(url, want.refresh if url == want.url else (), want.file_name) for url in want.sources]
        self._source = self._sources[0]
        self._failed: dict[str, TransferFailed] = {}  # by source URL, since something last moved
        self._fruitless = 0
        self._best = storage.written.size
        self._restarts = 0
        self._foreign = ""  # coding of the body that was begun, if it need not be the file's own

    async def run(self) -> Landed:
        """Fetch until everything is there. Raises CkptdError when there is no more hope in this run."""
        while True:
            try:
                landed = await self._attempt()
                if landed is not None:
                    return replace(landed, foreign=self._foreign)
            except TransferFailed as failed:
                await self._storage.drained()
                await self._after(failed)

    # --- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self) -> Landed | None:
        """Ask once and take what comes; None when the answer taught us to ask in another way."""
        storage, source, budget = self._storage, self._source, self._shared.budget
        if storage.total is not None and not storage.written.gaps(storage.total):
            return Landed(storage.total, confirmed=True)
        await self._connection(source.host)
        try:
            opened = await source.ask(self._shared.client, self._asked(source), fresh=self._want.fresh)
            try:
                taken = await self._accept(source, opened)
                if taken is None:
                    return None
                landed = await self._carry(source, opened, taken)
            finally:
                opened.reply.close()
            budget.good(source.host)
            return landed
        finally:
            budget.release(source.host)

    def _asked(self, source: Source) -> Asked:
        """What to ask `source` for: the first gap, or everything."""
        storage, digest_known = self._storage, self._want.expected.digest_known
        if not storage.written.size or source.manners is Manners.WHOLE:
            return Asked(digest_known=digest_known)
        known = storage.validators.get(source.key)
        other = next(iter(storage.validators.values()), Validator())
        if known is None and other.coding:
            return Asked(digest_known=digest_known)  # parts are not coded, so they are none of these bytes
        if known is None and not digest_known:
            # Another source's bytes: only a published digest can prove that these are the same.
            known = Validator(total=storage.total, identity=other.identity)
        if known is not None and not known.provable and not digest_known:
            # Whatever part came, nothing could show that it belongs to the bytes we have.
            return Asked()
        start, end = storage.written.gaps(storage.total)[0] if storage.total is not None else (storage.written.size, 0)
        at_end = storage.total is None or end == storage.total
        end_asked = None if at_end else end
        return Asked(start, end_asked, ranged=True, known=known, total=storage.total, digest_known=digest_known)

    async def _accept(self, source: Source, opened: Opened) -> Take | None:
        """Act on the verdict: what to take from the body; None to ask again."""
        take: Take
        wrong = prove_announced(self._want.expected, opened.witnesses)
        if wrong is not None:
            raise TransferFailed(Failure.PERMANENT, BrokenPromiseError(wrong, opened.reply.label))
        match opened.verdict:
            case Take():
                take = opened.verdict
                if take.start == 0 and not opened.ranged and self._storage.written.size:
                    await self._begin_again("the whole file comes again")
            case Ignored():
                take, sameness = opened.verdict.take, opened.verdict.sameness
                if sameness is not Sameness.CHANGED and opened.conditional:
                    source.step_down()  # some answer every If-Range with everything
                    return None
                if sameness is Sameness.SAME:
                    source.manners = Manners.WHOLE
                    self._note(f"{source.host} does not send parts: one connection, from the beginning")
                if sameness is Sameness.CHANGED:
                    self._insist(opened, "the origin has another version now")
                await self._begin_again("changed at the origin" if sameness is Sameness.CHANGED else "no part was sent")
            case _:
                await self._relearn(source, opened)
                return None
        self._check(take, opened)
        self._foreign = take.foreign
        return replace(take, validator=replace(take.validator, commit=opened.commit))

    async def _relearn(self, source: Source, opened: Opened) -> None:
        """An answer without usable data: what it teaches about asking again. Raises TransferFailed."""
        match opened.verdict:
            case Complete(total):
                validator = Validator(total=total, commit=opened.commit)
                await self._storage.learn(total, source.key, validator, opened.witnesses)
            case Changed(reason):
                self._insist(opened, reason)
                self._restarts += 1
                if self._restarts > RESTARTS:
                    source.manners = Manners.WHOLE
                await self._begin_again(reason)
            case WantRaw():
                if not source.want_raw():
                    raise _impostor(opened.reply, "decodes the stored bytes whatever is asked for")
                self._note(f"{source.host} decodes on the fly: asking for the stored bytes")
            case Misfit(reason):
                if source.manners is Manners.WHOLE or not self._storage.written.size:
                    raise _impostor(opened.reply, reason)
                source.step_down()
            case _:
                raise _impostor(opened.reply, "sent an answer without data")

    def _insist(self, opened: Opened, reason: str) -> None:
        """While mending, a source with another version is given up: beginning again would fetch that version.

        A page is no version: whoever shows one may have the file again later.
        """
        if self._want.mends:
            page = page_type(self._want.file_name, opened.reply.head.get("content-type"))
            if page is not None:
                raise _impostor(opened.reply, page)
            error = DriftError(f"{opened.reply.label} does not serve the locked bytes any more: {reason}")
            raise TransferFailed(Failure.PERMANENT, error)

    def _check(self, take: Take, opened: Opened) -> None:
        """Refuse a body that cannot be the file, before a byte of it counts."""
        label, expected = opened.reply.label, self._want.expected
        total = take.total if take.total is not None else opened.stated
        reason = impostor(
            self._want.file_name, b"", opened.reply.head.get("content-type"), digest_known=expected.digest_known
        )
        if reason is not None:
            raise _impostor(opened.reply, reason)
        if total is None:
            return
        if total > self._shared.settings.max_size:
            limit = format_size(self._shared.settings.max_size)
            large = PolicyError(
                f"{label} wants to send {format_size(total)}, [transfer] max_size is {limit}",
                hint="raise max_size if that is meant",
            )
            raise TransferFailed(Failure.PERMANENT, large)
        if opened.stated is not None and opened.stated != total:
            error = OriginError(f"{label} sends {total} bytes of a file that it says has {opened.stated}")
            raise TransferFailed(Failure.TRANSIENT, error)
        wrong = prove_size(expected, total)
        if wrong is not None and take.foreign:
            raise _impostor(opened.reply, unasked_coding(take.foreign))
        if wrong is not None:
            raise TransferFailed(Failure.PERMANENT, BrokenPromiseError(wrong, label))

    async def _carry(self, source: Source, opened: Opened, take: Take) -> Landed:
        storage, reply = self._storage, opened.reply
        if take.start == 0 and take.length is not None and take.length <= SMALL and not storage.written.size:
            return await self._small(source, opened, take)
        await storage.learn(take.total, source.key, take.validator, opened.witnesses)
        if take.total is not None:
            self._shared.emit(events.Sized(self._want.name, take.total))
        work = WorkList(take.total, storage.written) if take.total is not None else None
        swarm = Swarm(
            self._want.name,
            source,
            storage,
            self._shared,
            work,
            ask=lambda start, end: source.ask(self._shared.client, self._part(source, start, end)),
            check_head=lambda head, whole: self._check_head(reply, head, whole=whole),
            count=self._count,
        )
        await swarm.run(reply, take.length)
        await storage.drained()
        total = take.total
        if total is None:
            if swarm.trouble is not None:
                raise swarm.trouble
            total = storage.written.size
            promised = opened.stated if opened.stated is not None else self._want.expected.size
            if promised is not None and total < promised:
                raise _cut(reply)
            return Landed(total, confirmed=reply.framed or total == promised)
        if storage.written.gaps(total):
            raise swarm.trouble or _cut(reply)
        return Landed(total, confirmed=True)

    async def _small(self, source: Source, opened: Opened, take: Take) -> Landed:
        length = take.length or 0
        try:
            async with asyncio.timeout(self._shared.settings.stall_timeout):
                body = await opened.reply.read(length)
        except TimeoutError:
            raise stalled(opened.reply.label) from None
        if len(body) != length:
            raise _cut(opened.reply)
        self._check_head(opened.reply, body, whole=True)
        self._count(length)
        if self._shared.budget.bandwidth is not None:
            await asyncio.sleep(self._shared.budget.bandwidth.take(asyncio.get_running_loop().time(), length))
        digests = await self._storage.whole(body, source.key, take.validator, opened.witnesses)
        return Landed(length, confirmed=True, digests=digests)

    def _part(self, source: Source, start: int, end: int) -> Asked:
        """A further segment of what this attempt has begun."""
        storage = self._storage
        known = storage.validators.get(source.key)
        digest_known = self._want.expected.digest_known
        return Asked(start, end, ranged=True, known=known, total=storage.total, digest_known=digest_known)

    def _check_head(self, reply: Reply, head: bytes, *, whole: bool) -> None:
        reason = impostor(
            self._want.file_name,
            head,
            reply.head.get("content-type"),
            digest_known=self._want.expected.digest_known,
            whole=whole,
            coding=reply.head.coding if reply.head.stored_coding is None else "",
        )
        if reason is not None:
            raise _impostor(reply, reason)

    def _count(self, count: int) -> None:
        self.received += count
        self._shared.emit(events.Received(self._want.name, count))

    async def _begin_again(self, why: str) -> None:
        await self._storage.begin_again()
        self._shared.emit(events.Rewound(self._want.name, 0, why))

    def _note(self, text: str) -> None:
        self._shared.emit(events.Noted(self._want.name, text))

    # --- after a failure -----------------------------------------------------------------------------------------

    async def _after(self, failed: TransferFailed) -> None:
        """Make the next attempt possible: another source, a pause; or raise the error."""
        landed = self._storage.written.size
        progress = landed > self._best
        if progress:
            self._best, self._fruitless = landed, 0
            self._failed.clear()
        self._failed[self._source.url] = failed
        pause = retry.wait(self._fruitless + 1, self._shared.jitter())
        if failed.failure is Failure.BUSY:
            pause = max(pause, failed.retry_after or 0.0)
            self._shared.budget.push_back(self._source.host, min(pause, retry.RETRY_AFTER_CAP), failed.error)
        following = next((each for each in self._sources if each.url not in self._failed), None)
        if following is not None and not progress:
            self._note(f"{failed.error.message}; trying {following.host}")
            self._source = following
            return
        self._fruitless += not progress
        hopeful = self._hopeful()
        if hopeful is None:
            raise self._final(failed)
        settings = self._shared.settings
        if pause > retry.RETRY_AFTER_CAP:
            message = f"{failed.error.message}; it asks to come back in {format_duration(pause)}"
            raise OriginError(message, hint="run `ckptd sync` again then; what is here is kept")
        attempt = f" (attempt {self._fruitless} of {settings.retries + 1})" if self._fruitless else ""
        self._shared.emit(events.Waiting(self._want.name, pause, f"{failed.error.message}{attempt}"))
        self._failed.clear()
        self._source = hopeful
        await self._place.rest(pause)

    def _hopeful(self) -> Source | None:
        """The first source whose failure allows another attempt."""
        retries = self._shared.settings.retries
        return next(
            (
                source
                for source in self._sources
                if source.url in self._failed
                and retry.may_retry(self._failed[source.url].failure, self._fruitless, retries)
            ),
            None,
        )

    def _final(self, failed: TransferFailed) -> CkptdError:
        """What to tell: the failure of the source that came nearest, by how it fits the contract's order."""
        errors = [self._failed[source.url].error for source in self._sources if source.url in self._failed]
        severest = next((each for each in errors if isinstance(each, BrokenPromiseError)), failed.error)
        if self._fruitless > 1 and not isinstance(severest, BrokenPromiseError):
            severest = type(severest)(
                f"{severest.message} (given up after {self._fruitless} attempts without progress)",
                hint=severest.hint or "run `ckptd sync` again: what is here is kept",
            )
        return severest

    async def _connection(self, host: str) -> None:
        """A connection to `host`, keeping the quiet that it asked for, whoever was told.

        Raises TransferFailed when it refused somebody while we waited in line: it would have refused us, too.
        """
        budget = self._shared.budget
        while seconds := budget.quiet(host):
            self._shared.emit(events.Waiting(self._want.name, seconds, f"{host} asked for a pause"))
            await self._place.rest(seconds)
        await budget.acquire(host)
        refusal = budget.refusal(host) if budget.quiet(host) else None
        if refusal is not None:
            budget.release(host)
            raise TransferFailed(Failure.BUSY, refusal, retry_after=budget.quiet(host))


def stalled(label: str) -> TransferFailed:
    """The bytes came too slowly for too long."""
    return TransferFailed(Failure.TRANSIENT, NetworkError(f"{label}: stalled"))


def _cut(reply: Reply) -> TransferFailed:
    error = NetworkError(f"{reply.label}: closed the connection in the middle of the body")
    return TransferFailed(Failure.TRANSIENT, error)


def _impostor(reply: Reply, reason: str) -> TransferFailed:
    return TransferFailed(Failure.IMPOSTOR, OriginError(f"{reply.label} {reason}"))

"""One body's way into the sink: every byte once, in its place, unless the first of them give an impostor away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.pace import Bucket, StallMeter
from ckptd.core.ranges import Extents
from ckptd.core.retry import Failure
from ckptd.core.segments import WorkList
from ckptd.core.sniff import HEAD_NEEDED
from ckptd.errors import OriginError, PolicyError, StorageError
from ckptd.transfer.buffers import SMALLEST, Pool
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.intake import Intake

BODY = bytes(index * 7 % 251 for index in range(5 * SMALLEST + 1234))


@dataclass
class Sink:
    """Remembers what it was given; holds buffers until told otherwise."""

    holds: bool = False
    error: StorageError | None = None
    got: list[tuple[int, bytes]] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)

    def put(self, offset: int, view: memoryview, release: Callable[[], None]) -> None:
        if self.error is not None:
            release()
            raise self.error
        self.got.append((offset, bytes(view)))
        if self.holds:
            self.held.append(release)
        else:
            release()

    def bytes_from(self, start: int) -> bytes:
        at, found = start, b""
        for offset, data in self.got:
            assert offset == at
            found += data
            at += len(data)
        return found


class SmallPool(Pool):
    """A pool with the smallest buffers, that knows how many are out."""

    def __init__(self, count: int) -> None:
        super().__init__(1)
        self.size = SMALLEST
        self._left = count
        self.count = count

    @property
    def out(self) -> int:
        return self.count - self._left - len(self._free)


def body_of(sink: Sink, pool: Pool, *, at: int = 0, most: int = 1 << 40, **more: object) -> Intake:
    return Intake(
        sink,
        pool,
        StallMeter(1.0, 1.0, 0.0),
        at=at,
        segment=lambda: SMALLEST,
        on_bytes=lambda count: None,
        most=most,
        **more,  # type: ignore[arg-type]
    )


def feed(intake: Intake, data: bytes, steps: list[int] | None = None) -> int:
    """Put `data` in as a connection would, in pieces of `steps`; how much of it found room."""
    at, turns = 0, iter(steps or [])
    while at < len(data) and intake.wants_more():
        space = intake.space()
        if space is None:
            break
        count = min(len(space), next(turns, 1 << 20), len(data) - at)
        space[:count] = data[at : at + count]
        at += count
        intake.received(count)
    return at


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.integers(1, 2 * SMALLEST), max_size=20),
    start=st.sampled_from([0, 1, 10_000_000]),
    flush_after=st.integers(0, len(BODY)),
)
def test_every_byte_once_and_in_its_place(steps: list[int], start: int, flush_after: int) -> None:
    async def check() -> None:
        sink, pool = Sink(), SmallPool(3)
        intake = body_of(sink, pool, at=start)
        feed(intake, BODY[:flush_after], steps)
        intake.flush()
        feed(intake, BODY[flush_after:], steps)
        intake.finish(ended=True)
        intake.finish(ended=True)
        assert sink.bytes_from(start) == BODY
        assert pool.out == 0

    asyncio.run(check())


async def test_it_stops_where_the_lease_ends_and_runs_on_where_nobody_is() -> None:
    work = WorkList(len(BODY), Extents())
    lease = work.take(SMALLEST)
    assert lease is not None
    work.give_back(lease)
    lease = work.take(SMALLEST)
    assert lease is not None
    sink = Sink()
    intake = body_of(sink, SmallPool(3), work=work, lease=lease)
    assert feed(intake, BODY) == len(BODY)
    assert not intake.wants_more()
    intake.finish(ended=True)
    assert sink.bytes_from(0) == BODY


async def test_it_stops_at_a_neighbour() -> None:
    big = 64 * 1024 * 1024
    work = WorkList(big, Extents())
    mine, neighbour = work.take(100_000), work.take(SMALLEST)
    assert mine is not None
    assert neighbour is not None
    sink = Sink()
    intake = body_of(sink, SmallPool(4), work=work, lease=mine)
    assert feed(intake, BODY) == 100_000
    intake.finish(ended=True)
    assert sink.bytes_from(0) == BODY[:100_000]


async def test_without_buffers_there_is_no_room_until_one_comes_back() -> None:
    sink, pool = Sink(holds=True), SmallPool(2)
    intake = body_of(sink, pool)
    called: list[None] = []
    assert feed(intake, BODY) == 2 * SMALLEST
    intake.call_when_free(lambda: called.append(None))
    assert not called
    sink.held.pop()()
    assert called == [None]
    assert intake.space() is not None


def refuse(head: bytes, whole: bool) -> None:
    raise TransferFailed(Failure.IMPOSTOR, OriginError(f"{len(head)} bytes ({whole=}), and not of an archive"))


async def test_nothing_of_an_impostor_is_stored_when_a_buffer_fills() -> None:
    sink, pool = Sink(), SmallPool(3)
    intake = body_of(sink, pool, check_head=refuse)
    with pytest.raises(TransferFailed):
        feed(intake, BODY)
    with suppress(TransferFailed):
        intake.finish(ended=False)  # as `Reply.pump` does, whatever happened
    assert sink.got == []
    assert pool.out == 0


async def test_nothing_of_an_impostor_is_stored_when_it_comes_slowly() -> None:
    sink = Sink()
    intake = body_of(sink, SmallPool(3), check_head=refuse)
    feed(intake, BODY[:HEAD_NEEDED])
    with pytest.raises(TransferFailed):
        intake.flush()
    with suppress(TransferFailed):
        intake.finish(ended=False)
    assert sink.got == []


async def test_nothing_of_a_short_impostor_is_stored() -> None:
    sink, pool = Sink(), SmallPool(3)
    intake = body_of(sink, pool, check_head=refuse)
    feed(intake, b"<html>")
    intake.flush()  # too little to tell: it waits for more
    assert sink.got == []
    with pytest.raises(TransferFailed, match=r"6 bytes \(whole=True\)"):
        intake.finish(ended=True)
    assert sink.got == []
    assert pool.out == 0


async def test_an_empty_body_is_looked_at_too() -> None:
    intake = body_of(Sink(), SmallPool(3), check_head=refuse)
    with pytest.raises(TransferFailed, match="0 bytes"):
        intake.finish(ended=True)


async def test_too_little_to_tell_is_not_stored_when_the_body_is_cut() -> None:
    sink, pool = Sink(), SmallPool(3)
    intake = body_of(sink, pool, check_head=refuse)
    feed(intake, BODY[: HEAD_NEEDED - 1])
    intake.finish(ended=False)
    assert sink.got == []
    assert pool.out == 0


async def test_what_came_before_a_cut_is_kept() -> None:
    sink, pool = Sink(), SmallPool(3)
    intake = body_of(sink, pool, check_head=lambda *head: None)
    feed(intake, BODY[: SMALLEST + 100])
    intake.finish(ended=False)
    assert sink.bytes_from(0) == BODY[: SMALLEST + 100]
    assert pool.out == 0


async def test_the_head_is_looked_at_once_and_only_at_the_beginning() -> None:
    heads: list[tuple[bytes, bool]] = []
    intake = body_of(Sink(), SmallPool(3), check_head=lambda *head: heads.append(head))
    feed(intake, BODY, [10] * 200)
    intake.finish(ended=True)
    assert heads == [(BODY[:HEAD_NEEDED], False)]
    later = body_of(Sink(), SmallPool(3), at=1, check_head=refuse)
    feed(later, BODY)
    later.finish(ended=True)


async def test_an_endless_body_ends_here() -> None:
    intake = body_of(Sink(), SmallPool(3), most=SMALLEST)
    with pytest.raises(TransferFailed) as caught:
        feed(intake, BODY)
    assert caught.value.failure is Failure.PERMANENT
    assert isinstance(caught.value.error, PolicyError)


async def test_a_failing_disk_costs_no_buffer() -> None:
    sink, pool = Sink(error=StorageError("full")), SmallPool(3)
    intake = body_of(sink, pool)
    with pytest.raises(StorageError):
        feed(intake, BODY)
    intake.finish(ended=False)
    assert pool.out == 0


async def test_a_slow_rate_is_taken_in_small_gulps() -> None:
    intake = body_of(Sink(), SmallPool(3), bucket=Bucket(100_000.0))
    space = intake.space()
    assert space is not None
    assert len(space) == 10_000
    waits = []
    for _ in range(4):
        space = intake.space()
        assert space is not None
        waits.append(intake.received(len(space)))
    assert waits == sorted(waits)
    assert waits[-1] > 0.2

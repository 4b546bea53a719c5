"""Places for downloads: how many there are, and what becomes of one whose holder rests."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.transfer import slots as module
from ckptd.transfer.slots import QUICK, Place, Slots


async def test_small_ones_need_not_wait_for_large_ones() -> None:
    slots, inside = Slots(1), asyncio.Semaphore(0)

    async def hold(*, small: bool) -> None:
        async with Place(slots, small=small):
            inside.release()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold(small=small)) for small in (False, False, *[True] * (QUICK + 1))]
    for _ in range(1 + QUICK):
        await inside.acquire()
    for _ in range(5):
        await asyncio.sleep(0)
    assert inside.locked(), "more than there are places"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5), Place(slots, small=False):
        pass


@pytest.mark.parametrize(("seconds", "given_up"), [(0.0, False), (0.02, True)])
async def test_who_rests_for_long_makes_room(monkeypatch: pytest.MonkeyPatch, seconds: float, given_up: bool) -> None:
    monkeypatch.setattr(module, "LONG_REST", 0.01)
    slots, order = Slots(1), list[str]()

    async def first() -> None:
        async with Place(slots, small=False) as place:
            await place.rest(seconds)
            order.append("first")

    async def second() -> None:
        async with Place(slots, small=False):
            order.append("second")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(first())
        group.create_task(second())
    assert order == (["second", "first"] if given_up else ["first", "second"])


async def test_stopped_while_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is given back once, not twice."""
    monkeypatch.setattr(module, "LONG_REST", 0.0)
    slots = Slots(1)

    async def rest() -> None:
        async with Place(slots, small=False) as place:
            await place.rest(3600)

    task = asyncio.create_task(rest())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await slots.take(small=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await slots.take(small=False)

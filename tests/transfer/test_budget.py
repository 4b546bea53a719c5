"""What downloads share: turns at a host, its wish for quiet, and no turn lost when somebody is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.transfer.budget import Budget


class Clock:
    """The loop's time, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


async def turns() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_in_the_order_of_asking() -> None:
    budget, order = Budget(1, 4, None), list[str]()
    await budget.acquire("h")

    async def one(name: str) -> None:
        await budget.acquire("h")
        order.append(name)
        budget.release("h")

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(one(name))
            await turns()
        assert not budget.try_acquire("h")
        budget.release("h")
    assert order == ["a", "b", "c"]
    assert budget.try_acquire("h")


async def test_hosts_do_not_share() -> None:
    budget = Budget(1, 4, None)
    await budget.acquire("h")
    assert not budget.try_acquire("h")
    assert budget.try_acquire("other")


async def test_an_extra_connection_does_not_jump_the_queue() -> None:
    budget = Budget(1, 4, None)
    await budget.acquire("h")
    waiting = asyncio.ensure_future(budget.acquire("h"))
    await turns()
    assert budget.crowded("h")
    assert not budget.try_acquire("h")
    budget.release("h")
    assert not budget.try_acquire("h")  # it is promised to the one who waits
    await waiting


@pytest.mark.parametrize("already_granted", [False, True])
async def test_a_cancelled_waiter_takes_no_turn_with_it(already_granted: bool) -> None:
    budget = Budget(1, 4, None)
    await budget.acquire("h")
    waiting = asyncio.ensure_future(budget.acquire("h"))
    await turns()
    if already_granted:
        budget.release("h")
        waiting.cancel()
    else:
        waiting.cancel()
        await turns()
        budget.release("h")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.try_acquire("h")
    assert not budget.try_acquire("h")


async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    budget = Budget(1, 4, None)
    await budget.acquire("h")
    first = asyncio.ensure_future(budget.acquire("h"))
    second = asyncio.ensure_future(budget.acquire("h"))
    await turns()
    budget.release("h")
    first.cancel()
    await turns()
    assert first.cancelled()
    assert second.done()


async def test_quiet_is_kept_and_the_longest_wish_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, budget = Clock(monkeypatch), Budget(4, 4, None)
    budget.push_back("h", 30.0)
    budget.push_back("h", 10.0)
    assert budget.quiet("h") == 30.0
    assert not budget.try_acquire("h")
    clock.now += 29.0
    assert budget.quiet("h") == pytest.approx(1.0)
    clock.now += 1.0
    assert budget.quiet("h") == 0.0
    assert budget.try_acquire("h")


async def test_half_after_a_push_and_slowly_back() -> None:
    budget = Budget(16, 4, None)

    def room() -> int:
        count = 0
        while budget.try_acquire("h"):
            count += 1
        for _ in range(count):
            budget.release("h")
        return count

    assert room() == 16
    budget.push_back("h", 0.0)
    assert room() == 8
    for _ in range(8):
        budget.good("h")
    assert room() in {8, 9}  # about one more for a connection's worth of good answers
    for _ in range(200):
        budget.good("h")
    assert room() == 16
    for _ in range(20):
        budget.push_back("h", 0.0)
    assert room() == 1  # never none: somebody has to find out when it is better


async def test_what_is_open_beyond_the_new_limit_is_a_crowd() -> None:
    budget = Budget(4, 4, None)
    for _ in range(4):
        await budget.acquire("h")
    assert not budget.crowded("h")
    budget.push_back("h", 0.0)
    assert budget.crowded("h")
    budget.release("h")
    budget.release("h")
    assert not budget.crowded("h")


async def test_a_good_answer_lets_a_waiter_in() -> None:
    budget = Budget(2, 4, None)
    budget.push_back("h", 0.0)
    await budget.acquire("h")
    waiting = asyncio.ensure_future(budget.acquire("h"))
    await turns()
    assert not waiting.done()
    budget.good("h")
    await turns()
    assert waiting.done()

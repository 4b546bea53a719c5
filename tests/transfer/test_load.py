"""Whether processors are idle is looked at while somebody wants to know, and not otherwise."""

from __future__ import annotations

import asyncio

import pytest

from ckptd.transfer import budget as module
from ckptd.transfer.budget import PATIENCE, Budget, watch_load


def known(budget: Budget, *, ask: bool) -> bool:
    return budget.ask_idle() if ask else budget.spare


async def test_it_is_looked_at_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def times() -> tuple[int, ...]:
        nonlocal looks
        looks += 1
        return (looks, 0, 0, 100 * looks)  # user, nice, system, idle

    monkeypatch.setattr(module, "processor_times", times)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(module, "BUSY_LOOP", 1e6)
    budget = Budget(8, 4, None)
    watching = asyncio.create_task(watch_load(budget))
    for _ in range(3):
        await asyncio.sleep(0)
    assert looks == 0
    assert not known(budget, ask=True)
    async with asyncio.timeout(20):
        while not known(budget, ask=True):  # noqa: ASYNC110  # asking is what is tried here
            await asyncio.sleep(0.001)
        while known(budget, ask=False):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    seen = looks
    assert seen >= PATIENCE
    await asyncio.sleep(0.05)
    assert looks == seen
    watching.cancel()

"""Passes of a daemon that run beside each other: who waits for what, and that nobody is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import faults as f
import pytest
from origin import Hold, Origin
from workplace import Workplace, sha256, tgz

from ckptd.core import events
from ckptd.core.models import Outcome
from ckptd.service.hub import Hub
from ckptd.service.jobs import Jobs
from ckptd.service.tenancy import tenancy
from ckptd.service.workplace import Workplace as Place
from ckptd.service.workplace import enter
from ckptd.store import lockfile

BODY = {name: tgz(200_000, number) for number, name in enumerate("abc")}


@asynccontextmanager
async def jobs_of(site: Workplace) -> AsyncIterator[tuple[Jobs, Place, Hub]]:
    place, hub = enter(site.manifest, ()), Hub()
    async with tenancy(place.places, hub.emit) as tenant, asyncio.timeout(30), asyncio.TaskGroup() as group:
        yield Jobs(tenant, hub, group, lambda _: None), place, hub


def only(place: Place, *names: str) -> Place:
    return replace(place, selected=tuple(each for each in place.manifest.checkpoints if each.name in names))


async def standing(where: Hold) -> None:
    assert await asyncio.to_thread(where.reached.wait, 20)


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in outcomes}


@pytest.fixture
def held(origin: Origin, site: Workplace) -> Hold:
    """Three checkpoints, of which `a` stands still in the middle."""
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", body)} for name, body in BODY.items()),
        transfer={"stall_timeout": "20s"},
    )
    where = Hold()
    origin.on("/a.tgz", f.hold(100_000, where), times=None)
    return where


async def test_two_who_want_the_same_share_it(origin: Origin, site: Workplace, held: Hold) -> None:
    async with jobs_of(site) as (jobs, place, _):
        first = asyncio.ensure_future(jobs.sync(place))
        await standing(held)
        second = asyncio.ensure_future(jobs.sync(only(place, "a", "b")))
        await asyncio.sleep(0)
        assert "a" in jobs.busy
        held.release()
        assert states(await first) == dict.fromkeys("abc", "fetched")
        assert states(await second)["a"] == "fetched"
        assert jobs.busy == frozenset()
    assert origin.body_bytes("/a.tgz") == len(BODY["a"])


async def test_one_that_was_done_may_be_begun_anew(origin: Origin, site: Workplace, held: Hold) -> None:
    """The end of a pass says nothing of what somebody else has begun since."""
    async with jobs_of(site) as (jobs, place, _):
        first = jobs.begin(place)
        await standing(held)
        assert (await asyncio.shield(first["b"])).state == "fetched"
        site.file("b").unlink()
        again = Hold()
        origin.on("/b.tgz", f.hold(100_000, again), times=None)
        second = asyncio.ensure_future(jobs.sync(only(place, "b")))
        await standing(again)
        held.release()
        await asyncio.gather(*map(asyncio.shield, first.values()))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not second.done()
        again.release()
        assert states(await second) == {"b": "fetched"}


async def test_who_goes_leaves_the_work(site: Workplace, held: Hold) -> None:
    async with jobs_of(site) as (jobs, place, hub):
        caller = asyncio.ensure_future(jobs.sync(only(place, "a")))
        await standing(held)
        caller.cancel()
        await asyncio.wait([caller])
        assert "a" in hub.active
        held.release()
        assert states(await jobs.sync(only(place, "a"))) == {"a": "fetched"}
    site.assert_good("a", BODY["a"])


async def test_a_stop_is_no_failure(site: Workplace, held: Hold) -> None:
    """What was not done when the daemon ends is told in a line, and not as an error."""
    told: list[events.Event] = []

    async def until_stopped() -> None:
        async with jobs_of(site) as (jobs, place, hub):
            hub.listen(told.append)
            first = jobs.begin(place)
            await asyncio.gather(standing(held), *(asyncio.shield(first[name]) for name in "bc"))
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # it is one

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(until_stopped())
    ends = {event.name: event.error for event in told if isinstance(event, events.Finished)}
    assert ends == {"b": "", "c": ""}
    assert events.Noted("a", "stopped before it was done") in told


async def test_update_waits_for_what_runs(origin: Origin, site: Workplace, held: Hold) -> None:
    """It accepts what is served when it is asked for, not what a sync began with before."""
    async with jobs_of(site) as (jobs, place, _):
        first = jobs.begin(place)
        await standing(held)
        other = tgz(210_000, 9)
        updating = asyncio.ensure_future(jobs.sync(only(place, "a", "b"), update=True))
        await asyncio.shield(first["c"])
        assert not updating.done()
        held.release()
        await asyncio.shield(first["a"])
        origin.put("/b.tgz", other)
        assert states(await updating) == {"a": "present", "b": "fetched"}
    assert lockfile.read(site.lock_path).entries["b"].sha256 == sha256(other)


async def test_what_cannot_be_begun_is_told(site: Workplace, held: Hold) -> None:
    """A pass that ends before its first request (a lock that is broken) settles everything that waits for it."""
    held.release()
    async with jobs_of(site) as (jobs, place, hub):
        await jobs.sync(only(place, "a"))
        site.lock_path.write_text("not a lock")
        outcomes = await jobs.sync(only(place, "b", "c"))
        assert states(outcomes) == {"b": "failed", "c": "failed"}
        assert all(outcome.error is not None and "manifest.lock" in outcome.error.message for outcome in outcomes)
        assert hub.active == {}
        assert jobs.busy == frozenset()
    assert site.lock_path.read_text() == "not a lock"


async def test_repair_waits_for_what_runs(site: Workplace, held: Hold) -> None:
    """Two are damaged while a third is fetched; whoever asks for a damaged one meanwhile waits for its repair."""
    held.release()
    async with jobs_of(site) as (jobs, place, _):
        await jobs.sync(place)
        for name in "ab":
            damage(site.file(name))
        found = await jobs.verify(only(place, "a", "b"), ("a", "b"), sha256=False, repair=False, older_than=None)
        assert states(found) == {"a": "corrupt", "b": "corrupt"}
        now = await jobs.place(place, place.selected)
        mending = asyncio.ensure_future(jobs.repair(now, found))
        asking = asyncio.ensure_future(jobs.sync(only(place, "a", "b", "c")))
        assert states(await mending) == {"a": "repaired", "b": "repaired"}
        assert all(outcome.error is None for outcome in await asking)
        assert jobs.busy == frozenset()
    for name in "ab":
        site.assert_good(name, BODY[name])


def damage(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"rotten")
    path.chmod(0o444)

"""The program is stopped and killed at any moment (promise 3): nothing is lost but unpublished work."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import time
from contextlib import closing

import faults as f
import pytest
from origin import Hold, Origin
from workplace import Workplace, sha256, tgz, wait_until

A = tgz(2_000_000, 1)
CUT = 1_200_000
PATH = "/a.tar.gz"


def halfway(origin: Origin, site: Workplace, path: str = PATH) -> Hold:
    """Responses for `path` stand still after CUT bytes, from the first on."""
    del site
    place = Hold()
    origin.on(path, f.hold(CUT, place), times=None)
    return place


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_stopped_keeps_the_partial(origin: Origin, site: Workplace, number: signal.Signals, status: int) -> None:
    """Exit 130 and 143; partials are kept, the next run fetches only the rest: counted at the origin."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = halfway(origin, site)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    wait_until(lambda: site.state_bytes() >= CUT // 2, seconds=5, what="half of it is written")
    running.signal(number)
    stopped = running.wait(20).expect(status)
    assert "Traceback" not in stopped.err
    site.assert_absent("a")
    origin.calm()
    origin.forget()
    run = site.sync().expect(0)
    site.assert_good("a", A)
    assert 0 < origin.body_bytes() <= len(A) - CUT // 2, "it began again"
    assert run.entry("a")["bytes_reused"] >= CUT // 2
    assert run.entry("a")["bytes_fetched"] == origin.body_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_what_rots_while_it_is_unfinished(origin: Origin, site: Workplace, number: signal.Signals) -> None:
    """Nobody but the first fetch says what is right: a part that changed on the disk is fetched again, and told."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = halfway(origin, site)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    wait_until(lambda: recorded(site) >= CUT // 2, what="half of it is recorded")
    running.signal(number)
    running.wait(20)
    (path,) = (site.state / "partials").iterdir()
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 4]))
    origin.calm()
    run = site.sync().expect(0)
    assert "changed on the disk" in run.err
    site.assert_good("a", A)
    assert run.entry("a")["bytes_fetched"] + run.entry("a")["bytes_reused"] == len(A)


def recorded(site: Workplace) -> int:
    """Bytes that the state database knows of."""
    with closing(sqlite3.connect(f"file:{site.state / 'state.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT written FROM partials").fetchall()
    return sum(end - start for (spans,) in rows for start, end in json.loads(spans))


def test_killed_does_not_begin_again(origin: Origin, site: Workplace) -> None:
    """engines finding 4: aria2 loses up to 60 s on SIGKILL; here state is saved every few seconds."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.pace(65_536, 0.15), times=None)
    running = site.start("sync")
    wait_until(lambda: origin.body_bytes() > len(A) * 0.8, what="most of it was sent")
    running.signal(signal.SIGKILL)
    running.wait()
    site.assert_absent("a")
    origin.calm()
    origin.forget()
    site.sync().expect(0)
    site.assert_good("a", A)
    assert origin.body_bytes() < len(A), "everything was fetched again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stopped_while_it_waits(origin: Origin, site: Workplace, number: signal.Signals) -> None:
    """A signal during Retry-After, or before the first byte, ends the run at once."""
    site.one(origin.put(PATH, A))
    answered = origin.on(PATH, f.later(503, "120"), times=None)
    running = site.start("sync")
    wait_until(lambda: answered.fired, what="the origin said 503")
    running.signal(number)
    running.wait(15).expect(128 + number)


def test_signal_twice(origin: Origin, site: Workplace) -> None:
    """An impatient second SIGINT makes no mess."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = halfway(origin, site)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    running.signal(signal.SIGINT)
    running.signal(signal.SIGINT)
    running.wait(15).expect(130, -2)
    origin.calm()
    site.sync().expect(0)
    site.assert_good("a", A)


def test_what_was_done_before_the_signal_is_locked(origin: Origin, site: Workplace) -> None:
    """I2: checkpoints that were finished when the signal came are in the lock, or are adopted unfetched."""
    small = tgz(50_000, 7)
    site.write(
        {"name": "a", "url": origin.put(PATH, A)},
        {"name": "b", "url": origin.put("/b.tgz", small)},
        transfer={"stall_timeout": "30s"},
    )
    place = halfway(origin, site)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the big one stands still")
    wait_until((site.store / "b" / "b.tgz").exists, what="the small one is published")
    running.signal(signal.SIGTERM)
    running.wait(15).expect(143)
    origin.calm()
    origin.forget()
    site.sync().expect(0)
    site.assert_good("b", small)
    assert origin.body_bytes("/b.tgz") == 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.slow
def test_killed_at_random_until_done(origin: Origin, site: Workplace, seed: int) -> None:
    """SIGKILL at random moments in a loop until done, then compared (I1, I2, I6).

    Several files, one of them large and slow enough to be fetched in segments; invariants are checked after
    every kill. The time to live grows, so that the loop ends on a slow machine as well.
    """
    chance = random.Random(seed)  # noqa: S311
    bodies = {
        "big": tgz(9_000_000, 100),
        **{f"m{number}": tgz(150_000, 101 + number) for number in range(5)},
    }
    site.write(*({"name": name, "url": origin.put(f"/{name}.tgz", body)} for name, body in bodies.items()))
    origin.on("/big.tgz", f.pace(65_536, 0.02), times=None)
    kills = 0
    while True:
        running = site.start("sync", "--json")
        limit = time.monotonic() + chance.uniform(0.3, 1.0) * (1 + kills / 3)
        wait_until(lambda: not running.running or time.monotonic() > limit, what="the moment")  # noqa: B023
        if not running.running:
            running.wait().expect(0)
            break
        running.signal(signal.SIGKILL)
        running.wait()
        kills += 1
        assert kills < 40, "no end in sight"
    for name, body in bodies.items():
        site.assert_good(name, body)
    assert kills > 0
    origin.forget()
    site.sync().expect(0)
    assert origin.body_bytes() == 0
    site.verify("--sha256").expect(0)


def test_killed_between_publication_and_lock(origin: Origin, site: Workplace) -> None:
    """Architecture, Adopt: a published file without a lock entry is verified in place, not fetched twice."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    site.lock_path.unlink()
    origin.forget()
    run = site.sync().expect(0)
    site.assert_good("a", A)
    assert run.entry("a")["state"] == "present"
    assert origin.body_bytes() == 0


def test_published_but_wrong_and_unlocked_is_not_adopted_blindly(origin: Origin, site: Workplace) -> None:
    """I1: what lies there without a lock entry and is not what the pin says is not taken in."""
    path = site.store / "a" / "a.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(A[:-1] + b"x")
    path.chmod(0o444)
    site.one(origin.put(PATH, A), sha256=sha256(A))
    site.sync(invariants=False).expect(0)
    site.assert_good("a", A)

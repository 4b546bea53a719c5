"""A week of the daemon, made short: many checkpoints, failing origins, damage, kills; all is well in the end."""

from __future__ import annotations

import random
import signal
import time

import faults as f
import psutil
import pytest
from origin import Origin, Origins
from test_daemon import account, begin, end, flip
from workplace import Running, Workplace, sha256, tgz, wait_until

COUNT, SECONDS = 50, 15.0
MAX_AGE = 20.0


def misbehave(origin: Origin, chance: random.Random) -> None:
    """One day's weather at an origin."""
    path = f"/{chance.randrange(COUNT)}.tgz"
    faults = (
        f.status(500), f.status(404), f.later(503, "1"), f.cut(20_000), f.cut(0, "rst"), f.flip(5000), f.page(),
        f.says_length(10), f.ignores_range(), f.changing_etags(),
    )  # fmt: skip
    origin.on(path, chance.choice(faults), times=chance.randrange(1, 6))


def a_day(servers: list[Origin], site: Workplace, chance: random.Random) -> None:
    """Faults, an origin that is away for a while, damage, and a caller."""
    server = chance.choice(servers)
    for _ in range(chance.randrange(4)):
        misbehave(server, chance)
    if chance.random() < 0.1:
        server.refuse()
        server.listen()
    if chance.random() < 0.15 and site.lock:
        published = list((site.store / chance.choice(sorted(site.lock))).glob("*.tgz"))
        if published:
            flip(published[0], chance.randrange(5000))
    if chance.random() < 0.2:
        site.run(chance.choice(["sync", "verify"]), f"c{chance.randrange(COUNT)}", invariants=False)


def rss(daemon: Running) -> float:
    return psutil.Process(daemon.process.pid).memory_info().rss / 1e6


@pytest.mark.slow
def test_a_week(origins: Origins, site: Workplace) -> None:
    """Every checkpoint comes, the promise is kept, memory does not grow, none starves."""
    chance = random.Random(20_260)  # noqa: S311
    servers = [origins.new() for _ in range(3)]
    bodies = [tgz(chance.randrange(20_000, 120_000), number) for number in range(COUNT)]
    site.write(
        *({"name": f"c{number}", "url": servers[number % 3].put(f"/{number}.tgz", body), "sha256": sha256(body)}
          for number, body in enumerate(bodies)),
        sync={"every": "1s"},
        verify={"max_age": f"{MAX_AGE:.0f}s", "io_pressure": "off", "memory_pressure": "off"},
        transfer={"retries": 1, "stall_timeout": "1s"},
    )  # fmt: skip
    for server in servers:
        for _ in range(20):
            misbehave(server, chance)
    daemon = begin(site, "--quiet")
    until, sizes = time.monotonic() + SECONDS, list[float]()
    while time.monotonic() < until:
        a_day(servers, site, chance)
        if chance.random() < 0.06:
            daemon.signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            daemon.wait(15, invariants=False)
            daemon = begin(site, "--quiet")
        sizes.append(rss(daemon))
        time.sleep(0.3)
    for server in servers:
        server.calm()
    wait_until(lambda: len(site.lock) == COUNT, seconds=40, what="every checkpoint came")

    def well() -> bool:
        found = account(site)
        for each in found["incidents"]:
            if each["kind"] == "drift":  # what it was locked with was one of the ETags that changed each time
                site.run("update", each["name"], invariants=False).expect(0)
        states = {each["state"] for each in found["checkpoints"]}
        return bool(found["promise"]["kept"]) and states == {"present"} and found["incidents"] == []

    try:
        wait_until(well, seconds=60, what="all is well")
    except AssertionError:
        found = account(site)
        odd = [each for each in found["checkpoints"] if each["state"] != "present"]
        raise AssertionError(f"{found['promise']} {found['incidents']} {odd}") from None
    for number, body in enumerate(bodies):
        site.assert_good(f"c{number}", body)
    assert all(turn["failures"] == 0 for turn in account(site)["checkpoints"])
    print(f"memory: {min(sizes):.0f} to {max(sizes):.0f} MB")
    assert max(sizes) < 90
    end(daemon)
    site.run("history", "--check", invariants=False).expect(0)


@pytest.mark.slow
def test_memory_stays(origin: Origin, site: Workplace) -> None:
    """Hundreds of passes and callers later it is as small as it was."""
    names = [f"c{number}" for number in range(30)]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", tgz(20_000, n))} for n, name in enumerate(names)),
        sync={"every": "1s"},
        verify={"max_age": "2s"},
    )
    daemon = begin(site, "--quiet")
    wait_until(lambda: len(site.lock) == len(names), what="all are there")
    early = 0.0
    for turn in range(150):
        account(site)
        if turn == 50:
            early = rss(daemon)
        time.sleep(0.1)
    late = rss(daemon)
    print(f"memory: {early:.1f} then {late:.1f} MB")
    assert late < early + 5
    end(daemon)

"""A run that is stopped tells programs what it had done by then."""

from __future__ import annotations

import signal
from pathlib import Path

import faults as f
import pytest
from origin import Hold, Origin
from workplace import Workplace, sha256, tgz, wait_until

A, B = tgz(600_000, 1), tgz(20_000, 2)


@pytest.fixture
def held(origin: Origin, site: Workplace) -> Hold:
    """`a` stands still in the middle, `b` comes."""
    site.write(
        {"name": "a", "url": origin.put("/a.tgz", A)},
        {"name": "b", "url": origin.put("/b.tgz", B)},
        transfer={"stall_timeout": "30s"},
    )
    where = Hold()
    origin.on("/a.tgz", f.hold(300_000, where), times=None)
    return where


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["^C", "SIGTERM"])
def test_what_was_fetched_is_told(site: Workplace, held: Hold, number: int, status: int) -> None:
    running = site.start("sync", "--json")
    wait_until(held.reached.is_set, what="a stands still")
    wait_until(lambda: "b" in site.lock, what="b is locked")
    running.signal(number)
    run = running.wait(20).expect(status)
    assert run.report["exit"] == status
    (told,) = run.report["checkpoints"]
    assert (told["name"], told["state"], told["sha256"], told["error"]) == ("b", "fetched", sha256(B), None)


def test_what_was_verified_and_mended_is_told(origin: Origin, site: Workplace, held: Hold) -> None:
    held.release()
    site.sync().expect(0)
    again = Hold()
    origin.on("/a.tgz", f.hold(0, again), times=None)
    for name in "ab":
        path: Path = site.file(name)
        path.chmod(0o644)
        path.write_bytes(bytes(path.stat().st_size))
    running = site.start("verify", "--repair", "--json")
    wait_until(again.reached.is_set, what="a stands still")
    assert running.process.stderr is not None
    assert any("b: repaired" in line for line in running.process.stderr)  # as far as that line, and no further
    running.signal(signal.SIGINT)
    told = {each["name"]: each for each in running.wait(20, invariants=False).expect(130).report["checkpoints"]}
    assert (told["a"]["state"], told["b"]["state"], told["b"]["error"]) == ("corrupt", "repaired", None)

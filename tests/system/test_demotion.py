"""Trust that goes down is told, and does not go down for bytes that were vouched for."""

from __future__ import annotations

import base64
import hashlib
import signal

import faults as f
import pytest
from origin import Origin
from workplace import Run, Workplace, tgz, wait_until

A, B = tgz(20_000, 1), tgz(20_000, 2)
PATH = "/a.tar.gz"


def published(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@pytest.fixture
def witnessed(origin: Origin, site: Workplace) -> Workplace:
    """A site with one checkpoint whose digest the origin published when it was fetched, and no more."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.header("Repr-Digest", published(A)), times=None)
    assert site.sync().expect(0).entry("a")["trust"] == "witnessed"
    origin.calm()
    return site


def trust(run: Run) -> tuple[str, list[str]]:
    return run.entry("a")["trust"], run.entry("a").get("notes", [])


def test_the_same_bytes_keep_their_witnesses(witnessed: Workplace) -> None:
    """What was witnessed once is what it was, whoever has stopped saying so."""
    before = witnessed.lock
    assert trust(witnessed.run("update", "a", "--json").expect(0)) == ("witnessed", [])
    witnessed.file("a").unlink()
    assert trust(witnessed.sync().expect(0)) == ("witnessed", [])
    assert witnessed.lock == before


def test_other_bytes_that_nobody_vouches_for_are_told(origin: Origin, witnessed: Workplace) -> None:
    origin.put(PATH, B)
    now, notes = trust(witnessed.run("update", "a", "--json").expect(0))
    assert now == "first-use" == witnessed.lock["a"]["trust"]
    assert [note for note in notes if "goes down from witnessed to first-use" in note]


@pytest.mark.parametrize("command", [["sync"], ["update", "a"]], ids=" ".join)
def test_a_pin_that_is_gone_is_told(origin: Origin, site: Workplace, command: list[str]) -> None:
    site.one(origin.put(PATH, A), sha256=hashlib.sha256(A).hexdigest())
    site.sync().expect(0)
    site.one(origin.url(PATH))
    now, notes = trust(site.run(*command, "--json").expect(0))
    assert now == "first-use" == site.lock["a"]["trust"]
    assert [note for note in notes if "goes down from pinned to first-use" in note]


@pytest.mark.slow
def test_a_daemon_tells_it_too(origin: Origin, witnessed: Workplace) -> None:
    daemon = witnessed.start("daemon")
    wait_until((witnessed.state / "daemon.sock").exists, what="the daemon listens")
    origin.put(PATH, B)
    now, notes = trust(witnessed.run("update", "a", "--json").expect(0))
    assert now == "first-use"
    assert [note for note in notes if "goes down from witnessed to first-use" in note]
    daemon.signal(signal.SIGTERM)
    daemon.wait(10).expect(0)

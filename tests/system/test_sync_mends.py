"""`ckptd sync` over a file that is damaged: only that is fetched, the evidence is kept, and it says what happened."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from digests_of import md5
from origin import Origin
from workplace import Workplace, tgz, wait_until

BLOCK = 64 * 1024
SIZE = 1_500_000
AT = 5 * BLOCK + 77
PATH = "/a.bin"
BODY, OTHER = (random.Random(seed).randbytes(SIZE) for seed in (1, 2))  # noqa: S311


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def block_of_noise(path: Path) -> None:
    rewrite(path, BODY[: 5 * BLOCK] + OTHER[5 * BLOCK : 6 * BLOCK] + BODY[6 * BLOCK :])


def one_bit(path: Path) -> None:
    rewrite(path, BODY[:AT] + bytes([BODY[AT] ^ 8]) + BODY[AT + 1 :])


def cut_short(path: Path) -> None:
    rewrite(path, BODY[: 20 * BLOCK])


def grown(path: Path) -> None:
    rewrite(path, BODY + b"more")


@pytest.fixture
def synced(origin: Origin, site: Workplace) -> Workplace:
    site.write({"name": "a", "url": origin.put(PATH, BODY)}, transfer={"retries": 0})
    site.sync().expect(0)
    return site


@pytest.mark.parametrize(
    ("damage", "cause", "fetched"),
    [
        (block_of_noise, "one-block", BLOCK),
        (one_bit, "flipped-bit", 0),
        (cut_short, "truncated", SIZE - 20 * BLOCK),
        (grown, "grown", 0),
    ],
)
def test_only_what_is_damaged_is_fetched(
    origin: Origin, synced: Workplace, damage: Callable[[Path], None], cause: str, fetched: int
) -> None:
    path = synced.file("a")
    damage(path)
    sent = origin.body_bytes(PATH)
    with path.open("rb") as held:
        damaged = path.read_bytes()
        run = synced.sync(invariants=False).expect(0)
        assert held.read() == damaged  # whoever had it open keeps it
    found = run.entry("a")
    assert (found["state"], found["bytes_fetched"], found["bytes_reused"]) == ("repaired", fetched, SIZE - fetched)
    assert origin.body_bytes(PATH) - sent == fetched
    assert found["diagnosis"]["cause"] == cause
    report = json.loads((Path(found["diagnosis"]["quarantine"]) / "report.json").read_text())
    assert (report["action"], report["name"]) == ("repaired", "a")
    synced.assert_good("a", BODY)
    assert synced.sync().expect(0).entry("a")["state"] == "present"
    synced.verify().expect(0)


def test_touched_but_not_damaged(origin: Origin, synced: Workplace) -> None:
    os.utime(synced.file("a"))
    sent = origin.body_bytes(PATH)
    assert synced.sync().expect(0).entry("a")["state"] == "present"
    assert origin.body_bytes(PATH) == sent


def test_what_was_condemned_and_then_restored(origin: Origin, synced: Workplace) -> None:
    """Somebody has put the right bytes back: they are read, and nothing is fetched."""
    block_of_noise(synced.file("a"))
    synced.verify().expect(3)
    sent = origin.body_bytes(PATH)
    rewrite(synced.file("a"), BODY)
    found = synced.sync().expect(0).entry("a")
    assert (found["state"], found["bytes_fetched"], found["error"]) == ("present", 0, None)
    assert origin.body_bytes(PATH) == sent
    assert "present" in synced.run("sync", "--dry-run").expect(0).out


def test_what_was_condemned(origin: Origin, synced: Workplace) -> None:
    block_of_noise(synced.file("a"))
    synced.verify().expect(3)
    found = synced.sync(invariants=False).expect(0).entry("a")
    assert (found["state"], found["bytes_fetched"]) == ("repaired", BLOCK)
    synced.assert_good("a", BODY)


def test_the_lock_stays_as_it_is(origin: Origin, synced: Workplace) -> None:
    """`--locked`, though the origin vouches for the bytes by now."""
    lock = synced.lock_path.read_text()
    origin.put(PATH, BODY, headers=[("x-goog-hash", f"md5={md5(BODY)}")])
    rewrite(synced.file("a"), OTHER)
    assert synced.sync("--locked", invariants=False).expect(0).entry("a")["state"] == "repaired"
    assert synced.lock_path.read_text() == lock
    rewrite(synced.file("a"), OTHER)
    assert synced.sync(invariants=False).expect(0).entry("a")["trust"] == "witnessed"
    assert synced.lock_path.read_text() != lock


def test_damage_and_drift_are_an_integrity_failure(origin: Origin, synced: Workplace) -> None:
    """Nobody serves the locked bytes any more: those that are not right lose their name, and are kept as evidence."""
    lock, path = synced.lock_path.read_text(), synced.file("a")
    block_of_noise(path)
    damaged = path.read_bytes()
    origin.put(PATH, OTHER)
    run = synced.sync(invariants=False).expect(3)
    found = run.entry("a")
    assert (found["state"], found["error"]["kind"]) == ("failed", "integrity")
    assert "ckptd update a" in found["error"]["hint"]
    assert not path.exists()
    assert [each.read_bytes() for each in synced.state.glob("quarantine/*/*.bin")] == [damaged]
    assert synced.lock_path.read_text() == lock


def test_damage_and_no_origin(origin: Origin, synced: Workplace) -> None:
    """It may come back: the file stays, and is mended once it does."""
    block_of_noise(synced.file("a"))
    damaged = synced.file("a").read_bytes()
    origin.refuse()
    run = synced.sync(invariants=False).expect(3)
    assert "Not mended" in run.message("a")
    assert synced.file("a").read_bytes() == damaged
    origin.listen()
    assert synced.sync(invariants=False).expect(0).entry("a")["state"] == "repaired"
    synced.assert_good("a", BODY)


def test_among_others(origin: Origin, site: Workplace) -> None:
    """Good, new, damaged and damaged beyond mending, each to its own end."""
    bodies = {name: random.Random(name).randbytes(300_000) for name in "abcd"}  # noqa: S311
    entries = [{"name": name, "url": origin.put(f"/{name}.bin", body)} for name, body in bodies.items()]
    site.write(*entries[:3], transfer={"retries": 0})
    site.sync().expect(0)
    for name in "ab":
        rewrite(site.file(name), bodies[name][:-70_000] + bytes(70_000))
    origin.remove("/b.bin")
    site.write(*entries, transfer={"retries": 0})
    run = site.sync(invariants=False).expect(3)
    assert [run.entry(name)["state"] for name in "abcd"] == ["repaired", "failed", "present", "fetched"]
    assert "404" in run.message("b")
    for name in "acd":
        site.assert_good(name, bodies[name])


def test_a_daemon_tells_it_as_damage(origin: Origin, synced: Workplace) -> None:
    """What a caller's sync finds is an incident like what the scrub finds."""
    daemon = synced.start("daemon")
    wait_until(lambda: not daemon.running or (synced.state / "daemon.sock").exists(), what="the daemon is there")
    synced.sync().expect(0)
    block_of_noise(synced.file("a"))
    run = synced.sync(invariants=False).expect(0)
    assert (run.entry("a")["state"], run.entry("a")["bytes_fetched"]) == ("repaired", BLOCK)
    synced.assert_good("a", BODY)
    assert "damage" in synced.run("history", "a").expect(0).out
    assert origin.requests()


@pytest.mark.parametrize("tree", ["stands", "is damaged", "is gone"])
def test_an_archive_and_its_tree(origin: Origin, site: Workplace, tree: str) -> None:
    body = tgz(400_000, 5)
    site.one(origin.put("/a.tar.gz", body), unpack=True)
    site.sync(invariants=False).expect(0)
    archive, unpacked = site.store / "a" / "a.tar.gz", site.store / "a" / "tree"
    files = {path: path.read_bytes() for path in unpacked.rglob("*") if path.is_file()}
    rewrite(archive, body[:-9000] + bytes([body[-9000] ^ 1]) + body[-8999:])
    if tree == "is damaged":
        rewrite(next(iter(files)), b"something else")
    elif tree == "is gone":
        shutil.rmtree(unpacked)
    run = site.sync(invariants=False).expect(0)
    assert (run.entry("a")["state"], run.entry("a")["bytes_fetched"]) == ("repaired", 0)
    assert archive.read_bytes() == body
    assert {path: path.read_bytes() for path in unpacked.rglob("*") if path.is_file()} == files
    site.verify().expect(0)

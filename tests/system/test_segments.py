"""One large file over several connections: whatever goes wrong in one, the file is right.

The origin paces every connection, so that a single one would be slow and more are worth having.
"""

from __future__ import annotations

from pathlib import Path

import faults as f
import pytest
from origin import Behaviour, Hold, Origin, Turn, answer
from workplace import Batch, Workplace, sha256, tgz

A = tgz(24_000_000, 50)
B = tgz(24_000_000, 51)
PATH = "/large.tar.gz"


@pytest.fixture
def slow(origin: Origin, site: Workplace) -> Workplace:
    """A site that wants A from an origin that gives each connection some 6 MB/s."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.pace(65_536, 0.01), times=None)
    return site


def becomes_b(origin: Origin, *, if_range: bool = True) -> Behaviour:
    """The object is version B from the very request that this is applied to."""

    def behave(turn: Turn) -> None:
        origin.put(PATH, B)
        turn.blob = origin.blob(PATH)
        answer(turn, if_range=if_range)

    return behave


def test_several_connections_and_no_byte_twice(origin: Origin, slow: Workplace) -> None:
    """Segments from a shared work list: more than one connection, hardly a byte more than the file."""
    slow.sync().expect(0)
    slow.assert_good("a", A)
    assert 2 <= origin.peak <= 4
    assert origin.body_bytes() <= len(A) * 1.5, "socket buffers of closed connections count as sent"


def test_connections_of_one(origin: Origin, site: Workplace) -> None:
    """`connections = 1`."""
    body = tgz(6_000_000, 52)
    site.write({"name": "a", "url": origin.put(PATH, body)}, transfer={"connections": 1})
    origin.on(PATH, f.pace(65_536, 0.01), times=None)
    site.sync().expect(0)
    site.assert_good("a", body)
    assert origin.peak == 1


def test_connections_per_host_hold_for_segments(origin: Origin, site: Workplace) -> None:
    """`connections_per_host` over all checkpoints, segments included."""
    other = tgz(12_000_000, 53)
    site.write(
        {"name": "a", "url": origin.put(PATH, A)},
        {"name": "b", "url": origin.put("/other.tgz", other)},
        transfer={"connections_per_host": 3},
    )
    origin.on("*", f.pace(65_536, 0.005), times=None)
    site.sync().expect(0)
    site.assert_good("a", A)
    site.assert_good("b", other)
    assert origin.peak <= 3


TROUBLE: dict[str, tuple[Behaviour, ...]] = {
    "ignores ranges": (f.ignores_range(),),
    "wrong Content-Range": (f.content_range("bytes 0-{last}/{total}"),),
    "503 a few times": (f.status(503),),
    "cut": (f.cut(1_000_000),),
    "multipart": (f.multipart(),),
}


@pytest.mark.slow
def test_trouble_with_segments(tmp_path: Path) -> None:
    """4.1 with segments: fall back in steps, without draining the file on every connection."""
    body = tgz(14_000_000, 54)
    path = Batch.PATH
    with Batch(tmp_path, TROUBLE) as batch:
        rules = {}
        for row, origin in batch.origin.items():
            origin.put(path, body)
            origin.on(path, f.pace(65_536, 0.02), times=None)
            times = 3 if row in {"503 a few times", "cut"} else None
            rules[row] = origin.on(path, *TROUBLE[row], times=times, resume=True)
        batch.sync()
        for row, origin in batch.origin.items():
            batch.assert_good(row, body)
            assert rules[row].fired, row
            assert len(origin.requests()) < 40, row
            assert origin.body_bytes() <= 4 * len(body), row


def test_changed_while_segments_run(origin: Origin, slow: Workplace) -> None:
    """Promise 4: the second connection meets version B: nothing of A and B is joined."""
    replace = origin.on(PATH, becomes_b(origin), resume=True)
    slow.sync().expect(0)
    slow.assert_same_or_absent("a", A, B)  # the first stream may have brought all of A
    assert replace.fired


@pytest.mark.slow
def test_changed_while_segments_run_and_if_range_is_ignored(origin: Origin, slow: Workplace) -> None:
    """The same on a server that sends 206 of the new object (Dormice#86): equal lengths, other ETag."""
    origin.on(PATH, f.ignores_if_range(), times=None)
    replace = origin.on(PATH, becomes_b(origin, if_range=False), resume=True)
    slow.sync().expect(0)
    slow.assert_same_or_absent("a", A, B)  # the first stream may have brought all of A
    assert replace.fired


def test_one_connection_that_stands_still(origin: Origin, slow: Workplace) -> None:
    """A segment whose connection stalls is taken over; the stall is not the end of the file."""
    stuck = origin.on(PATH, f.hold(100_000, Hold()), resume=True)
    slow.sync().expect(0)
    slow.assert_good("a", A)
    assert stuck.fired


def test_mirrors_share_the_segments(origin: Origin, site: Workplace) -> None:
    """`mirrors` fail over per segment: the first host goes away in the middle, the mirror has the rest."""
    url = origin.put(PATH, A)
    mirror = origin.put("/mirror/large.tar.gz", A)
    site.write({"name": "a", "url": url, "mirrors": [mirror], "sha256": sha256(A)}, transfer={"retries": 1})
    origin.on("*", f.pace(65_536, 0.005), times=None)
    origin.on(PATH, f.cut(5_000_000), times=None)
    origin.on(PATH, f.status(404), times=None, skip=2)
    site.sync().expect(0)
    site.assert_good("a", A)

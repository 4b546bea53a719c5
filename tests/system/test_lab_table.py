"""The lab table of engines.md section 2, row by row: where the engines lose or corrupt data, ckptd gives OK.

OK is: the right bytes under the final name, and exit 0. Rows that need more variants have them in
the other modules; here each row stands once, as it was measured, with two versions A and B of equal length.
"""

from __future__ import annotations

import signal

import faults as f
import pytest
from digests_of import crc32c
from origin import Hold, Origin
from workplace import Workplace, sha256, tgz, wait_until

A = tgz(2_000_000, 1)
B = tgz(2_000_000, 2)
CUT = 800_000
PATH = "/model.tar.gz"


@pytest.fixture
def wanted(origin: Origin, site: Workplace) -> Workplace:
    """A site that wants version A."""
    site.one(origin.put(PATH, A))
    return site


def half(site: Workplace, origin: Origin, number: signal.Signals) -> None:
    """Run until the origin stands still at CUT, then end the run with this signal."""
    place = Hold()
    origin.on(PATH, f.hold(CUT, place), times=None)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    wait_until(lambda: site.state_bytes() >= CUT, what="what was sent is written")
    running.signal(number)
    running.wait()
    origin.calm()
    origin.forget()


def test_cut_mid_body_same_content(origin: Origin, wanted: Workplace) -> None:
    """Row 1: resumes, 1.0x traffic."""
    origin.on(PATH, f.cut(CUT))
    wanted.sync().expect(0)
    wanted.assert_good("a", A)
    assert origin.body_bytes() == len(A)


def test_cut_then_upstream_changed(origin: Origin, wanted: Workplace) -> None:
    """Row 2: aria2, curl 8.22, wget, lftp splice and say 0; here it is B."""
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, B)))
    wanted.sync().expect(0)
    wanted.assert_good("a", B)


def test_graceful_stop_upstream_changed_rerun(origin: Origin, wanted: Workplace) -> None:
    """Row 3: B."""
    half(wanted, origin, signal.SIGINT)
    origin.put(PATH, B)
    wanted.sync().expect(0)
    wanted.assert_good("a", B)


def test_sigkill_same_content_rerun(origin: Origin, wanted: Workplace) -> None:
    """Row 4: OK; the file is never full-size under its final name before it is whole."""
    half(wanted, origin, signal.SIGKILL)
    wanted.assert_absent("a")
    wanted.sync().expect(0)
    wanted.assert_good("a", A)


def test_bit_flip_on_the_wire_with_a_witness(origin: Origin, site: Workplace) -> None:
    """Row 5: no hash in the manifest; all nine engines say 0. The origin's own x-goog-hash decides."""
    site.one(origin.put(PATH, A, headers=[("x-goog-hash", f"crc32c={crc32c(A)}")]))
    origin.on(PATH, f.flip(1_000_000))
    site.sync().expect(0)
    site.assert_good("a", A)


def test_bit_flip_on_the_wire_against_the_lock(origin: Origin, wanted: Workplace) -> None:
    """Row 5 once more: known from the first fetch, a flip on a later one is fetched again."""
    wanted.sync().expect(0)
    wanted.file("a").unlink()
    origin.on(PATH, f.flip(1_000_000))
    wanted.sync().expect(0)
    wanted.assert_good("a", A)


def test_server_stops_honouring_range_after_the_cut(origin: Origin, wanted: Workplace) -> None:
    """Row 6: aria2 gives up, wget2 asks 1,676 times; here it is the whole once more."""
    origin.on(PATH, f.cut(CUT))
    origin.on(PATH, f.ignores_range(), times=None, ranged=True)
    wanted.sync().expect(0)
    wanted.assert_good("a", A)
    assert origin.body_bytes() <= 3 * len(A)


def test_html_200_page_answers_the_range_request(origin: Origin, wanted: Workplace) -> None:
    """Row 7."""
    origin.on(PATH, f.cut(CUT))
    page = origin.on(PATH, f.page(), resume=True)
    wanted.sync().expect(0)
    wanted.assert_good("a", A)
    assert page.fired


def test_206_with_wrong_content_range(origin: Origin, wanted: Workplace) -> None:
    """Row 8: wget2 and axel write it, curl never ends."""
    origin.on(PATH, f.cut(CUT))
    wrong = origin.on(PATH, f.sends(0, 500_000), times=None, resume=True)
    wanted.sync().expect(0)
    wanted.assert_good("a", A)
    assert wrong.fired
    assert len(origin.requests()) < 15


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_twice(origin: Origin, wanted: Workplace, status: int) -> None:
    """Rows 9 and 10: 503 and 429 with Retry-After, twice: waited for, then fetched.

    The lower bounds on the waits are what the header means; longer waits are no failure.
    """
    origin.on(PATH, f.later(status, "1"), times=2)
    wanted.sync().expect(0)
    wanted.assert_good("a", A)
    first, second, third = origin.requests(method="GET")
    assert second.at - first.answered >= 0.95
    assert third.at - second.answered >= 0.95


def test_bit_rot_on_disk_same_command_again(origin: Origin, wanted: Workplace) -> None:
    """Row 11: found by verify; what sync then does never calls the rotten file good."""
    wanted.sync().expect(0)
    path = wanted.file("a")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1_234_567)
        byte = file.read(1)[0]
        file.seek(1_234_567)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)
    wanted.verify().expect(3)
    run = wanted.sync(invariants=False).expect(0, 3)
    if run.status == 0:
        wanted.assert_good("a", A)
        wanted.verify().expect(0)
    assert origin.digests


# ---- the extras below the table


def test_flip_with_a_hash_leaves_nothing_under_the_final_name(origin: Origin, site: Workplace) -> None:
    """aria2 --checksum: rc 32 and the corrupt file under the FINAL name."""
    site.one(origin.put(PATH, A), sha256=sha256(A))
    origin.on(PATH, f.flip(1_000_000), times=None)
    site.sync().expect(3)
    site.assert_absent("a")
    origin.calm()
    site.sync().expect(0)
    site.assert_good("a", A)


def test_lost_state_of_a_partial(origin: Origin, wanted: Workplace) -> None:
    """aria2 finding 3, lftp finding 5: the state of a partial is lost; its length is no progress."""
    half(wanted, origin, signal.SIGKILL)
    for path in list(wanted.state.rglob("*")):
        if path.is_file() and ("sqlite" in path.name or path.suffix in {".db", ".json"}):
            path.unlink()
    wanted.sync().expect(0)
    wanted.assert_good("a", A)


@pytest.mark.parametrize("gone", [False, True], ids=["truncated", "gone"])
def test_lost_data_of_a_partial(origin: Origin, wanted: Workplace, gone: bool) -> None:
    """The same the other way round: the partial is cut short or gone, the state says it was there."""
    half(wanted, origin, signal.SIGINT)
    partials = [path for path in wanted.state.rglob("*") if path.is_file() and path.stat().st_size >= CUT // 2]
    for path in partials:
        if gone:
            path.unlink()
        else:
            with path.open("r+b") as file:
                file.truncate(1000)
    assert partials
    wanted.sync().expect(0)
    wanted.assert_good("a", A)


def test_partial_of_another_url(origin: Origin, site: Workplace) -> None:
    """axel#380: a partial belongs to its URL; the entry now names another one."""
    site.one(origin.put(PATH, A))
    half(site, origin, signal.SIGINT)
    site.one(origin.put("/other/model.tar.gz", B, etag="auto"))
    site.sync().expect(0)
    site.assert_good("a", B)

"""The object changes while we have half of it (origins.md 4.2, engines.md findings 1 and 2): never a splice.

Version B takes the place of A after a cut within a run, a graceful stop, or a SIGKILL, on servers that judge
If-Range rightly and on servers that do not look at it. What ends up in the store is B, whole.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial

import faults as f
import pytest
from origin import Hold, Origin
from workplace import Batch, Workplace, sha256, tgz, wait_until

A = tgz(260_000, 1)
B = tgz(260_000, 2)  # of the same length
LONGER = tgz(300_000, 3)
CUT = 100_000
PATH = "/a.tar.gz"
LATER = "Thu, 02 Jan 2020 00:00:00 GMT"

KINDS = ["strong etag", "weak etag", "last-modified", "none", "generation"]


def publish(origin: Origin, body: bytes, kind: str, *, second: bool = False) -> str:
    """Put `body` with the validators of `kind`; those of the second version differ."""
    number = 2 if second else 1
    date = LATER if second else None
    if kind == "strong etag":
        return origin.put(PATH, body, last_modified=None)
    if kind == "weak etag":
        return origin.put(PATH, body, etag=f'W/"v{number}"', last_modified=None)
    if kind == "none":
        return origin.put(PATH, body, etag=None, last_modified=None)
    if kind == "generation":
        return origin.put(PATH, body, headers=[("x-goog-generation", str(1_700_000_000_000_000 + number))])
    if date is None:
        return origin.put(PATH, body, etag=None)
    return origin.put(PATH, body, etag=None, last_modified=date)


ROWS = {
    f"{kind}, if-range {'honoured' if judges else 'ignored'}": (kind, judges)
    for kind in KINDS
    for judges in (True, False)
}


def script(batch: Batch) -> None:
    """Version A in every row, and servers that look at If-Range or do not."""
    for row, (kind, judges) in ROWS.items():
        publish(batch.origin[row], A, kind)
        if not judges:
            batch.origin[row].on(PATH, f.ignores_if_range(), times=None)


@pytest.fixture(scope="module", params=[B, LONGER], ids=["as long", "longer"])
def cut_then_changed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """The first answer is cut, and by then the object is another."""
    with Batch(tmp_path_factory.mktemp("cut"), ROWS) as batch:
        script(batch)
        for row, (kind, _) in ROWS.items():
            origin = batch.origin[row]
            origin.on(PATH, f.cut(CUT, after=0.3), f.then(partial(publish, origin, request.param, kind, second=True)))
        batch.sync()
        batch.body = request.param
        yield batch


@pytest.mark.parametrize("row", ROWS)
def test_cut_then_changed(cut_then_changed: Batch, row: str) -> None:
    """engines 2, row "Cut, then upstream changed"; Dormice#86 where If-Range is ignored."""
    cut_then_changed.assert_good(row, cut_then_changed.body)
    assert len(cut_then_changed.origin[row].requests()) < 12


@pytest.fixture(scope="module", params=[signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
def stopped_then_changed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """Every row stands still half-way, the run is stopped or killed, the objects change, and it is run again."""
    with Batch(tmp_path_factory.mktemp("stopped"), ROWS) as batch:
        script(batch)
        place = Hold()
        held = [origin.on(PATH, f.hold(CUT, place), times=None) for origin in batch.origin.values()]
        batch.write(transfer={"stall_timeout": "30s"})
        running = batch.site.start("sync")
        wait_until(lambda: place.count >= len(held), what="all downloads stand still")
        wait_until(lambda: batch.site.state_bytes() >= CUT * len(held) // 2, seconds=10, what="the partials are there")
        running.signal(request.param)
        running.wait()
        for row, (kind, judges) in ROWS.items():
            batch.origin[row].calm()
            if not judges:
                batch.origin[row].on(PATH, f.ignores_if_range(), times=None)
            publish(batch.origin[row], B, kind, second=True)
        batch.sync()
        yield batch


@pytest.mark.parametrize("row", ROWS)
def test_stopped_then_changed(stopped_then_changed: Batch, row: str) -> None:
    """engines 2, row "Graceful stop, upstream changed, re-run", and the same after SIGKILL."""
    stopped_then_changed.assert_good(row, B)


def test_changed_while_resuming_again_and_again(origin: Origin, site: Workplace) -> None:
    """4.2: A, then B, then A again, each cut; the end is one of them, whole."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, B)))
    origin.on(PATH, f.cut(CUT + 1), f.then(lambda: origin.put(PATH, A)), skip=1)
    origin.on(PATH, f.cut(CUT + 2), f.then(lambda: origin.put(PATH, B)), skip=2)
    site.sync().expect(0)
    site.assert_good("a", B)


def test_last_modified_of_this_very_second_proves_nothing(origin: Origin, site: Workplace) -> None:
    """4.2: Last-Modified equal to Date is weak; a rewrite within the second keeps it, and is not joined."""
    now = format_datetime(datetime.now(UTC), usegmt=True)
    site.one(origin.put(PATH, A, etag=None, last_modified=now))
    origin.on(PATH, f.header("Date", now), times=None)
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, B, etag=None, last_modified=now)), ranged=None)
    site.sync().expect(0)
    site.assert_good("a", B)


def test_weak_etag_is_not_sent_in_if_range(origin: Origin, site: Workplace) -> None:
    """4.2: `W/"..."` must not be sent in If-Range."""
    site.one(origin.put(PATH, A, etag='W/"1"'))
    origin.on(PATH, f.cut(CUT))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert not [x for x in origin.requests() if (x.request.header("if-range") or "").startswith("W/")]


def test_no_validator_and_no_pin_begins_again(origin: Origin, site: Workplace) -> None:
    """4.2: no validator at all, nothing pinned: never resumed."""
    site.one(origin.put(PATH, A, etag=None, last_modified=None))
    origin.on(PATH, f.cut(CUT))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert len(origin.requests()) <= 4


def test_a_pinned_size_alone_does_not_join_versions(origin: Origin, site: Workplace) -> None:
    """Promise 4: with no validator a size proves nothing; two versions of one length are not joined."""
    site.one(origin.put(PATH, A, etag=None, last_modified=None), size=len(A))
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, B, etag=None, last_modified=None)))
    site.sync().expect(0)
    site.assert_good("a", B)


def test_no_validator_but_a_pin_is_a_gamble_lost_once(origin: Origin, site: Workplace) -> None:
    """4.2: pinned, a resume may be tried; where it joined two versions, one more fetch from zero decides."""
    site.one(origin.put(PATH, B, etag=None, last_modified=None), sha256=sha256(A))
    origin.put(PATH, A, etag=None, last_modified=None)
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, A, etag=None, last_modified=None)))
    origin.put(PATH, B, etag=None, last_modified=None)
    run = site.sync().expect(0, 3)
    if run.status == 0:
        site.assert_good("a", A)
    else:
        site.assert_absent("a")
    site.sync().expect(0)
    site.assert_good("a", A)


def test_edges_with_different_etags_for_equal_bytes(origin: Origin, site: Workplace) -> None:
    """4.2: another ETag each time: begun again a few times, then one stream; the file is right."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.changing_etags(), times=None)
    origin.on(PATH, f.cut(CUT), times=2)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert len(origin.requests()) < 12


def test_always_200_to_an_etag_if_range(origin: Origin, site: Workplace) -> None:
    """4.2, VK (aria2-next#43): after two 200s with unchanged validators, plain Range and comparison."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"retries": 4})
    origin.on(PATH, f.refuses_etag_if_range(), times=None)
    origin.on(PATH, f.cut(CUT), times=None)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert [x for x in origin.requests() if x.status == 206], "it never went back to a plain Range"


def test_a_length_that_differs_each_time(origin: Origin, site: Workplace) -> None:
    """4.2, aria2#590: with size and sha256 pinned the right length is found, or nothing is published."""
    site.one(origin.put(PATH, A), sha256=sha256(A), size=len(A))
    origin.on(PATH, f.changing_length([500, 300, 0, 0, 0, 0]), times=None)
    site.sync().expect(0, 1, 3)
    site.assert_same_or_absent("a", A)
    origin.calm()
    site.sync().expect(0)
    site.assert_good("a", A)


def test_metadata_change_is_not_a_new_object(origin: Origin, site: Workplace) -> None:
    """1, ETag: an ETag that changes with equal generation does not make a wrong file."""
    generation = [("x-goog-generation", "1700000000000001")]
    site.one(origin.put(PATH, A, etag='"one"', headers=generation))
    origin.on(PATH, f.cut(CUT), f.then(lambda: origin.put(PATH, A, etag='"two"', headers=generation)))
    site.sync().expect(0)
    site.assert_good("a", A)

"""When to try again, how long to wait, when to stop; and how loads are shared (origins.md 4.5)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import faults as f
import pytest
from origin import Hold, Origin, Origins
from web import free_port
from workplace import Batch, Workplace, sha256, tgz, wait_until

A = tgz(260_000, 1)
B = tgz(260_000, 2)
C = tgz(260_000, 3)
CUT = 100_000
PATH = "/a.tar.gz"

TRANSIENT = ["408", "425", "429", "500", "502", "503", "504"]


def test_transient_status_twice(tmp_path: Path) -> None:
    """1, Retry: 408, 429 and 5xx are tried again."""
    with Batch(tmp_path, TRANSIENT) as batch:
        for status, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.status(int(status)), times=2, method=None)
        batch.sync()
        for status in TRANSIENT:
            batch.assert_good(status, A)


def test_transient_status_for_ever(tmp_path: Path) -> None:
    """`transfer.retries`: attempts without progress are bounded; the message names what was said."""
    with Batch(tmp_path, TRANSIENT) as batch:
        for status, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.status(int(status)), times=None, method=None)
        batch.sync(transfer={"retries": 1})
        for status, origin in batch.origin.items():
            batch.assert_failed(status, "origin", "network")
            assert status in batch.message(status)
            assert 2 <= len(origin.requests()) <= 4


def test_retry_after_as_a_date_is_waited_for(origin: Origin, site: Workplace) -> None:
    """4.5: the HTTP-date form, in whole seconds."""
    site.one(origin.put(PATH, A))
    when = datetime.now(UTC) + timedelta(seconds=3)
    origin.on(PATH, f.later(503, format_datetime(when, usegmt=True)), times=1)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert datetime.now(UTC) >= when.replace(microsecond=0)


OF_NO_USE = [
    "0",
    "-5",
    "soon",
    "",
    "1.5",
    "Wed, 01 Jan 2020 00:00:00 GMT",
    "Wed, 99 Foo 2020",
    "0x10",
    "٣",
    "1, 2",
]


def test_retry_after_of_no_use(tmp_path: Path) -> None:
    """4.5: negative, past, garbage: the usual backoff, no crash, no hammering."""
    with Batch(tmp_path, OF_NO_USE) as batch:
        for value, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.later(503, value.encode().decode("latin-1")), times=2)
        batch.sync()
        for value in OF_NO_USE:
            batch.assert_good(value, A)


def test_retry_after_beyond_all_patience(tmp_path: Path) -> None:
    """4.5: over the cap this run gives up and says so; it neither sleeps for a day nor overflows."""
    values = ["86400", "9999999999", "9" * 400, "Fri, 01 Jan 2100 00:00:00 GMT"]
    with Batch(tmp_path, values) as batch:
        for value, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.later(429, value), times=None)
        batch.sync()
        for value, origin in batch.origin.items():
            batch.assert_failed(value, "origin", "network")
            assert len(origin.requests()) <= 3


def test_retry_after_holds_for_the_whole_host(origin: Origin, site: Workplace) -> None:
    """Retry-After is honoured for the host by everybody, not just by who was told.

    Requests that were on their way when the 429 went out may still arrive: half a second is left for them.
    """
    names = [f"m{number}" for number in range(8)]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in names),
        transfer={"downloads": 2, "retries": 4},
    )
    told = origin.on("*", f.later(429, "3"))
    site.sync().expect(0)
    assert told.fired == 1
    for name in names:
        site.assert_good(name, A)
    moment = next(x.answered for x in origin.requests() if x.status == 429)
    early = [x for x in origin.requests() if moment + 0.5 < x.at < moment + 2.9]
    assert not early, [(x.request.path, x.at - moment) for x in early]


@pytest.mark.slow
def test_who_waits_in_line_hears_of_it_too(origin: Origin, site: Workplace) -> None:
    """One connection at a time: those behind whoever was told do not ask before the pause is over."""
    names = [f"m{number}" for number in range(4)]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in names),
        transfer={"connections_per_host": 1, "retries": 4},
    )
    origin.on("*", f.later(429, "2"))
    site.sync().expect(0)
    told, *others = origin.requests()
    assert told.answered is not None
    assert min(each.at for each in others) - told.answered > 1.9


@pytest.mark.slow
def test_those_who_rest_keep_nobody_from_loading(origins: Origins, site: Workplace) -> None:
    """Every place was taken by a host that is away for longer: the other one's file comes meanwhile."""
    tired, lively = origins.new(), origins.new(host="localhost")
    site.write(
        {"name": "a", "url": tired.put("/a.tgz", A), "priority": 1},
        {"name": "b", "url": tired.put("/b.tgz", B), "priority": 1},
        {"name": "c", "url": lively.put("/c.tgz", C)},
        transfer={"downloads": 2},
    )
    tired.on("/a.tgz", f.later(503, "6"))
    tired.on("/b.tgz", f.later(503, "6"))
    site.sync().expect(0)
    again = [each for each in tired.requests() if each.status == 200]
    assert len(again) == 2
    assert lively.requests()[-1].at < min(each.at for each in again)


@pytest.mark.slow
def test_another_host_is_not_held_up(origins: Origins, site: Workplace) -> None:
    """The cool-down is the host's; others go on meanwhile."""
    tired, lively = origins.new(), origins.new(host="localhost")
    site.write(
        {"name": "a", "url": tired.put("/a.tgz", A)},
        {"name": "b", "url": lively.put("/b.tgz", B)},
    )
    tired.on("*", f.later(503, "3"))
    site.sync().expect(0)
    published = lively.requests()[-1].at
    assert published < tired.requests()[-1].at


def test_refused_for_a_while(origin: Origin, site: Workplace) -> None:
    """A cut, then connections refused, then the origin is back: one run survives it."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"retries": 5})

    def vanish() -> None:
        origin.refuse()
        origin.after(1.0, origin.listen)

    origin.on(PATH, f.cut(CUT, "rst"), f.then(vanish))
    site.sync().expect(0)
    site.assert_good("a", A)


def test_nobody_listens(site: Workplace) -> None:
    """Exit 1: the message says what could not be reached, and what to do next."""
    port = free_port()
    site.write({"name": "a", "url": f"http://127.0.0.1:{port}/a.tgz"}, transfer={"retries": 1})
    run = site.sync().expect(1)
    assert run.kind("a") == "network"
    assert f"127.0.0.1:{port}" in run.message("a")


def test_name_that_does_not_resolve(site: Workplace) -> None:
    """7, error classes: DNS failure is of the network; it ends, and says which host."""
    site.write({"name": "a", "url": "https://ckptd-test.invalid/a.tgz"}, transfer={"retries": 1})
    run = site.sync().expect(1)
    assert run.kind("a") == "network"
    assert "ckptd-test.invalid" in run.message("a")


def test_one_bad_entry_does_not_stop_the_others(origin: Origin, site: Workplace) -> None:
    """I3: every good one is published and locked; the exit status is the worst by the contract's order."""
    good = {f"good{number}": tgz(50_000, 20 + number) for number in range(4)}
    entries = [{"name": name, "url": origin.put(f"/{name}.tgz", body)} for name, body in good.items()]
    bad = {
        "missing": {"url": origin.url("/nowhere.tgz")},
        "page": {"url": origin.put("/page.tgz", A)},
        "broken": {"url": origin.put("/broken.tgz", A)},
        "wrong": {"url": origin.put("/wrong.tgz", A), "sha256": sha256(B)},
        "refused": {"url": f"http://127.0.0.1:{free_port()}/x.tgz"},
    }
    origin.on("/page.tgz", f.page(), times=None)
    origin.on("/broken.tgz", f.ignores_range(), f.cut(CUT), times=None)
    mixed = [{"name": name, **keys} for name, keys in bad.items()]
    site.write(*mixed[:2], *entries[:2], *mixed[2:], *entries[2:], transfer={"retries": 1})
    run = site.sync().expect(3)
    for name, body in good.items():
        site.assert_good(name, body)
        assert run.entry(name)["state"] == "fetched"
    for name in bad:
        site.assert_absent(name)
        assert run.entry(name)["state"] == "failed"
        assert run.message(name)
    assert run.kind("wrong") == "integrity"
    site.write(*mixed[:3], *entries, transfer={"retries": 1})
    site.sync().expect(1)


def test_wrong_pin_is_integrity_and_bounded(origin: Origin, site: Workplace) -> None:
    """Contract: bytes that differ from a `sha256` in the manifest are an integrity failure (3)."""
    site.one(origin.put(PATH, A), sha256=sha256(B))
    run = site.sync().expect(3)
    assert run.kind("a") == "integrity"
    assert sha256(A)[:12] in run.message("a"), "it does not say what it found"
    site.assert_absent("a")
    assert len(origin.requests(method="GET")) <= 6


def test_wrong_size_pin(origin: Origin, site: Workplace) -> None:
    """`size` is a pin as well."""
    site.one(origin.put(PATH, A), size=len(A) + 5)
    site.sync().expect(1, 3)
    site.assert_absent("a")


def test_flip_with_a_pin(origin: Origin, site: Workplace) -> None:
    """engines 2, "Bit-flip on the wire" with a hash: never published; a second run is clean."""
    site.one(origin.put(PATH, A), sha256=sha256(A))
    origin.on(PATH, f.flip(200_000))
    run = site.sync().expect(0, 3)
    if run.status == 3:
        site.assert_absent("a")
        site.sync().expect(0)
    site.assert_good("a", A)


# ---- how much at once


@pytest.mark.parametrize(
    ("transfer", "most"),
    [
        ({"downloads": 3}, 3),
        ({"downloads": 8, "connections_per_host": 2}, 2),
        ({"downloads": 1, "connections_per_host": 16}, 1),
    ],
)
def test_requests_in_flight(origin: Origin, site: Workplace, transfer: dict[str, object], most: int) -> None:
    """`downloads` and `connections_per_host` are upper bounds, and are used up to them."""
    names = [f"m{number}" for number in range(8)]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", tgz(30_000, 5))} for name in names),
        transfer={**transfer, "stall_timeout": "20s", "connect_timeout": "20s"},
    )
    gate = Hold()
    origin.on("*", f.hold(10, gate), times=None)
    running = site.start("sync", "--json")
    wait_until(lambda: gate.count >= most, what=f"{most} requests at once")
    gate.release()
    running.wait().expect(0)
    assert origin.peak == most
    for name in names:
        site.assert_good(name, tgz(30_000, 5))


@pytest.mark.slow
def test_bandwidth_is_an_upper_bound(origin: Origin, site: Workplace) -> None:
    """`transfer.bandwidth` over all connections: 4 MB at 1 MB/s are not asked for and gone at once.

    A lower bound with much room for a burst and for socket buffers; being slower is no failure.
    """
    big = tgz(2_000_000, 5)
    names = ["m0", "m1"]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", big)} for name in names),
        transfer={"bandwidth": "1 MB/s", "stall_timeout": "20s"},
    )
    begun = time.monotonic()
    site.sync().expect(0)
    assert time.monotonic() - begun >= 1.5
    for name in names:
        site.assert_good(name, big)


# ---- mirrors and sources


def test_mirror_when_the_first_is_gone(origins: Origins, site: Workplace) -> None:
    """`mirrors`: more URLs of the same bytes."""
    first, second = origins.new(), origins.new(host="localhost")
    site.one(first.url("/none.tgz"), mirrors=[second.put("/a.tgz", A)], sha256=sha256(A))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert site.lock["a"]["url"] == first.url("/none.tgz")
    assert site.file("a").name == "none.tgz"


def test_mirror_when_the_first_misbehaves(origins: Origins, tmp_path: Path) -> None:
    """Failover, trusted only because the digest decides."""
    faults = ["refused", "503", "page", "stall", "cut for ever", "other bytes"]
    mirror = origins.new(host="localhost")
    with Batch(tmp_path, faults) as batch:
        first = batch.origin
        for fault, origin in first.items():
            origin.put(PATH, B if fault == "other bytes" else A)
        first["refused"].refuse()
        first["503"].on("*", f.status(503), times=None)
        first["page"].on("*", f.page(), times=None)
        first["stall"].on("*", f.hold(CUT, Hold()), times=None)
        first["cut for ever"].on("*", f.ignores_range(), f.cut(CUT), times=None)
        keys = {
            fault: {"mirrors": [mirror.put(f"/{number}.tgz", A)], "sha256": sha256(A)}
            for number, fault in enumerate(faults)
        }
        batch.sync(keys, transfer={"retries": 1})
        for fault in faults:
            batch.assert_good(fault, A)


def test_mirror_of_another_version_is_never_joined(origins: Origins, site: Workplace) -> None:
    """Promise 4: half from the first, the mirror has other bytes of the same length: no splice."""
    first, second = origins.new(), origins.new(host="localhost")
    url = first.put("/a.tgz", A)
    site.write({"name": "a", "url": url, "mirrors": [second.put("/a.tgz", B)]}, transfer={"retries": 1})
    first.on("*", f.cut(CUT), f.then(first.refuse))
    site.sync().expect(0, 1, 3)
    site.assert_same_or_absent("a", A, B)


def test_mirror_of_another_version_with_a_pin(origins: Origins, site: Workplace) -> None:
    """Mirrors may hold other versions: the pin refuses them, whatever was joined on the way."""
    first, second = origins.new(), origins.new(host="localhost")
    url = first.put("/a.tgz", A)
    site.write(
        {"name": "a", "url": url, "mirrors": [second.put("/a.tgz", B)], "sha256": sha256(A)},
        transfer={"retries": 1},
    )
    first.on("*", f.cut(CUT), f.then(first.refuse))
    site.sync().expect(1, 3)
    site.assert_absent("a")
    first.listen()
    site.sync().expect(0)
    site.assert_good("a", A)


def test_all_mirrors_fail(origins: Origins, site: Workplace) -> None:
    """Bounded, and the message tells of it."""
    first, second = origins.new(), origins.new(host="localhost")
    site.write(
        {"name": "a", "url": first.url("/a.tgz"), "mirrors": [second.url("/a.tgz")]},
        transfer={"retries": 1},
    )
    run = site.sync().expect(1)
    assert run.kind("a") == "origin"
    assert first.requests()
    assert second.requests()
    assert len(first.requests()) + len(second.requests()) <= 8


def test_sources_in_their_order(origins: Origins, site: Workplace) -> None:
    """`[sources]`: the first that answers, then the next, then the original, which the lock names."""
    dead, near, original = origins.new(), origins.new(), origins.new(host="localhost")
    url = original.put("/bucket/deep/a.tgz", A)
    near.put("/cache/deep/a.tgz", A)
    site.write(
        {"name": "a", "url": url},
        sources={original.url("/bucket/"): [dead.url("/x/"), near.url("/cache/")]},
    )
    site.sync().expect(0)
    site.assert_good("a", A)
    assert dead.requests("/x/deep/a.tgz")
    assert near.requests("/cache/deep/a.tgz")
    assert not original.requests()
    assert site.lock["a"]["url"] == url


def test_short_urls_mean_their_https_form(origins: Origins, site: Workplace) -> None:
    """Contract: `gs://bucket/object` and `hf://org/repo@revision/path`; led to a loopback origin by `[sources]`."""
    google, hub = origins.new(), origins.new()
    google.put("/bucket/deep/a.tgz", A)
    hub.put("/org/repo/resolve/v1.0/weights/b.tgz", B)
    urls = {"a": "gs://bucket/deep/a.tgz", "b": "hf://org/repo@v1.0/weights/b.tgz"}
    site.write(
        *({"name": name, "url": url} for name, url in urls.items()),
        sources={
            "https://storage.googleapis.com/": [google.url("/")],
            "https://huggingface.co/": [hub.url("/")],
        },
    )
    site.sync().expect(0)
    site.assert_good("a", A)
    site.assert_good("b", B)
    assert {name: site.lock[name]["url"] for name in urls} == urls
    assert site.file("b").name == "b.tgz"


def test_sources_fall_back_to_the_original(origins: Origins, site: Workplace) -> None:
    """`[sources]`: then the original."""
    dead, original = origins.new(), origins.new(host="localhost")
    url = original.put("/bucket/a.tgz", A)
    dead.refuse()
    site.write(
        {"name": "a", "url": url},
        sources={original.url("/bucket/"): [dead.url("/")]},
        transfer={"retries": 1},
    )
    site.sync().expect(0)
    site.assert_good("a", A)

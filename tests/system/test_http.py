"""A daemon with `[daemon] listen`: what it serves to whom, what it does not, and that it goes on without it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import faults as f
import pytest
from origin import Origin, Origins
from served import Served
from workplace import Workplace, tgz, wait_until

pytestmark = pytest.mark.slow

A, B = tgz(60_000, 1), tgz(70_000, 2)
PAGES = {
    "/": "text/html; charset=utf-8",
    "/status.json": "application/json; charset=utf-8",
    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
    "/healthz": "text/plain; charset=utf-8",
}
SECRET = "geheim0123456789"


@pytest.fixture
def served(site: Workplace) -> Iterator[Served]:
    found = Served(site)
    yield found
    if found.running is not None and found.running.running:
        found.stop()


@pytest.fixture
def two(origin: Origin, served: Served) -> Served:
    """A daemon that has fetched two checkpoints."""
    return with_two(origin, served)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same, for tests that only look."""
    with Origins() as origins:
        origin = origins.new()
        site = Workplace(tmp_path_factory.mktemp("standing") / "site", origins.made)
        found = with_two(origin, Served(site))
        yield found
        found.stop()


def with_two(origin: Origin, served: Served) -> Served:
    served.write(
        {"name": "a", "url": origin.put("/a.tar.gz", A), "description": "The first <b>one</b>", "tags": ["t"]},
        {"name": "b", "url": origin.put("/b.tar.gz", B)},
    )
    served.start()
    wait_until(lambda: set(served.states().values()) == {"present"}, what="both are there")
    return served


# --- what there is ---------------------------------------------------------------------------------------------------


def test_what_is_served(standing: Served) -> None:
    for path, kind in PAGES.items():
        answer = standing.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind), path
        head = standing.get(path, "HEAD")
        assert (head.status, head.headers["Content-Type"], head.text) == (200, kind, ""), path
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] == "ckptd"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    page = standing.get("/").text
    assert "All 2 checkpoints are here and verified." in page
    assert "The first &lt;b&gt;one&lt;/b&gt;" in page
    assert str(standing.site.file("a")) in page.replace("<wbr>", "")
    assert standing.get("/", Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"
    assert standing.get("/healthz").text == "ok\n"
    assert standing.account()["promise"]["kept"] is True


def test_the_metrics_of_a_first_sync(standing: Served) -> None:
    found = standing.metrics()
    assert found["ckptd_checkpoints", ("present",)] == 2
    assert found["ckptd_checkpoint_present", ("a",)] == 1
    assert found["ckptd_checkpoint_size_bytes", ("b",)] == len(B)
    assert found["ckptd_outcomes_total", ("fetched",)] == 2
    (host,) = [labels[0] for name, labels in found if name == "ckptd_downloaded_bytes_total"]
    assert found["ckptd_downloaded_bytes_total", (host,)] == len(A) + len(B)
    assert found["ckptd_promise_kept", ()] == 1
    assert found["process_resident_memory_bytes", ()] > 1e7


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_it_only_shows(standing: Served, method: str) -> None:
    for path in ("/", "/status.json", "/nothing"):
        answer = standing.get(path, method)
        assert (answer.status, answer.headers.get("Allow")) == (405, "GET, HEAD")
    assert standing.well()


def test_there_is_nothing_else(standing: Served) -> None:
    for path in ("/nothing", "/metrics/", "//", "/..%2f..%2fetc/passwd", "/page.js", "/status.json/x"):
        answer = standing.get(path)
        assert answer.status == 404, path
        assert "<" not in answer.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9999", 200),  # the near end of a tunnel
        ("127.0.0.1:8473", 200),
        ("[::1]:8473", 200),
        ("ckptd.localhost", 200),
        ("rebound.example.org", 421),
        ("127.0.0.1.example.org", 421),
        ("localhost.example.org:8473", 421),
        ("192.168.1.7", 421),
        ("[", 421),
    ],
)
def test_only_names_of_this_machine_on_loopback(standing: Served, host: str, status: int) -> None:
    """Else a web page elsewhere could have its reader's browser look, by a name that it lets point here."""
    for path in ("/", "/status.json", "/metrics", "/healthz", "/events"):
        if path != "/events" or status != 200:
            assert standing.get(path, Host=host).status == status, path


# --- live ------------------------------------------------------------------------------------------------------------


def test_an_open_page_is_told_what_happens(origin: Origin, two: Served) -> None:
    with two.watch() as watcher:
        assert watcher.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        first = watcher.news()
        assert first["tone"] == "good"
        assert {"top", "wrong", "promise", "now", "all", "lately"} == set(first["parts"])
        two.write(
            {"name": "a", "url": origin.url("/a.tar.gz")},
            {"name": "b", "url": origin.url("/b.tar.gz")},
            {"name": "new", "url": origin.put("/new.tar.gz", tgz(80_000, 3))},
        )
        two.reload()
        assert "row-new" in watcher.until("All 3 checkpoints are here and verified")


def test_damage_is_told_everywhere(two: Served, tmp_path: Path) -> None:
    textfile = tmp_path / "ckptd.prom"
    two.write({"name": "a", "url": two.site.lock["a"]["url"]}, textfile=str(textfile))
    two.reload()
    wait_until(textfile.exists, what="the textfile is written")
    assert stat.S_IMODE(textfile.stat().st_mode) == 0o644
    assert 'ckptd_incidents{kind="damage"} 0.0' in textfile.read_text()
    assert "process_" not in textfile.read_text()
    path = two.site.file("a")
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with two.watch() as watcher:
        two.site.verify("a").expect(3)
        watcher.until("a is damaged.")
    wait_until(lambda: 'ckptd_incidents{kind="damage"} 1.0' in textfile.read_text(), seconds=20)
    wait_until(lambda: two.metrics()["ckptd_promise_kept", ()] == 0)
    found = two.metrics()
    assert found["ckptd_incidents", ("damage",)] == 1
    assert found["ckptd_incidents_begun_total", ("damage",)] == 1
    assert found["ckptd_outcomes_total", ("corrupt",)] == 1
    assert two.well()  # a broken promise is no reason to restart it
    assert "a is damaged." in two.get("/").text


def test_no_more_open_pages_than_so_many(standing: Served) -> None:
    with ExitStack() as stack:
        watchers = [stack.enter_context(standing.watch()) for _ in range(32)]
        assert {each.status for each in watchers} == {200}
        late = stack.enter_context(standing.watch())
        assert (late.status, late.headers["Retry-After"]) == (503, "30")
        assert standing.well()
    with standing.watch() as again:
        assert again.news()["tone"] == "good"


# --- bad days --------------------------------------------------------------------------------------------------------


def test_secrets_are_nowhere(origin: Origin, served: Served) -> None:
    site = served.site
    site.secrets.append(SECRET)
    origin.on("/a.tar.gz", f.status(403))
    site.env["TOKEN"] = SECRET
    site.auth["127.0.0.1"] = {"bearer_env": "TOKEN"}
    served.write(
        {"name": "a", "url": f"{origin.url('/a.tar.gz')}?X-Goog-Signature={SECRET}"},
        {"name": "b", "url": origin.put("/b.tar.gz", B)},
    )
    served.start()
    wait_until(lambda: served.states()["b"] == "present" and served.account()["checkpoints"][0]["failures"])
    for path in PAGES:
        assert SECRET not in served.get(path).text, path
    with served.watch() as watcher:
        assert SECRET not in json.dumps(watcher.news())
    assert "403" in served.get("/").text


def test_a_port_in_use_holds_up_nobody(origin: Origin, served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served.write({"name": "a", "url": origin.put("/a.tar.gz", A)}, listen=f"127.0.0.1:{port}")
        served.running = served.site.start("daemon")
        wait_until(lambda: "a" in served.site.lock, what="it works without")
        served.write({"name": "a", "url": origin.url("/a.tar.gz")})
        served.reload()
        wait_until(served.well, what="it listens where the manifest says now")
    said = served.stop()
    assert f"page: cannot listen on 127.0.0.1:{port}: address already in use; trying again every minute" in said
    assert f"page: at http://127.0.0.1:{served.port}/" in said


def test_it_stops_with_open_pages(two: Served) -> None:
    with two.watch() as watcher, socket.create_connection(("127.0.0.1", two.port)):
        watcher.news()
        two.stop()


def test_without_listen_there_is_no_port(origin: Origin, served: Served) -> None:
    served.site.write({"name": "a", "url": origin.put("/a.tar.gz", A)})
    served.running = served.site.start("daemon")
    wait_until(lambda: "a" in served.site.lock)
    pid = served.running.process.pid
    inodes = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if "socket" in os.readlink(each)}
    listening = [
        line.split()[9]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert not [each for each in listening if f"socket:[{each}]" in inodes]


@pytest.mark.slow
def test_a_state_that_takes_nothing_is_not_healthy(two: Served) -> None:
    with closing(sqlite3.connect(two.site.state / "state.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        answer = two.get("/healthz")
        assert answer.status == 503
        assert "state" in answer.text
    wait_until(two.well, what="it is healthy again")

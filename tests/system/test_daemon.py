"""`ckptd daemon`: one owner of the store, many callers. The real program, real sockets, real users."""

from __future__ import annotations

import grp
import json
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import faults as f
import psutil
import pytest
import tomli_w
from origin import Hold, Origin, Origins
from unix import reach
from workplace import Run, Running, Workplace, sha256, tgz, wait_until

pytestmark = pytest.mark.slow

A = tgz(260_000, 1)
B = tgz(260_000, 2)
C = tgz(270_000, 3)
BIG = tgz(2_000_000, 9)
CUT = 1_200_000
PATH = "/a.tar.gz"
MEMBER, STRANGER = 41_001, 41_002  # users that exist nowhere else
GROUP = "games"  # a group that every Debian has

Lacking = Callable[[str], None]


def ask(path: Path, request: bytes, *, seconds: float = 10) -> list[dict[str, Any]]:
    """Every line that the daemon says to `request`."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(seconds)
        reach(caller, path)
        caller.sendall(request)
        with caller.makefile("rb") as answer:
            return [json.loads(line) for line in answer]


def request(command: str, *names: str, **options: object) -> bytes:
    return json.dumps({"protocol": 1, "command": command, "names": names, "options": options}).encode() + b"\n"


def account(site: Workplace) -> dict[str, Any]:
    """How everything stands, by the daemon."""
    found: dict[str, Any] = ask(site.state / "daemon.sock", request("status"))[-1]["result"]
    return found


def answers(path: Path) -> bool:
    try:
        return "result" in ask(path, request("hello"))[-1]
    except (OSError, IndexError):
        return False


def begin(site: Workplace, *args: str, path: Path | None = None, **more: Any) -> Running:
    """A daemon that answers."""
    running = site.start("daemon", *args, **more)
    where = path or site.state / "daemon.sock"
    wait_until(lambda: not running.running or answers(where), what="the daemon answers")
    return running


def end(running: Running, status: int = 0) -> Run:
    """Stop a daemon as systemd does: it has to end well, and soon."""
    running.signal(signal.SIGTERM)
    return running.wait(10, invariants=False).expect(status)


def idle(site: Workplace, *names: str) -> None:
    """Wait until these (or all) have had their first turn, and their entries stand in the lock."""

    def had() -> bool:
        found = [each for each in account(site)["checkpoints"] if not names or each["name"] in names]
        if not found or any(each["next_sync_in"] is None or each["state"] == "unlocked" for each in found):
            return False
        return site.lock.keys() >= {each["name"] for each in found if each["state"] == "present"}

    wait_until(had, what="everything had its turn")


def flip(path: Path, offset: int) -> None:
    """Damage a byte in place, as rot would."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([old ^ 1]))
    path.chmod(mode)


# ---- one owner, many callers


def test_it_fetches_without_being_told(origin: Origin, site: Workplace) -> None:
    """It syncs by itself, answers status, and SIGTERM ends it with 0; nothing is left behind."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    site.assert_good("a", A)
    found = account(site)
    assert found["pid"] == daemon.process.pid
    assert found["promise"]["kept"] is True
    run = site.run("status", "--json").expect(0)
    assert run.report["running"].startswith(f"the daemon, pid {daemon.process.pid}")
    ended = end(daemon)
    assert "a" in ended.err
    assert not (site.state / "daemon.sock").exists()


@pytest.mark.parametrize("case", ["good", "gone", "pinned otherwise", "locked"])
def test_sync_ends_as_without(case: str, tmp_path: Path, origins: Origins) -> None:
    """The same exit status, JSON and files with a daemon as without."""
    seen = []
    for with_daemon in (False, True):
        origin, site = origins.new(), Workplace(tmp_path / str(with_daemon), origins.made)
        site.write({"name": "z", "url": origin.put("/z.tgz", C)})
        daemon = begin(site) if with_daemon else None
        entry: dict[str, Any] = {"name": "a", "url": origin.put(PATH, A)}
        if case == "gone":
            origin.remove(PATH)
        if case == "pinned otherwise":
            entry["sha256"] = sha256(B)
        site.write(entry, {"name": "z", "url": origin.url("/z.tgz")})
        if daemon is not None:
            idle(site)
            daemon.signal(signal.SIGHUP)
            # What comes by itself would be "present" a moment later: stand still until we have asked.
            place = Hold()
            origin.on(PATH, f.hold(-1, place), times=None)
            wait_until(place.reached.is_set, what="the daemon took the new manifest")
            asking = site.start("sync", "--json", *(["--locked"] if case == "locked" else []), "a")
            wait_until(partial(connections, daemon), what="it is heard")
            place.release()
            run = asking.wait()
        else:
            run = site.sync(*(["--locked"] if case == "locked" else []), "a")
        if daemon is not None:
            end(daemon)
        entry = run.entry("a")
        entry["path"] = entry["path"] and entry["path"].replace(str(site.root), "")
        if entry["error"]:
            for key in ("message", "hint"):
                entry["error"][key] = (entry["error"][key] or "").replace(str(origin.port), "PORT")
        seen.append((run.status, entry, sorted(str(path.relative_to(site.store)) for path in site.visible())))
        site.finish()
    if case == "locked":
        # The daemon had begun of its own accord; whoever joins gets what comes of that.
        assert seen[0][0] == 4
        return
    without, with_one = ({**each[1], "notes": None, "damage": None} for each in seen)
    assert seen[1][0] == seen[0][0]
    assert with_one == without


def test_a_failing_one_is_asked_for_again(origin: Origin, site: Workplace) -> None:
    """A caller's sync of what failed tries at once, whatever the daemon's own patience."""
    origin.put(PATH, A)
    origin.remove(PATH)
    site.one(origin.url(PATH))
    daemon = begin(site)
    idle(site)
    run = site.sync().expect(1)
    assert run.entry("a")["state"] == "failed"
    origin.put(PATH, A)
    run = site.sync().expect(0)
    assert run.entry("a")["state"] == "fetched"
    site.assert_good("a", A)
    end(daemon)


def test_the_lock_stands_when_sync_returns(origin: Origin, site: Workplace) -> None:
    """Contract: what `sync` said was fetched is locked when it returns, also when a daemon did it."""
    names = [f"c{number}" for number in range(4)]
    site.write(*({"name": name, "url": origin.url(f"/{name}.tgz")} for name in names))
    daemon = begin(site)
    idle(site)
    for number, name in enumerate(names):
        origin.put(f"/{name}.tgz", tgz(30_000, number))
        site.sync(name).expect(0)
        site.assert_good(name, tgz(30_000, number))
    end(daemon)


def test_two_callers_one_download(origin: Origin, site: Workplace) -> None:
    """Two callers of one checkpoint share one download, counted at the origin."""
    site.write({"name": "a", "url": origin.put(PATH, BIG)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place), times=None)
    daemon = begin(site)
    wait_until(place.reached.is_set, what="the download stands still")
    callers = [site.start("sync", "--json") for _ in range(2)]
    wait_until(lambda: connections(daemon) >= 2, what="both are heard")
    place.release()
    for caller in callers:
        assert caller.wait().expect(0).entry("a")["sha256"] == sha256(BIG)
    assert origin.body_bytes() <= len(BIG) * 1.01
    site.assert_good("a", BIG)
    end(daemon)


def connections(running: Running) -> int:
    """How many callers the daemon has at its socket."""
    found = psutil.Process(running.process.pid).net_connections("unix")
    return sum(str(each.laddr).endswith("daemon.sock") for each in found) - 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_caller_who_goes_leaves_the_work(
    origin: Origin, site: Workplace, number: signal.Signals, status: int
) -> None:
    """^C leaves the work to the daemon, and says so."""
    site.write({"name": "a", "url": origin.put(PATH, BIG)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place), times=None)
    daemon = begin(site)
    wait_until(place.reached.is_set, what="the download stands still")
    caller = site.start("sync")
    wait_until(lambda: connections(daemon) >= 1, what="it is heard")
    time.sleep(0.3)  # its signal handlers stand as soon as it has asked
    caller.signal(number)
    run = caller.wait(10).expect(status)
    assert "the daemon goes on with it" in run.err
    place.release()
    idle(site)
    site.assert_good("a", BIG)
    assert origin.body_bytes() <= len(BIG) * 1.01
    end(daemon)


@pytest.mark.slow
def test_a_slow_origin_holds_up_nobody(origins: Origins, site: Workplace) -> None:
    """One stands still, another is asked for meanwhile, also one that was done a moment ago."""
    slow, good = origins.new(), origins.new()
    site.write(
        {"name": "slow", "url": slow.put(PATH, BIG)},
        {"name": "b", "url": good.put("/b.tgz", B)},
        {"name": "c", "url": good.put("/c.tgz", C)},
        transfer={"stall_timeout": "30s"},
    )
    place = Hold()
    slow.on(PATH, f.hold(CUT, place), times=None)
    daemon = begin(site)
    idle(site, "b", "c")
    assert site.sync("b").expect(0).entry("b")["state"] == "present"
    os.unlink(site.file("c"))
    assert site.sync("c").expect(0).entry("c")["state"] == "fetched"
    site.verify("b", "c").expect(0)
    assert place.reached.is_set()
    place.release()
    end(daemon)


def test_work_for_one_is_not_ended_by_a_pass_for_another(origins: Origins, site: Workplace) -> None:
    """A pass over several ends long after one of them was settled: what was asked of that one since is its own."""
    slow, other = origins.new(), origins.new()
    site.write(
        {"name": "a", "url": other.put(PATH, BIG)},
        {"name": "slow", "url": slow.put(PATH, BIG)},
        transfer={"stall_timeout": "30s"},
    )
    first, second = Hold(), Hold()
    slow.on(PATH, f.hold(CUT, first), times=None)
    daemon = begin(site)
    idle(site, "a")
    wait_until(first.reached.is_set, what="the slow one stands still")
    os.unlink(site.file("a"))
    other.on(PATH, f.hold(CUT, second), times=None)
    caller = site.start("sync", "--json", "a")
    wait_until(second.reached.is_set, what="the other is fetched anew")
    first.release()
    idle(site, "slow")
    second.release()
    assert caller.wait().expect(0).entry("a")["state"] == "fetched"
    end(daemon)


def test_update_through_the_daemon(origin: Origin, site: Workplace) -> None:
    """update takes what is served now and tells what changed in the lock; drift is 4 before."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    origin.put(PATH, B)
    run = site.run("update", "a").expect(0)
    assert sha256(B)[:12] in run.out
    site.assert_good("a", B)
    end(daemon)


@pytest.mark.slow
def test_verify_through_the_daemon(origin: Origin, site: Workplace) -> None:
    """verify says 3 and where, --repair mends, through the daemon as without it."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    daemon = begin(site)
    idle(site)
    assert [each["state"] for each in site.verify().expect(0).report["checkpoints"]] == ["intact", "intact"]
    flip(site.file("a"), 1000)
    run = site.verify("a").expect(3)
    assert run.entry("a")["damage"][0]["offset"] == 0 or run.entry("a")["damage"][0]["length"]
    found = account(site)
    assert [(each["kind"], each["name"]) for each in found["incidents"]] == [("damage", "a")]
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    assert account(site)["incidents"] == []
    assert site.verify("--older-than", "1d").expect(0).report["checkpoints"] == []
    site.assert_good("a", A)
    end(daemon)


# ---- which store, which daemon


def test_a_second_daemon_is_refused(origin: Origin, site: Workplace) -> None:
    """Contract: 6 where another instance owns the store; the first goes on and still answers."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    run = site.run("daemon").expect(6)
    assert "in use by" in run.err
    assert answers(site.state / "daemon.sock")
    end(daemon)


def test_a_stale_socket_is_no_hindrance(origin: Origin, site: Workplace) -> None:
    """Kill -9 leaves a socket: callers work without a daemon, the next daemon takes its place."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    daemon.signal(signal.SIGKILL)
    daemon.wait(invariants=False)
    assert (site.state / "daemon.sock").is_socket()
    site.sync().expect(0)
    site.verify().expect(0)
    site.run("status").expect(0)
    end(begin(site))


def test_a_manifest_of_somebody_else(origin: Origin, site: Workplace) -> None:
    """Another manifest on the same store is not what the daemon works by: busy, and nothing is done."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    other = site.root / "other.toml"
    document = {
        "store": {"path": "checkpoints", "lock": "other.lock"},
        "checkpoint": [{"name": "b", "url": origin.put("/b.tgz", B)}],
    }
    other.write_text(tomli_w.dumps(document))
    for names in ((), ("b",)):
        run = site.run("sync", "--manifest", str(other), *names).expect(6)
        assert str(site.manifest) in run.err
    assert origin.body_bytes("/b.tgz") == 0
    end(daemon)


def test_a_manifest_that_was_edited(origin: Origin, site: Workplace) -> None:
    """`sync` is about the manifest as it is: what was added since the daemon read it comes, too."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    site.write({"name": "a", "url": origin.url(PATH)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    run = site.sync().expect(0)
    assert run.entry("b")["state"] in {"fetched", "present"}
    site.assert_good("b", B)
    end(daemon)


# ---- reload


def test_reload(origin: Origin, site: Workplace) -> None:
    """SIGHUP: the new ones come, a broken manifest is told and the old one stays, and so does a deleted one."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    site.write({"name": "a", "url": origin.url(PATH)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "b" in site.lock, what="the new one is fetched")
    good = site.manifest.read_text()
    site.manifest.write_text("[[checkpoint]\nname = 3")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: account(site)["config_error"], what="the broken one is told")
    assert "refused" in account(site)["summary"]
    assert len(account(site)["checkpoints"]) == 2
    site.manifest.unlink()
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "not there" in account(site)["config_error"], what="the lost one is told")
    site.manifest.write_text(good)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: not account(site)["config_error"], what="all is well again")
    ended = end(daemon)
    assert "stays in force" in ended.err


def test_what_was_wrong_with_what_nobody_wants_is_over(origin: Origin, site: Workplace) -> None:
    """An incident ends with its checkpoint's entry in the manifest, where the lock has none either."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    site.sync("a").expect(0)
    wrong = {"message": "404", "since": 1.0, "until": None}
    known = [{"kind": "failure", "name": "gone", **wrong}, {"kind": "drift", "name": "b", **wrong}]
    (site.state / "incidents.json").write_text(json.dumps(known))
    origin.on("/b.tgz", f.status(404), times=None)
    daemon = begin(site)
    assert [each["name"] for each in account(site)["incidents"]] == ["b"]
    site.one(origin.url(PATH))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: account(site)["incidents"] == [], what="it is over")
    assert end(daemon).err.count("is over") == 2


def test_reload_heeds_what_was_mended(origin: Origin, site: Workplace) -> None:
    """A checkpoint that failed and was put right in the manifest comes at once, not when its patience is over."""
    origin.put(PATH, A)
    site.one(origin.url("/typo.tar.gz"))
    daemon = begin(site)
    idle(site)
    site.one(origin.url(PATH))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "a" in site.lock, seconds=10, what="it is fetched")
    end(daemon)


def test_reload_does_not_move_the_store(origin: Origin, site: Workplace) -> None:
    """Another store takes a restart: said, and the old one stays in force."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    site.write({"name": "a", "url": origin.url(PATH)}, store={"path": "elsewhere"})
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "restart" in account(site)["config_error"], what="it is told")
    assert not (site.root / "elsewhere").exists()
    end(daemon)


# ---- stopping and crashing


def test_stopped_in_the_middle(origin: Origin, site: Workplace) -> None:
    """SIGTERM in a download: 0 within seconds, its caller is told, the next daemon goes on without being told."""
    site.write({"name": "a", "url": origin.put(PATH, BIG)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place), times=None)
    daemon = begin(site)
    wait_until(place.reached.is_set, what="the download stands still")
    caller = site.start("sync")
    wait_until(lambda: connections(daemon) >= 1, what="a caller waits")
    wait_until(lambda: site.state_bytes() >= CUT // 2, seconds=5, what="half of it is written")
    begun = time.monotonic()
    end(daemon)
    assert time.monotonic() - begun < 5
    told = caller.wait(10)
    assert told.status != 0
    assert "went away" in told.err, told
    site.assert_absent("a")
    origin.calm()
    origin.forget()
    daemon = begin(site)
    idle(site)
    site.assert_good("a", BIG)
    assert 0 < origin.body_bytes() <= len(BIG) - CUT // 2, "it began again"
    end(daemon)


@pytest.mark.slow
def test_killed_in_the_middle(origin: Origin, site: Workplace) -> None:
    """kill -9: the next daemon goes on without being told."""
    site.one(origin.put(PATH, BIG))
    origin.on(PATH, f.pace(65_536, 0.15), times=None)
    daemon = begin(site)
    wait_until(lambda: origin.body_bytes() > len(BIG) * 0.8, what="most of it was sent")
    daemon.signal(signal.SIGKILL)
    daemon.wait(invariants=False)
    origin.calm()
    origin.forget()
    daemon = begin(site)
    idle(site)
    site.assert_good("a", BIG)
    assert origin.body_bytes() < len(BIG)
    end(daemon)


# ---- bad days


def test_its_socket_folder_is_missing(origin: Origin, site: Workplace) -> None:
    """The message says what to make, and the exit status is 5."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, daemon={"socket": str(site.root / "run" / "ckptd.sock")})
    run = site.run("daemon").expect(5)
    assert "its folder is not there" in run.err
    (site.root / "run").mkdir()
    end(begin(site, path=site.root / "run" / "ckptd.sock"))


def test_a_long_path(origin: Origin, site: Workplace) -> None:
    """A socket deeper than an address is long (unix(7): 108 bytes)."""
    deep = site.root / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    site.write({"name": "a", "url": origin.put(PATH, A)}, daemon={"socket": str(deep / "s.sock")})
    daemon = site.start("daemon")
    wait_until((deep / "s.sock").is_socket, what="it listens")
    site.sync().expect(0)
    end(daemon)


def test_garbage_does_no_harm(origin: Origin, site: Workplace) -> None:
    """Half a line, 10 MB of a line, binary, unknown things, callers who never speak: all answered or let go."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    path = site.state / "daemon.sock"
    for garbage in (
        b"\n", b"{}\n", b"[]\n", b"\xff\x00\xfe\n", b"[" * 100_000 + b"\n", b'{"protocol": 2, "command": "hello"}\n',
        request("stop"), request("sync", "nobody"), request("sync", "@nobody"), request("sync", frobnicate=True),
        request("sync", locked=1), request("verify", older_than="x"), request("verify", older_than=float("nan")),
        b'{"protocol": 1, "command": "hello", "extra": 1}\n', b'{"protocol": 1, "command": ["hello"]}\n',
        b'{"protocol": true, "command": "status"}\n', b'{"protocol": 1, "command": "sync", "names": [{}]}\n',
    ):  # fmt: skip
        said = ask(path, garbage)
        assert "error" in said[-1] or garbage.startswith(
            (b'{"protocol": true', b'{"protocol": 1, "command": "verify"')
        ), (garbage[:80], said)
        assert answers(path)
    with socket.socket(socket.AF_UNIX) as caller:
        reach(caller, path)
        caller.sendall(b'{"protocol": 1, "comm')
    with socket.socket(socket.AF_UNIX) as caller:
        reach(caller, path)
        caller.settimeout(5)
        try:
            for _ in range(160):
                caller.sendall(b"x" * 65_536)
            caller.sendall(b"\n")
        except OSError:
            pass  # it need not listen to the end
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        for caller in crowd:
            reach(caller, path)
        with suppress(ConnectionResetError):  # let go before it was heard
            assert "too many callers" in json.dumps(ask(path, request("hello")))
    finally:
        for caller in crowd:
            caller.close()
    wait_until(lambda: answers(path), what="it answers again")
    assert psutil.Process(daemon.process.pid).memory_info().rss < 100e6
    ended = end(daemon)
    assert "exception" not in ended.err.lower(), ended


def test_a_watcher_who_does_not_read(origin: Origin, site: Workplace) -> None:
    """It is left behind: nobody waits for it."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    with socket.socket(socket.AF_UNIX) as watcher:
        reach(watcher, site.state / "daemon.sock")
        watcher.sendall(request("watch"))
        idle(site)
        site.sync().expect(0)
        end(daemon)


def test_watch_tells_standing_and_events(origin: Origin, site: Workplace) -> None:
    """The stream of watchers: a standing first, then events."""
    site.write({"name": "a", "url": origin.put(PATH, BIG)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place), times=None)
    daemon = begin(site)
    wait_until(place.reached.is_set, what="the download stands still")
    with socket.socket(socket.AF_UNIX) as watcher, watcher.makefile("rb") as lines:
        watcher.settimeout(10)
        reach(watcher, site.state / "daemon.sock")
        watcher.sendall(request("watch"))
        first = json.loads(lines.readline())
        assert [each["name"] for each in first["status"]["active"]] == ["a"]
        place.release()
        for line in lines:
            said = json.loads(line)
            if said.get("event") == "Finished":
                assert said["name"] == "a"
                break
    end(daemon)


def test_room_is_kept_free(origin: Origin, site: Workplace) -> None:
    """[store] keep_free: refused before the download, as storage (5), and nothing was fetched."""
    free = shutil.disk_usage(site.root).free
    site.write({"name": "a", "url": origin.put(PATH, BIG)}, store={"keep_free": free + 10_000_000_000})
    daemon = begin(site)
    idle(site)
    run = site.sync().expect(5)
    assert run.kind("a") == "storage"
    assert run.entry("a")["bytes_fetched"] == 0
    site.assert_absent("a")
    end(daemon)


def test_priority(origin: Origin, site: Workplace) -> None:
    """The order of coming is the manifest's `priority`, highest first."""
    names = ["a", "b", "c", "d"]
    site.write(
        *({"name": name, "url": origin.put(f"/{name}.tgz", tgz(20_000, number)), "priority": number}
          for number, name in enumerate(names)),
        transfer={"downloads": 1, "connections": 1},
    )  # fmt: skip
    daemon = begin(site)
    idle(site)
    assert [each.request.path for each in origin.requests()] == [f"/{name}.tgz" for name in reversed(names)]
    end(daemon)


def test_a_broken_lock(origin: Origin, site: Workplace) -> None:
    """A lock that somebody has broken is told; it is not overwritten, nobody dies, and it may be mended."""
    site.one(origin.put(PATH, A))
    daemon = begin(site)
    idle(site)
    good = site.lock_path.read_text()
    site.lock_path.write_text("version = 1\n[[checkpoint]\n")
    for command in (["sync", "--json"], ["verify", "--json"], ["update", "a"]):
        site.run(*command, invariants=False).expect(2)
    assert "result" in ask(site.state / "daemon.sock", request("sync"))[-1]
    assert site.lock_path.read_text() == "version = 1\n[[checkpoint]\n"
    site.lock_path.write_text(good)
    site.sync().expect(0)
    end(daemon)


def test_config_files_follow(origin: Origin, site: Workplace) -> None:
    """[[use]]: what a caller has the daemon fetch is pointed at, too."""
    config = site.root / "model.textproto"
    config.write_text('initial_checkpoint: "nowhere"  # ours\n')
    site.write({"name": "a", "url": origin.put(PATH, A)})
    daemon = begin(site)
    idle(site)
    site.manifest.write_text(site.manifest.read_text() + '\n[[use]]\ncheckpoint = "a"\nfiles = ["*.textproto"]\n')
    run = site.run("sync").expect(0)
    assert config.read_text() == f'initial_checkpoint: "{site.file("a")}"  # ours\n'
    assert "points at it now" in run.err
    end(daemon)


def test_a_token_that_is_gone(origin: Origin, site: Workplace) -> None:
    """What ends a whole pass ends it for its caller with the same exit status, and the daemon tries again."""
    site.auth = {"127.0.0.1": {"bearer_file": str(site.root / "token")}}
    site.one(origin.put(PATH, A))
    alone = site.sync()
    daemon = begin(site)
    idle(site)
    assert site.sync().status == alone.status != 0
    (site.root / "token").write_text("sesame")
    site.sync().expect(0)
    site.assert_good("a", A)
    end(daemon)


def test_trees_grow_and_are_verified(origin: Origin, site: Workplace) -> None:
    """unpack = true in a daemon: the tree stands, verify reads it, and nothing is worked on afterwards."""
    site.one(origin.put(PATH, A), unpack=True)
    daemon = begin(site)
    idle(site)
    member = site.store / "a" / "tree" / "model" / "checkpoint"
    assert member.read_text().startswith("model_checkpoint_path")
    site.verify().expect(0)
    assert account(site)["active"] == []
    member.chmod(0o644)
    member.write_text("other")
    site.verify().expect(3)
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    assert member.read_text().startswith("model_checkpoint_path")
    assert account(site)["active"] == []
    assert account(site)["incidents"] == []
    end(daemon)


# ---- damage


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["repair", "hold", "keep"])
def test_damage_is_found_by_the_scrub(origin: Origin, site: Workplace, policy: str) -> None:
    """[verify] on_damage: mended, taken away or left, and told once as an incident."""
    site.write(
        {"name": "a", "url": origin.put(PATH, A)},
        verify={"max_age": "4s", "on_damage": policy, "io_pressure": "off", "memory_pressure": "off"},
    )
    daemon = begin(site)
    idle(site)
    path = site.file("a")
    flip(path, 1000)
    if policy == "repair":
        wait_until(lambda: path.read_bytes() == A, what="it is mended")
        wait_until(lambda: account(site)["incidents"] == [], what="the incident is over")
        site.verify().expect(0)
    else:
        wait_until(lambda: [each["kind"] for each in account(site)["incidents"]][:1] == ["damage"], what="it is told")
        wait_until(lambda: path.exists() == (policy == "keep"), what="what the policy says is done")
    ended = end(daemon)
    assert ended.err.count("damage:") == 1, ended


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["repair", "hold", "keep"])
def test_damage_that_was_found_before_it_began(origin: Origin, site: Workplace, policy: str) -> None:
    """What the policy says is done at once, and it is told as damage; a repair fetches a block, not the file."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, verify={"on_damage": policy}, transfer={"retries": 0})
    site.sync().expect(0)
    path = site.file("a")
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damaged")
    path.chmod(0o444)
    site.verify().expect(3)
    damaged = path.read_bytes()
    origin.forget()
    if policy == "hold":
        origin.remove(PATH)
    daemon = begin(site)
    idle(site)
    if policy == "repair":
        assert path.read_bytes() == A
        assert 0 < origin.body_bytes() <= 65_536
        assert list(site.state.glob("quarantine/*/report.json"))
    elif policy == "hold":
        assert not path.exists()
    else:
        assert path.read_bytes() == damaged
        assert origin.body_bytes() == 0
        assert "damage" in [each["kind"] for each in account(site)["incidents"]]
    ended = end(daemon)
    assert ended.err.count("damage:") == 1, ended


@pytest.mark.slow
def test_who_verifies_through_it_has_the_policy_heeded(origin: Origin, site: Workplace) -> None:
    """To hold needs no origin: the name is gone by the time the caller hears of the damage."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, verify={"on_damage": "hold"})
    daemon = begin(site)
    idle(site)
    path = site.file("a")
    flip(path, 1000)
    assert site.verify().expect(3).entry("a")["state"] == "corrupt"
    assert not path.exists()
    end(daemon)


def test_the_promise(origin: Origin, site: Workplace) -> None:
    """status says the promise; the scrub keeps it for as long as the daemon runs."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, verify={"max_age": "2s"})
    daemon = begin(site)
    idle(site)
    first = account(site)["promise"]["oldest_verified_at"] or 0
    wait_until(lambda: (account(site)["promise"]["oldest_verified_at"] or 0) > first, what="it was read again")
    assert site.run("status", "--json").report["promise"]["kept"] is True
    end(daemon)


# ---- many users


def as_user(uid: int, gid: int, groups: str) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", f"--groups={groups}" if groups else "--clear-groups"]


@pytest.fixture
def shared(site: Workplace, lacking: Lacking) -> Workplace:
    """A site that other users can reach, with a group."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        lacking("this takes root and setpriv")
    for path in (site.root, *site.root.parents):
        if path != Path("/") and not path.stat().st_mode & 0o005:
            if path.stat().st_uid != 0 or path == Path("/root"):
                lacking(f"{path} is closed to others")
            path.chmod(path.stat().st_mode | 0o055)
    site.home.chmod(0o777)
    (site.home / "tmp").chmod(0o777)
    return site


@pytest.mark.slow
def test_who_may_what(origin: Origin, shared: Workplace) -> None:
    """The group may read and ask for what the manifest names; the owner alone changes; others nothing."""
    site = shared
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={"group": GROUP})
    daemon = begin(site, umask=0o077)
    idle(site)
    member, stranger = as_user(MEMBER, MEMBER, str(grp.getgrnam(GROUP).gr_gid)), as_user(STRANGER, STRANGER, "")
    site.lock_path.chmod(0o644)
    assert stat.S_IMODE((site.state / "daemon.sock").stat().st_mode) == 0o660
    for command in (["sync", "--json"], ["verify", "--json"], ["status", "--json"], ["sync", "--json", "a"]):
        run = site.run(*command, prefix=member).expect(0)
        assert run.entry("a")["sha256"] == sha256(A)
    for command in (["update", "a"], ["verify", "--repair"]):
        run = site.run(*command, prefix=member)
        assert run.status in {1, 5}, run
        assert "only the owner of the store and root" in run.err
    for command in (["sync"], ["verify"], ["update", "a"]):
        run = site.run(*command, prefix=stranger)
        assert run.status not in {0, 3}, run
        assert "group" in run.err, run
    end(daemon)


def test_modes_and_group_whatever_the_umask(origin: Origin, shared: Workplace) -> None:
    """Files 0444, folders 2755 of the group, never 0600 leftovers."""
    site = shared
    site.write({"name": "a", "url": origin.put(PATH, A), "unpack": True}, store={"group": GROUP})
    daemon = begin(site, umask=0o077)
    idle(site)
    for path in site.visible():
        found = path.stat()
        assert found.st_gid == grp.getgrnam(GROUP).gr_gid, path
        assert stat.S_IMODE(found.st_mode) == (0o2755 if path.is_dir() else 0o444), path
    end(daemon)


def test_a_state_folder_that_is_read_only(origin: Origin, shared: Workplace) -> None:
    """A user who may not write gets 5 and a reason, and no daemon; what is there stays."""
    site = shared
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    run = site.run("daemon", prefix=as_user(STRANGER, STRANGER, "")).expect(5)
    assert str(site.state) in run.err
    site.assert_good("a", A)


# ---- cost


@pytest.mark.slow
def test_idle_it_costs_nothing(origin: Origin, site: Workplace) -> None:
    """Idle under 0.1 % of a CPU (0.5 % here, on a machine that others use) and under 80 MB."""
    site.write(*({"name": f"c{n}", "url": origin.put(f"/{n}.tgz", tgz(20_000, n))} for n in range(50)))
    daemon = begin(site)
    idle(site)
    process = psutil.Process(daemon.process.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(10)
    spent = sum(process.cpu_times()[:2]) - before
    print(f"idle: {spent * 10:.2f} % of a CPU, {process.memory_info().rss / 1e6:.1f} MB")
    assert spent < 0.05
    assert process.memory_info().rss < 80e6
    end(daemon)

"""`ckptd prune`: it removes what the manifest no longer names, nothing else, and it may be killed at any moment."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faults as f
import pytest
from origin import Hold, Origin
from workplace import CKPTD, Run, Workplace, sha256, tgz, wait_until

pytestmark = pytest.mark.slow

A, B, C = tgz(60_000, 1), tgz(60_000, 2), tgz(60_000, 3)
BIG = tgz(17_000_000, 4)  # two pieces, so that there is a table
DAY = 86400.0
Lacking = Callable[[str], None]


@pytest.fixture
def pair(origin: Origin, site: Workplace) -> Workplace:
    """`a` (two pieces) and `b` are fetched; then the manifest forgets `a`."""
    wanted = {"name": "b", "url": origin.put("/b.tar.gz", B)}
    site.write({"name": "a", "url": origin.put("/a.tar.gz", BIG)}, wanted)
    site.sync().expect(0)
    site.write(wanted)
    return site


def prune(site: Workplace, *args: str, **more: Any) -> Run:
    return site.run("prune", *args, invariants=False, **more)


def gone(run: Run, key: str = "removed") -> list[tuple[str, str]]:
    return [(each["kind"], each["name"]) for each in run.report[key]]


def snapshot(root: Path) -> dict[str, tuple[int, str]]:
    """Everything beneath `root`: what it is, and what is in it. That the store was taken, or read, does not count."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        content = os.readlink(path) if stat.S_ISLNK(mode) else ""
        if stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        if not path.name.startswith("state.db-") and path.name != "owner.lock":
            found[str(path.relative_to(root))] = (mode, content)
    return found


def history(site: Workplace, *args: str) -> list[dict[str, Any]]:
    found = site.run("history", "--json", *args, invariants=False).expect(0).report["history"]
    assert isinstance(found, list)
    return found


def holds_together(site: Workplace) -> None:
    site.run("history", "--check", invariants=False).expect(0)


# --- what it does -----------------------------------------------------------------------------------------------------


def test_it_lists_and_changes_nothing(pair: Workplace) -> None:
    before = snapshot(pair.root)
    run = prune(pair, "--json").expect(0)
    assert gone(run, "would_remove") == [("checkpoint", "a"), ("pieces", pair.lock["a"]["sha256"]),
                                         ("sums", pair.lock["a"]["sha256"])]  # fmt: skip
    assert run.report["removed"] == []
    (first, *_) = run.report["would_remove"]
    assert first["bytes"] == len(BIG)
    assert first["path"] == str(pair.store / "a" / "a.tar.gz")
    assert "manifest" in first["why"]
    text = prune(pair).expect(0)
    assert str(pair.store / "a" / "a.tar.gz") in text.out
    assert "17 MB" in text.out
    assert "prune --yes" in text.out
    assert prune(pair, "--quiet").expect(0).out == ""
    assert snapshot(pair.root) == before


def test_it_removes_and_a_second_time_there_is_nothing_to_do(pair: Workplace) -> None:
    digest = pair.lock["a"]["sha256"]
    records = history(pair)
    run = prune(pair, "--yes", "--json").expect(0)
    assert gone(run) == [("checkpoint", "a"), ("pieces", digest), ("sums", digest)]
    assert run.report["would_remove"] == []
    assert not (pair.store / "a").exists()
    assert set(pair.lock) == {"b"}
    assert list((pair.state / "pieces").iterdir()) == []
    assert list((pair.state / "pruned").iterdir()) == []
    pair.assert_good("b", B)
    pair.check_invariants()

    after = history(pair)
    assert after[: len(records)] == records, "the history lost records"
    (row,) = after[len(records) :]
    assert (row["name"], row["action"], row["verdict"], row["sha256"]) == ("a", "prune", "removed", digest)
    holds_together(pair)

    before = snapshot(pair.root)
    again = prune(pair, "--yes", "--json").expect(0)
    assert again.report["removed"] == again.report["would_remove"] == []
    assert snapshot(pair.root) == before
    assert "nothing to remove" in prune(pair, "--yes").expect(0).out


def test_what_comes_back_is_fetched_anew(origin: Origin, pair: Workplace) -> None:
    prune(pair, "--yes").expect(0)
    pair.write({"name": "a", "url": origin.url("/a.tar.gz")}, {"name": "b", "url": origin.url("/b.tar.gz")})
    pair.sync().expect(0)
    pair.assert_good("a", BIG)
    pair.verify("--sha256").expect(0)


def test_before_anything_was_fetched(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", A))
    for args in ([], ["--yes"]):
        assert "nothing to remove" in prune(site, *args).expect(0).out
    assert not site.store.exists(), "it made a store"


def test_a_store_that_is_not_mounted(pair: Workplace) -> None:
    """Everything would look as if it had gone."""
    pair.store.rename(pair.root / "elsewhere")
    before = pair.lock_path.read_bytes()
    for args in ([], ["--yes"]):
        assert "is its filesystem mounted?" in prune(pair, *args).expect(5).err
    assert pair.lock_path.read_bytes() == before
    assert not pair.store.exists()


def test_a_file_that_has_another_name_by_now(origin: Origin, site: Workplace) -> None:
    """The old one goes when the new one has taken its place, and not before."""
    site.one(origin.put("/v1.tar.gz", A))
    site.sync().expect(0)
    site.one(origin.put("/v2.tar.gz", B))
    assert prune(site, "--json").expect(0).report["would_remove"] == []
    site.run("update", "a", invariants=False).expect(0)
    assert {path.name for path in (site.store / "a").iterdir()} == {"v1.tar.gz", "v2.tar.gz"}
    assert gone(prune(site, "--yes", "--json").expect(0)) == [("file", "a"), ("sums", sha256(A))]
    site.assert_good("a", B)
    assert site.file("a").name == "v2.tar.gz"


def test_a_gone_checkpoint_with_its_tree(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", A), unpack=True)
    site.run("sync", invariants=False).expect(0)
    tree = site.store / "a" / "tree"
    if not tree.exists():
        pytest.skip("this version does not unpack")
    site.one(origin.url("/a.tar.gz"))
    assert gone(prune(site, "--json").expect(0), "would_remove") == [("tree", "a")]
    site.write()
    (tree / "mine").write_text("notes")
    run = prune(site, "--yes", "--json").expect(0)
    assert ("checkpoint", "a") in gone(run)
    assert [each["path"] for each in run.report["not_ours"]] == [str(tree)]
    assert (tree / "mine").read_text() == "notes"


def test_a_tree_of_ours_goes_whole(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", A), unpack=True)
    site.run("sync", invariants=False).expect(0)
    if not (site.store / "a" / "tree").exists():
        pytest.skip("this version does not unpack")
    site.write()
    assert gone(prune(site, "--yes", "--json").expect(0))[:2] == [("tree", "a"), ("checkpoint", "a")]
    assert not (site.store / "a").exists()
    assert prune(site, "--yes", "--json").expect(0).report["removed"] == []
    holds_together(site)


# --- what is not ours -------------------------------------------------------------------------------------------------


def test_a_store_full_of_strangers(pair: Workplace, tmp_path: Path) -> None:
    """Whatever they are called, and whatever they are, they are told and left."""
    outside = tmp_path / "outside"
    (outside / "a").mkdir(parents=True)
    (outside / "a" / "a.tar.gz").write_bytes(BIG)
    strangers = [
        "notes.txt", "-rf", "a b", "new\nline", "\x1b[2Jscreen", os.fsdecode(b"latin-\xe9"), "x" * 255, "..hidden", "é",
    ]  # fmt: skip
    for name in strangers:
        (pair.store / name).write_bytes(b"precious")
    (pair.store / "folder" / "deep").mkdir(parents=True)
    (pair.store / "folder" / "deep" / "file").write_bytes(b"precious")
    (pair.store / "link").symlink_to(outside)
    (pair.store / "dangling").symlink_to(outside / "nothing")
    (pair.store / "loop").symlink_to(pair.store)
    os.mkfifo(pair.store / "pipe")
    (pair.store / "a" / "mine.txt").write_bytes(b"precious")
    (pair.store / "b" / "mine.txt").write_bytes(b"precious")
    (pair.store / "b" / "link").symlink_to(outside / "a" / "a.tar.gz")
    before, kept = snapshot(outside), snapshot(pair.store)
    run = prune(pair, "--yes", "--json").expect(0)
    told = {each["path"] for each in run.report["not_ours"]}
    assert len(told) == len(strangers) + 5 + 3
    assert gone(run)[0] == ("checkpoint", "a")
    after = snapshot(pair.store)
    assert snapshot(outside) == before
    assert {name: what for name, what in kept.items() if not name.startswith(".ckptd")}.keys() - after.keys() == {
        "a/a.tar.gz"
    }
    assert all(after[name] == kept[name] for name in after if not name.startswith(".ckptd"))
    text = prune(pair).expect(0).out
    assert "\x1b" not in text
    assert all(line.startswith(("not ours", "prune:")) for line in text.splitlines())


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_link_that_was_planted_in_its_place(pair: Workplace, tmp_path: Path, what: str) -> None:
    """The lock entry goes, since what it names is not there; what the link leads to stays, and so does the link."""
    victim = tmp_path / "victim" / "a.tar.gz"
    victim.parent.mkdir()
    victim.write_bytes(BIG)
    if what == "folder":
        shutil.rmtree(pair.store / "a")
        (pair.store / "a").symlink_to(victim.parent)
    else:
        (pair.store / "a" / "a.tar.gz").unlink()
        (pair.store / "a" / "a.tar.gz").symlink_to(victim)
    run = prune(pair, "--yes", "--json").expect(0)
    assert ("lock", "a") in gone(run)
    assert set(pair.lock) == {"b"}
    assert victim.read_bytes() == BIG
    assert (pair.store / "a").is_symlink() or (pair.store / "a" / "a.tar.gz").is_symlink()


def test_a_file_that_somebody_has_replaced(pair: Workplace) -> None:
    path = pair.store / "a" / "a.tar.gz"
    path.chmod(0o644)
    path.write_bytes(b"my own results")
    run = prune(pair, "--yes", "--json").expect(0)
    assert [each["path"] for each in run.report["not_ours"]] == [str(path)]
    assert path.read_bytes() == b"my own results"


# --- what is in use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_what_a_process_uses_stays(pair: Workplace, how: str) -> None:
    path = pair.store / "a" / "a.tar.gz"
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if how == "mapped" else None
        if mapping is not None:
            file.close()
        before = snapshot(pair.store / "a")
        (listed, *_) = prune(pair, "--json").expect(0).report["would_remove"]
        assert [each["pid"] for each in listed["used_by"]] == [os.getpid()]
        run = prune(pair, "--yes", "--json").expect(0)
        assert gone(run) == []
        assert gone(run, "in_use")[0] == ("checkpoint", "a")
        assert how in run.report["in_use"][0]["used_by"][0]["how"]
        assert snapshot(pair.store / "a") == before
        assert set(pair.lock) == {"a", "b"}, "the lock entry went without its file"
        assert list((pair.state / "pieces").iterdir()), "the piece table went without its file"
        text = prune(pair, "--yes").expect(0)
        assert f"pid {os.getpid()}" in text.err
        assert "--even-if-open" in text.err

        assert gone(prune(pair, "--yes", "--even-if-open", "--json").expect(0))[0] == ("checkpoint", "a")
        assert not path.exists()
        read = mapping[:] if mapping is not None else file.read()
        assert read == BIG, "who has it open lost it"
        if mapping is not None:
            mapping.close()


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that every user can get to."""
    path = Path(tempfile.mkdtemp(prefix="ckptd-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_what_a_process_of_somebody_else_uses_stays(origin: Origin, elsewhere: Path, lacking: Lacking) -> None:
    """The store's owner may not look into other users' processes; the kernel tells all the same that it is open."""
    if os.geteuid() != 0:
        lacking("only root can be somebody else")
    site = Workplace(elsewhere / "site", [origin])
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*user, str(CKPTD), "--version"], capture_output=True, check=False).returncode != 0:
        lacking("the program is where nobody else may go")
    os.chown(site.root, 65534, 65534)
    site.one(origin.put("/a.tar.gz", A))
    site.run("sync", prefix=user).expect(0)
    site.write()
    with (site.store / "a" / "a.tar.gz").open("rb"):
        run = prune(site, "--yes", "--json", prefix=user).expect(0)
        assert gone(run) == []
        assert gone(run, "in_use")[0] == ("checkpoint", "a")
    run = prune(site, "--yes", "--json", prefix=user).expect(0)
    assert gone(run)[0] == ("checkpoint", "a")
    assert run.report["unseen_processes"] == 0


def test_a_daemon_owns_the_store(pair: Workplace) -> None:
    daemon = pair.start("daemon")
    wait_until(lambda: not daemon.running or (pair.state / "daemon.sock").exists(), what="the daemon is there")
    assert gone(prune(pair, "--json").expect(0), "would_remove")[0] == ("checkpoint", "a")
    run = prune(pair, "--yes").expect(6)
    assert "systemctl stop ckptd" in run.err
    assert (pair.store / "a" / "a.tar.gz").exists()
    assert set(pair.lock) == {"a", "b"}
    daemon.signal(signal.SIGTERM)
    daemon.wait(invariants=False).expect(0)
    prune(pair, "--yes").expect(0)


# --- the state --------------------------------------------------------------------------------------------------------


@pytest.fixture
def halfway(origin: Origin, site: Workplace) -> Workplace:
    """A download of `a` that was stopped in the middle."""
    place = Hold()
    site.write({"name": "a", "url": origin.put("/a.tar.gz", BIG)}, transfer={"stall_timeout": "30s"})
    origin.on("/a.tar.gz", f.hold(9_000_000, place), times=None)
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    wait_until(lambda: site.state_bytes() > 1_000_000, what="some of it is written")
    running.signal(signal.SIGTERM)
    running.wait().expect(143)
    origin.calm()
    return site


def partials(site: Workplace) -> list[Path]:
    return list((site.state / "partials").iterdir())


def test_an_unfinished_download_of_a_gone_name(halfway: Workplace) -> None:
    assert prune(halfway, "--json").expect(0).report["would_remove"] == []
    halfway.write()
    run = prune(halfway, "--yes", "--json").expect(0)
    assert gone(run) == [("partial", "a")]
    assert run.report["removed"][0]["bytes"] > 1_000_000
    assert partials(halfway) == []
    assert prune(halfway, "--yes", "--json").expect(0).report["removed"] == []


def test_an_unfinished_download_of_long_ago(origin: Origin, halfway: Workplace) -> None:
    (path,) = partials(halfway)
    then = time.time() - 10 * DAY
    os.utime(path, (then, then))
    assert prune(halfway, "--json").expect(0).report["would_remove"] == []
    run = prune(halfway, "--json", "--partials-older-than", "9d").expect(0)
    assert gone(run, "would_remove") == [("partial", "a")]
    assert "10d" in run.report["would_remove"][0]["why"]
    prune(halfway, "--yes", "--partials-older-than", "9d").expect(0)
    assert partials(halfway) == []
    halfway.sync().expect(0)
    halfway.assert_good("a", BIG)
    assert origin.body_bytes("/a.tar.gz") >= len(BIG)


def test_a_partial_that_no_record_speaks_of(pair: Workplace) -> None:
    (pair.state / "partials" / "stray.part").write_bytes(b"x" * 1000)
    run = prune(pair, "--yes", "--json").expect(0)
    assert ("partial", "stray.part") in gone(run)
    assert partials(pair) == []


def quarantined(site: Workplace, days: float, name: str = "b") -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - days * DAY))
    folder = site.state / "quarantine" / f"{stamp}-{name}-0123abcd"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    (folder / "0-5.bin").write_bytes(b"wrong")
    return folder


def test_quarantine(pair: Workplace) -> None:
    old, new = quarantined(pair, 100), quarantined(pair, 10)
    run = prune(pair, "--yes", "--json").expect(0)
    assert [name for kind, name in gone(run) if kind == "quarantine"] == [old.name]
    assert not old.exists()
    assert new.exists()
    assert gone(prune(pair, "--yes", "--quarantine", "--json").expect(0)) == [("quarantine", new.name)]
    assert not new.exists()


def test_a_damaged_database_that_was_replaced(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", A))
    site.sync().expect(0)
    database = site.state / "state.db"
    database.write_bytes(b"this is no database" * 100)
    site.verify().expect(0)
    (aside,) = site.state.glob("state.db.damaged-*")
    assert gone(prune(site, "--json").expect(0), "would_remove") == [("database", aside.name)]
    prune(site, "--yes").expect(0)
    assert not aside.exists()
    site.assert_good("a", A)


def test_what_a_killed_run_left_behind(pair: Workplace) -> None:
    prune(pair, "--yes").expect(0)
    stray = pair.state / "pruned" / "0123456789ab-a"
    stray.write_bytes(b"x" * 10)
    probe = pair.state / ".probe-old"
    probe.mkdir()
    os.utime(probe, (1, 1))
    assert sorted(gone(prune(pair, "--yes", "--json").expect(0))) == [
        ("leftover", ".probe-old"),
        ("leftover", stray.name),
    ]
    assert not stray.exists()
    assert not probe.exists()


# --- bad days ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def strace(lacking: Lacking) -> list[str]:
    program = shutil.which("strace")
    if program is None:
        lacking("strace is not installed")
        raise AssertionError
    command = [program, "-f", "-qq", "-o", "/dev/null"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        lacking("strace cannot trace here")
    return command


def test_a_disk_that_refuses_one(origin: Origin, site: Workplace, strace: list[str]) -> None:
    """One thing that cannot be removed stops no other; the next run does it."""
    site.write(*({"name": name, "url": origin.put(f"/{name}.tar.gz", body)} for name, body in (("a", A), ("c", C))))
    site.sync().expect(0)
    site.write()
    path = site.store / "a" / "a.tar.gz"
    inject = ["-P", str(site.store / "a"), "-e", "inject=rename,renameat,renameat2:error=EIO"]
    run = prune(site, "--yes", "--json", prefix=[*strace, *inject]).expect(5)
    assert [(each["name"], each["error"]["kind"]) for each in run.report["failed"]] == [("a", "storage")]
    assert path.exists()
    assert not (site.store / "c").exists()
    assert site.lock == {}, "the lock names what may go at any time"
    assert ("checkpoint", "a") in gone(prune(site, "--yes", "--json").expect(0))
    assert not path.exists()


def test_a_lock_that_cannot_be_written(pair: Workplace, strace: list[str]) -> None:
    """Then nothing goes at all."""
    before = snapshot(pair.store / "a")
    inject = ["-e", "inject=rename,renameat,renameat2:error=EROFS:when=1"]  # the lock comes first
    run = prune(pair, "--yes", prefix=[*strace, *inject]).expect(5)
    assert "manifest.lock" in run.err
    assert snapshot(pair.store / "a") == before
    assert set(pair.lock) == {"a", "b"}


CALLS = ("rename,renameat,renameat2", "fsync", "fdatasync", "unlink,unlinkat", "rmdir")


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS)
def test_killed_before_any_step(origin: Origin, tmp_path: Path, strace: list[str], calls: str) -> None:
    """Promises 2 and 3: the lock never names what is not there, and the next run finishes without help."""
    master = Workplace(tmp_path / "master", [origin])
    wanted = {"name": "b", "url": origin.put("/b.tar.gz", B)}
    master.write(
        {"name": "a", "url": origin.put("/a.tar.gz", BIG)}, {"name": "c", "url": origin.put("/c.tar.gz", C)}, wanted
    )
    master.sync().expect(0)
    master.write(wanted)
    for number in range(1, 100):
        site = Workplace(tmp_path / f"{number}", [origin])
        shutil.copytree(master.root, site.root, symlinks=True, dirs_exist_ok=True)
        run = site.start("prune", "--yes", prefix=[*strace, "-e", f"inject={calls}:signal=SIGKILL:when={number}"])
        status = run.wait(invariants=False).status
        locked, there = set(site.lock), {path.name for path in site.store.iterdir() if path.name != ".ckptd"}
        assert locked <= there, f"the lock names what is not there, killed before {calls} number {number}"
        site.assert_good("b", B)
        prune(site, "--yes", "--json").expect(0)
        again = prune(site, "--yes", "--json").expect(0)
        assert again.report["removed"] == [], f"killed before {calls} number {number}"
        assert {path.name for path in site.store.iterdir()} == {".ckptd", "b"}
        assert list((site.state / "pruned").iterdir()) == []
        assert set(site.lock) == {"b"}
        rows = [each["name"] for each in history(site) if each["action"] == "prune"]
        assert sorted(set(rows)) == ["a", "c"]
        holds_together(site)
        with closing(sqlite3.connect(site.state / "state.db")) as database:
            assert database.execute("SELECT path FROM files").fetchall() == [("b/b.tar.gz",)]
        shutil.rmtree(site.root)
        if status == 0:
            assert number > 1, f"no {calls} at all"
            return
    raise AssertionError("it never came to an end")


def test_json_and_usage(pair: Workplace) -> None:
    report = json.loads(prune(pair, "--json").expect(0).out)
    assert {"schema", "command", "exit", "checkpoints", "removed", "would_remove", "not_ours", "in_use"} <= set(report)
    assert report["checkpoints"] == []
    prune(pair, "--partials-older-than", "7").expect(2)
    prune(pair, "a").expect(2)

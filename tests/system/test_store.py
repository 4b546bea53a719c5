"""The store on a real file system (origins.md 0.10, 5): modes, planted links, failing disks, two at once."""

from __future__ import annotations

import fcntl
import grp
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import faults as f
import pytest
from origin import Hold, Origin, Origins
from workplace import CKPTD, Workplace, tgz, wait_until

A = tgz(260_000, 1)
B = tgz(260_000, 2)
BIG = tgz(6_000_000, 3)
CUT = 100_000
PATH = "/a.tar.gz"
Lacking = Callable[[str], None]


@pytest.fixture
def as_root(lacking: Lacking) -> None:
    if os.geteuid() != 0:
        lacking("only root can mount a small file system")


@pytest.fixture
def strace(lacking: Lacking) -> str:
    program = shutil.which("strace")
    if program is None:
        lacking("strace is not installed")
    probe = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"],
        check=False,
        capture_output=True,
    )
    if probe.returncode != 0:
        lacking(f"strace cannot trace here: {probe.stderr.decode()}")
    return str(program)


class SmallDisk:
    """A tmpfs of a few MiB, mounted for one test."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", str(path)], check=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)

    def leave(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def small_disk(as_root: None, site: Workplace) -> Iterator[SmallDisk]:
    """The store of `site` on 4 MiB."""
    del as_root
    disk = SmallDisk(site.store, "4m")
    yield disk
    site.finish()
    disk.leave()


# ---- modes


@pytest.mark.parametrize("umask", [0o077, 0o000, 0o022], ids=oct)
def test_modes_whatever_the_umask(origin: Origin, site: Workplace, umask: int) -> None:
    """0.10 and contract, Store: 0444 whatever the umask; folders let everybody in and nobody write."""
    site.one(origin.put(PATH, A))
    site.run("sync", umask=umask).expect(0)
    site.assert_good("a", A)
    for folder in (site.store, site.store / "a"):
        mode = stat.S_IMODE(folder.stat().st_mode)
        assert mode & 0o055 == 0o055, f"others cannot enter {folder}: {mode:o}"
        assert not mode & 0o002, f"everybody may write {folder}: {mode:o}"
    assert stat.S_IMODE(site.lock_path.stat().st_mode) & 0o444 == 0o444


def test_group(origin: Origin, site: Workplace, as_root: None) -> None:
    """Contract, `store.group`: files 0444 and folders 2755 belong to the group."""
    del as_root
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, os.getegid()))
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={"group": group.gr_name})
    site.sync().expect(0)
    site.assert_good("a", A)
    assert site.file("a").stat().st_gid == group.gr_gid
    folder = (site.store / "a").stat()
    assert folder.st_gid == group.gr_gid
    assert stat.S_IMODE(folder.st_mode) == 0o2755


def test_state_is_not_for_everybody_to_write(origin: Origin, site: Workplace) -> None:
    """5, planted links: nobody else may write into the state folder, whatever the umask."""
    site.one(origin.put(PATH, A))
    site.run("sync", umask=0).expect(0)
    for path in [site.state, *site.state.rglob("*")]:
        assert not path.stat().st_mode & 0o002, path


def test_readers_can_read_the_state_whatever_the_umask(origin: Origin, site: Workplace) -> None:
    """Never 0600 leftovers: `status`, `path`, `history` of others read what sync, verify and a repair wrote."""
    site.write({"name": "a", "url": origin.put(PATH, A), "unpack": True}, {"name": "b", "url": origin.put("/b.tgz", B)})
    for command in ("sync", "verify"):
        site.run(command, umask=0o077, invariants=False).expect(0)
    damaged = site.store / "b" / "b.tgz"
    damaged.write_bytes(bytes(64) + B[64:])
    site.run("verify", "--repair", umask=0o077, invariants=False).expect(0)
    site.assert_good("b", B)
    aside = {site.state / "partials", site.state / "quarantine"}  # unfinished or damaged: nobody's to read
    for folder, folders, files in os.walk(site.state):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in aside]
        assert here.stat().st_mode & 0o055 == 0o055, here
        for path in (here / name for name in files):
            assert path.stat().st_mode & 0o044 == 0o044, f"{stat.S_IMODE(path.stat().st_mode):o} {path}"


# ---- planted things


def test_planted_link_as_the_file(origin: Origin, site: Workplace) -> None:
    """5: a symlink where the file belongs is replaced or refused, never written through."""
    victim = site.root / "victim"
    victim.write_bytes(b"precious")
    (site.store / "a").mkdir(parents=True)
    (site.store / "a" / "a.tar.gz").symlink_to(victim)
    site.one(origin.put(PATH, A))
    run = site.sync(invariants=False).expect(0, 5)
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE(victim.stat().st_mode) != 0o444
    if run.status == 0:
        site.assert_good("a", A)
        assert not site.file("a").is_symlink()


def test_planted_link_as_the_folder(origin: Origin, site: Workplace) -> None:
    """5: a symlink where the checkpoint's folder belongs leads nothing out of the store."""
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    site.store.mkdir()
    (site.store / "a").symlink_to(elsewhere)
    site.one(origin.put(PATH, A))
    site.sync(invariants=False).expect(0, 5)
    assert not list(elsewhere.iterdir())


@pytest.mark.slow
def test_planted_links_as_partials(origin: Origin, site: Workplace) -> None:
    """5: partials exchanged for symlinks between two runs: the victim stays as it is."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.ignores_range(), f.cut(CUT), times=None)
    site.sync().expect(1)
    origin.calm()
    victim = site.root / "victim"
    victim.write_bytes(b"precious")
    planted = [path for path in site.state.rglob("*") if path.is_file() and path.stat().st_size >= CUT]
    assert planted, "no partial was kept"
    for path in planted:
        if "sqlite" not in path.name and "db" not in path.suffix:
            path.unlink()
            path.symlink_to(victim)
    site.sync().expect(0, 5)
    assert victim.read_bytes() == b"precious"
    site.assert_same_or_absent("a", A)


def test_a_folder_where_the_file_belongs(origin: Origin, site: Workplace) -> None:
    """5, EISDIR: said, exit 5, and the folder is left alone; other entries go on."""
    blocked = site.store / "a" / "a.tar.gz"
    blocked.mkdir(parents=True)
    (blocked / "note").write_text("mine")
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    run = site.sync(invariants=False).expect(5)
    assert run.kind("a") == "storage"
    assert (blocked / "note").read_text() == "mine"
    site.assert_good("b", B)
    assert "a" not in site.lock


def test_a_file_where_the_folder_belongs(origin: Origin, site: Workplace) -> None:
    """5, ENOTDIR: said, exit 5, and the file is left alone."""
    site.store.mkdir()
    (site.store / "a").write_text("mine")
    site.one(origin.put(PATH, A))
    site.sync(invariants=False).expect(5)
    assert (site.store / "a").read_text() == "mine"


def test_store_that_everybody_may_write(origin: Origin, site: Workplace) -> None:
    """5: a store whose folder is world-writable without the sticky bit is refused."""
    site.store.mkdir()
    site.store.chmod(0o777)
    site.one(origin.put(PATH, A))
    run = site.sync().expect(2, 5)
    assert str(site.store) in run.out + run.err
    site.assert_absent("a")


def test_strangers_file_is_not_overwritten_by_what_is_not_verified(origin: Origin, site: Workplace) -> None:
    """I1: a file that lies at the final name is only ever replaced by whole, verified bytes."""
    path = site.store / "a" / "a.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.ignores_range(), f.cut(CUT), times=None)
    site.sync(invariants=False).expect(1, 3, 5)
    assert path.read_bytes() == b"something else"
    assert "a" not in site.lock


# ---- disks that are full, read-only, failing


def test_disk_full(origin: Origin, site: Workplace, small_disk: SmallDisk) -> None:
    """5, ENOSPC: exit 5 and a message; nothing half is visible; with room the next run is good."""
    site.write({"name": "big", "url": origin.put("/big.tar.gz", BIG)})
    run = site.sync().expect(5)
    assert run.kind("big") == "storage"
    site.assert_absent("big")
    assert len(origin.requests()) <= 4, "the origin is hammered for a full disk"
    small_disk.remount("size=64m")
    site.sync().expect(0)
    site.assert_good("big", BIG)


def test_disk_fills_under_a_body_of_unknown_length(origin: Origin, site: Workplace, small_disk: SmallDisk) -> None:
    """5: chunked, so no size is known beforehand; ENOSPC comes in the middle."""
    del small_disk
    site.write({"name": "big", "url": origin.put("/big.tar.gz", BIG)})
    origin.on("/big.tar.gz", f.chunked(), times=None)
    run = site.sync().expect(5)
    assert run.kind("big") == "storage"
    site.assert_absent("big")


def test_old_file_survives_a_full_disk(origin: Origin, site: Workplace, small_disk: SmallDisk) -> None:
    """I1: `update` on a full disk keeps the old good file and its lock entry."""
    del small_disk
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    lock = site.lock_path.read_bytes()
    origin.put(PATH, BIG)
    site.run("update", "--json", "a").expect(5)
    site.assert_good("a", A)
    assert site.lock_path.read_bytes() == lock


def test_read_only_store(origin: Origin, site: Workplace, small_disk: SmallDisk) -> None:
    """5, EROFS: exit 5, no traceback; verify and status of what is there still work."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    small_disk.remount("ro")
    site.run("status").expect(0)
    site.verify().expect(0)
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    run = site.sync().expect(5)
    assert "read-only" in (run.out + run.err).lower()
    small_disk.remount("rw")
    site.sync().expect(0)
    site.assert_good("b", B)


def test_read_only_manifest_folder(origin: Origin, site: Workplace, as_root: None) -> None:
    """I2: the lock cannot be written: exit 5, known before anything is fetched; what needs no new entry goes on."""
    del as_root
    disk = SmallDisk(site.root / "etc", "1m")
    try:
        manifest = site.root / "etc" / "manifest.toml"
        site.manifest = manifest
        site.lock_path = site.root / "etc" / "manifest.lock"
        store = {"path": str(site.store)}
        old, new = {"name": "b", "url": origin.put("/b.tgz", B)}, {"name": "a", "url": origin.put(PATH, A)}
        site.write(old, store=store)
        site.run("sync", "--manifest", str(manifest)).expect(0)
        site.file("b").unlink()
        site.write(old, new, store=store)
        disk.remount("ro")
        run = site.run("sync", "--json", "--manifest", str(manifest)).expect(5)
        assert "manifest.lock" in run.message("a")
        assert not origin.requests(PATH)
        site.assert_good("b", B)
        disk.remount("rw")
        site.run("sync", "--json", "--manifest", str(manifest)).expect(0)
        site.assert_good("a", A)
    finally:
        disk.leave()


def test_not_our_store(origin: Origin, origins: Origins, as_root: None, lacking: Lacking) -> None:
    """5, EACCES: somebody without permission gets exit 5 and a sentence."""
    del as_root
    setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    can = subprocess.run([*setpriv, str(CKPTD), "--version"], check=False, capture_output=True)
    if can.returncode != 0:
        lacking(f"nobody cannot run the program here: {can.stderr.decode()[-200:]}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        site = Workplace(Path(folder) / "site", origins.made)
        site.one(origin.put(PATH, A))
        site.store.mkdir(mode=0o755)
        run = site.run("sync", "--json", prefix=setpriv).expect(5)
        assert "permission" in (run.out + run.err).lower()
        site.assert_absent("a")


def test_every_fsync_fails(origin: Origin, site: Workplace, strace: str) -> None:
    """5: an fsync that fails means the bytes are not durable: exit 5, nothing published, nothing locked."""
    site.one(origin.put(PATH, A))
    inject = ["-e", "trace=fsync,fdatasync,sync_file_range", "-e", "inject=fsync,fdatasync:error=EIO"]
    site.run("sync", "--json", prefix=[strace, "-f", "-qq", "-o", "/dev/null", *inject]).expect(5)
    site.assert_absent("a")
    site.sync().expect(0)
    site.assert_good("a", A)


@pytest.mark.parametrize(
    ("call", "number"),
    [("fsync", 1), ("fsync", 2), ("fsync", 4), ("fdatasync", 1), ("fdatasync", 3)],
)
def test_one_fsync_fails(origin: Origin, site: Workplace, strace: str, call: str, number: int) -> None:
    """5: whichever fsync it is, what is locked is durable; the next run mends everything."""
    site.one(origin.put(PATH, A))
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={number}"]
    site.run("sync", "--json", prefix=[strace, "-f", "-qq", "-o", "/dev/null", *inject]).expect(0, 5)
    site.assert_same_or_absent("a", A)
    site.sync().expect(0)
    site.assert_good("a", A)


@pytest.mark.parametrize("call", ["rename,renameat,renameat2", "pwrite64,pwritev,pwritev2,write"])
def test_publishing_or_writing_fails(origin: Origin, site: Workplace, strace: str, call: str) -> None:
    """5: rename or write answers EIO; the store stays as it was."""
    site.one(origin.put(PATH, A))
    site.run("status").expect(0)
    first = "1+" if call.startswith("rename") else "40+"
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={first}"]
    started = site.start("sync", "--json", prefix=[strace, "-f", "-qq", "-o", "/dev/null", *inject])
    _, err = started.process.communicate(timeout=60)
    assert "Traceback" not in err
    assert started.process.returncode not in (0, 1, 2, 3, 4) or call.startswith("pwrite")
    site.assert_same_or_absent("a", A)
    site.sync().expect(0)
    site.assert_good("a", A)


def test_unreadable_file_is_a_result_for_that_file(origin: Origin, site: Workplace, strace: str) -> None:
    """An EIO is a result for that file, not the end of the run; exit 5."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    site.sync().expect(0)
    reads = "read,pread64,readv,preadv,preadv2"
    trace = [strace, "-f", "-qq", "-o", "/dev/null", "-P", str(site.file("a"))]
    inject = ["-e", f"trace={reads}", "-e", f"inject={reads}:error=EIO"]
    run = site.run("verify", "--json", prefix=[*trace, *inject]).expect(5)
    assert run.entry("a")["state"] == "unreadable"
    assert run.kind("a") == "storage"
    assert run.entry("b")["state"] == "intact"
    site.verify().expect(0)


def test_file_size_limit(origin: Origin, site: Workplace) -> None:
    """5, EFBIG: RLIMIT_FSIZE gives a short write and then an error (or SIGXFSZ); said as storage."""
    site.one(origin.put(PATH, A))
    run = site.run("sync", "--json", prefix=["prlimit", "--fsize=150000"]).expect(5)
    assert run.status == 5
    site.assert_absent("a")
    site.sync().expect(0)


# ---- the lock file is never torn


def test_lock_is_replaced_not_rewritten(origin: Origin, site: Workplace) -> None:
    """5: written beside and renamed: another inode each time it changes, and the old one when it does not."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    first = site.lock_path.stat()
    site.sync().expect(0)
    assert site.lock_path.stat().st_ino == first.st_ino
    with site.lock_path.open("rb") as old:
        site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
        site.sync().expect(0)
        assert os.fstat(old.fileno()).st_nlink == 0
        assert b'"b"' not in old.read()
    left = {path.name for path in site.root.iterdir()} - {
        "home",
        "manifest.toml",
        "manifest.lock",
        "checkpoints",
    }
    assert not left, f"left beside the lock: {left}"


def test_who_has_the_old_file_open_keeps_it(origin: Origin, site: Workplace) -> None:
    """Contract, Store: `update` replaces by rename; an open file keeps the old bytes."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    with site.file("a").open("rb") as old:
        origin.put(PATH, B)
        site.run("update", "--json", "a").expect(0)
        assert old.read() == A
    site.assert_good("a", B)


# ---- two at once


@pytest.mark.slow
def test_two_at_once(origin: Origin, site: Workplace) -> None:
    """Exit 6: another instance owns the store; reading commands still work; the first is not disturbed."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place))
    first = site.start("sync", "--json")
    wait_until(place.reached.is_set, what="the first is at work")
    for command in (["sync", "--json"], ["update", "--json", "a"], ["sync"]):
        run = site.run(*command).expect(6)
        assert run.err or run.out
    site.run("status").expect(0)
    assert len(origin.requests()) == 1
    place.release()
    first.wait().expect(0)
    site.assert_good("a", A)


def test_owner_that_was_killed_blocks_nobody(origin: Origin, site: Workplace) -> None:
    """5, Locks: the lock of a dead process is no lock; its file may stay."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place))
    first = site.start("sync")
    wait_until(place.reached.is_set, what="the first is at work")
    first.signal(signal.SIGKILL)
    first.wait()
    site.sync().expect(0)
    site.assert_good("a", A)


def test_children_do_not_inherit_the_ownership(origin: Origin, site: Workplace) -> None:
    """5, Locks: the files that are locked are closed on exec; a lock is free as soon as the run is over."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    for path in site.state.rglob("*"):
        if path.is_file():
            with path.open("r+b") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_state_somewhere_else(origin: Origin, site: Workplace) -> None:
    """Contract, `store.state`: where the manifest says; then nothing but checkpoints is in the store."""
    site.state = site.root / "var" / "state"
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={"state": "var/state"})
    site.sync().expect(0)
    site.assert_good("a", A)
    assert site.state.is_dir()
    assert [path.name for path in site.store.iterdir()] == ["a"]


def test_lost_state_costs_no_body(origin: Origin, site: Workplace) -> None:
    """Promise 3: the state folder is gone; what is published and locked is still good, and is not fetched."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    shutil.rmtree(site.state)
    before = origin.body_bytes()
    site.sync().expect(0)
    site.assert_good("a", A)
    assert origin.body_bytes() == before
    site.verify().expect(0)


@pytest.mark.parametrize("damage", ["empty", "garbage"])
def test_damaged_state_is_no_dead_end(origin: Origin, site: Workplace, damage: str) -> None:
    """Promise 3: the next run needs nobody's help, or says what to do; the published file stays."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    for path in list(site.state.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"" if damage == "empty" else os.urandom(5000))
    site.sync().expect(0, 5)
    site.assert_good("a", A)

"""store.probe and store.mounts: what a filesystem can do is tried, honestly, and nothing is left of it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ckptd.core.abilities import Ability, Mount
from ckptd.errors import StorageError
from ckptd.store import probe
from ckptd.store.mounts import mount_of

ALWAYS = {Ability.RENAME, Ability.FSYNC, Ability.LOCKS, Ability.DATABASE, Ability.MODES, Ability.HARD_LINKS}


def everything(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*")}


def test_here(tmp_path: Path) -> None:
    """On whatever the tests run on. What is there is not touched, and nothing stays."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "folder").mkdir()
    before = everything(tmp_path)
    threads = threading.active_count()
    found = probe.probe(tmp_path, None)
    assert list(found) == list(Ability)
    assert {ability for ability in ALWAYS if found[ability].works} == ALWAYS
    assert everything(tmp_path) == before
    assert threading.active_count() == threads


@pytest.fixture(params=["tmpfs", "ext4", "btrfs", "xfs"])
def mounted(
    request: pytest.FixtureRequest, tmp_path: Path, lacking: Callable[[str], None]
) -> Iterator[tuple[str, Path]]:
    """A filesystem of its own."""
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    folder, kind = tmp_path / "mounted", request.param
    folder.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "none", str(folder)]
    else:
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.truncate(512 * 1024 * 1024)
        try:
            subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, capture_output=True)
        except FileNotFoundError:
            lacking(f"mkfs.{kind} is not installed")
        command = ["mount", "-t", kind, "-o", "loop", str(image), str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        lacking(f"{kind} cannot be mounted here")
    yield kind, folder
    subprocess.run(["umount", str(folder)], check=True)


def test_filesystems_that_are_known(mounted: tuple[str, Path]) -> None:
    """What each of them can is no matter of opinion."""
    kind, folder = mounted
    found = probe.probe(folder, None)
    assert {ability for ability in ALWAYS if found[ability].works} == ALWAYS, found
    assert found[Ability.REFLINK].works is (kind in {"btrfs", "xfs"})
    assert found[Ability.FALLOCATE].works
    assert found[Ability.FSYNC_FOLDER].works
    assert mount_of(folder).kind == kind
    assert mount_of(folder).point == str(folder)
    (folder / "inner").mkdir()
    assert mount_of(folder / "inner").kind == kind
    assert "rw" in mount_of(folder).options


def test_a_full_disk(tmp_path: Path, lacking: Callable[[str], None]) -> None:
    """What takes space could not be tried; that is no word about what the filesystem can do."""
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        (tmp_path / "full").write_bytes(b"x" * 48_000)
        found = probe.probe(tmp_path, None)
        assert found[Ability.FSYNC].works is None
        assert found[Ability.FSYNC].detail == os.strerror(errno.ENOSPC)
        assert found[Ability.RENAME].works
        assert [path.name for path in tmp_path.iterdir()] == ["full"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_nowhere_to_try_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write in"):
        probe.probe(tmp_path / "nothing", None)


# --- filesystems that lie ---------------------------------------------------------------------------------------------


def test_locks_that_exclude_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a mount where every lock succeeds: two processes get the same one."""
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: 0)
    trial = probe.probe(tmp_path, None)[Ability.LOCKS]
    assert trial.works is False
    assert trial.detail == "two processes had the same lock at the same time"


def test_no_locks_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process is refused by the filesystem itself."""
    monkeypatch.setattr(probe, "_HOLDER", f"print({errno.ENOSYS}, flush=True)")
    trial = probe.probe(tmp_path, None)[Ability.LOCKS]
    assert (trial.works, trial.detail) == (False, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "import sys; sys.stdin.read()"], ids=["ends", "hangs"])
def test_another_process_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(probe, "_HOLDER", program)
    monkeypatch.setattr(probe, "LOCK_SECONDS", 0.3)
    assert probe.probe(tmp_path, None)[Ability.LOCKS].works is None


def test_a_lock_that_outlives_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "held")

    monkeypatch.setattr(fcntl, "fcntl", held)
    trial = probe.probe(tmp_path, None)[Ability.LOCKS]
    assert (trial.works, trial.detail) == (False, "the lock of a process that was killed stays")


def test_modes_that_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a share of Windows: chmod succeeds, and does nothing."""
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    trial = probe.probe(tmp_path, None)[Ability.MODES]
    assert trial.works is False
    assert "0600 in the place of" in trial.detail


def test_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert probe.probe(tmp_path, os.getegid())[Ability.MODES].works
    finally:
        os.umask(before)


def test_a_filesystem_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried before counts, the rest is said not to have answered; we go on, and it cleans up when it can."""
    go, calls = threading.Event(), []

    def hang(fd: int) -> None:
        calls.append(fd)
        go.wait(30)

    monkeypatch.setattr(probe, "DEADLINE", 0.3)
    monkeypatch.setattr(os, "fsync", hang)
    begun = time.monotonic()
    found = probe.probe(tmp_path, None)
    assert time.monotonic() - begun < 20
    assert calls
    assert found[Ability.RENAME].works
    assert found[Ability.FSYNC].works is None
    assert found[Ability.VERITY].detail.startswith("no answer within")
    assert list(tmp_path.iterdir()), "it is still at it"
    go.set()
    for thread in threading.enumerate():
        if thread.name == "ckptd-probe":
            thread.join(20)
    assert list(tmp_path.iterdir()) == []


def test_the_idle_class() -> None:
    """Only a thread that ends gets it."""
    before = psutil.Process().ionice()
    assert probe.may_stand_back() in {True, False}
    assert psutil.Process().ionice() == before


# --- mounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1 0 0:1 / / rw - ext4 /dev/a rw"], ("ext4", {"rw"})),
        (["1 0 0:1 / / rw - ext4 /dev/a rw", "2 1 0:2 / {here} ro,nosuid - nfs4 srv:/x rw,vers=4.2"], ("nfs4", None)),
        (["2 1 0:2 / {here} rw - nfs4 srv:/x rw", "3 1 0:3 / {here} rw - lustre srv rw"], ("lustre", None)),
        (["2 1 0:2 / {here} rw shared:1 master:2 - xfs /dev/b rw", "3 1 0:3 / /else rw - ext4 x rw"], ("xfs", None)),
        (["1 0 {device} / / rw - btrfs /dev/a rw", "2 1 0:2 / {here} rw - overlay x rw"], ("btrfs", None)),
        (["2 1 0:2 / {here}more rw - nfs4 srv rw", "1 0 0:1 / / rw - ext4 /dev/a rw"], ("ext4", None)),
        (["nonsense", "1 2 3 - 4", ""], ("", None)),
    ],
    ids=["root", "the longest", "the last on a point", "optional fields", "by device", "whole names", "nonsense"],
)
def test_mountinfo(tmp_path: Path, lines: list[str], expected: tuple[str, set[str] | None]) -> None:
    device = tmp_path.stat().st_dev
    text = "\n".join(lines).format(here=tmp_path, device=f"{os.major(device)}:{os.minor(device)}")
    table = tmp_path / "mountinfo"
    table.write_text(text)
    found = mount_of(tmp_path, table)
    assert found.kind == expected[0]
    if expected[1] is not None:
        assert found.options == expected[1]
    assert mount_of(tmp_path, tmp_path / "no such file") == Mount()


def test_both_kinds_of_options(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"2 1 0:2 / {tmp_path} ro,nosuid - nfs4 srv:/x rw,nolock\n")
    assert mount_of(tmp_path, table).options == {"ro", "rw", "nosuid", "nolock"}

"""The lock on disk: whole, or as it was."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.core.models import Lock, LockEntry, Trust
from ckptd.errors import ConfigError, StorageError
from ckptd.store.lockfile import read, write


def lock_of(count: int) -> Lock:
    entries = [LockEntry(f"m{n:04}", f"https://h/m{n}.bin", n, f"{n:064x}", Trust.FIRST_USE) for n in range(count)]
    return Lock({entry.name: entry for entry in entries})


SMALL, LARGE = lock_of(2), lock_of(1000)


def test_none_yet(tmp_path: Path) -> None:
    assert read(tmp_path / "manifest.lock") == Lock()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.lock"
    write(path, LARGE)
    assert read(path) == LARGE
    write(path, SMALL)
    assert read(path) == SMALL


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "ckptd-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_one(tiny_disk: Path) -> None:
    path = tiny_disk / "manifest.lock"
    write(path, SMALL)
    with pytest.raises(StorageError, match="No space") as caught:
        write(path, LARGE)
    assert "free some space" in caught.value.hint
    assert read(path) == SMALL
    assert [each.name for each in tiny_disk.iterdir()] == ["manifest.lock"]
    write(path, lock_of(3))  # what was left half-written does not fill the disk
    assert read(path) == lock_of(3)


def test_a_size_limit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "manifest.lock"
    write(path, SMALL)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match="too large"):
            write(path, LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read(path) == SMALL
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.lock"]


def test_readers_see_one_or_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before every system call of a write."""
    path = tmp_path / "manifest.lock"
    write(path, SMALL)
    seen: list[Lock] = []
    looking = False

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            nonlocal looking
            if not looking:
                looking = True
                seen.append(read(path))
                looking = False
            return real(*args, **more)

        return call

    for name in ("open", "write", "fchmod", "fsync", "rename", "close"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    write(path, LARGE)
    monkeypatch.undo()
    assert len(seen) > 5
    assert all(lock in (SMALL, LARGE) for lock in seen)
    assert read(path) == LARGE


@pytest.mark.parametrize("content", [b"\xff\xfe\0binary", b"", b"version = 1\n[[checkpoint]\n"])
def test_what_is_no_lock_stops_everything(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.lock"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"manifest\.lock"):
        read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)],
    ids=["a folder", "a pipe", "a link to itself"],
)
def test_what_is_no_file_is_no_lock(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Said at once: nobody waits for a pipe to speak."""
    make(tmp_path / "manifest.lock")
    with pytest.raises(ConfigError, match=r"manifest\.lock is no file"):
        read(tmp_path / "manifest.lock")


def test_a_path_through_a_file_leads_to_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no file"):
        read(tmp_path / "file" / "manifest.lock")


def test_a_folder_in_its_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "manifest.lock").mkdir()
    with pytest.raises(StorageError, match=r"manifest\.lock"):
        write(tmp_path / "manifest.lock", SMALL)

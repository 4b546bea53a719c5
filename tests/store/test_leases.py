"""store.leases: whether a file is open, by the kernel's word, whoever it is that has it open."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptd.store import leases
from ckptd.store.leases import is_open

OPEN = """
import mmap, sys
file = open(sys.argv[1], "rb")
mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
if sys.argv[2] == "mapped":
    file.close()
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    if is_open(path) is None:
        pytest.skip("this filesystem has no leases")
    return path


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_another_process(file: Path, how: str) -> None:
    command = [sys.executable, "-c", OPEN, str(file), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        assert is_open(file) is True
        other.communicate("")
    assert is_open(file) is False


def test_this_process_and_one_that_unlinked_it_elsewhere(file: Path) -> None:
    assert is_open(file) is False
    with file.open("rb") as opened:
        assert is_open(file) is True
        with mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ):
            pass
    assert is_open(file) is False


def test_asking_leaves_no_lease(file: Path) -> None:
    """Or the next to open the file would have to wait, and we would get a signal."""
    assert is_open(file) is False
    with file.open("r+b") as opened:
        assert fcntl.fcntl(opened.fileno(), fcntl.F_GETLEASE) == fcntl.F_UNLCK


def test_where_it_cannot_be_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "filesystem_of", lambda _: "nfs4")
    with file.open("rb"):
        assert is_open(file) is None


def test_links_are_not_followed(file: Path) -> None:
    (file.parent / "link").symlink_to(file)
    with pytest.raises(OSError, match="symbolic"):
        is_open(file.parent / "link")
    with pytest.raises(FileNotFoundError):
        is_open(file.parent / "nothing")


def test_no_descriptor_stays(file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with file.open("rb"):
        is_open(file)
    is_open(file)
    assert len(os.listdir("/proc/self/fd")) == before

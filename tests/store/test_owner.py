"""One writer per store, over processes, and over everything else this process does with the file."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptd.errors import BusyError, StorageError
from ckptd.store.owner import Owner, holder

HOLD = """
import sys
from pathlib import Path
from ckptd.store.owner import Owner
with Owner(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(state: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_processes(tmp_path: Path) -> None:
    with start_holder(tmp_path) as process:
        assert holder(tmp_path) is not None
        with pytest.raises(BusyError, match=rf"in use by .* pid {process.pid}"), Owner(tmp_path):
            pass
        assert f"pid {process.pid}" in (holder(tmp_path) or "")
        process.communicate("")
    assert holder(tmp_path) is None
    with Owner(tmp_path):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with start_holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert holder(tmp_path) is None
        with Owner(tmp_path):
            assert f"pid {os.getpid()}" in (holder(tmp_path) or "")


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_others_may_read_who_it_is(tmp_path: Path, umask: int) -> None:
    """Whatever the umask."""
    before = os.umask(umask)
    try:
        with Owner(tmp_path):
            assert (tmp_path / "owner.lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_two_in_one_process(tmp_path: Path) -> None:
    with Owner(tmp_path), pytest.raises(BusyError), Owner(tmp_path):
        pass
    with Owner(tmp_path):
        pass


def test_closing_another_descriptor_does_not_let_go(tmp_path: Path) -> None:
    """As a lockf lock would."""
    with Owner(tmp_path):
        (tmp_path / "owner.lock").read_bytes()
        os.close(os.open(tmp_path / "owner.lock", os.O_RDWR))
        assert holder(tmp_path) is not None
        with pytest.raises(BusyError), Owner(tmp_path):
            pass


def test_asking_takes_nothing(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert not (tmp_path / "owner.lock").exists()
    with Owner(tmp_path):
        pass
    assert holder(tmp_path) is None
    with Owner(tmp_path):
        pass


def test_the_file_stays(tmp_path: Path) -> None:
    """A lock on a file that was removed and made again guards nothing."""
    with Owner(tmp_path):
        inode = (tmp_path / "owner.lock").stat().st_ino
    with Owner(tmp_path):
        assert (tmp_path / "owner.lock").stat().st_ino == inode


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "owner.lock").write_text("a-host-with-a-very-long-name.example.org pid 4194303\n" * 3)
    with Owner(tmp_path):
        assert (holder(tmp_path) or "").endswith(f"pid {os.getpid()}")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    with pytest.raises(StorageError, match="no working file locks"), Owner(tmp_path):
        pass
    assert holder(tmp_path) is None


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "owner.lock").symlink_to(victim)
    with pytest.raises(StorageError), Owner(tmp_path):
        pass
    assert victim.read_text() == "precious"
    assert holder(tmp_path) is None

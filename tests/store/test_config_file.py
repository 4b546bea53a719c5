"""Config files of the operator's: replaced whole or not at all, and otherwise as they were."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from house import plain_users_thread

from ckptd.errors import ConfigError, StorageError
from ckptd.store.config_file import LARGEST, read, replace


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "model.textproto"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2")
    path.chmod(0o664)
    return path


def test_text_is_what_the_bytes_say(config: Path) -> None:
    before = config.read_bytes()
    found = read(config)
    assert found.text == "\ufeffa: 1\r\nb: 2"
    assert replace(found, found.text)
    assert config.read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755, 0o2664, 0o4755])
def test_mode_stays(config: Path, mode: int) -> None:
    config.chmod(mode)
    assert replace(read(config), "new")
    assert config.read_text() == "new"
    assert stat.S_IMODE(config.stat().st_mode) == mode


def test_mode_does_not_depend_on_the_umask(config: Path) -> None:
    old = os.umask(0o077)
    try:
        replace(read(config), "new")
    finally:
        os.umask(old)
    assert stat.S_IMODE(config.stat().st_mode) == 0o664


@pytest.fixture
def root(lacking: Callable[[str], None]) -> None:
    if os.geteuid() != 0:
        lacking("only root may give files away")


def test_owner_and_group_stay(config: Path, root: None) -> None:
    os.chown(config, 1234, 4321)
    assert replace(read(config), "new")
    found = config.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o664)


def as_user(uid: int, work: Callable[[], bool]) -> int:
    """Exit status of a child that does `work` as another user: 0 for true, 1 for false, 2 for an error."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork, in a process that had threads
def test_a_group_that_cannot_be_kept_gains_nothing(root: None) -> None:
    """A file of root's that everybody may write: it becomes the writer's, and so does its group."""
    with TemporaryDirectory() as folder:  # the parents of `tmp_path` are root's alone
        Path(folder).chmod(0o777)
        config = Path(folder) / "a.yaml"
        config.write_text("old")
        config.chmod(0o676)
        assert as_user(12345, lambda: replace(read(config), "new")) == 1
        found = config.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12345, 0o666)
        assert config.read_text() == "new"


def test_attributes_stay(config: Path, lacking: Callable[[str], None]) -> None:
    try:
        os.setxattr(config, "user.note", b"mine")
    except OSError:
        lacking("this filesystem has no extended attributes")
    replace(read(config), "new")
    assert os.getxattr(config, "user.note") == b"mine"


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "current.textproto"
    link.symlink_to("../second")
    (tmp_path / "second").symlink_to(config.name)
    found = read(link)
    assert found.path == config.resolve()
    replace(found, "new")
    assert link.is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert config.read_text() == "new"
    assert [path.name for path in (tmp_path / "links").iterdir()] == ["current.textproto"]


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda path: None, "is not there"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "is not there"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "cannot read"),
    "a folder": (lambda path: path.mkdir(), "a folder"),
    "a pipe": (os.mkfifo, "not a file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a file"),
    "zeros": (lambda path: path.write_bytes(b"a\0b"), "is not text"),
    "UTF-16": (lambda path: path.write_bytes("a: 1".encode("utf-16")), "is not text"),
    "Latin-1": (lambda path: path.write_bytes("# é".encode("latin-1")), r"not UTF-8 text \(byte 2\)"),
    "too large": (lambda path: path.write_bytes(b"#" * (LARGEST + 1)), "larger than 1 MiB"),
    "sparse and huge": (sparse, "larger than 1 MiB"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_config_is_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "a.yaml"
    make(path)
    with pytest.raises(ConfigError, match=said) as caught:
        read(path)
    assert str(path) in caught.value.message


def test_largest_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * LARGEST)
    assert len(read(path).text) == LARGEST


def test_a_change_in_between_is_not_overwritten(config: Path) -> None:
    found = read(config)
    config.write_text("by somebody else")
    with pytest.raises(StorageError, match="changed by somebody else"):
        replace(found, "new")
    assert config.read_text() == "by somebody else"
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_a_size_limit_leaves_the_old_one(config: Path) -> None:
    before = config.read_bytes()
    found = read(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="too large"):
            replace(found, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert config.read_bytes() == before
    assert [path.name for path in config.parent.iterdir()] == [config.name]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_written_is_not(config: Path, what: str) -> None:
    """Also where the folder's mode would allow a rename over a file that is read-only."""
    before = config.read_bytes()
    target = config if what == "file" else config.parent
    mode = target.stat().st_mode
    target.chmod(0o444 if what == "file" else 0o555)
    found = read(config)
    try:
        with plain_users_thread() as pool, pytest.raises(StorageError, match="Permission denied") as caught:
            pool.submit(replace, found, "new").result()
    finally:
        target.chmod(mode)
    assert "may write" in caught.value.hint
    assert config.read_bytes() == before
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_readers_see_one_or_the_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before every system call of a write."""
    before = config.read_bytes()
    seen: list[bytes] = []

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            seen.append(subprocess.run(["cat", config], capture_output=True, check=True).stdout)
            return real(*args, **more)

        return call

    found = read(config)
    with monkeypatch.context() as patched:
        for name in ("write", "fchown", "fchmod", "fsync", "rename", "replace"):
            patched.setattr(os, name, watched(getattr(os, name)))
        replace(found, "new")
    assert len(seen) > 4
    assert set(seen) <= {before, b"new"}
    assert config.read_text() == "new"

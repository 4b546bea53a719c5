"""Modes in unpacked trees: which are loose, and setting them right without being led elsewhere."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from house import plain_users_thread

from ckptd.errors import StorageError
from ckptd.store.tree_modes import loose, tighten


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As it was made: a file in a folder, a second name for it, a link to both."""
    folder = tmp_path / "tree"
    (folder / "d/e").mkdir(parents=True)
    (folder / "d/f").write_bytes(b"weights")
    (folder / "d/f").chmod(0o444)
    os.link(folder / "d/f", folder / "same")
    (folder / "l").symlink_to("d")
    for path in (folder, folder / "d", folder / "d/e"):
        path.chmod(0o755)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("shared", [False, True])
def test_as_it_was_made(tree: Path, *, shared: bool) -> None:
    assert loose(tree, shared=shared) == tighten(tree, shared=shared) == ()


@pytest.mark.parametrize(("shared", "right"), [(False, 0o755), (True, 0o2755)])
def test_set_right(tree: Path, *, shared: bool, right: int) -> None:
    tree.chmod(0o777)
    (tree / "d/e").chmod(0o775)
    (tree / "d/f").chmod(0o666)
    odd = (".", "d/e", "d/f", "same")
    assert loose(tree, shared=shared) == odd
    assert tighten(tree, shared=shared) in {odd, (".", "d/e", "d/f"), (".", "d/e", "same")}
    assert (mode(tree), mode(tree / "d/e"), mode(tree / "d/f")) == (right, right, 0o444)
    assert loose(tree, shared=shared) == ()


def test_folders_that_nobody_may_enter(tree: Path) -> None:
    """What lies below shows once they can be entered."""
    (tree / "d/f").chmod(0o600)
    (tree / "d").chmod(0)
    with plain_users_thread() as pool:
        assert pool.submit(loose, tree, shared=False).result() == ("d",)
    tighten(tree, shared=False)
    assert (mode(tree / "d"), mode(tree / "d/f")) == (0o755, 0o444)


def test_what_is_outside_stays_as_it_is(tree: Path, tmp_path: Path) -> None:
    """Whoever may write into a loose tree leads nobody to other files: neither by links nor by hard links."""
    outside = tmp_path / "outside"
    outside.mkdir(0o700)
    secret, other = outside / "secret", outside / "other"
    for path in (secret, other):
        path.write_bytes(b"x")
        path.chmod(0o600)
    (tree / "into").symlink_to(outside)
    (tree / "to").symlink_to(secret)
    os.link(other, tree / "planted")
    (tree / "d").chmod(0o777)
    assert tighten(tree, shared=False) == ("d",)
    assert [mode(path) for path in (outside, secret, other)] == [0o700, 0o600, 0o600]


@pytest.mark.parametrize("what", ["nothing", "a link", "a file"])
def test_no_folder(tmp_path: Path, what: str) -> None:
    tree = tmp_path / "tree"
    if what == "a link":
        tree.symlink_to(tmp_path)
    elif what == "a file":
        tree.write_bytes(b"")
    tmp_path.chmod(0o777)
    assert loose(tree, shared=False) == ()
    with pytest.raises(StorageError, match="cannot set the modes"):
        tighten(tree, shared=False)
    assert mode(tmp_path) == 0o777


def test_somebody_elses_tree(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: str, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    (tree / "d").chmod(0o777)
    monkeypatch.setattr(os, "chmod", refusing)
    with pytest.raises(StorageError, match="cannot set the modes") as raised:
        tighten(tree, shared=False)
    assert "user who owns the store" in raised.value.hint


def test_a_tree_of_many_floors(tree: Path) -> None:
    """Planted folders are deeper than any archive's; they end neither the stack nor the descriptors."""
    here = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("x", 0o755, dir_fd=here)
        below = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert loose(tree, shared=False) == ()
    finally:
        subprocess.run(["rm", "-rf", str(tree)], check=True)  # Python's own way down ends the stack

"""Trees on the disk: found as they are, named in one instant, and the list of their members kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from house import open_files, plain_users_thread, sha256_of

from ckptd.core.tree import TOP, Differences, Found, Kind, Tree, TreeMember, compare, tree_of
from ckptd.errors import StorageError
from ckptd.store import trees
from ckptd.store.scrub import CHUNK
from ckptd.store.trees import load_tree, publish_tree, save_tree, scan

BODY = bytes(range(256)) * (CHUNK // 256) + b"a tail"
SHA256 = "ab" * 32


def ignore(count: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with one of each."""
    folder = tmp_path / "state/staging"
    (folder / "d/e").mkdir(parents=True)
    (folder / "d/weights").write_bytes(BODY)
    (folder / "empty").write_bytes(b"")
    (folder / "l").symlink_to("d")
    for path in (folder / "d", folder / "d/e"):
        path.chmod(0o755)
    for path in (folder / "d/weights", folder / "empty"):
        path.chmod(0o444)
    return folder


def tree_in(made: Path) -> Tree:
    return scan(made, ignore).tree


# --- scan ------------------------------------------------------------------------------------------------------------


def test_what_is_found(made: Path) -> None:
    read: list[int] = []
    found = scan(made, read.append)
    assert found.tree.members == (
        TreeMember("d", Kind.FOLDER, mode=0o755),
        TreeMember("d/e", Kind.FOLDER, mode=0o755),
        TreeMember("d/weights", Kind.FILE, len(BODY), sha256_of(BODY).hex(), mode=0o444),
        TreeMember("empty", Kind.FILE, 0, sha256_of(b"").hex(), mode=0o444),
        TreeMember("l", Kind.LINK, target="d"),
    )
    assert found.tree.size == len(BODY)
    assert not found.unreadable
    assert sum(read) == len(BODY)


def test_what_happened_to_a_tree(made: Path) -> None:
    tree = tree_in(made)
    (made / "d/weights").chmod(0o644)
    with (made / "d/weights").open("r+b") as file:
        file.seek(CHUNK)
        file.write(b"A")
    (made / "empty").unlink()
    (made / "l").unlink()
    (made / "l").symlink_to("d/e")
    (made / "d/e").chmod(0o777)
    os.mkfifo(made / "pipe")
    (made / "d/new").mkdir()
    differences = compare(tree, scan(made, ignore))
    assert differences.changed == ("d/weights", "l")
    assert differences.missing == ("empty",)
    assert differences.added == ("d/new", "pipe")
    assert differences.modes == ("d/e",)


def test_links_are_not_followed(made: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"x")
    (made / "out").symlink_to(tmp_path / "outside")
    assert TreeMember("out", Kind.LINK, target=str(tmp_path / "outside")) in tree_in(made).members
    (tmp_path / "planted").symlink_to(made)
    assert scan(tmp_path / "planted", ignore) == Found(tree_of({}), instead="a link")


def test_something_else_in_its_place(tmp_path: Path) -> None:
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(b"x")
    os.mkfifo(pipe)
    assert scan(file, ignore).instead == "a plain file"
    assert scan(pipe, ignore).instead == "a device, pipe or socket"
    assert scan(file / "tree", ignore).unreadable == {TOP: "Not a directory"}


def test_what_cannot_be_read(made: Path) -> None:
    tree = tree_in(made)
    (made / "d").chmod(0)
    (made / "empty").chmod(0)
    try:
        with plain_users_thread() as pool:
            found = pool.submit(scan, made, ignore).result()
    finally:
        (made / "d").chmod(0o755)
    assert found.unreadable == {"d": "Permission denied", "empty": "Permission denied"}
    differences = compare(tree, found)
    assert differences == Differences(unreadable=("d", "empty"))


def test_a_disk_that_fails(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def failing(path: Path) -> list[str]:
        if path == made:
            raise OSError(errno.EIO, "Input/output error")
        return listdir(path)

    tree = tree_in(made)
    monkeypatch.setattr(os, "listdir", failing)
    assert compare(tree, scan(made, ignore)).unreadable == (TOP,)


def test_nothing_there(tmp_path: Path) -> None:
    assert scan(tmp_path / "tree", ignore) == Found(tree_of({}))


def test_names_of_any_bytes(made: Path) -> None:
    (made / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    assert compare(tree_of({}), scan(made, ignore)).added[0] == "caf\udce9"


# --- publish ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(trees, "_exchanged", lambda path, fd, name: False)
    return str(request.param)


def test_the_first_tree(made: Path, tmp_path: Path) -> None:
    tree = tree_in(made)
    final = tmp_path / "store/model/tree"
    assert publish_tree(made, final, tmp_path / "state/old") is None
    assert tree_in(final) == tree
    assert not made.exists()


@pytest.mark.usefixtures("way")
def test_who_uses_the_old_tree_keeps_it(made: Path, tmp_path: Path) -> None:
    final = tmp_path / "store/model/tree"
    final.mkdir(parents=True)
    (final / "weights").write_bytes(b"old")
    inside = os.open(final, os.O_RDONLY | os.O_DIRECTORY)
    tree = tree_in(made)
    try:
        old = publish_tree(made, final, tmp_path / "state/old")
        assert tree_in(final) == tree
        with open(os.open("weights", os.O_RDONLY, dir_fd=inside), "rb") as file:
            assert file.read() == b"old"
    finally:
        os.close(inside)
    assert old is not None
    assert old.name.startswith("model.")
    assert list((tmp_path / "state/old").iterdir()) == [old]
    assert [path.name for path in old.iterdir()] == ["weights"]
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["old"]


def test_there_is_always_a_tree(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names can be exchanged, no step of it leaves the store without one."""
    final = tmp_path / "store/model/tree"
    final.mkdir(parents=True)
    rename = os.rename
    steps = 0

    def looking(*arguments: object, **more: object) -> None:
        nonlocal steps
        rename(*arguments, **more)  # type: ignore[arg-type]
        steps += 1
        assert final.is_dir()

    monkeypatch.setattr(os, "rename", looking)
    publish_tree(made, final, tmp_path / "state/old")
    assert steps == 1
    assert (final / "d").is_dir()


@pytest.mark.parametrize("planted", ["tree", "tree-file", "folder"])
def test_planted_names_are_refused(made: Path, tmp_path: Path, planted: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    final = tmp_path / "store/model/tree"
    if planted == "folder":
        (tmp_path / "store").mkdir()
        final.parent.symlink_to(victim)
    else:
        final.parent.mkdir(parents=True)
        if planted == "tree":
            final.symlink_to(victim)
        else:
            final.write_bytes(b"")
    before = open_files()
    with pytest.raises(StorageError, match="not a folder of ours"):
        publish_tree(made, final, tmp_path / "state/old")
    assert open_files() == before
    assert not list(victim.iterdir())
    assert (made / "d").is_dir()


def test_a_failing_exchange_is_an_error(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = tmp_path / "store/model/tree"
    final.mkdir(parents=True)

    def failing(path: Path, fd: int, name: str) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(trees, "_exchanged", failing)
    with pytest.raises(StorageError, match="cannot publish"):
        publish_tree(made, final, tmp_path / "state/old")
    assert final.is_dir()


def test_two_renames_that_fail_in_the_middle(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old tree gets its name back."""
    final = tmp_path / "store/model/tree"
    final.mkdir(parents=True)
    (final / "weights").write_bytes(b"old")
    rename = os.rename

    def failing(source: Path | str, target: Path | str, **more: int) -> None:
        if str(source).endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target, **more)

    monkeypatch.setattr(os, "rename", failing)
    monkeypatch.setattr(trees, "_exchanged", lambda path, fd, name: False)
    with pytest.raises(StorageError, match="cannot publish"):
        publish_tree(made, final, tmp_path / "state/old")
    assert (final / "weights").read_bytes() == b"old"


# --- the list --------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_back(made: Path, tmp_path: Path) -> None:
    tree = tree_in(made)
    save_tree(tree, tmp_path / "trees", SHA256)
    assert load_tree(tmp_path / "trees", SHA256) == tree
    assert load_tree(tmp_path / "trees", "cd" * 32) is None
    save_tree(tree_of({}), tmp_path / "trees", SHA256)
    assert load_tree(tmp_path / "trees", SHA256) == tree_of({})


def test_a_damaged_list_is_no_list(made: Path, tmp_path: Path) -> None:
    save_tree(tree_in(made), tmp_path / "trees", SHA256)
    kept = tmp_path / "trees" / SHA256
    whole = kept.read_bytes()
    kept.chmod(0o644)
    for at in range(0, len(whole), 7):
        kept.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        assert load_tree(kept.parent, SHA256) is None
        kept.write_bytes(whole[:at])
        assert load_tree(kept.parent, SHA256) is None
    kept.write_bytes(b"\xff\xfe")
    assert load_tree(kept.parent, SHA256) is None

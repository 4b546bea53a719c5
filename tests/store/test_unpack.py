"""Unpacking: every attack refused without a trace, every damage found, and what is good comes out whole."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archive_zoo import (
    ATTACKS,
    BLOCK,
    DAMAGED,
    END,
    GOOD,
    UNUSUAL,
    WHOLE,
    ZIPPED,
    Zipped,
    changed,
    file,
    folder,
    hard_link,
    header,
    pax,
    symlink,
    tar_of,
    zip_of,
    zstd_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptd.core.members import Entry, Type
from ckptd.core.models import UnpackSettings
from ckptd.core.tree import Kind, Tree, compare
from ckptd.errors import IntegrityError, PolicyError, StorageError
from ckptd.store import staging as staging_module
from ckptd.store import untar
from ckptd.store.staging import discard
from ckptd.store.trees import scan
from ckptd.store.unpack import unpack

Members = dict[str, bytes | str | None]
GENTLE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd_of,
    "bzip2": bz2.compress,
}


def ignore(count: int) -> None:
    """Progress that nobody watches."""


class Site:
    """A folder with an archive in it, a place for its tree, and a file outside that must stay as it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = root / "inner/deeper/archive"
        self.staging = root / "inner/deeper/staging"
        self.outside = root / "inner/outside/pw"
        self.archive.parent.mkdir(parents=True)
        self.outside.parent.mkdir()
        self.outside.write_bytes(b"secret")

    def unpack(self, data: bytes, limits: UnpackSettings | None = None, group: int | None = None) -> Tree:
        self.archive.write_bytes(data)
        return unpack(self.archive, self.staging, limits or UnpackSettings(), ignore, group=group)

    def everything(self) -> dict[str, tuple[int, bytes]]:
        """Every name outside of the staging folder, with its mode and content."""
        return {
            str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in sorted(self.root.rglob("*"))
            if self.staging not in path.parents and path not in {self.staging, self.archive}
        }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of archives need not wait for the disk; what is durable has a test of its own."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def content(root: Path, tree: Tree) -> Members:
    """What the tree's members hold on the disk."""
    held: Members = {}
    for member in tree.members:
        path = root / member.path
        held[member.path] = (
            path.read_bytes() if member.kind is Kind.FILE else os.readlink(path) if member.kind is Kind.LINK else None
        )
    return held


def with_folders(members: Members) -> Members:
    """`members` and every folder on the way to them."""
    whole = dict(members)
    for path in members:
        for parent in list(Path(path).parents)[:-1]:
            whole.setdefault(str(parent), None)
    return whole


# --- the zoo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_attacks_are_refused(site: Site, data: bytes, reason: str) -> None:
    before = site.everything()
    with pytest.raises(PolicyError, match=reason) as raised:
        site.unpack(data)
    assert raised.value.hint
    assert str(site.archive) in raised.value.message
    assert not os.path.lexists(site.staging)
    assert site.everything() == before


@pytest.mark.parametrize(("data", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_found(site: Site, data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        site.unpack(data)
    assert not os.path.lexists(site.staging)


@pytest.mark.parametrize(("data", "members"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_only_unusual_is_unpacked(site: Site, data: bytes, members: Members) -> None:
    tree = site.unpack(data)
    assert content(site.staging, tree) == members
    assert compare(tree, scan(site.staging, ignore)).intact


@pytest.mark.parametrize("name", ["archive.tar.gz", "archive.TGZ", "archive.tar", "archive.zip"])
@pytest.mark.parametrize(
    "data", [b"", b"\x1f", b"<html>", gzip.compress(b"no tar")], ids=["empty", "cut", "page", "gz"]
)
def test_an_archives_name_is_a_promise(site: Site, name: str, data: bytes) -> None:
    site.archive = site.archive.with_name(name)
    with pytest.raises(IntegrityError, match="although its name is an archive's"):
        site.unpack(data)


def test_a_single_compressed_file_is_refused_with_what_to_do(site: Site) -> None:
    site.archive = site.archive.with_name("weights.bin.gz")
    with pytest.raises(PolicyError, match="only tar and zip") as raised:
        site.unpack(gzip.compress(os.urandom(2000)))
    assert "unpack = true" in raised.value.hint


def test_the_name_does_not_tell_the_format(site: Site) -> None:
    site.archive = site.archive.with_name("archive.zip")
    assert site.unpack(gzip.compress(WHOLE)).members


# --- limits ----------------------------------------------------------------------------------------------------------

COUNTS_FROM = 1024 * 1024
BOMB = bytes(COUNTS_FROM + 1)


def inner_bomb() -> bytes:
    """A tar whose headers are honest."""
    return header(b"zeros", b"0", len(BOMB)) + BOMB + bytes(-len(BOMB) % BLOCK) + END


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda: gzip.compress(inner_bomb(), 9), id="gzip"),
        pytest.param(lambda: zstd_of(inner_bomb()), id="zstd"),
        pytest.param(lambda: gzip.compress(file(b"a") + END + BOMB, 9), id="gzip-behind-the-end"),
        pytest.param(lambda: zip_of(Zipped(b"zeros", BOMB)), id="zip"),
    ],
)
def test_bombs(site: Site, pack: Callable[[], bytes]) -> None:
    with pytest.raises(PolicyError, match="200 times") as raised:
        site.unpack(pack())
    assert "max_ratio" in raised.value.hint
    assert not site.staging.exists()


def test_a_bomb_of_many_headers(site: Site) -> None:
    """Its members are small; what it unpacks to is not."""
    many = pax(b"g", comment=b"x" * 900_000)
    with pytest.raises(PolicyError, match="200 times"):
        site.unpack(gzip.compress(many * 2 + file(b"a") + END, 9))


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        (UnpackSettings(max_size=5119), "max_size"),
        (UnpackSettings(max_members=2), "max_members"),
        (UnpackSettings(max_path=8), "max_path"),
        (UnpackSettings(max_depth=0), "max_depth"),
    ],
)
@pytest.mark.parametrize("data", [WHOLE, ZIPPED], ids=["tar", "zip"])
def test_limits(site: Site, data: bytes, limits: UnpackSettings, key: str) -> None:
    with pytest.raises(PolicyError) as raised:
        site.unpack(data, limits)
    assert f"raise {key} under [unpack]" in raised.value.hint


def test_hard_links_count_each_time(site: Site) -> None:
    linked = file(b"a") + hard_link(b"b", b"a") + hard_link(b"c", b"a") + END
    with pytest.raises(PolicyError, match="would bring it to 21 bytes"):
        site.unpack(linked, UnpackSettings(max_size=20))


def test_no_member_gets_more_than_was_judged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its reader thinks."""

    def lying(*_: object) -> Iterator[Entry | memoryview]:
        yield Entry(b"a", Type.FILE, 3)
        yield memoryview(b"four")

    monkeypatch.setattr(untar, "members", lying)
    with pytest.raises(IntegrityError, match='more content than the headers claim of "a"'):
        site.unpack(WHOLE)
    assert not site.staging.exists()


def test_limits_that_are_just_enough(site: Site) -> None:
    tree = site.unpack(WHOLE, UnpackSettings(max_size=5127, max_members=3, max_path=9, max_depth=1))
    assert (len(tree.members), tree.size) == (3, 5127)


@pytest.mark.parametrize(
    ("data", "window"),
    [
        (lzma.compress(WHOLE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]), "xz"),
        # A frame with a window of 2 GiB (RFC 8878 section 3.1.1.1.2) and a last, empty block.
        (b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", "zstd"),
    ],
    ids=["xz", "zstd"],
)
def test_windows_that_take_too_much_memory(site: Site, data: bytes, window: str) -> None:
    with pytest.raises(PolicyError, match=f"{window} stream.* needs too much memory"):
        site.unpack(data)


def test_memory_stays_flat(site: Site) -> None:
    """Also where a large member compresses well and where there is a large hole."""
    body = (os.urandom(50_000) + bytes(50_000)) * 200
    site.archive.write_bytes(gzip.compress(header(b"big", b"0", len(body)) + body + bytes(-len(body) % BLOCK) + END, 1))
    size = len(body)
    del body
    tracemalloc.start()
    try:
        tree = unpack(site.archive, site.staging, UnpackSettings(), ignore)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tree.size == size
    assert peak < 16 * 1024 * 1024


# --- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_every_format(site: Site, pack: Callable[[bytes], bytes]) -> None:
    tree = site.unpack(pack(WHOLE))
    assert [(each.path, each.kind, each.size, each.mode) for each in tree.members] == [
        ("d", Kind.FOLDER, 0, 0o755),
        ("d/weights", Kind.FILE, 5120, 0o444),
        ("small", Kind.FILE, 7, 0o444),
    ]
    assert tree.size == 5127
    for member in tree.members[1:]:
        assert member.sha256 == hashlib.sha256((site.staging / member.path).read_bytes()).hexdigest()


@pytest.mark.parametrize("mask", [0o077, 0o000])
@pytest.mark.parametrize("shared", [False, True])
def test_modes_and_group(site: Site, mask: int, *, shared: bool) -> None:
    if shared and os.geteuid() != 0:
        pytest.skip("only root may give files to any group")
    group = 54321 if shared else None
    before = os.umask(mask)
    try:
        tree = site.unpack(
            folder(b"d") + file(b"d/run.sh", mode=0o6777) + file(b"e/f") + symlink(b"l", b"d") + END, group=group
        )
    finally:
        os.umask(before)
    folder_mode = 0o2755 if shared else 0o755
    for path in (site.staging, site.staging / "d", site.staging / "e"):
        assert stat.S_IMODE(path.stat().st_mode) == folder_mode
    assert stat.S_IMODE((site.staging / "d/run.sh").stat().st_mode) == 0o444
    assert {each.path: each.mode for each in tree.members}["e"] == folder_mode
    if group is not None:
        assert {(site.staging / each.path).lstat().st_gid for each in tree.members} == {group}
    assert not compare(tree, scan(site.staging, ignore)).modes


def test_times(site: Site) -> None:
    future = int(time.time()) + 10 * 86_400
    dated = header(b"d/", b"5", mtime=1_234_567_890) + file(b"d/a", mtime=1_000_000_000) + file(b"d/b", mtime=future)
    site.unpack(dated + END)
    assert (site.staging / "d/a").stat().st_mtime == 1_000_000_000
    assert (site.staging / "d").stat().st_mtime == 1_234_567_890
    assert abs((site.staging / "d/b").stat().st_mtime - time.time()) < 3600


def test_hard_links_share_their_bytes(site: Site) -> None:
    tree = site.unpack(file(b"a") + hard_link(b"d/b", b"a") + END)
    assert (site.staging / "a").stat().st_ino == (site.staging / "d/b").stat().st_ino
    assert tree.size == 14


def test_notes(site: Site) -> None:
    data = file(b"a", mode=0o4755) + file(b"A") * 2 + b"".join(file(b"%d" % n, mode=0o2755) for n in range(40)) + END
    notes = site.unpack(data).notes
    assert '"a": its set-ID bits are not kept' in notes
    assert '"A" is in it twice, with the same bytes' in notes
    assert len(notes) == 21


def test_progress_counts_the_archive(site: Site) -> None:
    told: list[int] = []
    site.archive.write_bytes(tar_of({str(n): os.urandom(1_000_000) for n in range(12)}))
    unpack(site.archive, site.staging, UnpackSettings(), told.append)
    assert len(told) > 1
    assert sum(told) == site.archive.stat().st_size


def test_many_files(site: Site) -> None:
    """More than are synced one by one."""
    members: Members = {f"d{number % 7}/{number}": b"%d" % number for number in range(2 * staging_module.MANY)}
    tree = site.unpack(tar_of(members))
    assert content(site.staging, tree) == with_folders(members)


def test_what_is_durable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder, when its mode is final."""
    synced: dict[int, int] = {}

    def noting(fd: int) -> None:
        found = os.fstat(fd)
        synced[found.st_ino] = stat.S_IMODE(found.st_mode)

    monkeypatch.setattr(os, "fsync", noting)
    tree = site.unpack(WHOLE)
    for path in (site.staging, *(site.staging / each.path for each in tree.members)):
        found = path.stat()
        assert synced[found.st_ino] == stat.S_IMODE(found.st_mode)


# --- when it goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(0, len(WHOLE), BLOCK))
def test_a_cut_tar_never_yields_a_tree(site: Site, length: int) -> None:
    """Up to its second end-of-archive block; what tar pads it with behind that is of no account."""
    site.archive = site.archive.with_name("archive.tar")
    if length < len(GOOD) + 2 * BLOCK:
        with pytest.raises(IntegrityError):
            site.unpack(WHOLE[:length])
        assert not site.staging.exists()
    else:
        assert len(site.unpack(WHOLE[:length]).members) == 3


@pytest.mark.parametrize("pack", [*list(PACKERS.values())[1:], lambda _: ZIPPED], ids=[*list(PACKERS)[1:], "zip"])
def test_a_cut_archive_never_yields_a_tree(site: Site, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(WHOLE)
    site.archive = site.archive.with_name("archive.tar.gz")
    for length in range(0, len(whole), 1 + len(whole) // 25):
        with pytest.raises(IntegrityError):
            site.unpack(whole[:length])
        with pytest.raises(IntegrityError):
            site.unpack(whole[: -1 - length])
    assert not site.staging.exists()


@GENTLE
@given(
    st.sampled_from([GOOD + END, ZIPPED, gzip.compress(GOOD + END), zstd_of(GOOD + END), lzma.compress(GOOD + END)]),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_changed_bytes_give_a_tree_or_a_reason(tmp_path: Path, data: bytes, changes: list[tuple[int, int]]) -> None:
    for at, mask in changes:
        data = changed(data, at, mask)
    archive, folder_ = tmp_path / "archive", tmp_path / "staging"
    archive.write_bytes(data)
    try:
        tree = unpack(archive, folder_, UnpackSettings(), ignore)
    except (IntegrityError, PolicyError) as error:
        reason = error.message
        tree = Tree((), 0)
    else:
        reason = ""
    assert reason.isprintable()
    assert folder_.exists() is not bool(reason)
    assert compare(tree, scan(folder_, ignore)).intact
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "staging"}


def test_a_full_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    written = 0

    def filling(fd: int, data: memoryview) -> int:
        nonlocal written
        if written > 3000:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(fd, data[:1000])
        written += count
        return count

    site.archive.write_bytes(WHOLE)
    monkeypatch.setattr(os, "write", filling)
    with pytest.raises(StorageError, match=r"cannot write .*staging/d/weights: No space left on device"):
        unpack(site.archive, site.staging, UnpackSettings(), ignore)
    assert not site.staging.exists()


def test_a_disk_that_fails_at_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match="cannot finish"):
        site.unpack(WHOLE)
    assert not site.staging.exists()


def test_progress_may_stop_it(site: Site) -> None:
    class EnoughError(Exception):
        pass

    def stop(count: int) -> None:
        raise EnoughError

    site.archive.write_bytes(gzip.compress(tar_of({str(n): os.urandom(400_000) for n in range(20)}), 1))
    with pytest.raises(EnoughError):
        unpack(site.archive, site.staging, UnpackSettings(), stop)
    assert not site.staging.exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "link"])
def test_only_a_plain_file_is_an_archive(site: Site, kind: str) -> None:
    if kind == "folder":
        site.archive.mkdir()
    elif kind == "pipe":
        os.mkfifo(site.archive)
    elif kind == "link":
        site.archive.symlink_to(site.outside)
    with pytest.raises(StorageError):
        unpack(site.archive, site.staging, UnpackSettings(), ignore)
    assert not site.staging.exists()


def test_a_folder_replaced_in_the_middle(site: Site) -> None:
    """Somebody with the same rights puts a link where a folder was: nothing is written through it."""
    planted = False

    def plant(count: int) -> None:
        nonlocal planted
        if not planted and (site.staging / "d").is_dir():
            (site.staging / "d").rename(site.staging / "gone")
            (site.staging / "d").symlink_to(site.outside.parent)
            planted = True

    before = site.everything()
    members: Members = {"d/a": os.urandom(3 << 20), "e/x": b"", "d/b": b"owned"}
    site.archive.write_bytes(tar_of(members))
    with pytest.raises(StorageError):
        unpack(site.archive, site.staging, UnpackSettings(), plant)
    assert planted
    assert site.everything() == before


@pytest.mark.parametrize("left", ["folder", "file", "link"])
def test_what_an_earlier_run_left_is_removed(site: Site, left: str) -> None:
    if left == "folder":
        (site.staging / "d").mkdir(parents=True)
        (site.staging / "d/stale").write_bytes(b"half of it")
        (site.staging / "out").symlink_to(site.outside.parent)
    elif left == "file":
        site.staging.write_bytes(b"x")
    else:
        site.staging.symlink_to(site.outside.parent)
    assert len(site.unpack(WHOLE).members) == 3
    assert {path.name for path in site.staging.iterdir()} == {"d", "small"}
    assert site.outside.read_bytes() == b"secret"


CHILD = """
import sys
from pathlib import Path
from ckptd.core.models import UnpackSettings
from ckptd.store.unpack import unpack
def tell(count):
    print(count, flush=True)
    sys.stdin.readline()
while True:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), UnpackSettings(), tell)
"""


def test_killed_at_any_moment(site: Site) -> None:
    """Only the staging folder is left, and the next run is not bothered by it."""
    data = gzip.compress(tar_of({f"d{n}/{n}": os.urandom(700_000) for n in range(8)}), 1)
    site.archive.write_bytes(data)
    before = site.everything()
    for steps in (1, 2, 4, 9):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, site.archive, site.staging],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for _ in range(steps):
                assert child.stdout.readline()
                child.stdin.write(b"\n")
            child.send_signal(signal.SIGKILL)
        assert site.everything() == before
    tree = site.unpack(data)
    assert compare(tree, scan(site.staging, ignore)).intact


# --- there and back --------------------------------------------------------------------------------------------------

_NAME = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cf"], exclude_characters='/\\:"'), min_size=1, max_size=9
).filter(lambda name: name not in {".", ".."})
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)
_CONTENT = st.one_of(st.none(), st.binary(max_size=2000))


def consistent(members: Members) -> bool:
    """No file lies where a folder has to be."""
    folders = {str(parent) for path in members for parent in list(Path(path).parents)[:-1]}
    return all(members[path] is None for path in folders if path in members)


_MEMBERS = (
    st.dictionaries(_PATH, _CONTENT, min_size=1, max_size=8).map(dict[str, bytes | str | None]).filter(consistent)
)


def zipped(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            if isinstance(data, bytes):
                archive.writestr(name, data)
            else:
                archive.mkdir(name)
    return buffer.getvalue()


@GENTLE
@given(_MEMBERS, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, 0]))
def test_what_is_packed_is_unpacked_and_repacked(tmp_path: Path, members: Members, form: int) -> None:
    archive, first, second = (tmp_path / name for name in ("archive", "first", "second"))
    try:
        archive.write_bytes(tar_of(members, form) if form != 0 else zipped(members))
    except ValueError:
        return  # ustar has no room for the name
    tree = unpack(archive, first, UnpackSettings(), ignore)
    assert content(first, tree) == with_folders(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packing:
        packing.add(first, arcname=".")
    archive.write_bytes(buffer.getvalue())
    assert unpack(archive, second, UnpackSettings(), ignore) == tree
    assert scan(second, ignore).tree == tree
    for each in (first, second):
        discard(each)

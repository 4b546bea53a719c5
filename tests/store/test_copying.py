"""A copy of a damaged file's good bytes: those and no others are read, and a copy that fails leaves no trace."""

from __future__ import annotations

import errno
import mmap
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptd.core.ranges import Extents, Span
from ckptd.errors import StorageError
from ckptd.store import copying, disk, scrub

MIB = 1024 * 1024
SIZE = 5 * MIB + 12_345
BODY = random.Random(3).randbytes(SIZE)  # noqa: S311
Lacking = Callable[[str], None]


def room() -> None:
    """There is enough of it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(BODY)
    path.chmod(0o444)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture(params=["direct", "buffered"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With O_DIRECT, and on a filesystem that has none."""
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode, dir_fd=dir_fd)

    if request.param == "buffered":
        monkeypatch.setattr(os, "open", refusing)
    return str(request.param)


@pytest.fixture(autouse=True)
def _unshared(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """As on a filesystem that cannot share blocks, whatever the tests run on."""
    if "reflink" not in request.fixturenames:
        monkeypatch.setattr(copying, "_share", lambda source, target: False)


def content(fd: int) -> bytes:
    return os.pread(fd, 2 * SIZE, 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(0, SIZE)], id="all"),
        pytest.param([], id="nothing"),
        pytest.param([(0, 1)], id="one byte"),
        pytest.param([(SIZE - 1, SIZE)], id="the last byte"),
        pytest.param([(0, 327_680), (393_216, SIZE)], id="all but a block"),
        pytest.param([(5, 4097), (MIB - 1, MIB + 1), (3 * MIB, 4 * MIB)], id="odd ends"),
        pytest.param([(MIB, 4 * MIB)], id="whole chunks"),
        pytest.param([(MIB + 1, 4 * MIB - 1)], id="nearly whole chunks"),
    ],
)
def test_exactly_what_is_asked_for(source: Path, target: int, spans: list[Span]) -> None:
    copying.fill(source, target, spans, SIZE, (), room)
    expected = bytearray(SIZE)
    for start, end in spans:
        expected[start:end] = BODY[start:end]
    assert content(target) == expected


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted), max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_spans(source: Path, tmp_path: Path, spans: list[list[int]]) -> None:
    wanted = Extents.of(*((start, end) for start, end in spans)).spans
    fd = os.open(tmp_path / "any", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        copying.fill(source, fd, wanted, SIZE, (), room)
        expected = bytearray(SIZE)
        for start, end in wanted:
            expected[start:end] = BODY[start:end]
        assert content(fd) == expected
    finally:
        os.close(fd)


@pytest.mark.parametrize("total", [SIZE - 5000, SIZE + 5000], ids=["grown since", "truncated since"])
def test_it_gets_the_locked_length(source: Path, target: int, total: int) -> None:
    copying.fill(source, target, [(0, min(total, SIZE))], total, (), room)
    assert content(target) == BODY[:total].ljust(total, b"\0")


def test_bits_are_turned(source: Path, target: int) -> None:
    copying.fill(source, target, [(0, SIZE)], SIZE, ((7, 0b100), (7, 0b1), (SIZE - 1, 0x80)), room)
    expected = bytearray(BODY)
    expected[7] ^= 0b101
    expected[-1] ^= 0x80
    assert content(target) == expected
    assert source.read_bytes() == BODY


@pytest.mark.usefixtures("way")
def test_nothing_beside_the_spans_is_read(source: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector lies between them; whoever touches it gets nothing at all."""
    bad, real = (MIB + 65_536, MIB + 2 * 65_536), os.preadv

    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        length = sum(len(each) for each in buffers)
        if fd != target and offset < bad[1] and offset + length > bad[0]:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, offset)

    fake = SimpleNamespace(**{**vars(os), "preadv": preadv})
    monkeypatch.setattr(copying, "os", fake)
    monkeypatch.setattr(scrub, "os", fake)
    copying.fill(source, target, [(0, bad[0]), (bad[1], SIZE)], SIZE, (), room)
    expected = bytearray(BODY)
    expected[bad[0] : bad[1]] = bytes(bad[1] - bad[0])
    assert content(target) == expected


def test_what_cannot_be_read_is_said(source: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    fake = SimpleNamespace(**{**vars(os), "preadv": preadv})
    monkeypatch.setattr(scrub, "os", fake)
    with pytest.raises(StorageError, match=f"copy of {source}.*Input/output error"):
        copying.fill(source, target, [(0, SIZE)], SIZE, (), room)
    assert (os.fstat(target).st_size, os.fstat(target).st_blocks) == (0, 0)


@pytest.mark.parametrize("what", ["a link", "nothing", "a folder"])
def test_only_a_plain_file(source: Path, target: int, what: str) -> None:
    source.unlink()
    if what == "a link":
        source.symlink_to("/etc/hostname")
    elif what == "a folder":
        source.mkdir()
    with pytest.raises(StorageError):
        copying.fill(source, target, [(0, SIZE)], SIZE, (), room)
    assert os.fstat(target).st_size == 0


def test_the_page_cache_is_left_alone(source: Path, target: int) -> None:
    """What is copied is read past it, where the filesystem can."""
    with scrub.opened(source) as file:
        if not file.direct:
            pytest.skip("no O_DIRECT here")
    with source.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        copying.fill(source, target, [(0, SIZE)], SIZE, (), room)
        assert len(scrub._absent(opened.fileno(), 0, SIZE // mmap.PAGESIZE * mmap.PAGESIZE)) == 1


class Mounted:
    """A filesystem of a few MiB in a loop mount."""

    def __init__(self, folder: Path, make: list[str], size: str) -> None:
        self.path = folder / "mounted"
        self.path.mkdir()
        image = folder / "image"
        subprocess.run(["truncate", "-s", size, str(image)], check=True)
        subprocess.run([*make, str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.path)], check=True, capture_output=True)

    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def leave(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True)


@pytest.fixture
def mounted(request: pytest.FixtureRequest, tmp_path: Path, lacking: Lacking) -> Iterator[Mounted]:
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    kind: str = getattr(request, "param", "ext4")
    make = {
        "ext4": (["mkfs.ext4", "-q", "-F", "-m", "0"], "24M"),
        "xfs": (["mkfs.xfs", "-q", "-f", "-m", "reflink=1"], "320M"),
    }
    made = Mounted(tmp_path, *make[kind])
    yield made
    made.leave()


@pytest.mark.parametrize("native", [True, False], ids=["reserved at once", "written until it is full"])
@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_a_full_disk_gets_its_room_back(mounted: Mounted, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mounted.path / "source"
    source.write_bytes(BODY)
    subprocess.run(["fallocate", "-l", str(mounted.free() - 3_000_000), str(mounted.path / "filler")], check=True)
    if not native:
        monkeypatch.setattr(disk, "preallocate", lambda fd, length: None)
    before = mounted.free()
    target = os.open(mounted.path / "target", os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(StorageError, match="No space left"):
            copying.fill(source, target, [(0, SIZE)], SIZE, (), room)
        assert mounted.free() >= before - 100_000
        assert os.fstat(target).st_size == 0
    finally:
        os.close(target)


@pytest.fixture
def reflink() -> None:
    """Blocks are really shared."""


@pytest.mark.parametrize("mounted", ["xfs"], indirect=True)
def test_blocks_are_shared_where_that_can_be(mounted: Mounted, reflink: None) -> None:
    """No room is taken, and neither file sees what is written to the other."""
    del reflink
    source = mounted.path / "source"
    source.write_bytes(BODY)
    os.sync()
    before = mounted.free()
    target = os.open(mounted.path / "target", os.O_RDWR | os.O_CREAT)
    try:
        copying.fill(source, target, [(0, SIZE)], SIZE, ((7, 1),), room)
        os.fsync(target)
        assert mounted.free() > before - SIZE // 2
        expected = bytearray(BODY)
        expected[7] ^= 1
        assert content(target) == expected
        disk.write_at(target, memoryview(b"new"), MIB)
        assert source.read_bytes() == BODY
    finally:
        os.close(target)

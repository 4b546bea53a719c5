"""Reading back: the right digests of every piece, from the medium or the cache, and the cache left as it was."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from pathlib import Path

import pytest
from house import pieces_of, sha256_of

from ckptd.core.audit import piece_count
from ckptd.core.models import BLOCK, PIECE
from ckptd.store.digests import pieces_field
from ckptd.store.scrub import CHUNK, chunks, opened, piece_digest, stored_table, whole_digests

MIB = 1024 * 1024
BODY = os.urandom(MIB) * 18 + b"a tail of odd length"  # two pieces
PAGE = mmap.PAGESIZE


def ignore(count: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def disk_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BODY on a real disk, where there is one."""
    path = tmp_path_factory.mktemp("disk") / "file"
    path.write_bytes(BODY)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path


@pytest.fixture
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that has no O_DIRECT."""
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)


@pytest.fixture(params=["direct", "buffered"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "buffered":
        request.getfixturevalue("buffered")
    return str(request.param)


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("fresh", [False, True])
def test_every_piece_and_the_tail(disk_file: Path, fresh: bool) -> None:
    read: list[int] = []
    with opened(disk_file) as file:
        assert file.size == len(BODY)
        found = b"".join(piece_digest(file, index, read.append, fresh=fresh) for index in range(piece_count(len(BODY))))
    assert found == pieces_of(BODY, PIECE)
    assert sum(read) == len(BODY)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, MIB - 1, MIB, MIB + 1, PIECE - 1, PIECE, PIECE + 1])
def test_sizes_at_every_edge(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY[:size])
    read: list[int] = []
    whole = whole_digests(path, read.append)
    body = BODY[:size]
    assert (whole.size, whole.sha256, whole.table) == (size, sha256_of(body).hex(), pieces_of(body, PIECE))
    assert len(whole.sums) == 4 * -(-size // BLOCK)
    assert sum(read) == size


def test_on_tmpfs(way: str) -> None:
    if not Path("/dev/shm").is_dir():  # noqa: S108
        pytest.skip("no tmpfs here")
    path = Path(f"/dev/shm/ckptd-test-{os.getpid()}-{way}")  # noqa: S108
    try:
        path.write_bytes(BODY)
        assert whole_digests(path, ignore, fresh=True).sha256 == sha256_of(BODY).hex()
        with opened(path) as file:
            assert piece_digest(file, 1, ignore) == pieces_of(BODY, PIECE)[32:]
    finally:
        path.unlink(missing_ok=True)


def test_a_disk_is_read_past_the_cache(disk_file: Path) -> None:
    """Where the filesystem can: otherwise a scrub would prove the memory."""
    try:
        os.close(os.open(disk_file, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("no O_DIRECT here")
    with opened(disk_file) as file:
        assert file.direct


def test_many_threads_read_at_once(disk_file: Path) -> None:
    """Each has its own buffer."""
    table, found = pieces_of(BODY, PIECE), dict[int, bytes]()

    def read(number: int) -> None:
        with opened(disk_file) as file:
            found[number] = piece_digest(file, number % 2, ignore)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(digest == table[number % 2 * 32 :][:32] for number, digest in found.items())
    assert len(found) == 8


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("offset", [0, PIECE - 1, PIECE, len(BODY) - 1])
def test_one_flipped_bit_is_one_wrong_piece(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([BODY[offset] ^ 1]))
    with opened(path) as stored:
        right = [piece_digest(stored, index, ignore) == pieces_of(BODY, PIECE)[index * 32 :][:32] for index in (0, 1)]
    assert right == [offset >= PIECE, offset < PIECE]


@pytest.mark.usefixtures("way")
def test_a_stretch_ends_where_it_should(disk_file: Path) -> None:
    with opened(disk_file) as file:
        assert b"".join(bytes(view) for view in chunks(file, MIB, 2 * MIB + 5)) == BODY[MIB : 2 * MIB + 5]


@pytest.mark.usefixtures("way")
def test_a_file_that_ends_early_or_late(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY[: PIECE + 5000])
    with opened(path) as file:
        assert piece_digest(file, 1, ignore) == pieces_of(BODY[PIECE : PIECE + 5000], PIECE)
        assert not list(chunks(file, 2 * PIECE, 3 * PIECE))
    path.write_bytes(BODY[:PIECE] + b"grown")
    with opened(path) as file:
        assert file.size == PIECE + 5
        assert piece_digest(file, 0, ignore) == pieces_of(BODY[:PIECE], PIECE)


@pytest.mark.usefixtures("way")
def test_a_file_cut_while_it_is_read(tmp_path: Path) -> None:
    """It ends; it neither hangs nor raises."""
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with opened(path) as file:
        parts = chunks(file, 0, PIECE)
        first = bytes(next(parts))
        os.truncate(path, MIB)
        assert first + b"".join(bytes(view) for view in parts) == BODY[:MIB]


# --- what is not a stored file ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "fifo", "device"])
def test_only_plain_files_are_opened(tmp_path: Path, what: str) -> None:
    """And nobody waits for a fifo's other end."""
    path = tmp_path / "file"
    if what == "link":
        (tmp_path / "real").write_bytes(BODY[:10])
        path.symlink_to(tmp_path / "real")
    elif what == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"symbolic|not a plain file|directory") as caught, opened(path):
        pass
    assert caught.value.errno in {errno.ELOOP, errno.EISDIR}
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened(tmp_path / "file"):
        pass


# --- the page cache --------------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def resident(path: Path) -> list[bool]:
    """Which pages of a file the kernel holds (mincore(2))."""
    size = path.stat().st_size
    with path.open("rb") as file:
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    vector = ctypes.create_string_buffer(-(-size // PAGE))
    assert _libc.mincore(address, size, vector) == 0
    _libc.munmap(address, size)
    return [bool(byte & 1) for byte in vector.raw[: -(-size // PAGE)]]


@pytest.fixture(params=["half", "nothing"])
def cached(disk_file: Path, request: pytest.FixtureRequest) -> Path:
    """BODY, of which every second stretch of 2 MiB is in the cache, or nothing at all."""
    with disk_file.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        if request.param == "half":
            for at in range(0, len(BODY), 4 * MIB):
                os.pread(file.fileno(), 2 * MIB, at)
    if all(resident(disk_file)):
        pytest.skip("this filesystem's cache cannot be told, or not be emptied")
    return disk_file


def test_reading_directly_leaves_the_cache_as_it_was(cached: Path) -> None:
    before = resident(cached)
    with opened(cached) as file:
        if not file.direct:
            pytest.skip("no O_DIRECT here")
    whole_digests(cached, ignore)
    assert resident(cached) == before


@pytest.mark.usefixtures("buffered")
def test_reading_through_the_cache_leaves_it_as_it_was(cached: Path) -> None:
    before = resident(cached)
    whole_digests(cached, ignore)
    after = resident(cached)
    assert [at for at, here in enumerate(before) if here and not after[at]] == [], "what others use was dropped"
    assert [at for at, here in enumerate(after) if here and not before[at]] == [], "what we brought in has stayed"


# --- the tables ------------------------------------------------------------------------------------------------------


def test_a_table_is_believed_only_when_the_lock_names_it(tmp_path: Path) -> None:
    table = pieces_of(BODY, PIECE)
    field = pieces_field(table)
    (tmp_path / "aa").write_bytes(table)
    assert stored_table(tmp_path, "aa", field, len(BODY)) == (table[:32], table[32:])
    assert stored_table(tmp_path, "aa", None, len(BODY)) is None
    assert stored_table(tmp_path, "bb", field, len(BODY)) is None
    assert stored_table(tmp_path, "aa", field, PIECE) is None  # of a file of another size
    (tmp_path / "aa").write_bytes(table[:-1] + b"\0")
    assert stored_table(tmp_path, "aa", field, len(BODY)) is None
    (tmp_path / "aa").write_bytes(b"")
    assert stored_table(tmp_path, "aa", field, len(BODY)) is None


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2), (10 * PIECE, 10)])
def test_how_many_pieces(size: int, count: int) -> None:
    assert piece_count(size) == count
    assert PIECE % CHUNK == 0  # so that every piece begins where O_DIRECT may

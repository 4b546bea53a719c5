"""What happened to a file, told from real damage: a real file is damaged on the disk, examined and diagnosed."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import pieces_of, plain_users_thread

from ckptd.core import models
from ckptd.core.diagnose import Cause, Correction, Hand, corrections, diagnose
from ckptd.core.evidence import Facts, Flip, Kind, Run
from ckptd.core.models import BLOCK, Damage
from ckptd.store import examine as module
from ckptd.store import scrub
from ckptd.store.digests import Blocks
from ckptd.store.examine import HEAD, examine
from ckptd.store.publish import stamp

KIB, MIB = 1024, 1024 * 1024
PAGE = mmap.PAGESIZE
PIECE = MIB  # in these tests; see `small_pieces`
SIZE = 3 * PIECE + 300 * KIB + 123  # four pieces; the last one and the last block are short
LAST = SIZE - SIZE % BLOCK  # where the last block begins
BODY = random.Random(7).randbytes(SIZE)  # noqa: S311
OTHER = random.Random(8).randbytes(SIZE)  # noqa: S311  # another version of the same size
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"please wait " * 200
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)


def sums_of(body: bytes) -> bytes:
    blocks = Blocks()
    blocks.update(memoryview(body))
    return blocks.digest()


def table_of(body: bytes, piece: int) -> list[bytes]:
    table = pieces_of(body, piece)
    return [table[at : at + 32] for at in range(0, len(table), 32)]


SUMS, TABLE = sums_of(BODY), table_of(BODY, PIECE)


def ignore(count: int) -> None:
    """Progress that nobody watches."""


def right(index: int, digest: bytes) -> bool:
    return TABLE[index] == digest


@pytest.fixture(autouse=True)
def small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a megabyte, so that a small file has several; not where a test is about pieces as they are."""
    if "whole_pieces" not in request.fixturenames:
        monkeypatch.setattr(module, "PIECE", PIECE)
        monkeypatch.setattr(scrub, "PIECE", PIECE)


class Stored:
    """A good file on a real disk, and what was noted of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "model.tar.gz"
        self.path.write_bytes(BODY)
        self.good = self.path.stat()
        self.stamp = stamp(self.good)

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def flip(self, offset: int, bit: int) -> None:
        self.write(offset, bytes([BODY[offset] ^ 1 << bit]))

    def punch(self, offset: int, length: int) -> None:
        """Take the bytes away (fallocate(2), FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE)."""
        with self.path.open("r+b") as file:
            if _libc.fallocate(file.fileno(), 0x03, offset, length) != 0:
                pytest.skip("this filesystem punches no holes")

    def cut(self, size: int) -> None:
        os.truncate(self.path, size)

    def replace(self, data: bytes) -> None:
        """Put another file in its place."""
        other = self.path.with_name("other")
        other.write_bytes(data)
        other.replace(self.path)

    def like_the_disk(self) -> None:
        """What was written was written by no program: the inode knows nothing of it."""
        os.utime(self.path, ns=(self.good.st_atime_ns, self.good.st_mtime_ns))

    def wrong(self) -> tuple[list[int], list[int]]:
        """The pieces that verifying finds wrong, and those of them that it cannot read."""
        bad: list[int] = []
        unreadable: list[int] = []
        for index, digest in enumerate(TABLE):
            try:
                with scrub.opened(self.path) as file:
                    if scrub.piece_digest(file, index, ignore) == digest:
                        continue
            except OSError:
                unreadable.append(index)
            bad.append(index)
        return bad, unreadable

    def facts(
        self,
        *,
        sums: bytes | None = SUMS,
        right: module.Right | None = right,
        owner: int | None = None,
        mode: int | None = None,
        good_at: float | None = None,
    ) -> Facts:
        """Verified and examined."""
        bad, unreadable = self.wrong()
        return examine(
            self.path,
            expected_size=SIZE,
            bad=bad,
            unreadable=unreadable,
            sums=sums,
            right=right,
            recorded=self.stamp,
            good_at=good_at,
            owner=owner,
            mode=mode,
        )


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


@pytest.fixture
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that has no O_DIRECT."""
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)


Span = tuple[int, int, str]


def spans(damage: Iterable[Damage]) -> list[Span]:
    return [(each.offset, each.length, each.verdict) for each in damage]


def blocks(number: int, verdict: str, count: int = 1) -> Span:
    """The range of `count` blocks."""
    return number * BLOCK, min(SIZE, (number + count) * BLOCK) - number * BLOCK, verdict


def pieces(number: int, verdict: str, count: int = 1) -> Span:
    """The range of `count` pieces."""
    return number * PIECE, min(SIZE, (number + count) * PIECE) - number * PIECE, verdict


# --- damage by the disk ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What is done to the file, and what that is with block sums and without."""

    do: Sequence[tuple[str, *tuple[object, ...]]]  # methods of Stored with their arguments
    cause: Cause
    damage: list[Span]
    blind: Cause
    blind_damage: list[Span]


C, Z, F = "changed", "zeros", "flipped bit"
BY_THE_DISK = {
    "a flipped bit": Row(
        [("flip", 5 * BLOCK + 77, 3)], Cause.FLIPPED_BIT, [blocks(5, F)], Cause.CHANGED, [pieces(0, C)]
    ),
    "the very first bit": Row([("flip", 0, 0)], Cause.FLIPPED_BIT, [blocks(0, F)], Cause.CHANGED, [pieces(0, C)]),
    "the very last bit": Row(
        [("flip", SIZE - 1, 7)], Cause.FLIPPED_BIT, [blocks(52, F)], Cause.CHANGED, [pieces(3, C)]
    ),
    "a flipped bit in each of two pieces": Row(
        [("flip", 9 * BLOCK, 1), ("flip", 2 * PIECE + 9, 2)],
        Cause.FLIPPED_BIT,
        [blocks(9, F), blocks(32, F)],
        Cause.CHANGED,
        [pieces(0, C), pieces(2, C)],
    ),
    "flipped bits in neighbouring blocks": Row(
        [("flip", 9 * BLOCK, 1), ("flip", 10 * BLOCK, 1)],
        Cause.FLIPPED_BIT,
        [blocks(9, F, 2)],
        Cause.CHANGED,
        [pieces(0, C)],
    ),
    "two flipped bits in a block": Row(
        [("flip", 9 * BLOCK, 1), ("flip", 9 * BLOCK + 5000, 2)],
        Cause.ONE_BLOCK,
        [blocks(9, C)],
        Cause.CHANGED,
        [pieces(0, C)],
    ),
    "a page of zeros": Row(
        [("write", 20 * BLOCK + 8 * KIB, bytes(4 * KIB))], Cause.ZEROS, [blocks(20, Z)], Cause.ZEROS, [pieces(1, Z)]
    ),
    "a sector of zeros": Row(
        [("write", 20 * BLOCK + 1024, bytes(512))],
        Cause.ZEROS,
        [blocks(20, Z)],
        Cause.CHANGED,  # in a whole piece they may as well be data
        [pieces(1, C)],
    ),
    "a megabyte of zeros": Row(
        [("write", 10 * BLOCK + 4 * KIB, bytes(MIB))], Cause.ZEROS, [blocks(10, Z, 17)], Cause.ZEROS, [pieces(0, Z, 2)]
    ),
    "zeros in two places": Row(
        [("write", 3 * BLOCK, bytes(BLOCK)), ("write", 2 * PIECE + BLOCK, bytes(4 * KIB))],
        Cause.ZEROS,
        [blocks(3, Z), blocks(33, Z)],
        Cause.ZEROS,
        [pieces(0, Z), pieces(2, Z)],
    ),
    "zeros in two places of neighbours": Row(
        [("write", 3 * BLOCK, bytes(4 * KIB)), ("write", 4 * BLOCK + 4 * KIB, bytes(4 * KIB))],
        Cause.ZEROS,
        [blocks(3, Z, 2)],
        Cause.ZEROS,
        [pieces(0, Z)],
    ),
    "zeros across two pieces": Row(
        [("write", PIECE - 8 * KIB, bytes(16 * KIB))], Cause.ZEROS, [blocks(15, Z, 2)], Cause.ZEROS, [pieces(0, Z, 2)]
    ),
    "zeros to the end": Row(
        [("write", LAST - 4 * KIB, bytes(SIZE - LAST + 4 * KIB))],
        Cause.ZEROS,
        [blocks(51, Z, 2)],
        Cause.ZEROS,
        [pieces(3, Z)],
    ),
    "nothing but zeros": Row([("write", 0, bytes(SIZE))], Cause.ZEROS, [(0, SIZE, Z)], Cause.ZEROS, [(0, SIZE, Z)]),
    "zeros where no sector begins": Row(
        [("write", 20 * BLOCK + 700, bytes(1500))], Cause.ZEROS, [blocks(20, Z)], Cause.CHANGED, [pieces(1, C)]
    ),
    "a hole": Row([("punch", 30 * BLOCK, 2 * BLOCK)], Cause.ZEROS, [blocks(30, Z, 2)], Cause.ZEROS, [pieces(1, Z)]),
    "a page of other data": Row(
        [("write", 40 * BLOCK + 4 * KIB, OTHER[: 4 * KIB])],
        Cause.ONE_BLOCK,
        [blocks(40, C)],
        Cause.CHANGED,
        [pieces(2, C)],
    ),
    "other data in two places": Row(
        [("write", 20 * BLOCK, OTHER[: 4 * KIB]), ("write", 40 * BLOCK, OTHER[: 2 * BLOCK])],
        Cause.CHANGED,
        [blocks(20, C), blocks(40, C, 2)],
        Cause.CHANGED,
        [pieces(1, C, 2)],
    ),
    "another version from some place on": Row(
        [("write", 20 * BLOCK + 5, OTHER[20 * BLOCK + 5 :])],
        Cause.JOINED,
        [(20 * BLOCK, SIZE - 20 * BLOCK, C)],
        Cause.JOINED,
        [(PIECE, SIZE - PIECE, C)],
    ),
    "another version up to some place": Row(
        [("write", 0, OTHER[: 40 * BLOCK - 5])], Cause.JOINED, [blocks(0, C, 40)], Cause.JOINED, [pieces(0, C, 3)]
    ),
    "all other data": Row([("write", 0, OTHER)], Cause.CHANGED, [(0, SIZE, C)], Cause.CHANGED, [(0, SIZE, C)]),
    "a flipped bit and zeros": Row(
        [("flip", 7, 7), ("write", PIECE, bytes(4 * KIB))],
        Cause.CHANGED,
        [blocks(0, F), blocks(16, Z)],
        Cause.CHANGED,
        [pieces(0, C, 2)],
    ),
    "a flipped bit and another block in one piece": Row(
        [("flip", 7, 7), ("write", 4 * BLOCK, OTHER[: 4 * KIB])],
        Cause.CHANGED,
        [blocks(0, C), blocks(4, C)],  # only a bit that makes the piece right is one that is flipped
        Cause.CHANGED,
        [pieces(0, C)],
    ),
    "cut": Row(
        [("cut", PIECE + 100 * KIB)],
        Cause.TRUNCATED,
        [(PIECE + 100 * KIB, SIZE - PIECE - 100 * KIB, "truncated")],
        Cause.TRUNCATED,
        [(PIECE + 100 * KIB, SIZE - PIECE - 100 * KIB, "truncated")],
    ),
    "cut between two pieces": Row(
        [("cut", PIECE)],
        Cause.TRUNCATED,
        [(PIECE, SIZE - PIECE, "truncated")],
        Cause.TRUNCATED,
        [(PIECE, SIZE - PIECE, "truncated")],
    ),
    "cut between two pieces, with other data before": Row(
        [("write", 20 * BLOCK, OTHER[:BLOCK]), ("cut", 2 * PIECE)],
        Cause.TRUNCATED,
        [blocks(20, C), (2 * PIECE, SIZE - 2 * PIECE, "truncated")],
        Cause.TRUNCATED,
        [pieces(1, C), (2 * PIECE, SIZE - 2 * PIECE, "truncated")],
    ),
    "cut short": Row(
        [("cut", 100)],
        Cause.TRUNCATED,
        [(100, SIZE - 100, "truncated")],
        Cause.TRUNCATED,
        [(100, SIZE - 100, "truncated")],
    ),
    "cut, with a flipped bit before": Row(
        [("flip", 20 * BLOCK, 5), ("cut", SIZE - 4)],
        Cause.TRUNCATED,
        [blocks(20, F), (SIZE - 4, 4, "truncated")],
        Cause.TRUNCATED,
        [pieces(1, C), (SIZE - 4, 4, "truncated")],
    ),
    "cut, with other data up to there": Row(
        [("write", PIECE, OTHER[PIECE : 3 * PIECE]), ("cut", 2 * PIECE + 5)],
        Cause.TRUNCATED,
        [(PIECE, PIECE + 5, C), (2 * PIECE + 5, SIZE - 2 * PIECE - 5, "truncated")],
        Cause.TRUNCATED,
        [(PIECE, PIECE + 5, C), (2 * PIECE + 5, SIZE - 2 * PIECE - 5, "truncated")],
    ),
    "emptied": Row([("cut", 0)], Cause.EMPTY, [(0, SIZE, "truncated")], Cause.EMPTY, [(0, SIZE, "truncated")]),
    "grown": Row([("write", SIZE, b"more")], Cause.GROWN, [(SIZE, 4, "grown")], Cause.GROWN, [(SIZE, 4, "grown")]),
    "grown by pieces": Row(
        [("cut", 6 * PIECE)],
        Cause.GROWN,
        [(SIZE, 6 * PIECE - SIZE, "grown")],
        Cause.GROWN,
        [(SIZE, 6 * PIECE - SIZE, "grown")],
    ),
    "grown, and a block changed": Row(
        [("write", SIZE, b"more"), ("write", 3 * PIECE, OTHER[: 4 * KIB])],
        Cause.GROWN,
        [blocks(48, C), (SIZE, 4, "grown")],
        Cause.GROWN,
        [pieces(3, C), (SIZE, 4, "grown")],
    ),
    "a page over its beginning": Row([("write", 0, HTML)], Cause.PAGE, [blocks(0, C)], Cause.PAGE, [pieces(0, C)]),
}
rows = pytest.mark.parametrize("row", BY_THE_DISK.values(), ids=BY_THE_DISK)


def done(stored: Stored, row: Row) -> None:
    """Damage it, as a disk would."""
    for name, *arguments in row.do:
        getattr(stored, str(name))(*arguments)
    stored.like_the_disk()


@rows
def test_the_disk_did_it(stored: Stored, row: Row) -> None:
    done(stored, row)
    diagnosis = diagnose(stored.facts())
    assert (diagnosis.cause, spans(diagnosis.damage)) == (row.cause, row.damage)
    assert diagnosis.hand is Hand.MEDIUM
    assert "not a program" in diagnosis.summary


@rows
def test_without_sums_whole_pieces_are_the_damage(stored: Stored, row: Row) -> None:
    done(stored, row)
    diagnosis = diagnose(stored.facts(sums=None))
    assert (diagnosis.cause, spans(diagnosis.damage)) == (row.blind, row.blind_damage)


@rows
def test_sums_do_without_digests(stored: Stored, row: Row) -> None:
    """The same is told where nobody can prove a piece, or even say which of them are wrong."""
    done(stored, row)
    assert spans(diagnose(stored.facts(right=None)).damage) == row.damage
    facts = examine(
        stored.path,
        expected_size=SIZE,
        bad=range(len(TABLE)),
        sums=SUMS,
        right=lambda index, digest: False,  # it cannot know
        located=False,
    )
    assert (diagnose(facts).cause, spans(diagnose(facts).damage)) == (row.cause, row.damage)


def test_a_cut_between_two_pieces_says_nothing_about_them(stored: Stored) -> None:
    """What verifying found wrong before it is wrong, even where nothing but its word is to be had."""
    done(stored, BY_THE_DISK["cut between two pieces, with other data before"])
    damage = diagnose(stored.facts(sums=None, right=None)).damage
    assert spans(damage) == BY_THE_DISK["cut between two pieces, with other data before"].blind_damage


# --- flipped bits can be mended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BY_THE_DISK if "flip" in name])
def test_what_is_said_of_flipped_bits_mends_them(stored: Stored, name: str) -> None:
    done(stored, BY_THE_DISK[name])
    diagnosis = diagnose(stored.facts())
    for correction in corrections(diagnosis):
        found = stored.path.read_bytes()[correction.offset]
        assert found ^ correction.mask == BODY[correction.offset]
        stored.write(correction.offset, bytes([found ^ correction.mask]))
    assert (stored.path.read_bytes() == BODY) == (diagnosis.cause is Cause.FLIPPED_BIT)


def test_a_flipped_bit_is_proven(stored: Stored) -> None:
    stored.flip(5 * BLOCK + 77, 3)
    stored.like_the_disk()
    diagnosis = diagnose(stored.facts())
    assert diagnosis.flips == (Flip(5 * BLOCK + 77, 3, proven=True),)
    assert corrections(diagnosis) == (Correction(5 * BLOCK + 77, 0b1000),)
    assert diagnosis.damage[0].detail == f"bit 3 of byte {5 * BLOCK + 77}"
    assert diagnosis.summary == (
        f"One bit is flipped: bit 3 of byte {5 * BLOCK + 77}. Inode and modification time are as they were when it was "
        "last good, so the disk or the way to it did that, not a program."
    )
    assert not diagnose(stored.facts(right=None)).flips[0].proven


def test_a_sum_that_looks_like_a_flipped_bit_and_is_none(stored: Stored) -> None:
    """The sums lie (they are only a hint): mending the bit does not make the piece right."""
    body = bytearray(BODY)
    body[9 * BLOCK + 3] ^= 4
    stored.write(20 * BLOCK, OTHER[:BLOCK])
    stored.write(9 * BLOCK, OTHER[9 * BLOCK : 9 * BLOCK + 1])
    lies = bytearray(SUMS)
    stored_sums = sums_of(stored.path.read_bytes())
    flipped = bytearray(stored.path.read_bytes())
    flipped[9 * BLOCK + 3] ^= 4
    lies[9 * 4 : 10 * 4] = sums_of(bytes(flipped))[9 * 4 : 10 * 4]
    assert lies[9 * 4 : 10 * 4] != stored_sums[9 * 4 : 10 * 4]
    diagnosis = diagnose(stored.facts(sums=bytes(lies)))
    assert diagnosis.flips == ()
    assert spans(diagnosis.damage) == [blocks(9, C), blocks(20, C)]


# --- a program did it -------------------------------------------------------------------------------------------------


def test_a_page_replaces_it(stored: Stored) -> None:
    stored.replace(HTML)
    diagnosis = diagnose(stored.facts())
    assert (diagnosis.cause, diagnosis.hand) == (Cause.PAGE, Hand.PROGRAM)
    assert spans(diagnosis.damage) == [(0, len(HTML), C), (len(HTML), SIZE - len(HTML), "truncated")]
    assert "is in its place. Another file was put in its place since it was last good" in diagnosis.summary


@pytest.mark.parametrize("body", [OTHER, OTHER[:2000], OTHER + b"more", OTHER[: 2 * PIECE]])
@pytest.mark.parametrize("sums", [SUMS, None])
def test_another_file_replaces_it(stored: Stored, body: bytes, sums: bytes | None) -> None:
    stored.replace(body)
    diagnosis = diagnose(stored.facts(sums=sums))
    assert (diagnosis.cause, diagnosis.hand) == (Cause.REWRITTEN, Hand.PROGRAM)
    ranges = [(0, min(len(body), SIZE), C)]
    if len(body) < SIZE:
        ranges.append((len(body), SIZE - len(body), "truncated"))
    if len(body) > SIZE:
        ranges.append((SIZE, len(body) - SIZE, "grown"))
    assert spans(diagnosis.damage) == ranges
    assert "its inode is a new one" in diagnosis.summary


def test_it_is_rewritten_in_place(stored: Stored) -> None:
    stored.write(0, OTHER)
    diagnosis = diagnose(stored.facts())
    assert (diagnosis.cause, diagnosis.hand, spans(diagnosis.damage)) == (
        Cause.REWRITTEN,
        Hand.PROGRAM,
        [(0, SIZE, C)],
    )
    assert "A program wrote to it since it was last good: its modification time is now" in diagnosis.summary


def test_a_program_flips_a_bit(stored: Stored) -> None:
    """What happened and who did it are told apart."""
    stored.flip(77, 1)
    os.utime(stored.path, ns=(0, 1_000_000_000 * 86400))
    diagnosis = diagnose(stored.facts(good_at=0.0))
    assert (diagnosis.cause, diagnosis.hand) == (Cause.FLIPPED_BIT, Hand.PROGRAM)
    assert diagnosis.summary == (
        "One bit is flipped: bit 1 of byte 77. A program wrote to it since it was last good (1970-01-01 00:00:00 UTC): "
        "its modification time is now 1970-01-02 00:00:00 UTC."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_belongs_to_somebody_else(stored: Stored) -> None:
    stored.write(0, OTHER)
    os.chown(stored.path, 12345, -1)
    stored.like_the_disk()
    diagnosis = diagnose(stored.facts(owner=stored.good.st_uid))
    assert (diagnosis.cause, diagnosis.hand) == (Cause.REWRITTEN, Hand.PROGRAM)
    assert "It belongs to user 12345 now and belonged to user 0" in diagnosis.summary


def test_its_mode_was_changed(stored: Stored) -> None:
    stored.write(0, OTHER)
    stored.path.chmod(0o666)
    stored.like_the_disk()
    diagnosis = diagnose(stored.facts(owner=stored.good.st_uid, mode=0o444))
    assert (diagnosis.cause, diagnosis.hand) == (Cause.REWRITTEN, Hand.PROGRAM)
    assert "Its mode is 0666 now and was 0444" in diagnosis.summary


def test_the_time_was_set_back(stored: Stored) -> None:
    """The inode changed after the file was good, and claims otherwise."""
    stored.write(40 * BLOCK, OTHER[:BLOCK])
    stored.like_the_disk()
    diagnosis = diagnose(stored.facts(good_at=stored.good.st_mtime - 3600))
    assert (diagnosis.cause, diagnosis.hand) == (Cause.ONE_BLOCK, Hand.UNKNOWN)
    assert "the time set back" in diagnosis.summary
    later = diagnose(stored.facts(good_at=stored.path.stat().st_ctime + 1))
    assert later.hand is Hand.MEDIUM


# --- something else is there, or nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "fifo", "nothing", "nothing above"])
def test_something_else_is_in_its_place(stored: Stored, what: str) -> None:
    real = stored.path.with_name("real")
    stored.path.rename(real)
    cause, verdict, text = Cause.LINK, "replaced", "A link to 'real' is in its place."
    if what == "link":
        stored.path.symlink_to("real")
    elif what == "dangling link":
        stored.path.symlink_to("no\nwhere")
        text = "A link to 'no\\nwhere' is in its place."
    elif what == "folder":
        stored.path.mkdir()
        cause, text = Cause.OTHER_TYPE, "A folder is in its place."
    elif what == "fifo":
        os.mkfifo(stored.path)
        cause, text = Cause.OTHER_TYPE, "Something that is no plain file is in its place."
    else:
        cause, verdict, text = Cause.MISSING, "missing", "It is not there."
        if what == "nothing above":
            stored.path = real / "model.tar.gz"
    diagnosis = diagnose(examine(stored.path, expected_size=SIZE, bad=(), recorded=stored.stamp))
    assert (diagnosis.cause, diagnosis.summary) == (cause, text)
    assert spans(diagnosis.damage) == [(0, SIZE, verdict)]


def test_it_vanishes_while_it_is_looked_at(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking at its inode and opening it."""

    def late(path: Path) -> AbstractContextManager[scrub.Opened]:
        path.unlink(missing_ok=True)
        return scrub.opened(path)

    monkeypatch.setattr("ckptd.store.examine.opened", late)
    facts = examine(stored.path, expected_size=SIZE, bad=[0])
    assert (facts.kind, diagnose(facts).cause) == (Kind.MISSING, Cause.MISSING)


def test_it_may_not_be_read(stored: Stored) -> None:
    stored.path.chmod(0)
    with plain_users_thread() as thread:
        facts = thread.submit(lambda: examine(stored.path, expected_size=SIZE, bad=[0])).result()
    diagnosis = diagnose(facts)
    assert diagnosis.cause is Cause.UNREADABLE
    assert diagnosis.summary == "It cannot be opened: Permission denied (its mode is 0000)."
    assert spans(diagnosis.damage) == [(0, SIZE, "unreadable")]


# --- a disk that fails ------------------------------------------------------------------------------------------------


class BadSectors:
    """Reading any of these bytes fails, as a disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ranges: tuple[int, int]) -> None:
        self._real = os.preadv
        self._ranges = ranges
        self.failed: list[int] = []
        monkeypatch.setattr(os, "preadv", self)

    def __call__(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        end = offset + sum(len(each) for each in buffers)
        if any(offset < last and first < end for first, last in self._ranges):
            self.failed.append(offset)
            raise OSError(errno.EIO, "Input/output error")
        return self._real(fd, buffers, offset)


@pytest.mark.parametrize("sums", [SUMS, None])
@pytest.mark.parametrize(
    ("ranges", "damage"),
    [
        ([(5 * BLOCK + 512, 5 * BLOCK + 1024)], [blocks(5, "unreadable")]),
        ([(5 * BLOCK, 7 * BLOCK)], [blocks(5, "unreadable", 2)]),
        ([(PIECE - 512, PIECE + 512)], [blocks(15, "unreadable", 2)]),
        ([(0, 1), (SIZE - 1, SIZE)], [blocks(0, "unreadable"), blocks(52, "unreadable")]),
        ([(0, SIZE)], [(0, SIZE, "unreadable")]),
    ],
)
def test_the_disk_cannot_read_it(
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    sums: bytes | None,
    ranges: list[tuple[int, int]],
    damage: list[Span],
) -> None:
    BadSectors(monkeypatch, *ranges)
    diagnosis = diagnose(stored.facts(sums=sums))
    assert (diagnosis.cause, spans(diagnosis.damage)) == (Cause.UNREADABLE, damage)
    assert diagnosis.damage[0].detail == "Input/output error"
    assert f"cannot be read, from byte {damage[0][0]} on: Input/output error." in diagnosis.summary


def test_bad_sectors_and_a_flipped_bit(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.flip(2 * BLOCK, 0)
    stored.flip(20 * BLOCK, 0)
    BadSectors(monkeypatch, (5 * BLOCK, 6 * BLOCK))
    diagnosis = diagnose(stored.facts())
    assert (diagnosis.cause, spans(diagnosis.damage)) == (
        Cause.UNREADABLE,
        [blocks(2, F), blocks(5, "unreadable"), blocks(20, F)],
    )
    assert [flip.proven for flip in diagnosis.flips] == [False, True]


def test_a_dead_disk_is_not_asked_for_ever(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer may take it a minute."""
    monkeypatch.setattr(module, "FAILURES", 3)
    sectors = BadSectors(monkeypatch, (PIECE, SIZE))
    facts = examine(stored.path, expected_size=SIZE, bad=(), unreadable=[1, 2, 3], sums=SUMS)
    assert facts.capped
    assert len(sectors.failed) == 3 + 3  # and each piece at a stroke
    assert spans(diagnose(facts).damage) == [(PIECE, SIZE - PIECE, "unreadable")]


def test_a_short_read_is_no_end(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may give what comes before a bad sector, and fail only then."""
    real, bad = os.preadv, 5 * BLOCK + 8 * KIB

    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        if offset >= 6 * BLOCK or offset + len(buffers[0]) <= bad:
            return real(fd, buffers, offset)
        if offset >= bad:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, [buffers[0][: bad - offset]], offset)

    monkeypatch.setattr(os, "preadv", preadv)
    assert spans(diagnose(stored.facts()).damage) == [blocks(5, "unreadable")]


def test_it_can_be_read_again(stored: Stored) -> None:
    """What verifying could not read, or read wrong, is right by now."""
    for bad, unreadable in (([0], []), ([], [0]), ([0, 1], [1])):
        facts = examine(stored.path, expected_size=SIZE, bad=bad, unreadable=unreadable, sums=SUMS, right=right)
        assert (diagnose(facts).cause, diagnose(facts).damage) == (Cause.UNSTEADY, ())


def test_it_can_be_read_again_and_its_sums_are_right(stored: Stored) -> None:
    facts = examine(stored.path, expected_size=SIZE, bad=[1], unreadable=[1], sums=SUMS)
    assert diagnose(facts).cause is Cause.UNSTEADY


def test_a_piece_that_could_not_be_read_and_that_nobody_can_judge(stored: Stored) -> None:
    facts = examine(stored.path, expected_size=SIZE, bad=[1], unreadable=[1])
    assert (diagnose(facts).cause, spans(diagnose(facts).damage)) == (Cause.UNREADABLE, [pieces(1, "unreadable")])


@pytest.mark.usefixtures("buffered")
@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("bad", [0, 3])
def test_what_was_read_does_not_stay_in_the_cache(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, bad: int, failing: bool
) -> None:
    """Where the filesystem has no O_DIRECT: neither a chunk, nor the blocks around a bad sector."""
    stored.write(SIZE, bytes(PIECE))
    with stored.path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if scrub._absent(file.fileno(), 0, SIZE + PIECE) != [(0, -(-(SIZE + PIECE) // PAGE) * PAGE)]:
            pytest.skip("this filesystem's cache cannot be told, or not be emptied")
        if failing:
            BadSectors(monkeypatch, (bad * PIECE + BLOCK, bad * PIECE + 2 * BLOCK))
        facts = examine(stored.path, expected_size=SIZE, bad=[bad], sums=SUMS)
        assert any(not spot.readable for spot in facts.spots) == failing
        assert scrub._absent(file.fileno(), 0, SIZE + PIECE) == [(0, -(-(SIZE + PIECE) // PAGE) * PAGE)]


# --- runs of zeros ----------------------------------------------------------------------------------------------------


def test_a_run_of_zeros_is_found_to_the_byte(stored: Stored) -> None:
    stored.write(20 * BLOCK + 300, b"\1" + bytes(2000) + b"\1")
    stored.write(22 * BLOCK + 1024, bytes(512))
    facts = stored.facts()
    assert facts.spots[0].zeros == (Run(20 * BLOCK + 301, 2000),)
    assert [run.length for run in facts.spots[1].zeros] == [512 + stray(22 * BLOCK + 1024, 512)]


def stray(offset: int, length: int) -> int:
    """How many bytes beside a range are zero by chance."""
    before, after = BODY[:offset], BODY[offset + length :]
    return len(before) - len(before.rstrip(b"\0")) + len(after) - len(after.lstrip(b"\0"))


@pytest.mark.parametrize("offset", [20 * BLOCK, LAST])
def test_a_hole_is_told_from_zeros_that_were_written(stored: Stored, offset: int) -> None:
    length = min(BLOCK, SIZE - offset)
    stored.write(offset, bytes(length))
    assert [spot.zeros for spot in stored.facts().spots] == [(Run(offset, length),)]
    assert "hole" not in diagnose(stored.facts()).summary
    if offset == LAST:
        stored.cut(LAST)
        stored.cut(SIZE)
    else:
        stored.punch(offset, length)
    assert [spot.zeros for spot in stored.facts().spots] == [(Run(offset, length, hole=True),)]
    assert "it is a hole" in diagnose(stored.facts()).summary


def test_of_many_runs_in_a_piece_the_longest_are_kept(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS", 2)
    for number, length in ((1, 4 * KIB), (2, 16 * KIB), (3, 8 * KIB)):
        stored.write(number * BLOCK, b"\1" + bytes(length) + b"\1")
    assert [run.offset // BLOCK for run in stored.facts(sums=None).spots[0].zeros] == [2, 3]


# --- sums are a hint --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 3])
def test_a_wrong_piece_whose_sums_are_all_right_is_wrong(stored: Stored, piece: int) -> None:
    stored.write(piece * PIECE, OTHER[:BLOCK])
    stored.like_the_disk()
    sums = sums_of(stored.path.read_bytes())
    assert spans(diagnose(stored.facts(sums=sums)).damage) == [pieces(piece, C)]
    assert spans(diagnose(stored.facts(sums=sums, right=None)).damage) == [pieces(piece, C)]


@pytest.mark.parametrize("sums", [b"", SUMS[:-4], SUMS + bytes(4), SUMS[:-1]])
def test_sums_of_another_file_are_not_used(stored: Stored, sums: bytes) -> None:
    stored.flip(20 * BLOCK, 1)
    assert stored.facts(sums=sums).unit == PIECE


def test_right_bytes_with_wrong_sums_are_right(stored: Stored) -> None:
    facts = examine(stored.path, expected_size=SIZE, bad=[0], sums=bytes(len(SUMS)), right=right)
    assert facts.spots == ()
    assert facts.intact == SIZE


def test_without_sums_and_digests_nothing_is_known(stored: Stored) -> None:
    """Only the SHA-256 of the whole says that something is wrong."""
    stored.flip(7, 7)
    stored.like_the_disk()
    facts = examine(stored.path, expected_size=SIZE, bad=range(4), located=False, recorded=stored.stamp)
    assert (facts.located, facts.spots) == (False, ())
    assert (diagnose(facts).cause, spans(diagnose(facts).damage)) == (Cause.CHANGED, [(0, SIZE, C)])


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_only_so_much_is_looked_at(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long stretch its two ends, which tell where it begins and ends."""
    monkeypatch.setattr(module, "CAP", 2 * PIECE)
    stored.write(5 * BLOCK, OTHER[5 * BLOCK : -100])
    stored.like_the_disk()
    read: list[int] = []
    bad, _ = stored.wrong()
    facts = examine(stored.path, expected_size=SIZE, bad=bad, sums=SUMS, recorded=stored.stamp, progress=read.append)
    assert facts.capped
    assert sum(read) == PIECE + SIZE - 3 * PIECE
    diagnosis = diagnose(facts)
    assert (diagnosis.cause, spans(diagnosis.damage)) == (Cause.JOINED, [(5 * BLOCK, SIZE - 5 * BLOCK, C)])
    assert diagnosis.summary.endswith("Of the damage, only a part was looked at closely.")


def test_zeros_of_which_only_a_part_is_looked_at(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAP", 2 * PIECE)
    stored.write(5 * BLOCK, bytes(SIZE - 5 * BLOCK))
    diagnosis = diagnose(stored.facts())
    assert (diagnosis.cause, spans(diagnosis.damage)) == (Cause.ZEROS, [(5 * BLOCK, SIZE - 5 * BLOCK, Z)])


@pytest.mark.parametrize(
    ("wrong", "count", "chosen"),
    [
        ([], 2, []),
        ([3, 4, 5], 3, [3, 4, 5]),
        ([3, 4, 5, 6], 2, [3, 6]),
        ([3, 4, 5, 6, 9], 4, [3, 4, 6, 9]),
        ([0, 2, 4, 6], 3, [0, 2, 4]),
    ],
)
def test_which_pieces_are_looked_at(wrong: list[int], count: int, chosen: list[int]) -> None:
    assert sorted(module._chosen(wrong, count)) == chosen


def test_the_head_is_among_the_facts(stored: Stored) -> None:
    assert stored.facts().head == BODY[:HEAD]
    stored.cut(100)
    assert stored.facts().head == BODY[:100]
    stored.cut(0)
    assert stored.facts().head == b""


def test_pieces_that_are_not_of_the_file_are_ignored(stored: Stored) -> None:
    facts = examine(stored.path, expected_size=SIZE, bad=[-1, 4, 10**9], unreadable=[5], sums=SUMS)
    assert (facts.spots, facts.intact) == ((), SIZE)


@pytest.mark.parametrize("failing", [False, True])
def test_a_file_cut_while_it_is_looked_at(stored: Stored, monkeypatch: pytest.MonkeyPatch, failing: bool) -> None:
    """It is as long as it was when it was opened; what has gone since then differs."""
    stored.write(PIECE, OTHER[: 2 * BLOCK])
    if failing:
        BadSectors(monkeypatch, (PIECE + 14 * BLOCK, PIECE + 15 * BLOCK))

    def cut(_: int) -> None:
        stored.cut(PIECE + BLOCK + 5)

    facts = examine(stored.path, expected_size=SIZE, bad=[1, 2], sums=SUMS, progress=cut)
    assert facts.size == SIZE
    assert facts.spots[0].offset == PIECE
    assert facts.spots[-1].end == 3 * PIECE
    assert {each.verdict for each in diagnose(facts).damage} == {C}


# --- pieces as they are ----------------------------------------------------------------------------------------------


@pytest.fixture
def whole_pieces() -> int:
    """The length of a piece."""
    return models.PIECE


def test_a_flipped_bit_in_a_large_file(tmp_path: Path, whole_pieces: int) -> None:
    """A piece of 16 MiB is read in several steps."""
    size = whole_pieces + MIB + 123
    body = bytearray((BODY * 6)[:size])
    good = table_of(bytes(body), whole_pieces)
    sums = sums_of(bytes(body))
    body[whole_pieces - 3] ^= 1
    path = tmp_path / "model.bin"
    path.write_bytes(body)
    facts = examine(path, expected_size=size, bad=[0], sums=sums, right=lambda index, digest: digest == good[index])
    diagnosis = diagnose(facts)
    assert (diagnosis.cause, diagnosis.flips) == (Cause.FLIPPED_BIT, (Flip(whole_pieces - 3, 0, proven=True),))
    assert spans(diagnosis.damage) == [(whole_pieces - BLOCK, BLOCK, F)]

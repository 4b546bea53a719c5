"""Looking at damage: the blocks and the inode of a stored file, as facts for `core.diagnose`.

Reads only the pieces that are said to be wrong, from the medium and past the page cache, and no more than `CAP` bytes
of them. Blocking functions for disk threads; what the facts mean is not decided here.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import google_crc32c
from blake3 import blake3

from ckptd.core.bitflip import flipped_bit
from ckptd.core.evidence import Facts, Flip, Inode, Kind, Recorded, Run, Spot
from ckptd.core.models import BLOCK, PIECE
from ckptd.core.stretches import SECTOR
from ckptd.store.scrub import CHUNK, Opened, Progress, chunks, opened

CAP = 1024 * 1024 * 1024  # bytes of damaged pieces that are looked at
HEAD = 4096  # bytes of the file's beginning among the facts
FAILURES = 64  # blocks that fail before the disk is asked no more: it may take a minute over each
RUNS = 16  # runs of zeros, the longest ones, that are kept of a piece that nothing narrows
Right = Callable[[int, bytes], bool]  # (index of a piece, a BLAKE3 digest): is it the locked one?

_SUM = 4  # bytes of a block's sum
_EDGE = 4096  # bytes read beside damage that ends in zeros, aligned as O_DIRECT wants it
_EDGES = 256  # places where that is done
_BESIDE = bytes(17)  # fewer zeros may happen to be there
_GONE = {errno.ENOENT, errno.ENOTDIR}
_ZEROS = bytes(SECTOR)


def _unwatched(_: int) -> None:
    """Progress that nobody watches."""


def examine(
    path: Path,
    *,
    expected_size: int,
    bad: Sequence[int],
    unreadable: Sequence[int] = (),
    sums: bytes | None = None,
    right: Right | None = None,
    located: bool = True,
    recorded: str | None = None,
    good_at: float | None = None,
    owner: int | None = None,
    mode: int | None = None,
    progress: Progress = _unwatched,
) -> Facts:
    """What can be seen of the damage to a stored file. Never raises OSError: what fails is a fact, too.

    Args:
        path: the file. That something else, or nothing, is there is a fact as well.
        expected_size: the locked size in bytes.
        bad: indexes of the pieces whose digest is wrong, in any order.
        unreadable: indexes of those that could not be read.
        sums: the block sums, if there are any; those of a file of another size are not used.
        right: whether a piece's digest is the locked one. It proves a flipped bit, and knows a piece that has become
            right by now.
        located: False where no digest told which pieces are wrong, so that `bad` is all of them. Then the sums are
            believed where they find nothing, without sums no piece is looked at, and `right` is not asked.
        recorded: `publish.stamp` of the file when it was last good.
        good_at: when that was, POSIX seconds.
        owner: the user who should own it.
        mode: the permission bits that it should have.
        progress: called with the number of bytes after each block that was read.
    """
    facts = Facts(path.name, expected_size, recorded=Recorded(recorded, good_at, owner, mode))
    try:
        found = path.lstat()
        kind = _kind(found.st_mode)
        facts = replace(facts, kind=kind, found=_inode(found))
        if kind is Kind.LINK:
            return replace(facts, target=str(path.readlink()))
        if kind is not Kind.PLAIN:
            return facts
        with opened(path) as file:
            facts = replace(facts, found=_inode(file.stat))
            usable = sums if sums is not None and len(sums) == -(-expected_size // BLOCK) * _SUM else None
            look = _Look(file, expected_size, usable, right if located else None, located, progress)
            known = located or usable is not None
            if known:
                look.at_pieces(bad, unreadable)
            return replace(
                facts,
                trouble=look.trouble,
                head=look.head(),
                unit=PIECE if usable is None else BLOCK,
                spots=tuple(look.spots),
                intact=look.intact,
                located=known,
                capped=look.capped,
            )
    except OSError as error:
        if error.errno in _GONE:
            return replace(facts, kind=Kind.MISSING, found=None)
        return replace(facts, refused=error.strerror or str(error))


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.PLAIN
    if stat.S_ISLNK(mode):
        return Kind.LINK
    return Kind.FOLDER if stat.S_ISDIR(mode) else Kind.OTHER


def _inode(found: os.stat_result) -> Inode:
    return Inode(
        size=found.st_size,
        number=found.st_ino,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        owner=found.st_uid,
        mode=stat.S_IMODE(found.st_mode),
    )


@dataclass(slots=True)
class _Piece:
    """What one piece looked like."""

    digest: bytes = b""
    end: int = 0  # how far it could be looked at
    same: int = 0  # bytes of blocks whose sum is right
    differing: list[Spot] = field(default_factory=list)
    unread: list[Spot] = field(default_factory=list)
    zeros: list[Run] = field(default_factory=list)


@dataclass(slots=True)
class _Look:
    """Goes through the wrong pieces of an open file and gathers what is seen."""

    file: Opened
    expected: int  # bytes
    sums: bytes | None
    right: Right | None
    located: bool
    progress: Progress
    spots: list[Spot] = field(default_factory=list)
    intact: int = 0
    capped: bool = False
    trouble: str = ""
    failures: int = 0

    @property
    def limit(self) -> int:
        """Where the file ends, or should: what can be compared ends here."""
        return min(self.file.size, self.expected)

    def head(self) -> bytes:
        """The first bytes; none when they cannot be read."""
        return next(((data or b"")[:HEAD] for _, data in self._blocks(0, HEAD)), b"")

    def at_pieces(self, bad: Sequence[int], unreadable: Sequence[int]) -> None:
        """Look at the wrong pieces, in order, or as many of them as the cap allows."""
        failed = frozenset(unreadable)
        wrong = sorted(index for index in failed.union(bad) if 0 <= index * PIECE < self.limit)
        chosen = _chosen(wrong, CAP // PIECE)
        self.capped = len(chosen) < len(wrong)
        self.intact = self.limit
        for index in wrong:
            start, end = index * PIECE, min((index + 1) * PIECE, self.limit)
            self.intact -= end - start
            if index in chosen:
                self._at_piece(index, start, end, failed=index in failed)
            else:
                self.spots.append(Spot(start, end - start, seen=False, readable=index not in failed))
        self._look_beside()

    def _at_piece(self, index: int, start: int, end: int, *, failed: bool) -> None:
        """Look at one piece and note which of it is damaged."""
        piece = self._read(start, end)
        complete = end == min((index + 1) * PIECE, self.expected) and piece.end == end and not piece.unread
        known = self.right is not None and complete
        if known and self._is_right(index, piece.digest):
            self.intact += end - start
            return
        if piece.end < end:  # it was cut while we read
            piece.differing.append(Spot(piece.end, end - piece.end))
        if piece.unread or piece.differing:
            self.intact += piece.same
            flips = self._flips(index, piece.differing, start, end, provable=known)
            differing = [replace(spot, flip=flip) for spot, flip in zip(piece.differing, flips, strict=True)]
            self.spots += sorted([*piece.unread, *differing], key=lambda spot: spot.offset)
        elif self._is_wrong(index, end, known=known, failed=failed):
            longest = sorted(piece.zeros, key=lambda run: run.length)[-RUNS:]
            zeros = tuple(sorted(longest, key=lambda run: run.offset))
            self.spots.append(Spot(start, end - start, zeros=zeros, readable=not failed or known))
        else:
            self.intact += piece.same

    def _is_right(self, index: int, digest: bytes) -> bool:
        return self.right is not None and self.right(index, digest)

    def _is_wrong(self, index: int, end: int, *, known: bool, failed: bool) -> bool:
        """Whether a piece in which nothing was found is wrong all the same: its digest weighs more than the sums."""
        if known:
            return True
        if failed:
            return self.sums is None  # it can be read now
        # A digest of more or less than the locked bytes of a piece says nothing about them.
        says_nothing = self.file.size != self.expected and end == self.limit and end % PIECE != 0
        return not says_nothing and (self.located or self.sums is None)

    def _look_beside(self) -> None:
        """Note which runs at the edge of what is damaged go on in what is not."""
        left = _EDGES
        begins = {spot.offset for spot in self.spots} | {self.limit}
        ends = {spot.end for spot in self.spots} | {0}
        for place, spot in enumerate(self.spots):
            zeros = list(spot.zeros)
            if zeros and left and zeros[0].offset == spot.offset not in ends:
                beside = self._edge(spot.offset - _EDGE).endswith(_BESIDE)
                zeros[0], left = replace(zeros[0], beside=beside), left - 1
            if zeros and left and zeros[-1].end == spot.end not in begins:
                beside = zeros[-1].beside or self._edge(spot.end).startswith(_BESIDE)
                zeros[-1], left = replace(zeros[-1], beside=beside), left - 1
            if zeros:
                self.spots[place] = replace(spot, zeros=tuple(zeros))

    # --- reading ------------------------------------------------------------------------------------------------------

    def _edge(self, at: int) -> bytes:
        """The `_EDGE` bytes at `at`, as many as there are; none when they cannot be read."""
        buffer = memoryview(mmap.mmap(-1, _EDGE))
        try:
            return bytes(buffer[: os.preadv(self.file.fd, [buffer], at)])
        except OSError:
            return b""
        finally:
            if not self.file.direct:
                os.posix_fadvise(self.file.fd, at, _EDGE, os.POSIX_FADV_DONTNEED)

    def _read(self, start: int, end: int) -> _Piece:
        """Everything about the bytes `[start, end)` of a piece in one pass."""
        piece, hasher = _Piece(end=start), blake3()
        for at, data in self._blocks(start, end):
            length = min(BLOCK, end - at)
            if data is None:
                piece.unread.append(Spot(at, length, readable=False))
                piece.end = at + length
                continue
            hasher.update(data)
            piece.end = at + len(data)
            if self.sums is None:
                _extend(piece.zeros, self._zeros(at, data))
            else:
                self._compare(piece, at, data)
            self.progress(len(data))
        piece.digest = hasher.digest()
        return piece

    def _compare(self, piece: _Piece, at: int, data: bytes) -> None:
        """Compare a block with its sum; one that the file's end cuts off has none."""
        if self.sums is None or len(data) < min(BLOCK, self.expected - at):
            return
        place = at // BLOCK * _SUM
        syndrome = int.from_bytes(self.sums[place : place + _SUM], "big") ^ int(google_crc32c.value(data))
        if syndrome == 0:
            piece.same += len(data)
            return
        bit = flipped_bit(syndrome, len(data))
        flip = None if bit is None else Flip(at + bit[0], bit[1])
        piece.differing.append(Spot(at, len(data), zeros=tuple(self._zeros(at, data)), flip=flip))

    def _flips(
        self, index: int, differing: Sequence[Spot], start: int, end: int, *, provable: bool
    ) -> list[Flip | None]:
        """The flipped bits of a piece, one a block, if they explain all of its damage; else none."""
        flips = [spot.flip for spot in differing if spot.flip is not None]
        if len(flips) < len(differing):
            return [None] * len(differing)
        if not provable:
            return list(flips)
        hasher = blake3()
        for at, data in self._blocks(start, end):
            mended = bytearray(data or b"")
            for flip in flips:
                if at <= flip.offset < at + len(mended):
                    mended[flip.offset - at] ^= 1 << flip.bit
            hasher.update(mended)
        if not self._is_right(index, hasher.digest()):
            return [None] * len(differing)
        return [replace(flip, proven=True) for flip in flips]

    def _blocks(self, start: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """(Offset, bytes) of every block of `[start, end)` up to the file's end; None for one that cannot be read.

        Large reads as long as they succeed; where one fails, block by block.
        """
        at, held = start, bytearray()
        try:
            # To the end of the last chunk: it is read in any case, and so it leaves the page cache again.
            for view in chunks(self.file, start, -(-end // CHUNK) * CHUNK, fresh=True):
                held += view[: end - at - len(held)]
                while len(held) >= BLOCK:
                    yield at, bytes(held[:BLOCK])
                    at += BLOCK
                    del held[:BLOCK]
            if held:
                yield at, bytes(held)
        except OSError:
            yield from self._one_by_one(at, min(end, self.file.size))

    def _one_by_one(self, start: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        buffer = memoryview(mmap.mmap(-1, BLOCK))  # page-aligned, as O_DIRECT wants it
        try:
            for at in range(start, end, BLOCK):
                wanted = min(BLOCK, end - at)
                count = self._fill(buffer, at, wanted)
                yield at, None if count is None else bytes(buffer[:count])
                if count is not None and count < wanted:
                    return  # the file ends here by now
        finally:
            if not self.file.direct:
                length = -(-(end - start) // BLOCK) * BLOCK  # whole blocks were read
                os.posix_fadvise(self.file.fd, start, length, os.POSIX_FADV_DONTNEED)

    def _fill(self, buffer: memoryview, at: int, wanted: int) -> int | None:
        """Read `wanted` bytes, less at the file's end; None when the disk cannot, or is not asked any more."""
        if self.failures >= FAILURES:
            self.capped = True
            return None
        count = 0
        try:
            while count < wanted:  # a disk may give what comes before a bad sector
                got = os.preadv(self.file.fd, [buffer[count:]], at + count)
                if not got:
                    break
                count += got
        except OSError as error:
            self.failures += 1
            self.trouble = error.strerror or str(error)
            return None
        return min(count, wanted)

    def _zeros(self, offset: int, data: bytes) -> Iterator[Run]:
        """Runs of zeros as long as a sector or longer in a block, and those at its ends, which may go on beside it."""
        begins, ends = len(data) - len(data.lstrip(b"\0")), len(data.rstrip(b"\0"))
        spans = [(0, begins)] if begins else []
        at = data.find(_ZEROS, begins, ends)
        while at >= 0:
            rest = data[at:ends]
            end = at + len(rest) - len(rest.lstrip(b"\0"))
            spans.append((at, end))
            at = data.find(_ZEROS, end, ends)
        if begins < len(data) > ends:
            spans.append((ends, len(data)))
        for start, end in spans:
            yield Run(offset + start, end - start, hole=self._is_hole(offset + start, offset + end))

    def _is_hole(self, start: int, end: int) -> bool:
        """Whether nothing is allocated for the pages within `[start, end)` (lseek(2), SEEK_DATA)."""
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        try:
            return first < last <= os.lseek(self.file.fd, first, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO and first < last  # no data up to the file's end


def _extend(runs: list[Run], more: Iterator[Run]) -> None:
    """Append runs of the next block; the first goes on where the last one ended."""
    for run in more:
        if runs and runs[-1].end == run.offset:
            runs[-1] = runs[-1].and_then(run)
        else:
            runs.append(run)


def _chosen(wrong: Sequence[int], count: int) -> frozenset[int]:
    """The `count` pieces to look at: first the ends of every stretch, which tell most, then from the beginning on."""
    here = frozenset(wrong)
    inner = {index for index in wrong if {index - 1, index + 1} <= here}
    return frozenset(sorted(wrong, key=lambda index: (index in inner, index))[:count])

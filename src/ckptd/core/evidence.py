"""What was found at the path of a damaged file: the facts, as values. Nothing here decides.

`store.examine` makes them, `core.diagnose` says what happened. Offsets, sizes and lengths are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.models import PIECE


class Kind(StrEnum):
    """What stands under the file's name."""

    PLAIN = "plain"
    LINK = "link"
    FOLDER = "folder"
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Run:
    """Zeros in a row. `hole`: nothing is allocated for them. `beside`: they go on in bytes that are as they were."""

    offset: int
    length: int
    hole: bool = False
    beside: bool = False

    @property
    def end(self) -> int:
        """The offset after the last one."""
        return self.offset + self.length

    def and_then(self, after: Run) -> Run:
        """One run of this and the one that begins where it ends."""
        hole, beside = self.hole and after.hole, self.beside or after.beside
        return Run(self.offset, self.length + after.length, hole=hole, beside=beside)


@dataclass(frozen=True, slots=True)
class Flip:
    """A bit that explains what its block's sum says. `proven`: with it flipped back, the piece's digest is right."""

    offset: int  # of its byte in the file
    bit: int  # 0 is the lowest
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A block that is not as it was; a whole piece where nothing says which of its blocks. `seen`: it was looked at."""

    offset: int
    length: int
    readable: bool = True
    zeros: tuple[Run, ...] = ()
    flip: Flip | None = None
    seen: bool = True

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Inode:
    """What the filesystem says about the file now. Times in nanoseconds since the epoch."""

    size: int
    number: int
    mtime_ns: int
    ctime_ns: int
    owner: int
    mode: int  # permission bits


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was noted when the file was last good; None where that was not noted."""

    stamp: str | None = None  # "size:inode:mtime_ns"
    at: float | None = None  # POSIX seconds
    owner: int | None = None
    mode: int | None = None

    @property
    def inode(self) -> tuple[int, int] | None:
        """(Number, mtime_ns) of the stamp, None when it has none that can be read."""
        try:
            _, number, mtime_ns = (int(part) for part in (self.stamp or "").split(":"))
        except ValueError:
            return None
        return number, mtime_ns


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found at the path of a damaged file. Offsets, sizes and lengths in bytes.

    `spots` are in order, do not overlap, and lie before the end of the file as it is and as it should be. `unit` is how
    finely they tell: BLOCK where there are block sums, else PIECE. `intact` counts the bytes that are as they were.
    Where nothing tells which bytes are wrong, `located` is False, and there are no spots.
    """

    name: str
    expected_size: int
    kind: Kind = Kind.PLAIN
    target: str = ""  # of a link
    found: Inode | None = None
    recorded: Recorded = Recorded()
    refused: str = ""  # why a plain file could not be opened
    trouble: str = ""  # what the system said about ranges that cannot be read
    head: bytes = b""  # the file's first bytes
    unit: int = PIECE
    spots: tuple[Spot, ...] = ()
    intact: int = 0
    located: bool = True
    capped: bool = False  # there was more damage than is looked at closely

    @property
    def size(self) -> int:
        """The file's size as it is; 0 where there is no plain file."""
        return self.found.size if self.found is not None and self.kind is Kind.PLAIN else 0

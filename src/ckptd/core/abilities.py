"""What a filesystem can do for a store, and what became of trying. Values only: `store.probe` tries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Ability(StrEnum):
    """What is tried, in this order."""

    RENAME = "rename"  # a name changes its file in one step, and who has the old one open keeps it
    EXCHANGE = "exchange"  # two names change places in one step: renameat2(2)
    FSYNC = "fsync"  # of a file
    FSYNC_FOLDER = "fsync-folder"
    MODES = "modes"  # what is made has the mode and group it shall have, whatever the umask
    LOCKS = "locks"  # a lock that one process holds is refused to another, and free when the first is killed
    DATABASE = "database"  # SQLite writes, and reads it back
    FALLOCATE = "fallocate"  # space can be reserved
    REFLINK = "reflink"  # two files share blocks: ioctl_ficlone(2)
    HARD_LINKS = "hard-links"
    DIRECT = "direct"  # reading past the page cache: O_DIRECT
    MINCORE = "mincore"  # which pages of a file are in the page cache
    CACHESTAT = "cachestat"  # the same by one call, Linux 6.5
    VERITY = "fs-verity"  # the kernel checks a file itself whenever it is read


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of trying; `works` is None where it could not be tried. `detail` is for people."""

    works: bool | None
    detail: str = ""

    @classmethod
    def of(cls, *, works: bool) -> Self:
        """It was tried, and that is that."""
        return cls(works)

    @classmethod
    def lacks(cls, detail: str) -> Self:
        """It does not work, for this reason."""
        return cls(works=False, detail=detail)


@dataclass(frozen=True, slots=True)
class Mount:
    """The filesystem that holds a path: its type ("ext4", "nfs4", ...; "" when it cannot be told) and its options."""

    kind: str = ""
    point: str = ""
    options: frozenset[str] = frozenset()

"""What lies in a store and its state, and what the manifest, the lock and the records say of it. Values only.

Links are not followed: a link is a link. Paths are only names here; times are POSIX seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.quarantine import Entry

TREE = "tree"  # the folder of an unpacked tree beside its archive


class Shape(StrEnum):
    """What stands under a name on the disk."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Thing:
    """What stands under a name. `familiar`: of a tree, that it has only members which its archive has."""

    name: str
    path: str
    shape: Shape
    size: int = 0
    familiar: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """One name in the store, and for a folder what is in it."""

    thing: Thing
    within: tuple[Thing, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the manifest wants under a name: a file, and perhaps a tree."""

    file: str
    tree: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A file as the lock or a record describes it."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """An unfinished download on disk. `recorded`: the state speaks of it. `touched` is when it was last written to."""

    name: str
    path: str
    size: int
    touched: float
    recorded: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that the decision is made of. `names`: those that the history knows."""

    now: float
    wanted: Mapping[str, Wanted]
    locked: Mapping[str, Known]
    recorded: Mapping[str, tuple[Known, ...]]  # by checkpoint
    names: Collection[str] = ()
    stored: tuple[Stored, ...] = ()
    partials: tuple[Part, ...] = ()
    quarantine: tuple[Entry, ...] = ()
    databases: tuple[Thing, ...] = ()
    tables: tuple[Thing, ...] = ()  # named after the SHA-256 they belong to, as are those that follow
    sums: tuple[Thing, ...] = ()
    listings: tuple[Thing, ...] = ()
    old_trees: tuple[Thing, ...] = ()  # that were replaced, and lie aside for whoever still uses them
    leftovers: tuple[Thing, ...] = ()

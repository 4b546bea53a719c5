"""What lies in the store and its state, by name and size: what `core.prune` decides about. Reads no file bodies.

Changes nothing and follows no link; needs no lock of the store. Where something cannot be looked at, that is raised: a
list that is shorter than the truth would pass for all there is.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, suppress
from math import inf
from pathlib import Path

from ckptd.core.survey import TREE, Part, Shape, Stored, Thing
from ckptd.core.tree import Kind, Tree
from ckptd.store.places import Places, storage_error
from ckptd.store.records import PartialRecord, load_partials, read_only
from ckptd.store.trees import load_tree

PRUNED = "pruned"  # the folder in the state through which everything goes that leaves the store
STAGING = "staging"  # where trees are unpacked before they get their names
OLD_TREES = "old-trees"  # where those lie that were replaced
PROBE = ".probe-"  # what a folder of `store.probe` is called in the beginning
WORK_IS_OVER = 3600.0  # seconds without a change after which nobody is at work in a folder any more
_DIGEST = re.compile(r"[0-9a-f]{64}")


def stored(places: Places, skip: Collection[Path], digests: Mapping[str, Iterable[str]]) -> tuple[Stored, ...]:
    """Everything in the store but the paths in `skip`. `digests`: of the archives that a name's tree may come from.

    Empty where there is no store. Raises StorageError.
    """
    found = []
    for path in _listed(places.store):
        if path in skip or path == places.state:
            continue
        thing = _thing(path)
        within: list[Thing] = []
        if thing is not None and thing.shape is Shape.FOLDER:
            for each in _listed(path):
                inner = _thing(each)
                if inner is not None and inner.shape is Shape.FOLDER and inner.name == TREE:
                    inner = _tree(each, places, digests.get(path.name, ()))
                within += [inner] if inner is not None else []
        found += [Stored(thing, tuple(within))] if thing is not None else []
    return tuple(found)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, f"cannot read {folder}") from error


def _thing(path: Path) -> Thing | None:
    """What stands there; None when it has gone meanwhile. Raises StorageError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, f"cannot look at {path}") from error
    shape = _shape(found.st_mode)
    return Thing(path.name, str(path), shape, found.st_size if shape is Shape.FILE else 0)


def _shape(mode: int) -> Shape:
    if stat.S_ISREG(mode):
        return Shape.FILE
    if stat.S_ISDIR(mode):
        return Shape.FOLDER
    return Shape.LINK if stat.S_ISLNK(mode) else Shape.OTHER


# --- trees -----------------------------------------------------------------------------------------------------------


def _tree(folder: Path, places: Places, digests: Iterable[str]) -> Thing:
    """An unpacked tree. Familiar where an archive of one of these digests has every member of it, by kind and size."""
    members = _members(folder)
    size = sum(size for kind, size in members.values() if kind is Kind.FILE)
    trees = [tree for each in digests if (tree := load_tree(places.trees, each)) is not None]
    familiar = any(_has_all(tree, members) for tree in trees)
    return Thing(folder.name, str(folder), Shape.FOLDER, size, familiar)


def _has_all(tree: Tree, members: Mapping[str, tuple[Kind, int]]) -> bool:
    known = {member.path: (member.kind, member.size) for member in tree.members}
    return all(known.get(path) == found for path, found in members.items())


def _members(folder: Path) -> dict[str, tuple[Kind, int]]:
    """Everything in a folder, by path relative to it. Raises StorageError."""
    found: dict[str, tuple[Kind, int]] = {}
    waiting = [folder]
    while waiting:
        for path in _listed(waiting.pop()):
            thing = _thing(path)
            if thing is not None:
                found[str(path.relative_to(folder))] = (Kind(thing.shape.value), thing.size)
                waiting += [path] if thing.shape is Shape.FOLDER else []
    return found


def plain_files(path: Path) -> list[Path]:
    """`path` where it is a plain file, else all plain files beneath it. Raises StorageError."""
    thing = _thing(path)
    if thing is None or thing.shape is Shape.FILE:
        return [] if thing is None else [path]
    return [path / name for name, (kind, _) in _members(path).items() if kind is Kind.FILE]


# --- the state -------------------------------------------------------------------------------------------------------


def partials(places: Places) -> tuple[Part, ...]:
    """Unfinished downloads: every file, with the name of the checkpoint where a record tells, and records alone."""
    by_file = {record.file: record for record in _recorded(places).values()}
    found = []
    for path in _listed(places.partials):
        thing = _thing(path)
        if thing is not None and thing.shape is Shape.FILE:
            record = by_file.pop(path.name, None)
            name = path.name if record is None else record.name
            found.append(Part(name, str(path), thing.size, path.lstat().st_mtime, record is not None))
    # A record whose file is gone is of no age: the next download of that name overwrites it.
    found += [Part(each.name, str(places.partials / each.file), 0, inf, recorded=True) for each in by_file.values()]
    return tuple(found)


def _recorded(places: Places) -> dict[str, PartialRecord]:
    connection = read_only(places.database)
    if connection is None:
        return {}
    with closing(connection), suppress(sqlite3.Error):
        return load_partials(connection)
    return {}


def sums(places: Places) -> tuple[Thing, ...]:
    """The block sums in the state database, by SHA-256."""
    connection = read_only(places.database)
    if connection is None:
        return ()
    rows = []
    with closing(connection), suppress(sqlite3.Error):
        rows = connection.execute("SELECT sha256, length(blocks) FROM sums ORDER BY sha256").fetchall()
    return tuple(Thing(str(sha256), "", Shape.OTHER, int(length)) for sha256, length in rows)


def named_by_digest(folder: Path) -> tuple[Thing, ...]:
    """The plain files in a folder that are named after a SHA-256: piece tables, lists of trees. Raises StorageError."""
    things = [_thing(path) for path in _listed(folder) if _DIGEST.fullmatch(path.name)]
    return tuple(thing for thing in things if thing is not None and thing.shape is Shape.FILE)


def databases(places: Places) -> tuple[Thing, ...]:
    """The damaged state databases that were moved aside. Raises StorageError."""
    aside = f"{places.database.name}.damaged-"
    things = [_thing(path) for path in _listed(places.state) if path.name.startswith(aside)]
    return tuple(thing for thing in things if thing is not None and thing.shape is Shape.FILE)


def old_trees(places: Places) -> tuple[Thing, ...]:
    """The trees that were replaced by others. Raises StorageError."""
    return _sized(_in(places.state / OLD_TREES))


def leftovers(places: Places) -> tuple[Thing, ...]:
    """What runs that were killed left in the state: in taking away, unpacking, probing. Raises StorageError."""
    begun = [*_in(places.state / STAGING), *(path for path in _in(places.state) if path.name.startswith(PROBE))]
    over = [path for path in begun if _is_folder(path) and time.time() - path.lstat().st_mtime > WORK_IS_OVER]
    return _sized([*_in(places.state / PRUNED), *over])


def _in(folder: Path) -> list[Path]:
    """What is in a folder of ours, which need not be there; a link to one is none of ours."""
    return _listed(folder) if _is_folder(folder) else []


def _sized(paths: Iterable[Path]) -> tuple[Thing, ...]:
    """Each with the size of all that is in it."""
    found = []
    for path in paths:
        thing = _thing(path)
        if thing is not None:
            size = sum(each.lstat().st_size for each in plain_files(path))
            found.append(Thing(thing.name, thing.path, thing.shape, size))
    return tuple(found)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False

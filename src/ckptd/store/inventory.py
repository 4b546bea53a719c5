"""What lies in the store, by name and size and stamp, without reading a byte of it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from ckptd.core.models import Checkpoint
from ckptd.core.plan import Found
from ckptd.store.places import Places
from ckptd.store.publish import stamp
from ckptd.store.records import DROPPED, FileRecord, load_files, read_only, tree_key


def look(places: Places, checkpoint: Checkpoint, records: Mapping[str, FileRecord]) -> Found | None:
    """What is under a final name; None for nothing, and for anything that is not a plain file."""
    try:
        found = os.lstat(places.opened(places.final(checkpoint)))
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    record = records.get(key_of(checkpoint))
    if record is None:
        return Found(found.st_size)
    unchanged = record.stamp == stamp(found) and record.verdict == "intact"
    condemned = record.verdict in {"corrupt", "unreadable"}
    return Found(found.st_size, record.sha256, unchanged=unchanged, pending=record.pending, condemned=condemned)


def is_file(path: Path) -> bool:
    """Whether a plain file stands there (not a link to one)."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder stands there (not a link to one)."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def tree_stands(places: Places, name: str, sha256: str, records: Mapping[str, FileRecord]) -> bool:
    """Whether the tree of this archive stands under its name, and was good when it was last looked at."""
    record = records.get(tree_key(name))
    if record is None or (record.sha256, record.verdict) != (sha256, "intact"):
        return False
    return record.stamp == tree_mark(places, name)


def tree_mark(places: Places, name: str) -> str:
    """Names the folder that a tree is; what is in it, an audit says. Empty when there is none.

    What is no folder has no mark, though it may well have the inode number of the folder that was there.
    """
    try:
        found = os.lstat(places.tree(name))
    except OSError:
        return ""
    return f"tree:{found.st_dev}:{found.st_ino}" if stat.S_ISDIR(found.st_mode) else ""


def tree_damage(places: Places, name: str, sha256: str, records: Mapping[str, FileRecord]) -> str:
    """What is known to be wrong with the tree of this archive, in words; empty where nothing is.

    That there is no folder at all is none of it: a tree that was removed can be made again at any time.
    """
    record = records.get(tree_key(name))
    if record is None or record.sha256 != sha256:
        return ""
    instead = foreign(places.tree(name))
    if instead:
        return f"{instead} stands in place of its tree"
    return {"corrupt": "its tree is damaged", "unlisted": "the list of what is in its tree is lost"}.get(
        record.verdict, ""
    )


def foreign(path: Path) -> str:
    """What stands where a folder should be and is none ("a link"); empty for a folder, and for nothing."""
    try:
        return no_folder(os.lstat(path).st_mode)
    except OSError:
        return ""


def no_folder(mode: int) -> str:
    """What a mode is of, if not of a folder."""
    if stat.S_ISDIR(mode):
        return ""
    if stat.S_ISLNK(mode):
        return "a link"
    return "a plain file" if stat.S_ISREG(mode) else "a device, pipe or socket"


def archive_dropped(places: Places, path: str, sha256: str, records: Mapping[str, FileRecord]) -> bool:
    """Whether the archive at `path` was removed on purpose, once its tree stood."""
    if path.partition("/")[0] in places.watched:
        return False
    record = records.get(path)
    gone = record is not None and (record.sha256, record.verdict) == (sha256, DROPPED)
    return gone and not os.path.lexists(places.store / path)


def key_of(checkpoint: Checkpoint) -> str:
    """How the state database names the file of a checkpoint, wherever that is."""
    return f"{checkpoint.name}/{checkpoint.file_name}"


def key(path: Path, store: Path) -> str:
    """How the state database names a file: relative to the store, so that a store can be moved."""
    return str(path.relative_to(store))


def records(places: Places) -> dict[str, FileRecord]:
    """What was proven of the store's files, for whoever may only read; empty where that cannot be told."""
    connection = read_only(places.database)
    if connection is None:
        return {}
    with closing(connection), suppress(sqlite3.Error):
        return load_files(connection)
    return {}

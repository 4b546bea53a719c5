"""Taking things out of the store, in steps of which each may be the last: out of sight by rename, then gone.

Only what stands in a checkpoint's folder is taken; no link is followed, neither on the way nor at the end. Decides
nothing: what goes is `core.prune`'s business. The store must be ours. Blocks: run in a disk thread.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from ckptd.store.places import Places, fsync_folder, make_folder, storage_error
from ckptd.store.survey import PRUNED

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def set_aside(places: Places, path: Path) -> Path:
    """Rename a file or tree of a checkpoint's folder into the state, durably; where it lies now.

    Whoever has it open keeps it. The folder goes with the last thing in it. Raises StorageError.
    """
    waiting = places.state / PRUNED
    make_folder(waiting, places.group)
    aside = waiting / f"{os.urandom(6).hex()}-{path.parent.name}"
    try:
        fd = os.open(path.parent, _FOLDER)
        try:
            os.rename(path.name, aside, src_dir_fd=fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        fsync_folder(waiting)
    except OSError as error:
        raise storage_error(error, f"cannot take {path} away") from error
    with suppress(OSError):  # something of somebody else's is in it: then it stays
        drop_folder(path.parent)
    return aside


def drop_folder(folder: Path) -> None:
    """Remove an empty folder, durably. Raises OSError."""
    os.rmdir(folder)
    fsync_folder(folder.parent)


def erase(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, from the state; nothing to do is fine. Raises StorageError."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)  # from descriptors: it follows no links
        else:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(error, f"cannot remove {path}") from error


def forget_files(connection: Connection, keys: Iterable[str]) -> None:
    """Drop what is known of files, by path relative to the store. What the history says of them stays."""
    connection.executemany("DELETE FROM files WHERE path = ?", [(key,) for key in keys])


def drop_sums(connection: Connection, digests: Iterable[str]) -> None:
    """Drop block sums."""
    connection.executemany("DELETE FROM sums WHERE sha256 = ?", [(each,) for each in digests])

"""The one place where a name becomes visible: fsync, mode, rename, fsync of the folder.

Takes only `Verified`, which only a proof makes; returns `Published`, which only a lock entry is made of. Until the
rename nothing outside the state folder has changed; after it the checkpoint is there, whole.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from ckptd.core.models import PIECE, Checkpoint, LockEntry
from ckptd.core.proof import Proven
from ckptd.core.response import Validator
from ckptd.core.urls import strip_for_lock
from ckptd.errors import StorageError
from ckptd.store.atomic import write_atomically
from ckptd.store.digests import pieces_field
from ckptd.store.places import Places, make_folder, storage_error

FILE_MODE = 0o444


@dataclass(frozen=True, slots=True)
class Verified:
    """Bytes in a partial (or already under their final name) that were proven; `table` is their piece table."""

    checkpoint: Checkpoint
    path: Path
    size: int
    proof: Proven
    table: bytes
    sums: bytes = b""  # of its blocks
    digests: dict[str, str] = field(default_factory=dict)  # hex, by algorithm, of the witnesses' kinds
    validators: dict[str, Validator] = field(default_factory=dict)  # of the answers it came from, by source URL
    revision: str | None = None  # as in the lock
    linked: bool = False  # `path` is another name of a file that somebody else has, too

    @property
    def entry(self) -> LockEntry:
        """What the lock will say, once it is published."""
        return LockEntry(
            name=self.checkpoint.name,
            url=strip_for_lock(self.checkpoint.url),
            size=self.size,
            sha256=self.proof.sha256,
            trust=self.proof.trust,
            witnesses=self.proof.witnesses,
            pieces=pieces_field(self.table),
            revision=self.revision,
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A verified file, durable under its final name."""

    path: Path
    entry: LockEntry


def stamp(found: os.stat_result) -> str:
    """Size, inode and modification time: while they stay, nobody has written to the file in the ordinary way."""
    return f"{found.st_size}:{found.st_ino}:{found.st_mtime_ns}"


def settle(verified: Verified, places: Places) -> str:
    """Make a verified partial durable, with its final mode and group, still under its own name; its stamp.

    Raises StorageError. Blocks: run in a disk thread.
    """
    access = os.O_RDONLY if verified.linked else os.O_RDWR
    try:
        fd = os.open(verified.path, access | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not verified.linked:
                os.ftruncate(fd, verified.size)
            if places.group is not None:
                os.fchown(fd, -1, places.group)
            os.fchmod(fd, FILE_MODE)
            os.fsync(fd)
            mark = stamp(os.fstat(fd))
        finally:
            os.close(fd)
        save_table(verified, places)
    except OSError as error:
        raise storage_error(error, f"cannot finish {verified.path}") from error
    return mark


def save_table(verified: Verified, places: Places) -> None:
    """Keep the piece table of what was proven. Raises OSError."""
    keep_table(verified.proof.sha256, verified.size, verified.table, places)


def keep_table(sha256: str, size: int, table: bytes, places: Places) -> None:
    """Keep a piece table, where there is more than one piece: a single piece says no more than the lock does."""
    if size > PIECE:
        write_atomically(places.pieces / sha256, table, FILE_MODE, places.group)


def mend_mode(path: Path, group: int | None) -> None:
    """Give a file that was put there by hand the mode and group of ours. Raises OSError."""
    found = os.lstat(path)
    if found.st_mode & 0o7777 != FILE_MODE:
        path.chmod(FILE_MODE)
    if group is not None and found.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)


def publish(verified: Verified, places: Places) -> Published:
    """Rename a settled partial to its final name. Raises StorageError. Blocks: run in a disk thread."""
    folder = places.folder(verified.checkpoint.name)
    final = places.final(verified.checkpoint)
    if verified.checkpoint.in_place is not None:
        raise StorageError(f"{final} is watched in place, and never written")
    make_folder(folder, places.group)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise StorageError(f"{folder} is not a folder of ours", hint="move it away and run again") from error
        raise storage_error(error, f"cannot open {folder}") from error
    try:
        os.rename(verified.path, final.name, dst_dir_fd=fd)
        os.fsync(fd)
    except OSError as error:
        raise storage_error(error, f"cannot publish {final}") from error
    finally:
        os.close(fd)
    return Published(final, verified.entry)

"""Where everything lies: the store, its state, the lock; and what must be true of those folders before we write.

Knows paths and modes; opens no checkpoint.
"""

from __future__ import annotations

import errno
import grp
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptd.core.models import Checkpoint, Manifest
from ckptd.core.units import format_size
from ckptd.errors import ConfigError, StorageError

FOLDER_MODE = 0o755
SHARED_FOLDER_MODE = 0o2755
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "cifs", "smb3", "ceph", "beegfs", "afs", "9p", "glusterfs"}
)


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths of one manifest's store, and of the files that are watched in place."""

    store: Path
    state: Path
    lock: Path
    group: int | None = None
    keep_free: int = 0  # bytes of the filesystem that are left to others
    watched: Mapping[str, Path] = field(default_factory=dict, hash=False)  # by checkpoint: files that others keep

    @property
    def quarantine(self) -> Path:
        """Damaged files and what is known of them."""
        return self.state / "quarantine"

    @property
    def partials(self) -> Path:
        """Unfinished downloads."""
        return self.state / "partials"

    @property
    def pieces(self) -> Path:
        """Piece tables, each named after the SHA-256 of its file."""
        return self.state / "pieces"

    @property
    def database(self) -> Path:
        """Partials and their validators, what was proven when."""
        return self.state / "state.db"

    def folder(self, name: str) -> Path:
        """The folder of one checkpoint."""
        return self.store / name

    @property
    def trees(self) -> Path:
        """What is in each unpacked tree, named after the SHA-256 of its archive."""
        return self.state / "trees"

    def tree(self, name: str) -> Path:
        """Where users find the unpacked tree of a checkpoint."""
        return self.store / name / "tree"

    def final(self, checkpoint: Checkpoint) -> Path:
        """Where users find the verified file."""
        if checkpoint.in_place is None:
            return self.store / checkpoint.name / checkpoint.file_name
        return self.file(checkpoint.name, checkpoint.file_name)

    def file(self, name: str, file_name: str) -> Path:
        """Where the file of a lock entry is: in its folder, unless it is watched in place."""
        return self.watched.get(name) or self.store / name / file_name

    def opened(self, path: Path) -> Path:
        """The file that is read for `path`. A link is followed only where somebody else keeps the file: a cache that
        names its files by links is theirs to arrange, while a link in our store is something that we did not put there.
        """
        return path if path.is_relative_to(self.store) else Path(os.path.realpath(path))

    def watching(self, more: Mapping[str, str]) -> Places:
        """As these, with more files, by checkpoint, that are watched in place."""
        return replace(self, watched={**self.watched, **{name: Path(path) for name, path in more.items()}})


def locate(manifest: Manifest, manifest_path: Path) -> Places:
    """Resolve the manifest's paths against its own folder.

    Raises ConfigError for a group that does not exist, and for a file that is to be watched in place and is ours.
    """
    base = manifest_path.absolute().parent
    settings = manifest.store
    store = Path(os.path.normpath(base / settings.path))
    state = Path(os.path.normpath(base / (settings.state or f"{settings.path}/.ckptd")))
    group = None
    if settings.group is not None:
        try:
            group = grp.getgrnam(settings.group).gr_gid
        except KeyError:
            raise ConfigError(
                f'{manifest_path}: [store] group: there is no group "{settings.group}" on this machine',
                hint=f"groupadd {settings.group}, or take the line out",
            ) from None
    lock = Path(os.path.normpath(base / settings.lock))
    watched = {}
    for each in manifest.checkpoints:
        if each.in_place is None:
            continue
        path = watched[each.name] = Path(os.path.normpath(base / each.in_place))
        if path in {lock, manifest_path.absolute()} or path.is_relative_to(store) or path.is_relative_to(state):
            raise ConfigError(
                f'{manifest_path}: [[checkpoint]] "{each.name}": in_place: {path} is, or lies in, what ckptd writes',
                hint="name a file outside of the store, or take the key out",
            )
    return Places(store, state, lock, group, settings.keep_free or 0, watched)


def prepare(places: Places) -> None:
    """Make the folders that are missing and refuse those that cannot be trusted. Raises StorageError."""
    for folder in (places.store, places.state, places.partials, places.pieces):
        make_folder(folder, places.group)
    for folder in (places.store, places.state, places.partials):
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StorageError(
                f"{folder} is writable by everybody: anyone could plant files in it", hint=f"chmod o-w {folder}"
            )
    if places.store.stat().st_dev != places.state.stat().st_dev:
        raise StorageError(
            f"{places.state} is on another filesystem than {places.store}, so nothing can be renamed into place",
            hint="put [store] state on the filesystem of [store] path",
        )


def make_folder(folder: Path, group: int | None) -> bool:
    """Make one folder (and missing parents) with its mode and group, durable in its parent; whether it was new.

    A link in a folder's place is followed only where the operator put it: the store itself, never a checkpoint's.
    """
    try:
        if folder.is_dir():
            return False
        if not folder.parent.is_dir():
            make_folder(folder.parent, group)
        folder.mkdir()
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(FOLDER_MODE if group is None else SHARED_FOLDER_MODE)
        fsync_folder(folder.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(error, f"cannot make {folder}") from error
    return True


def check_room(places: Places, count: int) -> None:
    """Whether `count` more bytes fit beside what is to be left free. Raises StorageError."""
    if not places.keep_free:
        return
    found = os.statvfs(places.state)
    free = found.f_bavail * found.f_frsize
    if free - count < places.keep_free:
        needed, left, kept = format_size(count), format_size(free), format_size(places.keep_free)
        raise StorageError(
            f"{needed} more do not fit: {left} are free on {places.store}, [store] keep_free is {kept}",
            hint="free some space, or lower keep_free; what is here is kept",
        )


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError, except where the filesystem has no such thing."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(fd)


_HINTS = {
    errno.ENOSPC: "free some space; what was downloaded is kept and the next run goes on from it",
    errno.EDQUOT: "the quota is used up; what was downloaded is kept and the next run goes on from it",
    errno.EROFS: "the filesystem is mounted read-only",
    errno.EACCES: "run as the user who owns the store, or mend its modes",
    errno.EPERM: "run as the user who owns the store, or mend its modes",
    errno.EIO: "the disk or its connection is failing: look at the kernel log (dmesg)",
    errno.EFBIG: "a file size limit is in force (ulimit -f)",
    errno.ENAMETOOLONG: "choose a shorter name or store path",
    errno.EISDIR: "a folder stands where the file should be: move it away",
}


def storage_error(error: OSError, doing: str) -> StorageError:
    """`error` in the operator's words. `doing` says what failed, with the path."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"{doing}: {reason}", hint=_HINTS.get(error.errno or 0, ""))


def filesystem_of(path: Path) -> str:
    """The type of the filesystem that holds `path` ("ext4", "nfs4", ...), or "" when it cannot be told."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        left, _, right = line.partition(" - ")
        if left.split(" ")[2] == wanted and right:
            return right.split(" ")[0]
    return ""

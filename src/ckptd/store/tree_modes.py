"""The modes of what is in an unpacked tree: which are not as they were made, and setting them right.

Reads no content. Others may be able to write where modes are loose, and whoever sets them right may be root: every
folder is opened from the one that holds it without following links, and of a file that has a name outside of the tree
nothing is changed, since it is not known whose it is.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ckptd.core.members import mode_of
from ckptd.core.tree import TOP, Kind, loosened
from ckptd.store.places import storage_error

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 256  # folders on the way to a member; what somebody has put deeper an audit finds


def loose(folder: Path, *, shared: bool) -> tuple[str, ...]:
    """Paths in the tree whose modes are not as they were made, sorted; `shared` where the store has a group.

    None where there is no folder, or where it cannot be looked into.
    """
    try:
        return _all(folder, shared=shared, mend=False)
    except OSError:
        return ()


def tighten(folder: Path, *, shared: bool) -> tuple[str, ...]:
    """Set those modes right; the paths where that was done. Raises StorageError, as for a tree of another user's."""
    try:
        return _all(folder, shared=shared, mend=True)
    except OSError as error:
        raise storage_error(error, f"cannot set the modes in {folder}") from error


def _all(folder: Path, *, shared: bool, mend: bool) -> tuple[str, ...]:
    top = os.open(folder, _FOLDER)
    try:
        odd = [TOP] if _look(top, Kind.FOLDER, shared=shared, mend=mend) else []
        files: list[tuple[str, tuple[int, int]]] = []
        names: Counter[tuple[int, int]] = Counter()
        for path, fd, found in _walk(top):
            if stat.S_ISDIR(found.st_mode):
                odd += [path] if _look(fd, Kind.FOLDER, shared=shared, mend=mend) else []
            else:
                key = (found.st_dev, found.st_ino)
                names[key] += 1
                files += [(path, key)] if loosened(Kind.FILE, mode_of(Kind.FILE, shared=shared), _mode(found)) else []
        for path, key in files:
            with suppress(FileNotFoundError, NotADirectoryError):
                odd += [path] if _file(top, path, names[key], shared=shared, mend=mend) else []
    finally:
        os.close(top)
    return tuple(sorted(set(odd)))


def _walk(top: int) -> Iterator[tuple[str, int, os.stat_result]]:
    """Every folder and file below, each folder before what is in it; its descriptor is valid until the next step."""
    waiting = [""]
    while waiting:
        within = waiting.pop()
        try:
            holder = _opened(top, within)
        except OSError:
            continue
        try:
            for name in os.listdir(holder):
                path = f"{within}/{name}" if within else name
                fd = _named(name, holder)
                if fd is None:
                    continue
                try:
                    found = os.fstat(fd)
                    if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
                        yield path, fd, found
                    if stat.S_ISDIR(found.st_mode) and path.count("/") < DEEPEST:
                        waiting.append(path)
                finally:
                    os.close(fd)
        finally:
            os.close(holder)


def _named(name: str, holder: int) -> int | None:
    """What has that name in a folder; None where it is gone, or its folder may not be entered."""
    try:
        return os.open(name, _NAMED, dir_fd=holder)
    except OSError:
        return None


def _opened(top: int, path: str) -> int:
    """The folder at `path` below `top`. Raises OSError, for a link on the way too."""
    fd = os.dup(top)
    try:
        for name in path.split("/") if path else ():
            onward = os.open(name, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = onward
    except OSError:
        os.close(fd)
        raise
    return fd


def _file(top: int, path: str, names: int, *, shared: bool, mend: bool) -> bool:
    within, _, name = path.rpartition("/")
    holder = _opened(top, within)
    try:
        fd = os.open(name, _NAMED, dir_fd=holder)
    finally:
        os.close(holder)
    try:
        found = os.fstat(fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_nlink <= names
        return ours and _look(fd, Kind.FILE, shared=shared, mend=mend)
    finally:
        os.close(fd)


def _look(fd: int, kind: Kind, *, shared: bool, mend: bool) -> bool:
    """Whether the mode of what is open is not as it was made; with `mend` it is from now on."""
    wanted = mode_of(kind, shared=shared)
    if not loosened(kind, wanted, _mode(os.fstat(fd))):
        return False
    if mend:
        os.chmod(f"/proc/self/fd/{fd}", wanted)  # what was opened by O_PATH has no fchmod(2)
    return True


def _mode(found: os.stat_result) -> int:
    return stat.S_IMODE(found.st_mode)

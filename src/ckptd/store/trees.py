"""Unpacked trees on the disk: reading one back, giving one its name, and keeping the list of what belongs into it.

A tree gets its name by one exchange of names where the filesystem has that (renameat2(2)), and the old one lies aside
in the same instant, for whoever still uses it; elsewhere by two renames, between which there is no tree. Decides
nothing: what a difference means is the business of `core.tree` and of its callers. Blocks: run in a disk thread.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from pathlib import Path

from blake3 import blake3

from ckptd.core.models import PIECE
from ckptd.core.tree import TOP, Found, Kind, Tree, TreeMember, from_json, to_json, tree_of
from ckptd.errors import StorageError
from ckptd.store.atomic import write_atomically
from ckptd.store.inventory import no_folder
from ckptd.store.places import fsync_folder, make_folder, storage_error
from ckptd.store.publish import FILE_MODE
from ckptd.store.scrub import Progress, chunks, opened

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_OPENING = '{"blake3":"'
_BETWEEN = '","tree":'
_libc = ctypes.CDLL(None, use_errno=True)


def scan(folder: Path, progress: Progress, *, fresh: bool = False) -> Found:
    """What is in `folder` now, every file hashed from the medium, leaving the page cache as it was.

    Links are not followed. A folder that is not there has no members; what else stands in its place is named and not
    looked into. What cannot be read is in `unreadable`; `fresh` as in `scrub.chunks`.
    """
    members: dict[str, TreeMember] = {}
    unreadable: dict[str, str] = {}
    waiting = [""]
    try:
        top = folder.lstat().st_mode
    except FileNotFoundError:
        return Found(tree_of({}))
    except OSError as error:
        return Found(tree_of({}), {TOP: _why(error)})
    if not stat.S_ISDIR(top):
        return Found(tree_of({}), instead=no_folder(top))
    while waiting:
        within = waiting.pop()
        try:
            names = os.listdir(folder / within)
        except OSError as error:
            unreadable[within or TOP] = _why(error)
            continue
        for name in names:
            path = f"{within}/{name}" if within else name
            try:
                member = _member(folder, path, progress, fresh=fresh)
            except FileNotFoundError:
                continue
            except OSError as error:
                unreadable[path] = _why(error)
                member = TreeMember(path, Kind.FILE)
            members[path] = member
            if member.kind is Kind.FOLDER:
                waiting.append(path)
    return Found(tree_of(members), unreadable, mode=stat.S_IMODE(top))


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _member(folder: Path, path: str, progress: Progress, *, fresh: bool) -> TreeMember:
    found = os.lstat(folder / path)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        return TreeMember(path, Kind.FOLDER, mode=mode)
    if stat.S_ISLNK(found.st_mode):
        return TreeMember(path, Kind.LINK, target=os.readlink(folder / path))
    if not stat.S_ISREG(found.st_mode):
        return TreeMember(path, Kind.OTHER, mode=mode)
    sha256, size = hashlib.sha256(), 0
    with opened(folder / path) as file:
        for start in range(0, file.size, PIECE):
            for view in chunks(file, start, start + PIECE, fresh=fresh):
                sha256.update(view)
                size += len(view)
                progress(len(view))
    return TreeMember(path, Kind.FILE, size, sha256.hexdigest(), mode=mode)


def publish_tree(staging: Path, final: Path, aside: Path, *, group: int | None = None) -> Path | None:
    """Give an unpacked tree its name `final`; where the old tree lies now, in the folder `aside`, or None.

    All three are on one filesystem. The tree appears whole: killed at any instant there is the old one, the new one
    or, only where names cannot be exchanged, none until the next run. What a kill leaves in `aside` is for `prune`.
    Raises StorageError.
    """
    make_folder(final.parent, group)
    make_folder(aside, group)
    waiting = aside / f"{final.parent.name}.{os.urandom(6).hex()}"
    try:
        fd = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise StorageError(f"{final.parent} is not a folder of ours", hint="move it away and run again") from error
        raise storage_error(error, f"cannot open {final.parent}") from error
    try:
        old = _put(staging, fd, final, waiting)
        os.fsync(fd)
        fsync_folder(aside)
        fsync_folder(staging.parent)
    except OSError as error:
        raise storage_error(error, f"cannot publish {final}") from error
    finally:
        os.close(fd)
    return old


def _put(staging: Path, fd: int, final: Path, waiting: Path) -> Path | None:
    try:
        there = os.stat(final.name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(staging, final.name, dst_dir_fd=fd)
        return None
    if not stat.S_ISDIR(there.st_mode):
        raise StorageError(f"{final} is not a folder of ours", hint="move it away and run again")
    # First to where the old one shall lie: then the exchange alone does both.
    os.rename(staging, waiting)
    if not _exchanged(waiting, fd, final.name):
        new = waiting.with_name(f"{waiting.name}.new")
        os.rename(waiting, new)
        os.rename(final.name, waiting, src_dir_fd=fd)
        try:
            os.rename(new, final.name, dst_dir_fd=fd)
        except OSError:
            os.rename(waiting, final.name, dst_dir_fd=fd)
            raise
    return waiting


def _exchanged(path: Path, fd: int, name: str) -> bool:
    """Swap two names in one instant; False where the filesystem, kernel or C library cannot. Raises OSError."""
    try:
        renameat2 = _libc.renameat2
    except AttributeError:
        return False  # musl before 1.2.6, glibc before 2.28
    if renameat2(_HERE, os.fsencode(path), fd, os.fsencode(name), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code not in _NO_EXCHANGE:
        raise OSError(code, os.strerror(code))
    return False


def save_tree(tree: Tree, folder: Path, sha256: str, group: int | None = None) -> None:
    """Keep the list of what the archive with this SHA-256 unpacks to, durably. Raises StorageError."""
    make_folder(folder, group)
    text = to_json(tree)
    sealed = f"{_OPENING}{blake3(text.encode()).hexdigest()}{_BETWEEN}{text.rstrip()}}}\n"
    try:
        write_atomically(folder / sha256, sealed.encode(), FILE_MODE, group)
    except OSError as error:
        raise storage_error(error, f"cannot write {folder / sha256}") from error


def load_tree(folder: Path, sha256: str) -> Tree | None:
    """The list that `save_tree` kept, or None when there is none or it is not what was written."""
    try:
        sealed = (folder / sha256).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    body = len(_OPENING) + 64
    text = sealed[body + len(_BETWEEN) :].removesuffix("}\n") + "\n"
    wanted = f"{_OPENING}{blake3(text.encode()).hexdigest()}{_BETWEEN}"
    return from_json(text) if sealed.startswith(wanted) else None

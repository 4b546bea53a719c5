"""A folder in the making: members are written beneath it and nowhere else, and made durable together.

Every name is opened from the descriptor of the folder that holds it, without following links and only where nothing
stands yet (openat(2) with O_NOFOLLOW, O_CREAT and O_EXCL), so that neither an archive nor another process can lead a
write elsewhere. The folder is 0700 until it is settled. What may be written is decided by `core.members`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ckptd.core.members import mode_of
from ckptd.core.tree import Kind, TreeMember
from ckptd.errors import StorageError
from ckptd.store.places import filesystem_of, storage_error

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_OUT = 2  # SYNC_FILE_RANGE_WRITE: begin, do not wait
WRITE_OUT_EVERY = 16 * 1024 * 1024  # bytes of a file after which the disk may begin with them
MANY = 128  # files from which on one syncfs(2) is quicker than an fsync each
# There it is known to write everything out. That it reports what failed came with Linux 5.8.
_SYNCS_WHOLE = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_libc.syncfs.argtypes = (ctypes.c_int,)


def discard(folder: Path) -> None:
    """Remove a staging folder, or whatever stands under its name; nothing to do is fine. Raises StorageError."""
    try:
        if stat.S_ISDIR(folder.lstat().st_mode):
            shutil.rmtree(folder)  # from descriptors too: it follows no links
        else:
            folder.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(error, f"cannot remove {folder}") from error


class Staging:
    """The folder, open. Paths are relative, with slashes; all methods raise StorageError."""

    def __init__(self, path: Path, group: int | None) -> None:
        self._path = path
        self._group = group
        self._open: list[tuple[str, int]] = []  # the folders down to where the last member went

    def __enter__(self) -> Self:
        try:
            self._path.mkdir(0o700)
            self._root = os.open(self._path, _FOLDER)
        except OSError as error:
            raise storage_error(error, f"cannot make {self._path}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_from(0)
        os.close(self._root)

    def _close_from(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])

    def _folder(self, path: str) -> int:
        """The descriptor of the folder that holds `path`, valid until the next call."""
        names = path.split("/")[:-1]
        same = 0
        for (name, _), wanted in zip(self._open, names, strict=False):
            if name != wanted:
                break
            same += 1
        self._close_from(same)
        for name in names[same:]:
            self._open.append((name, os.open(name, _FOLDER, dir_fd=self._open[-1][1] if self._open else self._root)))
        return self._open[-1][1] if self._open else self._root

    def _error(self, error: OSError, path: str) -> StorageError:
        return storage_error(error, f"cannot write {self._path / path}")

    def make_folder(self, path: str) -> None:
        """A new folder in one that is there."""
        try:
            os.mkdir(_last(path), 0o700, dir_fd=self._folder(path))
        except OSError as error:
            raise self._error(error, path) from error

    def make_link(self, path: str, target: str) -> None:
        """A symbolic link. Its target is not looked at."""
        try:
            folder = self._folder(path)
            os.symlink(target, _last(path), dir_fd=folder)
            if self._group is not None:
                os.chown(_last(path), -1, self._group, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise self._error(error, path) from error

    def make_hard_link(self, path: str, file: str) -> None:
        """A second name for a file of ours."""
        try:
            source = os.dup(self._folder(file))
            try:
                os.link(
                    _last(file), _last(path), src_dir_fd=source, dst_dir_fd=self._folder(path), follow_symlinks=False
                )
            finally:
                os.close(source)
        except OSError as error:
            raise self._error(error, path) from error

    def make_file(self, path: str) -> NewFile:
        """A new file, open for writing."""
        try:
            return NewFile(os.open(_last(path), _NEW, 0o600, dir_fd=self._folder(path)), self._path, path)
        except OSError as error:
            raise self._error(error, path) from error

    def finish(self, file: NewFile, mtime: int | None) -> None:
        """Give a written file its group, mode and time (POSIX seconds), and close it."""
        try:
            if self._group is not None:
                os.fchown(file.fd, -1, self._group)
            os.fchmod(file.fd, mode_of(Kind.FILE, shared=self._group is not None))
            if mtime is not None:
                os.utime(file.fd, (mtime, mtime))
        except OSError as error:
            raise storage_error(error, f"cannot finish {file.path}") from error
        file.close()

    def settle(self, members: Mapping[str, TreeMember], mtimes: Mapping[str, int]) -> None:
        """Give every folder its group, mode and time, and make everything durable; then the top folder likewise."""
        files = [path for path, member in members.items() if member.kind is Kind.FILE]
        folders = [path for path, member in members.items() if member.kind is Kind.FOLDER]
        try:
            for path in sorted(folders, reverse=True):  # what is within comes before what it lies in
                self._settle_folder(path, mtimes.get(path))
            self._finish_folder(self._root, mtimes.get(""))
            if len(files) >= MANY and self._syncs_whole():
                if _libc.syncfs(self._root) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
            else:
                self._sync_each(files, folders)
        except OSError as error:
            raise storage_error(error, f"cannot finish {self._path}") from error

    def _settle_folder(self, path: str, mtime: int | None) -> None:
        fd = os.open(_last(path), _FOLDER, dir_fd=self._folder(path))
        try:
            self._finish_folder(fd, mtime)
        finally:
            os.close(fd)

    def _finish_folder(self, fd: int, mtime: int | None) -> None:
        if self._group is not None:
            os.fchown(fd, -1, self._group)
        os.fchmod(fd, mode_of(Kind.FOLDER, shared=self._group is not None))
        if mtime is not None:
            os.utime(fd, (mtime, mtime))

    def _syncs_whole(self) -> bool:
        major, minor, *_ = (*os.uname().release.split("."), "0")
        recent = major.isdigit() and (int(major), int("".join(c for c in minor if c.isdigit()) or 0)) >= (5, 8)
        return recent and filesystem_of(self._path) in _SYNCS_WHOLE

    def _sync_each(self, files: list[str], folders: list[str]) -> None:
        # fsync and not fdatasync: it takes modes and times along, and after the first there is little left to write.
        for path in files:
            self._sync(os.open(_last(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder(path)))
        for path in folders:
            self._sync(os.open(_last(path), _FOLDER, dir_fd=self._folder(path)))
        self._sync(os.dup(self._root))

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:  # some filesystems have no such thing for folders
                raise
        finally:
            os.close(fd)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


class NewFile:
    """A member that is being written. Raises StorageError."""

    def __init__(self, fd: int, root: Path, member: str) -> None:
        self.fd = fd
        self._root = root
        self._member = member
        self._written = 0
        self._begun = 0  # bytes that the disk was told to begin with

    @property
    def path(self) -> Path:
        """Where it is, for messages."""
        return self._root / self._member

    def write(self, data: memoryview) -> None:
        """Append all of `data`."""
        try:
            while data:
                count = os.write(self.fd, data)
                data = data[count:]
                self._written += count
            if self._written - self._begun >= WRITE_OUT_EVERY:
                # A hint, so that little is left for the fsync; what fails is told by that.
                _libc.sync_file_range(self.fd, self._begun, self._written - self._begun, _WRITE_OUT)
                self._begun = self._written
        except OSError as error:
            raise storage_error(error, f"cannot write {self.path}") from error

    def close(self) -> None:
        """Close it; network filesystems say only now what went wrong."""
        try:
            os.close(self.fd)
        except OSError as error:
            raise storage_error(error, f"cannot write {self.path}") from error

    def abandon(self) -> None:
        """Close it as it is."""
        with suppress(OSError):
            os.close(self.fd)

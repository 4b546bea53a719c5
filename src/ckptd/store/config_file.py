"""Config files of the operator's: read whole, replaced whole or not at all, with mode, owner and attributes kept.

A link is followed, and what it leads to is replaced: the link stays. Other hard links of the file keep the old
text. Knows no format, decides nothing about what is written.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ckptd.errors import ConfigError, StorageError
from ckptd.store.places import fsync_folder

LARGEST = 1024 * 1024  # bytes; nothing that is larger is a config that somebody wrote

_HINTS = {
    errno.EACCES: "run as somebody who may write the file and its folder",
    errno.EPERM: "run as somebody who may write the file and its folder",
    errno.ENOSPC: "free some space; the file is as it was",
    errno.EDQUOT: "the quota is used up; the file is as it was",
    errno.EROFS: "the filesystem is mounted read-only",
}


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A text file that was read; `path` is where it really lies, `found` what the filesystem said of it."""

    path: Path
    text: str
    found: os.stat_result


def read(path: Path) -> ConfigFile:
    """The whole file. Raises ConfigError when it is not there, not a file, not UTF-8 text, or over LARGEST."""
    try:
        real = Path(os.path.realpath(path, strict=True))
        # Without O_NONBLOCK a named pipe would wait for somebody to write into it.
        fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                what = "a folder; name the files in it" if stat.S_ISDIR(found.st_mode) else "not a file"
                raise ConfigError(f"{path} is {what}")
            with open(fd, "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise ConfigError(f"{path} is not there") from None
        raise ConfigError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST // 1024 // 1024} MiB, so it is no config")
    if b"\0" in content:
        raise ConfigError(f"{path} is not text")
    try:
        return ConfigFile(real, content.decode(), found)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from None


def replace(file: ConfigFile, text: str) -> bool:
    """Write `text` in place of what was read, durably; whether owner and group could be kept.

    Where they could not, another group than before may do no more than everybody. Raises StorageError
    when the file was changed since it was read, or cannot be written; then it is as it was.
    """
    try:
        if not os.access(file.path, os.W_OK, effective_ids=True):
            # A rename needs no leave of the file, only of its folder; we ask for it all the same.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return _replace(file, text.encode())
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(f"cannot write {file.path}: {reason}", hint=_HINTS.get(error.errno or 0, "")) from error


def _replace(file: ConfigFile, content: bytes) -> bool:
    temporary = file.path.with_name(f".ckptd-{os.urandom(8).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            kept = _like(fd, file)
            os.fsync(fd)
        finally:
            os.close(fd)
        if _mark(os.stat(file.path)) != _mark(file.found):
            raise StorageError(f"{file.path} was changed by somebody else just now", hint="run the command again")
        temporary.rename(file.path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(file.path.parent)
    return kept


def _mark(found: os.stat_result) -> tuple[int, int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _like(fd: int, file: ConfigFile) -> bool:
    """Give the new file owner, group, mode and extended attributes (access lists) of the old, as far as we may."""
    old = file.found
    with suppress(PermissionError):
        os.fchown(fd, -1, old.st_gid)
    with suppress(PermissionError):
        os.fchown(fd, old.st_uid, -1)
    now = os.fstat(fd)
    kept = (now.st_uid, now.st_gid) == (old.st_uid, old.st_gid)
    mode = stat.S_IMODE(old.st_mode)
    if not kept:
        mode &= 0o777
    if now.st_gid != old.st_gid:
        mode = mode & ~0o070 | mode & 0o070 & (mode & 0o007) << 3
    os.fchmod(fd, mode)
    if now.st_gid == old.st_gid:
        with suppress(OSError):
            for name in os.listxattr(file.path):
                with suppress(OSError):
                    os.setxattr(fd, name, os.getxattr(file.path, name))
    return kept

"""The lock on disk: read whole, written whole, last."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ckptd.core import lock as core_lock
from ckptd.core.models import Lock
from ckptd.errors import ConfigError
from ckptd.store.atomic import write_atomically
from ckptd.store.places import storage_error

MODE = 0o644
_NO_FILE = frozenset({errno.EISDIR, errno.ENXIO, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
LARGEST = 64 * 1024 * 1024  # bytes; nothing that is larger is a lock


def read(path: Path) -> Lock:
    """The lock, empty when there is none yet.

    Raises ConfigError when it cannot be used as it is, StorageError when it cannot be read.
    """
    try:
        # What stands in its place may be a pipe, at whose other end nobody is: that is not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _no_file(path)
            content = file.read(LARGEST)
        text = content.decode("utf-8")
    except FileNotFoundError:
        return Lock()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text", hint="restore it from version control or a backup") from None
    except OSError as error:
        if error.errno in _NO_FILE:
            raise _no_file(path) from None
        raise storage_error(error, f"cannot read {path}") from error
    return core_lock.parse(text, str(path))


def _no_file(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is no file, which the lock has to be", hint="move away what is there, or name another [store] lock"
    )


def write(path: Path, lock: Lock) -> None:
    """Replace the lock, durably. Raises StorageError; then the old one is as it was."""
    try:
        write_atomically(path, core_lock.render(lock).encode(), MODE)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error

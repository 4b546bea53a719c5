"""The lock on disk: read whole, written whole, last."""

from __future__ import annotations

from pathlib import Path

from ckptd.core import lock as core_lock
from ckptd.core.models import Lock
from ckptd.errors import ConfigError
from ckptd.store.atomic import write_atomically
from ckptd.store.places import storage_error

MODE = 0o644
LARGEST = 64 * 1024 * 1024  # bytes; nothing that is larger is a lock


def read(path: Path) -> Lock:
    """The lock, empty when there is none yet. Raises ConfigError when it cannot be used as it is."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
        text = content.decode("utf-8")
    except FileNotFoundError:
        return Lock()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text", hint="restore it from version control or a backup") from None
    except OSError as error:
        raise storage_error(error, f"cannot read {path}") from error
    return core_lock.parse(text, str(path))


def write(path: Path, lock: Lock) -> None:
    """Replace the lock, durably. Raises StorageError; then the old one is as it was."""
    try:
        write_atomically(path, core_lock.render(lock).encode(), MODE)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error

"""The manifest on disk as something to write: found or begun, locked, replaced whole, with its mode, group and owner.

Two that add at once lose nothing: each reads the manifest under a lock on its folder. What is written is decided in
`core.imports.additions`, how it looks in `core.manifest_edit`; here it is parsed as a manifest before it replaces one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ckptd.core import manifest as core_manifest
from ckptd.core.models import Checkpoint, Manifest
from ckptd.errors import BusyError, ConfigError
from ckptd.service.workplace import LARGEST, find_manifest
from ckptd.store.atomic import write_atomically
from ckptd.store.places import storage_error

LOCK_WAIT = 30.0  # seconds for somebody else who is writing the manifest
NEW_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Book:
    """A manifest on disk: where it was named, where it really is, and its text ("" when there is none yet)."""

    path: Path
    real: Path
    text: str
    manifest: Manifest
    found: os.stat_result | None


def target(given: str | None, environment: Mapping[str, str]) -> Path:
    """The manifest to write to: the one that every command finds, else a new one in this folder."""
    try:
        return find_manifest(given, environment)
    except ConfigError:
        return Path("manifest.toml")


def open_book(path: Path) -> Book:
    """Read a manifest that may not be there yet. Raises ConfigError for what is wrong with it."""
    real = Path(os.path.realpath(path))
    try:
        with real.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{path} is not a file")
            text = file.read(LARGEST).decode("utf-8")
    except FileNotFoundError:
        if not real.parent.is_dir():
            raise ConfigError(f"the folder of {path} is not there", hint="make it first") from None
        return Book(path, real, "", core_manifest.parse("", str(path)), None)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None
    return Book(path, real, text, core_manifest.parse(text, str(path)), found)


@contextmanager
def editing(path: Path) -> Iterator[Book]:
    """The manifest, while nobody else of us writes it. Raises BusyError when somebody does for too long."""
    place = Path(os.path.realpath(path)).parent
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"the folder of {path}: {os.strerror(error.errno or 0)}") from None
    try:
        _lock(fd, path)
        yield open_book(path)
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    """flock, with a bound on the wait; a filesystem without locks does without."""
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BusyError(f"somebody else is writing {path}", hint="run the command again") from None
            time.sleep(0.02)
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}:
                raise storage_error(error, f"cannot lock {path}") from error
            return
        else:
            return


def write(book: Book, checkpoints: Sequence[Checkpoint]) -> tuple[str, ...]:
    """Append entries to the manifest; notes for the operator. Raises ConfigError and StorageError, changing nothing."""
    from ckptd.core import manifest_edit  # noqa: PLC0415  # tomlkit is slow to import

    text = manifest_edit.append(book.text, checkpoints)
    return _put(book, text, (*book.manifest.checkpoints, *checkpoints))


def watch(book: Book, paths: Mapping[str, str]) -> tuple[str, ...]:
    """Write `in_place` into the entries of these names; notes for the operator. Raises as `write`."""
    from ckptd.core import manifest_edit  # noqa: PLC0415

    wanted = tuple(
        replace(each, in_place=paths[each.name]) if each.name in paths else each for each in book.manifest.checkpoints
    )
    return _put(book, manifest_edit.put_in_place(book.text, paths), wanted)


def _put(book: Book, text: str, wanted: tuple[Checkpoint, ...]) -> tuple[str, ...]:
    """Write a text that says just this."""
    made = core_manifest.parse(text, str(book.path))
    if made.checkpoints != wanted:
        raise ConfigError(f"{book.path} would not say what was meant", hint="nothing was written; please report it")
    try:
        return _replace(book, text.encode())
    except OSError as error:
        raise storage_error(error, f"cannot write {book.path}") from error


def _replace(book: Book, content: bytes) -> tuple[str, ...]:
    """As an editor would: mode, group and owner stay where that is allowed. Raises OSError."""
    old = book.found
    if old is None:
        write_atomically(book.real, content, NEW_MODE)
        return ()
    mode = stat.S_IMODE(old.st_mode)
    try:
        write_atomically(book.real, content, mode, old.st_gid)
    except PermissionError:
        # The group cannot be kept, so whoever is in ours gets no more than everybody.
        write_atomically(book.real, content, mode & ~0o070 | (mode & 0o007) << 3)
    if old.st_uid == os.geteuid():
        return ()
    try:
        os.chown(book.real, old.st_uid, -1)
    except PermissionError:
        return (f"{book.path} belongs to you now: only root can give it back to whom it belonged",)
    return ()

"""A second name for a file that is elsewhere on the store's filesystem. Blocking; proves nothing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from ckptd.errors import StorageError
from ckptd.store.places import Places, storage_error
from ckptd.store.publish import stamp


def link_beside(source: Path, mark: str, places: Places, name: str) -> Path:
    """A hard link to `source` among the partials, where a run that is killed leaves nothing behind for long.

    `mark` is the stamp of what was read: a file that was changed or replaced since is refused. Raises StorageError.
    """
    path = places.partials / f"{name}.link"
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        os.link(source, path, follow_symlinks=False)
        if stamp(path.lstat()) == mark:
            return path
        path.unlink()
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise StorageError(
                f"{source} is on another filesystem than {places.store}, and no hard link crosses that",
                hint="without --link it is copied; with --in-place it is watched where it is",
            ) from error
        raise storage_error(error, f"cannot link {source}") from error
    raise StorageError(f"{source} was changed while it was read", hint="run the command again when it is at rest")

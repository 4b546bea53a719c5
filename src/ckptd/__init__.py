"""ckptd: fetch pretrained checkpoints, prove them, and keep on proving them.

In a notebook or a training script:

    import ckptd
    weights = ckptd.path("resnet50_imagenet1k")
"""

from __future__ import annotations

from pathlib import Path

from ckptd.version import __version__

__all__ = ["__version__", "path"]


def path(name: str, *, kind: str | None = None, manifest: str | Path | None = None) -> Path:
    """Where the checkpoint `name` is: the prefix, folder or file that a config wants.

    The manifest is found as by the commands, unless it is given. `kind` chooses where there is more than one, such as
    "tensorflow". Imports nothing of the network. Raises `ckptd.errors.CkptdError`, whose text says what to run.
    """
    import os  # noqa: PLC0415  # whoever imports ckptd for its version alone pays nothing

    from ckptd.core.kinds import Kind  # noqa: PLC0415
    from ckptd.errors import CkptdError, ConfigError  # noqa: PLC0415
    from ckptd.service.locate import usable_path  # noqa: PLC0415
    from ckptd.service.workplace import enter, find_manifest  # noqa: PLC0415

    try:
        wanted = None if kind is None else Kind(kind)
    except ValueError:
        raise ConfigError(f"there is no kind {kind!r}; known: {', '.join(Kind)}") from None
    place = enter(find_manifest(None if manifest is None else str(manifest), os.environ), (name,))
    if len(place.selected) != 1:
        raise ConfigError(f"{name} means {len(place.selected)} checkpoints; name one")
    try:
        return Path(usable_path(place, place.selected[0], wanted))
    except CkptdError as error:
        error.message += f"; {error.hint}" if error.hint else ""
        raise

"""What every command stands on: the manifest, the lock, and where things are.

Reads the two documents and decides nothing; imports nothing that is slow to import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptd.core import manifest as core_manifest
from ckptd.core.models import Checkpoint, Lock, Manifest
from ckptd.errors import ConfigError
from ckptd.store import lockfile
from ckptd.store.places import Places, locate

SYSTEM_MANIFEST = Path("/etc/ckptd/manifest.toml")
LARGEST = 64 * 1024 * 1024  # bytes; nothing that is larger is a manifest


@dataclass(frozen=True, slots=True)
class Workplace:
    """A manifest that was read, the lock beside it, and the checkpoints that a command is about."""

    path: Path
    manifest: Manifest
    places: Places
    lock: Lock
    selected: tuple[Checkpoint, ...]


def find_manifest(given: str | None, environment: Mapping[str, str]) -> Path:
    """The manifest to use, in the contract's order. Raises ConfigError when there is none."""
    named = given or environment.get("CKPTD_MANIFEST")
    if named:
        return Path(named)
    here = Path("manifest.toml")
    if here.exists():
        return here
    if SYSTEM_MANIFEST.exists():
        return SYSTEM_MANIFEST
    raise ConfigError(
        f"no manifest: looked for ./manifest.toml and {SYSTEM_MANIFEST}",
        hint="name one with --manifest PATH or CKPTD_MANIFEST",
    )


def enter(manifest_path: Path, wanted: Sequence[str]) -> Workplace:
    """Read manifest and lock. Raises ConfigError for whatever is wrong with them or with `wanted`."""
    manifest = core_manifest.parse(_read(manifest_path), str(manifest_path))
    selected = core_manifest.select(manifest.checkpoints, wanted)
    places = locate(manifest, manifest_path)
    return Workplace(manifest_path, manifest, places, lockfile.read(places.lock), selected)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there", hint="name the manifest with --manifest PATH") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None

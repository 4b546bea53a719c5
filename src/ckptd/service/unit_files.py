"""Finds the shipped files for systemd: beside the package, or in the repository it runs from. Installs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ckptd.core.unit_files import SERVICE, Here, copies, instructions
from ckptd.errors import MissingError
from ckptd.service.workplace import Workplace

FOLDER = "systemd"


def folder() -> Path:
    """Where the files are. Raises MissingError."""
    package = Path(__file__).parent.parent
    # Installed, they are part of the package; an editable install has them where they are written.
    for found in (package / FOLDER, package.parent.parent / FOLDER):
        if (found / SERVICE).is_file():
            return found
    raise MissingError(
        f"the unit files are not there: looked in {package / FOLDER}",
        hint="install ckptd from its wheel, or take them from the source",
    )


def names(where: Path) -> list[str]:
    """The files, relative to their folder. Raises OSError."""
    return sorted(str(path.relative_to(where)) for path in where.rglob("*") if path.is_file())


def how_to_install(workplace: Workplace | None) -> tuple[list[str], list[dict[str, str]]]:
    """What to type, and which file goes where. Raises MissingError."""
    where = folder()
    found = names(where)
    here = Here(
        program=os.path.abspath(sys.argv[0]),
        manifest="" if workplace is None else str(workplace.path.absolute()),
        store="" if workplace is None else str(workplace.places.store),
    )
    service = (where / SERVICE).read_text(encoding="utf-8", errors="replace")
    files = [{"file": str(where / each.file), "to": each.to} for each in copies(found)]
    return instructions(str(where), found, service, here), files

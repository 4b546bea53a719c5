"""`use`: config files name the checkpoint that is there. All of them are read and decided on before one is written.

Where the value stands, and what is put there, is decided in `core.configs`; what the path is, in `status`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptd.core.configs import Edited, Wanted, difference, edit
from ckptd.core.kinds import Kind, recognise_file
from ckptd.core.models import Checkpoint
from ckptd.errors import CkptdError, ConfigError
from ckptd.service.locate import usable_path
from ckptd.service.workplace import Workplace
from ckptd.store import config_file
from ckptd.store.config_file import ConfigFile

LONGEST_LIST = 10_000  # files that the patterns of one rule may mean


@dataclass(frozen=True, slots=True)
class Target:
    """A config file that was read, as it was named, and what it should be."""

    path: str
    file: ConfigFile
    edited: Edited

    @property
    def difference(self) -> list[str]:
        """A unified diff, line by line; empty when nothing changes."""
        return difference(self.path, self.file.text, self.edited.text)


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of one file, or one pattern, of a rule of the manifest."""

    path: str
    edited: Edited | None = None
    error: CkptdError | None = None
    note: str = ""


def prepare(workplace: Workplace, paths: Sequence[str], value: str, wanted: Wanted) -> list[Target]:
    """Decide on every file, each once; writes nothing.

    Raises ConfigError, one line for each file in which `value` cannot be written.
    """
    found: list[Target] = []
    complaints: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        try:
            target = _prepare(workplace, path, value, wanted)
        except ConfigError as error:
            complaints.append(error.message)
            continue
        if target.file.path not in seen:
            seen.add(target.file.path)
            found.append(target)
    if complaints:
        raise ConfigError("\n".join(complaints), hint="Nothing was written.")
    return found


def _prepare(workplace: Workplace, path: str, value: str, wanted: Wanted) -> Target:
    file = config_file.read(Path(path))
    for folder in (workplace.places.store, workplace.places.state):
        if file.path.is_relative_to(os.path.realpath(folder)):
            raise ConfigError(f"{path} lies in the store, where nothing is changed; copy it elsewhere")
    for own in (workplace.path, workplace.places.lock):
        if file.path == Path(os.path.realpath(own)):
            raise ConfigError(f"{path} is a file of ckptd's own, not a config of a model")
    return Target(path, file, edit(file.text, path, value, wanted))


def write(target: Target) -> str:
    """Write what is different; a note for the operator, or "". Raises StorageError, and then the file is as it was."""
    if not target.edited.changed:
        return ""
    kept = config_file.replace(target.file, target.edited.text)
    return "" if kept else f"{target.path} could not keep its owner and group"


def note(checkpoint: Checkpoint, value: str) -> str:
    """What to say of a path that a config can hardly use, or ""."""
    if recognise_file(Path(value).name).kind != Kind.ARCHIVE:
        return ""
    return f"{checkpoint.name} is an archive, and programs want what is in it: set unpack = true in the manifest"


def expand(folder: Path, patterns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The files that each pattern means, in order, with `**` for any folders below; relative ones from `folder`."""
    for pattern in patterns:
        whole = os.path.join(glob.escape(str(folder)), pattern)
        matches = (path for path in glob.iglob(whole, recursive=True) if os.path.isfile(path))
        found = [path for path, _ in zip(matches, range(LONGEST_LIST), strict=False)]
        yield pattern, sorted(found)


def follow(workplace: Workplace, checkpoint: Checkpoint, patterns: Sequence[str], wanted: Wanted) -> list[Followed]:
    """Keep the files of one rule pointing at the checkpoint as it is now. One bad file never stops the others.

    Raises MissingError when the checkpoint is not there. Blocks: run in a disk thread where there is a loop.
    """
    value = usable_path(workplace, checkpoint)
    done: dict[str, Followed] = {}
    for pattern, paths in expand(workplace.path.absolute().parent, patterns):
        if not paths:
            done[pattern] = Followed(pattern, error=ConfigError(f"{pattern} matches no file"))
        for path in paths:
            if path not in done:
                done[path] = _follow(workplace, path, value, wanted)
    return list(done.values())


def _follow(workplace: Workplace, path: str, value: str, wanted: Wanted) -> Followed:
    try:
        target = _prepare(workplace, path, value, wanted)
        return Followed(path, target.edited, note=write(target))
    except CkptdError as error:
        return Followed(path, error=error)


def follow_all(workplace: Workplace, names: Collection[str]) -> list[str]:
    """Keep the files of every `[[use]]` about one of `names` pointing at it; what there is to say. Blocks."""
    known = {checkpoint.name: checkpoint for checkpoint in workplace.manifest.checkpoints}
    said = []
    for use in workplace.manifest.uses:
        if use.checkpoint not in names:
            continue
        try:
            followed = follow(workplace, known[use.checkpoint], use.files, Wanted(use.key))
        except CkptdError as error:
            said.append(f"{use.checkpoint}: its configs were not touched: {error.message}")
            continue
        for each in followed:
            if each.error is not None:
                said.append(f"{use.checkpoint}: {each.error.message}")
            elif each.edited is not None and each.edited.changed:
                said.append(f"{use.checkpoint}: {each.path} points at it now")
            said += [each.note] if each.note else []
    return said

"""The path of a checkpoint that a config, a script or a notebook wants: a prefix, a folder, a file.

Reads names and a few small texts of a tree; no file bodies, no network, nothing that is slow to import.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ckptd.core.kinds import HEAD_NEEDED, LARGEST_TEXT, Find, Kind, choose, recognise_file, recognise_tree, texts_needed
from ckptd.core.models import Checkpoint
from ckptd.errors import MissingError
from ckptd.service.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Located:
    """One path that a config could want, absolute, and what it is."""

    kind: Kind
    path: str
    missing: tuple[str, ...] = ()  # shards that are not there


def archive_path(workplace: Workplace, checkpoint: Checkpoint) -> Path:
    """Where the verified file of `checkpoint` is. Raises MissingError when it is not there, or not whole."""
    final = workplace.places.final(checkpoint)
    entry = workplace.lock.entries.get(checkpoint.name)
    hint = f"run `ckptd sync {checkpoint.name}`"
    if checkpoint.in_place is None:
        _refuse_links(workplace, checkpoint, final)
    if entry is None:
        raise MissingError(f"{checkpoint.name} is not locked: it was never fetched", hint=hint)
    try:
        size = workplace.places.opened(final).lstat().st_size
    except OSError:
        raise MissingError(f"{checkpoint.name} is not there: {final} is missing", hint=hint) from None
    if size != entry.size:
        raise MissingError(f"{checkpoint.name} is damaged: {size} bytes instead of {entry.size}", hint=hint)
    return final


def candidates(workplace: Workplace, checkpoint: Checkpoint) -> tuple[tuple[Find, ...], Path]:
    """What there is of `checkpoint`, likeliest first, and what its paths are relative to. Raises MissingError."""
    if not checkpoint.unpack:
        final = archive_path(workplace, checkpoint)
        return (recognise_file(final.name, _head(final)),), final
    tree = workplace.places.tree(checkpoint.name)
    _refuse_links(workplace, checkpoint, tree)
    if workplace.lock.entries.get(checkpoint.name) is None or not tree.is_dir():
        hint = f"run `ckptd sync {checkpoint.name}`"
        what = "is no folder" if tree.exists() else "is missing"
        raise MissingError(f"{checkpoint.name} is not unpacked: {tree} {what}", hint=hint)
    files = [os.path.relpath(os.path.join(folder, name), tree) for folder, _, names in os.walk(tree) for name in names]
    return recognise_tree(files, {path: _text(tree / path) for path in texts_needed(files)}), tree


def located(workplace: Workplace, checkpoint: Checkpoint, kind: Kind | None = None) -> tuple[Located, ...]:
    """Every path of `checkpoint` that a config could want (of one kind, if one is asked for), likeliest first.

    Raises MissingError.
    """
    finds, base = candidates(workplace, checkpoint)
    return tuple(_absolute(find, base) for find in finds if kind is None or find.kind == kind)


def usable_path(workplace: Workplace, checkpoint: Checkpoint, kind: Kind | None = None) -> str:
    """The one path that a config should name. Raises MissingError when there is none, or more than one."""
    finds, base = candidates(workplace, checkpoint)
    chosen = [_absolute(find, base) for find in choose(finds, kind)]
    if len(chosen) == 1 and not chosen[0].missing:
        return chosen[0].path
    listed = "".join(f"\n  {each.kind}: {each.path}" for each in (_absolute(find, base) for find in finds))
    if len(chosen) == 1:
        lost = ", ".join(chosen[0].missing[:3])
        raise MissingError(f"{chosen[0].path} lacks {lost}", hint=f"run `ckptd verify {checkpoint.name}`")
    if not chosen:
        raise MissingError(f"{checkpoint.name} has nothing of kind {kind}; there is:{listed}")
    raise MissingError(
        f"{checkpoint.name} has {len(chosen)} paths that a config could want:{listed}",
        hint="choose with --kind, or print all with --all",
    )


def kind_of(workplace: Workplace, checkpoint: Checkpoint) -> Kind | None:
    """Of which kind is what a config wants of `checkpoint`; None where nothing of it is there. A file by its name."""
    final = workplace.places.final(checkpoint)
    if not checkpoint.unpack:
        return recognise_file(final.name).kind if os.path.lexists(final) else None
    try:
        finds, _ = candidates(workplace, checkpoint)
    except MissingError:
        return None
    return choose(finds)[0].kind


def _refuse_links(workplace: Workplace, checkpoint: Checkpoint, path: Path) -> None:
    """No path leads through a link in our own folders, which somebody else has put there. Raises MissingError."""
    for each in (workplace.places.folder(checkpoint.name), path):
        if each.is_symlink():
            repair = f"run `ckptd verify --repair {checkpoint.name}`"
            hint = repair if each == path else "move the link away, and run `ckptd sync`"
            raise MissingError(f"{checkpoint.name} is damaged: a link stands in place of {each}", hint=hint)


def _absolute(find: Find, base: Path) -> Located:
    return Located(find.kind, str(base / find.path) if find.path else str(base), find.missing)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_NEEDED)
    except OSError:
        return b""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""

"""What an import finds: files that may become checkpoints, links that may not and why, and what was not even looked at.

Only the words that the readers of this folder share; nothing here decides what is a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ckptd.core.imports.links import key


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file behind a URL, and what its source says about it. Nothing is checked yet."""

    url: str
    mirrors: tuple[str, ...] = ()
    sha256: str | None = None
    size: int | None = None  # bytes
    file_name: str = ""  # what the source calls the file; empty: as its URL does
    names: tuple[str, ...] = ()  # proposals for its name, best first; empty: made from the file name
    title: str = ""  # what it is, in few words: a name where the file is called "model.pth"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A link that did not become an entry. `name` is the checkpoint that has it already, if that is why."""

    url: str
    reason: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source held. `left_out` counts links that are no checkpoints, by what they are ("paper": 2)."""

    candidates: tuple[Candidate, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def merged(found: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each URL once, in the order of first appearance. What only a later mention knows is taken over."""
    kept: dict[str, Candidate] = {}
    for each in found:
        first = kept.setdefault(key(each.url), each)
        if first is not each:
            kept[key(each.url)] = replace(
                first,
                mirrors=tuple(dict.fromkeys((*first.mirrors, *each.mirrors))),
                sha256=first.sha256 or each.sha256,
                size=first.size if first.size is not None else each.size,
                title=first.title or each.title,
                description=first.description or each.description,
            )
    return tuple(kept.values())

"""What an import finds: files that may become checkpoints, links that may not and why, and what was not even looked at.

Only the words that the readers of this folder share; nothing here decides what is a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ckptd.core.document import shown
from ckptd.core.imports.links import key
from ckptd.core.urls import redact


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


def contradictions(found: Iterable[tuple[str, Candidate]]) -> list[str]:
    """Where two of these say another SHA-256 of one URL; each comes with the place where it stands ("line 3")."""
    first: dict[str, tuple[str, Candidate]] = {}
    said = []
    for place, each in found:
        if each.sha256 is not None:
            before, other = first.setdefault(key(each.url), (place, each))
            if other.sha256 != each.sha256:
                called = shown(each.file_name or redact(each.url))
                said.append(f"{place}: {called} has another SHA-256 than in {before}; which one is right?")
    return said


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

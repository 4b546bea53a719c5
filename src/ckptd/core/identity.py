"""Who is who: the same bytes under two names, one URL locked as two files, one name that was other bytes before.

None of these is an error, and each is worth knowing: a training run that compares two checkpoints which are one, or a
name that no longer means what it meant in last year's paper. Looks at digests and URLs; reads no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.models import LockEntry
from ckptd.core.urls import redact, strip_for_lock

SHORT = 12  # hex digits of a digest that people need to tell it from another


class Kind(StrEnum):
    """What was found."""

    SAME_BYTES = "same-bytes"  # one sha256 under several names
    SAME_URL = "same-url"  # one URL, several sha256
    HISTORY = "history"  # one name, several sha256 over time


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing. `sha256` in the order of `names`; of a history, oldest first."""

    kind: Kind
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    message: str
    url: str = ""


def findings(
    entries: Iterable[LockEntry],
    history: Mapping[str, Sequence[str]],
    about: Collection[str] | None = None,
) -> tuple[Finding, ...]:
    """What is worth knowing about the names `about` (None: all), each with the others that it touches.

    Args:
        entries: of the lock.
        history: by name, the sha256 that its bytes should have had at each visit, oldest first; empty ones unknown.
        about: the names that somebody asked about.
    """
    locked = sorted(entries, key=lambda entry: entry.name)
    found = [*_same_bytes(locked), *_same_url(locked), *_histories(locked, history)]
    return tuple(each for each in found if about is None or not set(each.names).isdisjoint(about))


def _same_bytes(entries: Sequence[LockEntry]) -> Iterable[Finding]:
    by_digest: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_digest[entry.sha256].append(entry.name)
    for sha256, names in by_digest.items():
        if len(names) > 1:
            message = f"{_listed(names)} are the same bytes (sha256 {_short(sha256)})"
            yield Finding(Kind.SAME_BYTES, tuple(names), (sha256,) * len(names), message)


def _same_url(entries: Sequence[LockEntry]) -> Iterable[Finding]:
    by_url: dict[str, list[LockEntry]] = defaultdict(list)
    for entry in entries:
        by_url[strip_for_lock(entry.url)].append(entry)
    for url, group in by_url.items():
        if len({entry.sha256 for entry in group}) > 1:
            shown = redact(url)
            said = [f"{entry.name} (sha256 {_short(entry.sha256)})" for entry in group]
            message = f"{_listed(said)} are different bytes from one URL, {shown}"
            digests = tuple(entry.sha256 for entry in group)
            yield Finding(Kind.SAME_URL, tuple(entry.name for entry in group), digests, message, shown)


def _histories(entries: Sequence[LockEntry], history: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
    for entry in entries:
        # Where the lock goes back to bytes of before, they are the last ones all the same.
        before = dict.fromkeys(each for each in history.get(entry.name, ()) if each and each != entry.sha256)
        if before:
            digests = (*before, entry.sha256)
            said = ", ".join(map(_short, before))
            message = f"{entry.name} was other bytes before: sha256 {said}, now {_short(entry.sha256)}"
            yield Finding(Kind.HISTORY, (entry.name,), digests, message, redact(entry.url))


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _short(digest: str) -> str:
    return f"{digest[:SHORT]}.."

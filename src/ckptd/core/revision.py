"""Which commit of a Hugging Face repository bytes came from, and the address that goes on serving them. No I/O.

`resolve/main/` moves on with every commit; `X-Repo-Commit` beside it says which one answered, and `resolve/<commit>/`
stays. A commit is an address and proves nothing: that the bytes are the locked ones, their digest decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ckptd.core.models import LockEntry
from ckptd.core.urls import normalise, strip_for_lock

if TYPE_CHECKING:  # every lock is read with what is said here, and by commands that ask nobody
    from ckptd.core.response import Head, Validator

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # of git with SHA-1, and with SHA-256
HEADER = "x-repo-commit"

_RESOLVE = re.compile(
    r"(?P<origin>https?://[^/?#]*)(?P<folder>/(?:[^/?#]+/)+?)resolve/"
    r"(?P<revision>refs/(?:pr/[0-9]+|convert/[^/?#]+)|[^/?#]+)/(?P<path>[^?#]+)(?P<rest>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Resolve:
    """The parts of `https://host/folder/resolve/revision/path`; `folder` ends with the repository, and in a slash."""

    origin: str
    folder: str
    revision: str
    path: str
    rest: str  # query and fragment

    def serves(self, other: Resolve) -> bool:
        """Whether this is a file of `other`'s repository, if need be at another endpoint, whose path may be deeper."""
        return self.path == other.path and self.folder.endswith(other.folder)


def parse(url: str) -> Resolve | None:
    """The parts of an `hf://` URL, or of an http(s) one of that form; None for any other."""
    try:
        found = _RESOLVE.fullmatch(normalise(url))
    except ValueError:
        return None
    return None if found is None else Resolve(**found.groupdict())


def commit_of(url: str, heads: Iterable[Head]) -> str:
    """The commit that an answer to `url` speaks of, by the first of its `heads` (redirects, then the answer) that says.

    Empty where none says, or `url` is no address of a repository's file.
    """
    said = next((value.strip() for head in heads if (value := head.get(HEADER))), "")
    return said if COMMIT.fullmatch(said) and parse(url) is not None else ""


def learnt(url: str, locked: LockEntry | None, validators: Mapping[str, Validator]) -> str | None:
    """The commit that the lock should name for bytes from `url`; None where it should name none, or keep what it has.

    Args:
        url: the manifest's.
        locked: the entry whose bytes these had to be; one for the same URL stays as it is.
        validators: what the answers said that the bytes came from, by source URL without query.
    """
    wanted = parse(url)
    if wanted is None or COMMIT.fullmatch(unquote(wanted.revision)):
        return None
    if locked is not None and locked.url == strip_for_lock(url):
        return None
    for key, validator in validators.items():
        source = parse(key)
        if validator.commit and source is not None and source.serves(wanted):
            return validator.commit
    return None


def kept(before: LockEntry | None, entry: LockEntry) -> LockEntry:
    """`entry` with the commit that the lock had `before`, where it is of the same bytes from the same URL.

    A repository moves on for many reasons: equal bytes keep an equal lock.
    """
    if before is None or (before.sha256, before.url) != (entry.sha256, entry.url):
        return entry
    return replace(entry, revision=before.revision or entry.revision)


def pinned(url: str, entry: LockEntry) -> str | None:
    """`url` at the commit that `entry` names; None where it is no address of that repository's file."""
    wanted, source = parse(entry.url), parse(url)
    if entry.revision is None or wanted is None or source is None or not source.serves(wanted):
        return None
    return f"{source.origin}{source.folder}resolve/{entry.revision}/{source.path}{source.rest}"


def steady(url: str, urls: Sequence[str], entry: LockEntry | None) -> tuple[str, ...]:
    """`urls` with each address of the locked repository at the locked commit; empty where that changes none.

    `url` is the manifest's: where it is not the locked one any more, the new one has to serve the locked bytes.
    """
    if entry is None or entry.url != strip_for_lock(url):
        return ()
    found = tuple(dict.fromkeys(pinned(url, entry) or url for url in urls))
    return () if found == tuple(urls) else found

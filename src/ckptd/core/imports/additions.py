"""Candidates against a manifest: which become entries, under which names, and why the others do not.

The one place that decides what an import or `ckptd add` writes. Reads and writes no text: see `manifest_edit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate

from ckptd.core import schema
from ckptd.core.document import shown
from ckptd.core.imports.candidates import Candidate, Skipped
from ckptd.core.imports.links import key, secret_in, split
from ckptd.core.models import Checkpoint
from ckptd.core.naming import assign, proposals
from ckptd.core.urls import is_loopback_host, redact
from ckptd.errors import ConfigError

PLAIN_HTTP = "is plain http, which can be changed on the way: use https, give its sha256, or say --allow-http"
ADVICE = 'name the address without it; a token belongs into [auth."host"], and a manifest is read by others'


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator wants of every new entry. `match`: globs, or parts of URL, file name or description.

    `name` is for a single candidate, and is given or refused, never changed.
    """

    match: tuple[str, ...] = ()
    name: str | None = None
    tags: tuple[str, ...] = ()
    unpack: bool = False
    https: bool = False  # ask for plain http links over https
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class Additions:
    """What is to be appended, in order, and what is not. `present`: those of `skipped` that are there already."""

    checkpoints: tuple[Checkpoint, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def present(self) -> tuple[Skipped, ...]:
        return tuple(each for each in self.skipped if each.name)


def decide(candidates: Iterable[Candidate], existing: Sequence[Checkpoint], wishes: Wishes) -> Additions:
    """What becomes of each candidate that `wishes.match` lets through. Raises ConfigError for a bad tag or name."""
    tags = _tags(wishes.tags)
    known = {key(url): each for each in reversed(existing) for url in (*each.mirrors, each.url)}
    wanted = _matcher(wishes.match)
    kept: list[tuple[Candidate, str]] = []  # with the file name of its URL
    skipped: list[Skipped] = []
    for candidate in candidates:
        if not wanted(candidate):
            continue
        each = _over_https(candidate) if wishes.https else candidate
        own = _refused_or_named(each, allow_http=wishes.allow_http)
        refusal = own if isinstance(own, Skipped) else _known(each, known.get(key(each.url)))
        if refusal is not None:
            skipped.append(refusal)
        elif isinstance(own, str):
            kept.append((each, own))
    if wishes.name is not None:
        names = _given(wishes.name, len(kept), existing)
    else:
        wanted_names = [each.names or proposals(each.url, each.file_name or own, each.title) for each, own in kept]
        names = assign(wanted_names, [each.name for each in existing])
    found = (
        Checkpoint(
            name=name,
            url=each.url,
            file_name=own,
            mirrors=each.mirrors,
            sha256=each.sha256,
            size=each.size,
            unpack=wishes.unpack,
            tags=tags,
            description=each.description,
            allow_http=wishes.allow_http and each.sha256 is None and any(map(_is_open, (each.url, *each.mirrors))),
        )
        for name, (each, own) in zip(names, kept, strict=True)
    )
    return Additions(tuple(found), tuple(skipped))


def _given(name: str, count: int, existing: Sequence[Checkpoint]) -> tuple[str, ...]:
    try:
        schema.name(name)
    except ValueError as error:
        raise ConfigError(f"--name {shown(name)} {error}") from None
    other = next((each for each in existing if each.name.lower() == name.lower()), None)
    if other is not None and count:
        raise ConfigError(
            f"the name {name} already belongs to {redact(other.url)}", hint="choose another name, or edit that entry"
        )
    return (name,) * count


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    for each in tags:
        try:
            schema.tag(each)
        except ValueError as error:
            raise ConfigError(f"--tag {shown(each)} {error}") from None
    return tuple(dict.fromkeys(tags))


def _matcher(patterns: Sequence[str]) -> Callable[[Candidate], bool]:
    """Whether a candidate fits any of the patterns, without regard to case; every one does when there are none."""
    globs = [
        re.compile(translate(each if any(char in each for char in "*?[") else f"*{each}*"), re.IGNORECASE)
        for each in patterns
    ]

    def wanted(candidate: Candidate) -> bool:
        last = re.split(r"[?#]", candidate.url, maxsplit=1)[0].rpartition("/")[2]
        texts = (candidate.url, last, candidate.file_name, candidate.title, candidate.description)
        return any(glob.match(text) for glob in globs for text in texts)

    return wanted if globs else lambda _: True


def _over_https(candidate: Candidate) -> Candidate:
    def over(url: str) -> str:
        return f"https{url[4:]}" if _is_open(url) else url

    return Candidate(
        over(candidate.url),
        tuple(map(over, candidate.mirrors)),
        candidate.sha256,
        candidate.size,
        candidate.file_name,
        candidate.names,
        candidate.title,
        candidate.description,
    )


def _refused_or_named(candidate: Candidate, *, allow_http: bool) -> Skipped | str:
    """Why a candidate cannot be an entry at all, or the name of its file."""
    for url in (candidate.url, *candidate.mirrors):
        secret = secret_in(url)
        if secret is not None:
            return Skipped(redact(url), f"{secret}, which does not belong into a manifest: {ADVICE}")
        try:
            schema.url(url)
        except ValueError as error:
            return Skipped(redact(url), str(error))
        if _is_open(url) and candidate.sha256 is None and not allow_http:
            return Skipped(url, PLAIN_HTTP)
    try:
        return schema.file_url(candidate.url)[1]
    except ValueError as error:
        return Skipped(redact(candidate.url), str(error))


def _known(candidate: Candidate, there: Checkpoint | None) -> Skipped | None:
    """What to say of a URL that the manifest has already."""
    if there is None:
        return None
    other = candidate.sha256 is not None and candidate.sha256 != there.sha256
    lacks = f", with{'out this' if there.sha256 is None else ' another'} sha256" if other else ""
    return Skipped(candidate.url, f"already there as {there.name}{lacks}", there.name)


def _is_open(url: str) -> bool:
    """Whether others on the way could change what `url` serves: the manifest's own rule."""
    if not url.lower().startswith("http://"):
        return False
    try:
        return not is_loopback_host(split(url).hostname or "")
    except ValueError:
        return True

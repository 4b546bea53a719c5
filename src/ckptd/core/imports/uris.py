"""Lists of URLs: aria2 input files (the section "Input File" of aria2c(1)), and plain lists, one URL a line.

Every URL is meant, so nothing is left out for its kind. A line that looks like one and is none is an error that names
it; words between URLs, which people write, are told and passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ckptd.core.document import shown
from ckptd.core.imports.candidates import Candidate, Reading, Skipped, contradictions, merged
from ckptd.core.imports.links import UNUSABLE, absolute
from ckptd.core.imports.lists import lines, settle, shortened, unpinned_note
from ckptd.core.schema import sha256
from ckptd.core.urls import redact, redact_text

_URI = re.compile(r"(?:[a-z][a-z0-9+.-]*://|magnet:)\S+(?:\t+\S+)*\s*", re.IGNORECASE)
_OPTION = re.compile(r"\s+(?P<key>[a-z][a-z0-9-]*)=(?P<value>.*)")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_FETCHED = ("http://", "https://", "gs://", "s3://", "hf://")


@dataclass(frozen=True, slots=True)
class _Group:
    """The URIs of a line, and the options below it with the numbers of their lines."""

    number: int
    uris: tuple[str, ...]
    options: dict[str, tuple[int, str]] = field(default_factory=dict)


def is_uris(line: str) -> bool:
    """Whether a line may be of an aria2 input file or a list of URLs."""
    return bool(_URI.fullmatch(line.lstrip()) or _OPTION.fullmatch(line))


def read_uris(text: str) -> Reading:
    """An aria2 input file, or a list of URLs, one a line. URIs on one line, separated by TAB, are mirrors.

    Of aria2's options `checksum` and `out` are read; the others (which may hold passwords) are not even kept. Words on
    a line of their own are noted. Raises ConfigError for a line that begins as a URI and is none, for an option that
    belongs to none, for a checksum that cannot be, and where there is nothing but words.
    """
    groups: list[_Group] = []
    wrong: list[str] = []
    words: list[str] = []
    for number, line in lines(text):
        option = _OPTION.fullmatch(line)
        if option is not None and groups:
            groups[-1].options.setdefault(option["key"], (number, option["value"].strip()))
        elif _URI.fullmatch(line.lstrip()):
            groups.append(_Group(number, tuple(dict.fromkeys(line.split()))))
        else:
            told = wrong if option is not None or "://" in line else words
            plain = redact_text(line.strip().partition("=")[0])  # an option's value may be a password
            told.append(f"line {number}: {shown(plain)} is neither a URL nor an option of one")
    found: list[tuple[str, Candidate]] = []
    skipped: list[Skipped] = []
    unpinned = 0
    for group in groups:
        usable = _usable(group, skipped)
        try:
            pin = _checksum(*group.options["checksum"]) if "checksum" in group.options else None
        except ValueError as error:
            wrong.append(str(error))
            continue
        unpinned += "checksum" in group.options and pin is None
        out = group.options.get("out", (0, ""))[1].rpartition("/")[2]
        if usable:
            found.append((f"line {group.number}", Candidate(usable[0], usable[1:], pin, file_name=out)))
    settle(wrong or contradictions(found) or ([] if groups else words))
    notes = (*shortened([f"{each}; it was passed over" for each in words]), *unpinned_note(unpinned))
    return Reading(merged(each for _, each in found), tuple(skipped), notes=notes)


def _usable(group: _Group, skipped: list[Skipped]) -> tuple[str, ...]:
    """The direct forms of those of its URIs that can be fetched; the others are told."""
    found: list[str] = []
    for uri in group.uris:
        try:
            if not uri.lower().startswith(_FETCHED):
                skipped.append(Skipped(redact(uri), "cannot be fetched from there"))
            else:
                found.append(absolute(uri, None) or uri)
        except ValueError:
            skipped.append(Skipped(redact(uri), f"{UNUSABLE} (line {group.number})"))
    return tuple(dict.fromkeys(found))


def _checksum(number: int, value: str) -> str | None:
    """The SHA-256 of an option `checksum=KIND=DIGEST`; None for another kind. Raises ValueError for a wrong one."""
    kind, _, digest = value.partition("=")
    if kind.lower() == "sha-256":
        try:
            return sha256(digest.strip())
        except ValueError as error:
            raise ValueError(f"line {number}: {shown(digest.strip())} {error}") from None
    if not _HEX.fullmatch(digest.strip()):
        raise ValueError(f"line {number}: {shown(value)} is no checksum; write sha-256= and its 64 hexadecimal digits")
    return None

"""Lists of files: SHA256SUMS, pooch registries, aria2 input files and plain lists of URLs.

Every line of a list is meant, so nothing is left out for its kind, and a line that cannot be read is an error that
names it: a list is written by programs, and half of one is worse than none.

Formats: coreutils `sha256sum` (GNU and BSD lines, the backslash of escaped names), pooch `Pooch.load_registry`, the
section "Input File" of aria2c(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, urljoin

from ckptd.core.document import shown
from ckptd.core.imports.candidates import Candidate, Reading, Skipped, merged
from ckptd.core.imports.links import absolute
from ckptd.core.schema import OTHER_DIGESTS
from ckptd.core.urls import redact
from ckptd.errors import ConfigError

MOST_COMPLAINTS = 10
NO_BASE = "say where the files are with --base URL"

_DIGEST = r"(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})"
_GNU = re.compile(rf"(?P<escaped>\\?)(?P<digest>{_DIGEST}) [ *](?P<name>\S.*)")
_BSD = re.compile(rf"(?P<escaped>\\?)(?P<kind>[A-Z0-9]+)\s?\((?P<name>.+)\) ?= ?(?P<digest>{_DIGEST})")
_REGISTRY = re.compile(
    rf"(?P<name>(?!\w+://)\S+)\s+(?:(?P<kind>[A-Za-z0-9_-]+):)?(?P<digest>{_DIGEST})(?:\s+(?P<url>\S+))?"
)
_URI = re.compile(r"(?:[a-z][a-z0-9+.-]*://|magnet:)\S+(?:\t+\S+)*\s*", re.IGNORECASE)
_OPTION = re.compile(r"\s+(?P<key>[a-z][a-z0-9-]*)=(?P<value>.*)")
_CHECKSUM = re.compile(r"(?P<kind>[a-z0-9-]+)=(?P<digest>[0-9a-f]+)", re.IGNORECASE)


def is_sums(line: str) -> bool:
    """Whether a line may be of a list of digests."""
    return bool(_GNU.fullmatch(line.rstrip()) or _BSD.fullmatch(line.strip()))


def is_registry(line: str) -> bool:
    """Whether a line may be of a pooch registry."""
    return _REGISTRY.fullmatch(line.strip()) is not None


def is_uris(line: str) -> bool:
    """Whether a line may be of an aria2 input file or a list of URLs."""
    return bool(_URI.fullmatch(line.lstrip()) or _OPTION.fullmatch(line))


def read_sums(text: str, base: str | None) -> Reading:
    """A SHA256SUMS file of names below `base`, which ends with "/". Raises ConfigError for bad lines, or no base."""
    if base is None:
        raise ConfigError("a list of digests names no place to fetch from", hint=NO_BASE)
    found, wrong = [], []
    for number, line in _lines(text):
        match = _GNU.fullmatch(line.rstrip()) or _BSD.fullmatch(line.strip())
        if match is None:
            wrong.append(f"line {number}: {shown(line.strip())} is not a digest and a file name")
            continue
        digest, kind = match["digest"].lower(), match.groupdict().get("kind") or "SHA256"
        if len(digest) != 64 or kind.upper() not in {"SHA256", "SHA2-256"}:
            is_one = OTHER_DIGESTS.get(len(digest), kind)
            wrong.append(f"line {number}: this digest is not a SHA-256 ({is_one}); only a SHA-256 can be a pin")
            continue
        name = _unescaped(match["name"]) if match["escaped"] else match["name"]
        try:
            found.append(Candidate(_below(base, name), sha256=digest, file_name=name.rpartition("/")[2]))
        except ValueError as error:
            wrong.append(f"line {number}: {shown(name)} {error}")
    _settle(wrong)
    return Reading(merged(found))


def read_registry(text: str, base: str | None) -> Reading:
    """A pooch registry: `name alg:digest [url]` lines; without an algorithm it is SHA-256. Raises ConfigError."""
    found, wrong = [], []
    unpinned = 0
    for number, line in _lines(text):
        match = _REGISTRY.fullmatch(line.strip())
        if match is None:
            wrong.append(f"line {number}: {shown(line.strip())} is not a file name, a digest and perhaps a URL")
            continue
        digest, kind = match["digest"].lower(), (match["kind"] or "sha256").lower()
        pin = digest if kind == "sha256" and len(digest) == 64 else None
        if pin is None and kind == "sha256":
            wrong.append(f"line {number}: the digest has {len(digest)} digits; a SHA-256 has 64")
            continue
        unpinned += pin is None
        try:
            url = absolute(match["url"], base) if match["url"] else _below(base, match["name"])
        except ValueError as error:
            wrong.append(f"line {number}: {shown(match['name'])} {error}")
            continue
        if url is None:
            wrong.append(f"line {number}: {shown(match['url'])} is not a whole URL")
            continue
        found.append(Candidate(url, sha256=pin, file_name=match["name"].rpartition("/")[2]))
    _settle(wrong)
    return Reading(merged(found), notes=_unpinned(unpinned))


def read_uris(text: str) -> Reading:
    """An aria2 input file, or a list of URLs, one a line. URIs on one line, separated by TAB, are mirrors.

    Of aria2's options `checksum` and `out` are read; the others (which may hold passwords) are not even kept.
    Raises ConfigError for a line that is neither a URI nor an option.
    """
    groups: list[tuple[list[str], dict[str, str]]] = []
    wrong = []
    for number, line in _lines(text):
        option = _OPTION.fullmatch(line)
        if option is not None and groups:
            groups[-1][1].setdefault(option["key"], option["value"].strip())
        elif _URI.fullmatch(line.lstrip()):
            groups.append((line.split(), {}))
        else:
            wrong.append(f"line {number}: {shown(line.strip())} is neither a URL nor an option of one")
    _settle(wrong)
    found, skipped, unpinned = [], [], 0
    for uris, options in groups:
        usable = [uri for uri in uris if uri.lower().startswith(("http://", "https://", "gs://", "hf://"))]
        skipped += [Skipped(redact(uri), "cannot be fetched from there") for uri in uris if uri not in usable]
        if not usable:
            continue
        checksum = _CHECKSUM.fullmatch(options.get("checksum", ""))
        pinned = checksum is not None and checksum["kind"].lower() == "sha-256" and len(checksum["digest"]) == 64
        unpinned += "checksum" in options and not pinned
        url, *mirrors = (absolute(uri, None) or uri for uri in dict.fromkeys(usable))
        pin = checksum["digest"].lower() if checksum is not None and pinned else None
        out = options.get("out", "").rpartition("/")[2]
        found.append(Candidate(url, tuple(mirrors), pin, file_name=out))
    return Reading(merged(found), tuple(skipped), notes=_unpinned(unpinned))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.rstrip("\r")


def _below(base: str | None, name: str) -> str:
    """The URL of a file `name` below `base`. Raises ValueError for a name that leads out of it."""
    if base is None:
        raise ValueError(f"has no URL; {NO_BASE}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        raise ValueError("leads out of the base URL")
    return urljoin(base, quote("/".join(parts), safe="/~()!*',+@=&$"))


def _unescaped(name: str) -> str:
    """A name as `sha256sum` escapes it where it holds line ends or backslashes."""
    return re.sub(r"\\([\\nr])", lambda found: {"n": "\n", "r": "\r"}.get(found[1], "\\"), name)


def _unpinned(count: int) -> tuple[str, ...]:
    said = f"{count} digests are no SHA-256 and were not taken: the first fetch decides for those files"
    return (said,) if count else ()


def _settle(wrong: list[str]) -> None:
    if wrong:
        more = [f"... and {len(wrong) - MOST_COMPLAINTS} more"] if len(wrong) > MOST_COMPLAINTS else []
        raise ConfigError("\n".join([*wrong[:MOST_COMPLAINTS], *more]), hint="nothing was written")

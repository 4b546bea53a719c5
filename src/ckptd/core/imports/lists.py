"""Lists of files and their digests: SHA256SUMS and pooch registries. For lists of URLs see `uris`.

Every line of a list is meant, so nothing is left out for its kind, and a line that cannot be read is an error that
names it: a list is written by programs, and half of one is worse than none. Two digests for one file are an error, too:
nothing says which of them is right.

Formats: coreutils `sha256sum` (GNU and BSD lines, the backslash of escaped names), pooch `Pooch.load_registry` (names
in quotes, as a shell reads them).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, urljoin

from ckptd.core.document import shown
from ckptd.core.imports.candidates import Candidate, Reading, contradictions, merged
from ckptd.core.imports.links import UNUSABLE, absolute
from ckptd.core.schema import OTHER_DIGESTS
from ckptd.core.urls import redact
from ckptd.errors import ConfigError

MOST_COMPLAINTS = 10
NO_BASE = "say where the files are with --base URL"

_DIGEST = r"(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})"
_GNU = re.compile(rf"(?P<escaped>\\?)(?P<digest>{_DIGEST}) [ *](?P<name>\S.*)")
_BSD = re.compile(rf"(?P<escaped>\\?)(?P<kind>[A-Z0-9]+)\s?\((?P<name>.+)\) ?= ?(?P<digest>{_DIGEST})")
_PIN = re.compile(rf"(?P<kind>[A-Za-z0-9_-]+):(?P<any>[0-9A-Fa-f]{{8,128}})|(?P<digest>{_DIGEST})")
_QUOTES = re.compile(r"[\"'\\]")


def is_sums(line: str) -> bool:
    """Whether a line may be of a list of digests."""
    return bool(_GNU.fullmatch(line.rstrip()) or _BSD.fullmatch(line.strip()))


def is_registry(line: str) -> bool:
    """Whether a line may be of a pooch registry."""
    return _registered(line) is not None


def read_sums(text: str, base: str | None) -> Reading:
    """A SHA256SUMS file of names below `base`, which ends with "/". Raises ConfigError for bad lines, or no base."""
    if base is None:
        raise ConfigError("a list of digests names no place to fetch from", hint=NO_BASE)
    found: list[tuple[str, Candidate]] = []
    wrong = []
    for number, line in lines(text):
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
            candidate = Candidate(_below(base, name), sha256=digest, file_name=name.rpartition("/")[2])
            found.append((f"line {number}", candidate))
        except ValueError as error:
            wrong.append(f"line {number}: {shown(name)} {error}")
    settle(wrong or contradictions(found))
    return Reading(merged(each for _, each in found))


def read_registry(text: str, base: str | None) -> Reading:
    """A pooch registry: `name alg:digest [url]` lines; without an algorithm it is SHA-256. Raises ConfigError."""
    found: list[tuple[str, Candidate]] = []
    wrong = []
    unpinned = 0
    for number, line in lines(text):
        fields = _registered(line)
        if fields is None:
            wrong.append(f"line {number}: {shown(line.strip())} is not a file name, a digest and perhaps a URL")
            continue
        name, kind, digest, link = fields
        pin = digest if kind == "sha256" and len(digest) == 64 else None
        if pin is None and kind == "sha256":
            wrong.append(f"line {number}: the digest has {len(digest)} digits; a SHA-256 has 64")
            continue
        unpinned += pin is None
        try:
            url = _linked(link, base) if link else _below(base, name)
        except ValueError as error:
            wrong.append(f"line {number}: {shown(redact(link) if link else name)} {error}")
            continue
        found.append((f"line {number}", Candidate(url, sha256=pin, file_name=name.rpartition("/")[2])))
    settle(wrong or contradictions(found))
    return Reading(merged(each for _, each in found), notes=unpinned_note(unpinned))


def _registered(line: str) -> tuple[str, str, str, str] | None:
    """Name, kind of digest, digest and URL ("" where there is none) of a registry's line; None for another line."""
    try:
        fields = shlex.split(line) if _QUOTES.search(line) else line.split()
    except ValueError:  # a quote that stays open is part of the name
        fields = line.split()
    pin = _PIN.fullmatch(fields[1]) if len(fields) in (2, 3) else None
    if pin is None or "://" in fields[0]:
        return None
    kind = (pin["kind"] or "sha256").lower()
    return fields[0], kind, (pin["any"] or pin["digest"]).lower(), fields[2] if len(fields) == 3 else ""


def _linked(link: str, base: str | None) -> str:
    """The URL of a registry's line. Raises ValueError for what is none."""
    try:
        url = absolute(link, base)
    except ValueError:
        raise ValueError(UNUSABLE) from None
    if url is None:
        raise ValueError("is not a whole URL")
    return url


def lines(text: str) -> Iterator[tuple[int, str]]:
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


def unpinned_note(count: int) -> tuple[str, ...]:
    """What to say of so many files whose digests are of another kind."""
    few, many = "1 digest is no SHA-256 and was", f"{count} digests are no SHA-256 and were"
    said = f"{few if count == 1 else many} not taken: the first fetch decides"
    return (said,) if count else ()


def settle(wrong: list[str]) -> None:
    """Raise ConfigError where a list has wrong lines."""
    if wrong:
        raise ConfigError("\n".join(shortened(wrong)), hint="nothing was written")


def shortened(said: list[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    more = [f"... and {len(said) - MOST_COMPLAINTS} more"] if len(said) > MOST_COMPLAINTS else []
    return [*said[:MOST_COMPLAINTS], *more]

"""What one value of the manifest or the lock may be, and what to say when it is something else.

Each reader takes what TOML gave and returns it typed, or raises ValueError with the rest of a sentence that
begins with the value: 'is not a name; use ...'. Knows no table, no line and no other value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from ckptd.core.document import nearest, shown
from ckptd.core.models import OnDamage, Trust
from ckptd.core.units import parse_rate
from ckptd.core.urls import file_name, normalise, origin_of
from ckptd.errors import ConfigError

Reader = Callable[[object], object]
Word = TypeVar("Word", bound=StrEnum)

LONGEST_NAME = 128
SCHEMES = ("http", "https", "gs", "s3", "hf")
LITERAL = ("gs", "s3", "hf")  # taken as they are: no percent-encoding

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
_UNSAFE_IN_OBJECT = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")  # gs and hf are taken literally: blanks are fine
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
_WINDOW = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Digests that are often pasted in the wrong place, by their number of hexadecimal digits.
OTHER_DIGESTS = {32: "an MD5", 40: "a SHA-1", 96: "a SHA-384", 128: "a SHA-512"}


def text(value: object) -> str:
    """Something to read on one line."""
    if not isinstance(value, str):
        raise ValueError('is not a text; write "..."')  # noqa: TRY004 - readers raise ValueError only
    if not value.strip():
        raise ValueError("is empty; write something or remove the key")
    if _CONTROL.search(value):
        raise ValueError("contains control characters; remove them")
    return value


def description(value: object) -> str:
    """Free text for people; may be empty and have several lines."""
    if not isinstance(value, str):
        raise ValueError('is not a text; write "..."')  # noqa: TRY004
    if _CONTROL.search(value.replace("\n", "").replace("\r", "").replace("\t", "")):
        raise ValueError("contains control characters; remove them")
    return value


def path(value: object) -> str:
    """A path of this machine, as written. To the kernel a NUL would end it early, and "~" is a letter."""
    plain = text(value)
    if plain.startswith("~"):
        raise ValueError('begins with "~", which only a shell understands; write the whole path')
    return plain


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is not true or false (without quotes)")  # noqa: TRY004
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"is not a whole number from {low} to {high} (without quotes)")
        return value

    return read


def limit(value: object) -> float:
    """A rate that is one: "unlimited" as a lower bound would stall everything."""
    rate = parse_rate(value)
    if rate is None:
        raise ValueError('cannot be a lower bound; write a rate such as "1 KiB/s"')
    return rate


def window(value: object) -> tuple[int, int]:
    """Minutes after midnight, from and to; to may be smaller (over midnight), 24:00 is 1440."""
    found = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('is not a time of day; write "22:00-06:00"')
    hours, minutes = (int(found[1]), int(found[3])), (int(found[2]), int(found[4]))
    start, end = hours[0] * 60 + minutes[0], hours[1] * 60 + minutes[1]
    if max(minutes) > 59 or start >= 1440 or end > 1440:
        raise ValueError("has a time that no clock shows; hours go from 00:00 to 24:00")
    if start == end:
        raise ValueError('is empty; write "00:00-24:00" for the whole day')
    return start, end


def word(kind: type[Word], what: str) -> Callable[[object], Word]:
    """A reader of one of the words of `kind`; `what` says in a message what they are."""
    known = [str(each) for each in kind]

    def read(value: object) -> Word:
        if not isinstance(value, str) or value not in known:
            close = nearest(value, known) if isinstance(value, str) else None
            meant = f'did you mean "{close}"?' if close else "write " + ", ".join(f'"{each}"' for each in known)
            raise ValueError(f"is not {what}; {meant}")
        return kind(value)

    return read


trust = word(Trust, "a level of trust")
on_damage = word(OnDamage, "something to do about damage")


def share(value: object) -> float | None:
    """A part of the time, from "1%" to "100%" as 0.01 to 1.0; "off" is None."""
    if value == "off":
        return None
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError('is not a share of time; write "25%", or "off"')
    return float(found[1]) / 100


def sha256(value: object) -> str:
    """64 hexadecimal digits, in lower case."""
    if not isinstance(value, str) or not _HEX.fullmatch(value) or len(value) != 64:
        digits = value.removeprefix("sha256:") if isinstance(value, str) else ""
        other = OTHER_DIGESTS.get(len(digits)) if _HEX.fullmatch(digits) else None
        looks = f" (it has the length of {other})" if other else ""
        raise ValueError(f"is not a SHA-256{looks}; write its 64 hexadecimal digits, or remove the key")
    return value.lower()


def name(value: object) -> str:
    """A name that is a safe folder name everywhere."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError('is not a name; use letters, digits, ".", "_" and "-", beginning with a letter or digit')
    if len(value) > LONGEST_NAME:
        raise ValueError(f"is longer than {LONGEST_NAME} characters")
    return value


def tag(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError('is not a tag; use letters, digits, ".", "_" and "-", beginning with a letter or digit')
    return value


def items(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """A reader of lists whose items `read` reads; an item that stands twice counts once."""

    def read_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError('is not a list; write ["...", "..."]')  # noqa: TRY004
        found: dict[str, None] = {}
        for number, item in enumerate(value, start=1):
            try:
                found[read(item)] = None
            except ValueError as error:
                raise ValueError(f"has a wrong item, number {number}: {shown(item)} {error}") from None
        return tuple(found)

    return read_all


def some(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """As `items`, for lists that need at least one."""

    def read_some(value: object) -> tuple[str, ...]:
        found = items(read)(value)
        if not found:
            raise ValueError("is empty; write at least one")
        return found

    return read_some


def url(value: object) -> str:
    """An http, https, gs, s3 or hf URL without credentials, as written."""
    found = _SCHEME.match(value) if isinstance(value, str) else None
    if not isinstance(value, str) or found is None or found[1].lower() not in SCHEMES:
        raise ValueError("is not a URL that can be fetched; it begins with https://, http://, gs://, s3:// or hf://")
    literal = found[1].lower() in LITERAL
    if (_UNSAFE_IN_OBJECT if literal else _UNSAFE_IN_URL).search(value):
        raise ValueError("contains blanks, backslashes or control characters; percent-encode them")
    if "@" in found[2]:
        raise ValueError('carries credentials; they belong into [auth."host"]')
    try:
        normalise(value) if literal else origin_of(value)
    except ValueError as error:
        raise ValueError(f"is not a usable URL: {error}") from None
    return value


def file_url(value: object) -> tuple[str, str]:
    """As `url`, with the name of the file that it is kept under."""
    found = url(value)
    try:
        return found, file_name(found)
    except ValueError as error:
        raise ValueError(f"names no file that can be kept: {error}") from None


def prefix(value: object) -> str:
    """The beginning of URLs, up to a "/": anything else would also match other hosts that begin alike."""
    if not isinstance(value, str) or not value.lower().startswith(("https://", "http://")) or value[-1] != "/":
        raise ValueError('is not a URL prefix; it begins with https:// or http:// and ends with "/"')
    found = url(value)
    if "?" in found or "#" in found:
        raise ValueError('is not a URL prefix; remove what follows "?" or "#"')
    return found


def prefixes(value: object) -> tuple[str, ...]:
    """One URL prefix, or a list of at least one."""
    found = items(prefix)([value] if isinstance(value, str) else value)
    if not found:
        raise ValueError("is empty; write at least one URL prefix")
    return found


def host(value: object) -> str:
    """A host name with or without a port, in lower case."""
    found = _HOST.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or found is None or not 0 < int(found[1] or 443) < 65536:
        raise ValueError('is not a host; write [auth."example.org"] or [auth."example.org:8443"]')
    return value.lower()


def config_key(value: object) -> str:
    """A key in a config file: names with dots between."""
    from ckptd.core.config_slots import parse_key  # noqa: PLC0415  # few manifests have one

    written = text(value)
    try:
        parse_key(written)
    except ConfigError:
        raise ValueError("is not a key; write names with dots between: model_options.checkpoint") from None
    return written


def address(value: object) -> str:
    """Where to listen: "host:port"."""
    text_value = value if isinstance(value, str) else ""
    name_part, _, port = text_value.rpartition(":")
    if not name_part or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError('is not an address to listen on; write "127.0.0.1:8473"')
    host(text_value)
    return text_value


def command(value: object) -> tuple[str, ...]:
    """A program and its arguments; no shell is involved."""
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise ValueError('is not a command; write ["/usr/local/bin/tell", "argument"], no shell is involved')
    return tuple(text(each) for each in value)


def webhook(value: object) -> str:
    """An http or https URL that is posted to; it may carry a secret in its path or query."""
    if not isinstance(value, str) or not value.lower().startswith(("https://", "http://")):
        raise ValueError("is not a URL to post to; it begins with https:// or http://")
    if _UNSAFE_IN_URL.search(value) or not urlsplit(value).hostname:
        raise ValueError("is not a URL to post to")
    return value


def variable(value: object) -> str:
    """The name of an environment variable."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError('is not the name of an environment variable; write it as in "HF_TOKEN"')
    return value

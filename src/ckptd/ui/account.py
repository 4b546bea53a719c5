"""A daemon's account of itself, read for people: JSON of whichever version into values of known types, and some words.

Never raises: what is missing, or of another type than expected, counts as not told, since the daemon may be newer than
whoever watches it. Times are POSIX seconds by the daemon's clock, sizes bytes. Nothing here draws.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckptd.core.models import VerifySettings
from ckptd.core.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
class Pledge:
    """The promise. `oldest` is None when a byte was never verified, or there are none."""

    max_age: float
    oldest: float | None
    share: float  # in 0..1
    unverified: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """What the scrub is at. `name` is empty while it rests; `next_at` is None when there is nothing to read."""

    name: str
    why: str
    urgent: bool
    shortfall: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Wrong:
    """An incident that goes on."""

    kind: str
    name: str
    message: str
    since: float


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """Something that happened."""

    at: float
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Work:
    """A checkpoint that is being worked on."""

    name: str
    size: int | None
    done: int
    connections: int
    host: str


@dataclass(frozen=True, slots=True)
class Stock:
    """All checkpoints together. `next_sync` is when which one is looked at next."""

    states: Mapping[str, int]
    size: int
    next_sync: tuple[float, str] | None
    failing: int  # could not be fetched, and are tried again


@dataclass(frozen=True, slots=True)
class Account:
    """How everything stands."""

    version: str
    pid: int
    since: float
    now: float
    store: str
    config_error: str
    pledge: Pledge
    scrub: Scrubbing
    stock: Stock
    work: tuple[Work, ...]
    incidents: tuple[Wrong, ...]
    recent: tuple[Told, ...]


NOTHING = Stock({}, 0, None, 0)


def read_account(found: Mapping[str, object], before: Account | None = None) -> Account:
    """The account in a line of the daemon's. Where it leaves its checkpoints out they are those of `before`."""
    now = _number(found, "now")
    checkpoints = found.get("checkpoints")
    stock = _stock(found, now) if isinstance(checkpoints, list) else before.stock if before is not None else NOTHING
    return Account(
        version=_text(found, "version"),
        pid=int(_number(found, "pid")),
        since=_number(found, "since"),
        now=now,
        store=_text(found, "store"),
        config_error=_text(found, "config_error"),
        pledge=_pledge(_mapping(found, "promise")),
        scrub=_scrubbing(_mapping(found, "scrub"), now),
        stock=stock,
        work=tuple(_work(each) for each in _each(found, "active")),
        incidents=tuple(
            Wrong(_text(each, "kind"), _text(each, "name"), _text(each, "message"), _number(each, "since"))
            for each in _each(found, "incidents")
        ),
        recent=tuple(
            Told(_number(each, "at"), _text(each, "name"), _text(each, "text")) for each in _each(found, "recent")
        ),
    )


def wrongs(account: Account) -> list[Wrong]:
    """What is wrong, the manifest first, then the latest."""
    manifest = [Wrong("manifest", "", account.config_error, account.now)] if account.config_error else []
    return manifest + sorted(account.incidents, key=lambda each: -each.since)


def promise_words(pledge: Pledge, now: float) -> tuple[str, ...]:
    """The promise as one number, in words of which each is shorter than the one before."""
    share = f"{math.floor(pledge.share * 1000) / 10:g} % in time"
    if pledge.unverified:
        lost = format_size(pledge.unverified)
        return f"{lost} damaged or never read, {share}", f"{lost} damaged or unread", share
    if pledge.oldest is None:
        return ("nothing is kept yet",)
    age, limit = span(now - pledge.oldest), span(pledge.max_age)
    return (
        f"oldest byte verified {age} ago of {limit}, {share}",
        f"oldest {age} of {limit}, {share}",
        f"{age} of {limit}",
    )


def span(seconds: float) -> str:
    """A time in its two largest units, without the smaller when that is zero: "7d", "2d 3h", "now" for none."""
    text = format_duration(max(0.0, seconds))
    return text.removesuffix(" 00s").removesuffix(" 00m").removesuffix(" 0h")


def _pledge(found: Mapping[str, object]) -> Pledge:
    return Pledge(
        max_age=_number(found, "max_age", VerifySettings().max_age),
        oldest=_maybe(found, "oldest_verified_at"),
        share=min(1.0, max(0.0, _number(found, "share", 1.0))),
        unverified=int(_number(found, "unverified_bytes")),
        kept=found.get("kept") is not False,
    )


def _scrubbing(found: Mapping[str, object], now: float) -> Scrubbing:
    wait = _maybe(found, "next_in")
    return Scrubbing(
        name=_text(found, "name"),
        why=_text(found, "why"),
        urgent=found.get("urgent") is True,
        shortfall=int(_number(found, "shortfall")),
        next_at=None if wait is None else now + wait,
    )


def _stock(found: Mapping[str, object], now: float) -> Stock:
    states: Counter[str] = Counter()
    size = failing = 0
    turns: list[tuple[float, str]] = []
    for each in _each(found, "checkpoints"):
        states[_text(each, "state")] += 1
        size += int(_number(each, "size"))
        failing += _number(each, "failures") > 0
        wait = _maybe(each, "next_sync_in")
        turns += [] if wait is None else [(now + wait, _text(each, "name"))]
    return Stock(dict(states), size, min(turns, default=None), failing)


def _work(found: Mapping[str, object]) -> Work:
    size = _maybe(found, "size")
    return Work(
        name=_text(found, "name"),
        size=None if size is None else int(size),
        done=int(_number(found, "done")),
        connections=int(_number(found, "connections")),
        host=_text(found, "host"),
    )


def _each(found: Mapping[str, object], key: str) -> Iterator[Mapping[str, object]]:
    several = found.get(key)
    if isinstance(several, list):
        yield from (each for each in several if isinstance(each, dict))


def _mapping(found: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _maybe(found: Mapping[str, object], key: str) -> float | None:
    value = found.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    return float(value) if known and isinstance(value, int | float) and math.isfinite(value) else None


def _number(found: Mapping[str, object], key: str, default: float = 0.0) -> float:
    value = _maybe(found, key)
    return default if value is None else value

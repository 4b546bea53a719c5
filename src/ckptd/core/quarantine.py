"""Damaged bytes as evidence: what an entry of the quarantine is called, what its report says, which entries go.

Values in, values out: the bytes and the folders are `store.quarantine`'s. A report stands on its own: whoever finds
one needs neither the lock nor the history to understand it. Times are POSIX seconds here and ISO 8601 in UTC there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from ckptd.core.models import Damage, Holder, Usage
from ckptd.core.urls import redact_text

T = TypeVar("T")
SCHEMA = 1
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(?P<at>[0-9]{8}T[0-9]{6}Z)-[A-Za-z0-9][A-Za-z0-9._-]{0,127}-[0-9a-f]{8}(?:-[0-9]{1,9})?")


class Action(StrEnum):
    """What was done about the file when its bytes came here."""

    REPAIRED = "repaired"  # proven bytes took its place
    HELD = "held"  # its name was taken away: the file itself is here
    KEPT = "kept"  # it was left where it is


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes `[offset, offset + length)` of the damaged file are in `file`, beside the report."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known of one damaged file. `pieces` as in the lock; None where something is not known."""

    name: str
    file: str  # relative to the store
    expected_size: int  # bytes
    expected_sha256: str  # 64 lower-case hex digits
    expected_pieces: str | None
    actual_size: int | None
    actual_sha256: str | None
    damage: tuple[Damage, ...]
    cause: str
    summary: str
    found_at: float  # POSIX seconds
    last_good: float | None  # POSIX seconds
    action: Action
    history: tuple[Mapping[str, object], ...] = ()  # as JSON has it, oldest first
    usage: Usage = field(default_factory=Usage)
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in the quarantine under one name: how many bytes, since when (POSIX seconds).

    `held`: it is the file itself, whose name was taken away, and not a copy.
    """

    name: str
    bytes: int
    at: float
    held: bool = False


def entry_name(at: float, name: str, sha256: str) -> str:
    """What the entry for checkpoint `name` is called: sorted by time, and telling what it is about."""
    return f"{datetime.fromtimestamp(at, UTC):{_STAMP}}-{name}-{sha256[:8]}"


def unused(base: str, taken: Container[str]) -> str:
    """`base`, or with the first number from 2 that makes a new name of it."""
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def time_of(name: str) -> float | None:
    """When the entry of this name came to be, to the second; None: it is no entry's name."""
    found = _NAME.fullmatch(name)
    try:
        return None if found is None else datetime.strptime(found["at"], "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:  # the 31st of February
        return None


def admit(count: int, cap: int) -> bool:
    """Whether an entry of `count` bytes may be made at all: one beyond the cap would drive out every other."""
    return count <= cap


def to_remove(entries: Sequence[Entry], *, cap: int, max_age: float, now: float) -> tuple[str, ...]:
    """Which entries have to go, oldest first, so that none is older than `max_age` and copies keep to `cap` bytes.

    The newest goes by its age alone, since nobody has seen it yet (the cap may have been lowered after it came), and so
    does what was taken away from its place: there is no other.
    """
    waiting = sorted(entries, key=lambda entry: (entry.at, entry.name))
    total = sum(entry.bytes for entry in waiting if not entry.held)
    gone: list[str] = []
    for number, entry in enumerate(waiting, start=1):
        crowded = total > cap and not entry.held and number < len(waiting)
        if now - entry.at > max_age or crowded:
            gone.append(entry.name)
            total -= 0 if entry.held else entry.bytes
    return tuple(gone)


def render(report: Report) -> str:
    """The report as JSON. URLs in what people wrote are redacted."""
    content = {
        "schema": SCHEMA,
        "name": report.name,
        "file": report.file,
        "expected": {
            "size": report.expected_size,
            "sha256": report.expected_sha256,
            "pieces": report.expected_pieces,
        },
        "actual": {"size": report.actual_size, "sha256": report.actual_sha256},
        "damage": [
            {"offset": each.offset, "length": each.length, "verdict": each.verdict, "detail": redact_text(each.detail)}
            for each in report.damage
        ],
        "cause": redact_text(report.cause),
        "summary": redact_text(report.summary),
        "found_at": _iso(report.found_at),
        "last_good": None if report.last_good is None else _iso(report.last_good),
        "history": [dict(each) for each in report.history],
        "holders": [
            {
                "pid": each.pid,
                "user": each.user,
                "command": redact_text(each.command),
                "since": _iso(each.since),
                "how": each.how,
            }
            for each in report.usage.holders
        ],
        "holders_unseen": report.usage.unseen,
        "holders_complete": report.usage.complete,
        "kept": [{"file": each.file, "offset": each.offset, "length": each.length} for each in report.kept],
        "action": report.action.value,
    }
    return json.dumps(content, indent=2) + "\n"


def parse(text: str) -> Report:
    """The report in `text`; keys that are not known are passed over. Raises ValueError that says what is wrong."""
    try:
        whole: object = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep to read") from None
    top = _Fields.of(whole, "the report")
    schema = top.whole("schema")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema} was written by another ckptd; this one reads schema {SCHEMA}")
    expected, actual = top.table("expected"), top.table("actual")
    holders = tuple(
        Holder(each.whole("pid"), each.text("user"), each.text("command"), each.moment("since"), each.text("how"))
        for each in top.tables("holders")
    )
    return Report(
        name=top.text("name"),
        file=top.text("file"),
        expected_size=expected.whole("size"),
        expected_sha256=expected.text("sha256"),
        expected_pieces=expected.maybe("pieces", expected.text),
        actual_size=actual.maybe("size", actual.whole),
        actual_sha256=actual.maybe("sha256", actual.text),
        damage=tuple(
            Damage(each.whole("offset"), each.whole("length"), each.text("verdict"), each.text("detail"))
            for each in top.tables("damage")
        ),
        cause=top.text("cause"),
        summary=top.text("summary"),
        found_at=top.moment("found_at"),
        last_good=top.maybe("last_good", top.moment),
        action=Action(top.text("action")),
        history=tuple(each.data for each in top.tables("history")),
        usage=Usage(holders, top.whole("holders_unseen"), top.flag("holders_complete")),
        kept=tuple(Kept(each.text("file"), each.whole("offset"), each.whole("length")) for each in top.tables("kept")),
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class _Fields:
    """One JSON object whose values are taken out by type. All of it raises ValueError."""

    data: dict[str, object]

    @classmethod
    def of(cls, value: object, what: str) -> _Fields:
        if not isinstance(value, dict):
            raise ValueError(f"{what} is not an object")  # noqa: TRY004  # the text is wrong, not our call
        return cls(value)

    def table(self, key: str) -> _Fields:
        return _Fields.of(self.data.get(key), key)

    def tables(self, key: str) -> list[_Fields]:
        value = self.data.get(key)
        if not isinstance(value, list):
            raise ValueError(f"{key} is not a list")  # noqa: TRY004
        return [_Fields.of(each, key) for each in value]

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if not isinstance(value, str):
            raise ValueError(f"{key} is not a text")  # noqa: TRY004
        return value

    def whole(self, key: str) -> int:
        value = self.data.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{key} is not a whole number")
        return value

    def flag(self, key: str) -> bool:
        value = self.data.get(key)
        if not isinstance(value, bool):
            raise ValueError(f"{key} is neither true nor false")  # noqa: TRY004
        return value

    def moment(self, key: str) -> float:
        try:
            return datetime.strptime(self.text(key), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
        except ValueError:
            raise ValueError(f"{key} is not a time such as 2026-01-31T12:00:00.000Z") from None

    def maybe(self, key: str, read: Callable[[str], T]) -> T | None:
        """None for null and for a key that is not there."""
        return None if self.data.get(key) is None else read(key)

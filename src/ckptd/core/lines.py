"""In which line of a TOML text each table and key stands.

Only for texts that a TOML parser has accepted: it skips over values, it does not check them. Knows no table
by name. Tables written inside a value (`checkpoint = [{...}]`) are found by the line of their key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import tomli

Where = tuple[str | int, ...]  # keys, and numbers from 0 for the entries of [[...]]: ("checkpoint", 3, "url")

_KEY = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^"'=\[\]#\n])+"""
_STATEMENT = re.compile(rf"[ \t]*(?:(?P<open>\[\[?)(?P<table>{_KEY})\]\]?|(?P<key>{_KEY})=)")
# The parts of a value that may hide the end of its line, or are it.
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*'''
    r"""|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)|[^"'\#\[\]{}\n]+""",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Lines:
    """Line numbers from 1, by place."""

    by_place: dict[Where, int]

    def of(self, where: Where) -> int:
        """The line of `where`, or of the nearest thing around it that has one."""
        while where and where not in self.by_place:
            where = where[:-1]
        return self.by_place.get(where, 1)


def find_lines(text: str) -> Lines:
    """Where everything in `text` stands."""
    lines: dict[Where, int] = {}
    counts: dict[Where, int] = {}  # entries of each [[...]] so far
    table: Where = ()
    position, line = 0, 1
    while position < len(text):
        found = _STATEMENT.match(text, position)
        end = _end_of_statement(text, position if found is None else found.end())
        if found is not None and found["table"] is not None:
            table = _place((), found["table"], counts)
            if found["open"] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = (*table, counts[table] - 1)
            lines.setdefault(table, line)
            lines.setdefault(table[:1], line)
        elif found is not None:
            lines.setdefault(_place(table, found["key"], counts), line)
        line += text.count("\n", position, end)
        position = end
    return Lines(lines)


def _end_of_statement(text: str, position: int) -> int:
    depth = 0
    while (found := _TOKEN.match(text, position)) is not None:
        position = found.end()
        if found["end"] and depth == 0:
            break
        depth += bool(found["open"]) - bool(found["close"])
    else:
        return len(text)
    return position


def _place(table: Where, key: str, counts: dict[Where, int]) -> Where:
    """`key` may be dotted and quoted; a part that names a [[...]] means its last entry (TOML 1.0, "Array of
    Tables"). The last part of a [[header]] itself is not resolved: the caller counts it.
    """
    parts = _parts(key.strip())
    place = table
    for number, part in enumerate(parts, start=1):
        place = (*place, part)
        if place in counts and number < len(parts):
            place = (*place, counts[place] - 1)
    return place


def _parts(key: str) -> list[str]:
    if _BARE.fullmatch(key):
        return [key]
    parts: list[str] = []
    level: object = tomli.loads(f"{key} = 0")  # the one reader of quoted and dotted keys that is surely right
    while isinstance(level, dict):
        (part, level) = next(iter(level.items()))
        parts.append(part)
    return parts

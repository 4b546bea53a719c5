"""TOML 1.0: where its texts stand, and how one is spelled.

Strings and comments are found by their quotes alone, which TOML's grammar allows; the keys they stand under are
found by the real parser: every text is replaced by a mark of its own, and where the mark turns up is its path. So
nothing has to be rendered again, and nothing but the value can change. Reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import tomli

from ckptd.core.config_slots import Path, Slot, Unreadable
from ckptd.core.document import EXPLAINED
from ckptd.core.lines import find_lines

_TOKEN = re.compile(
    r"""
      (?P<text>
          \"{3}(?:[^\\]|\\[\s\S])*?\"{3}\"{0,2}
        | '{3}[\s\S]*?'{3}'{0,2}
        | "(?:[^"\\\n]|\\[^\n])*"
        | '[^'\n]*'
      )
    | (?P<comment>\#[^\n]*)
    | (?P<mark>[{}\[\]=,\n])
    """,
    re.VERBOSE,
)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def scan(text: str) -> list[Slot]:
    """Every value, texts in the order of the file. Raises Unreadable where the text is no TOML."""
    data = _load(text)
    values = dict(_walk(data, ()))
    spans = list(_values(text))
    mark = "ckptd"
    while mark in text:
        mark += "-"
    parts, at = [], 0
    for number, (start, end) in enumerate(spans):
        parts += [text[at:start], f'"{mark}{number}"']
        at = end
    marked = _load("".join([*parts, text[at:]]))
    places = {value: path for path, value in _walk(marked, ()) if isinstance(value, str)}
    found = []
    for number, (start, end) in enumerate(spans):
        path = places[f"{mark}{number}"]
        value = values.pop(path)
        style = text[start : start + 3] if text.startswith(('"""', "'''"), start) and end - start > 5 else text[start]
        found.append(Slot(path, start, end, str(value), style))
    return found + _others(text, values)


def _load(text: str) -> dict[str, object]:
    try:
        found: dict[str, object] = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise Unreadable(error.lineno, f"this is not TOML: {EXPLAINED.get(error.msg, error.msg)}") from None
    except ValueError:
        raise Unreadable(1, "a number is too long to read") from None
    return found


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    """Every value with its path, tables and lists before what is in them."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, (*path, number))


def _values(text: str) -> Iterator[tuple[int, int]]:
    """Where the texts are that are values, not keys, of a text that is TOML."""
    opened: list[str] = []  # brackets of values
    value = False  # what comes next is a value; in a header or before a "=" it is a key
    for token in _TOKEN.finditer(text):
        word = token[0]
        if token.lastgroup == "text":
            if value:
                yield token.span()
        elif word == "=":
            value = True
        elif word == "\n":
            value = value if opened else False
        elif word in ("[", "{") and value:
            opened.append(word)
            value = word == "["
        elif word in ("]", "}") and opened:
            opened.pop()
            value = True
        elif word == "," and opened:
            value = opened[-1] == "["


def _others(text: str, values: dict[Path, object]) -> list[Slot]:
    """What is no text, each at the beginning of its line."""
    lines = find_lines(text)
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    found = []
    for path, value in values.items():
        problem = "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "no text"
        start = starts[min(lines.of(path), len(starts)) - 1]
        found.append(Slot(path, start, start, problem=problem))
    return found


def spell(value: str, style: str) -> str:
    """`value` in the style of what stands there, as a basic string where a literal one cannot say it."""
    plain = value.isprintable()
    if style == "'" and plain and "'" not in value:
        return f"'{value}'"
    if style == "'''" and plain and "'''" not in value and not value.endswith("'"):
        return f"'''{value}'''"
    quotes = '"""' if style in ('"""', "'''") else '"'
    return quotes + "".join(_escaped(char) for char in value) + quotes


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"

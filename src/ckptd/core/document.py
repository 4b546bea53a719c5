"""TOML text as tables that hand out checked values, and complaints that name file, line and key.

The manifest and the lock are both read through this; it knows no key of either, and reads no file. Every
complaint is kept until `settle`, so that the operator sees all of them at once. Lines are looked for only
then: a text without faults pays nothing for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import tomli

from ckptd.core.lines import Where, find_lines
from ckptd.core.urls import redact_text
from ckptd.errors import ConfigError

T = TypeVar("T")

MOST_COMPLAINTS = 50  # beyond these the rest is counted
MOST_WORDS = 16

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,80}")  # nothing in it to hide or to escape
# What is worse than a slip, and is looked for first when a text is not TOML.
DAMAGE = (
    (
        re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?:[ \t\r]|$)", re.MULTILINE),
        "an unresolved merge conflict begins here; keep one side and remove the markers",
    ),
    (re.compile(r"\0"), "there are NUL bytes here; the file was damaged, or is not text"),
)

# What tomli says -> what the operator should hear.
EXPLAINED = {
    "Cannot overwrite a value": "the same key stands here for the second time; remove one",
    "Invalid value": 'this is not a value; texts need quotes: key = "text"',
    "Invalid statement": 'this is not TOML; write key = "value", [table] or [[checkpoint]]',
    "Unterminated string": 'a text is not closed; a " is missing',
    "Unclosed array": "a list is not closed; a ] is missing",
    "Expected newline or end of document after a statement": "more than one value is here; texts need quotes",
}


def shown(value: object) -> str:
    """`value` as a message may quote it: short, on one line, without credentials."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return f'"{value}"'
    if isinstance(value, str):
        clean = redact_text(value)
        plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in clean[:80])
        return f'"{plain}..."' if len(clean) > 80 else f'"{plain}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 200 else "a huge number"
    if isinstance(value, float):
        return str(value)
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def bare(key: str) -> str:
    """`key` as a message names it: quoted only where it has to be."""
    return key if _WORD.fullmatch(key) else shown(key)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_plain = {each.lower().replace("-", "_"): each for each in known}
    import difflib  # noqa: PLC0415  # only complaints want it

    close = difflib.get_close_matches(word.lower().replace("-", "_"), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None


def suggestion(word: str, known: Iterable[str], spelled: str = '"{}"') -> str:
    """What to say after an unknown word: the nearest known one, else what is known."""
    words = list(known)
    close = nearest(word, words)
    if close is not None:
        return f"did you mean {spelled.format(close)}?"
    more = f" and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
    listed = ", ".join(spelled.format(each) for each in words[:MOST_WORDS])
    return f"known: {listed}{more}" if words else "there are none"


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was parsed, and what is wrong with it so far."""

    path: str
    text: str
    complaints: list[tuple[Where, str]] = field(default_factory=list)

    def complain(self, where: Where, message: str) -> None:
        self.complaints.append((where, message))

    def settle(self, hint: str) -> None:
        """Raise ConfigError, one line for each complaint in the order of the file, if there are any."""
        if not self.complaints:
            return
        lines = find_lines(self.text)
        placed = sorted(((lines.of(where), message) for where, message in self.complaints), key=lambda at: at[0])
        said = list(dict.fromkeys(f"{self.path}:{line}: {message}" for line, message in placed))
        if len(said) > MOST_COMPLAINTS:
            said[MOST_COMPLAINTS:] = [f"... and {len(said) - MOST_COMPLAINTS} more"]
        raise ConfigError("\n".join(said), hint=hint)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a document. Every key that was asked for is known; `finish` complains about the others."""

    document: Document
    data: dict[str, object]
    where: Where = ()
    label: str = ""
    asked: dict[str, None] = field(default_factory=dict)  # in the order of asking

    def complain(self, key: str | None, message: str) -> None:
        """About one key, or about the table when `key` is None or not in it."""
        where = self.where if key is None else (*self.where, key)
        said = message if key is None else f"{bare(key)}: {message}"
        self.document.complain(where, f"{self.label}: {said}" if self.label else said)

    def get(self, key: str, read: Callable[[object], T], default: T, *, secret: bool = False) -> T:
        """The value of `key` as `read` makes it; `default` when it is missing, or wrong and complained about.

        `read` raises ValueError with what follows the value in a sentence: 'is not a name; use ...'.
        """
        self.asked[key] = None
        if key not in self.data:
            return default
        value = self.data[key]
        try:
            return read(value)
        except ValueError as error:
            self.complain(key, f"{'the value' if secret else shown(value)} {error}")
            return default

    def need(self, key: str, read: Callable[[object], T], default: T, example: str) -> T:
        """As `get`, and a complaint when it is missing."""
        if key not in self.data:
            self.complain(None, f'"{key}" is missing; write {example}')
        return self.get(key, read, default)

    def table(self, key: str, label: str = "") -> Table:
        """The table under `key`; an empty one when it is missing or no table."""
        self.asked[key] = None
        value = self.data.get(key, {})
        label = label or f"[{key}]"
        if not isinstance(value, dict):
            self.complain(key, f"{shown(value)} is not a table; write {label} on a line of its own, once")
            value = {}
        return Table(self.document, value, (*self.where, key), label)

    def tables(self, key: str) -> list[Table]:
        """The tables under `[[key]]`, each labelled by its name, or by its number from 1."""
        self.asked[key] = None
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.complain(key, f"{shown(value)} is not a list of tables; write [[{key}]], with two brackets")
            value = []
        return [
            Table(self.document, item, (*self.where, key, index), f"[[{key}]] {_name_of(item, index)}")
            for index, item in enumerate(value)
        ]

    def finish(self) -> None:
        """Complain about the keys that nobody asked for."""
        for key in self.data.keys() - self.asked.keys():
            unknown = f"unknown key {shown(key)}; {suggestion(key, self.asked)}"
            self.document.complain((*self.where, key), f"{self.label}: {unknown}" if self.label else unknown)


def _name_of(item: dict[str, object], index: int) -> str:
    name = item.get("name")
    return shown(name) if isinstance(name, str) and name else f"number {index + 1}"


def load(text: str, path: str, hint: str) -> Table:
    """The top table of `text`. A byte order mark and CRLF are fine. Raises ConfigError when it is no TOML."""
    text = text.removeprefix("\ufeff")
    try:
        data: dict[str, object] = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        for pattern, message in DAMAGE:
            found = pattern.search(text)
            if found is not None:
                line = text.count("\n", 0, found.start()) + 1
                raise ConfigError(f"{path}:{line}: {message}", hint=hint) from None
        message = EXPLAINED.get(error.msg, error.msg)
        raise ConfigError(f"{path}:{error.lineno}: {message} (column {error.colno})", hint=hint) from None
    except (ValueError, RecursionError):  # what tomli does not call a decode error
        raise ConfigError(f"{path}:1: numbers too long or lists nested too deep to read", hint=hint) from None
    return Table(Document(path, text), data)

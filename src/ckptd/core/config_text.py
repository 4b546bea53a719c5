"""Protocol buffers' text format (textproto): where its texts stand, and how one is spelled.

Follows the specification of the format: comments, adjacent strings that are one, messages in `{}` and `<>`, lists,
extensions in brackets. Needs no schema, so it cannot know whether a field exists. Unquoted `${NAME}` placeholders of
templates are let through. Reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ckptd.core.config_slots import Path, Slot, Unreadable, line_of, numbered

_TOKEN = re.compile(
    r"""
      (?P<space>[\s\v\f]+ | \#[^\n]*)
    | (?P<text>"(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*')
    | (?P<placeholder>\$\{[^}\n]*\} | \$\w+)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<number>\.?[0-9](?:(?<=[eE])[+-]|[\w.])*)
    | (?P<mark>[{}<>\[\]:,;/.-])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_CLOSES = {"{": "}", "<": ">"}
_END = "the end of the file"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    commented: bool  # a comment stands between the token before it and this one

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def scan(text: str) -> list[Slot]:
    """Every value in the order of the file. Raises Unreadable where the text is no textproto."""
    return _Reader(text).message("")


def spell(value: str, style: str) -> str:
    """`value` in quotes of `style`, escaped as the text format wants."""
    found = []
    for char in value:
        if char in ("\\", style):
            found.append("\\" + char)
        elif char < " " or char == "\x7f":
            found.append({"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(char, f"\\{ord(char):03o}"))
        else:
            found.append(char)
    return f"{style}{''.join(found)}{style}"


class _Reader:
    """Goes through the tokens once; slots have paths from where the method that returns them began."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *wanted: str) -> _Token | None:
        """The next token when it is one of these marks."""
        token = self._next
        if token.kind != "mark" or token.text not in wanted:
            return None
        self._at += 1
        return token

    def _need(self, *wanted: str) -> _Token:
        token = self._take(*wanted)
        if token is None:
            raise self._wrong(" or ".join(wanted))
        return token

    def _wrong(self, wanted: str) -> Unreadable:
        token = self._next
        shown = _END if token.kind == "end" else f"{token.text[:40]!r}"
        return Unreadable(line_of(self._text, token.start), f"{wanted} is expected, not {shown}")

    def message(self, closes: str) -> list[Slot]:
        """The fields up to `closes`, which is taken too; "" is the end of the file."""
        fields: list[tuple[str, list[Slot]]] = []
        while True:
            if not closes and self._next.kind == "end":
                return numbered(fields)
            if closes and self._take(closes) is not None:
                return numbered(fields)
            name = self._name()
            colon = self._take(":") is not None
            fields.append((name, self._value(scalar=colon)))
            self._take(",", ";")

    def _name(self) -> str:
        """A field's name, or an extension's or a type's without its brackets."""
        if self._take("[") is not None:
            parts = []
            while self._take("]") is None:
                if self._next.kind not in {"name", "number"} and self._next.text not in {".", "/", "-"}:
                    raise self._wrong("a name")
                parts.append(self._next.text)
                self._at += 1
            return "".join(parts)
        if self._next.kind != "name":
            raise self._wrong("a field")
        self._at += 1
        return self._tokens[self._at - 1].text

    def _value(self, *, scalar: bool = True) -> list[Slot]:
        opening = self._take("{", "<", "[")
        if opening is None:
            if not scalar:
                raise self._wrong(":")
            return [self._scalar()]
        if opening.text == "[":
            inner, problem = self._list(), "a list"
        else:
            inner, problem = self.message(_CLOSES[opening.text]), "a message"
        return [Slot((), opening.start, self._tokens[self._at - 1].end, problem=problem), *inner]

    def _list(self) -> list[Slot]:
        found: list[Slot] = []
        number = 0
        while self._take("]") is None:
            if number:
                self._need(",")
            found += [slot.under(number) for slot in self._value()]
            number += 1
        return found

    def _scalar(self) -> Slot:
        first = self._next
        path: Path = ()
        if first.kind == "text":
            return self._string()
        if first.kind == "placeholder":
            self._at += 1
            return Slot(path, first.start, first.end, first.text)
        self._take("-")
        if self._next.kind not in {"name", "number"}:
            raise self._wrong("a value")
        self._at += 1
        return Slot(path, first.start, self._tokens[self._at - 1].end, problem="a number or a name without quotes")

    def _string(self) -> Slot:
        """One text, or several that stand beside each other and are one."""
        first = last = self._next
        parts = []
        commented = False
        while self._next.kind == "text":
            last = self._next
            commented = commented or (last is not first and last.commented)
            parts.append(_meaning(last.text[1:-1]))
            self._at += 1
        value = b"".join(parts).decode("utf-8", "replace")
        problem = "written in pieces with comments between them" if commented else ""
        return Slot((), first.start, last.end, value, first.text[0], problem)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    commented = False
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quote is not closed" if text[at] in "\"'" else f"{text[at]!r} does not belong here"
            raise Unreadable(line_of(text, at), what)
        at = found.end()
        if found.lastgroup == "space":
            commented = commented or found[0].startswith("#")
        else:
            yield _Token(found.lastgroup or "", found[0], found.start(), commented)
            commented = False
    yield _Token("end", "", len(text), commented)


def _meaning(inner: str) -> bytes:
    """What stands between quotes, with its escapes undone."""

    def undo(found: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, other = found.groups()
        if octal is not None:
            return bytes((int(octal, 8) & 0xFF,))
        if hexadecimal is not None:
            return bytes((int(hexadecimal, 16),))
        if short is not None or long is not None:
            number = int(short or long, 16)
            return chr(number).encode("utf-8", "replace") if number <= 0x10FFFF else b"?"
        return _LETTERS.get(other, other)

    return _ESCAPE.sub(undo, inner.encode("utf-8", "replace"))

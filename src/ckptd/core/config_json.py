"""JSON (RFC 8259): where its texts stand, and how one is spelled.

Python's own parser says first whether it is JSON, so that the walk over its tokens need not. Comments of `//` and
`/* */` are let through, since many configs have them. Reads no file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ckptd.core.config_slots import Path, Slot, Unreadable, line_of

_TOKEN = re.compile(
    r"""
      (?P<text>"(?:[^"\\]|\\[\s\S])*")
    | (?P<comment>//[^\n]* | /\*[\s\S]*?\*/)
    | (?P<mark>[{}\[\]:,])
    | (?P<word>[^\s{}\[\]:,"/]+)
    """,
    re.VERBOSE,
)
_NOT_NEWLINE = re.compile(r"[^\n]")


@dataclass(slots=True)
class _Frame:
    """An object or a list that is being read; `key` is where in it we are."""

    mapping: bool
    key: str | int
    wants_key: bool


def scan(text: str) -> list[Slot]:
    """Every value in the order of the file. Raises Unreadable where the text is no JSON."""
    _check(text)
    found: list[Slot] = []
    frames: list[_Frame] = []
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        if kind == "comment":
            continue
        path: Path = tuple(each.key for each in frames)
        if word in ("{", "["):
            mapping = word == "{"
            found.append(Slot(path, token.start(), token.end(), problem="an object" if mapping else "a list"))
            frames.append(_Frame(mapping, "" if mapping else 0, wants_key=mapping))
        elif word in ("}", "]"):
            frames.pop()
        elif kind == "mark":
            _step(frames[-1], word)
        elif frames and frames[-1].wants_key:
            frames[-1].key = json.loads(word)
        elif kind == "text":
            found.append(Slot(path, token.start(), token.end(), json.loads(word)))
        else:
            problem = "" if word == "null" else "a number, true or false"
            found.append(Slot(path, token.start(), token.end(), problem=problem))
    return found


def _step(frame: _Frame, mark: str) -> None:
    frame.wants_key = frame.mapping and mark == ","
    if mark == "," and isinstance(frame.key, int):
        frame.key += 1


def _check(text: str) -> None:
    def blank(token: re.Match[str]) -> str:
        return _NOT_NEWLINE.sub(" ", token[0]) if token.lastgroup == "comment" else token[0]

    try:
        json.loads(_TOKEN.sub(blank, text))
    except json.JSONDecodeError as error:
        raise Unreadable(line_of(text, error.pos), f"this is not JSON: {error.msg}") from None
    except ValueError:
        raise Unreadable(1, "a number is too long to read") from None


def spell(value: str, style: str) -> str:
    """`value` as a JSON string."""
    del style
    return json.dumps(value, ensure_ascii=False)

"""YAML: where its texts stand, and how one is spelled.

PyYAML's events say at which character each scalar begins and ends; nothing is constructed, no tag is obeyed, no
alias is followed. Where it was built with libyaml that is used: it is eight times faster, and says the same.
Block texts (`|`, `>`) are not replaced: what is put there would stand on another line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import yaml

from ckptd.core.config_slots import Path, Slot, Unreadable, line_of

_NULL = "tag:yaml.org,2002:null"
_TEXT = "tag:yaml.org,2002:str"
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+|$))*")
# Fit for every context without quotes: no indicator, nothing that ends or comments a plain scalar.
_PLAIN = re.compile(r"[/A-Za-z][\w./+@%=~-]*")
_RESOLVER = yaml.resolver.Resolver()
MOST_NESTED = 200  # collections in each other; PyYAML takes quadratic time for what is deeper
LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(slots=True)
class _Frame:
    """A collection that is being read; `key` is where in it we are."""

    mapping: bool
    key: str | int = 0
    wants_key: bool = True


def scan(text: str) -> list[Slot]:
    """Every value in the order of the file. Raises Unreadable where the text is no YAML."""
    found: list[Slot] = []
    frames: list[_Frame] = []
    documents = 0
    try:
        for event in yaml.parse(text, Loader=LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                frames = [_Frame(mapping=False, key=documents)]
                documents += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                frames.pop()
                _next(frames)
            elif isinstance(event, yaml.NodeEvent):
                if len(frames) > MOST_NESTED:
                    raise Unreadable(line_of(text, _span(event)[0]), "nested too deep to read")
                slot = _node(event, frames, text)
                found += [] if slot is None else [slot]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark is not None else 1, error.problem or "this is not YAML") from None
    except yaml.reader.ReaderError as error:
        raise Unreadable(line_of(text, error.position), "a character that YAML does not allow") from None
    return found if documents > 1 else [replace(each, path=each.path[1:]) for each in found]


def _node(event: yaml.NodeEvent, frames: list[_Frame], text: str) -> Slot | None:
    """The slot of a node that is a value; None for a key. Moves on."""
    frame = frames[-1]
    is_key = frame.mapping and frame.wants_key
    path: Path = tuple(each.key for each in frames)
    start, end = _span(event)
    if isinstance(event, yaml.CollectionStartEvent):
        if is_key:
            frame.key = "?"
        mapping = isinstance(event, yaml.MappingStartEvent)
        frames.append(_Frame(mapping=mapping))
        return None if is_key else Slot(path, start, end, problem="a mapping" if mapping else "a list")
    if is_key:
        frame.key = event.value if isinstance(event, yaml.ScalarEvent) else "*"
    _next(frames)
    if is_key:
        return None
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, path, text)
    return Slot(path, start, end, problem="an alias of another value")


def _span(event: yaml.NodeEvent) -> tuple[int, int]:
    if event.start_mark is None or event.end_mark is None:
        raise Unreadable(1, "where this stands cannot be told")
    return event.start_mark.index, event.end_mark.index


def _next(frames: list[_Frame]) -> None:
    """After a node: a mapping goes from key to value and back, a list counts."""
    frame = frames[-1]
    if frame.mapping:
        frame.wants_key = not frame.wants_key
    elif len(frames) > 1 and isinstance(frame.key, int):
        frame.key += 1


def _scalar(event: yaml.ScalarEvent, path: Path, text: str) -> Slot:
    start, end = _span(event)
    if event.tag not in (None, "!", _TEXT):
        return Slot(path, start, end, problem=f"tagged {event.tag}")
    if event.anchor or event.tag:
        skipped = _PROPERTIES.match(text, start, end)
        start = skipped.end() if skipped is not None else start
        if start == end:
            return Slot(path, start, end, problem="an anchor or a tag without a value")
    if event.style in ("|", ">"):
        return Slot(path, start, end, problem=f"a block text ({event.style}); write it on one line")
    if event.style:
        return Slot(path, start, end, event.value, event.style)
    if start == end:
        return Slot(path, start, end, None, "empty")
    tag = _TEXT if event.tag else _tag(event.value)
    if tag == _NULL:
        return Slot(path, start, end, None, "plain")
    return Slot(path, start, end, event.value, "plain", "" if tag == _TEXT else "a number, a date, true or false")


def _tag(plain: str) -> str:
    """What a scalar without quotes is taken for."""
    found = _RESOLVER.resolve(yaml.ScalarNode, plain, (True, False))  # type: ignore[no-untyped-call]
    return str(found)


def spell(value: str, style: str) -> str:
    """`value` in the style of what stands there, in double quotes where that style cannot say it."""
    before = " " if style == "empty" else ""
    if style in ("plain", "empty") and _PLAIN.fullmatch(value) and value.isprintable() and _tag(value) == _TEXT:
        return before + value
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return before + '"' + "".join(_escaped(char) for char in value) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

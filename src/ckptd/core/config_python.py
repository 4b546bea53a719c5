"""Python files that are configs (mmengine, detectron2, ml_collections): where their texts stand, how one is spelled.

Positions are those of Python's own parser; nothing is run. Assignments, entries of dicts and keyword arguments have
keys; what is computed is not replaced. Reads no file.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

from ckptd.core.config_slots import Path, Slot, Unreadable

_NEWLINE = re.compile(r"\r\n|\r|\n")
_QUOTES = r"'''|\"\"\"|'|\""
_OPENING = re.compile(rf"([A-Za-z]*)({_QUOTES})")
_LITERAL = re.compile(
    r"""[A-Za-z]*(?:'''(?:[^\\]|\\[\s\S])*?'''|\"{3}(?:[^\\]|\\[\s\S])*?\"{3}"""
    r"""|'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*")"""
)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PIECES = "written in pieces with comments between them"


def scan(text: str) -> list[Slot]:
    """Every value that has a key, in the order of the file. Raises Unreadable where the text is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are the author's business
            tree = ast.parse(text)
    except SyntaxError as error:
        raise Unreadable(error.lineno or 1, f"this is not Python: {error.msg}") from None
    except (ValueError, MemoryError):
        raise Unreadable(1, "this is not Python, or nested too deep to read") from None
    return list(_Reader(text).block(tree.body, ()))


class _Reader:
    """Turns nodes into slots. Python counts columns in bytes of UTF-8, slots in characters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(found.end() for found in _NEWLINE.finditer(text))]
        # A null has no quotes of its own; it gets those that the file uses most.
        self._usual = "'" if text.count("'") > text.count('"') else '"'

    def block(self, statements: Sequence[ast.stmt], path: Path) -> Iterator[Slot]:
        for statement in statements:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        yield from self._assigned(target, value, path)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    yield from self._assigned(target, value, path)
                case ast.Expr(value=ast.Call() as value) | ast.Return(value=ast.expr() as value):
                    yield from self._inside(value, path)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    yield from self.block(statement.body, (*path, statement.name))
                case _:
                    for inner in _blocks(statement):
                        yield from self.block(inner, path)

    def _assigned(self, target: ast.expr, value: ast.expr, path: Path) -> Iterator[Slot]:
        named = _target(target)
        if named is not None:
            yield from self._value(value, (*path, *named))

    def _value(self, node: ast.expr, path: Path) -> Iterator[Slot]:
        """The slot of a value that has a key, then those inside it."""
        start, end = self._span(node)
        match node:
            case ast.Constant(value=str(value)):
                yield self._literal(path, start, end, value)
            case ast.Constant(value=None):
                yield Slot(path, start, end, None, self._usual)
            case ast.Constant():
                yield Slot(path, start, end, problem="a number, bytes, true or false")
            case ast.Dict():
                yield Slot(path, start, end, problem="a dict")
            case ast.List() | ast.Tuple() | ast.Set():
                yield Slot(path, start, end, problem="a list")
            case _:
                yield Slot(path, start, end, problem="computed")
        yield from self._inside(node, path)

    def _inside(self, node: ast.expr, path: Path) -> Iterator[Slot]:
        match node:
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield from self._value(value, (*path, key.value))
                    else:
                        yield from self._inside(value, path)
            case ast.Call(args=positional, keywords=keywords):
                for value in positional:
                    yield from self._inside(value, path)
                for keyword in keywords:
                    if keyword.arg is not None:
                        yield from self._value(keyword.value, (*path, keyword.arg))
                    else:
                        yield from self._inside(keyword.value, path)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                for number, item in enumerate(items):
                    yield from self._value(item, (*path, number))
            case _:
                pass

    def _literal(self, path: Path, start: int, end: int, value: str) -> Slot:
        written = self._text[start:end]
        opening = _OPENING.match(written)
        problem = _PIECES if "#" in _LITERAL.sub("", written) else ""
        return Slot(path, start, end, value, opening[0] if opening is not None else '"', problem)

    def _span(self, node: ast.expr) -> tuple[int, int]:
        if node.end_lineno is None or node.end_col_offset is None:
            raise Unreadable(node.lineno, "where this ends cannot be told")
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        # No character takes fewer than one byte, so so many characters hold the column.
        return start + len(self._text[start : start + column].encode()[:column].decode())


def _target(node: ast.expr) -> Path | None:
    """The path of what is assigned to: `cfg.MODEL.WEIGHTS`, `cfg["load_from"]`; None when it has no fixed name."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=inner, attr=name):
            outer = _target(inner)
            return None if outer is None else (*outer, name)
        case ast.Subscript(value=inner, slice=ast.Constant(value=str(key) | int(key))):
            outer = _target(inner)
            return None if outer is None else (*outer, key)
        case _:
            return None


def _blocks(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """The blocks of a compound statement."""
    match statement:
        case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
            yield from (statement.body, statement.orelse)
        case ast.With() | ast.AsyncWith():
            yield statement.body
        case ast.Try() | ast.TryStar():
            yield statement.body
            yield from (handler.body for handler in statement.handlers)
            yield from (statement.orelse, statement.finalbody)
        case ast.Match():
            yield from (case.body for case in statement.cases)
        case _:
            pass


def spell(value: str, style: str) -> str:
    """`value` between the prefix and quotes of `style`; a raw string only where it can say it."""
    found = _OPENING.fullmatch(style)
    prefix, quotes = (found[1], found[2]) if found is not None else ("", '"')
    if "r" in prefix.lower() and value.isprintable() and not set(value) & {"\\", quotes[0]}:
        return f"{prefix}{quotes}{value}{quotes}"
    prefix = "".join(letter for letter in prefix if letter not in "rR")
    inner = "".join(_escaped(char, quotes[0]) for char in value)
    return f"{prefix}{quotes}{inner}{quotes}"


def _escaped(char: str, quote: str) -> str:
    if char == quote:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

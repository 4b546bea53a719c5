"""Where in a config file a value stands, what its key is called, and which keys an operator means.

Every format is read into `Slot`s by a module of its own (`config_text`, `config_yaml`, `config_toml`, `config_json`,
`config_python`); what happens to them is decided in `configs`. Knows no format, replaces nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ckptd.core.document import bare, shown
from ckptd.errors import ConfigError

Path = tuple[str | int, ...]

_PART = re.compile(r'\.?(?:"([^"]+)"|([^.\[\]\s"]+)|\[([0-9]{1,9})\])')


class Unreadable(ValueError):  # noqa: N818  # not an error of the program: the text is not of that format
    """A text is not what its format wants; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Slot:
    """A value of a config file.

    `start` and `end` are offsets in characters of what stands for it, quotes and all. `value` is the text it means,
    None where it is null. `style` is the format's own note of how it is spelled. `problem` says what else it is
    when it is no text ("a list"); then it is never replaced.
    """

    path: Path
    start: int
    end: int
    value: str | None = None
    style: str = '"'
    problem: str = ""

    def under(self, *outer: str | int) -> Slot:
        """The same slot, seen from further out."""
        return replace(self, path=(*outer, *self.path))


@dataclass(frozen=True, slots=True)
class Key:
    """What `--key` says: the last parts of a slot's path, or all of it when it began with a dot."""

    parts: Path
    whole: bool = False

    def fits(self, path: Path) -> bool:
        """Whether `path` ends so. Positions in lists may be left out of the key; dots in a name part it."""
        flat: list[str | int] = []
        for part in path:
            flat += [part] if isinstance(part, int) else part.split(".")
        for wanted in reversed(self.parts):
            while flat and isinstance(flat[-1], int) and not isinstance(wanted, int):
                flat.pop()
            if not flat or flat.pop() != wanted:
                return False
        return not self.whole or all(isinstance(part, int) for part in flat)


def parse_key(written: str) -> Key:
    """`model_options.initial_checkpoint`, `stages[1].weights`, `.load_from` (the outermost). Raises ConfigError."""
    whole = written.startswith(".")
    parts: list[str | int] = []
    at = 0
    while at < len(written):
        found = _PART.match(written, at)
        if found is None or (at > 0 and found[0][0] not in ".["):
            raise ConfigError(
                f"--key {shown(written)} is not a key", hint="write names with dots between: model_options.checkpoint"
            )
        parts += [int(found[3])] if found[3] else (found[1] or found[2]).split(".")
        at = found.end()
    if not parts:
        raise ConfigError("--key is empty", hint="write a name, such as --key load_from")
    return Key(tuple(parts), whole)


def spelled(path: Path) -> str:
    """A path as `--key` takes it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{bare(part)}"
    return text.removeprefix(".")


def line_of(text: str, offset: int) -> int:
    """The line that `offset` is in, from 1."""
    return text.count("\n", 0, offset) + 1


def lines_in(text: str) -> Callable[[int], int]:
    """As `line_of`, for many offsets in one text."""
    ends = [found.start() for found in re.finditer("\n", text)]
    return lambda offset: bisect_left(ends, offset) + 1


def numbered(fields: Sequence[tuple[str, Sequence[Slot]]]) -> list[Slot]:
    """The slots of fields that may repeat, under their names, and under a number where one does."""
    total: dict[str, int] = {}
    for name, _ in fields:
        total[name] = total.get(name, 0) + 1
    seen: dict[str, int] = {}
    found = []
    for name, slots in fields:
        number = seen.get(name, 0)
        seen[name] = number + 1
        outer = (name, number) if total[name] > 1 else (name,)
        found += [slot.under(*outer) for slot in slots]
    return found

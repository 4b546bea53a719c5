"""`use`: which value of a config file becomes the path of a checkpoint, and the file's text with only that changed.

Decides between the candidates that the format's own module found, replaces characters, and proves the result by
reading it again: every key is still there, and no value but the chosen ones is another. Reads and writes no file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core import config_json, config_python, config_text, config_toml, config_yaml
from ckptd.core.config_slots import Key, Path, Slot, Unreadable, lines_in, parse_key, spelled
from ckptd.core.document import nearest, shown
from ckptd.core.urls import redact_text
from ckptd.errors import ConfigError

DEFAULT_KEY = "initial_checkpoint"
PLACEHOLDERS = ("${INIT_CHECKPOINT}", "$INIT_CHECKPOINT")
# What people call a path to weights: suggested where the wanted key is not there.
KNOWN_KEYS = frozenset(
    (
        *("initial_checkpoint", "init_checkpoint", "fine_tune_checkpoint", "checkpoint", "checkpoint_path"),
        *("ckpt", "ckpt_path", "load_from", "resume_from", "restore_from", "weights", "pretrained"),
        *("model_name_or_path", "pretrained_model_name_or_path"),
    )
)
MOST_NAMED = 8  # keys in one message
BYTE_ORDER_MARK = "\ufeff"


class Format(StrEnum):
    """What a config file is written in."""

    TEXTPROTO = "textproto"
    YAML = "yaml"
    TOML = "toml"
    JSON = "json"
    PYTHON = "python"


ENDINGS = {
    ".textproto": Format.TEXTPROTO,
    ".textpb": Format.TEXTPROTO,
    ".txtpb": Format.TEXTPROTO,
    ".pbtxt": Format.TEXTPROTO,
    ".pbtext": Format.TEXTPROTO,
    ".prototxt": Format.TEXTPROTO,
    ".yaml": Format.YAML,
    ".yml": Format.YAML,
    ".toml": Format.TOML,
    ".json": Format.JSON,
    ".jsonc": Format.JSON,
    ".py": Format.PYTHON,
}
_FORMATS: dict[Format, tuple[Callable[[str], list[Slot]], Callable[[str, str], str]]] = {
    Format.TEXTPROTO: (config_text.scan, config_text.spell),
    Format.YAML: (config_yaml.scan, config_yaml.spell),
    Format.TOML: (config_toml.scan, config_toml.spell),
    Format.JSON: (config_json.scan, config_json.spell),
    Format.PYTHON: (config_python.scan, config_python.spell),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be changed: a key (None: `initial_checkpoint`, or a placeholder), one value or `every` one."""

    key: str | None = None
    every: bool = False
    format: Format | None = None  # None: by the file's name


@dataclass(frozen=True, slots=True)
class Change:
    """One value that was looked at; `old` is None where there was a null, and equal to `new` where it was right."""

    key: str
    line: int
    old: str | None
    new: str

    @property
    def changed(self) -> bool:
        return self.old != self.new


@dataclass(frozen=True, slots=True)
class Edited:
    """The whole text as it should be, and what is different in it."""

    text: str
    changes: tuple[Change, ...]

    @property
    def changed(self) -> bool:
        return any(change.changed for change in self.changes)


def edit(text: str, name: str, value: str, wanted: Wanted | None = None) -> Edited:
    """The text of the config file called `name` with `value` where `wanted` says.

    Args:
        text: the whole file, with its line ends, and its byte order mark if it has one.
        name: the file's path, for its format and for messages.
        value: the path to write.
        wanted: which value; the default key when left out.

    Raises:
        ConfigError: no such key, several without `every`, a value that is no text, a file that is not of its
            format. One line: file, line, what stands there, what to write instead.
    """
    wanted = wanted or Wanted()
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{shown(value)} is not UTF-8, so it cannot be written into a config") from None
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    body = text.removeprefix(BYTE_ORDER_MARK)
    form = wanted.format or _format_of(name)
    slots = _read(body, name, form)
    try:
        chosen = _choose(slots, body, name, value, wanted)
    except ConfigError as error:
        if form is not None:
            raise
        raise ConfigError(f"{error.message} (read as textproto; --format says otherwise)") from None
    line = lines_in(body)
    changes = tuple(Change(spelled(slot.path), line(slot.start), slot.value, value) for slot in chosen)
    if not any(change.changed for change in changes):
        return Edited(text, changes)
    edited = _replaced(body, [slot for slot in chosen if slot.value != value], value, form)
    _prove(slots, chosen, edited, name, value, form)
    return Edited(mark + edited, changes)


def difference(name: str, old: str, new: str) -> list[str]:
    """A unified diff, line by line without line ends, without credentials."""
    lines = []
    for line in difflib.unified_diff(_lines(old), _lines(new), name, name):
        lines.append(redact_text(line.rstrip("\r\n")))
        if not line.endswith("\n"):
            lines.append("\\ No newline at end of file")
    return lines


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _format_of(name: str) -> Format | None:
    base = name.rpartition("/")[2].lower()
    return next((form for ending, form in ENDINGS.items() if base.endswith(ending)), None)


def _read(text: str, name: str, form: Format | None) -> list[Slot]:
    """A file whose name says nothing is tried as textproto, the strictest of those without a mark of their own."""
    scan, _ = _FORMATS[form or Format.TEXTPROTO]
    try:
        return scan(text)
    except Unreadable as error:
        if form is None:
            raise ConfigError(
                f"{name}: the name does not tell its format, and it is not textproto; give --format"
            ) from None
        raise ConfigError(f"{name}:{error.line}: {redact_text(error.message)}") from None
    except (RecursionError, MemoryError):
        raise ConfigError(f"{name}: nested too deep to read") from None


def _choose(slots: Sequence[Slot], text: str, name: str, value: str, wanted: Wanted) -> list[Slot]:
    key = parse_key(wanted.key or DEFAULT_KEY)
    matching = [slot for slot in slots if _matches(slot, key, placeholders=wanted.key is None)]
    # Two names of one value (`a = b = "x"`) are one place to write to.
    usable = list({slot.start: slot for slot in matching if not slot.problem}.values())
    if not usable and wanted.key is None:
        # A placeholder that was filled in under another key is not there any more: its value is.
        usable = [slot for slot in slots if slot.value == value]
    if not usable:
        raise ConfigError(f"{name}{_nothing(slots, matching, text, key)}")
    if len(usable) > 1 and not wanted.every and any(slot.value != value for slot in usable):
        line = lines_in(text)
        named = [f"{_unambiguous(slot.path, slots)} (line {line(slot.start)})" for slot in usable[:MOST_NAMED]]
        raise ConfigError(
            f"{name}: {spelled(key.parts)} stands here {len(usable)} times: {_listed(named, len(usable))}; "
            "name one with --key, or write all of them with --all"
        )
    return usable


def _matches(slot: Slot, key: Key, *, placeholders: bool) -> bool:
    return key.fits(slot.path) or (placeholders and not slot.problem and slot.value in PLACEHOLDERS)


def _unambiguous(path: Path, slots: Iterable[Slot]) -> str:
    """A path as `--key` has to spell it."""
    text = spelled(path)
    others = (each for each in slots if not each.problem and each.path != path)
    return f".{text}" if any(Key(path).fits(each.path) for each in others) else text


def _nothing(slots: Sequence[Slot], matching: Sequence[Slot], text: str, key: Key) -> str:
    """What to say after the file's name where nothing can be replaced."""
    line = lines_in(text)
    if matching:
        slot = matching[0]
        return f":{line(slot.start)}: {spelled(slot.path)} is {slot.problem}; only a text can be replaced"
    usable = [slot for slot in slots if not slot.problem and slot.path and isinstance(slot.path[-1], str)]
    last = {str(slot.path[-1]): None for slot in usable}
    close = nearest(str(key.parts[-1]), last)
    meant = [slot for slot in usable if slot.path[-1] == close or str(slot.path[-1]).lower() in KNOWN_KEYS]
    named = [f"{spelled(slot.path)} (line {line(slot.start)})" for slot in meant[:MOST_NAMED]]
    instead = f"give --key; what may be meant: {_listed(named, len(meant))}" if named else "give --key"
    return f": there is no {spelled(key.parts)} here; {instead}"


def _listed(named: Sequence[str], total: int) -> str:
    more = f" and {total - len(named)} more" if total > len(named) else ""
    return ", ".join(named) + more


def _replaced(text: str, chosen: Sequence[Slot], value: str, form: Format | None) -> str:
    _, spell = _FORMATS[form or Format.TEXTPROTO]
    parts, at = [], 0
    for slot in sorted(chosen, key=lambda slot: slot.start):
        parts += [text[at : slot.start], spell(value, slot.style)]
        at = slot.end
    return "".join([*parts, text[at:]])


def _prove(
    before: Sequence[Slot], chosen: Sequence[Slot], text: str, name: str, value: str, form: Format | None
) -> None:
    """Raises ConfigError unless `text` says what it said before, and `value` in the chosen places."""
    places = {slot.start for slot in chosen}
    expected = [(slot.path, value if slot.start in places and not slot.problem else slot.value) for slot in before]
    scan, _ = _FORMATS[form or Format.TEXTPROTO]
    try:
        found = [(slot.path, slot.value) for slot in scan(text)]
    except Unreadable:
        found = []
    if found != expected:
        raise ConfigError(f"{name}: the value cannot be replaced without changing more; write it by hand once")

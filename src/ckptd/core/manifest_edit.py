"""Entries appended to a manifest's text, and a key put into some: what stands there stays as it is, byte for byte.

New entries are written by tomlkit and put at the end, which TOML always allows for `[[checkpoint]]`; only where the
manifest has `checkpoint = [...]` as one value does tomlkit edit that value in place. Checks nothing: whoever writes the
result parses it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tomli
import tomlkit
from tomlkit.items import Array

from ckptd.core.lines import find_lines
from ckptd.core.models import Checkpoint

MINIMAL = """\
# What this store should hold: `ckptd sync` fetches it, `ckptd verify` proves that it is still the same.

[store]
path = "checkpoints"
"""
BYTE_ORDER_MARK = "\ufeff"


def append(text: str, checkpoints: Sequence[Checkpoint]) -> str:
    """`text` with these entries behind all others. An empty text becomes a whole manifest.

    `text` must be a manifest that `core.manifest.parse` accepts.
    """
    if not checkpoints:
        return text
    if not text.strip().strip(BYTE_ORDER_MARK):
        text += MINIMAL
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    plain = text.removeprefix(mark)
    end = "\r\n" if 2 * plain.count("\r\n") > plain.count("\n") else "\n"
    if _is_one_value(plain):
        return mark + _into_value(plain, checkpoints)
    gap = "" if plain.endswith(("\n\n", "\r\n\r\n")) else end if plain.endswith("\n") else end * 2
    added = "\n".join(f"[[checkpoint]]\n{_lines(each)}" for each in checkpoints)
    return mark + plain + gap + added.replace("\n", end)


def put_in_place(text: str, paths: Mapping[str, str]) -> str:
    """`text` with `in_place` in the entries of these names, which have none yet: a line behind their `url`.

    `text` must be a manifest that `core.manifest.parse` accepts, and name them all.
    """
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    plain = text.removeprefix(mark)
    for name, path in paths.items():
        plain = _with_line(plain, name, path)
    return mark + plain


def _with_line(text: str, name: str, path: str) -> str:
    """A line of its own where the entry has one for each key; else tomlkit finds a place for it."""
    wanted = tomli.loads(text)
    index = next(number for number, each in enumerate(wanted["checkpoint"]) if each["name"] == name)
    wanted["checkpoint"][index]["in_place"] = path
    lines = text.splitlines(keepends=True)
    after = find_lines(text).of(("checkpoint", index, "url"))
    line = lines[after - 1]
    end = "\r\n" if line.endswith("\r\n") else "\n"
    lines[after - 1] = line if line.endswith("\n") else line + end
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    lines.insert(after, f"{indent}in_place = {tomlkit.item(path).as_string()}{end}")
    made = "".join(lines)
    try:
        if tomli.loads(made) == wanted:
            return made
    except tomli.TOMLDecodeError:
        pass
    document = tomlkit.parse(text)
    document["checkpoint"][index]["in_place"] = path
    return tomlkit.dumps(document)


def _is_one_value(text: str) -> bool:
    """Whether `checkpoint` is written as `checkpoint = [...]`, which no [[checkpoint]] can follow."""
    try:
        tomli.loads(f"{text}\n[[checkpoint]]\n")
    except tomli.TOMLDecodeError:
        return True
    return False


def _into_value(text: str, checkpoints: Sequence[Checkpoint]) -> str:
    document = tomlkit.parse(text)
    value = document["checkpoint"]
    if not isinstance(value, Array):
        raise TypeError("the text is not a manifest")
    for each in checkpoints:
        table = tomlkit.inline_table()
        table.update(_entry(each))
        value.append(table)
    return tomlkit.dumps(document)


def _lines(checkpoint: Checkpoint) -> str:
    """A line for each key: values spelled by tomlkit, which takes its time only for whole documents."""
    return "".join(f"{key} = {tomlkit.item(value).as_string()}\n" for key, value in _entry(checkpoint).items())


def _entry(checkpoint: Checkpoint) -> dict[str, object]:
    """The keys of an entry that say something, in the order in which people write them."""
    said: dict[str, object] = {"name": checkpoint.name, "url": checkpoint.url}
    if checkpoint.mirrors:
        said["mirrors"] = list(checkpoint.mirrors)
    if checkpoint.sha256 is not None:
        said["sha256"] = checkpoint.sha256
    if checkpoint.size is not None:
        said["size"] = checkpoint.size
    if checkpoint.unpack:
        said["unpack"] = True
    if checkpoint.tags:
        said["tags"] = list(checkpoint.tags)
    if checkpoint.description:
        said["description"] = checkpoint.description
    if checkpoint.allow_http:
        said["allow_http"] = True
    if checkpoint.in_place is not None:
        said["in_place"] = checkpoint.in_place
    return said

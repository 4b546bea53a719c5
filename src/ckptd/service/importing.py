"""What is to be imported from this machine, a file or standard input, and what any source holds.

Its text is read by `core.imports`, what becomes of it is decided in `core.imports.additions`, and `manifest_file`
writes it. Touches no network: pages and listings come from `importing_web`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace

from ckptd.core.imports import formats
from ckptd.core.imports.candidates import Reading
from ckptd.core.imports.formats import Format
from ckptd.core.imports.links import folder
from ckptd.errors import ConfigError

LARGEST = 32 * 1024 * 1024  # bytes of a source


@dataclass(frozen=True, slots=True)
class Material:
    """A source as text. `base` ends with "/" and is what its relative names stand below; None: not known."""

    text: str
    name: str  # for messages: no secret in it
    base: str | None = None
    path: str = ""  # tells the format: a file name or a URL's path
    media_type: str = ""
    notes: tuple[str, ...] = ()


def read_file(source: str, base: str | None) -> Material:
    """A file, or stdin for "-". Raises ConfigError."""
    try:
        if source == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {os.strerror(error.errno or 0)}") from None
    name = "standard input" if source == "-" else source
    return material(data, name, base=folder(base) if base else None, path="" if source == "-" else source)


def material(data: bytes, name: str, *, base: str | None, path: str, media_type: str = "") -> Material:
    """Bytes of a source as text. Raises ConfigError when they are too many, or no text."""
    if len(data) > LARGEST:
        raise ConfigError(f"{name} is larger than {LARGEST // 1024 // 1024} MiB, so it is no page and no list")
    try:
        text = formats.decode(data, media_type)
    except ValueError as error:
        raise ConfigError(f"{name} {error}", hint="`ckptd add URL` adds a file itself") from None
    return Material(text, name, base, path, media_type)


def is_url(source: str) -> bool:
    """Whether a source is an address, not a file of that name."""
    return "://" in source and not os.path.exists(source)


def interpret(source: Material, wanted: Format | None, *, all_files: bool) -> Reading:
    """What a source holds. Raises ConfigError, which names the source, when it cannot be read."""
    found = wanted or formats.recognise(source.text, source.path, source.media_type)
    try:
        reading = _read(source, found, all_files=all_files)
    except ConfigError as error:
        said = error.message.replace("\n", f"\n{source.name}: ")
        raise ConfigError(f"{source.name}: {said}", hint=error.hint) from None
    return replace(reading, notes=(*source.notes, *reading.notes))


def _read(source: Material, found: Format, *, all_files: bool) -> Reading:
    """Only the reader that is needed is imported: parsers cost."""
    from ckptd.core.imports import lists, uris  # noqa: PLC0415

    match found:
        case Format.MARKDOWN | Format.HTML:
            from ckptd.core.imports import pages  # noqa: PLC0415

            read = pages.read_markdown if found is Format.MARKDOWN else pages.read_html
            return read(source.text, source.base, all_files=all_files)
        case Format.METALINK:
            from ckptd.core.imports import metalink  # noqa: PLC0415

            return metalink.read(source.text)
        case Format.SHA256SUMS:
            return lists.read_sums(source.text, source.base)
        case Format.POOCH:
            return lists.read_registry(source.text, source.base)
        case Format.ARIA2 | Format.URLS:
            return uris.read_uris(source.text)

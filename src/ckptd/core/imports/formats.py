"""What a source is: bytes to text, and text to one of the formats that can be read. Reads none of them itself.

Judged by name, media type and the lines themselves, in this order, since lists of all kinds are called `.txt`.
"""

from __future__ import annotations

import codecs
import re
from enum import StrEnum

from ckptd.core.imports.lists import is_registry, is_sums
from ckptd.core.imports.uris import is_uris

SAMPLE = 200  # lines that are looked at


class Format(StrEnum):
    """The formats by the names that `--format` takes."""

    MARKDOWN = "markdown"
    HTML = "html"
    SHA256SUMS = "sha256sums"
    METALINK = "metalink"
    ARIA2 = "aria2"
    POOCH = "pooch"
    URLS = "urls"


BY_SUFFIX = {
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".mdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".meta4": Format.METALINK,
    ".metalink": Format.METALINK,
    ".sha256": Format.SHA256SUMS,
    ".sha256sum": Format.SHA256SUMS,
    ".aria2": Format.ARIA2,
}
BY_TYPE = {
    "text/markdown": Format.MARKDOWN,
    "text/html": Format.HTML,
    "application/xhtml+xml": Format.HTML,
    "application/metalink4+xml": Format.METALINK,
    "application/metalink+xml": Format.METALINK,
}

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# What may stand before the first element. A comment ends at the first "-->": read in one way only, so that a run of
# comments costs no more than its length.
_BEFORE = r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*"
_XML = re.compile(_BEFORE + r"<(?:\w+:)?metalink[\s>]", re.DOTALL)
_HTML = re.compile(_BEFORE + r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


def decode(data: bytes, media_type: str = "") -> str:
    """The text in `data`, by its byte order mark, the Content-Type's charset, a meta element, UTF-8, else Latin 1.

    Raises ValueError when it is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data:
        raise ValueError("is not text")
    named = _CHARSET.search(media_type) or _CHARSET.search(data[:1024].decode("latin-1"))
    for encoding in ("utf-8", named[1] if named else "", "windows-1252"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("latin-1")


def recognise(text: str, name: str = "", media_type: str = "") -> Format:
    """The format of a source that is called `name` (a file name or a URL's path)."""
    head = text[:4096]
    if _XML.match(head):
        return Format.METALINK
    last = name.rpartition("/")[2].lower()
    by_name = BY_SUFFIX.get(last[last.rfind(".") :] if "." in last else "")
    if "sha256sum" in last and by_name is None:
        by_name = Format.SHA256SUMS
    by_type = BY_TYPE.get(media_type.partition(";")[0].strip().lower())
    if by_type is Format.HTML and not _HTML.match(head) and by_name is not None:
        by_type = None  # raw files behind a server that calls everything a page
    found = by_name if by_type is None else by_type
    return found or (Format.HTML if _HTML.match(head) else _by_lines(text))


def _by_lines(text: str) -> Format:
    lines = [line for line in text.splitlines()[: 10 * SAMPLE] if line.strip() and not line.startswith("#")][:SAMPLE]
    for check, found in ((is_sums, Format.SHA256SUMS), (is_registry, Format.POOCH), (is_uris, Format.ARIA2)):
        fitting = [line for line in lines if check(line)]
        if fitting and (len(fitting) == len(lines) or _mostly(found, lines, len(fitting))):
            return found
    return Format.MARKDOWN


def _mostly(found: Format, lines: list[str], fitting: int) -> bool:
    """Whether a text is a list with some wrong lines in it, so that its reader names them; as a page it loses pins.

    Pages hold digests seldom and URLs often: those make a list only where it begins with one and no prose holds any.
    """
    if found is Format.ARIA2:
        others = [line for line in lines if not is_uris(line)]
        return is_uris(lines[0]) and 2 * fitting >= len(lines) and not any("://" in line for line in others)
    return 2 * fitting > len(lines)

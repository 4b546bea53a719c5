"""HTML as a tree of elements, so that no text can become markup: it is escaped when the tree is written.

Text and attributes lose what is not printable, and URLs in them what is secret, whoever wrote them. Draws nothing.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from ckptd.core.urls import redact_text

Part = ET.Element | str | None
_BREAKS = re.compile(r"(?<=[/_])(?=[^/_])")
_KEPT = " \n\N{NO-BREAK SPACE}\N{THIN SPACE}"


def element(tag: str, *parts: Part, **attributes: str | float | None) -> ET.Element:
    """An element with these children. `cls` is its class, other names have "-" for "_"; None is left out."""
    made = ET.Element(tag)
    for key, value in attributes.items():
        if value is not None:
            made.set("class" if key == "cls" else key.replace("_", "-"), harmless(str(value)))
    last: ET.Element | None = None
    for part in parts:
        if isinstance(part, str):
            text = harmless(part)
            if last is None:
                made.text = (made.text or "") + text
            else:
                last.tail = (last.tail or "") + text
        elif part is not None:
            made.append(part)
            last = part
    return made


def harmless(text: str) -> str:
    """`text` without secrets in its URLs, and with U+FFFD for what is not printable (a bidirectional override, ...)."""
    if not text.isascii() or not text.isprintable():
        text = "".join(char if char.isprintable() or char in _KEPT else "\N{REPLACEMENT CHARACTER}" for char in text)
    return redact_text(text) if "://" in text or "=" in text else text


def breakable(text: str) -> list[Part]:
    """`text` that may be broken after "/" and "_", which browsers do not do by themselves; copying it gives `text`."""
    parts = _BREAKS.split(harmless(text))
    return [part for each in parts for part in (ET.Element("wbr"), each)][1:]


def document(root: ET.Element) -> str:
    """The whole document as text. A style element is written as it is: it must not come from elsewhere."""
    return f"<!DOCTYPE html>\n{ET.tostring(root, encoding='unicode', method='html')}\n"

"""The page for colleagues: which checkpoints are there, how sure, where, what runs now, whether the promise holds.

Values in, HTML out, in the language of the report (`ckptd.ui.report`). It is drawn in parts, so that an open page is
kept up to date by replacing those that have changed; that, copying and finding is all that its script does. It asks
for nothing from elsewhere, is complete without a script, and what was written by others is text in it, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from xml.etree import ElementTree as ET
from zlib import crc32

from ckptd.front.page_parts import at_work, lately, promised, top, words, wrong
from ckptd.front.page_table import NAME, everything, rows
from ckptd.front.scene import Scene, headline
from ckptd.ui.elements import element as e
from ckptd.ui.report_style import STYLE
from ckptd.ui.report_words import moment

_OURS = files("ckptd.front")
STYLES = STYLE + _OURS.joinpath("page.css").read_text(encoding="utf-8")
SCRIPT = _OURS.joinpath("page.js").read_text(encoding="utf-8")
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke-width='2.4' "
    "stroke-linecap='round' stroke-linejoin='round'%3E%3Ccircle cx='12' cy='12' r='10.5' fill='%2322694b'/%3E"
    "%3Cpath d='M6.5 12.5l3.8 3.8 7.4-8.4' stroke='white'/%3E%3C/svg%3E"
)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (  # CSP level 3: nothing from elsewhere, and no style or script but these two
    f"default-src 'none'; style-src {_digest(STYLES)}; script-src {_digest(SCRIPT)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The page at one moment, in HTML: parts by their ids. `version` tells one state of the table from another."""

    tone: str
    title: str
    parts: Mapping[str, str]  # all but the table
    table: str
    rows: Mapping[str, str]  # of the table, by their ids
    version: str
    at: float  # POSIX seconds
    host: str
    program: str  # name and version


def frame(scene: Scene) -> Frame:
    """Draw it."""
    tone, verdict = headline(scene)
    drawn = (top(scene, tone, verdict), wrong(scene), promised(scene), at_work(scene), lately(scene))
    cells = rows(scene)
    table = _html(everything(cells))
    return Frame(
        tone=tone.value,
        title=f"{verdict.rstrip('.')} · {scene.host}",
        parts={str(each.get("id")): _html(each) for each in drawn},
        table=table,
        rows={key: _html(each) for key, each in cells.items()},
        version=f"{crc32(table.encode()):08x}",
        at=scene.now,
        host=scene.host,
        program=f"ckptd {scene.account['version']}",
    )


def _html(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode", method="html")


def document(shown: Frame) -> str:
    """The whole page."""
    parts = shown.parts
    head = e(
        "head",
        e("meta", charset="utf-8"),
        e("title", shown.title),
        e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        e("meta", name="color-scheme", content="light dark"),
        e("meta", name="robots", content="noindex"),
        e("link", rel="icon", href=ICON),
        e("noscript", e("meta", http_equiv="refresh", content="60")),
    )
    live = e("span", "as of ", moment(shown.at), id="live", cls="live")
    eyebrow = e("div", e("span", f"Checkpoints on {shown.host}"), live, cls="eyebrow")
    links = (e("a", text, href=text) for text in ("status.json", "metrics", "healthz"))
    told = f"{shown.program}. This page only shows; what it names is done with the program."
    footer = e("footer", e("nav", *links, aria_label="For programs"), e("p", told))
    return (
        f'<!DOCTYPE html>\n<html lang="en">{_html(head).removesuffix("</head>")}<style>{STYLES}</style></head>'
        f'<body class="tone-{shown.tone}" data-have="{shown.version}"><main>{_html(eyebrow)}'
        f'<p id="say" class="unseen" role="status"></p>{parts["top"]}{parts["wrong"]}'
        f'<div class="pair">{parts["promise"]}{parts["now"]}</div>{shown.table}{parts["lately"]}{_html(words())}</main>'
        f"{_html(footer)}<script>{SCRIPT}</script></body></html>\n"
    )


class Reader:
    """What one open page shows, and so what it has to be told. `have` is the version of the table that it has."""

    def __init__(self, have: str) -> None:
        self._have = have
        self._parts: Mapping[str, str] = {}
        self._rows: Mapping[str, str] | None = None
        self._title = ""

    def news(self, shown: Frame) -> str:
        """What has changed, as a server-sent event (HTML standard, section 9.2); empty when nothing has."""
        if self._have == shown.version:
            self._rows = shown.rows
        parts = {key: html for key, html in shown.parts.items() if self._parts.get(key) != html}
        if self._rows is None or list(self._rows) != list(shown.rows):
            parts[NAME] = shown.table
        else:
            parts |= {key: html for key, html in shown.rows.items() if self._rows[key] != html}
        if not parts and self._title == shown.title:
            return ""
        self._have, self._parts, self._rows, self._title = shown.version, shown.parts, shown.rows, shown.title
        told = {"title": shown.title, "tone": shown.tone, "parts": parts}
        return f"id: {shown.version}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"

"""HTML as the few things that say what a link is about: headings, table rows, list items, paragraphs, in page order.

The parser is lxml (libxml2): a page is foreign text, and lxml stays linear in time and bounded in depth on every broken
page that was tried, where Lexbor is quadratic on nested lists and the standard library's on unclosed tags and comments.
It calls the methods of `Outline` while it reads; no tree is built. What the parts mean is the business of `pages`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from ckptd.core.imports.blocks import Block, Heading, Link, Prose, Text, squeeze
from ckptd.core.imports.grid import Grid
from ckptd.core.imports.links import is_badge
from ckptd.errors import ConfigError

DEEPEST = 2000  # elements within each other; libxml2 itself stops at 2048
MOST_ABOVE = 4  # items around an item that describe it
LONGEST_LEAD = 100  # characters of bold text that may be the heading of what follows

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "summary", "caption", "legend"})
ITEMS = frozenset({"li", "dt", "dd"})
CELLS = frozenset({"td", "th"})
BOLD = frozenset({"strong", "b"})
NOT_AROUND_HEADINGS = CELLS | ITEMS
MUTE = frozenset({"script", "style", "template", "title", "noscript", "select", "textarea"})
BREAKS = frozenset(
    {
        "p", "div", "section", "article", "header", "footer", "main", "nav", "aside", "br", "hr", "ul", "ol", "dl",
        "table", "blockquote", "pre", "figure", "figcaption", "details", "form", "address", "tr", "thead", "tbody",
        "tfoot", "body", "html",
    }
)  # fmt: skip
_URL = re.compile(r"(?:https?|gs|hf|s3|ftp)://[^\s<>\"'`|\\^{}]+", re.IGNORECASE)
_SPAN = re.compile(r"[0-9]{1,4}")


def outline(html: str) -> tuple[list[Block], str | None]:
    """The blocks of a page in its order, and the href of its `base`. Raises ConfigError for a bottomless one."""
    target = Outline()
    # The stubs want targets that take bytes too, which lxml sends to none of them.
    parser = etree.HTMLParser(target=target, encoding="utf-8", huge_tree=True)  # type: ignore[arg-type]
    parser.feed(html.encode("utf-8", "replace") or b" ")
    parser.close()
    if target.deepest >= DEEPEST:
        raise ConfigError(f"its elements are nested more than {DEEPEST} deep, which no page is")
    return sorted(target.blocks, key=lambda block: block.order), target.base


@dataclass(slots=True)
class _Open:
    """An element that gathers text."""

    tag: str
    order: int
    text: Text = field(default_factory=Text)
    leading: bool | None = None  # None: no bold text yet; True: it stands at the very beginning, and goes on
    lead: str = ""  # that text


class Outline:
    """The target that lxml's parser calls. `blocks`, `base` and `deepest` are the result."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.base: str | None = None
        self.deepest = 0
        self._depth = 0
        self._order = 0
        self._stack = [_Open("", 0)]
        self._tables: list[Grid] = []
        self._made = 0  # tables
        self._anchor: tuple[int, str] | None = None
        self._badges: list[str] = []  # in the anchor: what they say
        self._words: list[str] = []  # of the anchor, or of the text since the last tag
        self._mute = 0
        self._pre = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins. Within an anchor nothing but words counts."""
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        self._mute += tag in MUTE
        self._pre += tag == "pre"
        href = attributes.get("href") if tag in ("a", "base") else None
        if tag == "base" and self.base is None:
            self.base = href
        if tag == "a" and href:
            self._close_anchor()
            self._settle()
            self._anchor, self._badges = (self._next(), href), []
        elif self._anchor is not None:
            self._words.append(self._picture(attributes) if tag == "img" else " " if tag in BREAKS else "")
        else:
            self._settle()
            self._begin(tag, attributes)

    def end(self, tag: str) -> None:
        """An element ends; lxml closes what the page leaves open, so that ends fit to starts."""
        self._depth -= 1
        self._mute -= tag in MUTE
        self._pre -= tag == "pre"
        if tag == "a":
            self._close_anchor()
        elif self._anchor is None:
            self._settle()
            self._finish(tag)

    def data(self, text: str) -> None:
        """Text, in as many parts as the parser likes."""
        if not self._mute:
            self._words.append(text)

    def comment(self, text: str) -> None:
        """Comments say nothing."""

    def pi(self, target: str, data: str | None = None) -> None:
        """Nor do instructions."""

    def close(self) -> None:
        """The page ends."""
        self._close_anchor()
        self._settle()
        self._flush()

    def _next(self) -> int:
        self._order += 1
        return self._order

    def _close_anchor(self) -> None:
        if self._anchor is not None:
            order, href = self._anchor
            self._anchor = None
            words = squeeze("".join(self._words))
            badge = bool(self._badges) and not words
            link = Link(order, href, squeeze(" ".join(self._badges)) if badge else words, badge)
            self._stack[-1].text.parts.append(link)
            self._words.clear()

    def _picture(self, attributes: Mapping[str, str]) -> str:
        """What a picture in an anchor says; a badge beside words says nothing."""
        said = attributes.get("alt", "")
        if not is_badge(attributes.get("src", "")):
            return f" {said} "
        self._badges.append(said)
        return " "

    def _settle(self) -> None:
        """Move the words since the last tag to the element they stand in; URLs among them become links."""
        words = "".join(self._words)
        self._words.clear()
        parts = self._stack[-1].text.parts
        done = 0
        for found in _URL.finditer(words) if "://" in words else ():
            url = _trimmed(found[0])
            parts += ["" if self._pre else words[done : found.start()], Link(self._next(), url, "")]
            done = found.start() + len(url)
        if words and not self._pre:
            parts.append(words[done:])

    def _begin(self, tag: str, attributes: Mapping[str, str]) -> None:
        top = self._stack[-1]
        if tag == "table":
            self._flush()
            self._made += 1
            self._tables.append(Grid(self._made))
        elif tag == "tr" and self._tables:
            self._tables[-1].begin_row(self._next())
        elif tag in CELLS and self._tables:
            cell = _Open(tag, self._next())
            rows, columns = _span(attributes, "rowspan"), _span(attributes, "colspan")
            self._tables[-1].begin_cell(cell.text, head=tag == "th", rows=rows, columns=columns)
            self._stack.append(cell)
        elif (tag in HEADINGS and top.tag not in NOT_AROUND_HEADINGS) or (tag in ITEMS and top.tag not in CELLS):
            self._flush()
            self._stack.append(_Open(tag, self._next()))
        elif tag in BOLD and top.leading is None:
            top.leading = not top.text.whole
        elif tag in BREAKS:
            self._pause()

    def _finish(self, tag: str) -> None:
        top = self._stack[-1]
        if tag == "table" and self._tables:
            self.blocks += self._tables.pop().end()
        elif tag == "tr" and self._tables:
            self.blocks += self._tables[-1].end_row()
        elif tag in BOLD and top.leading:
            top.lead, top.leading = top.text.whole, False
        elif top.tag and tag == top.tag:
            self._stack.pop()
            if tag in HEADINGS:
                self._say(top)
            elif tag in ITEMS and top.text.links:
                above = tuple(each.text.beginning for each in self._stack if each.tag in ITEMS)
                self.blocks.append(Prose(top.order, top.text, above[-MOST_ABOVE:], top.lead))
        elif tag in BREAKS:
            self._pause()

    def _say(self, heading: _Open) -> None:
        if heading.text.links:
            self.blocks.append(Prose(heading.order, heading.text))
        if heading.text.whole:
            self.blocks.append(Heading(heading.order, heading.text.whole))

    def _pause(self) -> None:
        """A line ends: within an item or a cell that is a blank, elsewhere a new paragraph begins."""
        if self._stack[-1].tag:
            self._stack[-1].text.parts.append(" ")
        else:
            self._flush()

    def _flush(self) -> None:
        """The loose paragraph ends."""
        if self._stack[-1].tag:
            return
        done = self._stack[-1]
        self._stack[-1] = _Open("", self._next())
        lead = done.lead if len(done.lead) <= LONGEST_LEAD else ""
        if done.text.links:
            self.blocks.append(Prose(done.order, done.text, (), lead))
        elif lead:
            self.blocks.append(Heading(done.order, lead))


def _span(attributes: Mapping[str, str], name: str) -> int:
    value = attributes.get(name) if attributes else None
    return max(1, int(value)) if value is not None and _SPAN.fullmatch(value.strip()) else 1


def _trimmed(url: str) -> str:
    """A URL of a text without the punctuation of its sentence; a bracket that is opened in it may close it."""
    unopened = {closing: url.count(closing) - url.count(opening) for opening, closing in ("()", "[]")}
    end = len(url)
    while end and (url[end - 1] in ".,;:!?*_~" or unopened.get(url[end - 1], 0) > 0):
        if url[end - 1] in unopened:
            unopened[url[end - 1]] -= 1
        end -= 1
    return url[:end]

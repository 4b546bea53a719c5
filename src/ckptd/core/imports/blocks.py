"""The parts of a page that say what a link is about: text with links in it, headings, paragraphs, table rows.

Only the words that `markup` and `pages` share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LONGEST_BEGINNING = 100  # characters
MOST_PARTS = 16

_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Link:
    """An `a` element, or a URL that stands in the text. `order` is its place in the page.

    `badge`: nothing but badges stands in it, and `text` is what they say.
    """

    order: int
    href: str
    text: str
    badge: bool = False

    @property
    def words(self) -> str:
        """Its part of the text it stands in: a badge has none."""
        return "" if self.badge else self.text


@dataclass(slots=True)
class Text:
    """A run of text and links, as it is read."""

    parts: list[str | Link] = field(default_factory=list)

    @property
    def links(self) -> list[Link]:
        return [part for part in self.parts if isinstance(part, Link)]

    @property
    def own(self) -> str:
        """Without the words of its links."""
        return squeeze("".join(part if isinstance(part, str) else " " for part in self.parts))

    @property
    def beginning(self) -> str:
        """The first words, with those of links: cheap also where there is much to come."""
        found: list[str] = []
        for part in self.parts:
            found.append(part if isinstance(part, str) else part.words)
            if sum(map(len, found)) > LONGEST_BEGINNING or len(found) > MOST_PARTS:
                break
        return squeeze("".join(found))[:LONGEST_BEGINNING]

    @property
    def whole(self) -> str:
        """With the words of its links."""
        return squeeze("".join(part if isinstance(part, str) else part.words for part in self.parts))


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, a caption, a summary, or the bold words that a paragraph begins with where they serve as one."""

    order: int
    text: str


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph or a list item with links. `lead`: the bold words it begins with.

    `above` are the items around an item, the outermost first.
    """

    order: int
    text: Text
    above: tuple[str, ...] = ()
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of table number `table`. `header`: all its cells are heads. Cells that span rows stand in each of them."""

    order: int
    table: int
    cells: tuple[Text, ...]
    header: bool


Block = Heading | Prose | Row


def squeeze(text: str) -> str:
    """`text` on one line."""
    return _BLANKS.sub(" ", text).strip()

"""HTML as a tree, the way a browser would read it as far as tags and text go: for tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "base", "source", "wbr"})


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = ET.Element("document")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = ET.SubElement(self._open[-1], tag)
        for name, value in attrs:
            assert name not in element.attrib, f"{name} stands twice in <{tag}>"
            element.set(name, value or "")
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        here = self._open[-1]
        if len(here):
            here[-1].tail = (here[-1].tail or "") + data
        else:
            here.text = (here.text or "") + data

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is not closed"


def parse(html: str) -> ET.Element:
    """The document's tree, with lower-case names. Fails where tags do not nest."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.root


def text(element: ET.Element) -> str:
    """All text in it, on one line, with ordinary blanks."""
    return " ".join("".join(element.itertext()).split())


def having(root: ET.Element, tag: str, **attributes: str) -> Iterator[ET.Element]:
    """The elements of that name; `cls` is a word of their class, other names have "-" for "_"."""
    for element in root.iter(tag):
        wanted = {("class" if key == "cls" else key.replace("_", "-")): value for key, value in attributes.items()}
        if all(
            value in element.get(key, "").split() if key == "class" else element.get(key) == value
            for key, value in wanted.items()
        ):
            yield element


def one(root: ET.Element, tag: str, **attributes: str) -> ET.Element:
    """The only such element."""
    found = list(having(root, tag, **attributes))
    assert len(found) == 1, f"{len(found)} of {tag} {attributes}"
    return found[0]

"""Markdown and HTML pages as candidates: which of their links are checkpoints, and what the page says of each.

Markdown becomes HTML by markdown-it-py (CommonMark, with tables and embedded HTML), so that there is one way from a
page to its links. In a table a link is described by its row, the column's head and the heading above; in a list by its
item and the items around it; in prose by its own words, or by those before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from urllib.parse import unquote, urljoin

from ckptd.core.imports.blocks import Heading, Link, Prose, Row, Text
from ckptd.core.imports.candidates import Candidate, Reading, Skipped, merged
from ckptd.core.imports.links import UNUSABLE, Kind, absolute, beside, is_archive, kind_of, readable, split
from ckptd.core.imports.markup import outline
from ckptd.core.imports.wording import telling, tidy
from ckptd.core.urls import redact
from ckptd.errors import ConfigError

LARGEST_MARKDOWN = 4 * 1024 * 1024  # characters: what is read in bounded time, and far more than people write
LARGEST_HTML = 16 * 1024 * 1024
LONGEST = 300  # characters of a description
LONGEST_TITLE = 100
LONGEST_INTRODUCTION = 60  # of words with a colon that stand before links

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_PLAIN_LINK = re.compile(r"(?:https?://[\w.-]+(?::[0-9]+)?)?[\w./~?#=&+,;:@!$()*'-]*", re.ASCII)
_FETCHED = ("http", "https", "gs", "s3", "hf")


def read_markdown(text: str, base: str | None, *, all_files: bool = False) -> Reading:
    """The checkpoints of a Markdown page. Raises ConfigError when it is too large to be one."""
    _check_size(text, LARGEST_MARKDOWN)
    plain = _FRONT_MATTER.sub("", text.replace("\r\n", "\n"))
    return read_html(_rendered(plain), base, all_files=all_files)


def _rendered(text: str) -> str:
    """CommonMark with tables as HTML. Only Markdown costs the import of its parser."""
    from markdown_it import MarkdownIt  # noqa: PLC0415

    class Parser(MarkdownIt):
        def normalizeLink(self, url: str) -> str:  # noqa: N802 - its name there
            """Percent-encoded, as ever, where there is anything to encode; a host that cannot be is not mended."""
            if _PLAIN_LINK.fullmatch(url) or not readable(url):
                return url
            encoded: str = super().normalizeLink(url)
            return encoded

    html: str = Parser("commonmark", {"html": True}).enable("table").render(text)
    return html


def read_html(text: str, base: str | None, *, all_files: bool = False) -> Reading:
    """The checkpoints of an HTML page whose relative links are below `base`. `all_files`: other files too."""
    _check_size(text, LARGEST_HTML)
    blocks, own_base = outline(text)
    if own_base:
        base = _joined(base, own_base)
    page = _Page(base, all_files=all_files)
    for block in blocks:
        match block:
            case Heading():
                page.heading = tidy(block.text)
            case Prose():
                page.prose(block)
            case Row():
                page.row(block)
    found = [candidate for _, candidate in sorted(page.found, key=lambda pair: pair[0])]
    return Reading(merged(found), tuple(dict.fromkeys(page.skipped)), dict(page.left_out))


def _check_size(text: str, largest: int) -> None:
    if len(text) > largest:
        raise ConfigError(f"it is larger than {largest // 1024 // 1024} MiB, which no page is")


def _joined(base: str | None, href: str) -> str | None:
    try:
        whole = urljoin(base or "", href.strip())
        return beside(whole) if split(whole).scheme in {"http", "https"} else base
    except ValueError:
        return base


class _Page:
    """A page while it is gone through: the heading that holds, the heads of its tables, what was found."""

    def __init__(self, base: str | None, *, all_files: bool) -> None:
        self.heading = ""
        self.found: list[tuple[int, Candidate]] = []
        self.skipped: list[Skipped] = []
        self.left_out: Counter[str] = Counter()
        self._base = base
        self._all_files = all_files
        self._heads: dict[int, list[str]] = {}  # by table
        self._sections: dict[int, str] = {}
        self._begun: set[int] = set()  # tables whose first row was read

    def prose(self, block: Prose) -> None:
        """A paragraph or an item; its bold beginning is the heading of what follows, unless it has links of its own."""
        here = self._wanted(block.text)
        if not here and block.lead:
            self.heading = tidy(block.lead)
        if not here:
            return
        above = [tidy(each) for each in block.above]
        whole = tidy(block.text.own)
        last, words = "", ""  # what stood before an earlier link, and since the last one
        said = ""  # of these, what ends in a colon: "ResNet: [small](...), [large](...)"
        for part in block.text.parts:
            if isinstance(part, str):
                words += part if len(words) < LONGEST else ""
                continue
            before, colon, words = tidy(words), words.rstrip().endswith(":"), ""
            if telling(before):
                said = before if colon and len(before) <= LONGEST_INTRODUCTION else ""
            last = before if telling(before) or (above and before[:1].isdigit()) else last  # "ResNet", below it "50"
            if part in here:
                title = _label(part, here[part]) or last or (whole if telling(whole) else "")
                subject = title or next(filter(None, reversed(above)), "")
                self._add(part, here[part], subject, [*above, said, title, self.heading], [])

    def row(self, block: Row) -> None:
        """A table's row; one that says a single thing is the heading of those below it."""
        here = {
            link: (url, column) for column, cell in enumerate(block.cells) for link, url in self._wanted(cell).items()
        }
        if not here:
            self._heads_or_section(block)
            self._begun.add(block.table)
            return
        self._begun.add(block.table)
        heads, section = self._heads.get(block.table, []), self._sections.get(block.table, "")
        subject, known = _subject(block, here)
        texts = [tidy(cell.own) for cell in block.cells]
        facts = [_fact(heads, column, text) for column, text in enumerate(texts) if text and column != subject]
        for link, (url, column) in here.items():
            head = heads[column] if column < len(heads) and column != subject else ""
            label = _label(link, url) or (head if telling(head) else "")
            said = [known, label if len(here) > 1 or not known else "", section, self.heading]
            self._add(link, url, known or label, said, facts)

    def _heads_or_section(self, block: Row) -> None:
        distinct = {id(cell): tidy(cell.whole) for cell in block.cells}  # a wide head is the same in many columns
        texts = [distinct[id(cell)] for cell in block.cells]
        said = list(dict.fromkeys(filter(None, texts)))
        if len(said) > 1 and (block.header or block.table not in self._begun):
            before = self._heads.get(block.table, [])
            width = max(len(before), len(texts))
            pairs = zip(before + [""] * (width - len(before)), texts + [""] * (width - len(texts)), strict=True)
            self._heads[block.table] = [" ".join(dict.fromkeys(filter(None, pair))) for pair in pairs]
        elif len(said) == 1:
            self._sections[block.table] = said[0]

    def _wanted(self, text: Text) -> dict[Link, str]:
        """The links in it that are checkpoints, with their URLs. The others are counted, or told with a reason."""
        found = {}
        for link in text.links:
            url = self._judge(link)
            if url is not None:
                found[link] = url
        return found

    def _judge(self, link: Link) -> str | None:
        href = link.href
        if href.startswith("#"):
            return None
        try:
            url = absolute(href, self._base)
            kind = kind_of(url if url is not None else f"https://relative/{href}")
            scheme = split(url or "").scheme.lower()
        except ValueError:
            path = href.partition("://")[2].partition("/")[2]
            if kind_of(f"https://unusable/{path}") is Kind.WEIGHTS:
                self.skipped.append(Skipped(redact(href), UNUSABLE))
            return None
        if link.badge and kind in (Kind.WEIGHTS, Kind.FILE) and is_archive(href):
            kind = Kind.PICTURE  # of a build, mostly
        wanted = kind is Kind.WEIGHTS or (kind is Kind.FILE and self._all_files)
        if url is None or (wanted and scheme not in _FETCHED):
            if wanted:
                why = "is relative: say to what with --base URL" if url is None else "cannot be fetched from there"
                self.skipped.append(Skipped(redact(href), why))
            return None
        if kind is Kind.SHARE:
            self.skipped.append(Skipped(redact(url), "is a share page, not a file"))
        elif not wanted and scheme in _FETCHED:
            self.left_out[kind] += 1
        return url if wanted else None

    def _add(self, link: Link, url: str, title: str, said: list[str], facts: list[str]) -> None:
        self.found.append(
            (link.order, Candidate(url, title=title[:LONGEST_TITLE], description=_described(said, facts)))
        )


def _subject(block: Row, here: Collection[Link]) -> tuple[int, str]:
    """Which column says what a row is about, and what: the first whose text, or link to elsewhere, tells anything."""
    for column, cell in enumerate(block.cells):
        others = (tidy(link.text) for link in cell.links if link not in here)
        found = next(filter(telling, (tidy(cell.own), *others)), "")
        if found:
            return column, found
    return -1, ""


def _label(link: Link, url: str) -> str:
    """The words of a link where they say more than "download", and other than the file's name."""
    label = tidy(link.text)
    name = unquote(split(url).path.rpartition("/")[2])
    return label if telling(label) and "://" not in label and label != name else ""


def _fact(heads: list[str], column: int, text: str) -> str:
    head = heads[column] if column < len(heads) else ""
    return f"{head}: {text}" if head else text


def _described(said: list[str], facts: list[str]) -> str:
    """One line: what it is, under which heading; then the facts of its row, as far as they fit."""
    line = ", ".join(dict.fromkeys(filter(None, said)))
    line = line if len(line) <= LONGEST else f"{line[: LONGEST - 3].rstrip()}..."
    for fact in facts:
        longer = f"{line}; {fact}" if line else fact
        if len(longer) > LONGEST:
            break
        line = longer
    return line

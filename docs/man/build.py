"""Builds the manual pages: `.venv/bin/python docs/man/build.py FOLDER`, or `make man`.

A page is Markdown beside this file, `NAME.SECTION.md`. Two comments in it are filled in, so that nothing stands twice:
`<!-- section: ../reference.md#The manifest -->` is what stands below that heading, and `<!-- commands -->` is every
command of the program with its options, as `--help` has them. Tables become lists, a row an entry, as manual pages do.
The date is SOURCE_DATE_EPOCH's where that is set, else today's.
"""

# ruff: noqa: INP001 - a script of the documentation, no package

from __future__ import annotations

import inspect
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ckptd.cli.main import cli
from ckptd.version import __version__

HERE = Path(__file__).parent
MARKDOWN = MarkdownIt("commonmark").enable("table")
_DIRECTIVE = re.compile(
    r"^<!-- (?:section: (?P<file>[^#\n]+)#(?P<heading>.+?)|(?P<commands>commands)) -->$", re.MULTILINE
)
_SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}


def escaped(text: str) -> str:
    """`text` as roff prints it: quotes, hyphens and backslashes stay what they are."""
    return "".join(_SPECIAL.get(char, char) for char in text)


def marked(text: str) -> str:
    """A text of `--help`: nothing in it is markup, except that what stands between backticks is typed as it is."""
    parts = re.split(r"`([^`\n]+)`", text)
    return "".join(f"\\fB{escaped(part)}\\fR" if number % 2 else escaped(part) for number, part in enumerate(parts))


class Page:
    """Lines of roff, with the man(7) macros."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def macro(self, name: str, *arguments: str) -> None:
        """A line of its own; arguments are escaped already."""
        quoted = (f'"{each.replace(chr(34), chr(92) + "(dq")}"' for each in arguments)
        self.lines.append(" ".join([f".{name}", *quoted]))

    def text(self, text: str) -> None:
        """Lines of running text, escaped already."""
        self.lines += [f"\\&{line}" if line[0] in ".'" else line for line in map(str.strip, text.split("\n")) if line]

    def paragraph(self, text: str) -> None:
        """A paragraph; directly below a heading none is begun."""
        self._begin()
        self.text(text)

    def _begin(self) -> None:
        if not self.lines or not self.lines[-1].startswith((".SH", ".SS")):
            self.macro("PP")

    def entry(self, tag: str, text: str) -> None:
        """A term, and indented below it what it means."""
        self.macro("TP")
        self.text(f"\\fB{tag}\\fR")
        self.text(text)

    def code(self, text: str) -> None:
        """Lines that stay as they are."""
        self._begin()
        self.macro("RS", "4")
        self.macro("nf")
        self.lines += [f"\\&{escaped(line)}" for line in text.rstrip("\n").split("\n")]
        self.macro("fi")
        self.macro("RE")


# --- from Markdown ---------------------------------------------------------------------------------------------------


def inline(token: Token) -> str:
    """Running text with its fonts. A link shows where it leads only when that is on the web."""
    found, link = [], ""
    for child in token.children or ():
        match child.type:
            case "code_inline":
                found.append(f"\\fB{escaped(child.content)}\\fR")
            case "strong_open":
                found.append("\\fB")
            case "em_open":
                found.append("\\fI")
            case "strong_close" | "em_close":
                found.append("\\fR")
            case "softbreak" | "hardbreak":
                found.append("\n")
            case "link_open":
                link = str(child.attrGet("href"))
            case "link_close":
                found.append(f" <{escaped(link)}>" if "://" in link else "")
            case _:
                found.append(escaped(child.content))
    return "".join(found)


def render(text: str, page: Page) -> None:
    """Markdown onto a page. Headings of the second level are sections."""
    tokens = iter(MARKDOWN.parse(text))
    for token in tokens:
        match token.type:
            case "heading_open":
                title = inline(next(tokens))
                page.macro("SH", title.upper()) if token.tag == "h2" else page.macro("SS", title)
            case "paragraph_open":
                page.paragraph(inline(next(tokens)))
            case "bullet_list_open" | "ordered_list_open":
                _list(tokens, page, "\\(bu" if token.type == "bullet_list_open" else "")
            case "fence" | "code_block":
                page.code(token.content)
            case "table_open":
                _table(tokens, page)
            case _:
                pass


def _list(tokens: Iterator[Token], page: Page, mark: str) -> None:
    number = 0
    for token in tokens:
        if token.type == "list_item_open":
            number += 1
            page.macro("IP", mark or f"{number}.", "4")
        elif token.type == "inline":
            page.text(inline(token))
        elif token.type.endswith("_list_close"):
            return


def _table(tokens: Iterator[Token], page: Page) -> None:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(inline(token))
        elif token.type == "table_close":
            break
    head, *body = rows
    for first, *rest in body:
        said = [cell for name, cell in zip(head[1:], rest, strict=True) if cell and name != "default"]
        for name, cell in zip(head[1:], rest, strict=True):
            if name == "default":
                said.append("Required." if cell == "required" else f"Default: {cell}.")
        page.entry(first, "\n".join(_sentence(each) for each in said))


def _sentence(text: str) -> str:
    return text if text.endswith((".", ":", "?")) else f"{text}."


# --- what is filled in -----------------------------------------------------------------------------------------------


def section(path: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level. Raises SystemExit where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    levels = {number: len(found[1]) for number, line in _headings(lines) if (found := re.match(r"(#+) ", line))}
    for number, level in levels.items():
        if lines[number][level:].strip() == heading:
            end = min((each for each, other in levels.items() if each > number and other <= level), default=len(lines))
            return "\n".join(lines[number + 1 : end]).strip()
    raise SystemExit(f"{path} has no heading {heading}")


def _headings(lines: list[str]) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            yield number, line


def options(command: click.Command, context: click.Context, page: Page, common: set[str]) -> None:
    """The options of a command that are not everybody's."""
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and parameter.name not in common:
            page.entry(escaped(record[0]), marked(_sentence(record[1])))


def commands(page: Page) -> None:
    """Every command, with what `--help` says of it."""
    top = click.Context(cli, info_name="ckptd")
    common = {name for parameter in cli.params if (name := parameter.name)}
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        if command is None:
            continue
        context = click.Context(command, info_name=name, parent=top)
        page.macro("SS", escaped(" ".join(["ckptd", name, *command.collect_usage_pieces(context)])))
        for part in inspect.cleandoc(command.help or "").split("\n\n"):
            if part.startswith("\b\n"):
                page.code(part.removeprefix("\b\n"))
            else:
                page.paragraph(marked(part))
        options(command, context, page, common)
    page.macro("SH", "OPTIONS OF EVERY COMMAND")
    options(cli, top, page, {"version"})


# --- pages -----------------------------------------------------------------------------------------------------------


def build(source: Path) -> str:
    """The page in `source`, as roff."""
    name, number = source.name.removesuffix(".md").rsplit(".", 1)
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
    page = Page()
    page.macro("TH", escaped(name.upper()), number, date, f"ckptd {__version__}")
    text = source.read_text(encoding="utf-8")
    at = 0
    for found in _DIRECTIVE.finditer(text):
        render(text[at : found.start()], page)
        if found["commands"]:
            commands(page)
        else:
            render(section(source.parent / found["file"], found["heading"]), page)
        at = found.end()
    render(text[at:], page)
    return "\n".join(page.lines) + "\n"


def main(folder: Path) -> None:
    """Write every page to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(HERE.glob("*.[1-9].md")):
        target = folder / source.name.removesuffix(".md")
        target.write_text(build(source), encoding="utf-8")
        print(target)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/man"))

"""The documents say what the program does: links lead somewhere, commands parse, keys and defaults are real."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pytest
import tomli
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ckptd.cli.main import cli
from ckptd.core import events, manifest, wire
from ckptd.core.diagnose import Cause
from ckptd.core.document import Table
from ckptd.core.models import Case, Damage, Outcome, Usage
from ckptd.errors import ConfigError

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "docs/man", "systemd", "monitoring")
LISTED = sorted(path for each in FOLDERS for path in (ROOT / each).glob("*.md"))
SHOWN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *LISTED]
MARKDOWN = MarkdownIt("commonmark").enable("table")
TOP = click.Context(cli, info_name="ckptd")
CHECKPOINT = '[[checkpoint]]\nname = "a"\nurl = "https://example.org/a.tar.gz"\n'
# A manifest with every table that is not there by itself, so that all keys are asked for.
EVERYTHING = f'{CHECKPOINT}[auth."h"]\nbearer_env = "T"\n[[use]]\ncheckpoint = "a"\nfiles = ["*"]\n'


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tokens(path: Path) -> list[Token]:
    return MARKDOWN.parse(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Snippet:
    """A block of code in a document."""

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.path)}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    """Every block in one of these languages; "" is one that is only indented."""
    return [
        Snippet(path, token.map[0] + 1, token.info.strip(), token.content)
        for path in SHOWN
        for token in tokens(path)
        if token.type in {"fence", "code_block"} and token.map and token.info.strip() in languages
    ]


def tables(path: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Every table, as the text of its cells, with the heading that it stands below."""
    heading, rows, within = "", list[list[str]](), False
    stream = iter(tokens(path))
    for token in stream:
        if token.type == "heading_open":
            heading = next(stream).content
        elif token.type == "table_open":
            rows, within = [], True
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and within:
            rows[-1].append(token.content)
        elif token.type == "table_close":
            within = False
            yield heading, rows


def quoted(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub and GitLab give to headings."""
    stream = tokens(path)
    titles = [stream[at + 1].content for at, token in enumerate(stream) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> Iterator[str]:
    for token in tokens(path):
        for child in token.children or ():
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if isinstance(target, str) and "://" not in target:
                yield target


@pytest.mark.parametrize("path", SHOWN, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# --- commands --------------------------------------------------------------------------------------------------------


_CALL = re.compile(r"^(?:\$ )?(?:sudo (?:-u \w+ )?)?(?:[\w./]*/)?ckptd (?P<arguments>[a-z-].*)")


def command_lines() -> list[tuple[Snippet, list[str]]]:
    """Every line of a shell that calls the program, up to a comment, a pipe or the next command."""
    found = []
    for snippet in snippets("", "sh"):
        for line in snippet.text.splitlines():
            if call := _CALL.match(line):
                words = shlex.split(call["arguments"], comments=True)
                end = next((at for at, word in enumerate(words) if word in {"|", "&&", ";", ">"}), len(words))
                found.append((snippet, words[:end]))
    return found


def parse(words: list[str]) -> None:
    """Have click read a command line without running it. Raises UsageError."""
    rest = cli.make_parser(TOP).parse_args(list(words))[1]
    name, command, arguments = cli.resolve_command(TOP, rest)
    assert command is not None
    command.make_context(name, arguments, parent=TOP)


def test_there_are_command_lines() -> None:
    assert len(command_lines()) > 15


@pytest.mark.parametrize(("snippet", "words"), command_lines(), ids=str)
def test_command_lines_parse(snippet: Snippet, words: list[str]) -> None:
    parse(words)


@pytest.mark.parametrize("path", SHOWN, ids=name_of)
def test_commands_in_the_text_exist(path: Path) -> None:
    """Where running text says `ckptd something`, there is such a command, with such options."""
    text = path.read_text(encoding="utf-8")
    for said in re.findall(r"`ckptd ([^`\n]+)`", text):
        words = said.split()
        if not words[0].islower() or not words[0].isalpha():
            continue
        command = cli.get_command(TOP, words[0])
        assert command is not None, said
        known = {option for parameter in [*command.params, *cli.params] for option in parameter.opts}
        assert {word for word in words[1:] if word.startswith("--")} <= known | {"--help"}, said


def test_the_readme_lists_every_command() -> None:
    (rows,) = [rows for heading, rows in tables(ROOT / "README.md") if heading == "Commands"]
    listed = [quoted.split()[1] for row in rows[1:] for quoted in re.findall(r"`(ckptd [a-z]+)`", row[0])]
    assert sorted(listed) == cli.list_commands(TOP)


def test_every_dependency_has_a_reason() -> None:
    found = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    needed = {re.split(r"[<>=!~;\[ ]", each)[0] for each in found}
    (rows,) = [rows for heading, rows in tables(ROOT / "README.md") if heading == "Built with"]
    assert needed - {row[0].partition("]")[0].strip("[") for row in rows if row[1]} == set()


# --- the manifest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_manifests_are_manifests(snippet: Snippet) -> None:
    """Those that are excerpts, too: every table may be missing."""
    manifest.parse(snippet.text)


def keys_asked(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """(table, key) for every key that the program asks a manifest for."""
    found = set()
    get = Table.get

    def noted(table: Table, key: str, *rest: object, **more: object) -> object:
        found.add((re.sub(r'^\[\[(\w+)\]\].*|^\[(\w+)(?:\."h")?\]', r"\1\2", table.label), key))
        return get(table, key, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Table, "get", noted)
        manifest.parse(EVERYTHING)
    return found


def reference() -> Iterator[tuple[str, str, str, str]]:
    """(heading, table, key, default) of every row of the manifest's reference."""
    for heading, (head, *rows) in tables(ROOT / "docs/reference.md"):
        if head[:2] == ["key", "default"]:
            table = re.sub(r'[\[\]]|\."host"', "", heading)
            yield from ((heading, table, key, row[1]) for row in rows for key in quoted(row[0]))


def test_every_key_of_the_manifest_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [(table, key) for _, table, key, _ in reference()]
    assert len(told) == len(set(told))
    asked = {(table, key) for table, key in keys_asked(monkeypatch) if table}
    assert len(asked) > 40
    assert set(told) == asked - {("sources", key) for _, key in asked}


def test_every_table_of_the_manifest_is_in_the_reference() -> None:
    with pytest.raises(ConfigError) as raised:
        manifest.parse('stray = "x"\n')
    known = set(re.findall(r"\[(\w+)\]", raised.value.message))
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert {re.sub(r"\W.*", "", title) for title in re.findall(r"^### \[\[?(.+?)\]", text, re.MULTILINE)} == known


@pytest.mark.parametrize(("heading", "table", "key", "default"), list(reference()), ids=str)
def test_defaults_are_the_real_ones(heading: str, table: str, key: str, default: str) -> None:
    """To write the default into a manifest changes nothing; to leave out what is required is an error."""
    own = '[auth."h"]\n' if table == "auth" else f"{heading}\n"
    others = {"use": f'{CHECKPOINT}[[use]]\ncheckpoint = "a"\nfiles = ["*"]\n', "checkpoint": CHECKPOINT}.get(table, "")
    lacking = re.sub(rf"(?m)(.*)^{key} = .*?$", r"\1", others, count=1, flags=re.DOTALL)
    if default == "required":
        with pytest.raises(ConfigError, match=f'"{key}" is missing'):
            manifest.parse(lacking)
        return
    manifest.parse(lacking)
    value = re.fullmatch(r"`([^`]+)`", default)
    if value is None:
        assert default == "none" or default.endswith(("`path`", "`state`"))
        return
    assert own.startswith("[")
    written = f"{others or own}{key} = {value[1]}\n"
    assert manifest.parse(written) == manifest.parse(others)


# --- the protocol ----------------------------------------------------------------------------------------------------


def rows_below(heading: str) -> list[list[str]]:
    (found,) = [rows[1:] for title, rows in tables(ROOT / "docs/protocol.md") if title == heading]
    return found


def test_the_protocols_commands() -> None:
    told = {quoted(row[0])[0]: set(quoted(row[1])) for row in rows_below("Commands")}
    assert told == {name: set(options) for name, options in wire.COMMANDS.items()}


def test_the_protocols_events() -> None:
    told = {quoted(row[0])[0]: {"name", *quoted(row[1])} for row in rows_below("Events")}
    kinds: tuple[type, ...] = events.Event.__args__
    assert told == {kind.__name__: {field.name for field in fields(kind)} for kind in kinds}


def test_the_protocols_outcomes() -> None:
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    told = text.partition("### Outcomes")[2].partition("###")[0]
    known = {field.name for kind in (Outcome, Case, Usage, Damage) for field in fields(kind)}
    assert set(quoted(told)) - {"--json"} == known


def test_every_cause_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    told = text.partition("`diagnosis.cause` is one of ")[2].partition("\n\n")[0]
    assert quoted(told) == list(Cause)


# --- manual pages ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The manual pages, built as `make man` does."""
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "docs/man/build.py", folder], check=True, timeout=60, capture_output=True)
    return {path.name: path for path in folder.iterdir()}


def test_the_pages_are_there(pages: dict[str, Path]) -> None:
    assert sorted(pages) == ["ckptd-manifest.5", "ckptd.1"]


@pytest.mark.parametrize("name", ["ckptd.1", "ckptd-manifest.5"])
def test_pages_have_no_mistakes(name: str, pages: dict[str, Path], lacking: Callable[[str], None]) -> None:
    checks = {
        "man": ["man", "--warnings", "--encoding=utf8", "-l"],
        "mandoc": ["mandoc", "-Tlint", "-Wwarning"],
    }
    there = [command for program, command in checks.items() if shutil.which(program)]
    if not there:
        lacking("neither man nor mandoc is installed")
    for command in there:
        done = subprocess.run([*command, pages[name]], capture_output=True, text=True, timeout=60, check=False)
        said = done.stderr + (done.stdout if command[0] == "mandoc" else "")
        assert (done.returncode, said) == (0, ""), said
        assert command[0] == "mandoc" or "NAME" in done.stdout


def test_every_command_and_option_is_in_the_page(pages: dict[str, Path]) -> None:
    text = pages["ckptd.1"].read_text(encoding="utf-8").replace("\\-", "-")
    for name in cli.list_commands(TOP):
        command = cli.get_command(TOP, name)
        assert command is not None
        part = text.partition(f'.SS "ckptd {name} ')[2].partition(".SS ")[0]
        assert part, name
        own = {
            option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts
        }
        shared = {option for parameter in cli.params for option in parameter.opts}
        assert [option for option in own - shared if option not in part] == [], name


def test_every_key_is_in_the_page(pages: dict[str, Path]) -> None:
    text = pages["ckptd-manifest.5"].read_text(encoding="utf-8")
    assert [key for _, _, key, _ in reference() if f".TP\n\\fB\\fB{key}\\fR" not in text] == []

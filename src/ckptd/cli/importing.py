"""`ckptd import` and `ckptd add`: entries for the manifest from what people have. Shows them, and has them written.

Nothing that parses or asks the network is imported before it is needed: every command imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from ckptd.cli import importing_report as report
from ckptd.cli import output, show
from ckptd.cli.options import EPILOG, Options, common
from ckptd.core.models import Outcome
from ckptd.core.units import parse_size
from ckptd.core.urls import redact
from ckptd.errors import ConfigError
from ckptd.ui.text import clean

if TYPE_CHECKING:
    from ckptd.core.imports.additions import Additions, Wishes
    from ckptd.core.imports.candidates import Candidate, Reading, Skipped
    from ckptd.core.models import Manifest
    from ckptd.service.manifest_file import Book

T = TypeVar("T")
FORMATS = ("markdown", "html", "sha256sums", "metalink", "aria2", "pooch", "urls")

_tag = click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Give the new entries this tag; may be repeated."
)
_unpack = click.option("--unpack", is_flag=True, help="Write unpack = true into the new entries.")
_allow_http = click.option("--allow-http", is_flag=True, help="Take plain http without a sha256 (allow_http = true).")
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")


@click.command("import", epilog=EPILOG)
@click.argument("source", metavar="FILE | URL | hf://ORG/REPO[@REVISION] | -")
@click.option("--match", multiple=True, metavar="PATTERN", help="Only what fits: a glob (*_1x*), or a part of a text.")
@click.option("--base", metavar="URL", help="What relative links, and the names of a list, stand below.")
@click.option("--format", "wanted", type=click.Choice(FORMATS), help="What SOURCE is, where it cannot be seen.")
@click.option("--any-file", is_flag=True, help="From pages also take files that are neither archives nor weights.")
@click.option("--https", is_flag=True, help="Ask for plain http links over https.")
@_tag
@_unpack
@_allow_http
@_dry_run
@common
@click.pass_obj
def import_(
    options: Options,
    source: str,
    *,
    match: tuple[str, ...],
    base: str | None,
    wanted: str | None,
    any_file: bool,
    https: bool,
    tags: tuple[str, ...],
    unpack: bool,
    allow_http: bool,
    dry_run: bool,
) -> int:
    """Append entries to the manifest from a page, a list or a repository.

    Reads Markdown and HTML pages (links to archives and weights in tables, lists and prose, named by file and described
    by row and heading), SHA256SUMS (with --base), Metalink 4, aria2 input files, pooch registries, lists of URLs, and
    Hugging Face repositories, whose files are pinned to a commit. Comments and order of the manifest stay.

    \b
    ckptd import README.md --tag zoo --dry-run
    ckptd import https://example.org/models.html --match '*resnet*'
    ckptd import SHA256SUMS --base https://example.org/models/
    ckptd import hf://org/repo@v1.0
    """
    from ckptd.core.imports.additions import Wishes  # noqa: PLC0415
    from ckptd.service import manifest_file  # noqa: PLC0415

    wishes = Wishes(match, None, tags, unpack, https, allow_http)
    path = manifest_file.target(options.manifest, os.environ)
    book = manifest_file.open_book(path)
    reading = _read(source, _checked(base), wanted, book.manifest, any_file=any_file)
    return _append(options, "import", book, reading, wishes, source=source, dry_run=dry_run)


@click.command(epilog=EPILOG)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("--name", help="Its name; otherwise made from the file's.")
@click.option("--sha256", metavar="HEX", help="Pin: other bytes are never accepted.")
@click.option("--size", metavar="SIZE", help='Pin, in bytes or as "1.5 GB".')
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL", help="Another URL of the same bytes; may be repeated."
)
@click.option("--description", metavar="TEXT", help="A line for people.")
@_tag
@_unpack
@_allow_http
@_dry_run
@common
@click.pass_obj
def add(
    options: Options,
    urls: tuple[str, ...],
    *,
    name: str | None,
    sha256: str | None,
    size: str | None,
    mirrors: tuple[str, ...],
    description: str | None,
    tags: tuple[str, ...],
    unpack: bool,
    allow_http: bool,
    dry_run: bool,
) -> int:
    """Append an entry to the manifest for each URL. Comments and order of the manifest stay.

    \b
    ckptd add https://example.org/resnet50.tar.gz --tag resnet
    ckptd add gs://bucket/model.tar.gz --name big --sha256 9f86d0...
    """
    from ckptd.core.imports.additions import Wishes  # noqa: PLC0415
    from ckptd.core.imports.candidates import Reading, merged  # noqa: PLC0415
    from ckptd.service import manifest_file  # noqa: PLC0415

    if len(urls) > 1 and any((name, sha256, size, mirrors, description)):
        raise ConfigError("--name, --sha256, --size, --mirror and --description are about a single URL")
    candidates = merged(_candidate(url, sha256, size, mirrors, description) for url in urls)
    book = manifest_file.open_book(manifest_file.target(options.manifest, os.environ))
    wishes = Wishes((), name, tags, unpack, https=False, allow_http=allow_http)
    return _append(options, "add", book, Reading(candidates), wishes, dry_run=dry_run)


def _read(source: str, base: str | None, wanted: str | None, manifest: Manifest, *, any_file: bool) -> Reading:
    """What SOURCE holds. Only an address costs the import of what asks the network."""
    from ckptd.core.imports import hub  # noqa: PLC0415
    from ckptd.core.imports.formats import Format  # noqa: PLC0415
    from ckptd.service import importing  # noqa: PLC0415

    known = Format(wanted) if wanted is not None else None
    if not importing.is_url(source):
        return importing.interpret(importing.read_file(source, base), known, all_files=any_file)
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service import importing_web  # noqa: PLC0415

    repository = hub.reference(source)
    if repository is not None:
        endpoint = hub.endpoint_of(os.environ.get("HF_ENDPOINT"))
        return run(importing_web.read_hub(repository, endpoint, manifest, all_files=any_file))
    return importing.interpret(run(importing_web.read_url(source, base, manifest)), known, all_files=any_file)


def _checked(base: str | None) -> str | None:
    from ckptd.core import schema  # noqa: PLC0415
    from ckptd.core.urls import redact  # noqa: PLC0415

    try:
        return None if base is None else schema.url(base)
    except ValueError as error:
        raise ConfigError(f"--base {redact(base or '')} {error}") from None


def _candidate(
    url: str, sha256: str | None, size: str | None, mirrors: tuple[str, ...], description: str | None
) -> Candidate:
    """A URL of the command line with its pins. Raises ConfigError for pins that are none."""
    from ckptd.core import schema  # noqa: PLC0415
    from ckptd.core.document import shown  # noqa: PLC0415
    from ckptd.core.imports.candidates import Candidate  # noqa: PLC0415
    from ckptd.core.imports.links import as_given  # noqa: PLC0415

    def checked(option: str, value: str | None, read: Callable[[object], T]) -> T | None:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise ConfigError(f"{option} {shown(value)} {error}") from None

    return Candidate(
        as_given(url),
        mirrors,
        checked("--sha256", sha256, schema.sha256),
        checked("--size", size, parse_size),
        description=checked("--description", description, schema.description) or "",
    )


def _append(
    options: Options, command: str, book: Book, reading: Reading, wishes: Wishes, *, source: str = "", dry_run: bool
) -> int:
    """Decide, show, write, and say what was done. `book` may be older than what is written to, which is read again."""
    from ckptd.core.imports.additions import decide  # noqa: PLC0415
    from ckptd.service import manifest_file  # noqa: PLC0415

    path = book.path
    additions = decide(reading.candidates, book.manifest.checkpoints, wishes)
    skipped = (*reading.skipped, *additions.skipped)
    _check(command, source, reading, additions, skipped)
    if not options.json and not options.quiet:
        output.say(report.table(additions.checkpoints, show.width()))
    notes = reading.notes
    if additions.checkpoints and not dry_run:
        # Shown without the lock, since a pager may hold the output for long; written under it.
        with manifest_file.editing(path) as now:
            if now.text != book.text:
                additions = decide(reading.candidates, now.manifest.checkpoints, wishes)
                skipped = (*reading.skipped, *additions.skipped)
            notes = (*notes, *manifest_file.write(now, additions.checkpoints))
    report.tell(skipped, notes, quiet=options.quiet, verbose=options.verbose)
    if options.json:
        outcomes = [Outcome(each.name, "added", each.size, each.sha256) for each in additions.checkpoints]
        output.say(
            [
                output.json_object(
                    command,
                    0,
                    outcomes,
                    manifest=str(path),
                    dry_run=dry_run,
                    added=[report.entry(each) for each in additions.checkpoints],
                    skipped=[{"url": each.url, "name": each.name or None, "reason": each.reason} for each in skipped],
                    left_out=dict(reading.left_out),
                )
            ]
        )
    elif not options.quiet:
        output.say(report.summary(path, additions, reading, dry_run=dry_run))
    return 0


def _check(command: str, source: str, reading: Reading, additions: Additions, skipped: Sequence[Skipped]) -> None:
    """Raise ConfigError where nothing can be made of what was given; `add` wants all of it."""
    wrong = [each for each in skipped if not each.name]
    if wrong and (command == "add" or not (additions.checkpoints or additions.present)):
        said = [f"{clean(each.url)} {each.reason}" for each in wrong[: report.MOST_TOLD]]
        more = [f"... and {len(wrong) - report.MOST_TOLD} more"] if len(wrong) > report.MOST_TOLD else []
        raise ConfigError("\n".join([*said, *more]), hint="nothing was written")
    if additions.checkpoints or additions.present:
        return
    where = "standard input" if source == "-" else redact(source)
    if reading.candidates:
        raise ConfigError(f"nothing in {where} fits --match", hint=f"it names {len(reading.candidates)} files")
    others = f" ({report.counted(reading.left_out)})" if reading.left_out else ""
    raise ConfigError(
        f"{where} names no archive and no weights{others}",
        hint="--any-file takes other files too, --format says what it is",
    )

"""`ckptd path`: the command. Scripts call it, so it imports little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, common, complete_names
from ckptd.core.kinds import Kind
from ckptd.core.models import Outcome
from ckptd.errors import ConfigError, MissingError
from ckptd.service import locate
from ckptd.service.locate import Located


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete_names)
@click.option("--file", "archive", is_flag=True, help="The archive's path, even when it is unpacked.")
@click.option("--kind", metavar="KIND", help="Of which kind: tensorflow, saved-model, hugging-face, pytorch, ...")
@click.option("--all", "every", is_flag=True, help="Every path that a config could want, with its kind.")
@common
@click.pass_obj
def path(options: Options, name: str, *, archive: bool, kind: str | None, every: bool) -> int:
    """Print the path that a config wants: a prefix, a folder, a file. Exit 1 when it is not there.

    \b
    ckptd path resnet50                of an unpacked TensorFlow checkpoint: the prefix
    ckptd path --file resnet50         the archive
    ckptd path --all resnet50          everything in it that a config could want
    """
    if kind is not None and kind not in list(Kind):
        raise ConfigError(f"there is no kind {kind!r}; known: {', '.join(Kind)}")
    workplace = options.workplace((name,))
    if len(workplace.selected) != 1:
        raise ConfigError(f"{name} means {len(workplace.selected)} checkpoints; name one")
    checkpoint, wanted = workplace.selected[0], None if kind is None else Kind(kind)
    found: tuple[str, ...]
    more: dict[str, Any] = {}
    if archive:
        found = (str(locate.archive_path(workplace, checkpoint)),)
    elif every:
        every_one = locate.located(workplace, checkpoint, wanted)
        found = tuple(f"{each.path}\t{each.kind}" for each in every_one)
        more["paths"] = _paths(every_one)
    else:
        try:
            found = (locate.usable_path(workplace, checkpoint, wanted),)
        except MissingError as error:
            if not options.json:
                raise
            return _no_path(error, locate.located(workplace, checkpoint))
    if options.json:
        entry = workplace.lock.entries[checkpoint.name]
        first = found[0].split("\t")[0] if found else None
        outcome = Outcome(entry.name, "present", entry.size, entry.sha256, entry.trust, first)
        output.say([output.json_object("path", 0 if found else 1, [outcome], **more)])
    else:
        output.say(found)
    return 0 if found else 1


def _paths(located: Sequence[Located]) -> list[dict[str, str]]:
    return [{"path": each.path, "kind": each.kind} for each in located]


def _no_path(error: MissingError, located: Sequence[Located]) -> int:
    """Tell programs, too, which paths there are where there is not one to use."""
    output.complain(error)
    output.say([output.json_object("path", error.exit_status, [], error=error, paths=_paths(located))])
    return error.exit_status

"""`ckptd prune`: arguments, and what is printed. What may go is decided in `core.prune`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, age, common
from ckptd.errors import worst

if TYPE_CHECKING:
    from ckptd.core.prune import Item
    from ckptd.service.prune import Pruned


@click.command(epilog=EPILOG)
@click.option("--yes", is_flag=True, help="Remove it. Without this it is only listed.")
@click.option(
    "--partials-older-than",
    metavar="AGE",
    callback=age,
    help="Unfinished downloads that were not touched for so long go, too. Otherwise 14d.",
)
@click.option("--quarantine", is_flag=True, help="All of the quarantine, whatever its age.")
@click.option("--even-if-open", is_flag=True, help="Also what a process has open or mapped. It keeps what it has open.")
@common
@click.pass_obj
def prune(
    options: Options, *, yes: bool, partials_older_than: float | None, quarantine: bool, even_if_open: bool
) -> int:
    """List, and with --yes remove, what the manifest no longer names.

    That is: files and lock entries of names that have gone from the manifest, older files of names that are still
    there, unfinished downloads of the same or of long ago, quarantine beyond [verify] quarantine_age, damaged databases
    that were replaced, and what belongs to bytes that nothing names. What ckptd did not put there is listed and left.

    What a process has open or mapped stays, with its lock entry. The history keeps every record, and gets one of this.
    To remove, the store must be ours: not while a daemon runs.

    \b
    ckptd prune                   what would go, how large it is, and why
    ckptd prune --yes             remove it
    """
    from ckptd.core.prune import PARTIALS_OLDER_THAN, Rules  # noqa: PLC0415
    from ckptd.service import prune as service  # noqa: PLC0415

    workplace = options.workplace(())
    rules = Rules(
        quarantine_age=workplace.manifest.verify.quarantine_age,
        partials_older_than=partials_older_than or PARTIALS_OLDER_THAN,
        all_quarantine=quarantine,
    )
    if not yes:
        found = service.listing(workplace, rules)
    else:
        from ckptd.cli.running import run  # noqa: PLC0415

        found = run(service.remove(workplace, rules, even_if_open=even_if_open))
    status = worst({error.exit_status for _, error in found.failed})
    if options.json:
        output.say([_object(found, status, yes=yes)])
    else:
        _tell(options, found, yes=yes)
    return status


def _object(found: Pruned, status: int, *, yes: bool) -> str:
    would = [] if yes else [{**_item(item), **_used(found, item)} for item in found.plan.items]
    return output.json_object(
        "prune",
        status,
        [],
        removed=[_item(item) for item in found.removed],
        would_remove=would,
        in_use=[{**_item(item), **_used(found, item)} for item in found.spared],
        failed=[
            {**_item(item), "error": {"kind": error.kind, "message": error.message, "hint": error.hint}}
            for item, error in found.failed
        ],
        not_ours=[{"path": _text(each.path), "why": each.why} for each in found.plan.foreign],
        unseen_processes=found.unseen,
    )


def _item(item: Item) -> dict[str, object]:
    path = _text(item.path) if item.path.startswith("/") else None
    return {"kind": item.kind, "name": _text(item.name), "path": path, "bytes": item.bytes, "why": item.why}


def _used(found: Pruned, item: Item) -> dict[str, object]:
    usage = found.used.get(item.path)
    return {} if usage is None else {"used_by": [asdict(each) for each in usage.holders]}


def _text(name: str) -> str:
    """A name from the disk, as Unicode whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _tell(options: Options, found: Pruned, *, yes: bool) -> None:
    from ckptd.ui.prune import foreign_lines, item_lines, total  # noqa: PLC0415

    items = found.removed if yes else list(found.plan.items)
    if not options.quiet:
        lines = item_lines(items, {} if yes else found.used, verbose=options.verbose)
        lines += foreign_lines(found.plan.foreign)
        if yes:
            lines.append(f"prune: removed {total(items)}" if items else "prune: nothing to remove")
        elif items:
            lines.append(f"prune: {total(items)}; nothing was removed: `ckptd prune --yes` does it")
        else:
            lines.append("prune: nothing to remove")
        output.say(lines)
    _complain(f"stays: {line}" for line in item_lines(found.spared, found.used, verbose=options.verbose))
    if any(item.path in found.used for item in found.spared):
        _complain(["what is in use stays; --even-if-open removes its name all the same"])
    if found.unseen:
        _complain([f"processes that could not be looked at: {found.unseen}; run it as root to see all"])
    for _, error in found.failed:
        output.complain(error)


def _complain(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"ckptd: {line}", file=sys.stderr)

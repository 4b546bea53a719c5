"""`ckptd history`: arguments and wiring."""

from __future__ import annotations

import json
import re
import sys
from datetime import date, datetime, time, timedelta

import click

from ckptd.cli import output, show
from ckptd.cli.options import EPILOG, Options, age, common, names_argument
from ckptd.core.attestation import Checked, as_json

_HEAD = re.compile(r"[0-9a-f]{12,64}")


def _head(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _HEAD.fullmatch(value.lower()):
        raise click.BadParameter("is no head; give at least the first 12 of its 64 hexadecimal digits")
    return value.lower() if value is not None else None


def _span(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """The first and last POSIX second that is meant: a day, in local time, from midnight to midnight, or a moment."""
    if value is None:
        return None
    try:
        if len(value) <= len("2026-11-22"):
            day = date.fromisoformat(value)
            ends = (datetime.combine(each, time()).astimezone() for each in (day, day + timedelta(days=1)))
            first, last = (each.timestamp() for each in ends)
            return first, last
        moment = datetime.fromisoformat(value).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        message = "is no date; write a day such as 2026-11-22, or a moment such as 2026-11-22T16:45"
        raise click.BadParameter(message) from None
    return moment, moment


@click.command(epilog=EPILOG)
@names_argument
@click.option("--since", metavar="AGE", callback=age, help="Only what is not older than this, such as 30d.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the newest N records.")
@click.option(
    "--on", "on", metavar="DATE", callback=_span, help="What shows how things stood on a day, or at a moment."
)
@click.option("--check", is_flag=True, help="Prove that no record was edited (exit 3 where one was).")
@click.option("--expect", metavar="HEAD", callback=_head, help="Check, and find a head that was noted earlier.")
@click.option("--export", is_flag=True, help="Check, and print in-toto statements, one JSON document a line.")
@common
@click.pass_obj
def history(  # one for each option
    options: Options,
    names: tuple[str, ...],
    *,
    since: float | None,
    limit: int | None,
    on: tuple[float, float] | None,
    check: bool,
    expect: str | None,
    export: bool,
) -> int:
    """Show every verification and its verdict, newest last.

    Each record carries a digest over itself and the record before it, and --check goes through all of them, whatever
    names are given: an edited, removed or inserted record is found, unless every later one was written anew to fit.
    Only a head (the last digest) that was noted elsewhere catches that: in a ticket, a log, on another machine. Give
    it to --expect. A new database, after the old one was damaged, does not have it either.

    --export prints statements of the kind https://in-toto.io/Statement/v1, to be kept or signed by whoever vouches for
    them. With --on, only those around that time: intact before and after, with the same digest, is intact then.

    \b
    ckptd history                            everything, of all checkpoints
    ckptd history resnet50 --since 30d       the last month of one
    ckptd history --check --expect 8c1f09..  since that head was noted, nothing was rewritten
    ckptd history --on 2026-11-22 --export   what shows that they were intact that day
    """
    from ckptd.service import history as service  # noqa: PLC0415
    from ckptd.ui.history import evidence_lines, history_lines  # noqa: PLC0415

    if on is not None and (since is not None or limit is not None):
        raise click.UsageError("--on cannot be combined with --since and --limit")
    if export and check:
        raise click.UsageError("--export checks by itself; leave --check out")
    workplace = options.workplace(())
    if check or (expect is not None and not export):
        return _check(options, service.prove(workplace, expect))
    if export:
        service.prove(workplace, expect)
    if on is not None:
        evidence = service.around(workplace, names, *on)
        rows = sorted((row for each in evidence for row in each.rows), key=lambda row: row.id)
    else:
        evidence, rows = [], service.listing(workplace, names, since=since, limit=limit)
    if export:
        return _export(options, *service.statements(workplace, rows))
    if options.json:
        told = {each.name: each.conclusion for each in evidence}
        output.say([output.json_object("history", 0, [], history=[as_json(row) for row in rows], conclusions=told)])
    else:
        output.say(evidence_lines(evidence, show.width()) if on else history_lines(rows, show.width()))
    return 0


def _check(options: Options, found: Checked) -> int:
    from ckptd.ui.history import check_lines  # noqa: PLC0415

    if options.json:
        begun = {"begun": found.begun} if found.begun else {}
        check = {"count": found.count, "head": found.head, "noted": found.noted, **begun}
        output.say([output.json_object("history", 0, [], check=check)])
    elif not options.quiet:
        output.say(check_lines(found.count, found.head, found.noted, found.begun))
    return 0


def _export(options: Options, statements: list[dict[str, object]], left_out: list[str]) -> int:
    for line in left_out:
        print(f"ckptd: {line}", file=sys.stderr)
    if options.json:
        output.say([output.json_object("history", 0, [], statements=statements)])
    else:
        output.say(json.dumps(each, separators=(",", ":")) for each in statements)
    return 0

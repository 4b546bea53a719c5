"""`ckptd drill`: the command."""

from __future__ import annotations

from dataclasses import asdict

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, common


@click.command(epilog=EPILOG)
@common
@click.pass_obj
def drill(options: Options) -> int:
    """Damage private copies in every way, and show that each is found, explained and mended.

    Run it after installing. It works in a folder of its own beside the store, so that it tests the disk that your
    checkpoints are on, and removes it afterwards; no file of the store is touched. Exit status 3 if anything is missed.
    """
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service.drill import Drill, Result, line  # noqa: PLC0415

    def tell(result: Result) -> None:
        if not options.json and not (options.quiet and result.passed):
            output.say([line(result)])

    results = run(Drill(options.workplace(())).run(tell))
    missed = [result.title for result in results if not result.passed]
    status = 3 if missed else 0
    if options.json:
        exercises = [{**asdict(result), "passed": result.passed} for result in results]
        output.say([output.json_object("drill", status, [], exercises=exercises)])
    elif missed:
        output.say([f"drill: {len(missed)} of {len(results)} missed: {', '.join(missed)}"])
    elif not options.quiet:
        output.say([f"drill: all {len(results)} kinds of damage were found, explained and mended"])
    return status

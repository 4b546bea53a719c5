"""`ckptd drill`: the command."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, common

if TYPE_CHECKING:
    from ckptd.front.alerts import Arrival


@click.command(epilog=EPILOG)
@common
@click.pass_obj
def drill(options: Options) -> int:
    """Damage private copies in every way, and show that each is found, explained and mended.

    Run it after installing. It works in a folder of its own beside the store, so that it tests the disk that your
    checkpoints are on, and removes it afterwards; no file of the store is touched. Whomever [alerts] names is sent a
    test alert, marked as a drill. Exit status 3 if anything is missed or the alert does not arrive.
    """
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.front.alerts import rehearse  # noqa: PLC0415
    from ckptd.service.drill import Drill, Result, line  # noqa: PLC0415

    def tell(result: Result) -> None:
        if not options.json and not (options.quiet and result.passed):
            output.say([line(result)])

    place = options.workplace(())
    results = run(Drill(place).run(tell))
    arrivals = run(rehearse(place))
    missed = [result.title for result in results if not result.passed]
    lost = [arrival for arrival in arrivals if not arrival.passed]
    status = 3 if missed or lost else 0
    if options.json:
        exercises = [{**asdict(result), "passed": result.passed} for result in results]
        alerts = [{**asdict(arrival), "passed": arrival.passed} for arrival in arrivals]
        output.say([output.json_object("drill", status, [], exercises=exercises, alerts=alerts)])
        return status
    output.say([heard(arrival) for arrival in (lost if options.quiet else arrivals)])
    if missed:
        output.say([f"drill: {len(missed)} of {len(results)} missed: {', '.join(missed)}"])
    elif not options.quiet:
        output.say([f"drill: all {len(results)} kinds of damage were found, explained and mended"])
    return status


def heard(arrival: Arrival) -> str:
    """One way of being told, in a line."""
    if arrival.passed:
        return f"ok      a test alert: {arrival.to} took it"
    return f"MISSED  a test alert: {arrival.to} did not take it: {arrival.why}"

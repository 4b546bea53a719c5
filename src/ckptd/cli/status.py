"""`ckptd status`: the command."""

from __future__ import annotations

import time

import click

from ckptd.cli import output, show
from ckptd.cli.asking import standing_of_daemon
from ckptd.cli.options import EPILOG, Options, common, names_argument
from ckptd.service import promise
from ckptd.service import status as service
from ckptd.store import inventory
from ckptd.store.records import trouble
from ckptd.ui.summary import StatusRow, promise_line, status_lines


@click.command(epilog=EPILOG)
@names_argument
@common
@click.pass_obj
def status(options: Options, names: tuple[str, ...]) -> int:
    """Say what is there, how sure we are, when it was last verified. Reads no file bodies."""
    workplace = options.workplace(names)
    output.note(*trouble(workplace.places.database))
    records = inventory.records(workplace.places)
    found = service.standings(workplace, records)
    running = service.owner(workplace)
    account = standing_of_daemon(workplace)
    if account is not None:
        running = f"the daemon, pid {account.get('pid')}: {account.get('summary')}"
    max_age = workplace.manifest.verify.max_age
    held = promise.standing(workplace.lock, records, max_age, time.time())
    if options.json:
        verified = {each.outcome.name: each.verified_at for each in found}
        outcomes = [each.outcome for each in found]
        output.say(
            [
                output.json_object(
                    "status", 0, outcomes, verified_at=verified, running=running, promise=promise.as_json(held, max_age)
                )
            ]
        )
        return 0
    rows = [
        StatusRow(
            each.outcome.name,
            each.outcome.state,
            each.outcome.trust or "-",
            each.outcome.size,
            service.age(each),
            each.outcome.path or "",
            each.note,
            each.outcome.usable or "",
        )
        for each in found
    ]
    output.say(status_lines(rows, show.width()))
    if workplace.lock.entries:
        output.say([promise_line(held, max_age)])
    if running is not None:
        output.say([f"working on it now: {running}"])
    return 0

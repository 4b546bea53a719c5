"""`ckptd doctor`: arguments, and what is printed. What is found is judged in `core.doctor` and its neighbours."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ckptd.cli import output
from ckptd.cli.options import Options, common
from ckptd.errors import CkptdError

if TYPE_CHECKING:
    from ckptd.service.workplace import Workplace

EPILOG = (
    "Exit status: 0 nothing is bad, else by the worst: 2 manifest or lock, 3 damage or a broken promise, "
    "5 this machine or its disk, 4 drift, 1 network."
)
ENDING_SECONDS = 0.5  # for threads that have nothing left to do


@click.command(epilog=EPILOG)
@click.option("--offline", is_flag=True, help="Ask no origin.")
@click.option("--install-units", is_flag=True, help="Print how to install the systemd units. Installs nothing.")
@common
@click.pass_obj
def doctor(options: Options, *, offline: bool, install_units: bool) -> int:
    """Check the machine, the store and the units, and say how to mend what is wrong.

    Each finding is a line, with a verdict and, below it, the command that mends it. What the store's filesystem can do
    is tried, in a private folder that is removed again; no file of the store is touched. Every origin is asked once
    for headers and once for a byte. Run it as the user that runs ckptd, or as root.

    \b
    ckptd doctor                    everything
    ckptd doctor --quiet            only what is wrong
    ckptd doctor --install-units    what to copy where, and what to type
    """
    if install_units:
        return _install_units(options)
    from ckptd.core.doctor import exit_status  # noqa: PLC0415
    from ckptd.service.doctor import examine  # noqa: PLC0415
    from ckptd.ui.doctor import finding_lines, total_line  # noqa: PLC0415

    findings = examine(options.manifest, os.environ, offline=offline)
    status = exit_status(findings)
    if options.json:
        keys = ("area", "name", "verdict", "text", "mend")
        told = [{key: value for key, value in asdict(each).items() if key in keys} for each in findings]
        output.say([output.json_object("doctor", status, [], findings=told)])
    else:
        lines = finding_lines(findings, only_wrong=options.quiet)
        output.say(lines if options.quiet else [*lines, total_line(findings)])
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End now where a thread hangs in a disk or a name server: Python would wait for it."""
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    for thread in others:
        thread.join(ENDING_SECONDS / len(others))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _install_units(options: Options) -> int:
    from ckptd.service.unit_files import how_to_install  # noqa: PLC0415

    lines, files = how_to_install(_workplace(options))
    if options.json:
        output.say([output.json_object("doctor", 0, [], units=files, instructions=lines)])
    else:
        output.say(lines)
    return 0


def _workplace(options: Options) -> Workplace | None:
    """The manifest that would be used; without one there is less to compare with."""
    try:
        return options.workplace(())
    except CkptdError:
        return None

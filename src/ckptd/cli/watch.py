"""`ckptd watch`: the command; what it does is imported when it is called."""

from __future__ import annotations

import click

from ckptd.cli.options import EPILOG, Options, common


@click.command(epilog=EPILOG)
@click.option("--once", is_flag=True, help="Show how everything stands now, and end.")
@click.option("--wait", is_flag=True, help="Wait for a daemon when there is none.")
@common
@click.pass_obj
def watch(options: Options, once: bool, wait: bool) -> int:  # noqa: FBT001
    """Show what the running daemon does, live: transfers, the scrub, the promise, what is wrong, what comes next.

    q, ^C or ^D ends it, and nothing but it: the daemon goes on with its work. A daemon that is restarted is waited for.
    Not on a terminal it prints one plain line for each event, and one a minute on how everything stands.

    \b
    ckptd watch              in a terminal of its own
    ckptd watch --once       one look, also for scripts
    ckptd watch --json       the same as one JSON object
    """
    from ckptd.cli.watching import show_daemon  # noqa: PLC0415

    return show_daemon(options, once=once, wait=wait)

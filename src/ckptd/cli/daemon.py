"""`ckptd daemon`: the command."""

from __future__ import annotations

import click

from ckptd.cli.options import EPILOG, Options, common
from ckptd.errors import Stopped


@click.command(epilog=EPILOG)
@common
@click.pass_obj
def daemon(options: Options) -> int:
    """Stay: fetch what is missing, verify within [verify] max_age, mend what is damaged, answer other commands.

    Runs in the foreground, as systemd wants it, and logs to stderr. SIGHUP reads the manifest again (a broken one is
    refused, the old one stays in force), SIGTERM stops within seconds and keeps partials. While it runs, `sync`,
    `verify`, `update` and `status` ask it; `ckptd watch` shows what it does.
    """
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.front.alerts import alerting  # noqa: PLC0415
    from ckptd.front.http import serving  # noqa: PLC0415
    from ckptd.front.logs import logging  # noqa: PLC0415
    from ckptd.front.tally import Tally  # noqa: PLC0415
    from ckptd.front.textfile import writing  # noqa: PLC0415
    from ckptd.service.daemon import Daemon  # noqa: PLC0415

    tally = Tally()
    log = logging(quiet=options.quiet, verbose=options.verbose)  # first in and last out: it hears of all others
    fronts = (log, alerting, serving(tally), writing(tally))
    try:
        run(Daemon(options.workplace(()), fronts).run())
    except Stopped:
        return 0  # that is how a daemon ends
    return 0

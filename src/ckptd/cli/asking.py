"""Commands that ask the daemon, when one owns the store: its progress is shown, its exit statuses are ours.

Without a daemon nothing here costs anything: no socket, nothing imported.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptd.cli import show
from ckptd.cli.options import Options
from ckptd.core.models import Outcome
from ckptd.errors import Stopped
from ckptd.service.workplace import Workplace

GOES_ON = "the daemon goes on with it; `ckptd watch` shows its work"


def _may_have_daemon(workplace: Workplace) -> bool:
    socket = workplace.manifest.daemon.socket
    path = workplace.path.absolute().parent / socket if socket is not None else workplace.places.state / "daemon.sock"
    return path.is_socket()


def by_daemon(
    options: Options, command: str, workplace: Workplace, names: tuple[str, ...], asked: Mapping[str, object]
) -> list[Outcome] | None:
    """What the daemon makes of `command`; None when there is none. Raises CkptdError, Stopped."""
    if not _may_have_daemon(workplace):
        return None
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service import remote  # noqa: PLC0415

    with show.watching(command, quiet=options.quiet, verbose=options.verbose, plain=options.json) as emit:
        try:
            return run(remote.ask(workplace, command, names, asked, options.listening(emit)))
        except Stopped as stopped:
            raise Stopped(stopped.number, GOES_ON) from None


def standing_of_daemon(workplace: Workplace) -> Mapping[str, object] | None:
    """How everything stands, by the daemon; None when there is none, or it is not for us."""
    if not _may_have_daemon(workplace):
        return None
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.errors import CkptdError  # noqa: PLC0415
    from ckptd.service import remote  # noqa: PLC0415

    try:
        return run(remote.document(workplace))
    except CkptdError:
        return None  # what the state says has to do

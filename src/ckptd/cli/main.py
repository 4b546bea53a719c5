"""The command line: arguments, wiring, exit status. Decides nothing about checkpoints.

What is slow to import is imported by the command that needs it: `ckptd --version` and `ckptd status` run in scripts
and units.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ckptd.cli import output, show
from ckptd.cli.asking import by_daemon
from ckptd.cli.lazy import Commands
from ckptd.cli.options import EPILOG, Options, age, common, complete_names, names_argument
from ckptd.cli.streams import Streams
from ckptd.core.models import Outcome
from ckptd.core.urls import redact_text
from ckptd.errors import EXIT_ORDER, CkptdError, ConfigError, Stopped, StorageError, worst
from ckptd.service.workplace import Workplace
from ckptd.store.places import storage_error
from ckptd.version import __version__

if TYPE_CHECKING:
    from ckptd.service.sync import Task

ELSEWHERE = {
    "add": "ckptd.cli.importing:add",
    "adopt": "ckptd.cli.adopt:adopt",
    "daemon": "ckptd.cli.daemon:daemon",
    "doctor": "ckptd.cli.doctor:doctor",
    "drift": "ckptd.cli.drift:drift",
    "drill": "ckptd.cli.drill:drill",
    "export": "ckptd.cli.export:export",
    "history": "ckptd.cli.history:history",
    "import": "ckptd.cli.importing:import_",
    "path": "ckptd.cli.path:path",
    "prune": "ckptd.cli.prune:prune",
    "status": "ckptd.cli.status:status",
    "use": "ckptd.cli.use:use",
    "watch": "ckptd.cli.watch:watch",
}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, prog_name="ckptd", message="%(prog)s %(version)s")
@common
def cli() -> None:
    """Fetch pretrained checkpoints, prove them, and keep on proving them.

    A manifest names the checkpoints you want; `sync` fetches them and writes a lock with what was proven; `verify`
    reads every byte again and compares.

    \b
    Begin with:
      ckptd demo                  the whole story on this machine, without network
      ckptd sync                  fetch everything that manifest.toml names
      ckptd verify                are these still the bytes we locked?
      ckptd path NAME             the path to put into a config

    Shell completion: eval "$(_CKPTD_COMPLETE=bash_source ckptd)" (or zsh_source, fish_source).
    """


@cli.command(epilog=EPILOG)
@names_argument
@click.option("--locked", is_flag=True, help="Fail (exit 4) where the lock would change.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing, ask nobody.")
@common
@click.pass_obj
def sync(options: Options, names: tuple[str, ...], locked: bool, dry_run: bool) -> int:  # noqa: FBT001
    """Fetch what is missing, resume what was cut, lock what is new.

    \b
    ckptd sync                    everything in the manifest
    ckptd sync @simple resnet50   what carries a tag, and one by name
    ckptd sync --locked           in CI: only what the lock already names
    """
    from ckptd.service import sync as service  # noqa: PLC0415
    from ckptd.store import inventory  # noqa: PLC0415

    begun = time.monotonic()
    workplace = options.workplace(names)
    outcomes = None if dry_run else by_daemon(options, "sync", workplace, names, {"locked": locked})
    if outcomes is None:
        tasks = service.plan(workplace, inventory.records(workplace.places))
        if dry_run:
            return _dry_run(options, workplace, tasks, locked=locked)
        outcomes = _pass(options, "sync", workplace, tasks, locked=locked)
        _follow(workplace, outcomes)
    return _finish(options, "sync", outcomes, begun)


def _follow(workplace: Workplace, outcomes: list[Outcome]) -> None:
    """Keep the config files of `[[use]]` pointing at what is there now."""
    if not workplace.manifest.uses:
        return
    from ckptd.service.use import follow_all  # noqa: PLC0415
    from ckptd.store import lockfile  # noqa: PLC0415

    now = replace(workplace, lock=lockfile.read(workplace.places.lock))
    for line in follow_all(now, {outcome.name for outcome in outcomes if outcome.error is None}):
        print(f"ckptd: {line}", file=sys.stderr)


def _pass(options: Options, verb: str, workplace: Workplace, tasks: list[Task], *, locked: bool) -> list[Outcome]:
    """Do the tasks, watched. With nothing to do nothing that moves bytes is imported: it would cost a second."""
    from ckptd.service import sync as service  # noqa: PLC0415

    with show.watching(verb, quiet=options.quiet, verbose=options.verbose, plain=options.json) as emit:
        outcomes, work = service.settle(tasks, workplace.places, emit, locked=locked)
        for outcome in outcomes.values():
            options.know(outcome)
        if work:
            from ckptd.cli.running import run  # noqa: PLC0415
            from ckptd.service.fetch import Pass  # noqa: PLC0415
            from ckptd.service.mending import Mender  # noqa: PLC0415

            update = verb == "update"
            mend = Mender(workplace, emit, locked=locked).mend
            done = run(Pass(workplace, emit, locked=locked, update=update, mend=mend, settled=options.know).run(work))
            outcomes.update({outcome.name: outcome for outcome in done})
    return [outcomes[task.checkpoint.name] for task in tasks]


def _dry_run(options: Options, workplace: Workplace, tasks: list[Task], *, locked: bool) -> int:
    from ckptd.service import sync as service  # noqa: PLC0415

    found = []
    for task in tasks:
        outcome = service.settle_without_work(task, workplace.places, locked=locked)
        found.append(outcome or service.pending(task, workplace.places))
    status = worst({outcome.exit_status for outcome in found})
    if options.json:
        plans = {task.checkpoint.name: service.describe(task) for task in tasks}
        output.say([output.json_object("sync", status, found, dry_run=True, plan=plans)])
    elif not options.quiet:
        output.say(f"{task.checkpoint.name}: {service.describe(task)}" for task in tasks)
    for outcome in found:
        if outcome.error is not None:
            print(f"ckptd: {outcome.name}: {outcome.error.message}", file=sys.stderr)
    return status


@cli.command(epilog=EPILOG)
@click.argument("names", nargs=-1, required=True, metavar="NAME | @TAG...", shell_complete=complete_names)
@common
@click.pass_obj
def update(options: Options, names: tuple[str, ...]) -> int:
    """Accept what the origin serves now: fetch, verify, replace, lock anew, just these.

    This is the only command that changes a locked sha256. Whoever has the old file open keeps the old bytes.
    """
    from ckptd.core.lock import difference  # noqa: PLC0415
    from ckptd.service import sync as service  # noqa: PLC0415
    from ckptd.store import inventory, lockfile  # noqa: PLC0415

    begun = time.monotonic()
    workplace = options.workplace(names)
    outcomes = by_daemon(options, "update", workplace, names, {})
    if outcomes is None:
        tasks = service.plan(workplace, inventory.records(workplace.places), update=True)
        outcomes = _pass(options, "update", workplace, tasks, locked=False)
        _follow(workplace, outcomes)
    if not options.json and not options.quiet:
        output.say(difference(workplace.lock, lockfile.read(workplace.places.lock)))
    return _finish(options, "update", outcomes, begun)


@cli.command(epilog=EPILOG)
@names_argument
@click.option("--sha256", is_flag=True, help="Recompute the recorded SHA-256 even where piece digests would do.")
@click.option("--repair", is_flag=True, help="Mend what is damaged: fetch only the damaged parts, prove, replace.")
@click.option("--older-than", metavar="AGE", callback=age, help="Only what was not verified for so long, such as 7d.")
@click.option("--report", metavar="FILE.html", help="Write a page for people to FILE.html.")
@common
@click.pass_obj
def verify(  # one for each flag
    options: Options,
    names: tuple[str, ...],
    *,
    sha256: bool,
    repair: bool,
    older_than: float | None,
    report: str | None,
) -> int:
    """Read every locked byte and compare. Leaves the page cache as it was; without --repair it touches no network.

    Reads from the disk itself where the filesystem allows it, on all cores; says which stretches of a file are
    damaged, what happened to them, and who has the file open.

    \b
    ckptd verify                       all of it
    ckptd verify --older-than 7d       only what was not verified for a week; goes on where it was stopped
    ckptd verify --repair              and fetch the damaged parts again
    ckptd verify --report FILE.html    and write what was found for people who do not read terminals
    """

    begun = time.monotonic()
    workplace = options.workplace(names)
    path = None if report is None else _report_target(workplace, report)
    asked = {"sha256": sha256, "repair": repair} | ({} if older_than is None else {"older_than": older_than})
    found = by_daemon(options, "verify", workplace, names, asked)
    outcomes = found if found is not None else _audit(options, workplace, names, asked)
    if path is None:
        return _finish(options, "verify", outcomes, begun)
    return _reported(options, workplace, names, asked, outcomes, begun, path)


def _reported(
    options: Options,
    workplace: Workplace,
    names: tuple[str, ...],
    asked: Mapping[str, object],
    outcomes: list[Outcome],
    begun: float,
    path: Path,
) -> int:
    """Tell the verdicts, and write the report; where that cannot be done, it is told, too, after them."""
    from ckptd.service import report as service  # noqa: PLC0415
    from ckptd.ui.report import render  # noqa: PLC0415

    seconds = time.monotonic() - begun
    status = worst({outcome.exit_status for outcome in outcomes})
    if not options.json:
        _finish(options, "verify", outcomes, begun)
    failed: StorageError | None = None
    try:
        due, mending = "older_than" in asked, bool(asked["repair"])
        page = service.gather(workplace, outcomes, names=names, seconds=seconds, only_due=due, mending=mending)
        service.write(path, render(page))
    except StorageError as error:
        failed, status = error, worst({status, error.exit_status})
        output.complain(error)
    if options.json:
        written = str(path) if failed is None else None
        output.say([output.json_object("verify", status, outcomes, error=failed, report=written)])
    return status


def _report_target(workplace: Workplace, wanted: str) -> Path:
    from ckptd.service.export import target  # noqa: PLC0415

    return target(workplace, wanted, "--report")


def _audit(
    options: Options, workplace: Workplace, names: tuple[str, ...], asked: Mapping[str, object]
) -> list[Outcome]:
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service.verify import Audit  # noqa: PLC0415

    older = asked.get("older_than")
    with show.watching("verify", quiet=options.quiet, verbose=options.verbose, plain=options.json) as emit:
        audit = Audit(workplace, emit, sha256=bool(asked["sha256"]), settled=options.know)
        outcomes = run(audit.run(names, older_than=older if isinstance(older, float) else None))
        if asked["repair"] and any(outcome.exit_status or outcome.loose for outcome in outcomes):
            from ckptd.service.repair import Repair  # noqa: PLC0415

            outcomes = run(Repair(workplace, options.listening(emit), outcomes).run())
    return outcomes


@cli.command(epilog=EPILOG)
@click.option("--keep", is_flag=True, help="Leave the folder behind, to look around in it.")
@common
@click.pass_obj
def demo(options: Options, keep: bool) -> int:  # noqa: FBT001
    """Show the whole story on this machine, with no network: fetch, kill, resume, drift, a flipped bit."""
    from ckptd.service.demo import show_all  # noqa: PLC0415

    del options
    return show_all(keep=keep)


cli.elsewhere = ELSEWHERE


def _finish(options: Options, command: str, outcomes: list[Outcome], begun: float) -> int:
    from ckptd.ui.summary import summarise  # noqa: PLC0415

    status = worst({outcome.exit_status for outcome in outcomes})
    if options.json:
        output.say([output.json_object(command, status, outcomes)])
    elif not options.quiet:
        lines = summarise(command, outcomes, time.monotonic() - begun, width=show.width())
        # Plain lines do not say where damage is, so what verify found is told in any case.
        output.say(lines[-1:] if command != "verify" and show.told_already() else lines)
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every way a run can end becomes one exit status, and never a traceback."""
    streams = Streams()  # before anything else is opened
    status = _main(sys.argv[1:] if arguments is None else list(arguments))
    sys.exit(_written(streams, status))


def _written(streams: Streams, status: int) -> int:
    """The exit status of a run that ends with `status`, once its results are where they were to go, or cannot be."""
    try:
        failure = streams.failure()
    except BrokenPipeError:
        return status or _reader_gone()
    if failure is None:
        return status
    output.complain(storage_error(failure, "the results could not be written"))
    return worst({status, StorageError.exit_status}) if status in {0, *EXIT_ORDER} else status


def _reader_gone() -> int:
    """Whoever read our results has gone; Python would complain again when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _main(arguments: list[str]) -> int:
    options = Options()
    command = next((word for word in arguments if word in {*cli.commands, *ELSEWHERE}), "")
    try:
        result = cli.main(arguments, prog_name="ckptd", standalone_mode=False, obj=options)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        return _failed(options, command, ConfigError(error.format_message(), hint=_usage(error)))
    except click.Abort:
        return 130
    except CkptdError as error:
        return _failed(options, command, error)
    except Stopped as stopped:
        print(f"ckptd: stopped; {stopped.kept}", file=sys.stderr)
        if options.json:
            output.say([output.json_object(command, stopped.exit_status, options.finished())])
        return stopped.exit_status
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001  # the operator gets one line, whatever it is
        return _failed(options, command, CkptdError(f"internal error: {type(error).__name__}", hint=_details()))


def _failed(options: Options, command: str, error: CkptdError) -> int:
    output.complain(error)
    if options.json:
        output.say([output.json_object(command, error.exit_status, [], error=error)])
    return error.exit_status


def _usage(error: click.UsageError) -> str:
    return f"`{error.ctx.command_path} --help` tells more" if error.ctx is not None else ""


def _details() -> str:
    """Keep the traceback for whoever mends it, without secrets, and say where."""
    import tempfile  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    try:
        fd, name = tempfile.mkstemp(prefix="ckptd-error-", suffix=".txt")
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(f"ckptd {__version__}\n{redact_text(traceback.format_exc())}")
    except OSError:
        return "please report it"
    return f"please report it; the details are in {Path(name)}"

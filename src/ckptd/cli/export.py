"""`ckptd export`: arguments and wiring."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ckptd.cli import output, show
from ckptd.cli.options import EPILOG, Options, common, names_argument
from ckptd.errors import worst
from ckptd.service.workplace import Workplace

if TYPE_CHECKING:
    from ckptd.service.export import Exported


@click.command(epilog=EPILOG)
@names_argument
@click.option(
    "--format",
    "kind",
    type=click.Choice(["sha256sums", "metalink", "json"]),
    help="What to print; sha256sums unless said otherwise (with --json, json).",
)
@click.option("--output", "wanted", metavar="FILE", help="Write it there, whole or not at all, instead of to stdout.")
@click.option("--no-pieces", is_flag=True, help="A Metalink without digests of pieces: reads no file, mends none.")
@common
@click.pass_obj
def export(options: Options, names: tuple[str, ...], *, kind: str | None, wanted: str | None, no_pieces: bool) -> int:
    """Print what we know of the checkpoints, for other tools.

    A Metalink carries SHA-256 digests of pieces of 64 KiB to 16 MiB, so that aria2 can fetch just what is damaged. To
    make them every file is read once; one whose bytes are not the locked ones is left out (exit 3). URLs stand in it
    without credentials, and not at all where they need a signature. aria2 writes into what it finds damaged and leaves
    .aria2 files beside it, even with --hash-check-only: let it work on a copy, and leave the store to `ckptd verify`.

    \b
    ckptd export --output SHA256SUMS             then: cd STORE && sha256sum -c /path/to/SHA256SUMS
    ckptd export --format metalink --output all.meta4
                                             then: aria2c --check-integrity=true -M all.meta4 -d COPY
    ckptd export --format json                   all that lock and ledger know
    """
    from ckptd.service import export as service  # noqa: PLC0415
    from ckptd.store.records import trouble  # noqa: PLC0415

    kind = kind or ("json" if options.json else "sha256sums")
    if no_pieces and kind != "metalink":
        raise click.UsageError("--no-pieces goes with --format metalink")
    workplace = options.workplace(names)
    path = None if wanted is None else service.target(workplace, wanted, "--output")
    if kind == "json":
        output.note(*trouble(workplace.places.database))
        outcomes, known = service.known(workplace, names)
        status = worst({outcome.exit_status for outcome in outcomes})
        found = service.Exported(output.json_object("export", status, outcomes, known=known) + "\n", outcomes)
    elif kind == "metalink":
        found = _metalink(options, workplace, names, pieces=not no_pieces)
    else:
        found = service.sums(workplace, names)
    status = worst({outcome.exit_status for outcome in found.outcomes})
    if path is not None and found.text:
        service.write(path, found.text)
    if options.json and (kind != "json" or path is not None):
        file, text = (str(path), None) if path is not None else (None, found.text)
        output.say([output.json_object("export", status, found.outcomes, format=kind, output=file, text=text)])
    elif path is None:
        sys.stdout.buffer.write(found.text.encode())  # UTF-8 in any locale: that is what a Metalink says of itself
        sys.stdout.buffer.flush()
    for outcome in found.outcomes:
        if outcome.error is not None:
            print(f"ckptd: {outcome.name}: {outcome.error.message}", file=sys.stderr)
            print(f"  hint: {outcome.error.hint}", file=sys.stderr)
    return status


def _metalink(options: Options, workplace: Workplace, names: tuple[str, ...], *, pieces: bool) -> Exported:
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service.metalink import Metalink  # noqa: PLC0415

    # Reading and comparing is what verify does, so it is told in the same words.
    with show.watching("export", quiet=options.quiet, verbose=options.verbose, plain=options.json) as emit:
        return run(Metalink(workplace, emit).run(names, pieces=pieces))

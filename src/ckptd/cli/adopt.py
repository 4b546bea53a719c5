"""`ckptd adopt`: the command."""

from __future__ import annotations

import click

from ckptd.cli import output, show
from ckptd.cli.options import EPILOG, Options, common
from ckptd.errors import ConfigError, worst


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option("--in-place", is_flag=True, help="Leave the files where they are, and only watch them.")
@click.option("--link", is_flag=True, help="Take them in as hard links: both names then share the bytes.")
@click.option("--offline", is_flag=True, help="Do not ask origins for their digests.")
@common
@click.pass_obj
def adopt(options: Options, paths: tuple[str, ...], *, in_place: bool, link: bool, offline: bool) -> int:
    """Take in what this server already has, without downloading; and say what of it is rotten.

    Looks through files and folders: archives that the manifest names, Hugging Face caches, Ollama stores, torch hub
    files. Those that carry a digest in their name are verified by it. A file that a checkpoint of the manifest could be
    (by its digest, or by name and size) is taken in when a pin, the lock, or a digest of its origin vouches for its
    bytes: as shared blocks where the filesystem can, else as a copy. What is offered is never changed.

    With --in-place the files stay where they are: those that are vouched for are locked, `in_place` is written into
    their entries of the manifest, and from then on they are verified and scrubbed as any other, and never written.

    With --link the store gets hard links, on one filesystem only, and no second copy: what writes through the other
    name changes the store's file, too, and both are read-only from then on.

    \b
    ckptd adopt /data/downloads
    ckptd adopt --in-place /data/models
    ckptd adopt ~/.cache/huggingface/hub ~/.cache/torch/hub
    """
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service.adopt import Adoption, offered  # noqa: PLC0415
    from ckptd.ui.summary import summarise  # noqa: PLC0415

    if in_place and link:
        raise ConfigError("--in-place and --link exclude each other", hint="--in-place puts nothing into the store")
    workplace = options.workplace(())
    files = offered(paths, workplace)
    with show.watching("adopt", quiet=options.quiet, verbose=options.verbose, plain=options.json) as emit:
        if in_place:
            from ckptd.service import adopt_in_place  # noqa: PLC0415

            work = adopt_in_place.Adoption(workplace, emit, ask=not offline).run(files)
        else:
            work = Adoption(workplace, emit, ask=not offline, link=link).run(files)
        judged, outcomes = run(work)
    for outcome in outcomes if link else ():
        if outcome.state == "adopted":
            click.echo(f"ckptd: warning: {outcome.name}: {'; '.join(outcome.notes)}", err=True)
    rotten = [each for each in judged if each.verdict == "rotten"]
    status = worst({*(outcome.exit_status for outcome in outcomes), *([3] if rotten else [])})
    if options.json:
        listed = [
            {
                "path": each.offered.path,
                "size": each.offered.size,
                "verdict": each.verdict,
                "sha256": each.sha256 or None,
                "store": each.offered.claim.store if each.offered.claim is not None else None,
            }
            for each in judged
        ]
        output.say([output.json_object("adopt", status, outcomes, files=listed)])
        return status
    output.say(f"rotten: {each.offered.path}: its bytes are not what its name says" for each in rotten)
    if not options.quiet:
        output.say(summarise("adopt", outcomes, 0.0, width=show.width())[:-1])
        intact = sum(each.verdict == "intact" for each in judged)
        taken = sum(outcome.state == "adopted" for outcome in outcomes)
        named = f"{intact} are what their names say, {len(rotten)} rotten"
        done = "watched in place" if in_place else "taken in"
        output.say([f"adopt: {len(files)} files looked at, {named}, {taken} {done}"])
    return status

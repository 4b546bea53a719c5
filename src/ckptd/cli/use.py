"""`ckptd use`: arguments, and what is printed. Which value is written is decided in `core.configs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, common, complete_names
from ckptd.core.document import shown
from ckptd.core.models import Checkpoint, Outcome
from ckptd.core.urls import redact_text
from ckptd.errors import CkptdError, ConfigError, worst
from ckptd.service.workplace import Workplace

if TYPE_CHECKING:
    from ckptd.service.use import Target

FORMATS = ("textproto", "yaml", "toml", "json", "python")  # `core.configs.Format`, which is slow to import


@click.command(epilog=EPILOG)
@click.argument("name", shell_complete=complete_names)
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG...", type=click.Path())
@click.option("--key", metavar="KEY", help="The key to write, such as MODEL.WEIGHTS. Otherwise initial_checkpoint.")
@click.option("--all", "every", is_flag=True, help="Write every value with that key, not just a single one.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Print what changes as a unified diff.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="What the files are, where their names do not say.")
@common
@click.pass_obj
def use(
    options: Options,
    *,
    name: str,
    configs: tuple[str, ...],
    key: str | None,
    every: bool,
    check: bool,
    diff: bool,
    form: str | None,
) -> int:
    """Write the path of NAME into config files: textproto, YAML, TOML, JSON or Python.

    Only the value changes: comments, order, quotes, line ends, mode and owner stay. Without --key it is the value of
    initial_checkpoint, or one that is ${INIT_CHECKPOINT}. Where there are several, --key names one, --all means all.

    \b
    ckptd use resnet50 configs/*.textproto
    ckptd use resnet50 model.yaml --key MODEL.WEIGHTS
    ckptd use resnet50 train.py --key load_from --check --diff
    """
    from ckptd.core.configs import Format, Wanted  # noqa: PLC0415
    from ckptd.service import use as service  # noqa: PLC0415
    from ckptd.service.locate import usable_path  # noqa: PLC0415

    workplace = options.workplace((name,))
    if len(workplace.selected) != 1:
        raise ConfigError(f"{name} means {len(workplace.selected)} checkpoints; name one")
    checkpoint = workplace.selected[0]
    value = usable_path(workplace, checkpoint)
    targets = service.prepare(workplace, configs, value, Wanted(key, every, None if form is None else Format(form)))
    notes = [service.note(checkpoint, value)]
    errors: dict[str, CkptdError] = {}
    for target in () if check else targets:
        try:
            notes.append(service.write(target))
        except CkptdError as error:
            errors[target.path] = error
    status = worst({error.exit_status for error in errors.values()})
    if check and any(target.edited.changed for target in targets):
        status = 1
    changed = [line for target in targets for line in target.difference] if diff else []
    if options.json:
        _print_json(workplace, checkpoint, value, targets, errors, status, changed if diff else None)
    elif diff:
        output.say(_printable(line) for line in changed)
    elif not options.quiet:
        output.say(_lines(targets, errors, check=check))
    _complain([note for note in notes if note and not options.quiet], errors)
    return status


def _print_json(
    workplace: Workplace,
    checkpoint: Checkpoint,
    value: str,
    targets: Sequence[Target],
    errors: Mapping[str, CkptdError],
    status: int,
    changed: list[str] | None,
) -> None:
    entry = workplace.lock.entries[checkpoint.name]
    outcome = Outcome(entry.name, "present", entry.size, entry.sha256, entry.trust, value)
    files = [
        {
            "path": target.path,
            "changed": change.changed and target.path not in errors,
            "key": change.key,
            "line": change.line,
            "old": None if change.old is None else redact_text(change.old),
            "new": change.new,
        }
        for target in targets
        for change in target.edited.changes
    ]
    more: dict[str, object] = {"files": files} if changed is None else {"files": files, "diff": "\n".join(changed)}
    error = next(iter(errors.values()), None)
    output.say([output.json_object("use", status, [outcome], error=error, **more)])


def _lines(targets: Sequence[Target], errors: Mapping[str, CkptdError], *, check: bool) -> Iterator[str]:
    for target in targets:
        if target.path in errors:
            continue
        for change in target.edited.changes:
            was = "null" if change.old is None else shown(change.old)
            said = f'{"would be" if check else "is now"} "{change.new}", not {was}'
            if not change.changed:
                said = "is right already"
            yield _printable(f"{target.path}:{change.line}: {change.key} {said}")


def _printable(line: str) -> str:
    """Names of files need not be UTF-8, and texts may hold what a terminal would obey."""
    clean = "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in line)
    return clean.encode("utf-8", "backslashreplace").decode()


def _complain(notes: Sequence[str], errors: Mapping[str, CkptdError]) -> None:
    for note in notes:
        print(f"ckptd: note: {note}", file=sys.stderr)
    for error in errors.values():
        output.complain(error)

"""What every command of the command line takes, and how names of checkpoints are completed. Runs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ckptd.core.models import Outcome, Problem, Trust
from ckptd.core.units import parse_duration
from ckptd.errors import CkptdError
from ckptd.service.workplace import Workplace, enter, find_manifest

if TYPE_CHECKING:
    from ckptd.core.events import Emit, Event, Finished

F = TypeVar("F", bound=Callable[..., Any])
EPILOG = "Exit status: 0 good, 1 not fetched or not there, 2 usage, 3 integrity, 4 drift, 5 disk, 6 busy."


@dataclass(slots=True)
class Options:
    """What every command takes."""

    manifest: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    known: dict[str, Outcome] = field(default_factory=dict)  # what came of checkpoints so far

    def know(self, outcome: Outcome) -> None:
        """One checkpoint is done, or has been found to be otherwise than before."""
        self.known[outcome.name] = outcome

    def listening(self, emit: Emit) -> Emit:
        """`emit`, which also notes the ends that are told where no whole outcomes are at hand."""
        from ckptd.core.events import Finished  # noqa: PLC0415

        def hear(event: Event) -> None:
            if isinstance(event, Finished):
                self.know(_ended(self.known.get(event.name, Outcome(event.name, event.state)), event))
            emit(event)

        return hear

    def finished(self) -> list[Outcome]:
        """What is known when a run is stopped, by name."""
        return [self.known[name] for name in sorted(self.known)]

    def workplace(self, names: Sequence[str]) -> Workplace:
        """Read manifest and lock. Raises ConfigError."""
        return enter(find_manifest(self.manifest, os.environ), names)


def _ended(before: Outcome, event: Finished) -> Outcome:
    """What came of a checkpoint, as far as its last event tells."""
    return replace(
        before,
        state=event.state,
        size=before.size if event.size is None else event.size,
        trust=Trust(event.detail) if event.detail in set(Trust) else before.trust,
        bytes_fetched=event.fetched,
        error=Problem(event.kind, event.error, event.hint) if event.error else None,
    )


def common(function: F) -> F:
    def keep(context: click.Context, parameter: click.Parameter, value: object) -> object:
        options = context.ensure_object(Options)
        if value and parameter.name is not None:
            setattr(options, parameter.name, value)
        return value

    for option in (
        click.option("--verbose", is_flag=True, expose_value=False, callback=keep, help="Tell more, and more often."),
        click.option("--quiet", is_flag=True, expose_value=False, callback=keep, help="Tell only what went wrong."),
        click.option(
            "--json", is_flag=True, expose_value=False, callback=keep, help="Print one JSON object to stdout."
        ),
        click.option(
            "--manifest",
            metavar="PATH",
            type=click.Path(),
            expose_value=False,
            callback=keep,
            help="The manifest. Otherwise $CKPTD_MANIFEST, ./manifest.toml, /etc/ckptd/manifest.toml.",
        ),
    ):
        function = option(function)
    return function


def complete_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        workplace = Options(context.params.get("manifest")).workplace(())
    except CkptdError:
        return []
    found = [CompletionItem(each.name, help=each.description) for each in workplace.manifest.checkpoints]
    found += [
        CompletionItem(f"@{tag}")
        for tag in sorted({tag for each in workplace.manifest.checkpoints for tag in each.tags})
    ]
    return [each for each in found if each.value.startswith(incomplete)]


names_argument = click.argument("names", nargs=-1, metavar="[NAME | @TAG]...", shell_complete=complete_names)


def age(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None

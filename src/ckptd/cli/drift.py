"""`ckptd drift`: arguments, and what is printed. What an answer means is decided in `core.drift`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ckptd.cli import output
from ckptd.cli.options import EPILOG, Options, common, names_argument
from ckptd.errors import CkptdError, worst

if TYPE_CHECKING:
    from ckptd.core.drift import Facts
    from ckptd.core.identity import Finding
    from ckptd.service.drift import Inquiry


@click.command(epilog=EPILOG)
@names_argument
@click.option("--promote", is_flag=True, help="Write witnesses that agree with the locked bytes into the lock.")
@common
@click.pass_obj
def drift(options: Options, names: tuple[str, ...], *, promote: bool) -> int:
    """Ask the origins whether they still serve what is locked. Downloads no bodies, changes nothing.

    Tells what is not the same, with old beside new: by published digests, size, generation, ETag, and last the date.
    A change of metadata alone is no alarm, and neither is an old copy in a cache on the way.

    \b
    ckptd drift                   everything that is locked
    ckptd update NAME             accept what the origin serves now
    ckptd drift --promote         the origin publishes a digest now: note it in the lock
    """
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service import drift as service  # noqa: PLC0415

    workplace = options.workplace(names)
    inquiries, findings = run(service.ask(workplace))
    error: CkptdError | None = None
    if promote:
        try:
            inquiries = service.promote(workplace, inquiries)
        except CkptdError as failed:
            error = failed  # what was asked is told all the same
    status = worst({inquiry.outcome.exit_status for inquiry in inquiries})
    if error is not None:
        status = worst({status, error.exit_status}) or error.exit_status
    _tell(options, status, inquiries, findings, error)
    return status


def _tell(
    options: Options,
    status: int,
    inquiries: Sequence[Inquiry],
    findings: Sequence[Finding],
    error: CkptdError | None,
) -> None:
    from ckptd.ui.drift import drift_lines, total_line  # noqa: PLC0415

    outcomes = [inquiry.outcome for inquiry in inquiries]
    if options.json:
        details = {inquiry.outcome.name: _details(inquiry) for inquiry in inquiries}
        found = [asdict(finding) for finding in findings]
        output.say([output.json_object("drift", status, outcomes, error=error, details=details, findings=found)])
    else:
        told = [(inquiry.outcome, inquiry.locked, inquiry.origin) for inquiry in inquiries]
        if options.quiet:
            wrong = [each for each in told if each[0].error is not None]
            print(*drift_lines(wrong, (), verbose=False), sep="\n", end="\n" if wrong else "", file=sys.stderr)
        else:
            output.say([*drift_lines(told, findings, verbose=options.verbose), total_line(outcomes)])
    if error is not None:
        output.complain(error)


def _details(inquiry: Inquiry) -> dict[str, object]:
    """What `--json` says of one checkpoint beyond the contract's keys."""
    speaker = inquiry.speaker
    return {
        "evidence": speaker.verdict.evidence if speaker is not None else "",
        "locked": _facts(inquiry.locked),
        "origin": _facts(inquiry.origin),
        "witnesses": list(inquiry.labels),
        "sources": [
            {
                "url": said.url,
                "state": said.verdict.state,
                "reason": said.verdict.reason,
                "status": said.answer.status or None,
                "age": said.answer.age,
                "commit": said.answer.commit,
            }
            for said in inquiry.said
        ],
    }


def _facts(facts: Facts | None) -> dict[str, object] | None:
    return None if facts is None else asdict(facts)

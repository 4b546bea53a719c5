"""What goes to stdout: the `--json` object of the contract, or lines for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from ckptd.core.models import Case, Damage, Outcome, Problem
from ckptd.errors import CkptdError

SCHEMA = 1


def json_object(
    command: str, status: int, outcomes: Sequence[Outcome], *, error: CkptdError | None = None, **more: object
) -> str:
    """The one object that `--json` prints."""
    found: dict[str, object] = {
        "schema": SCHEMA,
        "command": command,
        "exit": status,
        "checkpoints": [_checkpoint(command, outcome) for outcome in outcomes],
        **more,
    }
    if error is not None:
        found["error"] = {"kind": error.kind, "message": error.message, "hint": error.hint}
    return json.dumps(found, indent=2)


def _checkpoint(command: str, outcome: Outcome) -> dict[str, object]:
    found: dict[str, object] = {
        "name": outcome.name,
        "state": outcome.state,
        "size": outcome.size,
        "sha256": outcome.sha256,
        "trust": outcome.trust,
        "path": outcome.path,
        "bytes_fetched": outcome.bytes_fetched,
        "bytes_reused": outcome.bytes_reused,
        "error": _problem(outcome.error),
    }
    if command == "status":
        found["kind"] = outcome.usable
    if command == "verify" and outcome.damage is not None:
        found["damage"] = [_damage(each) for each in outcome.damage]
    if outcome.case is not None:
        found["diagnosis"] = _case(outcome.case)
    if outcome.notes:
        found["notes"] = list(outcome.notes)
    return found


def _damage(damage: Damage) -> dict[str, object]:
    detail = {"detail": damage.detail} if damage.detail else {}
    return {"offset": damage.offset, "length": damage.length, "verdict": damage.verdict, **detail}


def _case(case: Case) -> dict[str, object]:
    return {
        "cause": case.cause,
        "summary": case.summary,
        "last_good": case.last_good,
        "used_by": [asdict(holder) for holder in case.usage.holders],
        "unseen_processes": case.usage.unseen,
        "quarantine": case.quarantine,
    }


def _problem(problem: Problem | None) -> dict[str, str] | None:
    return None if problem is None else {"kind": problem.kind, "message": problem.message, "hint": problem.hint}


def say(lines: Iterable[str]) -> None:
    """Results, a line each, to stdout."""
    text = "".join(f"{line}\n" for line in lines)
    sys.stdout.write(text)
    sys.stdout.flush()


def complain(error: CkptdError) -> None:
    """What went wrong, and what to do, to stderr."""
    lines = error.message.splitlines() or [""]
    hint = [f"  hint: {error.hint}"] if error.hint else []
    print(f"ckptd: error: {lines[0]}", *lines[1:], *hint, sep="\n", file=sys.stderr, flush=True)


def note(message: str, hint: str = "") -> None:
    """What is not in order and keeps nobody from an answer, to stderr."""
    if message:
        print(f"ckptd: {message}" + (f" (hint: {hint})" if hint else ""), file=sys.stderr, flush=True)

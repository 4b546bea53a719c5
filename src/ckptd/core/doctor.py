"""Findings: what `doctor` says of one thing, how bad that is, and the command that mends it.

What is found is judged in `doctor_machine`, `doctor_store`, `doctor_network` and `doctor_work`, each from facts that
`service` gathers; here is what they share. No finding holds a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# What decides the exit status when several things are bad: every other command would end with 2, too, as long as the
# manifest or the lock cannot be used; then the contract's order.
EXIT_ORDER = (2, 3, 5, 4, 1)
ELSEWHERE = "put the store on another filesystem: [store] path and state"


class Verdict(StrEnum):
    """How a thing is. UNKNOWN: it could not be looked at, which is no fault of the thing."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` is a command, or several, or what else to do; `status` the exit status where
    it is bad."""

    area: str
    name: str
    verdict: Verdict
    text: str
    mend: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Area:
    """Makes the findings of one area. `status` is the exit status of what is bad in it."""

    name: str
    status: int = 5

    def ok(self, name: str, text: str) -> Finding:
        """All is well."""
        return Finding(self.name, name, Verdict.OK, text)

    def warn(self, name: str, text: str, mend: str = "") -> Finding:
        """It works, and might be better, or will not work for long."""
        return Finding(self.name, name, Verdict.WARN, text, mend)

    def bad(self, name: str, text: str, mend: str, status: int | None = None) -> Finding:
        """Something does not work, or cannot be relied on."""
        return Finding(self.name, name, Verdict.BAD, text, mend, self.status if status is None else status)

    def unknown(self, name: str, text: str, mend: str = "") -> Finding:
        """It could not be looked at."""
        return Finding(self.name, name, Verdict.UNKNOWN, text, mend)


def exit_status(findings: Iterable[Finding]) -> int:
    """0 when nothing is bad, else the status that fits the worst of it."""
    statuses = {finding.status for finding in findings if finding.verdict is Verdict.BAD}
    return next((status for status in EXIT_ORDER if status in statuses), 0)


def listed(things: Iterable[str], most: int = 3) -> str:
    """The first few of many, in a few words: "a, b, c and 4 more"."""
    found = list(things)
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")

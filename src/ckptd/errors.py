"""Every deliberate exception, grouped by who must act, with its exit status beside it.

A message says what is wrong and where, `hint` what to do next. Neither ever holds a secret: URLs in them
have passed `ckptd.core.urls.redact`. Nothing here does I/O.
"""

from __future__ import annotations

from typing import ClassVar


class CkptdError(Exception):
    """Something went wrong that we know how to explain.

    `kind` is the `error.kind` of `--json`, `exit_status` what the process returns when this is the worst.
    """

    kind: ClassVar[str] = "storage"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class ConfigError(CkptdError):
    """The operator's input is wrong: usage, manifest or lock. Nothing was touched."""

    kind = "config"
    exit_status = 2


class NetworkError(CkptdError):
    """The way to the origin failed: names, connections, timeouts, bodies cut short."""

    kind = "network"


class OriginError(CkptdError):
    """The origin answered, and the answer is of no use: 404, 503, a page instead of a file."""

    kind = "origin"


class PolicyError(CkptdError):
    """The operator's own rules forbid it: redirects to private addresses, trust too low, too large."""

    kind = "policy"


class IntegrityError(CkptdError):
    """Bytes are not what was promised."""

    kind = "integrity"
    exit_status = 3


class DriftError(CkptdError):
    """The origin serves something other than what is locked, or the lock would have to change."""

    kind = "drift"
    exit_status = 4


class StorageError(CkptdError):
    """This machine's disk: full, read-only, no permission, failing."""

    kind = "storage"
    exit_status = 5


class BusyError(CkptdError):
    """Another instance owns the store."""

    kind = "storage"
    exit_status = 6


class MissingError(CkptdError):
    """What was asked for is not there (yet)."""

    kind = "storage"
    exit_status = 1


class Stopped(Exception):  # noqa: N818  # nothing went wrong: somebody asked
    """A signal ended the work. The exit status is a shell's: 128 and the signal's number. `kept` says what stays."""

    def __init__(self, number: int, kept: str = "what was downloaded is kept, the next run goes on from it") -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number
        self.exit_status = 128 + number
        self.kept = kept


def first_known(group: BaseExceptionGroup[BaseException]) -> CkptdError | None:
    """The first error in our own words among those that tasks ended with."""
    for error in group.exceptions:
        found = first_known(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, CkptdError):
            return found
    return None


# When several apply, the first of these is returned (the contract's order).
EXIT_ORDER = (3, 5, 4, 1)


def worst(statuses: set[int]) -> int:
    """The exit status of a run whose checkpoints ended with `statuses`."""
    return next((status for status in EXIT_ORDER if status in statuses), max(statuses, default=0))

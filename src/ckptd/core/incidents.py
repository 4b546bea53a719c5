"""Incidents: what is wrong, from the moment it is until it is not. Told once when it begins and once when it ends.

Pure; clock values are arguments, POSIX seconds. Who is told, and how, is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

FAILURES = 3  # in a row, before a checkpoint that cannot be fetched is an incident


class Kind(StrEnum):
    """What can be wrong."""

    DAMAGE = "damage"
    DRIFT = "drift"
    PROMISE = "promise"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that is wrong. `name` of the checkpoint, empty for all of the store."""

    kind: Kind
    name: str
    message: str
    since: float
    until: float | None = None  # None: it goes on


@dataclass(frozen=True, slots=True)
class Incidents:
    """All that is wrong now, by kind and name."""

    open: Mapping[tuple[Kind, str], Incident]

    @classmethod
    def none(cls) -> Incidents:
        """Nothing is wrong."""
        return cls({})

    def observe(self, kind: Kind, name: str, message: str, now: float) -> tuple[Incidents, Incident | None]:
        """After an observation: `message` says what is wrong, and is empty when nothing is.

        The incident that has just begun or ended, which people should be told of; None when nothing changed for them.
        """
        key, known = (kind, name), self.open.get((kind, name))
        if message and known is None:
            begun = Incident(kind, name, message, now)
            return Incidents({**self.open, key: begun}), begun
        if message and known is not None:
            return Incidents({**self.open, key: replace(known, message=message)}), None
        if known is not None:
            return Incidents({each: value for each, value in self.open.items() if each != key}), replace(
                known, until=now
            )
        return self, None

    def to_json(self) -> str:
        """As it is kept over restarts."""
        return json.dumps([asdict(incident) for incident in self.open.values()])

    @classmethod
    def from_json(cls, text: str) -> Incidents:
        """What `to_json` wrote; anything else means that nothing is known."""
        try:
            found = [Incident(**{**each, "kind": Kind(each["kind"])}) for each in json.loads(text)]
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls.none()
        return cls({(incident.kind, incident.name): incident for incident in found})

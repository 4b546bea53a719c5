"""What is told of an incident: the JSON that commands and webhooks get, the sentence in it, a command's environment.

Pure. No secrets in any of it, and nothing that is not printable. Who is told, and whether that worked, is
`front.alerts`' business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ckptd.core.incidents import Incident, Kind
from ckptd.core.log import one_line

SCHEMA = 1
LONGEST = 2000  # characters of a message
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where the daemon has none
INHERITED = ("PATH", "LANG", "HOME")
DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Alert:
    """One incident that has begun or ended, as it is told. `host` and `store`: where."""

    incident: Incident
    host: str
    store: str
    drill: bool = False  # only a test of the way to those who are told

    @property
    def state(self) -> str:
        """ "begun" or "over"."""
        return "begun" if self.incident.until is None else "over"

    @property
    def label(self) -> str:
        """The incident in a few words, for the log."""
        return f"{self.incident.kind} {self.state}"


def text(alert: Alert) -> str:
    """One sentence for people."""
    incident = alert.incident
    about = f"{incident.kind} of {incident.name}" if incident.name else f"{incident.kind}"
    said = f"is over ({incident.message})" if alert.state == "over" else f"- {incident.message}"
    drill = "this is a drill: " if alert.drill else ""
    return one_line(f"{drill}ckptd on {alert.host}: {about} {said}", LONGEST)


def body(alert: Alert) -> bytes:
    """The JSON, UTF-8. `text` is there for chat services, which show that field and nothing else."""
    incident = alert.incident
    found: dict[str, object] = {
        "schema": SCHEMA,
        "program": "ckptd",
        "host": one_line(alert.host),
        "store": one_line(alert.store),
        "kind": incident.kind,
        "checkpoint": one_line(incident.name),
        "state": alert.state,
        "message": one_line(incident.message, LONGEST),
        "since": _moment(incident.since),
        "until": None if incident.until is None else _moment(incident.until),
        "text": text(alert),
    }
    if alert.drill:
        found["drill"] = True
    return json.dumps(found).encode()


def environment(alert: Alert, ours: Mapping[str, str]) -> dict[str, str]:
    """What the command sees of the environment: PATH, LANG and HOME of `ours`, and what the incident is."""
    inherited = {key: ours[key] for key in INHERITED if key in ours}
    told = {
        "CKPTD_INCIDENT_KIND": str(alert.incident.kind),
        "CKPTD_CHECKPOINT": one_line(alert.incident.name),
        "CKPTD_STATE": alert.state,
    }
    return {"PATH": PATH, **inherited, **told, **({"CKPTD_DRILL": "1"} if alert.drill else {})}


def rehearsal(host: str, store: str, now: float) -> tuple[Alert, Alert]:
    """An incident that is none, from its beginning to its end."""
    begun = Incident(Kind.DAMAGE, DRILL, "nothing is damaged; this shows that alerts arrive", now)
    over = Incident(Kind.DAMAGE, DRILL, begun.message, now, now)
    return Alert(begun, host, store, drill=True), Alert(over, host, store, drill=True)


def _moment(at: float) -> str:
    """RFC 3339, UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"

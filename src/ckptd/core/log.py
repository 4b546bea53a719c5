"""What a daemon's log says: an event or an incident becomes a line with priority and fields, or nothing.

Pure; clock values are arguments, in seconds. Every line is one line, without control characters, secrets and signed
queries. How often the same may be said is `core.log_limit`'s business, where lines go `front.journal`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ckptd.core import events
from ckptd.core.activity import FAILURES
from ckptd.core.incidents import Incident, Kind
from ckptd.core.picture import percent, portion, span
from ckptd.core.units import format_duration, format_rate, format_size
from ckptd.core.urls import redact_text

LONGEST = 4000  # characters of a message, and of any field
MOST_READ = 20_000  # characters of a text that are looked at
EVERY = 30.0  # seconds between two lines on how far a checkpoint is, when asked for
UNEVENTFUL = frozenset({"present", "same", "intact"})  # nothing happened
DAMAGED = frozenset({"corrupt", "missing", "unreadable"})
TROUBLED = frozenset({"alerts", "drift", "scrub", "state"})  # parts of the daemon that speak up when something is wrong
OURS = frozenset({"integrity", "storage", "config"})  # kinds of errors that do not pass by trying again


class Priority(IntEnum):
    """As in syslog(3)."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `event` is its kind, `size` bytes, `verdict` a state of the contract or what an incident is about.

    `urgent`: it is never left out.
    """

    priority: Priority
    event: str
    name: str
    message: str
    host: str = ""
    size: int | None = None
    verdict: str = ""
    urgent: bool = False


def one_line(text: str, longest: int = LONGEST) -> str:
    """`text` without secrets on one line of at most `longest` characters, "?" for whatever cannot be printed."""
    if len(text) > MOST_READ:  # what is cut off may be the end of a secret that begins before it
        head = text[:MOST_READ]
        whole = head.rsplit(None, 1)[0]
        text = whole if len(whole) > MOST_READ // 2 else head
    words = " ".join(redact_text(text).split())
    printable = words if words.isprintable() else "".join(char if char.isprintable() else "?" for char in words)
    return printable if len(printable) <= longest else f"{printable[: longest - 3]}..."


def of_incident(incident: Incident) -> Line:
    """The line for an incident that begins or ends."""
    kind, over = incident.kind, incident.until is not None
    priority = Priority.CRITICAL if kind is Kind.DAMAGE else Priority.ERROR
    took = format_duration((incident.until or incident.since) - incident.since)
    return Line(
        priority=Priority.NOTICE if over else priority,
        event="incident-over" if over else "incident",
        name=incident.name,
        message=f"{kind} is over, after {took}" if over else f"{kind}: {incident.message}",
        verdict=kind,
        urgent=True,
    )


def echoes(event: events.Event) -> bool:
    """Whether `event` is the note by which the daemon tells of an incident; its own line says more."""
    return isinstance(event, events.Noted) and any(
        event.text == f"{kind} is over" or event.text.startswith(f"{kind}: ") for kind in Kind
    )


def text_of(line: Line) -> str:
    """What people read."""
    return one_line(f"{line.name or 'store'}: {line.message}")


def fields(line: Line, *, checkpoint: bool) -> dict[str, str]:
    """The journal's fields (systemd.journal-fields(7)). `checkpoint`: the line's name is that of one."""
    found = {
        "MESSAGE": text_of(line),
        "PRIORITY": str(int(line.priority)),
        "SYSLOG_IDENTIFIER": "ckptd",
        "CKPTD_EVENT": line.event,
        "CKPTD_CHECKPOINT": line.name if checkpoint else "",
        "CKPTD_HOST": line.host,
        "CKPTD_BYTES": "" if line.size is None else str(line.size),
        "CKPTD_VERDICT": line.verdict,
    }
    return {key: one_line(value) for key, value in found.items() if value}


def datagram(values: Mapping[str, str]) -> bytes:
    """`values` in the journal's native protocol: KEY=value, or with the length where a value has line ends."""
    parts = []
    for key, value in values.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            parts.append(key.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(key.encode("ascii") + b"=" + data + b"\n")
    return b"".join(parts)


@dataclass(slots=True)
class _Seen:
    """What is known of a checkpoint that is being worked on. Bytes, seconds."""

    size: int | None = None
    done: int = 0
    host: str = ""
    told: float = 0.0
    told_done: int = 0


@dataclass(slots=True)
class Scribe:
    """Turns events into lines. `verbose`: how far things are is worth lines, too."""

    verbose: bool = False
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def line(self, event: events.Event, now: float) -> Line | None:
        """The line that `event` is worth."""
        if isinstance(event, events.Received | events.Hashed):
            return self._moved(event, now) if self.verbose else None
        if isinstance(event, events.Noted):
            return None if echoes(event) else Line(_of_note(event), "noted", event.name, event.text)
        if isinstance(event, events.Finished):
            return self._finished(event, self._seen.pop(event.name, _Seen()))
        seen = self._seen.setdefault(event.name, _Seen(told=now))
        return self._worked(event, seen)

    def _worked(self, event: events.Event, seen: _Seen) -> Line | None:
        say, priority, message = type(event).__name__.lower(), Priority.INFO, ""
        match event:
            case events.Queued(_, size, why):
                seen.size, priority, message = size, Priority.DEBUG, f"queued: {why}" if why else "queued"
            case events.Started(_, size, have):
                seen.size = size or seen.size
                seen.done = seen.told_done = have
                message = f"resuming at {portion(have, seen.size)}" if have else ""
            case events.Sized(_, size):
                seen.size = size
            case events.Connections(_, count, host) if count and host != seen.host:
                size_text = "" if seen.size is None else f" {format_size(seen.size)}"
                message = f"now from {host}" if seen.host else f"fetching{size_text} from {host}"
                seen.host = host
            case events.Waiting(_, seconds, why):
                priority, message = Priority.WARNING, f"waits {span(seconds)}: {why}"
            case events.Rewound(_, have, why):
                seen.done = seen.told_done = have
                kept = f" at {portion(have, seen.size)}" if have else ""
                priority, message = Priority.WARNING, f"begun again{kept}: {why}"
            case events.Publishing():
                priority, message = Priority.DEBUG, "publishing"
            case _:
                pass
        return Line(priority, say, event.name, message, seen.host, seen.size) if message else None

    def _moved(self, event: events.Received | events.Hashed, now: float) -> Line | None:
        seen = self._seen.setdefault(event.name, _Seen(told=now))
        if isinstance(event, events.Hashed):
            return None
        seen.done += event.count
        if now - seen.told < EVERY:
            return None
        rate = format_rate((seen.done - seen.told_done) / (now - seen.told))
        seen.told, seen.told_done = now, seen.done
        share = f"{percent(min(1.0, seen.done / seen.size))} " if seen.size else ""
        message = f"{share}({portion(seen.done, seen.size)}), {rate}"
        return Line(Priority.DEBUG, "received", event.name, message, seen.host, seen.done, urgent=True)

    def _finished(self, event: events.Finished, seen: _Seen) -> Line:
        priority = _weight(event)
        parts = [event.state or "done"]
        if event.error:
            hint = f" ({event.hint})" if event.hint else ""
            parts = [f"{parts[0]}: {event.error}{hint}"]
        elif event.fetched:
            parts[0] += f" {portion(event.fetched, event.size)}" if event.fetched != event.size else ""
            parts[0] += f" {format_size(event.fetched)}" if event.fetched == event.size else ""
        if event.detail and not event.error:
            parts.append(event.detail)
        size = event.fetched or event.size
        return Line(
            priority, "finished", event.name, ", ".join(parts), seen.host, size, verdict=event.state, urgent=True
        )


def _of_note(event: events.Noted) -> Priority:
    if event.name in TROUBLED or event.text.startswith("cannot be used"):
        return Priority.WARNING
    return Priority.NOTICE if event.name == "manifest" else Priority.INFO


def _weight(event: events.Finished) -> Priority:
    if event.state in DAMAGED or (event.error and event.kind in OURS):
        return Priority.ERROR
    if event.state == "unlocked":
        return Priority.NOTICE  # why it is not there yet was said when it was fetched
    if event.error or event.state in FAILURES:
        return Priority.WARNING  # it is tried again; when that has been in vain, an incident says so
    return Priority.DEBUG if event.state in UNEVENTFUL else Priority.INFO

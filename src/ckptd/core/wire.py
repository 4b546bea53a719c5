"""What callers and the daemon say to each other: one JSON object a line, in both directions. No socket here.

A caller sends one request; the daemon answers with events as they happen and one result, or with one error. Whatever a
side does not know it refuses: the version, the command, a key, an event. Sizes are bytes, times POSIX seconds.
docs/protocol.md is this for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ckptd.core import events
from ckptd.core.models import Case, Damage, Holder, Outcome, Problem, Trust, Usage
from ckptd.errors import (
    BusyError,
    CkptdError,
    ConfigError,
    DriftError,
    IntegrityError,
    MissingError,
    NetworkError,
    OriginError,
    PolicyError,
    StorageError,
)

PROTOCOL = 1
LONGEST_REQUEST = 256 * 1024  # bytes of a line: names of thousands of checkpoints fit
LONGEST_AGE = 1e12  # seconds
LONGEST_ANSWER = 64 * 1024 * 1024  # bytes of a line: the outcomes of as many

# Command -> the options it knows, and of which type they are.
COMMANDS: Mapping[str, Mapping[str, type]] = {
    "hello": {},
    "status": {},
    "watch": {},
    "sync": {"locked": bool},
    "update": {},
    "verify": {"sha256": bool, "repair": bool, "older_than": float},
}
_EVENTS = {
    kind.__name__: kind
    for kind in (
        *(events.Queued, events.Started, events.Sized, events.Received, events.Rewound, events.Connections),
        *(events.Hashed, events.Waiting, events.Publishing, events.Noted, events.Finished),
    )
}
_ERRORS: dict[str, type[CkptdError]] = {
    kind.__name__: kind
    for kind in (
        *(CkptdError, ConfigError, NetworkError, OriginError, PolicyError),
        *(IntegrityError, DriftError, StorageError, BusyError, MissingError),
    )
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for. `names` are names and @tags as on the command line; none means all.

    `manifest` is the absolute path of the one that the caller means, empty for whichever the daemon has.
    """

    command: str
    names: tuple[str, ...] = ()
    options: Mapping[str, object] | None = None
    manifest: str = ""

    def option(self, name: str) -> object:
        """The value of an option, None where it was not given."""
        return (self.options or {}).get(name)


def encode(value: Mapping[str, object]) -> bytes:
    """One line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def render_request(request: Request) -> bytes:
    """The line of a request."""
    return encode(
        {
            "protocol": PROTOCOL,
            "command": request.command,
            "names": list(request.names),
            "options": dict(request.options or {}),
            **({"manifest": request.manifest} if request.manifest else {}),
        }
    )


def parse_request(line: bytes) -> Request:
    """The request in a line. Raises ConfigError that says what is wrong with it."""
    found = _object(line, "a request")
    protocol = found.get("protocol")
    if type(protocol) is not int or protocol != PROTOCOL:  # true and 1.0 are equal to it
        raise ConfigError(f"this daemon speaks version {PROTOCOL} of the protocol, the request says {protocol!r}"[:200])
    unknown = found.keys() - {"protocol", "command", "names", "options", "manifest"}
    if unknown:
        raise ConfigError(f"a request has no key {min(unknown)!r}"[:200])
    command = found.get("command")
    if not isinstance(command, str) or command not in COMMANDS:
        raise ConfigError(f"there is no command {command!r}; known: {', '.join(COMMANDS)}"[:300])
    names, options = found.get("names", []), found.get("options", {})
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("names is not a list of texts")
    if command == "update" and not names:
        raise ConfigError("an update names what it accepts", hint="to update means to trust: one by one")
    if not isinstance(options, dict):
        raise ConfigError("options is not an object")
    manifest = found.get("manifest", "")
    if not isinstance(manifest, str):
        raise ConfigError("manifest is not a text")
    known = COMMANDS[command]
    for key, value in options.items():
        wanted = known.get(key)
        if wanted is None:
            raise ConfigError(f"{command} has no option {key!r}"[:200])
        number = wanted is float and isinstance(value, int | float) and not isinstance(value, bool)
        number = number and 0 <= value <= LONGEST_AGE  # neither NaN nor what no float holds
        if not (number or (wanted is not float and isinstance(value, wanted))):
            raise ConfigError(f"option {key} of {command} is not a {wanted.__name__}")
    return Request(command, tuple(names), options, manifest)


def _object(line: bytes, what: str) -> dict[str, object]:
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise ConfigError(f"{what} is one JSON object a line") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{what} is one JSON object a line")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys each stand there once. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def event_line(event: events.Event) -> bytes:
    """The line of an event."""
    return encode({"event": type(event).__name__, **asdict(event)})


def result_line(result: Mapping[str, object]) -> bytes:
    """The line that ends an answer."""
    return encode({"result": dict(result)})


def error_line(error: CkptdError) -> bytes:
    """The line of an answer that went wrong as a whole."""
    return encode({"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}})


def status_line(status: Mapping[str, object]) -> bytes:
    """The line that tells a watcher how everything stands."""
    return encode({"status": dict(status)})


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stands, for watchers."""

    content: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an answer."""

    content: Mapping[str, object]


def parse_answer(line: bytes) -> events.Event | Standing | Result:
    """One line of an answer. Raises the CkptdError in it, or ConfigError when it cannot be understood."""
    found = _object(line, "an answer")
    if isinstance(error := found.get("error"), dict):
        kind = _ERRORS.get(str(error.get("type")), CkptdError)
        raise kind(str(error.get("message")), hint=str(error.get("hint", "")))
    if isinstance(result := found.get("result"), dict):
        return Result(result)
    if isinstance(status := found.get("status"), dict):
        return Standing(status)
    kind_of = _EVENTS.get(str(found.pop("event", "")))
    if kind_of is None or found.keys() != {field.name for field in fields(kind_of)}:
        raise ConfigError("the daemon says what this ckptd does not know", hint="run the same version on both sides")
    return kind_of(**found)  # type: ignore[arg-type]  # what is of another type is shown as it is


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """An outcome, whole."""
    return asdict(outcome)


def outcome_of(found: Mapping[str, object]) -> Outcome:
    """An outcome as `outcome_json` made it. Raises ConfigError for anything else."""
    try:
        values = dict(found)
        error, case, damage, trust = (values.get(key) for key in ("error", "case", "damage", "trust"))
        values["error"] = Problem(**error) if isinstance(error, dict) else None
        values["case"] = _case(case) if isinstance(case, dict) else None
        values["damage"] = tuple(Damage(**each) for each in damage) if isinstance(damage, list) else None
        values["trust"] = Trust(trust) if isinstance(trust, str) else None
        notes = values.get("notes", [])
        values["notes"] = tuple(notes) if isinstance(notes, list) else ()
        loose = values.get("loose", [])
        values["loose"] = tuple(loose) if isinstance(loose, list) else ()
        return Outcome(**values)  # type: ignore[arg-type]  # what is of another type is refused below or shown as it is
    except (TypeError, ValueError, LookupError):
        raise ConfigError(
            "the daemon says what this ckptd does not know", hint="run the same version on both sides"
        ) from None


def _case(found: dict[str, object]) -> Case:
    values = dict(found)
    usage, flips = values.get("usage"), values.get("flips")
    if isinstance(usage, dict):
        values["usage"] = Usage(tuple(Holder(**each) for each in usage["holders"]), usage["unseen"], usage["complete"])
    values["flips"] = tuple((each[0], each[1]) for each in flips) if isinstance(flips, list) else ()
    return Case(**values)  # type: ignore[arg-type]

"""The words of a report: states, trust and times as people say them, and what they mean.

Values in, text out; times are shown in local time.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from ckptd.core.quarantine import Action
from ckptd.ui.elements import element as e

STATES = {  # of the contract: (as people say it, the sign that goes with it)
    "intact": ("intact", "good"),
    "repaired": ("mended", "mended"),
    "corrupt": ("damaged", "bad"),
    "unreadable": ("unreadable", "unreadable"),
    "missing": ("missing", "missing"),
    "unlocked": ("never fetched", "note"),
}
NOT_DUE = ("not due", "later")
ACTIONS = {
    Action.REPAIRED: "mended: proven bytes took its place",
    Action.HELD: "taken away from its place, so that nobody reads it",
    Action.KEPT: "left where it is",
}
TRUST = {
    "pinned": "the manifest names the SHA-256, and it agreed",
    "witnessed": "a digest that the origin publishes agreed",
    "first-use": "nobody but us says that these are the publisher's bytes",
}
GLOSSARY = (
    ("Checkpoint", "A file with the weights of a model that was trained before, fetched from its publisher."),
    ("Intact", "Every byte was read and is what was locked."),
    ("Damaged", "Some bytes are not what was locked. Do not use the file before it is mended (“corrupt” to programs)."),
    ("Unreadable", "The disk, or the file's permissions, did not let us read all of it."),
    ("Missing", "It was fetched and locked once, and is not there now."),
    ("Never fetched", "It is wanted, and nobody has fetched it so far: there is nothing yet to compare with."),
    (
        "Mended",
        "It was damaged. The damaged parts were fetched anew, and the whole was proven before it was put in place.",
    ),
    ("Not due", "It was found intact so recently that it was not read this time."),
    ("Locked", "Written down in the lock file, with size and SHA-256, when its bytes were proven for the first time."),
    ("Verify", "Reading all bytes again from the disk and comparing them with what was locked."),
    ("The promise", "No byte stays unverified for longer than the time that the operator has set (max_age)."),
    ("Piece", "A slice of 16 MiB with a digest of its own, so that damage can be found and mended without the rest."),
    (
        "SHA-256",
        "A number of 64 digits that is computed from all bytes of a file. One changed bit gives another number.",
    ),
    ("Pinned", "Trust of the first kind: the manifest itself names the SHA-256, and it agreed."),
    ("Witnessed", "Trust of the second kind: a digest that the publisher's server names agreed."),
    ("First-use", "Trust of the third kind: the first copy that came decided, and nobody else vouches for it."),
    ("Quarantine", "Where damaged bytes are kept as evidence, with what is known about them."),
)
ALWAYS = frozenset({"Checkpoint", "Locked", "Verify", "The promise", "SHA-256"})  # of them, on every page
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(at: float) -> ET.Element | str:
    """A time for people, with the exact one for programs; a text where no calendar has it."""
    try:
        exact = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        local = datetime.fromtimestamp(at).astimezone()
    except (OverflowError, OSError, ValueError):
        return "at an unknown time"
    day = f"{local.day} {local:%B} {local.year}"
    return e("time", f"{day}, {local:%H:%M}\N{NO-BREAK SPACE}{local:%Z}".rstrip(), datetime=exact)


def ago(seconds: float) -> str:
    """How long ago: the largest unit alone, rounded down."""
    if not math.isfinite(seconds):
        return "at an unknown time"
    if seconds < 60:
        return "just now"
    size, name = next((size, name) for size, name in _SPANS if seconds >= size)
    return f"{_count(int(seconds // size), name)} ago"


def period(seconds: float) -> str:
    """A span of time that somebody has set, exactly: "7 days", "36 hours"."""
    whole = max(1, round(seconds))
    size, name = next((size, name) for size, name in _SPANS if whole % size == 0)
    return _count(whole // size, name)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """`text` as a sentence: with a capital and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def with_code(text: str) -> list[ET.Element | str]:
    """`text` with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return [text]
    return [e("code", part) if index % 2 else part for index, part in enumerate(parts)]

"""What `doctor` says of space: what is free, what is still to come, what could go. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ckptd.core.doctor import Area, Finding
from ckptd.core.picture import plural
from ckptd.core.units import format_size

AREA = Area("space", status=5)
FEW_FILES = 1000  # that can still be made


@dataclass(frozen=True, slots=True)
class Space:
    """Facts; sizes in bytes. `missing` is still to be fetched, with `unsized` checkpoints of which no size is known.

    `files` can still be made; None where the filesystem has no limit.
    """

    path: str
    free: int
    keep_free: int = 0
    missing: int = 0
    unsized: int = 0
    files: int | None = None
    quarantine: int = 0
    quarantine_size: int = 0  # as much as may be kept
    leftover_things: int = 0  # what `ckptd prune` would remove
    leftover_bytes: int = 0


def judge(facts: Space) -> list[Finding]:
    """Everything there is to say of space."""
    return [_room(facts), *_files(facts), _quarantine(facts), _leftovers(facts)]


def _room(facts: Space) -> Finding:
    free = f"{format_size(facts.free)} are free on {facts.path}"
    kept = f", {format_size(facts.keep_free)} of that for others ([store] keep_free)" if facts.keep_free else ""
    unsized = f", and {plural(facts.unsized, 'checkpoint')} of unknown size" if facts.unsized else ""
    mend = "ckptd prune, free some space, or take checkpoints out of the manifest"
    if facts.missing and facts.missing > facts.free - facts.keep_free:
        text = f"{format_size(facts.missing)} are still to be fetched{unsized}, and do not fit: {free}{kept}"
        return AREA.bad("room", text, mend)
    if facts.free <= facts.keep_free or not facts.free:
        return AREA.warn("room", f"{free}{kept}: nothing more will be fetched", mend)
    if facts.missing or facts.unsized:
        return AREA.ok("room", f"{free}{kept}; {format_size(facts.missing)} are still to be fetched{unsized}")
    return AREA.ok("room", f"{free}{kept}; nothing is still to be fetched")


def _files(facts: Space) -> Iterator[Finding]:
    if facts.files is None:
        return
    text = f"{plural(facts.files, 'file')} can still be made on {facts.path}"
    mend = "remove small files on this filesystem, or make one with more inodes"
    if facts.files == 0:
        yield AREA.bad("files", text, mend)
    elif facts.files < FEW_FILES:
        yield AREA.warn("files", text, mend)
    else:
        yield AREA.ok("files", text)


def _quarantine(facts: Space) -> Finding:
    text = f"{format_size(facts.quarantine)} of damaged bytes are kept as evidence"
    if facts.quarantine > facts.quarantine_size:
        most = f", [verify] quarantine_size is {format_size(facts.quarantine_size)}"
        return AREA.warn("quarantine", text + most, "ckptd prune --quarantine")
    return AREA.ok("quarantine", text if facts.quarantine else "nothing is in quarantine")


def _leftovers(facts: Space) -> Finding:
    if not facts.leftover_things:
        return AREA.ok("leftovers", "nothing lies there that the manifest does not name")
    text = f"{plural(facts.leftover_things, 'thing')} of {format_size(facts.leftover_bytes)} could go"
    return AREA.warn("leftovers", text, "ckptd prune")

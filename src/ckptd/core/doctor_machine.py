"""What `doctor` says of the machine: Python and libraries, processor, kernel, clock. Facts in, findings out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ckptd.core.doctor import Area, Finding, listed
from ckptd.core.units import format_duration

EARLIEST = 1.7e9  # POSIX seconds, in 2023: no clock that is right says less
LATEST = 4.1e9  # in 2099: nor more
SLACK = 60.0  # seconds that two clocks may differ
AREA = Area("machine")
SHA_FLAGS = frozenset({"sha_ni", "sha2"})  # as /proc/cpuinfo spells them on x86 and ARM
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?\s*(;.*)?")
_BOUND = re.compile(r">=\s*([0-9][0-9.]*)")


@dataclass(frozen=True, slots=True)
class Library:
    """A library that we need: `wanted` is the oldest version that was tested, `found` None where it is missing."""

    name: str
    wanted: str
    found: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts. None where something cannot be told; times in POSIX seconds."""

    program: str  # our own version
    python: str
    python_wanted: str
    libraries: tuple[Library, ...] | None
    processor: frozenset[str]  # the flags of /proc/cpuinfo
    pressure: bool
    stands_back: bool
    now: float
    newest: float | None = None  # the latest time in our records


def requirement(text: str) -> tuple[str, str] | None:
    """Name and lower bound of a line of `Requires-Dist` (PEP 508); None for what only an extra needs."""
    found = _REQUIREMENT.fullmatch(text)
    if found is None or "extra" in (found[3] or ""):
        return None
    bound = _BOUND.search(found[2])
    return found[1], bound[1] if bound is not None else ""


def older(found: str, wanted: str) -> bool:
    """Whether one version comes before another, by their numbers alone: what follows (rc1, .dev2) is passed over."""
    mine, theirs = _numbers(found), _numbers(wanted)
    length = max(len(mine), len(theirs))
    return mine + [0] * (length - len(mine)) < theirs + [0] * (length - len(theirs))


def _numbers(version: str) -> list[int]:
    leading = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return [int(part) for part in leading[0].split(".")] if leading is not None else []


def judge(facts: Machine) -> list[Finding]:
    """Everything there is to say of the machine."""
    return [
        AREA.ok("ckptd", f"ckptd {facts.program}"),
        _python(facts),
        *_libraries(facts),
        _processor(facts),
        _pressure(facts),
        _io_class(facts),
        _clock(facts),
    ]


def _python(facts: Machine) -> Finding:
    if older(facts.python, facts.python_wanted):
        text = f"Python {facts.python} is older than {facts.python_wanted}, the oldest that is tested"
        return AREA.bad("python", text, f"install ckptd with Python {facts.python_wanted} or newer")
    return AREA.ok("python", f"Python {facts.python}")


def _libraries(facts: Machine) -> list[Finding]:
    if facts.libraries is None:
        text = "which libraries ckptd needs cannot be told: it was not installed, only copied"
        return [AREA.unknown("libraries", text, "python3 -m pip install ckptd")]
    missing = [each for each in facts.libraries if each.found is None]
    old = [each for each in facts.libraries if each.found is not None and older(each.found, each.wanted)]
    if not missing and not old:
        return [AREA.ok("libraries", f"{len(facts.libraries)} libraries, none older than was tested")]
    findings = []
    if missing:
        wanted = " ".join(f"'{each.name}>={each.wanted}'" if each.wanted else each.name for each in missing)
        text = f"missing: {listed(each.name for each in missing)}"
        findings.append(AREA.bad("libraries", text, f"python3 -m pip install {wanted}"))
    if old:
        said = listed(f"{each.name} {each.found} (tested from {each.wanted} on)" for each in old)
        wanted = " ".join(f"'{each.name}>={each.wanted}'" for each in old)
        text = f"older than was tested: {said}"
        findings.append(AREA.bad("libraries", text, f"python3 -m pip install --upgrade {wanted}"))
    return findings


def _processor(facts: Machine) -> Finding:
    if not facts.processor:
        return AREA.unknown("sha", "what the processor can do cannot be told (/proc/cpuinfo)")
    if facts.processor & SHA_FLAGS:
        return AREA.ok("sha", "the processor has instructions for SHA-256")
    return AREA.ok(
        "sha", "the processor has no instructions for SHA-256: each download costs about four times as much of it"
    )


def _pressure(facts: Machine) -> Finding:
    if facts.pressure:
        return AREA.ok("pressure", "the kernel tells how long others wait for disk and memory (PSI)")
    text = (
        "the kernel does not tell how long others wait for the disk (no PSI), so the scrub cannot stand back for them"
    )
    return AREA.warn("pressure", text, "start the kernel with psi=1, or keep the scrub small: [verify] rate and window")


def _io_class(facts: Machine) -> Finding:
    if facts.stands_back:
        return AREA.ok("io-class", "reading back can be of the idle I/O class")
    text = "reading back cannot be given the idle I/O class (ioprio_set is refused)"
    return AREA.warn(
        "io-class", text, "allow it: SystemCallFilter=ioprio_set in a unit, the seccomp profile in a container"
    )


def _clock(facts: Machine) -> Finding:
    mend = "timedatectl set-ntp true, or set the clock by hand"
    if not EARLIEST < facts.now < LATEST:
        return AREA.bad("clock", f"the clock says {_day(facts.now)}, which cannot be", mend)
    if facts.newest is not None and facts.newest > facts.now + SLACK:
        behind = format_duration(facts.newest - facts.now)
        text = f"the clock is {behind} behind the latest time on record: it was wrong then, or is now"
        return AREA.warn("clock", text, mend)
    return AREA.ok("clock", f"the clock says {_day(facts.now)}, and no record is later")


def _day(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "a time that no calendar has"

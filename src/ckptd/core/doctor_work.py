"""What `doctor` says of manifest and lock, checkpoints, damage, history, the promise. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from ckptd.core.ages import Kept, Promise
from ckptd.core.doctor import Area, Finding, listed
from ckptd.core.incidents import Incident, Kind
from ckptd.core.models import VerifySettings
from ckptd.core.picture import plural
from ckptd.core.schedule import CAUTIOUS, Read, decide, open_seconds
from ckptd.core.units import format_duration, format_rate, format_size

AREA = Area("work", status=3)
MOST = 5  # names in one command


@dataclass(frozen=True, slots=True)
class Document:
    """The manifest or the lock: what it is called here, where it is, what is wrong with it."""

    name: str
    text: str
    problem: str = ""
    hint: str = ""
    status: int = 2


@dataclass(frozen=True, slots=True)
class Chain:
    """The history: how many records hold together, or why they do not (`wrong`) or cannot be read (`unreadable`)."""

    count: int = 0
    wrong: str = ""
    unreadable: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """What the promise stands on. `speed` is what reading was seen to reach, in bytes a second; None: never seen.

    `now` in POSIX seconds, `minute` after local midnight.
    """

    promise: Promise
    settings: VerifySettings
    files: Sequence[Kept]
    now: float
    minute: float
    speed: float | None = None


def document(facts: Document) -> Finding:
    """Manifest or lock."""
    if facts.problem:
        return AREA.bad(facts.name, facts.problem, facts.hint, facts.status)
    return AREA.ok(facts.name, facts.text)


def checkpoints(states: Mapping[str, str]) -> list[Finding]:
    """How the checkpoints stand, by name, as `status` has it."""
    findings = []
    damaged = sorted(name for name, state in states.items() if state == "damaged")
    conflicts = sorted(name for name, state in states.items() if state == "conflict")
    away = sorted(name for name, state in states.items() if state in {"missing", "partial", "unlocked"})
    there = len(states) - len(damaged) - len(conflicts) - len(away)
    if damaged:
        text = f"{plural(len(damaged), 'checkpoint')} known to be damaged: {listed(damaged)}"
        findings.append(AREA.bad("damaged", text, f"ckptd verify --repair {_names(damaged)}"))
    if conflicts:
        text = f"manifest and lock contradict each other over {listed(conflicts)}"
        findings.append(AREA.bad("conflict", text, f"ckptd update {_names(conflicts)}, or mend the manifest", status=4))
    if away:
        text = f"{len(away)} of {plural(len(states), 'checkpoint')} not there yet: {listed(away)}"
        findings.append(AREA.warn("checkpoints", text, "ckptd sync"))
    elif there:
        findings.append(AREA.ok("checkpoints", f"{there} of {plural(len(states), 'checkpoint')} there"))
    elif not states:
        findings.append(AREA.warn("checkpoints", "the manifest names no checkpoint", "ckptd add URL"))
    return findings


def _names(names: Sequence[str]) -> str:
    return " ".join(quote(name) for name in names[:MOST])


# Kind of incident -> exit status and what mends it. A broken promise is told as such, by `promise`.
_INCIDENTS: Mapping[Kind, tuple[int, str]] = {
    Kind.DAMAGE: (3, "ckptd verify --repair {}"),
    Kind.DRIFT: (4, "ckptd drift {}, then perhaps ckptd update {}"),
    Kind.FAILURE: (1, "ckptd sync {}"),
}


def incidents(found: Sequence[Incident], *, watched: bool) -> list[Finding]:
    """What the daemon found wrong, and not right again. `watched`: it runs, so that this is how things are now."""
    findings = []
    for each in found:
        if each.kind not in _INCIDENTS:
            continue
        status, mend = _INCIDENTS[each.kind]
        text, mend = f"{each.name}: {each.kind}: {each.message}", mend.replace("{}", quote(each.name))
        if watched:
            findings.append(AREA.bad("incident", text, mend, status))
        else:
            findings.append(AREA.warn("incident", f"{text} (noted by a daemon that does not run now)", mend))
    return findings or [AREA.ok("incidents", "no incident is open")]


def history(chain: Chain) -> Finding:
    """Whether the record of verifications is the one that was written."""
    if chain.wrong:
        return AREA.bad("history", chain.wrong, chain.hint)
    if chain.unreadable:
        return AREA.unknown("history", chain.unreadable, chain.hint)
    return AREA.ok("history", f"the history holds together ({plural(chain.count, 'record')})")


def promise(course: Course) -> Iterator[Finding]:
    """Whether it is kept, and whether it can be."""
    held, limit = course.promise, format_duration(course.settings.max_age).removesuffix(" 0h").removesuffix(" 00m")
    if not course.files:
        yield AREA.ok("promise", "nothing is locked, so nothing is promised")
        return
    if held.kept:
        age = "" if held.age is None else f": the oldest was verified {_span(held.age)} ago"
        yield AREA.ok("promise", f"no byte is unverified for longer than {limit}{age}")
    elif held.unverified_bytes:
        text = f"{format_size(held.unverified_bytes)} are damaged, missing or were never verified"
        yield AREA.bad("promise", text, "ckptd verify --repair")
    else:
        text = f"bytes are older than {limit}, unverified: the oldest was verified {_span(held.age or 0.0)} ago"
        yield AREA.bad(
            "promise", text, f"ckptd verify --older-than {limit.replace(' ', '')}; and have it done by a service"
        )
    yield _schedule(course, limit)


def _schedule(course: Course, limit: str) -> Finding:
    """Whether everything can be read within max_age, by the manifest's limits and the disk's speed."""
    settings, total = course.settings, sum(kept.size for kept in course.files)
    speed = CAUTIOUS if course.speed is None else course.speed
    seen = "" if course.speed is None else f" (the disk reads at {format_rate(speed)})"
    decision = decide(settings, course.files, now=course.now, minute=course.minute, speed=course.speed)
    late = decision.shortfall if isinstance(decision, Read) else 0
    if total > speed * settings.max_age or (late and course.promise.kept):
        text = f"{format_size(late or total)} cannot be read in {limit} even at full speed{seen}"
        return AREA.warn("schedule", text, "raise [verify] max_age, or put the store on a faster disk")
    allowed = min(settings.rate or speed, speed) * open_seconds(settings.window, course.minute, settings.max_age)
    if total > allowed:
        text = f"[verify] rate and window allow {format_size(allowed)} in {limit}, and there are {format_size(total)}: "
        return AREA.warn("schedule", f"{text}the deadline will override them", "raise [verify] rate, window or max_age")
    share = f"{format_size(total)} to be read in {limit}, {format_rate(total / settings.max_age)} would do"
    return AREA.ok("schedule", f"{share}{seen}")


def _span(seconds: float) -> str:
    return format_duration(seconds).split(" ")[0]

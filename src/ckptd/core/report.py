"""What a report on a verification says: (verdicts, ages, promise) -> a headline, and what to do.

Values in, values out; what it looks like is `ui.report`'s business, where the values come from `service.report`'s.
Sizes and offsets are bytes, times POSIX seconds, spans of time seconds.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.ages import Promise
from ckptd.core.models import Holder, Outcome
from ckptd.core.quarantine import Action

NAMED = 3  # checkpoints that one sentence names
BAD = ("corrupt", "unreadable", "missing")  # worst first: bytes that are kept, and are not what they should be
NEVER_FETCHED = "unlocked"
MENDED = "repaired"
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Tone(StrEnum):
    """How alarming something is."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint of the report.

    `verified_at`: when its least recently verified byte was; None: one never was, or was not good when it was read.
    `last_good`: all of it was good then, or later; None where that is not known.
    """

    outcome: Outcome
    description: str = ""
    tags: tuple[str, ...] = ()
    verified_at: float | None = None
    last_good: float | None = None
    read: bool = True  # False: it was not due, and is known to be intact from earlier
    watched: bool = False  # in place: somebody else keeps its file, and nothing of ours mends it

    @property
    def tone(self) -> Tone:
        """How alarming its verdict is."""
        if self.outcome.state in BAD:
            return Tone.BAD
        return Tone.NOTE if self.outcome.state == NEVER_FETCHED else Tone.GOOD


@dataclass(frozen=True, slots=True)
class Evidence:
    """One entry of the quarantine."""

    at: float
    path: str  # its folder
    bytes: int
    name: str = ""  # of the checkpoint; empty where its report cannot be read
    summary: str = ""
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that one report shows."""

    at: float  # when the verification ended
    seconds: float  # that it took
    host: str
    store: str
    manifest: str
    version: str  # of ckptd
    entries: tuple[Entry, ...]
    promise: Promise  # over all that is locked
    locked_bytes: int
    max_age: float
    evidence: tuple[Evidence, ...] = ()  # newest first
    left_out: int = 0  # locked checkpoints that nobody asked for
    mending: bool = False  # mending was tried
    recorded: bool = True  # False: we may only read the store, so nobody else knows of this verification

    @property
    def within_bytes(self) -> int:
        """Bytes verified within the promise."""
        return min(self.locked_bytes, round(self.promise.share * self.locked_bytes))

    @property
    def older_bytes(self) -> int:
        """Bytes that are good as far as we know, and were not read for longer than promised."""
        return max(0, self.locked_bytes - self.within_bytes - self.promise.unverified_bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do. Commands are for a POSIX shell; in `text` what stands between backticks is one, too."""

    text: str
    commands: tuple[str, ...] = ()


# --- the verdict in one sentence -------------------------------------------------------------------------------------


def headline(page: Page) -> tuple[Tone, str]:
    """The whole report in a sentence, and how alarming it is."""
    count = len(page.entries)
    if not count:
        return Tone.NOTE, "There is nothing to verify yet."
    groups = [(state, names) for state in (*BAD, NEVER_FETCHED) if (names := names_of(page.entries, state))]
    if not groups:
        return Tone.GOOD, _all_good(page)
    tone = Tone.BAD if any(state in BAD for state, _ in groups) else Tone.NOTE
    (state, names), *others = groups
    if count == 1:
        return tone, f"{names[0]} {_is(state, 1)}."
    first = f"{len(names)} of {count} checkpoints {_is(state, len(names))}"
    if others:
        return tone, f"{listed([first, *(f'{len(each)} {_is(which, len(each))}' for which, each in others)])}."
    return tone, f"{first}: {names[0]}." if len(names) == 1 else f"{first}."


def _all_good(page: Page) -> str:
    count, read = len(page.entries), sum(1 for entry in page.entries if entry.read)
    mended = names_of(page.entries, MENDED)
    if not read:
        return "Nothing was due: every byte was verified recently enough."
    if count == 1:
        return f"{page.entries[0].outcome.name} {'was damaged and has been mended' if mended else 'is intact'}."
    which = " that were due" if read < count else ""
    whole = f"All {read} checkpoints{which} are intact" if read > 1 else "The one checkpoint that was due is intact"
    if not mended:
        return f"{whole}."
    were = "was damaged and has" if len(mended) == 1 else "were damaged and have"
    return f"{whole}: {_few(mended)} {were} been mended."


def _is(state: str, count: int) -> str:
    verb = "is" if count == 1 else "are"
    return {
        "corrupt": f"{verb} damaged",
        "unreadable": "cannot be read",
        "missing": f"{verb} missing",
        NEVER_FETCHED: "was never fetched" if count == 1 else "were never fetched",
    }[state]


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return listed([*names[:NAMED], f"{more} more"] if more > 0 else names)


def names_of(entries: Iterable[Entry], *states: str) -> list[str]:
    """The names of the checkpoints that are in one of these states."""
    return [entry.outcome.name for entry in entries if entry.outcome.state in states]


# --- what to do ------------------------------------------------------------------------------------------------------


def steps(page: Page) -> tuple[Step, ...]:
    """What people have to do now, most urgent first; nothing when all is well."""
    return tuple(
        step
        for step in (
            *_about_jobs(page),
            *_about_bytes(page),
            _about_promise(page),
        )
        if step is not None
    )


def _about_jobs(page: Page) -> Iterable[Step]:
    """Whose work is in doubt: those who have damaged bytes open, or had them before they were mended."""
    damaged = _using(page, "corrupt", "unreadable")
    if damaged:
        who = "a process that has" if len(damaged) == 1 else f"{len(damaged)} processes that have"
        yield Step(
            f"Look at the work of {who} a damaged file open: what was computed with it may be wrong.",
            (_ps(damaged),),
        )
    mended = _using(page, MENDED)
    if mended:
        one = len(mended) == 1
        who = "A process still uses" if one else f"{len(mended)} processes still use"
        yield Step(
            f"{who} the damaged bytes: a mended file is a new one, and whoever had the old one open keeps it until the "
            f"end. Restart {'it, and doubt what it' if one else 'them, and doubt what they'} computed.",
            (_ps(mended),),
        )


def _using(page: Page, *states: str) -> list[Holder]:
    found = {
        holder.pid: holder
        for entry in page.entries
        if entry.outcome.state in states and entry.outcome.case is not None
        for holder in entry.outcome.case.usage.holders
    }
    return [found[pid] for pid in sorted(found)]


def _ps(holders: Sequence[Holder]) -> str:
    return f"ps -o pid,user,lstart,args -p {','.join(str(holder.pid) for holder in holders)}"


def _about_bytes(page: Page) -> Iterable[Step]:
    """How files are made good again; where that was tried in vain, what is left to do."""
    entries = page.entries
    if names_of(entries, "unreadable"):
        yield Step(
            "Look at the disk: what cannot be read today is seldom all that it will lose.",
            ("sudo dmesg --level=err,crit --ctime | tail -n 40",),
        )
    if page.mending:
        yield from _in_vain(entries)
    else:
        ours = [entry for entry in entries if not entry.watched]
        damaged = names_of(ours, "corrupt", "unreadable")
        if damaged:
            yield Step(
                "Mend what is damaged. Only the damaged parts are fetched again, and a file is replaced only once the "
                "SHA-256 of the whole is right; the damaged bytes are kept as evidence.",
                (_command(page, "verify --repair", damaged),),
            )
        missing = names_of(ours, "missing")
        if missing:
            yield Step("Fetch again what is missing.", (_command(page, "sync", missing),))
        yield from _in_vain((entry for entry in entries if entry.watched), "cannot be mended by us")
    new = names_of(entries, NEVER_FETCHED)
    if new:
        yield Step("Fetch what was never fetched.", (_command(page, "sync", new),))


def _in_vain(entries: Iterable[Entry], said: str = "could not be mended") -> Iterable[Step]:
    hints: dict[str, list[str]] = {}
    for entry in entries:
        if entry.outcome.state in BAD and entry.outcome.error is not None:
            hints.setdefault(entry.outcome.error.hint, []).append(entry.outcome.name)
    for hint, names in hints.items():
        todo = f": {hint}" if hint else "; the reason stands below"
        yield Step(f"{_few(names)} {said}{todo}.")


def _about_promise(page: Page) -> Step | None:
    bad = any(entry.tone is Tone.BAD for entry in page.entries)
    if page.promise.kept or not (page.older_bytes or not bad):
        return None  # mending what is bad restores it
    return Step(
        "Read what has not been read for longer than promised.",
        (_command(page, f"verify --older-than {written(page.max_age)}", ()),),
    )


def _command(page: Page, words: str, names: Sequence[str]) -> str:
    """A command that can be pasted anywhere on the host."""
    return " ".join(["ckptd", words, "--manifest", shlex.quote(page.manifest), *map(shlex.quote, names)])


def written(seconds: float) -> str:
    """A span of time as the command line takes it: "7d", "36h", "90m"."""
    whole = max(1, round(seconds))
    unit, letter = next((unit, letter) for unit, letter in _UNITS if whole % unit == 0)
    return f"{whole // unit}{letter}"

"""What happened to a damaged file: (facts about its bytes and its inode) -> cause, summary, damaged ranges. No I/O.

`store.examine` finds the facts. One table says what each cause looks like, in order of precedence; who did it, a
program or the disk, is told from the inode and stands beside it. Block sums and the shape of the damage are hints:
whatever is concluded here, a mended file is proven by its digests and by nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from ckptd.core.evidence import Facts, Flip, Kind
from ckptd.core.models import BLOCK, Damage
from ckptd.core.sniff import PAGE_NAMES, impostor
from ckptd.core.stretches import amount, bit_of, groups, lost, merged, proven, stretches

_PUBLISHING = 60.0  # seconds from noting that a file is good to its rename, which changes its ctime
_JSON_ERROR = re.compile(rb'\s*\{\s*"(?:error|errors|message|detail|code|status|fault)"\s*:', re.IGNORECASE)


class Cause(StrEnum):
    """What happened, as far as it can be told."""

    MISSING = "missing"
    LINK = "replaced-by-link"
    OTHER_TYPE = "replaced-by-other-type"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    PAGE = "page-instead-of-data"
    TRUNCATED = "truncated"
    GROWN = "grown"
    UNSTEADY = "unsteady"  # wrong when it was verified, right when it was examined
    FLIPPED_BIT = "flipped-bit"
    ZEROS = "run-of-zeros"
    ONE_BLOCK = "one-block"
    JOINED = "two-versions-joined"
    REWRITTEN = "rewritten"
    CHANGED = "changed"


class Hand(StrEnum):
    """Who did it."""

    PROGRAM = "program"  # somebody wrote here
    MEDIUM = "medium"  # the disk or the way to it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened, for programs and in a few sentences for people, and where.

    `damage` is in order, without overlaps; neighbours of one verdict are one. `flips` are the bits that are flipped.
    """

    cause: Cause
    summary: str
    damage: tuple[Damage, ...]
    hand: Hand = Hand.UNKNOWN
    flips: tuple[Flip, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """The byte at `offset` of the file is right again after `xor mask`."""

    offset: int
    mask: int


def corrections(diagnosis: Diagnosis) -> tuple[Correction, ...]:
    """What mends the flipped bits, in order, without a network; where the cause is a flipped bit, that is all damage.

    To be made in a copy and proven by its digests: what no digest has proven yet may be a coincidence.
    """
    return tuple(Correction(flip.offset, 1 << flip.bit) for flip in diagnosis.flips)


def diagnose(facts: Facts) -> Diagnosis:
    """What happened to the file: the first row of the table that fits. The last one always does."""
    case = _Case(facts, stretches(facts), *_hand(facts))
    row = next(row for row in _TABLE if row.fits(case))
    capped = facts.capped and row.cause not in _WITHOUT_HAND
    sentences = (
        row.says(case),
        case.told if row.cause not in _WITHOUT_HAND else "",
        "Of the damage, only a part was looked at closely." if capped else "",
    )
    return Diagnosis(
        cause=row.cause,
        summary=" ".join(filter(None, sentences)),
        damage=_damage(case, row.cause),
        hand=case.hand if row.cause not in _WITHOUT_HAND else Hand.UNKNOWN,
        flips=tuple(spot.flip for spot in facts.spots if spot.flip is not None),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """The facts, and what several rows ask of them."""

    facts: Facts
    stretches: tuple[Damage, ...]  # the spots with their verdicts
    hand: Hand
    told: str  # who did it, and how we know

    @property
    def verdicts(self) -> set[str]:
        return {stretch.verdict for stretch in self.stretches}

    @property
    def another(self) -> bool:
        """Another file was put in its place."""
        was = self.facts.recorded.inode
        return was is not None and self.facts.found is not None and was[0] != self.facts.found.number

    @property
    def others(self) -> str:
        """What differs beside what is missing or too much."""
        length = sum(stretch.length for stretch in self.stretches)
        return f" Of what was there before, {amount(length)} differ, too." if length else ""


@dataclass(frozen=True, slots=True)
class _Row:
    cause: Cause
    fits: Callable[[_Case], bool]
    says: Callable[[_Case], str]


# --- what each cause looks like --------------------------------------------------------------------------------------


def _is_page(case: _Case) -> bool:
    """The head is a page, is not what it was, and the name does not promise one."""
    facts = case.facts
    if facts.name.lower().endswith((*PAGE_NAMES, ".json")):
        return False
    # A name without an ending promises nothing, so only pages are found.
    if impostor("", facts.head, None, digest_known=False) is None and _JSON_ERROR.match(facts.head) is None:
        return False
    first = facts.spots[0] if facts.spots else None
    head_differs = first is not None and first.offset == 0 and first.flip is None
    return head_differs or not facts.located or min(facts.size, facts.expected_size) < facts.unit


def _is_truncated(case: _Case) -> bool:
    """It is shorter, and what is left is what was there, or nothing contradicts that.

    Where another, shorter file is in its place and none of it could be compared, its first bytes may.
    """
    facts = case.facts
    if facts.size >= facts.expected_size:
        return False
    foreign = case.another and impostor(facts.name, facts.head, None, digest_known=False) is not None
    return facts.intact > 0 or (not facts.spots and not foreign)


def _is_unproven(case: _Case) -> bool:
    """It may be a part of the file, put in its place, of which too little is left to compare any of it."""
    return case.another and not case.facts.intact and not case.facts.spots and case.facts.size > 0


def _is_joined(case: _Case) -> bool:
    """All from some place on differs, or all up to some place; a unit or two may be damage that happens to be there."""
    facts, spots = case.facts, case.facts.spots
    apart = any(before.end != after.offset for before, after in pairwise(spots))
    if case.verdicts != {"changed"} or apart or not facts.intact:
        return False
    at_an_end = spots[0].offset == 0 or spots[-1].end == facts.expected_size
    return at_an_end and spots[-1].end - spots[0].offset > 2 * facts.unit


def _is_one_block(case: _Case) -> bool:
    spots = case.facts.spots
    return len(spots) == 1 and spots[0].length <= BLOCK and spots[0].seen and case.facts.intact > 0


# --- and how it is said ----------------------------------------------------------------------------------------------


def _says_unreadable(case: _Case) -> str:
    facts = case.facts
    if facts.refused:
        mode = f" (its mode is {facts.found.mode:04o})" if facts.found is not None else ""
        return f"It cannot be opened: {facts.refused}{mode}."
    bad = [stretch for stretch in case.stretches if stretch.verdict == "unreadable"]
    why = f": {facts.trouble}" if facts.trouble else ""
    rest = sum(stretch.length for stretch in case.stretches) - sum(stretch.length for stretch in bad)
    more = f" Another {amount(rest)} differ." if rest else ""
    return f"{amount(sum(each.length for each in bad))} of it cannot be read, from byte {bad[0].offset} on{why}.{more}"


def _says_page(case: _Case) -> str:
    where = "is where its beginning was" if case.facts.intact else "is in its place"
    return f"A web page or an error document (HTML, XML or JSON) {where}."


def _says_truncated(case: _Case) -> str:
    missing = case.facts.expected_size - case.facts.size
    unproven = " Nothing tells whether what is left is what was there." if _is_unproven(case) else ""
    return f"Its last {amount(missing)} are missing: it was truncated at byte {case.facts.size}.{case.others}{unproven}"


def _says_grown(case: _Case) -> str:
    excess = case.facts.size - case.facts.expected_size
    return f"It is {amount(excess)} too long: something was added at byte {case.facts.expected_size}.{case.others}"


def _says_flipped(case: _Case) -> str:
    flips = [spot.flip for spot in case.facts.spots if spot.flip is not None]
    if len(flips) == 1:
        return f"One bit is flipped: {bit_of(flips[0])}."
    return f"{len(flips)} single bits are flipped, the first is {bit_of(flips[0])}."


def _says_zeros(case: _Case) -> str:
    found = [(run, group) for group in groups(case.facts.spots) for run in lost(group)]
    runs = [run for run, _ in found]
    length = amount(sum(run.length for run in runs))
    where = f"at byte {runs[0].offset}" if len(runs) == 1 else f"in {len(runs)} places, first at byte {runs[0].offset}"
    hole = " Nothing is allocated there: it is a hole." if all(run.hole for run in runs) else ""
    if all(proven(run, group) for run, group in found):
        return f"{length} of zeros are where data was, {where}.{hole}"
    return f"{length} of zeros are in what differs, {where}.{hole} Whether data was in all of that cannot be told."


def _says_one_block(case: _Case) -> str:
    spot = case.facts.spots[0]
    return f"All damage is in one block of {amount(spot.length)} at byte {spot.offset}."


def _says_joined(case: _Case) -> str:
    spots = case.facts.spots
    finely = amount(case.facts.unit)
    if spots[0].offset:
        return f"Everything from byte {spots[0].offset} on differs (to within {finely}): two versions are joined there."
    return f"Everything up to byte {spots[-1].end} differs (to within {finely}): two versions are joined there."


def _says_changed(case: _Case) -> str:
    facts = case.facts
    if not facts.located:
        return "It is not what is locked; nothing tells which of its bytes differ."
    if not facts.intact:
        size = "" if facts.size == facts.expected_size else f", and it has {facts.size} bytes"
        return f"No {'block' if facts.unit == BLOCK else 'piece'} of it is what it was{size}."
    places, length = groups(facts.spots), sum(spot.length for spot in facts.spots)
    where = f"at byte {places[0][0].offset}" if len(places) == 1 else f"in {len(places)} places"
    return f"{amount(length)} of it differ, {where}."


_TABLE = (
    _Row(Cause.MISSING, lambda case: case.facts.kind is Kind.MISSING, lambda _: "It is not there."),
    _Row(
        Cause.LINK,
        lambda case: case.facts.kind is Kind.LINK,
        lambda case: f"A link to {case.facts.target!r} is in its place.",  # repr: names may hold anything
    ),
    _Row(
        Cause.OTHER_TYPE,
        lambda case: case.facts.kind is not Kind.PLAIN,
        lambda case: (
            f"{'A folder' if case.facts.kind is Kind.FOLDER else 'Something that is no plain file'} is in its place."
        ),
    ),
    _Row(
        Cause.UNREADABLE,
        lambda case: bool(case.facts.refused) or "unreadable" in case.verdicts,
        _says_unreadable,
    ),
    _Row(
        Cause.EMPTY,
        lambda case: case.facts.size == 0 < case.facts.expected_size,
        lambda case: f"It is empty; it should have {case.facts.expected_size} bytes.",
    ),
    _Row(Cause.PAGE, _is_page, _says_page),  # before the sizes: pages are shorter than data
    _Row(Cause.TRUNCATED, _is_truncated, _says_truncated),
    _Row(
        Cause.GROWN,
        lambda case: case.facts.size > case.facts.expected_size and (case.facts.intact > 0 or not case.facts.spots),
        _says_grown,
    ),
    _Row(
        Cause.UNSTEADY,
        lambda case: not case.facts.spots and case.facts.located and case.facts.size == case.facts.expected_size,
        lambda _: (
            "It was wrong when it was verified and is right now: suspect memory, a cable or a controller, not the file."
        ),
    ),
    _Row(Cause.FLIPPED_BIT, lambda case: case.verdicts == {"flipped bit"}, _says_flipped),
    _Row(Cause.ZEROS, lambda case: case.verdicts == {"zeros"}, _says_zeros),
    _Row(Cause.ONE_BLOCK, _is_one_block, _says_one_block),
    _Row(Cause.JOINED, _is_joined, _says_joined),
    _Row(Cause.REWRITTEN, lambda case: case.hand is Hand.PROGRAM, _says_changed),
    _Row(Cause.CHANGED, lambda _: True, _says_changed),
)
# Who did it cannot be seen from what is not there, is something else, or is as it was.
_WITHOUT_HAND = {Cause.MISSING, Cause.LINK, Cause.OTHER_TYPE, Cause.UNREADABLE, Cause.UNSTEADY}


# --- who did it ------------------------------------------------------------------------------------------------------


def _hand(facts: Facts) -> tuple[Hand, str]:
    """Who did it, told from what the inode was like when the file was last good."""
    was, now = facts.recorded, facts.found
    if now is None:
        return Hand.UNKNOWN, ""
    good = f" ({_when(was.at)})" if was.at is not None else ""
    if was.inode is not None and was.inode[0] != now.number:
        text = "Another file was put in its place since it was last good"
        return (
            Hand.PROGRAM,
            f"{text}{good}: its inode is a new one; it was last modified at {_when(now.mtime_ns / 1e9)}.",
        )
    if was.inode is not None and was.inode[1] != now.mtime_ns:
        text = "A program wrote to it since it was last good"
        return Hand.PROGRAM, f"{text}{good}: its modification time is now {_when(now.mtime_ns / 1e9)}."
    if was.owner is not None and was.owner != now.owner:
        text = f"It belongs to user {now.owner} now and belonged to user {was.owner} when it was last good"
        return Hand.PROGRAM, f"{text}{good}, so a program changed it."
    if was.mode is not None and was.mode != now.mode:
        text = f"Its mode is {now.mode:04o} now and was {was.mode:04o} when it was last good"
        return Hand.PROGRAM, f"{text}{good}, so a program changed it."
    if was.inode is None:
        return Hand.UNKNOWN, "What it was like when it was last good is not known, so neither is who did that."
    if was.at is not None and now.ctime_ns > (was.at + _PUBLISHING) * 1e9:
        text = f"Its modification time is as it was, but its inode was changed at {_when(now.ctime_ns / 1e9)}"
        return Hand.UNKNOWN, f"{text} (modes, links, or the time set back), so who did that cannot be told."
    same = "Inode, times and owner" if was.owner is not None else "Inode and modification time"
    text = f"{same} are as they were when it was last good{good}"
    return Hand.MEDIUM, f"{text}, so the disk or the way to it did that, not a program."


# --- where ------------------------------------------------------------------------------------------------------------


def _damage(case: _Case, cause: Cause) -> tuple[Damage, ...]:
    """Every damaged range: the spots, what of the tail nobody can vouch for, what is missing, what is too much."""
    facts, size, expected = case.facts, case.facts.size, case.facts.expected_size
    if facts.kind is not Kind.PLAIN:
        return (Damage(0, expected, "missing" if facts.kind is Kind.MISSING else "replaced"),) if expected else ()
    if facts.refused:
        return (Damage(0, expected, "unreadable", facts.refused),) if expected else ()
    ranges = list(case.stretches)
    if not facts.located and cause not in {Cause.EMPTY, Cause.TRUNCATED, Cause.GROWN}:
        ranges.append(Damage(0, min(size, expected), "changed", "nothing tells which bytes"))
    elif cause is Cause.TRUNCATED and _is_unproven(case):
        ranges.append(Damage(0, size, "changed", "too little is left to compare"))  # so that all is fetched, once
    elif size < expected:
        # The unit in which the file ends now cannot be compared; it is judged by what stands before it.
        last = ranges[-1] if ranges else None
        end = last.offset + last.length if last is not None else 0
        cut = max(end, size - size % facts.unit)
        follows = last is not None and last.verdict == "changed" and end == cut
        if cut < size and (follows or (not facts.intact and cause is not Cause.TRUNCATED)):
            ranges.append(Damage(cut, size - cut, "changed"))
    if size < expected:
        ranges.append(Damage(size, expected - size, "truncated"))
    if size > expected:
        ranges.append(Damage(expected, size - expected, "grown"))
    return merged(ranges)


def _when(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} seconds after 1970"  # beyond the calendar

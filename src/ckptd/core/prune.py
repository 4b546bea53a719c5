"""What may go from a store, and why: (what is wanted, what is locked, what lies there, what is known of it) -> a plan.

Only what ckptd put there itself goes, as far as the lock and the records tell; everything else is named as somebody
else's and left. Nothing is removed here, and paths are only names: whoever acts on the plan has to look again whether a
file is in use. Times are POSIX seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ckptd.core import quarantine
from ckptd.core.survey import TREE, Known, Shape, Stored, Survey, Thing
from ckptd.core.units import LARGEST, format_duration

PARTIALS_OLDER_THAN = 14 * 86400.0  # seconds that an unfinished download may lie untouched


class Kind(StrEnum):
    """What a thing is that may go, in the order in which they do: what is known of others goes after them."""

    TREE = "tree"  # an unpacked tree that nothing wants any more
    CHECKPOINT = "checkpoint"  # a published file whose name has gone from the manifest; its lock entry goes with it
    FILE = "file"  # an older file under a name that the manifest still has
    LOCK = "lock"  # an entry of the lock that the manifest does not name, without a file
    FOLDER = "folder"  # what is left of a checkpoint: its empty folder
    RECORD = "record"  # what is known of a file that is neither wanted nor there
    OLD_TREE = "old-tree"  # one that was replaced by another
    PARTIAL = "partial"
    QUARANTINE = "quarantine"
    DATABASE = "database"  # a damaged one that was moved aside
    PIECES = "pieces"  # a piece table
    SUMS = "sums"  # block sums
    LISTING = "listing"  # of what is in a tree
    LEFTOVER = "leftover"  # of a run that was killed


_ORDER = list(Kind)
# These belong to the bytes of one SHA-256, and stay as long as those do.
_DEPENDENT = frozenset({Kind.PIECES, Kind.SUMS, Kind.LISTING})
_VISIBLE = frozenset({Kind.CHECKPOINT, Kind.FILE, Kind.TREE})
_OF_A_NAME = _VISIBLE | {Kind.LOCK, Kind.FOLDER, Kind.RECORD}


@dataclass(frozen=True, slots=True)
class Rules:
    """How old things may get, in seconds. `all_quarantine`: whatever its age."""

    quarantine_age: float
    partials_older_than: float = PARTIALS_OLDER_THAN
    all_quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that may go. `name` is that of the checkpoint, or of the thing itself where it belongs to none."""

    kind: Kind
    name: str
    path: str
    bytes: int
    why: str
    sha256: str = ""

    @property
    def visible(self) -> bool:
        """Whether users can see it, or could, and so have it open."""
        return self.kind in _VISIBLE or self.kind is Kind.OLD_TREE


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is not ours, and stays."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What may go, in the order in which it should; `unlocked` are the names whose lock entries go, before all else."""

    items: tuple[Item, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    unlocked: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of everything together."""
        return sum(item.bytes for item in self.items)


@dataclass(slots=True)
class _Draft:
    items: list[Item] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)


def decide(survey: Survey, rules: Rules) -> Plan:
    """What may go by these rules."""
    draft = _Draft()
    for stored in survey.stored:
        _stored(survey, stored, draft)
    draft.items += _locked_only(survey, draft.items)
    draft.items += _records_only(survey)
    draft.items += [
        Item(Kind.OLD_TREE, _whose(each), each.path, each.size, "a tree that was replaced") for each in survey.old_trees
    ]
    draft.items += _partials(survey, rules)
    draft.items += _quarantine(survey, rules)
    draft.items += [
        Item(Kind.DATABASE, each.name, each.path, each.size, "a damaged database that was replaced; nothing reads it")
        for each in survey.databases
    ]
    draft.items += _dependents(survey)
    draft.items += [
        Item(Kind.LEFTOVER, each.name, each.path, each.size, "left by a run that was killed")
        for each in survey.leftovers
    ]
    return _plan(draft.items, draft.foreign, survey)


def spare(plan: Plan, survey: Survey, paths: Collection[str]) -> Plan:
    """`plan` without the names of which something in `paths` is in use, and without what belongs to the same bytes."""
    names = {item.name for item in plan.items if item.kind in _VISIBLE and item.path in paths}
    digests = {item.sha256 for item in plan.items if item.kind in _OF_A_NAME and item.name in names}
    items = [
        item
        for item in plan.items
        if not (item.kind in _OF_A_NAME and item.name in names)
        and not (item.kind in _DEPENDENT and item.sha256 in digests)
        and not (item.kind is Kind.OLD_TREE and item.path in paths)
    ]
    return _plan(items, plan.foreign, survey)


def _plan(items: Iterable[Item], foreign: Iterable[Foreign], survey: Survey) -> Plan:
    ordered = tuple(sorted(items, key=lambda item: _ORDER.index(item.kind)))
    going = {item.name for item in ordered if item.kind in {Kind.LOCK, Kind.CHECKPOINT}}
    return Plan(ordered, tuple(foreign), tuple(sorted(going & survey.locked.keys())))


# --- what stands in the store -----------------------------------------------------------------------------------------


def _stored(survey: Survey, stored: Stored, draft: _Draft) -> None:
    thing = stored.thing
    gone = thing.name not in survey.wanted
    ours = thing.name in survey.locked or thing.name in survey.recorded or thing.name in survey.names
    if not gone and thing.shape is Shape.FOLDER:
        _within_wanted(survey, stored, draft)
    elif not gone:
        draft.foreign.append(Foreign(thing.path, f"{_article(thing.shape)} where a checkpoint's folder should be"))
    elif thing.shape is not Shape.FOLDER or not ours:
        draft.foreign.append(Foreign(thing.path, f"{_article(thing.shape)} that neither lock nor records know"))
    else:
        _within_gone(survey, stored, draft)


def _within_gone(survey: Survey, stored: Stored, draft: _Draft) -> None:
    name = stored.thing.name
    for each in stored.within:
        known = _known(survey, name, each)
        if known is not None:
            how = "locked" if known == survey.locked.get(name) else "formerly locked"
            why = f"{how}; the manifest does not name it"
            kind = Kind.TREE if each.shape is Shape.FOLDER else Kind.CHECKPOINT
            draft.items.append(Item(kind, name, each.path, each.size, why, known.sha256))
        else:
            draft.foreign.append(Foreign(each.path, _strange(survey, name, each)))
    if not stored.within:
        draft.items.append(Item(Kind.FOLDER, name, stored.thing.path, 0, "empty; the manifest does not name it"))


def _within_wanted(survey: Survey, stored: Stored, draft: _Draft) -> None:
    name, wanted = stored.thing.name, survey.wanted[stored.thing.name]
    current = _current(survey, name)
    replaced = any(each.name == wanted.file and each.shape is Shape.FILE for each in stored.within)
    for each in stored.within:
        if each.name in current and each.shape is Shape.FILE:
            continue
        if each.name == TREE and each.shape is Shape.FOLDER and wanted.tree:
            continue
        known = _known(survey, name, each)
        if known is None:
            draft.foreign.append(Foreign(each.path, _strange(survey, name, each)))
        elif each.shape is Shape.FOLDER:
            why = "the manifest wants it no longer unpacked"
            draft.items.append(Item(Kind.TREE, name, each.path, each.size, why, known.sha256))
        elif replaced:  # until then the old one is better than none
            why = f"formerly locked; {wanted.file} has taken its place in the manifest"
            draft.items.append(Item(Kind.FILE, name, each.path, each.size, why, known.sha256))


def _current(survey: Survey, name: str) -> set[str]:
    """What a name stands for: what the manifest wants and, until that is there, what is locked."""
    if name not in survey.wanted:
        return set()
    wanted, locked = survey.wanted[name], survey.locked.get(name)
    return {wanted.file, *([TREE] if wanted.tree else []), *([locked.file] if locked is not None else [])}


def _candidates(survey: Survey, name: str) -> tuple[Known, ...]:
    """Every file that we know, or knew, under a name."""
    locked = (survey.locked[name],) if name in survey.locked else ()
    return (*locked, *survey.recorded.get(name, ()))


def _known(survey: Survey, name: str, each: Thing) -> Known | None:
    """The file or tree as we know it; None when it is none of ours, or no longer what it was."""
    candidates = _candidates(survey, name)
    if each.shape is Shape.FOLDER and each.name == TREE and each.familiar:
        # Its own record, else that of an archive: which one, only says whose bytes they were.
        return next((known for known in candidates if known.file == TREE), candidates[0]) if candidates else None
    if each.shape is not Shape.FILE:
        return None
    return next((known for known in candidates if known.file == each.name and known.size == each.size), None)


def _article(shape: Shape) -> str:
    match shape:
        case Shape.FILE:
            return "a file"
        case Shape.FOLDER:
            return "a folder"
        case Shape.LINK:
            return "a link"
        case Shape.OTHER:
            return "something that is neither file nor folder"


def _strange(survey: Survey, name: str, thing: Thing) -> str:
    if thing.shape is Shape.FILE and any(known.file == thing.name for known in _candidates(survey, name)):
        return "a file of another size than was locked"
    if thing.shape is Shape.FOLDER and thing.name == TREE:
        return "a tree of which it is not known that all of it came from its archive"
    return f"{_article(thing.shape)} that neither lock nor records know"


# --- what has no file ------------------------------------------------------------------------------------------------


def _locked_only(survey: Survey, items: Iterable[Item]) -> Iterator[Item]:
    having = {item.name for item in items if item.kind is Kind.CHECKPOINT}
    for name, known in sorted(survey.locked.items()):
        if name not in survey.wanted and name not in having:
            why = "the lock names it, the manifest does not; its file is not there"
            yield Item(Kind.LOCK, name, "", 0, why, known.sha256)


def _records_only(survey: Survey) -> Iterator[Item]:
    there = {
        (stored.thing.name, each.name)
        for stored in survey.stored
        for each in stored.within
        if each.shape is (Shape.FOLDER if each.name == TREE else Shape.FILE)
    }
    for name in sorted(survey.recorded):
        current = _current(survey, name)
        for known in survey.recorded[name]:
            if (name, known.file) not in there and known.file not in current:
                yield Item(Kind.RECORD, name, known.file, 0, "its file is gone, and nothing wants it", known.sha256)


def _whose(old_tree: Thing) -> str:
    """The checkpoint that a tree was of: its name is that and a number."""
    return old_tree.name.removesuffix(".new").rpartition(".")[0] or old_tree.name


def _partials(survey: Survey, rules: Rules) -> Iterator[Item]:
    for part in sorted(survey.partials, key=lambda each: each.path):
        age = survey.now - part.touched
        if not part.recorded:
            why = "no record speaks of it"
        elif part.name not in survey.wanted:
            why = "the manifest does not name it"
        elif age > rules.partials_older_than:
            why = f"unfinished, and not touched for {_days(age)}"
        else:
            continue
        yield Item(Kind.PARTIAL, part.name, part.path, part.size, why)


def _quarantine(survey: Survey, rules: Rules) -> Iterator[Item]:
    old = quarantine.to_remove(survey.quarantine, cap=LARGEST, max_age=rules.quarantine_age, now=survey.now)
    for entry in survey.quarantine:
        if rules.all_quarantine or entry.name in old:
            what = "a damaged file whose name was taken away" if entry.held else "damaged bytes"
            yield Item(Kind.QUARANTINE, entry.name, "", entry.bytes, f"{what}, kept for {_days(survey.now - entry.at)}")


def _dependents(survey: Survey) -> Iterator[Item]:
    """Tables and sums of bytes that neither the lock nor the records of what is wanted speak of."""
    needed = set()
    for name in survey.wanted:
        current = _current(survey, name)
        needed |= {known.sha256 for known in _candidates(survey, name) if known.file in current}
    for kind, things in ((Kind.PIECES, survey.tables), (Kind.SUMS, survey.sums), (Kind.LISTING, survey.listings)):
        for each in things:
            if each.name not in needed:
                yield Item(kind, each.name, each.path, each.size, "of bytes that nothing names any more", each.name)


def _days(seconds: float) -> str:
    return format_duration(seconds).split(" ")[0]

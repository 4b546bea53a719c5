"""core.prune: what may go from a store and why, and what is nobody's to touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.prune import Item, Kind, Plan, Rules, decide, spare
from ckptd.core.quarantine import Entry
from ckptd.core.survey import Known, Part, Shape, Stored, Survey, Thing, Wanted

DAY = 86400.0
NOW = 1_795_000_000.0
RULES = Rules(quarantine_age=90 * DAY)
SHA = {letter: letter * 64 for letter in "abcdef"}


def thing(name: str, shape: Shape = Shape.FILE, size: int = 10, *, under: str = "", familiar: bool = False) -> Thing:
    return Thing(name, f"/store/{under}{name}", shape, size if shape is Shape.FILE or familiar else 0, familiar)


def folder(name: str, *within: Thing) -> Stored:
    inside = tuple(replace(each, path=f"/store/{name}/{each.name}") for each in within)
    return Stored(thing(name, Shape.FOLDER), inside)


def survey(
    *stored: Stored,
    wanted: Sequence[str] | Mapping[str, Wanted] = (),
    locked: Sequence[str] = (),
    recorded: Sequence[str] = (),
    **more: object,
) -> Survey:
    """Of checkpoints that are called by a letter, each with a file of 10 bytes called like it."""
    found = Survey(
        now=NOW,
        wanted=wanted if isinstance(wanted, Mapping) else {name: Wanted(f"{name}.bin", tree=False) for name in wanted},
        locked={name: Known(f"{name}.bin", SHA[name], 10) for name in locked},
        recorded={name: (Known(f"{name}.bin", SHA[name], 10),) for name in recorded},
        stored=stored,
    )
    return replace(found, **more)  # type: ignore[arg-type]


def told(plan: Plan) -> list[tuple[str, str]]:
    return [(str(item.kind), item.path or item.name) for item in plan.items]


TREE = thing("tree", Shape.FOLDER, 100, familiar=True)
ROWS: dict[str, tuple[Survey, list[tuple[str, str]], list[str], tuple[str, ...]]] = {
    # what there is, what goes, what is not ours, whose lock entries go
    "wanted and there": (survey(folder("a", thing("a.bin")), wanted="a", locked="a", recorded="a"), [], [], ()),
    "wanted and missing": (survey(wanted="a", locked="a", recorded="a"), [], [], ()),
    "gone, and locked": (
        survey(folder("a", thing("a.bin")), locked="a", recorded="a"),
        [("checkpoint", "/store/a/a.bin")],
        [],
        ("a",),
    ),
    "gone, and formerly locked": (
        survey(folder("a", thing("a.bin")), recorded="a"),
        [("checkpoint", "/store/a/a.bin")],
        [],
        (),
    ),
    "gone, and known to the lock alone": (
        survey(folder("a", thing("a.bin")), locked="a"),
        [("checkpoint", "/store/a/a.bin")],
        [],
        ("a",),
    ),
    "gone, with a file of somebody's beside it": (
        survey(folder("a", thing("a.bin"), thing("notes.txt")), locked="a"),
        [("checkpoint", "/store/a/a.bin")],
        ["/store/a/notes.txt"],
        ("a",),
    ),
    "gone, and of another size": (
        survey(folder("a", thing("a.bin", size=11)), locked="a", recorded="a"),
        [("lock", "a")],
        ["/store/a/a.bin"],
        ("a",),
    ),
    "gone, and a link in the file's place": (
        survey(folder("a", thing("a.bin", Shape.LINK)), locked="a"),
        [("lock", "a")],
        ["/store/a/a.bin"],
        ("a",),
    ),
    "gone, and a link in the folder's place": (
        survey(Stored(thing("a", Shape.LINK)), locked="a"),
        [("lock", "a")],
        ["/store/a"],
        ("a",),
    ),
    "gone from the disk, too": (survey(locked="a", recorded="a"), [("lock", "a"), ("record", "a.bin")], [], ("a",)),
    "an empty folder that the history knows": (survey(folder("a"), names={"a"}), [("folder", "/store/a")], [], ()),
    "an empty folder that nobody knows": (survey(folder("a")), [], ["/store/a"], ()),
    "a folder of somebody's": (survey(folder("x", thing("x.bin"))), [], ["/store/x"], ()),
    "a file of somebody's": (survey(Stored(thing("x"))), [], ["/store/x"], ()),
    "a pipe": (survey(Stored(thing("x", Shape.OTHER))), [], ["/store/x"], ()),
    "a file where a wanted folder should be": (survey(Stored(thing("a")), wanted="a"), [], ["/store/a"], ()),
    "known by the history, and nothing of it by records": (
        survey(folder("a", thing("a.bin")), names={"a"}),
        [],
        ["/store/a/a.bin"],
        (),
    ),
    "wanted, with a file of somebody's beside it": (
        survey(folder("a", thing("a.bin"), thing("mine")), wanted="a", locked="a"),
        [],
        ["/store/a/mine"],
        (),
    ),
    "a gone one with its tree": (
        survey(folder("a", thing("a.bin"), TREE), locked="a"),
        [("tree", "/store/a/tree"), ("checkpoint", "/store/a/a.bin")],
        [],
        ("a",),
    ),
    "a gone one with a tree that somebody added to": (
        survey(folder("a", thing("a.bin"), replace(TREE, familiar=False)), locked="a"),
        [("checkpoint", "/store/a/a.bin")],
        ["/store/a/tree"],
        ("a",),
    ),
    "a tree that is wanted no longer": (
        survey(folder("a", thing("a.bin"), TREE), wanted="a", locked="a"),
        [("tree", "/store/a/tree")],
        [],
        (),
    ),
    "a gone tree whose archive was dropped": (
        replace(
            survey(folder("a", TREE), locked="a"),
            recorded={"a": (Known("a.bin", SHA["a"], 10), Known("tree", SHA["a"], 100))},
        ),
        [("tree", "/store/a/tree"), ("lock", "a"), ("record", "a.bin")],
        [],
        ("a",),
    ),
    "a wanted tree whose archive was dropped": (
        replace(
            survey(folder("a", TREE), locked="a", wanted={"a": Wanted("a.bin", tree=True)}),
            recorded={"a": (Known("a.bin", SHA["a"], 10), Known("tree", SHA["a"], 100))},
        ),
        [],
        [],
        (),
    ),
    "a tree that is wanted": (
        survey(folder("a", thing("a.bin"), TREE), locked="a", wanted={"a": Wanted("a.bin", tree=True)}),
        [],
        [],
        (),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_lies_in_the_store(row: str) -> None:
    facts, items, foreign, unlocked = ROWS[row]
    plan = decide(facts, RULES)
    assert told(plan) == items
    assert [each.path for each in plan.foreign] == foreign
    assert plan.unlocked == unlocked
    assert all(item.why for item in plan.items)
    assert all(each.why for each in plan.foreign)


# --- a checkpoint whose file is called otherwise now ------------------------------------------------------------------


def renamed(*files: str, locked: str) -> Survey:
    """`a` is wanted as new.bin; there are records of both files, and the lock names `locked`."""
    known = {"old.bin": Known("old.bin", SHA["a"], 10), "new.bin": Known("new.bin", SHA["b"], 10)}
    return Survey(
        now=NOW,
        wanted={"a": Wanted("new.bin", tree=False)},
        locked={"a": known[locked]} if locked else {},
        recorded={"a": tuple(known.values())},
        stored=(folder("a", *(thing(name) for name in files)),),
        tables=tuple(Thing(SHA[each], f"/state/{each}", Shape.FILE, 5) for each in "abc"),
    )


def test_the_old_file_goes_once_the_new_one_has_taken_its_place() -> None:
    plan = decide(renamed("old.bin", "new.bin", locked="new.bin"), RULES)
    assert told(plan) == [("file", "/store/a/old.bin"), ("pieces", "/state/a"), ("pieces", "/state/c")]
    assert plan.unlocked == ()


@pytest.mark.parametrize(
    "facts",
    [
        renamed("old.bin", locked="old.bin"),
        renamed("old.bin", "new.bin", locked="old.bin"),
        renamed("old.bin", locked=""),
    ],
    ids=["not fetched yet", "not locked yet", "the lock is lost"],
)
def test_until_then_it_stays(facts: Survey) -> None:
    assert [kind for kind, _ in told(decide(facts, RULES)) if kind != "pieces"] == []


# --- in the state -----------------------------------------------------------------------------------------------------


def part(name: str, days: float, *, recorded: bool = True) -> Part:
    return Part(name, f"/state/partials/{name}", 7, NOW - days * DAY, recorded)


@pytest.mark.parametrize(
    ("given", "rules", "goes"),
    [
        (part("a", 1), RULES, False),
        (part("a", 15), RULES, True),
        (part("a", -400), RULES, False),
        (part("a", 15), replace(RULES, partials_older_than=20 * DAY), False),
        (part("gone", 0), RULES, True),
        (part("a", 0, recorded=False), RULES, True),
    ],
    ids=["fresh", "old", "of a clock that ran ahead", "old, and older is asked for", "of a gone name", "unrecorded"],
)
def test_partials(given: Part, rules: Rules, goes: bool) -> None:
    plan = decide(survey(wanted="a", partials=(given,)), rules)
    assert [item.kind for item in plan.items] == ([Kind.PARTIAL] if goes else [])
    assert plan.bytes == (7 if goes else 0)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [(RULES, ["new", "held"]), (replace(RULES, all_quarantine=True), [])],
    ids=["by age", "all"],
)
def test_quarantine(rules: Rules, kept: list[str]) -> None:
    entries = (
        Entry("old", 5, NOW - 91 * DAY),
        Entry("new", 5, NOW - 89 * DAY),
        Entry("held", 5, NOW - DAY, held=True),
    )
    plan = decide(survey(quarantine=entries), rules)
    gone = [item.name for item in plan.items if item.kind is Kind.QUARANTINE]
    assert [each.name for each in entries if each.name not in gone] == kept


def test_what_belongs_to_bytes_goes_with_the_last_name_of_them() -> None:
    """Two names for the same bytes: the table stays as long as one of them is wanted."""
    tables = (Thing(SHA["a"], "/state/pieces/a", Shape.FILE, 64),)
    sums = (Thing(SHA["a"], "", Shape.OTHER, 12),)
    twice = replace(survey(locked="ab", tables=tables, sums=sums), locked={n: Known("f", SHA["a"], 10) for n in "ab"})
    both = decide(replace(twice, wanted={"b": Wanted("f", tree=False)}), RULES)
    assert [item.kind for item in both.items] == [Kind.LOCK]
    none = decide(twice, RULES)
    assert [item.kind for item in none.items] == [Kind.LOCK, Kind.LOCK, Kind.PIECES, Kind.SUMS]


def test_damaged_databases_and_leftovers() -> None:
    plan = decide(
        survey(
            databases=(Thing("state.db.damaged-1", "/state/state.db.damaged-1", Shape.FILE, 100),),
            leftovers=(Thing("x", "/state/pruned/x", Shape.FILE, 11),),
        ),
        RULES,
    )
    assert [(item.kind, item.bytes) for item in plan.items] == [(Kind.DATABASE, 100), (Kind.LEFTOVER, 11)]


# --- in use -----------------------------------------------------------------------------------------------------------

MIXED = replace(
    survey(
        folder("a", thing("a.bin"), TREE),
        folder("b", thing("b.bin")),
        locked="ab",
        recorded="ab",
        tables=tuple(Thing(SHA[each], f"/state/{each}", Shape.FILE, 5) for each in "abc"),
    ),
)


@pytest.mark.parametrize("used", ["/store/a/a.bin", "/store/a/tree"])
def test_a_name_of_which_something_is_in_use_stays_whole(used: str) -> None:
    """With its lock entry, and with what belongs to its bytes."""
    plan = spare(decide(MIXED, RULES), MIXED, {used})
    assert told(plan) == [("checkpoint", "/store/b/b.bin"), ("pieces", "/state/b"), ("pieces", "/state/c")]
    assert plan.unlocked == ("b",)


def test_in_use_by_nobody() -> None:
    plan = decide(MIXED, RULES)
    assert spare(plan, MIXED, ()) == plan


def test_an_old_tree_in_use() -> None:
    old = (thing("a.b.0123456789ab", Shape.FOLDER, 7, familiar=True), thing("c.0123456789ab.new", Shape.FOLDER))
    facts = survey(folder("a", thing("a.bin")), locked="a", old_trees=old)
    plan = decide(facts, RULES)
    assert [(item.name, item.bytes) for item in plan.items if item.kind is Kind.OLD_TREE] == [("a.b", 7), ("c", 0)]
    assert told(spare(plan, facts, {old[0].path})) == [
        ("checkpoint", "/store/a/a.bin"),
        ("old-tree", "/store/c.0123456789ab.new"),
    ]


# --- for all stores ---------------------------------------------------------------------------------------------------

names = st.sampled_from("abcd")
sizes = st.sampled_from([9, 10])
shapes = st.sampled_from(list(Shape))


@st.composite
def surveys(draw: st.DrawFn) -> Survey:
    stored = []
    for name in sorted(draw(st.sets(st.sampled_from("abcdx")))):
        if draw(st.booleans()):
            files = draw(st.sets(st.sampled_from([f"{name}.bin", "old.bin", "tree", "mine"])))
            within = [
                thing(each, draw(shapes), draw(sizes), familiar=each == "tree" and draw(st.booleans()))
                for each in sorted(files)
            ]
            stored.append(folder(name, *within))
        else:
            stored.append(Stored(thing(name, draw(shapes))))
    found = survey(
        *stored,
        wanted=sorted(draw(st.sets(names))),
        locked=sorted(draw(st.sets(names))),
        recorded=sorted(draw(st.sets(names))),
        names=draw(st.sets(names)),
    )
    return replace(found, tables=tuple(Thing(SHA[each], f"/state/{each}", Shape.FILE, 5) for each in "abcd"))


@given(surveys())
def test_nothing_that_is_wanted_or_unknown_ever_goes(facts: Survey) -> None:
    plan = decide(facts, RULES)
    there = {each.path: each for stored in facts.stored for each in stored.within}
    known = facts.locked.keys() | facts.recorded.keys()
    foreign = {each.path for each in plan.foreign}
    for item in plan.items:
        assert item.path not in foreign
        if item.kind is Kind.CHECKPOINT:
            assert item.name not in facts.wanted
            assert item.name in known
            assert there[item.path].shape is Shape.FILE
            assert there[item.path].size == 10
        if item.kind is Kind.TREE:
            assert there[item.path].familiar
        if item.kind is Kind.FILE:
            assert there[item.path].name != facts.wanted[item.name].file
    assert set(plan.unlocked) <= facts.locked.keys() - facts.wanted.keys()
    for name in facts.wanted.keys() & facts.locked.keys():
        assert f"/state/{name}" not in {item.path for item in plan.items}, "its piece table went"


@given(surveys())
def test_after_all_of_it_has_gone_nothing_is_left_to_do(facts: Survey) -> None:
    """As the caller acts: files go, then folders that are empty; lock entries, records and tables with them."""
    assert decide(done(facts, decide(facts, RULES)), RULES).items == ()


def done(facts: Survey, plan: Plan) -> Survey:
    """The store after `plan`."""
    gone = {item.path for item in plan.items if item.path}

    def kept(stored: Stored) -> Stored | None:
        within = tuple(each for each in stored.within if each.path not in gone)
        emptied = bool(stored.within) and not within
        return None if emptied or stored.thing.path in gone else replace(stored, within=within)

    forgotten = {(item.name, known_file(item)) for item in plan.items if item.kind in {Kind.CHECKPOINT, Kind.FILE}}
    forgotten |= {(item.name, item.path) for item in plan.items if item.kind is Kind.RECORD}
    return replace(
        facts,
        stored=tuple(each for stored in facts.stored if (each := kept(stored)) is not None),
        locked={name: known for name, known in facts.locked.items() if name not in plan.unlocked},
        recorded={
            name: left
            for name, each in facts.recorded.items()
            if (left := tuple(known for known in each if (name, known.file) not in forgotten))
        },
        tables=tuple(each for each in facts.tables if each.path not in gone),
    )


def known_file(item: Item) -> str:
    return item.path.rpartition("/")[2]

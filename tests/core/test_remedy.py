"""How damage is mended: every row of the decision, and that the attempts get wider until nothing is left out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.models import PIECE, Case, Damage, Outcome
from ckptd.core.plan import Fetch, Mend
from ckptd.core.ranges import Extents, Span
from ckptd.core.remedy import Attempt, mending, remedy

SIZE = 2 * PIECE + 1000


def found(state: str, *damage: tuple[int, int] | None, flips: tuple[tuple[int, int], ...] = ()) -> Outcome:
    """What verify says: stretches as (offset, length); a None among them: nothing tells where it is."""
    stretches = tuple(Damage(each[0], each[1], "changed") for each in damage if each is not None)
    case = Case("flipped-bit", "", flips=flips)
    return Outcome("m", state, size=SIZE, damage=None if None in damage else stretches, case=case)


@pytest.mark.parametrize(
    ("outcome", "plain", "expected"),
    [
        pytest.param(found("intact"), True, None, id="intact"),
        pytest.param(found("unlocked", None), False, None, id="unlocked"),
        pytest.param(Outcome("m", "corrupt", size=SIZE, tree_only=True), True, None, id="only its tree"),
        pytest.param(found("missing", None), False, Fetch("it is not there"), id="missing"),
        pytest.param(found("missing", (0, SIZE)), False, Fetch("it is not there"), id="missing, and all is damaged"),
        pytest.param(found("corrupt", None), True, Fetch("it is damaged", mends=True), id="nothing tells where"),
        pytest.param(found("corrupt", (0, SIZE)), True, Fetch("it is damaged", mends=True), id="all of it"),
        pytest.param(
            found("corrupt", (0, PIECE), (PIECE, SIZE - PIECE)),
            True,
            Fetch("it is damaged", mends=True),
            id="all, in parts",
        ),
        pytest.param(found("corrupt", (7, 1)), False, Fetch("it is damaged", mends=True), id="no plain file"),
        pytest.param(found("corrupt", (0, SIZE)), False, Fetch("it is damaged", mends=True), id="all of it replaced"),
        pytest.param(found("corrupt", (7, 1)), True, Mend("it is damaged", ((7, 8),)), id="a byte"),
        pytest.param(found("unreadable", (7, 9)), True, Mend("it is damaged", ((7, 16),)), id="unreadable"),
        pytest.param(found("corrupt", (9, 1), (7, 2)), True, Mend("it is damaged", ((7, 10),)), id="neighbours"),
        pytest.param(found("corrupt", (SIZE, 5)), True, Mend("it is damaged", ()), id="grown"),
        pytest.param(
            found("corrupt", (SIZE - 5, 50)), True, Mend("it is damaged", ((SIZE - 5, SIZE),)), id="over its end"
        ),
        pytest.param(found("corrupt"), True, Mend("it is damaged", ()), id="right by now"),
        pytest.param(
            found("corrupt", (7, 9), flips=((8, 4),)), True, Mend("it is damaged", ((7, 16),), ((8, 4),)), id="a bit"
        ),
        pytest.param(
            found("corrupt", (0, SIZE), flips=((8, 4),)),
            True,
            Mend("it is damaged", ((0, SIZE),), ((8, 4),)),
            id="a bit of the only block",
        ),
    ],
)
def test_how(outcome: Outcome, plain: bool, expected: Mend | Fetch | None) -> None:
    assert remedy(outcome, plain=plain) == expected


def attempts(*damage: Span, sources: int = 1, flips: tuple[tuple[int, int], ...] = ()) -> list[Attempt]:
    return list(mending(Mend("", damage, flips), SIZE, sources))


ALL = ((0, SIZE),)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(
            attempts((7, 9)), [Attempt(((7, 9),)), Attempt(((0, PIECE),)), Attempt(ALL)], id="narrow, piece, everything"
        ),
        pytest.param(attempts((0, PIECE)), [Attempt(((0, PIECE),)), Attempt(ALL)], id="a piece already"),
        pytest.param(
            attempts((SIZE - 1, SIZE)),
            [Attempt(((SIZE - 1, SIZE),)), Attempt(((2 * PIECE, SIZE),)), Attempt(ALL)],
            id="the last piece is short",
        ),
        pytest.param(
            attempts((PIECE - 1, PIECE + 1)),
            [Attempt(((PIECE - 1, PIECE + 1),)), Attempt(((0, 2 * PIECE),)), Attempt(ALL)],
            id="over a border",
        ),
        pytest.param(attempts(), [Attempt(()), Attempt(ALL)], id="nothing to fetch"),
        pytest.param(
            attempts((0, PIECE), sources=2),
            [Attempt(((0, PIECE),), 0), Attempt(((0, PIECE),), 1), Attempt(ALL, 0), Attempt(ALL, 1)],
            id="every source",
        ),
        pytest.param(
            attempts((0, PIECE), flips=((3, 1),))[:2],
            [Attempt(((0, PIECE),), flips=((3, 1),)), Attempt(((0, PIECE),))],
            id="bits are turned before anything is fetched",
        ),
    ],
)
def test_attempts(made: list[Attempt], expected: list[Attempt]) -> None:
    assert made == expected


@given(
    st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)), max_size=5),
    st.integers(1, 3),
    st.booleans(),
)
def test_they_get_wider_and_end_with_everything(stretches: list[tuple[int, int]], sources: int, bits: bool) -> None:
    outcome = found("corrupt", *stretches, flips=((1, 1),) if bits else ())
    action = remedy(outcome, plain=True)
    if not isinstance(action, Mend):
        return
    made = list(mending(action, SIZE, sources))
    assert len(made) == len(set(made)) <= 3 * sources + bits
    fetched = [Extents.of(*each.damage) for each in made if not each.flips]
    for before, after in pairwise(fetched):
        assert Extents.of(*before.spans, *after.spans) == after
    assert fetched[-1].spans == ALL
    whole = [each for each in made if each.covers(SIZE)]
    assert whole == made[-sources:]  # every source has its chance even where none can be shown to have the same file
    assert all(0 <= start < end <= SIZE for each in fetched for start, end in each.spans)

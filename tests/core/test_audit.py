"""What reading a stored file came to."""

from __future__ import annotations

import pytest

from ckptd.core.audit import EXIT_STATUS, damaged_pieces, state_of
from ckptd.core.models import PIECE, Damage

SIZE = 3 * PIECE + 100  # four pieces
TABLE = (b"0", b"1", b"2", b"3")
GOOD: dict[int, bytes | None] = dict(enumerate(TABLE))


@pytest.mark.parametrize(
    ("actual", "found", "damage"),
    [
        (GOOD, SIZE, ()),
        (GOOD | {0: b"x"}, SIZE, (Damage(0, PIECE, "changed"),)),
        (GOOD | {3: b"x"}, SIZE, (Damage(3 * PIECE, 100, "changed"),)),  # the tail is as long as it is
        (GOOD | {1: b"x", 2: b"y"}, SIZE, (Damage(PIECE, 2 * PIECE, "changed"),)),  # neighbours are one stretch
        (GOOD | {0: b"x", 2: b"y"}, SIZE, (Damage(0, PIECE, "changed"), Damage(2 * PIECE, PIECE, "changed"))),
        (GOOD | {1: None}, SIZE, (Damage(PIECE, PIECE, "unreadable"),)),
        (
            GOOD | {1: None, 2: b"x"},
            SIZE,
            (Damage(PIECE, PIECE, "unreadable"), Damage(2 * PIECE, PIECE, "changed")),
        ),
        # cut off in the middle of piece 2
        ({0: b"0", 1: b"1", 2: b"x", 3: b""}, 2 * PIECE + 5, (Damage(2 * PIECE, PIECE + 100, "truncated"),)),
        ({0: b"0", 1: b"1", 2: b"2"}, 3 * PIECE, (Damage(3 * PIECE, 100, "truncated"),)),
        ({}, 0, (Damage(0, SIZE, "truncated"),)),
        (GOOD | {3: b"x"}, SIZE + 9, (Damage(3 * PIECE, 100, "changed"), Damage(SIZE, 9, "grown"))),
        (GOOD, SIZE + 9, (Damage(SIZE, 9, "grown"),)),
    ],
)
def test_which_stretches_differ(actual: dict[int, bytes | None], found: int, damage: tuple[Damage, ...]) -> None:
    assert damaged_pieces(TABLE, actual, SIZE, found) == damage


def test_an_empty_file() -> None:
    assert damaged_pieces((), {}, 0, 0) == ()
    assert damaged_pieces((), {}, 0, 3) == (Damage(0, 3, "grown"),)


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ((), "intact"),
        (("unreadable",), "unreadable"),
        (("unreadable", "changed"), "corrupt"),
        (("truncated",), "corrupt"),
        (("grown",), "corrupt"),
    ],
)
def test_wrong_bytes_weigh_more_than_unreadable_ones(verdicts: tuple[str, ...], state: str) -> None:
    assert state_of([Damage(0, 1, verdict) for verdict in verdicts]) == state


def test_every_state_of_the_contract_has_an_exit_status() -> None:
    assert EXIT_STATUS == {"intact": 0, "repaired": 0, "missing": 1, "unlocked": 1, "corrupt": 3, "unreadable": 5}

"""`ckptd.core.filemap`: cells of a damaged file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.filemap import FileMap, file_map, pieces_of
from ckptd.core.models import BLOCK, PIECE, Damage


def marked(found: FileMap) -> list[int]:
    return [index for index, cell in enumerate(found.cells) if cell.damage]


@pytest.mark.parametrize(
    ("size", "damage", "unit", "cells", "damaged"),
    [
        pytest.param(3 * PIECE, [], PIECE, 3, [], id="a cell a piece"),
        pytest.param(3 * PIECE + 1, [(3 * PIECE, 1)], PIECE, 4, [3], id="the last piece is short"),
        pytest.param(5 * PIECE, [(PIECE, 2 * PIECE)], PIECE, 5, [1, 2], id="known to the piece, drawn to the piece"),
        pytest.param(2 * PIECE, [(5 * BLOCK, BLOCK)], 2 * BLOCK, 256, [2], id="known to the block, drawn finer"),
        pytest.param(BLOCK, [(0, BLOCK)], PIECE, 1, [0], id="one small piece"),
        pytest.param(800 * PIECE, [(PIECE, PIECE)], 2 * PIECE, 400, [0], id="groups of pieces"),
        pytest.param(801 * PIECE, [(PIECE, PIECE)], 4 * PIECE, 201, [0], id="larger groups"),
        pytest.param(PIECE, [(PIECE, 7)], PIECE, 2, [1], id="what was added is one more"),
        pytest.param(PIECE, [(1000, PIECE - 1000)], BLOCK, 256, list(range(256)), id="truncated in the first block"),
        pytest.param(0, [(0, 9)], PIECE, 1, [0], id="it should be empty"),
        pytest.param(0, [], PIECE, 0, [], id="it is empty"),
    ],
)
def test_map(size: int, damage: list[tuple[int, int]], unit: int, cells: int, damaged: list[int]) -> None:
    found = file_map(size, [Damage(offset, length, "changed") for offset, length in damage])
    assert (found.unit, len(found.cells), marked(found)) == (unit, cells, damaged)
    assert found.damaged == len(damaged)


spans = st.lists(st.tuples(st.integers(0, 2**41), st.integers(1, 2**36)), max_size=6)


@given(st.integers(1, 2**40), spans)
def test_the_cells_are_the_file_and_those_with_damage_are_marked(size: int, ranges: list[tuple[int, int]]) -> None:
    damage = [Damage(offset, length, "changed") for offset, length in ranges]
    found = file_map(size, damage)
    inside = [cell for cell in found.cells if cell.start < size]
    assert len(inside) <= 400
    assert [cell.start for cell in inside] == [0, *(cell.end for cell in inside)][:-1]
    assert inside[-1].end == size
    for cell in inside:
        within = [each for each in damage if each.offset < cell.end and cell.start < each.offset + each.length]
        assert list(cell.damage) == within
    beyond = [cell for cell in found.cells if cell.start >= size]
    assert len(beyond) == (1 if any(offset + length > size for offset, length in ranges) else 0)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 1, (1, 1)),
        (PIECE - 1, 2, (1, 2)),
        (PIECE, PIECE, (2, 2)),
        (2 * PIECE, 5, (3, 3)),
        (2 * PIECE + 5, 100, None),
        (PIECE, 10 * PIECE, (2, 3)),
    ],
)
def test_which_pieces_a_range_is_in(offset: int, length: int, expected: tuple[int, int] | None) -> None:
    assert pieces_of(Damage(offset, length, "changed"), 2 * PIECE + 5) == expected

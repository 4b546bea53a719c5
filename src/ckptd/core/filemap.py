"""A damaged file as a map: (size, damage) -> cells, few enough to be looked at. Draws nothing; offsets in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckptd.core.audit import piece_count
from ckptd.core.models import BLOCK, PIECE, Damage

MOST_CELLS = 400  # of one map: more are too small to be seen


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes `[start, end)` of a file, and the damage that is in them; none when they are as they should be."""

    start: int
    end: int
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True, slots=True)
class FileMap:
    """A file as cells of `unit` bytes, in order; the last may be shorter. One more is what was added at its end."""

    unit: int
    cells: tuple[Cell, ...]

    @property
    def damaged(self) -> int:
        """How many cells have damage in them."""
        return sum(1 for cell in self.cells if cell.damage)


def file_map(size: int, damage: Sequence[Damage], most: int = MOST_CELLS) -> FileMap:
    """The map of a file of `size` bytes, in at most `most` cells, and one more for what was added at its end.

    A cell is a piece, or a power of two of pieces where there are too many; or a part of a piece, but only where the
    damage is known more closely than to a piece: a map must not look more exact than what is known.
    """
    unit = BLOCK if any(_within_piece(each, size) for each in damage) else PIECE
    while size > unit * most:
        unit *= 2
    cells = [Cell(start, min(start + unit, size)) for start in range(0, size, unit)]
    found: dict[int, list[Damage]] = {}
    for each in damage:
        end = min(each.offset + each.length, size)
        for index in range(each.offset // unit, -(-end // unit) if each.offset < end else 0):
            found.setdefault(index, []).append(each)
    marked = [Cell(cell.start, cell.end, tuple(found.get(index, ()))) for index, cell in enumerate(cells)]
    excess = tuple(each for each in damage if each.offset + each.length > size)
    if excess:
        marked.append(Cell(size, max(each.offset + each.length for each in excess), excess))
    return FileMap(unit, tuple(marked))


def _within_piece(damage: Damage, size: int) -> bool:
    end = damage.offset + damage.length
    if damage.offset >= size:
        return False
    return bool(damage.offset % PIECE) or (bool(end % PIECE) and end < size)


def pieces_of(damage: Damage, size: int) -> tuple[int, int] | None:
    """The first and the last piece, counted from 1, that a damaged range is in; None for what is beyond the end."""
    count = piece_count(size)
    first, last = damage.offset // PIECE, -(-(damage.offset + damage.length) // PIECE) - 1
    return (first + 1, min(last, count - 1) + 1) if first < count and damage.offset < size else None

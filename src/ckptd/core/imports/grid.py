"""A table as rows of equal columns: cells that span rows or columns are counted in each of them (HTML, section 4.9).

Knows nothing of markup: it is told where rows and cells begin.
"""

from __future__ import annotations

from ckptd.core.imports.blocks import Block, Row, Text

MOST_COLUMNS = 64  # of a table


class Grid:
    """A table while it is read: which cells stand in a row, also those that reach down from rows above."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._order = 0
        self._row = 0
        self._column = 0
        self._cells: dict[int, Text] = {}
        self._beyond: list[Text] = []  # cells past MOST_COLUMNS: no head is theirs, their links are
        self._heads: list[bool] = []
        self._wide: dict[int, Text] = {}  # columns that a cell covers beyond its first
        self._reaching: dict[int, tuple[int, Text]] = {}  # column -> the first row below it, the cell
        self._said: dict[int, Text] = {}  # column -> what a cell that reaches down says in the rows below

    def begin_row(self, order: int) -> None:
        """A row begins at `order`."""
        self._order = order
        self._row += 1
        self._column = 0
        self._cells, self._beyond, self._heads, self._wide = {}, [], [], {}

    def begin_cell(self, text: Text, *, head: bool, rows: int, columns: int) -> None:
        """A cell begins, whose text will be `text`, over so many rows and columns."""
        while self._column < MOST_COLUMNS and self._reaching.get(self._column, (0, text))[0] > self._row:
            self._column += 1
        self._heads.append(head)
        first = self._column
        if first >= MOST_COLUMNS:
            self._beyond.append(text)
            return
        self._column = min(first + columns, MOST_COLUMNS)
        self._cells[first] = text
        for column in range(first, self._column):
            if column > first:
                self._wide[column] = text
            if rows > 1:
                self._reaching[column] = (self._row + rows, text)
                self._said.pop(column, None)

    def end_row(self) -> list[Block]:
        """The row, if there is anything in it. A head that spans columns stands over each of them."""
        cells, header = self._cells, bool(self._heads) and all(self._heads)
        self._cells, self._heads = {}, []
        if not cells and not self._beyond:
            return []
        whole = {
            column: self._below(column, text)
            for column, (end, text) in self._reaching.items()
            if end > self._row and column not in cells
        }
        whole |= self._wide if header else {}
        whole |= cells
        row = [whole.get(column) or Text() for column in range(max(whole, default=-1) + 1)]
        return [Row(self._order, self._number, (*row, *self._beyond), header)]

    def _below(self, column: int, text: Text) -> Text:
        """What a cell says in the rows below its first: its links count only there."""
        if column not in self._said:
            self._said[column] = Text([text.own or text.whole])
        return self._said[column]

    def end(self) -> list[Block]:
        """What is left of a row that was not ended."""
        return self.end_row()

"""The drawings of a report as inline SVG: signs, the bar of the promise, the map of a file.

What is damaged is told by shape as well as by colour: a map is read in grey on paper, too. Colours come from the page's
style by class. Sizes and offsets are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from ckptd.core.filemap import Cell, FileMap
from ckptd.core.models import Damage
from ckptd.core.units import format_size
from ckptd.ui.elements import element as e

COLUMNS = 50  # cells in a row of a map
PITCH = 12  # units of the drawing from one cell to the next
SIDE = 10  # of a cell
WIDEST = 800  # pixels of a map
LARGEST = 26  # pixels from one cell to the next
TITLED = 4  # damaged ranges that the title of one cell tells

_SIGNS = {
    "good": "M6.5 12.5l3.8 3.8 7.4-8.4",
    "bad": "M7.5 7.5l9 9m0-9l-9 9",
    "note": "M12 6.5v7m0 3.4v.1",
    "mended": "M12 6.5v11m-5.5-5.5h11",
    "missing": "M7 12h10",
    "unreadable": "M8.9 9.4c.2-4.2 6.4-4 6.2-.2-.1 2.3-3.1 2.3-3.1 4.8m0 3v.1",
    "later": "M12 7v5.2l3.4 2.2",
}
_CROSS, _BARS, _HOLLOW = "changed", "unreadable", "gone"
_SHAPES = {"unreadable": _BARS, "truncated": _HOLLOW, "missing": _HOLLOW, "replaced": _HOLLOW}
_NAMES = {_CROSS: "damaged", _BARS: "cannot be read", _HOLLOW: "no longer there"}


def sign(kind: str) -> ET.Element:
    """A round sign that goes with a word: "good", "bad", "note", "mended", "missing", "unreadable", "later"."""
    return e(
        "svg",
        e("circle", cx=12, cy=12, r=10.5),
        e("path", d=_SIGNS[kind]),
        cls=f"sign {kind}",
        viewBox="0 0 24 24",
        width=24,
        height=24,
        aria_hidden="true",
    )


# --- the promise -----------------------------------------------------------------------------------------------------


def bar(parts: Sequence[tuple[str, str, int]], label: str) -> ET.Element:
    """A bar of (class, what it is, bytes), left to right. What is there at all is at least a sliver."""
    parts = [part for part in parts if part[2] > 0]
    least = [max(part[2] / max(1, sum(count for _, _, count in parts)), 0.008) for part in parts]
    drawn, at = [], 0.0
    for (kind, what, count), share in zip(parts, least, strict=True):
        width = 100 * share / sum(least)
        title = e("title", f"{what}: {format_size(count)}")
        place = {"x": f"{at:.3f}%", "width": f"{width:.3f}%", "height": "100%"}
        drawn.append(e("rect", title, cls=kind, **place))
        if kind != "within":
            drawn.append(e("rect", cls="texture", fill=f"url(#texture-{kind})", **place))
        at += width
    patterns = e("defs", _pattern("texture-older", "M0 8L8 0"), _pattern("texture-unverified", "M0 0L8 8M0 8L8 0"))
    return e("svg", patterns, *drawn, cls="bar", width="100%", height=18, role="img", aria_label=label)


def _pattern(name: str, path: str) -> ET.Element:
    return e("pattern", e("path", d=path), id=name, width=8, height=8, patternUnits="userSpaceOnUse")


# --- maps ------------------------------------------------------------------------------------------------------------


def amount(count: int) -> str:
    """A power of two of bytes: "256 KiB", "16 MiB", "1 GiB"."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << shift:
            return f"{count >> shift} {unit}"
    return f"{count} bytes"


def drawn_map(found: FileMap, label: str) -> ET.Element:
    """The map, a row of cells below the other; each damaged one has a title that says what is the matter with it."""
    columns = max(1, min(COLUMNS, len(found.cells)))
    rows = max(1, -(-len(found.cells) // columns))
    width = columns * PITCH - (PITCH - SIDE)
    good, marked = [], []
    for index, cell in enumerate(found.cells):
        x, y = index % columns * PITCH, index // columns * PITCH
        if cell.damage:
            marked.append(_marked(cell, x, y))
        else:
            good.append(f"M{x} {y}h{SIDE}v{SIDE}h-{SIDE}z")
    shown = min(LARGEST, WIDEST / columns)
    return e(
        "svg",
        e("path", d="".join(good), cls="intact") if good else None,
        *marked,
        cls="map",
        viewBox=f"-2 -2 {width + 4} {rows * PITCH + 2}",
        width=round(columns * shown),
        role="img",
        aria_label=label,
    )


def _marked(cell: Cell, x: int, y: int) -> ET.Element:
    shape = shape_of(cell.damage)
    told = [f"{each.verdict}{f' ({each.detail})' if each.detail else ''}" for each in cell.damage[:TITLED]]
    more = len(cell.damage) - TITLED
    told += [f"and {more} more"] if more > 0 else []
    title = e("title", f"Bytes {cell.start:,} to {cell.end - 1:,}: {'; '.join(told)}")
    return e(
        "g",
        title,
        *_shape(shape, x, y),
        cls=f"cell {shape}",
        data_start=cell.start,
        data_end=cell.end,
    )


def shape_of(damage: Iterable[Damage]) -> str:
    """How a cell with this damage is drawn: wrong bytes before unreadable ones before what is no longer there."""
    shapes = {_SHAPES.get(each.verdict, _CROSS) for each in damage}
    return next(shape for shape in (_CROSS, _BARS, _HOLLOW) if shape in shapes)


def _shape(shape: str, x: int, y: int) -> list[ET.Element]:
    if shape == _HOLLOW:
        return [e("rect", x=x + 0.75, y=y + 0.75, width=SIDE - 1.5, height=SIDE - 1.5, rx=0.5)]
    lines = {
        _CROSS: f"M{x + 2.5} {y + 2.5}l5 5m0-5l-5 5",
        _BARS: f"M{x + 2} {y + 3}h6M{x + 2} {y + 5}h6M{x + 2} {y + 7}h6",
    }[shape]
    return [e("rect", x=x - 1, y=y - 1, width=SIDE + 2, height=SIDE + 2, rx=1), e("path", d=lines)]


def legend(found: FileMap) -> ET.Element:
    """What the shapes in a map mean, only those that are in it."""
    shapes = {shape_of(cell.damage) for cell in found.cells if cell.damage}
    items = [_key("intact", "as it should be")] if found.damaged < len(found.cells) else []
    items += [_key(shape, _NAMES[shape]) for shape in (_CROSS, _BARS, _HOLLOW) if shape in shapes]
    return e("ul", *items, cls="legend")


def _key(shape: str, text: str) -> ET.Element:
    drawn = (
        e("path", d=f"M0 0h{SIDE}v{SIDE}h-{SIDE}z", cls="intact")
        if shape == "intact"
        else e("g", *_shape(shape, 0, 0), cls=f"cell {shape} key")
    )
    picture = e("svg", drawn, cls="map", viewBox="-2 -2 14 14", width=16, height=16, aria_hidden="true")
    return e("li", picture, text)


def strip(found: FileMap, label: str) -> ET.Element:
    """The map of a file in a row of a table: a line that is broken where there is damage."""
    count = max(1, len(found.cells))
    drawn = [e("rect", width="100%", height="100%", cls="intact")]
    runs: list[list[int]] = []
    for index, cell in enumerate(found.cells):
        if cell.damage and runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        elif cell.damage:
            runs.append([index, index + 1])
    for first, end in runs:
        width = max(100 * (end - first) / count, 2.5)
        x = min(100 * first / count, 100 - width)
        drawn.append(e("rect", x=f"{x:.2f}%", width=f"{width:.2f}%", height="100%", cls="damaged"))
    return e("svg", *drawn, cls="strip", width="100%", height=5, role="img", aria_label=label)

"""What the sections of a report are made of: sections, tables, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ckptd.core.report import Entry
from ckptd.ui.elements import element as e
from ckptd.ui.report_drawing import sign
from ckptd.ui.report_words import NOT_DUE, STATES


def section(name: str, title: str, *parts: ET.Element | str | None) -> ET.Element:
    """A section with its heading; `name` is its id."""
    return e("section", e("h2", title, id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title")


def state_of(entry: Entry) -> tuple[str, str]:
    """The word for its verdict, and the sign that goes with it."""
    if not entry.read:
        return NOT_DUE
    return STATES.get(entry.outcome.state, (entry.outcome.state, "note"))


def tone_of(kind: str) -> str:
    """How alarming a sign is: "good", "note" or "bad"."""
    return {"good": "good", "mended": "good", "later": "good", "note": "note"}.get(kind, "bad")


def badge(entry: Entry) -> ET.Element:
    """Its verdict as a sign and a word."""
    word, kind = state_of(entry)
    return e("span", sign(kind), word, cls=f"badge {tone_of(kind)}")


def table(
    name: str,
    caption: str,
    rows: Sequence[Sequence[tuple[str, ET.Element | str]]],
    numbers: set[str] | frozenset[str] = frozenset(),
) -> ET.Element:
    """Rows of (heading, value). On a narrow screen a row is a card, so each value knows its heading; and the roles are
    said once more, since a table that is drawn otherwise is no table to some readers."""
    headings = [heading for heading, _ in rows[0]] if rows else []
    head = e("tr", *(e("th", each, scope="col", cls=_aligned(each, numbers), role="columnheader") for each in headings))
    body = [
        e(
            "tr",
            *(
                e("td", e("div", value), data_label=heading, cls=_aligned(heading, numbers), role="cell")
                for heading, value in row
            ),
            role="row",
        )
        for row in rows
    ]
    head.set("role", "row")
    return e(
        "table",
        e("caption", caption),
        e("thead", head, role="rowgroup"),
        e("tbody", *body, role="rowgroup"),
        id=name,
        role="table",
    )


def _aligned(heading: str, numbers: set[str] | frozenset[str]) -> str | None:
    return "number" if heading in numbers else None

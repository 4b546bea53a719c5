"""The page's table of checkpoints: one row each, drawn by itself, so that it can be replaced by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from ckptd.core.picture import plural
from ckptd.core.units import format_size
from ckptd.front.scene import Scene, damaged
from ckptd.ui.elements import Part, breakable
from ckptd.ui.elements import element as e
from ckptd.ui.report_drawing import sign
from ckptd.ui.report_parts import section, tone_of
from ckptd.ui.report_words import TRUST, ago, moment, sentence

NAME = "all"  # the id of the section
HEADINGS = ("Checkpoint", "State", "Trust", "Size", "Last verified")
SEARCHED = 8  # checkpoints from which on there is a field to find one
NONE = "\N{EN DASH}"
STATES = {  # of `ckptd status`: (as people say it, the sign that goes with it)
    "present": ("here", "good"),
    "touched": ("touched", "note"),
    "partial": ("on its way", "later"),
    "missing": ("missing", "missing"),
    "unlocked": ("not proven yet", "note"),
    "damaged": ("damaged", "bad"),
    "conflict": ("in conflict", "note"),
}
NEW, BUSY = ("not here yet", "later"), ("at work", "later")
TONES = {NEW: "quiet"}
EXPLAINED = {"here", "damaged", "at work"}  # words that need no note


def rows(scene: Scene) -> dict[str, ET.Element]:
    """The rows by their ids: what must not be used first, then in the manifest's order."""
    bad, busy = set(damaged(scene)), {each.name for each in scene.work}
    found = sorted(scene.checkpoints, key=lambda each: each["name"] not in bad)
    return {f"row-{each['name']}": _row(scene, each, each["name"] in bad, each["name"] in busy) for each in found}


def everything(drawn: Mapping[str, ET.Element]) -> ET.Element:
    """The section with these rows."""
    if not drawn:
        return section(NAME, "Checkpoints", e("p", "None yet. ", e("code", "ckptd add URL"), " adds one."))
    field = e("input", type="search", id="find", autocomplete="off", spellcheck="false")
    found = e("p", e("label", "Find", field), cls="find", data_script="", hidden="")
    head = e("tr", *(e("th", each, scope="col", cls=_aligned(each), role="columnheader") for each in HEADINGS))
    head.set("role", "row")
    table = e(
        "table",
        e("caption", plural(len(drawn), "checkpoint"), cls="unseen"),
        e("thead", head, role="rowgroup"),
        e("tbody", *drawn.values(), role="rowgroup"),
        id="checkpoints",
        role="table",
    )
    return section(NAME, "Checkpoints", found if len(drawn) >= SEARCHED else None, table)


def _row(scene: Scene, each: Mapping[str, Any], bad: bool, busy: bool) -> ET.Element:  # noqa: FBT001
    name, trust, size = each["name"], each["trust"], each["size"]
    word, kind = found = _state(each, bad=bad, busy=busy)
    values: tuple[Part, ...] = (
        _name(scene, each, word),
        e("span", sign(kind), word, cls=f"badge {TONES.get(found, tone_of(kind))}"),
        e("span", trust or NONE, title=TRUST.get(trust or "")),
        NONE if size is None else format_size(size),
        _verified(scene.now, each["verified_at"]),
    )
    cells = (
        e("td", e("div", value), data_label=heading, cls="none" if value == NONE else _aligned(heading), role="cell")
        for heading, value in zip(HEADINGS, values, strict=True)
    )
    return e("tr", *cells, id=f"row-{name}", role="row")


def _aligned(heading: str) -> str | None:
    return "number" if heading == "Size" else None


def _state(each: Mapping[str, Any], *, bad: bool, busy: bool) -> tuple[str, str]:
    if bad:
        return STATES["damaged"]
    if busy:
        return BUSY
    if each["state"] == "missing" and each["trust"] is None:
        return NEW
    return STATES.get(each["state"], (each["state"], "note"))


def _name(scene: Scene, each: Mapping[str, Any], word: str) -> ET.Element:
    name = each["name"]
    description, tags = scene.about.get(name, ("", ()))
    shown = [part for tag in tags for part in (e("span", tag, cls="tag"), " ")]
    return e(
        "div",
        e("b", *breakable(name)),
        e("div", description, " " if tags and description else None, *shown, cls="description")
        if description or tags
        else None,
        _path(name, scene.uses.get(name, each["path"])),
        e("div", sentence(each["note"]), cls="aside") if each["note"] and word not in EXPLAINED else None,
        e("div", _failing(each["failures"]), cls="aside") if each["failures"] else None,
        cls="name",
    )


def _path(name: str, path: str | None) -> ET.Element | None:
    if path is None:
        return None
    button = e(
        "button",
        "Copy",
        type="button",
        id=f"copy-{name}",
        data_copy=f"path-{name}",
        aria_label=f"Copy the path of {name}",
        data_script="",
        hidden="",
    )
    return e("div", e("span", *breakable(path), cls="path", id=f"path-{name}"), button, cls="use")


def _failing(count: int) -> str:
    often = f" {count} times in a row" if count > 1 else ""
    return f"It could not be fetched{often}, and is tried again."


def _verified(now: float, at: float | None) -> ET.Element | str:
    if not at:
        return NONE
    exact = moment(at)
    if isinstance(exact, str):
        return exact
    return e("time", ago(now - at), datetime=exact.get("datetime"), title=exact.text)

"""The parts of the page around the table: the verdict, what is wrong, the promise, what runs, what happened last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from xml.etree import ElementTree as ET

from ckptd.core.incidents import Kind
from ckptd.core.picture import Phase, Row, percent, plural, portion
from ckptd.core.report import Tone
from ckptd.core.units import format_duration, format_rate, format_size
from ckptd.front.scene import Scene
from ckptd.ui.elements import Part, breakable
from ckptd.ui.elements import element as e
from ckptd.ui.report_drawing import bar, sign
from ckptd.ui.report_parts import section
from ckptd.ui.report_words import GLOSSARY, ago, moment, period, sentence

SHOWN = 6  # checkpoints at work
LATELY = 15  # events
TERMS = ("Pinned", "Witnessed", "First-use", "Verify", "The promise")
WRONG = {  # kind of incident: (title, what whoever runs the store does about it)
    Kind.DAMAGE: ("Damaged", "ckptd verify --repair {}"),
    Kind.DRIFT: ("Changed upstream", "ckptd drift {}"),
    Kind.PROMISE: ("The promise is broken", "ckptd status"),
    Kind.FAILURE: ("Cannot be fetched", "ckptd sync {}"),
}
_ORDER = {Phase.QUEUED: 2, Phase.WAITING: 1}


def top(scene: Scene, tone: Tone, verdict: str) -> ET.Element:
    """The verdict, and where this is."""
    account = scene.account
    facts: tuple[tuple[str, Part], ...] = (
        ("Store", e("span", *breakable(account["store"]), cls="path")),
        ("Kept", format_size(scene.kept)),
        ("Watched since", moment(account["since"])),
    )
    return e(
        "header",
        e("h1", sign(tone.value), e("span", *breakable(verdict))),
        e("dl", *(e("div", e("dt", name), e("dd", value)) for name, value in facts), cls="facts"),
        id="top",
    )


# --- what is wrong ---------------------------------------------------------------------------------------------------


def wrong(scene: Scene) -> ET.Element:
    """Every incident; an empty place where there is none."""
    found = list(_wrong(scene))
    return section("wrong", "What is wrong", *found) if found else e("div", id="wrong")


def _wrong(scene: Scene) -> Iterator[ET.Element]:
    account = scene.account
    if account["config_error"]:
        todo = e("p", "Correct it, then ", e("code", "systemctl reload ckptd"), ".", cls="aside")
        yield _card("note", "The manifest cannot be read", "", e("p", account["config_error"], cls="told"), todo)
    for each in sorted(account["incidents"], key=lambda each: (each["kind"] != Kind.DAMAGE, -each["since"])):
        title, command = WRONG.get(each["kind"], (str(each["kind"]), "ckptd status"))
        since = e("p", "Since ", moment(each["since"]), ". ", e("code", command.format(each["name"])), cls="aside")
        tone = "bad" if each["kind"] == Kind.DAMAGE else "note"
        yield _card(tone, title, each["name"], e("p", sentence(each["message"]), cls="told"), since)


def _card(tone: str, title: str, name: str, *parts: ET.Element) -> ET.Element:
    badge = e("span", sign(tone), title, cls=f"badge {tone}")
    heading = e("h3", e("span", *breakable(name)), badge) if name else e("h3", badge)
    return e("article", heading, *parts, cls=None if tone == "bad" else "less")


# --- the promise -----------------------------------------------------------------------------------------------------


def promised(scene: Scene) -> ET.Element:
    """The promise: one number, a bar, a sentence."""
    held = scene.account["promise"]
    limit = period(held["max_age"])
    if not scene.kept:
        told = f"No byte will stay unverified for longer than {limit}. There is nothing to verify yet."
        return section("promise", "The promise", e("p", told))
    within = min(scene.kept, round(held["share"] * scene.kept))
    bad = min(scene.kept - within, held["unverified_bytes"])
    parts = [
        ("within", f"verified within {limit}", within),
        ("older", f"not verified for longer than {limit}", scene.kept - within - bad),
        ("unverified", "damaged, missing or never verified", bad),
    ]
    label = "; ".join(f"{format_size(count)} {what}" for _, what, count in parts if count)
    keys = [e("li", e("span", cls=f"key {kind}"), f"{format_size(n)} {what}") for kind, what, n in parts if n]
    share = f"{math.floor(held['share'] * 1000) / 10:g} %"
    kept = e("b", "kept" if held["kept"] else "broken", cls="good" if held["kept"] else "bad")
    oldest = None if held["age"] is None else f" The byte that waits longest was read {ago(held['age'])}."
    return section(
        "promise",
        "The promise",
        e("p", e("strong", share), f" of {format_size(scene.kept)} in time", cls="figure"),
        bar(parts, f"All that is kept: {label}"),
        e("ul", *keys, cls="keys"),
        e("p", f"No byte stays unverified for longer than {limit}: ", kept, ".", oldest),
    )


# --- what runs -------------------------------------------------------------------------------------------------------


def at_work(scene: Scene) -> ET.Element:
    """What is being fetched, what is being verified, and what comes next."""
    work = sorted(scene.work, key=lambda each: (_ORDER.get(each.phase, 0), each.name))
    more = len(work) - SHOWN
    return section(
        "now",
        "Now",
        e("ul", *map(_work, work[:SHOWN]), cls="work") if work else None,
        e("p", f"And {more} more.", cls="aside") if more > 0 else None,
        e("dl", *(part for line in _lines(scene) for part in line), cls="facing"),
    )


def _work(row: Row) -> ET.Element:
    told = [row.text]
    if row.phase.moves:
        told = [portion(row.done, row.size), format_rate(row.rate)]
        told += [] if row.eta is None else [f"{format_duration(row.eta)} left"]
        told += [row.text] if row.text else []
    told += [f"from {row.host}"] if row.host and row.connections else []
    how = e("div", " · ".join(told), cls="how")
    if row.fraction is None:
        return e("li", e("div", e("b", *breakable(row.name)), cls="who"), how)
    share = percent(row.fraction)
    return e(
        "li",
        e("div", e("b", *breakable(row.name)), e("span", share), cls="who"),
        e("progress", share, value=f"{row.fraction:.4f}", max="1", aria_label=row.name),
        how,
    )


def _lines(scene: Scene) -> Iterator[tuple[ET.Element, ET.Element]]:
    scrub = scene.account["scrub"]
    if not scene.work:
        yield e("dt", "Fetching"), e("dd", "nothing")
    if scrub["name"]:
        yield e("dt", "Verifying"), e("dd", e("b", *breakable(scrub["name"])), f" ({scrub['why']})")
    else:
        yield e("dt", "Verifying"), e("dd", scrub["why"], _then(scrub.get("next_in")))
    waits = [each["next_sync_in"] for each in scene.checkpoints if each["next_sync_in"] is not None]
    if waits:
        yield e("dt", "Next look"), e("dd", f"at the origins {_soon(min(waits))}")


def _then(seconds: float | None) -> str:
    return f"; it goes on {_soon(seconds)}" if seconds else ""


def _soon(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"in {plural(int(seconds // size), name)}"
    return "in less than a minute"


# --- what happened, and words ----------------------------------------------------------------------------------------


def lately(scene: Scene) -> ET.Element:
    """What happened last, newest first."""
    told = _once(reversed(scene.account["recent"]))
    shown = [_told(each, scene.now) for each in islice(told, LATELY)]
    if not shown:
        return e("div", id="lately")
    return section("lately", "Lately", e("ul", *shown, cls="lately"))


def _once(told: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Neighbours that say the same of one checkpoint, such as a verdict and the incident that it began, are one."""
    before: tuple[str, str] | None = None
    for each in told:
        said = each["text"].partition(": ")[2]
        if not said or (each["name"], said) != before:
            yield each
        before = each["name"], said


def _told(each: Mapping[str, Any], now: float) -> ET.Element:
    return e("li", _clock(each["at"], now), e("b", *breakable(each["name"])), e("span", each["text"]))


def _clock(at: float, now: float) -> ET.Element:
    """The time of today, or the day and the time."""
    local, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    shown = f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local.day} {local:%b}, {local:%H:%M}"
    return e(
        "time", shown, datetime=datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"), title=f"{local:%c %Z}"
    )


def words() -> ET.Element:
    """What the words of the table mean."""
    meanings = dict(GLOSSARY)
    terms = (e("div", e("dt", term), e("dd", meanings[term])) for term in TERMS)
    return section("words", "The words used here", e("dl", *terms, cls="words"))

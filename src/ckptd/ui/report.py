"""`ckptd verify --report`: one page for people who do not read terminals.

Values in, HTML out. The page is one file that asks for nothing: no script, no font, no picture from elsewhere, and a
Content-Security-Policy that forbids them, so that it can be mailed, printed and opened years later. Whatever was
written by others (descriptions, file names, command lines) is text there and never markup: see `ui.elements`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from ckptd.core.filemap import file_map
from ckptd.core.picture import plural, span
from ckptd.core.report import BAD, MENDED, Entry, Evidence, Page, Step, Tone, headline, steps
from ckptd.core.units import format_size
from ckptd.ui.elements import breakable, document
from ckptd.ui.elements import element as e
from ckptd.ui.report_details import details
from ckptd.ui.report_drawing import bar, sign, strip
from ckptd.ui.report_parts import badge, section, state_of, table, tone_of
from ckptd.ui.report_style import STYLE
from ckptd.ui.report_words import ACTIONS, ALWAYS, GLOSSARY, TRUST, ago, moment, period, sentence, with_code

NAMES = 20  # checkpoints of one verdict that are named at the top
NONE = "\N{EN DASH}"
_ORDER = (*BAD, "unlocked", MENDED, "intact")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"  # CSP level 3


def render(page: Page) -> str:
    """The page as an HTML document."""
    tone, verdict = headline(page)
    head = e(
        "head",
        e("meta", charset="utf-8"),
        e("meta", http_equiv="Content-Security-Policy", content=POLICY),
        e("title", f"{verdict} · {page.host}"),
        e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        e("meta", name="color-scheme", content="light dark"),
        e("meta", name="referrer", content="no-referrer"),
        e("meta", name="robots", content="noindex"),
        e("meta", name="generator", content=f"ckptd {page.version}"),
        e("style", STYLE),
    )
    shown = sorted(page.entries, key=lambda entry: (_rank(entry), entry.outcome.name))
    parts = (_promise(page), _todo(page), *details(shown), _everything(page, shown), _evidence(page), _glossary(page))
    main = e("main", _head(page, shown, tone, verdict), *parts)
    foot = e("footer", e("p", f"Written by ckptd {page.version}. This page is whole: it loads nothing from elsewhere."))
    return document(e("html", head, e("body", main, foot, cls=f"tone-{tone.value}"), lang="en"))


def _rank(entry: Entry) -> int:
    state = entry.outcome.state
    if not entry.read:
        return len(_ORDER)
    return _ORDER.index(state) if state in _ORDER else 0


# --- the top ---------------------------------------------------------------------------------------------------------


def _head(page: Page, entries: Sequence[Entry], tone: Tone, verdict: str) -> ET.Element:
    took = f", in {span(page.seconds)}"
    facts: list[tuple[str, list[ET.Element | str]]] = [
        ("Verified", [moment(page.at), took]),
        ("On", [page.host]),
        ("Store", [e("span", *breakable(page.store), cls="path")]),
        ("By", [f"ckptd {page.version}"]),
    ]
    return e(
        "header",
        e("p", "Checkpoint report", cls="eyebrow"),
        e("h1", sign(tone.value), e("span", *breakable(re.sub(r"(?<=\d) ", "\N{NO-BREAK SPACE}", verdict)))),
        e("dl", *(e("div", e("dt", name), e("dd", *value)) for name, value in facts), cls="facts"),
        _tally(page, entries),
    )


def _tally(page: Page, entries: Sequence[Entry]) -> ET.Element | None:
    """How many have which verdict; those that need attention, or got it, by name."""
    groups: dict[tuple[str, str], list[ET.Element]] = {}
    for number, entry in enumerate(entries, start=1):
        groups.setdefault(state_of(entry), []).append(_link(entry, number))
    items = []
    for (word, kind), links in groups.items():
        what = e("span", sign(kind), e("b", f"{len(links):,}"), f" {word}", cls=f"verdict {tone_of(kind)}")
        names = e("span", *_with_commas(links), cls="names") if kind not in {"good", "later"} else None
        items.append(e("li", what, names, cls="named" if names is not None else None))
    if page.left_out:
        items.append(e("li", e("b", f"{page.left_out:,}"), " more in this store, not asked for", cls="quiet"))
    return e("ul", *items, cls="tally", aria_label="How many checkpoints have which verdict") if items else None


def _link(entry: Entry, number: int) -> ET.Element:
    told = entry.outcome.state in {*BAD, MENDED}
    name = breakable(entry.outcome.name)
    return e("a", *name, href=f"#checkpoint-{number}") if told else e("span", *name)


def _with_commas(links: Sequence[ET.Element]) -> Iterator[ET.Element | str]:
    for index, link in enumerate(links[:NAMES]):
        yield ", " if index else ""
        yield link
    if len(links) > NAMES:
        yield f" and {len(links) - NAMES:,} more"


def _promise(page: Page) -> ET.Element | None:
    if not page.locked_bytes:
        return None
    promise, limit = page.promise, period(page.max_age)
    share = f"{math.floor(promise.share * 1000) / 10:g} %"
    parts = [
        ("within", f"verified within {limit}", page.within_bytes),
        ("older", f"not verified for longer than {limit}", page.older_bytes),
        ("unverified", "damaged, missing or never verified", promise.unverified_bytes),
    ]
    label = "; ".join(f"{format_size(count)} {what}" for _, what, count in parts if count)
    keys = [e("li", e("span", cls=f"key {kind}"), f"{format_size(n)} {what}") for kind, what, n in parts if n]
    kept = "The promise is kept" if promise.kept else "The promise is broken"
    oldest: list[ET.Element | str] = []
    if promise.oldest is not None and promise.age is not None:
        oldest = [" The byte that waits longest was read ", f"{ago(promise.age)}, on ", moment(promise.oldest), "."]
    note = None
    if not page.recorded:
        note = e("p", "We may only read this store, so nobody else is told of this verification.", cls="aside")
    return section(
        "promise",
        "The promise",
        e(
            "div",
            e("p", e("strong", share), f" of {format_size(page.locked_bytes)} in time", cls="figure"),
            e(
                "div",
                bar(parts, f"All that is locked: {label}"),
                e("ul", *keys, cls="keys"),
                e(
                    "p",
                    f"Promised: no byte of this store stays unverified for longer than {limit}. ",
                    e("b", kept, cls="good" if promise.kept else "bad"),
                    ".",
                    *oldest,
                ),
                note,
            ),
            cls="promise",
        ),
    )


def _todo(page: Page) -> ET.Element:
    todo = steps(page)
    if todo:
        hint = e("p", "A click on a command selects all of it.", cls="aside screen")
        commands = any(step.commands for step in todo)
        return section("todo", "What to do", e("ol", *map(_step, todo), cls="steps"), hint if commands else None)
    promise = page.promise
    if promise.oldest is None or not promise.kept or not page.locked_bytes:
        return section("todo", "What to do", e("p", "Nothing."))
    due = moment(promise.oldest + page.max_age)
    return section("todo", "What to do", e("p", "Nothing. To keep the promise, verify again before ", due, "."))


def _step(step: Step) -> ET.Element:
    return e("li", e("p", *with_code(step.text)), *(e("pre", _code(command)) for command in step.commands))


def _code(command: str) -> ET.Element:
    """A command that is broken between words, so that no option is read as two."""
    words = command.split(" ")
    spaced = [part for word in words for part in (" ", e("span", word, cls="word"))]
    return e("code", *spaced[1:])


# --- everything -------------------------------------------------------------------------------------------------------


def _everything(page: Page, entries: Sequence[Entry]) -> ET.Element | None:
    if not entries:
        return None
    rows = [
        (
            ("Checkpoint", _name(entry)),
            ("Verdict", badge(entry)),
            ("Trust", e("span", entry.outcome.trust or NONE, title=TRUST.get(entry.outcome.trust or ""))),
            ("Size", NONE if entry.outcome.size is None else format_size(entry.outcome.size)),
            ("Last verified", _verified(page, entry)),
            ("SHA-256", _digest(entry)),
        )
        for entry in entries
    ]
    calm = all(entry.tone is Tone.GOOD for entry in entries)
    caption = f"{plural(len(entries), 'checkpoint')}{'' if calm else ', what needs attention first'}"
    return section("all", "All checkpoints", table("checkpoints", caption, rows, numbers={"Size"}))


def _name(entry: Entry) -> ET.Element:
    outcome = entry.outcome
    tags = [e("span", tag, cls="tag") for tag in entry.tags]
    told = e("div", entry.description, " " if tags and entry.description else None, *tags, cls="description")
    return e(
        "div",
        e("b", *breakable(outcome.name)),
        told if tags or entry.description else None,
        e("div", *breakable(outcome.path), cls="path") if outcome.path is not None else None,
        _strip(entry),
        *(e("div", "Note: ", sentence(note), cls="aside") for note in outcome.notes),
        cls="name",
    )


def _strip(entry: Entry) -> ET.Element | None:
    """A small map; none where there is no file, or nothing tells which part of it is damaged."""
    outcome = entry.outcome
    if not outcome.size or outcome.state in {"missing", "unlocked"} or (entry.tone is Tone.BAD and not outcome.damage):
        return None
    found = file_map(outcome.size, (outcome.damage or ()) if entry.tone is Tone.BAD else ())
    label = f"{found.damaged:,} of {len(found.cells):,} parts are damaged" if found.damaged else "no part is damaged"
    return strip(found, label)


def _verified(page: Page, entry: Entry) -> ET.Element:
    at, words = entry.verified_at, ""
    if at is None:
        at, words = entry.last_good, "last good "
    if at is None:
        return e("div", "never")
    return e("div", f"{words}{ago(page.at - at)}", e("div", moment(at), cls="when"))


def _digest(entry: Entry) -> ET.Element | str:
    digest = entry.outcome.sha256
    return NONE if digest is None else e("code", digest, cls="digest", title=digest, tabindex=0)


def _evidence(page: Page) -> ET.Element | None:
    if not page.evidence:
        return None
    rows = [
        (
            ("When", moment(each.at)),
            ("Checkpoint", e("b", *breakable(each.name or "unknown"))),
            ("What happened", each.summary or "Its report cannot be read."),
            ("What was done", _action(each)),
            ("Kept", format_size(each.bytes)),
            ("Where", e("span", *breakable(each.path), cls="path")),
        )
        for each in page.evidence
    ]
    return section("evidence", "Evidence", table("quarantine", "Damaged bytes in quarantine, newest first", rows))


def _action(evidence: Evidence) -> str:
    return "not known" if evidence.action is None else ACTIONS[evidence.action]


def _glossary(page: Page) -> ET.Element:
    used = {word for entry in page.entries for word in (state_of(entry)[0], entry.outcome.trust)}
    used |= {"piece"} if any(entry.outcome.damage for entry in page.entries) else set()
    used |= {"quarantine"} if page.evidence or _quarantined(page) else set()
    terms = [
        e("div", e("dt", term), e("dd", meaning))
        for term, meaning in GLOSSARY
        if term in ALWAYS or term.lower() in used
    ]
    return section("words", "The words used here", e("dl", *terms, cls="words"))


def _quarantined(page: Page) -> bool:
    return any(entry.outcome.case is not None and entry.outcome.case.quarantine for entry in page.entries)

"""`ckptd.ui.report`: the page as HTML, read with a parser. What a browser makes of it is in the system tests."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from dom import having, one, parse, text
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.ages import Promise
from ckptd.core.models import PIECE, Case, Damage, Holder, Outcome, Problem, Trust, Usage
from ckptd.core.quarantine import Action
from ckptd.core.report import Entry, Evidence, Page
from ckptd.ui.report import render
from ckptd.ui.report_words import ago, period, sentence

NOW = 1_795_800_000.0
DIGEST = hashlib.sha256(b"").hexdigest()
SIZE = 6 * PIECE + 1000
HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(2)> </title></style><!-- & &lt; \x1b[31m \u202e '
    "https://user:hunter2@example.org/f?X-Amz-Signature=5ecret"
)


def corrupt(say: str = "It differs.", damage: tuple[Damage, ...] | None = None, words: str = "x") -> Entry:
    if damage is None:
        damage = (Damage(PIECE, PIECE, "changed", words), Damage(4 * PIECE, 2 * PIECE, "unreadable", words))
    usage = Usage((Holder(4123, words, words, NOW - 50, words), Holder(77, "ben", "cat", NOW, "mapped")), 2)
    case = Case("changed", say, NOW - 9e5, usage, quarantine=words)
    problem = Problem("integrity", say, "`ckptd verify --repair a` mends it")
    outcome = Outcome(
        "a", "corrupt", SIZE, DIGEST, Trust.WITNESSED, words, error=problem, damage=damage, notes=(words,), case=case
    )
    return Entry(replace(outcome, exit_status=3), words, (words,), last_good=NOW - 9e5)


def other(name: str, state: str, *, read: bool = True) -> Entry:
    bad = state not in {"intact", "repaired"}
    problem = Problem("storage", "it is not there", "run `ckptd sync`") if bad else None
    outcome = Outcome(name, state, SIZE, DIGEST, Trust.FIRST_USE, f"/srv/{name}", error=problem)
    return Entry(outcome, verified_at=None if bad else NOW - 7200, read=read)


def page(*entries: Entry, words: str = "x", share: float = 0.75, recorded: bool = True) -> Page:
    kept = share == 1.0
    return Page(
        at=NOW,
        seconds=61.0,
        host=words,
        store=words,
        manifest="/srv/manifest.toml",
        version="1.2.3",
        entries=entries,
        promise=Promise(NOW - 7200 if kept else None, 7200.0 if kept else None, share, 0 if kept else 250, kept=kept),
        locked_bytes=1000,
        max_age=7 * 86400.0,
        evidence=(Evidence(NOW - 9e6, words, 99, words, words, Action.HELD), Evidence(NOW - 9e7, "/q/2", 1)),
        recorded=recorded,
    )


def everything(words: str = "x") -> Page:
    """A page with one of each."""
    mended = replace(other("m", "repaired"), outcome=replace(corrupt().outcome, name="m", state="repaired", error=None))
    found = [other("i", "intact"), other("d", "intact", read=False), other("l", "missing"), other("n", "unlocked")]
    return page(corrupt(words=words), mended, other("u", "unreadable"), *found, words=words, recorded=False)


def read(shown: Page) -> ET.Element:
    return parse(render(shown))


# --- one document, whole ---------------------------------------------------------------------------------------------


def test_ids_are_unique_and_what_is_referred_to_is_there() -> None:
    root = read(everything())
    ids = [element.get("id", "") for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    wanted = {element.get("aria-labelledby") for element in root.iter()} - {None}
    wanted |= {element.get("href", "").removeprefix("#") for element in root.iter("a")}
    wanted |= set(re.findall(r"url\(#([\w-]+)\)", render(everything())))
    assert len(wanted) > 8
    assert wanted <= set(ids)


def test_nothing_comes_from_elsewhere() -> None:
    html = render(everything())
    root = parse(html)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "input", "base", "video", "audio"}
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on") or name in {"src", "style", "srcset"}]
        assert element.get("href", "#").startswith("#")
    assert not re.findall(r"url\((?!#)|@import|://", html)


def test_the_policy_allows_this_style_and_nothing_else() -> None:
    root = read(everything())
    style = one(root, "style").text or ""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = one(root, "meta", http_equiv="Content-Security-Policy").get("content", "")
    assert [part.split(maxsplit=1) for part in policy.split("; ")] == [
        ["default-src", "'none'"],
        ["style-src", f"'sha256-{digest}'"],
        ["base-uri", "'none'"],
        ["form-action", "'none'"],
    ]
    head = one(root, "head")
    assert [child.tag for child in head][:2] == ["meta", "meta"], "charset and policy come before all else"


def test_headings_go_down_by_one_and_tables_have_captions_and_headings() -> None:
    root = read(everything())
    levels = [int(element.tag[1]) for element in root.iter() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = list(root.iter("table"))
    assert len(tables) >= 4
    for table in tables:
        assert text(one(table, "caption"))
        columns = [text(each) for each in table.iter("th")]
        assert all(each.get("scope") == "col" for each in table.iter("th"))
        for row in one(table, "tbody").iter("tr"):
            assert [cell.get("data-label") for cell in row] == columns


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_good_store() -> None:
    root = read(page(other("i", "intact"), other("j", "intact"), share=1.0))
    assert text(one(root, "h1")) == "All 2 checkpoints are intact."
    summary = one(root, "body").find("main/header/ul")
    assert summary is not None
    assert text(summary) == "2 intact"
    assert "100 %" in text(one(root, "section", id="promise"))
    assert "The promise is kept. The byte that waits longest was read 2 hours ago" in text(
        one(root, "section", id="promise")
    )
    assert text(one(root, "section", id="todo")).startswith("What to doNothing. To keep the promise, verify again")
    assert not list(having(root, "section", id="damage"))


def test_a_damaged_one() -> None:
    root = read(everything())
    assert "tone-bad" in one(root, "body").get("class", "")
    promise = text(one(root, "section", id="promise"))
    assert "75 %" in promise
    assert "250 B damaged, missing or never verified" in promise
    assert "The promise is broken" in promise
    assert "We may only read this store" in promise
    told = text(one(root, "section", id="damage"))
    for each in ("It differs.", "Last known to be good", "4123", "ben", "mapped", "2 processes could not be looked at"):
        assert each in told
    assert "ckptd verify --repair --manifest /srv/manifest.toml a u" in [text(pre) for pre in root.iter("pre")]
    held = text(one(root, "table", id="quarantine"))
    assert "taken away from its place" in held
    assert "Its report cannot be read." in held


def test_verdicts_are_words_with_a_sign() -> None:
    rows = list(one(one(read(everything()), "table", id="checkpoints"), "tbody").iter("tr"))
    told = {text(one(row, "b")): one(row, "span", cls="badge") for row in rows}
    assert {name: text(badge) for name, badge in told.items()} == {
        "a": "damaged",
        "u": "unreadable",
        "l": "missing",
        "n": "never fetched",
        "m": "mended",
        "i": "intact",
        "d": "not due",
    }
    signs = {one(badge, "svg").get("class") for badge in told.values()}
    assert len(signs) == len(told)
    assert [text(one(row, "b")) for row in rows] == ["a", "u", "l", "n", "m", "i", "d"], "worst first"


def test_the_words_that_are_used_are_explained() -> None:
    few = {text(each) for each in read(page(other("i", "intact"), share=1.0)).iter("dt")}
    assert {"Intact", "First-use", "SHA-256"} <= few
    assert not {"Damaged", "Missing", "Pinned", "Piece"} & few
    assert {"Damaged", "Missing", "Mended", "Not due", "Piece", "Witnessed", "Quarantine"} <= {
        text(each) for each in read(everything()).iter("dt")
    }


# --- maps ------------------------------------------------------------------------------------------------------------


def cells(root: ET.Element) -> list[tuple[int, int]]:
    """The damaged cells of the first map, as bytes."""
    figure = next(root.iter("figure"))
    marked = [each for each in having(figure, "g", cls="cell") if "data-start" in each.attrib]
    return [(int(each.get("data-start", "")), int(each.get("data-end", ""))) for each in marked]


def test_the_damaged_cells_are_the_damaged_pieces() -> None:
    root = read(page(corrupt()))
    assert [start // PIECE for start, _ in cells(root)] == [1, 4, 5]
    svg = next(next(root.iter("figure")).iter("svg"))
    good = next(having(svg, "path", cls="intact"))
    assert (good.get("d") or "").count("M") == 7 - 3
    assert svg.get("aria-label") == "3 of 7 parts of the file are damaged"
    titles = [text(one(each, "title")) for each in having(svg, "g", cls="cell")]
    assert titles[0] == f"Bytes {PIECE:,} to {2 * PIECE - 1:,}: changed (x)"
    assert [each.get("class") for each in having(svg, "g")] == ["cell changed", "cell unreadable", "cell unreadable"]


def test_the_shapes_are_explained() -> None:
    damage = (Damage(0, PIECE, "zeros"), Damage(2 * PIECE, PIECE, "unreadable"), Damage(5 * PIECE, PIECE, "truncated"))
    figure = next(read(page(corrupt(damage=damage))).iter("figure"))
    assert [text(each) for each in figure.iter("li")] == [
        "as it should be",
        "damaged",
        "cannot be read",
        "no longer there",
    ]


def test_no_map_of_what_is_not_known() -> None:
    unknown = replace(corrupt(), outcome=replace(corrupt().outcome, damage=None))
    root = read(page(unknown, other("l", "missing")))
    assert not list(root.iter("figure"))
    assert "Which part of it is damaged cannot be told." in text(one(root, "section", id="damage"))


def test_a_long_list_is_cut_and_the_map_is_not() -> None:
    damage = tuple(Damage(2 * n * PIECE, PIECE, "changed") for n in range(100))
    entry = replace(corrupt(), outcome=replace(corrupt().outcome, size=200 * PIECE, damage=damage))
    root = read(page(entry))
    assert len(cells(root)) == 100
    assert len(list(one(one(root, "table", id="ranges-1"), "tbody").iter("tr"))) == 50
    assert "And 50 more damaged ranges" in text(one(root, "section", id="damage"))


# --- text that others wrote ------------------------------------------------------------------------------------------


def shape(root: ET.Element) -> list[tuple[str, tuple[str, ...]]]:
    """Its elements, but for places where a long name may be broken."""
    return [(element.tag, tuple(sorted(element.attrib))) for element in root.iter() if element.tag != "wbr"]


def test_hostile_text_is_text() -> None:
    html = render(everything(HOSTILE))
    root = parse(html)
    assert shape(root) == plain()
    assert "<script>alert(1)</script>" in text(one(root, "table", id="checkpoints"))
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_secrets_in_text_are_not_shown() -> None:
    html = render(everything(HOSTILE))
    assert "hunter2" not in html
    assert "5ecret" not in html
    assert "https://example.org/f?..." in html


@cache
def plain() -> list[tuple[str, tuple[str, ...]]]:
    return shape(read(everything()))


written = st.text(st.characters(exclude_characters="`"), min_size=1).filter(lambda found: bool(found.strip()))


@settings(max_examples=60, deadline=None)
@given(written)
def test_no_text_becomes_markup(words: str) -> None:
    html = render(everything(words))
    assert shape(parse(html)) == plain()
    html.encode()


times = st.floats() | st.sampled_from([0.0, -1.0, 1e18, math.inf, math.nan])


@settings(max_examples=60, deadline=None)
@given(
    times, times, st.integers(0, 2**62), st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 2**62)), max_size=4)
)
def test_no_value_breaks_the_page(at: float, good: float, size: int, ranges: list[tuple[int, int]]) -> None:
    entry = corrupt(damage=tuple(Damage(offset, length, "changed") for offset, length in ranges))
    entry = replace(entry, outcome=replace(entry.outcome, size=size), last_good=good, verified_at=at)
    case = replace(entry.outcome.case or Case("x", "y"), usage=Usage((Holder(1, "a", "b", at, "open"),)))
    entry = replace(entry, outcome=replace(entry.outcome, case=case))
    shown = replace(page(entry), evidence=(Evidence(at, "/q", size),))
    assert one(read(shown), "h1").get("id") is None


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (ago, -5.0, "just now"),
        (ago, 59.0, "just now"),
        (ago, 60.0, "1 minute ago"),
        (ago, 7199.0, "1 hour ago"),
        (ago, 86400.0 * 400, "400 days ago"),
        (period, 7 * 86400.0, "7 days"),
        (period, 36 * 3600.0, "36 hours"),
        (period, 5400.0, "90 minutes"),
        (period, 1.0, "1 second"),
    ],
)
def test_spans_of_time(function: Callable[[float], str], value: float, expected: str) -> None:
    assert function(value) == expected


def test_sentences() -> None:
    assert [sentence(each) for each in ("it is gone", "It is gone.", "", "why?")] == [
        "It is gone.",
        "It is gone.",
        "",
        "Why?",
    ]

"""`ckptd.front.page`: what colleagues read, and how an open page is kept up to date."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from dom import having, one, parse, text
from hypothesis import given
from hypothesis import strategies as st
from stage import NOW, account, checkpoint, incident, told

from ckptd.core.picture import Phase, Row
from ckptd.front.page import POLICY, SCRIPT, STYLES, Frame, Reader, document, frame
from ckptd.front.scene import Scene, headline

HOSTILE = "<script>alert(1)</script><b onclick='x()'>\"&amp;\u202egnp.exe</b>"
SIGNED = "https://bucket.example.org/a.bin?X-Goog-Signature=geheim"


def scene(
    found: dict[str, Any] | None = None,
    *,
    work: Sequence[Row] = (),
    uses: dict[str, str] | None = None,
    about: Mapping[str, tuple[str, tuple[str, ...]]] | None = None,
    kept: int = 1_000_000,
) -> Scene:
    return Scene(found or account(checkpoint("a")), tuple(work), uses or {}, about or {}, kept, "server1")


def page(shown: Scene) -> ET.Element:
    return parse(document(frame(shown)))


def row(name: str, phase: Phase = Phase.DOWNLOADING, **changes: Any) -> Row:
    values = {
        "fraction": 0.25,
        "done": 250_000,
        "size": 1_000_000,
        "rate": 50_000.0,
        "eta": 15.0,
        "connections": 2,
        "host": "example.org",
        "text": "2 connections",
        "state": "",
        "elapsed": 5.0,
    }
    return Row(name=name, phase=phase, **{**values, **changes})


# --- what it says ----------------------------------------------------------------------------------------------------

A, B, LOST = checkpoint("a"), checkpoint("b"), checkpoint("c", state="missing", trust=None, verified_at=None, path=None)


ALL = "All 2 checkpoints are here;"


@pytest.mark.parametrize(
    ("found", "tone", "says"),
    [
        (account(A, B), "good", "All 2 checkpoints are here and verified."),
        (account(A), "good", "a is here and verified."),
        (account(), "note", "The manifest names no checkpoints yet."),
        (account(A, B, LOST), "note", "2 of 3 checkpoints are here."),
        (account(LOST), "note", "c is not here yet."),
        (account(checkpoint("a", state="damaged"), LOST), "bad", "a is damaged."),
        (account(A, B, incidents=[incident("damage", "b"), incident("drift", "a")]), "bad", "b is damaged."),
        (
            account(checkpoint("a", state="damaged"), B, incidents=[incident("damage", "b")]),
            "bad",
            "2 checkpoints are damaged.",
        ),
        (account(A, config_error="line 1"), "note", "The manifest cannot be read; the one before it is in force."),
        (
            account(A, B, incidents=[incident("drift", "b")]),
            "note",
            "All 2 checkpoints are here; b has changed upstream.",
        ),
        (account(A, promise={"kept": False}), "note", "a is here; not every byte was verified in time."),
        (account(A, incidents=[incident("failure", "a")]), "note", "a is here; something else is wrong."),
        (account(checkpoint("a", state="touched")), "good", "a is here and verified."),
    ],
)
def test_all_of_it_in_a_sentence(found: dict[str, Any], tone: str, says: str) -> None:
    assert headline(scene(found)) == (tone, says)
    shown = page(scene(found))
    assert one(shown, "body").get("class") == f"tone-{tone}"
    assert text(one(shown, "h1")) == says
    assert text(one(one(shown, "head"), "title")) == f"{says.rstrip('.')} · server1"


def test_a_checkpoint_with_its_trust_age_and_path() -> None:
    found = account(checkpoint("resnet50", trust="pinned", size=204_000_000), LOST)
    about = {"resnet50": ("Simple training strategy", ("imagenet1k", "simple"))}
    shown = page(scene(found, about=about))
    good, lost = (one(shown, "tr", id=f"row-{name}") for name in ("resnet50", "c"))
    says = text(good)
    for each in ("resnet50", "Simple training strategy", "imagenet1k", "pinned", "204 MB", "2 days ago", "here"):
        assert each in says
    assert text(one(good, "span", id="path-resnet50")) == "/store/resnet50/resnet50.tar.gz"
    button = one(good, "button", data_copy="path-resnet50")
    assert button.get("hidden") is not None  # until there is a script
    assert button.get("aria-label") == "Copy the path of resnet50"
    assert "not here yet" in text(lost)
    assert not list(having(lost, "button"))


def test_the_path_of_what_is_unpacked() -> None:
    shown = page(scene(account(A), uses={"a": "/store/a/tree/model.ckpt"}))
    assert text(one(shown, "span", id="path-a")) == "/store/a/tree/model.ckpt"


@pytest.mark.parametrize(
    ("changes", "says", "never"),
    [
        ({"state": "damaged", "note": "read as damaged"}, "damaged", "read as"),
        ({"state": "touched", "note": "its times have changed"}, "Its times have changed.", "here"),
        ({"state": "partial", "note": "1 MB of 3 MB are here"}, "on its way", "damaged"),
        ({"failures": 3}, "could not be fetched 3 times in a row", "1 time"),
        ({"failures": 1}, "could not be fetched, and is tried again", "times"),
        ({"state": "new one", "note": "of a later version"}, "new one", "here"),
        ({"verified_at": None}, "\N{EN DASH}", "ago"),
        ({"verified_at": NOW - 3}, "just now", "ago"),
    ],
)
def test_states(changes: dict[str, Any], says: str, never: str) -> None:
    said = text(one(page(scene(account(checkpoint("a", **changes)))), "tr", id="row-a"))
    assert says in said
    assert never not in said


def test_what_is_damaged_comes_first_and_what_runs_says_so() -> None:
    found = account(A, B, checkpoint("c", state="partial"), incidents=[incident("damage", "b")])
    shown = page(scene(found, work=[row("c")]))
    order = [each.get("id") for each in having(one(shown, "tbody"), "tr")]
    assert order == ["row-b", "row-a", "row-c"]
    assert "at work" in text(one(shown, "tr", id="row-c"))


def test_what_is_wrong_and_what_to_do_about_it() -> None:
    wrong = [incident("drift", "a", "it has another sha256"), incident("damage", "b", "one flipped bit")]
    shown = one(page(scene(account(A, B, incidents=wrong, config_error="line 3: no such key"))), "section", id="wrong")
    first, second, third = having(shown, "article")
    assert "line 3: no such key" in text(first)
    assert "One flipped bit." in text(second)
    assert text(one(second, "code")) == "ckptd verify --repair b"
    assert "It has another sha256." in text(third)
    assert not list(having(page(scene()), "article"))


@pytest.mark.parametrize(
    ("promise", "kept", "says", "bars"),
    [
        ({}, 1_000_000, ("100 %", "kept", "2 days ago"), ["within"]),
        ({"share": 0.99999, "kept": False}, 10**12, ("99.9 %", "broken"), ["within", "older"]),
        (
            {"share": 0.5, "kept": False, "age": None, "unverified_bytes": 250_000},
            1_000_000,
            ("50 %", "broken", "250 kB damaged"),
            ["within", "older", "unverified"],
        ),
        ({"share": 0.5, "kept": False, "unverified_bytes": 10**9}, 1_000, ("50 %",), ["within", "unverified"]),
        ({}, 0, ("There is nothing to verify yet.",), []),
    ],
)
def test_the_promise_as_a_number_and_a_bar(
    promise: dict[str, Any], kept: int, says: tuple[str, ...], bars: list[str]
) -> None:
    shown = one(page(scene(account(A, promise=promise), kept=kept)), "section", id="promise")
    assert all(each in text(shown) for each in says), text(shown)
    drawn = [each.get("class") for each in having(shown, "rect") if each.get("class") != "texture"]
    assert drawn == bars


def test_what_runs_now() -> None:
    work = [
        row("a"),
        row("b", Phase.HASHING, text="hashing 40 %", connections=0),
        row("c", Phase.QUEUED, fraction=None, text="queued: new", size=None),
        *(row(f"x{number}") for number in range(9)),
    ]
    shown = one(page(scene(account(scrub={"name": "z", "why": "oldest first"}), work=work)), "section", id="now")
    says = text(shown)
    assert "0.2 of 1 MB · 50 kB/s · 15s left · 2 connections · from example.org" in says
    assert "hashing 40 %" in says
    assert "And 6 more." in says
    assert "z (oldest first)" in says
    bars = list(having(shown, "progress"))
    assert bars[0].get("value") == "0.2500"
    assert bars[0].get("aria-label") == "a"
    idle = text(one(page(scene()), "section", id="now"))
    assert "nothing is older than 3d 12h; it goes on in 1 day" in idle
    assert "at the origins in 1 hour" in idle


def test_what_happened_last_is_newest_first_and_said_once() -> None:
    recent = [
        told("a", "fetched", 90_000),
        told("b", "corrupt: one flipped bit"),
        told("b", "damage: one flipped bit"),
        told("b", "fetched"),
        told("c", "fetched", 5),
    ]
    shown = one(page(scene(account(A, recent=recent))), "section", id="lately")
    items = [[text(part) for part in each] for each in having(shown, "li")]
    assert [each[1:] for each in items] == [
        ["c", "fetched"],
        ["b", "fetched"],
        ["b", "damage: one flipped bit"],
        ["a", "fetched"],
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", items[0][0])
    assert re.fullmatch(r"\d+ [A-Z][a-z]{2}, \d\d:\d\d", items[-1][0])  # of another day


# --- what it never does ----------------------------------------------------------------------------------------------


def hostile() -> Scene:
    """Whatever others can write, wherever it can stand."""
    found = account(
        checkpoint("a", note=HOSTILE, path=f"/store/{HOSTILE}", state=HOSTILE),
        store=f"/{HOSTILE}",
        config_error=HOSTILE,
        incidents=[incident("damage", "a", HOSTILE), incident(HOSTILE, HOSTILE, HOSTILE)],
        recent=[told(HOSTILE, HOSTILE), told("b", f"failed: {SIGNED}")],
        scrub={"name": HOSTILE, "why": HOSTILE},
    )
    work = [row(HOSTILE, host=HOSTILE, text=HOSTILE)]
    return scene(found, work=work, uses={"a": HOSTILE}, about={"a": (HOSTILE, (HOSTILE,))})


def test_what_others_wrote_is_text() -> None:
    drawn = frame(hostile())
    shown = parse(document(drawn))
    assert [each.text for each in having(shown, "script")] == [SCRIPT]
    assert not [each for each in shown.iter() for key in each.attrib if key.startswith("on")]
    assert "\u202e" not in document(drawn)
    assert text(shown).count("alert(1)") > 10  # it can still be read
    for part in (*drawn.parts.values(), *drawn.rows.values(), drawn.table):
        assert not list(parse(part).iter("script"))  # nor may it become markup when it is put in later


def test_no_secrets() -> None:
    found = account(
        checkpoint("a", note=f"cannot fetch {SIGNED}"),
        incidents=[incident("failure", "a", f"{SIGNED} answered 403")],
        recent=[told("a", f"failed: {SIGNED}")],
    )
    drawn = frame(scene(found, about={"a": (f"from {SIGNED}", ())}))
    assert "geheim" not in document(drawn) + Reader("").news(drawn)


def test_it_asks_for_nothing_from_elsewhere() -> None:
    shown = page(hostile())
    links = [each.get(key, "") for each in shown.iter() for key in ("src", "href") if key in each.attrib]
    assert links
    assert all(re.match(r"(data:|#|[a-z.]+$)", each) for each in links), links
    for style in (STYLES, SCRIPT):
        assert "//" not in re.sub(r"(?m)^\s*//.*$|\s// .*$|/\*.*?\*/", "", style)


def test_the_policy_names_just_this_style_and_this_script() -> None:
    html = document(frame(scene()))
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert not re.search(r'\sstyle="', html)  # the policy forbids those


# --- open pages ------------------------------------------------------------------------------------------------------


class Browser:
    """What the script makes of the news."""

    def __init__(self, shown: Frame) -> None:
        self.version, self.title, self.tone = shown.version, shown.title, shown.tone
        self.parts, self.rows = dict(shown.parts), dict(shown.rows)

    def take(self, news: str) -> None:
        if not news:
            return
        number, data = re.fullmatch(r"id: (\w+)\ndata: (.*)\n\n", news).groups()  # type: ignore[union-attr]
        told = json.loads(data)
        self.version, self.title, self.tone = number, told["title"], told["tone"]
        for key, html in told["parts"].items():
            if key == "all":
                self.rows = {found[1]: found[0] for found in re.finditer(r'<tr id="(row-[^"]+)".*?</tr>', html)}
            elif key.startswith("row-"):
                assert key in self.rows  # it can only replace what is there
                self.rows[key] = html
            else:
                assert key in self.parts
                self.parts[key] = html

    def shows(self, shown: Frame) -> bool:
        return (self.version, self.title, self.tone, self.parts, list(self.rows), list(self.rows.values())) == (
            shown.version,
            shown.title,
            shown.tone,
            dict(shown.parts),
            list(shown.rows),
            list(shown.rows.values()),
        )


scenes = st.builds(
    lambda names, states, share, work: scene(
        account(
            *(checkpoint(name, state=states[index % len(states)]) for index, name in enumerate(names)),
            promise={"share": share},
        ),
        work=[row(name) for name in work],
    ),
    st.lists(st.sampled_from("abcd"), unique=True, max_size=3),
    st.lists(st.sampled_from(["present", "missing", "damaged"]), min_size=1, max_size=3),
    st.sampled_from([0.5, 1.0]),
    st.lists(st.sampled_from("ab"), unique=True, max_size=2),
)


@given(st.lists(scenes, min_size=1, max_size=6), st.booleans())
def test_a_page_that_is_kept_up_to_date_is_as_a_new_one(story: list[Scene], known: bool) -> None:
    frames = [frame(each) for each in story]
    browser = Browser(frames[0])
    reader = Reader(frames[0].version if known else "")
    for shown in frames:
        browser.take(reader.news(shown))
        assert browser.shows(shown)
        assert not reader.news(shown)  # nothing is said twice


def test_only_what_has_changed_is_told() -> None:
    def parts(reader: Reader, *checkpoints: dict[str, Any]) -> set[str]:
        news = reader.news(frame(scene(account(*checkpoints))))
        return set(json.loads(news.partition("data: ")[2])["parts"]) if news else set()

    around = {"top", "wrong", "promise", "now", "lately"}
    reader = Reader(frame(scene(account(A, B))).version)
    assert parts(reader, A, B) == around  # the table came with the page
    assert parts(reader, A, B) == set()
    assert parts(reader, A, checkpoint("b", failures=2)) == {"row-b"}
    assert parts(reader, A, checkpoint("b", state="damaged")) == {"top", "all"}  # another order
    assert parts(Reader("of yesterday"), A, B) == {*around, "all"}

"""`ckptd.ui.watch`, `watch_frame`, `account`, `terminal` and `watch_lines`, looked at on an emulated terminal."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from screens import ALTERNATE, HIDDEN, ORDINARY, SHOWN, Terminal

from ckptd.core.events import Connections, Event, Finished, Noted, Queued, Received, Started
from ckptd.ui.account import read_account
from ckptd.ui.frame import ASCII, UNICODE
from ckptd.ui.terminal import Fullscreen, Page
from ckptd.ui.text import cells
from ckptd.ui.watch import Watch
from ckptd.ui.watch_frame import wrap
from ckptd.ui.watch_layout import share
from ckptd.ui.watch_lines import WatchLines

MB = 1_000_000
DAY = 86400.0
NOW = 1_795_356_131.0
LONG = "axial_swidernet_1_1_4.5_imagenet1k_strong_training_strategy"
SIZES = [(80, 24), (120, 40), (40, 10)]
QUITS = "q quits; the daemon goes on with its work"
DAMAGE = (
    "All damage is in one block of 64 KiB at byte 4980736. A program wrote to it since it was last good "
    "(2026-11-22 18:07:49 UTC): its modification time is now 2026-11-22 18:09:19 UTC."
)


def account(count: int = 14, **more: Any) -> dict[str, Any]:
    """What a daemon with so many checkpoints says of itself, all being well."""
    return {
        "version": "0.1.0",
        "pid": 812,
        "since": NOW - 3 * DAY - 7200,
        "now": NOW,
        "store": "/srv/checkpoints",
        "config_error": "",
        "promise": {
            "max_age": 7 * DAY,
            "kept": True,
            "oldest_verified_at": NOW - 2 * DAY - 3 * 3600,
            "share": 1.0,
            "unverified_bytes": 0,
        },
        "scrub": {"name": "", "why": "nothing is older than 3d 12h", "next_in": 1.3 * DAY},
        "active": [],
        "checkpoints": [
            {"name": f"{number:03}_{LONG}", "state": "present", "size": 200 * MB, "next_sync_in": 7800.0 + number}
            for number in range(count)
        ],
        "incidents": [],
        "recent": [{"at": NOW - 60 * number, "name": LONG, "text": f"told {number}"} for number in range(1, 51)],
        **more,
    }


def damage(message: str = DAMAGE, name: str = f"000_{LONG}") -> dict[str, Any]:
    return {"kind": "damage", "name": name, "message": message, "since": NOW - 180}


def at_work(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "size": 200 * MB, "done": 0, "connections": 0, "host": ""} for name in names]


class Bench:
    """A watch on a terminal, with a clock that stands still unless it is told to go on."""

    def __init__(self, width: int, height: int, *, quits: str = QUITS) -> None:
        self.now = 0.0
        self.watch = Watch(lambda: self.now, quits)
        self.terminal = Terminal(width, height)
        self.console = Console(
            file=self.terminal, width=width, height=height, force_terminal=True, color_system="standard", _environ={}
        )
        self.screen = Fullscreen(self.console)

    def feed(self, *events: Event) -> None:
        for event in events:
            self.watch.event(event)

    def look(self) -> list[str]:
        self.screen.paint(self.watch.frame(*self.console.size, UNICODE))
        return self.terminal.lines

    def shown(self) -> list[str]:
        """The lines that have something on them."""
        return [line for line in self.look() if line]


def swing(bench: Bench, count: int) -> None:
    """Work in full swing: one failed, one downloading, one waiting to be told, the rest queued."""
    names = [f"{number:03}_{LONG}" for number in range(count)]
    bench.watch.standing(account(count, active=at_work(*names[1:]), incidents=[damage()]))
    bench.feed(*(Queued(name, 200 * MB, "new") for name in names))
    bench.now += 1
    bench.feed(Started(names[0], 200 * MB), Finished(names[0], "failed", error="HTTP 404 Not Found"))
    bench.feed(Started(names[1], 200 * MB), Connections(names[1], 4, "storage.googleapis.com"))
    bench.feed(Received(names[1], 50 * MB))


# --- what is shown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("count", [3, 14, 500])
def test_a_daemon_at_work(size: tuple[int, int], count: int) -> None:
    """No line wraps, what is wrong stands first, every checkpoint at work is shown or counted."""
    bench = Bench(*size)
    swing(bench, count)
    lines = bench.look()
    assert lines[0].startswith("ckptd watch")
    assert lines[0].endswith("pid 812, up 3d 2h")
    first = lines[2] if lines[1].startswith("── 1 incident ──") else lines[1]
    assert first.startswith("✗ damage 000_")
    assert any(line.startswith("promise ") and "2d 3h" in line for line in lines)
    assert lines[-1].startswith("q quits")
    rows = [line for line in lines if re.match(r"[✗↓·] \d\d\d_", line)]
    folded = [line for line in lines if re.match(r"… \d+ more: ", line)]
    hidden = int(folded[0].split()[1]) if folded else 0
    assert len(rows) + hidden == count
    assert any(re.match(rf"0 of {count} · ", line) for line in lines)


def test_at_eighty_columns_everything_is_told() -> None:
    bench = Bench(80, 24)
    swing(bench, 3)
    text = "\n".join(bench.look())
    assert "ckptd watch  /srv/checkpoints                   daemon 0.1.0, pid 812, up 3d 2h" in text
    assert "oldest byte verified 2d 3h ago of 7d, 100 % in time" in text
    assert "scrub    nothing is older than 3d 12h" in text
    assert re.search(r"next     sync in 2h 09m \(000_\S+\) · scrub in 1d 7h\n", text)
    assert "store    3 checkpoints, 600 MB: 3 present" in text
    assert re.search(r"── 1 at work, 1 queued ─{20,}\n", text)
    assert re.search(r"↓ 001_axial_swidernet_1_1…trategy ━━─{6}  25 %  200 MB +\S+ MB/s +\S+s  4x", text)
    assert re.search(r"✗ 000_axial\S+ +failed: HTTP 404", text)
    assert re.search(r"\d\d:\d\d:\d\d axial\S+ +told 1\n", text)
    assert "18:09:19 UTC." in text, "the whole message where there is room"


def test_a_store_with_nothing_in_it() -> None:
    bench = Bench(80, 24)
    empty = {"max_age": 7 * DAY, "kept": True, "oldest_verified_at": None, "share": 1.0, "unverified_bytes": 0}
    scrub = {"name": "", "why": "there is nothing to verify", "next_in": None}
    bench.watch.standing(account(0, promise=empty, scrub=scrub, recent=[]))
    assert bench.shown()[1:] == [
        "promise  nothing is kept yet",
        "scrub    there is nothing to verify",
        "next     nothing",
        "store    0 checkpoints",
        QUITS,
    ]


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        ({}, "oldest byte verified 2d 3h ago of 7d, 100 % in time"),
        ({"kept": False, "share": 0.9876}, "broken: oldest byte verified 2d 3h ago of 7d, 98.7 % in time"),
        (
            {"kept": False, "oldest_verified_at": None, "unverified_bytes": 8 * MB, "share": 0.5},
            "broken: 8 MB damaged or never read, 50 % in time",
        ),
    ],
    ids=["kept", "late", "damaged"],
)
def test_the_promise_is_one_number(promise: dict[str, Any], words: str) -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(promise={**account()["promise"], **promise}))
    (line,) = [line for line in bench.look() if line.startswith("promise")]
    assert line.endswith(words)


@pytest.mark.parametrize(
    ("scrub", "words"),
    [
        ({"name": "resnet50", "why": "oldest first"}, "reading resnet50: oldest first"),
        ({"why": "outside the window 22:00-06:00", "next_in": 3600.0}, "outside the window 22:00-06:00"),
        (
            {"name": "a", "why": "2 GB of 3 GB in 7d will be late even at full speed", "urgent": True, "shortfall": 2},
            "reading a: 2 GB of 3 GB in 7d will be late even at full speed",
        ),
    ],
    ids=["reads", "rests", "is late"],
)
def test_the_scrub_says_what_it_is_at(scrub: dict[str, Any], words: str) -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(scrub=scrub))
    assert f"scrub    {words}" in bench.look()


def test_a_manifest_that_is_refused_is_told_first() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(config_error="line 3: unknown key `nmae`", incidents=[damage()]))
    lines = bench.look()
    assert lines[1].startswith("── 2 incidents ─")
    assert lines[2] == "✗ manifest: line 3: unknown key `nmae`"


def test_the_latest_incident_stands_above_older_ones() -> None:
    bench = Bench(80, 24)
    told = (("old", 9.0), ("new", 1.0))
    bench.watch.standing(account(incidents=[{**damage("x", name), "since": NOW - ago} for name, ago in told]))
    assert [line.split()[2] for line in bench.look() if line.startswith("✗")] == ["new:", "old:"]


def test_many_incidents_leave_room_for_the_rest() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(incidents=[damage(name=f"c{number}") for number in range(40)]))
    lines = bench.look()
    shown = [line for line in lines if line.startswith("✗ damage ")]
    assert f"… {40 - len(shown)} more" in lines
    assert "── recent" in "\n".join(lines)
    assert lines[1].startswith("── 40 incidents ─")


def test_time_goes_on_between_two_words_of_the_daemon() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account())
    bench.now += 120
    text = "\n".join(bench.look())
    assert "sync in 2h 08m" in text
    assert "no word for 2m" in text, "a daemon that is stuck is noticed"


def test_what_its_daemon_leaves_out_is_as_it_was() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(14))
    later = account(now=NOW + 60)
    del later["checkpoints"]
    bench.now += 60
    bench.watch.standing(later)
    text = "\n".join(bench.look())
    assert "14 checkpoints, 2.8 GB: 14 present" in text
    assert "sync in 2h 09m" in text


# --- the work ----------------------------------------------------------------------------------------------------


def test_a_look_at_the_origin_that_brings_nothing_is_no_work() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account())
    bench.feed(Queued("a", 10, ""), Finished("a", "present"), Finished("b", "intact"), Noted("manifest", "read again"))
    bench.now += 1
    assert not [line for line in bench.look() if line.startswith(("✓", "·"))]


def test_what_was_done_stays_for_a_moment() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account())
    bench.feed(Started("a", 10), Finished("a", "fetched", size=10))
    assert any(line.startswith("✓ a ") for line in bench.look())
    bench.now += 60
    assert not any(line.startswith("✓ a ") for line in bench.look())


def test_a_row_whose_end_was_not_told_vanishes() -> None:
    bench = Bench(80, 24)
    bench.watch.standing(account(active=at_work("a")))
    bench.feed(Started("a", 10))
    bench.watch.standing(account())
    assert any(line.startswith("• a ") for line in bench.look()), "its end may be on its way"
    bench.watch.standing(account())
    bench.look()
    bench.now += 60
    assert not any(" a " in line for line in bench.look())


# --- the daemon comes and goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_a_daemon_that_went_away_and_came_back(size: tuple[int, int]) -> None:
    bench = Bench(*size)
    swing(bench, 14)
    bench.now += 1
    bench.watch.away("nobody answers")
    bench.now += 11
    lines = bench.look()
    assert "no daemon" in lines[0]
    assert lines[1].startswith("waiting for the daemon: nobody answer")
    assert not any(line.startswith("↓") for line in lines)
    assert [bench.watch.attached] == [False]
    bench.watch.standing(account(pid=900, since=NOW + 12, now=NOW + 13, recent=[]))
    text = "\n".join(bench.look())
    assert "pid 900, up 1s" in text
    assert "waiting" not in text
    assert [bench.watch.attached] == [True]
    if size[0] > 40:
        assert re.search(r" ckptd +the daemon is back, pid 900\n.* ckptd +the daemon went away, pid 812\n", text)
        assert "told 1" in text, "what happened before is still known"


def test_no_daemon_yet() -> None:
    bench = Bench(80, 24)
    bench.watch.away("nobody answers")
    assert bench.shown() == [
        "ckptd watch" + "no daemon for 0s".rjust(68),
        "waiting for the daemon: nobody answers",
        QUITS,
    ]


# --- manners -----------------------------------------------------------------------------------------------------


def test_outside_text_is_shown_literally_and_harmless() -> None:
    evil = "[bold]x[/bold] \x1b[2J\x1b]0;title\x07\r\nnext \u202eline"
    bench = Bench(120, 40)
    bench.watch.standing(
        account(
            config_error=evil,
            store=evil,
            incidents=[damage(evil, evil)],
            recent=[{"at": NOW, "name": evil, "text": evil}],
            scrub={"name": evil, "why": evil},
        )
    )
    bench.look()
    assert "[bold]x[/bold] ?[2J?]0;title? next ?line" in "\n".join(bench.terminal.lines)
    written = bench.terminal.getvalue()
    assert "\x1b]0" not in written
    assert written.count("\x1b[2J") == 1, "the one of the first frame"


def test_no_color_means_no_colour() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    for file, environ in ((plain, {"NO_COLOR": "1"}), (coloured, {})):
        console = Console(file=file, width=80, height=24, force_terminal=True, _environ={"TERM": "xterm", **environ})
        watch = Watch(lambda: 0.0, QUITS)
        watch.standing(account(incidents=[damage()]))
        Fullscreen(console).paint(watch.frame(80, 24, UNICODE))
    colour = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;[0-9;]+)m")
    assert colour.search(coloured.getvalue())
    assert not colour.search(plain.getvalue())
    assert "✗ damage" in plain.getvalue()


def test_without_utf8_it_draws_in_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")  # strict: anything else raises
    console = Console(file=file, width=80, height=40, force_terminal=True, color_system=None, _environ={})
    watch = Watch(lambda: 0.0, QUITS)
    watch.standing(account(incidents=[damage("über 漢字")], store="/srv/größe", scrub={"why": "—"}))
    watch.event(Started("a", 10))
    screen = Fullscreen(console)
    assert screen.ascii_only
    screen.paint(watch.frame(80, 40, ASCII))
    text = raw.getvalue().decode("ascii")
    assert "x damage 000_axial_swidernet_...egy: ?ber ??" in text
    assert "-- 1 incident ---" in text
    assert "/srv/gr??e" in text


def test_resized_it_is_laid_out_anew() -> None:
    bench = Bench(120, 40)
    swing(bench, 14)
    bench.look()
    bench.terminal.screens.resize(40, 10)
    bench.console.size = (40, 10)
    small = bench.look()
    fresh = Bench(40, 10)
    swing(fresh, 14)
    assert small == fresh.look()


def test_only_what_changed_is_written() -> None:
    bench = Bench(80, 24)
    swing(bench, 14)
    bench.look()
    size = len(bench.terminal.getvalue())
    bench.look()
    assert len(bench.terminal.getvalue()) == size, "nothing has changed"
    bench.feed(Received(f"001_{LONG}", 10 * MB))
    bench.look()
    written = bench.terminal.getvalue()[size:]
    assert 0 < written.count("\x1b[0K") <= 3, "its row, and the sum"


def test_lines_that_are_gone_are_erased() -> None:
    bench = Bench(80, 24)
    bench.screen.paint([[Segment(text)] for text in ("first", "second, and longer", "third")])
    bench.screen.paint([[Segment(text)] for text in ("first", "second")])
    assert [line for line in bench.terminal.lines if line] == ["first", "second"]


def test_the_terminal_is_given_back() -> None:
    bench = Bench(80, 24)

    def broken() -> None:
        with bench.screen:
            bench.look()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    written = bench.terminal.getvalue()
    assert written.index(ALTERNATE) < written.index("ckptd watch") < written.rindex(ORDINARY)
    assert written.index(HIDDEN) < written.rindex(SHOWN)


def test_a_page_is_printed_where_the_cursor_is() -> None:
    bench = Bench(80, 24, quits="")
    bench.watch.standing(account(2, recent=[]))
    bench.console.print("before")
    bench.console.print(Page(bench.watch.frame(80, 24, UNICODE)), end="", crop=False)
    shown = [line for line in bench.terminal.lines if line]
    assert [line.split()[0] for line in shown] == ["before", "ckptd", "promise", "scrub", "next", "store"]


# --- for all that there could be ---------------------------------------------------------------------------------

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _mixed(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An account in which some values are not what they should be."""
    parts: dict[str, st.SearchStrategy[Any]] = {key: st.just(value) | JUNK for key, value in base.items()}
    for key in ("promise", "scrub"):
        parts[key] |= st.fixed_dictionaries({each: st.just(value) | JUNK for each, value in base[key].items()})
    for key in ("checkpoints", "incidents", "recent", "active"):
        parts[key] |= st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "state", "text", "at", "size", "since"), JUNK)),
            max_size=5,
        )
    return st.fixed_dictionaries({}, optional=parts)


@given(
    content=_mixed(account(3, incidents=[damage()], active=at_work("a"))),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    rows=st.integers(0, 30),
    away=st.booleans(),
    signs=st.sampled_from([ASCII, UNICODE]),
)
def test_whatever_a_daemon_says_the_frame_fits(
    content: dict[str, Any], width: int, height: int, rows: int, away: bool, signs: Any
) -> None:
    watch = Watch(lambda: 0.0, QUITS)
    watch.standing(json.loads(json.dumps(content)))
    for number in range(rows):
        watch.event(Started(f"{number}_{LONG}", 10))
    if away:
        watch.away("nobody answers")
    lines = watch.frame(width, height, signs)
    assert 1 <= len(lines) <= height
    assert max(sum(segment.cell_length for segment in line) for line in lines) <= max(1, width - 1)


@given(
    height=st.integers(1, 100),
    incidents=st.integers(0, 50),
    rows=st.integers(0, 500),
    recent=st.integers(0, 100),
    foot=st.booleans(),
)
def test_lines_are_shared_out_to_the_last(height: int, incidents: int, rows: int, recent: int, foot: bool) -> None:
    room = share(height, incidents, rows, recent, foot=foot)
    parts = (room.incidents, room.work, room.recent)
    used = 2 + room.facts + room.foot + sum(parts) + room.rules * sum(part > 0 for part in parts)
    assert min(parts) >= 0
    assert used <= max(2, height)
    if rows and height >= 16 and incidents <= height // 4:
        assert room.work >= 2, "work is never pushed out"
    if recent >= 3 and height >= 24 and incidents <= height // 4:
        assert room.recent >= 3, "nor is what happened"


@given(text=st.text(st.characters(categories=["L", "N", "Zs"]), max_size=300), width=st.integers(8, 80))
def test_wrapped_text_is_all_there(text: str, width: int) -> None:
    lines = wrap(" ".join(text.split()), width, 1000, "…")
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(cells(line) <= width - 2 * (number > 0) for number, line in enumerate(lines))


@given(content=_mixed(account(2, incidents=[damage()])))
def test_reading_an_account_never_raises(content: dict[str, Any]) -> None:
    first = read_account(content)
    assert read_account({}, first).stock == first.stock


# --- without a terminal ------------------------------------------------------------------------------------------


def lines_of(act: Callable[[WatchLines, Callable[[float], None]], None], **options: bool) -> list[str]:
    """What is written while `act` tells it things, and sets the clock."""
    now, stream = [0.0], io.StringIO()
    act(WatchLines(stream, lambda: now[0], **options), lambda at: now.__setitem__(0, at))
    return stream.getvalue().splitlines()


def test_plain_lines_for_events_and_one_a_minute_on_how_everything_stands() -> None:
    def act(lines: WatchLines, clock: Callable[[float], None]) -> None:
        for second in range(121):
            clock(float(second))
            lines.standing(account(scrub={"name": "resnet50", "why": "oldest first"}, incidents=[damage()]))
            if second == 30:
                lines.event(Started("a", 10 * MB))
                lines.event(Connections("a", 4, "h.org"))
                lines.event(Finished("a", "fetched", "witnessed", size=10 * MB, fetched=10 * MB))

    told = (
        "status: daemon 0.1.0, pid 812; promise kept, oldest byte verified 2d 3h ago of 7d, 100 % in time; "
        "scrub reads resnet50; 1 incident"
    )
    fetched = ["a: fetching 10 MB from h.org", "a: fetched 10 MB in 0.0s, witnessed"]
    assert lines_of(act) == [told, *fetched, told, told]


def test_plain_lines_say_once_that_the_daemon_is_away() -> None:
    def act(lines: WatchLines, clock: Callable[[float], None]) -> None:
        lines.standing(account())
        lines.event(Started("a", 10 * MB))
        for second in range(5):
            clock(float(second))
            lines.away("nobody answers")
        lines.standing(account(pid=900))

    told = lines_of(act)
    assert told[1:2] == ["waiting for the daemon: nobody answers"]
    assert [line.split("; ")[0] for line in (told[0], *told[2:])] == [
        "status: daemon 0.1.0, pid 812",
        "status: daemon 0.1.0, pid 900",
    ]


def test_quiet_lines_are_failures() -> None:
    def act(lines: WatchLines, clock: Callable[[float], None]) -> None:
        del clock
        lines.standing(account())
        lines.event(Finished("a", "fetched", size=10))
        lines.event(Finished("b", "failed", error="HTTP 404 Not Found"))
        lines.away("nobody answers")

    assert lines_of(act, quiet=True) == ["b: failed: HTTP 404 Not Found"]


def test_a_stream_that_nobody_reads_does_no_harm() -> None:
    stream = io.StringIO()
    lines = WatchLines(stream, lambda: 0.0)
    stream.close()
    lines.standing(account())
    lines.away("nobody answers")


def test_away_nothing_is_told_in_colours() -> None:
    """It may not be so any more."""
    bench = Bench(80, 24)
    bench.watch.standing(account())
    bench.watch.away("nobody answers")
    (line,) = [line for line in bench.watch.frame(80, 24, UNICODE) if line and line[0].text.startswith("promise")]
    assert all(segment.style is not None and segment.style.dim for segment in line)

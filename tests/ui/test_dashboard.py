"""`ckptd.ui.dashboard`, `frame` and `layout`, looked at on an emulated terminal."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ckptd.core.events import (
    Connections,
    Event,
    Finished,
    Hashed,
    Queued,
    Received,
    Started,
    Waiting,
)
from ckptd.core.picture import Counts, Picture, Totals
from ckptd.core.progress import Progress
from ckptd.ui.dashboard import Dashboard
from ckptd.ui.frame import ASCII, UNICODE, Screen, draw
from ckptd.ui.layout import room_for_rows

MB = 1_000_000
LONG = "axial_swidernet_1_1_4.5_imagenet1k_strong_training_strategy"
SIZES = [(80, 24), (120, 40), (40, 12)]


class Terminal(io.StringIO):
    """A terminal that interprets at once what is written, and notices when a line wraps."""

    encoding = "utf-8"

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)
        # Four times as wide: where that looks different, something was wrapped.
        self.wide = pyte.Screen(width * 4, height)
        self.wide_stream = pyte.Stream(self.wide)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for stream in (self.stream, self.wide_stream):
            stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        lines = [line.rstrip() for line in self.screen.display]
        assert lines == [line.rstrip() for line in self.wide.display], "a line wrapped"
        return lines

    def rewrap(self, width: int, height: int) -> None:
        """What a terminal that rewraps does with its lines when it is resized."""
        old = [line.rstrip() for line in self.screen.display[: self.screen.cursor.y + 1]]
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)
        self.stream.feed("\r\n".join(old))
        self.wide, self.wide_stream = self.screen, pyte.Stream(pyte.Screen(width, height))


class Bench:
    """A dashboard on a terminal, with a clock that stands still unless it is told to go on."""

    def __init__(self, width: int, height: int, *, verb: str = "sync", color: bool = True) -> None:
        self.now = 0.0
        self.terminal = Terminal(width, height)
        self.console = Console(
            file=self.terminal,
            width=width,
            height=height,
            force_terminal=True,
            color_system="standard" if color else None,
            _environ={},
        )
        self.dashboard = Dashboard(self.console, verb, lambda: self.now)
        self.dashboard._live.auto_refresh = False  # frames are drawn when a test looks

    def feed(self, *events: Event) -> None:
        for event in events:
            self.dashboard(event)

    def look(self) -> list[str]:
        self.dashboard._live.refresh()
        return [line for line in self.terminal.lines if line]


def scene(count: int) -> Iterator[Event]:
    """A sync in full swing: done, failed, downloading, resuming, waiting, hashing, the rest queued."""
    names = [f"{number:03}_{LONG}" for number in range(count)]
    for name in names:
        yield Queued(name, 200 * MB, "")
    yield Started(names[0], 200 * MB)
    yield Finished(names[0], "failed", error="HTTP 404 Not Found", hint="look at the URL")
    yield Started(names[1], 200 * MB)
    yield Connections(names[1], 4, "storage.googleapis.com")
    yield Received(names[1], 50 * MB)
    yield Started(names[2], 200 * MB)
    yield Waiting(names[2], 12, "Retry-After")
    for name in names[3 : max(3, count - 10)]:
        yield Finished(name, "fetched", "witnessed", size=200 * MB, fetched=200 * MB)
    if count > 5:
        yield Started(names[-2], 200 * MB, have=122 * MB)
        yield from (
            Connections(names[-1], 1, "h"),
            Received(names[-1], 200 * MB),
            Hashed(names[-1], 166 * MB),
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [3, 14, 500])
def test_a_run_on_a_terminal(size: tuple[int, int], count: int) -> None:
    bench = Bench(*size)
    with bench.dashboard:
        bench.feed(*scene(count))
        lines = bench.look()
    assert any(line.startswith("✗ 000_") and "failed: HTTP 4" in line for line in lines)
    assert any(line.startswith("↓ 001_") for line in lines)
    assert re.match(r"\d+ of \d+ ·", lines[-1])
    assert lines[-1].endswith("1 failed")
    assert lines[-2].startswith("sync ━")
    folded = [line for line in lines if re.match(r"… \d+ more: ", line)]
    rows = len(lines) - 2 - len(folded)
    hidden = int(folded[0].split()[1]) if folded else 0
    assert rows + hidden == count
    assert len(lines) < size[1]


def test_at_eighty_columns_everything_is_told() -> None:
    bench = Bench(80, 24)
    with bench.dashboard:
        bench.feed(*scene(14))
        text = "\n".join(bench.look())
    assert re.search(r"↓ 001_axial_swidernet_1_1…trategy ━━─{6}  25 %  200 MB +\S+ MB/s +\S+s  4x", text)
    assert "waiting 12s: Retry-After" in text
    assert "resuming at 61 %" in text
    assert "hashing 83 %" in text
    assert "fetched, witnessed" in text
    assert "queued" in text


def test_wider_terminals_tell_connections_and_host() -> None:
    bench = Bench(120, 40)
    with bench.dashboard:
        bench.feed(*scene(14))
        (line,) = [line for line in bench.look() if line.startswith("↓ 001_")]
    assert line.endswith("  4 connections  storage.googleapis.com")


def test_both_ends_of_a_long_name_are_readable() -> None:
    bench = Bench(80, 24)
    with bench.dashboard:
        bench.feed(Queued(LONG, None, ""))
        assert bench.look()[0].startswith("· axial_swidernet_1_1_4.5…trategy ")


def test_it_vanishes() -> None:
    bench = Bench(80, 24)
    with bench.dashboard:
        bench.feed(*scene(14))
        bench.look()
    assert not any(bench.terminal.lines)


def test_interrupted_it_leaves_a_line() -> None:
    bench = Bench(80, 24)

    def interrupted() -> None:
        with bench.dashboard:
            bench.feed(*scene(14))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [line for line in bench.terminal.lines if line] == ["sync stopped: 1 of 14, 0.6 of 2.8 GB, 1 failed"]


def test_a_terminal_that_went_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(80, 24)

    def gone(_: str) -> int:
        raise OSError(5, "Input/output error")

    with bench.dashboard:
        bench.look()
        monkeypatch.setattr(bench.terminal, "write", gone)


@pytest.mark.parametrize("new", [(40, 12), (60, 24), (79, 10), (120, 40), (20, 5)])
def test_resized_it_is_laid_out_anew_and_leaves_no_ghosts(new: tuple[int, int]) -> None:
    bench = Bench(80, 24)
    with bench.dashboard:
        bench.feed(*scene(14))
        bench.look()
        bench.terminal.rewrap(*new)
        bench.console.size = new
        bench.dashboard._live.refresh()
        lines = [line.rstrip() for line in bench.terminal.screen.display if line.strip()]
    fresh = Bench(*new)
    with fresh.dashboard:
        fresh.feed(*scene(14))
        assert lines == fresh.look()


def test_outside_text_is_shown_literally_and_harmless() -> None:
    bench = Bench(120, 24)
    with bench.dashboard:
        bench.feed(
            Finished("a", "failed", error="[bold]x[/bold] \x1b[2J\x1b]0;title\x07\r\nnext \u202eline"),
            Started("b", 10),
            Waiting("b", 5, "[red]\x1b[31m"),
        )
        lines = bench.look()
    assert lines[0].endswith("failed: [bold]x[/bold] ?[2J?]0;title? next ?line")
    assert lines[1].endswith("waiting 5s: [red]?[31m")
    assert "\x1b[2J" not in bench.terminal.getvalue()


def test_no_color_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    for file, environ in ((plain, {"NO_COLOR": "1"}), (coloured, {})):
        console = Console(file=file, width=80, height=24, force_terminal=True, _environ={"TERM": "xterm", **environ})
        dashboard = Dashboard(console, "sync", lambda: 0.0)
        for event in scene(14):
            dashboard(event)
        console.print(dashboard)
    colour = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;[0-9;]+)m")
    assert colour.search(coloured.getvalue())
    assert not colour.search(plain.getvalue())


def test_without_utf8_it_draws_in_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")  # strict: anything else raises
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None, _environ={})
    dashboard = Dashboard(console, "sync", lambda: 0.0)
    for event in scene(500):
        dashboard(event)
    dashboard(Finished(f"000_{LONG}", "failed", error="über 漢字"))
    console.print(dashboard)
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "x 000_axial_swidernet_1...trategy failed: ?ber ??" in text
    assert "... 4" in text
    assert "==------  25 %" in text


def test_numbers_do_not_move_their_neighbours() -> None:
    bench = Bench(80, 24)
    with bench.dashboard:
        bench.feed(*scene(5))
        places = set()
        for step in range(30):
            bench.now += 0.1 + step % 3
            bench.feed(Received(f"001_{LONG}", 123_456 * (step + 1)))
            line = next(line for line in bench.look() if line.startswith("↓ 001_"))
            places.add((line.index(" %"), line.index(" MB "), line.index("B/s"), line.index("4x")))
    assert len(places) == 1


def test_the_foot_does_not_shrink_while_its_numbers_do() -> None:
    held: dict[str, int] = {}
    feet = []
    for rate in (123.4 * MB, 9 * MB, 88.8 * MB):
        totals = Totals(Counts(active=1), 10, 100, 0, 0.1, rate, 5.0, 4, 1.0)
        lines = draw(Picture((), 0, Counts(), totals), "sync", Screen(80, 24, UNICODE, held))
        feet.append("".join(segment.text for segment in lines[-1]))
    assert feet[1] == "0 of 1 · 10 of 100 B ·   9 MB/s · 5s left · 4 connections"
    assert len({foot.index("5s left") for foot in feet[:2]}) == 1


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 80),
    count=st.integers(0, 40),
    name=st.text(max_size=140),
    error=st.text(max_size=300),
    ascii_only=st.booleans(),
)
def test_no_line_is_ever_wider_than_the_terminal(
    width: int, height: int, count: int, name: str, error: str, ascii_only: bool
) -> None:
    progress = Progress()
    for event in scene(max(3, count)):
        progress.apply(event, 0.0)
    progress.apply(Connections(name, 16, error), 0.0)
    progress.apply(Received(name, 999_999_999_999), 0.0)
    progress.apply(Finished(f"{name}2", "failed", error=error), 0.0)
    rows = room_for_rows(height, len(progress))
    screen = Screen(width, height, ASCII if ascii_only else UNICODE, {})
    lines = draw(progress.picture(0.5, rows), "sync", screen)
    assert len(lines) <= max(1, height)
    wide = max(sum(segment.cell_length for segment in line) for line in lines)
    assert wide <= max(1, width - 1)


def test_events_may_come_while_it_is_drawn() -> None:
    bench = Bench(80, 24)
    bench.dashboard._live.auto_refresh = True
    done = threading.Event()

    def work() -> None:
        for number in range(3000):
            bench.dashboard(Started(f"c{number % 200}", 10))
            bench.dashboard(Finished(f"c{(number * 7) % 200}", "fetched", size=10))
        done.set()

    worker = threading.Thread(target=work)
    with bench.dashboard:
        worker.start()
        while not done.is_set():
            bench.dashboard._live.refresh()
        worker.join()
    with bench.dashboard._lock:
        assert bench.dashboard._progress.picture(0.0, 0).hidden.total == 200


def test_it_suits_terminals_only() -> None:
    assert not Dashboard.suits(Console(file=io.StringIO(), _environ={}))
    assert not Dashboard.suits(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"}))
    assert Dashboard.suits(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"}))

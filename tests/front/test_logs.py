"""The log of a daemon: where things stand when it begins, what is left out in between, what is said in the end."""

from __future__ import annotations

import asyncio

import pytest
from workplace import Workplace

from ckptd.core import events, log_limit
from ckptd.core.incidents import Incident, Incidents, Kind
from ckptd.core.log import Line, Priority, text_of
from ckptd.front.logs import Log
from ckptd.service.daemon import Daemon
from ckptd.service.workplace import enter

WAITS = events.Waiting("a", 1, "reset")
DAMAGE = Incident(Kind.DAMAGE, "a", "bytes differ", 0.0)


class Written:
    """What was written, and whether its name was a checkpoint's."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []
        self.fresh = asyncio.Event()

    def __call__(self, line: Line, checkpoint: bool) -> None:
        self.lines.append((text_of(line), checkpoint))
        self.fresh.set()


@pytest.fixture
def daemon(site: Workplace) -> Daemon:
    """One that does not run."""
    site.one("https://example.org/a.bin")
    return Daemon(enter(site.manifest, ()))


@pytest.fixture
def written() -> Written:
    return Written()


async def test_where_things_stand(daemon: Daemon, written: Written) -> None:
    daemon.hub.emit(events.Noted("state", "made anew"))
    daemon.watchman.incidents = Incidents({(DAMAGE.kind, DAMAGE.name): DAMAGE})
    Log(daemon, written, Priority.INFO).begin()
    assert written.lines == [
        (f"daemon: 1 checkpoint, store {daemon.place.places.store}", False),
        ("state: made anew", False),
        ("a: still: damage: bytes differ", True),
    ]


async def test_an_incident_is_said_once_though_a_note_tells_of_it(daemon: Daemon, written: Written) -> None:
    Log(daemon, written, Priority.INFO).begin()
    for message in ("bytes differ", "more bytes differ", ""):
        daemon.watchman.observe(Kind.DAMAGE, "a", message)
    assert written.lines[1:] == [("a: damage: bytes differ", True), ("a: damage is over, after 0s", True)]


async def test_quiet_leaves_out_good_news(daemon: Daemon, written: Written) -> None:
    Log(daemon, written, Priority.WARNING).begin()
    for message in ("bytes differ", ""):
        daemon.watchman.observe(Kind.DAMAGE, "a", message)
    assert written.lines == [("a: damage: bytes differ", True)]


async def test_what_was_left_out_is_said_in_the_end(daemon: Daemon, written: Written) -> None:
    lines = Log(daemon, written, Priority.INFO)
    lines.begin()
    for _ in range(10):
        daemon.hub.emit(WAITS)
    lines.end()
    waits = [text for text, _ in written.lines if text == "a: waits 1.0s: reset"]
    assert len(waits) == log_limit.BURST
    assert [text for text, _ in written.lines[-2:]] == [
        f"a: suppressed {10 - log_limit.BURST} similar messages (waiting)",
        "daemon: stopping; partials are kept",
    ]


async def test_what_was_left_out_is_said_when_its_minute_is_over(
    daemon: Daemon, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "WINDOW", 0.3)
    lines = Log(daemon, written, Priority.INFO)
    lines.begin()
    for name in ("a", "b"):
        for _ in range(log_limit.BURST + 1):
            daemon.hub.emit(events.Waiting(name, 1, "reset"))
        await asyncio.sleep(0.05)  # the next window begins later
    async with asyncio.timeout(20):
        while written.lines[-1][0] != "b: suppressed 1 similar message (waiting)":
            written.fresh.clear()
            await written.fresh.wait()
    lines.end()
    assert [text for text, _ in written.lines if "suppressed" in text] == [
        f"{name}: suppressed 1 similar message (waiting)" for name in ("a", "b")
    ]

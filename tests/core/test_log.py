"""What the daemon's log says: priorities, fields, what may not stand in it, and what is left out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core import events, log
from ckptd.core.incidents import Incident, Kind
from ckptd.core.log import Line, Priority, Scribe
from ckptd.core.log_limit import BURST, BURST_ALL, WINDOW, Limiter

NAME = "a"


def said(*before: events.Event, verbose: bool = False) -> Line | None:
    """What is said of the last of these events."""
    scribe, line = Scribe(verbose=verbose), None
    for event in before:
        line = scribe.line(event, 0.0)
    return line


@pytest.mark.parametrize(
    ("event", "priority", "text"),
    [
        pytest.param(events.Finished(NAME, "corrupt", error="bad"), 3, "a: corrupt: bad", id="damage"),
        pytest.param(events.Finished(NAME, "missing"), 3, "a: missing", id="missing"),
        pytest.param(events.Finished(NAME, "failed", error="404"), 4, "a: failed: 404", id="failure, tried again"),
        pytest.param(events.Finished(NAME, "failed", error="x", hint="do y"), 4, "a: failed: x (do y)", id="hint"),
        pytest.param(events.Finished(NAME, "fetched", "x", size=9, fetched=9), 6, "a: fetched 9 B, x", id="fetched"),
        pytest.param(events.Finished(NAME, "fetched", size=9, fetched=4), 6, "a: fetched 4 of 9 B", id="resumed"),
        pytest.param(events.Finished(NAME, "unlocked", error="x"), 5, "a: unlocked: x", id="not there yet"),
        pytest.param(events.Finished(NAME, "present"), 7, "a: present", id="nothing happened"),
        pytest.param(events.Waiting(NAME, 5, "h: reset"), 4, "a: waits 5.0s: h: reset", id="retry"),
        pytest.param(events.Rewound(NAME, 0, "it changed"), 4, "a: begun again: it changed", id="rewound"),
        pytest.param(events.Noted(NAME, "unpacking"), 6, "a: unpacking", id="note"),
        pytest.param(events.Noted("alerts", "x was not told"), 4, "alerts: x was not told", id="nobody was told"),
        pytest.param(events.Noted("manifest", "read again: 2"), 5, "manifest: read again: 2", id="reload"),
        pytest.param(events.Noted("manifest", "cannot be used, x"), 4, "manifest: cannot be used, x", id="refused"),
        pytest.param(events.Connections(NAME, 1, "h:81"), 6, "a: fetching from h:81", id="fetching"),
        pytest.param(events.Publishing(NAME), 7, "a: publishing", id="publishing"),
    ],
)  # fmt: skip
def test_an_event_becomes_a_line(event: events.Event, priority: int, text: str) -> None:
    line = said(event)
    assert line is not None
    assert (int(line.priority), log.text_of(line)) == (priority, text)


@pytest.mark.parametrize(
    "event",
    [
        events.Received(NAME, 1),
        events.Hashed(NAME, 1),
        events.Sized(NAME, 1),
        events.Started(NAME, 1),
        events.Connections(NAME, 0, "h"),
        events.Noted(NAME, "damage: bytes differ"),
        events.Noted("store", "promise is over"),
    ],
    ids=str,
)
def test_what_is_worth_no_line(event: events.Event) -> None:
    assert said(event) is None


def test_the_host_is_said_once_and_its_change_again() -> None:
    scribe = Scribe()
    hosts = ("x", "x", "y")
    lines = [scribe.line(events.Connections(NAME, count, host), 0.0) for count, host in enumerate(hosts, 1)]
    assert [line and line.message for line in lines] == ["fetching from x", None, "now from y"]


def test_progress_is_said_now_and_then_when_asked_for() -> None:
    scribe = Scribe(verbose=True)
    scribe.line(events.Started(NAME, 1000), 0.0)
    assert scribe.line(events.Received(NAME, 100), 1.0) is None
    line = scribe.line(events.Received(NAME, 500), log.EVERY)
    assert line is not None
    assert (line.priority, line.size, line.message) == (Priority.DEBUG, 600, "60 % (0.6 of 1 kB), 20 B/s")
    assert scribe.line(events.Received(NAME, 100), log.EVERY + 1) is None


@pytest.mark.parametrize(
    ("incident", "priority", "text"),
    [
        (Incident(Kind.DAMAGE, "a", "bytes differ", 0.0), 2, "a: damage: bytes differ"),
        (Incident(Kind.PROMISE, "", "late", 0.0), 3, "store: promise: late"),
        (Incident(Kind.FAILURE, "a", "404", 0.0), 3, "a: failure: 404"),
        (Incident(Kind.DRIFT, "a", "other bytes", 0.0, 60.0), 5, "a: drift is over, after 1m 00s"),
    ],
    ids=["damage", "promise", "given up", "over"],
)
def test_an_incident_becomes_a_line(incident: Incident, priority: int, text: str) -> None:
    line = log.of_incident(incident)
    assert (int(line.priority), log.text_of(line), line.urgent) == (priority, text, True)


def test_the_fields() -> None:
    line = said(events.Connections(NAME, 1, "h:81"), events.Finished(NAME, "fetched", size=9, fetched=9))
    assert line is not None
    assert log.fields(line, checkpoint=True) == {
        "MESSAGE": "a: fetched 9 B",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "ckptd",
        "CKPTD_EVENT": "finished",
        "CKPTD_CHECKPOINT": "a",
        "CKPTD_HOST": "h:81",
        "CKPTD_BYTES": "9",
        "CKPTD_VERDICT": "fetched",
    }
    assert "CKPTD_CHECKPOINT" not in log.fields(line, checkpoint=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n<0>c", "a b <0>c"),
        ("\x1b[31mred\u202e", "?[31mred?"),
        ("https://h/f?X-Amz-Signature=s3cret", "https://h/f?..."),
        ("https://user:s3cret@h/f", "https://h/f"),
    ],
    ids=["lines", "terminal", "signature", "password"],
)
def test_what_may_not_stand_in_a_line(text: str, shown: str) -> None:
    assert log.one_line(text) == shown


def test_a_cut_does_not_go_through_a_secret() -> None:
    text = "x " * (log.MOST_READ // 2 - 10) + "https://s3cret-and-much-more@host/f"
    assert "s3c" not in log.one_line(text, 2 * log.MOST_READ)


@given(st.text())
def test_a_line_is_one_line(text: str) -> None:
    shown = log.one_line(text, 50)
    assert shown.isprintable()
    assert len(shown) <= 50


def read_back(data: bytes) -> dict[str, str]:
    """The journal's side of the protocol."""
    found = {}
    while data:
        head, _, rest = data.partition(b"\n")
        key, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        found[key.decode()] = value.decode()
        data = rest
    return found


@given(st.dictionaries(st.text("ABC_", min_size=1), st.text()))
def test_datagrams_can_be_read_back(values: dict[str, str]) -> None:
    assert read_back(log.datagram(values)) == values


def waiting(name: str = NAME, *, urgent: bool = False) -> Line:
    return Line(Priority.WARNING, "waiting", name, "waits", urgent=urgent)


def test_the_same_is_said_a_few_times_then_counted_once() -> None:
    limiter = Limiter()
    said = [line for second in range(10) for line in limiter.take(waiting(), float(second))]
    assert len(said) == BURST
    assert limiter.until == WINDOW
    assert limiter.due(WINDOW - 1) == []
    (summary,) = limiter.due(WINDOW)
    assert summary.message == f"suppressed {10 - BURST} similar messages (waiting)"
    assert (summary.name, summary.priority) == (NAME, Priority.WARNING)
    assert limiter.due(2 * WINDOW) == []
    assert limiter.take(waiting(), 2 * WINDOW) == [waiting()]


def test_what_was_left_out_is_said_before_the_next_line() -> None:
    limiter = Limiter()
    for _ in range(BURST + 1):
        limiter.take(waiting(), 0.0)
    first, second = limiter.take(waiting(), WINDOW)
    assert (first.message, second) == ("suppressed 1 similar message (waiting)", waiting())


def test_others_are_not_left_out() -> None:
    limiter = Limiter()
    for _ in range(BURST + 1):
        limiter.take(waiting(), 0.0)
    other = Line(Priority.INFO, "noted", NAME, "x")
    assert limiter.take(waiting("b"), 0.0) == [waiting("b")]
    assert limiter.take(other, 0.0) == [other]
    assert limiter.take(waiting(urgent=True), 0.0) == [waiting(urgent=True)]


def test_a_host_with_many_checkpoints_does_not_flood() -> None:
    limiter = Limiter()
    said = [line for number in range(500) for line in limiter.take(waiting(f"c{number}"), 0.0)]
    assert len(said) == BURST_ALL
    (summary,) = limiter.due(WINDOW)
    assert (summary.name, summary.message) == ("", f"suppressed {500 - BURST_ALL} similar messages (waiting)")


@pytest.mark.parametrize("state", ["failed", "corrupt", "fetched"])
def test_ends_and_incidents_are_never_left_out(state: str) -> None:
    limiter = Limiter()
    line = said(events.Finished(NAME, state, error="x"))
    assert line is not None
    assert all(limiter.take(line, 0.0) == [line] for _ in range(100))

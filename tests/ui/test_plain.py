"""`ckptd.ui.plain`: one line an event where nothing can be drawn."""

from __future__ import annotations

import io

import pytest

from ckptd.core.events import (
    Connections,
    Event,
    Finished,
    Hashed,
    Noted,
    Publishing,
    Queued,
    Received,
    Rewound,
    Sized,
    Started,
    Waiting,
)
from ckptd.ui.plain import PlainLines

MB = 1_000_000
HOST = "storage.googleapis.com"


class Log:
    """Plain lines into memory, at times of the test's choosing."""

    def __init__(self, verb: str = "sync", *, verbose: bool = False, quiet: bool = False) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.plain = PlainLines(self.stream, verb, lambda: self.now, verbose=verbose, quiet=quiet)

    def at(self, now: float, *events: Event) -> None:
        self.now = now
        for event in events:
            self.plain(event)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def fetch(log: Log) -> None:
    log.at(0, Queued("a", None, "not there"), Started("a", None))
    log.at(0.1, Connections("a", 4, HOST), Sized("a", 204 * MB))
    log.at(4, Received("a", 204 * MB), Hashed("a", 204 * MB))
    log.at(8, Publishing("a"), Connections("a", 0, HOST))
    log.at(8.12, Finished("a", "fetched", "witnessed", size=204 * MB, fetched=204 * MB))


def test_a_fetch() -> None:
    log = Log()
    fetch(log)
    assert log.lines == [
        f"a: fetching 204 MB from {HOST}",
        "a: fetched 204 MB in 8.1s (25.1 MB/s), witnessed",
    ]


def test_a_fetch_verbosely() -> None:
    log = Log(verbose=True)
    fetch(log)
    assert log.lines == [
        "a: queued: not there",
        f"a: fetching 204 MB from {HOST}",
        "a: publishing",
        "a: fetched 204 MB in 8.1s (25.1 MB/s), witnessed",
    ]


def test_a_fetch_of_unknown_size() -> None:
    log = Log()
    log.at(0, Started("a", None), Connections("a", 1, HOST), Received("a", 5 * MB), Received("a", 5 * MB))
    assert log.lines == [f"a: fetching from {HOST}"]


def test_resuming_and_beginning_again() -> None:
    log = Log()
    log.at(0, Started("a", 204 * MB, have=124_500_000))
    log.at(1, Connections("a", 4, HOST), Rewound("a", 0, "the object changed"))
    log.at(9, Received("a", 204 * MB))
    log.at(10, Finished("a", "fetched", "first-use", size=204 * MB, fetched=204 * MB))
    assert log.lines == [
        "a: resuming at 61 % (124 of 204 MB)",
        "a: begun again: the object changed",
        "a: fetched 204 MB in 10s (20.4 MB/s), first-use",
    ]


def test_what_was_fetched_of_a_resumed_file() -> None:
    log = Log()
    log.at(0, Started("a", 204 * MB, have=124 * MB))
    log.at(4, Finished("a", "fetched", "witnessed", size=204 * MB, fetched=80 * MB))
    assert log.lines[1] == "a: fetched 80 of 204 MB in 4.0s (20 MB/s), witnessed"


def test_what_was_fetched_of_a_file_that_came_twice() -> None:
    log = Log()
    log.at(0, Started("a", 300 * MB))
    log.at(4, Finished("a", "fetched", "pinned", size=300 * MB, fetched=600 * MB))
    assert log.lines[-1] == "a: fetched 300 MB (600 MB over the network) in 4.0s (150 MB/s), pinned"


def test_waiting_and_notes() -> None:
    log = Log()
    log.at(0, Waiting("a", 12, "Retry-After"), Noted("a", "the origin ignores ranges"))
    assert log.lines == ["a: waiting 12s: Retry-After", "a: the origin ignores ranges"]


@pytest.mark.parametrize("quiet", [False, True])
def test_failures_are_told_also_quietly(*, quiet: bool) -> None:
    log = Log(quiet=quiet)
    log.at(0, Finished("a", "failed", error="HTTP 404 Not Found", hint="look at the URL"))
    assert log.lines == ["a: failed: HTTP 404 Not Found", "  hint: look at the URL"]


def test_quietly_nothing_but_failures() -> None:
    log = Log(quiet=True)
    fetch(log)
    log.at(9, Waiting("b", 12, "Retry-After"), Noted("b", "odd"), Finished("b", "present"))
    assert log.lines == []


@pytest.mark.parametrize(("verbose", "pace"), [(False, 30), (True, 10)])
def test_progress_now_and_then(*, verbose: bool, pace: int) -> None:
    log = Log(verbose=verbose)
    log.at(0, Started("a", 1000 * MB), Connections("a", 4, HOST))
    for second in range(1, 96):
        log.at(second, Received("a", 5 * MB), Received("a", 5 * MB))
    progress = [line for line in log.lines if "left" in line]
    assert len(progress) == 95 // pace
    if not verbose:
        assert progress[0].startswith("a: 29 % (0.3 of 1 GB), 10 MB/s")
        assert "MB/s, 1m " in progress[0]


def test_verify_tells_the_verdicts() -> None:
    log = Log("verify")
    log.at(0, Started("a", 10 * MB), Received("a", 10 * MB), Finished("a", "intact", size=10 * MB))
    log.at(1, Started("b", 10 * MB), Finished("b", "corrupt", error="2 pieces differ", hint="run --repair"))
    assert log.lines == ["a: intact", "b: corrupt: 2 pieces differ", "  hint: run --repair"]


def test_what_was_present_is_left_to_the_summary() -> None:
    calm, verbose = Log(), Log(verbose=True)
    for log in (calm, verbose):
        log.at(0, Finished("a", "present", size=3))
    assert (calm.lines, verbose.lines) == ([], ["a: present"])


def test_another_host_is_told_verbosely() -> None:
    log = Log(verbose=True)
    log.at(0, Sized("a", MB), Connections("a", 4, HOST), Connections("a", 4, "mirror.example.org"))
    assert log.lines[1:] == ["a: now from mirror.example.org"]


def test_outside_text_cannot_forge_lines_or_move_the_cursor() -> None:
    log = Log()
    log.at(0, Finished("a", "failed", error="x\r\nb: intact\x1b[1A", hint="y\nz\x07"))
    assert log.lines == ["a: failed: x b: intact?[1A", "  hint: y z?"]


class Pipe(io.StringIO):
    """A stream whose reader goes away; counts what is tried and done to it."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.tries = self.flushes = 0

    def write(self, text: str) -> int:
        self.tries += 1
        if self.error is not None:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        self.flushes += 1


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("I/O operation on closed file")])
def test_a_reader_that_went_away_is_no_concern(error: Exception) -> None:
    pipe = Pipe(error)
    plain = PlainLines(pipe, "sync", lambda: 0.0)
    plain(Noted("a", "one"))
    plain(Noted("a", "two"))
    assert pipe.tries == 1


def test_every_line_is_flushed() -> None:
    pipe = Pipe()
    plain = PlainLines(pipe, "sync", lambda: 0.0)
    plain(Noted("a", "one"))
    plain(Noted("a", "two"))
    assert pipe.flushes == 2


def test_a_stream_that_cannot_encode_gets_question_marks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainLines(stream, "sync", lambda: 0.0)(Noted("a", "über"))
    assert raw.getvalue() == b"a: ?ber\n"

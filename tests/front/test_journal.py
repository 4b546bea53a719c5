"""Where the log goes: a real datagram socket in the journal's place, and stderr."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.core.log import Line, Priority
from ckptd.front.journal import SHORT, Journal, Plain, is_journal, sink

LINE = Line(Priority.WARNING, "waiting", "a", "waits\n<0>x", "h", 5)


@pytest.fixture
def listening(short_path: Path) -> Iterator[socket.socket]:
    """The journal's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(short_path / "journal"))
        end.settimeout(10)
        yield end


@pytest.fixture
def stderr() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def journal(short_path: Path, stderr: io.StringIO) -> Iterator[Journal]:
    found = Journal(stderr, short_path / "journal")
    yield found
    found.close()


def test_a_line_with_its_fields(listening: socket.socket, journal: Journal, stderr: io.StringIO) -> None:
    journal(LINE, True)
    assert listening.recv(65536).decode().splitlines() == [
        "MESSAGE=a: waits <0>x",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=ckptd",
        "CKPTD_EVENT=waiting",
        "CKPTD_CHECKPOINT=a",
        "CKPTD_HOST=h",
        "CKPTD_BYTES=5",
    ]
    assert stderr.getvalue() == ""


def test_stderr_while_the_journal_is_away(short_path: Path, journal: Journal, stderr: io.StringIO) -> None:
    journal(LINE, True)
    assert stderr.getvalue() == "<4>a: waits <0>x\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(short_path / "journal"))
        journal(LINE, True)
        assert b"waits" in end.recv(65536)
    assert stderr.getvalue().count("\n") == 1


def test_a_full_journal_stops_nobody(listening: socket.socket, journal: Journal, stderr: io.StringIO) -> None:
    sent = 0
    while not journal.lost:
        journal(LINE, True)
        sent += 1
    journal(LINE, True)
    assert journal.lost == 2
    for _ in range(sent - 1):
        listening.recv(65536)
    journal(LINE, True)
    assert b"the journal was full and 2 messages were lost" in listening.recv(65536)
    assert b"MESSAGE=a: waits" in listening.recv(65536)
    assert (journal.lost, stderr.getvalue()) == (0, "")


def test_what_is_too_long_is_cropped(listening: socket.socket, journal: Journal) -> None:
    journal(Line(Priority.INFO, "noted", "a", "x" * 10_000_000), True)
    assert listening.recv(65536).startswith(b"MESSAGE=a: xxx")


def test_what_does_not_fit_into_a_datagram_is_sent_shorter(listening: socket.socket, journal: Journal) -> None:
    journal._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it a few kB
    journal(Line(Priority.INFO, "noted", "a", "\U00010348" * 4000), True)
    message, priority, *_ = listening.recv(65536).decode().splitlines()
    assert len(message) == len("MESSAGE=") + SHORT
    assert (priority, journal.lost) == ("PRIORITY=6", 0)


def test_plain_lines_have_the_local_time(stderr: io.StringIO) -> None:
    plain = Plain(stderr, lambda: 1795305600.0)
    plain(LINE, True)
    plain(Line(Priority.CRITICAL, "incident", "a", "damage: x"), True)
    plain(Line(Priority.INFO, "noted", "", "hello"), False)
    stamps, words = zip(*(line.split(" ", 1) for line in stderr.getvalue().splitlines()), strict=True)
    assert words == ("warning: a: waits <0>x", "error: a: damage: x", "store: hello")
    assert all(re.fullmatch(r"2026-11-2[123]T\d\d:\d\d:00[+-]\d\d:\d\d", stamp) for stamp in stamps)


def test_nobody_reads(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    stream.close()
    Plain(stream)(LINE, True)


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        named = f"{status.st_dev}:{status.st_ino}"
        assert is_journal(named, stream)
        assert not is_journal(f"{status.st_dev}:{status.st_ino + 1}", stream)
        assert not is_journal("", stream)
        found = sink({"JOURNAL_STREAM": named}, stream)
        assert isinstance(found, Journal)
        found.close()
        assert isinstance(sink({}, stream), Plain)
    assert not is_journal(named, io.StringIO())

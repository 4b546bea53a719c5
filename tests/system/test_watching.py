"""`ckptd watch` beside a real daemon: on a terminal, through a pipe, once; and the terminal afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
from collections.abc import Callable, Iterator

import faults as f
import pytest
from origin import Hold, Origin
from screens import ALTERNATE, ORDINARY, Seat
from unix import reach
from workplace import CKPTD, Running, Workplace, tgz, wait_until

pytestmark = pytest.mark.slow

A = tgz(2_000_000, 1)
PATH = "/a.tar.gz"
GOES_ON = "the daemon goes on with its work"
Sit = Callable[..., Seat]


@pytest.fixture
def sit(site: Workplace) -> Iterator[Sit]:
    """Run a command in a terminal of its own; `ckptd watch` unless another is given."""
    seats: list[Seat] = []

    def begin(*args: str, command: tuple[str, ...] = (), width: int = 80, height: int = 24) -> Seat:
        seat = Seat(command or [str(CKPTD), "watch", *args], site.environment(), site.root, width=width, height=height)
        seats.append(seat)
        return seat

    yield begin
    for seat in seats:
        seat.close()


def halfway(origin: Origin, site: Workplace) -> Hold:
    """A manifest with one checkpoint, whose download stands still until it is released."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "60s"})
    place = Hold()
    origin.on(PATH, f.hold(1_200_000, place), times=None)
    return place


def daemon(site: Workplace) -> Running:
    """A daemon that answers."""
    running = site.start("daemon")
    wait_until((site.state / "daemon.sock").is_socket, what="the daemon listens")
    return running


def test_watching_leaves_the_work_alone(origin: Origin, site: Workplace, sit: Sit) -> None:
    """Attach in the middle of a download, look, leave: it goes on, and the terminal is as it was."""
    place = halfway(origin, site)
    running = daemon(site)
    wait_until(place.reached.is_set, what="the download stands still")
    seat = sit()
    text = seat.until(lambda text: re.search(r"↓ a .*\d\d %", text), what="the row of the download")
    assert f"pid {running.process.pid}, up " in text
    assert "── 1 at work ──" in text
    assert seat.modes != seat.before
    seat.send(b"q")
    assert seat.wait() == 0
    assert seat.whole
    assert GOES_ON in seat.raw.partition(ORDINARY)[2]
    place.release()
    wait_until((site.store / "a" / "a.tar.gz").exists, what="it was fetched")
    assert running.running


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leave", "status"),
    [(b"q", 0), (b"\x04", 0), (b"\x03", 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131), (signal.SIGHUP, 129)],
    ids=["q", "^D", "^C", "SIGTERM", "SIGQUIT", "SIGHUP"],
)
def test_however_it_ends_the_terminal_is_as_it_was(
    site: Workplace, sit: Sit, leave: bytes | signal.Signals, status: int
) -> None:
    site.write()
    running = daemon(site)
    seat = sit()
    seat.until(lambda text: "nothing is kept yet" in text)
    if isinstance(leave, bytes):
        seat.send(leave)
    else:
        seat.process.send_signal(leave)
    assert seat.wait() == status
    assert seat.whole
    assert seat.raw.count(GOES_ON) == (2 if status != 129 else 1), "at the foot, and once when it ends"
    assert "Traceback" not in seat.raw
    assert running.running


@pytest.mark.slow
def test_other_keys_do_nothing(site: Workplace, sit: Sit) -> None:
    site.write()
    daemon(site)
    seat = sit()
    seat.until(lambda text: "nothing is kept yet" in text)
    for keys in (b"x", b"\x1b[A", b"\x1bOq", b" \r"):
        seat.send(keys)
    seat.resize(60, 20)
    seat.until(lambda text: text.count("\n") == 19 and "nothing is kept yet" in text, what="it was drawn again")
    assert seat.process.poll() is None


@pytest.mark.slow
def test_it_survives_the_daemon(origin: Origin, site: Workplace, sit: Sit) -> None:
    """kill -9, a while without, and another one that resumes the work: all of it is told."""
    place = halfway(origin, site)
    first = daemon(site)
    wait_until(place.reached.is_set, what="the download stands still")
    seat = sit()
    seat.until(lambda text: "↓ a " in text)
    first.kill()
    text = seat.until(lambda text: "waiting for the daemon: nobody answers" in text)
    assert "↓ a " not in text
    origin.calm()
    second = daemon(site)
    text = seat.until(lambda text: f"pid {second.process.pid}, up " in text)
    assert "waiting" not in text
    text = seat.until(lambda text: "1 present" in text and re.search(r" a +fetched", text), what="it was resumed")
    assert f"the daemon is back, pid {second.process.pid}" in text
    assert f"the daemon went away, pid {first.process.pid}" in text
    seat.send(b"q")
    assert seat.wait() == 0


@pytest.mark.slow
def test_stopped_and_continued(site: Workplace, sit: Sit) -> None:
    """^Z gives the shell its terminal, fg takes it again."""
    site.write()
    daemon(site)
    seat = sit(command=("bash", "--norc", "--noprofile", "-i"))
    seat.send(b"PS1='ready: '\n")
    seat.until(lambda text: text.rstrip().endswith("\nready:"))
    seat.send(f"'{CKPTD}' watch\n".encode())
    seat.until(lambda text: "nothing is kept yet" in text)
    for _ in range(2):
        seat.send(b"\x1a")
        seat.until(lambda _: "Stopped" in seat.raw and seat.raw.rfind(ORDINARY) > seat.raw.rfind(ALTERNATE))
        seat.raw = ""
        seat.send(b"fg\n")
        seat.until(lambda _: re.search(r"\x1b\[2J.*nothing is kept yet", seat.raw, re.DOTALL), what="drawn anew")
    seat.send(b"q")
    seat.until(lambda _: f"ckptd: {GOES_ON}" in seat.raw)
    assert seat.raw.rfind(ORDINARY) > seat.raw.rfind(ALTERNATE)


def test_no_daemon(site: Workplace, sit: Sit) -> None:
    """Clear, with what to do, and without taking the screen."""
    site.write()
    seat = sit()
    assert seat.wait() == 1
    assert "ckptd: error: there is no daemon to watch" in seat.raw
    assert "hint: start it: `ckptd daemon`" in seat.raw
    assert ALTERNATE not in seat.raw


@pytest.mark.slow
def test_waiting_for_a_daemon(site: Workplace, sit: Sit) -> None:
    site.write()
    seat = sit("--wait")
    seat.until(lambda text: "waiting for the daemon: nobody answers" in text)
    running = daemon(site)
    seat.until(lambda text: f"pid {running.process.pid}, up " in text)
    running.kill()
    seat.until(lambda text: "no daemon for" in text)
    seat.send(b"q")
    assert seat.wait() == 0
    assert "there was no daemon in the end" in seat.raw


def test_a_daemon_that_is_not_for_us(site: Workplace) -> None:
    site.write()
    daemon(site)
    (site.state / "daemon.sock").chmod(0)
    # Root may everything, unless it gives that up.
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    run = site.run("watch", prefix=prefix).expect(5)
    assert "is not for you" in run.err
    assert "hint: ask to be added to the store's group" in run.err


def test_through_a_pipe(origin: Origin, site: Workplace) -> None:
    """One plain line for each event, no escape sequences; it ends when nobody reads any more."""
    place = halfway(origin, site)
    daemon(site)
    wait_until(place.reached.is_set, what="the download stands still")
    watching = site.start("watch")
    assert watching.process.stdout is not None
    assert watching.process.stdout.readline().startswith("status: daemon ")
    place.release()
    lines: list[str] = []
    while not lines or "fetched" not in lines[-1]:
        lines.append(watching.process.stdout.readline())
        assert lines[-1], lines
    assert re.match(r"a: fetched 2 MB in .*, first-use\n", lines[-1])
    assert "\x1b" not in "".join(lines)
    watching.process.stdout.close()
    assert watching.process.wait(20) == 1


@pytest.mark.slow
def test_a_pipe_over_restarts(site: Workplace) -> None:
    site.write()
    first = daemon(site)
    watching = site.start("watch")
    out = watching.process.stdout
    assert out is not None
    assert f"pid {first.process.pid};" in out.readline()
    first.kill()
    assert out.readline() == "waiting for the daemon: nobody answers\n"
    second = daemon(site)
    assert f"pid {second.process.pid};" in out.readline()
    watching.signal(signal.SIGTERM)
    run = watching.wait().expect(143)
    assert GOES_ON in run.err


def test_one_look(origin: Origin, site: Workplace) -> None:
    """`--once` is a frame as plain text, `--json` the same as one object."""
    place = halfway(origin, site)
    running = daemon(site)
    wait_until(place.reached.is_set, what="the download stands still")
    once = site.run("watch", "--once", env={"COLUMNS": "100"}).expect(0)
    assert once.out.startswith("ckptd watch  ")
    assert re.search(r"\n↓ a .* \d\d %", once.out)
    assert "store    1 checkpoint" in once.out
    assert max(map(len, once.out.splitlines())) <= 99
    assert "\x1b" not in once.out
    report = site.run("watch", "--json").expect(0).report
    assert report["pid"] == running.process.pid
    assert report["promise"]["kept"] is True
    assert [work["name"] for work in report["active"]] == ["a"]
    assert [each["name"] for each in report["checkpoints"]] == ["a"]


def test_one_look_without_a_daemon(site: Workplace) -> None:
    site.write()
    assert "there is no daemon to watch" in site.run("watch", "--once").expect(1).err
    assert site.run("watch", "--json").expect(1).report["error"]["message"] == "there is no daemon to watch"


def test_a_dead_daemons_socket(site: Workplace) -> None:
    site.write()
    running = daemon(site)
    running.kill()
    assert stat.S_ISSOCK((site.state / "daemon.sock").stat().st_mode)
    assert "there is no daemon to watch" in site.run("watch").expect(1).err


@pytest.mark.slow
def test_watchers_are_told_of_checkpoints_when_these_were_read_anew(site: Workplace) -> None:
    """The protocol: how everything stands, with the checkpoints at first, and again when something happened."""
    site.write({"name": "a", "url": "http://127.0.0.1:9/a.tgz"})
    running = daemon(site)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        reach(connection, site.state / "daemon.sock")
        connection.sendall(b'{"protocol":1,"command":"watch"}\n')
        lines = connection.makefile()
        standings = (found["status"] for found in map(json.loads, lines) if "status" in found)
        first = next(standings)
        assert [each["name"] for each in first["checkpoints"]] == ["a"]
        quiet = next(standing for standing in standings if "checkpoints" not in standing)
        assert quiet.keys() == first.keys() - {"checkpoints"}
        running.signal(signal.SIGHUP)
        assert any("checkpoints" in standing for standing in standings)


def test_help_says_how_to_leave(site: Workplace) -> None:
    """Without a manifest, too."""
    assert "the daemon goes on" in " ".join(site.run("watch", "--help").expect(0).out.split())

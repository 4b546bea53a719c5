"""How alerts are told: the command that hangs, talks, or fails, the webhook that does, and the lanes they are on."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from faults import hold, raw
from origin import Hold, Origin, Origins

from ckptd.core.alert import Alert
from ckptd.core.incidents import Incident, Kind
from ckptd.core.models import AlertSettings
from ckptd.front.alert_command import HEARD, call
from ckptd.front.alerts import WAITING, Lane, _by_webhook
from ckptd.front.webhook import post

PATH = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
SECRET = "s3cr3t-t0ken"
BODY = b'{"a": 1}'


def alert(number: int) -> Alert:
    return Alert(Incident(Kind.DAMAGE, f"c{number}", "bytes differ", float(number)), "h", "/s")


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


# ---- the command


async def test_it_gets_the_json_and_a_clean_environment(tmp_path: Path) -> None:
    script = f"cat > {tmp_path}/in; env > {tmp_path}/env; pwd > {tmp_path}/cwd"
    assert await call(shell(script), BODY, {**PATH, "CKPTD_STATE": "begun"}, 30) == ""
    assert (tmp_path / "in").read_bytes() == BODY
    assert (tmp_path / "cwd").read_text() == "/\n"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "CKPTD_STATE"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(shell("exit 0"), "", id="does not read"),
        pytest.param(shell("echo no route >&2; exit 3"), "ended with exit status 3: no route", id="fails"),
        pytest.param(shell("echo https://h/?key=x; exit 1"), "ended with exit status 1: https://h/?...", id="secret"),
        pytest.param(shell("kill -9 $$"), "was killed by signal 9", id="killed"),
        pytest.param(["/does/not/exist"], "cannot be started: no such file or directory", id="not there"),
        pytest.param(["a\0b"], "cannot be started: not a command", id="no name"),
    ],
)  # fmt: skip
async def test_how_it_ends(command: list[str], said: str) -> None:
    assert await call(command, BODY, PATH, 30) == said


async def test_a_command_that_does_not_want_to_know() -> None:
    assert await call(shell("exec 0<&-; exit 0"), bytes(5_000_000), PATH, 30) == ""


async def test_much_output_is_read_and_forgotten() -> None:
    said = await call(shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 1"), BODY, PATH, 30)
    assert said.startswith("ended with exit status 1: xxx")
    assert len(said) < HEARD


async def test_what_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = await call(shell(f"exec 3>{fifo}; echo up >&3; sleep 1000 & sleep 1000"), BODY, PATH, 2.0)
        assert said == "did not end within 2 s and was killed"
        assert os.read(reader, 10) == b"up\n"
        async with asyncio.timeout(20):  # the end of the file: nobody holds it open any more
            while _held(reader):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        os.close(reader)


def _held(reader: int) -> bool:
    """Whether somebody has the other end of a pipe."""
    try:
        return os.read(reader, 10) != b""
    except BlockingIOError:
        return True


async def test_a_child_that_stays_is_not_waited_for() -> None:
    async with asyncio.timeout(20):
        assert await call(shell("sleep 60 & exit 0"), BODY, PATH, 30) == ""


async def test_being_stopped_kills_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(call(shell(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000"), BODY, PATH, 60))
    async with asyncio.timeout(20):
        while not pid.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# ---- the webhook


class Hook:
    """A server that answers with `statuses` in turn, then 200, and keeps what was posted."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.posted: list[tuple[str, str, bytes, str | None]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind = self.headers["Content-Type"]
                hook.posted.append((self.path, kind, body, self.headers.get("Authorization")))
                status = hook.statuses.pop(0) if hook.statuses else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server.server_port}/hooks/{SECRET}?token={SECRET}"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.stop()


async def test_the_webhook_gets_the_json(hook: Hook) -> None:
    assert await post(hook.url("me:pass%20word@"), BODY, 20) == ""
    ((path, kind, body, authorization),) = hook.posted
    assert (path, kind, body) == (f"/hooks/{SECRET}?token={SECRET}", "application/json", BODY)
    assert authorization == "Basic bWU6cGFzcyB3b3Jk"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "answered 404 Not Found"),
        (500, "answered 500 Internal Server Error"),
        (302, "answered 302 Found; redirects are not followed"),
        (307, "answered 307 Temporary Redirect; redirects are not followed"),
        (299, ""),
    ],
)
async def test_what_it_answers(hook: Hook, status: int, said: str) -> None:
    hook.statuses = [status]
    assert await post(hook.url(), BODY, 20) == said
    assert len(hook.posted) == 1


async def test_nobody_answers(origin: Origin) -> None:
    url = origin.url(f"/{SECRET}")
    origin.on("*", raw(b"SSH-2.0-x\r\n"), times=None, method="POST")
    assert await post(url, BODY, 20) == "sent something that is not HTTP"
    origin.refuse()
    assert await post(url, BODY, 20) == "connection refused"
    assert await post(f"http://127.0.0.1:{SECRET}/", BODY, 20) == "sent something that is not HTTP"


async def test_silence_has_an_end(origin: Origin) -> None:
    silent = Hold()
    origin.on("*", hold(-1, silent), method="POST")
    assert await post(origin.url("/"), BODY, 0.5) == "no answer in time"
    silent.release()


async def test_an_unknown_certificate_is_refused(origins: Origins, tls: ssl.SSLContext) -> None:
    origin = origins.new(tls=tls)
    assert (await post(origin.url("/"), BODY, 20)).startswith("TLS: ")


async def test_a_webhook_that_fails_twice_is_told_in_the_end(hook: Hook) -> None:
    hook.statuses = [500, 500]
    complaints: list[str] = []
    lane = Lane(_by_webhook(lambda: AlertSettings(webhook=hook.url())), complaints.append, (0.0, 0.0, 0.0))
    await through(lane, [alert(1), alert(2)])
    told = [json.loads(body)["checkpoint"] for _, _, body, _ in hook.posted]
    assert told == ["c1", "c1", "c1", "c2"]
    assert complaints == []


async def test_a_webhook_that_stays_dead_is_given_up(hook: Hook) -> None:
    hook.statuses = [500] * 4
    complaints: list[str] = []
    lane = Lane(_by_webhook(lambda: AlertSettings(webhook=hook.url())), complaints.append, (0.0,))
    await through(lane, [alert(1)])
    port = hook.server.server_port
    assert complaints == [f"damage begun (c1) was not told: 127.0.0.1:{port}: answered 500 Internal Server Error"]
    assert len(hook.posted) == 2


# ---- the lanes


async def through(lane: Lane, alerts: list[Alert]) -> None:
    """Tell these, and end."""
    task = asyncio.create_task(lane.run())
    for each in alerts:
        lane.put(each)
    async with asyncio.timeout(20):
        await lane.drain()
    task.cancel()
    await asyncio.wait([task])


async def test_a_stuck_lane_keeps_a_number_and_says_what_it_gave_up() -> None:
    started, complaints = asyncio.Event(), list[str]()

    async def stuck(one: Alert) -> str:
        started.set()
        await asyncio.Event().wait()
        return str(one)

    lane = Lane(stuck, complaints.append)
    task = asyncio.create_task(lane.run())
    lane.put(alert(0))
    await started.wait()
    for number in range(1, WAITING + 3):
        lane.put(alert(number))
    assert complaints == [f"damage begun (c{number}) was not told: too many wait" for number in (1, 2)]
    complaints.clear()
    task.cancel()
    await asyncio.wait([task])
    lane.abandon()
    numbers = (0, *range(3, WAITING + 3))
    assert complaints == [f"damage begun (c{number}) was not told: the daemon stops" for number in numbers]

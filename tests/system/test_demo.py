"""`ckptd demo`: it tells the whole story, checks it itself, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from workplace import CKPTD, wait_until

from ckptd.errors import StorageError
from ckptd.service import demo, demo_stage

pytestmark = pytest.mark.slow

LONGEST = 180.0  # seconds: a machine under load takes several times what a free one does
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def of_session(session: int) -> list[str]:
    """The command lines of all processes in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended
    return found


@contextmanager
def running(
    temporary: Path, out: IO[bytes] | int, *args: str, env: Mapping[str, str] | None = None, deaf: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """`ckptd demo` in a session of its own, its folder in `temporary`, its proxy and manifest astray.

    `deaf`: it begins with SIGINT ignored, as what a script starts in the background does.
    """
    prefix = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"] if deaf else []
    process = subprocess.Popen(
        [*prefix, str(CKPTD), "demo", *args],
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "TMPDIR": str(temporary),
            "CKPTD_MANIFEST": "/nonexistent/manifest.toml",
            "http_proxy": "http://127.0.0.1:9",
            "ALL_PROXY": "http://127.0.0.1:9",
            **(env or {}),
        },
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def assert_nothing_left(temporary: Path, session: int) -> None:
    assert not list(temporary.iterdir())
    assert not of_session(session)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, list[Path], list[str]]:
    """The story without a terminal: exit status, output, files and processes left behind."""
    temporary, log = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("log") / "out"
    with log.open("wb") as out, running(temporary, out) as process:
        status = process.wait(LONGEST)
        return status, log.read_text(encoding="utf-8"), list(temporary.iterdir()), of_session(process.pid)


def test_every_promise_is_kept(told: tuple[int, str, list[Path], list[str]]) -> None:
    """A sync, a kill and resume, an upstream change refused, a flipped bit found; and mended."""
    status, out, _, _ = told
    assert status == 0, out
    lines = iter(out.splitlines())
    for pattern in (
        r"1\. ",
        r"\$ ckptd sync",
        r"\[killed by SIGKILL",
        r"2\. ",
        r"\$ ckptd status",
        r"  \S+ [kM]B of \S+ [kM]B are here",
        r"\$ ckptd sync",
        r"max_deeplab_s_\S+: resuming at \d+ %",
        r"max_deeplab_s_\S+: fetched .* of 24 MB in .*, witnessed",
        r"\[exit 0",
        r"   ✓ \S+ MB of 42\.1 MB were kept from before the kill, \S+ MB were fetched",
        r'name = "resnet50_imagenet1k"',
        r'trust = "witnessed"',
        r"3\. ",
        r"sync: 5 good \(5 present\)",
        r"4\. ",
        r"resnet50_imagenet1k: failed: the origin now serves other bytes",
        r"\[exit 4: drift",
        r"5\. ",
        r"\$ ckptd update resnet50_imagenet1k",
        r"\[exit 0",
        r"6\. ",
        r"\$ ckptd verify",
        r"  damaged: \d+ bytes at offset 19988480",
        r"\[exit 3: integrity",
        r"7\. ",
        r"   ✓ The bit was turned back",
        r"\$ ckptd verify",
        r"verify: 5 intact",
        r"\[exit 0",
        r"All \d+ promises were kept, in \d+ s\.",
    ):
        assert any(re.match(pattern, line) for line in lines), f"{pattern} is missing, or not in its place:\n{out}"


def test_leaves_nothing_behind(told: tuple[int, str, list[Path], list[str]]) -> None:
    _, _, files, processes = told
    assert not files
    assert not processes


def test_reads_well_without_a_terminal(told: tuple[int, str, list[Path], list[str]]) -> None:
    """No colours, no traceback, and what the demo itself says fits 80 columns."""
    _, out, _, _ = told
    assert "\x1b" not in out
    assert "Traceback" not in out
    ours = [line for line in out.splitlines() if line.startswith(("   ", "[", "$ ")) or line[:2].rstrip(".").isdigit()]
    assert len(ours) > 40
    assert [line for line in ours if len(line) > 80] == []


@pytest.mark.parametrize(
    ("colour", "deaf"), [(True, False), (False, False), (False, True)], ids=["colour", "NO_COLOR", "in the background"]
)
def test_interrupted_on_a_terminal(tmp_path: Path, colour: bool, deaf: bool) -> None:
    """^C goes to the program and the demo alike: both end, the folder goes, the cursor is back."""
    master, slave = pty.openpty()
    shown = bytearray()

    def moving() -> bool:
        shown.extend(os.read(master, 65536))
        return b" %" in shown

    env = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **({} if colour else {"NO_COLOR": "1"})}
    try:
        with running(tmp_path, slave, env=env, deaf=deaf) as process:
            os.close(slave)
            wait_until(moving, seconds=60, what="the dashboard moves")
            os.killpg(process.pid, signal.SIGINT)
            try:
                while more := os.read(master, 65536):
                    shown.extend(more)
            except OSError:  # EIO: nobody has the terminal open any more
                pass
            assert process.wait(30) == 130, bytes(shown)
            assert_nothing_left(tmp_path, process.pid)
    finally:
        os.close(master)
    text = shown.decode("utf-8")
    assert "stopped; nothing is left behind" in ESCAPE.sub("", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert ("\x1b[1m1. " in text) is colour
    assert bool(re.search(r"\x1b\[(\d+;)*3\d", text)) is colour


def test_terminated(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SIGTERM reaches only the demo, which takes its child along."""
    log = tmp_path_factory.mktemp("log") / "out"
    with log.open("wb") as out, running(tmp_path, out) as process:
        wait_until(lambda: b": fetching" in log.read_bytes(), seconds=60, what="the sync fetches")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert_nothing_left(tmp_path, process.pid)


def test_reader_gone(tmp_path: Path) -> None:
    """`ckptd demo | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with running(tmp_path, writer) as process:
        os.close(writer)
        assert process.wait(60) == 1
        assert_nothing_left(tmp_path, process.pid)


def test_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    with pytest.raises(StorageError, match="temporary folder"):
        demo.show_all(keep=False)


def test_a_promise_that_is_broken_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The demo is a self-test: a program that does nothing and exits 0 does not pass."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(demo_stage, "_program", lambda: [sys.executable, "-c", ""])
    assert demo.show_all(keep=False) == 1
    assert "did not go as promised" in capfd.readouterr().out
    assert not list(tmp_path.iterdir())

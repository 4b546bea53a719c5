"""Who uses a stored file: real processes that have it open or mapped, under its name or no name any more."""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ckptd.core.models import Holder, Usage
from ckptd.store import holders as module
from ckptd.store.holders import LONGEST_COMMAND, holders, shown

BEGIN = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
fd = os.open(sys.argv[1], os.O_RDONLY)
"""
MAP = "libc.mmap(None, 1, 1, 2, fd, 0)\n"  # PROT_READ, MAP_PRIVATE: as libraries load weights
CLOSE = "os.close(fd)\n"
END = "print('ready', flush=True)\nsys.stdin.read()\n"
WAYS = {"open": BEGIN + END, "mapped": BEGIN + MAP + CLOSE + END, "open and mapped": BEGIN + MAP + END}
Start = Callable[..., "subprocess.Popen[bytes]"]
libc = ctypes.CDLL(None, use_errno=True)
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE = 19, 21, 40


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that uses a file in a way of WAYS; it goes on until the test ends."""
    with ExitStack() as stack:

        def begin(how: str, path: Path, *more: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-I", "-S", "-c", WAYS[how], str(path), *more]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            return process

        yield begin


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"w" * 10_000)
    return path


def seen(usage: Usage) -> dict[int, str]:
    return {holder.pid: holder.how for holder in usage.holders}


def identity(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def without(*capabilities: int) -> ThreadPoolExecutor:
    """One thread that lacks these (capabilities(7)), and so do the threads that it starts."""
    if os.geteuid() != 0:
        pytest.skip("only root has privileges to give up")

    def drop() -> None:
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        for number in capabilities:
            sets[number // 32 * 3] &= ~(1 << number % 32) & 0xFFFFFFFF
        assert libc.capset(header, sets) == 0

    return ThreadPoolExecutor(1, initializer=drop)


# --- who is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("by", ["path", "pair"])
def test_a_process_that_uses_the_file(file: Path, start: Start, how: str, by: str) -> None:
    other = file.with_name("other.bin")
    other.write_bytes(b"other")
    process, bystander = start(how, file), start(how, other)
    usage = holders(file if by == "path" else identity(file))
    assert seen(usage) == {process.pid: how}
    assert bystander.pid not in seen(usage)


def test_what_is_said_of_it(file: Path, start: Start) -> None:
    before = time.time()
    process = start("open", file, "--hf-token", "hunter2", "--lr=0.1")
    (holder,) = holders(file).holders
    assert holder.pid == process.pid
    assert holder.user == pwd.getpwuid(os.geteuid()).pw_name
    assert before - 1 <= holder.since <= time.time() + 1  # the kernel counts in hundredths, since it was started
    assert holder.command.startswith(f"{sys.executable} -I -S -c ")
    assert "hunter2" not in holder.command


@pytest.mark.parametrize("how", WAYS)
def test_a_file_that_was_renamed_or_replaced(file: Path, start: Start, how: str) -> None:
    process = start(how, file)
    aside = file.rename(file.with_name("aside"))
    assert holders(file) == Usage()
    assert seen(holders(aside)) == {process.pid: how}
    file.write_bytes(b"mended")
    assert process.pid not in seen(holders(file))


@pytest.mark.parametrize("how", WAYS)
def test_a_file_that_has_no_name_any_more(file: Path, start: Start, how: str) -> None:
    process, was = start(how, file), identity(file)
    file.unlink()
    assert seen(holders(was)) == {process.pid: how}


def test_all_of_them_in_order(file: Path, start: Start) -> None:
    started = [start(how, file).pid for how in WAYS for _ in range(2)]
    assert [holder.pid for holder in holders(file).holders] == sorted(started)


def test_we_ourselves_are_no_news(file: Path) -> None:
    with file.open("rb"):
        assert not holders(file).holders


def test_a_link_is_not_followed(file: Path, start: Start) -> None:
    start("open", file)
    link = file.with_name("link")
    link.symlink_to(file)
    assert not holders(link).holders


@pytest.mark.parametrize("content", [b"", b"x"])
def test_small_files(file: Path, start: Start, content: bytes) -> None:
    file.write_bytes(content)
    process = start("open", file)
    assert seen(holders(file)) == {process.pid: "open"}


def test_a_name_with_a_line_break(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "a\nb (deleted)"
    path.write_bytes(b"x")
    process = start("mapped", path)
    assert seen(holders(path)) == {process.pid: "mapped"}


# --- where devices are not what they seem ----------------------------------------------------------------------------


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """mount(8), undone after the test; skips where that is not allowed."""
    with ExitStack() as stack:

        def do(folder: Path, *arguments: str) -> None:
            folder.mkdir(exist_ok=True)
            done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"cannot mount here: {done.stderr.decode()}")
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)

        yield do


@pytest.mark.parametrize("allowed", [True, False], ids=["with map_files", "without"])
def test_equal_inode_numbers_on_two_filesystems(
    tmp_path: Path, mount: Callable[..., None], start: Start, allowed: bool
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        mount(folder, "-t", "tmpfs", "none")
        (folder / "file").write_bytes(b"x")
    if identity(first / "file")[1] != identity(second / "file")[1]:
        pytest.skip("inode numbers differ")
    process = start("mapped", second / "file")
    with without(*(() if allowed else (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE))) as thread:
        assert not thread.submit(holders, first / "file").result().holders
        assert seen(thread.submit(holders, second / "file").result()) == {process.pid: "mapped"}


@pytest.mark.parametrize("allowed", [True, False], ids=["with map_files", "without"])
@pytest.mark.parametrize("layer", ["lower", "upper"])
def test_a_filesystem_whose_maps_show_another_device(
    tmp_path: Path, mount: Callable[..., None], start: Start, allowed: bool, layer: str
) -> None:
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    mount(lower, "-t", "tmpfs", "none")
    (lower / "file").write_bytes(b"x" * 100)
    upper.mkdir()
    work.mkdir()
    mount(merged, "-t", "overlay", "none", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}")
    if layer == "upper":
        (merged / "file").unlink()
        (merged / "file").write_bytes(b"y" * 100)
    elsewhere = tmp_path / "elsewhere"
    mount(elsewhere, "--bind", str(merged))
    process = start("mapped", elsewhere / "file")  # as in a container: the path too is another
    with without(*(() if allowed else (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE))) as thread:
        assert seen(thread.submit(holders, merged / "file").result()) == {process.pid: "mapped"}


# --- what cannot be seen ---------------------------------------------------------------------------------------------


def test_processes_that_we_may_not_look_at_are_counted(file: Path, start: Start) -> None:
    process = start("open", file)
    with without(CAP_SYS_PTRACE) as thread:
        usage = thread.submit(holders, file).result()
    assert process.pid not in seen(usage)
    assert usage.unseen > holders(file).unseen
    assert usage.complete


def test_as_another_user(file: Path, start: Start) -> None:
    """Not even the lists may be read then."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    process = start("open", file)
    look = (
        "import os, sys; from pathlib import Path; from ckptd.store.holders import holders;"
        "os.setgroups([]); os.setresgid(54321, 54321, 54321); os.setresuid(54321, 54321, 54321);"
        "usage = holders((int(sys.argv[1]), int(sys.argv[2])));"
        "print(len(usage.holders), usage.unseen > 0, usage.complete)"
    )
    command = [sys.executable, "-c", look, *map(str, identity(file))]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "0 True True\n"
    assert seen(holders(file)) == {process.pid: "open"}


def test_who_can_hold_a_file_at_all(file: Path, start: Start) -> None:
    """Others are not counted as unseen."""
    process = start("open", file)
    folder = os.open(f"/proc/{process.pid}", os.O_RDONLY)
    assert module._can_hold(folder)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ended, and nobody has asked yet
    assert not module._can_hold(folder)
    os.close(folder)
    assert not holders(file).holders
    kernel = Path("/proc/2")
    if kernel.exists() and (kernel / "comm").read_text(encoding="utf-8") == "kthreadd\n":
        folder = os.open(kernel, os.O_RDONLY)
        assert not module._can_hold(folder)
        os.close(folder)


@pytest.mark.parametrize("again", [False, True], ids=["gone", "its number is another's now"])
def test_one_that_ends_while_we_look(file: Path, start: Start, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    process, real = start("open", file), module._describe

    def ending(pid: int, how: str) -> Holder:
        process.kill()
        process.wait()
        return Holder(pid, "eve", "another process", 0.0, how) if again else real(pid, how)

    monkeypatch.setattr(module, "_describe", ending)
    usage = holders(file)
    assert usage.holders == ()
    assert usage.complete


def test_processes_that_are_hidden(file: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hidepid=invisible` shows it: ours, and not the first."""
    process, real = start("open", file), os.listdir

    def some(path: str | int) -> list[str]:
        return [name for name in real(path) if path != "/proc" or name in {str(process.pid), str(os.getpid())}]

    monkeypatch.setattr(os, "listdir", some)
    usage = holders(file)
    assert seen(usage) == {process.pid: "open"}
    assert not usage.complete


def test_no_proc_at_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", none)
    assert holders(file) == Usage(complete=False)


def test_no_time_left(file: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("open", file)
    monkeypatch.setattr(module, "DEADLINE", 0.0)
    assert not holders(file).complete


def test_processes_that_do_not_answer(file: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found before is said; more and more threads that hang there are not started."""
    first, second = sorted((start("open", file).pid, start("open", file).pid))
    released, real, stuck = threading.Event(), module._has_open, threading.Semaphore(0)

    def hanging(folder: int, wanted: tuple[int, int]) -> bool:
        if os.readlink(f"/proc/self/fd/{folder}") == f"/proc/{second}":
            stuck.release()
            released.wait()
        return real(folder, wanted)

    monkeypatch.setattr(module, "_has_open", hanging)
    monkeypatch.setattr(module, "DEADLINE", 0.5)
    monkeypatch.setattr(module, "_SLOTS", threading.BoundedSemaphore(2))
    try:
        for _ in range(2):
            usage = holders(file)
            assert (seen(usage), usage.complete) == ({first: "open"}, False)
            assert stuck.acquire(timeout=20)
        assert holders(file) == Usage(complete=False)
        assert not stuck.acquire(blocking=False)
    finally:
        released.set()
    assert module._SLOTS.acquire(timeout=20)  # they come back
    assert module._SLOTS.acquire(timeout=20)


# --- how a command is shown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], ""),
        (["python", "train.py", "--lr", "0.1"], "python train.py --lr 0.1"),
        (["a\nb", "\x1b[31mred", "\u202etxt"], "a\ufffdb \ufffd[31mred \ufffdtxt"),
        (["\udcff"], "\ufffd"),
        (["curl", "https://u:pw@example.org/x?sig=abc"], "curl https://example.org/x?..."),
        (["run", "--token", "abc", "x"], "run --token ... x"),
        (["run", "--hf-token=a b c", "x"], "run --hf-token=... x"),
        (["run", "--api_key", "abc", "--password=", "x"], "run --api_key ... --password=... x"),
        (["run", "--token", "--verbose"], "run --token --verbose"),
        (["env", "HF_TOKEN=abc", "python"], "env HF_TOKEN=... python"),
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization:..."),
        (["sh", "-c", "cd x && AWS_SECRET_ACCESS_KEY=abc run"], "sh -c cd x && AWS_SECRET_ACCESS_KEY=... run"),
        (["sh", "-c", "run --token abc x"], "sh -c run --token ... x"),
        (["sh", "-c", "curl -H 'Authorization: Bearer abc'"], "sh -c curl -H 'Authorization: ..."),
        (
            ["run", "--tokenizer", "gpt2", "--max-tokens=5", "tokens.bin"],
            "run --tokenizer gpt2 --max-tokens=5 tokens.bin",
        ),
        (["x" * 500], "x" * (LONGEST_COMMAND - 3) + "..."),
        (["x" * LONGEST_COMMAND], "x" * LONGEST_COMMAND),
        (["https://example.org/?signature=" + "s" * 5000, "x"], "https://example.org/?..."),
    ],
)
def test_a_command_line(arguments: list[str], text: str) -> None:
    assert shown(arguments) == text


@pytest.mark.parametrize("filler", range(150, 260, 5))
def test_no_secret_at_the_edge_of_what_is_shown(filler: int) -> None:
    for secret in ("--token=hunter2hunter2", "https://u:hunter2@example.org/?key=hunter2", "Bearer hunter2hunter2"):
        text = shown(["x" * filler, secret])
        assert "hunter" not in text
        assert len(text) <= LONGEST_COMMAND

"""`ckptd watch` at work. On a terminal the dashboard of the running daemon, elsewhere plain lines.

Watching is only watching: however it ends, the daemon goes on with its work.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ckptd.cli import output
from ckptd.cli.options import Options
from ckptd.core.events import Event
from ckptd.errors import MissingError, Stopped, StorageError

if TYPE_CHECKING:
    from rich.console import Console

    from ckptd.ui.terminal import Fullscreen
    from ckptd.ui.watch import Watch

FRAMES = 8  # a second, at most
TICK = 1.0  # seconds after which times are drawn anew though nothing happened
FIRST_WORD = 2.0  # seconds in which a daemon's first word is waited for before the screen is taken
ANSWER = 15.0  # seconds that --once waits
LINES = 40  # of --once where there is no terminal to say
LEAVE = frozenset(b"qQ\x03\x04")  # ^C as a byte comes from terminals that make no signal of it
SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O?.)", re.DOTALL)  # one key that is more than a byte (ECMA-48, 5.4)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
GOES_ON = "the daemon goes on with its work"


class Watcher(Protocol):
    """Whoever is told what the daemon says."""

    def standing(self, content: Mapping[str, object]) -> None:
        """How everything stands."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def away(self, why: str) -> None:
        """There is no daemon."""


def show_daemon(options: Options, *, once: bool, wait: bool) -> int:
    """The exit status of `ckptd watch`. Raises CkptdError, Stopped."""
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service.remote import socket_of  # noqa: PLC0415

    if options.json:
        return _json(options)
    path = socket_of(options.workplace(()))
    console = None if once else _console()
    try:
        if once:
            return run(_once(path, wait=wait))
        if console is None:
            return run(_plain(options, path, wait=wait))
        number, attached = run(_screen(console, path, wait=wait))
    except Stopped as stopped:
        raise Stopped(stopped.number, GOES_ON) from None
    left = GOES_ON if attached else "there was no daemon in the end"
    if number == signal.SIGHUP:
        return 128 + number  # nobody is there to read more
    if number:
        raise Stopped(number, left)
    if not options.quiet:
        print(f"ckptd: {left}", file=sys.stderr)
    return 0


def _json(options: Options) -> int:
    from ckptd.cli.running import run  # noqa: PLC0415
    from ckptd.service import remote  # noqa: PLC0415

    account = run(remote.document(options.workplace(())))
    if account is None:
        raise MissingError("there is no daemon to watch", hint="start it: `ckptd daemon`, or its service")
    checkpoints = account.get("checkpoints")
    nothing_done = {"bytes_fetched": 0, "bytes_reused": 0, "error": None}
    listed = [{**nothing_done, **each} for each in checkpoints] if isinstance(checkpoints, list) else []
    head = {"schema": output.SCHEMA, "command": "watch", "exit": 0, "checkpoints": listed}
    output.say([json.dumps({**head, **account, **head}, indent=2)])
    return 0


def _console() -> Console | None:
    """The terminal to draw on; None where there is none that can be drawn on."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console  # noqa: PLC0415  # costs 80 ms: only who looks pays

    from ckptd.ui.dashboard import Dashboard  # noqa: PLC0415

    console = Console()
    return console if Dashboard.suits(console) else None


async def _follow(path: Path, watcher: Watcher, news: Callable[[], None], *, wait: bool) -> None:
    """Tell `watcher` what the daemon says, and call `news` each time; endless. Raises CkptdError, as `follow` does."""
    from ckptd.core.wire import Result, Standing  # noqa: PLC0415
    from ckptd.service.follow import Away, follow  # noqa: PLC0415

    async with aclosing(follow(path, wait=wait)) as said:
        async for word in said:
            match word:
                case Away(why):
                    watcher.away(why)
                case Standing(content):
                    watcher.standing(content)
                case Result():
                    pass
                case _:
                    watcher.event(word)
            news()


# --- on a terminal -----------------------------------------------------------------------------------------------


async def _screen(console: Console, path: Path, *, wait: bool) -> tuple[int, bool]:
    """Draw until somebody ends it: the signal's number, or 0 for a key, and whether there was a daemon then."""
    from ckptd.ui.terminal import Fullscreen  # noqa: PLC0415
    from ckptd.ui.watch import Watch  # noqa: PLC0415

    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    watch = Watch(time.monotonic, f"{'q' if keys is not None else '^C'} quits; {GOES_ON}")
    news = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(path, watch, news.set, wait=wait))
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORD):
                await news.wait()
        with Fullscreen(console, keys) as screen:
            ended = _listen(screen, keys, news)
            drawing = group.create_task(_draw(watch, screen, news))
            drawing.add_done_callback(lambda _: None if ended.done() else ended.set_result(signal.SIGHUP))
            number = await ended
            drawing.cancel()
        following.cancel()
    return number, watch.attached


async def _draw(watch: Watch, screen: Fullscreen, news: asyncio.Event) -> None:
    """Draw when there are news, and every second; ends when the terminal is gone."""
    from ckptd.ui.frame import ASCII, UNICODE  # noqa: PLC0415

    with suppress(OSError):
        while True:
            news.clear()
            columns, lines = screen.size
            screen.paint(watch.frame(columns, lines, ASCII if screen.ascii_only else UNICODE))
            await asyncio.sleep(1 / FRAMES)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK - 1 / FRAMES):
                    await news.wait()


def _listen(screen: Fullscreen, keys: int | None, news: asyncio.Event) -> asyncio.Future[int]:
    """Mind keys and signals; the number of the signal that ends it, 0 for a key."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    def pressed() -> None:
        found = screen.read()
        if not found or LEAVE.intersection(SEQUENCE.sub(b"", found)):
            loop.remove_reader(keys or 0)
            end(0)

    def resized() -> None:
        screen.forget()
        news.set()

    def go_on() -> None:
        if not ended.done():
            screen.take()
            news.set()

    def rest() -> None:
        """^Z: the shell gets its terminal back as it was, and we stand still here until `fg`."""
        screen.leave()
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.raise_signal(signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, rest)
        go_on()

    for number in ENDING:
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGWINCH, resized)
    loop.add_signal_handler(signal.SIGCONT, go_on)
    loop.add_signal_handler(signal.SIGTSTP, rest)
    if keys is not None:
        loop.add_reader(keys, pressed)
    return ended


# --- elsewhere ---------------------------------------------------------------------------------------------------


async def _once(path: Path, *, wait: bool) -> int:
    """One frame. Where there is work it takes a second: rates want time."""
    from rich.console import Console  # noqa: PLC0415

    from ckptd.ui.frame import ASCII, UNICODE  # noqa: PLC0415
    from ckptd.ui.terminal import Page  # noqa: PLC0415
    from ckptd.ui.watch import Watch  # noqa: PLC0415

    watch, enough = Watch(time.monotonic), asyncio.Event()

    def look() -> None:
        if watch.account is not None and (watch.standings > 1 or not watch.account.work):
            enough.set()

    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(path, watch, look, wait=wait))
        try:
            async with asyncio.timeout(None if wait else ANSWER):
                await enough.wait()
        except TimeoutError:
            raise StorageError(f"the daemon at {path} does not answer", hint="look at its log, or restart it") from None
        following.cancel()
    console = Console()
    signs = ASCII if console.options.ascii_only else UNICODE
    lines = console.size.height - 1 if console.is_terminal else LINES
    console.print(Page(watch.frame(console.size.width, lines, signs)), end="", crop=False)
    return 0


async def _plain(options: Options, path: Path, *, wait: bool) -> int:
    """Lines, until stopped. Raises BrokenPipeError when nobody reads them any more."""
    from ckptd.ui.watch_lines import WatchLines  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    loop, descriptor, unread = asyncio.get_running_loop(), sys.stdout.fileno(), asyncio.Event()
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        loop.add_reader(descriptor, unread.set)  # a pipe that nobody reads is "readable" for whoever writes to it
    lines = WatchLines(sys.stdout, time.monotonic, verbose=options.verbose, quiet=options.quiet)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(path, lines, lambda: None, wait=wait))
        await unread.wait()
        loop.remove_reader(descriptor)
        following.cancel()
    raise BrokenPipeError

"""A week of the daemon with 500 checkpoints in simulated time: bad origins, a day without names, clocks that jump."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import signal
import socket
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import tomli_w
import warp
from workplace import sha256, tgz

from ckptd.core.incidents import Kind
from ckptd.core.roster import JITTER
from ckptd.errors import Stopped
from ckptd.service.daemon import Daemon
from ckptd.service.workplace import enter

COUNT = 500
HOUR, DAY = 3600.0, 86_400.0
EVERY, MAX_AGE = DAY, 2 * DAY
HOSTS = ("one.test", "two.test", "three.test")
NAMES_AWAY = (2 * DAY, 3 * DAY)
JUMPS = {1.5 * DAY: 6 * HOUR, 3.4 * DAY: -9 * HOUR, 5.2 * DAY: 3 * DAY}  # of the clock on the wall
RESTARTS = tuple(day * DAY for day in (0.4, 1.1, 2.6, 3.9, 4.5, 5.8, 6.2))


@dataclass
class World:
    """The origins, what they hold, and how they behave; times in seconds since the week began."""

    clock: warp.Clock
    chance: random.Random
    bodies: dict[str, bytes]  # by path
    begun: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)

    @property
    def now(self) -> float:
        return self.clock.monotonic() - self.begun

    def resolve(self, host: str) -> str:
        """What name servers say."""
        if host in HOSTS:
            if NAMES_AWAY[0] <= self.now < NAMES_AWAY[1]:
                self.trouble["names"] += 1
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return "127.0.0.1"
        return host

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to any of the origins."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self._answer(head.decode("latin-1"), writer):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is good for another request."""
        method, path, _ = head.split(" ", 2)
        self.asked[path] += 1
        body = self.bodies[path]
        match self._mood(head):
            case "500" | "404" | "503" as mood:
                more = "Retry-After: 10\r\n" if mood == "503" else ""
                writer.write(f"HTTP/1.1 {mood} No\r\n{more}Content-Length: 0\r\n\r\n".encode())
                return True
            case "page":
                page = b"<!doctype html><title>Sign in</title>"
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
                    + (page if method == "GET" else b"")
                )
                return True
            case "silence":
                await asyncio.sleep(HOUR)
                return False
            case "flip":
                body = body[:999] + bytes([body[999] ^ 1]) + body[1000:]
            case "cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[: len(body) // 2]))
                return False
        asked = re.search(r"\r\nrange: bytes=(\d+)-(\d*)\r\n", head, re.IGNORECASE)
        start, end = (int(asked[1]), int(asked[2] or len(body) - 1) + 1) if asked else (0, len(body))
        end = min(end, len(body))
        status = f"206 Partial\r\nContent-Range: bytes {start}-{end - 1}/{len(body)}" if asked else "200 OK"
        said = f'HTTP/1.1 {status}\r\nETag: "{sha256(self.bodies[path])[:16]}"\r\nContent-Length: {end - start}\r\n\r\n'
        writer.write(said.encode() + (body[start:end] if method == "GET" else b""))
        return True

    def _mood(self, head: str) -> str:
        """Each host has bad hours in which all fails, and is odd now and then; the last half day is calm."""
        hour, host = int(self.now // HOUR), next(each for each in HOSTS if each in head)
        if self.now > 6.5 * DAY:
            return ""
        mood = ""
        if random.Random(f"{host} {hour}").random() < 0.1:  # noqa: S311
            mood = "503"
        elif self.chance.random() < 0.15:
            mood = self.chance.choice(["500", "404", "503", "page", "silence", "flip", "cut"])
        self.trouble[mood] += 1
        return mood


@dataclass
class Week:
    """The daemon's week, and what was seen of it."""

    world: World
    manifest: Path
    store: Path
    damaged: dict[str, float] = field(default_factory=dict)  # when, by name
    complaints: list[str] = field(default_factory=list)
    turned: dict[str, float] = field(default_factory=dict)  # when each was last seen to wait for its next turn
    kept: int = 0
    looks: int = 0
    sizes: list[float] = field(default_factory=list)  # MB
    mended: int = 0
    incidents: list[tuple[Kind, str]] = field(default_factory=list)  # at the last look

    async def live(self) -> None:
        """Seven days, with restarts."""
        world = self.world
        task, daemon = self._begin()
        restarts, jumps = list(RESTARTS), dict(JUMPS)
        excused = 0.0
        while world.now < 7 * DAY:
            await asyncio.sleep(HOUR)
            if restarts and world.now >= restarts[0]:
                restarts.pop(0)
                await self._end(task)
                task, daemon = self._begin()
                await asyncio.sleep(60)
            for at in [each for each in jumps if world.now >= each]:
                world.clock.wrong += jumps.pop(at)
                excused = world.now + 6 * HOUR  # all that the jump made too old has to be read again
            self._harm()
            assert not task.done(), task
            await self._look(daemon, excused=world.now < excused)
        await self._end(task)

    def _begin(self) -> tuple[asyncio.Task[None], Daemon]:
        daemon = Daemon(enter(self.manifest, ()))
        return asyncio.create_task(daemon.run()), daemon

    async def _end(self, task: asyncio.Task[None]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            await task

    def _harm(self) -> None:
        """Rot, and people who take files away."""
        if self.world.chance.random() < 0.5 or self.world.now > 6 * DAY:
            return
        name = f"c{self.world.chance.randrange(COUNT)}"
        file = self.store / name / f"{name}.tgz"
        if not file.exists():
            return
        if self.world.chance.random() < 0.2:
            file.unlink()
        else:
            body = bytearray(file.read_bytes())
            body[len(body) // 2] ^= 4
            times = file.stat()
            file.chmod(0o644)
            file.write_bytes(body)
            file.chmod(0o444)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.damaged[name] = self.world.now

    def good(self, name: str) -> bool:
        file = self.store / name / f"{name}.tgz"
        return file.exists() and file.read_bytes() == self.world.bodies[f"/{name}.tgz"]

    async def _look(self, daemon: Daemon, *, excused: bool) -> None:
        now, held = self.world.now, await daemon.promise()
        for name in [each for each in self.damaged if self.good(each)]:
            del self.damaged[name]
            self.mended += 1
        self.looks += 1
        self.kept += held.kept
        if not held.kept and not self.damaged and not excused:
            self.complaints.append(f"{now / HOUR:.0f} h: the promise is broken by {held}")
        for name, at in self.damaged.items():
            if now - at > MAX_AGE + 2 * DAY:
                self.complaints.append(f"{now / HOUR:.0f} h: {name} is damaged since {at / HOUR:.0f} h")
        for name, turn in daemon.roster.turns.items():
            if turn.due != float("inf"):
                self.turned[name] = now
            if now - self.turned.get(name, 0.0) > 3 * HOUR:
                self.complaints.append(f"{now / HOUR:.0f} h: {name} has no turn")
            if turn.due != float("inf") and turn.due > self.world.clock.monotonic() + EVERY * (1 + JITTER):
                self.complaints.append(f"{now / HOUR:.0f} h: {name} waits too long")
        self.sizes.append(psutil.Process().memory_info().rss / 1e6)
        self.incidents = [each for each in daemon.watchman.incidents.open if each[0] is not Kind.DRIFT]


@dataclass(frozen=True)
class Seen:
    """What the week's process tells of it."""

    complaints: list[str]
    incidents: list[tuple[Kind, str]]  # that are open at the end
    bad: list[str]  # what is not there, or not as it should be, at the end
    asked: int  # requests to the origin of whom was asked least
    mended: int
    trouble: dict[str, int]
    looks: int
    kept: int  # looks at which the promise was kept
    sizes: list[float]  # MB


def live_through(folder: Path) -> Seen:
    """The week, in a process of its own: what that grows by is the daemon's."""
    chance = random.Random(500)  # noqa: S311
    bodies = {f"/c{number}.tgz": tgz(chance.randrange(12_000, 40_000), number) for number in range(COUNT)}
    with pytest.MonkeyPatch.context() as patch, warp.leaping(patch) as clock:
        # At every look it reads what is known of all of them: that costs real time.
        patch.setattr("ckptd.service.daemon.LOOK_AT_PROMISE", 900.0)
        world = World(clock, chance, bodies, clock.monotonic())
        week = Week(world, folder / "manifest.toml", folder / "checkpoints")

        async def whole() -> None:
            server = await asyncio.start_server(world.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            entries = [
                {"name": path[1:-4], "url": f"http://{HOSTS[number % 3]}:{port}{path}", "sha256": sha256(body)}
                for number, (path, body) in enumerate(bodies.items())
            ]
            document = {
                "sync": {"every": f"{EVERY:.0f}s"},
                "verify": {"max_age": f"{MAX_AGE:.0f}s", "io_pressure": "off", "memory_pressure": "off"},
                "transfer": {"retries": 2, "stall_timeout": "10s"},
                "checkpoint": entries,
            }
            week.manifest.write_text(tomli_w.dumps(document))
            async with server:
                await week.live()

        warp.run(clock, world.resolve, whole())
    return Seen(
        week.complaints,
        week.incidents,
        [path for path in bodies if not week.good(path[1:-4])],
        min(world.asked[path] for path in bodies),
        week.mended,
        dict(world.trouble),
        week.looks,
        week.kept,
        week.sizes,
    )


@pytest.mark.slow
@pytest.mark.long
def test_a_simulated_week(tmp_path: Path) -> None:
    """The promise is kept whenever it can be, none starves, damage is mended, memory does not grow."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        seen = processes.submit(live_through, tmp_path).result(timeout=900)
    print(seen.trouble, f"{seen.mended} mended, promise kept at {seen.kept} of {seen.looks} looks")
    first, last = max(seen.sizes[:96]), max(seen.sizes[96:])  # four days, and the three after them
    print(f"{first:.0f}, then {last:.0f} MB")
    assert seen.complaints == []
    assert seen.incidents == []
    assert seen.bad == []
    assert seen.mended > 20
    assert seen.asked > len(RESTARTS) // 2, "somebody's origin is not asked"
    assert last < first + 5

"""The power goes, or the process, between any two steps of repair and publication: what is damaged is mended or stays.

Never does a name show bytes that are neither proven nor the damaged ones that were there before, and never does the
lock promise what is neither under its name nor in quarantine.

Real filesystems in loop mounts, as in test_powercut. The program runs in a process that was forked for it (this very
file, as a script): before every call that moves names or makes them durable it counts, and at the chosen one the disk
loses its power.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults as f
import pytest
from loops import unmount
from origin import Origin, Origins
from test_powercut import FILESYSTEMS, NO_LOG_FLUSH, SHUTDOWN
from workplace import Workplace, sha256

pytestmark = pytest.mark.slow

CUT = 99  # exit status of a run that lost its power
STEPS = ("rename", "replace", "fsync", "fdatasync", "ftruncate", "fchmod", "unlink", "mkdir", "rmdir")
BLOCK = 64 * 1024
BODY = random.Random(11).randbytes(1_500_000)  # noqa: S311
OTHER = random.Random(12).randbytes(1_500_000)  # noqa: S311
PATH = "/a.bin"


# --- the disk --------------------------------------------------------------------------------------------------------


class Disk:
    """A filesystem that can lose its power, and be put back to what it was."""

    def __init__(self, root: Path, kind: str) -> None:
        make, size, self._options = FILESYSTEMS[kind]
        self._image, self._kept, self.path = root / "disk.img", root / "kept.img", root / "disk"
        self.path.mkdir()
        self._kind, self._mounted = kind, False
        subprocess.run(["truncate", "-s", size, str(self._image)], check=True)
        subprocess.run([*make, str(self._image)], check=True, capture_output=True)
        self.mount()

    def mount(self) -> None:
        command = ["mount", "-t", self._kind, "-o", f"loop,{self._options}", str(self._image), str(self.path)]
        subprocess.run(command, check=True, capture_output=True)
        self._mounted = True

    def unmount(self) -> None:
        if self._mounted:
            unmount(self.path, self._image)
            self._mounted = False

    def keep(self) -> None:
        """This is what `restore` goes back to."""
        self.unmount()
        subprocess.run(["cp", "--sparse=always", str(self._image), str(self._kept)], check=True)
        self.mount()

    def restore(self) -> None:
        self.unmount()
        subprocess.run(["cp", "--sparse=always", str(self._kept), str(self._image)], check=True)
        self.mount()

    def again(self) -> None:
        """The machine starts again."""
        self.unmount()
        self.mount()


@pytest.fixture(params=sorted(FILESYSTEMS))
def disk(request: pytest.FixtureRequest, tmp_path: Path, lacking: Callable[[str], None]) -> Iterator[Disk]:
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    made = Disk(tmp_path, request.param)
    yield made
    made.unmount()


# --- the program -----------------------------------------------------------------------------------------------------


class Runner:
    """Runs the program in forks of one process."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w")
        self.output = log.with_suffix(".out")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": "UTC", "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def run(self, disk: Disk, step: int, *args: str) -> int:
        """One run, in which the power goes before the step of that number (0: never); its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(disk.path), step, str(self.output), args]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def report(self, name: str) -> dict[str, Any]:
        entries = json.loads(self.output.read_text())["checkpoints"]
        found: dict[str, Any] = next(entry for entry in entries if entry["name"] == name)
        return found

    def close(self) -> None:
        self._process.communicate(timeout=30)
        self._log.close()
        assert "Traceback" not in Path(self._log.name).read_text()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path / "log")
    yield made
    made.close()


def _arm(folder: str, step: int) -> None:
    """Before the step of that number the power of the disk at `folder` goes; 0: never."""
    lock, count = threading.Lock(), [0]

    def pass_one() -> None:
        with lock:
            count[0] += 1
            if count[0] == step:
                fd = os.open(folder, os.O_RDONLY)
                fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
                os._exit(CUT)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **keys: object) -> Any:
            pass_one()
            return function(*args, **keys)

        return call

    from ckptd.store import copying, state  # noqa: PLC0415

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    state._commit = counted(state._commit)
    copying.fill = counted(copying.fill)


def _one(folder: str, step: int, output: str, arguments: list[str]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    from ckptd.cli.main import main  # noqa: PLC0415

    try:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.chdir(Path(folder) / "site")
        if step:
            _arm(folder, step)
        main(arguments)
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 70)
    finally:
        os._exit(71)


# --- what must hold --------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A store on a disk, with one checkpoint of which `damaged` lies there."""

    disk: Disk
    runner: Runner
    site: Workplace
    origin: Origin
    damaged: bytes = b""

    @property
    def file(self) -> Path:
        return self.site.store / "a" / "a.bin"

    def quarantined(self) -> bool:
        """Whether the damaged file is in quarantine, whole; also when the power went before its entry had its name."""
        folder = self.site.state / "quarantine"
        return any(path.is_file() and path.read_bytes() == self.damaged for path in folder.rglob("*"))

    def check(self, *allowed: bytes) -> None:
        """No unproven bytes are visible, and nothing that is promised is lost."""
        site = self.site
        site.extra_digests = {sha256(body) for body in allowed}
        if self.file.exists():
            assert self.file.read_bytes() in allowed, "bytes that are neither damaged nor proven"
        lock = site.lock
        if "a" in lock:
            assert self.file.exists() or self.quarantined(), "the lock promises what is not there"
        shown = [path for path in site.visible() if path.is_file()]
        assert shown in ([], [self.file])

    def every_step(self, *args: str, limit: int = 200) -> Iterator[int]:
        """The disk as it was, then a run that ends at each step in turn; its number. The last run is whole."""
        self.disk.keep()
        for step in range(1, limit):
            self.disk.restore()
            status = self.runner.run(self.disk, step, *args)
            self.disk.again()
            yield step
            if status != CUT:
                return
        pytest.fail("no end in sight")


@pytest.fixture
def scene(disk: Disk, runner: Runner, origins: Origins) -> Scene:
    site = Workplace(disk.path / "site", origins.made)
    origin = origins.new()
    site.one(origin.put(PATH, BODY))
    os.sync()
    return Scene(disk, runner, site, origin)


def damage(scene: Scene) -> None:
    """Sync, then damage one block."""
    assert scene.runner.run(scene.disk, 0, "sync") == 0
    scene.file.chmod(0o644)
    with scene.file.open("r+b") as file:
        file.seek(5 * BLOCK + 10)
        file.write(b"damaged")
    scene.file.chmod(0o444)
    scene.damaged = scene.file.read_bytes()
    os.sync()


# What XFS does otherwise shows in the repair; the others take a minute on each filesystem.
ONE = pytest.mark.parametrize("disk", ["ext4"], indirect=True)


def test_repair(scene: Scene) -> None:
    """The damaged original or the proven file, at any time; and what follows needs nobody's help."""
    damage(scene)
    steps, mended = 0, 0
    for step in scene.every_step("verify", "--repair"):
        steps += 1
        scene.check(scene.damaged, BODY)
        mended += scene.file.read_bytes() == BODY
        # Only what is due: nothing may count as verified that is not under its name.
        assert scene.runner.run(scene.disk, 0, "verify", "--repair", "--older-than", "7d") == 0, step
        scene.site.assert_good("a", BODY)
        assert scene.runner.run(scene.disk, 0, "sync") == 0
        assert not list((scene.site.state / "partials").iterdir())
        assert not list((scene.site.state / "quarantine").glob(".*"))
    assert steps > 15
    assert 0 < mended < steps


@ONE
def test_taking_away(scene: Scene) -> None:
    """The origin has another version: the file is under its name or in quarantine, whole, never in neither."""
    damage(scene)
    scene.origin.put(PATH, OTHER)
    moved, steps = 0, 0
    for _ in scene.every_step("verify", "--repair"):
        steps += 1
        scene.check(scene.damaged)
        moved += not scene.file.exists()
        assert scene.runner.run(scene.disk, 0, "verify", "--repair") in {1, 3}
        assert not scene.file.exists()
        assert scene.quarantined()
        assert not list((scene.site.state / "quarantine").glob(".*")), "left half-done"
        scene.origin.put(PATH, BODY)
        assert scene.runner.run(scene.disk, 0, "verify", "--repair") == 0
        scene.site.assert_good("a", BODY)
        scene.origin.put(PATH, OTHER)
    assert steps > 10
    assert 0 < moved < steps


@ONE
def test_first_publication(scene: Scene) -> None:
    """Nothing, or the proven file; the lock names it only when it is there."""
    published, steps = 0, 0
    for step in scene.every_step("sync"):
        steps += 1
        scene.check(BODY)
        published += scene.file.exists()
        assert scene.runner.run(scene.disk, 0, "sync") == 0, step
        scene.site.assert_good("a", BODY)
    assert steps > 10
    assert 0 < published < steps


@ONE
def test_update(scene: Scene) -> None:
    """The old version or the new; where it is the new and the lock still has the old, verifying finishes it."""
    assert scene.runner.run(scene.disk, 0, "sync") == 0
    scene.origin.put(PATH, OTHER)
    between, steps = 0, 0
    for step in scene.every_step("update", "a"):
        steps += 1
        scene.check(BODY, OTHER)
        here, locked = scene.file.read_bytes(), scene.site.lock["a"]["sha256"]
        between += sha256(here) != locked
        assert sha256(here) == locked or here == OTHER, "the old bytes under the new lock"
        assert scene.runner.run(scene.disk, 0, "verify", "--repair") == 0, step
        scene.site.assert_good("a", here)
    assert steps > 10
    assert between > 0


# --- and the process --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_killed_thirty_times(origin: Origin, site: Workplace) -> None:
    """SIGKILL at random moments of `verify --repair`; then one run that nobody disturbs."""
    chance = random.Random(8)  # noqa: S311
    bodies = {name: random.Random(name).randbytes(20_000_000) for name in ("a", "b")}  # noqa: S311
    site.write(*({"name": name, "url": origin.put(f"/{name}.bin", body)} for name, body in bodies.items()))
    site.sync().expect(0)
    origin.on("*", f.pace(262_144, 0.02), times=None)
    damaged: dict[str, bytes] = {}

    def spoil(name: str) -> None:
        path = site.file(name)
        body = bytearray(bodies[name])
        body[chance.randrange(len(body))] ^= 0xFF
        damaged[name] = bytes(body)
        site.extra_digests.add(sha256(damaged[name]))
        fresh = path.with_name("fresh")
        fresh.write_bytes(body)
        fresh.chmod(0o444)
        fresh.rename(path)

    cut = 0
    for _ in range(30):
        for name, body in bodies.items():
            if site.file(name).read_bytes() == body:
                spoil(name)
        with sqlite3.connect(site.state / "state.db") as database:
            database.execute("DELETE FROM sums")  # so that whole pieces are fetched
        database.close()
        running = site.start("verify", "--repair", "--json")
        time.sleep(chance.uniform(0.4, 2.5))  # not to wait for anything: the moment is what is being tried
        cut += running.running
        if running.running:
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.communicate()
        for name, body in bodies.items():
            assert site.file(name).read_bytes() in (damaged[name], body)
        assert set(site.lock) == set(bodies)
    print(f"{cut} of 30 were cut")
    assert cut > 10
    origin.calm()
    site.verify("--repair").expect(0)
    for name, body in bodies.items():
        site.assert_good(name, body)
    assert not list((site.state / "partials").iterdir())
    site.run("history", "--check").expect(0)
    shutil.rmtree(site.state / "quarantine")


if __name__ == "__main__":
    import ckptd.service.fetch
    import ckptd.service.repair
    import ckptd.service.verify  # noqa: F401  # all that is slow to import, once

    for line in sys.stdin:
        print(_one(*json.loads(line)), flush=True)

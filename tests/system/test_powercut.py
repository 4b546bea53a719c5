"""The power goes at any moment: what was promised is there afterwards, and nothing else is visible.

A real filesystem in a loop mount; the cut is FS_IOC_SHUTDOWN without flushing the log, which throws away whatever was
not made durable, and a remount that replays the journal.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faults as f
import pytest
from loops import unmount
from origin import Origins
from workplace import Workplace, sha256, tgz

pytestmark = pytest.mark.slow

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, the same number as XFS_IOC_GOINGDOWN
NO_LOG_FLUSH = 2
FILESYSTEMS = {
    # ext4's own repair of rename without fsync would hide what we forget
    "ext4": (["mkfs.ext4", "-q", "-F"], "64M", "noauto_da_alloc,data=writeback"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "320M", "defaults"),
}
BODIES = {"a": tgz(9_000_000, 71), "b": tgz(40_000, 72), "c": tgz(300_000, 73)}


class Disk:
    """A filesystem that can lose its power."""

    def __init__(self, root: Path, kind: str) -> None:
        make, size, self._options = FILESYSTEMS[kind]
        self._image, self.path = root / "disk.img", root / "disk"
        self._kind = kind
        self.path.mkdir()
        subprocess.run(["truncate", "-s", size, str(self._image)], check=True)
        subprocess.run([*make, str(self._image)], check=True, capture_output=True)
        self.mount()

    def mount(self) -> None:
        options = f"loop,{self._options}"
        subprocess.run(
            ["mount", "-t", self._kind, "-o", options, str(self._image), str(self.path)],
            check=True,
            capture_output=True,
        )

    def unmount(self) -> None:
        unmount(self.path, self._image)

    def cut(self) -> None:
        """The power goes: from here on nothing reaches the disk."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)


@pytest.fixture(params=sorted(FILESYSTEMS))
def disk(request: pytest.FixtureRequest, tmp_path: Path, lacking: Callable[[str], None]) -> Iterator[Disk]:
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    made = Disk(tmp_path, request.param)
    yield made
    made.unmount()


@pytest.fixture
def place(disk: Disk, origins: Origins) -> Workplace:
    """Three checkpoints, manifest and store on the disk."""
    made = Workplace(disk.path / "site", origins.made)
    origin = origins.new()
    made.write(*({"name": name, "url": origin.put(f"/{name}.tar.gz", body)} for name, body in BODIES.items()))
    origin.on("/a.tar.gz", f.pace(200_000, 0.02))  # about a second
    os.sync()  # the manifest was there before; only what `ckptd` does is in question
    return made


def test_what_was_reported_survives(disk: Disk, place: Workplace) -> None:
    """Exit 0, then the power goes at once: files and lock are there, durable, and the next run fetches nothing."""
    place.sync().expect(0)
    disk.cut()
    disk.unmount()
    disk.mount()
    for name, body in BODIES.items():
        place.assert_good(name, body)
    run = place.sync().expect(0)
    assert {entry["state"] for entry in run.report["checkpoints"]} == {"present"}
    place.verify().expect(0)


@pytest.mark.parametrize("seed", range(6))
def test_any_moment(disk: Disk, place: Workplace, seed: int) -> None:
    """The power goes in the middle: only whole files are visible, and the lock promises none that is not there."""
    moment = random.Random(seed).uniform(0.3, 1.2)  # noqa: S311
    running = place.start("sync", "--json")
    time.sleep(moment)  # not to wait for anything: the moment is what is being tried
    disk.cut()
    running.kill()
    disk.unmount()
    disk.mount()
    place.check_invariants()
    for name, entry in place.lock.items():
        assert sha256(place.file(name).read_bytes()) == entry["sha256"] == sha256(BODIES[name])
    place.sync().expect(0)
    for name, body in BODIES.items():
        place.assert_good(name, body)

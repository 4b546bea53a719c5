"""Which filesystem holds a path, and how it is mounted, by /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from pathlib import Path

from ckptd.core.abilities import Mount

MOUNTINFO = Path("/proc/self/mountinfo")


def mount_of(path: Path, mountinfo: Path = MOUNTINFO) -> Mount:
    """The filesystem that holds `path`; nothing is said of it where the system does not tell. Raises OSError."""
    device, real = path.stat().st_dev, os.path.realpath(path)
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Mount()
    found = Mount()
    best = (False, -1)
    for line in lines:
        mount, on_device = _parsed(line, f"{os.major(device)}:{os.minor(device)}")
        inside = real == mount.point or real.startswith(f"{mount.point.rstrip('/')}/")
        # Of several on one point the last is seen. btrfs tells stat(2) another device than it tells here.
        if mount.kind and inside and (on_device, len(mount.point)) >= best:
            found, best = mount, (on_device, len(mount.point))
    return found


def _parsed(line: str, device: str) -> tuple[Mount, bool]:
    """A line, and whether it is about the device."""
    left, _, right = line.partition(" - ")
    first, last = left.split(" "), right.split(" ")
    if len(first) < 6 or len(last) < 3:
        return Mount(), False
    point = first[4].replace("\\040", " ").replace("\\134", "\\")
    return Mount(last[0], point, frozenset({*first[5].split(","), *last[2].split(",")})), first[2] == device

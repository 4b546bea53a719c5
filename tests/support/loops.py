"""Filesystems in images: taken away so that the next mount is a fresh one."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def unmount(folder: Path, image: Path, seconds: float = 60.0) -> None:
    """Unmount `folder`, and wait until no loop device has `image` any more.

    Whoever made a mount namespace meanwhile (a container that starts in another test) keeps a filesystem alive for a
    moment, and mounting its image again would be the same one: not read anew, and shut down if it was.
    """
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)
    end = time.monotonic() + seconds
    while subprocess.run(["losetup", "-j", str(image)], check=True, capture_output=True).stdout:
        assert time.monotonic() < end, f"somebody keeps {image} mounted"
        time.sleep(0.02)

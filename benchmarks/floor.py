"""The floor in Python: SHA-256 of the files named in a list (one path a line), a thread for each core."""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUFFER = 1 << 20


def digest(path: str) -> str:
    """The SHA-256 of the file, in hex."""
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(BUFFER))
    with Path(path).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


if __name__ == "__main__":
    paths = Path(sys.argv[1]).read_text().split()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, value in zip(paths, pool.map(digest, paths), strict=True):
            print(f"{value}  {name}")

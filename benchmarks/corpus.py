"""The files that are fetched: made once, kept between runs, each with its SHA-256 known beforehand.

The data is incompressible, so that nobody wins by compression, and begins with the gzip magic because `ckptd`
refuses a `.tar.gz` that does not. Nothing here is timed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

MB = 1_000_000
GZIP_MAGIC = b"\x1f\x8b\x08"
BLOCK = 8 * MB

# Fourteen archives of about the real ones' spread: the small ones end early, the large one is the tail.
SPREAD = (90, 100, 120, 140, 150, 160, 180, 200, 220, 240, 260, 280, 300, 360)


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of a workload: its name at the origin, its size in bytes and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str

    @property
    def entry(self) -> str:
        """The checkpoint's name: the file's without the ending."""
        return self.name.removesuffix(".tar.gz")


def spread(total_mb: int) -> tuple[int, ...]:
    """Sizes in bytes of fourteen files of `total_mb` in all."""
    return tuple(weight * total_mb * MB // sum(SPREAD) for weight in SPREAD)


def make(folder: Path, sizes: tuple[int, ...]) -> tuple[Sample, ...]:
    """The files of these sizes in `folder`, made anew only when the list of them is not the one asked for."""
    index = folder / "index.json"
    if index.exists():
        known = tuple(Sample(**entry) for entry in json.loads(index.read_text()))
        if tuple(sample.size for sample in known) == sizes:
            return known
    folder.mkdir(parents=True, exist_ok=True)
    samples = tuple(_write(folder / f"file{number:05}.tar.gz", size) for number, size in enumerate(sizes))
    index.write_text(json.dumps([asdict(sample) for sample in samples]))
    return samples


def _write(path: Path, size: int) -> Sample:
    digest = hashlib.sha256()
    left = size
    with path.open("wb") as file:
        while left:
            block = os.urandom(min(BLOCK, left))
            if left == size:
                block = (GZIP_MAGIC + block)[: len(block)]
            digest.update(block)
            file.write(block)
            left -= len(block)
    return Sample(path.name, size, digest.hexdigest())

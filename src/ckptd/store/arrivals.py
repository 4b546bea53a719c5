"""What was written of an unfinished download, as it arrived: CRC-32C of each stretch.

Where nobody vouches for the whole, nothing else could tell later that the disk has changed a part of it meanwhile: what
is proven in the end would be the changed bytes. A check against accidents, like the disk's own, not against deceit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import google_crc32c

from ckptd.core.ranges import Extents
from ckptd.store import disk


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """`length` bytes that were written at `start`, and their CRC-32C."""

    start: int
    length: int
    crc: int


def checksum(view: memoryview, before: int = 0) -> int:
    """CRC-32C of `view`, or of what had `before` and `view` after it."""
    return int(google_crc32c.extend(before, bytes(view)))  # the library takes bytes only


def still_there(fd: int, believed: Extents, arrivals: Iterable[Arrival]) -> Extents:
    """Those of the `believed` bytes that are in the file as they arrived. Reads them; blocks."""
    good = []
    for each in sorted(arrivals):
        end = each.start + each.length
        if believed.reach(each.start) >= end and _sum(fd, each.start, end) == each.crc:
            good.append((each.start, end))
    return Extents.of(*good)


def _sum(fd: int, start: int, end: int) -> int | None:
    """CRC-32C of `[start, end)`; None where the file ends before, or cannot be read."""
    crc = 0
    while start < end:
        try:
            view = disk.read_at(fd, start, end - start)
        except OSError:
            return None
        if not view:
            return None
        crc = checksum(view, crc)
        start += len(view)
    return crc


def save(connection: sqlite3.Connection, file: str, arrivals: Iterable[Arrival]) -> None:
    """Add to what is known of a partial's file."""
    rows = [(file, each.start, each.length, each.crc) for each in arrivals]
    connection.executemany("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?)", rows)


def load(connection: sqlite3.Connection, file: str) -> list[Arrival]:
    """What is known of a partial's file."""
    found = connection.execute("SELECT start, length, crc FROM arrivals WHERE file = ?", (file,))
    return [Arrival(*row) for row in found]

"""Which columns fit a terminal of a given size, and how many rows.

Numbers have fixed columns, so that nothing moves when they change; what is left goes to names, bars and
words. Nothing here draws.
"""

from __future__ import annotations

from dataclasses import dataclass

PERCENT, SIZE, RATE, ETA = 5, 7, 9, 7  # columns of "100 %", "1.23 GB", "1.23 GB/s", "23h 59m"
SHORT = 3  # columns of "16x", the connections
BAR = 32  # columns beyond which a bar says no more
WORDS = 12  # columns that words have in the narrowest terminals


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a frame; 0 where a column has no room. `width` is that of the longest possible line."""

    width: int
    name: int
    bar: int = 0
    size: int = 0
    eta: int = 0
    status: int = 0
    host: int = 0


def lay_out(width: int, longest: int) -> Layout:
    """The columns for a terminal of `width`, names being up to `longest` long.

    The last column stays free, since some terminals wrap early.
    """
    room = max(1, width - 1)
    if room < 59:
        eta = ETA if room >= 50 else 0
        numbers = RATE + 1 + eta if eta else WORDS
        return Layout(room, name=max(1, room - 2 - 1 - PERCENT - 1 - numbers), eta=eta)
    if room < 79:
        bar = 8 if room >= 70 else 0
        return Layout(room, name=room - 35 - (bar + 1 if bar else 0), bar=bar, size=SIZE, eta=ETA)
    name, bar, status, host, spare = 31, 8, SHORT, 0, room - 79
    if spare >= 11:  # from here on there is room for "4 connections"
        status, spare = status + 11, spare - 11
    if spare >= 28:  # and for "storage.googleapis.com"
        host, spare = 22, spare - 24
    wider = min(4, spare)
    longer = min(32, spare - wider)
    rest = min(32, spare - wider - longer)
    name, bar, status = name + longer, bar + wider + rest // 2, status + rest - rest // 2
    slack = max(0, name - max(longest, 12))
    grown = min(slack, max(0, BAR - bar))
    unused = spare - wider - longer - rest + slack - grown
    return Layout(room - unused, name - slack, bar + grown, SIZE, ETA, status, host)


def spacious(height: int) -> bool:
    """Whether there is a line to spare for air."""
    return height >= 10


def room_for_rows(height: int, count: int) -> int:
    """How many of `count` rows a terminal of `height` lines shows; its last line stays free."""
    room = max(0, height - 1 - (3 if spacious(height) else 2 if height > 4 else 1))
    return count if count <= room else max(0, room - 1)

"""Byte ranges: which bytes are here, which are missing, and how HTTP spells a part (RFC 9110 section 14).

All ranges are half-open `[start, end)` in bytes. Only the spelling is here; what an answer means is decided in
`core.response`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extents:
    """A set of bytes as sorted, disjoint, non-adjacent spans."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, *spans: Span) -> Self:
        """The union of `spans`, in any order, overlapping or not. Empty spans vanish."""
        merged: list[Span] = []
        for start, end in sorted(span for span in spans if span[0] < span[1]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def add(self, start: int, end: int) -> Extents:
        """These bytes and `[start, end)`. Appending at the end, the usual case, is cheap."""
        if start >= end:
            return self
        if self.spans and self.spans[-1][1] == start:
            return Extents((*self.spans[:-1], (self.spans[-1][0], end)))
        return Extents.of(*self.spans, (start, end))

    def gaps(self, total: int) -> tuple[Span, ...]:
        """What is missing of `[0, total)`, in order."""
        missing: list[Span] = []
        at = 0
        for start, end in self.spans:
            if at < min(start, total):
                missing.append((at, min(start, total)))
            at = max(at, end)
        if at < total:
            missing.append((at, total))
        return tuple(missing)

    def reach(self, at: int) -> int:
        """How far the bytes go on without a gap from `at`; `at` itself when it is missing."""
        return next((end for start, end in self.spans if start <= at < end), at)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """`Content-Range: bytes start-(end-1)/total`; `total` is None for `*`."""

    start: int
    end: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Unsatisfied:
    """`Content-Range: bytes */total`."""

    total: int


_CONTENT_RANGE = re.compile(r"bytes +(?:(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)|\*/(\d{1,19}))", re.ASCII | re.IGNORECASE)


def spell(start: int, end: int | None) -> str:
    """The value of a `Range` header for `[start, end)`, or from `start` to wherever the end is."""
    return f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"


def parse_content_range(value: str) -> ContentRange | Unsatisfied | None:
    """What a `Content-Range` says, or None when it says nothing that RFC 9110 section 14.4 allows."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last, total, unsatisfied = match.groups()
    if unsatisfied is not None:
        return Unsatisfied(int(unsatisfied))
    end = int(last) + 1
    known = None if total == "*" else int(total)
    if int(first) >= end or (known is not None and end > known):
        return None
    return ContentRange(int(first), end, known)

"""What to do about a damaged file: (outcome of verify, policy) -> how it is mended, in which order things are tried.

Decides; fetches and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ckptd.core.models import PIECE, Outcome
from ckptd.core.plan import Fetch, Mend
from ckptd.core.ranges import Extents, Span

MENDABLE = frozenset({"corrupt", "unreadable", "missing"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: which ranges to fetch, from which source on (an index), or which bits to turn instead."""

    damage: tuple[Span, ...]
    source: int = 0
    flips: tuple[tuple[int, int], ...] = ()

    def covers(self, size: int) -> bool:
        """Whether all of a file of `size` bytes is fetched, so that nothing that comes has to fit to what is here."""
        return not self.flips and self.damage == ((0, size),)


def remedy(outcome: Outcome, *, plain: bool) -> Mend | Fetch | None:
    """How what `verify` found is mended; None when there is nothing to mend.

    `plain`: a plain file of the right name is there. Where nothing tells which bytes are good, all are fetched.
    """
    if outcome.state not in MENDABLE or outcome.tree_only:
        return None  # a tree is made again from its archive
    size = outcome.size or 0
    spans = tuple((each.offset, min(each.offset + each.length, size)) for each in outcome.damage or ())
    damage = Extents.of(*(span for span in spans if span[0] < size)).spans
    flips = outcome.case.flips if outcome.case is not None else ()
    whole = outcome.damage is None or damage == ((0, size),)
    if outcome.state == "missing":
        return Fetch("it is not there")
    if (whole and not flips) or not plain:
        return Fetch("it is damaged", mends=True)
    return Mend("it is damaged", damage, flips)


def mending(action: Mend, size: int, sources: int) -> Iterator[Attempt]:
    """The attempts at mending a file of `size` bytes, best first.

    A bit that is known to be flipped needs no source. Ranges narrower than a piece rest on a hint; should they not lead
    to the locked bytes, the pieces that they are in are fetched whole. At last everything is: by now more may be
    damaged than was found.
    """
    if action.flips:
        yield Attempt(action.damage, flips=action.flips)
    pieces = Extents.of(*((start - start % PIECE, min(-(-end // PIECE) * PIECE, size)) for start, end in action.damage))
    for damage in dict.fromkeys((action.damage, pieces.spans, ((0, size),))):
        yield from (Attempt(damage, source) for source in range(sources))

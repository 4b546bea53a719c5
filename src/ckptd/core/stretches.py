"""The shape of damage: spots that differ -> stretches with a verdict each, and the zeros that look like lost data.

Only what the bytes show; what that means for the file is decided in `core.diagnose`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckptd.core.evidence import Facts, Flip, Run, Spot
from ckptd.core.models import BLOCK, Damage
from ckptd.core.units import format_size

SECTOR = 512  # bytes; the least that a disk writes, so that what it loses begins and ends at a multiple
_PAGE = 4096  # the same for a filesystem
_SLACK = 16  # bytes by which zeros that belong there may make a run of lost ones longer, at either end
_SHOWN = 4  # flipped bits that one detail names


def stretches(facts: Facts) -> tuple[Damage, ...]:
    """The spots with their verdicts, neighbours of one verdict as one."""
    ranges: list[Damage] = []
    for group in groups(facts.spots):
        runs = lost(group)
        if runs:
            texts = [f"{amount(run.length)} of zeros at byte {run.offset}{', a hole' * run.hole}" for run in runs]
            ranges.append(Damage(group[0].offset, group[-1].end - group[0].offset, "zeros", _listed(texts)))
        else:
            ranges += (_judged(spot, facts) for spot in group)
    return merged(ranges)


def _judged(spot: Spot, facts: Facts) -> Damage:
    if not spot.readable:
        return Damage(spot.offset, spot.length, "unreadable", facts.trouble)
    if spot.flip is not None:
        return Damage(spot.offset, spot.length, "flipped bit", bit_of(spot.flip))
    return Damage(spot.offset, spot.length, "changed")


def merged(ranges: Sequence[Damage]) -> tuple[Damage, ...]:
    """Neighbours of one verdict as one; `ranges` are in order."""
    ranged: list[Damage] = []
    details: list[list[str]] = []
    for each in ranges:
        last = ranged[-1] if ranged else None
        if last is not None and last.verdict == each.verdict and last.offset + last.length == each.offset:
            ranged[-1] = Damage(last.offset, last.length + each.length, last.verdict)
        else:
            ranged.append(each)
            details.append([])
        if each.detail and each.detail not in details[-1]:
            details[-1].append(each.detail)
    return tuple(
        Damage(each.offset, each.length, each.verdict, _listed(texts))
        for each, texts in zip(ranged, details, strict=True)
    )


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def groups(spots: Sequence[Spot]) -> list[list[Spot]]:
    """Neighbours that may have been lost together; what cannot be read or has a flipped bit stands alone."""
    found: list[list[Spot]] = []
    for spot in spots:
        last = found[-1][-1] if found else None
        plain = spot.readable and spot.flip is None
        if last is not None and plain and last.readable and last.flip is None and last.end == spot.offset:
            found[-1].append(spot)
        else:
            found.append([spot])
    return found


def lost(group: Sequence[Spot]) -> list[Run]:
    """The zeros that are all the damage of a group, if it looks like that: one run through it, or one in each spot."""
    through = _run_through(group)
    if through is not None:
        return [through]
    each = [_run_through([spot]) for spot in group] if len(group) > 1 else []
    return [run for run in each if run is not None] if None not in each else []


def _run_through(group: Sequence[Spot]) -> Run | None:
    """The longest run of zeros from the first spot of a group to the last; what was not looked at may be part of it.

    Its ends must be where disks and filesystems end what they lose: zeros in the middle of data are often data. Only
    in what is known to a block, a program's zeros count too, wherever they end: if no others could be meant. Zeros that
    go on in bytes that are as they were are data, unless a damaged block is nothing else.
    """
    if not any(spot.seen for spot in group):
        return None
    runs: list[Run] = []
    for spot in group:
        for run in spot.zeros if spot.seen else (Run(spot.offset, spot.length, hole=True),):
            if runs and runs[-1].end == run.offset:
                runs[-1] = runs[-1].and_then(run)
            else:
                runs.append(run)
    runs = [run for run in runs if run.length >= SECTOR and (not run.beside or proven(run, group))]
    first, last = group[0], group[-1]
    grain = SECTOR if max(spot.length for spot in group if spot.seen) <= BLOCK else _PAGE
    fitting = [
        run
        for run in runs
        if run.length >= grain
        and (run.offset == first.offset or (run.offset < first.end and -run.offset % grain <= _SLACK))
        and (run.end == last.end or (run.end > last.offset and run.end % grain <= _SLACK))
    ]
    if not fitting and grain == SECTOR:
        through = [run for run in runs if run.offset < first.end and run.end > last.offset]
        if len(through) == 1 and (len(runs) == 1 or len(group) > 1):  # in a single block all of them go through
            return through[0]
    return max(fitting, key=lambda run: run.length, default=None)


def proven(run: Run, group: Sequence[Spot]) -> bool:
    """Whether data was where these zeros are: a damaged spot of the group is nothing else."""
    return any(spot.seen and run.offset <= spot.offset and spot.end <= run.end for spot in group)


def bit_of(flip: Flip) -> str:
    """Which bit, for people."""
    return f"bit {flip.bit} of byte {flip.offset}"


def amount(count: int) -> str:
    """Bytes for people: exact where it is a round number of them."""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count % size == 0 and size <= count < 10_000 * size:
            return f"{count // size} {unit}"
    return "1 byte" if count == 1 else f"{count} bytes" if count < 1_000_000 else format_size(count)

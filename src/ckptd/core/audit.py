"""What reading a stored file came to: (lock entry, what was read) -> verdict. The audit's decisions, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptd.core.models import PIECE, Damage


def piece_count(size: int) -> int:
    """How many pieces a file of `size` bytes has."""
    return -(-size // PIECE)


def damaged_pieces(
    expected: Sequence[bytes], actual: Mapping[int, bytes | None], size: int, found: int
) -> tuple[Damage, ...]:
    """Which stretches differ. `actual` has the digests of the pieces that were looked at, None where one could not
    be read; what was not looked at says nothing.

    `size` is the locked size in bytes, `found` the file's. Neighbouring pieces of one verdict are one stretch.
    """
    stretches: list[Damage] = []
    for index, digest in enumerate(expected):
        start, end = index * PIECE, min((index + 1) * PIECE, size)
        missing = found < end
        if index not in actual and not missing:
            continue
        verdict = _verdict(digest, actual.get(index, b""), missing=missing)
        if verdict is None:
            continue
        last = stretches[-1] if stretches else None
        if last is not None and last.verdict == verdict and last.offset + last.length == start:
            stretches[-1] = Damage(last.offset, end - last.offset, verdict)
        else:
            stretches.append(Damage(start, end - start, verdict))
    if found > size:
        stretches.append(Damage(size, found - size, "grown"))
    return tuple(stretches)


def _verdict(expected: bytes, actual: bytes | None, *, missing: bool) -> str | None:
    if actual is None:
        return "unreadable"
    if missing:
        return "truncated"
    return None if actual == expected else "changed"


def state_of(damage: Sequence[Damage]) -> str:
    """The state of a checkpoint with this damage: wrong bytes weigh more than unreadable ones."""
    if any(each.verdict != "unreadable" for each in damage):
        return "corrupt"
    return "unreadable" if damage else "intact"


EXIT_STATUS: Mapping[str, int] = {
    "intact": 0,
    "repaired": 0,
    "corrupt": 3,
    "unreadable": 5,
    "missing": 1,
    "unlocked": 1,
}

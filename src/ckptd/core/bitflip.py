"""Which single flipped bit explains that a block's CRC-32C is not what it was? Arithmetic only.

A CRC is linear: what two messages of one length differ in decides what their CRCs differ in (the syndrome), whatever
else stands in them; initial value and final inversion cancel. A flipped bit is a one in the register that is then
shifted once for every bit that follows it in the message, so the place of the bit is the number of shifts that leads
from 1 to the syndrome. No more than that is said: damage of another kind has one chance in 2^32 / (8 * length) of
looking like a flipped bit (one in 8192 for a whole block). Only mending it and proving the piece tells.
"""

from __future__ import annotations

from functools import cache

from ckptd.core.models import BLOCK

_POLYNOMIAL = 0x82F63B78  # CRC-32C (RFC 3720 section 12.1), the lowest bit first
_STRIDE = 512  # shifts between two known registers: at most so many are made to meet one of them


def flipped_bit(syndrome: int, length: int) -> tuple[int, int] | None:
    """The one flipped bit of a block: (its byte's offset in the block, the bit's number, 0 for the lowest).

    None when no single flipped bit explains it.

    Args:
        syndrome: the CRC-32C that the block should have, xor the one that it has.
        length: bytes of the block, at most BLOCK. Raises ValueError when it is longer.
    """
    if not 0 <= length <= BLOCK:
        raise ValueError(f"a block has at most {BLOCK} bytes, not {length}")
    known, register = _registers(), syndrome
    for shifts in range(_STRIDE):
        found = known.get(register)
        if found is not None:
            return _place(found - shifts, length)
        register = _shift(register)
    return None


def _place(shifts: int, length: int) -> tuple[int, int] | None:
    """Where a bit stands that is shifted `shifts` times until a block of `length` bytes ends."""
    bit = -shifts % 8
    offset = length - (shifts + bit) // 8
    return (offset, bit) if offset >= 0 else None


def _shift(register: int) -> int:
    return (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)


@cache
def _registers() -> dict[int, int]:
    """What becomes of 1 after every multiple of `_STRIDE` shifts, up to a block's: register -> shifts.

    No register comes twice: the order of the polynomial is 2^31 - 1.
    """
    bytewise = []  # what a byte in the lowest place becomes after 8 shifts
    for register in range(256):
        for _ in range(8):
            register = _shift(register)  # noqa: PLW2901
        bytewise.append(register)
    known: dict[int, int] = {}
    register = 1
    for shifts in range(8, 8 * BLOCK + 1, 8):
        register = (register >> 8) ^ bytewise[register & 0xFF]
        if shifts % _STRIDE == 0:
            known[register] = shifts
    return known

"""Finding the flipped bit from two checksums."""

from __future__ import annotations

import random

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.bitflip import flipped_bit
from ckptd.core.models import BLOCK

BODY = random.Random(3).randbytes(BLOCK)  # noqa: S311
LENGTHS = st.one_of(st.integers(1, 64), st.integers(1, BLOCK), st.just(BLOCK))


def flipped(body: bytes, *bits: int) -> bytes:
    changed = bytearray(body)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def syndrome(body: bytes, changed: bytes) -> int:
    return int(google_crc32c.value(body)) ^ int(google_crc32c.value(changed))


@given(data=st.data(), length=LENGTHS)
def test_every_flipped_bit_is_found(data: st.DataObject, length: int) -> None:
    bit = data.draw(st.integers(0, 8 * length - 1))
    body = BODY[:length]
    assert flipped_bit(syndrome(body, flipped(body, bit)), length) == (bit // 8, bit % 8)


@given(data=st.data(), length=LENGTHS, pairs=st.integers(1, 3))
def test_two_are_never_taken_for_one(data: st.DataObject, length: int, pairs: int) -> None:
    """Nor is any even number: x + 1 divides the polynomial."""
    bits = data.draw(st.lists(st.integers(0, 8 * length - 1), min_size=2 * pairs, max_size=2 * pairs, unique=True))
    assert flipped_bit(syndrome(BODY[:length], flipped(BODY[:length], *bits)), length) is None


@pytest.mark.parametrize("offset", [0, 1, 62, 63, 64, BLOCK // 2, BLOCK - 64, BLOCK - 63, BLOCK - 2, BLOCK - 1])
@pytest.mark.parametrize("bit", range(8))
def test_the_edges_of_a_block(offset: int, bit: int) -> None:
    assert flipped_bit(syndrome(BODY, flipped(BODY, 8 * offset + bit)), BLOCK) == (offset, bit)


@pytest.mark.parametrize("length", [0, 1, 100, BLOCK])
def test_equal_checksums_are_no_flipped_bit(length: int) -> None:
    assert flipped_bit(0, length) is None


@pytest.mark.parametrize("length", [0, 1, 63, 64, BLOCK - 1])
def test_a_bit_before_the_block_is_none_of_it(length: int) -> None:
    """The syndrome of the first bit of a block that is a byte longer."""
    body = BODY[: length + 1]
    assert flipped_bit(syndrome(body, flipped(body, 0)), length) is None


@pytest.mark.parametrize("changed", [bytes(BLOCK), BODY[::-1], BODY[:-512] + bytes(512), flipped(BODY, *range(9, 40))])
def test_other_damage_is_no_flipped_bit(changed: bytes) -> None:
    assert flipped_bit(syndrome(BODY, changed), BLOCK) is None


@pytest.mark.parametrize("length", [-1, BLOCK + 1])
def test_what_is_no_block_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="at most 65536 bytes"):
        flipped_bit(1, length)

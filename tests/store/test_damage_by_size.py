"""What happened to files of every size, from a byte to several pieces: each is damaged, examined and diagnosed.

Sizes around a block and a piece, where what tells one damage from another begins or ends. How the verdict depends on
the inode, on the disk's answers and on what is known of the file is in `test_examine.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from house import pieces_of

from ckptd.core.diagnose import Cause, Diagnosis, corrections, diagnose
from ckptd.core.models import BLOCK, PIECE
from ckptd.store.digests import Blocks
from ckptd.store.examine import examine

MIB = 1024 * 1024
BIG = 40 * MIB + 777
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please wait</body></html>"
Change = Callable[[bytearray], None]


@cache
def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


@dataclass(frozen=True)
class Known:
    """What is known of a good file."""

    body: bytes
    sums: bytes
    table: tuple[bytes, ...]


def known_of(body: bytes) -> Known:
    blocks = Blocks()
    blocks.update(memoryview(body))
    table = pieces_of(body, PIECE)
    return Known(body, blocks.digest(), tuple(table[at : at + 32] for at in range(0, len(table), 32)))


@cache
def known(size: int) -> Known:
    return known_of(noise(size))


def told(folder: Path, good: Known, change: Change, *, another: bool = False) -> tuple[Diagnosis, bytes]:
    """The diagnosis of a good file after a change, and its bytes. `another`: it is not the file that was good."""
    body = bytearray(good.body)
    change(body)
    path = folder / "model.bin"
    path.write_bytes(body)
    table = known_of(bytes(body)).table
    bad = [index for index, digest in enumerate(good.table) if index >= len(table) or table[index] != digest]
    facts = examine(
        path,
        expected_size=len(good.body),
        bad=bad,
        sums=good.sums,
        right=lambda index, digest: digest == good.table[index],
        recorded=f"{len(good.body)}:0:0" if another else None,
    )
    return diagnose(facts), bytes(body)


# --- what is done to a file ------------------------------------------------------------------------------------------


def flip(offset: int, bit: int = 3) -> Change:
    def change(body: bytearray) -> None:
        body[offset] ^= 1 << bit

    return change


def write(offset: int, data: bytes) -> Change:
    def change(body: bytearray) -> None:
        body[offset : offset + len(data)] = data

    return change


def zeros(offset: int, length: int) -> Change:
    return write(offset, bytes(length))


def cut(size: int) -> Change:
    def change(body: bytearray) -> None:
        del body[size:]

    return change


def become(data: bytes) -> Change:
    def change(body: bytearray) -> None:
        body[:] = data

    return change


def shift(body: bytearray) -> None:
    """A byte too many at the beginning, one too few at the end."""
    body.insert(0, 0x5A)
    body.pop()


def both(*changes: Change) -> Change:
    def change(body: bytearray) -> None:
        for each in changes:
            each(body)

    return change


FLIP, ZEROS, ONE, CHANGED = Cause.FLIPPED_BIT, Cause.ZEROS, Cause.ONE_BLOCK, Cause.CHANGED
ROWS: list[tuple[int, str, Change, Cause]] = [
    *((size, "a flipped bit", flip(size // 2), FLIP) for size in (1, 1000, 6000, BLOCK, BLOCK + 1, 300_001, BIG)),
    *((size, "its last bit", flip(size - 1, 7), FLIP) for size in (1000, BLOCK, BLOCK + 1, PIECE - 1, PIECE + 1)),
    (1000, "its first bit", flip(0, 0), FLIP),
    (PIECE + 1, "a bit on each side of a border", both(flip(PIECE - 1), flip(PIECE)), FLIP),
    (300_001, "two bits in two blocks", both(flip(9), flip(BLOCK + 9)), FLIP),
    (1000, "two bits in the only block", both(flip(9), flip(700)), CHANGED),
    (300_001, "two bits in a block", both(flip(9), flip(700)), ONE),
    (1, "two bits of the only byte", both(flip(0, 1), flip(0, 6)), CHANGED),
    (6000, "another byte", both(*(flip(3000, bit) for bit in range(8))), CHANGED),
    (300_001, "another byte", both(*(flip(150_000, bit) for bit in range(8))), ONE),
    (300_001, "a page of other data", write(77 * 512, noise(4096, 2)), ONE),
    (BIG, "a page of other data", write(77 * 4096, noise(4096, 2)), ONE),
    (1000, "nothing but zeros", zeros(0, 1000), ZEROS),
    (6000, "a sector of zeros", zeros(1024, 512), ZEROS),
    (6000, "zeros at odd places", zeros(2001, 1001), ZEROS),
    (6000, "zeros at its end", zeros(4000, 2000), ZEROS),
    (300_001, "a page of zeros", zeros(8192, 4096), ZEROS),
    (300_001, "a sector of zeros in its middle", zeros(150_000, 512), ZEROS),
    (300_001, "zeros at odd places in a block", zeros(100_001, 1001), ZEROS),
    (300_001, "zeros at odd places in two blocks", zeros(70_001, 70_000), ZEROS),
    (300_001, "zeros at its beginning", zeros(0, 2000), ZEROS),
    (300_001, "zeros at its end", zeros(298_001, 2000), ZEROS),
    (300_001, "too few zeros to mean something", zeros(100_001, 511), ONE),
    (PIECE + 1, "zeros across a border", zeros(PIECE - 1001, 1002), ZEROS),
    (BIG, "zeros at odd places", zeros(100_001, 70_000), ZEROS),
    *((size, "cut in half", cut(size // 2), Cause.TRUNCATED) for size in (1000, BLOCK, BLOCK + 1, 300_001, PIECE + 1)),
    *((size, "without its last byte", cut(size - 1), Cause.TRUNCATED) for size in (6000, BLOCK + 1, PIECE - 1, BIG)),
    (1, "empty", cut(0), Cause.EMPTY),
    (BIG, "cut, too short to compare", cut(12_345), Cause.TRUNCATED),
    *((size, "a byte more", write(size, b"z"), Cause.GROWN) for size in (1, 1000, BLOCK, PIECE - 1, PIECE + 1)),
    *((size, "a page", become(HTML), Cause.PAGE) for size in (1, 1000, 300_001, BIG)),
    *((size, "shifted", shift, CHANGED) for size in (1000, 300_001)),
    *((size, "another file", become(noise(size, 3)), CHANGED) for size in (1, 6000, BLOCK + 1, PIECE + 1)),
    (BIG, "two versions", write(20 * MIB, noise(BIG - 20 * MIB, 3)), Cause.JOINED),
]


@pytest.mark.parametrize(
    ("size", "change", "cause"),
    [pytest.param(size, change, cause, id=f"{size}: {title}") for size, title, change, cause in ROWS],
)
def test_what_happened(tmp_path: Path, size: int, change: Change, cause: Cause) -> None:
    good = known(size)
    diagnosis, body = told(tmp_path, good, change)
    assert diagnosis.cause is cause, diagnosis.summary
    for at in range(0, max(size, len(body)), BLOCK):  # whatever it was, no damage is outside of what is said
        if body[at : at + BLOCK] != good.body[at : at + BLOCK]:
            assert any(each.offset < at + BLOCK and at < each.offset + each.length for each in diagnosis.damage)
    if cause is FLIP:
        mended = bytearray(body)
        for each in corrections(diagnosis):
            mended[each.offset] ^= each.mask
        assert mended == good.body


def test_a_part_of_it_put_back_by_a_copy(tmp_path: Path) -> None:
    """Another inode, and less than a block of it: nothing contradicts that it is the beginning."""
    diagnosis, _ = told(tmp_path, known(BIG), cut(12_345), another=True)
    assert diagnosis.cause is Cause.TRUNCATED
    assert "was truncated at byte 12345. Nothing tells whether what is left is what was there." in diagnosis.summary


# --- zeros that are data ---------------------------------------------------------------------------------------------

DOUBT = "Whether data was in all of that cannot be told."


def test_a_run_is_told_to_the_byte(tmp_path: Path) -> None:
    diagnosis, _ = told(tmp_path, known(300_001), zeros(70_001, 70_000))
    assert f"70000 bytes of zeros are in what differs, at byte 70001. {DOUBT}" in diagnosis.summary
    assert [each.detail for each in diagnosis.damage] == ["70000 bytes of zeros at byte 70001"]


@pytest.mark.parametrize(
    ("layout", "change", "cause", "text"),
    [
        pytest.param(
            [BLOCK + BLOCK // 2, -4 * BLOCK, BLOCK],
            write(BLOCK + 100, noise(100, 2)),
            ONE,
            "All damage is in one block",
            id="a tensor of zeros begins in the block",
        ),
        pytest.param(
            [BLOCK, -2 * BLOCK - 30_001, 3 * BLOCK],
            write(3 * BLOCK + 50_000, noise(100, 2)),
            ONE,
            "All damage is in one block",
            id="a tensor of zeros ends in the block",
        ),
        pytest.param(
            [PIECE - 2000, -9000, BLOCK],
            write(PIECE - 5000, noise(100, 2)),
            ONE,
            "All damage is in one block",
            id="a tensor of zeros goes on in the next piece",
        ),
        pytest.param(
            [BLOCK + 30_001, -4 * BLOCK, BLOCK],
            zeros(BLOCK + 101, 1001),
            ZEROS,
            f"1001 bytes of zeros are in what differs, at byte {BLOCK + 101}. {DOUBT}",
            id="zeros were lost beside it",
        ),
        pytest.param(
            [BLOCK + 500, -600, 4 * BLOCK],
            zeros(2 * BLOCK - 3001, 7001),
            ZEROS,
            f"7001 bytes of zeros are in what differs, at byte {2 * BLOCK - 3001}. {DOUBT}",
            id="zeros of the data in one of two blocks",
        ),
        pytest.param(
            [3 * BLOCK - 10_240, -10_240],
            write(2 * BLOCK + 100, noise(100, 2)),
            ZEROS,
            f"10 KiB of zeros are in what differs, at byte {3 * BLOCK - 10_240}. {DOUBT}",
            id="a tar's padding",
        ),
        pytest.param(
            [BLOCK, -2 * BLOCK, 3 * BLOCK],
            zeros(3 * BLOCK, BLOCK + 700),
            ZEROS,
            f"{BLOCK + 700} bytes of zeros are where data was, at byte {3 * BLOCK}.",
            id="a whole block was lost beside it",
        ),
    ],
)
def test_zeros_that_are_data(tmp_path: Path, layout: list[int], change: Change, cause: Cause, text: str) -> None:
    """`layout`: so many bytes of noise, or of zeros where negative."""
    body = b"".join(noise(part, 5) if part > 0 else bytes(-part) for part in layout)
    diagnosis, _ = told(tmp_path, known_of(body), change)
    assert diagnosis.cause is cause, diagnosis.summary
    assert diagnosis.summary.startswith(text)

"""What is still as it arrived: of real files, damaged in between."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from house import URL, Buffers, House
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator
from ckptd.store import disk
from ckptd.store.arrivals import Arrival, checksum, still_there

BODY = random.Random(3).randbytes(300_000)  # noqa: S311
SOME = Validator(etag='"v1"', total=len(BODY))
CUTS = [(0, 100_000), (100_000, 130_000), (200_000, 260_000)]
CRC = Witness("x-goog-hash:crc32c", "crc32c", b"c" * 4)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


async def begun(house: House, *witnesses: Witness, vouched: bool = False) -> Path:
    """A partial that was left with CUTS of the body."""
    partial, buffers = await house.partial(vouched=vouched), Buffers()
    await partial.learn(len(BODY), URL, SOME, witnesses)
    for start, end in CUTS:
        buffers.put(partial, start, BODY[start:end])
    await partial.drained()
    await partial.remember(force=True)
    await partial.close()
    return partial.path


async def test_what_nobody_touched_is_there(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await begun(house)
        assert (await house.again()).written == Extents.of(*CUTS)


@pytest.mark.parametrize("at", [0, 99_999, 100_000, 129_999, 200_000, 259_999])
async def test_a_bit_costs_the_stretch_that_it_is_in(tmp_path: Path, at: int) -> None:
    async with House(tmp_path) as house:
        flip(await begun(house), at)
        left = [(start, end) for start, end in CUTS if not start <= at < end]
        assert (await house.again()).written == Extents.of(*left)


async def test_it_is_noted_for_the_run_after_as_well(tmp_path: Path) -> None:
    """What is fetched again in place of what was lost counts from then on."""
    async with House(tmp_path) as house:
        path = await begun(house)
        flip(path, 110_000)
        partial, buffers = await house.again(), Buffers()
        assert await house.record() is not None
        start, end = 100_000, 115_000  # cut otherwise than before
        buffers.put(partial, start, BODY[start:end])
        await partial.drained()
        await partial.remember(force=True)
        await partial.close()
        assert (await house.again()).written == Extents.of((0, end), CUTS[2])


@pytest.mark.parametrize("why", ["pinned or locked", "a published digest"])
async def test_where_the_whole_is_vouched_for_nothing_is_read(tmp_path: Path, why: str) -> None:
    """The proof in the end finds it; a resumed download need not wait for the disk."""
    async with House(tmp_path) as house:
        vouched = why == "pinned or locked"
        flip(await begun(house, *(() if vouched else (CRC,)), vouched=vouched), 5)
        assert (await house.again(vouched=vouched)).written == Extents.of(*CUTS)


async def test_nothing_of_a_forgotten_download_stays(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await begun(house)
        partial = await house.again()
        await partial.begin_again()
        count = "SELECT count(*) FROM arrivals"
        assert await house.state.do(lambda database: database.execute(count).fetchone()) == (0,)


@given(st.data())
def test_only_what_is_as_it_arrived(data: st.DataObject) -> None:
    """Whatever was noted and whatever is believed: what is left is believed, noted, and right."""
    body = data.draw(st.binary(min_size=1, max_size=60))
    spans = st.tuples(st.integers(0, 70), st.integers(1, 20))
    noted = data.draw(st.lists(spans, max_size=6))
    believed = Extents.of(*((start, start + length) for start, length in data.draw(st.lists(spans, max_size=4))))
    wrong = data.draw(st.sets(st.integers(0, 5)))
    fd = os.memfd_create("partial")
    try:
        os.write(fd, body)
        arrivals = [
            Arrival(start, length, checksum(memoryview(body[start : start + length])) ^ (number in wrong))
            for number, (start, length) in enumerate(noted)
        ]
        left = still_there(fd, believed, arrivals)
    finally:
        os.close(fd)
    right = [
        (each.start, each.start + each.length)
        for number, each in enumerate(arrivals)
        if number not in wrong and each.start + each.length <= len(body)
    ]
    assert left == Extents.of(*(span for span in right if believed.reach(span[0]) >= span[1]))


def test_what_cannot_be_read_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "partial"
    path.write_bytes(BODY)
    arrivals = [Arrival(start, end - start, checksum(memoryview(BODY[start:end]))) for start, end in CUTS]

    def failing(fd: int, offset: int, length: int) -> memoryview:
        if offset >= 200_000:
            raise OSError(5, "I/O error")
        return memoryview(os.pread(fd, length, offset))

    monkeypatch.setattr(disk, "read_at", failing)
    with path.open("rb") as file:
        assert still_there(file.fileno(), Extents.of((0, len(BODY))), arrivals) == Extents.of((0, 130_000))

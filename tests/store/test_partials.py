"""Unfinished downloads: real files, real threads, any order of arrival, and every way to be interrupted."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import os
import resource
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest
from house import URL, Buffers, House, blocks_of, digests_of, open_files, pieces_of, sha256_of, until
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.models import PIECE, Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator
from ckptd.errors import StorageError
from ckptd.store import digests, disk, lanes, partials
from ckptd.store.digests import Bundle
from ckptd.store.partials import sweep

BODY = bytes(index * index // 7 % 251 for index in range(300_000))
MD5 = Witness("x-goog-hash:md5", "md5", b"m" * 16)
CRC = Witness("x-goog-hash:crc32c", "crc32c", b"c" * 4)
SOME = Validator(etag='"v1"', total=len(BODY))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and read-backs small enough that a small file has many of them."""
    monkeypatch.setattr(digests, "PIECE", 40_000)
    monkeypatch.setattr(lanes.Lane, "READ_BACK", 17_000)


def expected(body: bytes) -> dict[str, bytes]:
    return {
        "sha256": sha256_of(body),
        "pieces": pieces_of(body, 40_000),
        "blocks": blocks_of(body),
        "md5": hashlib.md5(body, usedforsecurity=False).digest(),
        "crc32c": google_crc32c.value(body).to_bytes(4, "big"),
    }


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, int]]:
    """The file cut anywhere, in any order."""
    cuts = draw(st.lists(st.integers(1, len(BODY) - 1), unique=True, max_size=12).map(sorted))
    edges = [0, *cuts, len(BODY)]
    return draw(st.permutations(list(itertools.pairwise(edges))))


# --- any order -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    spans=arrivals(),
    stop=st.integers(0, 13),
    late=st.integers(0, 13),
    settled=st.booleans(),
)
def test_any_order_gives_the_digests_of_the_whole(
    spans: list[tuple[int, int]], stop: int, late: int, *, settled: bool
) -> None:
    """Cut anywhere, arriving in any order, stopped and resumed after `stop` buffers; MD5 is asked for late."""

    async def check(root: Path) -> None:
        buffers = Buffers()
        async with House(root) as house:
            partial = await house.partial()
            await partial.learn(len(BODY), URL, SOME, [CRC])
            for number, (start, end) in enumerate(spans):
                if number == stop:
                    await partial.drained()
                    await partial.remember(force=True)
                    before = partial.written
                    await partial.close()
                    partial = await house.again()
                    assert partial.written == before
                    assert partial.total == len(BODY)
                    assert partial.validators == {URL: SOME}
                if number == late:
                    await partial.learn(len(BODY), URL, SOME, [MD5])
                buffers.put(partial, start, BODY[start:end])
                if settled:
                    await partial.drained()
            await partial.learn(len(BODY), URL, SOME, [MD5])
            assert await partial.digests(len(BODY)) == expected(BODY)
            await partial.drained()
            assert partial.path.read_bytes() == BODY
            await until(lambda: buffers.all_back)
            await partial.close()
            assert buffers.all_back

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


async def test_pieces_of_the_real_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    body = os.urandom(1 << 20) * 17 + b"tail"
    half = len(body) // 2
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(body), URL, Validator(), [])
        buffers.put(partial, half, body[half:])
        await partial.drained()
        buffers.put(partial, 0, body[:half])
        found = await partial.digests(len(body))
    assert found == digests_of(body, PIECE)
    assert len(found["pieces"]) == 64


async def test_an_empty_file(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        partial = await house.partial()
        await partial.learn(0, URL, Validator(), [])
        assert await partial.digests(0) == {"sha256": sha256_of(b""), "pieces": b"", "blocks": b""}


async def test_a_small_file_in_one_go(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        partial = await house.partial()
        assert await partial.whole(BODY, URL, SOME, [CRC, MD5]) == expected(BODY)
        assert partial.path.read_bytes() == BODY


async def test_a_small_file_after_an_attempt_that_brought_nothing(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        before = open_files()
        partial = await house.partial()
        await partial.learn(None, URL, Validator(), [])  # a body without length that ended at once
        await partial.whole(b"small", URL, SOME, [])
        await partial.close()
        assert open_files() == before


async def test_digests_follow_while_bytes_are_missing(tmp_path: Path) -> None:
    """What is in order is digested at once; what waits for a gap is not."""
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:100_000])
        buffers.put(partial, 200_000, BODY[200_000:])
        await until(lambda: buffers.all_back and house.digested[-1:] == [100_000])
        buffers.put(partial, 100_000, BODY[100_000:200_000])
        await partial.digests(len(BODY))
        assert house.digested == sorted(house.digested)


# --- the disk fails --------------------------------------------------------------------------------------------------


async def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:777], at))
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:150_000])
        buffers.put(partial, 150_000, BODY[150_000:])
        assert (await partial.digests(len(BODY)))["sha256"] == sha256_of(BODY)
        assert partial.path.read_bytes() == BODY


async def test_a_file_size_limit(tmp_path: Path) -> None:
    """The system writes what fits, then says no: what is remembered is what is there."""
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        try:
            for at in range(0, len(BODY), 100_000):
                buffers.put(partial, at, BODY[at : at + 100_000])
            with pytest.raises(StorageError, match=r"model.*too large") as caught:
                await partial.digests(len(BODY))
            await until(lambda: buffers.all_back)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "ulimit" in caught.value.hint
        with pytest.raises(StorageError):
            buffers.put(partial, 0, b"more")
        assert partial.written.size <= 100_000
        size = partial.path.stat().st_size
        assert all(end <= size for _, end in partial.written.spans)
        await partial.close()
        assert buffers.all_back


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
async def test_every_waiter_hears_of_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(fd: int, data: memoryview, at: int) -> None:
        raise OSError(code, os.strerror(code))

    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [MD5])
        monkeypatch.setattr(disk, "write_at", full)
        waiting = asyncio.ensure_future(partial.digests(len(BODY)))
        for at in range(0, 100_000, 10_000):
            buffers.put(partial, at, BODY[at : at + 10_000])
        with pytest.raises(StorageError, match=os.strerror(code)):
            await waiting
        with pytest.raises(StorageError):
            await partial.drained()
        await partial.close()
        assert buffers.all_back
        assert partial.written.size == 0


async def test_no_room_for_what_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file's room is asked for before its first byte."""

    def full(fd: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk, "preallocate", full)
    async with House(tmp_path) as house:
        partial = await house.partial()
        with pytest.raises(StorageError) as caught:
            await partial.learn(10**12, URL, Validator(), [])
        assert "free some space" in caught.value.hint


async def test_room_reserved_is_not_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials, "SYNC_EVERY_BYTES", 1000)
    async with House(tmp_path) as house:
        partial = await house.partial()
        await partial.learn(len(BODY), URL, SOME, [])
        assert partial.path.stat().st_size == 0


async def test_a_digest_that_fails_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def update(self: Bundle, data: memoryview) -> None:
        calls.append(len(data))
        if len(calls) == 3:
            raise RuntimeError("boom")

    monkeypatch.setattr(Bundle, "update", update)
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        for at in range(0, len(BODY), 20_000):
            buffers.put(partial, at, BODY[at : at + 20_000])
        with pytest.raises(StorageError, match="boom"):
            await partial.digests(len(BODY))
        await partial.close()
        assert buffers.all_back


async def test_what_waits_for_its_digest_is_given_back_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every other download would wait for those buffers, too."""
    gate = threading.Event()

    def full(fd: int, data: memoryview, at: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Bundle, "update", lambda self, data: gate.wait(20))
    monkeypatch.setattr(disk, "write_at", full)
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        for at in (0, 1000, 2000):
            buffers.put(partial, at, BODY[at : at + 1000])
        await until(lambda: buffers.released == [0, 1, 1])
        gate.set()
        await until(lambda: buffers.all_back)


async def test_a_file_that_shrinks_under_us(tmp_path: Path) -> None:
    """Read back: what was written out of order has been cut away by somebody."""
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 100_000, BODY[100_000:])
        await partial.drained()
        os.truncate(partial.path, 150_000)
        buffers.put(partial, 0, BODY[:100_000])
        with pytest.raises(StorageError, match="150000 bytes"):
            await partial.digests(len(BODY))
        await partial.close()
        assert buffers.all_back


async def test_closing_waits_for_threads_and_gives_every_buffer_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = threading.Event(), disk.write_at

    def slow(fd: int, data: memoryview, at: int) -> None:
        gate.wait(20)
        real(fd, data, at)

    monkeypatch.setattr(disk, "write_at", slow)
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [MD5])
        for at in range(0, len(BODY), 30_000):
            buffers.put(partial, at, BODY[at : at + 30_000])
        fd = partial.fd
        closing = asyncio.ensure_future(partial.close())
        await asyncio.sleep(0)
        assert not closing.done()
        os.fstat(fd)  # still open: threads write to it
        gate.set()
        await closing
        assert buffers.all_back
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


# --- what is remembered ----------------------------------------------------------------------------------------------


async def test_only_what_is_written_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real = threading.Event(), disk.write_at

    def slow(fd: int, data: memoryview, at: int) -> None:
        if at:
            gate.wait(20)
        real(fd, data, at)

    monkeypatch.setattr(disk, "write_at", slow)
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:1000])
        buffers.put(partial, 1000, BODY[1000:])
        await until(lambda: partial.written.size == 1000)
        await partial.remember(force=True)
        record = await house.record()
        gate.set()
        assert record is not None
        assert record.written == record.synced == Extents.of((0, 1000))
        await partial.drained()


async def test_after_a_reboot_only_what_was_synced_counts(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:100_000])
        await partial.drained()
        await partial.remember(force=True)
        record = await house.record()
        assert record is not None
        await partial.close()
        more = replace(record, written=Extents.of((0, 100_000), (150_000, 200_000)))
        os.truncate(partial.path, 200_000)
        same_boot = await house.partial(more, vouched=True)
        assert same_boot.written == more.written
        for boot in ("another boot", ""):  # and "": a sandbox that hides it
            rebooted = await house.partial(replace(more, boot=boot), vouched=True)
            assert rebooted.written == Extents.of((0, 100_000))


@pytest.mark.parametrize("how", ["gone", "short", "folder", "other url"])
async def test_what_cannot_be_believed_is_begun_anew(tmp_path: Path, how: str) -> None:
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:100_000])
        await partial.drained()
        await partial.remember(force=True)
        await partial.close()
        record = await house.record()
        assert record is not None
        if how == "short":
            os.truncate(partial.path, 99_999)
        elif how != "other url":
            partial.path.unlink()
        if how == "folder":
            partial.path.mkdir()
        if how == "other url":
            record = replace(record, url="https://example.org/other")
        fresh = await house.partial(record)
        assert fresh.written.size == 0
        assert fresh.total is None
        assert fresh.validators == {}
        assert await fresh.whole(b"new", URL, SOME, []) == digests_of(b"new", 10)


async def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" * 20_000)
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY[:100_000])
        await partial.drained()
        await partial.remember(force=True)
        await partial.close()
        partial.path.unlink()
        partial.path.symlink_to(victim)
        with pytest.raises(StorageError, match="symbolic"):
            await house.again()
    assert victim.read_bytes() == b"precious" * 20_000


async def test_a_settled_partial_can_be_resumed_by_its_owner(tmp_path: Path) -> None:
    async with House(tmp_path, plain_user=True) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY)
        await partial.digests(len(BODY))
        await partial.remember(force=True)
        await partial.close()
        partial.path.chmod(0o444)
        resumed = await house.again()
        assert await resumed.digests(len(BODY)) == digests_of(BODY, 40_000)


# --- beginning again -------------------------------------------------------------------------------------------------


async def test_begin_again_forgets_everything(tmp_path: Path) -> None:
    new = BODY[::-1]
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [MD5])
        buffers.put(partial, 0, BODY[:200_000])
        await partial.drained()
        await partial.remember(force=True)
        old, old_record = partial.path, await house.record()
        await partial.begin_again()
        assert not old.exists()
        assert await house.record() is None
        assert (partial.written.size, partial.total, partial.validators, partial.witnesses) == (0, None, {}, ())

        await partial.learn(len(new), URL, SOME, [])
        buffers.put(partial, 0, new)
        assert await partial.digests(len(new)) == digests_of(new, 40_000)
        assert buffers.all_back
        # The power goes, and with it the transaction that forgot: the old record describes nothing, not the new bytes.
        await partial.close()
        haunted = await house.partial(old_record)
        assert haunted.written.size == 0


async def test_begin_again_while_bytes_are_on_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of the old version that a thread still holds do not reach the new file."""
    gate, real = threading.Event(), disk.write_at

    def slow(fd: int, data: memoryview, at: int) -> None:
        gate.wait(20)
        real(fd, data, at)

    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        monkeypatch.setattr(disk, "write_at", slow)
        buffers.put(partial, 0, b"o" * 100_000)
        again = asyncio.ensure_future(partial.begin_again())
        await asyncio.sleep(0)
        assert not again.done()
        gate.set()
        await again
        await partial.learn(len(BODY), URL, SOME, [])
        assert partial.path.read_bytes() == b""
        buffers.put(partial, 0, BODY)
        assert (await partial.digests(len(BODY)))["sha256"] == sha256_of(BODY)
        assert buffers.all_back


async def test_begin_again_before_anything_came(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        partial = await house.partial()
        await partial.begin_again()
        await partial.begin_again()
        assert house.places.partials.is_dir()
        assert await partial.whole(b"x", URL, SOME, [])


async def test_a_failed_disk_can_be_begun_again_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with House(tmp_path) as house:
        partial, buffers = await house.partial(), Buffers()
        await partial.learn(len(BODY), URL, SOME, [])
        with monkeypatch.context() as patch:
            patch.setattr(disk, "write_at", lambda fd, data, at: 1 // 0)
            buffers.put(partial, 0, BODY[:10])
            with pytest.raises(StorageError):
                await partial.drained()
        await partial.begin_again()
        await partial.learn(len(BODY), URL, SOME, [])
        buffers.put(partial, 0, BODY)
        assert (await partial.digests(len(BODY)))["sha256"] == sha256_of(BODY)
        assert buffers.all_back


async def test_sweeping_takes_what_nobody_remembers(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        partial = await house.partial()
        await partial.learn(len(BODY), URL, SOME, [])
        await partial.remember(force=True)
        (house.places.partials / "crashed.0123.part").write_bytes(b"x")
        record = await house.record()
        assert record is not None
        sweep(house.places, {record.file})
        assert [path.name for path in house.places.partials.iterdir()] == [record.file]

"""The lock's writer: whatever was entered is in the lock when the run ends, however its last write was interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from workplace import wait_until

from ckptd.core.models import Lock, LockEntry, Trust
from ckptd.errors import StorageError
from ckptd.service import ledger as service
from ckptd.service.ledger import Ledger
from ckptd.store import lockfile
from ckptd.store.places import Places, prepare
from ckptd.store.state import State


def entry(name: str) -> LockEntry:
    return LockEntry(name, f"https://h/{name}.bin", 1, "a" * 64, Trust.FIRST_USE)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "store", tmp_path / "store/.ckptd", tmp_path / "manifest.lock")
    prepare(made)
    return made


@pytest.fixture
def state(places: Places) -> Iterator[State]:
    with State(places.database) as opened:
        yield opened


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_a_cancelled_write_is_done_by_the_last_one(
    places: Places, state: State, pool: ThreadPoolExecutor
) -> None:
    """As `Pass._all` ends a run: the writer is cancelled while the disk threads are busy."""
    ledger = Ledger(places, state, pool)
    gate = threading.Event()
    pool.submit(gate.wait)
    writer = asyncio.ensure_future(ledger.keep_writing())
    ledger.enter(entry("model"))
    for _ in range(5):
        await asyncio.sleep(0)
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer
    gate.set()
    await ledger.write()
    assert set(lockfile.read(places.lock).entries) == {"model"}


async def test_a_disk_that_is_full_for_a_moment(
    places: Places, state: State, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends nobody's work: what could not be written is tried again, also when nothing else becomes due."""
    monkeypatch.setattr(service, "TRY_EVERY", 0.0)
    full, write = iter([True, True]), lockfile.write

    def failing(path: Path, lock: Lock) -> None:
        if next(full, False):
            raise StorageError("the disk is full")
        write(path, lock)

    monkeypatch.setattr(lockfile, "write", failing)
    ledger = Ledger(places, state, pool)
    async with asyncio.timeout(20):
        writer = asyncio.ensure_future(ledger.keep_writing())
        ledger.enter(entry("model"))
        await asyncio.to_thread(wait_until, places.lock.exists)
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
    assert set(lockfile.read(places.lock).entries) == {"model"}


async def test_a_disk_that_stays_full(
    places: Places, state: State, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, lock: Lock) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(lockfile, "write", failing)
    ledger = Ledger(places, state, pool)
    ledger.enter(entry("model"))
    with pytest.raises(StorageError):
        await ledger.write()


async def test_many_entries_are_few_writes(
    places: Places, state: State, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = lockfile.write

    def counting(path: Path, lock: Lock) -> None:
        written.append(len(lock.entries))
        write(path, lock)

    monkeypatch.setattr(lockfile, "write", counting)
    lockfile.write(places.lock, Lock({"old": entry("old")}))
    written.clear()
    ledger = Ledger(places, state, pool)
    ledger.refresh()
    for number in range(50):
        ledger.enter(entry(f"m{number}"))
    await ledger.write()
    await ledger.write()
    assert written == [51]
    assert len(lockfile.read(places.lock).entries) == 51


async def test_an_entry_that_is_there_already_is_no_change(
    places: Places, state: State, pool: ThreadPoolExecutor
) -> None:
    lockfile.write(places.lock, Lock({"old": entry("old")}))
    ledger = Ledger(places, state, pool)
    ledger.refresh()
    before = places.lock.stat()
    ledger.enter(entry("old"))
    await ledger.write()
    assert places.lock.stat().st_ino == before.st_ino


async def test_a_lock_that_somebody_else_wrote_is_read_again(
    places: Places, state: State, pool: ThreadPoolExecutor
) -> None:
    ledger = Ledger(places, state, pool)
    assert ledger.refresh().entries == {}
    ledger.enter(entry("ours"))
    await ledger.write()
    lockfile.write(places.lock, Lock({"ours": entry("ours"), "theirs": entry("theirs")}))
    assert set(ledger.refresh().entries) == {"ours", "theirs"}
    ledger.enter(entry("later"))
    await ledger.write()
    assert set(lockfile.read(places.lock).entries) == {"ours", "theirs", "later"}


async def test_a_frozen_lock_stays(places: Places, state: State, pool: ThreadPoolExecutor) -> None:
    ledger = Ledger(places, state, pool)
    ledger.enter(entry("model"), frozen=True)
    await ledger.write()
    assert not places.lock.exists()


async def test_a_lock_that_cannot_be_written_is_said(places: Places, state: State, pool: ThreadPoolExecutor) -> None:
    places.lock.mkdir()
    ledger = Ledger(places, state, pool)
    ledger.enter(entry("model"))
    with pytest.raises(StorageError, match=r"manifest\.lock"):
        await ledger.write()

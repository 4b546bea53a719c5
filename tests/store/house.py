"""A store with its state and its disk threads, for the tests of this folder; and threads without root's privilege."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import google_crc32c
from blake3 import blake3

from ckptd.core.models import BLOCK, Checkpoint
from ckptd.store.partials import Partial
from ckptd.store.places import Places, prepare
from ckptd.store.records import PartialRecord, load_partials
from ckptd.store.state import State

URL = "https://example.org/model.tar.gz"
CHECKPOINT = Checkpoint("model", URL, "model.tar.gz")
_OVERRIDE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_libc = ctypes.CDLL(None, use_errno=True)


def like_a_plain_user() -> None:
    """Make file modes count for the calling thread, also where the tests run as root (capabilities(7))."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~_OVERRIDE & 0xFFFFFFFF
    if _libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def plain_users_thread() -> ThreadPoolExecutor:
    """One thread for which file modes count."""
    return ThreadPoolExecutor(1, initializer=like_a_plain_user)


def digests_of(body: bytes, piece: int) -> dict[str, bytes]:
    """What a partial says of `body`, with pieces of `piece` bytes."""
    return {"sha256": sha256_of(body), "pieces": pieces_of(body, piece), "blocks": blocks_of(body)}


def blocks_of(body: bytes) -> bytes:
    """The sums of all blocks of `body`."""
    parts = (body[at : at + BLOCK] for at in range(0, len(body), BLOCK))
    return b"".join(cast("int", google_crc32c.value(part)).to_bytes(4, "big") for part in parts)


def pieces_of(body: bytes, piece: int) -> bytes:
    """The piece table, computed the plain way."""
    return b"".join(blake3(body[at : at + piece]).digest() for at in range(0, len(body), piece))


def sha256_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


class House:
    """A prepared store in `root`; enter it in a running loop."""

    def __init__(self, root: Path, *, group: int | None = None, plain_user: bool = False) -> None:
        self.places = Places(root / "store", root / "store/.ckptd", root / "manifest.lock", group)
        prepare(self.places)
        self._plain_user = plain_user
        self._partials: list[Partial] = []
        self.digested: list[int] = []

    async def __aenter__(self) -> Self:
        self.state = State(self.places.database)
        self.state.__enter__()
        self.pool = plain_users_thread() if self._plain_user else ThreadPoolExecutor(4)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for partial in self._partials:
            await partial.close()
        self.pool.shutdown()
        self.state.__exit__(None, None, None)

    async def partial(self, record: PartialRecord | None = None, *, vouched: bool = False) -> Partial:
        """A partial as `service.fetch` makes it."""
        made = Partial("model", URL, self.places, self.state, self.pool, self.digested.append, vouched=vouched)
        self._partials.append(made)
        await made.resume(record)
        return made

    async def again(self, *, vouched: bool = False) -> Partial:
        """The partial as the next run finds it."""
        return await self.partial(await self.record(), vouched=vouched)

    async def record(self) -> PartialRecord | None:
        return (await self.state.do(load_partials)).get("model")


class Buffers:
    """Puts bytes and counts how often each buffer came back."""

    def __init__(self) -> None:
        self.released: list[int] = []

    def put(self, partial: Partial, offset: int, data: bytes) -> None:
        number = len(self.released)
        self.released.append(0)

        def release() -> None:
            self.released[number] += 1

        partial.put(offset, memoryview(data), release)

    @property
    def all_back(self) -> bool:
        """Every one exactly once."""
        return all(count == 1 for count in self.released)


async def until(condition: Callable[[], bool]) -> None:
    """Give other tasks and threads their turn until it holds; the test's own timeout is the limit."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # threads change it, and know no event of ours
            await asyncio.sleep(0)


def open_files() -> int:
    """Descriptors of this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            os.readlink(f"/proc/self/fd/{name}")
            count += 1
    return count

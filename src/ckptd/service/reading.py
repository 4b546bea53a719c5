"""Reading locked files back, a piece or a whole file at a time. No network.

By default against the piece table that the lock names; against the SHA-256 itself where there is no table, and when
asked to. What differs is read a second time, from the medium, before it is condemned: bad memory and bad cables look
like bad disks. Which pieces are read, and when, is `service.verify`'s and `service.scrub`'s business; what it comes to
is `service.judging`'s.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from ckptd.core import events
from ckptd.core.ages import Ages
from ckptd.core.audit import piece_count
from ckptd.core.models import LockEntry
from ckptd.core.pace import Bucket
from ckptd.service.judging import GONE, NOT_OURS, Files, Judge, Judged, Reading
from ckptd.service.telling import received
from ckptd.store import disk, scrub
from ckptd.store.digests import DIGEST_SIZE, pieces_field
from ckptd.store.places import Places
from ckptd.store.publish import keep_table
from ckptd.store.records import FileRecord

T = TypeVar("T")
FLICKER = "read wrong once and right the second time: suspect memory or a cable"


class _StoppedError(Exception):
    """Raised in a reading thread: nobody waits for what it reads any more."""


_OF_THE_FILE = GONE | NOT_OURS | {errno.EACCES, errno.EPERM}


class Reader:
    """Reads and judges; entered while its threads are needed. `rate` in bytes a second; times of reading that differ by
    less than `grain` seconds are noted as one."""

    def __init__(
        self,
        places: Places,
        records: Mapping[str, FileRecord],
        emit: events.Emit,
        *,
        rate: float | None,
        action: str,
        grain: float = 0.0,
    ) -> None:
        self._places = places
        self.files = Files(places, records)
        self._emit = emit
        self._bucket: Bucket | None = None
        self.grain = grain
        self.limit(rate)
        self._stopping = threading.Event()
        self.threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="ckptd-verify", initializer=disk.stand_back)
        self.judge = Judge(self.files, action, self.thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """Nobody reads on, nor sleeps for a rate that no longer matters."""
        self._stopping.set()

    def limit(self, rate: float | None) -> None:
        """From now on read at most so many bytes a second, over all threads; None is unlimited."""
        if rate is None or self._bucket is None or self._bucket.rate != rate:
            self._bucket = None if rate is None else Bucket(rate)

    def know(self, places: Places, records: Mapping[str, FileRecord]) -> None:
        """Where the files are and what is known of them, anew."""
        self.files.places, self.files.records = places, records

    def begin(self, entry: LockEntry, wanted: Sequence[int] | None, *, sha256: bool) -> Reading:
        """Look at the file and find what its pieces must be; `wanted` pieces only, or all. Raises OSError.

        With `sha256` the whole is read in one go, as it is where no table is to be had.
        """
        path = self.files.opened(entry)
        found = path.lstat()
        record, now = self.files.as_read(entry, found), time.time()
        count = piece_count(entry.size)
        table = None if sha256 or found.st_size == 0 else self._table(entry)
        return Reading(
            entry=entry,
            path=path,
            found=found,
            table=table,
            wanted=tuple(range(count)) if wanted is None or table is None else tuple(wanted),
            ages=Ages.from_json(record.ages) if record is not None else Ages((), (), now),
            begun=time.monotonic(),
            at=now,
            grain=self.grain,
            left=1 if table is None else len(wanted) if wanted is not None else count,
        )

    def _table(self, entry: LockEntry) -> tuple[bytes, ...] | None:
        """The digests of its pieces. A single piece has none: the lock's digest of the table is as good (`_right`)."""
        if entry.pieces is not None and piece_count(entry.size) == 1:
            return (b"",)
        return scrub.stored_table(self._places.pieces, entry.sha256, entry.pieces, entry.size)

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, reading: Reading, index: int | None) -> None:
        """Read one piece, or with None the whole file, and note what it came to. Never raises OSError."""
        try:
            if index is None:
                await self._whole(reading)
            else:
                await self._piece(reading, index)
        except OSError as error:
            reading.error = reading.error or error
        reading.left -= 1

    async def _piece(self, reading: Reading, index: int) -> None:
        if reading.error is not None or reading.table is None:
            return

        def read(*, fresh: bool) -> bytes:
            with scrub.opened(reading.path) as file:
                return scrub.piece_digest(file, index, progress, fresh=fresh)

        progress = self._progress(reading)
        try:
            digest = await self.thread(lambda: read(fresh=False))
            if not reading.right(index, digest):
                again = await self.thread(lambda: read(fresh=True))
                if reading.right(index, again):
                    reading.notes.append(f"piece {index} {FLICKER}")
                digest = again
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise
            reading.pieces[index] = None  # one bad spot is not the end of the file
            return
        reading.pieces[index] = digest

    async def _whole(self, reading: Reading) -> None:
        entry, progress = reading.entry, self._progress(reading)
        try:
            whole = await self.thread(lambda: scrub.whole_digests(reading.path, progress))
        except OSError as error:
            table = self._table(entry)
            if error.errno in _OF_THE_FILE or table is None:
                raise
            reading.table = table
            reading.notes.append(f"{os.strerror(error.errno or errno.EIO)}: read piece by piece to see where")
            for index in range(piece_count(entry.size)):
                await self._piece(reading, index)
            return
        if (whole.size, whole.sha256) != (entry.size, entry.sha256):
            first = whole.sha256
            whole = await self.thread(lambda: scrub.whole_digests(reading.path, progress, fresh=True))
            if whole.sha256 == entry.sha256 != first:
                reading.notes.append(FLICKER)
        reading.whole = whole
        digests = [whole.table[at : at + DIGEST_SIZE] for at in range(0, len(whole.table), DIGEST_SIZE)]
        if whole.sha256 == entry.sha256:
            reading.table = tuple(digests)
            self._mend_table(entry, whole.table)
        else:
            reading.table = self._table(entry)
            if all(reading.right(index, digest) for index, digest in enumerate(digests)):
                reading.table = None  # it is not that of the locked bytes, whatever the lock says: it tells nothing
        if reading.table is not None:
            reading.pieces = dict(enumerate(digests))

    async def conclude(self, reading: Reading) -> Judged:
        """The verdict. Where a part of a file is damaged the rest is read too: what happened shows in the whole."""
        wrong = any(not reading.right(index, digest) for index, digest in reading.pieces.items())
        if wrong and reading.whole is None and reading.error is None:
            for index in range(piece_count(reading.entry.size)):
                if index not in reading.pieces:
                    await self.read(reading, index)
        return await self.judge.judge(reading)

    def _mend_table(self, entry: LockEntry, table: bytes) -> None:
        """The whole was proven: a piece table that was lost, or did not fit the lock, can be kept again."""
        lost = entry.pieces == pieces_field(table) and self._table(entry) is None
        if lost and os.access(self._places.pieces, os.W_OK):
            keep_table(entry.sha256, entry.size, table, self._places)

    def _progress(self, reading: Reading) -> Callable[[int], None]:
        told = self.progress(reading.entry.name)

        def read(count: int) -> None:
            reading.count += count
            told(count)

        return read

    def progress(self, name: str) -> Callable[[int], None]:
        """To be called in a reading thread with the bytes just read: tells of them, and keeps to the rate."""
        tell = received(name, self._emit)

        def read(count: int) -> None:
            tell(count)
            bucket = self._bucket
            if bucket is not None:
                self._stopping.wait(bucket.take(time.monotonic(), count))
            if self._stopping.is_set():
                raise _StoppedError

        return read

    async def thread(self, work: Callable[[], T]) -> T:
        """Run blocking `work` in one of the reading threads, whose I/O comes after everybody else's."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

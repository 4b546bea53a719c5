"""An unfinished download on disk: bytes written wherever they belong, digested in order, and remembered.

The event loop hands over filled buffers and gets them back when they are written and digested; threads do both, at
the same time. Bytes that continue the digest are digested from the buffer while they are hot; bytes that arrive out of
order are only written, and read back (from the page cache, as a rule) once the digest gets there. What is remembered
in the state database is enough to go on after a crash, and never more than is really on the disk.
"""

from __future__ import annotations

import asyncio
import glob
import itertools
import os
import stat
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from ckptd.core.models import Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator
from ckptd.errors import CkptdError, StorageError
from ckptd.store import copying, disk
from ckptd.store.arrivals import Arrival, checksum, load, save, still_there
from ckptd.store.digests import ALWAYS, bundles
from ckptd.store.lanes import Lane, Release
from ckptd.store.places import Places, check_room, storage_error
from ckptd.store.records import PartialRecord, drop_partials, save_partial
from ckptd.store.state import State

T = TypeVar("T")
_RUN = os.urandom(6).hex()  # with the number it names a file that no run before and no link-planter could know
_SERIAL = itertools.count()
REMEMBER_EVERY = 0.25  # seconds between two notes of what is written: what a SIGKILL can cost
SYNC_EVERY_BYTES = 64 * 1024 * 1024  # at most this much is lost with the power
SYNC_EVERY_SECONDS = 5.0


class Partial:
    """One unfinished download: its file, its digests, its record. Used from one event loop."""

    def __init__(
        self,
        name: str,
        url: str,
        places: Places,
        state: State,
        pool: ThreadPoolExecutor,
        on_digest: Callable[[int], None],
        *,
        vouched: bool,
    ) -> None:
        """`vouched`: what the whole must be is known, so that nothing has to be noted of its parts."""
        self.name = name
        self.path = places.partials
        self.fd = -1
        self.finished = False  # published: nothing is left to remember
        self.seeded = False  # begun with bytes that no origin sent: proven now, or forgotten
        self.total: int | None = None
        self.error: CkptdError | None = None
        self.written = Extents()
        self.validators: dict[str, Validator] = {}
        self.witnesses: tuple[Witness, ...] = ()
        self._url = url
        self._places = places
        self._state = state
        self._pool = pool
        self._on_digest = on_digest
        self._loop = asyncio.get_running_loop()
        self._synced = Extents()
        self._lanes: list[Lane] = []
        self._writing = 0
        self._changed = asyncio.Event()
        self._boot = disk.boot_id()
        self._vouched = vouched
        self._arrivals: list[Arrival] = []  # that are not noted yet
        self._has_room = False  # it was seen that the rest fits
        self._recorded: PartialRecord | None = None
        self._last_note = self._last_sync = 0.0

    # --- beginning -----------------------------------------------------------------------------------------------

    async def resume(self, record: PartialRecord | None) -> int:
        """Open what an earlier run left, as far as it can be believed, or begin an empty file.

        Returns how many bytes are not what was written any more. Raises StorageError.
        """
        lost = 0
        if record is not None and record.url == self._url:
            believed = record.written if record.boot and record.boot == self._boot else record.synced
            path = self._places.partials / record.file
            opened = await self._call(lambda: _reopen(str(path), believed))
            if opened >= 0:
                self.fd, self.path = opened, path
                if not (self._vouched or record.witnesses):
                    arrivals = await self._state.do(lambda connection: load(connection, record.file))
                    whole = await self._call(lambda: still_there(opened, believed, arrivals))
                    lost, believed = believed.size - whole.size, whole
                self.total = record.total
                self.written = believed
                self._synced = record.synced if not lost else Extents()
                self.validators = dict(record.validators)
                self.witnesses = record.witnesses
        if self.fd >= 0:
            self._start_lanes()
        return lost

    async def seed(
        self,
        source: Path,
        good: Extents,
        total: int,
        validators: Mapping[str, Validator],
        flips: Sequence[tuple[int, int]] = (),
        witnesses: Sequence[Witness] = (),
    ) -> None:
        """Begin with the `good` bytes of a damaged file of `total` bytes, shared with it where the filesystem can.

        `flips` are offsets of bytes and the bits to turn in each; then every byte is there. Raises StorageError.
        """
        await self.begin_again()
        await self._create()
        spans = ((0, total),) if flips else good.spans
        await self._call(
            lambda: copying.fill(source, self.fd, spans, total, flips, lambda: check_room(self._places, total))
        )
        self.total, self.written = total, Extents.of(*spans)
        self.validators = dict(validators)
        self.witnesses = tuple(witnesses)
        self.seeded = True
        self._start_lanes()

    async def whole(
        self, body: bytes, source: str, validator: Validator, witnesses: Iterable[Witness]
    ) -> dict[str, bytes]:
        """A small file in one piece: write and digest it in one go. Raises StorageError."""
        self.witnesses = tuple(witnesses)
        self.validators = {source: validator}
        self.total = len(body)
        algorithms = ALWAYS | {each.algorithm for each in self.witnesses}

        def work() -> dict[str, bytes]:
            disk.write_at(self.fd, memoryview(body), 0)
            parts = bundles(algorithms)
            for part in parts:
                part.update(memoryview(body))
            return {name: value for part in parts for name, value in part.digests().items()}

        if self.fd < 0:
            await self._create()
        self.written = Extents.of((0, len(body)))
        return await self._call(work)

    async def begin_again(self) -> None:
        """Forget every byte: a new file under a new name, so that an old record can never describe new bytes."""
        await self.close()
        old = self.path
        self.written = self._synced = Extents()
        self.total, self.validators, self.witnesses, self.error = None, {}, (), None
        self.seeded = self._has_room = False
        self._lanes, self._arrivals = [], []
        await self.forget()
        if old != self._places.partials:
            self.path = self._places.partials
            await self._call(lambda: old.unlink(missing_ok=True))

    async def forget(self) -> None:
        """Drop the record in the state database."""
        await self._state.do(lambda connection: drop_partials(connection, [self.name]))
        self._recorded = None

    async def _create(self) -> None:
        path = self._places.partials / f"{self.name}.{_RUN}{next(_SERIAL):x}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = await self._call(lambda: os.open(path, flags, 0o644))
        self.path = path

    def _start_lanes(self) -> None:
        self._lanes = []
        self._add_lanes(ALWAYS | {each.algorithm for each in self.witnesses})

    def _add_lanes(self, algorithms: Iterable[str]) -> None:
        have = {name for lane in self._lanes for name in lane.bundle.algorithms}
        for bundle in bundles(set(algorithms) - have):
            lane = Lane(self, bundle)
            self._lanes.append(lane)
            lane.catch_up(self.written)

    async def learn(self, total: int | None, source: str, validator: Validator, witnesses: Iterable[Witness]) -> None:
        """Remember what an answer from `source` says of the object, before any of its bytes count."""
        if self.fd < 0:
            await self._create()
            self._start_lanes()
        if total is not None and (total != self.total or not self._has_room):
            missing = total - self.written.size
            await self._call(lambda: check_room(self._places, missing))
            self.total, self._has_room = total, True
            if missing > SYNC_EVERY_BYTES:
                await self._call(lambda: disk.preallocate(self.fd, total))
        self.validators[source] = validator
        known = {(each.source, each.value) for each in self.witnesses}
        new = tuple(each for each in witnesses if (each.source, each.value) not in known)
        if new:
            self.witnesses += new
            self._add_lanes(each.algorithm for each in new)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def put(self, offset: int, view: memoryview, release: Release) -> None:
        """Take a filled buffer: write it at `offset` and digest it. `release` is called once when both are done.

        Raises StorageError when an earlier write failed.
        """
        if self.error is not None:
            release()
            raise self.error
        waiting = 1

        def done() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                release()

        for lane in self._lanes:
            waiting += lane.offer(offset, view, done)
        self._writing += 1
        arrivals: list[Arrival] = []

        def write() -> None:
            disk.write_at(self.fd, view, offset)
            if not (self._vouched or self.witnesses):
                arrivals.append(Arrival(offset, len(view), checksum(view)))

        def written(error: BaseException | None) -> None:
            self._writing -= 1
            if error is None:
                self.written = self.written.add(offset, offset + len(view))
                self._arrivals += arrivals
                for lane in self._lanes:
                    lane.catch_up(self.written)
            else:
                self.fail(error)
            done()
            self.moved()

        self.in_thread(write, written)

    async def drained(self) -> None:
        """Wait until everything handed over is written. Raises StorageError."""
        await self._until(lambda: self._writing == 0)

    async def remember(self, *, force: bool = False) -> None:
        """Note in the state database what is written, now and then also after syncing it."""
        if self.seeded:
            return  # a later run would take them for what an origin sent
        now = self._loop.time()
        if not force and now - self._last_note < REMEMBER_EVERY:
            return
        self._last_note = now
        unsynced = self.written.size - self._synced.size
        if force or unsynced >= SYNC_EVERY_BYTES or (unsynced and now - self._last_sync >= SYNC_EVERY_SECONDS):
            snapshot = self.written
            await self._call(lambda: os.fdatasync(self.fd))
            self._synced = snapshot
            self._last_sync = now
        record = PartialRecord(
            name=self.name,
            url=self._url,
            file=self.path.name,
            boot=self._boot,
            total=self.total,
            written=self.written,
            synced=self._synced,
            validators=dict(self.validators),
            witnesses=self.witnesses,
        )
        if record != self._recorded:
            arrivals, self._arrivals = self._arrivals, []

            def note(connection: Connection) -> None:
                save_partial(connection, record)
                save(connection, record.file, arrivals)

            try:
                await self._state.do(note)
            except BaseException:
                self._arrivals = arrivals + self._arrivals
                raise
            self._recorded = record

    async def digests(self, total: int) -> dict[str, bytes]:
        """Wait until all `total` bytes are digested, and say the digests. Raises StorageError."""
        self.total = total
        await self._until(lambda: self._writing == 0 and all(lane.done >= total for lane in self._lanes))
        return {name: value for lane in self._lanes for name, value in lane.bundle.digests().items()}

    # --- the end -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let running threads finish with the file, give all buffers back, close it. The record stays."""
        if self.error is None:
            self.error = StorageError(f"{self.path} is closed")
        for lane in self._lanes:
            lane.drop()
        while self._writing or not all(lane.idle for lane in self._lanes):
            self._changed.clear()
            await self._changed.wait()
        for lane in self._lanes:
            lane.drop()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    # --- threads -------------------------------------------------------------------------------------------------

    def in_thread(self, work: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        """Run `work` in a disk thread, then `then` on the loop with what it raised."""

        def run() -> None:
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:  # noqa: BLE001  # it is raised again where somebody waits
                error = raised
            self.from_thread(then, error)

        self._pool.submit(run)

    def from_thread(self, function: Callable[..., None], *args: object) -> None:
        """Call `function` on the loop."""
        self._loop.call_soon_threadsafe(function, *args)

    def moved(self) -> None:
        """Something was written or digested: tell whoever waits."""
        if self._lanes:
            self._on_digest(min(lane.done for lane in self._lanes))
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """Stop taking bytes: the disk has failed."""
        if self.error is None:
            if isinstance(error, OSError):
                self.error = storage_error(error, f"cannot write {self.path}")
            elif isinstance(error, CkptdError):
                self.error = error
            else:
                self.error = StorageError(f"cannot digest {self.path}: {error!r}")
            for lane in self._lanes:
                lane.drop()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            if self.error is not None:
                raise self.error
            if condition():
                return
            self._changed.clear()
            await self._changed.wait()

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._pool, work)
        except OSError as error:
            raise storage_error(error, f"cannot write {self.path}") from error


def _reopen(path: str, believed: Extents) -> int:
    """The file of an earlier run, or -1 when it is gone or too short for what is believed of it."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            # A run that ended just before the rename has taken our own right to write away.
            os.chmod(path, 0o644)
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):
        return -1
    end = max((end for _, end in believed.spans), default=0)
    if os.fstat(fd).st_size < end:
        os.close(fd)
        return -1
    return fd


def sweep(places: Places, keep: Container[str]) -> None:
    """Remove what crashed runs left behind and no record speaks of. The store must be ours."""
    stale = [path for path in _listed(places.partials, "*") if path.name not in keep]
    stale += _listed(places.pieces, ".*.tmp")
    stale += _listed(places.lock.parent, f".{glob.escape(places.lock.name)}.*.tmp")
    for path in stale:
        with suppress(OSError):
            path.unlink()


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []

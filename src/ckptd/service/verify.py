"""One pass of `verify`: read every locked byte on all cores, compare, say where the damage is. No network.

By default against the piece table that the lock names, a piece at a time, many pieces at once; against the SHA-256
itself where there is no table, and when asked to. What differs is read a second time, from the medium, before it is
condemned: bad memory and bad cables look like bad disks.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from ckptd.core import events
from ckptd.core.audit import EXIT_STATUS, damaged_pieces, state_of
from ckptd.core.models import Damage, LockEntry, Outcome, Problem
from ckptd.core.pace import Bucket
from ckptd.core.urls import file_name
from ckptd.errors import CkptdError
from ckptd.service.sync import finished
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, scrub
from ckptd.store.digests import DIGEST_SIZE
from ckptd.store.publish import stamp
from ckptd.store.records import FileRecord, Visit, add_history, save_files
from ckptd.store.state import State

T = TypeVar("T")
FLICKER = "read wrong once and right the second time: suspect memory or a cable"
_GONE = {errno.ENOENT, errno.ENOTDIR}
_NOT_OURS = {errno.ELOOP, errno.EISDIR, errno.ENXIO}  # a link, a folder, a device where the file should be


@dataclass(slots=True)
class _Reading:
    """One locked file while it is read. `table` is what its pieces must be, None where only the SHA-256 can tell."""

    entry: LockEntry
    path: Path
    table: tuple[bytes, ...] | None
    begun: float
    pieces: dict[int, bytes | None] = field(default_factory=dict)
    left: int = 0
    error: OSError | None = None
    sha256: str = ""
    found: os.stat_result | None = None
    notes: list[str] = field(default_factory=list)


class Audit:
    """Reads locked files and says what they are. `sha256`: compare the SHA-256 even where piece digests would do."""

    def __init__(self, workplace: Workplace, emit: events.Emit, *, sha256: bool) -> None:
        self._workplace = workplace
        self._places = workplace.places
        self._emit = emit
        self._sha256 = sha256
        rate = workplace.manifest.verify.rate
        self._bucket = None if rate is None else Bucket(rate)
        self._records = inventory.records(workplace.places)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="ckptd-verify")
        self._outcomes: dict[str, Outcome] = {}
        self._good: list[tuple[FileRecord, Visit]] = []

    async def run(self, wanted: Iterable[str] | None, *, older_than: float | None = None) -> list[Outcome]:
        """Verify what is locked (only `wanted` names, if given), and say what is not.

        With `older_than` seconds, only what was not found intact since then.
        """
        chosen = self._chosen(wanted)
        for name in chosen:
            if name not in self._workplace.lock.entries:
                self._tell(_unlocked(name))
        entries = [entry for name, entry in sorted(self._workplace.lock.entries.items()) if name in chosen]
        due = [entry for entry in entries if older_than is None or self._age(entry) >= older_than]
        for entry in due:
            self._emit(events.Queued(entry.name, entry.size, ""))
        units = self._units(due)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(os.cpu_count() or 1):
                    group.create_task(self._reader(units))
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            await self._remember()
        return [self._outcomes[name] for name in sorted(self._outcomes)]

    def _chosen(self, wanted: Iterable[str] | None) -> set[str]:
        selected = {checkpoint.name for checkpoint in self._workplace.selected}
        # Without names also what the lock still has and the manifest does not: those bytes are kept, too.
        return selected if wanted else selected | set(self._workplace.lock.entries)

    def _age(self, entry: LockEntry) -> float:
        record = self._records.get(inventory.key(self._path(entry), self._places.store))
        return time.time() - record.verified_at if record is not None and record.verdict == "intact" else float("inf")

    def _path(self, entry: LockEntry) -> Path:
        return self._places.folder(entry.name) / file_name(entry.url)

    def _units(self, due: Iterable[LockEntry]) -> Iterator[tuple[_Reading, int | None]]:
        """What to read, a piece (or, as None, a whole file) at a time; shared by all readers."""
        for entry in due:
            reading = self._begin(entry)
            if reading is None:
                continue
            if reading.table is None:
                reading.left = 1
                yield reading, None
                continue
            reading.left = len(reading.table)
            yield from ((reading, index) for index in range(len(reading.table)))

    def _begin(self, entry: LockEntry) -> _Reading | None:
        path = self._path(entry)
        table = None
        if not self._sha256:
            table = scrub.stored_table(self._places.pieces, entry.sha256, entry.pieces, entry.size)
        reading = _Reading(entry, path, table, time.monotonic())
        self._emit(events.Started(entry.name, entry.size))
        try:
            reading.found = path.lstat()
        except OSError as error:
            reading.error = error
            self._judge(reading)
            return None
        if reading.table is not None and reading.found.st_size == 0:
            reading.table = None
        return reading

    async def _reader(self, units: Iterator[tuple[_Reading, int | None]]) -> None:
        for reading, index in units:
            try:
                if index is None:
                    await self._whole(reading)
                else:
                    await self._piece(reading, index)
            except OSError as error:
                reading.error = reading.error or error
            reading.left -= 1
            if reading.left == 0:
                self._judge(reading)

    async def _piece(self, reading: _Reading, index: int) -> None:
        if reading.error is not None or reading.table is None:
            return

        def read(*, fresh: bool) -> bytes:
            with scrub.opened(reading.path) as file:
                return scrub.piece_digest(file, index, progress, fresh=fresh)

        progress = self._progress(reading.entry.name)
        try:
            digest = await self._thread(lambda: read(fresh=False))
            if digest != reading.table[index]:
                again = await self._thread(lambda: read(fresh=True))
                if again == reading.table[index]:
                    reading.notes.append(f"piece {index} {FLICKER}")
                digest = again
        except OSError as error:
            if error.errno in _GONE | _NOT_OURS | {errno.EACCES, errno.EPERM}:
                raise
            reading.pieces[index] = None  # one bad spot is not the end of the file
            return
        reading.pieces[index] = digest

    async def _whole(self, reading: _Reading) -> None:
        entry = reading.entry
        progress = self._progress(entry.name)
        size, sha256, table = await self._thread(lambda: scrub.whole_digests(reading.path, progress))
        if (size, sha256) != (entry.size, entry.sha256):
            first = sha256
            size, sha256, table = await self._thread(lambda: scrub.whole_digests(reading.path, progress, fresh=True))
            if sha256 == entry.sha256 and first != sha256:
                reading.notes.append(FLICKER)
        reading.sha256 = sha256
        known = scrub.stored_table(self._places.pieces, entry.sha256, entry.pieces, entry.size)
        if known is not None:
            reading.table = known
            digests = [table[at : at + DIGEST_SIZE] for at in range(0, len(table), DIGEST_SIZE)]
            reading.pieces = dict(enumerate(digests))

    def _progress(self, name: str) -> Callable[[int], None]:
        loop, bucket = asyncio.get_running_loop(), self._bucket

        def read(count: int) -> None:
            loop.call_soon_threadsafe(self._emit, events.Received(name, count))
            if bucket is not None:
                time.sleep(bucket.take(time.monotonic(), count))

        return read

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    # --- verdicts ------------------------------------------------------------------------------------------------

    def _judge(self, reading: _Reading) -> None:
        entry = reading.entry
        if reading.error is not None:
            self._tell(_unread(reading))
            return
        found = reading.found.st_size if reading.found is not None else 0
        if reading.sha256 == entry.sha256 and found == entry.size:
            damage: tuple[Damage, ...] | None = ()
        elif reading.table is not None:
            damage = damaged_pieces(reading.table, reading.pieces, entry.size, found)
        elif entry.pieces is not None and scrub.piece_count(entry.size) == 1:
            # One piece: the lock's digest of the table is as good as the table.
            damage = damaged_pieces([b"as locked"], {0: b"otherwise"}, entry.size, found)
        else:
            damage = None
        state = "corrupt" if damage is None else state_of(damage)
        self._note(reading, state)
        self._tell(_outcome(reading, state, damage))

    def _tell(self, outcome: Outcome) -> None:
        self._outcomes[outcome.name] = outcome
        self._emit(finished(outcome))
        for note in outcome.notes:
            self._emit(events.Noted(outcome.name, note))

    def _note(self, reading: _Reading, verdict: str) -> None:
        entry, now = reading.entry, time.time()
        if reading.found is None:
            return
        digest = "sha256" if reading.sha256 else "blake3"
        seconds = time.monotonic() - reading.begun
        record = FileRecord(
            path=inventory.key(reading.path, self._places.store),
            name=entry.name,
            sha256=entry.sha256,
            size=entry.size,
            stamp=stamp(reading.found),
            trust=entry.trust,
            witnesses=entry.witnesses,
            pieces=entry.pieces or "",
            verified_at=now,
            verdict=verdict,
        )
        self._good.append((record, Visit(now, entry.name, "verify", digest, entry.size, seconds, verdict)))

    async def _remember(self) -> None:
        """Note the verdicts, where we may: an auditor who can only read still gets an answer."""
        if not self._good or not os.access(self._places.state, os.W_OK):
            return
        with suppress(CkptdError, OSError), State(self._places.database) as state:
            records, visits = [each for each, _ in self._good], [each for _, each in self._good]

            def save(database: Connection) -> None:
                save_files(database, records)
                add_history(database, visits)

            await state.do(save)


def _unlocked(name: str) -> Outcome:
    problem = Problem("storage", "it is not locked: it was never fetched", f"run `ckptd sync {name}`")
    return Outcome(name, "unlocked", error=problem, exit_status=EXIT_STATUS["unlocked"])


def _outcome(reading: _Reading, state: str, damage: tuple[Damage, ...] | None) -> Outcome:
    entry = reading.entry
    problem = None
    if state == "corrupt":
        actual = f"its sha256 is {reading.sha256}, " if reading.sha256 else ""
        problem = Problem(
            "integrity",
            f"{actual}it should be {entry.sha256}" if actual else "its bytes are not those that are locked",
            f"`ckptd sync {entry.name}` fetches it again",
        )
    elif state == "unreadable":
        problem = Problem("storage", "the disk cannot read it", "look at the kernel log (dmesg)")
    return Outcome(
        name=entry.name,
        state=state,
        size=entry.size,
        sha256=entry.sha256,
        trust=entry.trust,
        path=str(reading.path),
        bytes_reused=0,
        error=problem,
        exit_status=EXIT_STATUS[state],
        damage=damage,
        notes=tuple(reading.notes),
    )


def _unread(reading: _Reading) -> Outcome:
    """The outcome of a file that could not be read at all."""
    entry, error = reading.entry, reading.error
    code = error.errno if error is not None and error.errno is not None else errno.EIO
    if code in _GONE:
        state, kind, message = "missing", "storage", "it is not there"
    elif code in _NOT_OURS:
        state, kind, message = (
            "corrupt",
            "integrity",
            "a link, or something else that is no plain file, is in its place",
        )
    else:
        state, kind, message = "unreadable", "storage", f"it cannot be read: {os.strerror(code)}"
    hint = f"`ckptd sync {entry.name}` fetches it again" if state != "unreadable" else "check its modes and the disk"
    return Outcome(
        name=entry.name,
        state=state,
        size=entry.size,
        sha256=entry.sha256,
        trust=entry.trust,
        path=str(reading.path),
        error=Problem(kind, message, hint),
        exit_status=EXIT_STATUS[state],
    )

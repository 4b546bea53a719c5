"""The verdict on what was read of a locked file: what it is, and if it is damaged, what happened and who uses it.

Looks closely only at what is damaged. Whether bytes are wrong is `core.audit`'s decision, what happened
`core.diagnose`'s; this gathers what they need, and says it in the words of outcomes, records and history.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection

from ckptd.core.ages import Ages
from ckptd.core.audit import EXIT_STATUS, damaged_pieces, piece_count, state_of
from ckptd.core.diagnose import Cause, Diagnosis, corrections, diagnose
from ckptd.core.models import Case, Damage, LockEntry, Outcome, Problem, Usage
from ckptd.core.plan import in_place_hint
from ckptd.core.urls import file_name
from ckptd.store import scrub
from ckptd.store.digests import pieces_field
from ckptd.store.examine import examine
from ckptd.store.history import Visit
from ckptd.store.holders import holders
from ckptd.store.places import Places
from ckptd.store.publish import FILE_MODE, stamp
from ckptd.store.records import FileRecord, load_files, load_sums, read_only, save_files, save_sums, save_verdict

GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
NOT_OURS = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})  # a link, a folder, a device where the file should be
UNREAD = "unread"  # the verdict on a file of which only a part was read yet
Look = Callable[[], tuple[Diagnosis, Usage]]


@dataclass(slots=True)
class Reading:
    """One locked file while it is read.

    `table` is what its pieces must be, None where only the SHA-256 can tell; `wanted` the pieces to read, in order.
    """

    entry: LockEntry
    path: Path
    found: os.stat_result
    table: tuple[bytes, ...] | None
    wanted: tuple[int, ...]
    ages: Ages  # as recorded, and as far as they still speak of this file
    begun: float  # monotonic seconds
    at: float  # POSIX seconds
    grain: float = 0.0  # seconds
    pieces: dict[int, bytes | None] = field(default_factory=dict)
    whole: scrub.Whole | None = None
    left: int = 0
    count: int = 0  # bytes read
    error: OSError | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def marked(self) -> Ages:
        """When each piece was last found good, with what has been read by now."""
        ages = self.ages
        if self.table is None:  # read as a whole, and not good
            return ages.unmark(0, piece_count(self.entry.size), self.at)
        for index, digest in sorted(self.pieces.items()):
            right = self.right(index, digest)
            ages = ages.mark(index, index + 1, self.at, self.grain) if right else ages.unmark(index, index + 1, self.at)
        return ages

    def right(self, index: int, digest: bytes | None) -> bool:
        """Whether a piece is what it must be; the only piece of a file is told by the lock itself."""
        if digest is None or self.table is None:
            return False
        if self.table == (b"",) and pieces_field(digest) == self.entry.pieces:
            self.table = (digest,)
        return digest == self.table[index]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reading came to: for whoever asked, for the records, and for the history."""

    outcome: Outcome
    record: FileRecord | None = None
    visit: Visit | None = None
    outdated: FileRecord | None = None  # what was recorded before, about other bytes than those that are locked
    sums: bytes = b""  # of the blocks, where all of a file was read in one go, and is good

    def save(self, database: Connection) -> None:
        """Note it in the records, unless other bytes have been published under its name meanwhile."""
        if self.record is None:
            return
        if self.sums and load_sums(database, self.record.sha256) is None:
            save_sums(database, self.record.sha256, self.sums)
        old = self.outdated
        if old is not None and not old.pending and load_files(database).get(old.path) == old:
            save_files(database, [self.record])
        else:
            save_verdict(database, self.record)


@dataclass(slots=True)
class Files:
    """Where the locked files are and what is known of them."""

    places: Places
    records: Mapping[str, FileRecord]

    def path(self, entry: LockEntry) -> Path:
        """Where the file of `entry` lies."""
        return self.places.file(entry.name, file_name(entry.url))

    def opened(self, entry: LockEntry) -> Path:
        """What is read of it: see `Places.opened`."""
        return self.places.opened(self.path(entry))

    def watched(self, entry: LockEntry) -> bool:
        """Whether somebody else keeps it, so that nothing of ours may mend it."""
        return entry.name in self.places.watched

    def record(self, entry: LockEntry) -> FileRecord | None:
        """What is known of the file, if that is still about the locked bytes."""
        record = self._recorded(entry)
        return record if record is not None and record.sha256 == entry.sha256 else None

    def outdated(self, entry: LockEntry) -> FileRecord | None:
        """What is recorded under its name, if that is about other bytes than the locked ones."""
        record = self._recorded(entry)
        return record if record is not None and record.sha256 != entry.sha256 else None

    def as_read(self, entry: LockEntry, found: os.stat_result) -> FileRecord | None:
        """What is known of the file, if nobody has written to it since it was last read."""
        record = self.record(entry)
        return record if record is not None and last_read(record) in {"", stamp(found)} else None

    def _recorded(self, entry: LockEntry) -> FileRecord | None:
        return self.records.get(f"{entry.name}/{file_name(entry.url)}")


def last_good(record: FileRecord) -> str:
    """What the file was like when all of it was good; empty where that is not known.

    A record's stamp is that, and after a blank what the file was like when it was read last, where that is something
    else: so it is not taken for good before all of it was read again, and it stays known that somebody wrote to it.
    """
    return record.stamp.partition(" ")[0]


def last_read(record: FileRecord) -> str:
    """What the file was like when it was read last, good or not; empty where it never was."""
    return record.stamp.rpartition(" ")[2]


class Judge:
    """Judges readings. `thread` runs blocking work; `action` is what the history calls it."""

    def __init__(self, files: Files, action: str, thread: Callable[[Look], Awaitable[tuple[Diagnosis, Usage]]]) -> None:
        self._files = files
        self._action = action
        self._thread = thread

    async def judge(self, reading: Reading) -> Judged:
        """The verdict on what was read, and if it is damaged, what happened to it."""
        entry = reading.entry
        if reading.error is not None:
            return await self.unread(entry, reading.error)
        damage = _damage(reading)
        state = "corrupt" if damage is None else state_of(damage)
        if state == "intact":
            return self._noted(reading, _outcome(reading, state, damage, None))
        bad = [index for index, digest in sorted(reading.pieces.items()) if not reading.right(index, digest)]
        unreadable = [index for index in bad if reading.pieces[index] is None]
        if damage is None:
            bad = list(range(piece_count(entry.size)))  # nothing tells which
        diagnosis, case = await self._case(entry, bad, unreadable, reading)
        located = diagnosis.damage if damage is not None or self._sums(entry) is not None else None
        return self._noted(reading, _outcome(reading, state, located, case))

    async def unread(self, entry: LockEntry, error: OSError) -> Judged:
        """The verdict on a file that could not be read at all."""
        code = error.errno if error.errno is not None else errno.EIO
        case, damage = None, None
        if code in GONE:
            state, kind, message = "missing", "storage", "it is not there"
            damage = _all(entry, "missing")
        elif code in NOT_OURS:
            state, kind, message = "corrupt", "integrity", "something that is no plain file is in its place"
            damage = _all(entry, "replaced")
            _, case = await self._case(entry, (), (), None)
        else:
            state, kind, message = "unreadable", "storage", f"it cannot be read: {os.strerror(code)}"
        hint = f"`ckptd sync {entry.name}` fetches it again"
        if state == "unreadable":
            hint = "check its modes and the disk"
        elif self._files.watched(entry):
            hint = in_place_hint(entry.name)
        outcome = Outcome(
            name=entry.name,
            state=state,
            size=entry.size,
            sha256=entry.sha256,
            trust=entry.trust,
            path=str(self._files.path(entry)),
            error=Problem(kind, case.summary if case is not None else message, hint),
            exit_status=EXIT_STATUS[state],
            damage=damage,
            case=case,
        )
        now, known = time.time(), self._files.record(entry)
        ages = (Ages.from_json(known.ages) if known is not None else Ages()).unmark(0, piece_count(entry.size), now)
        visit = Visit(
            now,
            entry.name,
            self._action,
            entry.sha256,
            "",
            0,
            0.0,
            state,
            outcome.error.message if outcome.error is not None else "",
        )
        return Judged(outcome, self._recorded(entry, None, state, ages, now), visit, self._files.outdated(entry))

    async def _case(
        self, entry: LockEntry, bad: Sequence[int], unreadable: Sequence[int], reading: Reading | None
    ) -> tuple[Diagnosis, Case]:
        record, path = self._files.record(entry), self._files.opened(entry)
        good = record.verified_at if record is not None and record.verified_at else None

        def look() -> tuple[Diagnosis, Usage]:
            facts = examine(
                path,
                expected_size=entry.size,
                bad=bad,
                unreadable=unreadable,
                sums=self._sums(entry),
                right=None if reading is None else reading.right,
                located=reading is None or reading.table is not None,
                recorded=last_good(record) if record is not None and not record.pending else None,
                good_at=good,
                mode=FILE_MODE if record is not None and not self._files.watched(entry) else None,
            )
            return diagnose(facts), holders(path)

        diagnosis, usage = await self._thread(look)
        flips = corrections(diagnosis) if diagnosis.cause is Cause.FLIPPED_BIT else ()
        turned = tuple((each.offset, each.mask) for each in flips)
        return diagnosis, Case(str(diagnosis.cause), diagnosis.summary, good, usage, turned)

    def _sums(self, entry: LockEntry) -> bytes | None:
        connection = read_only(self._files.places.database)
        if connection is None:
            return None
        with closing(connection), suppress(sqlite3.Error):
            return load_sums(connection, entry.sha256)
        return None

    def _noted(self, reading: Reading, outcome: Outcome) -> Judged:
        entry, now, ages = reading.entry, time.time(), reading.marked
        outcome = replace(outcome, path=str(self._files.path(entry)))
        if outcome.state == "corrupt" and outcome.error is not None and self._files.watched(entry):
            outcome = replace(outcome, error=replace(outcome.error, hint=in_place_hint(entry.name)))
        record = self._recorded(entry, stamp(reading.found), outcome.state, ages, now)
        digest = "blake3" if reading.whole is None else "sha256"
        seconds = time.monotonic() - reading.begun
        detail = outcome.case.summary if outcome.case is not None else "; ".join(outcome.notes)
        visit = Visit(
            now, entry.name, self._action, entry.sha256, digest, reading.count, seconds, outcome.state, detail
        )
        sums = reading.whole.sums if reading.whole is not None and outcome.state == "intact" else b""
        return Judged(outcome, record, visit, self._files.outdated(entry), sums)

    def _recorded(self, entry: LockEntry, mark: str | None, verdict: str, ages: Ages, now: float) -> FileRecord:
        """What the state is to know. `mark`: what the file is like; None where it could not be read.

        Good pieces make no good file: while others were not read, or are not good, its verdict stays what it was.
        """
        known = self._files.record(entry)
        oldest = ages.oldest(piece_count(entry.size), now) if entry.size else now if verdict == "intact" else None
        good = verdict == "intact" and oldest is not None
        if verdict == "intact" and not good:
            verdict = known.verdict if known is not None else UNREAD
        return FileRecord(
            path=f"{entry.name}/{file_name(entry.url)}",
            name=entry.name,
            sha256=entry.sha256,
            size=entry.size,
            stamp=_stamp(known, mark, good=good),
            trust=entry.trust,
            witnesses=entry.witnesses,
            pieces=entry.pieces or "",
            verified_at=oldest if oldest is not None else known.verified_at if known is not None else 0.0,
            verdict=verdict,
            ages=ages.to_json(),
        )

    def so_far(self, reading: Reading) -> FileRecord | None:
        """How far a file has been read, to be remembered in case we are stopped; None: nothing new."""
        if not reading.pieces or reading.whole is not None:
            return None
        known, mark = self._files.record(reading.entry), stamp(reading.found)
        record = self._recorded(reading.entry, mark, "intact", reading.marked, reading.at)
        return replace(record, stamp=_stamp(known, mark), verdict=known.verdict if known is not None else UNREAD)


def _stamp(known: FileRecord | None, mark: str | None, *, good: bool = False) -> str:
    """The stamp to record of a file that is like `mark` now; see `last_good`."""
    if mark is None:
        return known.stamp if known is not None else ""
    before = last_good(known) if known is not None else ""
    return mark if good or before == mark else f"{before} {mark}"


def _all(entry: LockEntry, verdict: str) -> tuple[Damage, ...] | None:
    """Every byte of a file that is not there; None where no digests of pieces are locked."""
    return (Damage(0, entry.size, verdict),) if entry.pieces is not None and entry.size else None


def _damage(reading: Reading) -> tuple[Damage, ...] | None:
    """Which stretches are wrong; None when some are and nothing tells which."""
    entry, found, whole = reading.entry, reading.found.st_size, reading.whole
    if whole is not None and whole.sha256 == entry.sha256 and whole.size == entry.size:
        return ()
    if reading.table is not None:
        return damaged_pieces(reading.table, reading.pieces, entry.size, found)
    return None


def _outcome(reading: Reading, state: str, damage: tuple[Damage, ...] | None, case: Case | None) -> Outcome:
    entry, problem = reading.entry, None
    if state == "corrupt":
        actual = f" Its sha256 is {reading.whole.sha256}, it should be {entry.sha256}." if reading.whole else ""
        summary = case.summary if case is not None else "Its bytes are not those that are locked."
        problem = Problem("integrity", f"{summary}{actual}", f"`ckptd verify --repair {entry.name}` mends it")
    elif state == "unreadable":
        problem = Problem("storage", "the disk cannot read all of it", "look at the kernel log (dmesg)")
    return Outcome(
        name=entry.name,
        state=state,
        size=entry.size,
        sha256=entry.sha256,
        trust=entry.trust,
        error=problem,
        exit_status=EXIT_STATUS[state],
        damage=damage,
        notes=tuple(reading.notes),
        case=case,
    )

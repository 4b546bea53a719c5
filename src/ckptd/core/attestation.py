"""A record of the history as something to show to others: its time, its in-toto statement, what follows from several.

A chained record, the bytes that its chain digest covers (hashing them is `store.history`'s), and the statement in which
a record leaves the house. Nothing is signed here: a statement is as good as whoever hands it over, and whoever wants
more signs it (DSSE, sigstore) or has noted the head of the chain. Times are POSIX seconds.

The statement is in-toto's Statement v1 (in-toto/attestation, spec/v1/statement.md). Its subject is the artifact that
the name stands for, by the SHA-256 that was locked; whether the bytes under that name were that artifact is what
`verdict` says. Its predicate type is a UUID made for this purpose (RFC 9562), since a name that needs no domain and no
registration is needed, with a fragment (RFC 8141 section 2.3.3) that counts its versions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:uuid:47c1d9bc-a631-4ae4-994a-4e3e1406c82d#verification-v1"
GENESIS = "0" * 64  # stands before the first record
DIGEST_LENGTH = 64  # hex digits
BEGUN = "begin"  # the action of a first record that says what became of an earlier history
LARGEST = 2**63 - 1  # what SQLite keeps as a whole number

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Visit:
    """One verification: what was read, with which digest, how long it took, what came of it."""

    at: float  # POSIX seconds
    name: str
    action: str  # "fetch", "verify", "scrub", "adopt", "repair", "hold", "unpack", "prune", "begin"
    sha256: str  # what the bytes should be; empty where an older version did not note it
    digest: str  # what they were compared by: "sha256" or "blake3"; empty when nothing could be read
    bytes: int  # that were read, or fetched
    seconds: float
    verdict: str
    detail: str = ""  # the diagnosis of damage


@dataclass(frozen=True, slots=True)
class Row:
    """A visit as it stands in the history, numbered from 1."""

    id: int
    visit: Visit
    chain: str  # 64 hex digits: over this row and the one before it
    before: str = GENESIS  # the chain digest of the row before it


@dataclass(frozen=True, slots=True)
class Checked:
    """What going through the chain came to: how many rows hold together from the first on, the chain digest of the last
    of those, what is wrong with the next, how many rows there were when the head that was asked for was noted, and why
    the history begins anew with the first, where it does."""

    count: int
    head: str
    wrong: str = ""
    noted: int | None = None
    begun: str = ""


def settled(visit: Visit) -> Visit:
    """`visit` as it will be read back: numbers that a database keeps, text that is Unicode.

    What no clock and no file can come to (NaN, infinity, -0.0, a lone surrogate) must neither break the chain nor
    cost the transaction in which it stands.
    """
    return Visit(
        at=_number(visit.at),
        name=_text(visit.name),
        action=_text(visit.action),
        sha256=_text(visit.sha256),
        digest=_text(visit.digest),
        bytes=max(-LARGEST, min(int(visit.bytes), LARGEST)),
        seconds=_number(visit.seconds),
        verdict=_text(visit.verdict),
        detail=_text(visit.detail),
    )


def _number(value: float) -> float:
    return float(value) + 0.0 if math.isfinite(value) else 0.0  # -0.0 + 0.0 is 0.0


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def chained(before: str, visit: Visit) -> bytes:
    """What the chain digest of a row covers: the one before it and every field, as one JSON array without blanks.

    In the order of `Visit`; numbers as Python writes them, so that reading and writing them loses nothing.
    """
    fields = [
        before,
        *(visit.at, visit.name, visit.action, visit.sha256, visit.digest, visit.bytes, visit.seconds),
        *(visit.verdict, visit.detail),
    ]
    return _encode(fields).encode()


def timestamp(at: float) -> str:
    """RFC 3339, UTC, to the microsecond. Raises ValueError for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        raise ValueError("its time is in no calendar") from None


def statement(row: Row, file: str | None, version: str) -> dict[str, object]:
    """The in-toto statement of a row; `file` is the name of the file where it is known, `version` ckptd's.

    `predicate.record` has what the chain digest covers that is not said elsewhere, so that whoever has the statement
    can compute it again. Raises ValueError where a row cannot be stated: a statement must name a digest and a time.
    """
    visit = row.visit
    if len(visit.sha256) != DIGEST_LENGTH:
        raise ValueError("it names no sha256: an older ckptd wrote it")
    name = visit.name if file is None else f"{visit.name}/{file}"
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": visit.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "verdict": visit.verdict,
            "action": visit.action,
            "verifiedAt": timestamp(visit.at),
            "checkpoint": visit.name,
            "comparedBy": visit.digest,
            "bytes": visit.bytes,
            "seconds": visit.seconds,
            "detail": visit.detail,
            "record": {"number": row.id, "at": visit.at, "chain": row.chain, "before": row.before},
            "tool": {"name": "ckptd", "version": version},
        },
    }


def as_json(row: Row) -> dict[str, object]:
    """A row as `--json` shows it: `at` in POSIX seconds, `time` the same for people, null where no calendar has it."""
    visit = row.visit
    try:
        time = timestamp(visit.at)
    except ValueError:
        time = None
    return {
        "number": row.id,
        "at": visit.at,
        "time": time,
        "name": visit.name,
        "action": visit.action,
        "verdict": visit.verdict,
        "sha256": visit.sha256,
        "digest": visit.digest,
        "bytes": visit.bytes,
        "seconds": visit.seconds,
        "detail": visit.detail,
        "before": row.before,
        "chain": row.chain,
    }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the history knows of one checkpoint around a moment, or a day: the last row before it, those in it, and the
    next."""

    name: str
    before: Row | None = None
    within: tuple[Row, ...] = ()
    after: Row | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """All of them, in order."""
        ends = ((self.before,) if self.before else (), self.within, (self.after,) if self.after else ())
        return tuple(row for part in ends for row in part)

    @property
    def conclusion(self) -> str:
        """What follows from it, in a sentence. Nothing follows for the time after the last reading."""
        rows = self.rows
        if not rows:
            return "nothing is known of it"
        wrong = next((row for row in rows if row.visit.verdict != "intact"), None)
        if wrong is not None:
            return f"not shown to have been intact: record {wrong.id} says {wrong.visit.verdict}"
        if len({row.visit.sha256 for row in rows}) > 1 or not rows[0].visit.sha256:
            return "intact whenever it was read, but not shown to have been the same bytes all the time"
        if self.before is not None and self.after is not None:
            return "read before and after it, and intact both times: the same bytes"
        if self.within:
            return "read at that time, and intact"
        if self.before is not None:
            return "intact when it was last read before it, and not read since"
        return "intact when it was first read after it; nothing is known of the time before"


def evidence(rows: Iterable[Row], first: float, last: float) -> list[Evidence]:
    """What `rows` (in the order of their numbers) say of the time from `first` to `last`, for each name, sorted.

    A row at `first` itself counts as before it: a moment is a time whose `first` and `last` are the same.
    """
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.visit.name, []).append(row)
    return [_evidence(name, by_name[name], first, last) for name in sorted(by_name)]


def _evidence(name: str, rows: Sequence[Row], first: float, last: float) -> Evidence:
    ordered = sorted(rows, key=lambda row: (row.visit.at, row.id))  # clocks are set back now and then
    earlier = [row for row in ordered if row.visit.at <= first]
    within = [row for row in ordered if first < row.visit.at <= last]
    later = [row for row in ordered if row.visit.at > last]
    return Evidence(name, earlier[-1] if earlier else None, tuple(within), later[0] if later else None)

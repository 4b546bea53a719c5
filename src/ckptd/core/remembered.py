"""What is read back from the state database, and when it is believed: a value, a row, the database as a whole.

Bad memory and bad disks change bytes where SQLite does not look. What cannot be what we wrote raises ValueError, and
costs its row; what is wrong with the database itself costs the database. Text and numbers in, values and a verdict out;
what a database is asked, and what is done with it then, is `store.records` and `store.state`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from enum import StrEnum

from ckptd.core.models import Trust, Witness
from ckptd.core.ranges import Extents
from ckptd.core.response import Validator

VERDICTS = frozenset({"intact", "corrupt", "unreadable", "missing", "unread", "dropped"})
TRUSTS = frozenset({"", *Trust})  # a tree has none of its own
LARGEST = 2**62  # bytes; no file is
PLAUSIBLE = 1000  # a schema of a higher number is damage: nobody will have changed it that often
SMALL = 1024 * 1024  # bytes of a database that is checked whenever it is opened: about 10 ms
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_MAGIC = b"SQLite format 3\0"

# --- values ----------------------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """Text that is Unicode."""
    if not isinstance(value, str):
        raise ValueError("is no text")  # noqa: TRY004  # one kind of error for whatever makes no sense
    value.encode()  # UnicodeEncodeError is a ValueError
    return value


def number(value: object) -> int:
    """A count of bytes."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError("is no size")
    return value


def moment(value: object) -> float:
    """POSIX seconds; 0 stands for never."""
    if not isinstance(value, float | int) or not (math.isfinite(value) and 0 <= value < 1e12):
        raise ValueError("is no time")
    return float(value)


def sha256(value: object) -> str:
    """64 hex digits."""
    if not _SHA256.fullmatch(text(value)):
        raise ValueError("is no SHA-256")
    return text(value)


def one_of(value: object, known: Container[str]) -> str:
    """One of the words that we write."""
    word = text(value)
    if word not in known:
        raise ValueError("is none of our words")
    return word


def file_name(value: object) -> str:
    """A name in a folder of ours, and not the way out of it."""
    name = text(value)
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ValueError("is no file name")
    return name


def key(value: object, name: str) -> str:
    """The path of a file of the checkpoint `name`, relative to the store."""
    folder, _, rest = text(value).partition("/")
    if folder != name:
        raise ValueError("is not in the folder of its checkpoint")
    return f"{folder}/{file_name(rest)}"


def spans(value: object, total: int | None) -> Extents:
    """Bytes of a file of `total`, as `[[start, end], ...]`."""
    found = []
    for span in _list(value):
        match span:
            case [int(start), int(end)] if 0 <= start < end <= (LARGEST if total is None else total):
                found.append((start, end))
            case _:
                raise ValueError("is no span of the file")
    return Extents.of(*found)


def validators(value: object) -> dict[str, Validator]:
    """What answers said of the bytes they spoke of, by source URL."""
    return {source: _validator(_mapping(fields)) for source, fields in _mapping(_json(value)).items()}


def _validator(fields: Mapping[str, object]) -> Validator:
    known = dict(fields)
    settled, total = known.pop("settled", False), known.pop("total", None)
    if not isinstance(settled, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004
    words = {name: text(each) for name, each in known.items()}
    try:
        return Validator(settled=settled, total=None if total is None else number(total), **words)
    except TypeError:
        raise ValueError("has a field that nobody knows") from None


def witnesses(value: object) -> tuple[Witness, ...]:
    """Digests that others published, as `[[source, algorithm, hex], ...]`."""
    found = []
    for each in _list(value):
        match each:
            case [str(source), str(algorithm), str(digest)] if _HEX.fullmatch(digest):
                found.append(Witness(text(source), text(algorithm), bytes.fromhex(digest)))
            case _:
                raise ValueError("is no witness")
    return tuple(found)


def labels(value: object) -> tuple[str, ...]:
    """A list of words."""
    return tuple(text(each) for each in _list(value))


def digests(value: object) -> dict[str, str]:
    """Hex digits by algorithm."""
    found = {name: text(each) for name, each in _mapping(_json(value)).items()}
    if not all(_HEX.fullmatch(each) for each in found.values()):
        raise ValueError("is no digest")
    return found


def _json(value: object) -> object:
    try:
        found: object = json.loads(text(value))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return found


def _list(value: object) -> list[object]:
    found = _json(value)
    if not isinstance(found, list):
        raise ValueError("is no list")  # noqa: TRY004
    return found


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("is no object")  # noqa: TRY004
    for name in value:
        text(name)
    return value


# --- the database ----------------------------------------------------------------------------------------------------


class Age(StrEnum):
    """Who wrote a database, by the number of its schema."""

    OURS = "ours"
    OLDER = "older"  # ours to bring up to date; 0 is a database that was only just made
    NEWER = "newer"  # not ours to touch
    NOBODY = "nobody"


def age(version: int, ours: int) -> Age:
    """Who wrote a database with this number; a number that nobody writes is damage."""
    if not 0 <= version < PLAUSIBLE:
        return Age.NOBODY
    return Age.NEWER if version > ours else Age.OURS if version == ours else Age.OLDER


def header_age(head: bytes, ours: int) -> Age:
    """Who wrote the file with this beginning; `NOBODY` where it does not begin as a database does."""
    if len(head) < 64 or not head.startswith(_MAGIC):
        return Age.NOBODY
    return age(int.from_bytes(head[60:64], "big", signed=True), ours)


def header_problem(head: bytes) -> str:
    """What is wrong with the first 100 bytes of a database (SQLite's file format, section 1.3), of what SQLite itself
    would take for somebody else's wish: a format of the future, another encoding. A file of no bytes is in order."""
    if not head:
        return ""
    if len(head) < 100 or not head.startswith(_MAGIC):
        return "it does not begin as a database does"
    if not {head[18], head[19]} <= {1, 2}:
        return "its header names a format of the future"
    if int.from_bytes(head[44:48], "big") > 4 or int.from_bytes(head[56:60], "big") > 1:
        return "its header does not make sense"
    return ""


def wants_check(size: int, *, unfinished: bool, doubted: bool) -> bool:
    """Whether all pages are looked at before a database of `size` bytes is used.

    A small one always is; a large one when its last user did not close it (`unfinished`), or saw damage (`doubted`).
    """
    return size <= SMALL or unfinished or doubted


_IN_A_ROW = re.compile(r"(?:non-\w+|\w+) value in [\w.]+|.* missing from index .*|wrong # of entries in index .*"
                       r"|non-unique entry in index .*|rowid not at end-of-record .*|row not in .*")  # fmt: skip


class Soundness(StrEnum):
    """What a check of all pages came to."""

    SOUND = "sound"
    ROWS = "rows"  # rows, or the indexes to them: the tables hold
    BROKEN = "broken"


def soundness(complaints: Iterable[str]) -> Soundness:
    """What `PRAGMA integrity_check` says, line by line, comes to."""
    found = [line for each in complaints for line in each.splitlines() if line != "ok"]
    if not found:
        return Soundness.SOUND
    return Soundness.ROWS if all(_IN_A_ROW.fullmatch(line) for line in found) else Soundness.BROKEN


# Codes of SQLite (sqlite.org/rescode.html) for which the file is to blame, and not the disk, a lock or a limit. Our
# statements are right: where one is an ERROR, what they name is not there.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_FORMAT", "SQLITE_IOERR_SHORT_READ",
           "SQLITE_CONSTRAINT", "SQLITE_MISMATCH")  # fmt: skip


def is_damage(code: str) -> bool:
    """Whether an error with this code means that the database is damaged; without a code it is text that is no UTF-8"""
    return not code or code.startswith(_DAMAGE)

"""`history`: what was verified when, whether that record is still the one that was written, and proof of it for others.

Reads the lock and the state database; takes no lock of the store, writes nothing, reads no file bodies.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from ckptd.core.attestation import BEGUN, GENESIS, Checked, Evidence, Row, evidence, statement
from ckptd.core.document import shown, suggestion
from ckptd.core.manifest import select
from ckptd.core.urls import file_name
from ckptd.errors import ConfigError, IntegrityError
from ckptd.service.workplace import Workplace
from ckptd.store import history
from ckptd.version import __version__

ATTEMPTS = 2  # to read it: a reader that came just as a writer did may have seen half of what that one wrote


def listing(
    workplace: Workplace, words: Sequence[str], *, since: float | None = None, limit: int | None = None
) -> list[Row]:
    """What is on record of the names and tags in `words` (none: of everything), oldest first: not older than `since`
    seconds, of that the newest `limit`.

    Raises ConfigError for a name that nobody knows, MissingError when there is no history, StorageError when it cannot
    be read, IntegrityError when its table is gone.
    """
    with history.opened(workplace.places.database) as database:
        wanted = _wanted(workplace, words, history.names(database))
        earliest = None if since is None else time.time() - since
        return list(history.rows(database, wanted, since=earliest, limit=limit))


def around(workplace: Workplace, words: Sequence[str], first: float, last: float) -> list[Evidence]:
    """What the history says of the time from `first` to `last` (POSIX seconds), for each name. Raises as `listing`."""
    with history.opened(workplace.places.database) as database:
        recorded = history.names(database)
        wanted = _wanted(workplace, words, recorded)
        told = evidence((row for row in history.rows(database, wanted) if row.visit.action != BEGUN), first, last)
    known = {each.name for each in told}
    silent = (recorded | set(workplace.lock.entries) if wanted is None else wanted) - known
    return sorted([*told, *(Evidence(name) for name in silent)], key=lambda each: each.name)


def _wanted(workplace: Workplace, words: Sequence[str], recorded: set[str]) -> set[str] | None:
    """The names that `words` stand for: also those that only the lock or the history knows by now."""
    if not words:
        return None
    checkpoints = workplace.manifest.checkpoints
    tags = {f"@{tag}" for each in checkpoints for tag in each.tags}
    names = {each.name for each in checkpoints}
    older = (recorded | set(workplace.lock.entries)) - names
    unknown = [word for word in dict.fromkeys(words) if word not in tags | names | older]
    if unknown:
        known = {True: sorted(tags), False: sorted(names | older)}
        said = [f"nothing is known of {shown(word)}; {suggestion(word, known[word[:1] == '@'])}" for word in unknown]
        raise ConfigError("\n".join(said), hint="`ckptd history` lists everything that is on record.")
    listed = [word for word in words if word not in older]
    found = {each.name for each in select(checkpoints, listed)} if listed else set()
    return found | (set(words) & older)


def prove(workplace: Workplace, noted: str | None = None) -> Checked:
    """Go through the whole chain. `noted` is the beginning of a head that was noted earlier.

    Raises IntegrityError when the record is not the one that was written, MissingError when there is none, StorageError
    when it cannot be read.
    """
    database = workplace.places.database
    found = Checked(0, GENESIS)
    for _ in range(ATTEMPTS):
        with history.opened(database) as connection:
            found = history.check(connection, noted)
        if not found.wrong:
            break
    if found.wrong:
        good = f"the {found.count} before it hold together" if found.count else "none before it holds together"
        raise IntegrityError(
            f"the history was changed: {found.wrong}; {good}",
            hint=f"what it says from there on proves nothing; compare {database} with a backup",
        )
    if noted is not None and found.noted is None:
        raise IntegrityError(
            f"the history is not the one whose head was {noted}: its {found.count} records hold together, but none of "
            "them has that digest",
            hint=_where_it_went(workplace),
        )
    return found


def _where_it_went(workplace: Workplace) -> str:
    aside = sorted(workplace.places.state.glob(f"{workplace.places.database.name}.damaged-*"))
    if aside:
        return f"a damaged database was moved aside and a new one begun: {aside[-1]} may have the old record"
    return "it was written anew, or another database was put in its place: look for a backup (or another store)"


def statements(workplace: Workplace, rows: Iterable[Row]) -> tuple[list[dict[str, object]], list[str]]:
    """The in-toto statements of `rows`, and why some have none. Nobody should have them before `prove`."""
    made, left_out = [], []
    for row in rows:
        try:
            made.append(statement(row, _file(workplace, row), __version__))
        except ValueError as reason:
            left_out.append(f"record {row.id} ({row.visit.name}) is left out: {reason}")
    return made, left_out


def _file(workplace: Workplace, row: Row) -> str | None:
    """The name of the file that a row is about, as long as the lock still names these bytes."""
    entry = workplace.lock.entries.get(row.visit.name)
    if entry is None or entry.sha256 != row.visit.sha256:
        return None
    try:
        return file_name(entry.url)
    except ValueError:
        return None

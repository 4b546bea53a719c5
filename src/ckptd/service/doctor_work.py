"""Facts about what is kept, for `doctor`: checkpoints, damage, history, the promise. Judged in `core.doctor_work`.

Reads records, no file bodies; writes nothing.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from datetime import datetime

from ckptd.core import doctor_work
from ckptd.core.doctor import Finding
from ckptd.core.doctor_work import Chain, Course
from ckptd.core.incidents import Incidents
from ckptd.errors import CkptdError, IntegrityError, MissingError, StorageError
from ckptd.service import history, promise
from ckptd.service.status import standings
from ckptd.service.workplace import Workplace
from ckptd.store import history as rows
from ckptd.store import inventory
from ckptd.store.records import trouble

INCIDENTS = "incidents.json"  # `service.watchman` writes it
RECENT = 200  # records that say how fast this disk is read
ENOUGH = 0.5  # seconds of reading from which on a speed follows


def checkpoints(workplace: Workplace) -> list[Finding]:
    """How the checkpoints stand. Blocks."""
    states = {
        each.outcome.name: each.outcome.state for each in standings(workplace, inventory.records(workplace.places))
    }
    return doctor_work.checkpoints(states)


def incidents(workplace: Workplace, *, watched: bool) -> list[Finding]:
    """What the daemon found wrong. `watched`: it runs. Blocks."""
    try:
        text = (workplace.places.state / INCIDENTS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = "[]"
    return doctor_work.incidents(list(Incidents.from_json(text).open.values()), watched=watched)


def chain(workplace: Workplace) -> list[Finding]:
    """Whether the history holds together. Blocks, and reads all of it."""
    if not workplace.places.database.exists():
        return [doctor_work.history(Chain(unreadable="there is no history yet", hint="ckptd sync"))]
    try:
        checked = history.prove(workplace)
    except IntegrityError as error:
        return [doctor_work.history(Chain(wrong=error.message, hint=error.hint))]
    except (MissingError, StorageError) as error:
        return [doctor_work.history(Chain(unreadable=error.message, hint=error.hint))]
    said, hint = trouble(workplace.places.database)
    if said:  # the history is not all there is in it
        return [doctor_work.history(Chain(unreadable=said, hint=hint))]
    return [doctor_work.history(Chain(checked.count))]


def kept(workplace: Workplace) -> list[Finding]:
    """Whether the promise is kept, and can be. Blocks."""
    settings, now = workplace.manifest.verify, time.time()
    records = inventory.records(workplace.places)
    files = promise.kept_files(workplace.lock, records)
    local = datetime.now().astimezone()
    course = Course(
        promise=promise.standing(workplace.lock, records, settings.max_age, now),
        settings=settings,
        files=files,
        now=now,
        minute=local.hour * 60 + local.minute,
        speed=_speed(workplace),
    )
    return list(doctor_work.promise(course))


def _speed(workplace: Workplace) -> float | None:
    """The best that reading back came to lately, in bytes a second: limits, or others, may have held up the rest."""
    speeds: list[float] = []
    with suppress(CkptdError, sqlite3.Error), rows.opened(workplace.places.database) as database:
        for row in rows.rows(database, limit=RECENT):
            visit = row.visit
            if visit.action in {"verify", "scrub"} and visit.seconds >= ENOUGH:
                speeds.append(visit.bytes / visit.seconds)
    return max(speeds, default=None)

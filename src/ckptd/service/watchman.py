"""What a daemon has to say for itself: what happened last, and what is wrong until it is not.

Turns outcomes into incidents that begin and end, keeps them over restarts, and calls whoever is to be told. Who that
is, and how they are told, is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock

from ckptd.core import events
from ckptd.core.incidents import FAILURES, Incident, Incidents, Kind
from ckptd.core.models import Outcome
from ckptd.service.hub import Hub
from ckptd.store.atomic import write_atomically
from ckptd.store.places import Places

RECENT = 50  # events that are kept for who asks
MODE = 0o644
DAMAGED = frozenset({"corrupt", "unreadable", "missing"})
GOOD = frozenset({"intact", "repaired", "fetched"})


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened, for the list of what happened last."""

    at: float  # POSIX seconds
    name: str
    text: str


class Watchman:
    """Incidents and recent events of one store. `alarms` are called with every incident that begins or ends."""

    def __init__(self, places: Places, hub: Hub) -> None:
        self.recent: deque[Told] = deque(maxlen=RECENT)
        self.incidents = Incidents.none()
        self.alarms: list[Callable[[Incident], None]] = []
        self._path = places.state / "incidents.json"
        self._group = places.group
        self._mutex = Lock()
        self._hub = hub
        hub.listen(self._remember)

    def load(self) -> None:
        """What was wrong when the last daemon ended. Blocks."""
        try:
            self.incidents = Incidents.from_json(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            self.incidents = Incidents.none()

    def note_outcome(self, outcome: Outcome, failures: int = 0) -> None:
        """What came of a checkpoint, in whichever command; `failures` in a row of fetching it."""
        name, error, state = outcome.name, outcome.error, outcome.state
        message = error.message if error is not None else ""
        drifted = error is not None and error.kind == "drift"
        if state in DAMAGED | GOOD:
            self.observe(Kind.DAMAGE, name, message if state in DAMAGED else "")
        if drifted or state in {"same", "fetched"}:
            self.observe(Kind.DRIFT, name, message if drifted else "")
        if state in {"present", "fetched", "repaired"}:
            self.observe(Kind.FAILURE, name, "")
        elif state == "failed" and failures >= FAILURES:
            self.observe(Kind.FAILURE, name, message)

    def observe(self, kind: Kind, name: str, message: str) -> None:
        """`message` says what is wrong, and is empty when nothing is. Tells of it when that is new."""
        self.incidents, changed = self.incidents.observe(kind, name, message, time.time())
        if changed is None:
            return
        over = changed.until is not None
        self.tell(name or "store", f"{changed.kind} is over" if over else f"{changed.kind}: {message}")
        for alarm in self.alarms:
            alarm(changed)
        asyncio.get_running_loop().run_in_executor(None, self._save)

    def forget_all_but(self, names: Collection[str]) -> None:
        """Nothing is wrong any more with checkpoints that nobody wants, and that are not locked."""
        for kind, name in list(self.incidents.open):
            if name and name not in names:
                self.observe(kind, name, "")

    def tell(self, name: str, text: str) -> None:
        """Say something that is worth a line."""
        self._hub.emit(events.Noted(name, text))

    def _remember(self, event: events.Event) -> None:
        text = ""
        match event:
            case events.Noted():
                text = event.text
            case events.Finished(state=state, error=error) if state not in {"present", "intact"}:
                text = f"{state}: {error}" if error else state
        if text:
            self.recent.append(Told(time.time(), event.name, text))

    def _save(self) -> None:
        """Write what holds by now: whoever comes last writes the latest."""
        try:
            with self._mutex:
                write_atomically(self._path, self.incidents.to_json().encode(), MODE, self._group)
        except OSError:
            return  # told they have been; after a restart they are told once more

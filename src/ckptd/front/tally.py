"""What has happened since the daemon began, added up from its events: for the metrics.

Counts; knows no format and no library. Hosts are told apart up to a number, so that a manifest that changes for years
does not grow what is scraped.
"""

from __future__ import annotations

import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckptd.core import events
from ckptd.core.incidents import Incident, Kind
from ckptd.core.urls import host_label

if TYPE_CHECKING:
    from ckptd.service.daemon import Daemon

MOST_HOSTS = 100  # told apart; the rest is one
OTHER = "other"
ENDS = ("present", "fetched", "repaired", "failed", "intact", "corrupt", "missing", "unreadable", "unlocked")
ERRORS = ("network", "origin", "integrity", "policy", "drift", "storage", "config")  # the contract's `error.kind`
SYNCED = frozenset({"present", "fetched", "repaired"})


def _none_of(*names: str) -> Counter[str]:
    return Counter(dict.fromkeys(names, 0))


@dataclass(slots=True)
class Counts:
    """What was counted since the start. Whatever can be counted is there from the beginning, as 0."""

    downloaded: Counter[str] = field(default_factory=Counter)  # bytes by host
    read: int = 0  # bytes that were read back from the store, but for those of the scrub
    outcomes: Counter[str] = field(default_factory=lambda: _none_of(*ENDS))
    errors: Counter[str] = field(default_factory=lambda: _none_of(*ERRORS))
    incidents: Counter[str] = field(default_factory=lambda: _none_of(*Kind))
    synced: float | None = None  # POSIX seconds: when a checkpoint was last found present, or fetched


@dataclass(slots=True)
class _Open:
    """Bytes of a checkpoint that is being worked on: over connections, and of unknown origin so far."""

    wired: int = 0
    loose: int = 0
    host: str = ""


class Tally:
    """Counts for as long as the process lives, from `follow` on."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._open: dict[str, _Open] = {}
        self._daemon: Daemon | None = None

    def follow(self, daemon: Daemon) -> None:
        """Count what this daemon does. Said twice, it counts once."""
        if self._daemon is None:
            self._daemon = daemon
            daemon.hub.listen(self.hear)
            daemon.watchman.alarms.append(self.alarm)

    def counts(self) -> Counts:
        """What was counted so far, for keeps."""
        return deepcopy(self._counts)

    def hear(self, event: events.Event) -> None:
        """Take one event in."""
        match event:
            case events.Connections(name, count, host):
                self._of(name).host = host if count else ""
            case events.Received(name, count):
                self._receive(self._of(name), count)
            case events.Finished():
                self._finish(event)
            case _:
                pass

    def alarm(self, incident: Incident) -> None:
        """An incident began or ended."""
        if incident.until is None:
            self._counts.incidents[incident.kind] += 1

    def _of(self, name: str) -> _Open:
        return self._open.setdefault(name, _Open())

    def _receive(self, work: _Open, count: int) -> None:
        if work.host:
            work.wired += count
            self._download(work.host, count)
        else:
            work.loose += count

    def _finish(self, event: events.Finished) -> None:
        counts, work = self._counts, self._open.pop(event.name, _Open())
        # What fits into one answer comes without a word about connections: the end tells how much there was.
        small = max(0, event.fetched - work.wired)
        if small:
            self._download(self._origin(event.name), small)
        counts.read += max(0, work.loose - small)
        counts.outcomes[event.state if event.state in counts.outcomes else OTHER] += 1
        if event.error:
            kind = event.kind
            counts.errors[kind if kind in counts.errors else OTHER] += 1
        if event.state in SYNCED:
            counts.synced = time.time()

    def _download(self, host: str, count: int) -> None:
        hosts = self._counts.downloaded
        hosts[host if host in hosts or len(hosts) < MOST_HOSTS else OTHER] += count

    def _origin(self, name: str) -> str:
        """The host that the manifest names for it."""
        found = self._daemon.place.manifest.checkpoints if self._daemon is not None else ()
        return next((host_label(each.url) for each in found if each.name == name), OTHER)

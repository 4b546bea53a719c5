"""What is shown to the outside, read as seldom as can be and once for everybody who looks.

While nobody looks it reads nothing; it only listens, so that whoever comes sees how far the running work is. What the
page makes of it stands in `front.page`, the metrics in `front.metrics`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

from ckptd.core import events
from ckptd.core.activity import Activity
from ckptd.core.models import Checkpoint
from ckptd.errors import MissingError, StorageError
from ckptd.front.page import Frame, frame
from ckptd.front.scene import Scene
from ckptd.service.account import Readings, readings, whole
from ckptd.service.daemon import Daemon
from ckptd.service.locate import usable_path
from ckptd.service.promise import kept_files
from ckptd.service.workplace import Workplace
from ckptd.store.records import load_files

READ_AGAIN, READ_SOON, READ_NOW = 10.0, 2.0, 1.0  # seconds; as usual, when something happened, for whoever asks once
READ_SELDOM = 30.0  # seconds; for what is asked for again and again
SETTLING = 5.0  # seconds after something happened in which its consequences show, such as the new lock
DRAW_AGAIN = 1.0  # seconds between two frames, at most
PATIENCE = 10.0  # seconds for the state database and the filesystem to answer


class Board:
    """How everything stands, for pages and metrics of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.bell = asyncio.Event()  # rings once, when something has happened; then there is another one
        self._daemon = daemon
        self._reading = asyncio.Lock()
        self._drawing = asyncio.Lock()
        self._read: Readings | None = None
        self._kept = 0  # bytes that the promise is about
        self._settled = 0.0  # monotonic seconds: when what happened last has had its consequences
        self._frame: tuple[float, Frame] | None = None
        self._work: dict[str, Activity] = {}
        self._uses: dict[tuple[str, str], str] = {}
        with daemon.hub.subscribed(None) as told:
            for event in told.take():  # what runs already
                self.hear(event)
        daemon.hub.listen(self.hear)

    def hear(self, event: events.Event) -> None:
        """Take one event in."""
        name = event.name
        if isinstance(event, events.Finished):
            self._work.pop(name, None)
        elif not isinstance(event, events.Noted) or name in self._work:
            work = self._work.get(name)
            if work is None:
                work = self._work[name] = Activity(name, 0)
            work.take(event, time.monotonic())
        if not isinstance(event, events.Received | events.Hashed | events.Connections):
            if isinstance(event, events.Finished | events.Noted):
                self._settled = time.monotonic() + SETTLING
            self.ring()

    def ring(self) -> None:
        """Wake everybody who waits for something to happen."""
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()

    @property
    def busy(self) -> bool:
        """Whether something moves, so that it is worth looking every second."""
        return bool(self._work) or self._settling

    @property
    def _settling(self) -> bool:
        return time.monotonic() < self._settled

    async def readings(self, within: float) -> Readings:
        """What was read at most so many seconds ago, fewer where something has happened. Raises StorageError."""
        async with self._reading:
            read = self._read
            within = min(within, READ_SOON) if self._settling else within
            if read is None or time.monotonic() - read.at >= within:
                read = self._read = await self._read_now()
            return read

    async def account(self, within: float = READ_NOW) -> dict[str, Any]:
        """The daemon's account; its checkpoints were read at most so many seconds ago. Raises StorageError."""
        return whole(self._daemon, await self.readings(within))

    async def frame(self) -> Frame:
        """The page as it is now. Raises StorageError."""
        async with self._drawing:
            if self._frame is None or time.monotonic() - self._frame[0] >= DRAW_AGAIN:
                self._frame = time.monotonic(), await self._draw()
            return self._frame[1]

    async def _read_now(self) -> Readings:
        place = self._daemon.place
        try:
            async with asyncio.timeout(PATIENCE):
                read = await readings(self._daemon)
                records = await self._daemon.tenancy.state.do(load_files)
        except TimeoutError:
            raise StorageError(f"the store did not answer within {PATIENCE:.0f} s") from None
        self._kept = sum(each.size for each in kept_files(place.lock, records))
        return read

    async def _draw(self) -> Frame:
        read = await self.readings(READ_AGAIN)
        place, now = self._daemon.place, time.monotonic()
        await self._find(place, read)
        work = sorted((each.row(now) for each in self._work.values()), key=lambda row: row.name)
        about = {each.name: (each.description, each.tags) for each in place.manifest.checkpoints}
        uses = {name: path for (name, _), path in self._uses.items()}
        account = whole(self._daemon, read)
        return frame(Scene(account, tuple(work), uses, about, self._kept, socket.gethostname()))

    async def _find(self, place: Workplace, read: Readings) -> None:
        """Where the trees of unpacked checkpoints are: looked for once for each content."""
        wanted = {
            (each.outcome.name, each.outcome.sha256 or "")
            for each in read.found
            if each.outcome.trust is not None and each.outcome.state in {"present", "touched"}
        }
        unpacked = {each.name: each for each in place.manifest.checkpoints if each.unpack}
        self._uses = {key: path for key, path in self._uses.items() if key in wanted and key[0] in unpacked}
        for key in sorted(wanted - self._uses.keys()):
            if key[0] in unpacked:
                path = await asyncio.to_thread(_use, place, unpacked[key[0]])
                if path is not None:
                    self._uses[key] = path


def _use(place: Workplace, checkpoint: Checkpoint) -> str | None:
    """The path that a config should name; where there are several the tree; None while it is not unpacked."""
    try:
        return usable_path(place, checkpoint)
    except MissingError:
        tree = place.places.tree(checkpoint.name)
        return str(tree) if tree.is_dir() else None

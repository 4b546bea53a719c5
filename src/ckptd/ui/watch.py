"""What `ckptd watch` knows, and how that looks: takes what a daemon says, line by line, and gives frames.

It neither connects nor draws; who asks for a frame says how large the terminal is. What happened is kept over restarts
of the daemon, work and numbers are not. Clock values are an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rich.segment import Segment

from ckptd.core.events import Event, Finished, Noted, Queued
from ckptd.core.progress import Progress
from ckptd.ui.account import Account, Told, read_account
from ckptd.ui.frame import Charset, Screen
from ckptd.ui.watch_frame import View, draw_watch, room_for
from ckptd.ui.watch_layout import rows_for

LINGER = 5.0  # seconds that what was done stays, after the last of it has ended
SETTLE = 0.5  # seconds after which what was queued is taken to have work to do
REMEMBERED = 100  # things that happened
UNEVENTFUL = frozenset({"present", "same", "intact"})


class Watch:
    """Tell it what the daemon says, ask it for frames. `quits` says how to leave; not thread-safe."""

    def __init__(self, clock: Callable[[], float], quits: str = "") -> None:
        self._clock = clock
        self._quits = quits
        self.standings = 0  # how often the daemon has said how everything stands
        self._account: Account | None = None
        self._heard = clock()  # when the daemon said something last
        self._stood = clock()  # when it said last how everything stands
        self._away = ""
        self._recent: set[Told] = set()
        self._screen: Screen | None = None
        self._begin()

    def _begin(self) -> None:
        """No work is known."""
        self._progress = Progress()
        self._queued: dict[str, tuple[Queued, float]] = {}  # may turn out to be nothing to do
        self._live: set[str] = set()
        self._lost: set[str] = set()  # live as far as we know, but the daemon says otherwise
        self._over: float | None = None  # since when nothing is live

    @property
    def attached(self) -> bool:
        """Whether there is a daemon."""
        return self._account is not None and not self._away

    @property
    def account(self) -> Account | None:
        """How everything stood last."""
        return self._account

    # --- what the daemon says ------------------------------------------------------------------------------------

    def standing(self, content: Mapping[str, object]) -> None:
        """How everything stands, as the daemon has just said."""
        self.standings += 1
        self._heard = self._stood = self._clock()
        before, self._account = self._account, read_account(content, self._account)
        if self._away and before is not None:
            self._note(self._account.now, f"the daemon is back, pid {self._account.pid}")
        self._away = ""
        self._recent.update(self._account.recent)
        for old in sorted(self._recent)[:-REMEMBERED]:
            self._recent.discard(old)
        lost = self._live - {each.name for each in self._account.work}
        for name in lost & self._lost:  # twice: it is no event that is still on its way
            self.event(Finished(name, ""))
        self._lost = lost

    def event(self, event: Event) -> None:
        """Something happened."""
        now, name = self._clock(), event.name
        self._heard = now
        if isinstance(event, Noted) and name not in self._live:
            return  # told among what happened; no row is made for it
        if isinstance(event, Queued):
            self._queued[name] = event, now
            self._live.add(name)
            return
        queued = self._queued.pop(name, None)
        if isinstance(event, Finished):
            known = name in self._live and queued is None
            self._live.discard(name)
            if not known and event.state in UNEVENTFUL:
                return
        else:
            self._live.add(name)
        self._over = None
        if queued is not None:
            self._progress.apply(queued[0], now)
        self._progress.apply(event, now)

    def away(self, why: str) -> None:
        """There is no daemon, or it is not for us: `why`."""
        if self._account is not None and not self._away:
            self._note(self._now(), f"the daemon went away, pid {self._account.pid}")
        self._away = why
        self._begin()

    def _note(self, at: float, text: str) -> None:
        self._recent.add(Told(at, "ckptd", text))

    # --- how it looks --------------------------------------------------------------------------------------------

    def frame(self, width: int, height: int, signs: Charset) -> list[list[Segment]]:
        """The lines for a terminal of this size: at most as many as it has, none wider than it is."""
        now = self._clock()
        self._settle(now)
        if self._screen is None or (self._screen.width, self._screen.height) != (width, height):
            self._screen = Screen(width, height, signs, held={})
        rows = len(self._progress)
        view = View(
            account=self._account,
            now=self._now(),
            picture=self._progress.picture(now, 0),
            recent=sorted(self._recent),
            quiet_for=now - self._heard,
            away=self._away,
            quits=self._quits,
        )
        room = room_for(view, rows, self._screen)
        return draw_watch(replace(view, picture=self._progress.picture(now, rows_for(room, rows))), room, self._screen)

    def _now(self) -> float:
        """POSIX seconds by the daemon's clock."""
        return 0.0 if self._account is None else self._account.now + self._clock() - self._stood

    def _settle(self, now: float) -> None:
        """What was queued a while ago has work to do; what ended a while ago is not shown any more."""
        for name, (event, at) in list(self._queued.items()):
            if now - at >= SETTLE:
                del self._queued[name]
                self._progress.apply(event, now)
                self._over = None
        if not self._live and len(self._progress):
            self._over = now if self._over is None else self._over
            if now - self._over >= LINGER:
                self._begin()

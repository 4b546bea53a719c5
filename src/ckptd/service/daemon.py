"""`ckptd daemon`: one process that owns the store, for as long as it is wanted.

It looks at every checkpoint on `sync.every`, scrubs to the promise, mends what is damaged as the policy says, and
answers on a socket. Each checkpoint has its own turns: one that fails comes again later, and holds up nobody. A
manifest that cannot be read leaves the old one in force.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from ckptd.core import events
from ckptd.core.ages import Promise
from ckptd.core.incidents import Kind
from ckptd.core.models import Checkpoint, OnDamage, Outcome
from ckptd.core.roster import JITTER, Roster, Turn
from ckptd.errors import BusyError, CkptdError, ConfigError, Stopped, StorageError, first_known
from ckptd.service import promise, sockets, systemd
from ckptd.service.hub import Hub
from ckptd.service.jobs import Jobs, Waiting
from ckptd.service.judging import Judged
from ckptd.service.scrub import Scrub
from ckptd.service.switchboard import Switchboard
from ckptd.service.tenancy import Tenancy, tenancy
from ckptd.service.use import follow_all
from ckptd.service.watchman import DAMAGED, Watchman
from ckptd.service.workplace import Workplace, enter
from ckptd.store.publish import stamp
from ckptd.store.records import load_files

LOOK_AT_PROMISE = 60.0  # seconds between two looks at whether it is kept
TELL_STATUS = 5.0  # seconds between two status lines for the service manager
MENDING_AGAIN = 1800.0  # seconds before damage that could not be mended is looked at again
FIRST_DRIFT = 300.0  # seconds after the start before the origins are asked for the first time


Front = Callable[["Daemon"], AbstractAsyncContextManager[None]]


class Daemon:
    """The daemon of one store. `fronts` are entered with it: logs, page, alerts."""

    def __init__(self, place: Workplace, fronts: Sequence[Front] = ()) -> None:
        self.place = place
        self.hub = Hub()
        self.started = time.time()
        self.watchman = Watchman(place.places, self.hub)
        self.config_error = ""
        self.roster = Roster({})
        self._mark = _mark(place.path)
        self._fronts = fronts
        self._received: list[int] = []
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._reload_wanted = asyncio.Event()

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises Stopped, and BusyError, ConfigError, StorageError when it cannot begin."""
        places = self.place.places
        self._handle_signals()
        async with tenancy(places, self.hub.emit) as tenant, AsyncExitStack() as stack:
            self.tenancy: Tenancy = tenant
            await tenant.thread(self.watchman.load)
            path = sockets.path_of(self.place.manifest, places, self.place.path)
            listening = await tenant.thread(lambda: sockets.listen(path, places.group))
            stack.callback(path.unlink, missing_ok=True)
            try:
                async with asyncio.TaskGroup() as group:
                    await self._live(group, listening, stack)
            except* Stopped:
                pass
        raise Stopped(self._received[0])

    async def _live(self, group: asyncio.TaskGroup, listening: socket.socket, stack: AsyncExitStack) -> None:
        """Everything that goes on at the same time. Raises Stopped, which ends all of it."""
        self.jobs = Jobs(self.tenancy, self.hub, group, self.watchman.note_outcome)
        self.scrub = Scrub(lambda: self.place, self.tenancy.state, _unwatched, self._found)
        self.scrub.seen = self.watchman.note_outcome
        self.roster = Roster.of((each.name for each in self.place.manifest.checkpoints), time.monotonic())
        damaged = await self._known_damage() & self.roster.turns.keys()
        self._postpone(damaged)  # mending fetches less than a sync would, and keeps the evidence
        switchboard = Switchboard(self, group)
        server = await asyncio.start_unix_server(switchboard.serve, sock=listening, limit=switchboard.limit)
        for front in self._fronts:
            await stack.enter_async_context(front(self))
        await self.refresh_lock()
        wanted = {each.name for each in self.place.manifest.checkpoints}
        self.watchman.forget_all_but(wanted | self.place.lock.entries.keys())
        for loop in (
            self._sync_forever(group),
            self._scrub_forever(),
            self._ask_forever(),
            self._reload_forever(),
            self._mend_forever(damaged),
            self._watch_promise(),
            self._tell_manager(),
            self._feed_watchdog(),
        ):
            group.create_task(loop)
        systemd.notify("READY=1", f"MAINPID={os.getpid()}")
        await self._stop.wait()
        systemd.notify("STOPPING=1", "STATUS=stopping; partials are kept")
        server.close()
        raise Stopped(self._received[0])

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            if self._received:
                os._exit(128 + number)
            self._received.append(number)
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        self._reload_wanted.set()

    async def _reload_forever(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await self.reload()

    async def reload(self) -> None:
        """Read the manifest again; one that cannot be used is told, and the old one stays in force."""
        systemd.reloading()
        try:
            self._mark = await asyncio.to_thread(_mark, self.place.path)
            place = await asyncio.to_thread(enter, self.place.path, ())
            new = place.places
            if new != replace(self.place.places, keep_free=new.keep_free, watched=new.watched):
                raise ConfigError(
                    "[store] path, state, lock or group changed; that takes a restart", hint="restart the daemon"
                )
            before = {each.name: each for each in self.place.manifest.checkpoints}
            after = {each.name: each for each in place.manifest.checkpoints}
            changed = {name for name, each in after.items() if name in before and before[name] != each}
            self.place = place
            self.config_error = ""
            self.roster = self.roster.keep(after, time.monotonic(), changed)
            self.watchman.forget_all_but({*after, *place.lock.entries})
            self.watchman.tell("manifest", f"read again: {len(place.manifest.checkpoints)} checkpoints")
            self._wake.set()
            self.scrub.wake()
        except CkptdError as error:
            self.config_error = error.message
            self.watchman.tell("manifest", f"cannot be used, the old one stays in force: {error.message}")
        finally:
            systemd.notify("READY=1")

    async def heed(self, manifest: str) -> None:
        """Before work that a caller asks for by `manifest`: ours it has to be, and is read again if it has changed.

        Raises BusyError, ConfigError where ours cannot be used as it is now, and StorageError once we are stopping.
        """
        own = await asyncio.to_thread(os.path.realpath, self.place.path)
        if manifest and manifest != own:
            raise BusyError(
                f"{self.place.places.store} is in use by a daemon, which works by {own}",
                hint="name that manifest, or stop the daemon",
            )
        if await asyncio.to_thread(_mark, self.place.path) != self._mark:
            await self.reload()
        if self.config_error:
            raise ConfigError(self.config_error)
        if self._stop.is_set():  # last, since nothing may be awaited between this and taking up the work
            raise StorageError("the daemon went away: it is stopping", hint="run the command again")

    # --- the loops -----------------------------------------------------------------------------------------------

    async def _sync_forever(self, group: asyncio.TaskGroup) -> None:
        while True:
            now = time.monotonic()
            due = set(self.roster.due(now))
            chosen = tuple(each for each in self.place.manifest.checkpoints if each.name in due)
            if chosen:
                self._postpone(due)
                for name, waiting in self.jobs.begin(replace(self.place, selected=chosen)).items():
                    group.create_task(self._after_sync(name, waiting))
            try:
                async with asyncio.timeout(min(self.roster.wait(time.monotonic()), 3600.0)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def _postpone(self, names: Iterable[str]) -> None:
        """These have no turn until they get one."""
        running = {name: Turn(float("inf"), self.roster.turns[name].failures) for name in names}
        self.roster = Roster({**self.roster.turns, **running})

    async def _after_sync(self, name: str, waiting: Waiting) -> None:
        outcome = await asyncio.shield(waiting)
        good = outcome.error is None
        every, jitter = self.place.manifest.sync.every, random.random()  # noqa: S311
        self.roster = self.roster.after(name, time.monotonic(), every, good=good, jitter=jitter)
        self._wake.set()
        turn = self.roster.turns.get(name)
        self.watchman.note_outcome(outcome, turn.failures if turn is not None else 0)
        if outcome.state in {"fetched", "repaired"}:
            await self.refresh_lock()
        await self.follow([outcome])

    async def follow(self, outcomes: Iterable[Outcome]) -> None:
        """Keep the config files of `[[use]]` pointing at what is there now."""
        used = {use.checkpoint for use in self.place.manifest.uses}
        for name in sorted(used & {outcome.name for outcome in outcomes if outcome.error is None}):
            for line in await self.tenancy.thread(partial(follow_all, self.place, {name})):
                self.watchman.tell(name, line)

    async def refresh_lock(self) -> None:
        """Know what is locked now. A lock that somebody has broken is told, and the one before stays in force."""
        try:
            lock = await self.tenancy.thread(self.tenancy.ledger.refresh)
        except CkptdError as error:
            self.watchman.tell("lock", f"cannot be used: {error.message}")
            return
        self.place = replace(self.place, lock=lock)
        self.scrub.wake()

    async def _ask_forever(self) -> None:
        """Ask the origins, without downloading, whether they still serve what is locked."""
        from ckptd.service.drift import ask  # noqa: PLC0415

        wait = min(FIRST_DRIFT, self.place.manifest.sync.every)
        while True:
            await asyncio.sleep(wait)
            wait = self.place.manifest.sync.every * (1 + JITTER * random.uniform(-1, 1))  # noqa: S311
            locked = self.place.lock.entries
            chosen = tuple(each for each in self.place.manifest.checkpoints if each.name in locked)
            try:
                inquiries, _ = await ask(replace(self.place, selected=chosen))
            except CkptdError as error:
                self.watchman.tell("drift", f"could not be looked for: {error.message}")
                continue
            for inquiry in inquiries:
                self.watchman.note_outcome(inquiry.outcome)

    async def _scrub_forever(self) -> None:
        await self.refresh_lock()
        while True:
            try:
                await self.scrub.run()
            except* CkptdError as group:
                # The disk refuses notes: what was read would have to be read again. Wait for better times.
                known = first_known(group)
                self.watchman.tell("scrub", f"paused: {known.message if known is not None else group}")
                await asyncio.sleep(LOOK_AT_PROMISE)

    async def _mend_forever(self, damaged: set[str]) -> None:
        """Damage that could not be mended when it was found is looked at again: origins and disks come back."""
        postponed = damaged
        while True:
            chosen = tuple(each for each in self.place.manifest.checkpoints if each.name in damaged)
            try:
                if chosen:
                    await self._mend(chosen)
            except CkptdError as error:
                self.watchman.tell("store", f"damage could not be mended: {error.message}")
            for name in postponed & self.roster.turns.keys():
                self.roster = Roster({**self.roster.turns, name: Turn(time.monotonic(), 0)})
            self._wake.set()
            postponed = set()
            await asyncio.sleep(MENDING_AGAIN)
            damaged = {name for kind, name in self.watchman.incidents.open if kind is Kind.DAMAGE}

    async def _known_damage(self) -> set[str]:
        """What was found damaged before this daemon began, by whomever."""
        records = (await self.tenancy.state.do(load_files)).values()
        return {each.name for each in records if each.verdict in DAMAGED and each.name in self.place.lock.entries}

    async def _mend(self, chosen: tuple[Checkpoint, ...]) -> None:
        """Read what was found damaged once more, then do what the policy says. Raises CkptdError."""
        place = replace(self.place, selected=chosen)
        names = [each.name for each in chosen]
        outcomes = await self.jobs.verify(place, names, sha256=False, repair=False, older_than=None)
        await self.heed_damage(outcomes)

    async def _found(self, judged: Judged) -> None:
        """The scrub found damage: what the policy says is done, and everybody is told."""
        self.watchman.note_outcome(judged.outcome)
        await self.heed_damage([judged.outcome])

    async def heed_damage(self, outcomes: Sequence[Outcome], *, mend: bool = True) -> list[Outcome]:
        """Do with what is damaged what the policy says (without `mend`: if it needs no origin), and tell."""
        policy = self.place.manifest.verify.on_damage
        done = list(outcomes)
        if policy is OnDamage.HOLD or (policy is OnDamage.REPAIR and mend):
            place = await self.jobs.place(self.place, ())
            done = await self.jobs.repair(place, outcomes, hold=policy is OnDamage.HOLD)
        for outcome in done:
            self.watchman.note_outcome(outcome)
        await self.refresh_lock()
        return done

    async def _watch_promise(self) -> None:
        while True:
            try:
                held = await self.promise()
                # What is damaged is told as that, and not once more as unverified.
                damaged = any(kind is Kind.DAMAGE for kind, _ in self.watchman.incidents.open)
                message = "" if held.kept or damaged else "bytes are kept that were not verified in time"
                self.watchman.observe(Kind.PROMISE, "", message)
            except CkptdError as error:
                self.watchman.tell("promise", f"cannot be told: {error.message}")
            await asyncio.sleep(LOOK_AT_PROMISE)

    async def promise(self) -> Promise:
        """How the promise stands now."""
        records = await self.tenancy.state.do(load_files)
        return promise.standing(self.place.lock, records, self.place.manifest.verify.max_age, time.time())

    async def _tell_manager(self) -> None:
        said = ""
        while systemd.listened_to():
            line = self.summary()
            if line != said:
                systemd.status(line)
                said = line
            await asyncio.sleep(TELL_STATUS)

    async def _feed_watchdog(self) -> None:
        """From the event loop itself: when it is blocked, nobody else says that we are well."""
        interval = systemd.watchdog_interval()
        while interval is not None:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    # --- what there is to tell -----------------------------------------------------------------------------------

    def summary(self) -> str:
        """What runs now, in a line."""
        if self.config_error:
            return f"manifest refused, the old one is in force: {self.config_error.splitlines()[0]}"
        names = sorted(self.hub.active)
        if names:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            return f"working on {', '.join(names[:2])}{more}"
        failing = sum(turn.failures > 0 for turn in self.roster.turns.values())
        tail = f"; {failing} failing, tried again" if failing else ""
        doing = self.scrub.doing
        return f"{f'verifying {doing.name}' if doing.name else doing.why}{tail}"


def _mark(path: Path) -> str:
    """What the manifest is like from the outside; empty where it is not there. Blocks."""
    try:
        return stamp(path.stat())
    except OSError:
        return ""


def _unwatched(event: events.Event) -> None:
    """The scrub reads for days: its bytes are told by the promise, not one by one."""
    del event

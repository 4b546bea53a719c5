"""`ckptd adopt`: what a server already has, read and compared, and what the manifest wants of it taken in.

Files that name their own digest are judged by it; what a checkpoint could be is taken in when a pin, the lock or its
origin's digest vouches for the bytes. What is offered is only ever read: the store gets a copy, or shared blocks.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ckptd.core import events
from ckptd.core.adopt import Digest, Offered, holds, wanted_by
from ckptd.core.models import PIECE, Checkpoint, Outcome, Witness
from ckptd.core.plan import Adopt, Fetch, Mend
from ckptd.errors import CkptdError, ConfigError, DriftError
from ckptd.service.fetch import Pass
from ckptd.service.sync import Task
from ckptd.service.vouching import published
from ckptd.service.workplace import Workplace
from ckptd.store import disk, scrub
from ckptd.transfer.budget import Budget
from ckptd.transfer.client import Client, Deadlines
from ckptd.transfer.inquire import Inquirer


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one file: `verdict` is "intact" or "rotten" by its own name, "unread" when nobody wants it,
    "unnamed" when only a checkpoint of the manifest could be it. `sha256` where it was read."""

    offered: Offered
    verdict: str
    sha256: str = ""


def offered(paths: Iterable[str], workplace: Workplace) -> list[Offered]:
    """The files below `paths`, each once under all its names; nothing of our own store. Raises ConfigError."""
    ours = [Path(os.path.realpath(each)) for each in (workplace.places.store, workplace.places.state)]
    leading: dict[str, set[str]] = {}
    for given in paths:
        if not os.path.lexists(given):
            raise ConfigError(f"{given} is not there")
        for path in _files(given):
            real = os.path.realpath(path)
            if not any(Path(real).is_relative_to(each) for each in ours):
                leading.setdefault(real, set()).add(os.path.abspath(path))
    found = []
    for real, known in sorted(leading.items()):
        try:
            status = os.stat(real)
        except OSError:
            continue  # a link to nothing
        if stat.S_ISREG(status.st_mode) and status.st_size:
            names = {os.path.basename(each) for each in (*known, real)}
            found.append(Offered(real, tuple(sorted(names)), status.st_size, tuple(sorted(known))))
    return found


def _files(given: str) -> Iterable[str]:
    if not os.path.isdir(given):
        yield given
    for folder, _, names in os.walk(given):
        yield from (os.path.join(folder, name) for name in names)


class Adoption:
    """Judges files, and takes in what the manifest lacks. `ask`: whether origins may be asked for their digests;
    `link`: whether the store gets hard links in place of copies.
    """

    def __init__(self, workplace: Workplace, emit: events.Emit, *, ask: bool, link: bool = False) -> None:
        self._workplace = workplace
        self._emit = emit
        self._ask = ask
        self._link = link
        self._actions: dict[str, Adopt] = {}

    async def run(self, files: Sequence[Offered]) -> tuple[list[Judged], list[Outcome]]:
        """The verdict on each file, and the outcome of each checkpoint that one of them could be."""
        places, lock = self._workplace.places, self._workplace.lock
        missing = [each.name for each in self._workplace.selected if not places.final(each).exists()]
        fits = {each.path: wanted_by(each, self._workplace.selected, lock.entries, missing) for each in files}
        judged = await judge([each for each in files if each.claim or fits[each.path]])
        chosen: dict[str, tuple[Checkpoint, Judged]] = {}
        for each in files:
            for checkpoint in fits[each.path]:
                if judged[each.path].verdict != "rotten":
                    chosen.setdefault(checkpoint.name, (checkpoint, judged[each.path]))
        outcomes = await self._take_in(list(chosen.values()))
        return [judged.get(each.path, Judged(each, "unread")) for each in files], outcomes

    async def _take_in(self, chosen: Sequence[tuple[Checkpoint, Judged]]) -> list[Outcome]:
        if not chosen:
            return []
        witnesses = await self._witnesses([checkpoint for checkpoint, _ in chosen])
        for checkpoint, judged in chosen:
            offer = judged.offered
            vouched = witnesses.get(checkpoint.name, ())
            self._actions[checkpoint.name] = Adopt("it is here already", offer.path, offer.size, vouched, self._link)
        place = replace(self._workplace, selected=tuple(checkpoint for checkpoint, _ in chosen))
        tasks = [Task.of(place, checkpoint) for checkpoint in place.selected]
        return await Pass(place, self._emit, locked=False, update=False, remedy=self).run(tasks)

    async def _witnesses(self, checkpoints: Sequence[Checkpoint]) -> dict[str, tuple[Witness, ...]]:
        """What the origins publish of those that neither pin nor lock vouches for."""
        locked, transfer = self._workplace.lock.entries, self._workplace.manifest.transfer
        unsure = [each for each in checkpoints if each.sha256 is None and each.name not in locked]
        if not unsure or not self._ask:
            return {}
        deadlines = Deadlines(transfer.connect_timeout, transfer.connect_timeout)
        manifest = self._workplace.manifest
        found: dict[str, tuple[Witness, ...]] = {}
        async with Client(deadlines, manifest.auth, private_redirects=manifest.policy.private_redirects) as client:
            inquirer = Inquirer(client, Budget(transfer.connections_per_host, 1, None), transfer.connect_timeout)

            async def one(checkpoint: Checkpoint) -> None:
                answer = await published(inquirer, manifest, checkpoint)
                if answer is not None:
                    found[checkpoint.name] = answer.witnesses

            async with asyncio.TaskGroup() as group:
                for checkpoint in unsure:
                    group.create_task(one(checkpoint))
        return found

    # --- what a pass asks ----------------------------------------------------------------------------------------

    def action(self, task: Task) -> Mend | Fetch | Adopt | None:
        """Take in the file that was found for it, unless it has come meanwhile."""
        return self._actions.get(task.checkpoint.name) if isinstance(task.action, Fetch) else None

    def regrows(self, task: Task) -> bool:
        """Where one is wanted and does not stand."""
        return task.tree

    async def secure(self, task: Task) -> None:
        """Nothing is replaced."""

    async def hold(self, task: Task, error: DriftError) -> CkptdError:
        """Nothing is damaged."""
        del task
        return error


async def judge(files: Iterable[Offered]) -> dict[str, Judged]:
    """The verdict on each file by its path, read many at once."""
    with ThreadPoolExecutor(os.cpu_count() or 1, "ckptd-adopt", initializer=disk.stand_back) as pool:
        loop = asyncio.get_running_loop()
        reading = [loop.run_in_executor(pool, _judge, each) for each in files]
        return {each.offered.path: each for each in [await one for one in reading]}


def _judge(offer: Offered) -> Judged:
    """Read a file, past the page cache, and compare it with what its name says. Blocks."""
    claim, sha256 = offer.claim, hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % offer.size, usedforsecurity=False)
    by_git = claim is not None and claim.digest is Digest.GIT
    try:
        with scrub.opened(Path(offer.path)) as file:
            for start in range(0, file.size, PIECE):
                for view in scrub.chunks(file, start, start + PIECE):
                    sha256.update(view)
                    if by_git:
                        git.update(view)
    except OSError:
        return Judged(offer, "rotten")
    digest = sha256.hexdigest()
    if claim is None:
        return Judged(offer, "unnamed", digest)
    return Judged(offer, "intact" if holds(claim, digest, git.hexdigest()) else "rotten", digest)

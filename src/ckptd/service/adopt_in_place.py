"""`ckptd adopt --in-place`: what a server already has, proven and locked where it is, and only watched from then on.

Which file could be which checkpoint is `core.adopt`'s decision, whether its bytes are right that of a pass over the
store (`service.in_place`). The manifest is written last: until then nothing of it is changed. What is offered is only
ever read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptd.core import events
from ckptd.core.adopt import Offered, called, wanted_by
from ckptd.core.models import Checkpoint, Outcome
from ckptd.core.plan import Keep, expectation
from ckptd.errors import CkptdError, ConfigError, IntegrityError, PolicyError
from ckptd.service import manifest_file
from ckptd.service.adopt import Judged, judge
from ckptd.service.fetch import Pass
from ckptd.service.in_place import Vouching
from ckptd.service.sync import Task, kept, refused
from ckptd.service.workplace import Workplace


@dataclass(slots=True)
class _Sorted:
    """What there is to do: a path for each checkpoint that is to be watched, names that are already, other outcomes."""

    new: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    settled: dict[str, Outcome] = field(default_factory=dict)


class Adoption:
    """Judges files, and has the manifest watch those that are its checkpoints. `ask`: as for `service.adopt`."""

    def __init__(self, workplace: Workplace, emit: events.Emit, *, ask: bool) -> None:
        self._workplace = workplace
        self._emit = emit
        self._vouching = Vouching(ask=ask, needed=True)

    async def run(self, files: Sequence[Offered]) -> tuple[list[Judged], list[Outcome]]:
        """The verdict on each file, and the outcome of each checkpoint that one of them could be.

        Raises BusyError, StorageError, and ConfigError for a manifest that cannot be written.
        """
        place = self._workplace
        if not await asyncio.to_thread(_may_write, place.path):
            raise ConfigError(f"{place.path} cannot be written, and has to say what is watched in place")
        names = [each.name for each in place.selected]
        fits = {each.path: wanted_by(each, place.selected, place.lock.entries, names) for each in files}
        judged = await judge([each for each in files if each.claim or fits[each.path]])
        found = await asyncio.to_thread(self._sort, files, fits, judged)
        outcomes = {**found.settled, **await self._prove(found)}
        paths = {name: path for name, path in found.new.items() if outcomes[name].error is None}
        for name in paths:
            outcomes[name] = replace(outcomes[name], state="adopted")
        for note in await asyncio.to_thread(self._write, paths):
            self._emit(events.Noted("manifest", note))
        return [judged.get(each.path, Judged(each, "unread")) for each in files], [
            outcomes[name] for name in names if name in outcomes
        ]

    def _sort(
        self, files: Sequence[Offered], fits: Mapping[str, Sequence[Checkpoint]], judged: Mapping[str, Judged]
    ) -> _Sorted:
        found, candidates = _Sorted(), dict[str, list[Judged]]()
        for each in files:
            for checkpoint in fits[each.path]:
                if judged[each.path].verdict != "rotten":
                    candidates.setdefault(checkpoint.name, []).append(judged[each.path])
        for checkpoint in self._workplace.selected:
            if checkpoint.name in candidates:
                self._one(checkpoint, candidates[checkpoint.name], found)
        return found

    def _one(self, checkpoint: Checkpoint, candidates: Sequence[Judged], found: _Sorted) -> None:
        """What is to be done about a checkpoint that any of these files could be."""
        place, name = self._workplace, checkpoint.name
        final = place.places.final(checkpoint)
        if checkpoint.in_place is not None:
            if any(each.offered.path == os.path.realpath(final) for each in candidates):
                found.known.add(name)
            else:
                found.settled[name] = self._left(checkpoint, f"{final} is watched for it already: left alone")
            return
        if os.path.lexists(final):
            found.settled[name] = self._left(checkpoint, "the store has its file: left alone")
            return
        wanted = expectation(checkpoint, place.lock.entries.get(name)).sha256
        right = [each for each in candidates if wanted in {None, each.sha256}]
        chosen = (right or candidates)[0]
        if checkpoint.unpack:
            error: CkptdError = PolicyError(
                f"{name} has unpack = true, and a file that is watched in place is never unpacked",
                hint=f"`ckptd adopt {chosen.offered.path}` takes it in",
            )
        elif not right:
            message = f"{chosen.offered.path} is not what is wanted: its sha256 is {chosen.sha256}, not {wanted}"
            error = IntegrityError(message)
        else:
            found.new[name] = called(chosen.offered, checkpoint)
            return
        found.settled[name] = refused(Task.of(place, checkpoint), error, place.places)

    def _left(self, checkpoint: Checkpoint, why: str) -> Outcome:
        task = replace(Task.of(self._workplace, checkpoint), action=Keep())
        return replace(kept(task, self._workplace.places), notes=(why,))

    async def _prove(self, found: _Sorted) -> dict[str, Outcome]:
        """The outcomes of a pass in which these files are watched already."""
        place = self._workplace
        watching = tuple(
            replace(each, in_place=found.new.get(each.name, each.in_place)) for each in place.manifest.checkpoints
        )
        selected = tuple(each for each in watching if each.name in found.new or each.name in found.known)
        if not selected:
            return {}
        manifest = replace(place.manifest, checkpoints=watching)
        proposal = replace(place, manifest=manifest, places=place.places.watching(found.new), selected=selected)
        tasks = [Task.of(proposal, checkpoint) for checkpoint in selected]
        work = Pass(proposal, self._emit, locked=False, update=False, vouching=self._vouching)
        return {outcome.name: outcome for outcome in await work.run(tasks)}

    def _write(self, paths: Mapping[str, str]) -> tuple[str, ...]:
        if not paths:
            return ()
        before = {each.name: each for each in self._workplace.manifest.checkpoints}
        with manifest_file.editing(self._workplace.path) as book:
            now = {each.name: each for each in book.manifest.checkpoints}
            changed = sorted(name for name in paths if now.get(name) != before[name])
            if changed:
                names = ", ".join(changed)
                raise ConfigError(f"{book.path} was changed meanwhile: {names}", hint="run the command again")
            return manifest_file.watch(book, paths)


def _may_write(manifest: Path) -> bool:
    """Whether the manifest can be replaced, asked before anything is read."""
    return os.access(os.path.dirname(os.path.realpath(manifest)), os.W_OK | os.X_OK)

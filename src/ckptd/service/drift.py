"""One pass of `drift`: ask the sources of what is locked, several at once, whether they still serve it.

Fetches no body and writes nothing; `promote` alone writes the lock, when somebody asks for that. What an answer means
is `core.drift`, who is who `core.identity`, how to ask `transfer.inquire`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from ckptd.core.drift import (
    Answer,
    Facts,
    Known,
    State,
    Verdict,
    confirmed,
    judge,
    locked_facts,
    origin_facts,
    overall,
    promoted,
    vouchers,
)
from ckptd.core.identity import Finding, findings
from ckptd.core.models import Checkpoint, Lock, LockEntry, Outcome, Problem, Trust
from ckptd.core.response import Validator
from ckptd.core.revision import pinned
from ckptd.core.urls import normalise, redact, rewrite, strip_for_lock
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, lockfile
from ckptd.store.history import rows
from ckptd.store.owner import Owner
from ckptd.store.records import FileRecord, read_only
from ckptd.transfer.budget import Budget
from ckptd.transfer.client import Client, Deadlines, token
from ckptd.transfer.inquire import Inquirer
from ckptd.transfer.source import Source

PATIENCE = 3  # connect_timeouts that one request may take in all, redirects included


@dataclass(frozen=True, slots=True)
class Said:
    """What one source said. `url` is fit to be shown."""

    url: str
    answer: Answer
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What came of one checkpoint. `labels` are the witnesses that agree with the locked bytes now."""

    result: Outcome
    said: tuple[Said, ...] = ()
    speaker: Said | None = None  # the source whose verdict it is
    locked: Facts | None = None
    origin: Facts | None = None
    labels: tuple[str, ...] = ()
    trust_note: str = ""  # what they could mean for the lock, or have meant

    @property
    def outcome(self) -> Outcome:
        """The result with everything there is to note."""
        more = (self.trust_note,) if self.trust_note else ()
        return replace(self.result, notes=(*self.result.notes, *more))


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the store and its state know, so that nothing need be read while others are asked."""

    there: frozenset[str]  # names whose files are where they belong
    records: Mapping[str, FileRecord]
    digests: Mapping[str, tuple[str, ...]]  # by name: each sha256 that its bytes should have had, oldest first
    fetched: Mapping[tuple[str, str], float]  # by name and sha256: when it was last fetched


async def ask(workplace: Workplace) -> tuple[list[Inquiry], tuple[Finding, ...]]:
    """Ask about every selected checkpoint. Raises ConfigError (a token that cannot be read)."""
    manifest, transfer = workplace.manifest, workplace.manifest.transfer
    for grant in manifest.auth:
        await token(grant)  # said before any request
    memory = await asyncio.to_thread(_recall, workplace)
    slots = asyncio.Semaphore(transfer.downloads)
    budget = Budget(transfer.connections_per_host, 1, None)
    deadlines = Deadlines(transfer.connect_timeout, transfer.connect_timeout)
    found: dict[str, Inquiry] = {}
    async with Client(deadlines, manifest.auth, private_redirects=manifest.policy.private_redirects) as client:
        inquirer = Inquirer(client, budget, PATIENCE * transfer.connect_timeout)

        async def one(checkpoint: Checkpoint, entry: LockEntry) -> None:
            async with slots:
                found[checkpoint.name] = await _inquire(workplace, checkpoint, entry, memory, inquirer)

        async with asyncio.TaskGroup() as group:
            for checkpoint in workplace.selected:
                entry = workplace.lock.entries.get(checkpoint.name)
                if entry is None:
                    found[checkpoint.name] = Inquiry(_unlocked(checkpoint.name))
                else:
                    group.create_task(one(checkpoint, entry))
    about = {checkpoint.name for checkpoint in workplace.selected}
    noted = findings(workplace.lock.entries.values(), memory.digests, about)
    return [found[each.name] for each in workplace.selected], noted


def _recall(workplace: Workplace) -> _Memory:
    places, names = workplace.places, [checkpoint.name for checkpoint in workplace.selected]
    there = {each.name for each in workplace.selected if inventory.look(places, each, {})}
    digests: dict[str, dict[str, None]] = {name: {} for name in names}
    fetched: dict[tuple[str, str], float] = {}
    connection = read_only(places.database)
    if connection is not None:
        # Without all of the history there is less to compare with, and everything can still be asked.
        with closing(connection), suppress(sqlite3.Error):
            for visit in (row.visit for row in rows(connection, names)):
                digests[visit.name].setdefault(visit.sha256)
                if visit.action == "fetch":
                    fetched[visit.name, visit.sha256] = visit.at
    known = {name: tuple(each) for name, each in digests.items()}
    return _Memory(frozenset(there), inventory.records(places), known, fetched)


async def _inquire(
    workplace: Workplace, checkpoint: Checkpoint, entry: LockEntry, memory: _Memory, inquirer: Inquirer
) -> Inquiry:
    """Ask the sources of one checkpoint in the order of trying, until one says that it serves what is locked."""
    said: list[Said] = []
    knowledge: list[Known] = []
    for url in _urls(workplace, checkpoint):
        knowledge.append(_known(workplace, checkpoint, entry, memory, url))
        answer, verdict = await _twice(inquirer, url, knowledge[-1])
        said.append(Said(redact(url), answer, verdict))
        if verdict.state is State.SAME:
            break
    index, verdict = overall([(each.url, each.verdict) for each in said])
    if len(said) > 1:
        verdict = replace(verdict, reason=f"{said[index].url}: {verdict.reason}")
    labels = vouchers(knowledge[-1], [each.answer for each in said])
    answered = said[index].answer
    return Inquiry(
        result=_outcome(workplace, checkpoint, entry, verdict, there=checkpoint.name in memory.there),
        said=tuple(said),
        speaker=said[index],
        locked=locked_facts(knowledge[index]),
        origin=origin_facts(answered) if answered.speaks else None,
        labels=labels,
        trust_note=_offer(entry, labels) if verdict.state is State.SAME else "",
    )


async def _twice(inquirer: Inquirer, url: str, known: Known) -> tuple[Answer, Verdict]:
    """Ask one source, and once more before an alarm."""
    first = await inquirer.ask(url)
    verdict = judge(known, first, time.time())
    if verdict.state is not State.CHANGED:
        return first, verdict
    second = await inquirer.ask(url, again=True)
    verdict = confirmed(known, first, second, time.time())
    return (second if verdict.state is State.CHANGED else first), verdict


def _urls(workplace: Workplace, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Who may serve it, in the order in which `sync` tries them."""
    named = (checkpoint.url, *checkpoint.mirrors)
    return tuple(dict.fromkeys(each for url in named for each in rewrite(normalise(url), workplace.manifest.sources)))


def _known(workplace: Workplace, checkpoint: Checkpoint, entry: LockEntry, memory: _Memory, url: str) -> Known:
    """What is known of the locked bytes, and of what `url` said of them."""
    digests = {"sha256": bytes.fromhex(entry.sha256)}
    record = memory.records.get(inventory.key_of(checkpoint))
    if record is None or record.sha256 != entry.sha256:
        return Known(checkpoint.file_name, entry.size, digests)
    return Known(
        checkpoint.file_name,
        entry.size,
        {**{name: bytes.fromhex(value) for name, value in record.digests.items()}, **digests},
        _validator(record, entry, url),
        memory.fetched.get((checkpoint.name, entry.sha256)),
    )


def _validator(record: FileRecord, entry: LockEntry, url: str) -> Validator | None:
    """What `url` said of the locked bytes; or the same file's address at the locked commit, if they came from there."""
    found = record.validators.get(Source(url).key)
    steady = pinned(url, entry)
    return found if found is not None or steady is None else record.validators.get(Source(steady).key)


def _outcome(
    workplace: Workplace, checkpoint: Checkpoint, entry: LockEntry, verdict: Verdict, *, there: bool
) -> Outcome:
    notes = list(verdict.notes)
    if verdict.calm:
        notes.append(f"{verdict.reason}; {verdict.hint.replace('NAME', entry.name)}")
    if strip_for_lock(checkpoint.url) != entry.url:
        notes.append("the manifest names another URL than the lock; `ckptd sync` settles that")
    return Outcome(
        name=entry.name,
        state=verdict.state,
        size=entry.size,
        sha256=entry.sha256,
        trust=entry.trust,
        path=str(workplace.places.final(checkpoint)) if there else None,
        error=_problem(entry.name, verdict),
        exit_status=verdict.exit_status,
        notes=tuple(notes),
    )


def _problem(name: str, verdict: Verdict) -> Problem | None:
    if verdict.state is State.SAME or verdict.calm:
        return None
    if verdict.state is State.CHANGED:
        hint = f"the old copy is kept; `ckptd update {name}` accepts what is served now"
        return Problem("drift", verdict.reason, hint)
    return Problem(verdict.kind, verdict.reason, verdict.hint.replace("NAME", name))


def _unlocked(name: str) -> Outcome:
    problem = Problem("storage", "it is not locked", f"run `ckptd sync {name}`")
    return Outcome(name, State.UNKNOWN, error=problem, exit_status=State.UNKNOWN.exit_status)


def _offer(entry: LockEntry, labels: tuple[str, ...]) -> str:
    if entry.trust is not Trust.FIRST_USE or not labels:
        return ""
    said = f"a witness has appeared that agrees with the locked bytes ({', '.join(labels)})"
    return f"{said}; `ckptd drift --promote {entry.name}` writes it into the lock"


def promote(workplace: Workplace, inquiries: Iterable[Inquiry]) -> list[Inquiry]:
    """Write the witnesses that agree, and the trust they give, into the lock; the inquiries with what came of it.

    Only what is still locked with the same sha256, never another sha256, never less trust. Blocks: it takes the store
    and writes a file. Raises BusyError, ConfigError, StorageError.
    """
    done = list(inquiries)
    if all(_promoted(workplace.lock, inquiry) is None for inquiry in done):
        return done
    with Owner(workplace.places.state):
        lock = lockfile.read(workplace.places.lock)  # somebody else may have written it meanwhile
        entries = dict(lock.entries)
        for index, inquiry in enumerate(done):
            after = _promoted(lock, inquiry)
            if after is not None:
                note, entries[after.name] = _lifted(lock.entries[after.name], after), after
                done[index] = replace(inquiry, result=replace(inquiry.result, trust=after.trust), trust_note=note)
        lockfile.write(workplace.places.lock, Lock(entries))
    return done


def _promoted(lock: Lock, inquiry: Inquiry) -> LockEntry | None:
    """The entry with what vouches for it now; None where that changes nothing, or is of other bytes."""
    entry = lock.entries.get(inquiry.result.name)
    if entry is None or entry.sha256 != inquiry.result.sha256 or inquiry.result.state is not State.SAME:
        return None
    after = promoted(entry, inquiry.labels)
    return None if after == entry else after


def _lifted(before: LockEntry, after: LockEntry) -> str:
    new = ", ".join(sorted(set(after.witnesses) - set(before.witnesses)))
    if before.trust is not after.trust:
        return f"its trust goes up from {before.trust} to {after.trust}: {new} agrees with the locked bytes"
    return f"now witnessed by {new}, too"

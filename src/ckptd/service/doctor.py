"""`doctor`: looks at everything that has to be right, and says how to mend what is not.

Every part is looked at in a thread of its own, with a time limit: what cannot be looked at is said, and neither hides
nor holds up anything else. Changes nothing. Facts are gathered in `doctor_machine`, `doctor_store`, `doctor_network`,
`doctor_work` and `doctor_service`, and judged in the modules of `core` that are called alike.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ckptd.core import doctor_work
from ckptd.core.doctor import Area, Finding
from ckptd.core.doctor_work import Document
from ckptd.core.models import Lock, Manifest
from ckptd.core.picture import plural
from ckptd.core.urls import redact_text
from ckptd.errors import CkptdError
from ckptd.service import doctor_machine, doctor_network, doctor_service, doctor_store
from ckptd.service import doctor_work as work
from ckptd.service.manifest_file import open_book
from ckptd.service.workplace import Workplace, enter, find_manifest
from ckptd.store.places import locate

T = TypeVar("T")
SECONDS = 15.0  # for all parts, which are looked at at the same time; a disk or a server that hangs gets no more


@dataclass(slots=True)
class _Ground:
    """What the rest stands on, as far as it can be had."""

    manifest: Manifest | None = None
    workplace: Workplace | None = None
    findings: list[Finding] = field(default_factory=list)


def examine(given: str | None, environment: Mapping[str, str], *, offline: bool) -> list[Finding]:
    """Everything there is to say. `given` is the manifest as it was named; `offline`: no origin is asked.

    Blocks, for about three times `SECONDS` at the worst. Threads that hang are left behind.
    """
    ground, watched = _Ground(), False

    def read() -> list[Finding]:
        _read(ground, given, environment)
        return ground.findings

    def serve() -> list[Finding]:
        nonlocal watched
        findings, watched = _run(doctor_service.service(ground.workplace))
        return findings

    documents = _look({"documents": read})
    service = _look({"service": serve})
    place = ground.workplace
    parts: dict[str, Callable[[], list[Finding]]] = {"machine": lambda: doctor_machine.machine(place)}
    if place is not None:
        parts |= {
            "store": lambda: doctor_store.store(place),
            "filesystem": lambda: doctor_store.filesystem(place),
            "space": lambda: doctor_store.space(place),
            "checkpoints": lambda: work.checkpoints(place),
            "incidents": lambda: work.incidents(place, watched=watched),
            "history": lambda: work.chain(place),
            "promise": lambda: work.kept(place),
        }
    parts["network"] = lambda: _run(doctor_network.network(ground.manifest, offline=offline))
    found = _look(parts)
    machine = found.pop("machine")
    return [*machine, *documents["documents"], *(each for part in found.values() for each in part), *service["service"]]


# --- each in a thread of its own --------------------------------------------------------------------------------------


def _look(parts: Mapping[str, Callable[[], list[Finding]]]) -> dict[str, list[Finding]]:
    """What all parts come to, in time."""
    found: dict[str, list[Finding]] = {}

    def run(name: str, part: Callable[[], list[Finding]]) -> None:
        found[name] = _guarded(name, part)

    threads = [threading.Thread(target=run, args=each, name=f"ckptd-{each[0]}", daemon=True) for each in parts.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"no answer within {SECONDS:.0f} s: does a disk or a server hang?"
    return {
        name: found.get(name) or [_unknown(name, late, "dmesg | tail; look at mounts of servers")] for name in parts
    }


def _run(work: Coroutine[object, object, T]) -> T:
    """As asyncio.run, but for one thing: threads that still resolve a name are not waited for."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def _guarded(name: str, part: Callable[[], list[Finding]]) -> list[Finding]:
    """What a part comes to, or why it cannot be looked at."""
    try:
        return part()
    except CkptdError as error:
        return [_unknown(name, error.message, error.hint)]
    except Exception as error:  # noqa: BLE001  # one thing that cannot be looked at must hide no other
        return [_unknown(name, f"{type(error).__name__}: {redact_text(str(error))}")]


def _unknown(name: str, why: str, mend: str = "") -> Finding:
    return Area(name).unknown(name, f"could not be looked at: {why}", mend)


# --- manifest and lock ------------------------------------------------------------------------------------------------


def _read(ground: _Ground, given: str | None, environment: Mapping[str, str]) -> None:
    """Manifest, places and lock, each as far as those before it allow."""
    try:
        path = find_manifest(given, environment)
    except CkptdError as error:
        ground.findings.append(_document("manifest", error))
        return
    try:
        ground.workplace = enter(path, ())
        ground.manifest = ground.workplace.manifest
    except CkptdError as error:
        _read_in_parts(ground, path, error)
    if ground.manifest is not None:
        count = plural(len(ground.manifest.checkpoints), "checkpoint")
        ground.findings.insert(0, doctor_work.document(Document("manifest", f"{path} names {count}")))
    if ground.workplace is not None and not any(each.name == "lock" for each in ground.findings):
        lock, count = ground.workplace.places.lock, plural(len(ground.workplace.lock.entries), "checkpoint")
        text = f"{lock} names {count}" if lock.exists() else f"{lock} is not there yet"
        ground.findings.append(doctor_work.document(Document("lock", text)))


def _read_in_parts(ground: _Ground, path: Path, error: CkptdError) -> None:
    """After `error`: find out what is wrong, and use what is not."""
    try:
        book = open_book(path)
    except CkptdError:
        ground.findings.append(_document("manifest", error))
        return
    if book.found is None:
        ground.findings.append(_document("manifest", error))
        return
    ground.manifest = manifest = book.manifest
    try:
        places = locate(manifest, path)
        ground.findings.append(_document("lock", error))
    except CkptdError:  # the one thing that it refuses is a group that does not exist
        ground.findings.append(_document("group", error))
        places = locate(replace(manifest, store=replace(manifest.store, group=None)), path)
    ground.workplace = Workplace(path, manifest, places, Lock(), manifest.checkpoints)


def _document(name: str, error: CkptdError) -> Finding:
    return doctor_work.document(Document(name, "", error.message, error.hint, error.exit_status))

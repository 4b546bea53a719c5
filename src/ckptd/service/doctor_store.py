"""Facts about the store, its filesystem and its space, for `doctor`.

Writes nothing but a private folder in the state, in which it tries what the filesystem can do, and removes it. Judged
in `core.doctor_store`, `core.doctor_filesystem` and `core.doctor_space`.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from ckptd.core import doctor_filesystem, doctor_space, doctor_store
from ckptd.core.doctor import Finding
from ckptd.core.doctor_filesystem import Filesystem
from ckptd.core.doctor_space import Space
from ckptd.core.doctor_store import FILE_MODE, MODE, SHARED_MODE, Folder, Me, Store
from ckptd.core.prune import Rules, decide
from ckptd.core.urls import file_name
from ckptd.errors import CkptdError
from ckptd.service import prune
from ckptd.service.status import standings
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, probe, quarantine
from ckptd.store.mounts import mount_of
from ckptd.store.places import NETWORK_FILESYSTEMS
from ckptd.store.records import load_partials, read_only

AWAY = frozenset({"missing", "partial", "unlocked", "damaged"})  # what the next sync or repair fetches
STATUS = Path("/proc/self/status")


def store(workplace: Workplace) -> list[Finding]:
    """What there is to say of the store's folders. Blocks. Raises OSError."""
    places = workplace.places
    facts = Store(str(places.store), str(places.state), _me(), locked=len(workplace.lock.entries))
    try:
        top, state = _folder(places.store), _folder(places.state)
    except OSError as error:
        problem = f"{places.store} cannot be looked at: {os.strerror(error.errno or 0)}"
        return doctor_store.judge(replace(facts, problem=problem))
    if top is None:
        return doctor_store.judge(facts)
    modes, groups = _unlike(workplace)
    return doctor_store.judge(
        replace(
            facts,
            store=top,
            state=state,
            group=None if places.group is None else _group_name(places.group),
            gid=places.group,
            closed=tuple(_closed(places.store, places.group)),
            modes=modes,
            groups=groups,
            lock_path=str(places.lock),
            lock_folder=_folder(places.lock.parent),
            mount=mount_of(places.store),
        )
    )


def _me() -> Me:
    uid = os.geteuid()
    return Me(uid, _user_name(uid), frozenset({os.getegid(), *os.getgroups()}))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _folder(path: Path) -> Folder | None:
    """None where nothing stands. Raises OSError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "Not a directory")
    return Folder(
        path=str(path),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        owner=_user_name(found.st_uid),
        group=_group_name(found.st_gid),
        device=found.st_dev,
        writable=os.access(path, os.W_OK | os.X_OK, effective_ids=True),
    )


def _closed(path: Path, group: int | None) -> Iterator[str]:
    """The folders on the way to `path`, itself too, that neither everybody nor the store's group may enter."""
    for folder in (path, *path.parents):
        found = folder.stat()
        if not found.st_mode & stat.S_IXOTH and not (found.st_mode & stat.S_IXGRP and found.st_gid == group):
            yield str(folder)


def _unlike(workplace: Workplace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is locked, and there, and has another mode or group than it should."""
    places, modes, groups = workplace.places, [], []
    for entry in workplace.lock.entries.values():
        if entry.name in places.watched:
            continue  # its modes are whoever's business who keeps it
        try:
            file = places.folder(entry.name) / file_name(entry.url)
        except ValueError:
            continue
        for path, wanted in ((file, FILE_MODE), (file.parent, MODE if places.group is None else SHARED_MODE)):
            try:
                found = path.lstat()
            except OSError:
                continue
            if stat.S_ISLNK(found.st_mode):
                continue
            if stat.S_IMODE(found.st_mode) != wanted:
                modes.append(str(path))
            if places.group is not None and found.st_gid != places.group:
                groups.append(str(path))
    return tuple(modes), tuple(groups)


def filesystem(workplace: Workplace) -> list[Finding]:
    """What the filesystem can do, by trying. Blocks, for at most `probe.DEADLINE` seconds. Raises OSError."""
    places = workplace.places
    if not places.state.is_dir():
        why = "the state folder is not there yet"
        return doctor_filesystem.judge(Filesystem(untried=why, mend="ckptd sync, then ckptd doctor again"))
    mount = mount_of(places.state)
    facts = Filesystem(
        mount=mount,
        network=mount.kind in NETWORK_FILESYSTEMS,
        hostname=socket.gethostname(),
        umask=_umask(),
    )
    try:
        return doctor_filesystem.judge(replace(facts, abilities=probe.probe(places.state, places.group)))
    except CkptdError as error:
        owner = places.state.stat().st_uid
        mend = error.hint if os.geteuid() in {0, owner} else f"sudo -u {_user_name(owner)} ckptd doctor"
        return doctor_filesystem.judge(replace(facts, untried=error.message, mend=mend))


def _umask() -> int:
    """Read, and not set for a moment to find it out: other threads make files."""
    for line in STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0


def space(workplace: Workplace) -> list[Finding]:
    """What is free, what is to come, what could go. Blocks. Raises CkptdError, OSError."""
    places, manifest = workplace.places, workplace.manifest
    # Until the store is there, it will lie on the filesystem of the first folder above it.
    folder = next(each for each in (places.store, *places.store.parents) if each.exists())
    found = os.statvfs(folder)
    missing, unsized = _missing(workplace)
    rules = Rules(quarantine_age=manifest.verify.quarantine_age)
    plan = decide(prune.look(workplace), rules) if places.store.is_dir() else None
    return doctor_space.judge(
        Space(
            path=str(places.store),
            free=found.f_bavail * found.f_frsize,
            keep_free=places.keep_free,
            missing=missing,
            unsized=unsized,
            files=found.f_favail if found.f_files else None,
            quarantine=sum(each.bytes for each in quarantine.listed(places) if not each.held),
            quarantine_size=manifest.verify.quarantine_size,
            leftover_things=0 if plan is None else len(plan.items),
            leftover_bytes=0 if plan is None else plan.bytes,
        )
    )


def _missing(workplace: Workplace) -> tuple[int, int]:
    """Bytes that are still to be written, and how many checkpoints there are of which no size is known."""
    places = workplace.places
    files: dict[str, Path] = {}
    connection = read_only(places.database)
    if connection is not None:
        with closing(connection), suppress(sqlite3.Error):
            files = {name: places.partials / each.file for name, each in load_partials(connection).items()}
    missing = unsized = 0
    for each in standings(workplace, inventory.records(places)):
        if each.outcome.state not in AWAY:
            continue
        if each.outcome.size is None:
            unsized += 1
            continue
        missing += max(0, each.outcome.size - _allocated(files.get(each.outcome.name)))
    return missing, unsized


def _allocated(path: Path | None) -> int:
    """Bytes that are taken from the filesystem already; a download reserves all of its own when it begins."""
    try:
        return 0 if path is None else path.lstat().st_blocks * 512
    except OSError:
        return 0

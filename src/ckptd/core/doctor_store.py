"""What `doctor` says of the store: its folders, who may write and read there. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote

from ckptd.core.abilities import Mount
from ckptd.core.doctor import ELSEWHERE, Area, Finding, listed

AREA = Area("store", status=5)
MODE, SHARED_MODE, FILE_MODE = 0o755, 0o2755, 0o444
WORLD_WRITABLE, STICKY = 0o002, 0o1000
MOST = 5  # paths in one command


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it is; `writable` by who runs us."""

    path: str
    mode: int
    uid: int
    gid: int
    owner: str
    group: str
    device: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Me:
    """Who runs us."""

    uid: int
    name: str
    gids: frozenset[int]

    def is_owner(self, folder: Folder) -> bool:
        """Whether the folder ought to be writable for us."""
        return self.uid in {0, folder.uid}


@dataclass(frozen=True, slots=True)
class Store:
    """Facts. `problem` says why the store could not be looked at."""

    path: str
    state_path: str
    me: Me
    store: Folder | None = None
    state: Folder | None = None
    problem: str = ""
    locked: int = 0  # checkpoints in the lock
    group: str | None = None
    gid: int | None = None
    closed: tuple[str, ...] = ()  # folders above it that its users cannot pass
    modes: tuple[str, ...] = ()  # of files and folders in it that are not as they should be
    groups: tuple[str, ...] = ()
    lock_path: str = ""
    lock_folder: Folder | None = None
    mount: Mount = field(default_factory=Mount)


def judge(facts: Store) -> list[Finding]:
    """Everything there is to say of the store."""
    if facts.problem:
        return [AREA.bad("store", facts.problem, "run it as the owner of the store, or mend the modes of its folders")]
    if facts.store is None:
        return [_missing(facts)]
    findings = [AREA.ok("store", f"{facts.path} on {facts.mount.kind or 'an unknown filesystem'}")]
    findings += _kept_where(facts)
    findings += _state(facts, facts.store)
    findings += _writable(facts)
    findings += _shared(facts, facts.store)
    return findings


def _missing(facts: Store) -> Finding:
    if facts.locked:
        text = f"{facts.path} is not there, although the lock names {facts.locked} checkpoints"
        return AREA.bad("store", text, f"is its filesystem mounted? findmnt --target {quote(facts.path)}")
    return AREA.warn("store", f"{facts.path} is not there yet", "ckptd sync")


def _kept_where(facts: Store) -> Iterator[Finding]:
    """Filesystems that forget."""
    where = {
        "tmpfs": "in memory, and is gone when the machine stops",
        "ramfs": "in memory, and is gone when the machine stops",
        "overlay": "in a layer, as of a container, and is gone when that goes",
    }.get(facts.mount.kind)
    if where is not None:
        yield AREA.warn("durable", f"{facts.path} lies {where}", ELSEWHERE)


def _state(facts: Store, store: Folder) -> Iterator[Finding]:
    if facts.state is None:
        yield AREA.warn("state", f"{facts.state_path} is not there yet", "ckptd sync")
    elif facts.state.device != store.device:
        text = f"{facts.state_path} is on another filesystem than {facts.path}: nothing can be renamed into place"
        yield AREA.bad("state", text, "put [store] state on the filesystem of [store] path")
    else:
        yield AREA.ok("state", f"{facts.state_path} is on the same filesystem")


def _writable(facts: Store) -> Iterator[Finding]:
    if "ro" in facts.mount.options:
        point = quote(facts.mount.point or facts.path)
        yield AREA.bad("writable", f"{facts.path} is mounted read-only", f"mount -o remount,rw {point}")
        return
    folders = [each for each in (facts.store, facts.state) if each is not None]
    strange = next((each for each in folders if not facts.me.is_owner(each)), None)
    if strange is not None:
        text = f"{strange.path} belongs to {strange.owner}, and you are {facts.me.name}: to write is not for you"
        yield AREA.ok("writable", text)
        return
    closed = [each for each in folders if not each.writable]
    for each in closed:
        yield AREA.bad("writable", f"{each.path} cannot be written to", f"chmod u+rwx {quote(each.path)}")
    if not closed:
        yield AREA.ok("writable", f"{facts.me.name} can write to it")
    beside = facts.lock_folder
    if beside is not None and not beside.writable:
        text = f"the lock {facts.lock_path} cannot be replaced: {beside.path} cannot be written to"
        yield AREA.bad("lock-folder", text, f"put [store] lock where {facts.me.name} can write, or mend that folder")


def _shared(facts: Store, store: Folder) -> Iterator[Finding]:
    """Modes and group: what others can read, and nobody else write."""
    for each in (store, facts.state):
        if each is not None and each.mode & WORLD_WRITABLE and not each.mode & STICKY:
            text = f"{each.path} is writable by everybody: anyone could plant files in it"
            yield AREA.bad("open", text, f"chmod o-w {quote(each.path)}")
    wanted = MODE if facts.gid is None else SHARED_MODE
    if store.mode != wanted and not store.mode & WORLD_WRITABLE:
        text = f"{store.path} has mode {store.mode:04o} in the place of {wanted:04o}"
        yield AREA.warn("mode", text, f"chmod {wanted:04o} {quote(store.path)}")
    if facts.gid is not None:
        yield from _group(facts, store, facts.gid)
    if facts.closed:
        text = f"others cannot get to the store: {listed(facts.closed)} cannot be entered"
        yield AREA.warn("way", text, f"chmod o+x {_paths(facts.closed)}")
    if facts.modes:
        text = f"not of the mode that they should have: {listed(facts.modes)}"
        yield AREA.warn("file-modes", text, f"chmod 0444 (files) or {wanted:04o} (folders) {_paths(facts.modes)}")
    if facts.groups:
        text = f"not of the group {facts.group}: {listed(facts.groups)}"
        yield AREA.warn("file-groups", text, f"chgrp {quote(facts.group or '')} {_paths(facts.groups)}")
    if not facts.modes and not facts.groups:
        yield AREA.ok("file-modes", f"what is locked has mode 0444{f' and group {facts.group}' if facts.group else ''}")


def _group(facts: Store, store: Folder, gid: int) -> Iterator[Finding]:
    group = quote(facts.group or "")
    if store.gid != gid:
        text = f"{store.path} belongs to group {store.group}, [store] group is {facts.group}"
        yield AREA.warn("group", text, f"chgrp {group} {quote(store.path)} && chmod 2755 {quote(store.path)}")
    elif facts.me.uid and facts.me.is_owner(store) and gid not in facts.me.gids:
        text = f"{facts.me.name} is not in the group {facts.group}, and so cannot give files to it"
        yield AREA.bad(
            "group", text, f"usermod -aG {group} {quote(facts.me.name)}, then log in again or restart the service"
        )
    else:
        yield AREA.ok("group", f"it belongs to the group {facts.group}")


def _paths(paths: tuple[str, ...]) -> str:
    return " ".join(quote(path) for path in paths[:MOST])

"""What `doctor` says of the filesystem of a store: what it can do, as far as that was tried. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ckptd.core.abilities import Ability, Mount, Trial
from ckptd.core.doctor import ELSEWHERE, Area, Finding, listed

AREA = Area("filesystem", status=5)


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Facts. `untried` says why nothing could be tried, `mend` what to do about that.

    `network`: other machines may have it mounted, too.
    """

    mount: Mount = field(default_factory=Mount)
    network: bool = False
    hostname: str = ""
    umask: int = 0o022
    abilities: Mapping[Ability, Trial] = field(default_factory=dict)
    untried: str = ""
    mend: str = ""


_GOOD: Mapping[Ability, str] = {
    Ability.RENAME: "a name changes its file in one step, and who has the old one open keeps it",
    Ability.EXCHANGE: "two names change places in one step",
    Ability.FSYNC: "files can be synced",
    Ability.FSYNC_FOLDER: "folders can be synced",
    Ability.LOCKS: "a lock that one process has is refused to another, and free when that is killed",
    Ability.DATABASE: "SQLite works on it",
    Ability.FALLOCATE: "space can be reserved",
    Ability.REFLINK: "files can share blocks: a repair copies nothing",
    Ability.HARD_LINKS: "a file can have two names",
    Ability.DIRECT: "reading past the page cache works: what is verified comes from the disk",
    Ability.MINCORE: "the kernel tells which pages are in the page cache (mincore)",
    Ability.CACHESTAT: "the kernel tells how much is in the page cache (cachestat)",
    Ability.VERITY: "fs-verity can be had",
}
# What is lacking without harm, or with little; all others are needed.
_HARMLESS: Mapping[Ability, str] = {
    Ability.EXCHANGE: "two names cannot change places: while a tree is replaced, there is none for an instant",
    Ability.FALLOCATE: "space cannot be reserved: a disk that is too small shows in the middle of a download",
    Ability.REFLINK: "files cannot share blocks: a repair copies the file",
    Ability.HARD_LINKS: "a file cannot have two names: archives with hard links cannot be unpacked as they are",
    Ability.CACHESTAT: "no cachestat (Linux 6.5 has it); mincore does as well",
    Ability.VERITY: "no fs-verity; nothing of ckptd needs it",
}
_NEEDED: Mapping[Ability, tuple[str, str]] = {
    Ability.RENAME: ("a name does not change its file in one step: nothing can be published safely", ELSEWHERE),
    Ability.FSYNC: ("files cannot be synced: what was published may be lost with the power", ELSEWHERE),
    Ability.LOCKS: (
        "file locks do not keep a second ckptd out",
        "mount it with locks (Lustre: -o flock, NFS: without nolock), or put [store] state where they work",
    ),
    Ability.DATABASE: ("SQLite does not work on it", ELSEWHERE),
}


def judge(facts: Filesystem) -> list[Finding]:
    """Everything there is to say of the filesystem."""
    findings = list(_between_machines(facts))
    if facts.untried:
        text = f"what the filesystem can do was not tried: {facts.untried}"
        return [*findings, AREA.unknown("trials", text, facts.mend)]
    return findings + [_ability(facts, ability, trial) for ability, trial in facts.abilities.items()]


def _ability(facts: Filesystem, ability: Ability, trial: Trial) -> Finding:
    detail = f" ({trial.detail})" if trial.detail else ""
    if trial.works is None:
        return AREA.unknown(ability, f"{ability} could not be tried{detail}")
    if ability is Ability.MODES:
        return _modes(facts, trial, detail)
    if trial.works:
        return AREA.ok(ability, _GOOD[ability])
    if ability in _HARMLESS:
        return AREA.ok(ability, _HARMLESS[ability])
    if ability is Ability.FSYNC_FOLDER:
        return AREA.warn(ability, f"folders cannot be synced: a new name may be lost with the power{detail}")
    if ability in {Ability.DIRECT, Ability.MINCORE}:
        other = facts.abilities.get(Ability.MINCORE if ability is Ability.DIRECT else Ability.DIRECT)
        if other is not None and other.works:
            return AREA.ok(ability, f"{_WITHOUT[ability]}{detail}")
        text = "what is in the page cache cannot be told, nor passed by: reading back may push out what others need"
        return AREA.warn(ability, f"{text}{detail}")
    text, mend = _NEEDED[ability]
    return AREA.bad(ability, f"{text}{detail}", mend)


_WITHOUT = {
    Ability.DIRECT: "no reading past the page cache: what reading back brought in is taken out again",
    Ability.MINCORE: "no mincore; reading goes past the page cache anyway",
}


def _modes(facts: Filesystem, trial: Trial, detail: str) -> Finding:
    if trial.works:
        return AREA.ok(
            Ability.MODES, f"modes and group are what they should be whatever the umask (it is {facts.umask:04o})"
        )
    text = f"files do not get the mode and group that they should have{detail}"
    return AREA.warn(Ability.MODES, text, "mount it so that modes and groups can be set, or take [store] group out")


def _between_machines(facts: Filesystem) -> Iterator[Finding]:
    """Locks on filesystems that several machines share cannot be tested from one of them."""
    kind, options = facts.mount.kind, facts.mount.options
    if not facts.network and not kind.startswith("fuse"):
        return
    local = options & {"nolock", "local_lock=all", "local_lock=posix", "localflock", "nobrl"}
    mend = "run ckptd for this store on one machine only; while it works, `ckptd status` on another has to say so"
    if local:
        text = f"{kind} is mounted with {listed(sorted(local))}: locks do not reach other machines"
        yield AREA.bad("machines", text, f"mount it without, or {mend}")
        return
    text = f"{kind}: that locks keep other machines out cannot be tested from one alone"
    if kind.startswith("nfs"):
        text += f", and an NFS server takes two of the same name for one (this is {facts.hostname})"
        mend = f"hostnamectl hostname NAME, another on each machine; {mend}"
    yield AREA.warn("machines", text, mend)

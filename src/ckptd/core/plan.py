"""(Manifest, Lock, Inventory) -> what to do for each checkpoint, and why. One decision, no I/O.

What a download must match is settled here (the manifest's pin, else the locked digest, else first use) and travels
with it; nobody downstream looks it up again.
"""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.core.models import Checkpoint, LockEntry, Trust, Witness
from ckptd.core.ranges import Span
from ckptd.core.urls import strip_for_lock

CONDEMNED = "it was damaged when it was last verified"
PIN = "manifest-sha256"  # how the lock names the manifest's own pin among the witnesses


@dataclass(frozen=True, slots=True)
class Found:
    """What lies under a checkpoint's final name.

    `unchanged`: size, inode and times are those recorded when its bytes were last proven to be `sha256`. `pending`:
    it was published, and the run ended before its lock entry was written. `condemned`: when it was last read, its bytes
    were not `sha256`.
    """

    size: int
    sha256: str | None = None
    unchanged: bool = False
    pending: bool = False
    condemned: bool = False


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the bytes must be. `pinned` says that the manifest asks for it, otherwise the lock does."""

    sha256: str | None = None
    size: int | None = None
    pinned: bool = False
    locked: LockEntry | None = None

    @property
    def digest_known(self) -> bool:
        """Whether a SHA-256 decides in the end."""
        return self.sha256 is not None


@dataclass(frozen=True, slots=True)
class Keep:
    """Everything is as it should be."""

    reason: str = "present"


@dataclass(frozen=True, slots=True)
class Relock:
    """The bytes are right and known; only the lock's entry changes (a pin or a URL was added)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """Bytes are there; read them before they are believed. `adopt`: there is no lock entry yet."""

    reason: str
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download. `mends`: what is there is known to be wrong."""

    reason: str
    mends: bool = False


@dataclass(frozen=True, slots=True)
class Mend:
    """Make a damaged file good again: `damage` is fetched, the rest is taken from the file itself.

    `flips` are offsets of bytes and the bits of each that are the wrong way round: no fetching, if that proves right.
    """

    reason: str
    damage: tuple[Span, ...]
    flips: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take the bytes of a file of `size` bytes that is elsewhere on this machine, if something vouches for them.

    `link`: as a hard link, so that both names share the bytes; else as a copy.
    """

    reason: str
    path: str
    size: int
    witnesses: tuple[Witness, ...] = ()
    link: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """Manifest and lock disagree, and only `ckptd update` may settle that."""

    message: str


@dataclass(frozen=True, slots=True)
class Distrust:
    """The bytes are those that are locked, and the policy asks for more than vouches for them."""

    message: str


@dataclass(frozen=True, slots=True)
class Amiss:
    """What is there is `missing` or damaged, and not to be replaced: it is watched in place, or the policy keeps it."""

    message: str
    hint: str
    missing: bool


Action = Keep | Relock | Check | Fetch | Mend | Adopt | Conflict | Distrust | Amiss


def expectation(checkpoint: Checkpoint, entry: LockEntry | None) -> Expectation:
    """What the bytes of `checkpoint` must be: pin before lock before first use."""
    if checkpoint.sha256 is not None:
        return Expectation(checkpoint.sha256, checkpoint.size, pinned=True, locked=entry)
    if entry is not None:
        return Expectation(entry.sha256, entry.size, locked=entry)
    return Expectation(None, checkpoint.size)


def decide(
    checkpoint: Checkpoint,
    entry: LockEntry | None,
    found: Found | None,
    require: Trust = Trust.FIRST_USE,
    *,
    keep: bool = False,
) -> Action:
    """What to do for one checkpoint, and why.

    `require`: the least trust that the policy allows. `keep`: what is damaged stays as it is until somebody mends it.
    """
    action = _decide(checkpoint, entry, found)
    if isinstance(action, Fetch) and checkpoint.in_place is not None:
        action = _in_place(checkpoint, expectation(checkpoint, entry), found, action.reason)
    elif isinstance(action, Fetch) and keep and entry is not None and action.mends:
        action = kept_damaged(checkpoint.name, action.reason)
    if entry is not None and isinstance(action, Keep | Relock):
        trust = relocked(checkpoint, entry).trust
        if trust.rank > require.rank:
            return Distrust(f"it is locked as {trust}, [policy] require is {require}")
    return action


def _decide(checkpoint: Checkpoint, entry: LockEntry | None, found: Found | None) -> Action:
    conflict = _conflict(checkpoint, entry)
    if conflict is not None:
        return conflict
    wanted = expectation(checkpoint, entry)
    if found is None:
        return Fetch("its file is missing" if entry is not None else "new")
    if entry is None:
        return _unlocked(wanted, found)
    if found.pending and found.unchanged and found.sha256 != entry.sha256 and checkpoint.sha256 is None:
        return Check("updated, but not locked yet", adopt=True)
    if found.size != entry.size:
        return Fetch(f"its file has {found.size} bytes instead of {entry.size}", mends=True)
    if strip_for_lock(checkpoint.url) != entry.url and not wanted.pinned:
        return Fetch("its URL changed: the new one must serve the locked bytes")
    if not (found.unchanged and found.sha256 == entry.sha256):
        return Check(CONDEMNED if found.condemned else "its file was touched since it was last verified")
    if relocked(checkpoint, entry) != entry:
        return Relock("the manifest pins what is locked")
    return Keep()


def decide_update(checkpoint: Checkpoint, found: Found | None) -> Action:
    """What to do where whatever is served now is to be accepted; of a file that is watched in place, what it is now."""
    action = Fetch("update")
    if checkpoint.in_place is None:
        return action
    return _in_place(checkpoint, expectation(checkpoint, None), found, action.reason)


def _in_place(checkpoint: Checkpoint, wanted: Expectation, found: Found | None, reason: str) -> Check | Amiss:
    """What becomes of a download where the file is somebody else's: it is read, and never replaced."""
    hint = in_place_hint(checkpoint.name)
    if found is None:
        return Amiss(f"{checkpoint.in_place} is watched in place, and is not there", hint, missing=True)
    if wanted.size is not None and found.size != wanted.size:
        message = f"{checkpoint.in_place}, which is watched in place, has {found.size} bytes instead of {wanted.size}"
        return Amiss(message, hint, missing=False)
    reason = "a file that is watched in place, and not locked yet" if wanted.locked is None else reason
    return Check(reason, adopt=wanted.locked is None)


def kept_damaged(name: str, reason: str) -> Amiss:
    """What becomes of a damaged file where `[verify] on_damage` is "keep"."""
    message = f'{reason}; it was left as it is ([verify] on_damage is "keep")'
    return Amiss(message, f"`ckptd verify --repair {name}` mends it", missing=False)


def in_place_hint(name: str) -> str:
    """What to do about a file that is watched in place and is not as it should be."""
    other = f"take in_place out of its entry, and `ckptd sync {name}` fetches it"
    return f"it is never written: restore it there; or {other}"


def _conflict(checkpoint: Checkpoint, entry: LockEntry | None) -> Conflict | None:
    if entry is None:
        return None
    if checkpoint.sha256 is not None and checkpoint.sha256 != entry.sha256:
        return Conflict(f"the manifest pins sha256 {checkpoint.sha256}, locked is {entry.sha256}")
    if checkpoint.size is not None and checkpoint.size != entry.size:
        return Conflict(f"the manifest pins {checkpoint.size} bytes, locked are {entry.size}")
    return None


def _unlocked(wanted: Expectation, found: Found) -> Action:
    if wanted.size is not None and found.size != wanted.size:
        return Fetch(f"a file of {found.size} bytes is there instead of {wanted.size}", mends=True)
    if wanted.digest_known:
        return Check("a file is there that the lock does not name", adopt=True)
    if found.sha256 is not None:
        # Published, but the run ended before its lock entry was written.
        return Check("published, but not locked yet", adopt=True)
    return Fetch("a file is there that nobody vouches for")


def relocked(checkpoint: Checkpoint, entry: LockEntry) -> LockEntry:
    """`entry` as it should read for `checkpoint`, given that the bytes are the locked ones."""
    trust, witnesses = entry.trust, set(entry.witnesses)
    if checkpoint.sha256 == entry.sha256:
        trust = Trust.PINNED
        witnesses.add(PIN)
    elif trust is Trust.PINNED:
        # The pin was taken out of the manifest: what is left is what others vouch for.
        witnesses.discard(PIN)
        trust = Trust.WITNESSED if witnesses else Trust.FIRST_USE
    return LockEntry(
        name=entry.name,
        url=strip_for_lock(checkpoint.url),
        size=entry.size,
        sha256=entry.sha256,
        trust=trust,
        witnesses=tuple(sorted(witnesses)),
        pieces=entry.pieces,
        revision=entry.revision if strip_for_lock(checkpoint.url) == entry.url else None,
    )

"""Are these the bytes that were promised? (Expectation, digests, witnesses) -> Proven or Mismatch. No I/O.

The order of belief: the manifest's sha256, then the locked one, then what the origin publishes. A witness that
disagrees fails the attempt even where nothing is pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ckptd.core.models import LockEntry, Trust, Witness
from ckptd.core.plan import PIN, Expectation
from ckptd.core.response import unasked_coding
from ckptd.core.witness import agreed, disagreement, trust_of
from ckptd.errors import CkptdError, DriftError, IntegrityError, OriginError, PolicyError

LINKED = "x-linked-etag"  # how a witness by the Hugging Face Hub is called


class Promise(Enum):
    """Which promise was broken, by who made it."""

    PIN = "pin"
    LOCK = "lock"
    WITNESS = "witness"
    CODING = "coding"  # of nobody: a body that was coded on the way, as it turned out


@dataclass(frozen=True, slots=True)
class Proven:
    """The bytes are what was promised, as far as anybody promised anything."""

    sha256: str
    trust: Trust
    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The bytes are not what `promise` says; `actual` identifies them (a sha256, or a size)."""

    promise: Promise
    message: str
    actual: str


class BrokenPromiseError(IntegrityError):
    """An origin announces what cannot be what was promised; whether that is drift or worse, `after_mismatches` says."""

    def __init__(self, mismatch: Mismatch, who: str) -> None:
        super().__init__(f"{who} {mismatch.message}")
        self.mismatch = mismatch


def prove_size(expected: Expectation, size: int) -> Mismatch | None:
    """Whether a file of `size` bytes can be what is expected, before a byte of it is fetched."""
    if expected.size is None or expected.size == size:
        return None
    promise = Promise.PIN if expected.pinned or expected.locked is None else Promise.LOCK
    who = "the manifest asks for" if promise is Promise.PIN else "locked are"
    return Mismatch(promise, f"has {size} bytes, {who} {expected.size}", f"{size} bytes")


def prove_announced(expected: Expectation, witnesses: Sequence[Witness]) -> Mismatch | None:
    """Whether what the Hugging Face Hub says of a file can be what is expected, before a byte of it is fetched.

    `X-Linked-Etag` is the hub's name for the stored file. Other digests are compared with the bytes: what sends them
    may have made them up on the way.
    """
    said = next((each.value.hex() for each in witnesses if each.source == LINKED and each.algorithm == "sha256"), None)
    if said is None or expected.sha256 is None or said == expected.sha256:
        return None
    promise = Promise.PIN if expected.pinned else Promise.LOCK
    who = "manifest" if expected.pinned else "lock"
    return Mismatch(promise, f"serves sha256 {said}, the {who} says {expected.sha256}", said)


def prove(
    expected: Expectation, size: int, digests: Mapping[str, bytes], witnesses: Sequence[Witness]
) -> Proven | Mismatch:
    """Judge a whole file by its `digests` (by algorithm, `sha256` among them)."""
    sha256 = digests["sha256"].hex()
    wrong_size = prove_size(expected, size)
    if wrong_size is not None:
        return wrong_size
    if expected.sha256 is not None and sha256 != expected.sha256:
        promise = Promise.PIN if expected.pinned else Promise.LOCK
        who = "manifest" if expected.pinned else "lock"
        return Mismatch(promise, f"sha256 is {sha256}, the {who} says {expected.sha256}", sha256)
    wrong = disagreement(witnesses, digests)
    if wrong:
        first = wrong[0]
        return Mismatch(
            Promise.WITNESS,
            f"{first.source} says {first.value.hex()}, the bytes give {digests[first.algorithm].hex()}",
            sha256,
        )
    proof = _proven(sha256, set(agreed(witnesses, digests)), pinned=expected.pinned)
    return still_vouched(proof, expected.locked)


def still_vouched(proof: Proven, entry: LockEntry | None) -> Proven:
    """`proof` with what vouched for the same bytes when they were locked as `entry`: an update forgets no witness."""
    if entry is None or entry.sha256 != proof.sha256:
        return proof
    return _proven(proof.sha256, {*proof.witnesses, *entry.witnesses}, pinned=proof.trust is Trust.PINNED)


def demotion(before: LockEntry | None, after: LockEntry, why: str) -> tuple[str, ...]:
    """What is to be said where the lock trusts a checkpoint less than before: never silently."""
    if before is None or after.trust.rank <= before.trust.rank:
        return ()
    return (f"trust goes down from {before.trust} to {after.trust}: {why}",)


def _proven(sha256: str, labels: set[str], *, pinned: bool) -> Proven:
    others = labels - {PIN}
    trust = trust_of(pinned, tuple(sorted(others)))
    return Proven(sha256, trust, tuple(sorted(others | {PIN} if pinned else others)))


def coded_on_the_way(wrong: Mismatch, coding: str) -> Mismatch:
    """What a mismatch means where the body came under a coding that only the right SHA-256 would have excused."""
    return Mismatch(Promise.CODING, unasked_coding(coding), wrong.actual) if coding else wrong


def after_mismatches(name: str, found: Sequence[Mismatch], sources: int) -> CkptdError | None:
    """What `found`, one mismatch a fetch, amounts to; None: fetch once more, it may have been the way here.

    Every source is asked once, and the only one twice. The same other bytes each time, where a lock and no pin
    speaks against them, are what the origin now serves: drift. Anything else is damage or deceit.
    """
    if len(found) < max(2, sources):
        return None
    last = found[-1]
    if last.promise is Promise.CODING:
        return OriginError(f"the origin {last.message}")
    if last.promise is Promise.LOCK and len({each.actual for each in found}) == 1:
        return DriftError(
            f"the origin now serves other bytes: {last.message}",
            hint=f"lock and store stay as they are; `ckptd update {name}` accepts the new bytes",
        )
    if last.promise is Promise.LOCK:
        return IntegrityError(f"fetched {len(found)} times, never the locked bytes: {last.message}")
    return IntegrityError(
        f"fetched {len(found)} times, and the bytes are not what was promised: {last.message}",
        hint="the origin, a mirror or the way here alters them, or the promise is out of date",
    )


def admissible(proof: Proven, require: Trust, *, confirmed: bool, expected: Expectation) -> CkptdError | None:
    """Why proven bytes may not be published all the same; None when they may.

    `confirmed`: something said where the body ends. Without that a connection cut short looks complete (RFC 9112
    section 8), and only a digest from elsewhere can tell.
    """
    vouched = expected.digest_known or proof.trust is not Trust.FIRST_USE
    if not confirmed and not vouched:
        return OriginError(
            "the origin does not say how long the file is, and nothing else vouches that it is whole",
            hint="pin its size or sha256 in the manifest",
        )
    if proof.trust.rank > require.rank:
        return PolicyError(
            f"its trust would be {proof.trust}, [policy] require is {require}",
            hint="pin its sha256 in the manifest" if require is Trust.PINNED else "pin it, or find a better origin",
        )
    return None

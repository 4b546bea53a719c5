"""What a server already has: which files name their own digest, and which checkpoint of the manifest a file could be.

Decides from names and sizes; whether the bytes are right is seen when they are read. The stores of others that are
understood: Hugging Face caches (a blob is named after its SHA-256, a small one after its git object), Ollama
(`sha256-<64 hex>`), torch hub (`name-<8 hex>.pth`: the beginning of its SHA-256).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ckptd.core.models import Checkpoint, LockEntry

_HUGGING_FACE = re.compile(r"(?:.*/)?blobs/([0-9a-f]{64})")
_GIT = re.compile(r"(?:.*/)?blobs/([0-9a-f]{40})")
_OLLAMA = re.compile(r"(?:.*/)?sha256[-:]([0-9a-f]{64})")
_TORCH = re.compile(r".*-([0-9a-f]{8})\.(?:pth|pt|pth\.tar|zip)")


class Digest(StrEnum):
    """Of what kind the digest in a file's name is."""

    SHA256 = "sha256"
    SHA256_PREFIX = "sha256-prefix"
    GIT = "git-blob"  # SHA-1 over "blob <size>\\0" and the bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file's own name says its bytes are; `store` whose way of naming that is."""

    digest: Digest
    value: str
    store: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A file that could be taken in: where it is, under which names it is known, how many bytes it has. `paths` are all
    that lead to it, links among them."""

    path: str
    names: tuple[str, ...]
    size: int
    paths: tuple[str, ...] = ()

    @property
    def claim(self) -> Claim | None:
        """What its name says of its bytes."""
        return claim_of(self.path)


def claim_of(path: str) -> Claim | None:
    """The digest in the name of a file of somebody's store; None where there is none."""
    for pattern, digest, store in (
        (_HUGGING_FACE, Digest.SHA256, "Hugging Face"),
        (_GIT, Digest.GIT, "Hugging Face"),
        (_OLLAMA, Digest.SHA256, "Ollama"),
        (_TORCH, Digest.SHA256_PREFIX, "torch hub"),
    ):
        found = pattern.fullmatch(path)
        if found is not None:
            return Claim(digest, found[1], store)
    return None


def holds(claim: Claim, sha256: str, git: str) -> bool:
    """Whether bytes of these digests are what the name says."""
    match claim.digest:
        case Digest.SHA256:
            return sha256 == claim.value
        case Digest.SHA256_PREFIX:
            return sha256.startswith(claim.value)
        case Digest.GIT:
            return git == claim.value


def wanted_by(
    offered: Offered, checkpoints: Iterable[Checkpoint], locked: dict[str, LockEntry], missing: Sequence[str]
) -> tuple[Checkpoint, ...]:
    """The checkpoints among `missing` names that this file could be: by its digest, or by its name and size."""
    claim = offered.claim
    said = claim.value if claim is not None and claim.digest is Digest.SHA256 else None
    return tuple(
        checkpoint
        for checkpoint in checkpoints
        if checkpoint.name in missing and _fits(offered, checkpoint, locked.get(checkpoint.name), said)
    )


def called(offered: Offered, checkpoint: Checkpoint) -> str:
    """The path by which a file is to be known as that of a checkpoint: one that ends as its URL does, since what reads
    weights goes by their ending; else where it is."""
    return next((path for path in offered.paths if path.rpartition("/")[2] == checkpoint.file_name), offered.path)


def _fits(offered: Offered, checkpoint: Checkpoint, entry: LockEntry | None, said: str | None) -> bool:
    sha256 = checkpoint.sha256 or (entry.sha256 if entry is not None else None)
    size = checkpoint.size or (entry.size if entry is not None else None)
    if size is not None and size != offered.size:
        return False
    if said is not None and sha256 is not None:
        return said == sha256
    return checkpoint.file_name in offered.names

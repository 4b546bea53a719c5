"""Digests over bytes in order: SHA-256, the witnesses' algorithms, and BLAKE3 of every 16 MiB piece.

Plain objects without threads or files; `store.partials` and `store.scrub` drive them off the event loop (all of the
libraries behind release the GIL for a megabyte at a time).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

import google_crc32c
from blake3 import blake3

from ckptd.core.models import BLOCK, PIECE

DIGEST_SIZE = 32  # bytes of one piece's digest
SLOW = ("md5", "sha1", "sha512")  # each costs as much as SHA-256 or more: they get a thread of their own


class Hasher(Protocol):
    """What hashlib's objects can do."""

    def update(self, data: memoryview, /) -> object:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """The digest so far."""
        ...


class Pieces:
    """BLAKE3 of every `PIECE` bytes of a stream; the last piece may be shorter, an empty stream has none."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._current = blake3()
        self._room = PIECE

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes, of any length."""
        at = 0
        while at < len(data):
            part = data[at : at + self._room]
            self._current.update(part)
            at += len(part)
            self._room -= len(part)
            if self._room == 0:
                self._done.append(self._current.digest())
                self._current, self._room = blake3(), PIECE

    def digest(self) -> bytes:
        """The piece table: the digests of all pieces, one after another."""
        last = [self._current.digest()] if self._room < PIECE else []
        return b"".join([*self._done, *last])


class Crc32c:
    """CRC-32C with hashlib's face; the digest is big-endian, as in `x-goog-hash`."""

    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""
        self._sum = google_crc32c.extend(self._sum, bytes(data))  # the library takes bytes only

    def digest(self) -> bytes:
        """Four bytes."""
        return self._sum.to_bytes(4, "big")


class Blocks:
    """CRC-32C of every `BLOCK` bytes of a stream, big-endian: a hint where in a piece damage is, never a proof."""

    def __init__(self) -> None:
        self._done = bytearray()
        self._sum = 0
        self._room = BLOCK

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes, of any length."""
        at = 0
        while at < len(data):
            part = data[at : at + self._room]
            self._sum = google_crc32c.extend(self._sum, bytes(part))
            at += len(part)
            self._room -= len(part)
            if self._room == 0:
                self._done += self._sum.to_bytes(4, "big")
                self._sum, self._room = 0, BLOCK

    def digest(self) -> bytes:
        """The sums of all blocks, one after another; the last block may be shorter."""
        return bytes(self._done) + (self._sum.to_bytes(4, "big") if self._room < BLOCK else b"")


class Bundle:
    """Several digests of the same stream, fed by one thread."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashers: dict[str, Hasher] = {name: _make(name) for name in algorithms}

    @property
    def algorithms(self) -> frozenset[str]:
        """What is computed."""
        return frozenset(self._hashers)

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def digests(self) -> dict[str, bytes]:
        """Every digest by its algorithm; `pieces` and `blocks` are whole tables."""
        return {name: hasher.digest() for name, hasher in self._hashers.items()}


def _make(algorithm: str) -> Hasher:
    if algorithm == "pieces":
        return Pieces()
    if algorithm == "blocks":
        return Blocks()
    if algorithm == "crc32c":
        return Crc32c()
    return hashlib.new(algorithm, usedforsecurity=False)


ALWAYS = frozenset({"sha256", "pieces", "blocks"})


def others(digests: Mapping[str, bytes]) -> dict[str, str]:
    """Of what was computed, the digests that a witness asked for, by algorithm, in hex."""
    return {name: value.hex() for name, value in digests.items() if name not in ALWAYS}


def bundles(algorithms: Iterable[str]) -> list[Bundle]:
    """`algorithms` divided over as many threads as pays; those that are not ours to compute are left out."""
    wanted = frozenset(algorithms)
    quick = wanted & (ALWAYS | {"crc32c"})
    return [Bundle(sorted(names)) for names in (quick, *({name} for name in SLOW if name in wanted)) if names]


def pieces_field(table: bytes) -> str:
    """What the lock says about a piece table: the algorithm, the piece's length, and the table's own digest."""
    return f"blake3:{PIECE}:{blake3(table).hexdigest()}"

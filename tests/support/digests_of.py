"""Digests as origins publish them in headers: base64, and the header values of each dialect."""

from __future__ import annotations

import base64
import hashlib
from typing import cast

import google_crc32c


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def crc32c(data: bytes) -> str:
    """As in `x-goog-hash: crc32c=...`: base64 of the four bytes, big-endian."""
    value = cast("int", google_crc32c.value(data))
    return b64(value.to_bytes(4, "big"))


def md5(data: bytes) -> str:
    return b64(hashlib.md5(data, usedforsecurity=False).digest())


def sha256(data: bytes) -> str:
    return b64(hashlib.sha256(data).digest())


def sha512(data: bytes) -> str:
    return b64(hashlib.sha512(data).digest())

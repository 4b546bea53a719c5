"""Sockets in folders whose path is longer than a socket's address may be (108 bytes, unix(7))."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 20


@contextmanager
def address(path: Path) -> Iterator[str]:
    """`path` by its open folder: an address that always fits."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def reach(caller: socket.socket, path: Path) -> None:
    """Connect `caller` to the socket at `path`; where others stand in line, wait for a while."""
    patience = caller.gettimeout()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SECONDS, 0))
    caller.settimeout(None)  # else a full line is an error at once
    with address(path) as fitting:
        caller.connect(fitting)
    caller.settimeout(patience)

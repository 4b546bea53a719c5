"""Sockets in folders whose path is longer than a socket's address may be (108 bytes, unix(7))."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def address(path: Path) -> Iterator[str]:
    """`path` by its open folder: an address that always fits."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def reach(caller: socket.socket, path: Path) -> None:
    """Connect `caller` to the socket at `path`."""
    with address(path) as fitting:
        caller.connect(fitting)

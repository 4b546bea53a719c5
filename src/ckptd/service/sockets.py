"""The daemon's Unix socket: where it is, how it is made and reached, and who is at the other end.

Paths longer than a socket address (108 bytes) are reached through their folder's descriptor. A socket that a dead
daemon left behind is removed by the next one, which owns the store and so knows that nobody else does.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ckptd.core.models import Manifest
from ckptd.core.permit import Peer
from ckptd.errors import StorageError
from ckptd.store.places import Places, storage_error

NAME = "daemon.sock"
CONNECT_SECONDS = 5.0  # for a daemon on this machine to take a connection
_PEERGROUPS = 59  # SO_PEERGROUPS of Linux 4.13
_MOST_GROUPS = 65_536  # NGROUPS_MAX of Linux
_LONGEST = 100  # bytes of a path that fit into sockaddr_un on every system
_BACKLOG = 256  # callers that wait for the event loop to get to them
_CREDENTIALS = struct.Struct("3i")


def path_of(manifest: Manifest, places: Places, manifest_path: Path) -> Path:
    """Where the daemon of this store listens."""
    if manifest.daemon.socket is not None:
        return Path(os.path.normpath(manifest_path.absolute().parent / manifest.daemon.socket))
    return places.state / NAME


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """`path` as an address that fits."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path, group: int | None) -> socket.socket:
    """A listening socket at `path`, for the owner and, if there is one, the group. The store must be ours.

    Raises StorageError. Blocks for a moment.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)  # nobody else gets in before the mode is what it should be
        try:
            with _address(path) as address:
                server.bind(address)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group, follow_symlinks=False)
            path.chmod(0o660)
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        if error.errno == errno.ENOENT:
            raise StorageError(
                f"cannot listen on {path}: its folder is not there",
                hint="make the folder, or set [daemon] socket (under systemd: RuntimeDirectory=)",
            ) from None
        raise storage_error(error, f"cannot listen on {path}") from error
    return server


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection to the daemon, or None when there is none: no socket, or nobody behind it.

    Raises StorageError when there is one and it may not be used, or does not answer.
    """
    from ckptd.core.wire import LONGEST_ANSWER  # noqa: PLC0415  # most callers stop before

    try:
        with _address(path) as address:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_unix_connection(address, limit=LONGEST_ANSWER)
    except PermissionError:
        raise StorageError(
            f"the daemon at {path} is not for you", hint="ask to be added to the store's group ([store] group)"
        ) from None
    except (TimeoutError, BlockingIOError):  # it is stopped, or its queue is full
        raise StorageError(f"the daemon at {path} does not answer", hint="look at its log, or restart it") from None
    except OSError:
        return None


def peer(connection: socket.socket) -> Peer:
    """Who is at the other end, by the kernel's word (unix(7)), with all groups."""
    known = caller(connection)
    return Peer(known.uid, known.gids | frozenset(_groups(connection)), known.pid)


def caller(connection: socket.socket) -> Peer:
    """Who is at the other end, with the first of the groups alone: quick."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(uid, frozenset({gid}), pid)


def _groups(connection: socket.socket) -> Iterable[int]:
    """All groups of the other end. Not by `socket.getsockopt`, which takes answers of 1024 bytes at most."""
    groups = (ctypes.c_uint32 * _MOST_GROUPS)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    asked = socket.SOL_SOCKET, _PEERGROUPS, ctypes.byref(groups), ctypes.byref(size)
    if ctypes.CDLL(None).getsockopt(connection.fileno(), *asked) != 0:
        return ()
    return groups[: size.value // ctypes.sizeof(ctypes.c_uint32)]

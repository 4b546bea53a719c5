"""Whether a file is open at all, by the kernel's word: also by processes of others, which /proc does not let us see.

A write lease (fcntl(2), F_SETLEASE) is granted only on a file that nobody else has open or mapped. It is given back at
once; who opens the file in that moment waits for microseconds. Says nothing about who it is: `store.holders` does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

from ckptd.store.places import NETWORK_FILESYSTEMS, filesystem_of


def is_open(path: Path) -> bool | None:
    """Whether somebody has a plain file open or mapped, in this process or another; None where that cannot be told.

    Only its owner and root may ask. On a network filesystem the answer would be about this machine alone, and NFS
    refuses leases for reasons of its own. Links are not followed. Raises OSError when the file cannot be opened.
    """
    if filesystem_of(path.parent) in NETWORK_FILESYSTEMS:
        return None
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Who opens the file while we hold the lease has us sent a signal: SIGIO would end us, SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return False

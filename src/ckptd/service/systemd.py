"""Telling systemd how we are: sd_notify(3) without a library, since it is one datagram.

Without $NOTIFY_SOCKET everything here does nothing. Never raises: who cannot tell goes on working.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from ckptd.core.urls import redact_text


def listened_to() -> bool:
    """Whether a service manager wants to know."""
    return os.environ.get("NOTIFY_SOCKET", "").startswith(("/", "@"))


def notify(*assignments: str) -> None:
    """Send `KEY=value` lines to the service manager."""
    if not listened_to():
        return
    address = os.environ["NOTIFY_SOCKET"]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto("\n".join(assignments).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def status(text: str) -> None:
    """The line that `systemctl status` shows. What runs now; no secrets."""
    notify(f"STATUS={redact_text(text)[:400]}")


def reloading() -> None:
    """A reload begins; `notify("READY=1")` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between two signs of life, a third of what the unit allows; None where nobody watches."""
    try:
        usec = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return usec / 3e6 if usec > 0 and meant == str(os.getpid()) else None

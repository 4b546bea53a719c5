"""Where lines of the log go: to the journal with their fields, or to stderr.

Writes and decides nothing about what is said. Never raises and never waits: who cannot be told is not told, and how
many lines that were is said as soon as somebody listens again.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ckptd.core import log
from ckptd.core.log import Line, Priority

SOCKET = Path("/run/systemd/journal/socket")
SHORT = 500  # characters of a message that did not fit into a datagram

Sink = Callable[[Line, bool], None]  # the line, and whether its name is a checkpoint's


def sink(environment: Mapping[str, str], stream: TextIO, path: Path = SOCKET) -> Sink:
    """Where lines go when `stream` is this process's stderr: sd_journal_print(3) if that is the journal."""
    return Journal(stream, path) if is_journal(environment.get("JOURNAL_STREAM", ""), stream) else Plain(stream)


def is_journal(named: str, stream: TextIO) -> bool:
    """Whether `stream` is what $JOURNAL_STREAM names, "device:inode" (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


class Plain:
    """Lines with the local time, for files, pipes and terminals."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._stream: TextIO | None = stream
        self._clock = clock

    def __call__(self, line: Line, checkpoint: bool) -> None:  # noqa: FBT001  # a Sink
        """Write one line."""
        del checkpoint
        stamp = datetime.fromtimestamp(self._clock()).astimezone().isoformat(timespec="seconds")
        level = "error: " if line.priority <= Priority.ERROR else "warning: "
        self.write(f"{stamp} {level if line.priority <= Priority.WARNING else ''}{log.text_of(line)}")

    def write(self, text: str) -> None:
        """Write `text` as it is; when nobody reads any more, fall silent."""
        if self._stream is None:
            return
        try:
            try:
                print(text, file=self._stream, flush=True)
            except UnicodeEncodeError:
                print(text.encode("ascii", "replace").decode(), file=self._stream, flush=True)
        except (OSError, ValueError):
            self._stream = None


class Journal:
    """Datagrams with fields to the journal at `path`; lines with a priority in front to stderr while it is away."""

    def __init__(self, stream: TextIO = sys.stderr, path: Path = SOCKET) -> None:
        self._plain = Plain(stream)
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.lost = 0

    def __call__(self, line: Line, checkpoint: bool) -> None:  # noqa: FBT001  # a Sink
        """Send one line."""
        try:
            if self.lost and self._send(log.fields(_lost(self.lost), checkpoint=False)):
                self.lost = 0
            taken = not self.lost and self._send(log.fields(line, checkpoint=checkpoint))
        except OSError:  # not there: stderr is the journal, too, or was
            self._plain.write(f"<{int(line.priority)}>{log.text_of(line)}")
            return
        self.lost += not taken

    def _send(self, values: Mapping[str, str]) -> bool:
        """Whether the journal has taken it; False when it is full. Raises OSError when it is away."""
        try:
            self._socket.sendto(log.datagram(values), self._path)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return self._send_short(values)
            if error.errno in {errno.EAGAIN, errno.ENOBUFS}:
                return False
            raise
        return True

    def _send_short(self, values: Mapping[str, str]) -> bool:
        short = {key: value[:SHORT] for key, value in values.items()}
        try:
            self._socket.sendto(log.datagram(short), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _lost(count: int) -> Line:
    return Line(Priority.WARNING, "lost", "daemon", f"the journal was full and {count} messages were lost")

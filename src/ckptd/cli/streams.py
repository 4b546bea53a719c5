"""The standard streams, whatever the caller made of them: closed, full, or gone.

What is closed is `/dev/null` from the start, so that no file that is opened later gets its number, and nothing that is
meant for a person is written into it. stdout notes when it takes no more, stderr never ends a run. Tells nobody.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Results(io.FileIO):
    """stdout. What it refuses is lost, which is noted once; a reader who has gone ends the run, as anywhere."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


class _Messages(io.FileIO):
    """stderr: what it refuses nobody can be told."""

    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


class Streams:
    """The standard streams of this process, made safe."""

    def __init__(self) -> None:
        """Open what is closed, and take `sys.stdout` and `sys.stderr`, unless somebody else has replaced them."""
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                taken = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
                os.set_inheritable(taken, True)  # noqa: FBT003  # its only signature
        self._results: _Results | None = None
        if sys.stdin is None:
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
        if sys.stdout is None or sys.stdout is sys.__stdout__:
            self._results = _Results(1, "wb", closefd=False)
            sys.stdout = _text(self._results, sys.stdout, "strict")
        if sys.stderr is None or sys.stderr is sys.__stderr__:
            sys.stderr = _text(_Messages(2, "wb", closefd=False), sys.stderr, "backslashreplace", by_line=True)

    def failure(self) -> OSError | None:
        """Why not all results could be written. Raises BrokenPipeError when their reader has gone."""
        sys.stdout.flush()
        return self._results.failure if self._results is not None else None


def _text(raw: io.RawIOBase, like: TextIO | None, errors: str, *, by_line: bool = False) -> TextIO:
    """A text stream to `raw`, as Python made the one before."""
    buffer = io.BufferedWriter(raw)
    if not isinstance(like, io.TextIOWrapper):
        return io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=by_line)
    return io.TextIOWrapper(
        buffer,
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )

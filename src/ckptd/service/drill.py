"""`ckptd drill`: damage private copies in every way, and show that each is found, explained and mended.

On the operator's own disk, beside the store: what a drill on another filesystem proves is that filesystem. The copy is
of the smallest checkpoint that is here, or of made-up bytes; an origin on 127.0.0.1 serves it. No file of the store is
written to, nothing outside of the drill's own folder is made, and that goes in the end.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ckptd.core import events
from ckptd.core.diagnose import Cause
from ckptd.core.models import BLOCK, LockEntry, Outcome
from ckptd.core.units import format_size
from ckptd.core.urls import file_name
from ckptd.errors import IntegrityError
from ckptd.service.demo import flip
from ckptd.service.demo_archives import Archive
from ckptd.service.demo_origin import Origin
from ckptd.service.fetch import Pass
from ckptd.service.repair import Repair
from ckptd.service.sync import Task
from ckptd.service.verify import Audit
from ckptd.service.workplace import Workplace, enter
from ckptd.store import scrub

NAME = "drill"
LARGEST = 64 * 1024 * 1024  # bytes of a checkpoint that is worth copying for this
MADE_UP = 40_000_000  # bytes, when there is none: three pieces
FAST = 1e9  # bytes a second of the origin
_HOLE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)


@dataclass(frozen=True, slots=True)
class Exercise:
    """One kind of damage: what is done to the file, and what may be said of it then. `thrift`: bytes to fetch at most,
    as a share of the file."""

    title: str
    damage: Callable[[Path], None]
    causes: frozenset[Cause]
    thrift: float


@dataclass(frozen=True, slots=True)
class Result:
    """How an exercise went."""

    title: str
    found: bool
    explained: bool
    mended: bool
    cause: str
    summary: str
    fetched: int  # bytes

    @property
    def passed(self) -> bool:
        """Whether nothing was missed."""
        return self.found and self.explained and self.mended


def _flip_one(file: Path) -> None:
    flip(file, file.stat().st_size * 2 // 3)


@contextmanager
def _writable(file: Path) -> Iterator[int]:
    file.chmod(0o644)
    fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
        file.chmod(0o444)


def _middle(size: int) -> int:
    return size // 2 // BLOCK * BLOCK


def _suits(body: bytes) -> bool:
    """Whether a hole in the middle of these bytes is damage that can be told: zeros in place of zeros are none."""
    return bytes(512) not in body[_middle(len(body)) :][:BLOCK]


def _hole(file: Path) -> None:
    middle = _middle(file.stat().st_size)
    with _writable(file) as fd:
        if _libc.fallocate(fd, _HOLE, middle, BLOCK) != 0:
            os.pwrite(fd, bytes(BLOCK), middle)


def _block(file: Path) -> None:
    middle = file.stat().st_size // 3 // 4096 * 4096
    with _writable(file) as fd:
        os.pwrite(fd, random.Random(middle).randbytes(4096), middle)  # noqa: S311


def _truncate(file: Path) -> None:
    with _writable(file) as fd:
        os.ftruncate(fd, file.stat().st_size - 100_000)


def _append(file: Path) -> None:
    with _writable(file) as fd:
        os.pwrite(fd, b"more", file.stat().st_size)


def _page(file: Path) -> None:
    with _writable(file) as fd:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"<!DOCTYPE html><html><title>Sign in</title></html>", 0)


def _replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(random.Random(1).randbytes(file.stat().st_size))  # noqa: S311
    other.replace(file)


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/null")


EXERCISES = (
    Exercise("one bit flipped", _flip_one, frozenset({Cause.FLIPPED_BIT}), 0.0),
    Exercise("a hole punched", _hole, frozenset({Cause.ZEROS}), 0.5),
    Exercise("one block overwritten", _block, frozenset({Cause.ONE_BLOCK}), 0.5),
    Exercise("its end cut off", _truncate, frozenset({Cause.TRUNCATED}), 0.5),
    Exercise("bytes added", _append, frozenset({Cause.GROWN}), 0.0),
    Exercise("a web page in its place", _page, frozenset({Cause.PAGE}), 1.0),
    Exercise("another file in its place", _replace, frozenset({Cause.REWRITTEN, Cause.CHANGED}), 1.0),
    Exercise("a link in its place", _link, frozenset({Cause.LINK}), 1.0),
    Exercise("removed", Path.unlink, frozenset({Cause.MISSING}), 1.0),
)


def _put_back(file: Path, body: bytes) -> None:
    shutil.rmtree(file.parent)
    file.parent.mkdir()
    file.write_bytes(body)
    file.chmod(0o444)


def _quiet(event: events.Event) -> None:
    """Nobody watches a drill byte by byte."""
    del event


class Drill:
    """One drill beside the store of `workplace`."""

    def __init__(self, workplace: Workplace) -> None:
        self._real = workplace

    async def run(self, tell: Callable[[Result], None]) -> list[Result]:
        """Every exercise, told one by one. Raises IntegrityError when the private copy does not even arrive."""
        state = self._real.places.state
        base = state if os.access(state, os.W_OK) else None
        folder = Path(tempfile.mkdtemp(prefix="drill-", dir=base))
        try:
            (folder / "origin").mkdir()
            with Origin(folder / "origin", FAST) as origin:
                return await self._exercise(folder, origin, tell)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _exercise(self, folder: Path, origin: Origin, tell: Callable[[Result], None]) -> list[Result]:
        archive = Archive(NAME, 0, "google", "", ".bin")
        body = self._body()
        origin.put(archive, body)
        manifest = folder / "manifest.toml"
        text = f'[[checkpoint]]\nname = "{NAME}"\nurl = "{origin.url(archive)}"\n'
        manifest.write_text(f'[store]\npath = "store"\n{text}', encoding="utf-8")
        place = enter(manifest, ())
        tasks = [Task.of(place, checkpoint) for checkpoint in place.selected]
        (fetched,) = await Pass(place, _quiet, locked=False, update=False).run(tasks)
        if fetched.error is not None:
            raise IntegrityError(f"the drill's own copy could not be fetched: {fetched.error.message}")
        results = []
        for exercise in EXERCISES:
            result = await self._one(exercise, manifest, body)
            results.append(result)
            tell(result)
        return results

    async def _one(self, exercise: Exercise, manifest: Path, body: bytes) -> Result:
        place = enter(manifest, ())
        file = place.places.final(place.selected[0])
        exercise.damage(file)
        (found,) = await Audit(place, _quiet, sha256=False).run(None)
        (mended,) = await Repair(place, _quiet, [found]).run()
        cause = found.case.cause if found.case is not None else found.state
        right = file.is_file() and not file.is_symlink() and file.read_bytes() == body
        if not right:
            _put_back(file, body)  # the next exercise begins with a good file, too
        return Result(
            title=exercise.title,
            found=found.exit_status != 0,
            explained=cause in exercise.causes,
            mended=mended.state == "repaired" and right and mended.bytes_fetched <= exercise.thrift * len(body),
            cause=cause,
            summary=_summary(found, mended),
            fetched=mended.bytes_fetched,
        )

    def _body(self) -> bytes:
        """The smallest checkpoint that is here and as it should be; made-up bytes when there is none."""
        for entry in sorted(self._real.lock.entries.values(), key=lambda each: each.size):
            if 1_000_000 <= entry.size <= LARGEST and (body := self._intact(entry)) is not None and _suits(body):
                return body
        return random.Random(NAME).randbytes(MADE_UP)  # noqa: S311  # repeatable is what is wanted

    def _intact(self, entry: LockEntry) -> bytes | None:
        path = self._real.places.opened(self._real.places.file(entry.name, file_name(entry.url)))
        try:
            if scrub.whole_digests(path, lambda _: None).sha256 == entry.sha256:
                return path.read_bytes()
        except OSError:
            pass
        return None


def _summary(found: Outcome, mended: Outcome) -> str:
    if mended.error is not None:
        return mended.error.message
    said = found.case.summary if found.case is not None else "It is not there."
    return said.split(". ")[0].rstrip(".")


def line(result: Result) -> str:
    """One exercise in a line."""
    missed = [
        word
        for word, done in (("found", result.found), ("explained", result.explained), ("mended", result.mended))
        if not done
    ]
    if missed:
        return f"MISSED  {result.title}: not {' and not '.join(missed)} ({result.cause}): {result.summary}"
    return f"ok      {result.title}: {result.summary}; mended with {format_size(result.fetched)} fetched"

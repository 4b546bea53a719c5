"""Damaged bytes and the evidence, one folder an entry: the report, and beside it what was damaged.

An entry is made in a hidden folder and renamed to its name when all of it is durable, so that a name always shows a
whole entry. `keep` only reads the damaged file; `move_in` takes it away from its place by rename. A crash between any
two steps leaves a hidden folder, which `sweep` removes, or finishes where it has the only copy of a file. Decides
nothing: which stretches, how long and how much is `core.quarantine`'s and the caller's business. Blocking functions
for disk threads; the store must be ours. No link is followed, and none is made.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ckptd.core import quarantine as core
from ckptd.core.quarantine import Action, Entry, Kept, Report
from ckptd.core.ranges import Extents
from ckptd.errors import StorageError
from ckptd.store import disk, scrub
from ckptd.store.atomic import write_atomically
from ckptd.store.places import Places, fsync_folder, make_folder, storage_error

REPORT = "report.json"
REPORT_MODE = 0o444
LARGEST_REPORT = 64 * 1024 * 1024  # bytes; nothing that is larger is a report
CHUNK = 1024 * 1024  # bytes read at a time
BLOCK = 4096  # bytes read at a time where a larger read fails
_STAGE = re.compile(r"\.(?P<kind>keep|hold|gone)-[0-9a-f]{8}-(?P<entry>.+)")
PATIENCE = 64  # blocks that may fail before the rest is left out: a dying disk takes up to minutes over each


def keep(places: Places, report: Report, source: Path, stretches: Iterable[tuple[int, int]]) -> Path:
    """Copy stretches (offset, length) of `source` into a new entry, and say in its report which; the entry's folder.

    What cannot be read, or lies past the end, is left out. Without stretches the file is not touched at all.
    Raises StorageError; then nothing is left of the entry.
    """
    spans = Extents.of(*((offset, offset + length) for offset, length in stretches if length > 0)).spans
    try:
        stage = _stage(places, "keep", report)
        try:
            make_folder(stage, places.group)
            kept: list[Kept] = []
            if spans:
                with scrub.opened(source) as file:
                    kept = _copy(file, spans, stage, places.group)
            _write_report(stage, replace(report, kept=tuple(kept)), places.group)
            return _commit(stage)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    except OSError as error:
        raise storage_error(error, f"cannot keep the damaged bytes of {source}") from error


def move_in(places: Places, report: Report, source: Path) -> Path:
    """Take `source` away from its place into a new entry, by rename; the entry's folder.

    Its report is durable before. Whatever stands there goes, a link or a socket too, but no folder. Raises
    StorageError: the file is in its place as before, or, where the disk failed after the rename, for `sweep` to find.
    """
    try:
        parent = os.open(source.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.stat(source.name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            plain = stat.S_ISREG(found.st_mode)
            name = f"0-{found.st_size}.bin" if plain else "replaced"
            kept = (Kept(name, 0, found.st_size),) if plain else ()
            stage = _stage(places, "hold", report)
            try:
                make_folder(stage, places.group)
                _write_report(stage, replace(report, kept=kept), places.group)
                os.rename(source.name, stage / name, src_dir_fd=parent)
                os.fsync(parent)
                return _finish(stage, places.group)
            except BaseException:
                with suppress(OSError):
                    if _whole_file(stage) is None:  # over NFS a rename that was done may be reported as failed
                        shutil.rmtree(stage)
                raise
        finally:
            os.close(parent)
    except OSError as error:
        raise storage_error(error, f"cannot move {source} into quarantine") from error


def amend(places: Places, name: str, action: Action) -> None:
    """Say in an entry's report that something else was done than planned. Raises StorageError."""
    report, folder = read_report(places, name), _folder(places) / name
    if report is None:
        raise StorageError(f"{folder / REPORT} cannot be read as a report")
    try:
        _write_report(folder, replace(report, action=action), places.group)
    except OSError as error:
        raise storage_error(error, f"cannot write {folder / REPORT}") from error


def listed(places: Places) -> tuple[Entry, ...]:
    """What is in quarantine, oldest first; what is no entry is passed over. Raises StorageError. Any user may ask."""
    entries = []
    for path in _contents(places):
        at = core.time_of(path.name)
        with suppress(OSError):
            if at is not None and stat.S_ISDIR(path.lstat().st_mode):
                report = read_report(places, path.name)
                held = report is not None and report.action is Action.HELD
                entries.append(Entry(path.name, _bytes_in(path), at, held))
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.name)))


def read_report(places: Places, name: str) -> Report | None:
    """The report of one entry; None where there is none that can be read."""
    if core.time_of(name) is None:
        return None
    try:
        path = _folder(places) / name / REPORT
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return core.parse(file.read(LARGEST_REPORT).decode())
    except (OSError, ValueError, StorageError):
        return None


def remove(places: Places, names: Iterable[str]) -> None:
    """Remove entries with all that is in them; one that is gone already is no error. Raises StorageError."""
    for name in names:
        if core.time_of(name) is None:
            raise StorageError(f'"{name}" is no entry of the quarantine')
        path = _folder(places) / name
        gone = path.with_name(f".gone-{os.urandom(4).hex()}-{name}")
        try:
            path.rename(gone)  # a half-removed entry is not shown
            _erase(gone)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(error, f"cannot remove {path}") from error


def enforce(places: Places, *, cap: int, max_age: float, now: float) -> tuple[str, ...]:
    """Remove what is older than `max_age` seconds or over `cap` bytes, and say what. Raises StorageError."""
    names = core.to_remove(listed(places), cap=cap, max_age=max_age, now=now)
    remove(places, names)
    return names


def sweep(places: Places) -> None:
    """Put right what a crash left behind: finish the entry that has a file, remove what was only copied.

    Not while another thread is at work here. What cannot be done now is left for the next time.
    """
    with suppress(StorageError):
        for path in _contents(places):
            found = _STAGE.fullmatch(path.name)
            if found is None or core.time_of(found["entry"]) is None:
                continue
            with suppress(OSError):
                if found["kind"] == "hold" and _whole_file(path) is not None:
                    _finish(path, places.group)
                else:
                    _erase(path)


# --- steps -----------------------------------------------------------------------------------------------------------


def _stage(places: Places, kind: str, report: Report) -> Path:
    """Where a new entry is made, hidden. Its name ends in what the entry will be called."""
    folder = _folder(places)
    make_folder(folder, places.group)
    base = core.entry_name(report.found_at, report.name, report.expected_sha256)
    return folder / f".{kind}-{os.urandom(4).hex()}-{base}"


def _write_report(folder: Path, report: Report, group: int | None) -> None:
    """Durable when this returns, and so is every other name in `folder`."""
    write_atomically(folder / REPORT, core.render(report).encode(), REPORT_MODE, group)


def _commit(stage: Path) -> Path:
    """Rename a staged entry to the first free name, durably."""
    folder, base = stage.parent, stage.name.split("-", 2)[2]
    while True:
        path = folder / core.unused(base, os.listdir(folder))
        try:
            stage.rename(path)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                continue  # another thread has just taken that name
            raise
        fsync_folder(folder)
        return path


def _finish(stage: Path, group: int | None) -> Path:
    """What remains to do once a whole file has been moved into `stage`."""
    file = _whole_file(stage)
    if file is not None and stat.S_ISREG(file.lstat().st_mode):
        with suppress(PermissionError):  # somebody else's: it cannot be had otherwise, and it is out of the way
            if group is not None:
                os.chown(file, -1, group, follow_symlinks=False)
            file.chmod(_mode(group))
    fsync_folder(stage)
    return _commit(stage)


def _whole_file(stage: Path) -> Path | None:
    """The file that was moved into `stage`, if it came to that."""
    names = [name for name in os.listdir(stage) if name != REPORT and not name.startswith(".")]
    return stage / names[0] if names else None


def _mode(group: int | None) -> int:
    """Of damaged bytes: no job shall read them by accident."""
    return 0o400 if group is None else 0o440


def _erase(path: Path) -> None:
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _contents(places: Places) -> list[Path]:
    """Everything in the quarantine, in no order. Raises StorageError."""
    folder = _folder(places)
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, f"cannot read {folder}") from error


def _folder(places: Places) -> Path:
    """The quarantine, which need not be there yet. Raises StorageError where something else stands in its place."""
    folder = places.quarantine
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise StorageError(f"{folder} is not a folder of ours", hint="move it away and run again")
    return folder


def _bytes_in(folder: Path) -> int:
    with os.scandir(folder) as files:
        return sum(file.stat(follow_symlinks=False).st_size for file in files)


# --- copying what can be read ----------------------------------------------------------------------------------------


class _Run:
    """An unbroken run of readable bytes on its way into an entry."""

    def __init__(self, stage: Path, offset: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._path = stage / f"{offset}.part"
        self._file = open(os.open(self._path, flags, 0o600), "wb", buffering=0)  # noqa: SIM115  # closed by `close`
        self._begin = self.end = offset

    def write(self, view: memoryview) -> None:
        disk.write_at(self._file.fileno(), view, self.end - self._begin)
        self.end += len(view)

    def finish(self, group: int | None) -> Kept:
        """Its bytes are durable when this returns; its name when the folder is."""
        fd, length = self._file.fileno(), self.end - self._begin
        if group is not None:
            os.fchown(fd, -1, group)
        os.fchmod(fd, _mode(group))
        os.fsync(fd)
        self.close()
        kept = Kept(f"{self._begin}-{length}.bin", self._begin, length)
        self._path.rename(self._path.with_name(kept.file))
        return kept

    def close(self) -> None:
        self._file.close()


def _copy(file: scrub.Opened, spans: Iterable[tuple[int, int]], stage: Path, group: int | None) -> list[Kept]:
    """Copy what can be read of `spans` into `stage`, each unbroken run into a file of its own. Raises OSError."""
    kept: list[Kept] = []
    run: _Run | None = None
    try:
        for offset, view in _readable(file, spans):
            if run is None or offset != run.end:
                if run is not None:
                    kept.append(run.finish(group))
                run = _Run(stage, offset)
            run.write(view)
        if run is not None:
            kept.append(run.finish(group))
    finally:
        if run is not None:
            run.close()
    return kept


def _readable(file: scrub.Opened, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """What can be read of `spans`, as (offset, bytes) in order, in a buffer that the next step reuses."""
    buffer = memoryview(mmap.mmap(-1, CHUNK))  # aligned, as O_DIRECT wants it
    patience = PATIENCE
    for first, last in spans:
        at = first - first % BLOCK
        slow_until = at  # a chunk up to here could not be read at once
        while at < min(last, file.size):
            length = BLOCK if at < slow_until else min(CHUNK, -(-(last - at) // BLOCK) * BLOCK)
            count = _read(file, at, buffer[:length])
            if count:
                begin, end = max(at, first), min(at + count, last)
                if begin < end:
                    yield begin, buffer[begin - at : end - at]
                at += count
            elif length > BLOCK:
                slow_until = at + length
            else:
                at += BLOCK
                patience -= 1
            if not patience:
                return


def _read(file: scrub.Opened, at: int, buffer: memoryview) -> int:
    """How many bytes came, in whole blocks except at the end of the file; 0 where they cannot be read."""
    try:
        count = os.preadv(file.fd, [buffer], at)
    except OSError:
        return 0
    return count if at + count >= file.size else count - count % BLOCK

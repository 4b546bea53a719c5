"""Archives -> trees, safely: every member judged, written beneath a staging folder, hashed on its way, made durable.

All or nothing: a member that is refused, an archive that is damaged or a full disk leaves no staging folder behind.
Decompressing runs in a thread of its own beside hashing and writing. No extraction code of the standard library is
used: headers are read by `store.untar` and `store.unzip`, judged by `core.members`, written by `store.staging`. What
archives hold is not unpacked further.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ckptd.core.document import shown
from ckptd.core.members import (
    Accept,
    Damaged,
    Entry,
    Refuse,
    Refused,
    Seen,
    clashes,
    decide,
    mode_of,
    refuse_links,
    sane_mtime,
)
from ckptd.core.models import UnpackSettings
from ckptd.core.tree import Kind, Tree, TreeMember, tree_of
from ckptd.errors import IntegrityError, PolicyError, StorageError
from ckptd.store import untar, unzip
from ckptd.store.ahead import ahead
from ckptd.store.archives import HEAD, READ, Format, Source, Stream, decompressed, format_of, not_tar, opened
from ckptd.store.staging import NewFile, Staging, discard

Item = Entry | memoryview
Progress = Callable[[int], None]  # called in the unpacking thread with the bytes of the archive that were just done
MOST_NOTES = 20
_PLAIN_READ = 4 * READ  # bytes of an uncompressed archive read at a time


def unpack(
    archive: Path, staging: Path, settings: UnpackSettings, progress: Progress, *, group: int | None = None
) -> Tree:
    """Unpack `archive` into the new folder `staging`, durably, with final modes and `group`; what came out of it.

    `staging` lies in a folder of ours, on the filesystem of the store; what an earlier run left there is removed. It
    is there when this returns and gone when it raises, also where `progress` raises (that is how to stop it).

    Raises:
        PolicyError: a member may not be unpacked, a limit is exceeded, or it is no archive; with the reason.
        IntegrityError: the archive is damaged, cut short, or followed by something; where.
        StorageError: reading or writing failed.

    Blocks for as long as it takes: run in a disk thread. Memory stays below 64 MiB whatever the sizes (the windows of
    xz and zstd at their largest presets, up to 160 MiB, come on top), and half a kilobyte for each member.
    """
    discard(staging)
    try:
        with opened(archive) as source, Staging(staging, group) as out:
            work = _Unpacking(out, Seen(settings, source.size), shared=group is not None)
            return work.run(source, progress)
    except BaseException as error:
        with suppress(StorageError):
            discard(staging)
        if isinstance(error, Damaged):
            raise IntegrityError(
                f"{archive} cannot be unpacked: {error}", hint="`ckptd verify` tells whether it is what was locked"
            ) from error
        if isinstance(error, Refused):
            raise PolicyError(f"{archive} is not unpacked: {error.verdict.reason}", hint=error.verdict.hint) from error
        raise


def _items(source: Source, settings: UnpackSettings) -> Iterator[Item]:
    """The members of an archive of whatever format. Raises Damaged, Refused and StorageError."""
    head = source.at(0, HEAD)
    form = format_of(head)
    if form is None:
        raise not_tar(source.name, f"it begins with {head[:8].hex(' ') or 'nothing'}")
    if form is Format.ZIP:
        return unzip.members(source, settings)
    parts = source.parts(_PLAIN_READ) if form is Format.TAR else decompressed(source, form, settings)
    return untar.members(Stream(parts), source.name, settings)


def _weight(item: Item) -> int:
    return len(item) if isinstance(item, memoryview) else 0


class _Unpacking:
    """One archive on its way: the member that is being written, and what came before it."""

    def __init__(self, out: Staging, seen: Seen, *, shared: bool) -> None:
        self._out = out
        self._seen = seen
        self._shared = shared
        self._now = time.time()
        self._mtimes: dict[str, int] = {}  # of folders, for when nothing is written into them any more
        self._notes: list[str] = []
        self._entry: Entry | None = None  # whose content comes
        self._accepted: Accept | None = None
        self._file: NewFile | None = None
        self._sha256 = hashlib.sha256()
        self._got = 0  # bytes of its content

    def run(self, source: Source, progress: Progress) -> Tree:
        told = 0
        try:
            with ahead(_items(source, self._seen.settings), _weight) as batches:
                for batch in batches:
                    for item in batch:
                        if isinstance(item, memoryview):
                            self._take(item)
                        else:
                            self._end()
                            self._begin(item)
                    done = min(source.done, source.size)  # what lies scattered in a zip is read twice
                    if done > told:
                        progress(done - told)
                        told = done
            self._end()
        finally:
            if self._file is not None:
                self._file.abandon()
        return self._whole()

    def _begin(self, entry: Entry) -> None:
        verdict = decide(entry, self._seen)
        if isinstance(verdict, Refuse):
            raise Refused(verdict)
        for folder in verdict.folders:
            self._add_folder(folder)
        self._entry, self._accepted, self._got = entry, verdict, 0
        path, kind = verdict.path, verdict.kind
        if verdict.hardlink:
            self._link_hard(verdict)
        elif kind is Kind.FILE:
            self._sha256 = hashlib.sha256()
            self._file = None if verdict.again else self._out.make_file(path)
        elif kind is Kind.FOLDER:
            if not verdict.again:
                self._add_folder(path)
            mtime = sane_mtime(entry.mtime, self._now)
            if mtime is not None:
                self._mtimes[path] = mtime
        elif not verdict.again:
            self._out.make_link(path, verdict.target)
            self._seen.add(TreeMember(path, kind, target=verdict.target))

    def _add_folder(self, path: str) -> None:
        self._out.make_folder(path)
        self._seen.add(TreeMember(path, Kind.FOLDER, mode=mode_of(Kind.FOLDER, shared=self._shared)))

    def _link_hard(self, verdict: Accept) -> None:
        if verdict.again:
            return
        meant = self._seen.members[verdict.hardlink]
        self._out.make_hard_link(verdict.path, verdict.hardlink)
        self._seen.add(TreeMember(verdict.path, Kind.FILE, meant.size, meant.sha256, mode=meant.mode))
        self._seen.spent += meant.size  # it takes no room, and every audit reads it

    def _take(self, data: memoryview) -> None:
        """Content, counted as it comes: what the header claims was judged, and no member gets more than that."""
        if not data:
            return
        self._got += len(data)
        self._seen.spent += len(data)
        if self._entry is None or self._got > self._entry.size:
            raise Damaged(f"there is more content than the headers claim{self._where()}")
        self._sha256.update(data)
        if self._file is not None:
            self._file.write(data)

    def _end(self) -> None:
        """The content of a member has come to its end."""
        entry, accepted = self._entry, self._accepted
        self._entry = self._accepted = None
        if entry is None or accepted is None:
            return
        self._notes.extend(accepted.notes[: MOST_NOTES + 1 - len(self._notes)])
        if accepted.kind is not Kind.FILE or accepted.hardlink:
            return
        if self._got != entry.size:
            raise Damaged(f"{shown(accepted.path)} has {self._got} bytes and claims {entry.size}")
        path, digest = accepted.path, self._sha256.hexdigest()
        if self._file is None:
            if self._seen.members[path].sha256 != digest:
                raise Refused(Refuse(f"{shown(path)} is in it twice, with different bytes"))
            return
        file, self._file = self._file, None
        self._out.finish(file, sane_mtime(entry.mtime, self._now))
        mode = mode_of(Kind.FILE, shared=self._shared)
        self._seen.add(TreeMember(path, Kind.FILE, self._got, digest, mode=mode))

    def _where(self) -> str:
        return f" of {shown(self._accepted.path)}" if self._accepted is not None else ""

    def _whole(self) -> Tree:
        """The last member is there: judge the links once more, make all of it durable."""
        members = self._seen.members
        refusal = refuse_links(self._seen.links)
        if refusal is not None:
            raise Refused(refusal)
        if not members:
            raise Refused(Refuse("it has no members"))
        self._out.settle(members, self._mtimes)
        notes = [*self._notes, *clashes(sorted(members))]
        if len(notes) > MOST_NOTES:
            notes = [*notes[:MOST_NOTES], "there is more of this kind"]
        return tree_of(members, tuple(notes))

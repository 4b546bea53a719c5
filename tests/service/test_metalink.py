"""service.metalink: who stops waiting stops the reading, in the middle of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from workplace import sha256

from ckptd.core.events import Event, Received
from ckptd.core.models import Lock, LockEntry, Trust
from ckptd.service.metalink import Metalink
from ckptd.service.workplace import enter
from ckptd.store import lockfile, scrub

BODY = bytes(8 * 1024 * 1024)
URL = "https://example.org/m.bin"


async def test_a_reading_that_nobody_waits_for_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, folder = tmp_path / "manifest.toml", tmp_path / "checkpoints/m"
    manifest.write_text(f'[[checkpoint]]\nname = "m"\nurl = "{URL}"\n')
    folder.mkdir(parents=True)
    (folder / "m.bin").write_bytes(BODY)
    entry = LockEntry("m", URL, len(BODY), sha256(BODY), Trust.FIRST_USE)
    lockfile.write(tmp_path / "manifest.lock", Lock({"m": entry}))
    chunks, read = scrub.chunks, []

    def emit(event: Event) -> None:
        if isinstance(event, Received):
            task.cancel()

    def watched(file: scrub.Opened, start: int, end: int) -> Iterator[memoryview]:
        for view in chunks(file, start, end):
            read.append(len(view))
            yield view
            metalink._stopping.wait(20)  # until who cancelled has had the time to say so

    monkeypatch.setattr(scrub, "chunks", watched)
    metalink = Metalink(enter(manifest, ()), emit)
    task = asyncio.ensure_future(metalink.run(()))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < sum(read) < len(BODY) // 2

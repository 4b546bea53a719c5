"""`ckptd.front.textfile`: where the file is, when it is written, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.core.events import Noted
from ckptd.core.incidents import Incident, Kind
from ckptd.errors import StorageError
from ckptd.front import textfile
from ckptd.front.tally import Tally
from ckptd.front.textfile import Writer
from ckptd.service.daemon import Daemon
from ckptd.service.hub import Hub

SECONDS = 20.0  # before a test has failed


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # the other side is a file: it sets no event
            await asyncio.sleep(0.005)


class Stage:
    """A daemon as far as the writer knows it."""

    def __init__(self, folder: Path, named: str | None) -> None:
        self.hub = Hub()
        self.said: list[str] = []
        self.alarms: list[Any] = []
        self.watchman = SimpleNamespace(tell=lambda name, text: self.said.append(f"{name}: {text}"), alarms=self.alarms)
        self._folder = folder
        self.want(named)

    def want(self, named: str | None) -> None:
        manifest = SimpleNamespace(daemon=SimpleNamespace(textfile=named))
        self.place = SimpleNamespace(manifest=manifest, path=self._folder / "manifest.toml")

    def read_again(self, named: str | None) -> None:
        self.want(named)
        self.hub.emit(Noted("manifest", "read again"))


class Numbered(Writer):
    """Writes how often it has written; breaks when it is told to."""

    written = 0
    trouble: Exception | None = None

    async def _content(self) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        self.written += 1
        return f"ckptd_written {self.written}\n".encode()


@asynccontextmanager
async def writing(stage: Stage) -> AsyncIterator[Numbered]:
    writer = Numbered(cast("Daemon", stage), Tally())
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_it_is_written_for_others_and_anew_when_something_happens(tmp_path: Path) -> None:
    stage, path = Stage(tmp_path, "metrics.prom"), tmp_path / "metrics.prom"  # relative to the manifest
    async with writing(stage):
        await until(path.exists)
        assert path.read_text() == "ckptd_written 1\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        for alarm in stage.alarms:
            alarm(Incident(Kind.DAMAGE, "a", "", 1.0))
        await until(lambda: path.read_text() == "ckptd_written 2\n")
        stage.hub.emit(Noted("a", "something else"))
        await asyncio.sleep(0)
    assert path.read_text() == "ckptd_written 2\n"
    assert os.listdir(tmp_path) == [path.name]
    assert not stage.said


async def test_it_is_written_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "EVERY", 0.01)
    async with writing(Stage(tmp_path, "a.prom")) as writer:
        await until(lambda: writer.written > 3)


@pytest.mark.parametrize("after", ["b.prom", None])
async def test_what_is_no_longer_written_goes(tmp_path: Path, after: str | None) -> None:
    stage = Stage(tmp_path, "a.prom")
    async with writing(stage):
        await until((tmp_path / "a.prom").exists)
        stage.read_again(after)
        await until(lambda: not (tmp_path / "a.prom").exists())
        if after is not None:
            await until((tmp_path / after).exists)


async def test_it_comes_on_reload(tmp_path: Path) -> None:
    stage = Stage(tmp_path, None)
    async with writing(stage):
        stage.read_again(str(tmp_path / "a.prom"))
        await until((tmp_path / "a.prom").exists)


async def test_a_folder_that_is_not_there_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "EVERY", 0.01)
    stage, path = Stage(tmp_path, "later/a.prom"), tmp_path / "later" / "a.prom"
    async with writing(stage) as writer:
        await until(lambda: writer.written > 3)
        path.parent.mkdir()
        await until(path.exists)
        await until(lambda: len(stage.said) == 2)
    assert stage.said == [
        f"textfile: cannot write {path}: no such file or directory; trying again every minute",
        f"textfile: {path} is written again",
    ]


async def test_a_store_that_does_not_answer_leaves_the_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age tells: what it says is as old as the file."""
    monkeypatch.setattr(textfile, "EVERY", 0.01)
    stage, path = Stage(tmp_path, "a.prom"), tmp_path / "a.prom"
    async with writing(stage) as writer:
        await until(path.exists)
        writer.trouble = StorageError("cannot write state.db: disk I/O error")
        await until(lambda: stage.said)
        before = path.stat()
    assert stage.said == [
        f"textfile: cannot write {path}: cannot write state.db: disk I/O error; trying again every minute"
    ]
    assert path.stat().st_mtime_ns == before.st_mtime_ns

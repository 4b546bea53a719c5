"""A daemon that is about to end takes up nothing new, and says so to who asks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from unix import address
from workplace import Workplace, wait_until

from ckptd.errors import Stopped
from ckptd.service import daemon as service
from ckptd.service.daemon import Daemon
from ckptd.service.workplace import enter


@pytest.fixture
def site(tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path / "site", [])
    made.one("https://127.0.0.1:9/a.bin")
    return made


async def test_work_that_is_asked_for_at_the_end(site: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was heard before the signal, and would be taken up after it."""
    heard, ended = threading.Event(), threading.Event()
    look = service._mark

    def mark(path: Path) -> str:
        if not heard.is_set() and threading.current_thread() is not threading.main_thread():
            heard.set()
            assert ended.wait(20)
        return look(path)

    daemon = Daemon(enter(site.manifest, ()))
    running = asyncio.create_task(daemon.run())
    socket = site.state / "daemon.sock"
    async with asyncio.timeout(20):
        await asyncio.to_thread(wait_until, socket.exists)
        with address(socket) as fitting:
            reader, writer = await asyncio.open_unix_connection(fitting)
        monkeypatch.setattr(service, "_mark", mark)
        writer.write(json.dumps({"protocol": 1, "command": "sync", "names": [], "options": {}}).encode() + b"\n")
        await asyncio.to_thread(heard.wait, 20)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            await running
        ended.set()
        said: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
    assert "went away: it is stopping" in said["error"]["message"]

"""A headless Chromium that is driven: pages that stay open, clicks, emulated screens, what the console says.

The little that is needed of the Chrome DevTools Protocol, over the WebSocket that `--remote-debugging-port` opens.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

NAMES = ("chromium", "chromium-browser", "google-chrome", "headless-shell")
SECONDS = 30.0  # for the browser to start, and for anything to become true in a page
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--remote-debugging-port=0",
)
_AT = re.compile(rb"DevTools listening on (ws://\S+)")


def program() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def listen(self) -> None:
        """Take what the browser says, until it is silent."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
                continue
            match told["method"]:
                case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                    self.console.append(str(told["params"]))
                case "Network.requestWillBeSent":
                    self.requests.append(told["params"]["request"]["url"])
                case "Page.loadEventFired":
                    self._loaded.set()

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        async with asyncio.timeout(SECONDS):
            told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self._loaded.clear()
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(SECONDS):
            await self._loaded.wait()

    async def run(self, script: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        told = await self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        try:
            async with asyncio.timeout(SECONDS):
                while not await self.run(script):  # noqa: ASYNC110  # a page in another process has no event for us
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"did not become true: {script}\n{self.console}") from None

    async def screen(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Emulate a screen."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.ask("Emulation.setEmulatedMedia", features=scheme)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot; of all of the page, or of what the screen shows."""
        told = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(told["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Callable[[], Awaitable[Tab]]]:
    """A browser; call it for a new page."""
    found = program()
    assert found is not None
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            found,
            *FLAGS,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "TZ": "UTC"},
        )
        assert process.stderr is not None
        listeners: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(SECONDS):
                at = await _address(process.stderr)
            listeners.append(asyncio.create_task(_drain(process.stderr)))
            root = at.partition("/devtools/")[0].replace("ws://", "http://")
            async with ClientSession() as session:

                async def page() -> Tab:
                    async with session.put(f"{root}/json/new?about:blank") as answer:
                        told = await answer.json(content_type=None)
                    tab = Tab(await session.ws_connect(told["webSocketDebuggerUrl"], max_msg_size=0))
                    listeners.append(asyncio.create_task(tab.listen()))
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        await tab.ask(f"{domain}.enable")
                    return tab

                yield page
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            for each in listeners:
                each.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)


async def _address(errors: asyncio.StreamReader) -> str:
    while line := await errors.readline():
        if match := _AT.search(line):
            return match[1].decode()
    raise AssertionError("the browser did not start")


async def _drain(errors: asyncio.StreamReader) -> None:
    while await errors.read(65536):
        pass

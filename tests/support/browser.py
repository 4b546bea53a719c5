"""A real browser, headless: what it makes of a page, what the page asked for, what it complained about.

Chromium from Debian, without DevTools: the document after scripts and styles is printed by `--dump-dom`, its console
goes to stderr, and its network log says which requests were the page's (those of the browser itself are another's,
and end where names are not resolved).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from dom import parse

TIMEOUT = 60.0  # seconds for one page
NAMES = ("chromium", "chromium-browser", "google-chrome", "headless-shell")
QUIET = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a browser made of a page."""

    dom: ET.Element
    console: tuple[str, ...]
    requests: tuple[str, ...]  # URLs that the page asked for, itself not among them


def available() -> bool:
    return any(shutil.which(name) for name in NAMES)


def look(page: Path, *flags: str) -> Seen:
    """Open a file in the browser."""
    program = next(found for name in NAMES if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:
        log = Path(folder) / "net.json"
        run = subprocess.run(
            [
                program,
                *QUIET,
                f"--user-data-dir={folder}/profile",
                f"--log-net-log={log}",
                *flags,
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "TZ": "UTC"},
        )
        net = json.loads(log.read_text())
    begin = net["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event["params"] for event in net["events"] if event["type"] == begin and "params" in event]
    requests = [each["url"] for each in started if "file://" in each.get("network_isolation_key", "")]
    console = [line for line in run.stderr.splitlines() if ":CONSOLE:" in line]
    return Seen(parse(run.stdout), tuple(console), tuple(dict.fromkeys(requests)))

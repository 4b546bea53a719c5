"""Draws `docs/watch.svg`: `ckptd watch` at a scripted moment of a daemon's life with the 14 checkpoints.

Run it as `.venv/bin/python docs/watch_picture.py [COLUMNS [LINES]]`. It needs no daemon, no network and no terminal;
sizes, rates and times are made up, the drawing is the program's own.
"""

# ruff: noqa: INP001 - a script of the documentation, no package

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from picture import HOST, MB, SIZES, STRONG
from rich.console import Console
from rich.segment import Segment

from ckptd.core.events import Connections, Event, Hashed, Received, Started, Waiting
from ckptd.ui.frame import UNICODE
from ckptd.ui.terminal import Page
from ckptd.ui.watch import Watch

os.environ["TZ"] = "UTC"
time.tzset()
NOW = 1_795_356_131.0  # 2026-11-22 14:02:11 UTC
DAY, HOUR = 86400.0, 3600.0
SECONDS, STEP = 5.0, 0.25
SPEED = {f"axial_swidernet_1_1_1_{STRONG}": 22, f"axial_swidernet_1_1_3_{STRONG}": 37}  # MB/s
HASHED = f"wide_resnet41_{STRONG}"
PAUSED = f"max_deeplab_l_backbone_{STRONG}"
DRIFTED = "mobilenet_v3_small_imagenet1k"
WORKED_ON = [HASHED, *SPEED, PAUSED]

RECENT = [
    (NOW - 3, HASHED, "the origin ignores ranges: one connection from here"),
    (NOW - 41, f"resnet50_beta_{STRONG}", "fetched"),
    (NOW - 68, f"swidernet_sac_1_1_3_{STRONG}", "fetched"),
    (NOW - 95, "manifest", "read again: 14 checkpoints"),
    (NOW - 2 * HOUR, DRIFTED, "drift: the origin serves something else than what is locked"),
    (NOW - 9 * HOUR, "resnet50_imagenet1k", "damage is over"),
    (NOW - 9 * HOUR - 1, "resnet50_imagenet1k", "repaired"),
    (NOW - 9 * HOUR - 6, "resnet50_imagenet1k", "damage: One bit is flipped, at byte 4980736"),
]


def account() -> dict[str, object]:
    """What the daemon says of itself."""
    return {
        "version": "0.1.0",
        "pid": 812,
        "since": NOW - 12 * DAY - 4 * HOUR,
        "now": NOW,
        "store": "/srv/checkpoints",
        "promise": {
            "max_age": 7 * DAY,
            "kept": True,
            "oldest_verified_at": NOW - 4 * DAY - 3 * HOUR,
            "share": 1.0,
            "unverified_bytes": 0,
        },
        "scrub": {
            "name": f"swidernet_sac_1_1_1_{STRONG}",
            "why": "oldest first, 2.95 GB in 7d: reading at 9.75 kB/s",
            "next_in": 0.0,
        },
        "active": [{"name": name} for name in WORKED_ON],
        "checkpoints": [
            {
                "name": name,
                "size": size * MB,
                "state": "missing" if name in WORKED_ON else "present",
                "next_sync_in": None if name in WORKED_ON else 2 * HOUR + 600 + size,
            }
            for name, size in SIZES.items()
        ],
        "incidents": [
            {
                "kind": "drift",
                "name": DRIFTED,
                "since": NOW - 2 * HOUR,
                "message": "the origin serves something else than what is locked; the locked copy is kept",
            }
        ],
        "recent": [{"at": at, "name": name, "text": text} for at, name, text in RECENT],
    }


def script() -> Iterator[tuple[float, Event]]:
    """The events of a few seconds, with their times."""
    for name in (HASHED, *SPEED):
        yield 0.1, Started(name, SIZES[name] * MB)
        yield 0.1, Connections(name, 4 if name in SPEED else 1, HOST)
    yield 0.2, Started(PAUSED, SIZES[PAUSED] * MB, have=212 * MB)
    yield 0.2, Waiting(PAUSED, SECONDS + 12, "Retry-After")
    for step in range(1, int(SECONDS / STEP) + 1):
        yield step * STEP, Received(HASHED, SIZES[HASHED] * MB // 18)
        for name, speed in SPEED.items():
            yield step * STEP, Received(name, int(speed * MB * STEP))
    yield SECONDS - 0.1, Connections(HASHED, 0, HOST)
    yield SECONDS, Hashed(HASHED, SIZES[HASHED] * MB * 83 // 100)


def apart(line: list[Segment]) -> list[Segment]:
    """Its spaces apart from its words: some viewers of SVG drop leading ones."""
    return [
        Segment(part, segment.style if part.strip(" ") else None)
        for segment in line
        for part in re.split("( +)", segment.text)
    ]


def main(columns: int, lines: int) -> None:
    """Play the script on a clock of its own, draw the last moment."""
    now = 0.0
    watch = Watch(lambda: now, "q quits; the daemon goes on with its work")
    for when, event in sorted(script(), key=lambda pair: pair[0]):
        now = when
        watch.event(event)
    now = SECONDS
    watch.standing(account())
    console = Console(
        record=True, file=io.StringIO(), width=columns, height=lines, force_terminal=True, color_system="truecolor"
    )
    console.print(Page([apart(line) for line in watch.frame(columns, lines, UNICODE)]), end="", crop=False)
    svg = console.export_svg(title="ckptd watch", unique_id="ckptd-watch")
    Path(__file__).with_name("watch.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    sizes = [int(each) for each in sys.argv[1:]]
    main(*(sizes + [110, 24][len(sizes) :]))

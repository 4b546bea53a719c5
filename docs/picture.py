"""Draws `docs/dashboard.svg`: the dashboard itself, at a scripted moment of a sync of the 14 checkpoints.

Run it as `.venv/bin/python docs/picture.py [COLUMNS]`. It needs no network and no terminal; sizes and rates
are made up, the drawing is the program's own.
"""

# ruff: noqa: INP001 - a script of the documentation, no package

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from ckptd.core.events import (
    Connections,
    Event,
    Finished,
    Hashed,
    Queued,
    Received,
    Sized,
    Started,
    Waiting,
)
from ckptd.ui.dashboard import Dashboard

HOST = "storage.googleapis.com"
STRONG = "imagenet1k_strong_training_strategy"
SIZES = {  # MB
    "resnet50_imagenet1k": 95,
    "mobilenet_v3_small_imagenet1k": 10,
    "mobilenet_v3_large_imagenet1k": 22,
    f"resnet50_{STRONG}": 95,
    f"resnet50_beta_{STRONG}": 96,
    f"wide_resnet41_{STRONG}": 204,
    f"swidernet_sac_1_1_1_{STRONG}": 162,
    f"swidernet_sac_1_1_3_{STRONG}": 327,
    f"swidernet_sac_1_1_4.5_{STRONG}": 452,
    f"axial_swidernet_1_1_1_{STRONG}": 133,
    f"axial_swidernet_1_1_3_{STRONG}": 286,
    f"axial_swidernet_1_1_4.5_{STRONG}": 417,
    f"max_deeplab_s_backbone_{STRONG}": 171,
    f"max_deeplab_l_backbone_{STRONG}": 483,
}
MB = 1_000_000
SPEED = {  # MB/s of those that are being downloaded at the end
    f"swidernet_sac_1_1_1_{STRONG}": 31,
    f"swidernet_sac_1_1_3_{STRONG}": 48,
    f"axial_swidernet_1_1_1_{STRONG}": 22,
    f"axial_swidernet_1_1_3_{STRONG}": 37,
}
STEP = 0.25  # seconds
SECONDS = 5.0


def script() -> Iterator[tuple[float, Event]]:
    """The events of a few seconds, with their times."""
    names = list(SIZES)
    for name in names:
        yield 0.0, Queued(name, SIZES[name] * MB, "")
    for name in names[:4]:
        yield 0.0, Started(name, SIZES[name] * MB)
        yield 0.1, Finished(name, "fetched", "witnessed", size=SIZES[name] * MB, fetched=SIZES[name] * MB)
    beta, wide, large = names[4], names[5], names[8]
    yield 0.2, Started(beta, 96 * MB)
    yield 0.2, Waiting(beta, SECONDS + 12, "Retry-After")
    for name in (wide, *SPEED):
        yield 0.3, Started(name, None)
        yield 0.3, Connections(name, 4, HOST)
        yield 0.3, Sized(name, SIZES[name] * MB)
    yield from _bytes(wide)
    yield SECONDS - 0.1, Connections(wide, 0, HOST)
    yield SECONDS - 0.1, Started(large, SIZES[large] * MB, have=276 * MB)


def _bytes(hashing: str) -> Iterator[tuple[float, Event]]:
    for step in range(2, int(SECONDS / STEP) + 1):
        now = step * STEP
        yield now, Received(hashing, SIZES[hashing] * MB // 18)
        for name, speed in SPEED.items():
            yield now, Received(name, int(speed * MB * STEP))
    yield SECONDS, Hashed(hashing, SIZES[hashing] * MB * 83 // 100)


class Apart:
    """What a dashboard draws, with its spaces apart from its words: some viewers of SVG drop leading ones."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._dashboard, options):
            for part in re.split("( +)", segment.text):
                yield Segment(part, segment.style if part.strip(" ") else None)


def main(columns: int) -> None:
    """Play the script on a clock of its own, draw the last moment."""
    now = 0.0
    console = Console(
        record=True,
        file=io.StringIO(),
        width=columns,
        height=24,
        force_terminal=True,
        color_system="truecolor",
    )
    dashboard = Dashboard(console, "sync", lambda: now)
    for when, event in sorted(script(), key=lambda pair: pair[0]):
        now = when
        dashboard(event)
    now = SECONDS
    console.print(Apart(dashboard), end="")
    svg = console.export_svg(title="ckptd sync", unique_id="ckptd")
    Path(__file__).with_name("dashboard.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 110)

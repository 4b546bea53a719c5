"""What a command costs: wall seconds, CPU seconds of its process tree, memory of its largest process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SPAWN = [sys.executable, "-I", "-S", str(Path(__file__).with_name("spawn.py"))]


@dataclass(frozen=True, slots=True)
class Cost:
    """`wall` and `cpu` (user and system) in seconds, `peak` in bytes; a peak below 10 MB cannot be seen."""

    wall: float
    cpu: float
    peak: int


def run(script: str, log: Path, environment: Mapping[str, str]) -> Cost:
    """Run a shell script to its end, its output into `log`, and say what it cost.

    Dirty pages of what went before are written out first, outside the timed region. wait4(2) counts every
    descendant that was waited for. Raises RuntimeError, with the end of the output, if the script fails.
    """
    os.sync()
    result = log.with_suffix(".json")
    with log.open("wb") as output:
        done = subprocess.run(
            [*SPAWN, str(result), script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {script}\n{log.read_text(errors='replace')[-2000:]}")
    return Cost(**json.loads(result.read_text()))

"""Commands that run in scripts and units begin at once: what is slow to import stays out of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"aiohttp", "asyncio", "rich.live", "ssl", "ckptd.service.fetch"}
REPORT = """
import json, sys
from ckptd.cli.main import main
try:
    main(sys.argv[1:])
finally:
    sys.stdout.flush()
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
MANIFEST = '[[checkpoint]]\nname = "m"\nurl = "https://example.org/m.tar.gz"\n'


def imported(root: Path, *arguments: str) -> tuple[int, set[str], str]:
    """Exit status, the modules that one run imported, and stdout."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, set(json.loads(done.stderr.splitlines()[-1])), done.stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["status"], 0),
        (["status", "--json"], 0),
        (["path", "m"], 1),
        (["sync", "--dry-run"], 0),
        (["history"], 1),
        (["export"], 1),
    ],
)
def test_nothing_slow_is_imported(tmp_path: Path, arguments: list[str], status: int) -> None:
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    ended, modules, said = imported(tmp_path, *arguments)
    assert ended == status
    assert said or status
    assert "ckptd.cli.main" in modules
    assert modules & SLOW == set()


def test_asking_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    for command in (["status"], ["path", "m"], ["sync", "--dry-run"]):
        imported(tmp_path, *command)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.toml"]

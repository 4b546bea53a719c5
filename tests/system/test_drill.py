"""`ckptd drill`: everything is found, explained and mended on private copies; and what is missed is said, exit 3."""

from __future__ import annotations

import os
import random
import textwrap
from pathlib import Path
from typing import Any

import pytest
from origin import Origin
from workplace import Run, Workplace

KINDS = {
    "one bit flipped",
    "a hole punched",
    "one block overwritten",
    "its end cut off",
    "bytes added",
    "a web page in its place",
    "another file in its place",
    "a link in its place",
    "removed",
}
BODY = random.Random(4).randbytes(2_000_000)  # noqa: S311
SPARSE = BODY[:500_000] + bytes(1_000_000) + BODY[500_000:1_000_000]  # as weights may be


def exercises(run: Run) -> dict[str, dict[str, Any]]:
    return {each["title"]: each for each in run.report["exercises"]}


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """What is there, by size and inode; the state database is written to, and nothing else."""
    found = {path: path.lstat() for path in folder.rglob("*") if not path.name.startswith("state.db")}
    return {str(path): (status.st_size if path.is_file() else 0, status.st_ino) for path, status in found.items()}


def hooked(site: Workplace, source: str) -> dict[str, str]:
    """The environment in which the program does something else than usual, as `source` says."""
    folder = site.root / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(source))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_all_is_well(origin: Origin, site: Workplace) -> None:
    """With a checkpoint that is here: exit 0, a line each, nothing of the store is touched, nothing stays behind."""
    site.one(origin.put("/a.bin", BODY))
    site.sync().expect(0)
    origin.forget()
    before = contents(site.store)
    run = site.run("drill", "--json").expect(0)
    found = exercises(run)
    assert set(found) == KINDS
    assert all(each["passed"] and each["found"] and each["explained"] and each["mended"] for each in found.values())
    assert found["one bit flipped"]["fetched"] == 0
    assert found["one block overwritten"]["fetched"] <= 65536
    assert found["removed"]["fetched"] == len(BODY)
    assert contents(site.store) == before
    assert not origin.requests(), "the drill has an origin of its own"


@pytest.mark.slow
def test_for_people(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.bin", BODY))
    site.sync().expect(0)
    run = site.run("drill").expect(0)
    assert run.out.count("ok ") == len(KINDS)
    assert f"all {len(KINDS)} kinds" in run.out
    assert site.run("drill", "--quiet").expect(0).out == ""


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"", SPARSE], ids=["nothing is here", "mostly zeros"])
def test_whatever_is_here(origin: Origin, site: Workplace, body: bytes) -> None:
    """Bytes are made up where there are none that show damage."""
    site.one(origin.put("/a.bin", body))
    if body:
        site.sync().expect(0)
    run = site.run("drill", "--json").expect(0)
    assert all(each["passed"] for each in exercises(run).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missed", "flag", "source"),
    [
        pytest.param(
            "bytes added",
            "found",
            """
            import dataclasses, ckptd.service.drill as module
            tame = lambda file: None
            module.EXERCISES = tuple(
                dataclasses.replace(each, damage=tame) if each.title == "bytes added" else each
                for each in module.EXERCISES
            )
            """,
            id="not found",
        ),
        pytest.param(
            "a hole punched",
            "explained",
            """
            import dataclasses, ckptd.core.diagnose as module
            module._TABLE = tuple(row for row in module._TABLE if row.cause != "run-of-zeros")
            """,
            id="not explained",
        ),
        pytest.param(
            "removed",
            "mended",
            """
            import ckptd.service.repair as module
            run = module.Repair.run
            async def lazy(self, **keys):
                found = list(self._found.values())
                return found if found[0].state == "missing" else await run(self, **keys)
            module.Repair.run = lazy
            """,
            id="not mended",
        ),
        pytest.param(
            "one bit flipped",
            "mended",
            """
            import os, ckptd.service.repair as module
            run = module.Repair.run
            async def losing(self, **keys):
                found = list(self._found.values())
                if found[0].case is not None and found[0].case.cause == "flipped-bit":
                    os.unlink(found[0].path)
                    return found
                return await run(self, **keys)
            module.Repair.run = losing
            """,
            id="taken away, and others follow",
        ),
        pytest.param(
            "one block overwritten",
            "mended",
            """
            import ckptd.core.remedy as module
            from ckptd.core.plan import Fetch
            def lavish(outcome, *, plain):
                return Fetch("all of it", mends=True) if outcome.exit_status else None
            import ckptd.service.repair
            ckptd.service.repair.remedy = lavish
            """,
            id="mended with too much traffic",
        ),
    ],
)
def test_what_is_missed_is_said(origin: Origin, site: Workplace, missed: str, flag: str, source: str) -> None:
    site.one(origin.put("/a.bin", BODY))
    site.sync().expect(0)
    before = contents(site.store)
    hook = hooked(site, source)
    run = site.run("drill", "--json", env=hook).expect(3)
    found = exercises(run)
    assert set(found) == KINDS
    assert not found[missed]["passed"]
    assert not found[missed][flag]
    plain = site.run("drill", env=hook).expect(3)
    assert f"MISSED  {missed}: not " in plain.out
    assert missed in plain.out.splitlines()[-1]
    assert contents(site.store) == before

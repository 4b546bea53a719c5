"""service.doctor: each part by itself, in time; service.doctor_service: what systemctl says, or why it says nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ckptd.core.doctor import Area, Finding, Verdict
from ckptd.errors import StorageError
from ckptd.service import doctor, doctor_service
from ckptd.service.doctor_service import service

OK = Area("x").ok("x", "fine")
SHOW = """cat <<END
Id=ckptd.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
Result=success

Id=ckptd-sync.timer
LoadState=not-found
END
"""


def look(**parts: object) -> dict[str, list[Finding]]:
    return doctor._look(parts)  # type: ignore[arg-type]


def fail(error: Exception) -> object:
    def part() -> list[Finding]:
        raise error

    return part


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_that_fails_hides_no_other() -> None:
    found = look(
        good=lambda: [OK],
        known=fail(StorageError("it is full", hint="make room")),
        unknown=fail(ValueError("GET https://me:secret@host/f?X-Amz-Signature=abc failed")),
    )
    assert found["good"] == [OK]
    (known,) = found["known"]
    assert (known.verdict, known.mend) == (Verdict.UNKNOWN, "make room")
    assert "it is full" in known.text
    (unknown,) = found["unknown"]
    assert "ValueError" in unknown.text
    assert "secret" not in unknown.text
    assert "abc" not in unknown.text


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """What hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith(("ckptd-", "asyncio_")):
            thread.join(10)


def test_a_part_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch, go: threading.Event) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    begun = time.monotonic()
    found = look(hangs=lambda: [OK] if go.wait(30) else [], good=lambda: [OK])
    assert time.monotonic() - begun < 20
    assert found["good"] == [OK]
    assert found["hangs"][0].verdict is Verdict.UNKNOWN
    assert "no answer within" in found["hangs"][0].text


def test_a_name_server_that_hangs_is_not_waited_for(go: threading.Event, capfd: pytest.CaptureFixture[str]) -> None:
    """Threads that resolve names cannot be stopped. What was found meanwhile counts."""

    async def work() -> list[Finding]:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.to_thread(go.wait, 30)
        return [OK]

    begun = time.monotonic()
    assert doctor._run(work()) == [OK]
    assert time.monotonic() - begun < 20
    go.set()
    assert capfd.readouterr().err == ""


# --- systemd ----------------------------------------------------------------------------------------------------------


def systemctl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemctl of our own, the only one there is."""
    program = folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


async def units(booted: Path) -> dict[str, Finding]:
    findings, watched = await service(None, booted=booted)
    assert not watched
    return {each.name: each for each in findings}


async def test_what_systemctl_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl(tmp_path, f'echo "$@" > {tmp_path}/asked\n{SHOW}', monkeypatch)
    found = await units(tmp_path)
    assert found["ckptd.service"].verdict is Verdict.OK
    assert "ckptd-sync.timer" not in found
    asked = (tmp_path / "asked").read_text().split()
    assert asked[0] == "show"
    assert {"ckptd.service", "ckptd-sync.timer", "ckptd-verify.timer"} <= set(asked)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "failed with status 1"),
        ("echo nonsense", "failed with status 0"),
        ("exec sleep 60", "did not answer within"),
    ],
    ids=["fails", "says something else", "hangs"],
)
async def test_a_systemctl_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    monkeypatch.setattr(doctor_service, "SECONDS", 0.5)
    systemctl(tmp_path, script, monkeypatch)
    found = (await units(tmp_path))["units"]
    assert found.verdict is Verdict.UNKNOWN
    assert why in found.text


async def test_no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked where it does not run the machine, whatever is installed."""
    systemctl(tmp_path, f"touch {tmp_path}/asked", monkeypatch)
    assert "does not run this machine" in (await units(tmp_path / "nothing"))["units"].text
    assert not (tmp_path / "asked").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no systemctl" in (await units(tmp_path))["units"].text

"""Alerts and the log of a real daemon: told once when damage begins, once when it is over, whatever happens between."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from origin import Origin, Origins, Turn
from workplace import Run, Running, Workplace, tgz, wait_until

BODY = tgz(60_000, 1)
SECRET = "T00-s3cr3t-hook"  # in a webhook's path, as chat services have it
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d (?:error: |warning: )?\S+: ")


class Teller:
    """A command that keeps what it was told, a file for each time."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "told"
        self.folder.mkdir()
        self.program = root / "tell"
        self.program.write_text(
            '#!/bin/sh\nset -e\nname=$(mktemp "$1/XXXXXX.new")\n'
            'echo "$CKPTD_INCIDENT_KIND $CKPTD_CHECKPOINT $CKPTD_STATE" > "$name"\n'
            'cat >> "$name"\nmv "$name" "${name%.new}"\n'
        )
        self.program.chmod(0o755)

    @property
    def command(self) -> list[str]:
        return [str(self.program), str(self.folder)]

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The environment's words and the JSON of each time, in their order."""
        files = [path for path in self.folder.iterdir() if path.suffix != ".new"]
        parts = [path.read_text().split("\n", 1) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]
        return [(words, json.loads(body)) for words, body in parts]

    @property
    def words(self) -> list[str]:
        """The environment's words, of damage."""
        return [words for words, _ in self.told if words.startswith("damage ")]


@pytest.fixture
def teller(tmp_path: Path) -> Teller:
    return Teller(tmp_path)


@pytest.fixture
def daemon(site: Workplace) -> Callable[[], Running]:
    """Starts the daemon and waits until it answers."""

    def start() -> Running:
        running = site.start("daemon")
        wait_until(lambda: (site.state / "daemon.sock").exists() or not running.running, what="the daemon's socket")
        assert running.running, running.wait()
        return running

    return start


def stop(running: Running) -> Run:
    running.signal(signal.SIGTERM)
    return running.wait(invariants=False).expect(0)


def damage(site: Workplace) -> None:
    path = site.file("a")
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk does it: sync does not look closer


def write(site: Workplace, origin: Origin, **alerts: Any) -> None:
    url = origin.put("/a.tar.gz", BODY)
    site.write({"name": "a", "url": url}, alerts=alerts, verify={"on_damage": "keep"}, sync={"every": "1h"})


def posted(turn: Turn) -> None:
    """Take what is posted."""
    turn.reply.status = 200
    turn.reply.close = True


def refused(turn: Turn) -> None:
    """Fail."""
    turn.reply.status = 500
    turn.reply.close = True


@pytest.mark.slow
def test_damage_is_told_once_and_its_end_once_over_a_restart(
    site: Workplace, origin: Origin, teller: Teller, daemon: Callable[[], Running]
) -> None:
    write(site, origin, command=teller.command)
    site.sync().expect(0)
    first = daemon()
    site.verify().expect(0)
    damage(site)
    site.verify().expect(3)
    wait_until(lambda: teller.words == ["damage a begun"], what="the alert")
    site.verify().expect(3)
    log = stop(first).err
    assert "error: a: damage: " in log
    assert all(STAMP.match(line) for line in log.splitlines()), log

    origin.refuse()  # or the new daemon mends it before anybody looks
    second = daemon()
    site.verify().expect(3)
    assert teller.words == ["damage a begun"]
    origin.listen()
    site.run("verify", "--repair", "--json", invariants=False).expect(0)
    wait_until(lambda: len(teller.words) > 1, what="the end of it")
    site.verify().expect(0)
    log = stop(second).err
    assert teller.words == ["damage a begun", "damage a over"]
    assert "warning: a: still: damage: " in log
    assert " a: damage is over, after " in log
    begun, over = (body for _, body in teller.told if body["kind"] == "damage")
    assert begun["since"] == over["since"]
    assert (begun["until"], begun["store"], begun["program"]) == (None, str(site.store), "ckptd")
    assert over["until"] is not None


@pytest.mark.slow
def test_the_webhook_and_its_secret(site: Workplace, origin: Origin, daemon: Callable[[], Running]) -> None:
    site.secrets.append(SECRET)
    origin.on(f"/{SECRET}", refused, method="POST")
    origin.on(f"/{SECRET}", posted, method="POST", skip=1)
    write(site, origin, webhook=origin.url(f"/{SECRET}"))
    site.sync().expect(0)
    running = daemon()
    damage(site)
    site.verify().expect(3)
    hooks = f"/{SECRET}"
    wait_until(lambda: [each.status for each in origin.requests(hooks) if each.finished] == [500, 200], what="a retry")
    status = site.run("status", "--json", invariants=False)
    stop(running)
    assert SECRET not in status.out


@pytest.mark.slow
def test_a_webhook_that_is_away_is_told_of_and_holds_up_nothing(
    site: Workplace, origin: Origin, origins: Origins, teller: Teller, daemon: Callable[[], Running]
) -> None:
    site.secrets.append(SECRET)
    away = origins.new()
    away.refuse()
    write(site, origin, webhook=away.url(f"/{SECRET}"), command=teller.command)
    site.sync().expect(0)
    running = daemon()
    damage(site)
    site.verify().expect(3)
    wait_until(lambda: teller.words == ["damage a begun"], what="the command")
    log = stop(running).err
    assert "warning: alerts: damage begun (a) was not told: the daemon stops" in log
    assert SECRET not in log


@pytest.mark.slow
@pytest.mark.parametrize(("tell", "status"), [(True, 0), (False, 3)], ids=["arrives", "does not"])
def test_the_drill_shows_whether_alerts_arrive(
    site: Workplace, origin: Origin, teller: Teller, tell: bool, status: int
) -> None:
    command = teller.command if tell else ["/bin/sh", "-c", "echo no mail here; exit 4"]
    write(site, origin, command=command)
    run = site.run("drill", "--json", timeout=120, invariants=False).expect(status)
    (arrival,) = run.report["alerts"]
    assert arrival["passed"] is tell
    assert teller.words == (["damage drill begun", "damage drill over"] if tell else [])
    assert all(body["drill"] is True for _, body in teller.told)
    assert tell or arrival["why"] == "sh ended with exit status 4: no mail here"

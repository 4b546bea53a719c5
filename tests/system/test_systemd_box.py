"""ckptd under a real systemd: installed as systemd/README.md says, in a box that is thrown away (tests/support/box.py).

Units are the shipped ones; the program comes from the wheel, without a network. Origins are an nginx in the box, or
ours in the box's network.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import box as b
import faults as f
import pytest
import tomli_w
from box import Box
from origin import Hold, Origin, Origins
from workplace import sha256, tgz, wait_until

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
README = re.findall(r"```sh\n(.*?)```", (PROJECT / "systemd" / "README.md").read_text(), re.DOTALL)
PROGRAM, FILES, BEGIN = README[:3]  # the three steps of "Install in ten minutes"
WITHOUT_DAEMON = next(block for block in README if "ckptd-sync.timer" in block)
STORE = "/srv/checkpoints"
SOCKET = "/run/ckptd/daemon.sock"
TOKEN = "hf_thisIsVerySecret0123456789"
A, B = tgz(12_000_000, 1), tgz(300_000, 2)
CUT = 8_000_000

Entry = Mapping[str, Any]


class Server:
    """A box with ckptd in it, and the origin that it fetches from."""

    def __init__(self, box: Box, origin: Origin) -> None:
        self.box = box
        self.origin = origin

    def manifest(self, *entries: Entry, **tables: Entry) -> None:
        """Write /etc/ckptd/manifest.toml: the sample's folders, and a checkpoint for each entry."""
        document: dict[str, Any] = {
            "store": {"path": STORE, "lock": "/var/lib/ckptd/manifest.lock", "group": "ckptd"},
            "daemon": {"socket": SOCKET},
            "transfer": {"stall_timeout": "5min"},
            **tables,
            "checkpoint": [dict(entry) for entry in entries],
        }
        self.box.write("/etc/ckptd/manifest.toml", tomli_w.dumps(document))

    def drop_in(self, unit: str, name: str, text: str | None = None) -> None:
        """Put one of the shipped drop-ins in force, or `text`."""
        shipped = (PROJECT / "systemd" / "drop-ins" / name).read_text() if text is None else text
        self.box.write(f"/etc/systemd/system/{unit}.d/{name}", shipped)
        self.box.do("systemctl", "daemon-reload")

    def start(self, unit: str = "ckptd") -> None:
        """Start a unit and wait until it is ready, or a one-shot unit is done."""
        done = self.box.run("systemctl", "start", unit)
        assert done.returncode == 0, done.stderr + self.box.describe(unit)

    def file(self, name: str) -> Path:
        """The published file of a checkpoint."""
        return self.box.path(f"{STORE}/{name}/{name}.tar.gz")

    def wait_for_file(self, name: str, body: bytes) -> None:
        """Until it is published; it is the right one."""
        wait_until(self.file(name).exists, what=f"{name} is published")
        assert self.file(name).read_bytes() == body

    def damage(self, name: str) -> None:
        """Write over a few bytes in the middle of a published file."""
        path = f"{STORE}/{name}/{name}.tar.gz"
        middle = self.file(name).stat().st_size // 2
        self.box.do("dd", f"of={path}", "bs=1", f"seek={middle}", "conv=notrunc", "status=none", stdin="damage")

    def shipped(self, *names: str) -> None:
        """Install more of the units that came with the wheel."""
        go_there = FILES.splitlines()[0]
        self.box.do("sh", "-eu", "-c", f"{go_there}\ninstall -m 644 {' '.join(names)} /etc/systemd/system/")

    def pid(self) -> str:
        return self.box.show("ckptd", "MainPID")

    def hold(self) -> Hold:
        """Serve a as /a.tar.gz, and stand still after CUT bytes of every answer."""
        place = Hold()
        self.origin.on("/a.tar.gz", f.hold(CUT, place), times=None)
        self.manifest({"name": "a", "url": self.origin.put("/a.tar.gz", A)})
        return place

    def wait_for_partial(self) -> None:
        """Until half of what was sent is on record as being here."""

        def noted() -> bool:
            here = re.search(r"([\d.]+) MB of 12 MB are here", self.box.do("ckptd", "status"))
            return here is not None and float(here[1]) * 1e6 >= CUT // 2

        wait_until(noted, what="the state knows of the partial")


@pytest.fixture(scope="session")
def program(lacking: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for /opt/ckptd with the program as the README installs it, from a wheel of this very tree."""
    if lack := b.lacks():
        lacking(lack)
    wheel, opt = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("opt")
    offline = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={wheel}", str(PROJECT)],
        env={**os.environ, **offline, "PIP_FIND_LINKS": str(b.WHEELS)},
        check=True,
        timeout=120,
    )
    steps = [line for line in PROGRAM.splitlines() if not line.startswith("apt-get ")]
    assert len(steps) == 3, "the first block of the README: environment, pip, link"
    settings = [f"export {name}={value}" for name, value in offline.items()]
    with Box({b.WHEELS: "/wheels", wheel: "/wheel"}, writable={opt: "/opt/ckptd"}) as box:
        script = "\n".join(["set -eu", *settings, "export PIP_FIND_LINKS='/wheels /wheel'", *steps])
        box.do("sh", "-c", script, timeout=300)
    opt.chmod(0o755)
    return opt


@contextmanager
def serving(program: Path, writable: Mapping[Path, str] | None = None) -> Iterator[Server]:
    """A fresh box in which the program, the files and the unit are installed, and nothing has begun."""
    with Box({program: "/opt/ckptd"}, writable=writable) as box, Origins() as origins:
        box.do("ln", "-s", "/opt/ckptd/bin/ckptd", "/usr/local/bin/ckptd")
        box.do("sh", "-eu", "-c", FILES)
        yield Server(box, box.inside(origins.new))


@pytest.fixture
def server(program: Path) -> Iterator[Server]:
    """A box for one test."""
    with serving(program) as made:
        yield made


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_install_as_the_readme_says_and_sync_from_nginx(server: Server) -> None:
    """Installed from the wheel into /opt, started, synced from nginx; users, folders, status line, journal."""
    box = server.box
    box.write("/var/www/html/a.tar.gz", A)
    box.do("systemctl", "start", "nginx")
    server.manifest({"name": "a", "url": "http://127.0.0.1/a.tar.gz"})
    box.do("sh", "-eu", "-c", BEGIN)
    server.wait_for_file("a", A)

    assert box.show("ckptd", "ActiveState") == "active"
    assert box.show("ckptd", "UnitFileState") == "enabled"
    assert box.do("systemctl", "is-system-running", "--wait").strip() == "running"
    wait_until(lambda: box.show("ckptd", "StatusText"), what="there is a status line")

    user = box.do("getent", "passwd", "ckptd").split(":")
    uid, gid = int(user[2]), int(user[3])
    assert 0 < uid < 1000, "a system user"
    assert user[6].strip().endswith("nologin")
    assert owner_and_mode(box.path(STORE)) == (uid, gid, 0o2755)
    assert owner_and_mode(box.path(f"{STORE}/a")) == (uid, gid, 0o2755)
    assert owner_and_mode(server.file("a")) == (uid, gid, 0o444)
    assert owner_and_mode(box.path("/var/lib/ckptd/manifest.lock"))[0] == uid
    assert owner_and_mode(box.path(SOCKET)) == (uid, gid, 0o660)
    assert owner_and_mode(box.path("/etc/ckptd")) == (0, 0, 0o755)
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in box.do("cat", f"/proc/{server.pid()}/status")

    lines = [json.loads(line) for line in box.journal("ckptd", "--output=json").splitlines()]
    said = [line for line in lines if line["_SYSTEMD_UNIT"] == "ckptd.service"]
    assert any("a" in line["MESSAGE"] and "fetched" in line["MESSAGE"] for line in said), said
    assert {line["SYSLOG_IDENTIFIER"] for line in said} == {"ckptd"}
    assert not [line for line in said if "Traceback" in line["MESSAGE"]]

    box.do("systemd-analyze", "security", "--no-pager", "--threshold=15", "ckptd.service")  # the live one, as enforced
    box.do("systemctl", "stop", "ckptd")
    assert box.show("ckptd", "Result") == "success"
    assert box.show("ckptd", "ExecMainStatus") == "0"
    assert not box.path(SOCKET).exists()


def test_killed_in_the_middle_it_comes_back_and_goes_on(server: Server) -> None:
    """kill -9: systemd starts it again, and the download goes on where it was, without being told."""
    place = server.hold()
    server.start()
    wait_until(place.reached.is_set, what="the download stands still")
    server.wait_for_partial()
    server.box.do("kill", "-9", server.pid())
    server.origin.calm()
    server.origin.forget()
    server.box.wait_for("ckptd", NRestarts="1", ActiveState="active")
    server.wait_for_file("a", A)
    assert 0 < server.origin.body_bytes() <= len(A) - CUT // 2, "it began again"


def test_stopped_in_the_middle_and_started_again(server: Server) -> None:
    """It stops within seconds while an origin stands still; what was there is not fetched twice."""
    place = server.hold()
    server.start()
    wait_until(place.reached.is_set, what="the download stands still")
    wait_until(lambda: "a" in server.box.show("ckptd", "StatusText").split(), what="the status line names it")
    server.wait_for_partial()
    server.box.do("systemctl", "stop", "ckptd", timeout=15)
    assert server.box.show("ckptd", "Result") == "success", "it was killed: it did not stop in time"
    assert not server.file("a").exists()
    server.origin.calm()
    server.origin.forget()
    server.start()
    server.wait_for_file("a", A)
    assert server.origin.body_bytes() <= len(A) - CUT // 2, "it began again"


def test_an_event_loop_that_stands_still_is_noticed(server: Server) -> None:
    """The watchdog: without a sign of life it is ended, says where it hung, and is started again."""
    server.drop_in("ckptd.service", "quick.conf", "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n")
    server.manifest({"name": "b", "url": server.origin.put("/b.tar.gz", B)})
    server.start()
    server.wait_for_file("b", B)
    before = server.pid()
    server.box.do("kill", "-STOP", before)
    server.box.wait_for("ckptd", NRestarts="1", ActiveState="active", MainPID=lambda pid: pid not in {"0", before})
    journal = server.box.journal("ckptd")
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal, "nothing says where it hung"
    assert server.box.run("ckptd", "status").returncode == 0


def test_reload_takes_a_good_manifest_and_refuses_a_broken_one(server: Server) -> None:
    box = server.box
    a = {"name": "a", "url": server.origin.put("/a.tar.gz", A)}
    second = {"name": "b", "url": server.origin.put("/b.tar.gz", B)}
    server.manifest(a)
    server.start()
    server.wait_for_file("a", A)
    before = server.pid()

    box.write("/etc/ckptd/manifest.toml", '[[checkpoint]]\nname = "b"\nulr = "http://127.0.0.1/b.tar.gz"\n')
    box.do("systemctl", "reload", "ckptd")
    box.wait_for("ckptd", ActiveState="active", StatusText=lambda text: "manifest" in text and "old one" in text)
    assert "ulr" in box.journal("ckptd"), "the log does not name the key"

    server.manifest(a, second)
    box.do("systemctl", "reload", "ckptd")
    server.wait_for_file("b", B)
    box.wait_for("ckptd", ActiveState="active", StatusText=lambda text: "manifest" not in text)
    assert server.pid() == before
    assert "Traceback" not in box.journal("ckptd")


def test_a_manifest_that_is_wrong_at_the_start_can_be_mended(server: Server) -> None:
    """It does not start, says why, and comes up by itself once the manifest is right: systemd never gives up."""
    box = server.box
    box.write("/etc/ckptd/manifest.toml", "[store]\npaht = '/srv/checkpoints'\n")
    assert box.run("systemctl", "start", "ckptd").returncode != 0
    box.wait_for("ckptd", ExecMainStatus="2")
    journal = box.journal("ckptd")
    assert "paht" in journal
    assert "Traceback" not in journal
    server.manifest({"name": "b", "url": server.origin.put("/b.tar.gz", B)})
    box.wait_for("ckptd", ActiveState="active")
    server.wait_for_file("b", B)


def test_a_token_reaches_the_origin_and_nobody_else(server: Server) -> None:
    """drop-ins/credentials.conf as it is: LoadCredential=."""
    box, origin = server.box, server.origin
    box.write("/etc/ckptd/credentials/hf-token", f"{TOKEN}\n", 0o600)
    box.do("chmod", "700", "/etc/ckptd/credentials")
    server.drop_in("ckptd.service", "credentials.conf")
    server.manifest(
        {"name": "b", "url": origin.put("/b.tar.gz", B)},
        auth={f"127.0.0.1:{origin.port}": {"bearer_file": "/run/credentials/ckptd.service/hf-token"}},
    )
    box.do("useradd", "eve")
    server.start()
    server.wait_for_file("b", B)
    assert {exchange.request.header("authorization") for exchange in origin.requests()} == {f"Bearer {TOKEN}"}

    box.do("journalctl", "--sync")
    for command in (
        ["journalctl", "--no-pager", "--output=json"],
        ["systemctl", "show", "ckptd"],
        ["systemctl", "status", "--no-pager", "--full", "ckptd"],
        ["cat", f"/proc/{server.pid()}/environ", f"/proc/{server.pid()}/cmdline"],
        ["ckptd", "status", "--json"],
    ):
        assert TOKEN not in box.do(*command), command
    found = box.run("grep", "-raFls", TOKEN, STORE, "/var", "/run", "/etc").stdout.split()
    assert set(found) == {"/etc/ckptd/credentials/hf-token", "/run/credentials/ckptd.service/hf-token"}
    assert box.run("cat", "/run/credentials/ckptd.service/hf-token", user="eve").returncode != 0


def test_who_may_ask_for_what(server: Server) -> None:
    """The store's group may read and ask for a sync; only the owner and root may update; a stranger is told so."""
    box = server.box
    box.do("useradd", "--groups", "ckptd", "ada")
    box.do("useradd", "eve")
    server.manifest({"name": "b", "url": server.origin.put("/b.tar.gz", B)})
    server.start()
    server.wait_for_file("b", B)

    def ask(user: str | None, *command: str) -> subprocess.CompletedProcess[str]:
        done = box.run("ckptd", *command, user=user)
        assert "Traceback" not in done.stderr
        return done

    assert f"daemon, pid {server.pid()}" in ask("ada", "status").stdout
    assert ask("ada", "sync").returncode == 0
    assert ask("ada", "verify", "b").returncode == 0
    for changing in (["update", "b"], ["verify", "--repair"]):
        refused = ask("ada", *changing)
        assert refused.returncode != 0
        assert "only the owner" in refused.stderr
        assert changing[0] in refused.stderr
    assert ask("eve", "status").returncode == 0, "what is there may be known to everybody"
    stranger = ask("eve", "sync")
    assert stranger.returncode != 0
    assert SOCKET in stranger.stderr
    assert "group" in stranger.stderr
    assert ask("ckptd", "update", "b").returncode == 0
    assert ask(None, "update", "b").returncode == 0
    assert box.run("sha256sum", f"{STORE}/b/b.tar.gz", user="eve").stdout.startswith(sha256(B)), "it is for everybody"


def test_timers_without_a_daemon(server: Server) -> None:
    """For who wants no resident process: both timers wait for their hour, and both services work when started."""
    box = server.box
    server.manifest({"name": "a", "url": server.origin.put("/a.tar.gz", A)})
    box.do("sh", "-eu", "-c", f"{FILES.splitlines()[0]}\n{WITHOUT_DAEMON}")
    timers = json.loads(box.do("systemctl", "list-timers", "--output=json", "ckptd*"))
    assert {timer["activates"] for timer in timers} == {"ckptd-sync.service", "ckptd-verify.service"}
    assert all(timer["next"] for timer in timers)

    server.start("ckptd-sync")
    assert server.file("a").read_bytes() == A
    server.start("ckptd-verify")
    assert [box.show(f"ckptd-{unit}", "Result") for unit in ("sync", "verify")] == ["success", "success"]
    assert "fetched" in box.journal("ckptd-sync")

    server.start("ckptd")  # and with a daemon they ask it
    server.start("ckptd-sync")
    assert box.path(SOCKET).exists(), "the one-shot unit took the daemon's folder with it"
    assert box.show("ckptd", "ActiveState") == "active"


def test_a_failure_is_posted_and_mailed(server: Server) -> None:
    """drop-ins/failure.conf and ckptd-failure@.service as they are, after damage that ckptd-verify finds."""
    box = server.box
    box.write("/etc/nginx/sites-enabled/default", "server { listen 80; location = /hook { return 204; } }\n")
    box.write("/usr/local/bin/mail", '#!/bin/sh\n{ echo "$@"; cat; } >/var/mail/told\n', 0o755)
    box.write("/etc/default/ckptd-failure", "MAILTO=ops@example.org\nWEBHOOK=http://127.0.0.1/hook\n", 0o600)
    server.shipped("ckptd-sync.service", "ckptd-verify.service", "ckptd-failure@.service")
    server.drop_in("ckptd-verify.service", "failure.conf")
    # As when everything was read long ago.
    everything = "[Service]\nExecStart=\nExecStart=/opt/ckptd/bin/ckptd verify --manifest /etc/ckptd/manifest.toml\n"
    server.drop_in("ckptd-verify.service", "everything.conf", everything)
    server.manifest({"name": "a", "url": server.origin.put("/a.tar.gz", A)})
    box.do("systemctl", "start", "nginx")
    server.start("ckptd-sync")
    server.start("ckptd-verify")

    server.damage("a")
    assert box.run("systemctl", "start", "ckptd-verify").returncode != 0
    assert box.show("ckptd-verify", "ExecMainStatus") == "3"
    telling = "ckptd-failure@ckptd-verify.service.service"
    box.wait_for(telling, ActiveState=lambda state: state != "activating", ExecMainExitTimestamp=bool)
    assert box.show(telling, "Result") == "success", box.describe(telling)
    mail = box.path("/var/mail/told").read_text()
    assert "ops@example.org" in mail
    assert "ckptd-verify.service has failed" in mail
    assert "corrupt" in mail
    assert '"POST /hook HTTP/1.1" 204' in box.path("/var/log/nginx/access.log").read_text()


def test_another_store_of_another_group(server: Server) -> None:
    """drop-ins/store.conf with its lines for a group of the site's: every file is given to that group."""
    box = server.box
    text = (PROJECT / "systemd" / "drop-ins" / "store.conf").read_text()
    server.drop_in("ckptd.service", "store.conf", text.replace("#SupplementaryGroups=", "SupplementaryGroups="))
    box.do("groupadd", "ml")
    box.do("install", "-d", "-o", "ckptd", "-g", "ckptd", "-m", "755", "/data/checkpoints")
    server.manifest(
        {"name": "b", "url": server.origin.put("/b.tar.gz", B)},
        store={"path": "/data/checkpoints", "lock": "/var/lib/ckptd/manifest.lock", "group": "ml"},
    )
    server.start()
    wait_until(box.path("/data/checkpoints/b/b.tar.gz").exists, what="b is published")
    shown = box.do("find", "/data/checkpoints/b", "-printf", "%m %u:%g %f\n").splitlines()
    assert shown == ["2755 ckptd:ml b", "444 ckptd:ml b.tar.gz"]


def test_nothing_that_it_needs_is_denied(program: Path, tmp_path: Path) -> None:
    """A whole life under a filter that kills in the place of refusing: fetch, unpack, read again, mend, stop.

    On a real disk, which has O_DIRECT. The one call that may be refused is ioprio_set: it is a courtesy.
    """
    with serving(program, {tmp_path: STORE}) as server:
        box = server.box
        strict = "[Service]\nSystemCallErrorNumber=kill\nSystemCallFilter=ioprio_set\n"
        server.drop_in("ckptd.service", "strict.conf", strict)
        server.manifest(
            {"name": "a", "url": server.origin.put("/a.tar.gz", A), "unpack": True},
            {"name": "b", "url": server.origin.put("/b.tar.gz", B)},
        )
        server.start()
        server.wait_for_file("a", A)
        server.wait_for_file("b", B)
        verified = box.run("ckptd", "verify", "--sha256")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        server.damage("a")
        repaired = box.run("ckptd", "verify", "--repair")
        assert repaired.returncode == 0, repaired.stdout + repaired.stderr + box.describe("ckptd")
        assert server.file("a").read_bytes() == A
        box.do("systemctl", "stop", "ckptd")
        assert (box.show("ckptd", "Result"), box.show("ckptd", "NRestarts")) == ("success", "0")

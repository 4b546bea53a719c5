"""`ckptd doctor`: what is wrong is found, with what mends it; it works when half of everything is broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faults as f
import pytest
from origin import Hold, Origin, Origins
from web import free_port
from workplace import CKPTD, Run, Workplace, tgz, wait_until

pytestmark = pytest.mark.slow

A, B = tgz(60_000, 1), tgz(60_000, 2)
TOKEN = "hf_secretsecretsecret"
Lacking = Callable[[str], None]


@pytest.fixture
def well(origin: Origin, site: Workplace) -> Workplace:
    """Two checkpoints, fetched."""
    site.write({"name": "a", "url": origin.put("/a.tar.gz", A)}, {"name": "b", "url": origin.put("/b.tar.gz", B)})
    site.sync().expect(0)
    origin.forget()
    return site


def doctor(site: Workplace, *args: str, **more: Any) -> Run:
    return site.run("doctor", "--json", *args, invariants=False, **more)


def found(run: Run, name: str) -> dict[str, str]:
    """The one finding of this name."""
    matching = [each for each in run.report["findings"] if each["name"] == name]
    assert len(matching) == 1, f"{name}: {run}"
    finding: dict[str, str] = matching[0]
    return finding


def wrong(run: Run) -> dict[str, str]:
    """What is bad, or a warning, but for what is so on every machine that runs tests: verdicts by name."""
    usual = {"way", "pressure", "io-class", "durable", "proxy"}
    told = [each for each in run.report["findings"] if each["verdict"] in {"warn", "bad"}]
    return {each["name"]: each["verdict"] for each in told if each["name"] not in usual}


def flip(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)


# --- all is well ------------------------------------------------------------------------------------------------------


def test_all_is_well(origin: Origin, well: Workplace) -> None:
    before = sorted(str(path) for path in well.root.rglob("*") if not path.name.startswith("state.db-"))
    run = doctor(well).expect(0)
    assert wrong(run) == {}
    for each in run.report["findings"]:
        assert each.keys() == {"area", "name", "verdict", "text", "mend"}
        assert each["verdict"] in {"ok", "warn", "bad", "unknown"}
        assert each["text"]
    areas = list(dict.fromkeys(each["area"] for each in run.report["findings"]))
    assert set(areas) == {"machine", "store", "filesystem", "space", "work", "network", "service"}
    for name in ("python", "libraries", "locks", "rename", "fsync", "database", "room", "history", "promise", "ca"):
        assert found(run, name)["verdict"] == "ok", found(run, name)
    assert sorted(str(path) for path in well.root.rglob("*") if not path.name.startswith("state.db-")) == before


def test_each_origin_is_asked_once_for_headers_and_once_for_a_byte(origin: Origin, well: Workplace) -> None:
    run = doctor(well).expect(0)
    asked = [(each.request.method, each.range) for each in origin.requests()]
    assert sorted(asked, key=str) == [("GET", (0, 0)), ("HEAD", None)]
    assert origin.body_bytes() <= 1
    label = re.sub("^http://|/.*$", "", origin.url("/")).rstrip("/")
    assert "serves ranges" in found(run, f"origin-{label}")["text"]
    origin.forget()
    run = doctor(well, "--offline").expect(0)
    assert origin.requests() == []
    assert found(run, "origins")["verdict"] == "unknown"


def test_lines_for_people(well: Workplace) -> None:
    run = well.run("doctor").expect(0)
    lines = run.out.splitlines()
    assert all(re.match(r"(ok|warn|BAD|\?) +\w+: \S|      +\S", line) for line in lines[:-1]), run
    assert re.fullmatch(r"doctor: \d+ ok(, \d+ warnings?)?(, \d+ unknown)?", lines[-1])
    (well.store / "stray").mkdir(mode=0o700)
    well.store.chmod(0o777)
    run = well.run("doctor", "--quiet", "--offline", invariants=False).expect(5)
    (line,) = [number for number, line in enumerate(run.out.splitlines()) if line.startswith("BAD")]
    assert "writable by everybody" in run.out.splitlines()[line]
    assert run.out.splitlines()[line + 1].strip() == f"chmod o-w {well.store}"
    assert "ok " not in run.out


# --- the documents ----------------------------------------------------------------------------------------------------


def test_no_manifest(site: Workplace) -> None:
    """The machine is looked at all the same."""
    run = doctor(site).expect(2)
    assert found(run, "manifest")["verdict"] == "bad"
    assert "--manifest" in found(run, "manifest")["mend"]
    assert found(run, "python")["verdict"] == "ok"
    assert found(run, "ca")["verdict"] == "ok"
    assert not site.store.exists()


@pytest.mark.parametrize("text", ["[[checkpoint]\n", 'x = "\xff', "", "[store]\npath = 7\n"])
def test_a_manifest_that_cannot_be_read(site: Workplace, text: str) -> None:
    site.manifest.write_bytes(text.encode("latin-1"))
    run = doctor(site).expect(0 if not text else 2)
    assert found(run, "manifest")["verdict"] == ("bad" if text else "ok")
    assert found(run, "python")["verdict"] == "ok"


def test_a_manifest_that_is_a_folder(site: Workplace) -> None:
    site.manifest.mkdir()
    assert found(doctor(site).expect(2), "manifest")["verdict"] == "bad"


@pytest.mark.parametrize("content", [b"", b"version = 1\n[[checkpoint]]\nname", b"version = 99\n", b"\xff\xfe"])
def test_a_lock_that_cannot_be_used(well: Workplace, content: bytes) -> None:
    """The store, and what its filesystem can do, are looked at all the same."""
    well.lock_path.write_bytes(content)
    run = doctor(well).expect(2)
    assert found(run, "lock")["verdict"] == "bad"
    assert found(run, "locks")["verdict"] == "ok"
    assert found(run, "manifest")["verdict"] == "ok"


def test_a_group_that_does_not_exist(origin: Origin, site: Workplace) -> None:
    site.write({"name": "a", "url": origin.put("/a.tar.gz", A)}, store={"group": "no-such-group"})
    run = doctor(site).expect(2)
    assert "groupadd no-such-group" in found(run, "group")["mend"]


def test_before_the_first_sync(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/a.tar.gz", A))
    run = doctor(site).expect(0)
    assert found(run, "store")["mend"] == "ckptd sync"
    assert found(run, "trials")["verdict"] == "unknown"
    assert not site.store.exists()


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_store_that_is_not_mounted(well: Workplace) -> None:
    well.store.rename(well.root / "elsewhere")
    run = doctor(well).expect(3)  # all that is promised is away
    assert "findmnt" in found(run, "store")["mend"]
    assert found(run, "promise")["verdict"] == "bad"
    assert not well.store.exists()


def test_modes_that_are_wrong(well: Workplace) -> None:
    well.file("a").chmod(0o600)
    (well.store / "b").chmod(0o700)
    run = doctor(well, "--offline").expect(0)
    assert wrong(run) == {"file-modes": "warn"}
    assert str(well.file("a")) in found(run, "file-modes")["text"]
    assert str(well.store / "b") in found(run, "file-modes")["mend"]


def test_a_store_that_nobody_can_get_to(well: Workplace) -> None:
    well.root.chmod(0o700)
    run = doctor(well, "--offline").expect(0)
    assert str(well.root) in found(run, "way")["mend"]


def test_a_read_only_filesystem(origin: Origin, site: Workplace, lacking: Lacking) -> None:
    if os.geteuid() != 0:
        lacking("only root can mount a file system")
    site.one(origin.put("/a.tar.gz", A))
    site.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=0755", "none", str(site.store)], check=True)
    try:
        site.sync().expect(0)
        subprocess.run(["mount", "-o", "remount,ro", str(site.store)], check=True)
        run = doctor(site).expect(5)
        assert wrong(run) == {"writable": "bad"}
        assert found(run, "writable")["mend"] == f"mount -o remount,rw {site.store}"
        assert found(run, "trials")["verdict"] == "unknown"
        assert found(run, "durable")["verdict"] == "warn"
    finally:
        subprocess.run(["umount", str(site.store)], check=True)


def test_what_does_not_fit(origin: Origin, site: Workplace) -> None:
    site.write({"name": "a", "url": origin.put("/a.tar.gz", A), "size": 10**17})
    assert found(doctor(site, "--offline").expect(5), "room")["verdict"] == "bad"
    site.write({"name": "a", "url": origin.url("/a.tar.gz")}, store={"keep_free": "1000 PB"})
    assert found(doctor(site, "--offline").expect(0), "room")["verdict"] == "warn"


def test_what_could_go(origin: Origin, well: Workplace) -> None:
    well.write({"name": "b", "url": origin.url("/b.tar.gz")})
    run = doctor(well, "--offline").expect(0)
    assert found(run, "leftovers")["verdict"] == "warn"
    assert found(run, "leftovers")["mend"] == "ckptd prune"


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that every user can get to."""
    path = Path(tempfile.mkdtemp(prefix="ckptd-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_a_store_of_somebody_else(origin: Origin, elsewhere: Path, lacking: Lacking) -> None:
    """What only its owner may look at is unknown, and who that is, is said; a locked state is no traceback."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0:
        lacking("only root can be somebody else")
    if subprocess.run([*user, str(CKPTD), "--version"], capture_output=True, check=False).returncode != 0:
        lacking("the program is where nobody else may go")
    site = Workplace(elsewhere / "site", [origin])
    site.one(origin.put("/a.tar.gz", A))
    site.sync().expect(0)
    run = doctor(site, prefix=user).expect(0)
    assert "sudo -u root" in found(run, "trials")["mend"]
    assert found(run, "promise")["verdict"] == "ok"
    assert wrong(run) == {}
    site.state.chmod(0o700)
    run = doctor(site, prefix=user)
    assert found(run, "trials")["verdict"] == "unknown"
    site.store.chmod(0o700)
    run = doctor(site, prefix=user)
    assert "Permission denied" in found(run, "store")["text"]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_damage(well: Workplace) -> None:
    flip(well.file("a"))
    well.verify().expect(3)
    run = doctor(well, "--offline").expect(3)
    assert wrong(run) == {"damaged": "bad", "promise": "bad"}
    assert found(run, "damaged")["mend"] == "ckptd verify --repair a"


def test_a_history_that_was_edited(well: Workplace) -> None:
    with closing(sqlite3.connect(well.state / "state.db")) as database, database:
        database.execute("UPDATE history SET verdict = 'intact', at = at + 1 WHERE id = 1")
    run = doctor(well, "--offline").expect(3)
    assert wrong(run) == {"history": "bad"}


def test_a_promise_that_is_broken(well: Workplace) -> None:
    with closing(sqlite3.connect(well.state / "state.db")) as database, database:
        old = time.time() - 30 * 86400
        database.execute("UPDATE files SET ages = ?", (json.dumps([old, [[0, 1, old]], []]),))
    run = doctor(well, "--offline").expect(3)
    assert wrong(run) == {"promise": "bad"}
    assert "30d" in found(run, "promise")["text"]


def test_a_state_that_is_damaged(well: Workplace) -> None:
    (well.state / "state.db").write_bytes(b"this is no database" * 100)
    run = doctor(well, "--offline").expect(3)
    assert found(run, "history")["verdict"] == "unknown"
    assert found(run, "promise")["verdict"] == "bad"


# --- the network ------------------------------------------------------------------------------------------------------


def test_an_origin_without_ranges(origin: Origin, well: Workplace) -> None:
    origin.on("/a.tar.gz", f.ignores_range(), times=None)
    run = doctor(well).expect(0)
    assert list(wrong(run).values()) == ["warn"]
    assert "serves no ranges" in run.out


def test_an_origin_with_ranges_of_its_own(origin: Origin, well: Workplace) -> None:
    origin.on("/a.tar.gz", f.sends(5, 9), times=None)
    run = doctor(well).expect(1)
    assert "other bytes than it was asked for" in run.out


def test_an_origin_that_is_down(origins: Origins, site: Workplace) -> None:
    """It is bad where nobody else has the same."""
    other = origins.new()
    dead = f"http://127.0.0.1:{free_port()}/a.tar.gz"
    site.write({"name": "a", "url": dead, "mirrors": [other.put("/a.tar.gz", A)]})
    run = doctor(site).expect(0)
    assert "connection refused; other sources answer" in run.out
    site.write({"name": "a", "url": dead}, {"name": "b", "url": other.url("/a.tar.gz")})
    run = doctor(site).expect(1)
    assert "nobody else has a" in run.out


def test_what_has_gone_and_what_wants_credentials(origin: Origin, origins: Origins, site: Workplace) -> None:
    other = origins.new()
    other.put("/b.tar.gz", B)
    other.on("/b.tar.gz", f.status(403), times=None)
    site.write({"name": "a", "url": origin.url("/a.tar.gz")}, {"name": "b", "url": other.url("/b.tar.gz")})
    run = doctor(site).expect(1)
    mends = [each["mend"] for each in run.report["findings"] if each["name"].startswith("origin-")]
    assert "ckptd drift a" in mends
    assert any("bearer_file" in mend for mend in mends)


@pytest.mark.parametrize(
    ("date", "verdict"),
    [("Wed, 01 Jan 2020 00:00:00 GMT", "bad"), ("nonsense", None)],
    ids=["years behind", "no date at all"],
)
def test_an_origin_whose_clock_says_otherwise(origin: Origin, well: Workplace, date: str, verdict: str | None) -> None:
    for method in ("HEAD", "GET"):
        origin.on("/a.tar.gz", f.header("Date", date), times=None, method=method)
    run = doctor(well).expect(5 if verdict else 0)
    clocks = [each for each in run.report["findings"] if (each["area"], each["name"]) == ("network", "clock")]
    assert [each["verdict"] for each in clocks] == ([verdict] if verdict else [])


@pytest.mark.slow
def test_an_origin_that_says_nothing(origin: Origin, well: Workplace) -> None:
    """It is waited for, and not for long; the others are told."""
    place = Hold()
    origin.on("/a.tar.gz", f.hold(-1, place), times=None)
    run = doctor(well, timeout=30).expect(1)
    assert "no answer in time" in run.out
    assert found(run, "python")["verdict"] == "ok"
    place.release()


def test_a_token(origin: Origin, site: Workplace, tmp_path: Path) -> None:
    """Its mode is judged; what is in it is never shown."""
    site.secrets.append(TOKEN)
    path = tmp_path / "token"
    host = re.sub("^http://|/.*$", "", origin.url("/x"))
    site.auth = {host: {"bearer_file": str(path)}}
    site.one(origin.put("/a.tar.gz", A))
    run = doctor(site).expect(2)
    assert str(path) in found(run, f"token-{host}")["text"]
    path.write_text(TOKEN)
    path.chmod(0o644)
    run = doctor(site).expect(0)
    assert found(run, f"token-{host}")["verdict"] == "warn"
    assert f"chmod 0400 {path}" in found(run, f"token-{host}")["mend"]
    path.chmod(0o400)
    assert found(doctor(site).expect(0), f"token-{host}")["verdict"] == "ok"
    path.write_text("")
    assert found(doctor(site).expect(2), f"token-{host}")["verdict"] == "bad"
    site.auth = {host: {"bearer_file": "/run/credentials/ckptd.service/hf"}}
    site.one(origin.url("/a.tar.gz"))
    assert found(doctor(site, "--offline").expect(0), f"token-{host}")["verdict"] == "unknown"


def test_a_proxy_with_a_password(well: Workplace) -> None:
    well.secrets.append("swordfish")
    env = {"HTTPS_PROXY": "http://me:swordfish@127.0.0.1:9/", "NO_PROXY": "127.0.0.1"}
    run = doctor(well, env=env).expect(0)
    assert "https by http://127.0.0.1:9/" in found(run, "proxy")["text"]
    assert "127.0.0.1" in found(run, "proxy")["text"]


def test_certificates_that_are_not_there(well: Workplace, tmp_path: Path) -> None:
    run = doctor(well, env={"SSL_CERT_FILE": str(tmp_path / "nothing.pem")})
    assert found(run, "ca")["verdict"] == "bad"
    assert found(run, "origins")["verdict"] == "bad"
    run.expect(2)  # as every other command would
    assert found(run, "locks")["verdict"] == "ok"


# --- units and daemon -------------------------------------------------------------------------------------------------


def test_the_daemon(well: Workplace) -> None:
    assert "no daemon runs" in found(doctor(well, "--offline").expect(0), "daemon")["text"]
    daemon = well.start("daemon")
    wait_until(lambda: not daemon.running or (well.state / "daemon.sock").exists(), what="the daemon is there")
    run = doctor(well, "--offline").expect(0)
    assert f"pid {daemon.process.pid}" in found(run, "daemon")["text"]
    assert found(run, "locks")["verdict"] == "ok"
    well.manifest.write_text("nonsense")
    daemon.signal(signal.SIGHUP)
    daemon.kill()
    run = doctor(well, "--offline").expect(2)
    assert found(run, "manifest")["verdict"] == "bad"


def test_a_daemon_that_was_killed(well: Workplace) -> None:
    daemon = well.start("daemon")
    wait_until(lambda: not daemon.running or (well.state / "daemon.sock").exists(), what="the daemon is there")
    daemon.kill()
    found_run = doctor(well, "--offline").expect(0)
    assert found(found_run, "daemon")["verdict"] == "warn"
    assert "daemon.sock" in found(found_run, "daemon")["text"]


def test_install_units(well: Workplace, tmp_path: Path) -> None:
    """It prints what a shell understands, names files that are there, and touches nothing."""
    before = sorted(well.root.rglob("*"))
    run = well.run("doctor", "--install-units").expect(0)
    assert "systemctl enable --now ckptd.service" in run.out
    assert f"this store is {well.store}" in run.out
    assert f"this program is {CKPTD}" in run.out
    subprocess.run(["sh", "-n"], input=run.out, text=True, check=True)
    assert sorted(well.root.rglob("*")) == before
    report = well.run("doctor", "--install-units", "--json", cwd=tmp_path).expect(0).report
    targets = {Path(each["file"]).name: each["to"] for each in report["units"]}
    assert all(Path(each["file"]).is_file() for each in report["units"])
    assert targets["ckptd.service"] == "/etc/systemd/system/ckptd.service"
    assert targets["ckptd.sysusers"] == "/etc/sysusers.d/ckptd.conf"
    assert targets["ckptd.tmpfiles"] == "/etc/tmpfiles.d/ckptd.conf"
    assert "README.md" not in targets

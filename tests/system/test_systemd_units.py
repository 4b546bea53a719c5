"""The unit files as text: systemd takes every line, the sandbox is tight, and all of them agree with each other.

What they do under a real systemd is in test_systemd_box.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from ckptd.core import manifest as core_manifest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("ckptd.service", "ckptd-sync.service", "ckptd-verify.service")
ALL = sorted(path.name for path in UNITS.iterdir() if path.suffix in {".service", ".timer"})
DROP_INS = sorted(path.name for path in (UNITS / "drop-ins").iterdir())
COMMENTED = sorted(path for path in UNITS.rglob("*.*") if path.suffix != ".md")
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
EXPOSURE = 15  # tenths: 1.5 of 10

Settings = dict[str, list[str]]  # "Section.Key" -> its values; an empty one clears the list, as in systemd


def settings(path: Path) -> Settings:
    """What a unit says, comments left out and continued lines joined."""
    found: Settings = {}
    section = ""
    for line in re.sub(r"\\\n", " ", path.read_text()).splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


@pytest.fixture(scope="session")
def analyze(lacking: Callable[[str], None]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`systemd-analyze` with some arguments."""
    if shutil.which("systemd-analyze") is None:
        lacking("systemd-analyze is not installed")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that looks like a system on which ckptd was installed, as far as `systemd-analyze verify` looks."""
    for program in ("opt/ckptd/bin/ckptd", "usr/bin/kill", "usr/bin/sh"):
        file = tmp_path / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "lib").symlink_to("usr/lib")
    shutil.copytree(SYSTEM_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    ours = tmp_path / "etc/systemd/system"
    ours.mkdir(parents=True)
    for name in ALL:
        shutil.copy(UNITS / name, ours / name)
    return tmp_path


def verified(analyze: Callable[..., subprocess.CompletedProcess[str]], root: Path, unit: str) -> None:
    """`systemd-analyze verify` has nothing to say; by default it would only print what it does not know."""
    done = analyze("verify", "--man=no", "--recursive-errors=no", f"--root={root}", f"/etc/systemd/system/{unit}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


@pytest.mark.parametrize("unit", ALL)
def test_systemd_takes_every_line(
    analyze: Callable[..., subprocess.CompletedProcess[str]], root: Path, unit: str
) -> None:
    verified(analyze, root, unit)


@pytest.mark.parametrize("drop_in", DROP_INS)
def test_systemd_takes_every_line_of_a_drop_in(
    analyze: Callable[..., subprocess.CompletedProcess[str]], root: Path, drop_in: str
) -> None:
    """With what is commented out in it as well: that is what people put in force."""
    text = re.sub(r"(?m)^#(?=\[|[A-Z][A-Za-z]+=)", "", (UNITS / "drop-ins" / drop_in).read_text())
    for unit in SERVICES:
        folder = root / "etc/systemd/system" / f"{unit}.d"
        folder.mkdir()
        (folder / drop_in).write_text(text)
        verified(analyze, root, unit)


def test_a_line_that_systemd_does_not_know_is_found(
    analyze: Callable[..., subprocess.CompletedProcess[str]], root: Path
) -> None:
    """The check itself: it must not pass whatever it is given."""
    unit = root / "etc/systemd/system/ckptd.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    with pytest.raises(AssertionError, match="ProtectHouse"):
        verified(analyze, root, "ckptd.service")


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(analyze: Callable[..., subprocess.CompletedProcess[str]], unit: str) -> None:
    """`systemd-analyze security`: 1.5 or better."""
    done = analyze("security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", str(UNITS / unit))
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


# What each service says besides what all three say, or otherwise.
OWN: dict[str, set[str]] = {
    "ckptd.service": {
        *("Type", "NotifyAccess", "WatchdogSec", "Environment", "ExecStart", "ExecReload", "Restart", "RestartSec"),
        *("TimeoutStartSec", "KillMode", "RuntimeDirectory", "RuntimeDirectoryMode"),
    },
    "ckptd-sync.service": {"Type", "ExecStart", "TimeoutStartSec"},
    "ckptd-verify.service": {
        *("Type", "ExecStart", "TimeoutStartSec", "IOSchedulingClass", "IOSchedulingPriority"),
        *("PrivateNetwork", "RestrictAddressFamilies"),
    },
}


@pytest.mark.parametrize("unit", ["ckptd-sync.service", "ckptd-verify.service"])
def test_one_sandbox_for_all(unit: str) -> None:
    """A line that is added to one of them and forgotten in another stands out."""
    own = {f"Service.{key}" for key in OWN[unit] | OWN["ckptd.service"]}
    daemon, other = (
        {key: value for key, value in settings(UNITS / name).items() if key.startswith("Service.") and key not in own}
        for name in ("ckptd.service", unit)
    )
    assert other == daemon


def test_only_the_daemon_has_a_runtime_folder() -> None:
    """It is removed when its unit ends: with a one-shot unit the daemon's socket would go away."""
    assert [name for name in ALL if "Service.RuntimeDirectory" in settings(UNITS / name)] == ["ckptd.service"]


@pytest.mark.parametrize("unit", SERVICES)
def test_directives_that_would_break_ckptd(unit: str) -> None:
    """What the sandbox must not have, and why: all of these were seen to break something."""
    found = settings(UNITS / unit)
    assert "Service.PrivateUsers" not in found, "every caller on the socket would look the same"
    assert "Service.RestrictSUIDSGID" not in found, "folders of a shared store are 2755"
    assert "Service.ProcSubset" not in found, "the scrub heeds /proc/pressure, resuming heeds the boot id"
    assert "Service.DynamicUser" not in found, "files on a shared store belong to numbers"
    assert found["Service.SystemCallErrorNumber"] == ["EPERM"], "without it the process is killed"
    assert "@chown" in found["Service.SystemCallFilter"][-1], "files are given to the store's group"


@pytest.mark.parametrize("unit", SERVICES)
def test_paths_agree(unit: str) -> None:
    """The sample manifest lies where the unit looks for it, and names folders that the unit may write to."""
    found = settings(UNITS / unit)
    manifest = core_manifest.parse((UNITS / "manifest.toml").read_text(), "manifest.toml")
    store, lock = PurePosixPath(manifest.store.path), PurePosixPath(manifest.store.lock)
    assert found["Service.ReadWritePaths"] == [f"-{store}"]
    assert found["Unit.RequiresMountsFor"] == [str(store)]
    assert found["Service.StateDirectory"] == [lock.parent.name]
    assert lock.parent.parent == PurePosixPath("/var/lib")
    assert found["Service.ExecStart"][0].endswith("--manifest /etc/ckptd/manifest.toml")
    assert found["Service.User"] == found["Service.Group"] == [manifest.store.group]
    assert re.search(rf"^d +{store} +2755 +ckptd +ckptd$", (UNITS / "ckptd.tmpfiles").read_text(), re.MULTILINE)
    assert re.search(r"^u +ckptd ", (UNITS / "ckptd.sysusers").read_text(), re.MULTILINE)


def test_socket_lies_in_the_runtime_folder() -> None:
    manifest = core_manifest.parse((UNITS / "manifest.toml").read_text(), "manifest.toml")
    assert manifest.daemon.socket is not None
    folder = PurePosixPath(manifest.daemon.socket).parent
    assert settings(UNITS / "ckptd.service")["Service.RuntimeDirectory"] == [folder.name]
    assert folder.parent == PurePosixPath("/run")


def test_readme_and_files_name_each_other() -> None:
    """Every file is in the README, and every file that a text names is there."""
    texts = {path: path.read_text() for path in UNITS.rglob("*") if path.is_file()}
    # In the table a service and its timer share a row: `ckptd-sync.service`, `.timer`.
    readme = re.sub(r"`([\w-]+)\.service`, `\.timer`", r"`\1.service`, `\1.timer`", texts[UNITS / "README.md"])
    for name in [*ALL, "ckptd.sysusers", "ckptd.tmpfiles", "manifest.toml"]:
        assert f"`{name}`" in readme, f"README.md does not tell of {name}"
    there = {path.name for path in texts}
    for path, text in texts.items():
        named = re.findall(r"drop-ins/([\w-]+\.conf)|(ckptd-[a-z]+@?\.(?:service|timer))\b", text)
        missing = {drop_in or unit for drop_in, unit in named} - there
        assert not missing, f"{path.name} names what is not there"


@pytest.mark.parametrize("path", COMMENTED, ids=lambda path: str(path.relative_to(UNITS)))
def test_every_file_begins_with_what_it_is_for(path: Path) -> None:
    """For somebody who has not written a unit before, and on a terminal that is not wide."""
    text = path.read_text()
    assert text.startswith("# ")
    assert re.search(r"[Cc]opy", text.partition("\n\n")[0]), "it does not say where it goes"
    assert max(len(line) for line in text.splitlines()) <= 130

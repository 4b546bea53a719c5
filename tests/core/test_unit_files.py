"""core.unit_files: which file goes where, and what of it does not fit this machine."""

from __future__ import annotations

from ckptd.core.unit_files import Copy, Here, copies, instructions

NAMES = (
    "README.md",
    "ckptd-failure@.service",
    "ckptd-sync.service",
    "ckptd-sync.timer",
    "ckptd.service",
    "ckptd.sysusers",
    "ckptd.tmpfiles",
    "drop-ins/store.conf",
    "drop-ins/deeper/store.conf",
    "manifest.toml",
    "notes.txt",
)
SERVICE = """[Service]
ExecStart=/opt/ckptd/bin/ckptd daemon --manifest /etc/ckptd/manifest.toml
ReadWritePaths=-/srv/checkpoints
"""
FITS = Here("/opt/ckptd/bin/ckptd", "/etc/ckptd/manifest.toml", "/srv/checkpoints")


def test_where_each_goes() -> None:
    """What nobody has to copy, or is not known, is left out."""
    assert copies(NAMES) == [
        Copy("ckptd-failure@.service", "/etc/systemd/system/ckptd-failure@.service"),
        Copy("ckptd-sync.service", "/etc/systemd/system/ckptd-sync.service"),
        Copy("ckptd-sync.timer", "/etc/systemd/system/ckptd-sync.timer"),
        Copy("ckptd.service", "/etc/systemd/system/ckptd.service"),
        Copy("ckptd.sysusers", "/etc/sysusers.d/ckptd.conf"),
        Copy("ckptd.tmpfiles", "/etc/tmpfiles.d/ckptd.conf"),
        Copy("drop-ins/store.conf", "/etc/systemd/system/ckptd.service.d/store.conf"),
        Copy("manifest.toml", "/etc/ckptd/manifest.toml"),
    ]


def test_what_runs_and_what_is_only_shown() -> None:
    """The daemon is installed; the timers in its place, and the examples, are comments."""
    lines = instructions("/a b", NAMES, SERVICE, FITS)
    typed = [line for line in lines if line and not line.startswith("#")]
    assert typed[0] == "cd '/a b'"
    assert typed.index("systemctl daemon-reload") < typed.index("systemctl enable --now ckptd.service")
    assert "install -D -m 644 ckptd.service /etc/systemd/system/ckptd.service" in typed
    assert not [line for line in typed if "ckptd-sync" in line or "drop-ins" in line or "@" in line]
    assert "# systemctl enable --now ckptd-sync.timer" in lines
    (manifest,) = [line for line in typed if "manifest.toml" in line]
    assert manifest.startswith("test -e /etc/ckptd/manifest.toml || "), "it would overwrite the operator's own"


def test_what_does_not_fit_is_said_and_not_adapted() -> None:
    fitting = instructions("/f", NAMES, SERVICE, FITS)
    assert not [line for line in fitting if "takes for granted" in line]
    other = instructions("/f", NAMES, SERVICE, Here("/x/ckptd", "/x/m.toml", "/data"))
    assert other[: len(fitting)] == fitting
    assert [line for line in other if "/x/ckptd" in line]
    assert [line for line in other if "/x/m.toml" in line]
    assert [line for line in other if "/data" in line and "drop-ins/store.conf" in line]
    assert instructions("/f", NAMES, SERVICE, Here("/opt/ckptd/bin/ckptd")) == fitting

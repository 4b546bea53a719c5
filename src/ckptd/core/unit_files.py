"""Which of the shipped files for systemd goes where, what to type, and what of it does not fit this machine.

Names and texts in, lines out; nothing is copied, and nothing is adapted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from shlex import quote

UNITS = "/etc/systemd/system"
SERVICE = "ckptd.service"
MANIFEST = "manifest.toml"
# Those with a place of their own; every other unit goes to UNITS.
_PLACES: Mapping[str, str] = {
    "ckptd.sysusers": "/etc/sysusers.d/ckptd.conf",
    "ckptd.tmpfiles": "/etc/tmpfiles.d/ckptd.conf",
    MANIFEST: "/etc/ckptd/manifest.toml",
}
_UNIT = re.compile(r"[^/]+\.(?:service|timer|socket|target)")
_DROP_IN = re.compile(r"drop-ins/([^/]+\.conf)")
_TEMPLATE = re.compile(r"[^/]+@\.service")
_START = re.compile(r"^ExecStart=(\S+).*?--manifest (\S+)", re.MULTILINE)
_WRITES = re.compile(r"^ReadWritePaths=-?(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Here:
    """This installation: our own program, and manifest and store where there are some (else "")."""

    program: str
    manifest: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of `folder` and where it goes."""

    file: str
    to: str


def copies(names: Collection[str]) -> list[Copy]:
    """Where each file goes; what is for nobody to copy (a README) is left out."""
    found = []
    for name in sorted(names):
        drop_in = _DROP_IN.fullmatch(name)
        if name in _PLACES:
            found.append(Copy(name, _PLACES[name]))
        elif drop_in is not None:
            found.append(Copy(name, f"{UNITS}/{SERVICE}.d/{drop_in[1]}"))
        elif _UNIT.fullmatch(name):
            found.append(Copy(name, f"{UNITS}/{name}"))
    return found


def instructions(folder: str, names: Collection[str], service: str, here: Here) -> list[str]:
    """What to type, with comments: lines that a shell would understand. `service` is the text of ckptd.service."""
    found = copies(names)
    folders = [each for each in found if each.file in _PLACES and each.file != MANIFEST]
    daemon = [each for each in found if each.file == SERVICE]
    timed = [each for each in found if each.file.startswith(("ckptd-sync.", "ckptd-verify."))]
    timers = " ".join(each.file for each in timed if each.file.endswith(".timer"))
    examples = [each for each in found if _DROP_IN.fullmatch(each.file) or _TEMPLATE.fullmatch(each.file)]
    lines = [
        "# Nothing was installed. As root, in this order; each file says in its comments what it is for.",
        f"cd {quote(folder)}",
        "",
        "# The user that owns the store, and the folders.",
        *(_install(each) for each in folders),
        "systemd-sysusers",
        "systemd-tmpfiles --create ckptd.conf",
        "",
        "# A manifest to begin with, where there is none.",
        *(f"test -e {each.to} || {_install(each)}" for each in found if each.file == MANIFEST),
        "",
        "# The daemon: it stays, fetches, verifies, mends and answers.",
        *(_install(each) for each in daemon),
        "systemctl daemon-reload",
        "systemctl enable --now ckptd.service",
    ]
    if timed:
        lines += ["", "# Or, in the place of the daemon, runs by the clock."]
        lines += [f"# {_install(each)}" for each in timed]
        lines += ["# systemctl daemon-reload", f"# systemctl enable --now {timers}"]
    if examples:
        lines += ["", "# Examples to change and then copy; after each: systemctl daemon-reload."]
        lines += [f"# {_install(each)}" for each in examples]
    misfits = list(_misfits(service, here))
    return [*lines, "", *misfits] if misfits else lines


def _install(copy: Copy) -> str:
    return f"install -D -m 644 {quote(copy.file)} {quote(copy.to)}"


def _misfits(service: str, here: Here) -> Iterator[str]:
    """What the shipped unit takes for granted, and is otherwise here."""
    start, writes = _START.search(service), _WRITES.search(service)
    lines = []
    if start is not None and here.program and start[1] != here.program:
        lines.append(f"the unit starts {start[1]}; this program is {here.program}")
    if start is not None and here.manifest and start[2] != here.manifest:
        lines.append(f"the unit reads {start[2]}; this manifest is {here.manifest}")
    if writes is not None and here.store and writes[1] != here.store:
        lines.append(f"the unit may write to {writes[1]}; this store is {here.store} (drop-ins/store.conf)")
    if lines:
        yield "# What the unit takes for granted, and is otherwise here: `systemctl edit ckptd` changes it."
        yield from (f"#   {line}" for line in lines)

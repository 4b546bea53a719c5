"""Facts about the machine for `doctor`: versions, processor, kernel, clock. Judged in `core.doctor_machine`."""

from __future__ import annotations

import platform
import time
from importlib import metadata
from pathlib import Path

from ckptd.core.doctor import Finding
from ckptd.core.doctor_machine import Library, Machine, judge, requirement
from ckptd.service.workplace import Workplace
from ckptd.store import inventory, probe, weather
from ckptd.version import __version__

PACKAGE = "ckptd"
CPUINFO = Path("/proc/cpuinfo")


def machine(workplace: Workplace | None) -> list[Finding]:
    """What there is to say of the machine. Blocks."""
    pressure = weather.weather()
    return judge(
        Machine(
            program=__version__,
            python=platform.python_version(),
            python_wanted=_python_wanted(),
            libraries=_libraries(),
            processor=_processor(),
            pressure=pressure.io is not None,
            stands_back=probe.may_stand_back(),
            now=time.time(),
            newest=None if workplace is None else _newest(workplace),
        )
    )


def _python_wanted() -> str:
    try:
        found = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        return ""
    return found["Requires-Python"].lstrip("> =") if "Requires-Python" in found else ""


def _libraries() -> tuple[Library, ...] | None:
    try:
        lines = metadata.requires(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    needed = [found for line in lines or () if (found := requirement(line)) is not None]
    return tuple(Library(name, wanted, _version(name)) for name, wanted in needed)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> frozenset[str]:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(flags, "").split())


def _newest(workplace: Workplace) -> float | None:
    """The latest verification on record."""
    return max((each.verified_at for each in inventory.records(workplace.places).values()), default=None)

"""How loaded the machine is: the kernel's pressure stall information (Documentation/accounting/psi.rst).

Reads two small files, of the whole machine; what they mean is decided in `core.pressure`.
"""

from __future__ import annotations

from pathlib import Path

from ckptd.core.pressure import Sample, stalled

PRESSURE = Path("/proc/pressure")


def weather(folder: Path = PRESSURE) -> Sample:
    """The totals of now. None where the kernel has none: built or started without PSI, or hidden by a sandbox."""
    return Sample(io=_total(folder / "io"), memory=_total(folder / "memory"))


def _total(path: Path) -> int | None:
    try:
        return stalled(path.read_bytes().decode("ascii", "replace"))
    except OSError:  # EOPNOTSUPP, too, when PSI was switched off at boot
        return None

"""What is fetched, and over how many connections; `--quick` has the same with about a tenth of the bytes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.corpus import MB, spread
from benchmarks.verifying import Readings

KB = 1000


@dataclass(frozen=True, slots=True)
class Workload:
    """File sizes in bytes, from which of the origin's prefixes.

    `jobs` files at once, `split` connections for each: the same limits for every tool.
    """

    about: str
    sizes: tuple[int, ...]
    prefix: str = "plain"
    jobs: int = 14
    split: int = 4


def _small(count: int) -> Workload:
    return Workload(f"{count} files of 10 KB", (10 * KB,) * count, jobs=50, split=1)


def _fourteen(megabytes: int, how: str = "", prefix: str = "plain") -> Workload:
    return Workload(f"14 files, {megabytes} MB{how}", spread(megabytes), prefix)


LIMITED = ", each connection limited to 4 MiB/s"

WORKLOADS = {
    "big14": _fourteen(2800),
    "one": Workload("one file of 1 GB", (1000 * MB,), jobs=1),
    "limited": _fourteen(280, LIMITED, "limited"),
    "tls": _fourteen(700, ", over TLS", "tls"),
    "small": _small(10_000),
}
QUICK = {
    "big14": _fourteen(280),
    "one": Workload("one file of 100 MB", (100 * MB,), jobs=1),
    "limited": _fourteen(70, LIMITED, "limited"),
    "tls": _fourteen(140, ", over TLS", "tls"),
    "small": _small(1000),
}
READINGS = {
    "verify": Readings("14 files, 2800 MB, page cache warm", spread(2800)),
    "verify-cold": Readings("14 files, 2800 MB, page cache cold", spread(2800), cold=True),
    "verify-one": Readings("one file of 2 GB, page cache warm", (2000 * MB,)),
}
QUICK_READINGS = {
    "verify": Readings("14 files, 280 MB, page cache warm", spread(280)),
    "verify-cold": Readings("14 files, 280 MB, page cache cold", spread(280), cold=True),
    "verify-one": Readings("one file of 200 MB, page cache warm", (200 * MB,)),
}
# The thousand files of a store in which all is well.
IDLE = _small(1000)

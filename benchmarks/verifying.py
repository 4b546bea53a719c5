"""Reading back what is there: `ckptd verify` beside what people would use, page cache warm and cold.

The store is filled once and stays; every contestant reads all of it and finds it good. On a disk: a memory filesystem
has no cold cache. Dropping the cache takes root.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import CKPTD, CORES, OPENSSL, Work

DIRECTORY = Path("/var/tmp/ckptd-bench")  # noqa: S108 (a folder of ours; `make clean` removes it)
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Readings:
    """File sizes in bytes, and whether the page cache is emptied before each run."""

    about: str
    sizes: tuple[int, ...]
    cold: bool = False


def prepare(work: Work) -> str:
    """What has to be there besides the store: the list that `sha256sum -c` reads and the Metalink that aria2c reads."""
    ckptd = f"{CKPTD} --manifest {work.manifest}"
    sums, metalink = work.desk / "SHA256SUMS", work.desk / "store.meta4"
    return (
        f"{ckptd} export --format sha256sums --output {sums} && "
        f"{ckptd} export --format metalink --quiet --output {metalink} && "
        # a list for each core, the largest files first, dealt out like cards
        f"rm -f {work.desk}/part.* && sort {sums} | split --number=r/{CORES} - {work.desk}/part."
    )


def ckptd(work: Work) -> str:
    """`ckptd verify`, against the piece digests."""
    return f"{CKPTD} --manifest {work.manifest} verify --quiet"


def ckptd_sha256(work: Work) -> str:
    """`ckptd verify --sha256`."""
    return f"{CKPTD} --manifest {work.manifest} verify --quiet --sha256"


def sha256sum(work: Work) -> str:
    """`sha256sum -c`, one file after another."""
    return f"cd {work.target}/store && sha256sum --quiet -c {work.desk}/SHA256SUMS"


def sha256sum_xargs(work: Work) -> str:
    """The same, a process a core."""
    check = f"ls {work.desk}/part.* | xargs -P{CORES} -n1 sha256sum --quiet -c"
    return f"cd {work.target}/store && {check}"


def openssl_xargs(work: Work) -> str:
    """Hashing alone with the faster program, a process a core, a file each: comparing is left out."""
    return f"cd {work.target}/store && ls -S */*.gz | xargs -P{CORES} -n1 {OPENSSL} > {work.desk}/openssl"


def aria2(work: Work) -> str:
    """aria2c with the Metalink that we export."""
    return (
        "aria2c --no-conf --quiet --check-integrity=true --hash-check-only=true --allow-overwrite=false"
        f" --metalink-file={work.desk}/store.meta4 --dir={work.target}/store"
    )


CONTESTANTS: dict[str, Callable[[Work], str]] = {
    "ckptd": ckptd,
    "ckptd --sha256": ckptd_sha256,
    "sha256sum -c": sha256sum,
    "xargs sha256sum": sha256sum_xargs,
    "xargs openssl": openssl_xargs,
    "aria2 --metalink": aria2,
}
PROGRAMS: dict[str, tuple[str, ...]] = {"xargs openssl": ("openssl",), "aria2 --metalink": ("aria2c",)}


def cool() -> None:
    """Empty the page cache. Raises SystemExit for who may not."""
    os.sync()
    try:
        DROP_CACHES.write_text("3\n")
    except OSError as error:
        raise SystemExit(f"a cold page cache takes root: {error}") from None

"""Who is measured, and how each is called: a shell script that ends with files on disk, proven by SHA-256.

Every tool gets the same files, the same number of connections and the same order, and ends with `sync -f`, so
that "on disk" means the same for all. Options are those that a tool's manual suggests for the purpose.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import Sample

CORES = len(os.sched_getaffinity(0))
CKPTD = Path(sys.executable).with_name("ckptd")

ARIA = (
    "aria2c --no-conf --quiet --summary-interval=0 --auto-file-renaming=false --file-allocation=none"
    " --min-split-size=1M --max-concurrent-downloads={jobs} --max-connection-per-server={split}"
    " --split={split}{ca} --input-file={input}"
)
HASH_ALL = "cd {target} && ls -S | grep gz$ | xargs -P{cores} -n{batch} {tool} > {sums}"
# Uses the CPU's SHA instructions, as hashlib does and sha256sum often does not.
OPENSSL = "openssl dgst -sha256 -r"


@dataclass(frozen=True, slots=True)
class Work:
    """One workload, ready to be run: `samples` under the URL prefix `base`, to be brought to `target`.

    `jobs` files are in flight at once with `split` connections each; `desk` is where lists and logs are kept.
    """

    samples: tuple[Sample, ...]
    base: str
    origin: Path
    target: Path
    desk: Path
    jobs: int
    split: int
    ca: Path | None = None

    @property
    def manifest(self) -> Path:
        """ckptd's, in the target: its store and lock begin empty with everything else there."""
        return self.target / "manifest.toml"

    def hash_all(self, folder: Path, tool: str = "sha256sum") -> str:
        """Everything in `folder` hashed on all cores, the largest first; few files are not batched."""
        batch = max(1, min(100, len(self.samples) // (CORES * 8)))
        sums = self.desk / "sums"
        return HASH_ALL.format(target=folder, cores=CORES, batch=batch, tool=tool, sums=sums)


def ckptd(work: Work, *, pinned: bool) -> str:
    """`ckptd sync`, the digests unknown or pinned."""
    entries = (
        f'[[checkpoint]]\nname = "{sample.entry}"\nurl = "{work.base}/{sample.name}"\n'
        + (f'sha256 = "{sample.sha256}"\n' if pinned else "")
        for sample in work.samples
    )
    work.manifest.write_text(
        '[store]\npath = "store"\n'
        f"[transfer]\ndownloads = {work.jobs}\nconnections = {work.split}\n"
        f"connections_per_host = {work.jobs * work.split}\n" + "".join(entries)
    )
    return f"{CKPTD} --manifest {work.manifest} sync --quiet && {_settle(work)}"


def ckptd_first_use(work: Work) -> str:
    """The digests are not known beforehand."""
    return ckptd(work, pinned=False)


def ckptd_pinned(work: Work) -> str:
    """The manifest has every sha256."""
    return ckptd(work, pinned=True)


def aria2_checksum(work: Work) -> str:
    """aria2 checks each file itself when it is complete."""
    return f"{_aria(work, checksum=True)} && {_settle(work)}"


def aria2_sha256sum(work: Work) -> str:
    """aria2 fetches, then sha256sum on all cores."""
    return f"{_aria(work, checksum=False)} && {work.hash_all(work.target)} && {_settle(work)}"


def curl_sha256sum(work: Work) -> str:
    """curl fetches everything in parallel, then sha256sum on all cores."""
    return f"{_curl(work)} && {work.hash_all(work.target)} && {_settle(work)}"


def curl_openssl(work: Work) -> str:
    """The same with the faster hash program: the best that can be put together from a shell."""
    return f"{_curl(work)} && {work.hash_all(work.target, OPENSSL)} && {_settle(work)}"


def floor_sha256sum(work: Work) -> str:
    """Only the hashing, of the finished files: nobody who proves SHA-256 can be faster."""
    return work.hash_all(work.origin)


def floor_openssl(work: Work) -> str:
    """The same with the faster program."""
    return work.hash_all(work.origin, OPENSSL)


def floor_python(work: Work) -> str:
    """The same with hashlib in a thread for each core, which is what `ckptd` hashes with."""
    listing = work.desk / "floor.txt"
    largest_first = sorted(work.samples, key=lambda sample: -sample.size)
    listing.write_text("".join(f"{work.origin / sample.name}\n" for sample in largest_first))
    return f"{sys.executable} {Path(__file__).with_name('floor.py')} {listing}"


def _aria(work: Work, *, checksum: bool) -> str:
    listing = work.desk / "aria2.txt"
    listing.write_text(
        "".join(
            f"{work.base}/{sample.name}\n  dir={work.target}\n  out={sample.name}\n"
            + (f"  checksum=sha-256={sample.sha256}\n" if checksum else "")
            for sample in work.samples
        )
    )
    authority = f" --ca-certificate={work.ca}" if work.ca else ""
    return ARIA.format(jobs=work.jobs, split=work.split, ca=authority, input=listing)


def _curl(work: Work) -> str:
    listing = work.desk / "curl.txt"
    listing.write_text("".join(f'url="{work.base}/{s.name}"\noutput="{work.target / s.name}"\n' for s in work.samples))
    authority = f" --cacert {work.ca}" if work.ca else ""
    curl = f"curl --silent --show-error --fail --parallel --parallel-max {work.jobs * work.split}{authority}"
    return f"{curl} --config {listing}"


def _settle(work: Work) -> str:
    return f"sync -f {work.target}"


CONTESTANTS: dict[str, Callable[[Work], str]] = {
    "ckptd": ckptd_first_use,
    "ckptd-pinned": ckptd_pinned,
    "aria2-checksum": aria2_checksum,
    "aria2+sha256sum": aria2_sha256sum,
    "curl+sha256sum": curl_sha256sum,
    "curl+openssl": curl_openssl,
    "floor-sha256sum": floor_sha256sum,
    "floor-openssl": floor_openssl,
    "floor-python": floor_python,
}

# What must be on the path for each; ckptd and Python's floor need no more than this environment.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "aria2-checksum": ("aria2c",),
    "aria2+sha256sum": ("aria2c",),
    "curl+sha256sum": ("curl",),
    "curl+openssl": ("curl", "openssl"),
    "floor-openssl": ("openssl",),
}

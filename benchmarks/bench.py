"""Measure `ckptd sync` and `verify` beside aria2, curl and sha256sum, in alternation, and print medians and ratios.

    python -m benchmarks.bench --workload big14 --rounds 3

A round runs every contestant once, so that whatever else the machine does meets all of them alike. README.md
says what the numbers mean.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import verifying
from benchmarks.contest import CKPTD, CONTESTANTS, CORES, PROGRAMS, Work
from benchmarks.corpus import MB, make
from benchmarks.measure import Cost, run
from benchmarks.origin import serve
from benchmarks.report import as_json, table
from benchmarks.verifying import Readings
from benchmarks.workloads import IDLE, QUICK, QUICK_READINGS, READINGS, WORKLOADS, Workload

# A disk's own noise is larger than the differences we look for; --dir measures a disk.
DIRECTORY = Path("/dev/shm/ckptd-bench")  # noqa: S108 (a folder of ours; `make clean` removes it)

IDLE_COMMANDS = {
    "sync, nothing to do": "{ckptd} sync --quiet",
    "status": "{ckptd} status",
    "version": "{ckptd} --version",
    "python alone": "{python} -c pass",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where, how often, and who."""

    folder: Path
    rounds: int
    quick: bool
    tools: tuple[str, ...]


def contest(name: str, workload: Workload, bench: Bench) -> dict[str, list[Cost]]:
    """Every contestant once a round, over one workload."""
    costs: dict[str, list[Cost]] = {who: [] for who in bench.tools}
    with _prepared(f"{name}-quick" if bench.quick else name, workload, bench) as (work, environment):
        for turn in range(bench.rounds):
            for who in bench.tools:
                _fresh(work.target)
                script = CONTESTANTS[who](work)
                cost = run(script, work.desk / f"{who}.log", environment)
                if not who.startswith("floor"):
                    _complete(work)
                _say(turn, who, cost)
                costs[who].append(cost)
    return costs


def reading(name: str, readings: Readings, bench: Bench) -> dict[str, list[Cost]]:
    """Every contestant once a round, over a store that was filled once."""
    tools = [who for who in verifying.CONTESTANTS if _installed(who, verifying.PROGRAMS)]
    costs: dict[str, list[Cost]] = {who: [] for who in tools}
    label = f"{name.removesuffix('-cold')}-quick" if bench.quick else name.removesuffix("-cold")
    with _prepared(label, Workload(readings.about, readings.sizes), bench) as (work, environment):
        run(CONTESTANTS["ckptd"](work), work.desk / "fill.log", environment)
        run(verifying.prepare(work), work.desk / "prepare.log", environment)
        for turn in range(bench.rounds):
            for who in tools:
                script = verifying.CONTESTANTS[who](work)
                if readings.cold:
                    verifying.cool()
                elif not turn:
                    run(f"cat {work.target}/store/*/*.gz > /dev/null", work.desk / "warm.log", environment)
                cost = run(script, work.desk / "verify.log", environment)
                _say(turn, who, cost)
                costs[who].append(cost)
    return costs


def idle(bench: Bench) -> dict[str, list[Cost]]:
    """What `ckptd` costs when there is nothing to do, over a manifest of 1 000 entries."""
    costs: dict[str, list[Cost]] = {what: [] for what in IDLE_COMMANDS}
    with _prepared("idle", IDLE, bench) as (work, environment):
        _fresh(work.target)
        run(CONTESTANTS["ckptd"](work), work.desk / "first.log", environment)
        ckptd = f"env CKPTD_MANIFEST={work.manifest} {CKPTD}"
        for turn in range(bench.rounds):
            for what, command in IDLE_COMMANDS.items():
                script = command.format(ckptd=ckptd, python=sys.executable)
                cost = run(script, work.desk / "idle.log", environment)
                _say(turn, what, cost)
                costs[what].append(cost)
    return costs


@contextmanager
def _prepared(label: str, workload: Workload, bench: Bench) -> Iterator[tuple[Work, dict[str, str]]]:
    """The files made, the origin up, and the environment that the tools get."""
    files = bench.folder / "origin" / label
    target = _fresh(bench.folder / "target")
    room = shutil.disk_usage(bench.folder).free
    need = sum(workload.sizes) * (1.1 if files.exists() else 2.1)
    if room < need:
        raise SystemExit(f"{bench.folder} has {room / MB:.0f} MB free, {label} wants {need / MB:.0f}: --dir DIR")
    samples = make(files, workload.sizes)
    with serve(files, bench.folder / "nginx", CORES) as origin:
        secure = workload.prefix == "tls"
        work = Work(
            samples=samples,
            base=origin.bases[workload.prefix],
            origin=files,
            target=target,
            desk=_fresh(bench.folder / "desk"),
            jobs=workload.jobs,
            split=workload.split,
            ca=origin.ca if secure else None,
        )
        yield work, {"SSL_CERT_FILE": str(origin.ca)} if secure else {}
    shutil.rmtree(target)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _installed(who: str, programs: Mapping[str, tuple[str, ...]] = PROGRAMS) -> bool:
    """Whether the programs that a contestant is made of are here; says so when not."""
    missing = [name for name in programs.get(who, ()) if shutil.which(name) is None]
    if missing:
        print(f"{who} is left out: no {' and no '.join(missing)} here", file=sys.stderr)
    return not missing


def _complete(work: Work) -> None:
    """Whoever claims to be done has every file, of the right size; the bytes are the tools' own claim."""
    found = Counter(path.stat().st_size for path in work.target.rglob("*.tar.gz") if path.is_file())
    if found != Counter(sample.size for sample in work.samples):
        raise RuntimeError(f"{work.target} does not hold the {len(work.samples)} files that were asked for")


def _say(turn: int, who: str, cost: Cost) -> None:
    load = os.getloadavg()[0]
    print(f"  {turn + 1}  {who:<20} {cost.wall:7.2f} s   (load {load:.1f})", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--workload", action="append", choices=(*WORKLOADS, *READINGS, "idle"), help="may be repeated; default: all")
    add(
        "--tool",
        action="append",
        choices=tuple(CONTESTANTS),
        help="may be repeated; default: all that are here",
    )
    add("--rounds", type=int, default=3)
    add("--dir", type=Path, help=f"files, kept between runs (default: {DIRECTORY}; for verify {verifying.DIRECTORY})")
    add("--quick", action="store_true", help="a tenth of the bytes: does it run at all")
    add("--json", type=Path, metavar="FILE", help="every single measurement")
    return parser.parse_args()


def main() -> None:
    """Run what was asked for, print a table for each workload."""
    arguments = _arguments()
    tools = tuple(who for who in arguments.tool or CONTESTANTS if _installed(who))
    results: dict[str, dict[str, list[Cost]]] = {}
    for name in arguments.workload or (*WORKLOADS, *READINGS, "idle"):
        folder = arguments.dir or (verifying.DIRECTORY if name in READINGS else DIRECTORY)
        bench = Bench(folder.resolve(), arguments.rounds, arguments.quick, tools)
        if name in READINGS:
            readings = (QUICK_READINGS if bench.quick else READINGS)[name]
            about = readings.about
            print(f"{name}: {about}", file=sys.stderr, flush=True)
            results[name] = reading(name, readings, bench)
        else:
            workload = IDLE if name == "idle" else (QUICK if bench.quick else WORKLOADS)[name]
            about = workload.about
            print(f"{name}: {about}", file=sys.stderr, flush=True)
            results[name] = idle(bench) if name == "idle" else contest(name, workload, bench)
        title = f"{name}: {about}; {bench.rounds} rounds, {CORES} cores, medians"
        print(table(title, results[name]), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(as_json(results))


if __name__ == "__main__":
    main()

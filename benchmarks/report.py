"""Measurements -> a Markdown table of medians, and JSON of every single one."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.corpus import MB
from benchmarks.measure import Cost

Costs = Mapping[str, Sequence[Cost]]


def table(title: str, costs: Costs) -> str:
    """Medians of seconds, the least wall time, the largest peak; what each took in ckptd's wall times."""
    base = "ckptd" if "ckptd" in costs else next(iter(costs))
    unit = statistics.median(cost.wall for cost in costs[base])
    lines = [
        f"**{title}**",
        "",
        f"| who | wall s | least | CPU s | peak MB | wall / {base} |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for who, runs in costs.items():
        wall = statistics.median(cost.wall for cost in runs)
        least = min(cost.wall for cost in runs)
        cpu = statistics.median(cost.cpu for cost in runs)
        peak = max(cost.peak for cost in runs) / MB
        lines.append(f"| {who} | {wall:.2f} | {least:.2f} | {cpu:.2f} | {peak:.0f} | {wall / unit:.2f} |")
    return "\n".join(lines) + "\n"


def as_json(results: Mapping[str, Costs]) -> str:
    """Workload -> contestant -> a list of costs in seconds and bytes, in the order of the rounds."""
    plain = {
        name: {who: [asdict(cost) for cost in runs] for who, runs in costs.items()} for name, costs in results.items()
    }
    return json.dumps(plain, indent=1) + "\n"

"""Findings as text: a line for each, and below it what mends it; in the end how many of each kind.

Takes findings, gives lines without colours, and prints nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ckptd.core.doctor import Finding, Verdict
from ckptd.core.picture import plural
from ckptd.ui.text import clean

MARK = {Verdict.OK: "ok", Verdict.WARN: "warn", Verdict.BAD: "BAD", Verdict.UNKNOWN: "?"}
WIDTH = max(map(len, MARK.values()))


def finding_lines(findings: Sequence[Finding], *, only_wrong: bool = False) -> list[str]:
    """A line for each finding, its area in front. `only_wrong`: those that somebody has to do something about."""
    lines = []
    for each in findings:
        if only_wrong and each.verdict not in {Verdict.WARN, Verdict.BAD}:
            continue
        lines.append(f"{MARK[each.verdict]:<{WIDTH}}  {each.area}: {clean(each.text)}")
        if each.mend and each.verdict is not Verdict.OK:
            lines.append(f"{'':{WIDTH}}    {clean(each.mend)}")
    return lines


def total_line(findings: Sequence[Finding]) -> str:
    """How many there are of each."""
    counts = Counter(each.verdict for each in findings)
    parts = [f"{counts[Verdict.OK]} ok"]
    parts += [plural(counts[Verdict.WARN], "warning")] if counts[Verdict.WARN] else []
    parts += [f"{counts[Verdict.BAD]} bad"] if counts[Verdict.BAD] else []
    parts += [f"{counts[Verdict.UNKNOWN]} unknown"] if counts[Verdict.UNKNOWN] else []
    return f"doctor: {', '.join(parts)}"

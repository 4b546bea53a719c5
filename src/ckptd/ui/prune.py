"""What `prune` would remove, or has removed, as text: a line for each thing, with its size and why it goes.

Takes values, gives lines without colours, and prints nothing itself. Names come from the disk and may be anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ckptd.core.models import Usage
from ckptd.core.picture import plural
from ckptd.core.prune import Foreign, Item, Kind
from ckptd.core.units import format_size
from ckptd.ui.text import cells, clean, pad

GAP = "  "
# Of these there may be thousands, and nobody looks at them one by one.
SUMMED = {Kind.RECORD: "record", Kind.PIECES: "piece table", Kind.SUMS: "block table", Kind.LISTING: "tree list"}
HOLDERS = 5  # processes that are told for one thing


def item_lines(items: Sequence[Item], used: Mapping[str, Usage], *, verbose: bool = False) -> list[str]:
    """A line for each thing, aligned; below it who uses it. Small things are summed up, unless `verbose`."""
    single = [item for item in items if verbose or item.kind not in SUMMED]
    rows = [(item, (str(item.kind), _size(item), _what(item))) for item in single]
    widths = [max(map(cells, column)) for column in zip(*(row for _, row in rows), strict=True)]
    lines = []
    for item, (kind, size, what) in rows:
        lines.append(GAP.join((pad(kind, widths[0]), f"{size:>{widths[1]}}", pad(what, widths[2]), item.why)))
        lines += _holders(used[item.path]) if item.path in used else []
    for kind, noun in SUMMED.items() if not verbose else ():
        some = [item for item in items if item.kind is kind]
        if some:
            lines.append(f"{plural(len(some), noun)}, {format_size(sum(each.bytes for each in some))}: {some[0].why}")
    return lines


def _size(item: Item) -> str:
    return format_size(item.bytes) if item.bytes else "-"


def _what(item: Item) -> str:
    """The path where there is one of its own, else the name."""
    return clean(item.path if item.path.startswith("/") else item.name)


def _holders(usage: Usage) -> list[str]:
    lines = [
        f"  in use ({clean(each.how)}): pid {each.pid}, {clean(each.user)}: {clean(each.command)}"
        for each in usage.holders[:HOLDERS]
    ]
    more = len(usage.holders) - HOLDERS
    lines += [f"  and {more} more processes"] if more > 0 else []
    return lines or ["  in use, by a process that we may not look at, or by the kernel"]


def foreign_lines(foreign: Sequence[Foreign]) -> list[str]:
    """What is not ours and stays, a line each."""
    return [f"not ours, left alone: {clean(each.path)}: {each.why}" for each in foreign]


def total(items: Collection[Item]) -> str:
    """How much it is: "3 things, 1.2 GB"."""
    return f"{plural(len(items), 'thing')}, {format_size(sum(item.bytes for item in items))}"

"""What `ckptd import` and `ckptd add` say: the table of what is to be written, what was left out, the `--json` entries.

Gives lines; only `tell` prints, to stderr. Decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ckptd.core.models import Checkpoint
from ckptd.core.units import format_size
from ckptd.ui.text import cells, clean, crop, pad

if TYPE_CHECKING:
    from ckptd.core.imports.additions import Additions
    from ckptd.core.imports.candidates import Reading, Skipped

HEADING = ("NAME", "SIZE", "PINNED", "DESCRIPTION")
GAP = "  "
LONGEST_NAME = 60  # columns that names may take
PLURAL = {
    "other file": "other files",
    "picture or badge": "pictures or badges",
    "paper": "papers",
    "page": "pages",
    "hidden file": "hidden files",
}
MOST_TOLD = 20  # skipped links told on stderr without --verbose


def table(checkpoints: Sequence[Checkpoint], width: int) -> list[str]:
    """What is to be written: a line of facts and a line with the URL for each."""
    if not checkpoints:
        return []
    rows = [
        (each.name, "-" if each.size is None else format_size(each.size), "yes" if each.sha256 else "no",
         clean(each.description))
        for each in checkpoints
    ]  # fmt: skip
    widths = [max(cells(row[column]) for row in (HEADING, *rows)) for column in range(3)]
    widths[0] = min(widths[0], LONGEST_NAME)
    lines = [_line(HEADING, widths, width)]
    for each, row in zip(checkpoints, rows, strict=True):
        more = f" (and {len(each.mirrors)} mirrors)" if each.mirrors else ""
        lines += [_line(row, widths, width), f"{GAP}{clean(each.url)}{more}"]
    return lines


def _line(row: tuple[str, str, str, str], widths: list[int], width: int) -> str:
    name, size, pinned, description = row
    facts = GAP.join((pad(name, widths[0]), f"{size:>{widths[1]}}", pad(pinned, widths[2])))
    return f"{facts}{GAP}{crop(description, max(20, width - cells(facts) - len(GAP)))}".rstrip()


def summary(path: Path, additions: Additions, reading: Reading, *, dry_run: bool) -> list[str]:
    lines = [f"{clean(each.url)}: {each.reason}" for each in additions.present]
    if reading.left_out:
        lines.append(f"left out: {counted(reading.left_out)}")
    count = len(additions.checkpoints)
    what = f"{count} checkpoint{'' if count == 1 else 's'}"
    if not count:
        return [*lines, f"nothing new for {path}"]
    if dry_run:
        return [*lines, f"would add {what} to {path}; nothing was written"]
    return [*lines, f"added {what} to {path}; `ckptd sync` fetches {'it' if count == 1 else 'them'}"]


def counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {PLURAL.get(what, what) if count != 1 else what}" for what, count in left_out.items())


def tell(skipped: Sequence[Skipped], notes: Sequence[str], *, quiet: bool, verbose: bool) -> None:
    """On stderr: links that may have been meant and cannot be taken, and what the operator should know."""
    wrong = [each for each in skipped if not each.name]
    told = wrong if verbose else wrong[:MOST_TOLD]
    lines = [f"ckptd: left out: {clean(each.url)} {each.reason}" for each in told]
    if len(told) < len(wrong):
        lines.append(f"ckptd: left out: {len(wrong) - len(told)} more (--verbose tells them)")
    lines += [] if quiet else [f"ckptd: note: {clean(each)}" for each in notes]
    for line in lines:
        print(line, file=sys.stderr)


def entry(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "name": checkpoint.name,
        "url": checkpoint.url,
        "mirrors": list(checkpoint.mirrors),
        "sha256": checkpoint.sha256,
        "size": checkpoint.size,
        "unpack": checkpoint.unpack,
        "tags": list(checkpoint.tags),
        "description": checkpoint.description,
        "allow_http": checkpoint.allow_http,
    }

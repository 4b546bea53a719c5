"""One frame of the dashboard: a picture laid out as lines of styled segments for a terminal of a given size.

Columns are chosen by width and have fixed places; no line is ever wider than the terminal, so nothing wraps.
Colours are the terminal's own, which suit dark and light backgrounds; without any, glyphs and words say the
same. Rich's markup is never parsed. When to draw, and what, is `ckptd.ui.dashboard`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from ckptd.core.picture import Counts, Phase, Picture, Row, Totals, percent, plural, portion
from ckptd.core.units import format_duration, format_rate, format_size
from ckptd.ui.layout import ETA, PERCENT, RATE, SHORT, SIZE, Layout, lay_out, spacious
from ckptd.ui.text import clean, crop, crop_middle, pad

PLAIN = Style()
DIM = Style(dim=True)
BOLD = Style(bold=True)
GOOD = Style(color="green")
BAD = Style(color="red", bold=True)
BUSY = Style(color="cyan")
LATE = Style(color="blue")
PAUSED = Style(color="yellow")

STYLES = {
    Phase.QUEUED: DIM,
    Phase.CONNECTING: BUSY,
    Phase.RESUMING: BUSY,
    Phase.DOWNLOADING: BUSY,
    Phase.CHECKING: BUSY,
    Phase.HASHING: LATE,
    Phase.PUBLISHING: LATE,
    Phase.WAITING: PAUSED,
    Phase.DONE: GOOD,
    Phase.FAILED: BAD,
}


@dataclass(frozen=True, slots=True)
class Charset:
    """The signs of a terminal: `full`, `tip` and `track` make a bar."""

    glyphs: dict[Phase, str]
    full: str
    tip: str
    track: str
    dots: str
    between: str


def _glyphs(signs: str) -> dict[Phase, str]:
    return dict(zip(Phase, signs, strict=True))


UNICODE = Charset(_glyphs("·•↓↓••○•✓✗"), full="━", tip="╾", track="─", dots="…", between=" · ")
ASCII = Charset(_glyphs(".*>>**~*+x"), full="=", tip=">", track="-", dots="...", between=" | ")


@dataclass(frozen=True, slots=True)
class Screen:
    """Where frames are drawn. `held` are the widths that the parts of the foot have had: numbers that change
    eight times a second must not push their neighbours about."""

    width: int
    height: int
    signs: Charset
    held: dict[str, int]


def draw(picture: Picture, verb: str, screen: Screen) -> list[list[Segment]]:
    """The lines of a frame: rows, what there was no room for, and the foot."""
    layout, height, signs = lay_out(screen.width, picture.longest), screen.height, screen.signs
    lines = [_row(row, layout, signs) for row in picture.rows]
    if picture.hidden.total and height > 2:
        lines.append([Segment(crop(f"{signs.dots} {_hidden(picture.hidden)}", layout.width, signs.dots), DIM)])
    if lines and spacious(height):
        lines.append([])
    if height > 4:
        lines.append(_total_bar(picture.totals, verb, layout, signs))
    lines.append(_foot(picture.totals, screen))
    # The last word on width, for terminals too narrow for anything and for letters of disputed width.
    return [Segment.adjust_line_length(line, max(1, screen.width - 1), pad=False) for line in lines]


def _hidden(hidden: Counts) -> str:
    kinds = ("failed", "active", "waiting", "done", "queued")
    told = ", ".join(f"{getattr(hidden, kind)} {kind}" for kind in kinds if getattr(hidden, kind))
    return f"{hidden.total} more: {told}"


def _row(row: Row, layout: Layout, signs: Charset) -> list[Segment]:
    style = STYLES[row.phase]
    quiet = DIM if row.phase in {Phase.QUEUED, Phase.DONE} else PLAIN
    name = pad(crop_middle(clean(row.name), layout.name, signs.dots), layout.name)
    line = [Segment(signs.glyphs[row.phase], style), Segment(f" {name} ", quiet)]
    if row.phase is Phase.FAILED:  # why it failed is worth the whole line
        return _and_words(line, _foreign(row.text, signs), BAD, layout, signs)
    if layout.bar:
        line += [*_bar(row.fraction, layout.bar, style, signs), Segment(" ")]
    told = row.phase.moves and (row.rate > 0 or row.connections > 0)
    if layout.size or told:
        line.append(Segment(f"{_percent(row)} ", quiet))
    words = _foreign(row.text, signs)
    if layout.size:
        after = layout.width - _width(line) - SIZE - 2
        if row.phase is Phase.WAITING and len(words) > after:  # the reason is worth more than the size
            return _and_words(line, f" {words}", style, layout, signs)
        size = format_size(row.done if row.size is None else row.size)
        line.append(Segment(f"{size if row.size or row.done else '':>{SIZE}}  ", quiet))
    if told:
        return line + _numbers(row, layout, signs)
    return _and_words(line, words, quiet if quiet is DIM else style, layout, signs)


def _and_words(line: list[Segment], words: str, style: Style, layout: Layout, signs: Charset) -> list[Segment]:
    line.append(Segment(crop(words, layout.width - _width(line), signs.dots), style))
    return line


def _numbers(row: Row, layout: Layout, signs: Charset) -> list[Segment]:
    """Rate, time left, and as much as there is room for of what else is known of a row whose bytes flow."""
    eta = "" if row.eta is None else format_duration(math.ceil(row.eta))
    line = [Segment(f"{format_rate(row.rate):>{RATE}}")]
    if layout.eta:
        line.append(Segment(f" {eta:>{ETA}}"))
    if layout.status == SHORT:
        count = f"{row.connections}x" if row.connections else ""
        line.append(Segment(f" {count:>{SHORT}}", DIM))
    elif layout.status:
        words = crop(_foreign(row.text, signs), layout.status, signs.dots)
        line.append(Segment(f"  {pad(words, layout.status - 1)}", DIM))
    if layout.host:
        line.append(Segment(f"  {crop_middle(clean(row.host), layout.host, signs.dots)}", DIM))
    return line


def _percent(row: Row) -> str:
    # Done is said by the bar; while hashing, the words tell of another percentage.
    if row.fraction is None or row.phase in {Phase.QUEUED, Phase.DONE, Phase.HASHING, Phase.PUBLISHING}:
        return " " * PERCENT
    return f"{percent(row.fraction):>{PERCENT}}"


def _bar(fraction: float | None, width: int, style: Style, signs: Charset) -> list[Segment]:
    halves = int((fraction or 0.0) * width * 2)
    full, tip = divmod(halves, 2)
    drawn = signs.full * full + signs.tip * tip
    return [Segment(drawn, style), Segment(signs.track * (width - len(drawn)), DIM)]


def _total_bar(totals: Totals, verb: str, layout: Layout, signs: Charset) -> list[Segment]:
    label = crop(clean(verb), max(0, layout.width - 12), signs.dots)
    share = "" if totals.fraction is None else percent(totals.fraction)
    width = max(0, layout.width - len(label) - 2 - PERCENT)
    bar = _bar(totals.fraction, width, GOOD, signs)
    return [Segment(f"{label} ", BOLD), *bar, Segment(f" {share:>{PERCENT}}", BOLD)]


def _foot(totals: Totals, screen: Screen) -> list[Segment]:
    parts, between = foot(totals), screen.signs.between
    for name, words in parts.items():
        screen.held[name] = max(screen.held.get(name, 0), len(words))
        parts[name] = f"{words:>{screen.held[name]}}"
    for name in ("connections", "bytes", "rate", "left"):
        if sum(map(len, parts.values())) + len(between) * (len(parts) - 1) < screen.width:
            break
        parts.pop(name, None)
    line: list[Segment] = []
    for name, words in parts.items():
        line += [Segment(between, DIM)] if line else []
        line.append(Segment(words, BAD if name == "failed" else PLAIN))
    return line


def foot(totals: Totals) -> dict[str, str]:
    """The totals in words, in the order in which they are shown."""
    counts = totals.counts
    parts = {"count": f"{counts.done} of {counts.total}"}
    if totals.done or totals.size:
        parts["bytes"] = portion(totals.done, totals.size) + (" or more" if totals.unsized else "")
    if counts.active:
        parts["rate"] = format_rate(totals.rate)
    if totals.eta is not None:
        parts["left"] = f"{'about ' if totals.unsized else ''}{format_duration(math.ceil(totals.eta))} left"
    if totals.connections:
        parts["connections"] = plural(totals.connections, "connection")
    if counts.failed:
        parts["failed"] = f"{counts.failed} failed"
    return parts


def _foreign(text: str, signs: Charset) -> str:
    text = clean(text)
    return text.encode("ascii", "replace").decode() if signs is ASCII else text


def _width(line: list[Segment]) -> int:
    return sum(segment.cell_length for segment in line)

"""One frame of `ckptd watch`: how everything stands, laid out as lines of styled segments for a terminal's size.

What matters most stands highest and goes last when there is little room: what is wrong, the promise, the scrub, the
work, what happened. The rows of the work are `ckptd.ui.frame`'s. No line is ever wider than the terminal, and there are
never more lines than it has. Styles are the terminal's own; rich's markup is never parsed. Nothing here reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.segment import Segment
from rich.style import Style

from ckptd.core.activity import FAILURES
from ckptd.core.incidents import Kind
from ckptd.core.picture import Picture, plural
from ckptd.core.units import format_duration, format_size
from ckptd.ui.account import Account, Pledge, Scrubbing, Stock, Told, Wrong
from ckptd.ui.frame import ASCII, BAD, BOLD, DIM, GOOD, PAUSED, PLAIN, Charset, Screen, draw
from ckptd.ui.text import cells, clean, crop, crop_middle, pad

LABEL = 9  # columns of "promise  "
GAUGE = (8, 32)  # columns that the promise's bar has at least, and at most
LATE = 0.9  # of the promised age: from here on the oldest byte is worth a second look
SILENT = 5.0  # seconds without a word after which it is told
RECENT_ROOM = 3  # lines that what happened last keeps where there is much work
GOOD_STATES = ("present", "touched")
BAD_STATES = frozenset({"damaged", "conflict", "corrupt", "unreadable"})
_WRONG = FAILURES | set(Kind)  # first words of what happened that are worth red


@dataclass(frozen=True, slots=True)
class View:
    """What is known at one moment. `now` is POSIX seconds by the daemon's clock; waits are in seconds."""

    account: Account | None
    now: float
    picture: Picture
    recent: Sequence[Told]  # oldest first
    quiet_for: float  # since the daemon's last word
    away: str  # why there is no daemon; empty while there is one
    quits: str  # how to leave


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each part has; rules stand above parts that have any."""

    incidents: int
    facts: int  # of scrub, next and store
    rules: bool
    work: int
    recent: int
    foot: bool


def room_for(height: int, incidents: int, rows: int, recent: int) -> Room:
    """How to share `height` lines when there is so much to show; head and promise always have a line each."""
    foot, rules = height >= 6, height >= 16
    facts = 3 if height >= 11 else 1 if height >= 7 else 0
    rest = max(0, height - 2 - facts - foot)
    wrong = min(incidents, max(1, height // 5), rest)
    rest -= wrong + (rules and wrong > 0)
    kept = min(recent, RECENT_ROOM) + rules if height >= 16 and recent else 0
    work = min(rows + 1 + rules, max(0, rest - kept)) if rows else 0
    if work <= rules:
        work = 0
    told = max(0, min(recent + rules, rest - work)) if recent else 0
    return Room(wrong, facts, rules, work - (rules and work > 0), told - (rules and told > 0), foot)


def rows_for(room: Room, rows: int) -> int:
    """How many of `rows` checkpoints are shown: below them stands what was left out, and the sum."""
    return rows if rows + 1 <= room.work else max(0, room.work - 2)


def draw_watch(view: View, room: Room, screen: Screen) -> list[list[Segment]]:
    """The lines of a frame, at most as many as the screen has."""
    width, signs = max(1, screen.width - 1), screen.signs
    lines = [_head(view, width, signs)]
    if view.account is None:
        lines += [[Segment(crop(_foreign(f"waiting: {view.away}", signs), width, signs.dots), PAUSED)]]
    else:
        wrong = wrongs(view.account)
        lines += _part(f"{plural(len(wrong), 'incident')}", _incidents(wrong, view, room, width, signs), room, width, signs)
        facts = [
            _promise(view.account.pledge, view.now, width, signs),
            _scrub(view.account.scrub, width, signs),
            _next(view.account, view.now, width, signs),
            _stock(view.account.stock, width, signs),
        ]
        lines += [_dimmed(line) if view.away else line for line in facts[: 1 + room.facts]]
        lines += _part(_at_work(view.picture), _work(view.picture, room, screen), room, width, signs)
        lines += _part("recent", _recent(view, room, width, signs), room, width, signs)
    if room.foot:
        lines += [[]] * (screen.height - 1 - len(lines))
        lines.append([Segment(crop(view.quits, width, signs.dots), DIM)])
    return [Segment.adjust_line_length(line, width, pad=False) for line in lines[: screen.height]]


def wrongs(account: Account) -> list[Wrong]:
    """What is wrong, the manifest first, then the latest."""
    manifest = [Wrong("manifest", "", account.config_error, account.now)] if account.config_error else []
    return manifest + sorted(account.incidents, key=lambda each: -each.since)


# --- the parts ---------------------------------------------------------------------------------------------------


def _part(title: str, lines: list[list[Segment]], room: Room, width: int, signs: Charset) -> list[list[Segment]]:
    if not lines or not room.rules:
        return lines
    title = crop(title, max(0, width - 6), signs.dots)
    rule = f"{signs.track * 2} {title} "
    style = BAD if title.endswith(("incident", "incidents")) else DIM
    return [[Segment(rule + signs.track * (width - cells(rule)), style)], *lines]


def _head(view: View, width: int, signs: Charset) -> list[Segment]:
    account = view.account
    if view.away:
        right, style = _fitting((f"no daemon for {format_duration(view.quiet_for)}", "no daemon"), width - 8), PAUSED
    elif account is None or view.quiet_for > SILENT:
        right, style = _fitting((f"no word for {format_duration(view.quiet_for)}", "no word"), width - 8), PAUSED
    else:
        up = _span(view.now - account.since)
        told = (f"daemon {account.version}, pid {account.pid}, up {up}", f"pid {account.pid}, up {up}", f"up {up}")
        right, style = _fitting(told, max(0, width // 2 - 2)), DIM
    room = width - cells(right) - 1
    left = crop("ckptd watch", room, signs.dots)
    store = "" if account is None else _foreign(account.store, signs)
    more = crop_middle(f"  {store}", room - cells(left), signs.dots) if room - cells(left) > 10 else ""
    gap = " " * max(0, width - cells(left) - cells(more) - cells(right))
    return [Segment(left, BOLD), Segment(more), Segment(gap), Segment(right, style)]


def _incidents(wrong: list[Wrong], view: View, room: Room, width: int, signs: Charset) -> list[list[Segment]]:
    shown = wrong if len(wrong) <= room.incidents else wrong[: max(0, room.incidents - 1)]
    lines = []
    mark = "x" if signs is ASCII else "✗"
    for each in shown:
        since = "" if each.kind == "manifest" else f"  {_span(view.now - each.since)}"
        about = f" {crop_middle(clean(each.name), max(8, width // 3), signs.dots)}" if each.name else ""
        text = _foreign(f"{mark} {each.kind}{about}: {each.message}", signs)
        text = crop(text, max(0, width - cells(since)), signs.dots)
        gap = " " * max(0, width - cells(text) - cells(since))
        lines.append([Segment(text, BAD), Segment(gap), Segment(since, DIM)])
    if len(shown) < len(wrong) and room.incidents:
        more = f"{signs.dots} {len(wrong) - len(shown)} more {'incidents' if shown else 'wrong'}"
        lines.append([Segment(crop(more, width, signs.dots), BAD)])
    return lines


def _promise(pledge: Pledge, now: float, width: int, signs: Charset) -> list[Segment]:
    room = max(0, width - LABEL)
    limit, share = _span(pledge.max_age), f"{math.floor(pledge.share * 1000) / 10:g} % in time"
    label = Segment(pad("promise", LABEL))
    if pledge.unverified:
        lost = format_size(pledge.unverified)
        words = _fitting(
            (f"broken: {lost} damaged or never read, {share}", f"broken: {lost}, {share}", f"broken, {share}"), room
        )
        return [label, Segment(words, BAD)]
    if pledge.oldest is None:
        return [label, Segment(crop("nothing is kept yet", room, signs.dots), DIM)]
    age = max(0.0, now - pledge.oldest)
    style = BAD if not pledge.kept else PAUSED if age > LATE * pledge.max_age else GOOD
    told = (
        f"oldest byte verified {_span(age)} ago of {limit}, {share}",
        f"oldest {_span(age)} of {limit}, {share}",
        f"{_span(age)} of {limit}",
    )
    words = _fitting(tuple(f"broken: {each}" for each in told) if not pledge.kept else told, room)
    bar = min(GAUGE[1], room - cells(words) - 2)
    if bar < GAUGE[0]:
        return [label, Segment(words, style)]
    full = min(bar, int(age / pledge.max_age * bar))
    return [
        label,
        Segment(signs.full * full, style),
        Segment(signs.track * (bar - full), DIM),
        Segment(f"  {words}", PLAIN if pledge.kept else BAD),
    ]


def _scrub(scrub: Scrubbing, width: int, signs: Charset) -> list[Segment]:
    room = max(0, width - LABEL)
    name = crop_middle(_foreign(scrub.name, signs), max(12, room // 3), signs.dots)
    words = _foreign(f"reading {name}: {scrub.why}" if name else scrub.why, signs)
    style = BAD if scrub.shortfall else PAUSED if scrub.urgent else PLAIN if name else DIM
    return [Segment(pad("scrub", LABEL)), Segment(crop(words, room, signs.dots), style)]


def _next(account: Account, now: float, width: int, signs: Charset) -> list[Segment]:
    room, stock, scrub = max(0, width - LABEL), account.stock, account.scrub
    sync = name = ""
    if stock.next_sync is not None:
        wait = stock.next_sync[0] - now
        sync = f"sync in {_span(wait)}" if wait > 0 else "sync now"
        name = f" ({crop_middle(_foreign(stock.next_sync[1], signs), max(12, room // 3), signs.dots)})"
    read = ""
    if scrub.next_at is not None and not scrub.name:
        wait = scrub.next_at - now
        read = f"scrub in {_span(wait)}" if wait > 0 else "scrub soon"
    failing = f"{stock.failing} failing, tried again" if stock.failing else ""
    whole = signs.between.join(part for part in (sync + name, read, failing) if part)
    brief = signs.between.join(part for part in (sync, read) if part)
    words = _fitting((whole, brief, sync), room)
    return [Segment(pad("next", LABEL)), Segment(words or "nothing")]


def _stock(stock: Stock, width: int, signs: Charset) -> list[Segment]:
    total = sum(stock.states.values())
    size = f", {format_size(stock.size)}" if stock.size else ""
    line = [Segment(pad("store", LABEL)), Segment(f"{plural(total, 'checkpoint')}{size}")]
    order = [state for state in GOOD_STATES if state in stock.states]
    order += sorted(state for state in stock.states if state not in GOOD_STATES)
    for number, state in enumerate(order):
        style = GOOD if state == "present" else BAD if state in BAD_STATES else PLAIN if state == "touched" else PAUSED
        words = f"{stock.states[state]} {_foreign(state, signs)}"
        line += [Segment(signs.between if number else ": ", DIM if number else PLAIN), Segment(words, style)]
    return line


def _at_work(picture: Picture) -> str:
    counts = picture.totals.counts
    parts = [f"{counts.active} at work"] if counts.active or not counts.waiting else []
    parts += [f"{number} {word}" for number, word in ((counts.waiting, "waiting"), (counts.queued, "queued")) if number]
    return ", ".join(parts)


def _work(picture: Picture, room: Room, screen: Screen) -> list[list[Segment]]:
    if not room.work:
        return []
    # Four lines' worth of a dashboard: rows, what was left out, and the sum; no total bar, no air.
    lines = draw(picture, "work", Screen(screen.width, 4 if room.work > 1 else 2, screen.signs, screen.held))
    return lines[-room.work :]


def _recent(view: View, room: Room, width: int, signs: Charset) -> list[list[Segment]]:
    if not room.recent:
        return []
    shown = list(view.recent)[: -room.recent - 1 : -1]
    today = _local(view.now).date()
    times = [_when(_local(each.at), today == _local(each.at).date()) for each in shown]
    wide = max(map(len, times))
    names = [crop_middle(_foreign(each.name, signs), max(8, width // 3), signs.dots) for each in shown]
    name_width = max(map(cells, names))
    lines = []
    for each, when, name in zip(shown, times, names, strict=True):
        text = _foreign(each.text, signs)
        style = BAD if text.partition(":")[0] in _WRONG and not text.endswith("is over") else PLAIN
        start = f"{when:>{wide}} "
        words = crop(text, max(0, width - cells(start) - name_width - 2), signs.dots)
        lines.append([Segment(start, DIM), Segment(f"{pad(name, name_width)}  "), Segment(words, style)])
    return lines


# --- words -------------------------------------------------------------------------------------------------------


def _fitting(variants: Sequence[str], width: int) -> str:
    """The first that fits, else the beginning of the last."""
    return next((each for each in variants if cells(each) <= width), crop(variants[-1], max(0, width), ""))


def _span(seconds: float) -> str:
    """A time in its two largest units, without the smaller when that is zero: "7d", "2d 3h", "now" for none."""
    text = format_duration(max(0.0, seconds))
    return text.removesuffix(" 00s").removesuffix(" 00m").removesuffix(" 0h")


def _local(at: float) -> datetime:
    try:
        return datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0).astimezone()


def _when(at: datetime, today: bool) -> str:  # noqa: FBT001
    return f"{at:%H:%M:%S}" if today else f"{at:%b} {at.day:2} {at:%H:%M}"


def _foreign(text: str, signs: Charset) -> str:
    text = clean(text)
    return text.encode("ascii", "replace").decode() if signs is ASCII else text


def _dimmed(line: list[Segment]) -> list[Segment]:
    return [Segment(segment.text, DIM) for segment in line]

"""One frame of `ckptd watch`: how everything stands, laid out as lines of styled segments for a terminal's size.

What matters most stands highest and goes last when there is little room: what is wrong, the promise, the scrub, the
work, what happened. The rows of the work are `ckptd.ui.frame`'s. No line is ever wider than the terminal, and there are
never more lines than it has. Styles are the terminal's own; rich's markup is never parsed. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.segment import Segment

from ckptd.core.activity import FAILURES
from ckptd.core.incidents import Kind
from ckptd.core.picture import Picture, plural
from ckptd.core.units import format_duration, format_size
from ckptd.ui.account import Account, Pledge, Scrubbing, Stock, Told, Wrong, promise_words, span, wrongs
from ckptd.ui.frame import ASCII, BAD, BOLD, DIM, GOOD, PAUSED, PLAIN, Charset, Screen, draw
from ckptd.ui.text import cells, clean, crop, crop_middle, pad
from ckptd.ui.watch_layout import Room, share

LABEL = 9  # columns of "promise  "
GAUGE = (8, 32)  # columns that the promise's bar has at least, and at most
LATE = 0.9  # of the promised age: from here on the oldest byte is worth a second look
SILENT = 5.0  # seconds without a word after which it is told
WRAPPED = 4  # lines that one incident gets at most
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


def room_for(view: View, rows: int, screen: Screen) -> Room:
    """How to share the screen's lines when there are so many rows of work; the picture is not looked at."""
    known = view.account is not None
    height = screen.height - (known and bool(view.away))
    most = max(1, height // 4)
    wrong = len(incident_lines(view, most, max(1, screen.width - 1), screen.signs))
    return share(height, wrong, rows, len(view.recent), foot=bool(view.quits))


def draw_watch(view: View, room: Room, screen: Screen) -> list[list[Segment]]:
    """The lines of a frame, at most as many as the screen has."""
    width, signs = max(1, screen.width - 1), screen.signs
    lines = [_head(view, width, signs)]
    if view.account is None or view.away:
        why = f": {view.away}" if view.away else ""
        words = _foreign(f"waiting for the daemon{why}", signs)
        lines.append([Segment(crop(words, width, signs.dots), PAUSED)])
    if view.account is not None:
        wrong = incident_lines(view, room.incidents, width, signs)
        lines += _part(plural(len(wrongs(view.account)), "incident"), wrong, room, width, signs)
        lines += _facts(view, view.account, width, signs)[: 1 + room.facts]
        lines += _part(_at_work(view.picture), _work(view.picture, room, screen), room, width, signs)
        lines += _part("recent", _recent(view, room, width, signs), room, width, signs)
    if room.foot:
        lines += [[]] * (screen.height - 1 - len(lines))
        lines.append([Segment(crop(view.quits, width, signs.dots), DIM)])
    return [Segment.adjust_line_length(line, width, pad=False) for line in lines[: screen.height]]


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
        up = span(view.now - account.since)
        told = (f"daemon {account.version}, pid {account.pid}, up {up}", f"pid {account.pid}, up {up}", f"up {up}")
        right, style = _fitting(told, max(0, width // 2 - 2)), DIM
    room = width - cells(right) - 1
    left = crop("ckptd watch", room, signs.dots)
    store = "" if account is None else _foreign(account.store, signs)
    more = crop_middle(f"  {store}", room - cells(left), signs.dots) if room - cells(left) > 10 else ""
    gap = " " * max(0, width - cells(left) - cells(more) - cells(right))
    return [Segment(left, BOLD), Segment(more), Segment(gap), Segment(right, style)]


def incident_lines(view: View, most: int, width: int, signs: Charset) -> list[list[Segment]]:
    """What is wrong, in at most so many lines: whole messages if they fit, else their beginnings."""
    wrong = [] if view.account is None else wrongs(view.account)
    lines = [line for each in wrong for line in _incident(each, view.now, width, signs, WRAPPED)]
    if len(lines) > most:
        lines = [line for each in wrong for line in _incident(each, view.now, width, signs, 1)]
    if len(lines) > most > 0:
        left = len(lines) - most + 1
        more = f"{signs.dots} {left} more" if most > 1 else plural(left, "incident")
        lines = [*lines[: most - 1], [Segment(crop(more, width, signs.dots), BAD)]]
    return lines[:most]


def _incident(wrong: Wrong, now: float, width: int, signs: Charset, most: int) -> list[list[Segment]]:
    mark = "x" if signs is ASCII else "✗"
    since = "" if wrong.kind == "manifest" else f"  {span(now - wrong.since)}"
    about = f" {crop_middle(clean(wrong.name), max(8, width // 3), signs.dots)}" if wrong.name else ""
    text = _foreign(f"{mark} {wrong.kind}{about}: {wrong.message}", signs)
    first, *rest = wrap(text, max(1, width - cells(since)), most, signs.dots)
    gap = " " * max(0, width - cells(first) - cells(since))
    return [[Segment(first, BAD), Segment(gap), Segment(since, DIM)], *([Segment(f"  {line}", BAD)] for line in rest)]


def _facts(view: View, account: Account, width: int, signs: Charset) -> list[list[Segment]]:
    promise, stock = _promise(account.pledge, view.now, width, signs), _stock(account.stock, width, signs)
    if view.away:  # what is kept is there as before; what a daemon would do next nobody knows
        return [_dimmed(promise), _dimmed(stock)]
    return [promise, _scrub(account.scrub, width, signs), _next(account, view.now, width, signs), stock]


def _promise(pledge: Pledge, now: float, width: int, signs: Charset) -> list[Segment]:
    room = max(0, width - LABEL)
    label, words = Segment(pad("promise", LABEL)), promise_words(pledge, now)
    told = _fitting(words if pledge.kept else tuple(f"broken: {each}" for each in words), room)
    if pledge.oldest is None:
        return [label, Segment(told, DIM if pledge.kept else BAD)]
    used = max(0.0, now - pledge.oldest) / max(1.0, pledge.max_age)
    style = BAD if not pledge.kept else PAUSED if used > LATE else GOOD
    bar = min(GAUGE[1], room - cells(told) - 2)
    if bar < GAUGE[0]:
        return [label, Segment(told, style)]
    full = min(bar, int(used * bar))
    gauge = [Segment(signs.full * full, style), Segment(signs.track * (bar - full), DIM)]
    return [label, *gauge, Segment(f"  {told}", PLAIN if pledge.kept else BAD)]


def _scrub(scrub: Scrubbing, width: int, signs: Charset) -> list[Segment]:
    room = max(0, width - LABEL)
    name = crop_middle(_foreign(scrub.name, signs), max(12, room // 3), signs.dots)
    words = _foreign(f"reading {name}: {scrub.why}" if name else scrub.why, signs)
    style = BAD if scrub.shortfall else PAUSED if scrub.urgent else PLAIN if name else DIM
    return [Segment(pad("scrub", LABEL)), Segment(crop(words, room, signs.dots), style)]


def _next(account: Account, now: float, width: int, signs: Charset) -> list[Segment]:
    room, stock, scrub = max(0, width - LABEL), account.stock, account.scrub
    sync = name = read = ""
    if stock.next_sync is not None:
        wait = stock.next_sync[0] - now
        sync, name = f"sync in {span(wait)}" if wait > 0 else "sync now", _foreign(stock.next_sync[1], signs)
    if scrub.next_at is not None and not scrub.name:
        wait = scrub.next_at - now
        read = f"scrub in {span(wait)}" if wait > 0 else "scrub soon"
    failing = f"{stock.failing} failing, tried again" if stock.failing else ""
    whole, *less = (
        signs.between.join(part for part in parts if part)
        for parts in ((sync, read, failing), (sync, read), (sync or read,))
    )
    spare = room - cells(whole) - 3
    if name and spare >= min(cells(name), 12):
        whole = whole.replace(sync, f"{sync} ({crop_middle(name, spare, signs.dots)})", 1)
    return [Segment(pad("next", LABEL)), Segment(_fitting((whole, *less), room) or "nothing")]


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
    kinds = ((counts.active, "at work"), (counts.waiting, "waiting"), (counts.queued, "queued"))
    return ", ".join(f"{number} {word}" for number, word in kinds if number) or "done"


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
    texts = [_foreign(each.text, signs) for each in shown]
    longest = max(8, width // 3, width - wide - 3 - min(width // 2, max(map(cells, texts))))
    names = [crop_middle(_foreign(each.name, signs), longest, signs.dots) for each in shown]
    name_width = max(map(cells, names))
    lines = []
    for text, when, name in zip(texts, times, names, strict=True):
        style = BAD if text.partition(":")[0] in _WRONG and not text.endswith("is over") else PLAIN
        start = f"{when:>{wide}} "
        words = crop(text, max(0, width - cells(start) - name_width - 2), signs.dots)
        lines.append([Segment(start, DIM), Segment(f"{pad(name, name_width)}  "), Segment(words, style)])
    return lines


# --- words -------------------------------------------------------------------------------------------------------


def _fitting(variants: Sequence[str], width: int) -> str:
    """The first that fits, else the beginning of the last."""
    return next((each for each in variants if cells(each) <= width), crop(variants[-1], max(0, width), ""))


def wrap(text: str, width: int, most: int, dots: str) -> list[str]:
    """`text` broken at its spaces into at most so many lines; all but the first are two columns narrower."""
    lines: list[str] = []
    while text and len(lines) < most - 1 and cells(text) > width - 2 * bool(lines):
        line = crop(text, width - 2 * bool(lines), "")
        cut = line.rfind(" ") if " " in line[2:] and text[len(line) : len(line) + 1] != " " else len(line)
        if cut <= 0:
            break
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, crop(text, width - 2 * bool(lines), dots)]


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

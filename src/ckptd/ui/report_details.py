"""The part of a report that tells of each damaged checkpoint: what happened, where, whose work is in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from ckptd.core.diagnose import Cause
from ckptd.core.filemap import file_map, pieces_of
from ckptd.core.models import Damage
from ckptd.core.report import BAD, MENDED, Entry
from ckptd.core.units import format_size
from ckptd.ui.elements import breakable
from ckptd.ui.elements import element as e
from ckptd.ui.report_drawing import amount, drawn_map, legend
from ckptd.ui.report_parts import badge, section, table
from ckptd.ui.report_words import moment, sentence, with_code

DAMAGES = 50  # damaged ranges that are listed for one checkpoint; the map shows all of them
HOLDERS = 50  # processes
RESTORED = "It was not there, or could not be read. It has been fetched again and proven."
WHERE, WHOLE, EVIDENCE = "File", "Its SHA-256 should be", "Damaged bytes and what is known of them"
_REPLACED = {Cause.LINK, Cause.OTHER_TYPE}


def details(entries: Sequence[Entry]) -> Iterator[ET.Element]:
    """What is wrong, and what was mended; `entries` are numbered as they come."""
    numbered = list(enumerate(entries, start=1))
    wrong = [_article(entry, number) for number, entry in numbered if entry.outcome.state in BAD]
    mended = [_article(entry, number) for number, entry in numbered if entry.outcome.state == MENDED]
    if wrong:
        yield section("damage", "What is wrong", *wrong)
    if mended:
        yield section("mended", "What was mended", *mended)


def _article(entry: Entry, number: int) -> ET.Element:
    outcome, case = entry.outcome, entry.outcome.case
    told = outcome.error.message if outcome.error is not None else case.summary if case is not None else RESTORED
    return e(
        "article",
        e("h3", e("span", *breakable(outcome.name)), " ", badge(entry), id=f"checkpoint-{number}"),
        e("p", entry.description, cls="description") if entry.description else None,
        e("p", *with_code(sentence(told)), cls="told"),
        *(e("p", "Note: ", sentence(note), cls="aside") for note in outcome.notes),
        _figure(entry),
        e("dl", *(_fact(*each) for each in _known(entry)), cls="known"),
        _holders(entry, number),
        _ranges(entry, number),
        aria_labelledby=f"checkpoint-{number}",
    )


def _fact(name: str, value: Sequence[ET.Element | str]) -> ET.Element:
    return e("div", e("dt", name), e("dd", *value), cls="wide" if name in {WHERE, WHOLE, EVIDENCE} else None)


def _known(entry: Entry) -> Iterator[tuple[str, Sequence[ET.Element | str]]]:
    outcome, case = entry.outcome, entry.outcome.case
    yield "Last known to be good", [moment(entry.last_good)] if entry.last_good is not None else ["not known"]
    if outcome.size is not None:
        yield "Its size should be", [f"{format_size(outcome.size)} ({outcome.size:,} bytes)"]
    if case is not None and not case.usage.holders:
        yield "Open in", ["no process that we can see" if _blind(entry) else "no process"]
    if outcome.bytes_fetched:
        yield "Fetched to mend it", [format_size(outcome.bytes_fetched)]
    if outcome.path is not None:
        yield WHERE, [e("span", *breakable(outcome.path), cls="path")]
    if outcome.sha256 is not None:
        yield WHOLE, [e("code", outcome.sha256, cls="whole")]
    if case is not None and case.quarantine is not None:
        yield EVIDENCE, [e("span", *breakable(case.quarantine), cls="path")]


def _blind(entry: Entry) -> bool:
    case = entry.outcome.case
    return case is not None and (case.usage.unseen > 0 or not case.usage.complete)


def _figure(entry: Entry) -> ET.Element | None:
    outcome = entry.outcome
    if not outcome.size or outcome.state == "missing":
        return None
    if not outcome.damage:
        case = outcome.case
        unclear = outcome.damage is None and case is not None and case.cause not in _REPLACED
        return e("p", "Which part of it is damaged cannot be told.", cls="aside") if unclear else None
    found = file_map(outcome.size, outcome.damage)
    be, was = ("were", "was") if outcome.state == MENDED else ("are", "is")
    label = f"{found.damaged:,} of {len(found.cells):,} parts of the file {be} damaged"
    length = format_size(sum(each.length for each in outcome.damage))
    told = f"The file from its first byte to its last, in squares of {amount(found.unit)}; {length} {was} damaged."
    return e("figure", drawn_map(found, label), e("figcaption", e("p", told), legend(found)))


def _holders(entry: Entry, number: int) -> ET.Element | None:
    case = entry.outcome.case
    if case is None or not case.usage.holders:
        return None
    rows = [
        (
            ("Process", str(each.pid)),
            ("User", each.user),
            ("Since", moment(each.since)),
            ("How", each.how),
            ("Command", e("code", each.command)),
        )
        for each in case.usage.holders[:HOLDERS]
    ]
    which = "the damaged bytes" if entry.outcome.state == MENDED else "it"
    found = table(f"holders-{number}", f"Processes that have {which} open", rows)
    return e("div", found, _more(len(case.usage.holders) - HOLDERS, "processes"), _unseen(entry))


def _unseen(entry: Entry) -> ET.Element | None:
    case = entry.outcome.case
    if case is None or not _blind(entry):
        return None
    unseen = case.usage.unseen
    who = "1 process" if unseen == 1 else f"{unseen:,} processes" if unseen else "Some processes"
    return e("p", f"{who} could not be looked at, so somebody else may have it open, too.", cls="aside")


def _ranges(entry: Entry, number: int) -> ET.Element | None:
    damage, size = entry.outcome.damage, entry.outcome.size or 0
    if not damage or entry.outcome.state == "missing":
        return None
    rows = [
        (
            ("From byte", f"{each.offset:,}"),
            ("Bytes", f"{each.length:,}"),
            ("In piece", _pieces(each, size)),
            ("What", f"{each.verdict}: {each.detail}" if each.detail else each.verdict),
        )
        for each in damage[:DAMAGES]
    ]
    title = "Where it was damaged" if entry.outcome.state == MENDED else "Where it is damaged"
    found = table(f"ranges-{number}", title, rows, numbers={"From byte", "Bytes"})
    return e("div", found, _more(len(damage) - DAMAGES, "damaged ranges"))


def _pieces(damage: Damage, size: int) -> str:
    found = pieces_of(damage, size)
    if found is None:
        return "after the end"
    return f"{found[0]:,}" if found[0] == found[1] else f"{found[0]:,} to {found[1]:,}"


def _more(count: int, what: str) -> ET.Element | None:
    text = f"And {count:,} more {what}: `ckptd verify --json` tells all."
    return e("p", *with_code(text), cls="aside") if count > 0 else None

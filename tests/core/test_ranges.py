"""Sets of bytes, against plain Python sets; and Content-Range as origins spell it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.ranges import ContentRange, Extents, Unsatisfied, parse_content_range, spell

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def numbers(extents: Extents) -> set[int]:
    return {at for start, end in extents.spans for at in range(start, end)}


@settings(deadline=None)
@given(spans)
def test_the_union_in_one_shape(given_spans: list[tuple[int, int]]) -> None:
    """Sorted, disjoint, with a gap between any two: one spelling for one set."""
    extents = Extents.of(*given_spans)
    assert numbers(extents) == {at for start, end in given_spans for at in range(start, end)}
    assert extents.size == len(numbers(extents))
    edges = [edge for span in extents.spans for edge in span]
    assert edges == sorted(set(edges))


@settings(deadline=None)
@given(spans)
def test_one_by_one_is_all_at_once(given_spans: list[tuple[int, int]]) -> None:
    grown = Extents()
    for start, end in given_spans:
        grown = grown.add(start, end)
    assert grown == Extents.of(*given_spans)


@settings(deadline=None)
@given(spans, st.integers(0, 70))
def test_gaps_are_the_rest(given_spans: list[tuple[int, int]], total: int) -> None:
    extents = Extents.of(*given_spans)
    gaps = extents.gaps(total)
    assert [edge for gap in gaps for edge in gap] == sorted({edge for gap in gaps for edge in gap})
    assert {at for start, end in gaps for at in range(start, end)} == set(range(total)) - numbers(extents)


@settings(deadline=None)
@given(spans, st.integers(0, 70))
def test_reach_is_the_first_byte_that_is_missing(given_spans: list[tuple[int, int]], at: int) -> None:
    extents = Extents.of(*given_spans)
    have = numbers(extents)
    assert extents.reach(at) == next(each for each in range(at, 200) if each not in have)


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [(0, 1, "bytes=0-0"), (100, 200, "bytes=100-199"), (5, None, "bytes=5-"), (0, None, "bytes=0-")],
)
def test_the_last_byte_is_named_inclusively(start: int, end: int | None, text: str) -> None:
    assert spell(start, end) == text


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("bytes 0-0/1", ContentRange(0, 1, 1)),
        ("bytes 100-199/1000", ContentRange(100, 200, 1000)),
        ("bytes 100-199/*", ContentRange(100, 200, None)),
        ("  bytes 100-199/1000  ", ContentRange(100, 200, 1000)),
        ("bytes */1000", Unsatisfied(1000)),
        ("bytes */0", Unsatisfied(0)),
        ("bytes=0-9/10", None),  # aria2 issue 509
        ("bytes 0-10/10", None),
        ("bytes 9-0/10", None),
        ("bytes */*", None),
        ("bytes 0-9", None),
        ("bytes -9/10", None),
        ("bytes 0-9/10, bytes 20-29/30", None),
        ("bytes 0-9/-10", None),
        ("bytes \u0660-\u0669/10", None),  # digits, but not HTTP's
        ("seconds 0-9/10", None),
        ("bytes 0-99999999999999999999/100000000000000000000", None),
        ("", None),
        ("Bytes 0-9/10", ContentRange(0, 10, 10)),  # names of units are case-insensitive (RFC 9110 section 14.1)
    ],
)
def test_content_range(value: str, parsed: ContentRange | Unsatisfied | None) -> None:
    assert parse_content_range(value) == parsed

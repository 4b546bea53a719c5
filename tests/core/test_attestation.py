"""core.attestation: what a record's digest covers, its in-toto statement, and what records testify of a moment."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.attestation import (
    GENESIS,
    PREDICATE,
    STATEMENT,
    Evidence,
    Row,
    Visit,
    as_json,
    chained,
    evidence,
    settled,
    statement,
    timestamp,
)

A, B = "a" * 64, "b" * 64
VISIT = Visit(1.5e9, "m", "verify", A, "blake3", 7, 0.5, "intact", "")
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VISITS = st.builds(
    Visit,
    at=st.floats(0, 2e11),
    name=st.text(),
    action=st.text(),
    sha256=HEX,
    digest=st.text(),
    bytes=st.integers(-(2**63) + 1, 2**63 - 1),
    seconds=FINITE,
    verdict=st.text(),
    detail=st.text(),
)


def row(number: int, at: float, verdict: str = "intact", sha256: str = A, name: str = "m") -> Row:
    return Row(number, Visit(at, name, "verify", sha256, "sha256", 7, 0.5, verdict), B)


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_no_time_is_kept_that_no_clock_shows(wrong: float) -> None:
    kept = settled(Visit(wrong, "m", "verify", A, "sha256", 10**30, wrong, "intact"))
    assert (kept.at, kept.seconds, kept.bytes) == (0.0, 0.0, 2**63 - 1)


def test_a_lone_surrogate_does_not_reach_the_database() -> None:
    kept = settled(Visit(1.0, "m", "verify", A, "sha256", 7, 0.5, "corrupt", "rewritten by \udcff"))
    kept.detail.encode()
    assert kept.detail.startswith("rewritten by ")


@given(VISITS)
def test_what_is_kept_stays_as_it_is(visit: Visit) -> None:
    assert settled(visit) == visit


@given(VISITS, VISITS, HEX, HEX)
def test_the_digest_covers_every_field_and_the_one_before(one: Visit, two: Visit, before: str, other: str) -> None:
    assert (chained(before, one) == chained(other, two)) == ((before, one) == (other, two))


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1795367468.75, "2026-11-22T17:11:08.750000Z"),
        (-62135596800.0, "0001-01-01T00:00:00.000000Z"),
    ],
    ids=["epoch", "now", "long ago"],
)
def test_times_are_rfc_3339_in_utc(at: float, expected: str) -> None:
    assert timestamp(at) == expected


@pytest.mark.parametrize("at", [1e300, -1e300, math.inf, math.nan])
def test_a_time_in_no_calendar_is_said(at: float) -> None:
    with pytest.raises(ValueError, match="calendar"):
        timestamp(at)
    assert as_json(row(1, at))["time"] is None


# --- statements ------------------------------------------------------------------------------------------------------


def read_back(document: dict[str, Any]) -> tuple[Row, str]:
    """What whoever gets a statement can make of it: the record, and the name of its subject."""
    assert document["_type"] == STATEMENT
    assert document["predicateType"] == PREDICATE
    (subject,) = document["subject"]
    predicate = document["predicate"]
    record = predicate["record"]
    visit = Visit(
        record["at"],
        predicate["checkpoint"],
        predicate["action"],
        subject["digest"]["sha256"],
        predicate["comparedBy"],
        predicate["bytes"],
        predicate["seconds"],
        predicate["verdict"],
        predicate["detail"],
    )
    return Row(record["number"], visit, record["chain"], record["before"]), subject["name"]


@given(VISITS, st.integers(1, 2**63 - 1), HEX, HEX, st.none() | st.text(min_size=1))
def test_a_statement_loses_nothing(visit: Visit, number: int, chain: str, before: str, file: str | None) -> None:
    """Statement v1, and the chain's own digest can be computed again from it."""
    given_row = Row(number, visit, chain, before)
    line = json.dumps(statement(given_row, file, "1.2.3"))
    assert "\n" not in line
    document = json.loads(line)
    assert set(document) == {"_type", "subject", "predicateType", "predicate"}
    found, name = read_back(document)
    assert found == given_row
    assert chained(found.before, found.visit) == chained(before, visit)
    assert name == (visit.name if file is None else f"{visit.name}/{file}")
    assert document["predicate"]["tool"] == {"name": "ckptd", "version": "1.2.3"}
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{15}Z", document["predicate"]["verifiedAt"])


def test_the_predicate_type_belongs_to_nobody_else() -> None:
    """A UUID and a version (RFC 9562; RFC 8141 section 2.3.3): no domain, no registration. It never changes."""
    assert PREDICATE == "urn:uuid:47c1d9bc-a631-4ae4-994a-4e3e1406c82d#verification-v1"


@pytest.mark.parametrize(
    ("visit", "reason"),
    [
        (Visit(1.0, "m", "verify", "", "sha256", 7, 0.5, "intact"), "sha256"),
        (Visit(1e300, "m", "verify", A, "sha256", 7, 0.5, "intact"), "calendar"),
    ],
    ids=["no digest", "no time"],
)
def test_what_cannot_be_stated_is_said(visit: Visit, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        statement(Row(1, visit, A), None, "1")


def test_a_row_stands_after_nothing_unless_told() -> None:
    assert Row(1, VISIT, A).before == GENESIS


# --- around a moment -------------------------------------------------------------------------------------------------

BEFORE, AFTER = row(1, 10.0), row(9, 90.0)


@pytest.mark.parametrize(
    ("rows", "first", "last", "numbers"),
    [
        ([row(1, 10), row(2, 20), row(3, 30), row(4, 40)], 25, 25, [2, 3]),
        ([row(1, 10), row(2, 20), row(3, 30)], 20, 20, [2, 3]),
        ([row(1, 10), row(2, 20), row(3, 30), row(4, 40), row(5, 50)], 15, 35, [1, 2, 3, 4]),
        ([row(1, 10)], 5, 5, [1]),
        ([row(1, 10)], 50, 50, [1]),
        ([row(1, 30), row(2, 10), row(3, 20)], 15, 15, [2, 3]),
        ([row(1, 10), row(2, 10), row(3, 20), row(4, 20)], 15, 15, [2, 3]),
    ],
    ids=["between", "at a reading", "a day", "before all", "after all", "a clock set back", "at the same time"],
)
def test_the_readings_around_a_moment(rows: list[Row], first: float, last: float, numbers: list[int]) -> None:
    (found,) = evidence(rows, first, last)
    assert [each.id for each in found.rows] == numbers


def test_each_name_for_itself_sorted() -> None:
    rows = [row(1, 10, name="b"), row(2, 11, name="a"), row(3, 20, name="b")]
    found = evidence(rows, 15, 15)
    assert [(each.name, [other.id for other in each.rows]) for each in found] == [("a", [2]), ("b", [1, 3])]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Evidence("m", BEFORE, (), AFTER), "intact both times: the same bytes"),
        (Evidence("m", BEFORE, (row(2, 50),), AFTER), "intact both times: the same bytes"),
        (Evidence("m", BEFORE), "not read since"),
        (Evidence("m", None, (row(2, 50),)), "read at that time, and intact"),
        (Evidence("m", None, (), AFTER), "nothing is known of the time before"),
        (Evidence("m"), "nothing is known of it"),
        (Evidence("m", BEFORE, (), row(9, 90, "corrupt")), "not shown to have been intact: record 9 says corrupt"),
        (Evidence("m", row(1, 10, "missing"), (), AFTER), "not shown to have been intact: record 1 says missing"),
        (Evidence("m", BEFORE, (row(2, 50, "corrupt"),), AFTER), "not shown to have been intact: record 2"),
        (Evidence("m", BEFORE, (), row(9, 90, sha256=B)), "not shown to have been the same bytes"),
        (Evidence("m", row(1, 10, sha256=""), (), row(9, 90, sha256="")), "not shown to have been the same bytes"),
    ],
    ids=[
        "between two",
        "and once within",
        "last known",
        "within",
        "only after",
        "unknown",
        "damaged after",
        "missing before",
        "damaged within",
        "replaced between",
        "of an older version",
    ],
)  # fmt: skip
def test_what_follows(found: Evidence, says: str) -> None:
    assert says in found.conclusion

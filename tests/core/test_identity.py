"""The same bytes under two names, one URL locked as two files, one name with a past."""

from __future__ import annotations

import pytest

from ckptd.core.identity import Kind, findings
from ckptd.core.models import LockEntry, Trust

A, B, C = "a" * 64, "b" * 64, "c" * 64


def entry(name: str, sha256: str, url: str = "") -> LockEntry:
    return LockEntry(name, url or f"https://h/{name}.bin", 7, sha256, Trust.FIRST_USE)


ROWS: dict[str, tuple[list[LockEntry], dict[str, list[str]], list[tuple[Kind, tuple[str, ...]]]]] = {
    "nothing": ([], {}, []),
    "two files": ([entry("a", A), entry("b", B)], {"a": [A, A]}, []),
    "twins": ([entry("b", A), entry("a", A), entry("c", B)], {}, [(Kind.SAME_BYTES, ("a", "b"))]),
    "triplets": ([entry(name, A) for name in "cab"], {}, [(Kind.SAME_BYTES, ("a", "b", "c"))]),
    "one URL, one file": (
        [entry("a", A, "https://h/x"), entry("b", A, "https://h/x")],
        {},
        [(Kind.SAME_BYTES, ("a", "b"))],
    ),
    "one URL, two files": (
        [entry("a", A, "https://h/x"), entry("b", B, "https://h/x")],
        {},
        [(Kind.SAME_URL, ("a", "b"))],
    ),
    "one URL under two signatures": (
        [entry("a", A, "https://h/x?Signature=s1"), entry("b", B, "https://h/x?Signature=s2")],
        {},
        [(Kind.SAME_URL, ("a", "b"))],
    ),
    "two generations of one object": (
        [entry("a", A, "https://h/x?generation=1"), entry("b", B, "https://h/x?generation=2")],
        {},
        [],
    ),
    "a past": ([entry("a", B)], {"a": [A, A, B]}, [(Kind.HISTORY, ("a",))]),
    "a past of which nothing is known": ([entry("a", B)], {"a": ["", B]}, []),
    "back to what it was": ([entry("a", A)], {"a": [A, B, A]}, [(Kind.HISTORY, ("a",))]),
    "the past of a name that is not locked": ([entry("a", A)], {"b": [B, C]}, []),
}


@pytest.mark.parametrize("row", ROWS)
def test_findings(row: str) -> None:
    entries, history, expected = ROWS[row]
    assert [(each.kind, each.names) for each in findings(entries, history)] == expected


def test_digests_stand_with_their_names() -> None:
    twins, split, past = findings(
        [entry("a", A, "https://h/x"), entry("b", B, "https://h/x"), entry("c", B)], {"c": [A, C, B]}
    )
    assert (twins.names, twins.sha256) == (("b", "c"), (B, B))
    assert (split.names, split.sha256, split.url) == (("a", "b"), (A, B), "https://h/x")
    assert (past.names, past.sha256) == (("c",), (A, C, B))  # oldest first


def test_only_what_was_asked_about() -> None:
    entries = [entry("a", A), entry("b", A), entry("c", B), entry("d", B)]
    assert [each.names for each in findings(entries, {}, {"a", "x"})] == [("a", "b")]


def test_no_signature_is_told() -> None:
    (found,) = findings([entry("a", A, "https://h/x?sig=SECRET"), entry("b", B, "https://h/x?sig=SECRET")], {})
    assert "SECRET" not in repr(found)

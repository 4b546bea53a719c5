"""Incidents: told once when they begin, once when they end, and kept over restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.incidents import Incident, Incidents, Kind

LOOK = st.tuples(st.sampled_from(Kind), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "bad", "worse"]))


def test_told_once_with_a_resolve() -> None:
    now, told = Incidents.none(), []
    for at, message in enumerate(["", "bad", "bad", "worse", "", "", "bad"]):
        now, changed = now.observe(Kind.DAMAGE, "a", message, float(at))
        told += [changed] if changed is not None else []
    assert told == [
        Incident(Kind.DAMAGE, "a", "bad", 1.0),
        Incident(Kind.DAMAGE, "a", "worse", 1.0, 4.0),
        Incident(Kind.DAMAGE, "a", "bad", 6.0),
    ]


@given(st.lists(LOOK, max_size=30))
def test_what_is_open_is_what_was_begun_and_not_ended(looks: list[tuple[Kind, str, str]]) -> None:
    now = Incidents.none()
    open_: set[tuple[Kind, str]] = set()
    for at, (kind, name, message) in enumerate(looks):
        now, changed = now.observe(kind, name, message, float(at))
        assert (changed is not None) is (((kind, name) in open_) is not bool(message))
        if changed is not None:
            (open_.discard if changed.until is not None else open_.add)((kind, name))
    assert set(now.open) == open_
    assert Incidents.from_json(now.to_json()) == now


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "3",
        "null",
        "[3]",
        '[{"kind": "flood"}]',
        '[{"kind": "damage"}]',
        '{"kind": 1}',
        "[" * 100_000,
        '["ab"]',
    ],
    ids=range(10),
)
def test_anything_else_is_nothing(text: str) -> None:
    assert Incidents.from_json(text) == Incidents.none()

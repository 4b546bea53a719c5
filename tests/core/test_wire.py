"""The socket's protocol: what one side says the other understands, and what it does not know it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ckptd import errors
from ckptd.core import events, wire
from ckptd.core.models import Case, Damage, Holder, Outcome, Problem, Trust, Usage
from ckptd.errors import CkptdError, ConfigError

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e10)
EVENT = st.one_of(
    st.builds(events.Queued, TEXT, st.none() | NUMBER, TEXT),
    st.builds(events.Started, TEXT, st.none() | NUMBER, NUMBER),
    st.builds(events.Sized, TEXT, NUMBER),
    st.builds(events.Received, TEXT, NUMBER),
    st.builds(events.Rewound, TEXT, NUMBER, TEXT),
    st.builds(events.Connections, TEXT, NUMBER, TEXT),
    st.builds(events.Hashed, TEXT, NUMBER),
    st.builds(events.Publishing, TEXT),
    st.builds(events.Noted, TEXT, TEXT),
    st.builds(events.Finished, TEXT, TEXT, detail=TEXT, error=TEXT, hint=TEXT, size=st.none() | NUMBER, fetched=NUMBER),
)
HOLDER = st.builds(Holder, NUMBER, TEXT, TEXT, SECONDS, TEXT)
USAGE = st.builds(Usage, st.lists(HOLDER, max_size=3).map(tuple), NUMBER, st.booleans())
FLIPS = st.lists(st.tuples(NUMBER, NUMBER), max_size=3).map(tuple)
CASE = st.builds(Case, TEXT, TEXT, st.none() | SECONDS, USAGE, FLIPS, st.none() | TEXT)
OUTCOME = st.builds(
    Outcome,
    TEXT,
    TEXT,
    st.none() | NUMBER,
    st.none() | TEXT,
    st.none() | st.sampled_from(Trust),
    st.none() | TEXT,
    NUMBER,
    NUMBER,
    error=st.none() | st.builds(Problem, TEXT, TEXT, TEXT),
    exit_status=st.sampled_from([0, 1, 3, 4, 5]),
    damage=st.none() | st.lists(st.builds(Damage, NUMBER, NUMBER, TEXT, TEXT), max_size=3).map(tuple),
    notes=st.lists(TEXT, max_size=3).map(tuple),
    case=st.none() | CASE,
)
OWN = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CkptdError)]
OPTIONS: st.SearchStrategy[tuple[str, dict[str, object]]] = st.one_of(
    st.builds(dict, locked=st.booleans()).map(lambda found: ("sync", found)),
    st.builds(dict, sha256=st.booleans(), repair=st.booleans(), older_than=SECONDS).map(
        lambda found: ("verify", found)
    ),
    st.sampled_from(["hello", "status", "watch", "update"]).map(lambda command: (command, {})),
)


@given(EVENT)
def test_events_come_back(event: events.Event) -> None:
    line = wire.event_line(event)
    assert line.count(b"\n") == 1
    assert wire.parse_answer(line) == event


@given(OUTCOME)
def test_outcomes_come_back(outcome: Outcome) -> None:
    answer = wire.parse_answer(wire.result_line({"outcomes": [wire.outcome_json(outcome)]}))
    assert isinstance(answer, wire.Result)
    found: Any = answer.content["outcomes"]
    assert wire.outcome_of(found[0]) == outcome


@given(OPTIONS, st.lists(TEXT, max_size=3).map(tuple), TEXT)
def test_requests_come_back(asked: tuple[str, dict[str, object]], names: tuple[str, ...], manifest: str) -> None:
    assume(names or asked[0] != "update")
    request = wire.Request(asked[0], names, asked[1], manifest)
    line = wire.render_request(request)
    assert line.count(b"\n") == 1
    assert wire.parse_request(line) == request


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_errors_come_back(kind: type[CkptdError]) -> None:
    """Each of our own, so that the exit status is the same on both sides."""
    error = kind("what is wrong", hint="what to do")
    with pytest.raises(CkptdError) as caught:
        wire.parse_answer(wire.error_line(error))
    found = caught.value
    assert (found.message, found.hint, found.kind) == (error.message, error.hint, error.kind)
    assert found.exit_status == error.exit_status


def test_every_event_is_known() -> None:
    """An event that were forgotten would end every caller's answer."""
    for kind in events.Event.__args__:
        assert kind.__name__ in wire._EVENTS  # the table itself


GOOD = {"protocol": 1, "command": "sync", "names": ["a"], "options": {"locked": True}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": 2}, "version 1"),
        ({"protocol": None}, "version 1"),
        ({"protocol": "1"}, "version 1"),
        ({"protocol": True}, "version 1"),
        ({"protocol": 1.0}, "version 1"),
        ({"command": "stop"}, "no command"),
        ({"command": ["sync"]}, "no command"),
        ({"command": None}, "no command"),
        ({"names": "a"}, "names"),
        ({"names": [1]}, "names"),
        ({"names": None}, "names"),
        ({"options": []}, "options"),
        ({"options": {"repair": True}}, "has no option"),
        ({"options": {"locked": 1}}, "not a bool"),
        ({"options": {"locked": None}}, "not a bool"),
        ({"command": "verify", "options": {"older_than": "1d"}}, "not a float"),
        ({"command": "verify", "options": {"older_than": True}}, "not a float"),
        ({"command": "verify", "options": {"older_than": float("nan")}}, "older_than"),
        ({"command": "verify", "options": {"older_than": -1}}, "older_than"),
        ({"command": "verify", "options": {"older_than": 10**400}}, "older_than"),
        ({"manifest": 3}, "manifest"),
        ({"else": 1}, "no key"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_what_is_not_known_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        wire.parse_request(json.dumps(GOOD | changes).encode())
    assert len(caught.value.message) <= 300


def test_who_says_a_key_twice_means_two_things() -> None:
    with pytest.raises(ConfigError, match="one JSON object a line"):
        wire.parse_request(b'{"protocol":1,"command":"hello","protocol":1}')


@pytest.mark.parametrize("names", [{"names": []}, {}])
def test_an_update_of_everything_is_refused(names: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="an update names"):
        wire.parse_request(json.dumps({"protocol": 1, "command": "update", **names}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_understood(line: bytes) -> None:
    for parse in (wire.parse_request, wire.parse_answer):
        try:
            parse(line)
        except CkptdError:
            continue


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1",
        b"[" * 100_000,
        b"9" * 5000,
        b'{"event":"Exploded","name":"a"}',
        b'{"event":"Received","name":"a"}',
        b'{"event":"Received","name":"a","count":1,"more":2}',
        b'{"event":{"a":1}}',
        b"{}",
        b'{"result":3}',
    ],
    ids=range(10),
)
def test_an_answer_that_is_not_known(line: bytes) -> None:
    with pytest.raises(ConfigError):
        wire.parse_answer(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"trust": "best"},
        {"damage": [{"offset": 1}]},
        {"damage": [3]},
        {"error": {"kind": "x"}},
        {"case": {"cause": "x"}},
        {"case": {"cause": "x", "summary": "y", "usage": {}}},
        {"case": {"cause": "x", "summary": "y", "flips": [[1]]}},
    ],
    ids=str,
)
def test_an_outcome_that_is_not_known(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        wire.outcome_of(wire.outcome_json(Outcome("a", "present")) | changes)

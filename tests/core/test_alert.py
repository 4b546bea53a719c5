"""What is told of an incident."""

from __future__ import annotations

import json

import pytest

from ckptd.core import alert
from ckptd.core.alert import Alert
from ckptd.core.incidents import Incident, Kind

BEGUN = Incident(Kind.DAMAGE, "a", "bytes differ", 1795305600.0)
OVER = Incident(Kind.DAMAGE, "a", "bytes differ", 1795305600.0, 1795305660.0)
STORE = Incident(Kind.PROMISE, "", "late", 0.0)


def test_the_json() -> None:
    assert json.loads(alert.body(Alert(BEGUN, "host1", "/store"))) == {
        "schema": 1,
        "program": "ckptd",
        "host": "host1",
        "store": "/store",
        "kind": "damage",
        "checkpoint": "a",
        "state": "begun",
        "message": "bytes differ",
        "since": "2026-11-22T00:00:00Z",
        "until": None,
        "text": "ckptd on host1: damage of a - bytes differ",
    }


@pytest.mark.parametrize(
    ("incident", "expected"),
    [
        (BEGUN, {"state": "begun", "until": None, "text": "ckptd on h: damage of a - bytes differ"}),
        (OVER, {"state": "over", "until": "2026-11-22T00:01:00Z"}),
        (OVER, {"text": "ckptd on h: damage of a is over (bytes differ)"}),
        (STORE, {"checkpoint": "", "since": "1970-01-01T00:00:00Z", "text": "ckptd on h: promise - late"}),
        (Incident(Kind.DRIFT, "a", "https://h/f?sig=s3cret\nx", 0.0), {"message": "https://h/f?... x"}),
        (Incident(Kind.DRIFT, "a", "x", 1e300), {"since": "1970-01-01T00:00:00Z"}),
    ],
    ids=["begun", "over", "the end in words", "store", "secret", "no such time"],
)  # fmt: skip
def test_what_stands_in_it(incident: Incident, expected: dict[str, object]) -> None:
    body = json.loads(alert.body(Alert(incident, "h", "/s")))
    assert {key: body[key] for key in expected} == expected
    assert "drill" not in body


def test_a_rehearsal_is_marked() -> None:
    begun, over = alert.rehearsal("h", "/s", 5.0)
    bodies = [json.loads(alert.body(each)) for each in (begun, over)]
    assert [(body["state"], body["drill"]) for body in bodies] == [("begun", True), ("over", True)]
    assert all("drill" in body["text"] for body in bodies)
    assert alert.environment(begun, {})["CKPTD_DRILL"] == "1"


def test_the_environment_is_clean() -> None:
    ours = {
        "PATH": "/bin",
        "HOME": "/h",
        "LANG": "C",
        "HF_TOKEN": "s3cret",
        "CKPTD_MANIFEST": "/m",
        "NOTIFY_SOCKET": "/n",
    }
    assert alert.environment(Alert(OVER, "h", "/s"), ours) == {
        "PATH": "/bin",
        "HOME": "/h",
        "LANG": "C",
        "CKPTD_INCIDENT_KIND": "damage",
        "CKPTD_CHECKPOINT": "a",
        "CKPTD_STATE": "over",
    }
    assert alert.environment(Alert(OVER, "h", "/s"), {})["PATH"] == alert.PATH

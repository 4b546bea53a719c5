"""`ckptd.front.metrics` and `tally`: what is counted, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from stage import DAY, NOW, account, checkpoint, incident

from ckptd.core import events
from ckptd.core.events import Connections, Event, Finished, Noted, Queued, Received, Started
from ckptd.core.incidents import Incident, Kind
from ckptd.core.models import Checkpoint, Outcome, Problem
from ckptd.front.metrics import exposition
from ckptd.front.tally import MOST_HOSTS, Counts, Tally
from ckptd.service.daemon import Daemon
from ckptd.service.hub import Hub
from ckptd.service.sync import finished

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]
STORED = (Checkpoint("a", "https://a.example.org/a.bin?X-Goog-Signature=geheim", "a.bin"),)


def samples(found: dict[str, Any], counts: Counts | None = None, *, scrubbed: int = 0, process: bool = False) -> Found:
    """What a Prometheus reads."""
    text = exposition(found, counts or Counts(), scrubbed=scrubbed, process=process).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Found, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def named(found: Found, name: str) -> dict[str, float]:
    """The values of a metric with one label, by its value."""
    return {labels[0][1]: value for (each, labels), value in found.items() if each == name}


# --- what is told ----------------------------------------------------------------------------------------------------


def test_checkpoints() -> None:
    found = samples(
        account(
            checkpoint("a"),
            checkpoint("b", state="touched", size=5, verified_at=NOW - 1, failures=2),
            checkpoint("c", state="missing", size=None, verified_at=None, failures=4),
        )
    )
    states = named(found, "ckptd_checkpoints")
    assert {state: count for state, count in states.items() if count} == {"present": 1, "touched": 1, "missing": 1}
    assert states["damaged"] == 0  # there before it happens, so that it can be seen to change
    assert named(found, "ckptd_checkpoint_present") == {"a": 1, "b": 1, "c": 0}
    assert named(found, "ckptd_checkpoint_size_bytes") == {"a": 3_000_000, "b": 5}
    assert named(found, "ckptd_checkpoint_verified_timestamp_seconds") == {"a": NOW - 2 * DAY, "b": NOW - 1}
    assert named(found, "ckptd_checkpoint_failures") == {"a": 0, "b": 2, "c": 4}


def test_the_promise() -> None:
    broken = {"kept": False, "age": None, "share": 0.75, "unverified_bytes": 12}
    found = samples(account(promise=broken, scrub={"name": "a", "shortfall": 99}), scrubbed=4096)
    assert of(found, "ckptd_promise_kept") == 0
    assert of(found, "ckptd_promise_share_ratio") == 0.75
    assert of(found, "ckptd_promise_max_age_seconds") == 7 * DAY
    assert of(found, "ckptd_promise_oldest_age_seconds") is None  # some byte has no age
    assert of(found, "ckptd_unverified_bytes") == 12
    assert of(found, "ckptd_scrub_shortfall_bytes") == 99
    assert of(found, "ckptd_scrub_active") == 1
    assert of(found, "ckptd_scrubbed_bytes_total") == 4096
    assert of(samples(account()), "ckptd_promise_oldest_age_seconds") == 2 * DAY


def test_what_runs() -> None:
    def working(name: str, connections: int, host: str) -> dict[str, Any]:
        return {"name": name, "size": 9, "done": 1, "connections": connections, "host": host}

    found = samples(account(active=[working("a", 3, "x"), working("b", 1, "x"), working("c", 0, "y")]))
    assert of(found, "ckptd_transfers_active") == 2
    assert of(found, "ckptd_transfers_waiting") == 1
    assert named(found, "ckptd_connections_active") == {"x": 4}


def test_what_is_wrong() -> None:
    wrong = [incident("damage", "a"), incident("damage", "b"), incident("promise", "")]
    found = samples(account(incidents=wrong, config_error="line 3: what is this?"))
    assert named(found, "ckptd_incidents") == {"damage": 2, "drift": 0, "promise": 1, "failure": 0}
    assert of(found, "ckptd_manifest_valid") == 0
    assert of(samples(account()), "ckptd_manifest_valid") == 1


def test_metrics_of_the_process_are_left_to_the_collector_of_a_textfile() -> None:
    assert of(samples(account(), process=True), "process_resident_memory_bytes") is not None
    assert {name.partition("_")[0] for name, _ in samples(account(), process=False)} == {"ckptd"}


def test_names_are_by_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming: base units, counters end in _total, nothing else does."""
    text = exposition(account(checkpoint("a")), Counts(synced=NOW), scrubbed=1, process=False).decode()
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert len(kinds) > 20
    for name, kind in kinds.items():
        assert re.fullmatch(r"ckptd_[a-z_]+", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|minutes|hours|kb|mb|percent)(_|$)", name)
    assert all(len(line.split(" ", 3)[3]) > 10 for line in text.splitlines() if line.startswith("# HELP"))


# --- what is counted -------------------------------------------------------------------------------------------------


def counted(*told: Event, checkpoints: Sequence[Checkpoint] = STORED) -> Counts:
    """The counts after these events of a daemon with this manifest."""
    hub, tally = Hub(), Tally()
    alarms: list[Any] = []
    daemon = SimpleNamespace(
        hub=hub,
        watchman=SimpleNamespace(alarms=alarms),
        place=SimpleNamespace(manifest=SimpleNamespace(checkpoints=checkpoints)),
    )
    for _ in range(2):  # the second time changes nothing
        tally.follow(cast("Daemon", daemon))
    for event in told:
        hub.emit(event)
    for alarm in alarms:
        alarm(Incident(Kind.DAMAGE, "a", "", 1.0))
        alarm(Incident(Kind.DAMAGE, "a", "", 1.0, until=2.0))
    return tally.counts()


def fetched(name: str, count: int) -> Finished:
    return Finished(name, "fetched", fetched=count, size=count)


@pytest.mark.parametrize(
    ("told", "downloaded", "read"),
    [
        (
            [Connections("a", 1, "x"), Received("a", 5), Received("a", 6), Connections("a", 0, "x"), fetched("a", 11)],
            {"x": 11},
            0,
        ),
        (
            [Connections("a", 1, "x"), Received("a", 5), Connections("a", 2, "y"), Received("a", 6), fetched("a", 11)],
            {"x": 5, "y": 6},
            0,
        ),
        ([Started("a", 5), Received("a", 5), fetched("a", 5)], {"a.example.org": 5}, 0),
        ([Started("a", 5), Received("a", 5), Finished("a", "intact")], {}, 5),
        (
            [Received("a", 7), Connections("a", 1, "x"), Received("a", 5), Connections("a", 0, "x"), fetched("a", 5)],
            {"x": 5},
            7,
        ),
        ([Connections("a", 1, "x"), Received("a", 5), Finished("a", "failed", error="cut", fetched=5)], {"x": 5}, 0),
        ([Started("z", 5), Received("z", 5), fetched("z", 5)], {"other": 5}, 0),
    ],
    ids=[
        "by connections",
        "the second host of two",
        "small ones come without a word about connections",
        "verify reads here",
        "what is there is looked at first",
        "in vain",
        "no longer in the manifest",
    ],
)
def test_bytes_are_counted_where_they_came_from(told: list[Event], downloaded: dict[str, int], read: int) -> None:
    counts = counted(*told)
    assert counts.downloaded == downloaded
    assert counts.read == read


def test_hosts_are_told_apart_up_to_a_number() -> None:
    def from_everywhere() -> Iterator[Event]:
        for number in range(MOST_HOSTS + 20):
            yield from (Connections("a", 1, f"host{number}"), Received("a", 1))

    hosts = counted(*from_everywhere()).downloaded
    assert len(hosts) == MOST_HOSTS + 1
    assert hosts["other"] == 20


def test_what_came_of_it() -> None:
    counts = counted(
        Queued("a", None, "new"),
        Finished("a", "fetched"),
        Finished("b", "present"),
        Finished("c", "present"),
        Finished("d", "something new"),
        Noted("manifest", "read again"),
    )
    assert {state: count for state, count in counts.outcomes.items() if count} == {
        "fetched": 1,
        "present": 2,
        "other": 1,
    }
    assert counts.synced is not None
    assert counted(Finished("a", "failed", error="gone")).synced is None
    assert counts.incidents == {"damage": 1, "drift": 0, "promise": 0, "failure": 0}  # begun; that it ended is no more


@pytest.mark.parametrize("kind", ["network", "origin", "integrity", "policy", "drift", "storage", "config"])
def test_errors_by_kind(kind: str) -> None:
    counts = counted(finished(Outcome("a", "failed", error=Problem(kind, "it went wrong"))))
    assert {each: count for each, count in counts.errors.items() if count} == {kind: 1}


def test_counts_are_a_copy() -> None:
    tally = Tally()
    before = tally.counts()
    tally.hear(events.Finished("a", "present"))
    assert before.outcomes["present"] == 0
    assert tally.counts().outcomes["present"] == 1


def test_every_count_is_told() -> None:
    counts = counted(Connections("a", 1, "x"), Received("a", 5), Finished("a", "failed", error="gone", fetched=5))
    found = samples(account(), counts)
    assert of(found, "ckptd_downloaded_bytes_total", host="x") == 5
    assert of(found, "ckptd_outcomes_total", state="failed") == 1
    assert of(found, "ckptd_outcomes_total", state="fetched") == 0
    assert sum(named(found, "ckptd_errors_total").values()) == 1
    assert of(found, "ckptd_incidents_begun_total", kind="damage") == 1
    assert of(found, "ckptd_last_sync_timestamp_seconds") is None
    assert "geheim" not in str(found)

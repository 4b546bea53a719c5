"""The daemon's metrics in Prometheus' text format (version 0.0.4), for `/metrics` and for a textfile.

Takes the account and the counts, and reads nothing but /proc. Names and units are by Prometheus' conventions; names of
checkpoints are labels, URLs are not. What a metric is for, and when to be woken by it, is in monitoring/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ckptd.core.incidents import Kind
from ckptd.front.tally import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("present", "touched", "partial", "missing", "unlocked", "damaged", "conflict")  # as `ckptd status` says them
HERE = frozenset({"present", "touched"})

Sample = tuple[Mapping[str, str], float]


def exposition(account: Mapping[str, Any], counts: Counts, *, scrubbed: int, process: bool) -> bytes:
    """All metrics. `scrubbed` bytes were read by the scrub; with `process` those of the process are there, too."""
    return by_name(account["checkpoints"]) + overall(account, counts, scrubbed=scrubbed, process=process)


def by_name(checkpoints: Iterable[Mapping[str, Any]]) -> bytes:
    """Those that tell one checkpoint from another: with many, most of all that there is, and seldom new."""
    return _written(_checkpoints(checkpoints))


def overall(account: Mapping[str, Any], counts: Counts, *, scrubbed: int, process: bool) -> bytes:
    """All others, for which the account needs no checkpoints."""
    registry = CollectorRegistry()
    if process:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return _written(_all_others(account, counts, scrubbed), registry)


def _written(metrics: Iterable[Metric], registry: CollectorRegistry | None = None) -> bytes:
    registry = registry or CollectorRegistry()
    registry.register(_Given(metrics))
    return generate_latest(registry)


class _Given(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """These."""
        return self._metrics


def _all_others(account: Mapping[str, Any], counts: Counts, scrubbed: int) -> Iterator[Metric]:
    yield _gauge("ckptd_build_info", "The version that runs.", [({"version": account["version"]}, 1)])
    yield _single("ckptd_manifest_valid", "Whether the manifest could be read last time.", not account["config_error"])
    yield from _promise(account["promise"])
    yield from _scrub(account["scrub"], scrubbed)
    yield from _work(account["active"])
    yield _counter("ckptd_downloaded_bytes", "Bytes that came from a host.", "host", counts.downloaded)
    yield _count("ckptd_read_back_bytes", "Bytes read from the store on request or before use.", counts.read)
    yield _counter("ckptd_outcomes", "What came of checkpoints in sync, verify, repair.", "state", counts.outcomes)
    yield _counter("ckptd_errors", "Errors of checkpoints by kind, as in --json.", "kind", counts.errors)
    if counts.synced is not None:
        told = "When a checkpoint was last found present at its time, or fetched."
        yield _single("ckptd_last_sync_timestamp_seconds", told, counts.synced)
    yield from _incidents(account["incidents"], counts)


def _checkpoints(found: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    found = list(found)
    states = Counter({**dict.fromkeys(STATES, 0), **Counter(each["state"] for each in found)})
    yield _gauge(
        "ckptd_checkpoints",
        "Checkpoints of the manifest by state.",
        [({"state": state}, count) for state, count in sorted(states.items())],
    )
    yield _named("present", "Whether it is there, whole.", [(each, each["state"] in HERE) for each in found])
    yield _named(
        "verified_timestamp_seconds",
        "When it was last verified.",
        [(each, each["verified_at"]) for each in found],
    )
    yield _named("size_bytes", "Size of the file, locked or expected.", [(each, each["size"]) for each in found])
    yield _named("failures", "Attempts in a row to fetch it that failed.", [(each, each["failures"]) for each in found])


def _named(what: str, told: str, values: Iterable[tuple[Mapping[str, Any], float | None]]) -> Metric:
    samples = [({"name": each["name"]}, float(value)) for each, value in values if value is not None]
    return _gauge(f"ckptd_checkpoint_{what}", told, samples)


def _promise(held: Mapping[str, Any]) -> Iterator[Metric]:
    yield _single("ckptd_promise_max_age_seconds", "No byte is to be unverified for longer.", held["max_age"])
    if held["age"] is not None:
        told = "Age of the least recent verification; not there while a byte was never verified."
        yield _single("ckptd_promise_oldest_age_seconds", told, held["age"])
    yield _single("ckptd_promise_share_ratio", "Bytes verified within the promise, of all.", held["share"])
    yield _single("ckptd_promise_kept", "Whether all bytes are verified within the promise.", held["kept"])
    told = "Bytes never verified, or not good when they were read last."
    yield _single("ckptd_unverified_bytes", told, held["unverified_bytes"])


def _scrub(scrub: Mapping[str, Any], scrubbed: int) -> Iterator[Metric]:
    yield _count("ckptd_scrubbed_bytes", "Bytes that the scrub has read.", scrubbed)
    yield _single("ckptd_scrub_active", "Whether the scrub reads now.", bool(scrub["name"]))
    told = "Bytes that the scrub will not come to before they are older than promised."
    yield _single("ckptd_scrub_shortfall_bytes", told, scrub["shortfall"])


def _work(active: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    busy: Counter[str] = Counter()
    transfers = others = 0
    for each in active:
        if each["connections"]:
            transfers += 1
            busy[each["host"]] += each["connections"]
        else:
            others += 1
    yield _single("ckptd_transfers_active", "Checkpoints that connections carry now.", transfers)
    yield _single("ckptd_transfers_waiting", "Checkpoints at work, or waiting, without a connection.", others)
    yield _gauge("ckptd_connections_active", "Connections that carry bytes now.", _by("host", busy))


def _incidents(found: Iterable[Mapping[str, Any]], counts: Counts) -> Iterator[Metric]:
    now = Counter({**dict.fromkeys(map(str, Kind), 0), **Counter(str(each["kind"]) for each in found)})
    yield _gauge("ckptd_incidents", "What is wrong now, by kind.", _by("kind", now))
    yield _counter("ckptd_incidents_begun", "What went wrong since the start, by kind.", "kind", counts.incidents)


# --- families --------------------------------------------------------------------------------------------------------


def _by(label: str, values: Mapping[str, float]) -> list[Sample]:
    return [({label: key}, value) for key, value in sorted(values.items())]


def _gauge(name: str, told: str, samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, told)
    for labels, value in samples:
        family.add_sample(name, dict(labels), float(value))
    return family


def _single(name: str, told: str, value: float) -> Metric:
    return _gauge(name, told, [({}, value)])


def _counter(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, told)
    for labels, value in _by(label, values):
        family.add_sample(f"{name}_total", dict(labels), float(value))
    return family


def _count(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(name, told, value=float(value))

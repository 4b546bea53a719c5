"""A real Prometheus: it scrapes a daemon, likes its metrics, and knows our alerts and the dashboard's questions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import faults as f
import pytest
import yaml
from origin import Origin
from served import Served
from web import free_port
from workplace import Workplace, tgz, wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES, DASHBOARD = MONITORING / "ckptd-alerts.yml", MONITORING / "ckptd-dashboard.json"
BUILT_IN = {"up", "node_textfile_mtime_seconds"}  # of Prometheus and of node_exporter
VARIABLES = {"$instance": ".+", "$__rate_interval": "1m", "$__interval": "1m"}
CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: ckptd
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def promtool(lacking: Callable[[str], None]) -> str:
    found = shutil.which("promtool")
    if found is None:
        lacking("prometheus is not installed")
    return str(found)


@pytest.fixture
def served(site: Workplace) -> Iterator[Served]:
    found = Served(site)
    yield found
    if found.running is not None and found.running.running:
        found.stop()


class Prometheus:
    """A server of our own that scrapes one target; a context manager."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        configuration = folder / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(rules=RULES, port=target))
        self._command = [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=error",
        ]
        self._log = folder / "prometheus.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def api(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def value(self, query: str) -> float | None:
        """Of the only series that there is."""
        try:
            found = self.api("query", query=query)["result"]
        except OSError:
            return None  # it has not started yet
        assert self._process.poll() is None, self._log.read_text()
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def firing(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self.api("alerts")["alerts"] if each["state"] == "firing"}


def expressions() -> list[str]:
    """Everything that the rules and the dashboard ask."""
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    board = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    notes = [each["expr"] for each in board["annotations"]["list"] if "expr" in each]
    return [*rules, *panels, *notes]


@pytest.mark.slow
def test_the_rules_are_good(promtool: str) -> None:
    subprocess.run([promtool, "check", "rules", RULES.name], cwd=MONITORING, check=True)
    subprocess.run([promtool, "test", "rules", "ckptd-alerts.test.yml"], cwd=MONITORING, check=True)


def test_every_alert_says_what_to_do() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    tested = MONITORING.joinpath("ckptd-alerts.test.yml").read_text()
    manual = MONITORING.joinpath("README.md").read_text()
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["alert"] in tested
        assert rule["alert"] in manual


def test_the_dashboard_can_be_imported() -> None:
    """What Grafana wants of a file: no id of elsewhere, panels that are told apart, a source that is asked for."""
    board = json.loads(DASHBOARD.read_text())
    assert board["id"] is None
    assert board["uid"] == "ckptd"
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        area = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & area, f"{panel['title']} lies over another"
        taken |= area
        if panel["type"] != "row":
            assert panel["description"]
            assert {each["datasource"]["uid"] for each in panel["targets"]} == {"${datasource}"}
            refs = [each["refId"] for each in panel["targets"]]
            assert len(refs) == len(set(refs))


@pytest.mark.slow
def test_a_prometheus_scrapes_it(origin: Origin, served: Served, promtool: str, tmp_path: Path) -> None:
    served.write(
        {"name": "a", "url": origin.put("/a.tar.gz", tgz(60_000, 1))},
        {"name": "gone", "url": origin.put("/gone.tar.gz", tgz(60_000, 2))},
    )
    origin.on("/gone.tar.gz", f.status(404))
    served.start()
    wait_until(lambda: served.states()["a"] == "present")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=served.get("/metrics").body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr, checked.stdout) == (0, b"", b"")
    told = BUILT_IN | set(re.findall(r"(?m)^# TYPE (\w+) ", served.get("/metrics").text))
    with Prometheus(tmp_path, served.port) as prometheus:
        wait_until(lambda: prometheus.value('up{job="ckptd"}') == 1, what="it is scraped")
        wait_until(lambda: prometheus.value('ckptd_checkpoints{state="present"}') == 1)
        assert prometheus.value('ckptd_checkpoint_present{name="gone"}') == 0
        assert prometheus.value("ckptd_promise_share_ratio") == 1
        assert prometheus.value("process_resident_memory_bytes") is not None
        for each in expressions():
            query = each
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            prometheus.api("query", query=query)
            asked = set(re.findall(r"\b(?:ckptd|process|node)_\w+|\bup\b", each))
            assert asked
            assert asked <= told, f"nobody tells {asked - told}: {each}"
        assert "CkptdDamage" not in prometheus.firing()
        path = served.site.file("a")
        path.chmod(0o644)
        path.write_bytes(b"x" + path.read_bytes()[1:])
        served.site.verify("a").expect(3)
        wait_until(lambda: {"CkptdDamage", "CkptdDamageFound"} <= prometheus.firing(), what="the alerts fire")
        assert served.stop()
        wait_until(lambda: prometheus.value('up{job="ckptd"}') == 0, what="its end is noticed")

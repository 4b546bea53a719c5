"""A daemon with a page and metrics, and what it is asked: for tests that look at it over HTTP."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from web import free_port
from workplace import Running, Workplace, wait_until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """A daemon that serves, and what it is asked."""

    def __init__(self, site: Workplace) -> None:
        self.site = site
        self.port = free_port()
        self.running: Running | None = None

    def write(self, *entries: Mapping[str, Any], **settings: Any) -> None:
        """Write the manifest; `settings` are of [daemon]."""
        self.site.write(
            *entries,
            daemon={"listen": f"127.0.0.1:{self.port}", **settings},
            transfer={"stall_timeout": "60s"},  # an origin that holds something back does so for the test
            verify={"on_damage": "keep"},
        )

    def start(self) -> None:
        self.running = self.site.start("daemon")
        wait_until(self.well, what="the daemon serves")

    def reload(self) -> None:
        assert self.running is not None
        self.running.signal(signal.SIGHUP)

    def stop(self) -> str:
        """SIGTERM; what it wrote to stderr."""
        assert self.running is not None
        self.running.signal(signal.SIGTERM)
        return self.running.wait(invariants=False).expect(0).err

    def well(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def account(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/status.json").text)
        return found

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.account()["checkpoints"]}

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """By name and the values of the labels."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        found = [sample for family in families for sample in family.samples]
        return {(sample.name, tuple(sample.labels.values())): sample.value for sample in found}

    def watch(self, path: str = "/events") -> Watcher:
        return Watcher(self.port, path)


class Watcher:
    """An open page, as far as its events go."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            self.headers[name] = value

    def news(self) -> dict[str, Any]:
        """The next event."""
        while line := self._file.readline():
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found
        raise AssertionError("no more events")

    def until(self, text: str) -> str:
        """Until an event has said this; all that was said."""
        deadline, said = time.monotonic() + 30, ""
        while text not in said:
            assert time.monotonic() < deadline, f"never said: {text}; but {said}"
            said += json.dumps(self.news())
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._socket.close()

"""nginx on loopback as the origin: plain, over TLS, and throttled per connection; ended with the block."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT_RATE_MIB = 4  # a second and connection, at /limited/

CONFIG = """
daemon off;
worker_processes {workers};
pid {run}/nginx.pid;
error_log {run}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  types {{ }}
  default_type application/octet-stream;
  client_body_temp_path {run}/body;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  server {{
    listen 127.0.0.1:{plain} backlog=1024;
    listen 127.0.0.1:{tls} ssl backlog=1024;
    ssl_certificate {run}/server.pem;
    ssl_certificate_key {run}/server.key;
    location / {{ root {files}; }}
    location /limited/ {{ alias {files}/; limit_rate {limit}m; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the files are: `bases` has the URL prefix, without a slash, of "plain", "limited" and "tls"."""

    bases: Mapping[str, str]
    ca: Path  # PEM of the authority that signed the certificate


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@contextmanager
def serve(files: Path, run: Path, workers: int) -> Iterator[Origin]:
    """nginx over `files`, its own state in `run`, until the block ends. RuntimeError if it does not start."""
    run.mkdir(parents=True, exist_ok=True)
    # In a process of its own: the certificate library would count as memory of whatever we start later.
    identity = [sys.executable, "-m", "trustme", "--quiet", "--dir", str(run), "--identities", "127.0.0.1"]
    subprocess.run(identity, check=True)
    plain, tls = _free_ports()
    config = run / "nginx.conf"
    config.write_text(CONFIG.format(workers=workers, run=run, files=files, plain=plain, tls=tls, limit=LIMIT_RATE_MIB))
    with subprocess.Popen(["nginx", "-p", str(run), "-e", str(run / "error.log"), "-c", str(config)]) as nginx:
        try:
            _await(plain, nginx, run / "error.log")
            here = f"http://127.0.0.1:{plain}"
            bases = {"plain": here, "limited": f"{here}/limited", "tls": f"https://127.0.0.1:{tls}"}
            yield Origin(bases, run / "client.pem")
        finally:
            nginx.terminate()


def _await(port: int, nginx: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        if nginx.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nginx did not start: {log.read_text()[-2000:]}")

"""A real nginx of our own: its configuration, its folder, its unprivileged ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import trustme
from workplace import wait_until

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
{user}
events {{ worker_connections 512; }}
http {{
    access_log {prefix}/access.log combined;
    default_type application/octet-stream;
    types {{ application/gzip gz tgz; }}
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {prefix}/server.pem;
        ssl_certificate_key {prefix}/server.key;
        root {root};
        location /slow/ {{ alias {root}/; limit_rate 4m; }}
        location /norange/ {{ alias {root}/; max_ranges 0; }}
    }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Nginx:
    """The server; a context manager. Files put below `root` are served, also under /slow/ and /norange/."""

    def __init__(self, prefix: Path, certificate: trustme.LeafCert) -> None:
        self.prefix = prefix
        self.root = prefix / "www"
        self.root.mkdir()
        self.http, self.https = free_port(), free_port()
        certificate.private_key_pem.write_to_path(str(prefix / "server.key"))
        for number, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(str(prefix / "server.pem"), append=number > 0)
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> str | None:
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

    @classmethod
    def available(cls) -> bool:
        return cls.program() is not None

    def __enter__(self) -> Self:
        configuration = self.prefix / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                prefix=self.prefix,
                root=self.root,
                http=self.http,
                https=self.https,
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        program = self.program()
        assert program is not None
        self._process = subprocess.Popen(
            [program, "-p", str(self.prefix), "-c", str(configuration), "-e", str(self.prefix / "error.log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, seconds=20, what="nginx listens")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.prefix / "error.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.http), 1):
                return True
        except OSError:
            return False

    def put(self, path: str, body: bytes) -> str:
        """Serve `body` at `path`; returns the plain-HTTP URL."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        return f"http://127.0.0.1:{self.http}/{path.lstrip('/')}"

    def replace(self, path: str, body: bytes) -> None:
        """Exchange the file at `path` by rename, as a careful publisher does: its ETag changes."""
        file = self.root / path.lstrip("/")
        beside = file.with_name(file.name + ".new")
        beside.write_bytes(body)
        os.utime(beside, (file.stat().st_mtime + 60, file.stat().st_mtime + 60))
        beside.replace(file)

    def log_lines(self) -> list[str]:
        """The access log so far."""
        return (self.prefix / "access.log").read_text().splitlines()

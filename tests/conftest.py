"""Fixtures of the whole suite: origins that misbehave, a place to run the program in, a real nginx.

`CKPTD_REQUIRE_ALL=1` turns every "not on this machine" into a failure.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from origin import Origin, Origins
from web import Nginx
from workplace import Workplace

REQUIRE_ALL = os.environ.get("CKPTD_REQUIRE_ALL") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], None]:
    """Call it with what this machine lacks for a test: skips, or fails where everything is required."""

    def lack(reason: str) -> None:
        if REQUIRE_ALL:
            pytest.fail(f"CKPTD_REQUIRE_ALL is set, but {reason}")
        pytest.skip(reason)

    return lack


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate, for `SSL_CERT_FILE`."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS context for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name in a socket's address, wherever `tmp_path` is."""
    with tempfile.TemporaryDirectory(prefix="ckptd-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def origins() -> Iterator[Origins]:
    """A maker of more origins. `site` knows what all of them serve."""
    with Origins() as maker:
        yield maker


@pytest.fixture
def origin(origins: Origins) -> Origin:
    """The misbehaving origin, plain HTTP on 127.0.0.1."""
    return origins.new()


@pytest.fixture
def site(tmp_path: Path, origins: Origins) -> Iterator[Workplace]:
    """A manifest, a store and the program."""
    place = Workplace(tmp_path / "site", origins.made)
    yield place
    place.finish()


@pytest.fixture(scope="session")
def nginx(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, lacking: Callable[[str], None]
) -> Iterator[Nginx]:
    """A real nginx, http and https, serving its `root`."""
    if not Nginx.available():
        lacking("nginx is not installed")
    with Nginx(tmp_path_factory.mktemp("nginx"), authority.issue_cert("localhost", "127.0.0.1")) as server:
        yield server

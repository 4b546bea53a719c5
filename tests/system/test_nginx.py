"""A real origin: nginx with ranges, TLS and `limit_rate`, and the shipped manifest."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import tomli
from web import Nginx
from workplace import Workplace, sha256, tgz, wait_until

SHIPPED = Path(__file__).parents[2] / "manifest.toml"
GOOGLE = "https://storage.googleapis.com/"


@pytest.fixture(scope="module")
def archives(nginx: Nginx) -> dict[str, bytes]:
    """What nginx serves in place of Google: the 14 files of the shipped manifest, by checkpoint name."""
    manifest = tomli.loads(SHIPPED.read_text())
    bodies = {}
    for number, entry in enumerate(manifest["checkpoint"]):
        assert entry["url"].startswith(GOOGLE)
        bodies[entry["name"]] = tgz(200_000 + 40_000 * number, 1000 + number)
        nginx.put(entry["url"].removeprefix(GOOGLE), bodies[entry["name"]])
    return bodies


@pytest.fixture
def shipped(site: Workplace, nginx: Nginx, archives: dict[str, bytes]) -> Workplace:
    """A copy of the shipped manifest, with `[sources]` appended that lead Google's prefix to nginx."""
    source = f'\n[sources]\n"{GOOGLE}" = ["http://127.0.0.1:{nginx.http}/"]\n'
    site.manifest.write_text(SHIPPED.read_text() + source)
    site.extra_digests |= {sha256(body) for body in archives.values()}
    return site


def test_fourteen_archives_then_nothing_to_do_then_a_flipped_bit(
    shipped: Workplace, nginx: Nginx, archives: dict[str, bytes]
) -> None:
    """Sync succeeds, is a no-op on the second run, verify finds one flipped bit."""
    run = shipped.sync().expect(0)
    assert len(archives) == 14
    for name, body in archives.items():
        shipped.assert_good(name, body)
        assert run.entry(name)["state"] == "fetched"
        assert shipped.lock[name]["url"].startswith(GOOGLE)
        assert shipped.file(name).name == f"{name}.tar.gz"
    lock = shipped.lock_path.read_bytes()

    served = len(nginx.log_lines())
    again = shipped.sync().expect(0)
    assert {entry["state"] for entry in again.report["checkpoints"]} == {"present"}
    assert not [line for line in nginx.log_lines()[served:] if '"GET ' in line]
    assert shipped.lock_path.read_bytes() == lock
    shipped.verify().expect(0)

    victim = shipped.file("wide_resnet41_imagenet1k_strong_training_strategy")
    victim.chmod(0o644)
    with victim.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)[0]
        file.seek(100_000)
        file.write(bytes([byte ^ 0x80]))
    victim.chmod(0o444)
    run = shipped.verify().expect(3)
    corrupt = [entry for entry in run.report["checkpoints"] if entry["state"] != "intact"]
    assert [entry["name"] for entry in corrupt] == ["wide_resnet41_imagenet1k_strong_training_strategy"]
    assert corrupt[0]["state"] == "corrupt"


def test_tls(site: Workplace, nginx: Nginx, ca_file: Path) -> None:
    """HTTPS with a CA given by SSL_CERT_FILE; without it the certificate is refused."""
    body = tgz(400_000, 2000)
    nginx.put("/tls/model.tar.gz", body)
    site.extra_digests.add(sha256(body))
    site.one(f"https://localhost:{nginx.https}/tls/model.tar.gz")
    run = site.sync().expect(1)
    assert "certificate" in run.message("a").lower()
    site.env["SSL_CERT_FILE"] = str(ca_file)
    site.sync().expect(0)
    site.assert_good("a", body)


@pytest.mark.slow
def test_slow_connections_killed_and_resumed(site: Workplace, nginx: Nginx) -> None:
    """`limit_rate` a connection; killed half-way, the next run ends it, the bytes are right (I6)."""
    body = tgz(24_000_000, 2001)
    nginx.put("/model.tar.gz", body)
    site.extra_digests.add(sha256(body))
    site.one(f"http://127.0.0.1:{nginx.http}/slow/model.tar.gz")
    running = site.start("sync")
    wait_until(lambda: site.state_bytes() > 6_000_000, what="a quarter of it is on disk")
    running.signal(signal.SIGKILL)
    running.wait()
    site.assert_absent("a")
    site.sync().expect(0)
    site.assert_good("a", body)


def test_slow_connections_are_several(site: Workplace, nginx: Nginx) -> None:
    """Ranged segments on up to `connections` connections when the transfer is slow."""
    body = tgz(24_000_000, 2002)
    nginx.put("/segments.tar.gz", body)
    site.extra_digests.add(sha256(body))
    site.write(
        {"name": "a", "url": f"http://127.0.0.1:{nginx.http}/slow/segments.tar.gz"},
        transfer={"connections": 4},
    )
    site.sync().expect(0)
    site.assert_good("a", body)
    lines = [line for line in nginx.log_lines() if "/slow/segments.tar.gz" in line]
    assert len([line for line in lines if '" 206 ' in line]) >= 2, lines


def test_server_without_ranges(site: Workplace, nginx: Nginx) -> None:
    """`max_ranges 0`: 200 to everything; one stream, right bytes."""
    body = tgz(3_000_000, 2003)
    nginx.put("/whole.tar.gz", body)
    site.extra_digests.add(sha256(body))
    site.one(f"http://127.0.0.1:{nginx.http}/norange/whole.tar.gz")
    site.sync().expect(0)
    site.assert_good("a", body)


@pytest.mark.slow
def test_replaced_between_two_runs(site: Workplace, nginx: Nginx) -> None:
    """Promise 4 with nginx's own validators: stopped, then replaced by one of the same length."""
    old, new = tgz(12_000_000, 2004), tgz(12_000_000, 2005)
    nginx.put("/moving.tar.gz", old)
    site.extra_digests |= {sha256(old), sha256(new)}
    site.one(f"http://127.0.0.1:{nginx.http}/slow/moving.tar.gz")
    running = site.start("sync")
    wait_until(lambda: site.state_bytes() > 4_000_000, what="a third of it is on disk")
    running.signal(signal.SIGTERM)
    running.wait().expect(143)
    nginx.replace("/moving.tar.gz", new)
    site.sync().expect(0)
    site.assert_good("a", new)


def test_mirror_is_nginx(site: Workplace, nginx: Nginx) -> None:
    """`mirrors`: the first is a 404 of nginx, the second has it."""
    body = tgz(100_000, 2006)
    mirror = nginx.put("/mirror/model.tar.gz", body)
    site.extra_digests.add(sha256(body))
    site.one(f"http://127.0.0.1:{nginx.http}/none/model.tar.gz", mirrors=[mirror], sha256=sha256(body))
    site.sync().expect(0)
    site.assert_good("a", body)

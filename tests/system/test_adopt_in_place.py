"""Files that are watched in place: proven, locked and scrubbed where they are, and never written, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faults as f
import pytest
import tomli
from digests_of import crc32c
from origin import Origin
from workplace import Workplace, sha256, tgz, wait_until

pytestmark = pytest.mark.slow

A, B = tgz(400_000, 1), tgz(400_000, 2)
PATH = "/a.tar.gz"


@pytest.fixture
def models(site: Workplace) -> Path:
    folder = site.root / "models"
    folder.mkdir()
    (folder / "a.tar.gz").write_bytes(A)
    (folder / "a.tar.gz").chmod(0o640)
    return folder


@contextmanager
def untouched(*paths: Path) -> Iterator[None]:
    """Nothing of these files, nor of the folder that they are in, is another afterwards."""

    def facts() -> list[object]:
        found: list[object] = []
        for path in paths:
            one, folder = os.lstat(path), os.stat(path.parent)
            found += [
                path.read_bytes(),
                one.st_mode,
                one.st_uid,
                one.st_gid,
                one.st_ino,
                one.st_mtime_ns,
                one.st_ctime_ns,
            ]
            found += [folder.st_mtime_ns, folder.st_ctime_ns, one.st_nlink]
        return found

    before = facts()
    yield
    assert facts() == before


def damage(path: Path) -> None:
    """Flip a bit, as a disk does: times stay."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(123_456)
        byte = file.read(1)[0]
        file.seek(123_456)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- sync ------------------------------------------------------------------------------------------------------------


def test_sync_proves_and_locks_it_where_it_is(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A), in_place="models/a.tar.gz")
    with untouched(models / "a.tar.gz"):
        run = site.sync().expect(0)
        again = site.sync().expect(0)
    entry = run.entry("a")
    assert (entry["state"], entry["bytes_fetched"], entry["trust"]) == ("present", 0, "pinned")
    assert entry["path"] == str(models / "a.tar.gz")
    assert again.entry("a")["bytes_reused"] == 0, "what is known was read again"
    assert origin.requests() == []
    assert not (site.store / "a").exists()
    assert site.lock["a"]["sha256"] == sha256(A)


def test_the_origins_digest_vouches(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), in_place=str(models / "a.tar.gz"))
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(A)}"), times=None, method=None)
    assert site.sync().expect(0).entry("a")["trust"] == "witnessed"
    assert origin.body_bytes() <= 1


def test_first_use_is_as_good_as_for_a_fetch(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), in_place=str(models / "a.tar.gz"))
    assert site.sync().expect(0).entry("a")["trust"] == "first-use"
    assert origin.body_bytes() <= 1


def test_first_use_is_refused_where_the_policy_wants_more(origin: Origin, site: Workplace, models: Path) -> None:
    entry = {"name": "a", "url": origin.put(PATH, A), "in_place": str(models / "a.tar.gz")}
    site.write(entry, policy={"require": "witnessed"})
    assert site.sync().expect(1).kind("a") == "policy"
    assert site.lock == {}


@pytest.mark.parametrize("locked", [False, True])
def test_a_file_that_is_not_there_is_said_and_not_fetched(
    origin: Origin, site: Workplace, models: Path, locked: bool
) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A), in_place=str(models / "a.tar.gz"))
    if locked:
        site.sync().expect(0)
    (models / "a.tar.gz").unlink()
    run = site.sync().expect(1)
    assert (run.entry("a")["state"], run.kind("a")) == ("failed", "storage")
    for said in (str(models / "a.tar.gz"), "watched in place", "not there", "take in_place out", "ckptd sync a"):
        assert said in run.message("a")
    assert origin.requests() == []
    assert not (site.store / "a").exists()
    status = site.run("status", "--json").entry("a")
    assert status["state"] == "missing"


@pytest.mark.parametrize("other", [B, A[:-1]], ids=["other bytes", "another size"])
@pytest.mark.parametrize("by", ["pin", "lock"])
def test_other_bytes_are_an_integrity_failure(
    origin: Origin, site: Workplace, models: Path, other: bytes, by: str
) -> None:
    where, url = str(models / "a.tar.gz"), origin.put(PATH, A)
    site.one(url, in_place=where, sha256=sha256(A), size=len(A))
    if by == "lock":
        site.sync().expect(0)
        site.one(url, in_place=where)
    (models / "a.tar.gz").write_bytes(other)
    origin.forget()
    with untouched(models / "a.tar.gz"):
        run = site.sync().expect(3)
    assert run.kind("a") == "integrity"
    assert "take in_place out" in run.message("a")
    assert origin.requests() == []


def test_what_the_origin_publishes_disagrees(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, B), in_place=str(models / "a.tar.gz"))
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(B)}"), times=None, method=None)
    assert site.sync().expect(3).kind("a") == "integrity"
    assert site.lock == {}


def test_dry_run_and_locked(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A), in_place=str(models / "a.tar.gz"))
    dry = site.sync("--dry-run").expect(0)
    assert "would verify and lock" in dry.report["plan"]["a"]
    assert site.sync("--locked").expect(4).kind("a") == "drift"
    assert site.lock == {}
    site.sync().expect(0)
    site.sync("--locked").expect(0)


def test_without_the_key_it_is_fetched(origin: Origin, site: Workplace, models: Path) -> None:
    url = origin.put(PATH, A)
    site.one(url, in_place=str(models / "a.tar.gz"))
    site.sync().expect(0)
    (models / "a.tar.gz").unlink()
    site.one(url)
    assert site.sync().expect(0).entry("a")["state"] == "fetched"
    site.assert_good("a", A)


# --- what else works on it -------------------------------------------------------------------------------------------


def test_commands_know_where_it_is(origin: Origin, site: Workplace, models: Path) -> None:
    where = models / "a.tar.gz"
    url = origin.put(PATH, A)
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(A)}"), times=None, method=None)
    site.write({"name": "a", "url": url, "in_place": str(where)}, {"name": "b", "url": url})
    site.sync().expect(0)
    asked = len(origin.requests())
    with untouched(where):
        assert site.verify("a").expect(0).entry("a")["path"] == str(where)
        assert site.verify("a", "--sha256").expect(0).entry("a")["state"] == "intact"
        assert site.run("path", "a").expect(0).out.strip() == str(where)
        status = site.run("status", "--json").expect(0).entry("a")
        assert (status["state"], status["path"]) == ("present", str(where))
        assert len(origin.requests()) == asked, "verify, path and status need no network"
        assert site.run("drift", "--json").expect(0).entry("a")["path"] == str(where)
        assert "adopt" in site.run("history", "a").expect(0).out
        known = json.loads(site.run("export", "--format", "json").expect(0).out)["known"]["a"]
        assert (known["file"], known["verdict"]) == (str(where), "intact")
        sums = site.run("export", "--format", "sha256sums").expect(0).out
        done = subprocess.run(
            ["sha256sum", "-c"], input=sums, cwd=site.store, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done
        site.run("export", "--format", "metalink").expect(0)
        site.run("verify", "--report", str(site.root / "page.html")).expect(0)
        site.run("prune", "--yes").expect(0)
        site.run("update", "a").expect(0)
        site.run("doctor", invariants=False)
    assert not (site.store / "a").exists()
    python = f"import ckptd; print(ckptd.path('a', manifest={str(site.manifest)!r}))"
    done = subprocess.run([sys.executable, "-c", python], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == str(where)


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_damage", ["repair", "hold", "keep"])
def test_damage_is_found_and_explained_and_left(origin: Origin, site: Workplace, models: Path, on_damage: str) -> None:
    where = models / "a.tar.gz"
    entry = {"name": "a", "url": origin.put(PATH, A), "in_place": str(where)}
    site.write(entry, verify={"on_damage": on_damage})
    site.sync().expect(0)
    damage(where)
    origin.forget()
    with untouched(where):
        found = site.verify().expect(3)
        mended = site.verify("--repair").expect(3)
        site.run("prune", "--yes").expect(0)
    assert found.entry("a")["diagnosis"]["cause"] == "flipped-bit"
    assert found.entry("a")["path"] == str(where)
    assert "take in_place out" in found.message("a")
    assert mended.entry("a")["state"] == "corrupt"
    assert "watched in place, and never written" in mended.message("a")
    assert origin.requests() == []
    assert site.sync().expect(3).kind("a") == "integrity"
    where.write_bytes(A)
    assert site.sync().expect(0).entry("a")["state"] == "present"
    assert site.verify().expect(0).entry("a")["state"] == "intact"


def test_a_missing_one_is_told_by_verify(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), in_place=str(models / "a.tar.gz"))
    site.sync().expect(0)
    (models / "a.tar.gz").rename(models / "elsewhere")
    asked = len(origin.requests())
    run = site.verify("--repair").expect(1)
    assert run.entry("a")["state"] == "missing"
    assert "watched in place" in run.message("a")
    assert len(origin.requests()) == asked
    assert not (site.store / "a").exists()


def test_an_entry_that_is_taken_out_fetches_nothing(origin: Origin, site: Workplace, models: Path) -> None:
    """The lock alone does not say that it was watched: until it is pruned it is missing, and nobody wants it."""
    site.one(origin.put(PATH, A), in_place=str(models / "a.tar.gz"))
    site.sync().expect(0)
    site.write({"name": "b", "url": origin.put("/b.bin", b"b" * 100)})
    site.sync().expect(0)
    origin.forget()
    run = site.verify("--repair").expect(1)
    assert run.entry("a")["state"] == "missing"
    assert "ckptd prune --yes" in run.message("a")
    assert origin.requests() == []
    with untouched(models / "a.tar.gz"):
        site.run("prune", "--yes").expect(0)
    assert list(site.lock) == ["b"]
    site.verify().expect(0)


@pytest.mark.slow
def test_a_daemon_takes_it_up_and_lets_it_be(origin: Origin, site: Workplace, models: Path) -> None:
    """Also where the manifest says so only later; and it gives it up again when the key goes."""
    where, url, other = models / "a.tar.gz", origin.put(PATH, A), origin.put("/z.bin", b"z" * 1000)
    site.write({"name": "z", "url": other})
    daemon = site.start("daemon")
    wait_until(lambda: "z" in site.lock, what="the daemon works")
    entry = {"name": "a", "url": url, "sha256": sha256(A)}
    site.write({"name": "z", "url": other}, {**entry, "in_place": str(where)})
    with untouched(where):
        run = site.sync().expect(0)
        assert (run.entry("a")["state"], run.entry("a")["path"]) == ("present", str(where))
        assert site.verify("a").expect(0).entry("a")["state"] == "intact"
        assert "daemon" in site.run("adopt", "--in-place", str(models), invariants=False).expect(6).err
    damage(where)
    with untouched(where):
        run = site.verify("--repair", "a").expect(3)
        assert "never written" in run.message("a")
    assert not (site.store / "a").exists()
    site.write({"name": "z", "url": other}, entry)
    assert site.sync("a").expect(0).entry("a")["state"] == "fetched"
    site.assert_good("a", A)
    daemon.signal(signal.SIGTERM)
    daemon.wait(10, invariants=False).expect(0)


# --- update ----------------------------------------------------------------------------------------------------------


def test_update_refuses_what_only_the_origin_has(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), in_place=str(models / "a.tar.gz"))
    site.sync().expect(0)
    origin.put(PATH, B)
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(B)}"), times=None, method=None)
    with untouched(models / "a.tar.gz"):
        run = site.run("update", "--json", "a").expect(4)
    assert "watched in place" in run.message("a")
    assert site.lock["a"]["sha256"] == sha256(A)


def test_update_takes_what_the_keeper_put_there(origin: Origin, site: Workplace, models: Path) -> None:
    """Where the origin vouches for the new bytes; else they have to be pinned."""
    where = models / "a.tar.gz"
    site.one(origin.put(PATH, A), in_place=str(where))
    site.sync().expect(0)
    where.write_bytes(B)
    origin.put(PATH, B)
    refused = site.run("update", "--json", "a").expect(1)
    assert refused.kind("a") == "policy"
    assert sha256(B) in refused.message("a")
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(B)}"), times=None, method=None)
    with untouched(where):
        site.run("update", "--json", "a").expect(0)
    assert site.lock["a"]["sha256"] == sha256(B)


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_a_file_of_our_own_cannot_be_watched(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A), in_place="checkpoints/b/b.tar.gz")
    assert "what ckptd writes" in site.run("sync").expect(2).err


def test_links_are_followed(origin: Origin, site: Workplace, models: Path) -> None:
    link = site.root / "current.tar.gz"
    link.symlink_to(models / "a.tar.gz")
    site.one(origin.put(PATH, A), in_place=str(link))
    with untouched(models / "a.tar.gz"):
        assert site.sync().expect(0).entry("a")["path"] == str(link)
        assert site.verify().expect(0).entry("a")["state"] == "intact"
        assert site.verify("--sha256").expect(0).entry("a")["state"] == "intact"
    (models / "b.tar.gz").write_bytes(B)
    link.unlink()
    link.symlink_to(models / "b.tar.gz")
    assert site.verify().expect(3).entry("a")["state"] == "corrupt"
    assert link.is_symlink()


# --- adopt -----------------------------------------------------------------------------------------------------------

MANIFEST = """\
# ours

[[checkpoint]]
name = "a"  # the first
url = "{a}"   # from there
# pinned by Ann
sha256 = "{sha256}"

# the second
[[checkpoint]]
name = "b"
url = "{b}"
"""


def test_adopt_writes_one_line_and_nothing_else(origin: Origin, site: Workplace, models: Path) -> None:
    text = MANIFEST.format(a=origin.put(PATH, A), b=origin.put("/b.tar.gz", B), sha256=sha256(A))
    site.manifest.write_text(text)
    with untouched(models / "a.tar.gz"):
        run = site.run("adopt", "--json", "--in-place", "models").expect(0)
        entry = run.entry("a")
        assert (entry["state"], entry["bytes_fetched"], entry["path"]) == ("adopted", 0, str(models / "a.tar.gz"))
        written = site.manifest.read_text()
        before, after = text.split("   # from there\n")
        assert written == f'{before}   # from there\nin_place = "{models}/a.tar.gz"\n{after}'
        assert site.lock["a"]["trust"] == "pinned"
        assert origin.requests() == []
        again = site.run("adopt", "--json", "--in-place", "models").expect(0)
        assert again.entry("a")["state"] == "present"
        assert site.manifest.read_text() == written
        assert site.sync("a").expect(0).entry("a")["state"] == "present"
    assert not (site.store / "a").exists()


def test_adopt_needs_somebody_who_vouches(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A))
    before = site.manifest.read_text()
    run = site.run("adopt", "--json", "--in-place", "models").expect(1)
    assert run.kind("a") == "policy"
    assert sha256(A) in run.message("a")
    assert (site.manifest.read_text(), site.lock) == (before, {})
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(A)}"), times=None, method=None)
    done = site.run("adopt", "--json", "--in-place", "models").expect(0)
    assert (done.entry("a")["state"], done.entry("a")["trust"]) == ("adopted", "witnessed")


def test_adopt_of_other_bytes(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, B), sha256=sha256(B))
    before = site.manifest.read_text()
    assert site.run("adopt", "--json", "--in-place", "models").expect(3).kind("a") == "integrity"
    assert (site.manifest.read_text(), site.lock) == (before, {})


def test_what_the_store_has_is_left_alone(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A))
    site.sync().expect(0)
    before = site.manifest.read_text()
    run = site.run("adopt", "--json", "--in-place", "models").expect(0)
    assert (run.entry("a")["state"], site.manifest.read_text()) == ("present", before)
    assert "the store has its file" in str(run.entry("a")["notes"])


def test_an_archive_that_is_unpacked_is_not_watched(origin: Origin, site: Workplace, models: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A), unpack=True)
    before = site.manifest.read_text()
    run = site.run("adopt", "--json", "--in-place", "models").expect(1)
    assert "never unpacked" in run.message("a")
    assert site.manifest.read_text() == before


def test_a_hugging_face_cache(origin: Origin, site: Workplace) -> None:
    """Blobs are named by their digests; the snapshot's link, which ends as the URL does, is what is watched."""
    site.write({"name": "hub", "url": origin.put("/model.safetensors", A), "sha256": sha256(A)})
    cache = site.root / "cache" / "models--o--r"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / sha256(A)).write_bytes(A)
    (blobs / ("0" * 64)).write_bytes(b"rotten")
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{sha256(A)}")
    with untouched(blobs / sha256(A)):
        run = site.run("adopt", "--json", "--in-place", str(cache)).expect(3)
        assert run.entry("hub")["state"] == "adopted"
        (entry,) = tomli.loads(site.manifest.read_text())["checkpoint"]
        assert entry["in_place"] == str(snapshot / "model.safetensors")
        assert site.run("path", "hub").expect(0).out.strip() == str(snapshot / "model.safetensors")
        assert site.verify("--repair").expect(0).entry("hub")["state"] == "intact"
    damage(blobs / sha256(A))
    with untouched(blobs / sha256(A)):
        assert site.verify("--repair").expect(3).entry("hub")["diagnosis"]["cause"] == "flipped-bit"
    assert (snapshot / "model.safetensors").is_symlink()

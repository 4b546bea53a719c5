"""`ckptd adopt`: what a server already has, judged by its name and taken in only where something vouches for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import faults as f
import pytest
from digests_of import crc32c
from origin import Origin
from workplace import Workplace, sha256, tgz

A = tgz(400_000, 1)
PATH = "/a.tar.gz"


@pytest.fixture
def downloads(site: Workplace) -> Path:
    folder = site.root / "downloads"
    folder.mkdir()
    (folder / "a.tar.gz").write_bytes(A)
    return folder


def test_a_pinned_file_is_taken_in_without_a_request(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A))
    run = site.run("adopt", "--json", str(downloads)).expect(0)
    assert run.entry("a")["state"] == "adopted"
    assert (run.entry("a")["bytes_fetched"], run.entry("a")["bytes_reused"]) == (0, len(A))
    assert origin.requests() == []
    site.assert_good("a", A)
    assert (downloads / "a.tar.gz").read_bytes() == A, "what was offered was touched"
    assert site.lock["a"]["trust"] == "pinned"
    assert site.sync().entry("a")["state"] == "present"


def test_an_origins_digest_vouches(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(A)}"), times=None, method=None)
    run = site.run("adopt", "--json", str(downloads)).expect(0)
    assert (run.entry("a")["state"], run.entry("a")["trust"]) == ("adopted", "witnessed")
    assert origin.body_bytes() <= 1
    site.assert_good("a", A)


def test_what_nobody_vouches_for_is_refused_and_forgotten(origin: Origin, site: Workplace, downloads: Path) -> None:
    """Its bytes must not be what a later sync goes on from: they came from nowhere."""
    site.one(origin.put(PATH, tgz(400_000, 2)))
    run = site.run("adopt", "--json", str(downloads)).expect(1)
    assert run.kind("a") == "policy"
    assert sha256(A) in run.message("a")
    site.assert_absent("a")
    fetched = site.sync().expect(0).entry("a")
    assert (fetched["state"], fetched["bytes_reused"]) == ("fetched", 0)
    site.assert_good("a", tgz(400_000, 2))


def test_other_bytes_under_the_right_name(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, tgz(400_000, 2)), sha256=sha256(tgz(400_000, 2)))
    run = site.run("adopt", "--json", str(downloads)).expect(3)
    assert run.kind("a") == "integrity"
    site.assert_absent("a")


def test_files_that_name_their_own_digest(origin: Origin, site: Workplace) -> None:
    """Hugging Face blobs (SHA-256 and git), Ollama, torch hub: good ones are intact, rotten ones are listed (3)."""
    site.write({"name": "hub", "url": origin.put("/model.safetensors", A), "sha256": sha256(A)})
    cache = site.root / "cache"
    blobs, snapshot = cache / "models--o--r" / "blobs", cache / "models--o--r" / "snapshots" / "main"
    for folder in (blobs, snapshot, cache / "ollama", cache / "torch"):
        folder.mkdir(parents=True)
    git = hashlib.sha1(b"blob 5\0hello", usedforsecurity=False).hexdigest()
    (blobs / sha256(A)).write_bytes(A)
    (snapshot / "model.safetensors").symlink_to(blobs / sha256(A))
    (blobs / git).write_bytes(b"hello")
    (blobs / ("0" * 64)).write_bytes(b"rotten")
    (cache / "ollama" / f"sha256-{sha256(b'gguf')}").write_bytes(b"gguf")
    (cache / "torch" / f"net-{sha256(b'net')[:8]}.pth").write_bytes(b"net")
    (cache / "torch" / "net-00000000.pth").write_bytes(b"other")
    (cache / "notes.txt").write_text("nothing")
    run = site.run("adopt", "--json", str(cache), invariants=False).expect(3)
    verdicts = {Path(each["path"]).name: each["verdict"] for each in run.report["files"]}
    assert verdicts == {
        sha256(A): "intact",
        git: "intact",
        "0" * 64: "rotten",
        f"sha256-{sha256(b'gguf')}": "intact",
        f"net-{sha256(b'net')[:8]}.pth": "intact",
        "net-00000000.pth": "rotten",
        "notes.txt": "unread",
    }
    assert run.entry("hub")["state"] == "adopted"
    assert site.file("hub").read_bytes() == A


def test_a_path_that_is_not_there(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A))
    assert "nowhere is not there" in site.run("adopt", "nowhere").expect(2).err


def test_a_hard_link_shares_the_bytes_and_says_so(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A))
    run = site.run("adopt", "--json", "--link", str(downloads)).expect(0)
    assert (run.entry("a")["state"], run.entry("a")["bytes_reused"]) == ("adopted", len(A))
    assert f"{downloads}/a.tar.gz shares its bytes" in run.err
    assert origin.requests() == []
    site.assert_good("a", A)
    assert site.file("a").samefile(downloads / "a.tar.gz")
    assert list((site.state / "partials").iterdir()) == []
    assert site.sync().entry("a")["state"] == "present"
    assert site.verify().expect(0).entry("a")["state"] == "intact"
    with (downloads / "a.tar.gz").open("r+b") as file:
        file.write(b"other")
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    site.assert_good("a", A)
    assert (downloads / "a.tar.gz").read_bytes()[:5] == b"other", "what is elsewhere is not ours to mend"


def test_an_origins_digest_vouches_for_a_link(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, A))
    refused = site.run("adopt", "--json", "--link", str(downloads)).expect(1)
    assert refused.kind("a") == "policy"
    site.assert_absent("a")
    origin.on(PATH, f.header("x-goog-hash", f"crc32c={crc32c(A)}"), times=None, method=None)
    run = site.run("adopt", "--json", "--link", str(downloads)).expect(0)
    assert (run.entry("a")["state"], run.entry("a")["trust"]) == ("adopted", "witnessed")


def test_no_hard_link_crosses_filesystems(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A), sha256=sha256(A))
    shared = Path("/dev/shm")  # noqa: S108
    if not shared.is_dir() or shared.stat().st_dev == site.root.stat().st_dev:
        pytest.skip("there is no second filesystem")
    with TemporaryDirectory(dir=shared) as folder:
        (Path(folder) / "a.tar.gz").write_bytes(A)
        run = site.run("adopt", "--json", "--link", folder).expect(5)
    assert "on another filesystem" in run.message("a")
    assert "without --link" in run.message("a")
    site.assert_absent("a")


def test_in_place_and_link_exclude_each_other(origin: Origin, site: Workplace, downloads: Path) -> None:
    site.one(origin.put(PATH, A))
    assert "exclude each other" in site.run("adopt", "--link", "--in-place", str(downloads)).expect(2).err

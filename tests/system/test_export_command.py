"""`ckptd export`: what sha256sum and aria2c make of it, and what is never exported."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from origin import Origin
from workplace import Run, Workplace, sha256, tgz

pytestmark = pytest.mark.slow

SPACE = {"m": "urn:ietf:params:xml:ns:metalink"}
PIECE = 64 * 1024  # of files up to 16 MiB
A, B = tgz(1_500_000, 1), tgz(90_000, 2)
NAMES = {"a": "a.tar.gz", "b": "mein Gewicht ü.tar.gz"}
BODIES = {"a": A, "b": B}
Lacking = Callable[[str], None]


def flip(path: Path, offset: int) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))
    path.chmod(mode)


@pytest.fixture
def full(origin: Origin, site: Workplace) -> Workplace:
    """A store with two files, one of which has blanks and more than ASCII in its name."""
    paths = {"a": "/a.tar.gz", "b": "/mein%20Gewicht%20%C3%BC.tar.gz"}
    site.write(*({"name": name, "url": origin.put(path, BODIES[name])} for name, path in paths.items()))
    site.sync().expect(0)
    return site


@pytest.fixture
def aria2(full: Workplace, lacking: Lacking) -> Callable[..., int]:
    """Run aria2c on a Metalink and a folder; its exit status."""
    program = shutil.which("aria2c")
    if program is None:
        lacking("aria2c is not installed")

    def run(metalink: Path, folder: Path, *args: str) -> int:
        command = [str(program), "--no-conf=true", "--max-tries=2", "-M", str(metalink), "-d", str(folder), *args]
        done = subprocess.run(command, env=full.environment(), capture_output=True, timeout=60, check=False)
        return done.returncode

    return run


def export(site: Workplace, *args: str, **more: Any) -> Run:
    return site.run("export", *args, invariants=False, **more)


def sha256sum(folder: Path, sums: Path) -> subprocess.CompletedProcess[str]:
    command = ["sha256sum", "--strict", "-c", str(sums)]
    env = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def files(metalink: str) -> dict[str | None, ET.Element]:
    root = ET.fromstring(metalink.encode())  # noqa: S314  # our own
    return {each.get("name"): each for each in root.iterfind("m:file", SPACE)}


def urls(file: ET.Element) -> list[str | None]:
    return [each.text for each in file.iterfind("m:url", SPACE)]


# --- sha256sum -------------------------------------------------------------------------------------------------------


def test_sha256sum_agrees_until_a_bit_is_flipped(full: Workplace, tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    run = export(full, "--output", str(sums)).expect(0)
    assert (run.out, run.err) == ("", "")
    assert export(full).expect(0).out == sums.read_text()
    assert sha256sum(full.store, sums).returncode == 0
    flip(full.file("b"), 70_000)
    done = sha256sum(full.store, sums)
    assert done.returncode == 1
    assert "a/a.tar.gz: OK" in done.stdout
    assert "1 computed checksum did NOT match" in done.stderr
    assert export(full).expect(0).out == sums.read_text()  # what is locked, not what is there


def test_names_are_spelled_as_sha256sum_does(tmp_path: Path) -> None:
    """GNU coreutils' own words for names with backslashes and line breaks (carriage returns since 9.0)."""
    from ckptd.core.export import Listed, sha256sums  # noqa: PLC0415
    from ckptd.core.models import LockEntry, Trust  # noqa: PLC0415

    names = ["a\\b", "a\nb", "\\", "plain", "back\\and\nline", "*star", " blank"]
    (tmp_path / "m").mkdir()
    for name in names:
        (tmp_path / "m" / name).write_text(name)
    paths = sorted(f"m/{name}" for name in names)
    said = subprocess.run(["sha256sum", *paths], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    entries = {name: LockEntry("m", "https://h/m", 1, sha256(name.encode()), Trust.FIRST_USE) for name in names}
    assert sha256sums([Listed(entry, name, ()) for name, entry in entries.items()]) == said.stdout


def test_what_is_not_locked_is_said(origin: Origin, full: Workplace) -> None:
    """And the rest is exported all the same; a name that only the lock still has, too."""
    full.write({"name": "a", "url": origin.url("/a.tar.gz")}, {"name": "c", "url": origin.url("/c.tar.gz")})
    for kind in ("sha256sums", "metalink", "json"):
        run = export(full, "--format", kind).expect(1)
        assert "ckptd: c: it is not locked" in run.err
        assert run.out
    assert [line.split("  ")[1] for line in export(full).out.splitlines()] == ["a/a.tar.gz", f"b/{NAMES['b']}"]
    run = export(full, "c", "--output", "sums").expect(1)
    assert not (full.root / "sums").exists()
    assert export(full, "nosuch").expect(2).out == ""


# --- aria2c ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def metalink(full: Workplace, tmp_path: Path) -> Path:
    path = tmp_path / "all.meta4"
    export(full, "--format", "metalink", "--output", str(path)).expect(0)
    return path


@pytest.mark.parametrize("verify", ["--check-integrity=true", "-V"])
@pytest.mark.parametrize("pieces", [True, False], ids=["pieces", "no pieces"])
def test_aria2_finds_a_flipped_bit(
    origin: Origin,
    full: Workplace,
    metalink: Path,
    aria2: Callable[..., int],
    tmp_path: Path,
    verify: str,
    pieces: bool,
) -> None:
    """With no origin to be had: without pieces aria2 would fetch the file anew, in spite of --hash-check-only."""
    if not pieces:
        export(full, "--format", "metalink", "--no-pieces", "--output", str(metalink)).expect(0)
    origin.refuse()
    assert aria2(metalink, full.store, verify, "--hash-check-only=true") == 0
    full.check_invariants()
    copy = tmp_path / "copy"
    shutil.copytree(full.store, copy, ignore=shutil.ignore_patterns(".ckptd"))
    flip(copy / "b" / NAMES["b"], 70_000)
    assert aria2(metalink, copy, verify, "--hash-check-only=true") != 0


def test_aria2_mends_a_damaged_copy_by_one_piece(
    origin: Origin, full: Workplace, metalink: Path, aria2: Callable[..., int], tmp_path: Path
) -> None:
    """The digests of pieces are of use: only the damaged one is fetched again."""
    copy = tmp_path / "copy"
    shutil.copytree(full.store, copy, ignore=shutil.ignore_patterns(".ckptd"))
    damaged = copy / "a" / "a.tar.gz"
    flip(damaged, 700_000)
    damaged.chmod(0o644)
    origin.forget()
    assert aria2(metalink, copy, "--check-integrity=true") == 0
    assert damaged.read_bytes() == A
    assert 0 < origin.body_bytes() <= 2 * PIECE
    asked = {exchange.request.path for exchange in origin.requests() if exchange.request.header("range")}
    assert asked == {"/a.tar.gz"}


def test_aria2_fetches_into_an_empty_folder(
    full: Workplace, metalink: Path, aria2: Callable[..., int], tmp_path: Path
) -> None:
    assert aria2(metalink, tmp_path / "new", "--check-integrity=true") == 0
    for name, body in BODIES.items():
        assert (tmp_path / "new" / name / NAMES[name]).read_bytes() == body


# --- what stands in a Metalink ---------------------------------------------------------------------------------------


def test_pieces_cover_the_file(metalink: Path) -> None:
    found = files(metalink.read_text())
    assert set(found) == {"a/a.tar.gz", f"b/{NAMES['b']}"}
    for name, body in BODIES.items():
        pieces = found[f"{name}/{NAMES[name]}"].find("m:pieces", SPACE)
        assert pieces is not None
        assert pieces.attrib == {"length": str(PIECE), "type": "sha-256"}
        assert [each.text for each in pieces] == [sha256(body[at : at + PIECE]) for at in range(0, len(body), PIECE)]


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 1024 * 1024, 17 * 1024 * 1024 + 5])
def test_pieces_of_every_size(size: int, tmp_path: Path) -> None:
    """Also where pieces and the chunks that are read do not end together."""
    from ckptd.core.models import LockEntry, Trust  # noqa: PLC0415
    from ckptd.service.metalink import piece_digests  # noqa: PLC0415

    body = os.urandom(size)
    (tmp_path / "f").write_bytes(body)
    entry = LockEntry("m", "https://h/f", size, sha256(body), Trust.FIRST_USE)
    counts: list[int] = []
    for length in (PIECE, 3 * PIECE, 16 * 1024 * 1024):
        whole, pieces = piece_digests(tmp_path / "f", entry, length, counts.append)
        assert whole == sha256(body)
        assert list(pieces) == [sha256(body[at : at + length]) for at in range(0, size, length)]
    assert sum(counts) == 3 * size


def test_urls_are_public(origin: Origin, site: Workplace) -> None:
    """https forms, by priority; no credentials, no signatures; where nothing else is left, the file is."""
    site.secrets += ["5ecret"]
    signed = "X-Amz-Signature=5ecret&X-Amz-Date=20261122T000000Z"
    url = origin.put("/a.tar.gz", A)
    mirrors = ["gs://bucket/my%20a.tar.gz", f"https://b.example.org/a.tar.gz?{signed}", "hf://o/r@v1/a.tar.gz"]
    site.write(
        {"name": "a", "url": url, "mirrors": mirrors},
        {"name": "b", "url": f"{origin.put('/b.tar.gz', B)}?{signed}"},
    )
    site.sync("a").expect(0)
    site.run("sync", "b").expect(0)
    run = export(site, "--format", "metalink").expect(1)
    (found,) = files(run.out).values()
    assert urls(found) == [
        url,
        "https://storage.googleapis.com/bucket/my%2520a.tar.gz",
        "https://huggingface.co/o/r/resolve/v1/a.tar.gz",
    ]
    assert "ckptd: b: none of its URLs" in run.err
    assert sha256(B) in export(site, "b").expect(0).out
    assert export(site, "--format", "json").expect(0).report["known"]["b"]["urls"] == []


# --- what is not exported --------------------------------------------------------------------------------------------


def rot(path: Path) -> None:
    flip(path, 70_000)


def grow(path: Path) -> None:
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"more")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("harm", "status", "state", "says"),
    [
        (rot, 3, "corrupt", "its sha256 is"),
        (grow, 3, "corrupt", "another size"),
        (link, 3, "corrupt", "no plain file"),
        (Path.unlink, 1, "missing", "it is not there"),
    ],
    ids=["a flipped bit", "grown", "a link", "missing"],
)
def test_digests_of_rot_are_never_exported(
    full: Workplace, harm: Callable[[Path], None], status: int, state: str, says: str
) -> None:
    harm(full.file("b"))
    run = export(full, "--format", "metalink").expect(status)
    assert set(files(run.out)) == {"a/a.tar.gz"}
    (line,) = [line for line in run.err.splitlines() if line.startswith("ckptd: b: ")]
    assert says in line
    report = export(full, "--json", "--format", "metalink").expect(status).report
    assert {each["name"]: each["state"] for each in report["checkpoints"]} == {"a": "exported", "b": state}
    assert set(files(report["text"])) == {"a/a.tar.gz"}
    assert export(full, "b", "--format", "metalink", "--output", "b.meta4").expect(status).out == ""
    assert not (full.root / "b.meta4").exists()


def test_stopping_leaves_nothing_behind(full: Workplace) -> None:
    full.write({"name": "a", "url": full.origins[0].url("/a.tar.gz")}, verify={"rate": "100 KB/s"})
    running = full.start("export", "--verbose", "--format", "metalink", "--output", "all.meta4", "a")
    assert running.process.stderr is not None
    for line in running.process.stderr:
        if "checking" in line:
            break
    running.signal(signal.SIGTERM)
    running.wait(invariants=False).expect(143)
    assert not [path for path in full.root.iterdir() if "meta4" in path.name]


# --- JSON, files -----------------------------------------------------------------------------------------------------


def test_all_that_is_known(origin: Origin, full: Workplace) -> None:
    full.verify().expect(0)
    origin.forget()
    report = export(full, "--format", "json").expect(0).report
    assert (report["schema"], report["command"], report["exit"]) == (1, "export", 0)
    assert {each["name"]: each["state"] for each in report["checkpoints"]} == {"a": "intact", "b": "intact"}
    known = report["known"]["a"]
    assert {**full.lock["a"], "name": "a"} == {
        "name": "a",
        **{key: known[key] for key in ("url", "size", "sha256", "trust", "witnesses", "pieces")},
    }
    assert [each["action"] for each in known["history"]] == ["fetch", "verify"]
    assert known["verified_at"] == pytest.approx(known["history"][-1]["at"], abs=10)
    assert export(full, "--json").expect(0).report == report
    run = export(full, "--json", "--output", "known.json").expect(0)
    assert (run.report["format"], run.report["output"]) == ("json", str(full.root / "known.json"))
    assert not origin.requests()


def test_without_a_state_the_lock_is_known(full: Workplace) -> None:
    shutil.rmtree(full.state)
    full.file("b").unlink()
    report = export(full, "--format", "json").expect(0).report
    assert {each["name"]: each["state"] for each in report["checkpoints"]} == {"a": "unverified", "b": "missing"}
    assert report["known"]["a"]["history"] == []
    assert not full.state.exists()


@pytest.mark.parametrize(
    "wanted",
    ["manifest.toml", "manifest.lock", "checkpoints/SUMS", "checkpoints/a/SUMS", "checkpoints/.ckptd/x", "home/l",
     ".", "/dev/null", "nosuch/SUMS"],
)  # fmt: skip
def test_nothing_of_ours_is_written_over(full: Workplace, wanted: str) -> None:
    (full.home / "l").symlink_to(full.lock_path)
    before = full.lock_path.read_bytes(), full.manifest.read_bytes(), sorted(full.store.rglob("*"))
    assert "--output" in export(full, "--output", wanted).expect(2).err
    assert (full.lock_path.read_bytes(), full.manifest.read_bytes(), sorted(full.store.rglob("*"))) == before
    assert not Path("/dev/null").is_file()


def test_a_file_is_replaced_whole(full: Workplace) -> None:
    """Who has the old one open keeps it; a link stays one; the mode stays."""
    real = full.home / "SUMS"
    real.write_text("old")
    real.chmod(0o640)
    (full.root / "sums").symlink_to(real)
    with real.open() as before:
        export(full, "--output", "sums").expect(0)
        assert before.read() == "old"
    assert real.read_text() == export(full).out
    assert real.stat().st_mode & 0o777 == 0o640
    assert (full.root / "sums").is_symlink()


def test_pieces_are_a_metalinks(full: Workplace) -> None:
    assert "--no-pieces" in export(full, "--no-pieces").expect(2).err

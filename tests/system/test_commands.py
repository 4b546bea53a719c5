"""The public face (CONTRACT.md): commands, exit statuses, `--json`, lock, drift, verify, path, status."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import faults as f
import pytest
import tomli
from origin import Hold, Origin, Origins
from workplace import Batch, Workplace, sha256, tgz, wait_until

A = tgz(260_000, 1)
B = tgz(260_000, 2)
C = tgz(270_000, 3)
CUT = 100_000
PATH = "/a.tar.gz"
PIECE = 16 * 1024 * 1024


@pytest.fixture
def locked(origin: Origin, site: Workplace) -> Workplace:
    """A site where `a` is published and locked with body A."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    return site


def flip(path: Path, offset: int, count: int = 1) -> None:
    """Damage `count` bytes in place, as rot would: the mode stays."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(count)
        file.seek(offset)
        file.write(bytes(byte ^ 0x01 for byte in old))
    path.chmod(mode)


# ---- sync


def test_json_of_sync(origin: Origin, site: Workplace) -> None:
    """Contract, `--json`: every key of a checkpoint that was fetched."""
    site.one(origin.put(PATH, A))
    run = site.sync().expect(0)
    assert run.report["schema"] == 1
    assert run.report["command"] == "sync"
    assert run.report["exit"] == 0
    entry = run.entry("a")
    assert entry | {"extra": 0} == {
        **entry,
        "extra": 0,
        "name": "a",
        "state": "fetched",
        "size": len(A),
        "sha256": sha256(A),
        "trust": "first-use",
        "path": str(site.store / "a" / "a.tar.gz"),
        "bytes_fetched": len(A),
        "bytes_reused": 0,
        "error": None,
    }


def test_small_file_takes_one_request(origin: Origin, site: Workplace) -> None:
    """Small files take one request, and its body crosses the wire once."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    assert [x.request.method for x in origin.requests()] == ["GET"]
    assert origin.body_bytes() == len(A)


def test_second_run_asks_for_no_body(origin: Origin, locked: Workplace) -> None:
    """I7: rerun after success: present, no body bytes, lock untouched."""
    lock = locked.lock_path.read_bytes()
    origin.forget()
    run = locked.sync().expect(0)
    entry = run.entry("a")
    assert (entry["state"], entry["bytes_fetched"], entry["sha256"]) == ("present", 0, sha256(A))
    assert origin.body_bytes() == 0
    assert locked.lock_path.read_bytes() == lock


def test_lock_is_canonical(origin: Origin, site: Workplace, tmp_path: Path, origins: Origins) -> None:
    """Contract, Lock: version 1, sorted by name, what the content determines; equal content, equal bytes."""
    bodies = {name: tgz(40_000, number) for number, name in enumerate(["zeta", "Alpha", "m.1", "beta"])}
    entries = [{"name": name, "url": origin.put(f"/{name}.tgz", body)} for name, body in bodies.items()]
    site.write(*entries)
    site.sync().expect(0)
    other = Workplace(tmp_path / "elsewhere", origins.made)
    other.write(*reversed(entries))
    origin.on("*", f.cut(20_000), times=3)
    other.sync("zeta", "beta").expect(0)
    other.sync().expect(0)
    text = site.lock_path.read_text()
    assert other.lock_path.read_text() == text
    document = tomli.loads(text)
    assert set(document) == {"version", "checkpoint"}
    names = [entry["name"] for entry in document["checkpoint"]]
    assert names == sorted(bodies)
    for entry in document["checkpoint"]:
        assert set(entry) <= {"name", "url", "size", "sha256", "trust", "witnesses", "pieces"}
        assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])
        if "pieces" in entry:
            assert re.fullmatch(r"blake3:16777216:[0-9a-f]{64}", entry["pieces"])
    assert str(tmp_path) not in text


def test_names_and_tags(origin: Origin, site: Workplace) -> None:
    """Contract, Commands: `NAME...` takes names and `@tag`; none means all; an unknown one is usage (2)."""
    site.write(
        {"name": "a", "url": origin.put("/a.tgz", A), "tags": ["x", "y"]},
        {"name": "b", "url": origin.put("/b.tgz", B), "tags": ["y"]},
        {"name": "c", "url": origin.put("/c.tgz", C)},
    )
    for wrong in ("nosuch", "@nosuch", "a/../b"):
        run = site.run("sync", wrong).expect(2)
        assert wrong in run.err
    assert not origin.requests()
    run = site.sync("@x").expect(0)
    assert [entry["name"] for entry in run.report["checkpoints"]] == ["a"]
    run = site.sync("@y", "a").expect(0)
    assert sorted(entry["name"] for entry in run.report["checkpoints"]) == ["a", "b"]
    site.assert_absent("c")
    site.sync().expect(0)
    site.assert_good("c", C)


def test_locked_flag_refuses_what_is_new(origin: Origin, site: Workplace) -> None:
    """`--locked`: fail (4) if the lock would change; nothing is published."""
    site.one(origin.put(PATH, A))
    run = site.sync("--locked").expect(4)
    assert run.kind("a") == "drift"
    site.assert_absent("a")
    assert not site.lock_path.exists()


def test_locked_flag_fetches_what_is_locked(origin: Origin, locked: Workplace) -> None:
    """`--locked`: what the lock names may be fetched; the lock stays byte for byte."""
    lock = locked.lock_path.read_bytes()
    locked.file("a").unlink()
    locked.sync("--locked").expect(0)
    locked.assert_good("a", A)
    assert locked.lock_path.read_bytes() == lock
    origin.put(PATH, B)
    locked.file("a").unlink()
    locked.sync("--locked").expect(4)
    assert locked.lock_path.read_bytes() == lock


def test_dry_run_fetches_no_body(origin: Origin, site: Workplace) -> None:
    """`--dry-run`: says what would be done, writes nothing, fetches no body."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    site.sync("b").expect(0)
    origin.forget()
    before = {path: path.stat().st_mtime_ns for path in site.root.rglob("*") if not path.is_dir()}
    run = site.run("sync", "--dry-run").expect(0)
    assert re.search(r"^a\b.*fetch", run.out, re.MULTILINE)
    as_json = site.run("sync", "--dry-run", "--json").expect(0)
    assert {entry["name"] for entry in as_json.report["checkpoints"]} == {"a", "b"}
    assert origin.body_bytes() == 0
    site.assert_absent("a")
    after = {path: path.stat().st_mtime_ns for path in site.root.rglob("*") if not path.is_dir()}
    scratch = ("-wal", "-shm")  # SQLite's own, beside a database that is only read
    assert {path for path in after if not path.name.endswith(scratch)} == set(before)
    assert after[site.lock_path] == before[site.lock_path]


def test_dry_run_on_nothing_makes_no_folder(origin: Origin, site: Workplace) -> None:
    """`--dry-run` writes nothing: not even the store."""
    site.one(origin.put(PATH, A))
    site.run("sync", "--dry-run").expect(0)
    assert not site.store.exists()
    assert not site.lock_path.exists()


def test_missing_file_is_fetched_again(origin: Origin, locked: Workplace) -> None:
    """Lock without file: fetched, against the locked digest."""
    locked.file("a").unlink()
    assert locked.sync().expect(0).entry("a")["state"] in {"fetched", "repaired"}
    locked.assert_good("a", A)


def test_file_of_another_length_is_seen_by_sync(origin: Origin, locked: Workplace) -> None:
    """sync reads no bodies, but a published file that was cut short is not "present"; it is fetched again."""
    path = locked.file("a")
    path.chmod(0o644)
    path.write_bytes(A[:1000])
    path.chmod(0o444)
    run = locked.sync().expect(0)
    assert run.entry("a")["state"] in {"repaired", "fetched"}
    locked.assert_good("a", A)
    assert origin.digests


def test_file_name_is_the_urls(origin: Origin, site: Workplace) -> None:
    """Contract, Store: `<store>/<name>/<file name of the URL>`; the query is no part of it."""
    site.write(
        {"name": "q", "url": origin.put("/dir/model.tar.gz", A) + "?download=true"},
        {"name": "dots", "url": origin.put("/swidernet_sac_1_1_4.5.tar.gz", A)},
    )
    site.sync().expect(0)
    assert site.file("q").name == "model.tar.gz"
    assert site.file("dots").name == "swidernet_sac_1_1_4.5.tar.gz"
    assert site.lock["q"]["url"] == origin.url("/dir/model.tar.gz") + "?download=true"


def test_order_of_exit_statuses(origin: Origin, site: Workplace) -> None:
    """Contract: when several apply, the first of 3, 5, 4, 1 is returned."""
    origin.put("/gone.tgz", A)
    origin.put("/drift.tgz", A)
    drift = {"name": "drift", "url": origin.url("/drift.tgz")}
    gone = {"name": "gone", "url": origin.url("/none.tgz")}
    wrong = {"name": "wrong", "url": origin.put("/wrong.tgz", A), "sha256": sha256(B)}
    site.write(drift)
    site.sync().expect(0)
    origin.put("/drift.tgz", B)
    site.file("drift").unlink()
    site.write(drift, gone)
    site.sync().expect(4)
    site.write(drift, gone, wrong)
    site.sync().expect(3)
    site.write(gone)
    site.sync().expect(1)


# ---- drift


def test_drift_of_a_locked_checkpoint(origin: Origin, locked: Workplace) -> None:
    """Contract: the same other bytes twice mean drift (4); nothing of it is published, the lock stays."""
    lock = locked.lock_path.read_bytes()
    locked.file("a").unlink()
    origin.put(PATH, B)
    run = locked.sync().expect(4)
    assert run.kind("a") == "drift"
    assert run.entry("a")["state"] == "failed"
    assert "update" in run.message("a"), "the hint does not say how to accept it"
    assert locked.lock_path.read_bytes() == lock
    assert not (locked.store / "a" / "a.tar.gz").exists()
    whole = [x for x in origin.requests(method="GET") if x.sent == len(B)]
    assert len(whole) == 3, "A once, B fetched once more"


@pytest.mark.parametrize("again", [tgz(260_000, 4), C], ids=["of the same length", "of another length"])
def test_different_bytes_each_time_are_an_integrity_failure(origin: Origin, locked: Workplace, again: bytes) -> None:
    """Contract: different ones again are an integrity failure (3)."""
    lock = locked.lock_path.read_bytes()
    locked.file("a").unlink()
    origin.put(PATH, B)
    origin.on(PATH, f.then(lambda: origin.put(PATH, again)))
    run = locked.sync().expect(3)
    assert run.kind("a") == "integrity"
    assert locked.lock_path.read_bytes() == lock
    assert not (locked.store / "a" / "a.tar.gz").exists()


def test_wrong_once_then_right(origin: Origin, locked: Workplace) -> None:
    """Contract: fetched once more, and now it is what is locked: good."""
    locked.file("a").unlink()
    origin.on(PATH, f.flip(77_777))
    locked.sync().expect(0)
    locked.assert_good("a", A)


def test_present_file_is_not_asked_about(origin: Origin, locked: Workplace) -> None:
    """sync fetches what is missing: a changed origin does not touch what is there."""
    origin.put(PATH, B)
    locked.sync().expect(0)
    locked.assert_good("a", A)


def test_drift_with_a_matching_new_pin(origin: Origin, locked: Workplace) -> None:
    """A locked sha256 changes only by `update`: a new pin in the manifest does not do it silently."""
    locked.one(origin.put(PATH, B), sha256=sha256(B))
    locked.sync().expect(2, 3, 4)
    assert locked.lock["a"]["sha256"] == sha256(A)


# ---- update


def test_update_accepts_the_new_version(origin: Origin, site: Workplace) -> None:
    """`update NAME`: fetch, verify, replace, re-lock just these."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    site.sync().expect(0)
    kept = site.lock["b"]
    origin.put(PATH, C)
    origin.put("/b.tgz", A)
    origin.forget()
    run = site.run("update", "--json", "a").expect(0)
    assert run.report["command"] == "update"
    assert (run.entry("a")["state"], run.entry("a")["sha256"]) == ("fetched", sha256(C))
    site.assert_good("a", C)
    site.assert_good("b", B)
    assert site.lock["b"] == kept
    assert not origin.requests("/b.tgz")
    site.verify().expect(0)


def test_update_of_what_has_not_changed(origin: Origin, locked: Workplace) -> None:
    """`update` when the origin serves what is locked: exit 0, the lock stays byte for byte."""
    lock = locked.lock_path.read_bytes()
    run = locked.run("update", "--json", "a").expect(0)
    assert run.entry("a")["sha256"] == sha256(A)
    assert locked.lock_path.read_bytes() == lock
    locked.assert_good("a", A)
    assert origin.digests


def test_failed_update_keeps_the_old(tmp_path: Path) -> None:
    """I1: the old good files and their lock entries survive a failed update."""
    with Batch(tmp_path, ["cut", "page", "404", "wrong witness"]) as batch:
        for origin in batch.origin.values():
            origin.put(PATH, A)
        batch.sync()
        lock = batch.site.lock_path.read_bytes()
        for origin in batch.origin.values():
            origin.put(PATH, B)
        batch.origin["cut"].on(PATH, f.ignores_range(), f.cut(CUT), times=None)
        batch.origin["page"].on(PATH, f.page(), times=None)
        batch.origin["404"].remove(PATH)
        wrong = f"sha-256=:{'A' * 43}=:"
        batch.origin["wrong witness"].on(PATH, f.header("Repr-Digest", wrong), times=None)
        run = batch.site.run("update", "--json", *batch.names.values()).expect(3)
        for row, name in batch.names.items():
            batch.site.assert_good(name, A)
            assert run.kind(name) in ({"integrity"} if row == "wrong witness" else {"network", "origin"})
        assert batch.site.lock_path.read_bytes() == lock


def test_update_needs_a_name(origin: Origin, locked: Workplace) -> None:
    """`update NAME...`: none is usage (2), an unknown one too."""
    origin.forget()
    locked.run("update").expect(2)
    locked.run("update", "nosuch").expect(2)
    assert not origin.requests()


# ---- verify


def test_verify_of_intact_files(origin: Origin, locked: Workplace) -> None:
    """verify: intact, exit 0, no network, nothing changed; with piece digests and with SHA-256."""
    origin.forget()
    for flags in ([], ["--sha256"]):
        run = locked.verify(*flags).expect(0)
        entry = run.entry("a")
        assert (entry["state"], entry["sha256"], entry["size"], entry["error"]) == (
            "intact",
            sha256(A),
            len(A),
            None,
        )
        assert not entry.get("damage")
    assert not origin.requests()
    locked.assert_good("a", A)


@pytest.mark.parametrize("flags", [[], ["--sha256"]], ids=["pieces", "sha256"])
def test_one_flipped_bit(origin: Origin, locked: Workplace, flags: list[str]) -> None:
    """verify: one flipped bit is corrupt, exit 3; the damage says where; nothing is removed or mended."""
    offset = 123_457
    flip(locked.file("a"), offset)
    origin.forget()
    run = locked.verify(*flags).expect(3)
    entry = run.entry("a")
    assert entry["state"] == "corrupt"
    assert entry["error"]["kind"] == "integrity"
    damage = entry["damage"]
    assert any(part["offset"] <= offset < part["offset"] + part["length"] for part in damage), damage
    for part in damage:
        assert set(part) >= {"offset", "length", "verdict"}
        assert part["verdict"]
        assert 0 <= part["offset"] < part["offset"] + part["length"] <= len(A)
    assert locked.file("a").stat().st_size == len(A)
    assert not origin.requests()


def test_damage_is_located_by_pieces(origin: Origin, site: Workplace) -> None:
    """verify: of three pieces of 16 MiB only the damaged one is named."""
    big = tgz(2 * PIECE + 500_000, 9)
    site.one(origin.put(PATH, big))
    site.sync().expect(0)
    flip(site.file("a"), PIECE + 7)
    damage = site.verify().expect(3).entry("a")["damage"]
    assert damage
    for part in damage:
        assert part["offset"] >= PIECE
        assert part["offset"] + part["length"] <= 2 * PIECE
    assert any(part["offset"] <= PIECE + 7 < part["offset"] + part["length"] for part in damage)


def test_files_of_another_length(origin: Origin, site: Workplace) -> None:
    """verify: bytes that are missing or too many are corrupt as well (3)."""
    damaged = {"shorter": A[:-1], "longer": A + b"\0", "empty": b""}
    site.write(*({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in damaged))
    site.sync().expect(0)
    for name, data in damaged.items():
        path = site.file(name)
        path.chmod(0o644)
        path.write_bytes(data)
        path.chmod(0o444)
    run = site.verify().expect(3)
    assert {run.entry(name)["state"] for name in damaged} == {"corrupt"}


def test_verify_of_a_missing_file(locked: Workplace) -> None:
    """verify: a locked file that is not there is missing; exit 1."""
    locked.file("a").unlink()
    run = locked.verify().expect(1)
    assert run.entry("a")["state"] == "missing"


def test_verify_of_what_is_due(origin: Origin, locked: Workplace) -> None:
    """`--older-than 7d`: only what is due; just fetched, nothing is."""
    locked.verify("--older-than", "7d").expect(0)
    locked.verify("--older-than", "soon").expect(2)
    assert origin.digests


def test_verify_of_what_was_never_locked(origin: Origin, site: Workplace) -> None:
    """verify: an entry without lock is unlocked, others are verified all the same."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    site.sync("a").expect(0)
    run = site.verify().expect(0, 1)
    assert run.entry("a")["state"] == "intact"
    assert run.entry("b")["state"] == "unlocked"


def test_one_corrupt_does_not_stop_the_others(origin: Origin, site: Workplace) -> None:
    """verify: each entry gets its verdict; the worst decides."""
    names = ["a", "b", "c", "d"]
    site.write(*({"name": name, "url": origin.put(f"/{name}.tgz", A)} for name in names))
    site.sync().expect(0)
    flip(site.file("b"), 5_000)
    site.file("d").unlink()
    run = site.verify().expect(3)
    assert {name: run.entry(name)["state"] for name in names} == {
        "a": "intact",
        "b": "corrupt",
        "c": "intact",
        "d": "missing",
    }
    site.verify("a", "c").expect(0)
    site.run("verify", "a", "d", invariants=False).expect(1)
    assert "b" in site.run("verify", invariants=False).expect(3).out


def test_damaged_piece_table_is_not_believed(origin: Origin, locked: Workplace) -> None:
    """verify: the table counts only when its digest matches the lock; without it SHA-256 decides."""
    for path in list(locked.state.rglob("*")):
        if path.is_file() and "sqlite" not in path.name and path.suffix not in {".db", ".lock"}:
            path.chmod(0o644)
            path.write_bytes(bytes(len(path.read_bytes())))
    run = locked.verify().expect(0)
    assert run.entry("a")["state"] == "intact"
    flip(locked.file("a"), 9)
    locked.verify().expect(3)
    assert origin.digests


def test_sync_mends_what_verify_found(origin: Origin, locked: Workplace) -> None:
    """A corrupt file, once known to be, is not good enough for sync; by size alone it looks right."""
    flip(locked.file("a"), 999)
    locked.verify().expect(3)
    run = locked.sync(invariants=False).expect(0, 3)
    if run.status == 0:
        locked.assert_good("a", A)
    assert origin.digests


# ---- path, status, the rest


def test_path(origin: Origin, locked: Workplace) -> None:
    """`path NAME` and `--file`: the file when nothing is unpacked; stdout has the path and nothing else."""
    file = str(locked.store / "a" / "a.tar.gz")
    for flags in (["--file"], []):
        run = locked.run("path", *flags, "a").expect(0)
        assert run.out == f"{file}\n"
    assert origin.digests


def test_path_of_what_is_not_there(origin: Origin, site: Workplace) -> None:
    """`path`: exit 1 with a message when it is not there; an unknown name is usage (2)."""
    site.one(origin.put(PATH, A))
    run = site.run("path", "--file", "a").expect(1)
    assert run.out == ""
    assert "a" in run.err
    site.run("path", "--file", "nosuch").expect(2)
    site.run("path").expect(2)
    assert not origin.requests()


def test_status(origin: Origin, site: Workplace) -> None:
    """`status`: what is there and how sure we are; no network, no bodies read."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.put("/b.tgz", B)})
    run = site.run("status", "--json")
    assert run.report["command"] == "status"
    site.sync("a").expect(0)
    site.verify("a").expect(0)
    origin.forget()
    run = site.run("status", "--json").expect(0, 1)
    entry = run.entry("a")
    assert (entry["size"], entry["sha256"], entry["trust"]) == (len(A), sha256(A), "first-use")
    assert entry["path"] == str(site.file("a"))
    assert run.entry("b")["sha256"] is None
    text = site.run("status").expect(0, 1)
    assert "a" in text.out
    assert "b" in text.out
    assert not origin.requests()


def test_start_up_imports_nothing_heavy(origin: Origin, locked: Workplace) -> None:
    """Commands that move no bytes import neither aiohttp nor rich's live display."""
    for command in (["--version"], ["status"], ["path", "--file", "a"], ["verify"]):
        run = locked.run(*command, env={"PYTHONPROFILEIMPORTTIME": "1"}).expect(0)
        lines = [line for line in run.err.splitlines() if line.startswith("import time")]
        imported = {line.rpartition("|")[2].strip() for line in lines}
        assert "ckptd" in imported
        assert not {name for name in imported if name.startswith(("aiohttp", "rich.live"))}, command
    assert origin.digests


def test_start_up_of_nothing_to_do(origin: Origin, locked: Workplace) -> None:
    """A sync with nothing to do does not pay for aiohttp either."""
    origin.forget()
    run = locked.run("sync", env={"PYTHONPROFILEIMPORTTIME": "1"}).expect(0)
    assert not [line for line in run.err.splitlines() if line.rpartition("|")[2].strip() == "aiohttp"]


def test_stdout_carries_results_and_stderr_the_rest(origin: Origin, site: Workplace) -> None:
    """Contract, Commands: without a terminal plain lines without escape sequences; `--quiet` says less."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, {"name": "b", "url": origin.url("/none.tgz")})
    run = site.run("sync").expect(1)
    assert "\x1b" not in run.out + run.err
    assert "\r" not in run.out + run.err
    assert "b" in run.out + run.err
    assert "404" in run.out + run.err
    quiet = site.run("sync", "--quiet", "a").expect(0)
    assert quiet.out + quiet.err == ""
    failed = site.run("sync", "--quiet", "b").expect(1)
    assert "404" in failed.err + failed.out


def test_json_is_the_only_thing_on_stdout(origin: Origin, locked: Workplace) -> None:
    """Contract, `--json`: one object, with every flag of verbosity."""
    for command in (
        ["sync", "--verbose"],
        ["sync", "--quiet"],
        ["verify", "--verbose"],
        ["verify", "--quiet"],
        ["status", "--verbose"],
        ["update", "--verbose", "a"],
    ):
        run = locked.run(*command, "--json").expect(0)
        assert run.report["command"] == command[0]
    assert origin.digests


def test_help_and_version(site: Workplace) -> None:
    """`--help` names every command of this issue; `--version` is one line; neither needs a manifest."""
    text = site.run("--help").expect(0).out
    for command in ("sync", "verify", "status", "path", "update", "demo"):
        assert re.search(rf"^\s+{command}\b", text, re.MULTILINE), command
        assert "--json" in site.run(command, "--help").expect(0).out or command == "demo"
    assert re.search(r"\d+\.\d+", site.run("--version").expect(0).out)


@pytest.mark.parametrize("args", [["nosuch"], ["sync", "--nosuch"], ["verify", "--older-than", "soon"], ["--manifest"]])
def test_bad_usage(origin: Origin, site: Workplace, args: list[str]) -> None:
    """Exit 2, one or two sentences on stderr, nothing on stdout, nothing touched."""
    site.one(origin.put(PATH, A))
    run = site.run(*args).expect(2)
    assert run.out == ""
    assert run.err
    assert not origin.requests()


def test_where_the_manifest_is_found(origin: Origin, site: Workplace) -> None:
    """`--manifest`, else `$CKPTD_MANIFEST`, else ./manifest.toml; paths are relative to its folder."""
    site.one(origin.put(PATH, A))
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    missing = site.run("sync", cwd=elsewhere).expect(2)
    assert "manifest" in missing.err
    site.run("sync", cwd=elsewhere, env={"CKPTD_MANIFEST": str(site.manifest)}).expect(0)
    site.assert_good("a", A)
    assert not list(elsewhere.iterdir())
    site.run("status", "--manifest", "../manifest.toml", cwd=elsewhere).expect(0)
    wrong = {"CKPTD_MANIFEST": "/no/such/manifest.toml"}
    site.run("status", "--manifest", str(site.manifest), cwd=elsewhere, env=wrong).expect(0)
    run = site.run("status", cwd=site.root, env=wrong).expect(2)
    assert "/no/such/manifest.toml" in run.err


def test_status_while_a_sync_runs(origin: Origin, site: Workplace) -> None:
    """`status` shows what there is also while somebody else is at work; it neither waits nor fails."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, transfer={"stall_timeout": "30s"})
    place = Hold()
    origin.on(PATH, f.hold(CUT, place))
    running = site.start("sync")
    wait_until(place.reached.is_set, what="the download stands still")
    site.run("status", "--json").expect(0, 1)
    place.release()
    running.wait().expect(0)


def test_shell_completion(site: Workplace) -> None:
    """Shell completion."""
    for shell in ("bash", "zsh", "fish"):
        run = site.run(env={"_CKPTD_COMPLETE": f"{shell}_source"}).expect(0)
        assert "ckptd" in run.out


def test_completion_of_names(origin: Origin, locked: Workplace) -> None:
    """Shell completion offers the names and tags of the manifest."""
    locked.write({"name": "resnet", "url": origin.put(PATH, A), "tags": ["vision"]})
    env = {"_CKPTD_COMPLETE": "bash_complete", "COMP_WORDS": "ckptd sync res", "COMP_CWORD": "2"}
    assert "resnet" in locked.run(env=env).out
    env = {"_CKPTD_COMPLETE": "bash_complete", "COMP_WORDS": "ckptd sync @v", "COMP_CWORD": "2"}
    assert "@vision" in locked.run(env=env).out

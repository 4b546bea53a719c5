"""Unpacked trees: whole or not at all, audited, mended from their archive; the real program on real archives."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from origin import Origin
from workplace import Running, Workplace, sha256, wait_until

pytestmark = pytest.mark.slow

PATH = "/model.tar.gz"


def model(seed: int, size: int = 150_000, step: int = 100) -> dict[str, bytes]:
    """What is in a TensorFlow checkpoint as people publish them: three files in a folder."""
    return {
        "resnet/checkpoint": f'model_checkpoint_path: "ckpt-{step}"\n'.encode(),
        f"resnet/ckpt-{step}.index": random.Random(seed).randbytes(4096),  # noqa: S311
        f"resnet/ckpt-{step}.data-00000-of-00001": random.Random(seed + 1).randbytes(size),  # noqa: S311
    }


def packed(files: dict[str, bytes], *more: tarfile.TarInfo, level: int = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return gzip.compress(out.getvalue(), level, mtime=0)


ONE, TWO = model(1), model(2, step=200)
A, B = packed(ONE), packed(TWO)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def tree_of(site: Workplace, name: str = "a") -> Path:
    return site.store / name / "tree"


def contents(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def leftovers(site: Workplace) -> list[Path]:
    """What unpacking left behind where it works."""
    staging = site.state / "staging"
    return list(staging.iterdir()) if staging.exists() else []


def unpacked(site: Workplace, origin: Origin, body: bytes = A, **unpack: object) -> None:
    """Write a manifest with one checkpoint that is unpacked."""
    tables = {"unpack": unpack} if unpack else {}
    site.write({"name": "a", "url": origin.put(PATH, body), "unpack": True}, **tables)


def sync(site: Workplace, *args: str, status: int = 0) -> dict[str, object]:
    found: dict[str, object] = site.sync(*args, invariants=False).expect(status).entry("a")
    return found


@pytest.fixture
def grown(origin: Origin, site: Workplace) -> Workplace:
    """A site where the tree of `a` stands."""
    unpacked(site, origin)
    sync(site)
    origin.forget()
    return site


def write(path: Path, data: bytes) -> None:
    """Write over a file of the tree in place, as its owner can."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


# ---- growing


def test_a_tree_appears_whole(origin: Origin, grown: Workplace) -> None:
    """Contract, Store: `<store>/<name>/tree/`, modes 0444 and 0755; a second sync asks nobody and writes nothing."""
    tree = tree_of(grown)
    assert contents(tree) == ONE
    for path in tree.rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o755 if path.is_dir() else 0o444), path
    assert leftovers(grown) == []
    before = tree.stat().st_ino
    assert sync(grown)["state"] == "present"
    assert origin.requests() == []
    assert tree.stat().st_ino == before


def test_path_gives_the_prefix(grown: Workplace) -> None:
    """For a TensorFlow checkpoint the prefix; `--file` the archive; the function of the package the same."""
    prefix = str(tree_of(grown) / "resnet" / "ckpt-100")
    assert grown.run("path", "a", invariants=False).expect(0).out == f"{prefix}\n"
    archive = grown.run("path", "--file", "a", invariants=False).expect(0).out
    assert archive == f"{grown.store / 'a' / 'model.tar.gz'}\n"
    script = (
        "import ckptd, sys; print(ckptd.path('a'));"
        "print(sorted({'asyncio', 'aiohttp', 'ssl', 'rich', 'click'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=grown.root,
        env=grown.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == [prefix, "[]"]


def test_unpack_switched_on_later(origin: Origin, site: Workplace) -> None:
    """The archive that is there is unpacked, and asked for no more; `--dry-run` says so; switched off it stays."""
    site.one(origin.put(PATH, A))
    sync(site)
    origin.forget()
    unpacked(site, origin)
    dry = site.run("sync", "--dry-run", invariants=False).expect(0)
    assert dry.out == "a: would unpack\n"
    assert not tree_of(site).exists()
    assert site.run("path", "a", invariants=False).expect(1).out == ""
    assert sync(site, "--locked")["state"] == "present"
    assert contents(tree_of(site)) == ONE
    assert origin.requests() == []
    site.one(origin.url(PATH))
    sync(site)
    assert contents(tree_of(site)) == ONE


def test_zip_and_plain_tar(origin: Origin, site: Workplace) -> None:
    """Other forms by what they begin with, not by their names; and what is no archive is refused and kept."""
    import zipfile  # noqa: PLC0415

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in ONE.items():
            zipped.writestr(name, data)
    plain = gzip.decompress(A)
    site.write(
        {"name": "z", "url": origin.put("/z.zip", out.getvalue()), "unpack": True},
        {"name": "t", "url": origin.put("/t.tar", plain), "unpack": True},
        {"name": "w", "url": origin.put("/w.bin", b"weights" * 1000), "unpack": True},
    )
    run = site.sync(invariants=False).expect(1)
    assert contents(tree_of(site, "z")) == contents(tree_of(site, "t")) == ONE
    assert run.kind("w") == "policy"
    assert (site.store / "w" / "w.bin").exists()
    assert not tree_of(site, "w").exists()


# ---- auditing


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda tree: write(tree / "resnet" / "checkpoint", b"other\n"), "changed"),
    "missing": (lambda tree: (tree / "resnet" / "checkpoint").unlink(), "missing"),
    "added": (lambda tree: (tree / "resnet" / "more").write_bytes(b"x"), "added"),
    "folder": (lambda tree: shutil.rmtree(tree / "resnet"), "missing"),
    "all of it": (shutil.rmtree, "missing"),
    "link": (lambda tree: (tree / "l").symlink_to("/etc/passwd"), "added"),
    "fifo": (lambda tree: os.mkfifo(tree / "resnet" / "pipe"), "added"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_mended(origin: Origin, grown: Workplace, kind: str) -> None:
    """Verify finds what was added, missing and changed, and mends it from the archive without network."""
    damage, word = DAMAGE[kind]
    damage(tree_of(grown))
    run = grown.verify().expect(3)
    assert run.entry("a")["state"] == "corrupt"
    assert word in run.message("a")
    mended = grown.verify("--repair").expect(0)
    assert mended.entry("a")["state"] == "repaired"
    assert contents(tree_of(grown)) == ONE
    assert grown.verify().expect(0).entry("a")["state"] == "intact"
    assert origin.requests() == []
    assert leftovers(grown) == []


def test_sync_mends_what_verify_found(origin: Origin, grown: Workplace) -> None:
    """A tree that was found damaged is made again by the next sync, too, without network."""
    write(tree_of(grown) / "resnet" / "checkpoint", b"other\n")
    grown.verify().expect(3)
    sync(grown)
    assert contents(tree_of(grown)) == ONE
    assert origin.requests() == []


def test_archive_and_tree_damaged(origin: Origin, grown: Workplace) -> None:
    """Both at once: the archive is mended from its origin, the tree from the archive, in one go."""
    archive = grown.store / "a" / "model.tar.gz"
    data = bytearray(archive.read_bytes())
    data[5000] ^= 1
    write(archive, bytes(data))
    write(tree_of(grown) / "resnet" / "checkpoint", b"other\n")
    grown.verify().expect(3)
    grown.verify("--repair").expect(0)
    assert archive.read_bytes() == A
    assert contents(tree_of(grown)) == ONE
    grown.verify().expect(0)


def plant(tree: Path, what: str) -> None:
    """Put something that is no folder in place of the tree, whatever stood there."""
    if tree.is_symlink() or tree.is_file():
        tree.unlink()
    else:
        shutil.rmtree(tree)
    if what == "a plain file":
        tree.write_bytes(b"not a tree\n")
        return
    elsewhere = tree.parents[2] / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "ckpt.index").write_bytes(b"somebody's")
    (elsewhere / "ckpt.data-00000-of-00001").write_bytes(b"somebody's")
    tree.symlink_to(elsewhere if what == "a link" else "nowhere", target_is_directory=True)


FOREIGN = {"plain file": "a plain file", "link": "a link", "dangling": "a link to nothing"}


@pytest.mark.parametrize("what", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("command", ["verify", "sync", "update"])
def test_a_foreign_thing_in_its_place(grown: Workplace, what: str, command: str) -> None:
    """It is damage like any other, is taken into quarantine, and what a link leads to stays as it is."""
    tree = tree_of(grown)
    plant(tree, what)
    named = what.removesuffix(" to nothing")
    found = grown.verify().expect(3)
    assert f"{named} stands in its place" in found.message("a")
    status = grown.run("status", "--json", invariants=False).entry("a")
    assert status["state"] == "damaged"
    assert f"{named} stands in place of its tree" in str(status["error"])
    assert "verify --repair a" in str(status["error"])
    run = grown.run("path", "a", invariants=False).expect(1)
    assert run.out == ""
    assert "ckptd " in run.err
    mending = {
        "verify": lambda: grown.verify("--repair"),
        "sync": lambda: grown.sync(invariants=False),
        "update": lambda: grown.run("update", "a", "--json", invariants=False),
    }
    mended = mending[command]().expect(0).entry("a")
    assert "it was moved to" in str(mended["notes"])
    assert not tree.is_symlink()
    assert contents(tree) == ONE
    grown.verify().expect(0)
    (kept,) = (entry for entry in (grown.state / "quarantine").iterdir())
    assert f"{named} stood in place of its tree" in (kept / "report.json").read_text()
    if what == "a plain file":
        assert [path.read_bytes() for path in kept.glob("*.bin")] == [b"not a tree\n"]
    if what == "a link":
        assert len(list((grown.root / "elsewhere").iterdir())) == 2


def test_repaired_is_said_of_what_is_right(grown: Workplace) -> None:
    """Also where what stands there has the inode number of the folder that it replaced, which happens often."""
    tree = tree_of(grown)
    for _ in range(4):
        plant(tree, "a plain file")
        assert grown.verify("--repair").expect(0).entry("a")["state"] == "repaired"
        assert contents(tree) == ONE


def test_repair_where_nothing_can_be_remembered(grown: Workplace) -> None:
    """What was found is what is mended, though the state may say that all is well."""
    write(tree_of(grown) / "resnet" / "checkpoint", b"other\n")
    script = (
        "import sys; from ckptd.service import verify;"
        "verify.Audit._remember = lambda self, reader: __import__('asyncio').sleep(0);"
        "from ckptd.cli.main import main; sys.argv = ['ckptd', 'verify', '--repair', '--json']; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=grown.root, env=grown.environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (run.returncode, '"repaired"' in run.stdout) == (0, True), run
    assert contents(tree_of(grown)) == ONE


@pytest.mark.parametrize("keep", [True, False])
def test_a_tree_that_is_wanted_no_more(origin: Origin, site: Workplace, *, keep: bool) -> None:
    """It stays, is verified, and is mended: the archive, which is what is wanted, is kept beside it."""
    unpacked(site, origin, keep_archive=keep)
    sync(site)
    site.write({"name": "a", "url": origin.url(PATH)}, unpack={"keep_archive": keep})
    sync(site)
    write(tree_of(site) / "resnet" / "checkpoint", b"other\n")
    site.verify().expect(3)
    assert site.run("status", "--json", invariants=False).entry("a")["state"] == "damaged"
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    assert contents(tree_of(site)) == ONE
    assert (site.store / "a" / "model.tar.gz").read_bytes() == A
    site.verify().expect(0)


def test_status_knows_a_damaged_tree(grown: Workplace) -> None:
    """What verify found is what status says, until it is mended."""
    write(tree_of(grown) / "resnet" / "checkpoint", b"other\n")
    grown.verify().expect(3)
    status = grown.run("status", "--json", invariants=False).entry("a")
    assert status["state"] == "damaged"
    error = status["error"]
    assert isinstance(error, dict)
    assert error["message"] == "its tree is damaged"
    assert error["hint"] == "run `ckptd verify --repair a`"
    grown.verify("--repair").expect(0)
    assert grown.run("status", "--json", invariants=False).expect(0).entry("a")["state"] == "present"


def test_one_verdict_for_one_name(grown: Workplace) -> None:
    """Whoever reads the lines as they come is not told that it is intact before its tree has been read."""
    write(tree_of(grown) / "resnet" / "checkpoint", b"other\n")
    lines = [line for line in grown.run("verify", invariants=False).expect(3).err.splitlines() if line[:2] == "a:"]
    assert [line.split()[1] for line in lines] == ["corrupt:"]
    grown.verify("--repair").expect(0)
    assert "a: intact" in grown.run("verify", invariants=False).expect(0).err


# ---- modes


def loosen(tree: Path) -> None:
    (tree / "resnet").chmod(0o777)
    (tree / "resnet" / "checkpoint").chmod(0o666)


def modes(tree: Path) -> list[int]:
    return [stat.S_IMODE(path.lstat().st_mode) for path in (tree, tree / "resnet", tree / "resnet" / "checkpoint")]


def test_modes_are_told_and_set_right(origin: Origin, grown: Workplace) -> None:
    """Weights that others may write are told of (0, intact), and set right without unpacking anew."""
    tree = tree_of(grown)
    inode = tree.stat().st_ino
    loosen(tree)
    told = grown.verify().expect(0).entry("a")
    assert told["state"] == "intact"
    assert "2 of its tree with modes that are not as they were made (resnet, resnet/checkpoint)" in str(told["notes"])
    assert modes(tree) == [0o755, 0o777, 0o666]
    mended = grown.verify("--repair").expect(0).entry("a")
    assert mended["state"] == "intact"
    assert "set right (resnet, resnet/checkpoint)" in str(mended["notes"])
    assert modes(tree) == [0o755, 0o755, 0o444]
    loosen(tree)
    tree.chmod(0o775)
    assert (
        grown.run("sync", "--dry-run", invariants=False).expect(0).out == "a: would set the modes of its tree right\n"
    )
    assert "set right (., resnet, resnet/checkpoint)" in str(sync(grown)["notes"])
    assert modes(tree) == [0o755, 0o755, 0o444]
    assert "notes" not in sync(grown)
    assert "notes" not in grown.verify().expect(0).entry("a")
    assert tree.stat().st_ino == inode
    assert origin.requests() == []


# ---- updating


def test_update_keeps_the_old_tree_for_its_readers(origin: Origin, grown: Workplace) -> None:
    """On update the old tree stays for whoever uses it until the next prune."""
    name = "resnet/ckpt-100.data-00000-of-00001"
    with (tree_of(grown) / name).open("rb") as old:
        origin.put(PATH, B)
        grown.run("update", "a", invariants=False).expect(0)
        assert old.read() == ONE[name]
    assert contents(tree_of(grown)) == TWO
    kept = list((grown.state / "old-trees").iterdir())
    assert [contents(tree) for tree in kept] == [ONE]
    assert grown.run("path", "a", invariants=False).out.endswith("resnet/ckpt-200\n")
    grown.verify().expect(0)
    assert sync(grown)["state"] == "present"


# ---- without its archive


@pytest.mark.slow
def test_keep_archive_false(origin: Origin, site: Workplace) -> None:
    """Only the tree stays; sync and verify ask nobody; a repair fetches; switched back the archive comes."""
    unpacked(site, origin, keep_archive=False)
    assert sync(site)["state"] == "fetched"
    archive = site.store / "a" / "model.tar.gz"
    assert not archive.exists()
    assert contents(tree_of(site)) == ONE
    origin.forget()
    assert sync(site)["state"] == "present"
    assert sync(site, "--locked")["state"] == "present"
    assert site.verify().expect(0).entry("a")["state"] == "intact"
    status = site.run("status", "--json", invariants=False).expect(0).entry("a")
    assert (status["state"], status["path"]) == ("present", str(tree_of(site)))
    assert site.run("path", "a", invariants=False).out.endswith("ckpt-100\n")
    assert origin.requests() == []
    write(tree_of(site) / "resnet" / "checkpoint", b"other\n")
    site.verify().expect(3)
    assert site.verify("--repair").expect(0).entry("a")["state"] == "repaired"
    assert contents(tree_of(site)) == ONE
    assert origin.body_bytes() == len(A)
    assert not archive.exists()
    unpacked(site, origin)
    sync(site)
    assert archive.read_bytes() == A
    site.verify().expect(0)
    origin.forget()
    unpacked(site, origin, keep_archive=False)
    sync(site)
    assert contents(tree_of(site)) == ONE
    assert origin.requests() == []


def test_keep_archive_false_and_the_tree_lost(origin: Origin, site: Workplace) -> None:
    """Where neither is left, sync fetches the archive and makes the tree."""
    unpacked(site, origin, keep_archive=False)
    sync(site)
    shutil.rmtree(tree_of(site))
    sync(site)
    assert contents(tree_of(site)) == ONE
    origin.put(PATH, B)
    site.run("update", "a", invariants=False).expect(0)
    assert contents(tree_of(site)) == TWO
    site.verify().expect(0)


# ---- what is refused


ATTACKS = {
    "upwards": member("../escaped", size=3),
    "absolute": member("/tmp/escaped", size=3),  # noqa: S108
    "link upwards": member("l", tarfile.SYMTYPE, "../../escaped"),
    "absolute link": member("l", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link outside": member("l", tarfile.LNKTYPE, "../escaped"),
    "device": member("d", tarfile.CHRTYPE),
    "pipe": member("p", tarfile.FIFOTYPE),
    "twice": member("resnet/checkpoint", size=3),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(origin: Origin, site: Workplace, attack: str) -> None:
    """Refused with the reason, as policy (1); the archive is kept, there is no tree, nothing outside."""
    body = packed(ONE, ATTACKS[attack])
    unpacked(site, origin, body)
    entry = sync(site, status=1)
    error = entry["error"]
    assert isinstance(error, dict)
    assert error["kind"] == "policy"
    assert (site.store / "a" / "model.tar.gz").read_bytes() == body
    assert not tree_of(site).exists()
    assert leftovers(site) == []
    assert not list(site.root.rglob("escaped"))
    assert site.verify().expect(0).entry("a")["state"] == "intact"


def test_a_bomb(origin: Origin, site: Workplace) -> None:
    """[unpack] max_ratio: a bomb is refused long before the disk is full, and its limits can be set."""
    large, body = (packed({"zeros": bytes(size)}, level=9) for size in (80_000_000, 10_000_000))
    for bomb in (large, body):
        unpacked(site, origin, bomb)
        run = site.run("update", "a", "--json", invariants=False).expect(1)
        assert run.kind("a") == "policy"
        assert not tree_of(site).exists()
    unpacked(site, origin, body, max_ratio=2000)
    sync(site)
    assert (tree_of(site) / "zeros").stat().st_size == 10_000_000


def test_a_ratio_that_somebody_set(origin: Origin, site: Workplace) -> None:
    """[unpack] max_ratio in the manifest holds for small archives, too; the default lets small ones be mostly zeros."""
    body = packed({"zeros": bytes(500_000)}, level=9)
    unpacked(site, origin, body, max_ratio=10)
    error = sync(site, status=1)["error"]
    assert isinstance(error, dict)
    assert "more than 10 times" in error["message"]
    assert "max_ratio" in error["hint"]
    unpacked(site, origin, packed({"few": b"x"}, level=9), max_ratio=1)
    site.run("update", "a", invariants=False).expect(0)
    unpacked(site, origin, body)
    site.run("update", "a", invariants=False).expect(0)
    assert (tree_of(site) / "zeros").stat().st_size == 500_000


@pytest.mark.parametrize(
    "body", [A[:-5000], A + b"trailing", A[:-6] + bytes(6)], ids=["truncated", "trailing", "wrong CRC"]
)
def test_damaged_archives(origin: Origin, site: Workplace, body: bytes) -> None:
    """Integrity (3), also where its sha256 is as pinned; no tree."""
    site.write({"name": "a", "url": origin.put(PATH, body), "unpack": True, "sha256": sha256(body)})
    entry = sync(site, status=3)
    error = entry["error"]
    assert isinstance(error, dict)
    assert error["kind"] == "integrity"
    assert not tree_of(site).exists()
    assert leftovers(site) == []


def test_a_bad_update_leaves_the_old_tree(origin: Origin, grown: Workplace) -> None:
    """The new archive cannot be unpacked: the old tree stays as it was, and it is said again by every sync."""
    origin.put(PATH, packed(TWO, ATTACKS["upwards"]))
    grown.run("update", "a", invariants=False).expect(1)
    assert contents(tree_of(grown)) == ONE
    sync(grown, status=1)
    origin.put(PATH, B)
    grown.run("update", "a", invariants=False).expect(0)
    assert contents(tree_of(grown)) == TWO


# ---- bad days


def test_full_disk(origin: Origin, site: Workplace, lacking: Callable[[str], None]) -> None:
    """No room for the tree: storage (5), the archive stays, nothing half-made does; it goes on when there is room."""
    if os.getuid() != 0:
        lacking("mounting a small filesystem takes root")
    site.store.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(site.store)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode:
        lacking("no tmpfs can be mounted here")
    try:
        files = model(5, 2_000_000)
        body = packed(files)
        unpacked(site, origin, body)
        entry = sync(site, status=5)
        assert "storage" in str(entry["error"])
        assert (site.store / "a" / "model.tar.gz").read_bytes() == body
        assert not tree_of(site).exists()
        assert leftovers(site) == []
        subprocess.run(["mount", "-o", "remount,size=30m", str(site.store)], check=True)
        origin.forget()
        sync(site)
        assert contents(tree_of(site)) == files
        assert origin.requests() == []
    finally:
        subprocess.run(["umount", "-l", str(site.store)], check=True)


def test_stopped_while_unpacking(origin: Origin, site: Workplace) -> None:
    """SIGTERM while it unpacks: soon ended, no half tree, and the next run makes it without network."""
    files = {f"f{number}": random.Random(number).randbytes(40_000) for number in range(1500)}  # noqa: S311
    unpacked(site, origin, packed(files))
    running = site.start("sync")
    wait_until(lambda: leftovers(site), what="it unpacks")
    running.signal(signal.SIGTERM)
    running.wait(15, invariants=False).expect(143)
    assert not tree_of(site).exists()
    origin.forget()
    sync(site)
    assert contents(tree_of(site)) == files
    assert origin.requests() == []
    assert leftovers(site) == []


def works(site: Workplace, running: Running) -> bool:
    """Whether it unpacks by now, or has ended."""
    return bool(leftovers(site)) or not running.running


@pytest.mark.slow
def test_killed_while_unpacking(origin: Origin, site: Workplace) -> None:
    """Kill -9 at any moment: under the name stands a whole tree, the old or the new one, or none."""
    bodies = [{f"f{number}": bytes([number % 256, seed]) * 10_000 for number in range(400)} for seed in (0, 1)]
    unpacked(site, origin, packed(bodies[0]))
    current, seen, delay = 0, 0, 0.3
    chance = random.Random(7)  # noqa: S311
    for _ in range(40):
        running = site.start("sync" if current == 0 and not tree_of(site).exists() else "update", "a")
        wait_until(partial(works, site, running), what="it unpacks")
        try:
            running.process.communicate(timeout=delay * chance.random())
        except subprocess.TimeoutExpired:
            running.signal(signal.SIGKILL)
            running.wait(invariants=False)
        if tree_of(site).exists():
            assert contents(tree_of(site)) in bodies, "half a tree"
            if contents(tree_of(site)) == bodies[current]:
                current, seen = 1 - current, seen + 1
                origin.put(PATH, packed(bodies[current]))
        delay = min(delay * 1.1, 20.0)
    assert seen >= 2
    site.run("update", "a", invariants=False).expect(0)
    assert contents(tree_of(site)) == bodies[current]
    site.verify().expect(0)
    assert leftovers(site) == []

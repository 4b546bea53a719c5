"""The one place where a name becomes visible: modes, links that were planted, and a stop after every step."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house import CHECKPOINT, URL, House, pieces_of, sha256_of

from ckptd.core.models import PIECE, Trust
from ckptd.core.proof import Proven
from ckptd.errors import StorageError
from ckptd.store import lockfile
from ckptd.store.atomic import write_atomically
from ckptd.store.places import Places, prepare
from ckptd.store.publish import Verified, publish, settle, stamp

BODY = b"verified bytes" * 1000


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def staged(places: Places, body: bytes = BODY) -> Verified:
    """Proven bytes in a partial, with a tail of reserved room."""
    path = places.partials / "model.abc.part"
    path.write_bytes(body)
    proof = Proven(sha256_of(body).hex(), Trust.FIRST_USE, ())
    return Verified(CHECKPOINT, path, len(body), proof, pieces_of(body, PIECE))


def places_in(root: Path, group: int | None = None) -> Places:
    places = Places(root / "store", root / "store/.ckptd", root / "manifest.lock", group)
    prepare(places)
    return places


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def another_group() -> int:
    """A group that is not what new files get by themselves."""
    if os.geteuid() == 0:
        return 54321
    others = [gid for gid in os.getgroups() if gid != os.getegid()]
    if not others:
        pytest.skip("this user has no second group")
    return others[0]


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o000])
@pytest.mark.parametrize("shared", [False, True])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, mask: int, *, shared: bool) -> None:
    group = another_group() if shared else None
    body = bytes(PIECE + 1)
    with umask(mask):
        places = places_in(tmp_path, group)
        verified = staged(places, body)
        settle(verified, places)
        published = publish(verified, places)
        lockfile.write(places.lock, lockfile.read(places.lock))
    folder_mode = 0o2755 if shared else 0o755
    assert mode(published.path) == 0o444
    assert mode(published.path.parent) == folder_mode
    assert mode(places.store) == folder_mode
    assert mode(places.pieces / verified.proof.sha256) == 0o444
    assert mode(places.lock) == 0o644
    if group is not None:
        for path in (published.path, published.path.parent, places.store, places.pieces / verified.proof.sha256):
            assert path.stat().st_gid == group


def test_what_is_published_is_what_was_proven(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    verified = staged(places)
    with verified.path.open("ab") as file:
        file.truncate(len(BODY) + 5000)  # room that was reserved and not needed
    mark = settle(verified, places)
    assert not places.final(CHECKPOINT).exists()
    published = publish(verified, places)
    assert published.path == places.store / "model" / "model.tar.gz"
    assert published.path.read_bytes() == BODY
    assert stamp(published.path.stat()) == mark  # renaming is no change
    assert not list(places.partials.iterdir())


def test_durable_before_it_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's bytes before its name, and its name before anybody hears of it."""
    places = places_in(tmp_path)
    verified = staged(places)
    done: list[tuple[str, int]] = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(fd: int) -> None:
        fsync(fd)
        done.append(("fsync", os.fstat(fd).st_ino))

    def noting_rename(source: Path, target: str, *, dst_dir_fd: int) -> None:
        done.append(("rename", os.stat(source).st_ino))
        rename(source, target, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    settle(verified, places)
    published = publish(verified, places)
    file, folder = published.path.stat().st_ino, published.path.parent.stat().st_ino
    renamed = done.index(("rename", file))
    assert ("fsync", file) in done[:renamed]
    assert ("fsync", places.store.stat().st_ino) in done[:renamed]  # the new folder's own name
    assert ("fsync", folder) in done[renamed:]


def test_whoever_has_the_old_file_open_keeps_the_old_bytes(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    first = staged(places)
    settle(first, places)
    final = publish(first, places).path
    with final.open("rb") as reader:
        second = staged(places, b"new")
        settle(second, places)
        publish(second, places)
        assert reader.read() == BODY
    assert final.read_bytes() == b"new"
    assert [path.name for path in final.parent.iterdir()] == ["model.tar.gz"]


# --- what others planted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_the_files_place_is_replaced_not_followed(tmp_path: Path, *, dangling: bool) -> None:
    places = places_in(tmp_path)
    victim = tmp_path / "victim"
    if not dangling:
        victim.write_bytes(b"precious")
        victim.chmod(0o600)
    final = places.final(CHECKPOINT)
    final.parent.mkdir()
    final.symlink_to(victim)
    verified = staged(places)
    settle(verified, places)
    publish(verified, places)
    assert not final.is_symlink()
    assert final.read_bytes() == BODY
    if dangling:
        assert not victim.exists()
    else:
        assert victim.read_bytes() == b"precious"
        assert mode(victim) == 0o600


@pytest.mark.parametrize("what", ["link", "dangling link", "file"])
def test_what_stands_in_the_folders_place_is_not_used(tmp_path: Path, what: str) -> None:
    places = places_in(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    folder = places.folder("model")
    if what == "link":
        elsewhere.mkdir()
    if what == "file":
        folder.write_bytes(b"mine")
    else:
        folder.symlink_to(elsewhere)
    verified = staged(places)
    settle(verified, places)
    with pytest.raises(StorageError, match="not a folder of ours") as caught:
        publish(verified, places)
    assert "move it away" in caught.value.hint
    assert verified.path.read_bytes() == BODY
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


def test_a_folder_in_the_files_place_is_said(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.final(CHECKPOINT).mkdir(parents=True)
    verified = staged(places)
    settle(verified, places)
    with pytest.raises(StorageError, match=r"model\.tar\.gz") as caught:
        publish(verified, places)
    assert "folder stands where the file should be" in caught.value.hint
    assert verified.path.read_bytes() == BODY


def test_a_link_in_the_partials_place_is_not_settled(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    verified = staged(places)
    victim = tmp_path / "victim"
    verified.path.rename(victim)
    verified.path.symlink_to(victim)
    before = mode(victim)
    with pytest.raises(StorageError):
        settle(verified, places)
    assert mode(victim) == before


def test_a_store_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.store.chmod(0o777)
    with pytest.raises(StorageError, match="writable by everybody"):
        prepare(places)
    places.store.chmod(0o1777)
    prepare(places)


@pytest.mark.parametrize("step", ["write", "fsync", "fchmod"])
def test_a_small_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", 0o640)
    real = os.write

    def part_then_full(fd: int, data: memoryview) -> int:
        if len(data) < 900:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:500])

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "failing")

    monkeypatch.setattr(os, step, part_then_full if step == "write" else failing)
    with pytest.raises(OSError, match="f"):
        write_atomically(path, b"n" * 1000, 0o640)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


# --- a stop after every step -----------------------------------------------------------------------------------------


class Origin(ThreadingHTTPServer):
    """Serves one body, with parts and an ETag, and counts the body bytes that it was asked for."""

    body = b""
    asked = 0
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The client went away, as it was meant to."""


class Handler(BaseHTTPRequestHandler):
    server: Origin
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        body, first = self.server.body, 0
        etag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", etag) == etag:
            first = int(wanted[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.server.asked += len(body) - first
        self.wfile.write(body[first:])


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


OLD, NEW = (gzip.compress(hashlib.shake_128(seed).digest(200_000), 0) for seed in (b"old", b"new"))
STEPS = ("proven", "settled", "recorded", "renamed", "entered", "locked", "forgotten")
STOPPED = 99
SCRIPT = Path(__file__).with_name("stop_at.py")


class Runner:
    """Runs `ckptd` as a plain user, if need be only up to a step (see stop_at.py)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, root: Path, command: str, *, stop: str = "nowhere") -> tuple[int, dict[str, Any]]:
        """Its exit status, and what it says of the checkpoint."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = root / "stdout.json"
        job = [stop, str(output), [command, "model", "--json", "--manifest", str(root / "manifest.toml")]]
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        said: dict[str, Any] = {} if status == STOPPED else json.loads(output.read_text())["checkpoints"][0]
        return status, said


@pytest.fixture(scope="module")
def ckptd() -> Iterator[Runner]:
    command = [sys.executable, str(SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Runner(process)


def begin(root: Path, origin: Origin, body: bytes) -> Path:
    origin.body = body
    url = f"http://127.0.0.1:{origin.server_port}/model.tar.gz"
    (root / "manifest.toml").write_text(f'[[checkpoint]]\nname = "model"\nurl = "{url}"\n')
    return root / "checkpoints/model/model.tar.gz"


def locked(root: Path) -> str | None:
    path = root / "manifest.lock"
    if not path.exists():
        return None
    sha256 = tomllib.loads(path.read_text())["checkpoint"][0]["sha256"]
    assert isinstance(sha256, str)
    return sha256


@pytest.mark.parametrize("step", STEPS)
def test_stopped_after_any_step_the_next_sync_finishes_it(
    tmp_path: Path, origin: Origin, ckptd: Runner, step: str
) -> None:
    final = begin(tmp_path, origin, OLD)
    status, _ = ckptd(tmp_path, "sync", stop=step)
    assert status == STOPPED
    if final.exists():
        assert final.read_bytes() == OLD
    if locked(tmp_path) is not None:
        assert final.exists(), "the lock names only what is durable under its final name"
    origin.asked = 0
    status, said = ckptd(tmp_path, "sync")
    assert (status, said["error"]) == (0, None)
    assert origin.asked == 0, "nothing was downloaded twice"
    assert final.read_bytes() == OLD
    assert mode(final) == 0o444
    assert locked(tmp_path) == hashlib.sha256(OLD).hexdigest()
    assert said["bytes_fetched"] == 0
    assert not list((tmp_path / "checkpoints/.ckptd/partials").iterdir())


@pytest.mark.parametrize("step", ["settled", "recorded", "renamed", "entered", "locked"])
def test_an_update_stopped_after_any_step_leaves_a_good_store(
    tmp_path: Path, origin: Origin, ckptd: Runner, step: str
) -> None:
    """Old file and old lock, or new file and new lock after the next sync; never one of each."""
    final = begin(tmp_path, origin, OLD)
    assert ckptd(tmp_path, "sync")[0] == 0
    begin(tmp_path, origin, NEW + b"\0")
    assert ckptd(tmp_path, "update", stop=step)[0] == STOPPED
    status, said = ckptd(tmp_path, "sync")
    assert (status, said["error"]) == (0, None)
    assert locked(tmp_path) == hashlib.sha256(final.read_bytes()).hexdigest()


async def test_a_house_has_its_folders(tmp_path: Path) -> None:
    """The harness of this folder and `begin` mean the same layout."""
    async with House(tmp_path) as house:
        assert house.places.final(CHECKPOINT) == tmp_path / "store/model/model.tar.gz"
        assert URL.endswith("/model.tar.gz")

"""Damaged bytes and their report, on disk: copied or moved whole, durable before they are shown, a stop at any step.

Run as a program, with a folder, it is stopped before every call that changes something: see `stop_everywhere`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.core.models import Damage, Holder, Usage
from ckptd.core.quarantine import Action, Entry, Kept, Report, entry_name
from ckptd.errors import StorageError
from ckptd.store import quarantine
from ckptd.store.places import Places
from ckptd.store.quarantine import (
    BLOCK,
    CHUNK,
    PATIENCE,
    amend,
    enforce,
    keep,
    listed,
    move_in,
    read_report,
    remove,
    sweep,
)

NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC
SHA256 = "deadbeef" + 56 * "0"
NAME = "20260101T120000Z-model-deadbeef"
BODY = bytes(range(251)) * (2 * CHUNK // 251 + 1) + b"a tail of odd length"
REPORT = Report(
    name="model",
    file="model/model.bin",
    expected_size=len(BODY),
    expected_sha256=SHA256,
    expected_pieces=None,
    actual_size=len(BODY),
    actual_sha256=64 * "1",
    damage=(Damage(5000, 10, "changed"),),
    cause="flipped bit",
    summary="One bit is not what it was.",
    found_at=NOON,
    last_good=None,
    action=Action.KEPT,
    usage=Usage((Holder(1, "ada", "train", NOON, "open"),)),
)


def places_in(root: Path, group: int | None = None) -> Places:
    places = Places(root / "store", root / "store/.ckptd", root / "manifest.lock", group)
    places.state.mkdir(parents=True)
    return places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def stored(places: Places, body: bytes = BODY) -> Path:
    """A damaged file in its place."""
    path = places.store / "model/model.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    path.chmod(0o444)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def hidden(places: Places) -> list[str]:
    folder = places.state / "quarantine"
    return [name for name in os.listdir(folder) if name.startswith(".")] if folder.exists() else []


def bytes_of(entry: Path) -> dict[int, bytes]:
    """What its report says is there, by offset; and nothing else is."""
    content = json.loads((entry / "report.json").read_text())
    assert {path.name for path in entry.iterdir()} == {"report.json", *(each["file"] for each in content["kept"])}
    found = {each["offset"]: (entry / each["file"]).read_bytes() for each in content["kept"]}
    assert all(len(found[each["offset"]]) == each["length"] for each in content["kept"])
    return found


# --- copies ----------------------------------------------------------------------------------------------------------

WHOLE = len(BODY)


@pytest.mark.parametrize(
    ("stretches", "kept"),
    [
        ([], []),
        ([(0, WHOLE)], [(0, WHOLE)]),
        ([(5000, 10)], [(5000, 10)]),
        ([(0, 1)], [(0, 1)]),
        ([(BLOCK, BLOCK)], [(BLOCK, BLOCK)]),
        ([(BLOCK - 1, 2)], [(BLOCK - 1, 2)]),
        ([(10, 20), (100, 20)], [(10, 20), (100, 20)]),  # in one block
        ([(CHUNK - 7, CHUNK)], [(CHUNK - 7, CHUNK)]),
        ([(100, 20), (10, 20), (25, 80)], [(10, 110)]),  # in any order, overlapping
        ([(WHOLE - 5, 5)], [(WHOLE - 5, 5)]),
        ([(WHOLE - 5, 500)], [(WHOLE - 5, 5)]),  # past the end there is nothing
        ([(WHOLE, 5), (WHOLE + 10 * CHUNK, 7)], []),
        ([(5, 0)], []),
    ],
)
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_the_damaged_stretches_are_kept(
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    stretches: list[tuple[int, int]],
    kept: list[tuple[int, int]],
    direct: bool,
) -> None:
    source = stored(places)
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT")
        monkeypatch.setattr(os, "O_DIRECT", 0, raising=False)
    entry = keep(places, REPORT, source, stretches)
    assert entry == places.state / "quarantine" / NAME
    assert bytes_of(entry) == {offset: BODY[offset : offset + length] for offset, length in kept}
    assert read_report(places, NAME) == replace(
        REPORT, kept=tuple(Kept(f"{offset}-{length}.bin", offset, length) for offset, length in kept)
    )
    assert source.read_bytes() == BODY
    assert not hidden(places)


def test_every_entry_has_a_name_of_its_own(places: Places) -> None:
    source = stored(places)
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(keep(places, REPORT, source, [(0, 10)]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in made) == [NAME, *(f"{NAME}-{number}" for number in range(2, 9))]
    assert [entry.name for entry in listed(places)] == sorted(path.name for path in made)


def another_group() -> int:
    """A group that is not what new files get by themselves."""
    if os.geteuid() == 0:
        return 54321
    others = [gid for gid in os.getgroups() if gid != os.getegid()]
    if not others:
        pytest.skip("this user has no second group")
    return others[0]


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o077, 0o000])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("how", ["keep", "move_in"])
def test_modes(tmp_path: Path, mask: int, shared: bool, how: str) -> None:
    """Everybody may know; nobody reads damaged bytes by accident."""
    group = another_group() if shared else None
    places = places_in(tmp_path, group)
    with umask(mask):
        source = stored(places)
        entry = keep(places, REPORT, source, [(0, 9)]) if how == "keep" else move_in(places, REPORT, source)
    (data,) = entry.glob("*.bin")
    for folder in (entry, entry.parent):
        assert mode(folder) == (0o2755 if shared else 0o755)
    assert mode(entry / "report.json") == 0o444
    assert mode(data) == (0o440 if shared else 0o400)
    if group is not None:
        for path in (entry, entry.parent, entry / "report.json", data):
            assert path.stat().st_gid == group


@contextmanager
def rotten(monkeypatch: pytest.MonkeyPatch, *bad: tuple[int, int]) -> Iterator[list[int]]:
    """Reads that touch these ranges fail; where they began is noted."""
    real, failed = os.preadv, list[int]()

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        if any(offset < last and first < offset + len(buffers[0]) for first, last in bad):
            failed.append(offset)
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, buffers, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", failing)
        yield failed


def test_what_cannot_be_read_is_left_out(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stored(places)
    with rotten(monkeypatch, (3 * BLOCK + 5, 3 * BLOCK + 6), (CHUNK + BLOCK, CHUNK + 3 * BLOCK)):
        entry = keep(places, REPORT, source, [(100, CHUNK + 4 * BLOCK)])
    last = 100 + CHUNK + 4 * BLOCK
    assert bytes_of(entry) == {
        100: BODY[100 : 3 * BLOCK],
        4 * BLOCK: BODY[4 * BLOCK : CHUNK + BLOCK],
        CHUNK + 3 * BLOCK: BODY[CHUNK + 3 * BLOCK : last],
    }


def test_a_dying_disk_is_left_alone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stored(places)
    with rotten(monkeypatch, (BLOCK, CHUNK), (CHUNK, 2 * CHUNK)) as failed:
        entry = keep(places, REPORT, source, [(0, WHOLE)])
    assert bytes_of(entry) == {0: BODY[:BLOCK]}
    assert len(failed) == PATIENCE + 1  # and the chunk that they are in


def test_a_short_read_before_what_cannot_be_read(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does it: first what came before the bad sector."""
    source, real = stored(places), os.preadv
    bad = 2 * BLOCK + 512

    def short(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= bad < offset + len(buffers[0]):
            if offset == bad:
                raise OSError(errno.EIO, "Input/output error")
            return min(bad - offset, real(fd, buffers, offset))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", short)
    entry = keep(places, REPORT, source, [(0, 5 * BLOCK)])
    assert bytes_of(entry) == {0: BODY[: 2 * BLOCK], 3 * BLOCK: BODY[3 * BLOCK : 5 * BLOCK]}


@pytest.mark.parametrize("how", ["link", "gone", "folder", "fifo"])
def test_what_is_no_file_is_not_copied(places: Places, how: str) -> None:
    source = stored(places)
    victim = source.rename(source.with_name("victim"))
    if how == "link":
        source.symlink_to(victim)
    elif how == "folder":
        source.mkdir()
    elif how == "fifo":
        os.mkfifo(source)
    with pytest.raises(StorageError, match=r"model\.bin"):
        keep(places, REPORT, source, [(0, 9)])
    assert not listed(places)
    assert not hidden(places)
    keep(places, REPORT, source, [])  # there is something to say all the same
    assert len(listed(places)) == 1


# --- whole files -----------------------------------------------------------------------------------------------------


def test_a_held_file_is_here_and_not_there(places: Places) -> None:
    source = stored(places)
    before = source.stat()
    with source.open("rb") as reader:
        entry = move_in(places, replace(REPORT, action=Action.HELD), source)
        assert reader.read() == BODY  # whoever has it open keeps it
    assert not source.exists()
    assert list(source.parent.iterdir()) == []
    (data,) = entry.glob("*.bin")
    assert (data.stat().st_ino, data.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert bytes_of(entry) == {0: BODY}
    assert read_report(places, entry.name) == replace(
        REPORT, action=Action.HELD, kept=(Kept(f"0-{len(BODY)}.bin", 0, len(BODY)),)
    )
    assert not hidden(places)


def test_a_held_file_may_be_called_like_a_report(places: Places) -> None:
    source = stored(places)
    source = source.rename(source.with_name("report.json"))
    entry = move_in(places, REPORT, source)
    assert bytes_of(entry) == {0: BODY}


@pytest.mark.parametrize("what", ["link", "dangling link", "fifo"])
def test_what_took_the_files_place_is_taken_away(places: Places, what: str) -> None:
    source = stored(places)
    victim = source.rename(places.store / "victim")
    if what == "fifo":
        os.mkfifo(source)
    else:
        source.symlink_to(victim if what == "link" else places.store / "nowhere")
    entry = move_in(places, REPORT, source)
    assert not os.path.lexists(source)
    assert {path.name for path in entry.iterdir()} == {"report.json", "replaced"}
    assert (entry / "replaced").is_symlink() == (what != "fifo")
    report = read_report(places, entry.name)
    assert report is not None
    assert report.kept == ()
    assert victim.read_bytes() == BODY
    assert mode(victim) == 0o444
    remove(places, [entry.name])
    assert victim.read_bytes() == BODY


@pytest.mark.parametrize("what", ["folder", "gone", "link to its folder"])
def test_what_is_not_taken_away(places: Places, what: str) -> None:
    source = stored(places)
    if what == "link to its folder":
        source.parent.rename(places.store / "elsewhere")
        source.parent.symlink_to("elsewhere")
    else:
        source.unlink()
        if what == "folder":
            source.mkdir()
    with pytest.raises(StorageError, match=r"cannot move .*model\.bin into quarantine"):
        move_in(places, REPORT, source)
    assert source.exists() == (what != "gone")
    assert not listed(places)
    assert not hidden(places)


def test_a_rename_that_was_done_and_reported_as_failed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network filesystem may lose the answer: the only copy is not thrown away with the failed entry."""
    source, real = stored(places), os.rename

    def losing(old: str | Path, new: str | Path, **more: int) -> None:
        real(old, new, **more)
        if more:
            raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "rename", losing)
    with pytest.raises(StorageError):
        move_in(places, REPORT, source)
    monkeypatch.undo()
    assert not source.exists()
    sweep(places)
    assert bytes_of(places.state / "quarantine" / NAME) == {0: BODY}


def test_said_otherwise_later(places: Places) -> None:
    entry = keep(places, REPORT, stored(places), [(0, 9)])
    before = read_report(places, NAME)
    assert before is not None
    amend(places, NAME, Action.REPAIRED)
    assert read_report(places, NAME) == replace(before, action=Action.REPAIRED)
    assert mode(entry / "report.json") == 0o444
    (entry / "report.json").unlink()
    with pytest.raises(StorageError, match="cannot be read as a report"):
        amend(places, NAME, Action.KEPT)


# --- listing, removing -----------------------------------------------------------------------------------------------


def entries_of(places: Places, *days: int, count: int = 100) -> list[str]:
    source = stored(places)
    return [keep(places, replace(REPORT, found_at=NOON + 86400 * day), source, [(0, count)]).name for day in days]


def test_what_is_listed(places: Places) -> None:
    assert listed(places) == ()
    names = entries_of(places, 3, 1, 2)
    found = listed(places)
    assert [entry.name for entry in found] == [names[1], names[2], names[0]]
    assert [entry.at for entry in found] == [NOON + 86400 * day for day in (1, 2, 3)]
    for entry in found:
        folder = places.state / "quarantine" / entry.name
        assert entry.bytes == 100 + (folder / "report.json").stat().st_size


def test_garbage_is_passed_over(places: Places) -> None:
    (name,) = entries_of(places, 0)
    folder = places.state / "quarantine"
    (folder / "lost+found").mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / entry_name(NOON, "file", SHA256)).write_text("a file where a folder should be")
    (folder / entry_name(NOON, "link", SHA256)).symlink_to(folder / name)
    (folder / ".keep-0000").mkdir()
    (folder / ".hold-12345678-garbage").mkdir()
    bare = entry_name(NOON + 1, "bare", SHA256)
    (folder / bare).mkdir()
    torn = entry_name(NOON + 2, "torn", SHA256)
    (folder / torn).mkdir()
    (folder / torn / "report.json").write_bytes(b'{"schema": 1, \xff')
    assert [entry.name for entry in listed(places)] == [name, bare, torn]
    assert listed(places)[1] == Entry(bare, 0, NOON + 1)
    assert read_report(places, bare) is None
    assert read_report(places, torn) is None
    assert read_report(places, f"../quarantine/{name}") is None
    sweep(places)
    assert {"lost+found", "notes.txt", ".keep-0000", ".hold-12345678-garbage"} <= set(os.listdir(folder))


def test_removed(places: Places) -> None:
    first, second = entries_of(places, 0, 1)
    remove(places, [first, first, entry_name(NOON, "gone", SHA256)])
    assert [entry.name for entry in listed(places)] == [second]
    assert not hidden(places)


@pytest.mark.parametrize("name", ["", ".", "..", "../../model", "/etc", "lost+found"])
def test_nothing_else_is_removed(places: Places, name: str) -> None:
    source = stored(places)
    keep(places, REPORT, source, [(0, 9)])
    with pytest.raises(StorageError, match="is no entry of the quarantine"):
        remove(places, [name])
    assert source.exists()
    assert len(listed(places)) == 1


def test_within_cap_and_age(places: Places) -> None:
    names = entries_of(places, 0, 1, 2, 3, count=50_000)
    one = listed(places)[0].bytes
    assert enforce(places, cap=4 * one, max_age=9 * 86400, now=NOON) == ()
    assert enforce(places, cap=3 * one, max_age=9 * 86400, now=NOON) == (names[0],)
    assert enforce(places, cap=3 * one, max_age=86400, now=NOON + 3 * 86400) == (names[1],)
    assert [entry.name for entry in listed(places)] == names[2:]


def test_a_quarantine_that_is_a_link_is_not_used(places: Places) -> None:
    elsewhere = places.store / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / NAME).mkdir()
    (places.state / "quarantine").symlink_to(elsewhere)
    source = stored(places)
    for work in (
        lambda: keep(places, REPORT, source, [(0, 9)]),
        lambda: move_in(places, REPORT, source),
        lambda: listed(places),
        lambda: remove(places, [NAME]),
        lambda: amend(places, NAME, Action.KEPT),
    ):
        with pytest.raises(StorageError, match="not a folder of ours"):
            work()
    assert read_report(places, NAME) is None
    sweep(places)
    assert os.listdir(elsewhere) == [NAME]
    assert source.exists()


# --- bad days --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 8 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "ckptd-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, BLOCK, 3 * BLOCK, CHUNK, 2 * CHUNK])
def test_a_full_disk(tiny_disk: Path, room: int) -> None:
    places = places_in(tiny_disk)
    source = stored(places)
    (places.state / "quarantine").mkdir()
    usage = os.statvfs(tiny_disk)
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(usage.f_bavail * usage.f_frsize - room))
    with pytest.raises(StorageError, match="No space") as caught:
        keep(places, REPORT, source, [(0, len(BODY))])
    assert "free some space" in caught.value.hint
    assert os.listdir(places.state / "quarantine") == []
    assert source.read_bytes() == BODY
    assert mode(source) == 0o444
    if room == 0:
        with pytest.raises(StorageError, match="No space"):
            move_in(places, REPORT, source)
        assert os.listdir(places.state / "quarantine") == []
        assert source.read_bytes() == BODY
    ballast.unlink()
    assert bytes_of(keep(places, REPORT, source, [(0, 9)])) == {0: BODY[:9]}


@pytest.mark.parametrize("step", ["mkdir", "fchmod", "fsync", "rename", "pwrite"])
@pytest.mark.parametrize("how", ["keep", "hold"])
def test_a_step_that_fails(places: Places, monkeypatch: pytest.MonkeyPatch, step: str, how: str) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    source = stored(places)
    (places.state / "quarantine").mkdir()
    if (step, how) == ("pwrite", "hold"):
        step = "write"
    monkeypatch.setattr(os, step, failing)
    with pytest.raises(StorageError, match="Read-only"):
        WORK[how](places, source)
    monkeypatch.undo()
    assert os.listdir(places.state / "quarantine") == []
    assert source.read_bytes() == BODY
    assert mode(source) == 0o444


def test_durable_before_it_is_shown(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and report before the entry's name; the report before a file leaves its place."""
    done: list[tuple[str, int]] = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(fd: int) -> None:
        fsync(fd)
        done.append(("fsync", os.fstat(fd).st_ino))

    def noting_rename(old: str | Path, new: str | Path, **more: int) -> None:
        done.append(("rename", os.stat(old, dir_fd=more.get("src_dir_fd")).st_ino))
        rename(old, new, **more)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    source = stored(places)
    entry = keep(places, REPORT, source, [(0, 9)])
    folder = entry.parent.stat().st_ino

    def number(path: Path) -> int:
        return path.stat().st_ino

    shown = done.index(("rename", number(entry)))
    assert {("fsync", number(path)) for path in (entry, *entry.iterdir())} <= set(done[:shown])
    assert done[shown - 1] == ("fsync", number(entry))
    assert ("fsync", folder) in done[shown:]

    done.clear()
    held, place = number(source), number(source.parent)
    entry = move_in(places, REPORT, source)
    moved, shown = done.index(("rename", held)), done.index(("rename", number(entry)))
    assert moved < shown
    assert {("fsync", number(path)) for path in (entry, entry / "report.json")} <= set(done[:moved])
    assert ("fsync", folder) in done[:moved]  # the hidden folder has a name before it has the file
    assert {("fsync", number(entry)), ("fsync", place)} <= set(done[moved:shown])
    assert ("fsync", folder) in done[shown:]


# --- a stop at every step --------------------------------------------------------------------------------------------

CHANGING = ("mkdir", "rename", "fsync", "write", "pwrite", "fchmod", "chmod", "unlink", "rmdir")
STOPPED = 99
WORK: dict[str, Callable[[Places, Path], object]] = {
    "keep": lambda places, source: keep(places, REPORT, source, [(0, 9), (5000, CHUNK)]),
    "hold": lambda places, source: move_in(places, REPORT, source),
    "remove": lambda places, source: remove(places, [NAME]),
}


def prepared(places: Places, how: str) -> Path:
    source = stored(places)
    if how == "remove":
        keep(places, REPORT, source, [(0, 9)])
    return source


def arm(left: int) -> None:
    """Stop dead, as SIGKILL would, right before the call with this number, counted from zero."""

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **more: object) -> object:
            nonlocal left
            if left == 0:
                os._exit(STOPPED)
            left -= 1
            return function(*args, **more)

        return wrapper

    for name in CHANGING:
        setattr(os, name, counting(getattr(os, name)))


def stop_everywhere(root: Path) -> None:
    """Do each of WORK again and again, each time in a process of its own that is stopped one step later."""
    for how, work in WORK.items():
        for step in range(200):
            places = places_in(root / how / str(step))
            source = prepared(places, how)
            child = os.fork()
            if not child:
                arm(step)
                work(places, source)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != STOPPED:
                assert status == 0, f"{how} ended with {status}"
                break


def test_stopped_at_any_step(tmp_path: Path) -> None:
    subprocess.run([sys.executable, __file__, str(tmp_path)], check=True, timeout=60)
    for how in WORK:
        steps = sorted((tmp_path / how).iterdir(), key=lambda path: int(path.name))
        assert len(steps) > (4 if how == "remove" else 10)
        for root in steps:
            check(root, how, finished=root is steps[-1])


def check(root: Path, how: str, *, finished: bool) -> None:
    places = Places(root / "store", root / "store/.ckptd", root / "manifest.lock")
    source, folder = places.store / "model/model.bin", places.state / "quarantine"
    there = source.exists()
    if there:
        assert source.read_bytes() == BODY
        assert mode(source) == 0o444
    assert there or how == "hold"
    before = [entry.name for entry in listed(places)]
    for name in before:
        assert bytes_of(folder / name), "what has a name is whole"
    if finished:
        assert before == ([] if how == "remove" else [NAME])
        assert not hidden(places)
    if before and how == "hold":
        assert not there
    sweep(places)
    assert not hidden(places)
    after = [entry.name for entry in listed(places)]
    if how == "hold":
        assert after == ([] if there else [NAME])
        if not there:
            assert bytes_of(folder / NAME) == {0: BODY}
            assert mode(folder / NAME / f"0-{len(BODY)}.bin") == 0o400
            assert read_report(places, NAME) is not None
    else:
        assert after == before
    sweep(places)
    assert [entry.name for entry in listed(places)] == after


def test_swept_beside_an_entry_of_that_name(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stored(places)
    monkeypatch.setattr(quarantine, "_finish", lambda *_: os.abort)  # as if it had ended there
    move_in(places, REPORT, source)
    monkeypatch.undo()
    assert listed(places) == ()
    keep(places, REPORT, stored(places), [(0, 9)])
    sweep(places)
    assert [entry.name for entry in listed(places)] == [NAME, f"{NAME}-2"]
    assert bytes_of(places.state / "quarantine" / f"{NAME}-2") == {0: BODY}


if __name__ == "__main__":
    stop_everywhere(Path(sys.argv[1]))

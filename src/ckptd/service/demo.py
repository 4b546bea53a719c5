"""`ckptd demo`: the whole story on this machine, with the real program, and a self-test at that.

Five archives on a loopback origin are fetched, through a kill in the middle; the origin changes one and is refused; a
bit is flipped on disk, found and mended. Every step says what it promises and checks it, against the origin's books and
the files themselves rather than against what the program says. Exit status 0 only when all of it held. Nothing leaves
127.0.0.1, and nothing stays behind unless it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ckptd.core.models import LockEntry
from ckptd.core.units import format_size
from ckptd.errors import CkptdError
from ckptd.service.demo_archives import ARCHIVES, CUT, LARGEST, REPLACED, SMALLEST, Archive, build, manifest_text
from ckptd.service.demo_origin import Origin
from ckptd.service.demo_stage import Stage, Stopped, Unexpected, stoppable
from ckptd.store import lockfile
from ckptd.store.places import storage_error

RATE, QUICKER = 10_000_000, 30_000_000  # bytes a second: for the acts to watch, and for those that only wait
KILL_AT = 0.4  # of all bytes
CUT_AFTER = 1_000_000  # bytes of a body
ENTRY_LINES = 11  # of an entry with two witnesses in the lock; the last is that of REPLACED
FLIPPED = 20_000_000  # offset of the byte in LARGEST that rots: in its second piece


def show_all(*, keep: bool) -> int:
    """Tell the story on stdout; its exit status. `keep`: leave the folder behind. Raises StorageError."""
    begun = time.monotonic()
    with stoppable() as ignore_signals:
        try:
            folder = Path(tempfile.mkdtemp(prefix="ckptd-demo-"))
        except OSError as error:
            raise storage_error(error, "cannot make a temporary folder") from error
        stage = Stage(sys.stdout, folder)
        try:
            with Origin(folder / "origin", RATE) as origin:
                status = _tell(Demo(stage, origin, folder))
                if status == 0:
                    _conclude(stage, time.monotonic() - begun)
                if keep:
                    _invite(stage, folder, origin.port)
        except Stopped as stopped:
            ignore_signals()
            stage.close()
            with suppress(OSError):  # the terminal may be what went away
                stage.failed(f"stopped; {folder} is kept" if keep else "stopped; nothing is left behind")
            return stopped.exit_status
        except BrokenPipeError:
            raise  # whoever read our story has gone: not the disk's fault
        except OSError as error:
            raise storage_error(error, str(folder)) from error
        else:
            return status
        finally:
            ignore_signals()
            stage.close()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _tell(demo: Demo) -> int:
    try:
        demo.prepare()
        for number, act in enumerate(demo.acts, 1):
            act(f"{number}. ")
    except (Unexpected, CkptdError) as error:
        demo.stage.failed(f"The demo did not go as promised: {error}")
        demo.stage.say("If this machine is not out of disk or badly overloaded, please report it.")
        return 1
    return 0


def _conclude(stage: Stage, seconds: float) -> None:
    stage.headline(f"All {stage.promises} promises were kept, in {seconds:.0f} s.")


def _invite(stage: Stage, folder: Path, port: int) -> None:
    program = "ckptd" if shutil.which("ckptd") else f"{sys.executable} -m ckptd"
    quoted = shlex.quote(str(folder))
    stage.headline("The folder is kept. Look around in it:")
    stage.suggest(f"cd {quoted}", f"{program} status", f"{program} verify --sha256", "cat manifest.toml manifest.lock")
    stage.say("Its origin has gone with the demo; this brings back a simpler one, for `sync` and `update`:")
    stage.suggest(f"python3 -m http.server --bind 127.0.0.1 --directory origin {port}")
    stage.say("And when you have seen enough:")
    stage.suggest(f"rm -r {quoted}")


class Demo:
    """The acts, in their order; each stands on the one before."""

    def __init__(self, stage: Stage, origin: Origin, folder: Path) -> None:
        self.stage = stage
        self.acts: tuple[Callable[[str], None], ...] = (
            self._killed,
            self._resumed,
            self._nothing_to_do,
            self._drift,
            self._accepted,
            self._flipped,
            self._mended,
        )
        self._origin = origin
        self._folder = folder
        self._served: dict[str, str] = {}  # SHA-256 by name, as the origin has it
        self._total = 0

    def prepare(self) -> None:
        """Make the archives, serve them, write the manifest."""
        (self._folder / "origin").mkdir()
        for archive in ARCHIVES:
            self._put(archive)
        (self._folder / "manifest.toml").write_text(manifest_text(self._origin.url), encoding="utf-8")
        self.stage.headline("ckptd, the whole story, on this machine alone")
        self.stage.say(
            f"{len(ARCHIVES)} archives, {format_size(self._total)}, shaped like DeepLab2's backbones (TensorFlow "
            f"checkpoints), served on 127.0.0.1:{self._origin.port} by an origin that is slow and cuts connections. "
            f"The folder is {self._folder}. What follows is the real program."
        )

    # --- the acts ------------------------------------------------------------------------------------------------

    def _killed(self, number: str) -> None:
        self.stage.headline(f"{number}Fetch everything, and be killed in the middle")
        self.stage.say("manifest.toml names what should be here. Nothing is here yet.")
        self._origin.forget()
        self._origin.cut_next(CUT, CUT_AFTER)
        smallest = self._file(SMALLEST)

        def moment() -> bool:
            enough = self._origin.sent >= KILL_AT * self._total
            return enough and self._origin.cuts_made == 1 and smallest.exists()

        self.stage.run_until(moment, "sync")
        visible = self._visible()
        self.stage.promise(
            f"{format_size(self._origin.sent)} had been sent. Users of the store see {len(visible)} of {len(ARCHIVES)} "
            "archives: what is under its final name is whole.",
            kept=0 < len(visible) < len(ARCHIVES) and all(map(self._as_served, visible)),
        )

    def _resumed(self, number: str) -> None:
        self.stage.headline(f"{number}Say the same again: it goes on from there")
        self.stage.run("status")
        came = self._origin.sent
        self._origin.forget()
        self._origin.cut_next(LARGEST, CUT_AFTER)  # which cannot be complete: it is more than had been sent
        self.stage.run("sync")
        sent = self._origin.sent
        self.stage.promise(
            f"{format_size(self._total - sent)} of {format_size(self._total)} were kept from before the kill, "
            f"{format_size(sent)} were fetched now, although the origin cut a connection each time.",
            kept=self._total - sent > came // 4 and self._origin.cuts_made == 2,
        )
        self._promise_all("All five are whole, the same as at the origin, and locked.")
        self._show_lock()

    def _show_lock(self) -> None:
        self.stage.command(f"tail -n {ENTRY_LINES} manifest.lock")
        self.stage.show(self._lock_bytes().decode("utf-8").splitlines()[-ENTRY_LINES:])
        self.stage.promise(
            "The lock says what was proven and who vouches for it: keep it in version control.",
            kept=set(self._lock()) == set(self._served),
        )

    def _nothing_to_do(self, number: str) -> None:
        self.stage.headline(f"{number}Once more: nothing to do")
        lock = self._lock_bytes()
        self._origin.forget()
        self._origin.rate = QUICKER
        self.stage.run("sync")
        self.stage.promise(
            "The origin was not even asked, and the lock is the same to the byte.",
            kept=self._origin.requests == 0 and self._lock_bytes() == lock,
        )

    def _drift(self, number: str) -> None:
        self.stage.headline(f"{number}The origin replaces an archive, and here it is lost")
        self.stage.say(
            f"Somebody uploads another {REPLACED.file_name} under the old URL, of the same size. "
            "Our copy is deleted, so that it has to be fetched again."
        )
        lock, file = self._lock_bytes(), self._file(REPLACED)
        self._put(REPLACED, version=2)
        self.stage.command(f"rm {file.relative_to(self._folder)}")
        file.unlink()
        self.stage.run("sync", expect=4)
        self.stage.promise(
            "Not what was locked, twice the same: refused. The old lock stands, and nothing was published.",
            kept=self._lock_bytes() == lock and file not in self._visible(),
        )

    def _accepted(self, number: str) -> None:
        self.stage.headline(f"{number}Accept the new one, by name")
        before = self._lock()
        self.stage.run("update", REPLACED.name)
        after = self._lock()
        old, new = (lock.pop(REPLACED.name).sha256 for lock in (before, after))
        self.stage.promise(
            f"Its sha256 went from {old[:12]}... to {new[:12]}...; the other entries are as they were.",
            kept=old != new and before == after,
        )
        self._promise_all("What is there is what the origin has now.")

    def _flipped(self, number: str) -> None:
        self.stage.headline(f"{number}One bit rots on disk")
        file = self._file(LARGEST)
        self.stage.say(f"One bit of byte {FLIPPED} of {LARGEST.file_name} is flipped. Size and date stay as they were.")
        flip(file, FLIPPED)
        self.stage.run("verify", expect=3)
        blamed = [each for each in self.stage.ask("verify")["checkpoints"] if each["state"] != "intact"]
        stretches = [(each["name"], part["offset"], part["length"]) for each in blamed for part in each["damage"]]
        self.stage.promise(
            "Found, with the stretch of the file that it is in. Nothing else is blamed.",
            kept=len(blamed) == len(stretches) == 1 and _covers(stretches[0], LARGEST, FLIPPED),
        )

    def _mended(self, number: str) -> None:
        self.stage.headline(f"{number}Mend it")
        lock = self._lock_bytes()
        self._origin.forget()
        self.stage.run("verify", "--repair")
        self.stage.promise(
            "The bit was turned back and the whole proven by its SHA-256. Nothing was fetched.",
            kept=self._lock_bytes() == lock and self._origin.requests == 0,
        )
        self.stage.run("verify")
        self._promise_all("All five are intact.")

    # --- what is there -------------------------------------------------------------------------------------------

    def _put(self, archive: Archive, version: int = 1) -> None:
        body = build(archive, version)
        self._total += len(body) if version == 1 else 0
        self._served[archive.name] = hashlib.sha256(body).hexdigest()
        self._origin.put(archive, body)

    def _file(self, archive: Archive) -> Path:
        return self._folder / "checkpoints" / archive.name / archive.file_name

    def _visible(self) -> list[Path]:
        """Every file that a user of the store can see."""
        names = (each for each in (self._folder / "checkpoints").iterdir() if each.name != ".ckptd")
        return sorted(path for each in names for path in each.rglob("*") if not path.is_dir())

    def _promise_all(self, what: str) -> None:
        differences = self._differences()
        self.stage.promise(what, kept=not differences, but=differences)

    def _differences(self) -> str:
        """What differs between store, lock and origin, in words; empty when all have the same."""
        visible, files = self._visible(), sorted(map(self._file, ARCHIVES))
        locked = {name: entry.sha256 for name, entry in self._lock().items()}
        found = [f"{path.name} is not there" for path in files if path not in visible]
        found += [f"{path} is there" for path in visible if path not in files]
        found += [f"{path.name} is not what the origin has" for path in visible if not self._as_served(path)]
        found += [f"{name} is not locked" for name in self._served if name not in locked]
        found += [f"{name} is locked otherwise" for name in locked if locked[name] != self._served.get(name)]
        return ", ".join(found)

    def _as_served(self, file: Path) -> bool:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == self._served.get(file.parent.name)

    def _lock(self) -> dict[str, LockEntry]:
        return dict(lockfile.read(self._folder / "manifest.lock").entries)

    def _lock_bytes(self) -> bytes:
        return (self._folder / "manifest.lock").read_bytes()


def _covers(stretch: tuple[str, int, int], archive: Archive, offset: int) -> bool:
    """Whether a damaged stretch is a part of `archive` with the byte at `offset` in it, and not all of it."""
    name, start, length = stretch
    return name == archive.name and 0 < start <= offset < start + length


def flip(file: Path, offset: int) -> None:
    """Flip one bit in place as a failing disk does: size, mode and modification time stay as they were."""
    before = file.stat()
    file.chmod(stat.S_IMODE(before.st_mode) | stat.S_IWUSR)
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 0b0000_1000]))
    file.chmod(stat.S_IMODE(before.st_mode))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

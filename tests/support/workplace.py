"""A folder with a manifest in which the real `ckptd` is run, and what must hold after every run.

`Workplace.run` starts the program in a clean environment, with a deadline, and then checks what may never be
broken: no traceback, no secret in any output or file, nothing visible but whole and verified bytes, a lock
that parses and names only what is there (invariants I1, I2, I4 of the research on origins).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import tomli
import tomli_w
from origin import Origin, Origins

CKPTD = Path(os.environ.get("CKPTD_PROGRAM") or Path(sys.executable).parent / "ckptd")
TIMEOUT = 60.0  # seconds that any one run may take before the test fails
STATES = {
    "sync": {"present", "fetched", "repaired", "failed"},
    "update": {"present", "fetched", "repaired", "failed"},
    "verify": {"intact", "corrupt", "missing", "unreadable", "unlocked", "repaired"},
}
KINDS = {"network", "origin", "integrity", "policy", "drift", "storage", "config"}
TRUSTS = {"pinned", "witnessed", "first-use"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=8)
def tgz(size: int, seed: int = 0) -> bytes:
    """A real .tar.gz of roughly `size` bytes: the same for the same arguments, as long for another seed.

    Its payload is random, stored rather than deflated, so that making it costs next to nothing.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (
            ("model/checkpoint", b'model_checkpoint_path: "ckpt"\n'),
            ("model/ckpt.data-00000-of-00001", random.Random(seed).randbytes(max(1, size - 10240))),  # noqa: S311
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 0, mtime=0)


def wait_until(condition: Callable[[], object], *, seconds: float = 30, what: str = "") -> None:
    """Poll until `condition` is true; an AssertionError when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.01)


class Run:
    """A finished run of the program."""

    def __init__(self, args: Sequence[str], status: int, out: str, err: str) -> None:
        self.args = list(args)
        self.status = status
        self.out = out
        self.err = err

    @property
    def report(self) -> dict[str, Any]:
        """The `--json` object."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def entry(self, name: str) -> dict[str, Any]:
        """What `--json` says of one checkpoint."""
        found = [one for one in self.report["checkpoints"] if one["name"] == name]
        assert len(found) == 1, f"{name} stands {len(found)} times in {self}"
        entry: dict[str, Any] = found[0]
        return entry

    def kind(self, name: str) -> str | None:
        """`error.kind` of one checkpoint."""
        error = self.entry(name)["error"]
        return None if error is None else str(error["kind"])

    def message(self, name: str) -> str:
        """`error.message` and hint of one checkpoint."""
        error = self.entry(name)["error"]
        assert error is not None, f"{name} has no error in {self}"
        return f"{error['message']} {error['hint'] or ''}"

    def expect(self, *statuses: int) -> Run:
        assert self.status in statuses, f"exit {self.status}, expected {statuses}: {self}"
        return self

    def __str__(self) -> str:
        shown = f"ckptd {' '.join(self.args)}\nexit {self.status}\nstdout: {self.out}\nstderr: {self.err}"
        named = [Path(word) for word in self.err.split() if word.startswith("/") and word.endswith(".txt")]
        return "\n".join([shown, *(path.read_text() for path in named if path.is_file())])


class Running:
    """A run under way, in a process group of its own."""

    def __init__(self, place: Workplace, args: Sequence[str], process: subprocess.Popen[str]) -> None:
        self.place = place
        self.args = args
        self.process = process

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the program, as `kill` and systemd do."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for the program and its children, and the end of the matter."""
        if self.running:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def wait(self, timeout: float = TIMEOUT, *, invariants: bool = True) -> Run:
        """Until it ends by itself; past `timeout` it is killed and the test fails."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate()
            shown = Run(self.args, self.process.returncode, out, err)
            raise AssertionError(f"still running after {timeout:g} s: {shown}") from None
        run = Run(self.args, self.process.returncode, out, err)
        self.place.judge(run, invariants=invariants)
        return run


class Workplace:
    """A manifest, its store, and the program."""

    def __init__(self, root: Path, origins: Sequence[Origin]) -> None:
        self.root = root
        self.origins = origins
        self.home = root / "home"
        (self.home / "tmp").mkdir(parents=True)
        self.manifest = root / "manifest.toml"
        self.lock_path = root / "manifest.lock"
        self.store = root / "checkpoints"
        self.state = self.store / ".ckptd"
        self.secrets: list[str] = []
        self.env: dict[str, str] = {}
        self.auth: dict[str, dict[str, str]] = {}
        self.extra_digests: set[str] = set()  # SHA-256 of what other servers than `origins` serve
        self._running: list[Running] = []

    # ---- the manifest

    def write(self, *entries: Mapping[str, Any], **tables: Mapping[str, Any]) -> None:
        """Write the manifest: `[[checkpoint]]` entries, and tables over defaults that make tests quick."""
        quick = {"retries": 2, "stall_timeout": "1s", "connect_timeout": "2s"}
        document: dict[str, Any] = {name: dict(table) for name, table in tables.items()}
        if self.auth:
            document["auth"] = self.auth
        document["transfer"] = {**quick, **document.get("transfer", {})}
        document["checkpoint"] = [dict(entry) for entry in entries]
        self.manifest.write_text(tomli_w.dumps(document))

    def one(self, url: str, name: str = "a", **keys: Any) -> None:
        """Write a manifest with a single checkpoint."""
        self.write({"name": name, "url": url, **keys})

    # ---- the program

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the program gets to see of its environment: no proxies, no home but ours."""
        return {
            "PATH": f"{CKPTD.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            **self.env,
            **(extra or {}),
        }

    def start(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        umask: int = 0o022,
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Running:
        """Begin a run; `prefix` is a command that runs the program, such as strace."""
        process = subprocess.Popen(
            [*prefix, str(CKPTD), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            cwd=cwd or self.root,
            env=self.environment(env),
            umask=umask,
            start_new_session=True,
        )
        running = Running(self, args, process)
        self._running.append(running)
        return running

    def run(
        self,
        *args: str,
        timeout: float = TIMEOUT,
        env: Mapping[str, str] | None = None,
        umask: int = 0o022,
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
        invariants: bool = True,
    ) -> Run:
        """Run to the end and judge. `invariants=False` where the test itself put something into the store."""
        started = self.start(*args, env=env, umask=umask, prefix=prefix, cwd=cwd)
        return started.wait(timeout, invariants=invariants)

    def sync(self, *args: str, timeout: float = TIMEOUT, invariants: bool = True) -> Run:
        return self.run("sync", "--json", *args, timeout=timeout, invariants=invariants)

    def verify(self, *args: str, invariants: bool = False) -> Run:
        return self.run("verify", "--json", *args, invariants=invariants)

    def finish(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.kill()

    # ---- what is there

    @property
    def lock(self) -> dict[str, dict[str, Any]]:
        """The lock's entries by name; empty when there is no lock."""
        if not self.lock_path.exists():
            return {}
        document = tomli.loads(self.lock_path.read_text())
        assert document["version"] == 1
        entries = {entry["name"]: entry for entry in document.get("checkpoint", [])}
        assert len(entries) == len(document.get("checkpoint", []))
        return entries

    def file(self, name: str) -> Path:
        """The published file of `name`: the one thing in its folder."""
        found = list((self.store / name).iterdir())
        assert len(found) == 1, found
        return found[0]

    def visible(self) -> Iterator[Path]:
        """Everything in the store that users can see, folders included."""
        for folder, folders, files in os.walk(self.store):
            here = Path(folder)
            folders[:] = [name for name in folders if here / name != self.state]
            yield from (here / name for name in [*folders, *files])

    def state_bytes(self) -> int:
        """Bytes really allocated below the state folder."""
        return sum(path.lstat().st_blocks * 512 for path in self.state.rglob("*") if path.is_file())

    # ---- what must hold

    def judge(self, run: Run, *, invariants: bool = True) -> None:
        """What holds of every run, however it ended."""
        assert "Traceback" not in run.err, run
        assert "Traceback" not in run.out, run
        self.check_secrets(run)
        if "--json" in run.args and run.status in range(2):
            self.check_report(run)
        if invariants:
            self.check_invariants()

    def check_report(self, run: Run) -> None:
        """The shape of `--json`."""
        report = run.report
        assert report["schema"] == 1
        assert report["command"] == run.args[0]
        assert report["exit"] == run.status
        for entry in report["checkpoints"]:
            assert {
                "name", "state", "size", "sha256", "trust", "path", "bytes_fetched", "bytes_reused", "error",
            } <= set(entry), entry  # fmt: skip
            if "--dry-run" not in run.args:
                assert entry["state"] in STATES.get(report["command"], {entry["state"]}), entry
            assert entry["trust"] in {None, *TRUSTS}, entry
            if entry["error"] is not None:
                assert {"kind", "message", "hint"} <= set(entry["error"]), entry
                assert entry["error"]["kind"] in KINDS, entry
                assert entry["error"]["message"], entry

    def check_secrets(self, run: Run) -> None:
        """I4: no token, signature or password in output, lock or state."""
        for secret in self.secrets:
            assert secret not in run.out, run
            assert secret not in run.err, run
        if not self.secrets:
            return
        files = [self.lock_path, *self.state.rglob("*"), *self.store.rglob("*"), *self.home.rglob("*")]
        for path in files:
            assert not any(secret in str(path) for secret in self.secrets), path
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                for secret in self.secrets:
                    assert secret.encode() not in data, f"{secret} stands in {path}"

    def check_invariants(self) -> None:
        """I1, I2: only what is whole, read-only and known is visible; the lock names only what is there."""
        known = self.extra_digests.union(*(origin.digests for origin in self.origins))
        digests: dict[str, str] = {}
        for path in self.visible():
            status = path.lstat()
            parts = path.relative_to(self.store).parts
            if stat.S_ISDIR(status.st_mode):
                assert len(parts) == 1, f"a folder where none belongs: {path}"
                continue
            assert stat.S_ISREG(status.st_mode), f"not a file: {path}"
            assert len(parts) == 2, f"a file where none belongs: {path}"
            assert stat.S_IMODE(status.st_mode) == 0o444, f"{oct(status.st_mode)}: {path}"
            digest = sha256(path.read_bytes())
            assert digest in known, f"no origin ever served this: {path}"
            assert parts[0] not in digests, f"two files: {path}"
            digests[parts[0]] = digest
        for name, entry in self.lock.items():
            assert entry["trust"] in TRUSTS
            if name in digests:
                assert entry["sha256"] == digests[name], f"the lock is wrong about {name}"
                assert entry["size"] == self.file(name).stat().st_size

    def assert_good(self, name: str, body: bytes) -> None:
        """`name` is published, whole, read-only, locked."""
        path = self.file(name)
        assert path.read_bytes() == body, f"{path}: other bytes"
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert name in self.lock, f"{name} is published, but not locked"
        entry = self.lock[name]
        assert (entry["sha256"], entry["size"]) == (sha256(body), len(body))

    def assert_same_or_absent(self, name: str, *bodies: bytes) -> None:
        """`name` is one of these bodies, whole, or it is not there at all."""
        if (self.store / name).exists() and list((self.store / name).iterdir()):
            assert self.file(name).read_bytes() in bodies
        else:
            self.assert_absent(name)

    def assert_absent(self, name: str) -> None:
        """`name` is neither published nor locked."""
        assert not [path for path in (self.store / name).rglob("*") if not path.is_dir()]
        assert name not in self.lock


class Batch:
    """The rows of a table in one run, each with an origin of its own: one start of the program for all of them.

    `one bad checkpoint never stops the others` is what makes it possible. Script the origins, call `sync` once,
    then let each test look at its row. A context manager.
    """

    PATH = "/a.tar.gz"

    def __init__(self, root: Path, rows: Iterable[str]) -> None:
        self._maker = Origins()
        self.names = {row: f"row{number:02}" for number, row in enumerate(rows)}
        self.origin = {row: self._maker.new() for row in self.names}
        self.site = Workplace(root, self._maker.made)
        self.result = Run([], -1, "", "")
        self.body = b""  # what the rows are expected to end with, where that is the same for all

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.site.finish()
        self._maker.stop()

    def write(self, keys: Mapping[str, Mapping[str, Any]] | None = None, **tables: Mapping[str, Any]) -> None:
        """Write the manifest: every row's `PATH`; `keys` are more keys of a row's entry."""
        entries = [
            {"name": name, "url": self.origin[row].url(self.PATH), **(keys or {}).get(row, {})}
            for row, name in self.names.items()
        ]
        tables["transfer"] = {"downloads": 32, **tables.get("transfer", {})}
        self.site.write(*entries, **tables)

    def sync(self, keys: Mapping[str, Mapping[str, Any]] | None = None, **tables: Mapping[str, Any]) -> None:
        """Write the manifest and sync every row."""
        self.write(keys, **tables)
        self.result = self.site.sync(timeout=120, invariants=False)

    def entry(self, row: str) -> dict[str, Any]:
        return self.result.entry(self.names[row])

    def kind(self, row: str) -> str | None:
        return self.result.kind(self.names[row])

    def message(self, row: str) -> str:
        return self.result.message(self.names[row])

    def locked(self, row: str) -> dict[str, Any]:
        """The row's entry in the lock."""
        return self.site.lock[self.names[row]]

    def assert_good(self, row: str, body: bytes) -> None:
        """The row ended well and `body` is published."""
        assert self.entry(row)["error"] is None, self.entry(row)
        self.site.assert_good(self.names[row], body)

    def assert_failed(self, row: str, *kinds: str) -> None:
        """The row failed with one of these kinds, and nothing of it is visible or locked."""
        self.site.assert_absent(self.names[row])
        assert self.entry(row)["state"] == "failed", self.entry(row)
        assert self.kind(row) in kinds, self.entry(row)

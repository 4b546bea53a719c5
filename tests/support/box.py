"""A small Debian with a real systemd as process 1, booted in under a second and thrown away: systemd-nspawn.

Every boot begins from the same folder under a fresh overlay in memory, so nothing that a test does in a box is there
in the next. The network is the box's own, with nothing but a loopback: an `Origin` made by `Box.inside` listens there.
Wants root, `systemd-nspawn`, and what `.ci/box` makes. Waits on what systemd says, never on the clock alone.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

import tomli

T = TypeVar("T")

CACHE = Path(os.environ.get("CKPTD_CACHE") or "/var/cache/ckptd-ci")
ROOT = CACHE / "bookworm"
WHEELS = CACHE / "wheels"
_CLONE_NEWNET = 0x40000000
_POWEROFF = signal.SIGRTMIN + 4  # to process 1: systemd(1), SIGNALS
_BOOT_SECONDS = 60.0
_STOP_SECONDS = 20.0

# The control groups are mounted anew in a mount namespace of our own: the machine's stay as they are. Filters on the
# network and on devices (IPAddressDeny=, DevicePolicy=) are BPF programs, which a container may not load unless told.
_BOOT = """
set -eu
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
exec systemd-nspawn --quiet --boot --register=no --keep-unit --notify-ready=yes --volatile=overlay \
    --machine="$1" --directory="$2" --private-network --system-call-filter=bpf --capability=CAP_BPF \
    --resolv-conf=off --timezone=off --link-journal=no --console=pipe --suppress-sync=yes "${@:3}"
"""


def lacks() -> str:
    """What this machine lacks for boxes, as a sentence; empty when nothing."""
    if os.geteuid() != 0:
        return "a box with systemd can be booted by root only"
    for program in ("systemd-nspawn", "nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed (systemd-container, util-linux)"
    if not (ROOT / "usr/lib/systemd/systemd").exists() or not WHEELS.is_dir():
        return f"{CACHE} has no Debian to boot and no wheels: run .ci/box once"
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        asked = tomli.load(file)
    wanted = [*asked["project"]["dependencies"], *asked["build-system"]["requires"]]
    if (WHEELS / ".made-by").read_text().splitlines() != wanted:
        return f"{WHEELS} are not what pyproject.toml asks for: run .ci/box again"
    return ""


class Box:
    """A booted machine; a context manager. `binds` are folders of ours that it sees, read-only unless `writable`."""

    def __init__(
        self, binds: Mapping[Path, str] | None = None, *, writable: Mapping[Path, str] | None = None, root: Path = ROOT
    ) -> None:
        self.name = f"ckptd-{secrets.token_hex(4)}"
        self._root = root
        self._options = [f"--bind-ro={ours}:{theirs}" for ours, theirs in (binds or {}).items()]
        self._options += [f"--bind={ours}:{theirs}" for ours, theirs in (writable or {}).items()]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    # ---- life

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="ckptd-box-"))
        try:
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _boot(self) -> None:
        console = self._folder / "console"
        arguments = [self.name, str(self._root), *self._options]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, console.open("wb") as out:
            told.bind(str(self._folder / "notify"))
            told.settimeout(0.2)
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", "bash", "-c", _BOOT, "boot", *arguments],
                env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self._folder / "notify")},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ready, deadline = False, time.monotonic() + _BOOT_SECONDS
            while not (ready and self._leader):
                assert self._process.poll() is None, f"it did not boot: {console.read_text(errors='replace')}"
                assert time.monotonic() < deadline, f"it does not boot: {console.read_text(errors='replace')}"
                try:
                    lines = told.recv(65536).decode().splitlines()
                except TimeoutError:
                    continue
                for line in lines:
                    key, _, value = line.partition("=")
                    if key == "X_NSPAWN_LEADER_PID":
                        self._leader = int(value)
                    ready = ready or line == "READY=1"

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._leader or self._process.pid, _POWEROFF if self._leader else signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        for place in ("unified", "."):  # what is left of its control group, with cgroup v1 beside and without
            ours = Path("/sys/fs/cgroup", place, self.name)
            for folder, _, _ in os.walk(ours, topdown=False):
                Path(folder).rmdir()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- reaching in

    def run(
        self, *command: str, user: str | None = None, timeout: float = 60, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box to its end, as root or as `user` with that user's groups."""
        return subprocess.run(
            [*self._enter(user), *command], capture_output=True, text=True, timeout=timeout, input=stdin, check=False
        )

    def _enter(self, user: str | None) -> list[str]:
        """What comes before a command to run it in the box."""
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        other = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        environment = ["PATH=/opt/ckptd/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent"]
        return ["nsenter", f"--target={self._leader}", *namespaces, "--", *other, "env", "-i", *environment]

    def do(self, *command: str, timeout: float = 60, stdin: str = "") -> str:
        """Run a command as root that must succeed; its stdout."""
        done = self.run(*command, timeout=timeout, stdin=stdin)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of the box, to be read from outside. Not for writing: an absolute link would lead into *our* root."""
        return Path(f"/proc/{self._leader}/root") / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Make a file of root's in the box, and the folders to it; a link that stands there is replaced."""
        data = content.encode() if isinstance(content, str) else content
        install = ["install", "-D", f"--mode={mode:o}", "/dev/stdin", path]
        subprocess.run([*self._enter(None), *install], input=data, capture_output=True, timeout=60, check=True)

    def inside(self, make: Callable[[], T]) -> T:
        """Call `make` in the network of the box: sockets that it makes are the box's."""
        made: list[T] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(f"/proc/{self._leader}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                assert libc.setns(fd, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            finally:
                os.close(fd)
            made.append(make())

        thread = threading.Thread(target=enter)  # a thread can be in another network than its process
        thread.start()
        thread.join()
        return made[0]

    # ---- systemd

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.do("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def wait_for(self, unit: str, *, seconds: float = 30, **wanted: str | Callable[[str], bool]) -> None:
        """Until the unit's properties are as wanted."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.do("systemctl", "show", f"--property={','.join(wanted)}", unit).splitlines()
            found = {name: value for name, _, value in (line.partition("=") for line in lines)}
            if all(want(found[name]) if callable(want) else want == found[name] for name, want in wanted.items()):
                return
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {found}\n{self.describe(unit)}"
            time.sleep(0.1)  # asking costs the processor more than the unit does

    def journal(self, unit: str, *options: str) -> str:
        """The unit's lines in the journal, all that were written until now."""
        self.do("journalctl", "--sync")
        return self.do("journalctl", f"--unit={unit}", "--no-pager", "--output=cat", *options)

    def describe(self, unit: str) -> str:
        """What systemd says of a unit, for a message."""
        return self.run("systemctl", "status", "--no-pager", "--full", "--lines=60", unit).stdout

"""What `doctor` says of systemd's units and of the daemon. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from ckptd.core.doctor import Area, Finding, listed

AREA = Area("service", status=5)
SERVICE = "ckptd.service"
TIMERS = ("ckptd-sync.timer", "ckptd-verify.timer")
OF_TIMERS = ("ckptd-sync.service", "ckptd-verify.service")
UNITS = (SERVICE, *TIMERS, *OF_TIMERS)
PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts", "User")
MANY_RESTARTS = 5
INSTALL = "ckptd doctor --install-units"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as `systemctl show` tells of it."""

    name: str
    load: str = ""  # "loaded", "not-found", "masked", "error", "bad-setting"
    active: str = ""  # "active", "inactive", "failed", "activating", ...
    enabled: str = ""  # "enabled", "disabled", ...
    result: str = ""  # "success", "exit-code", "watchdog", ...
    restarts: int = 0
    user: str = ""  # who it runs as; empty: root, or a unit that runs nothing

    @property
    def installed(self) -> bool:
        """Whether there is such a unit."""
        return self.load not in {"", "not-found"}


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the daemon of this store says of itself."""

    version: str
    pid: int
    summary: str = ""
    config_error: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """Facts. `unasked` says why systemd was not asked. `owner` has the store now ("host pid 123"), None: nobody.

    `silent` says why the daemon, of which there is a socket, cannot be talked to; `denied` is one that is not for us.
    """

    units: tuple[Unit, ...] = ()
    unasked: str = ""
    daemon: Daemon | None = None
    silent: str = ""
    denied: str = ""
    stale: str = ""  # the socket of a daemon that is gone
    owner: str | None = None
    version: str = ""  # our own
    store: str = ""  # where the store is, and to whom it belongs; empty: not there
    store_owner: str = ""


def parse(text: str) -> tuple[Unit, ...]:
    """The units in the output of `systemctl show` with PROPERTIES: blocks of KEY=VALUE, an empty line between them."""
    found = []
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("Id"):
            found.append(_unit(values))
    return tuple(found)


def _unit(values: Mapping[str, str]) -> Unit:
    restarts = values.get("NRestarts", "")
    return Unit(
        name=values["Id"],
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        enabled=values.get("UnitFileState", ""),
        result=values.get("Result", ""),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        user=values.get("User", ""),
    )


def judge(facts: Service) -> list[Finding]:
    """Everything there is to say of units and daemon."""
    findings = list(_daemon(facts))
    if facts.unasked:
        return [*findings, AREA.unknown("units", f"systemd was not asked: {facts.unasked}")]
    installed = [unit for unit in facts.units if unit.installed]
    if not installed:
        text = "no unit of ckptd is installed: nothing is fetched or verified by itself"
        return [*findings, AREA.warn("units", text, INSTALL)]
    for unit in installed:
        findings += _of_unit(unit, installed)
    return [*findings, *_user(facts, installed)]


def _user(facts: Service, installed: Sequence[Unit]) -> Iterator[Finding]:
    """Whoever made the store by hand, as root perhaps: the service could not write there."""
    users = {unit.user for unit in installed if unit.user and unit.user != "root"}
    if facts.store_owner and users and facts.store_owner not in users:
        text = f"{facts.store} belongs to {facts.store_owner}, and the units run as {listed(sorted(users))}"
        yield AREA.bad("user", text, f"chown -R {quote(min(users))} {quote(facts.store)}")


def _of_unit(unit: Unit, installed: Sequence[Unit]) -> Iterator[Finding]:
    name = unit.name
    if unit.load != "loaded":
        yield AREA.bad(name, f"{name} is {unit.load}", f"systemd-analyze verify {name}; systemctl status {name}")
    elif unit.active == "activating" and unit.result not in {"", "success"}:
        text = f"{name} has failed ({unit.result}), and is started again by itself"
        yield AREA.warn(name, text, f"journalctl -u {name} -e")
    elif unit.active == "failed" or unit.result not in {"", "success"}:
        text = f"{name} has failed ({unit.result or 'why is not known'})"
        yield AREA.bad(name, text, f"journalctl -u {name} -e; then systemctl restart {name}")
    elif unit.restarts >= MANY_RESTARTS:
        text = f"{name} was started again {unit.restarts} times since it was first started"
        yield AREA.warn(name, text, f"journalctl -u {name} -e")
    elif name in OF_TIMERS:
        yield AREA.ok(name, f"{name} is there, and did not fail")
    elif name == SERVICE and unit.active == "inactive" and _timed(installed):
        yield AREA.ok(name, f"{name} is not in use; the timers are")
    else:
        yield from _in_use(unit, installed)


def _in_use(unit: Unit, installed: Sequence[Unit]) -> Iterator[Finding]:
    name, active, enabled = unit.name, unit.active in {"active", "activating", "reloading"}, unit.enabled == "enabled"
    served = any(each.name == SERVICE and each.active == "active" for each in installed)
    if active and enabled:
        yield AREA.ok(name, f"{name} is {unit.active}, and starts with the machine")
    elif active:
        yield AREA.warn(
            name, f"{name} is {unit.active}, but does not start with the machine", f"systemctl enable {name}"
        )
    elif name in TIMERS and served:
        yield AREA.ok(name, f"{name} is not in use; {SERVICE} is")
    elif enabled:
        yield AREA.warn(name, f"{name} starts with the machine, but is {unit.active} now", f"systemctl start {name}")
    else:
        yield AREA.warn(name, f"{name} is installed and not in use", f"systemctl enable --now {name}")


def _timed(installed: Sequence[Unit]) -> bool:
    """Whether the timers do the work."""
    return {each.name for each in installed if each.active == "active"} >= set(TIMERS)


def _daemon(facts: Service) -> Iterator[Finding]:
    daemon = facts.daemon
    if facts.denied:
        text = f"the daemon at {facts.denied} is not for you"
        yield AREA.unknown("daemon", text, "run it as the owner of the store, or as a member of its group")
    elif facts.silent:
        yield AREA.bad("daemon", facts.silent, "systemctl status ckptd; journalctl -u ckptd -e")
    elif daemon is None and facts.owner is not None:
        yield AREA.ok("daemon", f"no daemon answers; {facts.owner} is working on the store")
    elif daemon is None and facts.stale:
        text = f"a daemon has left {facts.stale} behind, and does not run"
        yield AREA.warn("daemon", text, "systemctl start ckptd, or ckptd daemon")
    elif daemon is None:
        yield AREA.ok("daemon", "no daemon runs: commands do the work themselves")
    elif daemon.version != facts.version:
        text = f"the daemon (pid {daemon.pid}) is ckptd {daemon.version}, this is {facts.version}"
        yield AREA.warn("daemon", text, "systemctl restart ckptd")
    else:
        yield AREA.ok("daemon", f"the daemon answers (pid {daemon.pid}): {daemon.summary}")
    if daemon is not None and daemon.config_error:
        text = f"the daemon refuses the manifest, and goes by the old one: {daemon.config_error}"
        yield AREA.bad("reload", text, "mend the manifest, then systemctl reload ckptd", status=2)

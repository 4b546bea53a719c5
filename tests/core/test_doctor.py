"""core.doctor and its neighbours: what follows from facts, how bad it is, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ckptd.core import (
    doctor_filesystem,
    doctor_machine,
    doctor_network,
    doctor_service,
    doctor_space,
    doctor_store,
    doctor_work,
)
from ckptd.core.abilities import Ability, Mount, Trial
from ckptd.core.ages import Ages, Kept, promise
from ckptd.core.doctor import Area, Finding, Verdict, exit_status, listed
from ckptd.core.doctor_filesystem import Filesystem
from ckptd.core.doctor_machine import Library, Machine, older, requirement
from ckptd.core.doctor_network import Authorities, Network, Origin, Token
from ckptd.core.doctor_service import Daemon, Service, Unit, parse
from ckptd.core.doctor_space import Space
from ckptd.core.doctor_store import Folder, Me, Store
from ckptd.core.doctor_work import Chain, Course, Document
from ckptd.core.incidents import Incident, Kind
from ckptd.core.models import PIECE, VerifySettings

DAY = 86400.0
NOW = 1_795_000_000.0
Said = Sequence[tuple[str, str]]  # name and verdict


def said(findings: Sequence[Finding], *names: str) -> list[tuple[str, str]]:
    """Name and verdict of what is not all right, or of the named ones."""
    for each in findings:
        assert each.text, each
        assert each.verdict is not Verdict.BAD or (each.mend and each.status), f"nothing mends it: {each}"
        assert (each.verdict is Verdict.BAD) == bool(each.status), each
    wanted = [each for each in findings if (each.name in names if names else each.verdict is not Verdict.OK)]
    return [(each.name, str(each.verdict)) for each in wanted]


def only(findings: Sequence[Finding], name: str) -> Finding:
    (found,) = [each for each in findings if each.name == name]
    return found


# --- what all have in common ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((), 0), ((1,), 1), ((5, 1), 5), ((4, 1), 4), ((5, 4), 5), ((3, 5), 3), ((2, 3), 2), ((1, 2, 3, 4, 5), 2)],
)
def test_exit_status(statuses: tuple[int, ...], expected: int) -> None:
    area = Area("x")
    harmless = [area.ok("a", "a"), area.warn("b", "b", "c"), area.unknown("c", "c")]
    assert exit_status([*harmless, *(area.bad("d", "d", "e", each) for each in statuses)]) == expected


def test_listed() -> None:
    assert [listed("abc"[:count]) for count in range(4)] == ["", "a", "a, b", "a, b, c"]
    assert listed("abcde") == "a, b, c and 2 more"
    assert listed("abc", most=1) == "a and 2 more"


# --- the machine ------------------------------------------------------------------------------------------------------

MACHINE = Machine(
    program="1.0",
    python="3.11.7",
    python_wanted="3.11",
    libraries=(Library("aiohttp", "3.14.4", "3.14.4"), Library("blake3", "", "1.0")),
    processor=frozenset({"sha_ni", "avx2"}),
    pressure=True,
    stands_back=True,
    now=NOW,
    newest=NOW - 5,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"python": "3.10.4"}, [("python", "bad")]),
        ({"python": "3.12.0rc1"}, []),
        ({"libraries": None}, [("libraries", "unknown")]),
        ({"libraries": (Library("aiohttp", "3.14.4", None),)}, [("libraries", "bad")]),
        ({"libraries": (Library("aiohttp", "3.14.4", "3.9.10"),)}, [("libraries", "bad")]),
        (
            {"libraries": (Library("a", "1", None), Library("b", "2.10", "2.9"))},
            [("libraries", "bad"), ("libraries", "bad")],
        ),
        ({"processor": frozenset()}, [("sha", "unknown")]),
        ({"processor": frozenset({"avx2"})}, []),
        ({"pressure": False}, [("pressure", "warn")]),
        ({"stands_back": False}, [("io-class", "warn")]),
        ({"now": 100.0}, [("clock", "bad")]),
        ({"now": 9e9}, [("clock", "bad")]),
        ({"newest": NOW + 30}, []),
        ({"newest": NOW + 3600}, [("clock", "warn")]),
        ({"newest": None}, []),
    ],
)
def test_machine(changes: Mapping[str, object], expected: Said) -> None:
    findings = doctor_machine.judge(replace(MACHINE, **changes))  # type: ignore[arg-type]
    assert said(findings) == expected


def test_what_mends_libraries() -> None:
    facts = replace(MACHINE, libraries=(Library("aiohttp", "3.14", None), Library("rich", "14", "13.9")))
    missing, old = (each for each in doctor_machine.judge(facts) if each.verdict is Verdict.BAD)
    assert missing.mend == "python3 -m pip install 'aiohttp>=3.14'"
    assert old.mend == "python3 -m pip install --upgrade 'rich>=14'"
    assert "13.9" in old.text


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ("1.2", "1.10", True),
        ("1.10", "1.2", False),
        ("1.2", "1.2.0", False),
        ("1.2.0", "1.2", False),
        ("2", "1.9.9", False),
        ("1.9.9", "2", True),
        ("3.12rc1", "3.12", False),
        ("1.0", "", False),
        ("unknown", "1", True),
    ],
)
def test_older(found: str, wanted: str, expected: bool) -> None:
    assert older(found, wanted) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("aiohttp>=3.14.4", ("aiohttp", "3.14.4")),
        ("aiohttp >= 3.14.4", ("aiohttp", "3.14.4")),
        ("PyYAML<7,>=6.0.2", ("PyYAML", "6.0.2")),
        ("rich (>=14.0)", ("rich", "14.0")),
        ("http-sf[extra]>=1.0", ("http-sf", "1.0")),
        ("click", ("click", "")),
        ('tomli>=2.2.1; python_version >= "3.11"', ("tomli", "2.2.1")),
        ('pytest>=8; extra == "dev"', None),
        ("", None),
    ],
)
def test_requirement(line: str, expected: tuple[str, str] | None) -> None:
    assert requirement(line) == expected


# --- the store --------------------------------------------------------------------------------------------------------

FOLDER = Folder("/srv/store", 0o755, 1000, 1000, "ckptd", "ckptd", 7, writable=True)
STORE = Store(
    path="/srv/store",
    state_path="/srv/store/.ckptd",
    me=Me(1000, "ckptd", frozenset({1000})),
    store=FOLDER,
    state=replace(FOLDER, path="/srv/store/.ckptd"),
    lock_path="/srv/manifest.lock",
    lock_folder=replace(FOLDER, path="/srv"),
    mount=Mount("ext4", "/srv", frozenset({"rw"})),
)
SHARED = replace(
    STORE, store=replace(FOLDER, mode=0o2755, gid=50), group="ml", gid=50, me=Me(1000, "ckptd", frozenset({50}))
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (STORE, []),
        (SHARED, []),
        (replace(STORE, problem="cannot be looked at: Permission denied"), [("store", "bad")]),
        (replace(STORE, store=None), [("store", "warn")]),
        (replace(STORE, store=None, locked=3), [("store", "bad")]),
        (replace(STORE, state=None), [("state", "warn")]),
        (replace(STORE, state=replace(FOLDER, device=8)), [("state", "bad")]),
        (replace(STORE, mount=Mount("tmpfs")), [("durable", "warn")]),
        (replace(STORE, mount=Mount("overlay")), [("durable", "warn")]),
        (replace(STORE, mount=Mount("ext4", "/srv", frozenset({"ro"}))), [("writable", "bad")]),
        (replace(STORE, state=replace(FOLDER, writable=False)), [("writable", "bad")]),
        (replace(STORE, store=replace(FOLDER, writable=False), me=Me(2000, "ada", frozenset())), []),
        (replace(STORE, lock_folder=replace(FOLDER, writable=False)), [("lock-folder", "bad")]),
        (replace(STORE, store=replace(FOLDER, mode=0o777)), [("open", "bad")]),
        (replace(STORE, store=replace(FOLDER, mode=0o1777)), []),
        (replace(STORE, state=replace(FOLDER, mode=0o777)), [("open", "bad")]),
        (replace(STORE, store=replace(FOLDER, mode=0o700)), [("mode", "warn")]),
        (replace(SHARED, store=replace(FOLDER, mode=0o755, gid=50)), [("mode", "warn")]),
        (replace(SHARED, store=replace(FOLDER, mode=0o2755, gid=51)), [("group", "warn")]),
        (replace(SHARED, me=Me(1000, "ckptd", frozenset({51}))), [("group", "bad")]),
        (replace(SHARED, me=Me(0, "root", frozenset({0}))), []),
        (replace(STORE, closed=("/srv",)), [("way", "warn")]),
        (replace(STORE, modes=("/srv/store/a/f",)), [("file-modes", "warn")]),
        (replace(SHARED, groups=("/srv/store/a/f",)), [("file-groups", "warn")]),
    ],
)
def test_store(facts: Store, expected: Said) -> None:
    assert said(doctor_store.judge(facts)) == expected


@pytest.mark.parametrize(
    ("facts", "name", "mend"),
    [
        (replace(STORE, path="/a b", store=None, locked=1), "store", "findmnt --target '/a b'"),
        (replace(STORE, store=replace(FOLDER, path="/a b", mode=0o777)), "open", "chmod o-w '/a b'"),
        (replace(STORE, store=replace(FOLDER, path="/a;b", mode=0o700)), "mode", "chmod 0755 '/a;b'"),
        (replace(SHARED, me=Me(1000, "ckptd", frozenset({51}))), "group", "usermod -aG ml ckptd"),
        (replace(STORE, closed=("/srv", "/srv/a b")), "way", "chmod o+x /srv '/srv/a b'"),
    ],
)
def test_what_mends_the_store(facts: Store, name: str, mend: str) -> None:
    """Paths are quoted: people paste these."""
    assert mend in only(doctor_store.judge(facts), name).mend


# --- the filesystem ---------------------------------------------------------------------------------------------------

WORKS = dict.fromkeys(Ability, Trial(works=True))
NEEDED = {Ability.RENAME, Ability.FSYNC, Ability.LOCKS, Ability.DATABASE}
NICE = {Ability.FSYNC_FOLDER, Ability.MODES}


@pytest.mark.parametrize("ability", Ability)
def test_what_a_filesystem_lacks(ability: Ability) -> None:
    trials = {**WORKS, ability: Trial(works=False, detail="because")}
    verdict = "bad" if ability in NEEDED else "warn" if ability in NICE else "ok"
    findings = doctor_filesystem.judge(Filesystem(abilities=trials))
    assert said(findings, *Ability) == [(each, verdict if each is ability else "ok") for each in Ability]
    untried = doctor_filesystem.judge(Filesystem(abilities={**WORKS, ability: Trial(works=None, detail="no space")}))
    assert said(untried) == [(ability, "unknown")]
    assert "no space" in only(untried, ability).text


def test_nothing_tells_what_is_in_the_page_cache() -> None:
    """One of the two is enough."""
    neither = {**WORKS, Ability.DIRECT: Trial(works=False), Ability.MINCORE: Trial(works=False)}
    findings = doctor_filesystem.judge(Filesystem(abilities=neither))
    assert said(findings) == [(Ability.DIRECT, "warn"), (Ability.MINCORE, "warn")]


def mounted(kind: str, *options: str, network: bool = True) -> Filesystem:
    return Filesystem(Mount(kind, "/srv", frozenset(options)), network=network, hostname="gpu1", abilities=WORKS)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (mounted("ext4", network=False), []),
        (mounted("nfs4", "hard"), [("machines", "warn")]),
        (mounted("nfs", "nolock"), [("machines", "bad")]),
        (mounted("nfs4", "local_lock=all"), [("machines", "bad")]),
        (mounted("nfs4", "local_lock=none"), [("machines", "warn")]),
        (mounted("lustre", "flock"), [("machines", "warn")]),
        (mounted("lustre", "localflock"), [("machines", "bad")]),
        (mounted("fuse.sshfs", network=False), [("machines", "warn")]),
        (replace(mounted("ext4", network=False), abilities={}, untried="not yours"), [("trials", "unknown")]),
    ],
)
def test_locks_between_machines(facts: Filesystem, expected: Said) -> None:
    assert said(doctor_filesystem.judge(facts)) == expected


def test_machines_of_the_same_name() -> None:
    found = only(doctor_filesystem.judge(mounted("nfs4")), "machines")
    assert "gpu1" in found.text
    assert "hostnamectl" in found.mend
    assert "hostnamectl" not in only(doctor_filesystem.judge(mounted("lustre")), "machines").mend


# --- space ------------------------------------------------------------------------------------------------------------

SPACE = Space(path="/srv/store", free=1000, keep_free=100, files=10**6, quarantine_size=50)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"missing": 900}, []),
        ({"missing": 901}, [("room", "bad")]),
        ({"missing": 950, "keep_free": 0}, []),
        ({"free": 90}, [("room", "warn")]),
        ({"free": 0, "keep_free": 0}, [("room", "warn")]),
        ({"unsized": 3}, []),
        ({"files": None}, []),
        ({"files": 10}, [("files", "warn")]),
        ({"files": 0}, [("files", "bad")]),
        ({"quarantine": 50}, []),
        ({"quarantine": 51}, [("quarantine", "warn")]),
        ({"leftover_things": 2, "leftover_bytes": 10}, [("leftovers", "warn")]),
    ],
)
def test_space(changes: Mapping[str, object], expected: Said) -> None:
    assert said(doctor_space.judge(replace(SPACE, **changes))) == expected  # type: ignore[arg-type]


# --- the network ------------------------------------------------------------------------------------------------------


def origin(label: str, get: int = 206, *names: str, head: int = 200, **more: object) -> Origin:
    return Origin(label, f"https://{label}/f", names or ("a",), head, get, **more)  # type: ignore[arg-type]


NETWORK = Network(Authorities("the system", 140), origins=(origin("one"),))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"authorities": Authorities("/x.pem", problem="No such file")}, [("ca", "bad")]),
        ({"authorities": Authorities("the system")}, [("ca", "bad")]),
        ({"proxies": (("https", "http://proxy:3128"),)}, []),
        ({"origins": None, "why": "--offline"}, [("origins", "unknown")]),
        ({"origins": None, "problem": "SSL_CERT_FILE"}, [("origins", "bad")]),
        ({"unasked": 3}, [("origins", "unknown")]),
        ({"tokens": (Token("h", "/t", 0o400),)}, []),
        ({"tokens": (Token("h", "/t", 0o440),)}, []),
        ({"tokens": (Token("h", "/t", 0o644),)}, [("token-h", "warn")]),
        ({"tokens": (Token("h", "/t", None, "cannot read /t"),)}, [("token-h", "bad")]),
        ({"tokens": (Token("h", "/run/credentials/u/t", None, "cannot read"),)}, [("token-h", "unknown")]),
        ({"tokens": (Token("h", "the environment variable T"),)}, []),
    ],
)
def test_network(changes: Mapping[str, object], expected: Said) -> None:
    assert said(doctor_network.judge(replace(NETWORK, **changes))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([origin("one", 200)], [("origin-one", "warn")]),
        ([origin("one", head=405)], []),
        ([origin("one", 404)], [("origin-one", "bad")]),
        ([origin("one", 403)], [("origin-one", "bad")]),
        ([origin("one", 503)], [("origin-one", "bad")]),
        ([origin("one", 418)], [("origin-one", "bad")]),
        ([origin("one", 0, problem="one: no answer in time")], [("origin-one", "bad")]),
        ([origin("one", 0, problem="no"), origin("two")], [("origin-one", "warn")]),
        ([origin("one", 0, "a", problem="no"), origin("two", 206, "b")], [("origin-one", "bad")]),
        (
            [origin("one", 0, "a", "b", problem="no"), origin("two", 206, "b"), origin("three", 404, "a")],
            [("origin-one", "bad"), ("origin-three", "bad")],
        ),
        ([origin("one", 403, signed=True)], []),
        ([origin("one", 404, signed=True)], [("origin-one", "bad")]),
        ([origin("one", skew=20.0)], []),
        ([origin("one", skew=-400.0)], [("clock", "warn")]),
        ([origin("one", skew=90000.0)], [("clock", "bad")]),
        ([origin("one", skew=1.0), origin("two", skew=2.0), origin("three", skew=90000.0)], []),
    ],
)
def test_origins(origins: list[Origin], expected: Said) -> None:
    """One that nobody needs, since another has the same, is no more than a warning."""
    assert said(doctor_network.judge(replace(NETWORK, origins=tuple(origins)))) == expected


def test_who_is_alone_is_named() -> None:
    facts = replace(NETWORK, origins=(origin("one", 0, "a", "b", problem="one: gone"), origin("two", 206, "b")))
    found = only(doctor_network.judge(facts), "origin-one")
    assert found.text == "one: gone; nobody else has a"
    assert found.status == 1


# --- manifest, lock, checkpoints, history -----------------------------------------------------------------------------


def test_documents() -> None:
    assert doctor_work.document(Document("lock", "fine")).verdict is Verdict.OK
    bad = doctor_work.document(Document("lock", "", "it is torn", "restore it"))
    assert (bad.verdict, bad.text, bad.mend, bad.status) == (Verdict.BAD, "it is torn", "restore it", 2)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": "present", "b": "touched"}, []),
        ({"a": "present", "b": "missing"}, [("checkpoints", "warn")]),
        ({"a": "partial", "b": "unlocked"}, [("checkpoints", "warn")]),
        ({"a": "damaged"}, [("damaged", "bad")]),
        ({"a": "damaged", "b": "missing"}, [("damaged", "bad"), ("checkpoints", "warn")]),
        ({"a": "conflict"}, [("conflict", "bad")]),
        ({}, [("checkpoints", "warn")]),
    ],
)
def test_checkpoints(states: Mapping[str, str], expected: Said) -> None:
    assert said(doctor_work.checkpoints(states)) == expected


@pytest.mark.parametrize(
    ("kind", "status"), [(Kind.DAMAGE, 3), (Kind.DRIFT, 4), (Kind.FAILURE, 1)], ids=["damage", "drift", "failure"]
)
def test_incidents(kind: Kind, status: int) -> None:
    incident = Incident(kind, "a b", "it is so", NOW)
    (found,) = doctor_work.incidents([incident], watched=True)
    assert (found.verdict, found.status) == (Verdict.BAD, status)
    assert "'a b'" in found.mend
    (stale,) = doctor_work.incidents([incident], watched=False)
    assert stale.verdict is Verdict.WARN


def test_no_incident() -> None:
    """A broken promise is told by the promise itself."""
    assert said(doctor_work.incidents([], watched=True)) == []
    assert said(doctor_work.incidents([Incident(Kind.PROMISE, "", "late", NOW)], watched=True)) == []


@pytest.mark.parametrize(
    ("chain", "verdict", "status"),
    [
        (Chain(7), Verdict.OK, 0),
        (Chain(wrong="record 3 was edited", hint="compare"), Verdict.BAD, 3),
        (Chain(unreadable="there is none", hint="sync"), Verdict.UNKNOWN, 0),
    ],
    ids=["holds", "edited", "none"],
)
def test_history(chain: Chain, verdict: Verdict, status: int) -> None:
    found = doctor_work.history(chain)
    assert (found.verdict, found.status) == (verdict, status)


# --- the promise ------------------------------------------------------------------------------------------------------

GB = 10**9


def course(size: int, age: float | None, speed: float | None = None, **settings: object) -> Course:
    """One file of `size` bytes, all of it verified `age` seconds ago."""
    count = -(-size // PIECE)
    ages = Ages() if age is None else Ages.whole(count, NOW - age)
    files = [Kept("a", size, count, ages)]
    verify = VerifySettings(**settings)  # type: ignore[arg-type]
    return Course(promise(files, verify.max_age, NOW), verify, files, NOW, 600.0, speed)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (course(GB, DAY), []),
        (replace(course(GB, DAY), files=[]), []),
        (course(GB, 8 * DAY), [("promise", "bad")]),
        (course(GB, None), [("promise", "bad")]),
        (course(100_000 * GB, DAY, 50e6), [("schedule", "warn")]),
        (course(1000 * GB, DAY, 1e9, rate=1e6), [("schedule", "warn")]),
        (course(1000 * GB, DAY, 1e9, rate=10e6), []),
        (course(1000 * GB, DAY, 20e6, window=(0, 60)), [("schedule", "warn")]),
        (course(1000 * GB, DAY, 20e6, window=(0, 720)), []),
    ],
    ids=["kept", "nothing", "too old", "never", "too slow", "rate", "rate enough", "window", "window enough"],
)
def test_promise(facts: Course, expected: Said) -> None:
    assert said(list(doctor_work.promise(facts))) == expected


def test_too_slow_to_come_in_time() -> None:
    """A large store that is nearly due, on a disk that does not manage it any more."""
    found = only(list(doctor_work.promise(course(1000 * GB, 6.9 * DAY, 10e6))), "schedule")
    assert found.verdict is Verdict.WARN
    assert "even at full speed" in found.text


# --- units and daemon -------------------------------------------------------------------------------------------------

SHOW = """Id=ckptd.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
Result=success
NRestarts=2
User=ckptd

Id=ckptd-sync.timer
LoadState=not-found
ActiveState=inactive
"""


def test_what_systemctl_says() -> None:
    first, second = parse(SHOW)
    assert first == Unit("ckptd.service", "loaded", "active", "enabled", "success", 2, "ckptd")
    assert not second.installed
    assert parse("") == parse("nonsense\n\n=\n") == ()


def unit(name: str = "ckptd.service", **more: object) -> Unit:
    return replace(Unit(name, "loaded", "active", "enabled", "success"), **more)  # type: ignore[arg-type]


SYNC, VERIFY = unit("ckptd-sync.timer"), unit("ckptd-verify.timer")
IDLE: dict[str, Any] = {"active": "inactive", "enabled": "disabled"}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([unit()], []),
        ([], [("units", "warn")]),
        ([unit(load="not-found")], [("units", "warn")]),
        ([unit(load="masked")], [("ckptd.service", "bad")]),
        ([unit(load="bad-setting")], [("ckptd.service", "bad")]),
        ([unit(active="failed", result="exit-code")], [("ckptd.service", "bad")]),
        ([unit(result="watchdog")], [("ckptd.service", "bad")]),
        ([unit(result="signal", active="activating")], [("ckptd.service", "warn")]),
        ([unit(active="activating")], []),
        ([unit(restarts=9)], [("ckptd.service", "warn")]),
        ([unit(enabled="disabled")], [("ckptd.service", "warn")]),
        ([unit(active="inactive")], [("ckptd.service", "warn")]),
        ([unit(**IDLE)], [("ckptd.service", "warn")]),
        ([unit(**IDLE), SYNC, VERIFY], []),
        ([unit(**IDLE), SYNC], [("ckptd.service", "warn")]),
        ([unit(), replace(SYNC, **IDLE), replace(VERIFY, **IDLE)], []),
        ([replace(SYNC, **IDLE), VERIFY], [("ckptd-sync.timer", "warn")]),
        ([SYNC, VERIFY, unit("ckptd-sync.service", active="inactive", enabled="static")], []),
        (
            [SYNC, VERIFY, unit("ckptd-verify.service", active="failed", result="exit-code")],
            [("ckptd-verify.service", "bad")],
        ),
    ],
)
def test_units(units: list[Unit], expected: Said) -> None:
    assert said(doctor_service.judge(Service(units=tuple(units)))) == expected


@pytest.mark.parametrize(
    ("user", "owner", "expected"),
    [
        ("ckptd", "ckptd", []),
        ("ckptd", "root", [("user", "bad")]),
        ("ckptd", "", []),
        ("", "ada", []),
        ("root", "ada", []),
    ],
    ids=["its own", "made by root", "not there", "root by default", "root"],
)
def test_the_store_of_another_user_than_the_units(user: str, owner: str, expected: Said) -> None:
    facts = Service(units=(unit(user=user), replace(SYNC, **IDLE)), store="/srv/a b", store_owner=owner)
    findings = doctor_service.judge(facts)
    assert said(findings) == expected
    if expected:
        assert only(findings, "user").mend == "chown -R ckptd '/srv/a b'"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"daemon": Daemon("1.0", 7)}, []),
        ({"daemon": Daemon("0.9", 7)}, [("daemon", "warn")]),
        ({"daemon": Daemon("1.0", 7, config_error="line 3")}, [("reload", "bad")]),
        ({"owner": "host pid 7"}, []),
        ({"stale": "/run/s"}, [("daemon", "warn")]),
        ({"stale": "/run/s", "owner": "host pid 7"}, []),
        ({"denied": "/run/s"}, [("daemon", "unknown")]),
        ({"silent": "does not answer"}, [("daemon", "bad")]),
        ({"units": (), "unasked": "no systemd"}, [("units", "unknown")]),
    ],
)
def test_daemon(changes: Mapping[str, object], expected: Said) -> None:
    facts = replace(Service(units=(unit(),), version="1.0"), **changes)  # type: ignore[arg-type]
    assert said(doctor_service.judge(facts)) == expected

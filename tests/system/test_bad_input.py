"""Manifests and locks that are wrong (contract, Manifest and Lock).

Exit 2 before any request, nothing touched, and a message that names line and key and what would be right.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from origin import Origin
from workplace import Run, Workplace, sha256, tgz

A = tgz(60_000, 1)
PATH = "/a.tar.gz"
COMMANDS = [["sync"], ["verify"], ["status"], ["update", "a"], ["path", "a"]]


def text(url: str, *more: str, head: str = "") -> str:
    """A manifest with one entry: `head` on top, `more` lines at the end of the entry."""
    return "\n".join([head, "[[checkpoint]]", 'name = "a"', f'url = "{url}"', *more, ""])


def names_line(run: Run, number: int) -> bool:
    """Whether stderr names that line."""
    return bool(re.search(rf"(?:line |:){number}\b", run.err))


def refuse(site: Workplace, origin: Origin, *words: str, line: int | None = None) -> None:
    """`sync` says 2 and these words, and nothing happened."""
    run = site.run("sync")
    assert run.status == 2, run
    assert run.out == ""
    for word in words:
        assert word in run.err, f"{word!r} is not named: {run}"
    assert "manifest.toml" in run.err
    if line is not None:
        assert names_line(run, line), f"line {line} is not named: {run}"
    assert not origin.requests()
    assert not site.store.exists()
    assert not site.lock_path.exists()


LINES = {
    "unknown key": ('shasum = "x"', ["shasum", "sha256"]),
    "misspelt key": ('sha265 = "x"', ["sha265", "sha256"]),
    "digest too short": ('sha256 = "abc"', ["sha256"]),
    "digest of other letters": (f'sha256 = "{"g" * 64}"', ["sha256"]),
    "digest that is no string": ("sha256 = 5", ["sha256"]),
    "negative size": ("size = -1", ["size"]),
    "size of nonsense": ('size = "many"', ["size"]),
    "size that is no whole number": ("size = 1.5", ["size"]),
    "size with an unknown unit": ('size = "5 QiB"', ["size"]),
    "tags that are no list": ('tags = "x"', ["tags"]),
    "tag that is no word": ('tags = ["a b"]', ["tags"]),
    "mirrors that are no URLs": ('mirrors = ["nowhere"]', ["mirrors"]),
    "mirror of another scheme": ('mirrors = ["ftp://x/y"]', ["mirrors"]),
    "unpack that is no boolean": ('unpack = "yes"', ["unpack"]),
}


NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    ".hidden",
    "-rf",
    "a b",
    "a\\u0000b",
    "ä",
    "a\\n",
    "x" * 129,
    ".ckptd",
]
HOST = "https://example.com"
URLS = [
    *(f"{HOST}{path}" for path in ("/", "", "/..", "/%2e%2e", "/a/..%2f..%2fx", "/.", "/%00", "/a%2f", "/x%0ay")),
    f"{HOST}/{'y' * 300}",
    f"{HOST}/dir/",
    "ftp://x/a.tgz",
    "file:///etc/passwd",
    "nonsense",
    "http://",
    "https:///a.tgz",
    "http://h:99999/a",
    "https://ex ample/a",
    "gs://",
    "hf://org",
]


def line_of(run: Run, number: int) -> str:
    """What stderr says about that line of the manifest."""
    found = [line for line in run.err.splitlines() if re.search(rf"(?:line |:){number}\b", line)]
    assert found, f"line {number} is not named: {run}"
    return "\n".join(found)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run over a manifest in which every row is an entry of its own: all faults are told at once."""
    site = Workplace(tmp_path_factory.mktemp("lines"), [])
    entries = [
        f'[[checkpoint]]\nname = "row{number}"\nurl = "https://example.com/{number}.tgz"\n{line}\n'
        for number, (line, _) in enumerate(LINES.values())
    ]
    entries += [f'[[checkpoint]]\nname = "{name}"\nurl = "https://example.com/a.tgz"\n\n' for name in NAMES]
    entries += [f'[[checkpoint]]\nname = "url{number}"\nurl = "{url}"\n\n' for number, url in enumerate(URLS)]
    site.manifest.write_text("".join(entries))
    run = site.run("sync")
    assert not site.store.exists()
    assert not site.lock_path.exists()
    return run.expect(2)


@pytest.mark.parametrize("row", LINES)
def test_bad_key_of_a_checkpoint(told: Run, row: str) -> None:
    """Contract, Manifest: named by line, key and table, with the nearest known key."""
    number = list(LINES).index(row)
    message = line_of(told, 4 * number + 4)
    assert f"row{number}" in message
    for word in LINES[row][1]:
        assert word in message


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_name(told: Run, name: str) -> None:
    """Contract, Manifest: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 128 characters."""
    assert "name" in line_of(told, 4 * (len(LINES) + NAMES.index(name)) + 2)


@pytest.mark.parametrize("url", URLS)
def test_url_of_no_use(told: Run, url: str) -> None:
    """Contract: http, https, gs, hf; and a file name that does not leave the store; anything else is named."""
    assert "url" in line_of(told, 4 * (len(LINES) + len(NAMES) + URLS.index(url)) + 3)


def test_a_single_bad_key(origin: Origin, site: Workplace) -> None:
    """The same alone: exit 2 before any request, the line named, nothing made."""
    site.manifest.write_text(text(origin.put(PATH, A), 'shasum = "x"'))
    refuse(site, origin, "shasum", "sha256", line=5)


TABLES = {
    "unknown table": ("[transfr]\nretries = 1", ["transfr", "transfer"], 1),
    "unknown key in a table": ("[transfer]\nretrys = 1", ["retrys", "retries"], 2),
    "unknown key in store": ('[store]\npaht = "x"', ["paht", "path"], 2),
    "unknown key at the top": ("retries = 1", ["retries"], 1),
    "downloads of zero": ("[transfer]\ndownloads = 0", ["downloads"], 2),
    "negative connections": ("[transfer]\nconnections = -4", ["connections"], 2),
    "connections that are text": ('[transfer]\nconnections = "four"', ["connections"], 2),
    "duration of zero": ('[transfer]\nstall_timeout = "0s"', ["stall_timeout"], 2),
    "duration without unit": ('[transfer]\nconnect_timeout = "30"', ["connect_timeout"], 2),
    "negative duration": ('[verify]\nmax_age = "-7d"', ["max_age"], 2),
    "rate of nonsense": ('[transfer]\nbandwidth = "fast"', ["bandwidth"], 2),
    "rate of zero": ('[transfer]\nbandwidth = "0 MB/s"', ["bandwidth"], 2),
    "size of zero": ("[transfer]\nmax_size = 0", ["max_size"], 2),
    "window of nonsense": ('[verify]\nwindow = "late"', ["window"], 2),
    "window beyond the day": ('[verify]\nwindow = "25:00-26:00"', ["window"], 2),
    "unknown trust": ('[policy]\nrequire = "signed"', ["require"], 2),
    "boolean as number": ("[policy]\nprivate_redirects = 1", ["private_redirects"], 2),
    "group that is a list": ("[store]\ngroup = []", ["group"], 2),
    "two bearers": ('[auth."h"]\nbearer_env = "A"\nbearer_file = "/x"', ["bearer"], None),
    "auth without bearer": ('[auth."h"]\ntoken = "x"', ["token"], 2),
    "sources that are no list": ('[sources]\n"https://x/" = 5', ["sources"], None),
    "sources that are no URLs": ('[sources]\n"https://x/" = ["y"]', ["sources"], None),
}


@pytest.mark.parametrize("row", TABLES)
def test_bad_table(origin: Origin, site: Workplace, row: str) -> None:
    """Contract, Manifest: durations, sizes and rates of zero or below are errors, unknown keys are errors."""
    head, words, line = TABLES[row]
    site.manifest.write_text(text(origin.put(PATH, A), head=head))
    refuse(site, origin, *words, line=line)


def test_duplicate_name(origin: Origin, site: Workplace) -> None:
    """Contract: a name is unique; both lines help."""
    entry = text(origin.put(PATH, A))
    site.manifest.write_text(entry + entry)
    refuse(site, origin, '"a"' if '"a"' in site.run("sync").err else "a", line=7)


def test_names_that_differ_in_case_alone(origin: Origin, site: Workplace) -> None:
    """On a case-sensitive file system these are two names; whatever is decided, nothing is mixed up."""
    url = origin.put(PATH, A)
    site.write({"name": "Model", "url": url}, {"name": "model", "url": url})
    run = site.run("sync").expect(0, 2)
    if run.status == 0:
        site.assert_good("Model", A)
        site.assert_good("model", A)


@pytest.mark.parametrize("missing", ["name", "url"])
def test_missing_key(origin: Origin, site: Workplace, missing: str) -> None:
    """An entry without name or url."""
    lines = {"name": 'name = "a"', "url": f'url = "{origin.put(PATH, A)}"'}
    del lines[missing]
    site.manifest.write_text("\n".join(["[[checkpoint]]", *lines.values(), ""]))
    refuse(site, origin, missing, line=1)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('[[checkpoint]]\nname = "a\nurl = "b"\n', 2),
        ("[[checkpoint]\n", 1),
        ("name = \n", 1),
        ("a = 1\na = 2\n", 2),
        ("<<<<<<< HEAD\nx = 1\n", 1),
        ("checkpoint = 5\n", 1),
        ("\x00", 1),
    ],
)
def test_not_toml(origin: Origin, site: Workplace, content: str, line: int) -> None:
    """A syntax error names its line."""
    site.manifest.write_text(content)
    refuse(site, origin, line=line)


def test_not_utf8(origin: Origin, site: Workplace) -> None:
    """Bytes that are no UTF-8."""
    site.manifest.write_bytes(b'# caf\xe9\n[[checkpoint]]\nname = "a"\n')
    refuse(site, origin)


def test_manifest_is_a_folder(origin: Origin, site: Workplace) -> None:
    """A folder, or nothing, at the manifest's path."""
    site.manifest.mkdir()
    refuse(site, origin)


def test_every_fault_is_told_at_once(origin: Origin, site: Workplace) -> None:
    """An operator wants all of them, not one a run."""
    site.manifest.write_text(text(origin.put(PATH, A), "siz = 5", 'sha256 = "q"', head="[stor]"))
    run = site.run("sync").expect(2)
    assert [word for word in ("siz", "sha256", "stor") if word in run.err]
    assert not origin.requests()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_refuses_a_bad_manifest(origin: Origin, site: Workplace, command: list[str]) -> None:
    """Exit 2 whatever was asked."""
    site.manifest.write_text(text(origin.put(PATH, A), "sha265 = 1"))
    run = site.run(*command).expect(2)
    assert "sha265" in run.err
    assert not origin.requests()


def test_bad_manifest_as_json(origin: Origin, site: Workplace) -> None:
    """Contract, `--json`: also then one object on stdout at most, and its `exit` is the process's."""
    site.manifest.write_text(text(origin.put(PATH, A), "sha265 = 1"))
    run = site.run("sync", "--json").expect(2)
    assert not run.out or run.report["exit"] == 2
    assert not origin.requests()


def test_secrets_in_a_bad_manifest_are_not_shown(origin: Origin, site: Workplace) -> None:
    """I4: also a message about a bad URL shows neither password nor signature."""
    site.secrets += ["Hunter2Password", "SigSigSignature"]
    url = f"http://u:Hunter2Password@127.0.0.1:{origin.port}/?X-Amz-Signature=SigSigSignature"
    site.manifest.write_text(text(url))
    site.run("sync").expect(1, 2)
    assert not origin.requests()


def test_empty_manifest_is_fine(origin: Origin, site: Workplace) -> None:
    """Nothing wanted, nothing to do."""
    site.manifest.write_text("")
    site.sync().expect(0)
    assert not origin.requests()


def test_sizes_and_rates_as_people_write_them(origin: Origin, site: Workplace) -> None:
    """Contract, Manifest: "16 MiB", "200 MB", plain bytes; "50 MB/s"; "30s", "12h", "7d"; "unlimited"."""
    site.write(
        {"name": "a", "url": origin.put(PATH, A), "size": len(A)},
        store={"path": "checkpoints", "state": "checkpoints/.ckptd", "lock": "manifest.lock"},
        transfer={
            "downloads": 8,
            "connections": 4,
            "connections_per_host": 16,
            "bandwidth": "50 MB/s",
            "min_rate": "1 KiB/s",
            "max_size": "2 TB",
        },
        verify={"max_age": "7d", "rate": "unlimited", "window": "00:00-24:00"},
        sync={"every": "6h"},
        policy={"require": "first-use", "private_redirects": False},
    )
    site.sync().expect(0)
    site.assert_good("a", A)


# ---- locks


def bad_locks(url: str) -> dict[str, str]:
    entry = (
        f'[[checkpoint]]\nname = "a"\nurl = "{url}"\nsize = {len(A)}\nsha256 = "{sha256(A)}"\n'
        'trust = "first-use"\nwitnesses = []\n'
    )
    return {
        "torn": f"version = 1\n\n{entry}"[:-40],
        "torn in the middle of a string": f"version = 1\n\n{entry[:60]}",
        "newer": f"version = 2\n\n{entry}",
        "no version": entry,
        "version of another type": f'version = "1"\n\n{entry}',
        "merge markers": f"version = 1\n\n<<<<<<< HEAD\n{entry}=======\n{entry}>>>>>>> theirs\n",
        "bad digest": f"version = 1\n\n{entry}".replace(sha256(A), "abc"),
        "upper-case digest": f"version = 1\n\n{entry}".replace(sha256(A), sha256(A).upper()),
        "bad size": f"version = 1\n\n{entry}".replace(f"size = {len(A)}", "size = -3"),
        "unknown trust": f"version = 1\n\n{entry}".replace("first-use", "blind"),
        "twice the same name": f"version = 1\n\n{entry}\n{entry}",
        "unsafe name": f"version = 1\n\n{entry}".replace('name = "a"', 'name = "../a"'),
        "nothing": "\x00\x00\x00",
    }


@pytest.mark.parametrize("row", sorted(bad_locks("http://x/y")))
def test_bad_lock_is_refused_untouched(origin: Origin, site: Workplace, row: str) -> None:
    """Torn, newer, merge markers: exit 2, before any request, the lock byte for byte as it was."""
    url = origin.put(PATH, A)
    site.one(url)
    content = bad_locks(url)[row]
    site.lock_path.write_text(content)
    commands = (["sync"], ["verify"], ["update", "a"]) if row == "torn" else (["sync"],)
    for command in commands:
        run = site.run(*command, invariants=False)
        assert run.status == 2, run
        assert "manifest.lock" in run.err
        assert site.lock_path.read_text() == content
    assert not origin.requests()


def test_empty_lock_is_torn(origin: Origin, site: Workplace) -> None:
    """A lock of no bytes is what a full disk leaves; it is not "nothing locked yet"."""
    site.one(origin.put(PATH, A))
    site.lock_path.write_text("")
    site.run("sync", invariants=False).expect(2)
    assert not origin.requests()


def test_lock_with_more_than_the_manifest(origin: Origin, site: Workplace) -> None:
    """An entry that the manifest no longer names stays in the lock until somebody prunes it."""
    url = origin.put(PATH, A)
    site.write({"name": "a", "url": url}, {"name": "b", "url": url})
    site.sync().expect(0)
    site.one(url)
    site.sync().expect(0)
    assert "b" in site.lock
    assert (site.store / "b" / "a.tar.gz").exists()


@pytest.mark.parametrize("command", [["sync"], ["verify"], ["status"], ["update", "a"]], ids=" ".join)
def test_a_folder_in_place_of_the_lock(origin: Origin, site: Workplace, command: list[str]) -> None:
    """What is no file is no lock: exit 2 before any request, and it stays."""
    site.one(origin.put(PATH, A))
    site.lock_path.mkdir()
    run = site.run(*command, invariants=False).expect(2)
    assert "manifest.lock is no file" in run.err
    assert not origin.requests()
    assert not site.store.exists()
    site.lock_path.rmdir()


def test_lock_elsewhere(origin: Origin, site: Workplace) -> None:
    """`store.lock` says where."""
    site.lock_path = site.root / "locks" / "models.lock"
    site.lock_path.parent.mkdir()
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={"lock": "locks/models.lock"})
    site.sync().expect(0)
    site.assert_good("a", A)
    assert not (site.root / "manifest.lock").exists()


def test_lock_in_a_folder_that_is_not_there(origin: Origin, site: Workplace) -> None:
    """It is made, as the store's own are; where that cannot be, that is known before a byte is fetched."""
    site.lock_path = site.root / "new" / "locks" / "models.lock"
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={"lock": "new/locks/models.lock"})
    site.sync().expect(0)
    site.assert_good("a", A)
    assert stat.S_IMODE(site.lock_path.parent.stat().st_mode) == 0o755
    origin.forget()
    (site.root / "link").symlink_to("nowhere/at/all")
    site.write({"name": "b", "url": origin.put("/b.tar.gz", A)}, store={"lock": "link/models.lock"})
    site.run("sync", invariants=False).expect(5)
    assert not origin.requests()


@pytest.mark.parametrize("key", ["path", "state", "lock"])
def test_places_that_collide(origin: Origin, site: Workplace, key: str) -> None:
    """A store, state or lock that is the manifest itself, or has no sense: exit 2 or 5, nothing destroyed."""
    site.write({"name": "a", "url": origin.put(PATH, A)}, store={key: "manifest.toml"})
    before = site.manifest.read_bytes()
    site.run("sync", invariants=False).expect(2, 5)
    assert site.manifest.read_bytes() == before


def test_shipped_manifest_is_valid(site: Workplace) -> None:
    """The shipped manifest names the 14 checkpoints of the page, with tags and descriptions."""
    shipped = Path(__file__).parents[2] / "manifest.toml"
    site.manifest.write_bytes(shipped.read_bytes())
    run = site.run("status", "--json").expect(0, 1)
    names = [entry["name"] for entry in run.report["checkpoints"]]
    assert len(names) == len(set(names)) == 14
    simple = site.run("status", "--json", "@simple").report["checkpoints"]
    strong = site.run("status", "--json", "@strong").report["checkpoints"]
    assert (len(simple), len(strong)) == (3, 11)
    assert len(site.run("status", "--json", "@imagenet1k").report["checkpoints"]) == 14

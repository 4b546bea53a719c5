"""`ckptd history`: what is shown, what --check proves, what --export states, and when there is nothing to read."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import faults as f
import pytest
from origin import Hold, Origin
from workplace import Run, Workplace, sha256, tgz

from ckptd.store.history import Visit, add_history
from ckptd.store.state import write

pytestmark = pytest.mark.slow

A, B = tgz(60_000, 1), tgz(60_000, 2)
ZERO = "0" * 64
DAY = 86400.0
NOVEMBER = 1795305600.0  # 2026-11-22T00:00:00Z


def damage(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o444)


@pytest.fixture
def lived(origin: Origin, site: Workplace) -> Workplace:
    """A site with a history: a and b fetched, verified, b damaged and found so."""
    site.write(
        {"name": "a", "url": origin.put("/a.tar.gz", A), "tags": ["x"]},
        {"name": "b", "url": origin.put("/b.tar.gz", B)},
    )
    site.sync().expect(0)
    site.verify().expect(0)
    damage(site.file("b"))
    site.verify().expect(3)
    return site


@pytest.fixture
def told(site: Workplace) -> Workplace:
    """A site whose history was written down here; nothing was ever fetched."""
    site.one("https://example.org/m.bin", "m")
    site.state.mkdir(parents=True)
    return site


def note(site: Workplace, *visits: Visit) -> None:
    write(site.state / "state.db", lambda connection: add_history(connection, visits))


def visit(at: float, name: str = "m", verdict: str = "intact", detail: str = "") -> Visit:
    return Visit(at, name, "verify", "a" * 64, "blake3", 1_234_567, 75.0, verdict, detail)


def history(site: Workplace, *args: str, **more: Any) -> Run:
    return site.run("history", *args, invariants=False, **more)


def records(site: Workplace, *args: str) -> list[dict[str, Any]]:
    found = history(site, "--json", *args).expect(0).report["history"]
    assert isinstance(found, list)
    return found


def head(site: Workplace) -> str:
    found = history(site, "--json", "--check").expect(0).report["check"]["head"]
    assert isinstance(found, str)
    return found


def edit(site: Workplace, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(site.state / "state.db")) as connection, connection:
        connection.execute(statement, values)


# --- showing ---------------------------------------------------------------------------------------------------------


def test_every_verification_newest_last(lived: Workplace) -> None:
    found = records(lived)
    assert {(each["name"], each["action"], each["verdict"]) for each in found[:2]} == {
        ("a", "fetch", "intact"),
        ("b", "fetch", "intact"),
    }
    assert {(each["name"], each["action"], each["verdict"]) for each in found[4:]} == {
        ("a", "verify", "intact"),
        ("b", "verify", "corrupt"),
    }
    assert [each["number"] for each in found] == [1, 2, 3, 4, 5, 6]
    (broken,) = [each for each in found if each["verdict"] == "corrupt"]
    assert broken["sha256"] == sha256(B)
    assert broken["bytes"] >= len(B)  # what looks damaged is read twice
    assert broken["detail"]
    text = history(lived).expect(0).out.splitlines()
    assert text[0].split() == ["WHEN", "ACTION", "VERDICT", "READ", "TOOK", "NAME"]
    assert [line.split()[-1] for line in text[1:] if line[0] == "2"] == [each["name"] for each in found]
    assert broken["detail"][:30] in "\n".join(text)


@pytest.mark.parametrize(
    ("args", "numbers"),
    [
        (["m"], [1, 3]),
        (["@t", "old"], [1, 2, 3]),
        (["old"], [2]),
        (["--limit", "2"], [3, 4]),
        (["--since", "2h"], [3, 4]),
        (["--since", "2h", "m", "--limit", "1"], [3]),
        (["fresh"], []),
    ],
    ids=["a name", "a tag and a name", "no longer in the manifest", "newest", "recent", "all of it", "nothing yet"],
)
def test_which(told: Workplace, args: list[str], numbers: list[int]) -> None:
    told.write(
        {"name": "m", "url": "https://example.org/m.bin", "tags": ["t"]},
        {"name": "fresh", "url": "https://example.org/f.bin"},
    )
    now = told.manifest.stat().st_mtime
    days = [(now - 3 * DAY, "m"), (now - 2 * DAY, "old"), (now - 3600, "m"), (now - 60, "gone")]
    note(told, *(visit(at, name) for at, name in days))
    assert [each["number"] for each in records(told, *args)] == numbers


def test_a_name_that_nobody_knows(told: Workplace) -> None:
    note(told, visit(1.5e9, "resnet50"))
    run = history(told, "resnet5").expect(2)
    assert 'nothing is known of "resnet5"; did you mean "resnet50"?' in run.err
    assert history(told, "@nosuch").expect(2).out == ""


def test_times_are_local(told: Workplace) -> None:
    note(told, visit(NOVEMBER + 3600 * 16))
    assert "2026-11-22 16:00:00  verify  intact" in history(told).out
    assert "2026-11-22 17:00:00  verify  intact" in history(told, env={"TZ": "Europe/Berlin"}).out


# --- proving ---------------------------------------------------------------------------------------------------------


def test_a_record_that_nobody_touched(lived: Workplace) -> None:
    run = history(lived, "--check").expect(0)
    noted = head(lived)
    assert run.out.startswith(f"6 records hold together; head {noted}\n")
    assert "unless somebody wrote all later ones anew" in run.out
    assert history(lived, "--check", "--quiet").expect(0).out == ""
    lived.verify().expect(3)
    later = history(lived, "--expect", noted.upper()[:12]).expect(0)
    assert "8 records hold together" in later.out
    assert "that of record 6; 2 written since" in later.out
    assert history(lived, "--json", "--expect", noted).report["check"] == {
        "count": 8,
        "head": head(lived),
        "noted": 6,
    }


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET verdict = 'intact' WHERE id = 3", "record 3 (m) does not follow from record 2"),
        ("UPDATE history SET at = at + 1 WHERE id = 1", "record 1 (m) does not follow from the beginning"),
        ("DELETE FROM history WHERE id = 2", "record 2 is missing"),
        ("DELETE FROM history WHERE id = 4", "record 4 is missing from the end"),
    ],
    ids=["edited", "the first", "removed", "the last removed"],
)
def test_a_record_that_somebody_edited(told: Workplace, statement: str, says: str) -> None:
    note(told, visit(1), visit(2), visit(3, verdict="corrupt"), visit(4))
    edit(told, statement)
    for args in (["--check"], ["--expect", "0" * 12], ["--export"]):
        run = history(told, *args).expect(3)
        assert says in run.err
        assert run.out == ""  # nothing is attested either
    report = history(told, "--json", "--check").expect(3).report
    assert (report["exit"], report["error"]["kind"]) == (3, "integrity")
    assert history(told).expect(0).out  # it can still be looked at


def test_a_history_that_was_written_anew(told: Workplace) -> None:
    """Only a head that was noted elsewhere shows it."""
    note(told, visit(1), visit(2, verdict="corrupt"), visit(3))
    noted = head(told)
    (told.state / "state.db").unlink()
    note(told, visit(1), visit(2), visit(3))
    history(told, "--check").expect(0)
    run = history(told, "--expect", noted).expect(3)
    assert noted in run.err
    assert history(told, "--export", "--expect", noted[:12]).expect(3).out == ""


@pytest.mark.parametrize("digits", [12, 64])
def test_where_it_begins_is_no_head_that_could_be_noted(told: Workplace, digits: int) -> None:
    """Sixty-four zeros stand before every history, so they show nothing of one that has records."""
    note(told, visit(1))
    assert "0" * digits in history(told, "--check", "--expect", "0" * digits).expect(3).err


def test_a_database_that_was_damaged_and_begun_again(told: Workplace) -> None:
    """The new one does not know the old head; where the old one is, is said."""
    note(told, visit(1))
    noted = head(told)
    database = told.state / "state.db"
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    note(told, visit(2))
    (aside,) = told.state.glob("state.db.damaged-*")
    assert str(aside) in history(told, "--expect", noted).expect(3).err


@pytest.mark.parametrize("value", ["", "8c1f09", "x" * 12, "0" * 65])
def test_what_is_no_head(told: Workplace, value: str) -> None:
    note(told, visit(1))
    assert "hexadecimal" in history(told, "--expect", value).expect(2).err


# --- stating ---------------------------------------------------------------------------------------------------------


def recomputed(statement: dict[str, Any]) -> str:
    """The chain digest of a statement, as whoever was given it computes it."""
    (subject,), predicate = statement["subject"], statement["predicate"]
    record = predicate["record"]
    fields = [
        record["before"],
        record["at"],
        predicate["checkpoint"],
        predicate["action"],
        subject["digest"]["sha256"],
        predicate["comparedBy"],
        predicate["bytes"],
        predicate["seconds"],
        predicate["verdict"],
        predicate["detail"],
    ]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


def test_statements_for_others(lived: Workplace) -> None:
    """in-toto Statement v1, one a line; each can be checked by itself, and all of them as a chain."""
    lines = history(lived, "--export").expect(0).out.splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 6
    before = ZERO
    for each in found:
        assert each["_type"] == "https://in-toto.io/Statement/v1"
        (subject,) = each["subject"]
        name = each["predicate"]["checkpoint"]
        assert subject == {"name": f"{name}/{name}.tar.gz", "digest": {"sha256": sha256({"a": A, "b": B}[name])}}
        assert each["predicate"]["verifiedAt"].endswith("Z")
        assert each["predicate"]["record"]["before"] == before
        before = each["predicate"]["record"]["chain"]
        assert recomputed(each) == before
    assert before == head(lived)
    assert [each["predicate"]["verdict"] for each in found].count("corrupt") == 1
    report = history(lived, "--export", "--json", "a").expect(0).report
    assert report["statements"] == [each for each in found if each["predicate"]["checkpoint"] == "a"]


def test_the_subject_of_what_was_replaced_names_no_file(origin: Origin, lived: Workplace) -> None:
    """The file of today is not the one that the record is about."""
    origin.put("/a.tar.gz", B)
    lived.run("update", "a", invariants=False).expect(0)
    found = [json.loads(line) for line in history(lived, "--export", "a").expect(0).out.splitlines()]
    names = {each["subject"][0]["digest"]["sha256"]: each["subject"][0]["name"] for each in found}
    assert names == {sha256(A): "a", sha256(B): "a/a.tar.gz"}


def test_records_that_cannot_be_stated_are_told(told: Workplace) -> None:
    note(told, Visit(1.0, "m", "verify", "", "sha256", 7, 0.5, "intact"), visit(2))
    run = history(told, "--export").expect(0)
    assert [json.loads(line)["predicate"]["record"]["number"] for line in run.out.splitlines()] == [2]
    assert "record 1 (m) is left out: it names no sha256" in run.err


@pytest.mark.parametrize(
    ("moment", "zone", "numbers"),
    [
        ("2026-11-22T12:00:00Z", "UTC", [1, 2]),
        ("2026-11-22T12:00:00", "Asia/Tokyo", [1, 2]),
        ("2026-11-22", "UTC", [1, 2, 3, 4]),
        ("2026-11-22", "Pacific/Kiritimati", [1, 2]),
        ("2026-11-01", "UTC", [1]),
        ("2027-01-01", "UTC", [5]),
    ],
    ids=["a moment", "a local moment", "a day", "a day elsewhere", "before all", "after all"],
)
def test_how_things_stood(told: Workplace, moment: str, zone: str, numbers: list[int]) -> None:
    """`--on`: what shows it, before and after; a day is a local day."""
    times = [-DAY, 0.6 * DAY, 0.8 * DAY, 1.5 * DAY, 3 * DAY]
    note(told, *(visit(NOVEMBER + each) for each in times))
    run = history(told, "--export", "--on", moment, env={"TZ": zone}).expect(0)
    assert [json.loads(line)["predicate"]["record"]["number"] for line in run.out.splitlines()] == numbers


def test_what_follows_from_it_is_said(told: Workplace) -> None:
    note(told, visit(NOVEMBER - DAY), visit(NOVEMBER, "other", "corrupt", "one flipped bit"), visit(NOVEMBER + DAY))
    run = history(told, "--on", "2026-11-22T12:00").expect(0)
    lines = run.out.splitlines()
    assert lines[0] == "m: read before and after it, and intact both times: the same bytes"
    assert "other: not shown to have been intact: record 2 says corrupt" in lines
    report = history(told, "--json", "--on", "2026-11-22T12:00").expect(0).report
    assert set(report["conclusions"]) == {"m", "other"}
    assert [each["number"] for each in report["history"]] == [1, 2, 3]


@pytest.mark.parametrize(
    "args",
    [
        ["--on", "yesterday"],
        ["--on", "2026-13-01"],
        ["--on", "0001-01-01"],
        ["--on", "9999-12-31"],
        ["--on", "2026-11-22", "--since", "2d"],
        ["--since", "2"],
        ["--limit", "0"],
        ["--export", "--check"],
    ],
)  # fmt: skip
def test_bad_input_is_one_line(told: Workplace, args: list[str]) -> None:
    note(told, visit(1))
    run = history(told, *args).expect(2)
    assert run.err.startswith("ckptd: error: ")
    assert run.out == ""


# --- what may be missing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["--check"], ["--export"], ["--on", "2026-11-22"]], ids=" ".join)
def test_no_history_is_no_proof(site: Workplace, args: list[str]) -> None:
    site.one("https://example.org/m.bin", "m")
    run = history(site, *args).expect(1)
    assert "there is no history" in run.err
    assert history(site, "--json", *args).expect(1).report["error"]["kind"] == "storage"
    assert not site.store.exists()


def test_a_database_that_is_damaged(told: Workplace) -> None:
    (told.state / "state.db").write_bytes(b"no database at all" * 500)
    run = history(told, "--json", "--check").expect(5)
    assert "cannot be read" in run.err
    assert run.report["error"]["kind"] == "storage"


def test_a_database_without_its_history(told: Workplace) -> None:
    """That is no disk that fails: somebody took it out."""
    note(told, visit(1))
    edit(told, "DROP TABLE history")
    for args in (["--check"], []):
        assert "its table is gone" in history(told, *args).expect(3).err


def test_the_head_of_nothing_is_not_one_that_was_noted(told: Workplace) -> None:
    note(told, visit(1))
    assert "none of them has that digest" in history(told, "--expect", ZERO).expect(3).err


def test_it_takes_no_lock_and_leaves_no_trace(origin: Origin, lived: Workplace) -> None:
    """While a sync owns the store, and when nobody does."""
    hold = Hold()
    lived.write({"name": "c", "url": origin.put("/c.tar.gz", tgz(60_000, 3))})
    origin.on("/c.tar.gz", f.hold(1000, hold))
    running = lived.start("sync")
    assert hold.reached.wait(30)
    try:
        assert len(records(lived)) == 6
        history(lived, "--check").expect(0)
    finally:
        hold.release()
    running.wait(invariants=False).expect(0)
    before = sorted(os.listdir(lived.state))
    stamps = {path: path.stat().st_mtime_ns for path in lived.state.iterdir()}
    for args in ([], ["--check"], ["--export"]):
        history(lived, *args).expect(0)
    assert sorted(os.listdir(lived.state)) == before
    assert {path: path.stat().st_mtime_ns for path in lived.state.iterdir()} == stamps

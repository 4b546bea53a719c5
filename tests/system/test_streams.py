"""Standard streams that are closed or full: the work is done all the same, and nobody sees a traceback."""

from __future__ import annotations

import pytest
from origin import Origin
from workplace import Workplace, tgz

pytestmark = pytest.mark.slow

A = tgz(20_000, 1)
PATH = "/a.tar.gz"


def shell(words: str) -> list[str]:
    """What a shell does to the program's streams."""
    return ["sh", "-c", f'"$@" {words}', "sh"]


@pytest.mark.parametrize("words", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(origin: Origin, site: Workplace, words: str) -> None:
    """Exit 0, nothing on the stream that is left but what belongs there, and no file has taken its number."""
    site.one(origin.put(PATH, A))
    for command in ("sync", "status", "verify"):
        run = site.run(command, prefix=shell(words), invariants=False).expect(0)
        assert "error" not in run.out + run.err
    site.assert_good("a", A)
    assert (site.state / "state.db").read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["sync"], ["--help"], ["export"]])
def test_results_that_cannot_be_written(origin: Origin, site: Workplace, arguments: list[str]) -> None:
    """A full disk behind stdout is exit 5 and a line; what was to be done is done."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    run = site.run(*arguments, prefix=shell(">/dev/full")).expect(5)
    assert run.err.count("could not be written: No space left on device") == 1
    assert "internal" not in run.err


@pytest.mark.parametrize("arguments", [["sync"], ["verify", "--verbose"], ["path", "nobody"]])
def test_messages_that_cannot_be_written(origin: Origin, site: Workplace, arguments: list[str]) -> None:
    """Nobody hears them, and the work is done as it would have been."""
    site.one(origin.put(PATH, A))
    usual = site.run(*arguments)
    told = site.run(*arguments, prefix=shell("2>/dev/full"))
    assert (told.status, told.err) == (usual.status, "")


def test_the_worst_is_said(origin: Origin, site: Workplace) -> None:
    """Damage weighs more than results that nobody gets to see (contract, Exit status)."""
    site.one(origin.put(PATH, A))
    site.sync().expect(0)
    path = site.file("a")
    path.chmod(0o644)
    path.write_bytes(bytes(len(A)))
    run = site.run("verify", prefix=shell(">/dev/full"), invariants=False).expect(3)
    assert "could not be written" in run.err


def test_who_listens_no_more_ends_it(origin: Origin, site: Workplace) -> None:
    site.one(origin.put(PATH, A))
    run = site.run("status", prefix=["bash", "-c", '("$@"; echo "status $?" >&2) | true', "bash"])
    assert set(run.err.splitlines()) <= {"status 0", "status 1"}, run

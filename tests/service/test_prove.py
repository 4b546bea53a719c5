"""service.history: nobody is accused of editing because a reader came at a bad moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.core.attestation import GENESIS, Checked, Visit
from ckptd.errors import IntegrityError
from ckptd.service.history import prove
from ckptd.service.workplace import Workplace, enter
from ckptd.store import history
from ckptd.store.state import write

TORN = Checked(0, GENESIS, "record 1 is missing")


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text('[[checkpoint]]\nname = "m"\nurl = "https://example.org/m.bin"\n')
    found = enter(manifest, ())
    found.places.state.mkdir(parents=True)
    visit = Visit(1.0, "m", "verify", "a" * 64, "sha256", 7, 0.5, "intact")
    write(found.places.database, lambda connection: history.add_history(connection, [visit]))
    return found


def test_what_looks_edited_is_read_again(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database at rest is read without locks, and somebody may just begin to write it."""
    check, seen = history.check, [TORN]
    monkeypatch.setattr(history, "check", lambda *args: seen.pop() if seen else check(*args))
    assert prove(workplace).count == 1
    assert not seen


def test_what_looks_edited_twice_is(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "check", lambda *args: TORN)
    with pytest.raises(IntegrityError, match="record 1 is missing; none before it"):
        prove(workplace)

"""store.survey and store.removal: what lies there is seen as it is, and taken away without following anything."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

import pytest
from house import House

from ckptd.core.ranges import Extents
from ckptd.core.survey import Shape, Stored
from ckptd.core.tree import Kind, TreeMember, tree_of
from ckptd.errors import StorageError
from ckptd.store import removal, survey
from ckptd.store.places import Places, prepare
from ckptd.store.records import PartialRecord, save_partial
from ckptd.store.state import write
from ckptd.store.trees import save_tree

SHA = "a" * 64


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "store", tmp_path / "store/.ckptd", tmp_path / "manifest.lock")
    prepare(found)
    return found


def put(path: Path, content: bytes = b"x" * 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def shapes(found: tuple[Stored, ...]) -> dict[str, Shape | dict[str, Shape]]:
    return {
        each.thing.name: {inner.name: inner.shape for inner in each.within}
        if each.thing.shape is Shape.FOLDER
        else each.thing.shape
        for each in found
    }


# --- looking ----------------------------------------------------------------------------------------------------------


def test_what_stands_in_the_store(places: Places, tmp_path: Path) -> None:
    """Links are links, whatever they lead to; the state and what is ours beside it are no part of the store."""
    outside = put(tmp_path / "outside/precious")
    put(places.store / "a/a.bin")
    (places.store / "a/link").symlink_to(outside)
    (places.store / "b").symlink_to(outside.parent)
    os.mkfifo(places.store / "pipe")
    put(places.store / "manifest.lock")
    (places.store / "empty").mkdir()
    put(places.store / os.fsdecode(b"latin-\xe9"))
    found = survey.stored(places, {places.store / "manifest.lock"}, {})
    assert shapes(found) == {
        "a": {"a.bin": Shape.FILE, "link": Shape.LINK},
        "b": Shape.LINK,
        "pipe": Shape.OTHER,
        "empty": {},
        os.fsdecode(b"latin-\xe9"): Shape.FILE,
    }
    assert next(each for each in found if each.thing.name == "a").within[0].size == 10


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    nowhere = Places(tmp_path / "no", tmp_path / "no/.ckptd", tmp_path / "lock")
    assert survey.stored(nowhere, (), {}) == ()
    assert (survey.partials(nowhere), survey.sums(nowhere), survey.leftovers(nowhere)) == ((), (), ())


def tree(places: Places) -> Path:
    members = {
        "model": TreeMember("model", Kind.FOLDER),
        "model/weights": TreeMember("model/weights", Kind.FILE, 10, SHA),
        "latest": TreeMember("latest", Kind.LINK, target="model"),
    }
    save_tree(tree_of(members), places.trees, SHA)
    folder = places.tree("a")
    put(folder / "model/weights")
    (folder / "latest").symlink_to("model")
    return folder


def familiar(places: Places, *digests: str) -> bool:
    (found,) = survey.stored(places, (), {"a": digests})
    (within,) = found.within
    return within.familiar


def test_a_tree_is_familiar_when_all_of_it_came_from_its_archive(places: Places) -> None:
    folder = tree(places)
    assert familiar(places, "b" * 64, SHA)
    assert not familiar(places, "b" * 64)
    assert not familiar(places)
    (folder / "latest").unlink()
    assert familiar(places, SHA), "what is missing is no reason to keep the rest"


@pytest.mark.parametrize("name", ["mine", "model/mine", "model/mine/deep"])
def test_a_tree_that_somebody_added_to(places: Places, name: str) -> None:
    put(tree(places) / name)
    assert not familiar(places, SHA)


def test_a_tree_with_another_file_in_the_place_of_one(places: Places) -> None:
    weights = tree(places) / "model/weights"
    weights.write_bytes(b"x" * 11)
    assert not familiar(places, SHA)
    weights.unlink()
    weights.symlink_to("/etc/passwd")
    assert not familiar(places, SHA)


def test_partials_with_and_without_record(places: Places) -> None:
    put(places.partials / "a.1.part")
    put(places.partials / "stray.part")
    for name, file in (("a", "a.1.part"), ("b", "b.2.part")):
        record = PartialRecord(name, "https://e.org/f", file, "", None, Extents(), Extents(), {}, ())
        write(places.database, lambda database, record=record: save_partial(database, record))  # type: ignore[misc]
    found = {each.name: each for each in survey.partials(places)}
    assert {name: (each.size, each.recorded) for name, each in found.items()} == {
        "a": (10, True),
        "stray.part": (10, False),
        "b": (0, True),
    }
    assert found["b"].touched == inf
    assert found["a"].touched == (places.partials / "a.1.part").stat().st_mtime


def test_what_lies_in_the_state(places: Places) -> None:
    put(places.pieces / SHA)
    put(places.pieces / "no-digest")
    (places.pieces / ("b" * 64)).symlink_to(places.pieces / SHA)
    put(places.state / "state.db.damaged-17")
    put(places.state / "pruned/123-a")
    put(places.state / ".probe-new/file")
    put(places.state / "staging/new/file")
    put(places.state / "old-trees/a.123/deep/file")
    for name in (".probe-old", "staging/old"):
        os.utime(put(places.state / name / "file").parent, (1, 1))
    assert [each.name for each in survey.named_by_digest(places.pieces)] == [SHA]
    assert [each.name for each in survey.databases(places)] == ["state.db.damaged-17"]
    assert {each.name: each.size for each in survey.leftovers(places)} == {"123-a": 10, ".probe-old": 10, "old": 10}
    assert {each.name: each.size for each in survey.old_trees(places)} == {"a.123": 10}


def test_what_cannot_be_listed_is_said(tmp_path: Path) -> None:
    put(tmp_path / "store")
    with pytest.raises(StorageError, match="cannot read"):
        survey.stored(Places(tmp_path / "store", tmp_path / "state", tmp_path / "lock"), (), {})


# --- taking away ------------------------------------------------------------------------------------------------------


def test_aside_and_gone(places: Places) -> None:
    file = put(places.store / "a/a.bin")
    with file.open("rb") as reader:
        aside = removal.set_aside(places, file)
        assert not (places.store / "a").exists(), "the empty folder stays"
        assert aside.is_relative_to(places.state)
        removal.erase(aside)
        assert reader.read() == b"x" * 10, "who has it open keeps it"
    assert not aside.exists()
    removal.erase(aside)  # once more is no error


def test_what_else_is_in_the_folder_stays_with_it(places: Places) -> None:
    mine = put(places.store / "a/mine")
    removal.erase(removal.set_aside(places, put(places.store / "a/a.bin")))
    assert mine.exists()


def test_a_link_in_the_place_of_the_file_goes_itself(places: Places, tmp_path: Path) -> None:
    precious = put(tmp_path / "precious")
    (places.store / "a").mkdir()
    (places.store / "a/a.bin").symlink_to(precious)
    removal.erase(removal.set_aside(places, places.store / "a/a.bin"))
    assert precious.exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(places: Places, tmp_path: Path) -> None:
    precious = put(tmp_path / "outside/a.bin")
    (places.store / "a").symlink_to(precious.parent)
    with pytest.raises(StorageError, match="cannot take"):
        removal.set_aside(places, places.store / "a/a.bin")
    assert precious.exists()


def test_a_tree_with_links_out_of_it(places: Places, tmp_path: Path) -> None:
    precious = put(tmp_path / "outside/precious")
    folder = tree(places)
    (folder / "out").symlink_to(precious.parent)
    removal.erase(removal.set_aside(places, folder))
    assert precious.exists()
    assert list(places.store.iterdir()) == [places.state]


def test_a_disk_that_refuses(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in its place as before, and so is what is known of it."""
    file = put(places.store / "a/a.bin")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match="Input/output error"):
        removal.set_aside(places, file)
    assert file.exists()


async def test_rows(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.state.do(lambda database: database.execute("INSERT INTO sums VALUES (?, ?)", (SHA, b"1234")))
        assert [(each.name, each.size) for each in survey.sums(house.places)] == [(SHA, 4)]
        await house.state.do(lambda database: removal.drop_sums(database, [SHA, "unknown"]))
        assert survey.sums(house.places) == ()
        await house.state.do(lambda database: removal.forget_files(database, ["unknown"]))

"""`ckptd path`: what a config wants, for every kind of checkpoint that people publish; the real program."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
from origin import Origin, Origins
from test_unpacked import packed
from workplace import Workplace

pytestmark = pytest.mark.slow

SAFE = struct.pack("<Q", 2) + b"{}" + bytes(64)
ONNX = b"\x08\x07\x12\x07pytorch" + bytes(64)


def torch() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/version", b"3\n")
    return out.getvalue()


def tensorflow(folder: str, *steps: int) -> dict[str, bytes]:
    files = {f"{folder}checkpoint": f'model_checkpoint_path: "ckpt-{steps[-1]}"\n'.encode()}
    for step in steps:
        files |= {f"{folder}ckpt-{step}.index": bytes(90), f"{folder}ckpt-{step}.data-00000-of-00001": bytes(900)}
    return files


TREES: dict[str, tuple[dict[str, bytes], str, str]] = {
    "prefix": (tensorflow("m/", 7), "tensorflow", "m/ckpt-7"),
    "prefix at the top": (tensorflow("", 7), "tensorflow", "ckpt-7"),
    "the one that `checkpoint` names": (tensorflow("m/", 100, 200), "tensorflow", "m/ckpt-200"),
    "no checkpoint file": ({"m/x.index": b"i", "m/x.data-00000-of-00001": b"d"}, "tensorflow", "m/x"),
    "saved model": (
        {"m/saved_model.pb": b"\x08\x01", "m/variables/variables.index": b"i",
         "m/variables/variables.data-00000-of-00001": b"d"},
        "saved-model", "m",
    ),
    "hugging face": ({"m/config.json": b"{}", "m/model.safetensors": SAFE}, "hugging-face", "m"),
    "one torch file": ({"m/model.pth": torch(), "m/README.md": b"read me"}, "pytorch", "m/model.pth"),
    "one onnx file": ({"model.onnx": ONNX}, "onnx", "model.onnx"),
    "a folder": ({"m/one.npy": b"1", "m/two.npy": b"2"}, "folder", "m"),
    "odd names": ({"a b/ä/ckpt.index": b"i", "a b/ä/ckpt.data-00000-of-00001": b"d"}, "tensorflow", "a b/ä/ckpt"),
}  # fmt: skip


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Every tree, fetched and unpacked in one run."""
    with Origins() as origins:
        origin = origins.new()
        site = Workplace(tmp_path_factory.mktemp("zoo") / "site", [])
        site.write(
            *({"name": f"t{number}", "url": origin.put(f"/{number}.tar.gz", packed(files)), "unpack": True}
              for number, (files, _, _) in enumerate(TREES.values()))
        )  # fmt: skip
        site.sync(invariants=False).expect(0)
    return site


@pytest.mark.parametrize("row", TREES)
def test_what_a_config_wants(zoo: Workplace, row: str) -> None:
    """The prefix, the folder, the file."""
    name, (_, kind, path) = f"t{list(TREES).index(row)}", TREES[row]
    wanted = str(zoo.store / name / "tree" / path)
    assert zoo.run("path", name, invariants=False).expect(0).out == f"{wanted}\n"
    assert zoo.run("path", "--kind", kind, name, invariants=False).expect(0).out == f"{wanted}\n"


def test_status_says_what_it_is(zoo: Workplace, origin: Origin, site: Workplace) -> None:
    """The kind of every tree, and of single files by their names; none where nothing is."""
    found = json.loads(zoo.run("status", "--json", invariants=False).expect(0).out)["checkpoints"]
    assert [each["kind"] for each in found] == [kind for _, kind, _ in TREES.values()]
    assert "saved-model" in zoo.run("status", invariants=False).expect(0).out
    site.write({"name": "a", "url": origin.put("/a.safetensors", SAFE)}, {"name": "b", "url": origin.put("/b.pt", b"")})
    site.sync("a").expect(0)
    kinds = {each["name"]: each["kind"] for each in json.loads(site.run("status", "--json").out)["checkpoints"]}
    assert kinds == {"a": "safetensors", "b": None}


def test_another_kind_than_there_is(zoo: Workplace) -> None:
    run = zoo.run("path", "--kind", "onnx", "t0", invariants=False).expect(1)
    assert "tensorflow" in run.err
    assert run.out == ""
    assert "known: " in zoo.run("path", "--kind", "caffe", "t0", invariants=False).expect(2).err


def test_more_than_one(origin: Origin, site: Workplace) -> None:
    """Exit 1 with the candidates; `--all` lists them."""
    files = {"a.pth": torch(), "b.pth": torch()}
    site.one(origin.put("/two.tar.gz", packed(files)), unpack=True)
    site.sync(invariants=False).expect(0)
    run = site.run("path", "a", invariants=False).expect(1)
    for name in files:
        assert str(site.store / "a" / "tree" / name) in run.err
    told = json.loads(site.run("path", "--json", "a", invariants=False).expect(1).out)
    assert [Path(each["path"]).name for each in told["paths"]] == sorted(files)
    assert told["error"]["message"].startswith("a has 2 paths")
    listed = site.run("path", "--all", "a", invariants=False).expect(0).out
    assert all(name in listed for name in files)
    found = json.loads(site.run("path", "--all", "--json", "a", invariants=False).expect(0).out)
    assert found["exit"] == 0


def test_a_shard_that_is_missing(origin: Origin, site: Workplace) -> None:
    """A checkpoint that cannot be loaded is not handed out."""
    files = {"m/ckpt.index": b"i", "m/ckpt.data-00001-of-00002": b"d"}
    site.one(origin.put("/half.tar.gz", packed(files)), unpack=True)
    site.sync(invariants=False).expect(0)
    assert "data-00000-of-00002" in site.run("path", "a", invariants=False).expect(1).err


def test_a_single_file(origin: Origin, site: Workplace) -> None:
    site.one(origin.put("/model.safetensors", SAFE))
    site.sync().expect(0)
    assert Path(site.run("path", "a").expect(0).out.strip()) == site.file("a")


def test_nothing_there(site: Workplace) -> None:
    """Exit 1 with what to run; the manifest is not touched, nothing is made."""
    site.one("http://127.0.0.1:9/a.tar.gz", unpack=True)
    run = site.run("path", "a").expect(1)
    assert "ckptd sync a" in run.err
    assert not site.store.exists()
    site.run("path", "nobody").expect(2)


def test_a_link_in_the_tree_leads_nowhere_else(origin: Origin, site: Workplace) -> None:
    """Links that somebody puts into the tree later are not followed to other places."""
    site.one(origin.put("/m.tar.gz", packed(tensorflow("m/", 7))), unpack=True)
    site.sync(invariants=False).expect(0)
    tree = site.store / "a" / "tree"
    os.symlink("/", tree / "root")
    assert site.run("path", "a", timeout=10, invariants=False).expect(0).out == f"{tree}/m/ckpt-7\n"

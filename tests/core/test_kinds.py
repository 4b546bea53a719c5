"""Which path of a tree, or of a file, a config wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.kinds import Find, Kind, Rank, choose, recognise_file, recognise_tree, texts_needed


def shards(prefix: str, total: int = 1) -> list[str]:
    return [f"{prefix}.index", *(f"{prefix}.data-{number:05}-of-{total:05}" for number in range(total))]


def pieces(stem: str, ending: str, total: int) -> list[str]:
    return [f"{stem}-{number:05}-of-{total:05}{ending}" for number in range(1, total + 1)]


NAMED = 'model_checkpoint_path: "ckpt-200"\nall_model_checkpoint_paths: "ckpt-100"\n'
SAVED = [
    "m/saved_model.pb",
    "m/variables/variables.index",
    "m/variables/variables.data-00000-of-00001",
    "m/assets/v.txt",
]
BERT = ["bert/config.json", "bert/vocab.txt", "bert/model.safetensors", "bert/pytorch_model.bin"]
PIPELINE = ["model_index.json", "unet/config.json", "unet/diffusion.safetensors", "vae/config.json", "vae/vae.bin"]

# A tree's files, texts of its `checkpoint` files -> what `choose` says: kinds and paths.
TREES: dict[str, tuple[list[str], dict[str, str], list[tuple[Kind, str]]]] = {
    "the one index": (
        ["r50/checkpoint", *shards("r50/ckpt-100")],
        {"r50/checkpoint": ""},
        [(Kind.TENSORFLOW, "r50/ckpt-100")],
    ),
    "at the top": (shards("model.ckpt-30"), {}, [(Kind.TENSORFLOW, "model.ckpt-30")]),
    "several shards": (shards("a/ckpt", 3), {}, [(Kind.TENSORFLOW, "a/ckpt")]),
    "the checkpoint file names one": (
        ["a/checkpoint", *shards("a/ckpt-100"), *shards("a/ckpt-200")],
        {"a/checkpoint": NAMED},
        [(Kind.TENSORFLOW, "a/ckpt-200")],
    ),
    "by the path of another machine": (
        ["a/checkpoint", *shards("a/ckpt-1"), *shards("a/ckpt-2")],
        {"a/checkpoint": 'model_checkpoint_path: "/home/me/run/ckpt-1"'},
        [(Kind.TENSORFLOW, "a/ckpt-1")],
    ),
    "in a folder below": (
        ["checkpoint", *shards("keep/ckpt-1"), *shards("keep/ckpt-2")],
        {"checkpoint": 'model_checkpoint_path: "keep/ckpt-2"'},
        [(Kind.TENSORFLOW, "keep/ckpt-1"), (Kind.TENSORFLOW, "keep/ckpt-2")],
    ),
    "the checkpoint file names what is not there": (
        ["a/checkpoint", *shards("a/ckpt-1")],
        {"a/checkpoint": 'model_checkpoint_path: "ckpt-9"'},
        [(Kind.TENSORFLOW, "a/ckpt-1")],
    ),
    "the checkpoint file is no text": (
        ["a/checkpoint", *shards("a/ckpt-1")],
        {"a/checkpoint": "\x00\x01{{{"},
        [(Kind.TENSORFLOW, "a/ckpt-1")],
    ),
    "nobody says which": (
        [*shards("a/ckpt-1"), *shards("a/ckpt-2")],
        {},
        [(Kind.TENSORFLOW, "a/ckpt-1"), (Kind.TENSORFLOW, "a/ckpt-2")],
    ),
    "leftovers of a Mac": (
        [*shards("a/ckpt-1"), *shards("__MACOSX/a/._ckpt-1"), "a/._ckpt-1.index", "__MACOSX/m.pt"],
        {},
        [(Kind.TENSORFLOW, "a/ckpt-1")],
    ),
    "SavedModel": (SAVED, {}, [(Kind.SAVED_MODEL, "m")]),
    "SavedModel at the top": ([path.removeprefix("m/") for path in SAVED], {}, [(Kind.SAVED_MODEL, "")]),
    "SavedModel and a checkpoint": (
        [*SAVED, *shards("ckpt")],
        {},
        [(Kind.TENSORFLOW, "ckpt"), (Kind.SAVED_MODEL, "m")],
    ),
    "Hugging Face": (BERT, {}, [(Kind.HUGGING_FACE, "bert")]),
    "Hugging Face, sharded": (
        ["config.json", "model.safetensors.index.json", *pieces("model", ".safetensors", 2)],
        {},
        [(Kind.HUGGING_FACE, "")],
    ),
    "Hugging Face, an adapter": (
        ["x/adapter_config.json", "x/adapter_model.safetensors"],
        {},
        [(Kind.HUGGING_FACE, "x")],
    ),
    "a pipeline of several": (PIPELINE, {}, [(Kind.HUGGING_FACE, "")]),
    "a config without weights": (["a/config.json", "a/readme.md"], {}, [(Kind.FOLDER, "a")]),
    "PyTorch": (["a/model.pt", "a/readme.md"], {}, [(Kind.PYTORCH, "a/model.pt")]),
    "PyTorch with its optimizer": (
        ["a/pytorch_model.bin", "a/optimizer.pt", "a/training_args.bin", "a/rng_state_0.pth"],
        {},
        [(Kind.PYTORCH, "a/pytorch_model.bin")],
    ),
    "an optimizer alone": (["a/optimizer.pt"], {}, [(Kind.PYTORCH, "a/optimizer.pt")]),
    "any .bin alone": (["a/x.bin", "a/y.txt"], {}, [(Kind.PYTORCH, "a/x.bin")]),
    "any .bin beside weights": (["a/x.bin", "a/y.pth"], {}, [(Kind.PYTORCH, "a/y.pth")]),
    "two models": (["a.pth", "b.pth"], {}, [(Kind.PYTORCH, "a.pth"), (Kind.PYTORCH, "b.pth")]),
    "PyTorch, sharded": (
        ["w/pytorch_model.bin.index.json", *pieces("w/pytorch_model", ".bin", 3)],
        {},
        [(Kind.PYTORCH, "w/pytorch_model.bin.index.json")],
    ),
    "safetensors": (["model.safetensors"], {}, [(Kind.SAFETENSORS, "model.safetensors")]),
    "shards without an index": (pieces("w/model", ".safetensors", 2), {}, [(Kind.SAFETENSORS, "w")]),
    "ONNX with its data": (["m/model.onnx", "m/model.onnx_data"], {}, [(Kind.ONNX, "m/model.onnx")]),
    "one folder of what we do not know": (["a/x.npy", "a/b/y.npy"], {}, [(Kind.FOLDER, "a")]),
    "several of them": (["a/x.npy", "b/y.npy"], {}, [(Kind.FOLDER, "")]),
    "files and folders": (["a/x.npy", "y.npy"], {}, [(Kind.FOLDER, "")]),
    "one file": (["a/b/x.npy"], {}, [(Kind.FILE, "a/b/x.npy")]),
    "nothing": ([], {}, [(Kind.FOLDER, "")]),
    "an index of another program": (["a/faiss.index", "a/b.txt"], {}, [(Kind.FOLDER, "a")]),
}


@pytest.mark.parametrize(("files", "texts", "wanted"), TREES.values(), ids=TREES)
def test_trees(files: list[str], texts: dict[str, str], wanted: list[tuple[Kind, str]]) -> None:
    finds = recognise_tree(reversed(files), texts)
    assert [(find.kind, find.path) for find in choose(finds)] == wanted
    assert not [find for find in finds if find.missing]
    assert set(texts) <= set(texts_needed(files))


@pytest.mark.parametrize(
    ("files", "kind", "paths"),
    [
        (SAVED, Kind.TENSORFLOW, ["m/variables/variables"]),
        (BERT, Kind.SAFETENSORS, ["bert/model.safetensors"]),
        (BERT, Kind.PYTORCH, ["bert/pytorch_model.bin"]),
        (BERT, Kind.ONNX, []),
        ([*SAVED, *shards("ckpt")], Kind.SAVED_MODEL, ["m"]),
        (PIPELINE, Kind.HUGGING_FACE, [""]),
    ],
)
def test_a_kind_can_be_asked_for(files: list[str], kind: Kind, paths: list[str]) -> None:
    assert [find.path for find in choose(recognise_tree(files), kind)] == paths


def test_what_is_passed_over_is_still_a_candidate() -> None:
    finds = recognise_tree(["checkpoint", *shards("ckpt-100"), *shards("ckpt-200")], {"checkpoint": NAMED})
    assert finds == (Find(Kind.TENSORFLOW, "ckpt-200"), Find(Kind.TENSORFLOW, "ckpt-100", Rank.PART))


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (["a/ckpt.index", "a/ckpt.data-00000-of-00003"], ("a/ckpt.data-00001-of-00003", "a/ckpt.data-00002-of-00003")),
        (["a/checkpoint", "a/ckpt.index"], ("a/ckpt.data-00000-of-00001",)),
        (pieces("m", ".safetensors", 3)[1:], ("m-00001-of-00003.safetensors",)),
    ],
)
def test_missing_shards_are_named(files: list[str], missing: tuple[str, ...]) -> None:
    (find,) = recognise_tree(files)
    assert find.missing == missing


ZIP = b"PK\x03\x04" + bytes(12)
TENSORS = (200).to_bytes(8, "little") + b'{"__meta'


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("m.pt", b"", Kind.PYTORCH),
        ("M.PTH", ZIP, Kind.PYTORCH),
        ("m.pth", b"\x80\x02}q\x00", Kind.PYTORCH),
        ("m.pt", b"<html>", Kind.FILE),
        ("m.bin", ZIP, Kind.PYTORCH),
        ("m.bin", bytes(16), Kind.FILE),
        ("m.safetensors", TENSORS, Kind.SAFETENSORS),
        ("m.safetensors", b"\xff" * 8 + b"{}", Kind.FILE),
        ("blob", TENSORS, Kind.SAFETENSORS),
        ("m.onnx", b"\x08\x07\x12\x07pytorch", Kind.ONNX),
        ("m.onnx", b"version https://git-lfs", Kind.FILE),
        ("m.tar.gz", b"\x1f\x8b", Kind.ARCHIVE),
        ("m.ZIP", b"", Kind.ARCHIVE),
        ("m", b"", Kind.FILE),
        ("m.ckpt", ZIP, Kind.FILE),
    ],
)
def test_files(name: str, head: bytes, kind: Kind) -> None:
    assert recognise_file(name, head) == Find(kind, "")


NAMES = st.sampled_from(
    [
        *(
            "checkpoint",
            "config.json",
            "saved_model.pb",
            "model_index.json",
            "a.index",
            "a.data-00000-of-00001",
            "x.bin",
        ),
        *("a.data-99999-of-00002", "m-00001-of-00002.bin", "m.bin.index.json", "model.pt", "x", "...", "m.onnx", ".."),
    ]
)
FILES = st.lists(st.lists(st.sampled_from(["a", "b", ".c"]), max_size=3), max_size=8)


@given(FILES, st.lists(NAMES, min_size=8, max_size=8), st.text(max_size=20))
def test_every_tree_has_an_answer(folders: list[list[str]], names: list[str], text: str) -> None:
    """It lies in the tree, or is it; and does not depend on the order of the listing."""
    files = ["/".join([*folder, name]) for folder, name in zip(folders, names, strict=False)]
    texts = dict.fromkeys(texts_needed(files), text)
    finds = recognise_tree(files, texts)
    assert choose(finds)
    assert finds == recognise_tree(reversed(files), texts)
    for find in finds:
        assert not find.path or any(path.startswith(find.path) for path in files)

"""Which kind of checkpoint lies in a tree, or in a file, and which path of it a config wants.

Looks at names, at the small text files named `checkpoint`, and at a file's first bytes; what it does not recognise
is a plain file or folder, never an error. Reads nothing itself, and does not say whether the bytes are good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

HEAD_NEEDED = 16  # bytes of a file's beginning
LARGEST_TEXT = 1024 * 1024  # bytes; a `checkpoint` file that is larger is none


class Kind(StrEnum):
    """What `--kind` takes."""

    TENSORFLOW = "tensorflow"  # a prefix: PREFIX.index and its shards PREFIX.data-00000-of-00001
    SAVED_MODEL = "saved-model"  # a folder
    HUGGING_FACE = "hugging-face"  # a folder with config.json and weights
    PYTORCH = "pytorch"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    ARCHIVE = "archive"
    FOLDER = "folder"
    FILE = "file"


class Rank(IntEnum):
    """How likely it is what a config wants; the lowest that is there counts."""

    WHOLE = 0  # a model by itself
    PART = 1  # part of a folder that is one, or a checkpoint that its `checkpoint` file passes over
    BESIDE = 2  # what training leaves beside a model, or has only a name in common with one


@dataclass(frozen=True, slots=True)
class Find:
    """One path that a config could want, relative to the tree; "" is the tree, or the file, itself.

    `missing` names shards that are not there: what is found cannot be loaded.
    """

    kind: Kind
    path: str
    rank: Rank = Rank.WHOLE
    missing: tuple[str, ...] = ()


_DATA = re.compile(r"(.+)\.data-([0-9]{5})-of-([0-9]{5})")
_SHARD = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})(\.[a-z]+)")
_WEIGHTS = {".pt": Kind.PYTORCH, ".pth": Kind.PYTORCH, ".bin": Kind.PYTORCH, ".safetensors": Kind.SAFETENSORS}
_WEIGHTS[".onnx"] = Kind.ONNX
_ARCHIVES = (".tar", ".tgz", ".txz", ".tzst", ".tbz", ".gz", ".xz", ".zst", ".bz2", ".zip", ".7z")
_MODEL_BIN = re.compile(r"(?:.*[._-])?(?:model|weights|adapter|consolidated|checkpoint)\b.*", re.IGNORECASE)
_BESIDE = re.compile(r"(?:optimizer|scheduler|scaler|training_args|rng_state|random_states).*", re.IGNORECASE)
_HF_CONFIGS = frozenset({"config.json", "adapter_config.json", "model_index.json"})
_HF_OTHER_WEIGHTS = (".h5", ".msgpack", ".gguf", ".ot")
_SAVED = ("saved_model.pb", "saved_model.pbtxt")


def texts_needed(files: Iterable[str]) -> list[str]:
    """Those of `files` whose text `recognise_tree` wants to see, where it is at most LARGEST_TEXT."""
    return [path for path in files if _base(path) == "checkpoint" and not _is_junk(path)]


def recognise_tree(files: Iterable[str], texts: Mapping[str, str] | None = None) -> tuple[Find, ...]:
    """Every path of a tree that a config could want, the likeliest first; at least one.

    Args:
        files: the paths of its files, relative to it, with `/` between.
        texts: what stands in those that `texts_needed` names.
    """
    names = sorted(path for path in files if not _is_junk(path))
    folders = [*_saved_models(names), *_hugging_face(names)]
    finds = [*folders, *_tensorflow(names, texts or {}), *_weights(names)]
    outer = {find.path for find in folders}
    ranked = [replace(find, rank=max(find.rank, Rank.PART)) if _inside(find, outer) else find for find in finds]
    return tuple(sorted(ranked, key=lambda find: (find.rank, find.path, find.kind))) or (_plain(names),)


def recognise_file(name: str, head: bytes = b"") -> Find:
    """What a single file is by its name, and by its first HEAD_NEEDED bytes where there are any; its path is ""."""
    lower = name.lower()
    kind = _WEIGHTS.get(lower[lower.rfind(".") :]) if "." in lower else None
    if kind is not None and (not head or _begins(kind, head)):
        return Find(kind, "")
    if lower.endswith(_ARCHIVES):
        return Find(Kind.ARCHIVE, "")
    return Find(Kind.SAFETENSORS if head and _begins(Kind.SAFETENSORS, head) else Kind.FILE, "")


def choose(finds: Sequence[Find], kind: Kind | None = None) -> tuple[Find, ...]:
    """The likeliest, of one kind if one is asked for: one is the answer, several are ambiguous, none is none."""
    wanted = [find for find in finds if kind is None or find.kind == kind]
    best = min((find.rank for find in wanted), default=Rank.WHOLE)
    return tuple(find for find in wanted if find.rank == best)


def _is_junk(path: str) -> bool:
    """What packing on a Mac leaves, and hidden files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _inside(find: Find, folders: Iterable[str]) -> bool:
    """Whether it lies in one of `folders` that is not itself."""
    return any(find.path != each and (not each or find.path.startswith(f"{each}/")) for each in folders)


def _tensorflow(names: Sequence[str], texts: Mapping[str, str]) -> Iterator[Find]:
    """Prefixes with an index; in a folder whose `checkpoint` file names one of them, that one is meant."""
    there = set(names)
    shards: dict[str, str] = {}
    for path in names:
        found = _DATA.fullmatch(path)
        if found is not None:
            shards[found[1]] = max(found[3], shards.get(found[1], ""))
    prefixes = [path.removesuffix(".index") for path in names if path.endswith(".index")]
    # An index without shards is one only where a `checkpoint` file says so: other programs have indexes too.
    prefixes = [each for each in prefixes if each in shards or _join(_folder(each), "checkpoint") in there]
    for prefix in prefixes:
        total = shards.get(prefix, "00001")
        wanted = (f"{prefix}.data-{number:05}-of-{total}" for number in range(int(total)))
        missing = tuple(path for path in wanted if path not in there)
        named = _named(_folder(prefix), texts, prefixes)
        passed_over = named is not None and named != prefix
        yield Find(Kind.TENSORFLOW, prefix, Rank.PART if passed_over else Rank.WHOLE, missing)


def _named(folder: str, texts: Mapping[str, str], prefixes: Sequence[str]) -> str | None:
    """The one of `prefixes` that a folder's `checkpoint` file names, also by its path on another machine."""
    from ckptd.core.config_slots import Unreadable  # noqa: PLC0415  # `ckptd path` answers in scripts
    from ckptd.core.config_text import scan  # noqa: PLC0415

    try:
        slots = scan(texts.get(_join(folder, "checkpoint"), ""))
    except (Unreadable, RecursionError):
        return None
    value = next((slot.value for slot in slots if slot.path == ("model_checkpoint_path",) and slot.value), "")
    meant = (_join(folder, value), _join(folder, _base(value)))
    return next((each for each in meant if each in prefixes), None)


def _saved_models(names: Sequence[str]) -> Iterator[Find]:
    for folder in sorted({_folder(path) for path in names if _base(path) in _SAVED}):
        yield Find(Kind.SAVED_MODEL, folder)


def _hugging_face(names: Sequence[str]) -> Iterator[Find]:
    """Folders with a configuration and weights beside it; those of pipelines have them in folders below."""
    weighty = {_folder(path) for path in names if path.endswith((*_WEIGHTS, *_HF_OTHER_WEIGHTS))}
    for path in names:
        folder = _folder(path)
        pipeline = _base(path) == "model_index.json" and any(not folder or w.startswith(f"{folder}/") for w in weighty)
        if _base(path) in _HF_CONFIGS and (folder in weighty or pipeline):
            yield Find(Kind.HUGGING_FACE, folder)


def _weights(names: Sequence[str]) -> Iterator[Find]:
    """Files of weights; shards are one find: their index, or their folder where there is none."""
    there = set(names)
    sharded: dict[tuple[str, str, str], None] = {}
    for path in names:
        ending = path[path.rfind(".") :]
        found = _SHARD.fullmatch(path)
        if found is not None and found[4] in _WEIGHTS:
            sharded[found[1], found[3], found[4]] = None
        elif ending in _WEIGHTS:
            weak = _BESIDE.fullmatch(_base(path)) or (ending == ".bin" and not _MODEL_BIN.fullmatch(_base(path)))
            yield Find(_WEIGHTS[ending], path, Rank.BESIDE if weak else Rank.WHOLE)
    for stem, total, ending in sharded:
        index = f"{stem}{ending}.index.json"
        wanted = (f"{stem}-{number:05}-of-{total}{ending}" for number in range(1, int(total) + 1))
        missing = tuple(path for path in wanted if path not in there)
        yield Find(_WEIGHTS[ending], index if index in there else _folder(stem), missing=missing)


def _plain(names: Sequence[str]) -> Find:
    """A tree of one file is that file, one with a single folder at its top that folder."""
    if len(names) == 1:
        return replace(recognise_file(_base(names[0])), path=names[0])
    tops = {path.partition("/")[0] for path in names}
    one = len(tops) == 1 and all("/" in path for path in names)
    return Find(Kind.FOLDER, tops.pop() if one else "")


def _begins(kind: Kind, head: bytes) -> bool:
    """Whether the bytes may be of that kind."""
    if kind == Kind.PYTORCH:
        return head.startswith((b"PK\x03\x04", b"\x80"))  # a zip archive, or a pickle of before 1.6
    if kind == Kind.SAFETENSORS:
        return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000
    return head.startswith((b"\x08", b"\x12", b"\x1a", b"\x22", b"\x3a"))  # the first field of a ModelProto

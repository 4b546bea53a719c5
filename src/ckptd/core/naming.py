"""Names for checkpoints from the names of their files: legal by the contract, unique, and telling where they can.

`resnet50.tar.gz` becomes `resnet50`; a file that is only called `model.pth` takes the name of its folder, or what its
page calls it. Knows no manifest: which names are taken is told.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from urllib.parse import unquote, urlsplit

from ckptd.core.imports.links import ARCHIVES, WEIGHTS
from ckptd.core.schema import LONGEST_NAME
from ckptd.core.urls import normalise

# Words that say what every checkpoint is, and so tell none from another.
GENERIC = frozenset(
    {
        "model", "models", "checkpoint", "checkpoints", "ckpt", "weight", "weights", "pretrained", "final", "best",
        "last", "latest", "epoch", "state", "dict", "net", "network", "params", "pytorch", "torch", "tf", "flax",
        "jax", "onnx", "saved", "file", "data", "release", "download", "main", "master", "resolve", "raw", "blob",
        "initial", "url", "link", "here", "get", "this", "safetensors", "pth", "tar", "gz", "zip",
    }
)  # fmt: skip

_ILLEGAL = re.compile(r"[^A-Za-z0-9._-]+")
_REVISION = re.compile(r"/(?:resolve|raw|blob)/[^/]+/")  # of a code or model host: it names no model
_DASHES = re.compile(r"-{2,}")
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_ANY_BUILD = re.compile(r"v?[0-9]+|(?=[a-f]*[0-9])[0-9a-f]{6,64}")  # a number, a version, a digest or a part of one
_SHARD = re.compile(r"\.data-[0-9]{5}-of-[0-9]{5}$")


def stem(file_name: str) -> str:
    """`file_name` without the endings of archives and weights: "a.pth.tar.gz" is "a", ".gz" stays."""
    plain = file_name
    for endings in (ARCHIVES, WEIGHTS):
        found = next((ending for ending in endings if plain.lower().endswith(ending)), "")
        if len(found) < len(plain):
            plain = plain[: len(plain) - len(found)]
    return _SHARD.sub("", plain)


def generic(text: str) -> bool:
    """Whether `text` says no more than that there is a model, and perhaps which build of it."""
    words = [word for word in _WORDS.split(text.lower()) if word]
    return all(word in GENERIC or _ANY_BUILD.fullmatch(word) for word in words)


def legal(text: str) -> str:
    """The nearest name that the contract allows; "" when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = _ILLEGAL.sub("-", plain)
    return _DASHES.sub("-", name).lstrip("._-")[:LONGEST_NAME].rstrip("._-")


def proposals(url: str, file_name: str, title: str) -> tuple[str, ...]:
    """Names for the file at `url`, which can be fetched, best first; never none."""
    plain = stem(file_name)
    path = _REVISION.sub("/", urlsplit(normalise(url)).path)
    folders = [part for part in unquote(path).split("/")[:-1] if not generic(part)]
    parent = [f"{folders[-1]}-{plain}"] if folders else []
    titled = [f"{title}-{plain}"] if title else []
    wanted = [*titled, *parent, plain, file_name] if generic(plain) else [plain, file_name, *parent, *titled]
    found = dict.fromkeys(name for name in map(legal, wanted) if name)
    return tuple(found) or ("checkpoint",)


def assign(wanted: Sequence[Sequence[str]], taken: Collection[str]) -> tuple[str, ...]:
    """A name for each list of proposals, all different from each other and from `taken`, also in lower case.

    Where two would get the same, both move on to their next proposal, so that neither gets the better name by chance;
    a number is the last resort.
    """
    used = {name.lower() for name in taken}
    found: dict[int, str] = {}
    for level in range(max(map(len, wanted), default=0)):
        offered = {index: names[min(level, len(names) - 1)] for index, names in enumerate(wanted) if index not in found}
        counts = Counter(name.lower() for name in offered.values())
        for index, name in offered.items():
            if counts[name.lower()] == 1 and name.lower() not in used:
                found[index] = name
                used.add(name.lower())
    numbers: Counter[str] = Counter()
    for index, names in enumerate(wanted):
        if index not in found:
            found[index] = _numbered(names[0], used, numbers)
            used.add(found[index].lower())
    return tuple(found[index] for index in range(len(wanted)))


def _numbered(name: str, used: Collection[str], numbers: Counter[str]) -> str:
    """`name`, or with the first number from 2 on that is free; `numbers` remembers how far each name has come."""
    free = name
    while free.lower() in used:
        numbers[name] += 1
        tail = f"-{numbers[name] + 1}"
        free = f"{name[: LONGEST_NAME - len(tail)]}{tail}"
    return free

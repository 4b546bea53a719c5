"""The archives of `ckptd demo`: as the real ones inside, small, the same every time, and made in a moment.

The real ones are .tar.gz files with a TensorFlow checkpoint of an ImageNet backbone. Weights hardly compress, so
these are pseudo-random bytes, stored rather than deflated. No model can be loaded from them.
"""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Vouching = Literal["google", "rfc9530", "nobody"]  # whose way of publishing a digest the origin follows

STEP = 60_000
INDEX_SIZE = 12 * 1024  # bytes; the real ones name a few hundred tensors
INDEX_END = bytes.fromhex("57fb808b247547db")  # how the table format of TensorFlow (LevelDB's) ends


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: `weights` bytes of them, and how its origin vouches for it."""

    name: str
    weights: int
    vouching: Vouching
    description: str
    suffix: str = ".tar.gz"

    @property
    def file_name(self) -> str:
        """The last segment of its URL, and its name in the store."""
        return f"{self.name}{self.suffix}"


# The names are those of DeepLab2's backbones, the order is that of their page. The large one has two pieces of 16 MiB,
# so that `verify` can say in which of them the damage is, and is worth several connections.
REPLACED = Archive("resnet50_imagenet1k", 6_000_000, "google", "ResNet-50, simple training strategy")
SMALLEST = Archive("mobilenet_v3_small_imagenet1k", 2_000_000, "nobody", "MobileNetV3-Small, simple")
CUT = Archive("mobilenet_v3_large_imagenet1k", 4_000_000, "google", "MobileNetV3-Large, simple")
BETA = Archive("resnet50_beta_imagenet1k_strong_training_strategy", 6_000_000, "rfc9530", "ResNet-50-Beta, strong")
LARGEST = Archive(
    "max_deeplab_s_backbone_imagenet1k_strong_training_strategy", 24_000_000, "google", "MaX-DeepLab-S, strong"
)
ARCHIVES = (REPLACED, SMALLEST, CUT, BETA, LARGEST)


def build(archive: Archive, version: int = 1) -> bytes:
    """The bytes of `archive`: the same for the same version, others of the same length for another."""
    chance = random.Random(f"{archive.name} {version}")  # noqa: S311  # repeatable is what is wanted
    prefix = f"ckpt-{STEP}"
    named = f'model_checkpoint_path: "{prefix}"\nall_model_checkpoint_paths: "{prefix}"\n'
    members = {
        "checkpoint": named.encode(),
        f"{prefix}.index": chance.randbytes(INDEX_SIZE - len(INDEX_END)) + INDEX_END,
        f"{prefix}.data-00000-of-00001": chance.randbytes(archive.weights),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(f"{archive.name}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 0, mtime=0)


def manifest_text(url_of: Callable[[Archive], str]) -> str:
    """A manifest that names all of them, as somebody would write it by hand."""
    entries = [
        f'[[checkpoint]]\nname = "{each.name}"\nurl = "{url_of(each)}"\ndescription = "{each.description}"\n'
        for each in ARCHIVES
    ]
    return "\n".join(["# Made by `ckptd demo`.", *entries])

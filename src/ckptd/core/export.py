"""What is known of locked files, in the words of other tools: SHA256SUMS, Metalink 4, JSON. Values in, text out.

Reads no file: the digests of a Metalink's pieces are arguments. Where a text goes is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ckptd.core.models import BLOCK, PIECE, Checkpoint, LockEntry
from ckptd.core.urls import file_name, normalise, origin_of, strip_for_lock

NAMESPACE = "urn:ietf:params:xml:ns:metalink"  # RFC 5854 section 4
MOST_PIECES = 256  # that a file has before its pieces grow, up to PIECE

# What XML 1.0 (section 2.2, Char) has no way to say, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A locked file as other tools are to know it; `pieces` are SHA-256 digests in hex, of `piece_length` bytes."""

    entry: LockEntry
    file: str  # its name in the folder of the checkpoint
    urls: tuple[str, ...]  # best first
    piece_length: int = 0
    pieces: tuple[str, ...] = ()
    place: str = ""  # the absolute path of a file that is watched in place; empty: it lies in the store

    @property
    def path(self) -> str:
        """Its name in the store, which other tools give it, too."""
        return f"{self.entry.name}/{self.file}"

    @property
    def lies(self) -> str:
        """Where it lies, relative to the store; an absolute path where it is watched in place."""
        return self.place or self.path


@dataclass(frozen=True, slots=True)
class Known:
    """What the state database knows of a file, beyond the lock. Times in POSIX seconds."""

    verified_at: float
    verdict: str
    digests: dict[str, str]  # hex, by algorithm: what witnesses were compared with
    history: tuple[dict[str, object], ...] = ()  # its records, oldest first, as `attestation.as_json` has them


def listed(entry: LockEntry, checkpoint: Checkpoint | None, place: str = "") -> Listed:
    """A lock entry, and where its bytes can be had. `checkpoint` is its entry in the manifest, if it still has one;
    `place` the path of a file that is watched in place.

    Raises ValueError when the URL in the lock names no file.
    """
    return Listed(entry, file_name(entry.url), addresses(entry, checkpoint), place=place)


def addresses(entry: LockEntry, checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """The http and https URLs that serve the locked bytes to anybody, best first, each once.

    The manifest's, its mirrors, and where the locked bytes came from, if the manifest says something else by now.
    Without credentials; a URL that is nothing without its signature is left out.
    """
    if checkpoint is None:
        wanted = [entry.url]
    else:
        moved = strip_for_lock(checkpoint.url) != entry.url
        wanted = [checkpoint.url, *checkpoint.mirrors, *([entry.url] if moved else [])]
    return tuple(dict.fromkeys(public for each in wanted if (public := _public(each)) is not None))


def _public(url: str) -> str | None:
    stripped = strip_for_lock(url)
    query = url.partition("#")[0].partition("?")[2]
    if query and "?" not in stripped:
        return None  # it was signed
    try:
        found = normalise(stripped)
        origin_of(found)
    except ValueError:
        return None
    return None if _NOT_XML.search(found) else found


def sha256sums(files: Iterable[Listed]) -> str:
    """What `sha256sum` prints for these files in the store, sorted by path; one that is watched in place is named by
    its absolute path.

    GNU coreutils: a name with a backslash or a line break has them escaped, and its line begins with a backslash.
    """
    lines = []
    for each in sorted(files, key=lambda each: each.lies):
        escaped = each.lies.translate(_ESCAPES)
        mark = "\\" if escaped != each.lies else ""
        lines.append(f"{mark}{each.entry.sha256}  {escaped}\n")
    return "".join(lines)


def piece_length(size: int) -> int:
    """Bytes of a piece of a file of `size` bytes: a power of two from 64 KiB to 16 MiB, at most 256 pieces below 4 GiB.

    Small enough that mending one costs little, large enough that the digests of large files stay few.
    """
    length = BLOCK
    while length < PIECE and length * MOST_PIECES < size:
        length *= 2
    return length


def metalink_fault(file: Listed) -> str | None:
    """Why a Metalink cannot name this file, or None."""
    if not file.urls:  # RFC 5854 section 4.1.2 wants one
        return "none of its URLs serves it without a signature, and a Metalink needs one"
    if _NOT_XML.search(file.path):
        return "its name has a character that XML cannot say"
    return None


def metalink(files: Sequence[Listed], version: str) -> str:
    """A Metalink 4 document (RFC 5854) of these files, sorted by path; `version` is ckptd's. Equal input, equal text.

    Piece digests stand in it for files that have them. Each file must be one that `metalink_fault` has nothing against.
    """
    root = ET.Element("metalink", xmlns=NAMESPACE)
    ET.SubElement(root, "generator").text = f"ckptd/{version}"
    for each in sorted(files, key=lambda each: each.path):
        element = ET.SubElement(root, "file", name=each.path)
        ET.SubElement(element, "size").text = str(each.entry.size)
        ET.SubElement(element, "hash", type="sha-256").text = each.entry.sha256
        if each.pieces:
            pieces = ET.SubElement(element, "pieces", length=str(each.piece_length), type="sha-256")
            for digest in each.pieces:
                ET.SubElement(pieces, "hash").text = digest
        for priority, url in enumerate(each.urls, start=1):
            ET.SubElement(element, "url", priority=str(priority)).text = url
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def described(file: Listed, known: Known | None) -> dict[str, object]:
    """What lock and ledger know of a file, beyond what every `--json` says of a checkpoint."""
    entry = file.entry
    return {
        "file": file.lies,
        "url": entry.url,
        "urls": list(file.urls),
        "size": entry.size,
        "sha256": entry.sha256,
        "trust": entry.trust.value,
        "witnesses": list(entry.witnesses),
        "pieces": entry.pieces,
        "revision": entry.revision,
        "digests": {} if known is None else dict(sorted(known.digests.items())),
        "verified_at": None if known is None else known.verified_at,
        "verdict": None if known is None else known.verdict,
        "history": [] if known is None else list(known.history),
    }

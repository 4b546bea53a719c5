"""The lock: canonical text to `Lock` and back, and what differs between two locks.

Equal locks give equal bytes, and reading what was written gives the same lock. Nothing in it is guessed at: a
text that is torn, edited wrongly, or from a newer ckptd is a ConfigError, since a lock read wrongly would let
other bytes pass as proven. Reads and writes no file. A text cut exactly between two entries cannot be told
from a shorter lock: whoever writes it replaces the file as a whole.
"""

from __future__ import annotations

import re

from ckptd.core import schema
from ckptd.core.document import Table, load, shown
from ckptd.core.models import PIECE, Lock, LockEntry, Trust
from ckptd.core.revision import COMMIT
from ckptd.core.units import LARGEST
from ckptd.errors import ConfigError

VERSION = 1
HEADER = "# Written by ckptd; what was proven to be there. `ckptd update NAME` changes a digest.\n"
HINT = (
    "Restore the lock from version control, or delete the entry (or the file) and run `ckptd sync`, "
    "which verifies what is in the store and writes it again; nothing was touched."
)
NEWER_HINT = "Upgrade ckptd on this machine; nothing was touched."

SIZE = schema.whole(0, LARGEST)
WITNESSES = schema.items(schema.text)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECES = re.compile(rf"blake3:{PIECE}:[0-9a-f]{{64}}")

# What a basic string may not hold as it is (TOML 1.0, "String").


def parse(text: str, path: str = "manifest.lock") -> Lock:
    """The lock in `text`. Raises ConfigError that names file, line, entry and key for each fault."""
    if not text.strip("\ufeff \t\r\n\0"):
        raise ConfigError(f"{path}:1: the lock is empty; it was torn by a crash or emptied by hand", hint=HINT)
    top = load(text, path, HINT)
    version = top.data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        message = f"version {shown(version)} was written by a newer ckptd; this one reads version {VERSION}"
        raise ConfigError(f"{path}: {message}", hint=NEWER_HINT)
    if version is None:
        raise ConfigError(f'{path}:1: "version" is missing; the lock was cut short or edited', hint=HINT)
    top.get("version", schema.whole(VERSION, VERSION), VERSION)
    entries: dict[str, LockEntry] = {}
    for table in top.tables("checkpoint"):
        entry = _entry(table)
        if entry.name and entry.name in entries:
            table.complain("name", "already has an entry; keep the right one")
        entries[entry.name] = entry
    top.finish()
    top.document.settle(HINT)
    return Lock(entries)


def _entry(table: Table) -> LockEntry:
    entry = LockEntry(
        name=table.need("name", schema.name, "", 'name = "..."'),
        url=table.need("url", schema.text, "", 'url = "..."'),
        size=table.need("size", SIZE, 1, "its bytes"),
        sha256=table.need("sha256", _digest, "", "64 hexadecimal digits"),
        trust=table.need("trust", schema.trust, Trust.FIRST_USE, 'trust = "first-use"'),
        witnesses=table.get("witnesses", WITNESSES, ()),
        pieces=table.get("pieces", _pieces, None),
        revision=table.get("revision", _revision, None),
    )
    table.finish()
    return entry


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("is not a SHA-256 of 64 lower-case hexadecimal digits")
    return value


def _pieces(value: object) -> str:
    if not isinstance(value, str) or not _PIECES.fullmatch(value):
        raise ValueError(f"is not a piece digest such as blake3:{PIECE}:<64 lower-case hexadecimal digits>")
    return value


def _revision(value: object) -> str:
    if not isinstance(value, str) or not COMMIT.fullmatch(value):
        raise ValueError("is not a commit of 40 (or 64) lower-case hexadecimal digits")
    return value


def render(lock: Lock) -> str:
    """The one text of `lock`, sorted by name, to be written as UTF-8 without translating line ends."""
    import tomli_w  # noqa: PLC0415 (who only reads locks does without)

    entries = sorted(lock.entries.values(), key=lambda entry: entry.name)
    return HEADER + tomli_w.dumps({"version": VERSION, "checkpoint": [_fields(entry) for entry in entries]})


def _fields(entry: LockEntry) -> dict[str, object]:
    fields: dict[str, object] = {
        "name": entry.name,
        "url": entry.url,
        "size": entry.size,
        "sha256": entry.sha256,
        "trust": entry.trust.value,
        "witnesses": list(entry.witnesses),
    }
    if entry.pieces is not None:
        fields["pieces"] = entry.pieces
    if entry.revision is not None:
        fields["revision"] = entry.revision
    return fields


def difference(old: Lock, new: Lock) -> tuple[str, ...]:
    """One short line for each entry that was added, removed or changed, sorted by name."""
    lines = []
    for name in sorted(old.entries.keys() | new.entries.keys()):
        before, after = old.entries.get(name), new.entries.get(name)
        if before is None and after is not None:
            lines.append(f"{name}: added, sha256 {_short(after.sha256)}, {after.trust.value}")
        elif after is None:
            lines.append(f"{name}: removed")
        elif before is not None and before != after:
            lines.append(f"{name}: {', '.join(_changes(before, after))}")
    return tuple(lines)


def _changes(before: LockEntry, after: LockEntry) -> list[str]:
    rows = (
        ("sha256", _short(before.sha256), _short(after.sha256), before.sha256 != after.sha256),
        ("size", str(before.size), str(after.size), before.size != after.size),
        ("trust", before.trust.value, after.trust.value, before.trust != after.trust),
        ("url", shown(before.url), shown(after.url), before.url != after.url),
    )
    said = [f"{key} {was} -> {now}" for key, was, now, changed in rows if changed]
    if before.witnesses != after.witnesses:
        said.append(f"witnesses {' '.join(before.witnesses) or 'none'} -> {' '.join(after.witnesses) or 'none'}")
    if before.pieces != after.pieces:
        said.append("piece digests " + ("removed" if after.pieces is None else "changed" if before.pieces else "added"))
    if before.revision != after.revision:
        said.append(f"revision {_short(before.revision or 'none')} -> {_short(after.revision or 'none')}")
    return said


def _short(digest: str) -> str:
    return f"{digest[:12]}.." if len(digest) > 12 else digest

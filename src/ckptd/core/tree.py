"""What an unpacked tree consists of: its members, their canonical rendering, and the difference to what is found.

Values only: `store.unpack` makes trees out of archives, `store.trees` out of folders. Ownership and times are no part
of a tree, so that equal archives give equal trees.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SCHEMA = 1
TOP = "."  # the path of the top folder itself, where it is named
TOP_MODE = 0o755  # of the top folder, which is no member; in a store with a group it is set-group-ID, too


class Kind(StrEnum):
    """What stands in a tree under a name."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"  # symbolic; hard links are files
    OTHER = "other"  # never unpacked, only found: a device, a pipe, a socket


@dataclass(frozen=True, slots=True)
class TreeMember:
    """One name in a tree: `path` is relative, with slashes; `size` in bytes, 0 for all but files."""

    path: str
    kind: Kind
    size: int = 0
    sha256: str = ""  # of a file, 64 lower-case hex digits
    target: str = ""  # of a link, as it is written in it
    mode: int = 0  # permission bits; 0 for links, which have none


@dataclass(frozen=True, slots=True)
class Tree:
    """All members but the top folder itself, sorted by path; `size` is the bytes of all files."""

    members: tuple[TreeMember, ...]
    size: int
    notes: tuple[str, ...] = field(default=(), compare=False)  # what is odd about the archive and did no harm


@dataclass(frozen=True, slots=True)
class Found:
    """A folder as it was found. `unreadable` says why, by path: such files are members with an empty sha256."""

    tree: Tree
    unreadable: Mapping[str, str] = field(default_factory=dict)
    mode: int | None = None  # of the top folder itself
    instead: str = ""  # what stands in its place and is no folder: "a link"


@dataclass(frozen=True, slots=True)
class Differences:
    """Paths by what is the matter with them, each list sorted.

    `modes` are those whose content is right, and which let others do more than they were made for or keep them from
    reading. With `instead` there is no folder to look into: something else stands in its place.
    """

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    instead: str = ""

    @property
    def intact(self) -> bool:
        """Every member is there with its content, and nothing else is. Modes do not count."""
        return not (self.added or self.missing or self.changed or self.unreadable or self.instead)


def tree_of(members: Mapping[str, TreeMember], notes: tuple[str, ...] = ()) -> Tree:
    """The tree of these members, by path in any order."""
    return Tree(tuple(members[path] for path in sorted(members)), sum(each.size for each in members.values()), notes)


def compare(tree: Tree, found: Found) -> Differences:
    """What became of `tree`. A missing folder's members are missing too, an added folder's are added too; of what lies
    in an unreadable folder nothing is said."""
    if found.instead:
        return Differences(instead=found.instead)
    wanted = {member.path: member for member in tree.members}
    there = {member.path: member for member in found.tree.members}
    unreadable = found.unreadable
    both = [path for path in sorted(wanted.keys() & there.keys()) if path not in unreadable]
    changed = [path for path in both if _content(wanted[path]) != _content(there[path])]
    odd = set(changed)
    loose = [
        path for path in both if path not in odd and loosened(wanted[path].kind, wanted[path].mode, there[path].mode)
    ]
    if found.mode is not None and loosened(Kind.FOLDER, TOP_MODE, found.mode):
        loose.insert(0, TOP)
    return Differences(
        added=tuple(path for path in sorted(there.keys() - wanted.keys()) if path not in unreadable),
        missing=tuple(path for path in sorted(wanted.keys() - there.keys()) if not _hidden(path, unreadable)),
        changed=tuple(changed),
        unreadable=tuple(sorted(unreadable)),
        modes=tuple(loose),
    )


def loosened(kind: Kind, wanted: int, found: int) -> bool:
    """Whether a mode lets anybody do more than the mode it was made with, or keeps somebody from reading.

    A folder's set-group-ID bit harms nobody, and says no more than that the store has, or had, a group.
    """
    if kind not in {Kind.FILE, Kind.FOLDER}:
        return False
    more = found & ~wanted & (0o6777 if kind is Kind.FILE else 0o777)
    return bool(more or wanted & 0o555 & ~found)


def _hidden(path: str, unreadable: Container[str]) -> bool:
    """Whether it, or a folder that it lies in, cannot be read."""
    if TOP in unreadable:
        return True
    while path:
        if path in unreadable:
            return True
        path = path.rpartition("/")[0]
    return False


def _content(member: TreeMember) -> tuple[Kind, int, str, str]:
    return member.kind, member.size, member.sha256, member.target


def to_json(tree: Tree) -> str:
    """The canonical rendering: equal trees give equal text, on one line that ends with a line feed."""
    document = {"members": [_row(member) for member in tree.members], "schema": SCHEMA, "size": tree.size}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def _row(member: TreeMember) -> dict[str, str | int]:
    row: dict[str, str | int] = {"kind": member.kind.value, "path": member.path}
    if member.kind is Kind.FILE:
        row |= {"size": member.size, "sha256": member.sha256}
    if member.kind is Kind.LINK:
        row["target"] = member.target
    else:
        row["mode"] = f"{member.mode:04o}"
    return row


def from_json(text: str) -> Tree | None:
    """The tree that `to_json` rendered, or None when the text is not, to the last byte, what it would render."""
    try:
        document = json.loads(text)
        rows = [
            TreeMember(
                path=row["path"],
                kind=Kind(row["kind"]),
                size=row.get("size", 0),
                sha256=row.get("sha256", ""),
                target=row.get("target", ""),
                mode=int(row.get("mode", "0"), 8),
            )
            for row in document["members"]
        ]
        tree = Tree(tuple(rows), document["size"])
        known = {row.path: row for row in rows}
        return tree if tree_of(known) == tree and to_json(tree) == text else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None

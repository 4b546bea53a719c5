"""What may come out of an archive: (member, what was seen before it) -> Accept | Refuse. Decides, unpacks nothing.

Regular files, folders and links that stay inside the tree are accepted; all else is refused with the reason, and one
refusal refuses the archive. The rules stand on their own and lean on no extraction filter of any library, whose safe
versions moved too often (CVE-2025-4517 and its successors). What an archive says about owners and modes is not kept:
files become 0444 and lose their executable bit, for checkpoints are data; folders 0755, in a store with a group 2755.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ckptd.core.document import shown
from ckptd.core.models import UnpackSettings
from ckptd.core.tree import Kind, TreeMember

FILE_MODE = 0o444
FOLDER_MODE = 0o755
SHARED_FOLDER_MODE = 0o2755  # where the store has a group
LONGEST_NAME = 255  # bytes of one name in a path (NAME_MAX)
MOST_LINKS = 40  # followed on the way to one target, as Linux does (path_resolution(7))
MOST_STEPS = 512  # names on the way to one target, through all links
LATEST_MTIME = 86_400.0  # seconds after now
SET_ID_BITS = 0o6000

# Control characters, line separators, and what turns the direction of text around: a listing would lie.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DRIVE = re.compile("[A-Za-z]:")
_WARY = "nothing was unpacked; ask who publishes it for a clean archive, or take `unpack = true` out of the entry"


class Type(StrEnum):
    """What a member claims to be."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the archive's headers have it, after everything that may override them."""

    name: bytes
    type: Type
    size: int = 0  # bytes of content, holes of sparse files included
    target: bytes = b""  # of a link
    mode: int = 0
    mtime: int | None = None  # POSIX seconds
    what: str = ""  # of Type.OTHER: "a device"


@dataclass(frozen=True, slots=True)
class Accept:
    """Make `folders`, in this order, then `path`. `again`: it is there; content has to prove equal, not be written."""

    path: str  # "" for the top folder itself
    kind: Kind
    folders: tuple[str, ...] = ()
    target: str = ""  # a link's text
    hardlink: str = ""  # the path of the file to link to
    again: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Why the archive is not unpacked: a clause whose subject is in it, and what to do."""

    reason: str
    hint: str = _WARY


class Refused(Exception):  # noqa: N818  # a verdict on its way to the border, where it becomes a PolicyError
    """The archive is not unpacked, for this reason."""

    def __init__(self, verdict: Refuse) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class Damaged(Exception):  # noqa: N818  # the same, where it becomes an IntegrityError
    """Bytes are not what an archive of its format consists of: a clause that says where."""


@dataclass(slots=True)
class Seen:
    """What came out so far. `spent` counts all content, that of hard links and repeated members too."""

    settings: UnpackSettings
    archive: int  # bytes of the archive
    members: dict[str, TreeMember] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)  # target by path
    spent: int = 0

    def add(self, member: TreeMember) -> None:
        """Take note of a member that is whole."""
        self.members[member.path] = member
        if member.kind is Kind.LINK:
            self.links[member.path] = member.target


def mode_of(kind: Kind, *, shared: bool) -> int:
    """The mode of what is unpacked; `shared` where the store has a group. Links have none."""
    if kind is Kind.FOLDER:
        return SHARED_FOLDER_MODE if shared else FOLDER_MODE
    return FILE_MODE if kind is Kind.FILE else 0


def decide(entry: Entry, seen: Seen) -> Accept | Refuse:
    """What becomes of the next member. Sizes are what the headers claim: no more than that is ever read."""
    path = path_of(entry.name, seen.settings)
    if isinstance(path, Refuse):
        return path
    if entry.type is Type.OTHER:
        return Refuse(f"{shown(path)} is {entry.what}")
    if entry.type is not Type.FOLDER and (not path or entry.name.endswith((b"/", b"/."))):
        return Refuse(f"{shown(path or '.')} is a {entry.type}, although its name is a folder's")
    if entry.type is not Type.FILE and entry.size:
        return Refuse(f"{shown(path)} is a {entry.type} that claims {entry.size} bytes of content")
    if not path:
        return Accept("", Kind.FOLDER, again=True)
    made = _placed(entry, path, seen)
    if isinstance(made, Refuse):
        return made
    size = seen.members[made.hardlink].size if made.hardlink and not made.again else entry.size
    return _too_much(made, size, seen) or made


def _placed(entry: Entry, path: str, seen: Seen) -> Accept | Refuse:
    """Where it goes, if what is there already and the kind of member allow it."""
    folders = _parents(path, seen.members)
    if isinstance(folders, Refuse):
        return folders
    notes = (f"{shown(path)}: its set-ID bits are not kept",) if entry.mode & SET_ID_BITS else ()
    if entry.type is Type.HARDLINK:
        return _hard_link(entry, path, folders, seen)
    kind = {Type.FILE: Kind.FILE, Type.FOLDER: Kind.FOLDER}.get(entry.type, Kind.LINK)
    there = seen.members.get(path)
    if there is not None and there.kind is not kind:
        return Refuse(f"{shown(path)} is in it twice, as a {there.kind} and as a {kind}")
    target = ""
    if kind is Kind.LINK:
        checked = _link_target(entry.target, path, seen)
        if isinstance(checked, Refuse):
            return checked
        target = checked
        if there is not None and there.target != target:
            return Refuse(f"{shown(path)} is in it twice, as links to {shown(there.target)} and {shown(target)}")
    if there is not None and kind is Kind.FILE:
        notes = (*notes, f"{shown(path)} is in it twice, with the same bytes")
    return Accept(path, kind, folders, target, again=there is not None, notes=notes)


def path_of(name: bytes, settings: UnpackSettings) -> str | Refuse:
    """The path of a member below the top folder, without `.` and doubled slashes; empty for that folder itself."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return Refuse(f"{shown(name.decode(errors='backslashreplace'))} is a name that is not UTF-8")
    reason = _bad_text(text)
    if not text:
        reason = "a member has no name"
    elif text.startswith("/"):
        reason = f"{shown(text)} is an absolute path"
    elif _DRIVE.match(text):
        reason = f"{shown(text)} begins with a drive letter"
    if reason:
        return Refuse(reason)
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        return Refuse(f"{shown(text)} leads upwards with `..`")
    return _short_enough("/".join(parts), parts, settings)


def _short_enough(path: str, parts: list[str], settings: UnpackSettings) -> str | Refuse:
    if len(path.encode()) > settings.max_path:
        return Refuse(f"{shown(path)} is a path of more than {settings.max_path} bytes", _raise_limit("max_path"))
    if len(parts) - 1 > settings.max_depth:
        return Refuse(f"{shown(path)} lies more than {settings.max_depth} folders deep", _raise_limit("max_depth"))
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        return Refuse(f"{shown(path)} has a name of more than {LONGEST_NAME} bytes in it")
    return path


def _bad_text(text: str) -> str:
    if _HIDDEN.search(text):
        return f"{shown(text)} has a control character in it"
    if "\\" in text:
        return f"{shown(text)} has a backslash in it, which separates folders elsewhere"
    return ""


def _parents(path: str, members: Mapping[str, TreeMember]) -> tuple[str, ...] | Refuse:
    """The folders on the way that are not there yet, outermost first. Nothing is ever written through a link."""
    missing: list[str] = []
    parent = path.rpartition("/")[0]
    while parent:
        there = members.get(parent)
        if there is None:
            missing.append(parent)
        elif there.kind is Kind.FOLDER:
            break
        elif there.kind is Kind.LINK:
            return Refuse(f"{shown(path)} would be written through the link {shown(parent)}")
        else:
            return Refuse(f"{shown(path)} lies in {shown(parent)}, which is a file")
        parent = parent.rpartition("/")[0]
    return tuple(reversed(missing))


def _hard_link(entry: Entry, path: str, folders: tuple[str, ...], seen: Seen) -> Accept | Refuse:
    """A hard link is a second name for a file that came before; it is counted at that file's size."""
    target = path_of(entry.target, seen.settings)
    if isinstance(target, Refuse):
        return Refuse(f"{shown(path)} is a hard link whose target is refused: {target.reason}", target.hint)
    meant = seen.members.get(target)
    if meant is None:
        return Refuse(f"{shown(path)} is a hard link to {shown(target)}, which does not come before it")
    if target == path and meant.kind is not Kind.FOLDER:
        return Accept(path, meant.kind, hardlink=target, again=True)  # how GNU tar stores what it was given twice
    if meant.kind is not Kind.FILE:
        return Refuse(f"{shown(path)} is a hard link to {shown(target)}, which is a {meant.kind} and not a file")
    there = seen.members.get(path)
    if there is not None and (there.kind, there.sha256) != (meant.kind, meant.sha256):
        return Refuse(f"{shown(path)} is in it twice, as a {there.kind} and as a hard link to {shown(target)}")
    return Accept(path, Kind.FILE, folders, hardlink=target, again=there is not None)


def _link_target(raw: bytes, path: str, seen: Seen) -> str | Refuse:
    try:
        target = raw.decode()
    except UnicodeDecodeError:
        return Refuse(f"{shown(path)} is a link whose target is not UTF-8")
    reason = _bad_text(target)
    if not target:
        reason = "it leads nowhere"
    elif target.startswith("/"):
        reason = f"{shown(target)} is an absolute path"
    elif len(raw) > seen.settings.max_path:
        reason = f"its target has more than {seen.settings.max_path} bytes"
    reason = reason or leads_out(path, target, seen.links)
    return Refuse(f"{shown(path)} is a link that is refused: {reason}") if reason else target


def leads_out(path: str, target: str, links: Mapping[str, str]) -> str:
    """Why the link at `path` is no good, "" if it stays inside, through all of `links` (targets by path).

    What is not there is walked through like a folder; a link to nothing is harmless as long as it stays inside.
    """
    at = path.split("/")[:-1]
    todo = target.split("/")[::-1]
    followed = steps = 0
    while todo:
        part = todo.pop()
        steps += 1
        if steps > MOST_STEPS or followed > MOST_LINKS:
            return f"{shown(target)} leads in a circle, or over too many links"
        if part == "..":
            if not at:
                return f"{shown(target)} leads out of the tree"
            at.pop()
        elif part not in {"", "."}:
            onward = links.get("/".join((*at, part)))
            if onward is None:
                at.append(part)
            else:
                followed += 1
                todo.extend(reversed(onward.split("/")))
    return ""


def refuse_links(links: Mapping[str, str]) -> Refuse | None:
    """Judge every link again when all are known: a later one may lead an earlier one elsewhere."""
    for path, target in links.items():
        reason = leads_out(path, target, links)
        if reason:
            return Refuse(f"{shown(path)} is a link that is refused: {reason}")
    return None


def _too_much(made: Accept, size: int, seen: Seen) -> Refuse | None:
    settings = seen.settings
    if len(seen.members) + len(made.folders) + (not made.again) > settings.max_members:
        return Refuse(f"it has more than {settings.max_members} members", _raise_limit("max_members"))
    if seen.spent + size > settings.max_size:
        return Refuse(
            f"{shown(made.path)} would bring it to {seen.spent + size} bytes, and max_size is {settings.max_size}",
            _raise_limit("max_size"),
        )
    return over_ratio(seen.spent + size, seen.archive, settings)


def over_ratio(unpacked: int, archive: int, settings: UnpackSettings) -> Refuse | None:
    """Whether `unpacked` bytes are too many for an archive of `archive` bytes."""
    if unpacked <= max(settings.ratio_from, settings.max_ratio * archive):
        return None
    return Refuse(
        f"its {archive} bytes unpack to more than {settings.max_ratio:g} times as many", _raise_limit("max_ratio")
    )


def _raise_limit(key: str) -> str:
    return f"raise {key} under [unpack] in the manifest if you trust this archive"


def clashes(paths: Iterable[str]) -> tuple[str, ...]:
    """Notes on paths that are one where case and Unicode's composed forms do not count. Linux keeps them apart."""
    first: dict[str, str] = {}
    notes: list[str] = []
    for path in paths:
        other = first.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if other != path:
            notes.append(f"{shown(other)} and {shown(path)} differ only in case or in how their letters are composed")
    return tuple(notes)


def sane_mtime(mtime: int | None, now: float) -> int | None:
    """A time from an archive, unless it is before 1970 or in the future; both in POSIX seconds."""
    return mtime if mtime is not None and 0 < mtime <= now + LATEST_MTIME else None

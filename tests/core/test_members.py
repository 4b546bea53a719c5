"""What may come out of an archive, decided member by member."""

from __future__ import annotations

import pytest

from ckptd.core.members import (
    Accept,
    Entry,
    Refuse,
    Seen,
    Type,
    clashes,
    decide,
    leads_out,
    mode_of,
    over_ratio,
    path_of,
    refuse_links,
    sane_mtime,
)
from ckptd.core.models import UnpackSettings
from ckptd.core.tree import Kind, TreeMember

FLOOR = 1024 * 1024  # bytes from which on the default ratio counts
SETTINGS = UnpackSettings(max_size=1000, max_members=6, max_path=40, max_depth=3)


def file(name: bytes, size: int = 0) -> Entry:
    return Entry(name, Type.FILE, size)


def folder(name: bytes) -> Entry:
    return Entry(name, Type.FOLDER)


def symlink(name: bytes, target: bytes) -> Entry:
    return Entry(name, Type.SYMLINK, target=target)


def hard_link(name: bytes, target: bytes) -> Entry:
    return Entry(name, Type.HARDLINK, target=target)


def seen(*members: TreeMember, spent: int = 0) -> Seen:
    so_far = Seen(SETTINGS, archive=100, spent=spent)
    for member in members:
        so_far.add(member)
    return so_far


A_FILE = TreeMember("f", Kind.FILE, 700, "aa")
A_FOLDER = TreeMember("d", Kind.FOLDER)
A_LINK = TreeMember("l", Kind.LINK, target="d")
BEFORE = seen(A_FILE, A_FOLDER, A_LINK)

NAMES = {
    "plain": (b"a", "a"),
    "nested": (b"a/b", "a/b"),
    "dot": (b"./a", "a"),
    "dots-within": (b"a/./b/.", "a/b"),
    "doubled-slashes": (b"a//b", "a/b"),
    "folder": (b"a/", "a"),
    "top": (b"./", ""),
    "dots-in-a-name": (b"..a/b..", "..a/b.."),
    "three-dots": (b".../a", ".../a"),
    "colon-later": (b"ab:c", "ab:c"),
    "letters-of-all-kinds": ("été/模型".encode(), "été/模型"),
    "longest": (b"a" * 40, "a" * 40),
    "deepest": (b"a/b/c/d", "a/b/c/d"),
}


@pytest.mark.parametrize(("name", "path"), NAMES.values(), ids=NAMES)
def test_names(name: bytes, path: str) -> None:
    assert path_of(name, SETTINGS) == path


BAD_NAMES = {
    "empty": (b"", "no name"),
    "absolute": (b"/a", "absolute"),
    "absolute-doubled": (b"//a", "absolute"),
    "upwards": (b"../a", "upwards"),
    "upwards-last": (b"a/..", "upwards"),
    "upwards-within": (b"a/../b", "upwards"),
    "upwards-only": (b"..", "upwards"),
    "drive": (b"c:x", "drive letter"),
    "backslash": (b"a\\..\\b", "backslash"),
    "nul": (b"a\0b", "control"),
    "escape": (b"\x1b]0;x\x07", "control"),
    "delete": (b"a\x7f", "control"),
    "c1": ("a\x9b".encode(), "control"),
    "line-separator": ("a\u2028b".encode(), "control"),
    "right-to-left": ("\u202efig.exe".encode(), "control"),
    "latin-1": (b"\xe9", "not UTF-8"),
    "overlong-slash": (b"..\xc0\xaf..", "not UTF-8"),
    "surrogate": (b"\xed\xa0\x80", "not UTF-8"),
    "too-long": ("é".encode() * 21, "more than 40 bytes"),
    "too-deep": (b"a/b/c/d/e", "3 folders deep"),
}


@pytest.mark.parametrize(("name", "reason"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_are_refused(name: bytes, reason: str) -> None:
    verdict = path_of(name, SETTINGS)
    assert isinstance(verdict, Refuse)
    assert reason in verdict.reason
    assert all(char.isprintable() for char in verdict.reason)


ACCEPTED = {
    "file": (file(b"a", 9), Accept("a", Kind.FILE)),
    "file-in-new-folders": (file(b"a/b/c"), Accept("a/b/c", Kind.FILE, ("a", "a/b"))),
    "file-in-folder": (file(b"d/c"), Accept("d/c", Kind.FILE)),
    "file-in-new-folder-of-folder": (file(b"d/e/c"), Accept("d/e/c", Kind.FILE, ("d/e",))),
    "folder": (folder(b"a/"), Accept("a", Kind.FOLDER)),
    "folder-again": (folder(b"d/"), Accept("d", Kind.FOLDER, again=True)),
    "top": (folder(b"./"), Accept("", Kind.FOLDER, again=True)),
    "link": (symlink(b"d/m", b"../f"), Accept("d/m", Kind.LINK, target="../f")),
    "link-to-nothing": (symlink(b"m", b"later"), Accept("m", Kind.LINK, target="later")),
    "link-again": (symlink(b"l", b"d"), Accept("l", Kind.LINK, target="d", again=True)),
    "link-as-its-own-hard-link": (hard_link(b"l", b"l"), Accept("l", Kind.LINK, hardlink="l", again=True)),
    "hard-link-again": (hard_link(b"f", b"f"), Accept("f", Kind.FILE, hardlink="f", again=True)),
}


@pytest.mark.parametrize(("entry", "verdict"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(entry: Entry, verdict: Accept) -> None:
    assert decide(entry, BEFORE) == verdict


REFUSED = {
    "device": (Entry(b"a", Type.OTHER, what="a device"), '"a" is a device'),
    "folder-with-content": (Entry(b"a", Type.FOLDER, 3), "claims 3 bytes"),
    "link-with-content": (Entry(b"a", Type.SYMLINK, 3, b"f"), "claims 3 bytes"),
    "file-as-top": (file(b"."), "although"),
    "file-named-as-folder": (file(b"a/"), "although"),
    "file-where-folder": (file(b"d"), "twice, as a folder and as a file"),
    "folder-where-file": (folder(b"f"), "twice, as a file and as a folder"),
    "folder-where-link": (folder(b"l"), "twice, as a link and as a folder"),
    "file-where-link": (file(b"l"), "twice, as a link and as a file"),
    "through-file": (file(b"f/x"), "which is a file"),
    "through-link": (file(b"l/x"), 'through the link "l"'),
    "through-link-far": (folder(b"l/x/y"), 'through the link "l"'),
    "other-link": (symlink(b"l", b"f"), 'links to "d" and "f"'),
    "link-out": (symlink(b"d/m", b"../../f"), "out of the tree"),
    "link-absolute": (symlink(b"m", b"/f"), "absolute"),
    "link-nowhere": (symlink(b"m", b""), "nowhere"),
    "link-backslash": (symlink(b"m", b"..\\f"), "backslash"),
    "link-long": (symlink(b"m", b"x" * 41), "more than 40 bytes"),
    "hard-link-out": (hard_link(b"m", b"../f"), "upwards"),
    "hard-link-to-nothing": (hard_link(b"m", b"x"), "does not come before"),
    "hard-link-to-top": (hard_link(b"m", b"."), "does not come before"),
    "hard-link-to-folder": (hard_link(b"m", b"d"), "a folder and not a file"),
    "folder-as-its-own-hard-link": (hard_link(b"d", b"d"), "a folder and not a file"),
    "hard-link-to-link": (hard_link(b"m", b"l"), "a link and not a file"),
    "hard-link-through-link": (hard_link(b"l/m", b"f"), "through the link"),
    "too-large": (file(b"a", 1001), "max_size is 1000"),
    "too-many-with-folders": (file(b"a/b/c/d"), "more than 6 members"),
}


@pytest.mark.parametrize(("entry", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(entry: Entry, reason: str) -> None:
    verdict = decide(entry, BEFORE)
    assert isinstance(verdict, Refuse)
    assert reason in verdict.reason
    assert verdict.hint


def test_a_file_twice_is_left_to_its_bytes() -> None:
    verdict = decide(file(b"./f", 3), BEFORE)
    assert isinstance(verdict, Accept)
    assert verdict.again
    assert "same bytes" in verdict.notes[0]


def test_set_id_bits_are_noted() -> None:
    verdict = decide(Entry(b"a", Type.FILE, mode=0o4755), BEFORE)
    assert isinstance(verdict, Accept)
    assert "set-ID" in verdict.notes[0]


@pytest.mark.parametrize(
    ("entry", "spent", "fits"),
    [
        pytest.param(file(b"a", 300), 700, True, id="exactly"),
        pytest.param(file(b"a", 301), 700, False, id="one-more"),
        pytest.param(file(b"f", 301), 700, False, id="repeated"),
        pytest.param(hard_link(b"a", b"f"), 300, True, id="hard-link"),
        pytest.param(hard_link(b"a", b"f"), 301, False, id="hard-link-counts-as-its-file"),
        pytest.param(folder(b"a"), 1000, True, id="folder"),
    ],
)
def test_size(entry: Entry, spent: int, *, fits: bool) -> None:
    verdict = decide(entry, seen(A_FILE, spent=spent))
    assert isinstance(verdict, Accept) is fits
    if isinstance(verdict, Refuse):
        assert "max_size" in verdict.hint


@pytest.mark.parametrize(
    ("ratio", "unpacked", "fits"),
    [(10, 65_536, True), (10, 65_537, False), (199, 65_537, False), (200, 65_537, True), (2000, 65_537, True)],
)
def test_where_a_ratio_begins_to_count(ratio: float, unpacked: int, *, fits: bool) -> None:
    """A smaller one than the default is meant for small archives, too; a larger one never refuses more."""
    assert (over_ratio(unpacked, 1, UnpackSettings(max_ratio=ratio)) is None) is fits


def test_claims_count_for_the_ratio() -> None:
    """Before a byte of it is read."""
    so_far = Seen(UnpackSettings(max_ratio=10), archive=FLOOR)
    assert isinstance(decide(file(b"a", 10 * FLOOR), so_far), Accept)
    verdict = decide(file(b"a", 10 * FLOOR + 1), so_far)
    assert isinstance(verdict, Refuse)
    assert "max_ratio" in verdict.hint


@pytest.mark.parametrize(
    ("unpacked", "archive", "fits"),
    [
        (FLOOR, 1, True),
        (FLOOR + 1, 1, False),
        (10_000_000, 10_000, False),  # as gzip packs zeros
        (200 * 10**9, 10**9, True),
        (200 * 10**9 + 1, 10**9, False),
    ],
)
def test_ratio(unpacked: int, archive: int, *, fits: bool) -> None:
    assert (over_ratio(unpacked, archive, UnpackSettings(max_ratio=200)) is None) is fits


LINKS = {"s": "a/b", "up": "..", "a/here": ".", "one": "two", "two": "one", "far": "a/b/c/d"}
LEADS = {
    "beside": ("x", "y", ""),
    "down": ("x", "a/b/c", ""),
    "up-and-down": ("a/b/x", "../../c", ""),
    "to-the-top": ("a/x", "..", ""),
    "above-the-top": ("a/x", "../..", "out of the tree"),
    "up-in-the-middle": ("x", "a/../../a/b", "out of the tree"),
    "through-a-link": ("x", "s/../../y", ""),
    "out-through-a-link": ("x", "s/../../../y", "out of the tree"),
    "through-a-link-to-where-it-is": ("x", "a/here/../y", ""),
    "out-through-a-link-to-where-it-is": ("x", "a/here/here/../../y", "out of the tree"),
    "circle": ("x", "one", "circle"),
    "over-a-link-that-leads-out": ("x", "up/y", "out of the tree"),
    "endless-names": ("x", "/".join(["a"] * 600), "circle, or over too many"),
}


@pytest.mark.parametrize(("path", "target", "reason"), LEADS.values(), ids=LEADS)
def test_where_links_lead(path: str, target: str, reason: str) -> None:
    found = leads_out(path, target, LINKS)
    assert reason in found
    assert bool(found) is bool(reason)


def test_a_later_link_leads_an_earlier_one_out() -> None:
    """`d/x` -> `b/../y` stays inside until `d/b` turns out to lead to the top."""
    so_far = Seen(UnpackSettings(), 100)
    for entry in (symlink(b"d/x", b"b/../../y"), symlink(b"d/b", b".")):
        verdict = decide(entry, so_far)
        assert isinstance(verdict, Accept)
        so_far.add(TreeMember(verdict.path, Kind.LINK, target=verdict.target))
    refusal = refuse_links(so_far.links)
    assert refusal is not None
    assert '"d/x"' in refusal.reason


@pytest.mark.parametrize(
    ("mtime", "kept"),
    [(None, None), (0, None), (-5, None), (1, 1), (1_000_000, 1_000_000), (1_086_400, 1_086_400), (1_086_401, None)],
)
def test_times(mtime: int | None, kept: int | None) -> None:
    assert sane_mtime(mtime, 1_000_000.0) == kept


def test_modes() -> None:
    assert [mode_of(kind, shared=False) for kind in (Kind.FILE, Kind.FOLDER, Kind.LINK)] == [0o444, 0o755, 0]
    assert [mode_of(kind, shared=True) for kind in (Kind.FILE, Kind.FOLDER, Kind.LINK)] == [0o444, 0o2755, 0]


def test_clashes() -> None:
    notes = clashes(["README", "a/b", "a/B", "e\u0301", "readme", "\u00e9", "x"])
    assert len(notes) == 3
    assert '"a/b" and "a/B"' in notes[0]

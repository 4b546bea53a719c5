"""core.export: SHA256SUMS, Metalink 4 (RFC 5854) and JSON of what is locked."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core import export
from ckptd.core.export import Known, Listed, addresses, piece_length
from ckptd.core.models import PIECE, Checkpoint, LockEntry, Trust

A, B = "a" * 64, "b" * 64
URL = "https://example.org/m.bin"
SPACE = {"m": "urn:ietf:params:xml:ns:metalink"}
MIB = 1024 * 1024
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


def entry(name: str = "m", url: str = URL, size: int = 7, sha256: str = A) -> LockEntry:
    return LockEntry(name, url, size, sha256, Trust.WITNESSED, ("x-goog-hash:crc32c",), f"blake3:{PIECE}:{B}")


def file(name: str = "m", file_name: str = "m.bin", urls: tuple[str, ...] = (URL,), size: int = 7) -> Listed:
    return Listed(entry(name, size=size), file_name, urls)


# --- where bytes can be had ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locked", "manifest", "mirrors", "expected"),
    [
        (URL, URL, [], [URL]),
        (URL, None, [], [URL]),
        (URL, URL, ["https://b.org/x.bin", URL], [URL, "https://b.org/x.bin"]),
        ("gs://b/o/m.bin#12", "gs://b/o/m.bin#12", [], ["https://storage.googleapis.com/b/o/m.bin?generation=12"]),
        ("hf://o/r@v1/m.bin", "hf://o/r@v1/m.bin", [], ["https://huggingface.co/o/r/resolve/v1/m.bin"]),
        (URL, f"{URL}?X-Amz-Signature=5ecret&X-Amz-Date=1", ["https://b.org/x.bin"], ["https://b.org/x.bin"]),
        (URL, f"{URL}?X-Amz-Signature=5ecret", [], []),
        (URL, URL, ["https://b.org/x.bin?sig=5ecret&sv=1"], [URL]),
        (f"{URL}?download=true", f"{URL}?download=true", [], [f"{URL}?download=true"]),
        (URL, "https://me:5ecret@example.org/m.bin", [], [URL]),
        (URL, f"{URL}#5ecret", [], [URL]),
        (URL, "https://moved.org/m.bin", [], ["https://moved.org/m.bin", URL]),
        ("gs://b", None, [], []),
    ],
    ids=[
        "as it is",
        "no longer in the manifest",
        "mirrors, each once",
        "a generation of an object",
        "a revision of a repository",
        "a signed one, with a mirror",
        "a signed one alone",
        "a signed mirror",
        "a harmless query",
        "credentials",
        "a fragment",
        "moved",
        "no file",
    ],
)
def test_addresses(locked: str, manifest: str | None, mirrors: list[str], expected: list[str]) -> None:
    checkpoint = None if manifest is None else Checkpoint("m", manifest, "m.bin", tuple(mirrors))
    found = addresses(entry(url=locked), checkpoint)
    assert list(found) == expected
    assert "5ecret" not in "".join(found)


def test_the_file_is_the_one_that_is_locked() -> None:
    """Not the one that the manifest would fetch by now."""
    moved = Checkpoint("m", "https://moved.org/other.bin", "other.bin")
    assert export.listed(entry(url="https://example.org/my%20m.bin"), moved).path == "m/my m.bin"
    with pytest.raises(ValueError, match="file name"):
        export.listed(entry(url="https://example.org/"), moved)


# --- SHA256SUMS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("m.bin", f"{A}  m/m.bin\n"),
        ("my m.bin", f"{A}  m/my m.bin\n"),
        ("*m", f"{A}  m/*m\n"),
        ("ü", f"{A}  m/ü\n"),
        ("a\\b", f"\\{A}  m/a\\\\b\n"),
        ("a\nb", f"\\{A}  m/a\\nb\n"),
        ("a\rb", f"\\{A}  m/a\\rb\n"),
    ],
    ids=["plain", "blank", "star", "not ASCII", "backslash", "line feed", "carriage return"],
)
def test_sums_are_spelled_as_coreutils_does(name: str, line: str) -> None:
    assert export.sha256sums([file(file_name=name)]) == line


def test_what_is_watched_in_place_is_named_by_its_path() -> None:
    watched = Listed(entry("a"), "m.bin", (URL,), place="/data/a b.bin")
    assert export.sha256sums([file("b"), watched]) == f"{A}  /data/a b.bin\n{A}  b/m.bin\n"
    assert '"a/m.bin"' in export.metalink([watched], "1"), "RFC 5854 section 4.1.2.1: no absolute paths"


def test_sums_are_sorted() -> None:
    assert export.sha256sums([file("b"), file("a")]) == f"{A}  a/m.bin\n{A}  b/m.bin\n"
    assert export.sha256sums([]) == ""


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, 64 * 1024),
        (1, 64 * 1024),
        (16 * MIB, 64 * 1024),
        (16 * MIB + 1, 128 * 1024),
        (1024 * MIB, 4 * MIB),
        (4096 * MIB, 16 * MIB),
        (80_000 * MIB, 16 * MIB),
    ],
)
def test_the_length_of_a_piece(size: int, length: int) -> None:
    assert piece_length(size) == length


# --- Metalink --------------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
# Any file name that XML can say.
FILES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\ufffe\uffff"), min_size=1)
LISTED = st.builds(
    lambda name, size, sha256, file, urls, length, pieces: Listed(
        entry(name, size=size, sha256=sha256), file, tuple(urls), length, tuple(pieces)
    ),
    NAMES,
    st.integers(0, 2**63 - 1),
    HEX,
    FILES,
    st.lists(st.sampled_from([URL, f"{URL}?a=1&b=<2>", "https://b.org/'\"x"]), min_size=1, unique=True),
    st.integers(1, PIECE),
    st.lists(HEX, max_size=3),
)


@given(st.lists(LISTED, max_size=4, unique_by=lambda each: each.path))
def test_a_metalink_says_what_was_put_in(files: list[Listed]) -> None:
    root = ET.fromstring(export.metalink(files, "1.2.3").encode())  # noqa: S314  # our own
    assert root.tag == "{urn:ietf:params:xml:ns:metalink}metalink"
    assert root.findtext("m:generator", namespaces=SPACE) == "ckptd/1.2.3"
    found = []
    for each in root.iterfind("m:file", SPACE):
        pieces = each.find("m:pieces", SPACE)
        urls = each.findall("m:url", SPACE)
        assert [url.get("priority") for url in urls] == [str(number + 1) for number in range(len(urls))]
        whole = each.find("m:hash", SPACE)
        assert whole is not None
        assert whole.get("type") == "sha-256"
        if pieces is not None:
            assert pieces.get("type") == "sha-256"
        found.append(
            (
                each.get("name"),
                each.findtext("m:size", namespaces=SPACE),
                whole.text,
                [url.text for url in urls],
                None if pieces is None else (pieces.get("length"), [one.text for one in pieces]),
            )
        )
    assert found == [
        (
            each.path,
            str(each.entry.size),
            each.entry.sha256,
            list(each.urls),
            (str(each.piece_length), list(each.pieces)) if each.pieces else None,
        )
        for each in sorted(files, key=lambda each: each.path)
    ]
    assert export.metalink(files[::-1], "1.2.3") == export.metalink(files, "1.2.3")


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        (file(), None),
        (file(urls=()), "signature"),
        (file(file_name="a\ufffeb"), "XML"),
        (file(file_name="a\x0bb"), "XML"),
    ],
    ids=["good", "no URL", "no character", "control character"],
)
def test_what_a_metalink_cannot_name(listed: Listed, fault: str | None) -> None:
    found = export.metalink_fault(listed)
    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_everything_that_is_known() -> None:
    known = Known(1.5e9, "intact", {"md5": "00", "crc32c": "11"}, ({"number": 1},))
    assert export.described(file(), known) == {
        "file": "m/m.bin",
        "url": URL,
        "urls": [URL],
        "size": 7,
        "sha256": A,
        "trust": "witnessed",
        "witnesses": ["x-goog-hash:crc32c"],
        "pieces": f"blake3:{PIECE}:{B}",
        "revision": None,
        "digests": {"crc32c": "11", "md5": "00"},
        "verified_at": 1.5e9,
        "verdict": "intact",
        "history": [{"number": 1}],
    }
    unknown = export.described(file(), None)
    assert (unknown["verified_at"], unknown["verdict"], unknown["history"]) == (None, None, [])

"""What the first bytes and the media type say against a file's name."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.sniff import HEAD_NEEDED, MAGICS, impostor

HTML = b"<!DOCTYPE html><html><head><title>Sign in</title>"
XML = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"
GZIP = b"\x1f\x8b\x08\x00"

PAGES = {
    "doctype": HTML,
    "upper case": HTML.upper(),
    "html tag": b"<html>\n<body>",
    "html tag with attributes": b'<html lang="en">',
    "white space first": b"\r\n\t  " + HTML,
    "UTF-8 mark": b"\xef\xbb\xbf" + HTML,
    "UTF-16": HTML.decode().encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + HTML.decode().encode("utf-16-be"),
    "comment first": b"<!-- portal -->\n<!-- 2 -->" + HTML,
    "XHTML": b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
    "doctype, legacy": b'<!doctype HTML SYSTEM "about:legacy-compat">',
    "XML error": XML,
    "XML error after a mark": b"\xef\xbb\xbf" + XML,
    "XML error without declaration": b"<Error><Code>NoSuchKey</Code></Error>",
    "XML error with a namespace": b'<?xml version="1.0"?>\n<ErrorResponse xmlns="https://iam.example.org/">',
}

GOOD = {
    "a.gz": GZIP,
    "a.tar.gz": GZIP,
    "A.TAR.GZ": GZIP,
    "a.tgz": GZIP,
    "a.xz": b"\xfd7zXZ\x00\x00",
    "a.txz": b"\xfd7zXZ\x00\x00",
    "a.tar.zst": b"\x28\xb5\x2f\xfd\x04",
    "skippable frame first.zst": b"\x5e\x2a\x4d\x18\x04",
    "a.zip": b"PK\x03\x04\x14",
    "empty.zip": b"PK\x05\x06" + bytes(18),
    "a.npz": b"PK\x03\x04",
    "a.tar.bz2": b"BZh91AY",
    "a.7z": b"7z\xbc\xaf\x27\x1c\x00",
    "a.bin": b"\x00\x01",
    "a.tar": bytes(512),
    "no ending": b"anything",
    ".gz in the middle.gz.part": b"anything",
    "page.html": HTML,
    "page.HTM": HTML,
    "feed.xml": XML,
    "picture.svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">',
    "model.pmml": b'<?xml version="1.0"?><PMML><Error>of the model</Error>',
    "text.txt": b"In HTML, <html> is the root.",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_name_says(name: str) -> None:
    """Nothing speaks against it, with or without a digest, read to its end or not."""
    for known in (False, True):
        for whole in (False, True):
            assert impostor(name, GOOD[name], None, digest_known=known, whole=whole) is None


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.7z"])
def test_page_for_an_archive(name: str, page: str) -> None:
    """Refused even where a digest would decide: it spares the download."""
    for known in (False, True):
        reason = impostor(name, PAGES[page], "application/gzip", digest_known=known)
        assert reason is not None
        assert "HTML page" in reason or "XML error" in reason


@pytest.mark.parametrize("page", PAGES)
def test_page_for_another_file(page: str) -> None:
    """Refused, unless a digest will decide."""
    assert impostor("model.bin", PAGES[page], None, digest_known=False)
    assert impostor("model.bin", PAGES[page], None, digest_known=True) is None


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.tar.gz", b"PK\x03\x04" + bytes(100)),
        ("a.tar.gz", bytes(512)),
        ("a.tar.gz", b'{"error": "quota"}'),
        ("a.tar.gz", b"\x1f\x8b\x07\x00"),
        ("a.tar.gz", b"\x1e"),
        ("a.tgz", b"\x1f\x9d\x90"),
        ("a.xz", GZIP),
        ("a.zst", GZIP),
        ("a.zst", b"\x60\x2a\x4d\x18"),
        ("a.zip", b"PK\x01\x02"),
        ("a.bz2", b"BZ0"),
        ("a.7z", b"7z\xbc\xaf\x27\x1d"),
    ],
)
def test_wrong_magic(name: str, head: bytes) -> None:
    """Refused with both beginnings in the reason; a digest overrules it."""
    reason = impostor(name, head, None, digest_known=False)
    assert reason is not None
    assert head[:1].hex() in reason
    assert impostor(name, head, None, digest_known=True) is None


@pytest.mark.parametrize("name", ["model.bin", "model", "page.html", "a.tar.gz"])
def test_nothing_is_no_file(name: str) -> None:
    """More may follow, unless that is all; then only what is promised makes an empty file of it."""
    assert impostor(name, b"", None, digest_known=False) is None
    assert impostor(name, b"", None, digest_known=False, whole=True)
    assert impostor(name, b"", None, digest_known=True, whole=True) is None


@pytest.mark.parametrize("length", range(3))
def test_short_head_is_judged_as_far_as_it_goes(length: int) -> None:
    """More may follow, unless that is the whole file."""
    assert impostor("a.gz", GZIP[:length], None, digest_known=False) is None
    reason = impostor("a.gz", GZIP[:length], None, digest_known=False, whole=True)
    assert reason is not None
    assert ("is empty" in reason) is (length == 0)
    assert impostor("a.gz", GZIP[:length], None, digest_known=True, whole=True) is None


@pytest.mark.parametrize(
    ("name", "content_type", "known", "refused"),
    [
        ("a.tar.gz", "text/html", False, True),
        ("a.tar.gz", "Text/HTML; charset=utf-8", False, True),
        ("a.bin", "application/xhtml+xml", False, True),
        ("feed.xml", "text/html", False, True),
        ("a.tar.gz", "text/html", True, False),
        ("a.html", "text/html", False, False),
        ("a.htm", "text/html; charset=utf-8", False, False),
        ("a.tar.gz", "application/gzip", False, False),
        ("a.tar.gz", "text/plain", False, False),
        ("a.tar.gz", "", False, False),
        ("a.tar.gz", None, False, False),
    ],
)
def test_media_type(name: str, content_type: str | None, known: bool, refused: bool) -> None:
    """text/html is refused where nothing is pinned, before the first byte as well as after it."""
    for head in (b"", GZIP):
        assert (impostor(name, head, content_type, digest_known=known) is not None) is refused


NAMES = st.one_of(st.text(max_size=20), st.sampled_from([f"a{ending}" for ending in MAGICS]))


@given(NAMES, st.binary(max_size=HEAD_NEEDED), st.none() | st.text(max_size=30), st.booleans(), st.booleans())
def test_never_raises_and_explains(name: str, head: bytes, content_type: str | None, known: bool, whole: bool) -> None:
    """Whatever arrives: None, or words."""
    reason = impostor(name, head, content_type, digest_known=known, whole=whole)
    assert reason is None or reason.strip()


@given(st.sampled_from(sorted(MAGICS)), st.binary(max_size=HEAD_NEEDED), st.integers(0, HEAD_NEEDED))
def test_more_bytes_never_acquit(ending: str, rest: bytes, cut: int) -> None:
    """What a shorter head gives away, a longer one gives away too; so looking early is safe."""
    head = MAGICS[ending][0] + rest
    assert impostor(f"a{ending}", head, None, digest_known=False) is None
    assert impostor(f"a{ending}", head[:cut], None, digest_known=False) is None


@pytest.mark.parametrize(
    "part", [b"<!---->", b"<!-- -", b"<?xml ", b"<!--x--> "], ids=["comments", "open", "xml", "spaced"]
)
def test_a_hostile_head_is_judged_at_once(part: bytes) -> None:
    """Nothing that repeats makes the patterns try every way of reading it: this would not end in a lifetime."""
    impostor("a.tar.gz", (part * 200)[:512], None, digest_known=False)


@pytest.mark.parametrize(
    ("name", "layers", "refused"),
    [("a.tar.gz", 1, False), ("a.tar.gz", 2, True), ("a.TGZ", 2, True), ("a.gz.gz", 2, False), ("a.gz.gz", 3, False)],
)
def test_an_archive_that_was_coded_once_more(name: str, layers: int, refused: bool) -> None:
    head = bytes(range(256)) * 4
    for _ in range(layers):
        head = gzip.compress(head, mtime=0)
    assert (impostor(name, head, None, digest_known=False, coding="gzip") is not None) is refused
    assert impostor(name, head, None, digest_known=False) is None
    assert impostor(name, head, None, digest_known=True, coding="gzip") is None
    assert impostor(name, head[:11], None, digest_known=False, coding="gzip") is None
    assert impostor(name, head[:10] + b"\xff" * 20, None, digest_known=False, coding="gzip") is None

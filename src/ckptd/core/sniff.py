"""Is this an impostor? What the first bytes and the media type say against the file's name. No I/O.

Sign-in pages, quota notices, error documents and empty bodies arrive with status 200 under the name of an archive, and
set size and hash in the locks of those who do not look. Whoever passes here is not proven, only not absurd.
"""

from __future__ import annotations

import re
import zlib

HEAD_NEEDED = 512  # bytes of the file's beginning that are looked at; fewer are judged as far as they go

# Endings and how such a file begins. Formats without a fixed mark at their beginning (.tar, .bin, .pt, .h5
# with a user block) are not judged.
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # a member, an empty archive, a spanned one
_BZIP2 = (b"BZh",)
_GZIP = (b"\x1f\x8b\x08",)  # deflate is the only method (RFC 1952 section 2.3.1)
_XZ = (b"\xfd7zXZ\x00",)
# A frame, or a skippable one, as seekable and parallel writers put first (RFC 8878 sections 3.1.1 and 3.1.2).
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + nibble,)) + b"\x2a\x4d\x18" for nibble in range(16)))
MAGICS: dict[str, tuple[bytes, ...]] = {
    ".gz": _GZIP,
    ".tgz": _GZIP,
    ".xz": _XZ,
    ".txz": _XZ,
    ".zst": _ZSTD,
    ".tzst": _ZSTD,
    ".zip": _ZIP,
    ".npz": _ZIP,
    ".bz2": _BZIP2,
    ".tbz": _BZIP2,
    ".tbz2": _BZIP2,
    ".7z": (b"7z\xbc\xaf\x27\x1c",),
}
# Content codings by which servers name what a file is, from the ending of its name, and what it then ends in.
NAMED_CODINGS = {
    "gzip": (".gz", ".tgz"),
    "bzip2": (".bz2", ".tbz", ".tbz2"),
    "xz": (".xz", ".txz"),
    "zstd": (".zst", ".tzst"),
}
HTML_NAMES = (".html", ".htm", ".xhtml")
PAGE_NAMES = (*HTML_NAMES, ".xml")
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})

# What may stand before the first tag: white space, an XML declaration, comments.
_BEFORE = rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*"
_HTML = re.compile(_BEFORE + rb"(?:<!doctype\s+html\b|<html[\s>])", re.IGNORECASE | re.DOTALL)
_XML_ERROR = re.compile(_BEFORE + rb"<error(?:response)?[\s>]", re.IGNORECASE | re.DOTALL)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def impostor(
    file_name: str,
    head: bytes,
    content_type: str | None,
    *,
    digest_known: bool,
    whole: bool = False,
    coding: str = "",
) -> str | None:
    """Why these bytes cannot be the file of that name: words whose subject is the origin. None if they may.

    Args:
        file_name: the last segment of the URL's path.
        head: the file's first bytes; HEAD_NEEDED of them, or fewer, or none yet.
        content_type: the Content-Type field, parameters and all.
        digest_known: a SHA-256 will decide; then the media type and the magic are not judged, and a page only
            where an archive is expected (it spares the download).
        whole: `head` is all there is, so that none at all, or too few for the format, are judged too.
        coding: under which the bytes come, where only the file's name says that it is of the file. An archive that was
            coded once more on the way is not the file.
    """
    name = file_name.lower()
    magics = _magics(name)
    page = _page(head) if not name.endswith(PAGE_NAMES) else None
    if page is not None and (magics or not digest_known):
        return f"sends {page} in place of {file_name}"
    if digest_known:
        return None
    if said := page_type(file_name, content_type):
        return said
    if magics and not _begins(head, magics, whole=whole):
        ending = name[name.rindex(".") :]
        found = f"begins with {head[: len(magics[0])].hex(' ')}" if head else "is empty"
        return f"sends something that {found}; a {ending} file begins with {magics[0].hex(' ')}"
    if whole and not head:
        return f"sends nothing in place of {file_name}, and no sha256 says that it is empty"
    if coding == "gzip" and _coded_twice(name, head):
        return f"sends {file_name} coded once more ({coding}) though nothing was asked for"
    return None


def page_type(file_name: str, content_type: str | None) -> str | None:
    """Why a body of that media type is a page, and not the file of that name; None if it may be the file."""
    media_type = _media_type(content_type)
    if media_type in HTML_TYPES and not file_name.lower().endswith(HTML_NAMES):
        return f"says that {file_name} is {media_type}, so it is a page, not the file"
    return None


def _magics(name: str) -> tuple[bytes, ...]:
    dot = name.rfind(".")
    return MAGICS.get(name[dot:], ()) if dot >= 0 else ()


def _coded_twice(name: str, head: bytes) -> bool:
    """Whether what is coded begins like a gzip file itself, though the name promises one layer only."""
    endings = NAMED_CODINGS["gzip"]
    ending = next((each for each in endings if name.endswith(each)), None)
    if ending is None or name.removesuffix(ending).endswith(endings):
        return False
    try:
        return zlib.decompressobj(wbits=31).decompress(head, len(_GZIP[0])) == _GZIP[0]
    except zlib.error:
        return False  # damage is found by those who unpack


def _begins(head: bytes, magics: tuple[bytes, ...], *, whole: bool) -> bool:
    """Whether `head` begins with one of them, or may yet when it is too short to tell."""
    return any(head.startswith(magic) or (not whole and magic.startswith(head)) for magic in magics)


def _page(head: bytes) -> str | None:
    head = head[:HEAD_NEEDED]
    for mark in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            # UTF-16 of what these pages begin with is ASCII with zeros between.
            head = head.removeprefix(mark).replace(b"\0", b"")
            break
    if _HTML.match(head):
        return "an HTML page"
    return "an XML error document" if _XML_ERROR.match(head) else None


def _media_type(content_type: str | None) -> str:
    """Type and subtype without parameters, in lower case (RFC 9110 section 8.3.1)."""
    return (content_type or "").partition(";")[0].strip().lower()

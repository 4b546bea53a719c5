"""Metalink 4 (RFC 5854): files with sizes, digests and several URLs each.

The sha-256 of the whole file becomes the pin, the URL of the best priority the entry's, the others its mirrors. Piece
digests, signatures and torrents are not used.

Read by lxml, which the HTML reader needs anyway, with everything off that XML can do beyond holding text: no entity is
resolved, nothing loaded, and a document type (which RFC 5854 has no use for) is refused, so that no entity can grow.
"""

from __future__ import annotations

from lxml import etree

from ckptd.core.document import shown
from ckptd.core.imports.candidates import Candidate, Reading, Skipped, contradictions, merged
from ckptd.core.imports.links import UNUSABLE, absolute, split
from ckptd.core.schema import sha256
from ckptd.core.urls import redact
from ckptd.errors import ConfigError

SPACE = "{urn:ietf:params:xml:ns:metalink}"
LAST = 999_999  # the priority of a URL that names none (RFC 5854 section 4.2.16.2)
LARGEST = 2**63 - 1
LONGEST = 300  # characters of a description


def read(text: str) -> Reading:
    """The files of a Metalink 4 document. Raises ConfigError when it is none."""
    root = _root(text)
    if root.tag != f"{SPACE}metalink":
        version = "it is version 3" if str(root.tag).endswith("metalink") else f"its root is {shown(str(root.tag))}"
        raise ConfigError(f"not a Metalink 4 document (RFC 5854): {version}")
    found: list[Candidate] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for file in root.iterfind(f"{SPACE}file"):
        _file(file, found, skipped, notes)
    wrong = contradictions((f"file {shown(each.file_name)}", each) for each in found)
    if wrong:
        raise ConfigError("\n".join(wrong), hint="nothing was written")
    return Reading(merged(found), tuple(skipped), notes=tuple(notes))


def _root(text: str) -> etree._Element:
    if "<!DOCTYPE" in text:
        raise ConfigError("the document declares a document type, which Metalink has no use for; it is not read")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        return etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError as error:
        raise ConfigError(f"line {error.lineno or 1}: not well-formed XML: {shown(error.msg)}") from None


def _file(file: etree._Element, found: list[Candidate], skipped: list[Skipped], notes: list[str]) -> None:
    name = str(file.get("name", "")).replace("\\", "/").rpartition("/")[2]
    offered = sorted(
        ((_priority(each.get("priority")), (each.text or "").strip()) for each in file.iterfind(f"{SPACE}url")),
        key=lambda pair: pair[0],
    )
    urls: list[str] = []
    for _, url in offered:
        try:
            whole = absolute(url, None) if split(url).scheme.lower() in {"http", "https"} else None
        except ValueError:
            skipped.append(Skipped(redact(url), UNUSABLE))
            continue
        if whole is None:
            skipped.append(Skipped(redact(url), "cannot be fetched from there"))
        else:
            urls.append(whole)
    if not urls:
        notes.append(f"{shown(name)} has no URL that can be fetched")
        return
    pin, note = _pin(file, name)
    notes += [note] if note else []
    about = " ".join(filter(None, (_said(file, "identity"), _said(file, "version"))))
    mirrors = tuple(dict.fromkeys(urls[1:]))
    said = _said(file, "description") or about
    found.append(Candidate(urls[0], mirrors, pin, _size(file), name, title=about, description=said))


def _priority(value: str | None) -> int:
    return int(value) if value and value.isascii() and value.isdigit() and 1 <= int(value[:7]) <= LAST else LAST


def _said(file: etree._Element, name: str) -> str:
    """A child's text on one line, short enough to be a description."""
    text = (file.findtext(f"{SPACE}{name}") or "")[:LONGEST]
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _size(file: etree._Element) -> int | None:
    text = (file.findtext(f"{SPACE}size") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST else None


def _pin(file: etree._Element, name: str) -> tuple[str | None, str]:
    """The file's SHA-256, or a note about why there is none. Raises ConfigError for one that cannot be."""
    kinds = []
    for each in file.iterfind(f"{SPACE}hash"):
        kind = (each.get("type") or "").lower()
        kinds.append(kind)
        if kind != "sha-256":
            continue
        value = (each.text or "").strip()
        try:
            return sha256(value), ""
        except ValueError as error:
            raise ConfigError(f"line {each.sourceline}: {shown(name)}: {shown(value)} {error}") from None
    if not kinds:
        return None, ""
    return None, f"{shown(name)} has no sha-256, only {', '.join(kinds)}: the first fetch decides"

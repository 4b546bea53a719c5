"""One link as text: what kind of thing is behind it, its direct form, whether it holds a secret, what equals it.

Judges by host and file name alone; asks nobody. A link is taken for a checkpoint only when it ends like an archive or
like weights: on a page about models most links lead elsewhere.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from ckptd.core.urls import host_label, normalise, strip_for_lock


class Kind(StrEnum):
    """What a link leads to, in the words of a report."""

    WEIGHTS = "archive or weights"
    FILE = "other file"
    PICTURE = "picture or badge"
    PAPER = "paper"
    SHARE = "share page"
    PAGE = "page"


ARCHIVES = (
    ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz", ".txz", ".tzst", ".tbz2", ".tbz", ".tar", ".zip", ".7z",
    ".gz", ".xz", ".zst", ".bz2",
)  # fmt: skip
WEIGHTS = (
    ".pth", ".pt", ".ptl", ".bin", ".safetensors", ".onnx", ".pb", ".tflite", ".h5", ".hdf5", ".keras", ".ckpt",
    ".npz", ".npy", ".pkl", ".pickle", ".msgpack", ".caffemodel", ".params", ".pdparams", ".pdiparams", ".pdmodel",
    ".mar", ".nemo", ".gguf", ".ggml", ".mlmodel", ".joblib", ".weights", ".model", ".torchscript", ".jit", ".t7",
    ".distcp", ".index", ".meta",
)  # fmt: skip
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico", ".bmp", ".mp4", ".webm", ".mov", ".avi")
PAPERS = (".pdf", ".ps", ".djvu", ".bib")
PAGES = (".html", ".htm", ".xhtml", ".md", ".markdown", ".rst", ".php", ".asp", ".aspx", ".jsp", ".ipynb")

BADGE_HOSTS = ("shields.io", "badgen.net", "badge.fury.io", "codecov.io")
PAPER_HOSTS = (
    "arxiv.org", "doi.org", "openreview.net", "thecvf.com", "nips.cc", "neurips.cc", "mlr.press", "aclanthology.org",
    "semanticscholar.org", "springer.com", "ieee.org", "acm.org", "researchgate.net", "paperswithcode.com",
)  # fmt: skip
SHARE_HOSTS = (
    "drive.google.com", "docs.google.com", "pan.baidu.com", "1drv.ms", "onedrive.live.com", "sharepoint.com",
    "mega.nz", "mediafire.com", "wetransfer.com",
)  # fmt: skip

_SHARD = re.compile(r"\.data-[0-9]{5}-of-[0-9]{5}$")  # of a TensorFlow checkpoint
_SUFFIX = re.compile(r"\.(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{1,12}$")
_SOURCE_CODE = re.compile(r"^/[^/]+/[^/]+/(?:archive|zipball|tarball)/")
_GITHUB_BLOB = re.compile(r"^(/[^/]+/[^/]+)/blob/")
_HUB_BLOB = re.compile(r"^(/(?:datasets/|spaces/)?[^/]+/[^/]+)/blob/")
_AUTHORITY_ENDS = re.compile(r"[/?#\\]")
_LINE_ENDS = re.compile(r"[\t\r\n]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = re.compile(r"\bdl=0\b")
_DOWNLOAD = re.compile(r"download=(?:true|1)", re.IGNORECASE)
_BADGE = re.compile(r"\.svg$|(?:^|[/_.-])badges?(?:[/_.-]|$)", re.IGNORECASE)

UNUSABLE = "is not a usable URL: its host is none"


@lru_cache(maxsize=4096)
def split(url: str) -> SplitResult:
    """The parts of `url`: asked often for the same one. Raises ValueError where the host cannot be one."""
    return urlsplit(url)


def kind_of(url: str) -> Kind:
    """What is behind an absolute URL, by its host and its file name."""
    try:
        parts = split(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return Kind.PAGE
    name = unquote(parts.path.rpartition("/")[2]).lower()
    if _on(host, BADGE_HOSTS) or name.endswith(PICTURES):
        return Kind.PICTURE
    if _on(host, PAPER_HOSTS) or name.endswith(PAPERS):
        return Kind.PAPER
    if _on(host, SHARE_HOSTS):
        return Kind.SHARE
    if not name or name.startswith(".") or name.endswith(PAGES) or "/blob/" in parts.path:
        return Kind.PAGE
    if host == "github.com" and _SOURCE_CODE.match(parts.path):
        return Kind.FILE
    if name.endswith(ARCHIVES) or name.endswith(WEIGHTS) or _SHARD.search(name):
        return Kind.WEIGHTS
    return Kind.FILE if _SUFFIX.search(name) else Kind.PAGE


@lru_cache(maxsize=1024)
def _on(host: str, known: tuple[str, ...]) -> bool:
    return host in known or host.endswith(tuple(f".{each}" for each in known))


def readable(href: str) -> bool:
    """Whether the host of a link, if it names one, can be one."""
    try:
        split(href)
    except ValueError:
        return False
    return True


def is_archive(url: str) -> bool:
    """Whether `url`, which can be read, ends like an archive."""
    return unquote(split(url).path).lower().endswith(ARCHIVES)


def is_badge(picture: str) -> bool:
    """Whether the address of a picture is that of a badge, which says how something is, not what a link leads to."""
    try:
        parts = split(picture)
        return _on((parts.hostname or "").lower(), BADGE_HOSTS) or _BADGE.search(parts.path) is not None
    except ValueError:
        return False


def absolute(href: str, base: str | None) -> str | None:
    """The URL that a link means, in its direct form; None for a relative link without a base.

    Blanks around it and line ends in it do not count, blanks in it are percent-encoded, as browsers do. Raises
    ValueError for what cannot be read as a URL.
    """
    plain = _LINE_ENDS.sub("", href.strip()).replace(" ", "%20")
    whole = plain if split(plain).scheme else urljoin(base, plain) if base else ""
    return direct(without_fragment(whole)) if whole else None


def as_given(url: str) -> str:
    """The direct form of a URL on a command line. One that cannot be read, or is broken in its middle, stays as it is.

    Whoever judges it then says why it is refused.
    """
    try:
        return url if _CONTROL.search(url.strip()) else absolute(url, None) or url
    except ValueError:
        return url


def without_fragment(url: str) -> str:
    """`url` without "#...", which no server sees; in gs:// it is the generation, and stays."""
    return url.partition("#")[0] if url[:4].lower() == "http" else url


def direct(url: str) -> str:
    """The file itself where `url` is the page around it that a code or model host shows."""
    parts = split(url)
    host = parts.hostname or ""
    if host == "github.com":
        return urlunsplit(parts._replace(path=_GITHUB_BLOB.sub(r"\1/raw/", parts.path)))
    if host == "huggingface.co":
        query = "" if _DOWNLOAD.fullmatch(parts.query) else parts.query
        return urlunsplit(parts._replace(path=_HUB_BLOB.sub(r"\1/resolve/", parts.path), query=query))
    if host in {"dropbox.com", "www.dropbox.com"}:
        return urlunsplit(parts._replace(query=_SHOWN.sub("dl=1", parts.query)))
    return url


def folder(base: str) -> str:
    """What relative names are resolved against: `base` with a final "/", or the folder of `base` where it is a page."""
    plain = _bare(base)
    if split(plain).path.lower().endswith(PAGES):
        return beside(plain)
    return plain if plain.endswith("/") else f"{plain}/"


def beside(url: str) -> str:
    """The folder that `url` stands in, with a final "/"."""
    found = urljoin(_bare(url), ".")
    return found if found.endswith("/") else f"{found}/"


def _bare(url: str) -> str:
    """Without credentials and query: what is relative to a signed page must not inherit its signature."""
    parts = split(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def secret_in(url: str) -> str | None:
    """Why `url` does not belong into a manifest, which others read and commit: credentials, a signed query."""
    bare = without_fragment(url)
    authority = _AUTHORITY_ENDS.split(bare.partition("://")[2], maxsplit=1)[0]
    if "@" in authority and bare[:4].lower() == "http":
        return "carries a user or password"
    plain = bare.removesuffix("?")
    return "carries a signed query or a token" if strip_for_lock(plain) != plain else None


@lru_cache(maxsize=4096)
def key(url: str) -> str:
    """The same text for URLs that name the same file: gs and hf forms, case of the host, default ports."""
    try:
        plain = without_fragment(normalise(url))
        parts = split(plain)
        return f"{parts.scheme}://{host_label(plain)}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    except ValueError:
        return url

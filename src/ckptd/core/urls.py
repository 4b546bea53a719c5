"""URLs as text: what may be shown, what may be locked, what file they name, where their bytes may come from.

Resolves no name. `redact`, `redact_text`, `strip_for_lock`, `host_label` never raise: they
run where errors are reported. The others raise ValueError with what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from ckptd.core.hosts import is_loopback_host, is_private_host

__all__ = [
    "file_name",
    "host_label",
    "is_loopback_host",
    "is_private_host",
    "normalise",
    "origin_of",
    "redact",
    "redact_text",
    "rewrite",
    "strip_for_lock",
]

PORTS = {"http": 80, "https": 443}
LONGEST_NAME = 200  # bytes of a file name: 255 is the file system's, the rest is for suffixes of partials
RESERVED_NAMES = ("tree",)  # where the unpacked tree stands beside the file

_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\\]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_HOST_PORT = re.compile(r"(?:[\w.-]+|\[[\w:.%-]+\])(?::[0-9]{0,5})?")
_HARMLESS_QUERY = re.compile(r"generation=[0-9]+")
_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]{0,15}://(?:(?![a-z][a-z0-9+.-]{0,15}://)\S)+", re.IGNORECASE)
_PUNCTUATION = "'\")>]},.;:!"

# Names of query parameters that sign, or are secrets themselves: S3, GCS, CloudFront, Azure, CDNs.
_SIGNING_NAME = (
    r"x-(?:amz|goog|oss|cos|ms)-[\w.%-]*"
    r"|[\w.-]*(?:signature|token|secret|passw|credential|session|api[_-]?key|access[_-]?key)[\w.-]*"
    r"|sig|sign|expires|expiry|key|policy|auth|authorization|key-pair-id|googleaccessid|jwt|hmac|hdnts|hdnea"
)
_SIGNING = re.compile(_SIGNING_NAME, re.IGNORECASE)
_SIGNING_PAIR = re.compile(rf"([?&](?:{_SIGNING_NAME})=)[^\s&]+", re.IGNORECASE)

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_GS = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]*)/(?P<object>[^#]+)(?:#(?P<generation>[0-9]+))?", re.IGNORECASE)
_HF = re.compile(
    r"hf://(?P<kind>(?:datasets|spaces)/)?(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)"
    r"(?:@(?P<revision>refs/(?:pr/[0-9]+|convert/\w+)|[^/]+))?/(?P<path>.+)",
    re.IGNORECASE | re.ASCII,
)


_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]*[a-z0-9])/(?P<key>.+)", re.IGNORECASE)


def redact(url: str) -> str:
    """`url` fit to be shown: no password, no query but `generation`, no fragment, nothing unprintable."""
    found = _SHAPE.fullmatch(url)
    if found is None:
        # Not a URL we understand; an @ may still follow a password, and where it begins cannot be known.
        shown = "..." if "@" in url else re.split(r"[?#]", url, maxsplit=1)[0]
        return _UNPRINTABLE.sub("\ufffd", shown)
    authority = found["authority"].rpartition("@")[2]
    if authority and not _HOST_PORT.fullmatch(authority):  # "user:pa?ss@host" and the like: half a password
        return f"{found['scheme']}://..."
    query = found["query"] or ""
    tail = f"?{query if _HARMLESS_QUERY.fullmatch(query) else '...'}" if query else ""
    return _UNPRINTABLE.sub("\ufffd", f"{found['scheme']}://{authority}{found['path']}{tail}")


def redact_text(text: str) -> str:
    """A message with every URL in it redacted, and the values of signing parameters that stand alone."""
    return _SIGNING_PAIR.sub(r"\1...", _IN_TEXT.sub(_redact_match, text))


def _redact_match(found: re.Match[str]) -> str:
    # Up to the next blank, since an unquoted ' may be part of a query; closing punctuation is the sentence's.
    url = found[0].rstrip(_PUNCTUATION)
    return redact(url) + found[0][len(url) :]


@lru_cache(maxsize=4096)
def normalise(url: str) -> str:
    """The https form of `gs://bucket/object[#generation]`, `s3://bucket/key` (a public bucket) and
    `hf://[datasets/]org/repo[@revision]/path`.

    Objects and paths are taken literally there, as gsutil and huggingface_hub do: "%" becomes "%25". Other
    URLs come back unchanged. Raises ValueError for one that lacks a part.
    """
    scheme = url[:5].lower()
    if scheme == "gs://":
        found = _GS.fullmatch(url)
        if found is None:
            raise ValueError("write gs://bucket/object")
        target = f"https://storage.googleapis.com/{found['bucket']}/{_quoted(found['object'])}"
        return f"{target}?generation={found['generation']}" if found["generation"] else target
    if scheme == "s3://":
        found = _S3.fullmatch(url)
        if found is None:
            raise ValueError("write s3://bucket/key")
        # A dot in the bucket's name would not be covered by the certificate of *.s3.amazonaws.com.
        dotted = "." in found["bucket"]
        base = f"s3.amazonaws.com/{found['bucket']}" if dotted else f"{found['bucket']}.s3.amazonaws.com"
        return f"https://{base}/{_quoted(found['key'])}"
    if scheme == "hf://":
        found = _HF.fullmatch(url)
        if found is None:
            raise ValueError("write hf://organisation/repository@revision/path")
        revision = quote(unquote(found["revision"] or "main"), safe="")
        repository = (found["kind"] or "") + found["repo"]
        return f"https://huggingface.co/{repository}/resolve/{revision}/{_quoted(found['path'])}"
    return url


def _quoted(path: str) -> str:
    if "?" in path:  # a query or part of a name? Nobody can tell, and a query may be a signature
        raise ValueError('a "?" is not understood here; write the https:// form')
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise ValueError('"." and ".." cannot be parts of the path')
    return quote(path, safe="/~")


def strip_for_lock(url: str) -> str:
    """`url` as in the manifest, without user and password, signed query and http fragment. Idempotent."""
    found = _SHAPE.fullmatch(url)
    if found is None or found["scheme"].lower() not in PORTS:
        return url  # gs, s3 and hf carry neither; their "#" and "@" say which version
    query = found["query"]
    keep = bool(query) and not any(_signs(pair) for pair in re.split(r"[&;]", query))
    authority = found["authority"].rpartition("@")[2]
    return f"{found['scheme']}://{authority}{found['path']}" + (f"?{query}" if keep else "")


def _signs(pair: str) -> bool:
    return _SIGNING.fullmatch(unquote(pair.partition("=")[0])) is not None


@lru_cache(maxsize=4096)
def file_name(url: str) -> str:
    """The last segment of the path, decoded: the name under which the file stands in the store.

    Raises ValueError for a name that could leave its folder, hide, or collide with the unpacked tree.
    """
    found = _SHAPE.fullmatch(normalise(url))
    segment = "" if found is None else found["path"].rpartition("/")[2]
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the file name in it is not UTF-8") from None
    if not name:
        raise ValueError("it ends in no file name; write the URL of a file")
    if "/" in name or "\\" in name or _UNPRINTABLE.search(name):
        raise ValueError("the file name in it contains a slash, a backslash or a control character")
    if name.startswith("."):
        raise ValueError('the file name in it begins with "."')
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"the file name in it is longer than {LONGEST_NAME} bytes")
    if name in RESERVED_NAMES:
        raise ValueError(f'the file name "{name}" is reserved for the unpacked tree')
    return name


@lru_cache(maxsize=4096)
def origin_of(url: str) -> tuple[str, str, int]:
    """(scheme, lower-case host without brackets, port): what credentials are bound to. Raises ValueError."""
    parts = urlsplit(normalise(url))
    host, port = parts.hostname, parts.port
    if parts.scheme not in PORTS:
        raise ValueError("it is neither http nor https")
    if not host or port == 0:
        raise ValueError("it names no host" if not host else "0 is not a port")
    return parts.scheme, host, PORTS[parts.scheme] if port is None else port


@lru_cache(maxsize=4096)
def host_label(url: str) -> str:
    """The host for people to read, with its port where that is unusual; "unknown host" when there is none."""
    try:
        scheme, host, port = origin_of(url)
    except ValueError:
        return "unknown host"
    shown = f"[{host}]" if ":" in host else host
    return shown if PORTS[scheme] == port else f"{shown}:{port}"


def rewrite(url: str, sources: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """Every URL to try, in order: what the longest matching prefix stands for, then the original."""
    original = normalise(url)
    comparable = _with_lower_host(original)
    matching = [(prefix, targets) for prefix, targets in sources if comparable.startswith(_with_lower_host(prefix))]
    if not matching:
        return (original,)
    prefix, targets = max(matching, key=lambda source: len(source[0]))
    rest = comparable[len(_with_lower_host(prefix)) :]
    return tuple(dict.fromkeys((*(target + rest for target in targets), original)))


def _with_lower_host(url: str) -> str:
    """Scheme and host compare without case, the path with it (RFC 3986 section 6.2.2.1)."""
    found = _SHAPE.fullmatch(url)
    if found is None:
        return url
    end = found.end("authority")
    return url[:end].lower() + url[end:]

"""A Hugging Face repository as candidates: which addresses to ask, and what its answers mean. Asks nobody itself.

The hub's public API: `/api/models/ORG/REPO/revision/REV` names the commit, `/tree/COMMIT?recursive=true` lists the
files, in pages that are joined by `Link: <...>; rel="next"` (RFC 8288). `lfs.oid` is the SHA-256 of the file; the
`oid` of a small file is a git blob id and proves nothing here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from ckptd.core.imports.candidates import Candidate, Reading, Skipped
from ckptd.core.imports.links import Kind, kind_of
from ckptd.core.naming import legal, stem
from ckptd.core.schema import sha256
from ckptd.core.urls import host_label, is_loopback_host, origin_of
from ckptd.errors import ConfigError, OriginError

ENDPOINT = "https://huggingface.co"
WRITE = "write hf://organisation/repository@revision"

_PART = r"[\w-][\w.-]*"
_HF = re.compile(
    rf"hf://(?:(datasets|spaces|models)/)?({_PART}/{_PART})(?:@(refs/(?:pr/[0-9]+|convert/\w+)|[^/]+))?/?", re.ASCII
)
_PAGE = re.compile(rf"https://huggingface\.co/(?:(datasets|spaces)/)?({_PART}/{_PART})(?:/tree/([^/?#]+))?/?", re.ASCII)
_NOT_OWNERS = {"api", "datasets", "spaces", "models", "docs", "blog", "papers", "collections", "organizations"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEXT = re.compile(r'<([^>]*)>\s*(?:;[^,<]*?)?;\s*rel="?next"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a revision. `kind` is "models", "datasets" or "spaces"."""

    kind: str
    name: str
    revision: str = "main"

    @property
    def folder(self) -> str:
        """Its path on the hub: models stand at the root."""
        return self.name if self.kind == "models" else f"{self.kind}/{self.name}"


def reference(source: str) -> Repository | None:
    """The repository that a source means, in hf:// form or as the address of its page; None for other sources.

    Raises ConfigError for an hf:// that names no repository.
    """
    found = _HF.fullmatch(source)
    if found is None and source.lower().startswith("hf://"):
        raise ConfigError(
            f"{source} is not a repository; {WRITE}", hint="`ckptd add hf://org/repo@revision/file` adds a single file"
        )
    found = found or _PAGE.fullmatch(source)
    if found is None or found[2].partition("/")[0] in _NOT_OWNERS:
        return None
    return Repository(found[1] or "models", found[2], found[3] or "main")


def revision_url(endpoint: str, repository: Repository) -> str:
    """The address that tells the commit of a revision."""
    return f"{endpoint}/api/{repository.kind}/{repository.name}/revision/{quote(repository.revision, safe='')}"


def tree_url(endpoint: str, repository: Repository, commit: str) -> str:
    """The address of the first page of the list of files."""
    return f"{endpoint}/api/{repository.kind}/{repository.name}/tree/{commit}?recursive=true"


def commit_of(text: str, label: str) -> str:
    """The commit in the answer to `revision_url`. Raises OriginError; `label` is the host that answered."""
    found = _loaded(text, label)
    commit = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise OriginError(f"{label} did not say which commit the revision is")
    return commit


def next_page(link: str | None, current: str) -> str | None:
    """The address of the next page of a listing, from its `Link` field. Raises OriginError when it leads away."""
    found = _NEXT.search(link or "")
    if found is None:
        return None
    try:
        following: str = urljoin(current, found[1])
        if origin_of(following) == origin_of(current):
            return following
    except ValueError:
        pass
    raise OriginError(f"{host_label(current)} continues its list on another host; that is not followed")


def entries(text: str, label: str) -> list[dict[str, object]]:
    """The files and folders of one page of the listing. Raises OriginError when it is none."""
    found = _loaded(text, label)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise OriginError(f"{label} answered something that is not a list of files")
    return found


def read(
    listed: list[dict[str, object]], repository: Repository, commit: str, endpoint: str, *, all_files: bool
) -> Reading:
    """The files of a repository at a commit. `all_files`: also its pages and pictures (README.md).

    A file of the official hub is written as hf://, one of another endpoint by that endpoint's address.
    """
    found: list[Candidate] = []
    skipped: list[Skipped] = []
    left_out: dict[str, int] = {}
    short = repository.name.rpartition("/")[2]
    for each in listed:
        path = each.get("path")
        if each.get("type") != "file" or not isinstance(path, str) or not path:
            continue
        url = _url(path, repository, commit, endpoint)
        file_name = path.rpartition("/")[2]
        kind = kind_of(f"{ENDPOINT}/{quote(path)}")
        if file_name.startswith("."):
            left_out["hidden file"] = left_out.get("hidden file", 0) + 1
            continue
        if not all_files and kind in {Kind.PAGE, Kind.PICTURE} and "." in file_name:
            left_out[kind] = left_out.get(kind, 0) + 1
            continue
        size, pin = _pins(each)
        if size == 0:
            skipped.append(Skipped(url, "is empty"))
            continue
        plain = f"{short}-{path.replace('/', '-')}"
        names = (legal(stem(plain)), legal(plain))
        about = f"{repository.name} at {commit[:12]}"
        found.append(Candidate(url, (), pin, size, file_name, names, "", about))
    return Reading(tuple(found), tuple(skipped), left_out)


def _url(path: str, repository: Repository, commit: str, endpoint: str) -> str:
    if endpoint == ENDPOINT and "?" not in path:
        return f"hf://{repository.folder}@{commit}/{path}"
    return f"{endpoint}/{repository.folder}/resolve/{commit}/{quote(path, safe='/~')}"


def _pins(entry: dict[str, object]) -> tuple[int | None, str | None]:
    """Size and SHA-256, as far as the listing knows them."""
    lfs = entry.get("lfs")
    about = lfs if isinstance(lfs, dict) else {}
    size = about.get("size", entry.get("size"))
    try:
        pin = sha256(about.get("oid"))
    except ValueError:
        pin = None
    return (size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None), pin


def _loaded(text: str, label: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise OriginError(f"{label} answered something that is not JSON") from None
    return found


def endpoint_of(value: str | None) -> str:
    """$HF_ENDPOINT, or the official one. Raises ConfigError for what is no https origin (loopback may be http)."""
    if not value:
        return ENDPOINT
    plain = value.rstrip("/")
    try:
        scheme, host, _ = origin_of(plain)
    except ValueError as error:
        raise ConfigError(f"HF_ENDPOINT is not a usable URL: {error}") from None
    if "@" in urlsplit(plain).netloc or urlsplit(plain).query:
        raise ConfigError("HF_ENDPOINT carries credentials or a query; write https://host")
    if scheme == "http" and not is_loopback_host(host):
        raise ConfigError("HF_ENDPOINT is plain http, which can be changed on the way; write https://host")
    return plain

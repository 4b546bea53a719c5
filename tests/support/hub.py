"""A fake of the Hugging Face Hub on two loopback origins: the hub, and the CDN that it sends everybody to.

`resolve/<revision>/<path>` answers 302 to a signed address for large files (`X-Linked-Etag`, `X-Linked-Size` and
`X-Repo-Commit` on the redirect alone) and the file itself for small ones, whose ETag is a git blob id. Signatures run
out by count, never by the clock, and are for GET alone. Neither origin knows why a client asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import count
from urllib.parse import parse_qs, unquote

import faults as f
import origin as o
from origin import Origin, Origins, Turn

SIGNATURE = "S1gnature"  # stands in every signed address
SMALL = 4096  # bytes of a file that git keeps itself
MANY = 1_000_000


def git_blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


class Hub:
    """One repository, `folder`. `uses`: requests for which a signature is good; `cut`: after how many bytes the CDN
    ends the first of them, if at all."""

    def __init__(self, origins: Origins, folder: str = "org/net") -> None:
        self.folder = folder
        self.front = origins.new()
        self.cdn = origins.new(host="localhost")
        self.revisions: dict[str, str] = {}  # name -> commit
        self.commits: dict[str, dict[str, bytes]] = {}
        self.uses = MANY
        self.cut: int | None = None
        self._left: dict[str, int] = {}
        self._serial = count(1)
        self.front.on("*", self._resolve, times=None, method=None)
        self.cdn.on("*", self._guard, times=None, method=None)

    def commit(self, files: Mapping[str, bytes], revision: str = "main") -> str:
        """A new commit with these files, which `revision` means from now on."""
        number = next(self._serial)
        sha = hashlib.sha1(f"commit {number}".encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = dict(files)
        self.revisions[revision] = sha
        for body in files.values():
            # The CDN's own ETag looks like a SHA-256 and is another value.
            etag = f'"{hashlib.sha256(body[::-1]).hexdigest()}"'
            self.cdn.put(self.object(body), body, etag=etag, content_type="application/octet-stream")
        return sha

    def forget(self, sha: str) -> None:
        """The commit is gone, as when a history is squashed."""
        del self.commits[sha]

    def url(self, path: str, revision: str = "main") -> str:
        return self.front.url(self.path(path, revision))

    def path(self, path: str, revision: str = "main") -> str:
        return f"/{self.folder}/resolve/{revision}/{path}"

    def object(self, body: bytes) -> str:
        """The CDN's path of a file."""
        return f"/xet/{hashlib.md5(body, usedforsecurity=False).hexdigest()}"

    def asked(self, origin: Origin | None = None) -> list[str]:
        """The paths that were asked for, of the hub unless said otherwise."""
        return [each.request.path for each in (origin or self.front).requests()]

    def _resolve(self, turn: Turn) -> None:
        before, _, rest = turn.request.path.partition("/resolve/")
        revision, _, path = rest.partition("/")
        sha = self.revisions.get(unquote(revision), revision)
        body = self.commits.get(sha, {}).get(unquote(path))
        if before != f"/{self.folder}" or body is None:
            f.status(404, ("X-Error-Code", "RevisionNotFound"))(turn)
            return
        commit = ("X-Repo-Commit", sha)
        if len(body) <= SMALL:
            turn.blob = o.Blob(body, f'"{git_blob(body)}"', None, (commit,), "text/plain")
            o.answer(turn)
            return
        signature = f"{SIGNATURE}{next(self._serial)}"
        self._left[signature] = self.uses
        linked = [("X-Linked-Etag", f'"{hashlib.sha256(body).hexdigest()}"'), ("X-Linked-Size", str(len(body)))]
        target = self.cdn.url(f"{self.object(body)}?Expires=1&Signature={signature}~&Key-Pair-Id=K")
        f.redirect(target, 302, commit, *linked)(turn)

    def _guard(self, turn: Turn) -> None:
        signature = parse_qs(turn.request.query).get("Signature", [""])[0].removesuffix("~")
        left = self._left.get(signature, 0)
        if left <= 0 or turn.request.method != "GET":
            f.status(403, body=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")(turn)
            return
        self._left[signature] = left - 1
        if self.cut is not None and left == self.uses:
            f.cut(self.cut)(turn)

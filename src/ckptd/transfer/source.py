"""One URL that may serve a checkpoint: how it is asked, and how much trust in its manners is left.

Begins with `Range` and `If-Range`; an origin that answers those in its own way is asked for plain ranges, whose
answers are compared, and in the end for the whole file. Never fails hard over it, never splices, never loops.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from urllib.parse import parse_qsl, urlsplit

from ckptd.core import witness
from ckptd.core.models import Witness
from ckptd.core.ranges import spell
from ckptd.core.response import Asked, Head, Refused, Validator, Verdict, judge
from ckptd.core.retry import Failure, retry_after
from ckptd.core.revision import commit_of
from ckptd.core.urls import host_label, redact_text
from ckptd.errors import OriginError
from ckptd.transfer.client import Client, Reply, Request
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.refresh import fresh_url

GOOGLE_STORAGE = "storage.googleapis.com"
AMAZON = ".amazonaws.com"
EXPIRED = frozenset({401, 403, 404, 410})  # what a signed URL answers once it has run out
ERROR_BODY = 4096  # bytes of an error page that may hold a reason


class Manners(IntEnum):
    """What may be asked of an origin, best first."""

    CONDITIONAL = 0  # ranges with If-Range
    PLAIN = 1  # ranges; the answers are compared
    WHOLE = 2  # the whole file from its first byte


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer, judged."""

    reply: Reply
    verdict: Verdict
    witnesses: tuple[Witness, ...]
    stated: int | None  # the size of the stored file, as far as headers tell
    conditional: bool  # If-Range was sent
    ranged: bool  # Range was sent
    commit: str = ""  # of the repository that answered, on the Hugging Face Hub


class Source:
    """One URL and what we have learnt of its origin in this run."""

    def __init__(self, url: str, refresh: Sequence[str] = (), file_name: str = "") -> None:
        self.url = url
        self._file_name = file_name  # under which the file stands in the store
        self._refresh = tuple(refresh)  # the command that gives an address for `url`, where that takes a signature
        self._signed: str | None = None
        self.host = host_label(url)
        self.manners = Manners.CONDITIONAL
        self._raw = False
        self._resolved: str | None = None
        self._on_the_way: tuple[Head, ...] = ()  # the redirects that led there: what they said still holds

    @property
    def key(self) -> str:
        """Names this source in the state database: without its query, which may be a signature."""
        return self.url.partition("?")[0]

    def step_down(self) -> None:
        """Ask for less from now on."""
        self.manners = Manners(min(self.manners + 1, Manners.WHOLE))

    def want_raw(self) -> bool:
        """Ask for stored bytes (`Accept-Encoding: gzip`) from now on; False when that was tried."""
        before, self._raw = self._raw, True
        return not before

    async def ask(self, client: Client, asked: Asked, *, fresh: bool = False) -> Opened:
        """Send one request and judge the answer. Raises TransferFailed when there is no data in it.

        `fresh`: not on a connection that carried other answers before.
        """
        known = asked.known if asked.known is not None else Validator()
        condition = known.if_range if asked.ranged and self.manners is Manners.CONDITIONAL else None
        renewed = bool(self._refresh) and self._signed is None
        if renewed:
            self._signed = await fresh_url(self._refresh)
        # Others ask meanwhile, and may find that these have run out.
        resolved, signed, on_the_way = self._resolved, self._signed, self._on_the_way
        url = resolved or signed or self._versioned(known)
        pinned = resolved is None and signed is None and url != self.url
        exact = replace(asked, raw=self._raw, pinned_version=pinned, file_name=self._file_name)
        fresh = fresh or (asked.known is None and not asked.digest_known)
        reply = await client.open(Request(url, self.url, self._headers(asked, condition), fresh=fresh))
        try:
            if resolved is None:
                on_the_way = self._on_the_way = reply.hops
            heads = (*on_the_way, reply.head)
            witnesses, stated = _vouched(heads)
            identity = next((each.value.hex() for each in witnesses if each.algorithm == "sha256"), "")
            verdict = judge(exact, reply.head, identity)
            expired = reply.head.status in EXPIRED and (resolved is not None or (signed is not None and not renewed))
            doubtful = reply.reused or expired
            if isinstance(verdict, Refused) and not doubtful:
                raise await _refusal(reply, verdict)
        except BaseException:
            reply.close()
            raise
        if isinstance(verdict, Refused):
            # The address behind the redirect has run out, and the manifest's has not; or the refusal was meant for
            # somebody else. Ask once more where neither can be.
            reply.close()
            self._resolved = None
            if expired:
                self._signed = None
            return await self.ask(client, asked, fresh=True)
        if reply.hops:
            self._resolved = reply.url
        return Opened(
            reply, verdict, witnesses, stated, condition is not None, asked.ranged, commit_of(self.url, heads)
        )

    def _headers(self, asked: Asked, condition: str | None) -> dict[str, str]:
        headers = {"Want-Repr-Digest": "sha-256=9, sha-512=3", "Want-Digest": "SHA-256"}
        if asked.ranged:
            headers["Range"] = spell(asked.start, asked.end)
        if condition is not None:
            headers["If-Range"] = condition
        if self._raw:
            headers["Accept-Encoding"] = "gzip"
        if urlsplit(self.url).netloc.endswith(AMAZON) and not urlsplit(self.url).query:
            headers["x-amz-checksum-mode"] = "ENABLED"  # with a signed query it would have to be signed too
        return headers

    def _versioned(self, known: Validator) -> str:
        """The URL of exactly the version that was begun, where the origin has such a thing."""
        parts = urlsplit(self.url)
        names = {name.lower() for name, _ in parse_qsl(parts.query)}
        if not known.generation or parts.hostname != GOOGLE_STORAGE or names:
            return self.url  # a signed query must stay as it is
        return parts._replace(query=f"generation={known.generation}").geturl()


async def _refusal(reply: Reply, verdict: Refused) -> TransferFailed:
    head = reply.head
    reason = _reason(await reply.read(ERROR_BODY)) if head.status >= 400 else ""
    message = f"{reply.label} {verdict.reason}" + (f": {reason}" if reason else "")
    error = OriginError(message, hint=_HINTS.get(head.status, ""))
    wait = retry_after(head.get("retry-after"), time.time()) if verdict.failure is Failure.BUSY else None
    return TransferFailed(verdict.failure, error, retry_after=wait, status=head.status)


_HINTS = {
    401: 'it wants a token: see [auth."host"] in the manifest',
    403: 'it may want a token ([auth."host"]), or the object is not public, or not there',
    404: "check the URL in the manifest",
    410: "it is gone for good: find where it moved and change the URL",
}
_XML = re.compile(r"<(Code|Message)>([^<]{1,200})<", re.IGNORECASE)


def _reason(body: bytes) -> str:
    """What an object store's XML error page says, in one line without control characters."""
    found = [value for _, value in _XML.findall(body.decode("utf-8", "replace"))]
    text = redact_text(" - ".join(found))[:200]
    return "".join(char if char.isprintable() else " " for char in text)


def _vouched(heads: Iterable[Head]) -> tuple[tuple[Witness, ...], int | None]:
    """Digests and size of the stored file, from an answer and the redirects that led to it."""
    witnesses: list[Witness] = []
    stated: int | None = None
    for head in heads:
        witnesses += witness.collect(head.headers, status=head.status, partial=head.status == 206, body=True)
        size = witness.stated_size(head.headers)
        stated = size if size is not None else stated
    return tuple(dict.fromkeys(witnesses)), stated

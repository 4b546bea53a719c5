"""Asks one source what it serves, without fetching it: HEAD, or GET of one byte where HEAD is of no use.

Reads headers, those of redirects too (the Hugging Face Hub tells digest and size there and nowhere else), and no body:
where a whole one comes, its connection is closed. Retries nothing but what a HEAD did wrong; what an answer means is
`core.drift`'s business.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from ckptd.core import witness
from ckptd.core.drift import Answer
from ckptd.core.ranges import parse_content_range, spell
from ckptd.core.response import Head, number, own_coding, validator_of
from ckptd.core.retry import Failure
from ckptd.core.urls import file_name, host_label
from ckptd.errors import CkptdError, NetworkError
from ckptd.transfer.budget import Budget
from ckptd.transfer.client import Client, Reply, Request
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.source import AMAZON

# What servers answer to a HEAD that they do not want, or were not made for; a signature may be for GET alone (403).
# That a file is gone (404, 410) is believed when GET says so, too.
HEAD_IN_VAIN = frozenset({400, 403, 404, 405, 410, 500, 501})
PUSHED_BACK = frozenset({429, 503})

_HIT = re.compile(r"(?<![a-z])hit(?![a-z])", re.IGNORECASE)
_CACHES = ("x-cache", "x-cache-status", "cf-cache-status", "cache-status", "via")


class Inquirer:
    """Asks many sources, at most so many of one host at once. `patience`: seconds that one request may take in all."""

    def __init__(self, client: Client, budget: Budget, patience: float) -> None:
        self._client = client
        self._budget = budget
        self._patience = patience

    async def ask(self, url: str, *, again: bool = False) -> Answer:
        """What `url` serves now, or why that cannot be told. Raises ConfigError (a token that cannot be read).

        `again`: by GET and on a connection of its own, so that neither a stray answer nor a wrong HEAD counts twice.
        """
        host = host_label(url)
        await self._budget.acquire(host)
        try:
            if not again:
                answer = await self._try(Request(url, url, _headers(url), method="HEAD"))
                if answer is not None:
                    return self._heed(host, answer)
            one_byte = {**_headers(url), "Range": spell(0, 1)}
            answer = await self._try(Request(url, url, one_byte, fresh=True))
            return self._heed(host, answer or Answer(error=f"{host}: no answer"))
        finally:
            self._budget.release(host)

    async def _try(self, request: Request) -> Answer | None:
        """One request. None for a HEAD that GET may better."""
        head = request.method == "HEAD"
        try:
            reply = await self._open(request)
        except TransferFailed as failed:
            if head and failed.failure is Failure.TRANSIENT:
                return None
            return _unanswered(failed.error)
        try:
            answer = read(reply.hops, reply.head, _name(request.entry_url))
        finally:
            reply.close()
        # Nothing stores empty checkpoints, and some answer every HEAD with a length of 0.
        return None if head and (answer.status in HEAD_IN_VAIN or answer.size == 0) else answer

    async def _open(self, request: Request) -> Reply:
        try:
            async with asyncio.timeout(self._patience):
                return await self._client.open(request)
        except TimeoutError:
            error = NetworkError(f"{host_label(request.url)}: no answer in time")
            raise TransferFailed(Failure.TRANSIENT, error) from None

    def _heed(self, host: str, answer: Answer) -> Answer:
        if answer.status in PUSHED_BACK:
            self._budget.push_back(host, 0.0)
        elif not answer.error:
            self._budget.good(host)
        return answer


def read(hops: Sequence[Head], head: Head, name: str = "") -> Answer:
    """What an answer, and the redirects that led to it, say of the file, which is named so."""
    coding = "" if own_coding(head, name) else head.coding
    told_before = tuple(each for hop in hops for each in witness.collect(hop.headers, status=hop.status, partial=False))
    witnesses = witness.collect(head.headers, status=head.status, partial=head.status == 206)
    if coding:
        # Digests of coded bytes (RFC 9530 section 3); only Google speaks of the stored ones in any case.
        witnesses = tuple(each for each in witnesses if each.source.startswith("x-goog-hash"))
    # A redirect with a digest speaks for itself: whatever it leads to may have been in a cache for as long as it likes.
    speaking = hops if told_before else (*hops, head)
    stated = [size for each in (*hops, head) if (size := witness.stated_size(each.headers)) is not None]
    size = stated[-1] if stated else _size(head, coding)
    age = max((number(each.get("age")) or 0 for each in speaking), default=0)
    return Answer(
        status=head.status,
        size=size,
        validator=validator_of(head, size),
        witnesses=tuple(dict.fromkeys((*told_before, *witnesses))),
        content_type=head.get("content-type") or "",
        coding=coding,
        commit=next((value for each in (*hops, head) if (value := each.get("x-repo-commit"))), ""),
        age=age,
        cached=age > 0 or any(_HIT.search(value) for each in speaking for name in _CACHES for value in each.all(name)),
    )


def _size(head: Head, coding: str) -> int | None:
    """Bytes of the whole, from what frames this answer."""
    lines = head.all("content-range")
    if len(lines) == 1 and head.status in {200, 206, 416}:
        part = parse_content_range(lines[0])
        return None if part is None else part.total
    if head.status != 200 or coding or lines:
        return None
    return head.length


def _name(url: str) -> str:
    try:
        return file_name(url)
    except ValueError:
        return ""


def _headers(url: str) -> dict[str, str]:
    headers = {"Cache-Control": "no-cache", "Want-Repr-Digest": "sha-256=9, sha-512=3", "Want-Digest": "SHA-256"}
    if urlsplit(url).netloc.endswith(AMAZON) and not urlsplit(url).query:
        headers["x-amz-checksum-mode"] = "ENABLED"  # with a signed query it would have to be signed too
    return headers


def _unanswered(error: CkptdError) -> Answer:
    return Answer(error=error.message, kind=error.kind, hint=error.hint)

"""What is to be imported from the network: a page or list behind a URL, and the listing of a Hugging Face repository.

Asks through `transfer.client`, with the manifest's tokens and deadlines, at most 32 MiB and two minutes a document, and
a few times where the failure may pass. What the answers mean is `core.imports`' business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ckptd.core import retry, schema
from ckptd.core.imports import hub
from ckptd.core.imports.candidates import Reading
from ckptd.core.imports.links import Kind, beside, direct, folder, kind_of
from ckptd.core.models import Manifest
from ckptd.core.retry import Failure
from ckptd.core.urls import host_label, is_loopback_host, normalise, redact
from ckptd.errors import ConfigError, NetworkError, OriginError
from ckptd.service.importing import LARGEST, Material, material
from ckptd.transfer.client import Client, Deadlines, Reply, Request
from ckptd.transfer.failure import TransferFailed

PATIENCE = 120.0  # seconds for one document, with all attempts
ATTEMPTS = 3
MOST_PAGES = 1000  # of a hub's listing
jitter = random.random
_HINTS = {401: 'it wants a token: see [auth."host"] in the manifest', 404: "check the address"}
_HINTS[403] = _HINTS[401]
_HUB_HINT = 'check the name; a private or gated repository wants a token: [auth."huggingface.co"] in the manifest'


@dataclass(frozen=True, slots=True)
class Answer:
    """A document: where it came from in the end, its bytes and what its headers say."""

    url: str
    body: bytes
    media_type: str
    link: str | None
    whole: bool  # its end was told, not just the connection's


async def read_url(source: str, base: str | None, manifest: Manifest) -> Material:
    """A page or list. Raises ConfigError for what is none, NetworkError, OriginError and PolicyError."""
    try:
        url = direct(normalise(schema.url(source)))
    except ValueError as error:
        raise ConfigError(f"{redact(source)} {error}") from None
    path = urlsplit(url).path
    if kind_of(url) is Kind.WEIGHTS:
        raise ConfigError(f"{redact(url)} is no page and no list", hint="`ckptd add URL` adds a file itself")
    async with _client(manifest) as client:
        answer = await _get(client, url)
    below = folder(base) if base else beside(answer.url)
    found = material(answer.body, redact(url), base=below, path=path, media_type=answer.media_type)
    notes = [] if answer.whole else [f"{redact(url)} came without a length: it may have been cut short"]
    if urlsplit(url).scheme == "http" and not is_loopback_host(urlsplit(url).hostname or ""):
        notes.append(f"{redact(url)} came over plain http: it may have been changed on the way")
    return replace(found, notes=tuple(notes))


async def read_hub(repository: hub.Repository, endpoint: str, manifest: Manifest, *, all_files: bool) -> Reading:
    """The files of a repository at the commit that its revision is now. Raises OriginError, NetworkError."""
    label = host_label(endpoint)
    listed: list[dict[str, object]] = []
    async with _client(manifest) as client:
        answer = await _get(client, hub.revision_url(endpoint, repository), hint=_HUB_HINT)
        commit = hub.commit_of(answer.body.decode("utf-8", "replace"), label)
        page: str | None = hub.tree_url(endpoint, repository, commit)
        seen: set[str] = set()
        while page is not None:
            if page in seen or len(seen) >= MOST_PAGES:
                raise OriginError(f"{label} has no end to its list of files")
            seen.add(page)
            answer = await _get(client, page, hint=_HUB_HINT)
            listed += hub.entries(answer.body.decode("utf-8", "replace"), label)
            page = hub.next_page(answer.link, page)
    return hub.read(listed, repository, commit, endpoint, all_files=all_files)


@asynccontextmanager
async def _client(manifest: Manifest) -> AsyncIterator[Client]:
    deadlines = Deadlines(manifest.transfer.connect_timeout, manifest.transfer.stall_timeout)
    async with Client(deadlines, manifest.auth, private_redirects=manifest.policy.private_redirects) as client:
        yield client


async def _get(client: Client, url: str, *, hint: str = "") -> Answer:
    """One document, whole. Raises NetworkError, OriginError, PolicyError and ConfigError."""
    try:
        async with asyncio.timeout(PATIENCE):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return await _once(client, url, hint)
                except TransferFailed as failed:
                    if not retry.may_retry(failed.failure, attempt, ATTEMPTS - 1):
                        raise failed.error from None
                    await asyncio.sleep(retry.wait(attempt, jitter()))
    except TimeoutError:
        pass
    raise NetworkError(f"{host_label(url)}: not whole within {PATIENCE:g} seconds")


async def _once(client: Client, url: str, hint: str) -> Answer:
    reply = await client.open(Request(url, url))
    try:
        _check(reply, hint)
        body = await reply.read(LARGEST + 1)
    finally:
        reply.close()
    length = reply.head.length
    if length is not None and len(body) < min(length, LARGEST + 1):
        raise TransferFailed(Failure.TRANSIENT, NetworkError(f"{reply.label}: closed in the middle of the body"))
    return Answer(reply.url, body, reply.head.get("content-type") or "", ",".join(reply.head.all("link")), reply.framed)


def _check(reply: Reply, hint: str) -> None:
    status = reply.head.status
    if status != 200:
        error = OriginError(f"{reply.label} answered {status}", hint=hint or _HINTS.get(status, ""))
        raise TransferFailed(retry.of_status(status), error, status=status)
    if reply.head.coding:
        raise TransferFailed(
            Failure.PERMANENT,
            OriginError(f"{reply.label} sends it packed ({reply.head.coding}), which was not asked for"),
        )
    if (reply.head.length or 0) > LARGEST:
        raise ConfigError(f"{reply.label} sends more than {LARGEST // 1024 // 1024} MiB: that is no page and no list")

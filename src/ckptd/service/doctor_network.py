"""Facts about the way to the origins for `doctor`: certificates, proxies, tokens, answers.

Judged in `core.doctor_network`. Asks each place once by HEAD and once by GET for one byte, all at the same time, within
`SECONDS`. Reads no bodies.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.request import getproxies_environment

from ckptd.core import httpdate
from ckptd.core.doctor import Finding
from ckptd.core.doctor_network import Authorities, Network, Origin, Token, judge
from ckptd.core.models import Auth, Checkpoint, Manifest
from ckptd.core.ranges import ContentRange, parse_content_range, spell
from ckptd.core.response import Head, number
from ckptd.core.urls import host_label, normalise, origin_of, redact, rewrite
from ckptd.errors import CkptdError, ConfigError
from ckptd.transfer.client import Client, Deadlines, Request, token
from ckptd.transfer.failure import TransferFailed
from ckptd.transfer.tls import SYSTEM_CA_FILE

SECONDS = 8.0  # for all questions together
CONNECT, HEADERS = 4.0, 4.0  # seconds of one
MOST = 64  # places that are asked


@dataclass(slots=True)
class _Place:
    """Where bytes come from: an origin, or a mirror's prefix, and one URL to ask it for."""

    url: str
    checkpoint: Checkpoint
    names: list[str] = field(default_factory=list)


async def network(manifest: Manifest | None, *, offline: bool) -> list[Finding]:
    """What there is to say of the network. Without a manifest there is nobody to ask."""
    proxies = getproxies_environment()
    facts = Network(
        authorities=await asyncio.to_thread(_authorities),
        proxies=tuple((scheme, redact(url)) for scheme, url in sorted(proxies.items()) if scheme != "no"),
        no_proxy=proxies.get("no", ""),
    )
    if manifest is None:
        return judge(replace(facts, why="there is no manifest that says which"))
    facts = replace(facts, tokens=tuple([await _token(grant) for grant in manifest.auth]))
    if offline:
        return judge(replace(facts, why="--offline"))
    places = _places(manifest)
    try:
        origins = await _ask(manifest, list(places.values())[:MOST])
    except CkptdError as error:
        return judge(replace(facts, problem=error.message))
    return judge(replace(facts, origins=origins, unasked=max(0, len(places) - MOST)))


# --- certificates and tokens ------------------------------------------------------------------------------------------


def _authorities() -> Authorities:
    """What `transfer.client` will trust."""
    named = os.environ.get("SSL_CERT_FILE")
    source = named or "the system"
    try:
        context = ssl.create_default_context()
        if named:
            context.load_verify_locations(named)
        elif not context.cert_store_stats()["x509_ca"] and os.path.exists(SYSTEM_CA_FILE):
            source = SYSTEM_CA_FILE
            context.load_verify_locations(source)
    except (OSError, ssl.SSLError) as error:
        reason = os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else "no certificates"
        return Authorities(source, problem=reason)
    return Authorities(source, context.cert_store_stats()["x509_ca"])


async def _token(grant: Auth) -> Token:
    where = grant.bearer_file if grant.bearer_file is not None else f"the environment variable {grant.bearer_env}"
    mode = None
    if grant.bearer_file is not None:
        with suppress(OSError):  # said below
            mode = stat.S_IMODE((await asyncio.to_thread(os.stat, grant.bearer_file)).st_mode)
    try:
        await token(grant)
    except ConfigError as error:
        return Token(grant.host, where, mode, error.message)
    return Token(grant.host, where, mode)


# --- origins ----------------------------------------------------------------------------------------------------------


def _places(manifest: Manifest) -> Mapping[tuple[str, str, int, str], _Place]:
    """Every place that some checkpoint may come from. What needs no signature is asked for before what does."""
    found: dict[tuple[str, str, int, str], _Place] = {}
    prefixes = [prefix for _, targets in manifest.sources for prefix in targets]
    for checkpoint in sorted(manifest.checkpoints, key=lambda each: bool(each.refresh)):
        urls = [each for url in (checkpoint.url, *checkpoint.mirrors) for each in rewrite(url, manifest.sources)]
        for url in map(normalise, urls):
            mirror = max((prefix for prefix in prefixes if url.startswith(prefix)), key=len, default="")
            place = found.setdefault((*origin_of(url), mirror), _Place(url, checkpoint))
            if checkpoint.name not in place.names:
                place.names.append(checkpoint.name)
    return found


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of one request; status 0 is no answer."""

    status: int = 0
    problem: str = ""
    hint: str = ""
    skew: float | None = None


async def _ask(manifest: Manifest, places: list[_Place]) -> tuple[Origin, ...]:
    """What each of them answers. Raises ConfigError."""
    said: dict[tuple[int, str], _Said] = {}
    deadlines = Deadlines(min(CONNECT, manifest.transfer.connect_timeout), HEADERS)

    async def one(client: Client, index: int, method: str) -> None:
        said[index, method] = await _request(client, places[index].url, method)

    async with Client(deadlines, manifest.auth, private_redirects=manifest.policy.private_redirects) as client:
        with suppress(TimeoutError):  # who has not answered by then is told as such
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                for index in range(len(places)):
                    for method in ("HEAD", "GET"):
                        group.create_task(one(client, index, method))
    late = _Said(problem=f"no answer within {SECONDS:.0f} s")
    return tuple(
        _origin(place, said.get((index, "HEAD"), late), said.get((index, "GET"), late))
        for index, place in enumerate(places)
    )


def _origin(place: _Place, head: _Said, get: _Said) -> Origin:
    label = host_label(place.url)
    problem = get.problem if get.problem.startswith(label) or not get.problem else f"{label}: {get.problem}"
    return Origin(
        label=label,
        url=redact(place.url),
        names=tuple(place.names),
        head=head.status,
        get=get.status,
        problem=problem,
        hint=get.hint,
        skew=get.skew if get.skew is not None else head.skew,
        signed=bool(place.checkpoint.refresh) and place.url == normalise(place.checkpoint.url),
    )


async def _request(client: Client, url: str, method: str) -> _Said:
    """One request, and what its headers say."""
    headers = {} if method == "HEAD" else {"Range": spell(0, 1)}
    try:
        reply = await client.open(Request(url, url, headers, fresh=True, method=method))
    except TransferFailed as failed:
        return _Said(problem=failed.error.message, hint=failed.error.hint)
    except ConfigError as error:  # a token that cannot be read
        return _Said(problem=error.message, hint=error.hint)
    reply.close()
    if method == "GET" and reply.head.status == 206 and not _is_first_byte(reply.head):
        return _Said(0, f"{reply.label} answers 206 with other bytes than it was asked for", skew=_skew(reply.head))
    return _Said(reply.head.status, skew=_skew(reply.head))


def _is_first_byte(head: Head) -> bool:
    found = parse_content_range(head.get("content-range") or "")
    return isinstance(found, ContentRange) and (found.start, found.end) == (0, 1)


def _skew(head: Head) -> float | None:
    """How far our clock is ahead of the origin's, in seconds, by Date and Age (RFC 9110 section 6.6.1)."""
    date = httpdate.parse(head.get("date"))
    return None if date is None else time.time() - date - (number(head.get("age")) or 0)

"""Where a redirect may lead, and which credentials may go where. Resolving names is I/O and done by the caller.

RFC 9110 sections 10.2.2 and 15.4; that credentials are bound to scheme, host and port is what curl's
CVE-2022-27774 and -27776 teach.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from ckptd.core.hosts import Reach
from ckptd.core.models import Auth
from ckptd.core.urls import host_label, origin_of, redact
from ckptd.errors import CkptdError, OriginError, PolicyError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONGEST_CHAIN = 10


def target(current: str, location: str | None, hops: int) -> str | CkptdError:
    """The URL to ask next after `hops` redirects so far, or why not. Signatures in `location` stay as they are."""
    if location is None or not location.strip():
        return OriginError(f"{host_label(current)} redirected without saying where to")
    if hops >= LONGEST_CHAIN:
        return OriginError(f"more than {LONGEST_CHAIN} redirects, the last from {redact(current)}")
    if any(ord(char) < 33 or ord(char) == 127 for char in location.strip()):
        location = location.strip().replace(" ", "%20")
    try:
        url = urljoin(current, location.strip())
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return PolicyError(f"{host_label(current)} redirected to a {parts.scheme or 'nameless'}: address")
        origin_of(url)
    except ValueError:
        return OriginError(f"{host_label(current)} redirected to something that is not a URL")
    if urlsplit(current).scheme == "https" and parts.scheme == "http":
        return PolicyError(
            f"{host_label(current)} redirected from https to plain http ({redact(url)})",
            hint="name an https URL in the manifest, or a mirror",
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def inward(begun: Reach, following: Reach) -> bool:
    """Whether a redirect leads further in than where it was begun (server-side request forgery).

    From outside it may not lead to this machine or its neighbours; link-local addresses may only name each other.
    """
    if following is Reach.LINK_LOCAL:
        return begun is not Reach.LINK_LOCAL
    return begun is Reach.PUBLIC and following is Reach.PRIVATE


def credential(url: str, entry_url: str, auth: tuple[Auth, ...]) -> Auth | None:
    """Whose token goes with a request for `url`, which began at `entry_url`.

    A token is sent only to the host it is configured for (a key without a port means any port of an entry's own URL),
    over https (or to loopback), and never after a redirect has led to another origin.
    """
    if origin_of(url) != origin_of(entry_url):
        return None
    scheme, host, port = origin_of(url)
    if scheme != "https" and host not in {"127.0.0.1", "::1", "localhost"}:
        return None
    exact = next((entry for entry in auth if entry.host.lower() == f"{host}:{port}"), None)
    return exact or next((entry for entry in auth if entry.host.lower() == host), None)

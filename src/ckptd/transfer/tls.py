"""Whom we believe to be who they say: the system's certificate authorities, or those of the environment."""

from __future__ import annotations

import asyncio
import os
import ssl

from ckptd.errors import ConfigError

SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
Kept = tuple[tuple[object, ...], ssl.SSLContext]
_kept: Kept | None = None


async def context() -> ssl.SSLContext:
    """System CAs, or SSL_CERT_FILE and SSL_CERT_DIR. Raises ConfigError when the named file cannot be used.

    Reading a few hundred certificates takes a few hundredths of a second of a processor: a daemon does it once, and
    again when they have changed.
    """
    global _kept  # noqa: PLW0603
    found = await asyncio.to_thread(_current, _kept)
    _kept = found
    return found[1]


def _current(kept: Kept | None) -> Kept:
    named, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    usual = ssl.get_default_verify_paths()
    places = {named, folder, usual.cafile, usual.capath, usual.openssl_cafile, usual.openssl_capath, SYSTEM_CA_FILE}
    state = (named, folder, *((each, _changed(each)) for each in sorted(filter(None, places))))
    return kept if kept is not None and kept[0] == state else (state, _read(named))


def _changed(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _read(named: str | None) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context()
        if named:
            made.load_verify_locations(named)
        elif not made.cert_store_stats()["x509_ca"] and os.path.exists(SYSTEM_CA_FILE):
            made.load_verify_locations(SYSTEM_CA_FILE)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"SSL_CERT_FILE: cannot use {named}: {error}") from None
    return made

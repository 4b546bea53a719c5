"""Dates as HTTP spells them (RFC 9110 section 5.6.7)."""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache


@lru_cache(maxsize=256)  # every answer of a second has the same Date
def parse(text: str | None) -> float | None:
    """The POSIX time that a date means, all three old formats and a zone of "-0000" included; None without sense."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 (a fifth of what `ckptd path` would import)

    try:
        found = parsedate_to_datetime(text or "")
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

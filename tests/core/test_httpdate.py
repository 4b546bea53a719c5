"""Dates as servers write them."""

from __future__ import annotations

import time

import pytest

from ckptd.core import httpdate

AT = 784_111_777.0  # RFC 9110 section 5.6.7's own example


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", AT),
        ("Sunday, 06-Nov-94 08:49:37 GMT", AT),
        ("Sun Nov  6 08:49:37 1994", AT),
        ("Sun, 06 Nov 1994 08:49:37 -0000", AT),
        ("Sun, 06 Nov 1994 10:49:37 +0200", AT),
        ("", None),
        (None, None),
        ("tomorrow", None),
        ("Sun, 06 Nov 1994 08:49:37 +999999999999", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("0 Jan 0000 00:00:00 GMT", None),
        (",", None),
    ],
)
def test_what_a_date_means(text: str | None, at: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # a date without a zone is not of ours
    time.tzset()
    httpdate.parse.cache_clear()
    try:
        assert httpdate.parse(text) == at
    finally:
        monkeypatch.undo()
        time.tzset()

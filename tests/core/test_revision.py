"""Which commit bytes came from, when the lock names it, and the address that it gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.models import LockEntry, Trust
from ckptd.core.response import Head, Validator
from ckptd.core.revision import Resolve, commit_of, kept, learnt, parse, pinned, steady

C, D = "c" * 40, "d" * 40
HUB = "https://huggingface.co"
URL = "hf://org/net/dir/m.bin"
MAIN = f"{HUB}/org/net/resolve/main/dir/m.bin"
AT_C = f"{HUB}/org/net/resolve/{C}/dir/m.bin"
NEAR = "https://near.example/hub/org/net/resolve/main/dir/m.bin"
ENTRY = LockEntry("m", URL, 7, "a" * 64, Trust.WITNESSED, revision=C)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (URL, (HUB, "/org/net/", "main", "dir/m.bin", "")),
        ("hf://datasets/o/r@v1/f", (HUB, "/datasets/o/r/", "v1", "f", "")),
        ("hf://o/r@refs/pr/7/f", (HUB, "/o/r/", "refs%2Fpr%2F7", "f", "")),
        (f"{HUB}/o/r/resolve/refs/pr/7/f", (HUB, "/o/r/", "refs/pr/7", "f", "")),
        (f"{HUB}/gpt2/resolve/main/f?download=true", (HUB, "/gpt2/", "main", "f", "?download=true")),
        ("http://h:80/x/o/r/resolve/main/resolve/f", ("http://h:80", "/x/o/r/", "main", "resolve/f", "")),
        ("gs://bucket/o/resolve/main/f", ("https://storage.googleapis.com", "/bucket/o/", "main", "f", "")),
        (f"{HUB}/o/r/blob/main/f", None),
        (f"{HUB}/resolve/main/f", None),
        (f"{HUB}/o/r/resolve/main", None),
        (f"{HUB}/o/r/resolve/main/", None),
        ("https://h/f?next=/o/r/resolve/main/f", None),
        ("https://h/f#/o/r/resolve/main/f", None),
        ("hf://o", None),
    ],
)  # fmt: skip
def test_parts_of_an_address(url: str, parts: tuple[str, ...] | None) -> None:
    assert parse(url) == (None if parts is None else Resolve(*parts))


def head(status: int, commit: str | None = None) -> Head:
    return Head(status, () if commit is None else (("x-repo-commit", commit),))


@pytest.mark.parametrize(
    ("url", "heads", "commit"),
    [
        (MAIN, [head(200, C)], C),
        (MAIN, [head(302, f" {C} "), head(200)], C),
        (MAIN, [head(307), head(302, C), head(200, D)], C),  # the hub speaks before the CDN does
        (MAIN, [head(200)], ""),
        (MAIN, [head(200, "c0ffee")], ""),
        (MAIN, [head(200, C.upper())], ""),
        (MAIN, [head(200, f"{C}0")], ""),
        (MAIN, [head(200, "e" * 64)], "e" * 64),
        ("https://h/m.bin", [head(200, C)], ""),
    ],
)
def test_the_commit_of_an_answer(url: str, heads: list[Head], commit: str) -> None:
    assert commit_of(url, heads) == commit


SAID = Validator(etag='"x"', commit=D)


@pytest.mark.parametrize(
    ("url", "locked", "validators", "commit"),
    [
        (URL, None, {MAIN: SAID}, D),
        (MAIN, None, {MAIN: SAID}, D),
        (URL, None, {NEAR: SAID}, D),  # another endpoint, by [sources]
        (URL, None, {"https://mirror/m.bin": Validator(), MAIN: SAID}, D),
        (URL, None, {MAIN: Validator(etag='"x"')}, None),
        (URL, None, {}, None),
        # another repository, or file of it, has commits of its own
        (URL, None, {MAIN.replace("/net/", "/copy/"): SAID}, None),
        (URL, None, {MAIN.replace("m.bin", "n.bin"): SAID}, None),
        ("https://h/m.bin", None, {MAIN: SAID}, None),
        # it says already which commit it means
        (AT_C, None, {AT_C: SAID}, None),
        # the locked bytes, from where they were locked, or from somewhere else
        (URL, ENTRY, {MAIN: SAID}, None),
        (URL, replace(ENTRY, revision=None), {MAIN: SAID}, None),
        (URL, replace(ENTRY, url="hf://org/net@v1/dir/m.bin"), {MAIN: SAID}, D),
    ],
)
def test_what_the_lock_learns(
    url: str, locked: LockEntry | None, validators: dict[str, Validator], commit: str | None
) -> None:
    assert learnt(url, locked, validators) == commit


@pytest.mark.parametrize(
    ("before", "entry", "commit"),
    [
        (None, ENTRY, C),
        (ENTRY, replace(ENTRY, revision=None), C),
        (ENTRY, replace(ENTRY, revision=D), C),  # equal bytes keep an equal lock
        (replace(ENTRY, revision=None), ENTRY, C),
        (ENTRY, replace(ENTRY, sha256="b" * 64, revision=D), D),
        (ENTRY, replace(ENTRY, sha256="b" * 64, revision=None), None),
        (ENTRY, replace(ENTRY, url=NEAR, revision=None), None),
    ],
)
def test_what_the_lock_keeps(before: LockEntry | None, entry: LockEntry, commit: str | None) -> None:
    assert kept(before, entry) == replace(entry, revision=commit)


@pytest.mark.parametrize(
    ("url", "entry", "found"),
    [
        (MAIN, ENTRY, AT_C),
        (f"{MAIN}?download=true", ENTRY, f"{AT_C}?download=true"),
        (NEAR, ENTRY, NEAR.replace("main", C)),
        (MAIN, replace(ENTRY, revision=None), None),
        (MAIN.replace("/net/", "/copy/"), ENTRY, None),
        ("https://mirror/m.bin", ENTRY, None),
    ],
)
def test_the_address_at_a_commit(url: str, entry: LockEntry, found: str | None) -> None:
    assert pinned(url, entry) == found


def test_the_order_of_trying_stays() -> None:
    urls = (NEAR, "https://mirror/m.bin", MAIN, AT_C)
    assert steady(URL, urls, ENTRY) == (NEAR.replace("main", C), "https://mirror/m.bin", AT_C)
    assert steady(URL, ("https://mirror/m.bin",), ENTRY) == ()
    assert steady(URL, urls, replace(ENTRY, revision=None)) == ()
    assert steady(URL, urls, None) == ()
    assert steady("hf://org/net@v2/dir/m.bin", urls, ENTRY) == ()  # the new URL has to serve the locked bytes

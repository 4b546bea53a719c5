"""Asking without fetching: what is read from headers, when GET takes the place of HEAD, that no body comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import faults as f
import pytest
import pytest_asyncio
from digests_of import b64, crc32c, md5, sha256
from origin import Hold, Origin, Origins
from workplace import tgz, wait_until

from ckptd.core.drift import Answer
from ckptd.core.response import Head
from ckptd.transfer.budget import Budget
from ckptd.transfer.client import Client, Deadlines
from ckptd.transfer.inquire import Inquirer, read

A = tgz(260_000, 1)
PATH = "/a.tar.gz"


@pytest_asyncio.fixture
async def inquirer() -> AsyncIterator[Inquirer]:
    async with Client(Deadlines(2, 2), (), private_redirects=False) as client:
        yield Inquirer(client, Budget(2, 1, None), 3.0)


# ---- headers


def head(status: int = 200, **headers: str) -> Head:
    return Head(status, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


SIZES: dict[str, tuple[Head, int | None]] = {
    "length": (head(content_length="7"), 7),
    "none": (head(), None),
    "part": (head(206, content_length="1", content_range="bytes 0-0/7"), 7),
    "part of nobody knows": (head(206, content_length="1", content_range="bytes 0-0/*"), None),
    "slice as 200": (head(content_length="1", content_range="bytes 0-0/7"), 7),
    "unreadable part": (head(206, content_length="1", content_range="bytes=0-0/7"), None),
    "empty": (head(416, content_length="0", content_range="bytes */0"), 0),
    "stored": (head(content_length="9", x_goog_stored_content_length="7"), 7),
    "decoded on the fly": (head(x_goog_stored_content_encoding="gzip", x_goog_stored_content_length="7"), 7),
    "coded": (head(content_length="5", content_encoding="gzip"), None),
    "stored as it is coded": (
        head(content_length="5", content_encoding="gzip", x_goog_stored_content_encoding="gzip"),
        5,
    ),
    "of an error page": (head(404, content_length="5"), None),
}


@pytest.mark.parametrize("row", SIZES)
def test_size_of_the_whole(row: str) -> None:
    answer, size = SIZES[row]
    found = read((), answer)
    assert (found.size, found.validator.total) == (size, size)


CACHED: dict[str, tuple[Head, int, bool]] = {
    "no": (head(), 0, False),
    "Age": (head(age="3449"), 3449, True),
    "Age 0": (head(age="0"), 0, False),
    "Age of nonsense": (head(age="-5"), 0, False),
    "X-Cache": (head(x_cache="Hit from cloudfront"), 0, True),
    "X-Cache miss": (head(x_cache="Miss from cloudfront"), 0, False),
    "X-Cache of two": (head(x_cache="MISS, HIT"), 0, True),
    "asked again": (head(x_cache="RefreshHit from cloudfront"), 0, False),
    "Cloudflare": (head(cf_cache_status="HIT"), 0, True),
    "RFC 9211": (head(cache_status="edge; hit; ttl=30"), 0, True),
    "Via alone": (head(via="1.1 varnish"), 0, False),
    "a word with hit in it": (head(x_cache="whitelist"), 0, False),
}


@pytest.mark.parametrize("row", CACHED)
def test_caches_on_the_way(row: str) -> None:
    answer, age, cached = CACHED[row]
    assert (read((), answer).age, read((), answer).cached) == (age, cached)


def test_a_redirect_with_a_digest_speaks_for_itself() -> None:
    """The blob behind it may be in a cache for years; the redirect is what says which blob it is."""
    hub = head(302, x_linked_etag=f'"{"a" * 64}"', x_linked_size="7", x_repo_commit="c0ffee")
    cdn = head(etag='"x"', content_length="7", age="99999")
    answer = read((hub,), cdn)
    assert [each.source for each in answer.witnesses] == ["x-linked-etag"]
    assert (answer.size, answer.commit, answer.cached, answer.validator.etag) == (7, "c0ffee", False, '"x"')
    assert read((head(302, age="5"),), head(etag='"x"')).cached


def test_digests_of_coded_bytes_are_not_of_ours() -> None:
    digests = (("repr-digest", f"sha-256=:{sha256(A)}:"), ("x-goog-hash", f"crc32c={crc32c(A)}"))
    assert len(read((), Head(200, digests)).witnesses) == 2
    coded = read((), Head(200, (*digests, ("content-encoding", "br"))))
    assert [each.source for each in coded.witnesses] == ["x-goog-hash:crc32c"]
    assert coded.coding == "br"


def test_a_coding_that_the_name_says_is_the_files_own() -> None:
    """As `sync` takes it: the bytes as they come, and what is said of them."""
    lines = (("repr-digest", f"sha-256=:{sha256(A)}:"), ("content-encoding", "x-gzip"), ("content-length", "5"))
    found = read((), Head(200, lines), "a.tar.gz")
    assert (found.coding, found.size, len(found.witnesses)) == ("", 5, 1)
    found = read((), Head(200, lines), "a.bin")
    assert (found.coding, found.size, found.witnesses) == ("gzip", None, ())


def test_two_lines_of_one_header() -> None:
    lines = (("x-goog-hash", f"crc32c={crc32c(A)}"), ("x-goog-hash", f"md5={md5(A)}"))
    assert len(read((), Head(200, lines)).witnesses) == 2


def test_md5_of_a_part_says_nothing_of_the_whole() -> None:
    assert read((), head(206, content_md5=b64(b"x" * 16))).witnesses == ()


# ---- asking


async def test_head_is_enough(origin: Origin, inquirer: Inquirer) -> None:
    answer = await inquirer.ask(origin.put(PATH, A, headers=[("x-goog-hash", f"md5={md5(A)}")]))
    assert (answer.status, answer.size, answer.error) == (200, len(A), "")
    assert answer.validator.strong
    assert [each.source for each in answer.witnesses] == ["x-goog-hash:md5"]
    (asked,) = origin.requests()
    assert asked.request.method == "HEAD"
    assert asked.request.header("cache-control") == "no-cache"
    assert asked.request.header("accept-encoding") == "identity"
    assert asked.request.header("range") is None


IN_VAIN = {
    "400": f.status(400),
    "403": f.status(403),
    "405": f.status(405),
    "500": f.status(500),
    "501": f.status(501),
    "404": f.status(404),
    "not HTTP": f.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "closed": f.raw(b""),
    "length 0": f.header("Content-Length", "0"),
}


@pytest.mark.parametrize("row", IN_VAIN)
async def test_one_byte_where_head_is_of_no_use(origin: Origin, inquirer: Inquirer, row: str) -> None:
    url = origin.put(PATH, A)
    origin.on(PATH, IN_VAIN[row], times=None, method="HEAD")
    answer = await inquirer.ask(url)
    assert (answer.status, answer.size, answer.error) == (206, len(A), "")
    (asked,) = origin.requests(method="GET")
    assert asked.request.header("range") == "bytes=0-0"
    assert asked.request.header("cache-control") == "no-cache"
    origin.stop()
    assert asked.sent <= 1


BELIEVED = {"401": 401, "429": 429, "503": 503}


@pytest.mark.parametrize("row", BELIEVED)
async def test_what_get_would_not_better(origin: Origin, inquirer: Inquirer, row: str) -> None:
    url = origin.put(PATH, A)
    origin.on(PATH, f.status(BELIEVED[row]), times=None, method=None)
    assert (await inquirer.ask(url)).status == BELIEVED[row]
    assert len(origin.requests()) == 1


async def test_asked_again_on_a_connection_of_its_own(origin: Origin, inquirer: Inquirer) -> None:
    url = origin.put(PATH, A)
    await inquirer.ask(url)
    await inquirer.ask(url)
    await inquirer.ask(url, again=True)
    one, two, again = origin.requests()
    assert one.connection == two.connection != again.connection
    assert again.request.method == "GET"


async def test_no_body_is_read_where_ranges_are_ignored(origin: Origin, inquirer: Inquirer) -> None:
    body = b"\0" * 40_000_000
    url = origin.put(PATH, body)
    origin.on(PATH, f.status(405), method="HEAD")
    origin.on(PATH, f.ignores_range(), times=None)
    answer = await inquirer.ask(url)
    assert (answer.status, answer.size) == (200, len(body))
    origin.stop()
    assert origin.body_bytes() < len(body) / 2  # what fits into the buffers of two kernels


async def test_what_fails_is_told_in_words(origins: Origins, inquirer: Inquirer) -> None:
    closed = origins.new()
    closed.refuse()
    answer = await inquirer.ask(closed.url(PATH))
    assert answer == Answer(error=f"127.0.0.1:{closed.port}: connection refused")
    looping = origins.new()
    looping.on(PATH, f.redirect(PATH), times=None, method=None)
    answer = await inquirer.ask(looping.url(PATH))
    assert answer.kind == "origin"
    assert "redirects" in answer.error


async def test_an_origin_that_never_ends_its_headers(origin: Origin) -> None:
    """The patience for one request holds, however lively the line is."""
    origin.on(PATH, f.endless(b"HTTP/1.1 100 Continue\r\n\r\n"), times=None, method=None)
    async with Client(Deadlines(30, 30), (), private_redirects=False) as client:
        async with asyncio.timeout(20):
            answer = await Inquirer(client, Budget(2, 1, None), 0.3).ask(origin.url(PATH))
    assert "no answer in time" in answer.error


async def test_no_more_than_so_many_of_one_host(origin: Origin, inquirer: Inquirer) -> None:
    url, crowd = origin.put(PATH, A), Hold()
    origin.on(PATH, f.hold(-1, crowd), times=None, method=None)
    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(inquirer.ask(url))
        await asyncio.to_thread(wait_until, lambda: crowd.count == 2)
        crowd.release()
    assert len(origin.requests()) == 12
    assert origin.peak == 2

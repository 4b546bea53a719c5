"""Every answer to a ranged request (origins.md 4.1): used, or refused and gone around, never spliced.

The first answer is cut, so that the program asks for the rest with a range; what the origin then answers is
the row under test. Whatever it is, once or always, the file ends up whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import faults as f
import pytest
from origin import Behaviour, Origin, Turn
from workplace import Batch, Workplace, tgz

A = tgz(260_000, 1)
CUT = 100_000
PATH = "/a.tar.gz"


def subset(size: int) -> Behaviour:
    """Send at most `size` bytes of what was asked for."""
    return f.sends(0, size - 1, from_asked=True)


def unasked(status: int) -> Behaviour:
    """A status that only conditionals of our own could have earned."""

    def behave(turn: Turn) -> None:
        turn.reply.status = status
        turn.reply.body = memoryview(b"")
        turn.reply.drop("Content-Range")

    return behave


ROWS: dict[str, tuple[Behaviour, ...]] = {
    "206 with a subset of the range": (subset(30_000),),
    "206 that begins earlier, block-aligned caches, httrack#428": (f.sends(-5_000, from_asked=True),),
    "206 of the whole file, aria2#1129": (f.whole_as_206(),),
    "206 that begins later": (f.sends(7_000, from_asked=True),),
    "206 spelled bytes=, aria2#509": (f.content_range("bytes={first}-{last}/{total}"),),
    "206 in another unit": (f.content_range("octets {first}-{last}/{total}"),),
    "206 with garbage": (f.content_range("bytes all of it"),),
    "206 with a range that ends before it begins": (f.content_range("bytes {last}-{first}/{total}"),),
    "206 without Content-Range": (f.content_range(),),
    "206 with two Content-Range lines": (f.content_range("bytes {first}-{last}/{total}", "bytes 0-{last}/{total}"),),
    "206 with total *": (f.content_range("bytes {first}-{last}/*"),),
    "206 with another total": (f.content_range("bytes {first}-{last}/{next}"),),
    "206 that says a later start than it sends": (
        f.sends(-10, -10 + 50_000, from_asked=True),
        f.content_range("bytes {last}-{last}/{total}"),
    ),
    "206 multipart/byteranges": (f.multipart(),),
    "206 with Content-Encoding": (f.gzip_coded(),),
    "200 with the whole object": (f.ignores_range(),),
    "200 with Content-Range and the slice, ModelScope": (f.slice_as_200(),),
    "416 with the true total": (f.not_satisfiable(f"bytes */{len(A)}"),),
    "416 with another total": (f.not_satisfiable("bytes */17"),),
    "416 without Content-Range": (f.not_satisfiable(),),
    "304 unasked": (unasked(304),),
    "412": (unasked(412),),
}


@pytest.fixture(scope="module", params=[1, None], ids=["once", "always"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """All rows in one run: the first answer is cut, the next, or every later one, is the row's."""
    with Batch(tmp_path_factory.mktemp("answers"), ROWS) as batch:
        for row, origin in batch.origin.items():
            origin.put(PATH, A)
            origin.on(PATH, f.cut(CUT, after=0.3))
            origin.on(PATH, *ROWS[row], times=request.param, resume=True)
        batch.sync()
        yield batch


@pytest.mark.parametrize("row", ROWS)
def test_answer_to_a_resume_is_used_or_refused(answers: Batch, row: str) -> None:
    """4.1, each row: written where it belongs, or nothing of it written and gone around."""
    answers.assert_good(row, A)
    requests = answers.origin[row].requests()
    assert [x for x in requests if x.range and x.range[0] > 0], "the program never asked for a range"
    assert len(requests) < 15


def test_resume_asks_for_the_rest_alone(origin: Origin, site: Workplace) -> None:
    """4.1 row 1 and engines finding 1: one more request, for the missing bytes, under If-Range."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))
    run = site.sync().expect(0)
    site.assert_good("a", A)
    first, second = origin.requests(method="GET")
    assert first.sent == CUT
    assert second.range is not None
    assert second.range[0] == CUT
    assert second.request.header("if-range") == first.request.header("if-range") or second.request.header("if-range")
    assert origin.body_bytes() == len(A)
    assert run.entry("a")["bytes_fetched"] == len(A)


@pytest.mark.slow
def test_cut_again_and_again_with_progress_is_no_failure(origin: Origin, site: Workplace) -> None:
    """Retries count only attempts without progress; ten cuts with `retries = 2` are fine."""
    site.one(origin.put(PATH, A))
    rule = origin.on(PATH, f.cut(len(A) // 10 - 100), times=None)
    site.sync().expect(0)
    site.assert_good("a", A)
    assert rule.fired >= 10
    assert origin.body_bytes() <= len(A) * 1.1


@pytest.mark.parametrize("rule", ["ignores ranges", "416 to every range"])
def test_cut_at_the_same_byte_for_ever_ends(origin: Origin, site: Workplace, rule: str) -> None:
    """I5, "never loop": no range is honoured, the whole never arrives; that is no progress, and it ends."""
    site.one(origin.put(PATH, A))
    spoil = f.ignores_range() if rule == "ignores ranges" else f.not_satisfiable()
    origin.on(PATH, spoil, times=None, ranged=True)
    origin.on(PATH, f.cut(CUT), times=None)
    run = site.sync().expect(1)
    site.assert_absent("a")
    assert run.kind("a") in {"network", "origin"}
    assert len(origin.requests()) < 20


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
def test_206_to_a_request_without_range(origin: Origin, site: Workplace, always: bool) -> None:
    """4.1: 206 to a request without Range is a protocol error: tried again, and given up in the end."""
    site.one(origin.put(PATH, A))
    rule = origin.on(PATH, f.unasked_206(), times=None if always else 1, ranged=False)
    run = site.sync()
    assert rule.fired, "every request had a Range"
    if always:
        site.assert_same_or_absent("a", A)
        assert len(origin.requests()) < 15
    else:
        run.expect(0)
        site.assert_good("a", A)


def test_416_when_every_byte_is_already_here(origin: Origin, site: Workplace) -> None:
    """4.1, and curl's 416 loop on a complete file: a length that promised more than there is ends well."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.says_length(len(A) + 1000))
    site.sync().expect(0)
    site.assert_good("a", A)
    assert len(origin.requests()) < 8


def test_no_accept_encoding_but_identity(origin: Origin, site: Workplace) -> None:
    """0.2: `Accept-Encoding: identity` on every request, whole or ranged, and no Authorization."""
    site.one(origin.put(PATH, A))
    origin.on(PATH, f.cut(CUT))
    site.sync().expect(0)
    for exchange in origin.requests():
        assert exchange.request.header("accept-encoding") == "identity"
        assert exchange.request.header("authorization") is None
        assert exchange.request.header("cookie") is None

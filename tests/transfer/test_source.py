"""A source that several connections ask at once, while the signature that they share runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from ckptd.core.response import Asked, Head, Take, Validator
from ckptd.transfer.client import Client, Reply, Request
from ckptd.transfer.source import Opened, Source

HUB = "https://hub/org/net/resolve/main/m.bin"
OLD, NEW = "a" * 64, "b" * 64
COMMIT = "c" * 40


class Answer:
    """As much of a reply as a source looks at."""

    reused = False
    label = "hub"

    def __init__(self, url: str, head: Head, hops: tuple[Head, ...] = ()) -> None:
        self.url, self.head, self.hops = url, head, hops
        self.closed = False

    def close(self) -> None:
        self.closed = True

    async def read(self, limit: int) -> bytes:
        del limit
        return b""


class Desk:
    """Stands in for the client: each request waits here until it is answered."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, asyncio.Future[Answer]]] = []

    async def open(self, request: Request) -> Reply:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((request.url, future))
        return cast("Reply", await future)

    async def answer(self, url: str, make: Callable[[], Answer]) -> None:
        """Answer the oldest request for `url`, and let whoever asked go on."""
        index = next(at for at, (wanted, _) in enumerate(self.waiting) if wanted == url)
        self.waiting.pop(index)[1].set_result(make())
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def urls(self) -> Sequence[str]:
        return [url for url, _ in self.waiting]


def part(url: str, hops: tuple[Head, ...] = ()) -> Answer:
    head = Head(206, (("content-range", "bytes 0-9/100"), ("content-length", "10"), ("etag", '"cdn"')))
    return Answer(url, head, hops)


def hop(sha256: str) -> tuple[Head, ...]:
    return (Head(302, (("x-linked-etag", f'"{sha256}"'), ("x-repo-commit", COMMIT))),)


def refusal(url: str) -> Answer:
    return Answer(url, Head(403, ()))


def asked() -> Asked:
    return Asked(0, 10, ranged=True, known=Validator(identity=OLD, total=100), total=100)


async def begun(source: Source, desk: Desk) -> None:
    """The source knows the signed address "s1"."""
    task = asyncio.create_task(source.ask(cast("Client", desk), asked()))
    await asyncio.sleep(0)
    await desk.answer(HUB, lambda: part("https://cdn/x?s1", hop(OLD)))
    assert commit_and_identity(await task) == (COMMIT, OLD)


def commit_and_identity(opened: Opened) -> tuple[str, str]:
    assert isinstance(opened.verdict, Take), opened.verdict
    return opened.commit, opened.verdict.validator.identity


@pytest.mark.parametrize("late", ["refused", "served"])
def test_each_answer_is_judged_by_its_own_redirect(late: str) -> None:
    """Two ask at once; the signature has run out, and the hub has another version by now."""

    async def run() -> None:
        desk, source = Desk(), Source(HUB)
        await begun(source, desk)
        first = asyncio.create_task(source.ask(cast("Client", desk), asked()))
        second = asyncio.create_task(source.ask(cast("Client", desk), asked()))
        await asyncio.sleep(0)
        assert desk.urls == ["https://cdn/x?s1"] * 2
        await desk.answer("https://cdn/x?s1", lambda: refusal("https://cdn/x?s1"))
        assert desk.urls == ["https://cdn/x?s1", HUB]  # the first asks the hub again
        if late == "refused":
            # Nobody knows a signed address at this moment: it is a signature that ran out all the same.
            await desk.answer("https://cdn/x?s1", lambda: refusal("https://cdn/x?s1"))
            assert desk.urls == [HUB, HUB]
            await desk.answer(HUB, lambda: part("https://cdn/x?s2", hop(OLD)))
            await desk.answer(HUB, lambda: part("https://cdn/x?s3", hop(OLD)))
            assert commit_and_identity(await first) == commit_and_identity(await second) == (COMMIT, OLD)
        else:
            await desk.answer(HUB, lambda: part("https://cdn/y?s2", hop(NEW)))
            await desk.answer("https://cdn/x?s1", lambda: part("https://cdn/x?s1"))
            assert not isinstance((await first).verdict, Take)  # the new version
            assert commit_and_identity(await second) == (COMMIT, OLD)  # still the old one

    asyncio.run(run())

"""A fixed number of buffers: a ceiling for memory, and nobody forgotten in the queue."""

from __future__ import annotations

import pytest

from ckptd.transfer.buffers import LARGEST, MOST_SIZED_FOR, SMALLEST, SPARE, TOTAL, Buffer, Pool


def drain(pool: Pool) -> list[Buffer]:
    found = []
    while (buffer := pool.get()) is not None:
        found.append(buffer)
    return found


@pytest.mark.parametrize("connections", [1, 4, 32, 100, 512, 4096])
def test_memory_has_a_ceiling(connections: int) -> None:
    pool = Pool(connections)
    assert SMALLEST <= pool.size <= LARGEST
    assert pool.size % 4096 == 0
    assert sum(len(buffer.view) for buffer in drain(pool)) <= TOTAL
    assert pool.get() is None


@pytest.mark.parametrize("connections", [1, 3, MOST_SIZED_FOR])
def test_each_connection_gets_one_and_some_are_spare(connections: int) -> None:
    assert len(drain(Pool(connections))) >= connections + SPARE


def test_a_buffer_comes_back_when_the_last_holder_lets_go() -> None:
    pool = Pool(1)
    first, *_ = drain(pool)
    first.hold()
    first.release()
    assert pool.get() is None
    first.release()
    assert pool.get() is first
    assert len(first.view) == pool.size


def test_whoever_waits_longest_comes_first() -> None:
    pool = Pool(1)
    buffers = drain(pool)
    served: list[str] = []

    def waiter(name: str) -> None:
        if pool.get() is not None:
            served.append(name)

    for name in ("a", "b", "c"):
        pool.call_when_free(lambda name=name: waiter(name))  # type: ignore[misc]
    buffers[0].release()
    assert served == ["a"]
    buffers[1].release()
    buffers[2].release()
    assert served == ["a", "b", "c"]


def test_somebody_who_needs_it_no_more_does_not_stop_the_queue() -> None:
    pool = Pool(1)
    buffers = drain(pool)
    served: list[Buffer | None] = []
    pool.call_when_free(lambda: None)  # its connection was aborted meanwhile
    pool.call_when_free(lambda: served.append(pool.get()))
    buffers[0].release()
    assert served == [buffers[0]]

"""An iterator that runs ahead in a thread of its own, so that decompressing overlaps with hashing and writing.

Bounded: so many batches of so many bytes wait, and no more. What the iterator raises is raised where it is consumed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
BATCH_WEIGHT = 1024 * 1024
BATCH_ITEMS = 512  # handing over one at a time would cost more than making a small one
BATCHES = 4


class _Runner(Generic[T]):
    """The thread. Its queue ends with None, also after a failure."""

    def __init__(self, items: Iterable[T], weigh: Callable[[T], int]) -> None:
        self._items = items
        self._weigh = weigh
        self._queue: queue.Queue[list[T] | None] = queue.Queue(BATCHES)
        self._stop = False
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="ckptd-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            batch: list[T] = []
            weight = 0
            for item in self._items:
                batch.append(item)
                weight += self._weigh(item)
                if weight >= BATCH_WEIGHT or len(batch) >= BATCH_ITEMS:
                    self._queue.put(batch)
                    batch, weight = [], 0
                if self._stop:
                    return
            if batch:
                self._queue.put(batch)
        except BaseException as error:  # noqa: BLE001  # it belongs to the consumer
            self._error = error
        finally:
            self._queue.put(None)

    def batches(self) -> Iterator[list[T]]:
        while (batch := self._queue.get()) is not None:
            yield batch
        self._ended = True
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Stop and wait for it: at most until the item that it is at is made."""
        self._stop = True
        while not self._ended:
            self._ended = self._queue.get() is None
        self._thread.join()


@contextmanager
def ahead(items: Iterable[T], weigh: Callable[[T], int]) -> Iterator[Iterator[list[T]]]:
    """Batches of `items`, made in another thread, which has ended when the context is left. `weigh` gives bytes."""
    runner = _Runner(items, weigh)
    try:
        yield runner.batches()
    finally:
        runner.end()

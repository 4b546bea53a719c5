"""Events to everybody who wants them: nothing is lost for who reads, nobody waits for who does not."""

from __future__ import annotations

import asyncio

from ckptd.core import events
from ckptd.service.hub import MOST, Hub


def test_bytes_are_added_up_in_order() -> None:
    """Many small receipts are told as one; what happened between them keeps its place."""
    hub = Hub()
    with hub.subscribed(None) as told:
        hub.emit(events.Started("a", 100, 0))
        for _ in range(10):
            hub.emit(events.Received("a", 5))
        hub.emit(events.Rewound("a", 20, "cut"))
        hub.emit(events.Received("a", 7))
        hub.emit(events.Hashed("a", 3))
        hub.emit(events.Hashed("a", 27))
        assert told.take() == [
            events.Started("a", 100, 0),
            events.Received("a", 50),
            events.Rewound("a", 20, "cut"),
            events.Received("a", 7),
            events.Hashed("a", 27),
        ]
        assert told.take() == []


def test_names_are_kept_apart() -> None:
    hub = Hub()
    with hub.subscribed({"a"}) as told:
        hub.emit(events.Noted("b", "not ours"))
        hub.emit(events.Noted("a", "ours"))
        assert told.take() == [events.Noted("a", "ours")]
    hub.emit(events.Noted("a", "after we left"))
    assert told.take() == []


def test_who_comes_late_is_told_what_runs() -> None:
    hub = Hub()
    hub.emit(events.Queued("a", 100, "new"))
    hub.emit(events.Started("a", 100, 10))
    hub.emit(events.Received("a", 30))
    hub.emit(events.Connections("a", 4, "example.org"))
    hub.emit(events.Queued("done", 5, ""))
    hub.emit(events.Finished("done", "fetched"))
    with hub.subscribed(None) as told:
        assert told.take() == [
            events.Queued("a", 100, "new"),
            events.Started("a", 100, 40),
            events.Connections("a", 4, "example.org"),
        ]


def test_nothing_is_active_after_its_end() -> None:
    """Bytes that another thread counted late do not bring back what has ended."""
    hub = Hub()
    hub.emit(events.Started("a", 100, 0))
    hub.emit(events.Finished("a", "intact"))
    hub.emit(events.Received("a", 100))
    hub.emit(events.Hashed("a", 100))
    assert hub.active == {}


def test_who_does_not_read_is_left_behind() -> None:
    """Memory is bounded whatever a reader does: old events are dropped, and it is known that they were."""
    hub = Hub()
    with hub.subscribed(None) as told:
        for number in range(MOST + 10):
            hub.emit(events.Noted("a", str(number)))
        assert told.lost
        found = told.take()
        assert len(found) <= MOST
        assert found[-1] == events.Noted("a", str(MOST + 9))


async def test_a_batch_waits_for_something() -> None:
    hub = Hub()
    with hub.subscribed(None) as told:
        waiting = asyncio.ensure_future(told.batch())
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.emit(events.Noted("a", "one"))
        hub.emit(events.Noted("a", "two"))
        assert await waiting == [events.Noted("a", "one"), events.Noted("a", "two")]

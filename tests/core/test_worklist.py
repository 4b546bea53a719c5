"""The work list of `core.segments`: every missing byte is promised to exactly one connection, until it is here."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ckptd.core.ranges import Extents
from ckptd.core.segments import (
    LARGEST_SEGMENT,
    SEGMENT,
    WORTH_SPLITTING,
    Lease,
    WorkList,
    connections_wanted,
    segment_length,
)

MIB = 1024 * 1024


class Connections(RuleBasedStateMachine):
    """Connections that take, run on, are robbed, fail, in any order; `here` are the bytes that came."""

    TOTAL = 160 * MIB

    def __init__(self) -> None:
        super().__init__()
        self.here = Extents.of((10 * MIB, 30 * MIB), (90 * MIB, 91 * MIB))
        self.work = WorkList(self.TOTAL, self.here)
        self.leases: list[Lease] = []

    def arrive(self, lease: Lease, count: int) -> None:
        """The next `count` bytes of `lease`: none of them may be here already."""
        before = self.here.size
        self.here = self.here.add(lease.at, lease.at + count)
        assert self.here.size == before + count, "bytes came twice"
        lease.at += count

    @rule()
    def take(self) -> None:
        lease = self.work.take()
        if lease is not None:
            assert lease.start == lease.at < lease.end
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), count=st.integers(1, 20 * MIB))
    def receive(self, data: st.DataObject, count: int) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.arrive(lease, min(count, lease.left))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def bring_all_and_run_on(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.arrive(lease, lease.left)
        end = lease.end
        assert self.work.extend(lease) == (lease.end > end)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.leases.remove(lease)
        self.work.give_back(lease)

    @invariant()
    def promises_do_not_overlap(self) -> None:
        promised = sorted((lease.at, lease.end) for lease in self.leases if lease.left)
        assert all(before[1] <= after[0] for before, after in pairwise(promised))
        assert all(0 <= start < end <= self.TOTAL for start, end in promised)

    @invariant()
    def what_is_left_is_what_is_missing(self) -> None:
        assert self.work.left == self.TOTAL - self.here.size
        assert self.work.complete == (self.here.spans == ((0, self.TOTAL),))

    def teardown(self) -> None:
        """Whatever happened before, one patient connection brings the rest."""
        for lease in self.leases:
            self.work.give_back(lease)
        while (patient := self.work.take()) is not None:
            self.arrive(patient, patient.left)
            self.work.give_back(patient)
        assert self.here.spans == ((0, self.TOTAL),)
        assert self.work.complete


TestConnections = Connections.TestCase
TestConnections.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


def test_the_earliest_first_so_that_the_digest_can_follow() -> None:
    work = WorkList(100 * MIB, Extents.of((0, 8 * MIB), (40 * MIB, 50 * MIB)))
    starts: list[int] = []
    while (lease := work.take()) is not None and len(starts) < 4:
        starts.append(lease.start)
    assert starts == [8 * MIB, 24 * MIB, 50 * MIB, 66 * MIB]


def test_what_is_given_back_comes_first_again() -> None:
    work = WorkList(10 * SEGMENT, Extents())
    first, _ = work.take(), work.take()
    assert first is not None
    first.at += MIB
    work.give_back(first)
    again = work.take()
    assert again is not None
    assert (again.start, again.end) == (MIB, SEGMENT)


def test_a_crumb_is_not_left_for_somebody_else() -> None:
    work = WorkList(SEGMENT + WORTH_SPLITTING - 1, Extents())
    lease = work.take()
    assert lease is not None
    assert lease.end == SEGMENT + WORTH_SPLITTING - 1


def test_the_slowest_shares_what_it_has_not_begun() -> None:
    work = WorkList(SEGMENT, Extents())
    slow = work.take()
    assert slow is not None
    slow.at += MIB
    thief = work.take()
    assert thief is not None
    assert slow.at < slow.end == thief.start < thief.end == SEGMENT
    assert slow.left - thief.left in {0, 1}


def test_the_last_bytes_are_not_worth_a_connection() -> None:
    work = WorkList(SEGMENT, Extents())
    last = work.take()
    assert last is not None
    last.at += SEGMENT - WORTH_SPLITTING + 1
    assert work.take() is None


def test_a_body_runs_on_only_where_nobody_else_is() -> None:
    work = WorkList(4 * SEGMENT, Extents())
    first, second = work.take(), work.take()
    assert first is not None
    assert second is not None
    assert not work.extend(first)
    assert work.extend(second)
    assert second.end == 3 * SEGMENT


def test_nothing_to_do() -> None:
    assert WorkList(0, Extents()).complete
    assert WorkList(0, Extents()).take() is None
    assert WorkList(MIB, Extents.of((0, MIB))).take() is None


@settings(deadline=None)
@given(st.floats(0, 1e12))
def test_a_faster_connection_is_asked_for_more_at_once(rate: float) -> None:
    length = segment_length(rate)
    assert SEGMENT <= length <= LARGEST_SEGMENT
    assert length % SEGMENT == 0
    assert segment_length(rate * 2) >= length


@pytest.mark.parametrize(
    ("active", "limit", "left", "rate", "elapsed", "wanted"),
    [
        (1, 4, 1000 * MIB, 10.0 * MIB, 1.0, 4),
        (1, 4, 1000 * MIB, 2000.0 * MIB, 1.0, 1),  # done within a second as it is
        (1, 4, 1000 * MIB, 10.0 * MIB, 0.05, 1),  # nothing is known yet
        (1, 4, 9 * MIB, 1.0 * MIB, 1.0, 2),  # two are all that the rest is worth
        (1, 4, 5 * MIB, 0.1 * MIB, 9.0, 1),
        (3, 1, 1000 * MIB, 1.0 * MIB, 1.0, 1),
        (0, 4, 1000 * MIB, 0.0, 1.0, 4),
    ],
)
def test_connections_are_opened_where_they_help(
    active: int, limit: int, left: int, rate: float, elapsed: float, wanted: int
) -> None:
    assert connections_wanted(active=active, limit=limit, left=left, rate=rate, elapsed=elapsed) == wanted

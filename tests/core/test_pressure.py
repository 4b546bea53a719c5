"""The gate: whose need of the disk it is, told apart by a moment of quiet; and what the kernel's files say."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.core.pressure import Gate, Mode, Sample, stalled

IO, MEMORY = 0.3, 0.1


@dataclass
class Machine:
    """A machine whose tasks are held up for a share of each second, and a reader that does what the gate says.

    `io` and `memory` give that share for others, by the time; `ours` is what our own reading adds to it.
    """

    io: Callable[[float], float] = lambda now: 0.0
    memory: Callable[[float], float] = lambda now: 0.0
    ours: float = 0.0
    wants: Callable[[float], bool] = lambda now: True
    urgent: bool = False  # whether it does not do what the gate says
    tail: int = 0  # seconds for which a piece goes on after the gate has closed
    lag: int = 0  # seconds that the totals lag behind
    step: float = 1.0
    gate: Gate = field(default_factory=lambda: Gate(IO, MEMORY))
    now: float = 1000.0
    totals: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])

    def run(self, seconds: float) -> list[Gate]:
        """The gate after each step."""
        found, tail = [], 0
        for _ in range(round(seconds / self.step)):
            tail = self.tail if not self.gate.paused else tail - 1
            reading = self.wants(self.now) and (not self.gate.paused or tail >= 0 or self.urgent)
            io = min(1.0, self.io(self.now) + (self.ours if reading else 0.0))
            before = self.totals[-1]
            self.totals.append((before[0] + io * self.step, before[1] + self.memory(self.now) * self.step))
            self.now += self.step
            shown = self.totals[max(0, len(self.totals) - 1 - self.lag)]
            sample = Sample(round(shown[0] * 1e6), round(shown[1] * 1e6))
            self.gate = self.gate.step(self.now, sample, reading=reading)
            found.append(self.gate)
        return found


def modes(gates: list[Gate]) -> list[Mode]:
    """The modes in their order, without repetitions."""
    return [mode for mode, _ in itertools.groupby(gate.mode for gate in gates)]


def seconds_in(gates: list[Gate], mode: Mode) -> list[int]:
    """How long each stay in `mode` was."""
    return [len(list(group)) for found, group in itertools.groupby(gate.mode for gate in gates) if found is mode]


def always(share: float) -> Callable[[float], float]:
    return lambda now: share


def until(end: float, share: float) -> Callable[[float], float]:
    return lambda now: share if now < end else 0.0


OPEN, ASKING, CLOSED = Mode.OPEN, Mode.ASKING, Mode.CLOSED


@pytest.mark.parametrize(
    ("machine", "course"),
    [
        pytest.param(Machine(), [OPEN], id="nobody is held up"),
        pytest.param(Machine(ours=0.29), [OPEN], id="below the threshold"),
        pytest.param(Machine(ours=0.9), [OPEN, ASKING, OPEN], id="it is us"),
        pytest.param(Machine(io=always(0.5), ours=0.4), [OPEN, ASKING, CLOSED], id="it is others"),
        pytest.param(Machine(io=always(0.31)), [OPEN, ASKING, CLOSED], id="it is others, not us"),
        pytest.param(Machine(io=always(0.2), ours=0.2), [OPEN, ASKING, OPEN], id="others, but little without us"),
        pytest.param(Machine(io=always(0.5), wants=lambda now: False), [OPEN, CLOSED], id="no doubt: we do not read"),
        pytest.param(Machine(memory=always(0.2)), [OPEN, CLOSED], id="memory needs no question"),
        pytest.param(Machine(memory=always(0.09)), [OPEN], id="a little short of memory"),
        pytest.param(
            Machine(memory=until(1007, 0.9), ours=0.9), [OPEN, CLOSED, OPEN, ASKING, OPEN], id="both, then us"
        ),
        pytest.param(
            Machine(memory=lambda now: 0.9 if now > 1006 else 0.0, ours=0.9),
            [OPEN, ASKING, CLOSED],
            id="memory in the moment of quiet",
        ),
        pytest.param(Machine(io=until(1022, 0.5)), [OPEN, ASKING, CLOSED, OPEN], id="others who come to an end"),
        pytest.param(Machine(ours=0.9, tail=4), [OPEN, ASKING, OPEN], id="a piece that takes its time to end"),
        pytest.param(Machine(ours=0.9, lag=2), [OPEN, ASKING, OPEN], id="totals that lag behind"),
        pytest.param(
            Machine(ours=0.9, lag=2, wants=lambda now: now < 1009), [OPEN, ASKING, OPEN], id="lagging, and we stop"
        ),
        pytest.param(
            Machine(ours=0.9, lag=2, wants=lambda now: 1004 <= now < 1006),
            [OPEN, ASKING, OPEN],
            id="lagging, and we read in stints",
        ),
        pytest.param(Machine(ours=0.9, step=5.0), [OPEN, ASKING, OPEN], id="a look every five seconds"),
        pytest.param(Machine(io=always(0.5), step=5.0), [OPEN, ASKING, CLOSED], id="others, every five seconds"),
        pytest.param(Machine(io=always(0.5), gate=Gate(None, MEMORY)), [OPEN], id="off for io"),
        pytest.param(Machine(memory=always(0.5), gate=Gate(IO, None)), [OPEN], id="off for memory"),
    ],
)
def test_the_course_of_the_first_forty_seconds(machine: Machine, course: list[Mode]) -> None:
    found = machine.run(40)
    assert modes(found) == course
    assert all(gate.paused == (gate.mode is not OPEN) == bool(gate.why) for gate in found)


def test_a_stop_that_was_only_us_is_short_and_becomes_rare() -> None:
    found = Machine(ours=0.9).run(3600)
    stops, pauses = seconds_in(found, ASKING), seconds_in(found, OPEN)[1:-1]
    assert max(stops) <= 6
    assert all(after >= before for before, after in itertools.pairwise(pauses))
    assert pauses[0] in range(30, 36)
    assert max(pauses) in range(300, 306)
    assert sum(gate.paused for gate in found) / len(found) < 0.03


def test_others_are_left_alone_for_as_long_as_they_are_there() -> None:
    """And when they come back it is noticed soon: how often it was only us before is forgotten."""
    machine = Machine(ours=0.9)
    machine.run(1800)
    machine.io = always(0.5)
    noticed = next(at for at, gate in enumerate(machine.run(600)) if gate.mode is CLOSED)
    assert noticed < 320
    assert {gate.mode for gate in machine.run(3600)} == {CLOSED}
    machine.io = always(0.0)
    assert next(at for at, gate in enumerate(machine.run(60)) if not gate.paused) <= 10
    machine.io = always(0.5)
    assert next(at for at, gate in enumerate(machine.run(60)) if gate.mode is CLOSED) <= 75


def test_others_who_came_while_we_rested_are_asked_for_at_once() -> None:
    """That it was only us a moment ago is no excuse once others were seen."""
    machine = Machine(ours=0.9)
    assert modes(machine.run(13)) == [OPEN, ASKING, OPEN]
    machine.wants, machine.io = lambda now: False, always(0.5)
    assert modes(machine.run(11)) == [OPEN, CLOSED]
    machine.io = always(0.0)
    machine.run(9)
    assert machine.gate.mode is OPEN
    machine.wants = lambda now: True
    assert modes(machine.run(7))[:2] == [OPEN, ASKING]


def test_a_question_that_slept_is_asked_again() -> None:
    gate = Gate(IO, MEMORY, mode=ASKING, begun=1000.0, totals=Sample(0, 0), read=1000.0)
    gate = gate.step(4600.0, Sample(0, 0), reading=False).step(4601.0, Sample(900_000, 0), reading=False)
    assert gate.mode is ASKING
    assert gate.step(4605.0, Sample(900_000, 0), reading=False).mode is OPEN


def test_who_reads_all_the_same_learns_nothing_new() -> None:
    """The deadline overrides the gate: our own reading must neither open it nor be taken for an answer."""
    machine = Machine(io=always(0.5), ours=0.5)
    machine.urgent = True
    assert modes(machine.run(300)) == [OPEN, ASKING]
    machine.urgent = False
    assert modes(machine.run(30)) == [ASKING, CLOSED]
    machine.urgent = True
    assert modes(machine.run(300)) == [CLOSED]


def test_a_kernel_that_says_nothing_closes_nothing() -> None:
    gate = Gate(IO, MEMORY)
    for second in range(60):
        gate = gate.step(second, Sample(), reading=True)
    assert not gate.paused


@pytest.mark.parametrize(
    ("mode", "paused"),
    [(OPEN, False), (CLOSED, True), (ASKING, True)],
)
def test_what_was_seen_long_ago_is_forgotten(mode: Mode, paused: bool) -> None:
    """An hour asleep, with half of it spent waiting: that was then. Nothing changes until there is a new interval."""
    gate = Gate(IO, MEMORY, mode=mode, begun=1000.0, totals=Sample(0, 0), read=1000.0)
    gate = gate.step(4600.0, Sample(1_800_000_000, 0), reading=False)
    assert gate.paused is paused
    for second in range(1, 8):
        gate = gate.step(4600.0 + second, Sample(1_800_000_000, 0), reading=False)
    assert not gate.paused


def test_totals_that_went_back_say_nothing() -> None:
    gate = Gate(IO, MEMORY).step(0.0, Sample(9_000_000, 9_000_000), reading=True)
    assert not gate.step(5.0, Sample(0, 0), reading=True).paused


def test_a_clock_that_went_back_begins_anew() -> None:
    gate = Gate(IO, MEMORY).step(1000.0, Sample(0, 0), reading=True)
    gate = gate.step(10.0, Sample(9_000_000_000, 0), reading=True)
    assert not gate.step(15.0, Sample(9_000_000_000, 0), reading=True).paused


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.floats(0.1, 9)), max_size=60))
def test_once_the_machine_is_idle_the_gate_opens(past: list[tuple[float, float, bool, float]]) -> None:
    """Whatever came before, and the state is never without a reason."""
    gate, now, io, memory = Gate(IO, MEMORY), 0.0, 0.0, 0.0
    for io_share, memory_share, reading, seconds in past:
        now, io, memory = now + seconds, io + io_share * seconds, memory + memory_share * seconds
        gate = gate.step(now, Sample(int(io * 1e6), int(memory * 1e6)), reading=reading)
        assert gate.paused == bool(gate.why)
    for _ in range(11):
        now += 1
        gate = gate.step(now, Sample(int(io * 1e6), int(memory * 1e6)), reading=False)
    assert not gate.paused


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (
            "some avg10=0.00 avg60=0.26 avg300=0.21 total=138894298\nfull avg10=0.00 avg60=0.2 avg300=0.2 total=810\n",
            138894298,
        ),
        ("some avg10=1.00 avg60=1.00 avg300=1.00 total=0\n", 0),
        ("full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", None),
        ("some avg10=0.00 avg60=0.00 avg300=0.00\n", None),
        ("some avg10=0.00 total=-3\n", None),
        ("awesome total=3\n", None),
        ("", None),
        ("\ufffd\0", None),
    ],
)
def test_what_the_kernel_says(text: str, total: int | None) -> None:
    assert stalled(text) == total

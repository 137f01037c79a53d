"""The two clocks of the loop, and what befalls them."""

from __future__ import annotations

from taskman_cli.core.clock import Now
from taskman_cli.scheduler.clocks import Clocks

SECOND = 1_000_000_000
STEP = 2 * SECOND


class Hands:
    """Clocks that are set by hand, in seconds."""

    def __init__(self) -> None:
        self.wall, self.elapsed, self.slept = 1000, 10, 0

    def looked(self) -> Clocks:
        return Clocks(lambda: Now(self.wall * SECOND, self.elapsed * SECOND), lambda: self.slept * SECOND)

    def pass_by(self, seconds: int) -> None:
        self.wall += seconds
        self.elapsed += seconds


def test_a_late_reading_is_reported_once() -> None:
    hands = Hands()
    clocks = hands.looked()
    clocks.want(1010 * SECOND, None)
    hands.pass_by(5)
    clocks.look(step_ns=STEP)
    assert clocks.take_late_ns() <= 0
    hands.pass_by(10)
    assert clocks.look(step_ns=STEP) == []
    assert clocks.take_late_ns() == 5 * SECOND
    assert clocks.look(step_ns=STEP) == []
    assert clocks.take_late_ns() == 0


def test_a_time_in_the_past_counts_as_due_now() -> None:
    hands = Hands()
    clocks = hands.looked()
    clocks.want(990 * SECOND, 3 * SECOND)
    hands.pass_by(1)
    clocks.look(step_ns=STEP)
    assert clocks.take_late_ns() == SECOND


def test_a_clock_step_and_a_suspend_are_told_apart() -> None:
    hands = Hands()
    clocks = hands.looked()
    hands.wall += 60
    hands.pass_by(7)
    hands.slept += 5
    slept, stepped = clocks.look(step_ns=STEP)
    assert (slept.length_ns, stepped.delta_ns) == (5 * SECOND, 60 * SECOND)  # type: ignore[attr-defined]
    assert clocks.look(step_ns=STEP) == []

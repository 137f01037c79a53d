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


def test_a_look_that_comes_late_is_told_once_however_often_is_looked_before_the_next_is_wanted() -> None:
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


def test_what_was_due_already_is_wanted_now_and_not_when_it_was() -> None:
    hands = Hands()
    clocks = hands.looked()
    clocks.want(990 * SECOND, 3 * SECOND)
    hands.pass_by(1)
    clocks.look(step_ns=STEP)
    assert clocks.take_late_ns() == SECOND


def test_a_step_and_a_sleep_are_told_by_the_clocks_that_differ() -> None:
    hands = Hands()
    clocks = hands.looked()
    hands.wall += 60
    hands.pass_by(7)
    hands.slept += 5
    slept, stepped = clocks.look(step_ns=STEP)
    assert (slept.length_ns, stepped.delta_ns) == (5 * SECOND, 60 * SECOND)  # type: ignore[attr-defined]
    assert clocks.look(step_ns=STEP) == []

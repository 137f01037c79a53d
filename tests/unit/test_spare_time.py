"""When the loop works on what has time: upkeep of the ledger, and portions of long replies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from unit.engine_driver import START

from taskman_cli.scheduler.sparetime import CHORE_TURNS, PORTION_GAP_NS, PORTION_TURNS, SpareTime


class Loop:
    """A loop with so many chores and portions left to do."""

    def __init__(self, *, chores: int = 0, portions: int = 0) -> None:
        self.chores, self.portions = chores, portions
        #: What was done, in order.
        self.done = ""
        self.errors: list[str] = []
        loop = self

        class Ledger:
            @property
            def has_chores(self) -> bool:
                return loop.chores > 0

            def tidy(self, _: int) -> None:
                loop.done += "c"
                loop.chores -= 1
                if loop.chores == 13:
                    raise ZeroDivisionError

        class Requests:
            @property
            def has_portions(self) -> bool:
                return loop.portions > 0

            def make_portion(self) -> None:
                loop.done += "p"
                loop.portions -= 1

        self.driver: Any = SimpleNamespace(
            now=START, ledger=Ledger(), set_aside=lambda what, error: self.errors.append(what)
        )
        requests: Any = Requests()
        outputs: Any = None
        self.spare_time = SpareTime(self.driver, outputs, requests)

    def turn(self, *, is_idle: bool = False) -> str:
        before = len(self.done)
        self.spare_time.take(is_idle=is_idle)
        return self.done[before:]


def test_nothing_to_do_lets_the_loop_sleep() -> None:
    loop = Loop()
    assert (loop.spare_time.is_wanted, loop.turn(is_idle=True)) == (False, "")


def test_in_an_idle_turn_a_part_of_each_is_done() -> None:
    loop = Loop(chores=2, portions=3)
    turns = []
    while loop.spare_time.is_wanted:
        turns.append(loop.turn(is_idle=True))
    assert turns == ["cp", "cp", "p"]


def test_however_busy_the_loop_is_both_go_on() -> None:
    loop = Loop(chores=1_000, portions=1_000)
    for _ in range(CHORE_TURNS * PORTION_TURNS):
        loop.turn()
    assert (loop.done.count("c"), loop.done.count("p")) == (PORTION_TURNS, CHORE_TURNS)


def test_an_error_of_a_chore_is_set_aside() -> None:
    loop = Loop(chores=15)
    while loop.spare_time.is_wanted:
        loop.turn(is_idle=True)
    assert (loop.done, loop.errors) == ("c" * 15, ["a chore of the ledger"])


def test_no_portion_begins_shortly_before_something_is_due() -> None:
    loop = Loop(portions=10)
    now = START
    for wall_ns, elapsed_ns, is_wanted in (
        (now.wall_ns + PORTION_GAP_NS - 1, None, False),
        (None, now.elapsed_ns + 1, False),
        (now.wall_ns + PORTION_GAP_NS, now.elapsed_ns + PORTION_GAP_NS, True),
        # It is due, so that the loop is woken in any case.
        (now.wall_ns, None, True),
        (now.wall_ns - 1, now.elapsed_ns - 1, True),
    ):
        loop.spare_time.due_at = wall_ns, elapsed_ns
        assert loop.spare_time.is_wanted == is_wanted
        assert loop.turn(is_idle=True) == "p" * is_wanted


def test_where_something_is_always_due_soon_a_portion_is_made_in_some_of_the_turns() -> None:
    loop = Loop(portions=10)
    loop.spare_time.due_at = START.wall_ns + 1, None
    assert [loop.turn() for _ in range(2 * PORTION_TURNS)] == [*["", "", "", "p"] * 2]

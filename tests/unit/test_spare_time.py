"""When the loop works on what has time: upkeep of the ledger, and portions of long replies."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine.timetable import ArmedJob, Timetable
from taskman_cli.core.model import Execution, Task
from taskman_cli.scheduler.ahead import GAP_NS, MOST_JOBS, PORTION
from taskman_cli.scheduler.sparetime import CHORE_TURNS, PORTION_GAP_NS, PORTION_TURNS, SpareTime


class Workers:
    """Prepares starts; not of one job."""

    def __init__(self) -> None:
        self.times_forgotten = 1
        self.prepared: list[str] = []

    def prepare_ahead(self, tasks: tuple[Task, ...]) -> None:
        if tasks[0].command == "poison":
            raise ZeroDivisionError
        self.prepared += [str(task.command) for task in tasks]


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

        self.timetable = Timetable()
        self.driver: Any = SimpleNamespace(
            now=START,
            ledger=Ledger(),
            engine=SimpleNamespace(timetable=self.timetable),
            set_aside=lambda what, error: self.errors.append(what),
        )
        requests: Any = Requests()
        outputs: Any = None
        self.workers: Any = Workers()
        self.spare_time = SpareTime(self.driver, outputs, requests, self.workers)

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


def armed(loop: Loop, *commands: str, in_s: float = 60) -> None:
    """Let jobs with these commands be due, a nanosecond after each other."""
    first_ns = START.wall_ns + seconds(in_s)
    loop.timetable.load(
        ArmedJob(
            replace(make_job(f"job-{at}"), tasks=(Task("main", command, Execution()),)),
            anchor_ns=0,
            slot_ns=first_ns + at,
        )
        for at, command in enumerate(commands)
    )


def idle(loop: Loop) -> list[str]:
    """Let the loop have nothing else to do until it may sleep; return what was prepared."""
    before = len(loop.workers.prepared)
    while loop.spare_time.is_wanted:
        loop.turn(is_idle=True)
    return loop.workers.prepared[before:]


def test_the_starts_that_are_due_next_are_prepared_once() -> None:
    loop = Loop()
    armed(loop, *map(str, range(MOST_JOBS + 1)))
    assert idle(loop) == [*map(str, range(MOST_JOBS))]
    assert idle(loop) == []


def test_what_was_forgotten_is_prepared_again() -> None:
    loop = Loop()
    armed(loop, "a", "b")
    assert idle(loop) == ["a", "b"]
    loop.workers.times_forgotten += 1
    armed(loop, "c", "d")
    assert idle(loop) == ["c", "d"]


def test_a_few_starts_are_prepared_in_each_idle_turn_and_none_in_a_busy_one() -> None:
    loop = Loop()
    armed(loop, *map(str, range(PORTION + 1)))
    for is_idle, count in ((False, 0), (True, 0), (False, 0), (True, PORTION), (True, PORTION + 1)):
        loop.turn(is_idle=is_idle)
        assert len(loop.workers.prepared) == count


@pytest.mark.parametrize("left_ns", [GAP_NS, 0, -1])
def test_no_start_is_prepared_shortly_before_another_is_due_or_while_it_is(left_ns: int) -> None:
    loop = Loop()
    armed(loop, "a", "b", in_s=left_ns / 1e9)
    assert idle(loop) == []
    armed(loop, "a", "b", in_s=(GAP_NS + 1) / 1e9)
    assert idle(loop) == ["a", "b"]


def test_a_start_that_cannot_be_prepared_keeps_none_of_the_others_from_it() -> None:
    loop = Loop()
    armed(loop, "a", "poison", "b")
    assert (idle(loop), loop.errors) == (["a", "b"], ["preparing the next start of job-1"])


def test_what_was_found_before_something_is_due_is_gone_on_with_after_it() -> None:
    loop = Loop()
    armed(loop, *map(str, range(2 * PORTION)))
    for _ in range(2):
        loop.turn(is_idle=True)
    loop.driver.now = Now(START.wall_ns + seconds(60) - GAP_NS, START.elapsed_ns)
    assert idle(loop) == []
    loop.driver.now = START
    assert idle(loop) == [*map(str, range(PORTION, 2 * PORTION))]

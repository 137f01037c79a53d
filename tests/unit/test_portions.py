"""Many slots that are due at once: in portions, by priority, and each on record as decided."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine_driver import FIXED, START, Driver, make_job, of_type, seconds, slot_s

from taskman_cli.core import protocol
from taskman_cli.core.clock import Now
from taskman_cli.core.conditions import Condition, Reach
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.portions import BETWEEN
from taskman_cli.core.model import Execution, OnMissed, Overlap, Policy, Resource, SkipReason, Trigger
from taskman_cli.core.schedule import parse_cron

NAMES = ("a", "b", "c", "d", "e")
EVERY_TEN_S = parse_cron("*/10 * * * * *", timezone="UTC")


def herd(portion: int = 2, **priorities: int) -> Driver:
    """Return a driver of five jobs that are due every ten seconds; the first portion is of one job."""
    jobs = tuple(
        make_job(name, schedule=EVERY_TEN_S, policy=Policy(priority=priorities.get(name, 0)))
        for name in NAMES
    )
    return Driver(jobs, portion=portion)


def started(effects_: list[effects.Effect]) -> list[str]:
    return [start.job for start in of_type(effects_, effects.Start)]


def decided(effects_: list[effects.Effect]) -> list[effects.SlotsDecided]:
    return of_type(effects_, effects.SlotsDecided)


def accounted(effects_: list[effects.Effect]) -> list[int]:
    return [mark.until_ns for mark in of_type(effects_, effects.Accounted)]


def test_the_first_start_before_the_others_are_decided_on() -> None:
    driver = herd()
    due_ns = START.wall_ns + seconds(10)
    first, second, third = driver.at(10.001), driver.at(10.002), driver.at(10.003)
    until_ns = START.wall_ns + seconds(10.001)
    assert [started(first), started(second), started(third)] == [["a"], ["b", "c"], ["d", "e"]]
    assert decided(first) == [effects.SlotsDecided(("a",), until_ns)]
    assert decided(second) == [effects.SlotsDecided(("b", "c"), until_ns)]
    assert (decided(third), accounted(first + second), accounted(third)) == ([], [], [until_ns])
    assert {start.slot_ns for start in driver.starts} == {due_ns}
    assert driver.wake_s == (20, None)


def test_a_herd_is_gone_on_with_at_once() -> None:
    driver = herd()
    driver.at(10)
    assert driver.wake_s == (10, None)


def test_few_jobs_are_decided_on_as_ever() -> None:
    driver = herd(portion=17)
    new = driver.at(10)
    assert (started(new), decided(new), accounted(new)) == ([*NAMES], [], [START.wall_ns + seconds(10)])


def test_the_first_portion_is_a_quarter_of_the_others() -> None:
    driver = herd(portion=8)
    assert [started(driver.at(10)), started(driver.at(10.001))] == [["a", "b"], ["c", "d", "e"]]


def test_a_portion_before_another_has_the_higher_priorities() -> None:
    driver = herd(e=5, c=2)
    for milliseconds in range(3):
        driver.at(10 + milliseconds / 1000)
    assert [start.job for start in driver.starts] == ["e", "c", "a", "b", "d"]


def test_what_comes_due_meanwhile_waits_for_the_rest() -> None:
    driver = herd()
    driver.at(10)
    driver.at(20)
    driver.at(20.001)
    assert [(start.job, slot_s(start)) for start in driver.starts] == [(name, 10) for name in NAMES]
    driver.at(20.002)
    # Those of the first herd are not over.
    skips = of_type(driver.done, effects.SlotsSkipped)
    assert [(skip.job, skip.reason) for skip in skips] == [("a", SkipReason.OVERLAP)]


def test_commands_end_between_two_portions() -> None:
    driver = herd()
    driver.at(10)
    driver.began(driver.starts[0].key)
    new = driver.ended(driver.starts[0].key)
    assert (started(new), accounted(new)) == ([], [])
    assert {events.AttemptStarted, events.AttemptEnded} <= BETWEEN


def test_an_executor_is_heard_between_two_portions() -> None:
    driver = herd()
    driver.at(10)
    new = driver.send(events.ExecutorTold("far", Condition(Reach.UP), 0))
    assert (started(new), accounted(new)) == ([], [])
    assert driver.engine.pool.abroad.condition_of("far") == Condition(Reach.UP)


@pytest.mark.parametrize(
    "event",
    [
        events.RequestReceived(1, protocol.PauseJobs(all=True), "ann"), events.StopRequested(),
        events.DrainRequested(), events.Suspended(5), events.ClockStepped(seconds(3600)),
        events.ClockStepped(-seconds(8 * 3600)),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_before_anything_else_the_rest_is_decided_on(event: events.Event) -> None:
    driver = herd()
    driver.at(10)
    if isinstance(event, events.ClockStepped):
        driver.now = Now(driver.now.wall_ns + event.delta_ns, driver.now.elapsed_ns)
    driver.send(event)
    queued = of_type(driver.done, effects.RunQueued)
    assert [(run.job, slot_s(run)) for run in queued] == [(name, 10) for name in NAMES]
    assert of_type(driver.done, effects.SlotsSkipped) == []
    assert accounted(driver.done)[1:2] == [START.wall_ns + seconds(10)]


def test_a_pause_that_ends_between_two_portions_has_the_slots_before_its_end() -> None:
    driver = herd()
    until_ns = START.wall_ns + seconds(10) + 1
    driver.send(events.RequestReceived(1, protocol.PauseJobs(jobs=("e",), until_ns=until_ns), "ann"))
    driver.at(10)
    driver.at(10.5)
    driver.at(10.6)
    (skip,) = of_type(driver.done, effects.SlotsSkipped)
    assert (skip.job, skip.reason) == ("e", SkipReason.PAUSED)
    assert [mark.pause for mark in of_type(driver.done, effects.JobPaused)][1:] == [None]


def test_a_job_that_is_removed_meanwhile_has_its_slot_first() -> None:
    driver = herd()
    driver.at(10)
    jobs = tuple(job for job in driver.jobs if job.id != "e")
    driver.send(events.JobsReloaded(1, jobs, FIXED, (), "ann"))
    assert [run.job for run in of_type(driver.done, effects.RunQueued)] == [*NAMES]


def loaded(driver: Driver, **values: object) -> Driver:
    """Let another scheduler go on at `driver.now`, five seconds after the last slots of a herd."""
    since_ns = START.wall_ns
    known = {job.id: events.JobStanding(definition_of(job), since_ns, since_ns) for job in driver.jobs}
    event = events.JobsLoaded(driver.jobs, known, since_ns + seconds(9), is_new_boot=False, is_new_life=False)
    driver.engine, driver.done = Engine(FIXED), []
    driver.send(replace(event, **values))
    return driver


def test_another_scheduler_decides_on_the_rest_alone() -> None:
    driver = herd()
    driver.at(10)
    driver.at(10.001)
    marks = {job: mark.until_ns for mark in decided(driver.done) for job in mark.jobs}
    driver.now = Now(START.wall_ns + seconds(15), START.elapsed_ns + seconds(15))
    loaded(driver, decided=marks)
    driver.send(events.Tick())
    assert [(run.job, slot_s(run)) for run in of_type(driver.done, effects.RunQueued)] == [
        (name, 10) for name in "de"
    ]
    assert accounted(driver.done) == [driver.now.wall_ns]


def test_the_next_herd_may_be_cut_too() -> None:
    driver = herd()
    until_ns = START.wall_ns + seconds(10)
    driver.now = Now(START.wall_ns + seconds(15), START.elapsed_ns + seconds(15))
    loaded(driver, decided={"a": until_ns, "b": until_ns})
    assert accounted(driver.done) + decided(driver.done) == []


def test_a_mark_from_a_clock_that_was_hours_ahead_is_put_right() -> None:
    driver = herd()
    ahead_ns = START.wall_ns + seconds(6 * 3600)
    driver.now = Now(START.wall_ns + seconds(15), START.elapsed_ns + seconds(15))
    loaded(driver, decided={"a": ahead_ns, "b": START.wall_ns + seconds(10)})
    assert decided(driver.done) == [effects.SlotsDecided(("a",), driver.now.wall_ns)]
    driver.send(events.Tick())
    assert [run.job for run in of_type(driver.done, effects.RunQueued)] == ["c", "d", "e"]
    driver.at(20)
    assert [run.job for run in of_type(driver.done, effects.RunQueued)] == ["c", "d", "e", "a", "b"]


def test_a_whole_ledger_from_such_a_clock_has_no_marks_any_more() -> None:
    driver = herd()
    ahead_ns = START.wall_ns + seconds(6 * 3600)
    driver.now = Now(START.wall_ns + seconds(15), START.elapsed_ns + seconds(15))
    loaded(driver, accounted_ns=ahead_ns, decided={"a": ahead_ns + 1})
    (mark,) = of_type(driver.done, effects.Accounted)
    assert (mark, decided(driver.done)) == (effects.Accounted(driver.now.wall_ns, is_anew=True), [])


def test_a_stop_in_the_turn_in_which_a_slot_is_due_leaves_its_run_alone() -> None:
    """Its deadline comes while a command is waited for that does not end."""
    policy = Policy(start_deadline_ns=seconds(5), overlap=Overlap.QUEUE)
    driver = Driver((make_job(schedule=EVERY_TEN_S, policy=policy),))
    driver.at(10)
    driver.began()
    driver.now = Now(START.wall_ns + seconds(20), START.elapsed_ns + seconds(20))
    driver.send(events.RequestReceived(1, protocol.Stop(), "ann"))
    assert [slot_s(run) for run in of_type(driver.done, effects.RunQueued)] == [10, 20]
    driver.at(26)
    assert of_type(driver.done, effects.SlotsSkipped) == []


def test_who_waits_first_of_those_that_are_due_together_is_who_came_first() -> None:
    api, both = (("api", 1),), (("api", 1), ("db", 1))
    jobs = tuple(
        make_job(name, schedule=EVERY_TEN_S, execution=Execution(resources=needs))
        for name, needs in (("a", api), ("b", both), ("c", api))
    )
    driver = Driver(jobs, settings=replace(FIXED, resources=(("api", Resource(1)), ("db", Resource(1)))))
    driver.at(10)
    assert [attempt.run.job.id for attempt in driver.engine.pool.first_ready(2)] == ["b", "c"]


def test_what_was_missed_is_caught_up_in_portions() -> None:
    policy = Policy(on_missed=OnMissed.ONCE)
    driver = Driver(tuple(make_job(name, schedule=EVERY_TEN_S, policy=policy) for name in NAMES), portion=2)
    for second in (3600, 3600.1, 3600.2):
        driver.at(second)
    assert [start.job for start in driver.starts] == [*NAMES]


@pytest.mark.parametrize("ends", [False, True])
def test_the_last_of_a_large_herd_is_in_time_as_the_first_was(ends: bool) -> None:
    """However long it takes to decide on the others: the scheduler was there when the slot came."""
    policy = Policy(on_missed=OnMissed.SKIP)
    driver = Driver(tuple(make_job(name, schedule=EVERY_TEN_S, policy=policy) for name in NAMES), portion=2)
    driver.at(10)
    driver.at(18)
    if ends:
        driver.now = Now(START.wall_ns + seconds(19), START.elapsed_ns + seconds(19))
        driver.send(events.RequestReceived(1, protocol.PauseJobs(all=True), "ann"))
    else:
        driver.at(19)
    assert of_type(driver.done, effects.SlotsSkipped) == []
    queued = of_type(driver.done, effects.RunQueued)
    assert [(run.job, run.trigger) for run in queued] == [(name, Trigger.SLOT) for name in NAMES]

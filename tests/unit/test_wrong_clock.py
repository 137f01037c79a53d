"""A clock that was years ahead or behind for a while, and was put right: what goes on, and from when."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from unit.control_scene import Scene
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.definition import definition_of, job_from
from taskman_cli.core.engine.runs import encode_run_id, run_number
from taskman_cli.core.model import Overlap, Policy, Settings, SkipReason, Trigger
from taskman_cli.core.schedule import Interval, Once, parse_cron

YEAR = 366 * 86_400
HOUR = 3_600
EVERY_TEN = parse_cron("*/10 * * * * *", timezone="UTC")


# --- runs that wait ---


def test_a_run_has_not_waited_for_years_because_the_clock_was_put_forward() -> None:
    policy = Policy(start_deadline_ns=seconds(60), overlap=Overlap.QUEUE)
    driver = Driver((make_job(policy=policy),))
    driver.at(10)
    driver.began()
    driver.at(20)
    driver.now = Now(driver.now.wall_ns + seconds(YEAR), driver.now.elapsed_ns)
    driver.send(events.ClockStepped(seconds(YEAR)))
    driver.send(events.Tick())
    assert [
        skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE
    ] == []
    driver.now = Now(driver.now.wall_ns + seconds(61), driver.now.elapsed_ns + seconds(61))
    driver.send(events.Tick())
    late = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE]
    assert [(START.wall_ns + seconds(20), "reached 1m1s late")] == [
        (skip.first_ns, skip.detail) for skip in late[:1]
    ]


@pytest.mark.parametrize("trigger", [Trigger.SLOT, Trigger.MANUAL])
def test_a_run_of_a_wrong_future_that_waits_is_due_now(trigger: Trigger) -> None:
    ahead_ns = START.wall_ns + seconds(14 * YEAR)
    run = events.OpenRun(encode_run_id(run_number(ahead_ns, last=0)), "job", ahead_ns, trigger, ())
    driver = Driver(
        (make_job(policy=Policy(start_deadline_ns=seconds(60))),),
        settings=Settings(max_workers=1),
        is_first=False,
        runs=(run,),
    )
    [attempt] = [start.key for start in driver.starts]
    assert attempt.startswith(run.run)
    [open_run] = driver.engine._running.activity["job"].runs
    assert open_run.due_ns == START.wall_ns


def test_a_run_that_waited_while_the_clock_was_put_forward_unseen_has_waited_for_no_longer() -> None:
    driver = Driver((), is_first=False)
    slot_ns = START.wall_ns - seconds(56 * YEAR)
    run = events.OpenRun(encode_run_id(run_number(slot_ns, last=0)), "job", slot_ns, Trigger.SLOT, ())
    job = make_job(schedule=EVERY_TEN, policy=Policy(start_deadline_ns=seconds(60)))
    known = {"job": events.JobStanding(definition_of(job), slot_ns, slot_ns)}
    driver.send(events.JobsLoaded((job,), known, slot_ns, seconds(56 * YEAR), runs=(run,), is_new_boot=False))
    assert [run.run] == [start.key.partition(".")[0] for start in driver.starts]


def test_a_run_that_waited_over_a_step_and_a_restart_has_waited_for_no_longer() -> None:
    slot_ns = START.wall_ns - seconds(14 * YEAR) - seconds(50)
    number = run_number(slot_ns, last=0)
    run = events.OpenRun(encode_run_id(number), "job", slot_ns, Trigger.SLOT, (), moved_ns=seconds(14 * YEAR))
    other = replace(run, run=encode_run_id(number - 1), moved_ns=seconds(14 * YEAR - 11))
    driver = Driver(
        (make_job(policy=Policy(start_deadline_ns=seconds(60), overlap=Overlap.ALLOW)),),
        is_first=False,
        runs=(other, run),
    )
    assert [run.run] == [start.key.partition(".")[0] for start in driver.starts]
    [late] = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.run == other.run]
    assert (late.reason, late.detail) == (SkipReason.LATE, "reached 1m1s late")


# --- one-off jobs ---


def test_a_command_for_in_an_hour_is_run_in_an_hour_whatever_the_clock_shows() -> None:
    scene = Scene()
    scene.once("soon", at=HOUR, elapsed=True)
    scene.once("then", at=HOUR)
    scene.step(56 * YEAR)
    assert scene.slots() == {"soon": HOUR + 56 * YEAR, "then": HOUR}
    scene.check_restart()
    scene.step(-56 * YEAR)
    assert scene.slots()["soon"] == HOUR
    scene.check_restart()


def test_a_command_for_in_an_hour_moves_with_a_clock_that_is_set_while_nobody_is_there() -> None:
    scene = Scene()
    scene.once("soon", at=HOUR, elapsed=True)
    scene.once("then", at=HOUR)
    scene.now = Now(scene.now.wall_ns - seconds(YEAR), scene.now.elapsed_ns)
    scene.restart(step_s=-YEAR)
    assert scene.slots() == {"soon": HOUR - YEAR, "then": HOUR}
    scene.check_restart()


def test_a_command_for_in_an_hour_by_a_clock_that_was_ahead_is_due_an_hour_from_the_start() -> None:
    scene = Scene()
    scene.once("soon", at=HOUR, elapsed=True)
    # After a start of the machine nobody knows by how much the clock has changed.
    scene.now = Now(scene.now.wall_ns - seconds(14 * YEAR), seconds(1))
    scene.restart()
    assert scene.slots() == {"soon": HOUR - 14 * YEAR}
    scene.check_restart()


def test_a_one_off_job_that_is_queued_stays_as_it_is_when_the_clock_is_set() -> None:
    scene = Scene(settings=Settings(max_workers=1))
    scene.once("first", elapsed=True)
    scene.once("second", elapsed=True)
    before = scene.disk.once["second"]
    scene.step(YEAR)
    assert scene.disk.once["second"] == before
    assert scene.states("second") == ["queued"]


def test_a_length_of_time_is_on_record_with_the_definition() -> None:
    schedule = Once(START.wall_ns, ZoneInfo("UTC"), is_elapsed=True)
    job = make_job(schedule=schedule)
    assert job_from("job", definition_of(job)).schedule == schedule
    plain = replace(job, schedule=replace(schedule, is_elapsed=False))
    assert job_from("job", definition_of(plain)).schedule == plain.schedule
    assert plain.schedule.moved(seconds(1)) == plain.schedule
    assert schedule.moved(seconds(10**10) * 1000) == schedule


# --- intervals ---


@pytest.mark.parametrize("from_finish", [False, True])
def test_an_interval_goes_on_after_a_future_in_which_it_had_expired(from_finish: bool) -> None:
    policy = Policy(expires_at_ns=START.wall_ns + seconds(YEAR))
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish), policy=policy),))
    for by_s in (14 * YEAR, -14 * YEAR):
        driver.now = Now(driver.now.wall_ns + seconds(by_s), driver.now.elapsed_ns)
        driver.send(events.ClockStepped(seconds(by_s)))
    assert driver.wake_s == (10, None)


def test_an_interval_whose_run_goes_on_waits_for_its_end_when_the_clock_is_set() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish=True)),))
    driver.at(10)
    driver.began()
    driver.send(events.ClockStepped(seconds(-14 * YEAR)))
    assert driver.wake_s == (None, None)

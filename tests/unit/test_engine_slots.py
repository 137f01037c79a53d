"""Slots: when runs come to be, and what becomes of slots without one."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds, slot_s

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events, timetable
from taskman_cli.core.model import (
    Execution,
    OnMissed,
    Overlap,
    Policy,
    Retry,
    Settings,
    SkipReason,
    State,
    Trigger,
)
from taskman_cli.core.schedule import Interval, Once, Reboot, load_zone, parse_cron


def since_start_s(wall_ns: int) -> float:
    return (wall_ns - START.wall_ns) / seconds(1)


def skips(driver: Driver) -> list[effects.SlotsSkipped]:
    return of_type(driver.done, effects.SlotsSkipped)


def test_a_slot_becomes_a_run_with_its_tasks() -> None:
    driver = Driver((make_job(tasks=("a", "b")),))
    assert driver.wake_s == (10, None)
    assert driver.at(9.999) == []
    driver.at(10)
    assert [(start.task.id, slot_s(start)) for start in driver.starts] == [("a", 10), ("b", 10)]
    assert len({start.run for start in driver.starts}) == 1
    assert driver.wake_s == (20, None)


def test_what_is_on_record_stands_before_the_start() -> None:
    driver = Driver((make_job(tasks=("a", "b")),))
    kinds = [type(effect).__name__ for effect in driver.at(10)]
    assert kinds == ["Accounted", "RunQueued", "AttemptBegun", "AttemptBegun", "Start", "Start"]


def test_jobs_due_together_start_in_the_order_of_the_file() -> None:
    names = ["c", "a", "b"]
    driver = Driver(tuple(make_job(name) for name in names))
    for second in (10, 20, 30):
        driver.at(second)
        for start in driver.starts[-3:]:
            driver.ended(start.key)
    assert names * 3 == [start.job for start in driver.starts]


def test_cron_expressions_give_slots() -> None:
    driver = Driver((make_job(schedule=parse_cron("*/15 * * * * *", timezone="UTC")),))
    driver.at(15)
    driver.ended()
    driver.at(30)
    assert [slot_s(start) for start in driver.starts] == [15, 30]


def test_a_one_shot_runs_once_and_then_nothing_is_left_to_come() -> None:
    driver = Driver((make_job(schedule=Once(START.wall_ns + seconds(3), ZoneInfo("UTC"))),))
    assert not driver.engine.is_idle
    driver.at(3)
    assert not driver.engine.is_idle
    driver.ended()
    assert driver.engine.is_idle
    assert driver.wake_s == (None, None)


def test_run_on_start_runs_at_once_and_is_no_slot() -> None:
    driver = Driver((make_job(policy=Policy(run_on_start=True)),))
    assert [(start.slot_ns, start.trigger) for start in driver.starts] == [(None, Trigger.START)]
    assert driver.wake_s == (10, None)


def test_reboot_jobs_run_at_the_start_and_never_again() -> None:
    driver = Driver((make_job(schedule=Reboot("UTC")),))
    driver.ended()
    assert len(driver.starts) == 1
    assert driver.engine.is_idle


def test_what_happens_at_a_start_does_not_happen_at_the_start_of_the_next_scheduler() -> None:
    jobs = (make_job("a", policy=Policy(run_on_start=True)), make_job("b", Reboot("UTC")))
    assert Driver(jobs, is_first=False).starts == []


def test_max_runs_counts_runs_and_remembers_them() -> None:
    driver = Driver((make_job(policy=Policy(max_runs=2, run_on_start=True)),))
    driver.ended()
    driver.at(10)
    driver.ended()
    driver.at(1000)
    assert len(driver.starts) == 2
    assert driver.engine.is_idle
    assert [counted.count for counted in of_type(driver.done, effects.RunsCounted)] == [0, 1, 2]


def test_a_run_at_the_start_can_be_the_only_one() -> None:
    driver = Driver((make_job(policy=Policy(max_runs=1, run_on_start=True)),))
    assert driver.wake_s == (None, None)
    driver.ended()
    assert driver.engine.is_idle


def test_max_runs_counts_on_from_an_earlier_scheduler() -> None:
    job = make_job(policy=Policy(max_runs=2))
    assert Driver((job,), run_counts={"job": 1}).wake_s == (10, None)
    assert Driver((job,), run_counts={"job": 2}).wake_s == (None, None)


def test_a_run_that_was_given_up_is_none_of_max_runs() -> None:
    policy = Policy(max_runs=1, start_deadline_ns=seconds(5))
    jobs = (make_job("busy", policy=Policy(run_on_start=True)), make_job(policy=policy))
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.at(19)
    driver.ended()
    assert [start.job for start in driver.starts] == ["busy"]
    driver.at(20)
    driver.ended()
    assert "job" in [start.job for start in driver.starts]
    # Not 2: the one that was given up is taken back, and then it counts on from there.
    assert [counted.count for counted in of_type(driver.done, effects.RunsCounted)] == [0, 1, 0, 0, 1]


def test_a_run_that_was_given_up_brings_no_slot_back_that_was_over_before_its_own() -> None:
    # With jitter, slots from before the job was there would be due after now.
    policy = Policy(max_runs=1, start_deadline_ns=seconds(5), jitter_ns=seconds(59))
    schedule = parse_cron("* * * * * *", timezone="UTC")
    jobs = (make_job("busy", policy=Policy(run_on_start=True)), make_job("spread", schedule, policy=policy))
    driver = Driver(jobs, Settings(max_workers=1))
    spread = driver.engine.timetable.jobs["spread"]
    while not (queued := [run for run in of_type(driver.done, effects.RunQueued) if run.job == "spread"]):
        driver.at((driver.now.wall_ns - START.wall_ns) / seconds(1) + 1)
    driver.at((driver.now.wall_ns - START.wall_ns) / seconds(1) + 6)
    [skip] = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.run == queued[0].run]
    assert skip.reason == SkipReason.LATE
    assert spread.slot_ns is not None
    assert skip.first_ns < spread.slot_ns


def test_max_runs_ends_a_catch_up_of_many() -> None:
    driver = Driver((make_job(policy=Policy(max_runs=2, on_missed=OnMissed.ALL, overlap=Overlap.ALLOW)),))
    driver.at(100)
    assert [slot_s(start) for start in driver.starts] == [10, 20]
    assert driver.wake_s == (None, None)


def test_slots_lie_between_starts_at_and_expires_at() -> None:
    policy = Policy(starts_at_ns=START.wall_ns + seconds(25), expires_at_ns=START.wall_ns + seconds(45))
    driver = Driver(
        (
            make_job("every", policy=policy),
            make_job("cron", parse_cron("*/10 * * * * *", timezone="UTC"), policy=policy),
        )
    )
    for second in range(60):
        driver.at(second)
        while driver.engine.pool.running:
            driver.ended(next(iter(driver.engine.pool.running)))
    assert [slot_s(start) for start in driver.starts if start.job == "every"] == [25, 35]
    assert [slot_s(start) for start in driver.starts if start.job == "cron"] == [30, 40]


def test_jitter_delays_the_start_and_leaves_the_slot() -> None:
    driver = Driver((make_job(policy=Policy(jitter_ns=seconds(5))),))
    due_s = driver.wake_s[0]
    assert due_s is not None
    assert 10 < due_s < 15
    driver.at(due_s)
    assert [slot_s(start) for start in driver.starts] == [10]


def test_jitter_longer_than_what_counts_as_missed_makes_no_slot_missed() -> None:
    policy = Policy(jitter_ns=seconds(600), on_missed=OnMissed.SKIP, start_deadline_ns=seconds(60))
    driver = Driver((make_job(schedule=Interval(seconds(1000)), policy=policy),))
    for _ in range(5):
        driver.at(driver.wake_s[0] or 0)
        driver.ended()
    assert [start.trigger for start in driver.starts] == [Trigger.SLOT] * 5
    assert skips(driver) == []


@pytest.mark.parametrize(
    "schedule", [Interval(seconds(60)), parse_cron("* * * * *", timezone="UTC")], ids=["every", "cron"]
)
def test_jitter_longer_than_the_interval_puts_no_slot_off_to_the_next(schedule: Interval) -> None:
    driver = Driver((make_job(schedule=schedule, policy=Policy(jitter_ns=seconds(600))),))
    for number in range(1, 20):
        due_s = driver.wake_s[0]
        assert due_s is not None
        assert 60 * number <= due_s < 60 * number + 60
        driver.at(due_s + 1e-6)
        driver.ended()
    assert [60 * number for number in range(1, 20)] == [slot_s(start) for start in driver.starts]
    assert (skips(driver), {start.trigger for start in driver.starts}) == ([], {Trigger.SLOT})


def test_a_slot_that_no_other_follows_has_all_of_its_jitter() -> None:
    once = Once(START.wall_ns + seconds(10), load_zone("UTC"))
    for schedule in (once, Interval(seconds(10), from_finish=True)):
        driver = Driver((make_job(schedule=schedule, policy=Policy(jitter_ns=seconds(9000))),))
        assert (driver.wake_s[0] or 0) > 20


def test_of_slots_that_are_reached_together_the_first_is_not_said_to_wait_for_a_worker() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(1))),))
    driver.at(3)
    [start] = driver.starts
    assert [f"run {start.run} is about to begin"] * 2 == [skip.detail for skip in skips(driver)]


def test_a_slot_that_waits_for_its_jitter_outlives_the_scheduler() -> None:
    job = make_job(schedule=Interval(seconds(1000)), policy=Policy(jitter_ns=seconds(600)))
    due_s = Driver((job,)).wake_s[0]
    assert due_s is not None
    assert due_s > 1001
    later = Now(START.wall_ns + seconds(1001), START.elapsed_ns + seconds(1001))
    driver = Driver((job,), now=later, anchor_ns=START.wall_ns, is_first=False)
    assert due_s == driver.wake_s[0]
    done = Now(START.wall_ns + seconds(due_s), START.elapsed_ns + seconds(due_s))
    again_s = Driver((job,), now=done, anchor_ns=START.wall_ns, is_first=False).wake_s[0]
    assert again_s is not None
    assert again_s > 2000


def test_what_happens_at_the_start_keeps_to_the_limits_of_a_job() -> None:
    policy = Policy(run_on_start=True, starts_at_ns=START.wall_ns + 1)
    assert Driver((make_job(policy=policy),)).starts == []
    policy = Policy(run_on_start=True, expires_at_ns=START.wall_ns)
    assert Driver((make_job(policy=policy),)).starts == []


def test_nothing_is_left_to_come_where_all_that_comes_is_disabled() -> None:
    driver = Driver((make_job(enabled=False),))
    assert driver.engine.is_idle


def test_slots_are_accounted_for_up_to_the_last_tick_that_found_one() -> None:
    driver = Driver((make_job(),))
    driver.at(5)
    driver.at(11)
    marks = of_type(driver.done, effects.Accounted)
    assert [since_start_s(mark.until_ns) for mark in marks] == [0, 11]


def test_a_small_step_back_takes_back_nothing_that_is_accounted_for() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(2))),))
    driver.at(10)
    driver.send(events.ClockStepped(seconds(-8)))
    # The interval goes on after two seconds, at a time by the clock that was accounted for before.
    driver.now = Now(START.wall_ns + seconds(4), START.elapsed_ns + seconds(12))
    assert effects.Accounted(START.wall_ns + seconds(10)) == driver.send(events.Tick())[0]


def test_a_disabled_job_has_its_slots_accounted_and_no_runs() -> None:
    driver = Driver((make_job(enabled=False, policy=Policy(run_on_start=True)),))
    driver.at(10)
    assert driver.starts == []
    assert [(skip.reason, skip.count) for skip in skips(driver)] == [(SkipReason.DISABLED, 1)]


def test_an_interval_from_the_finish_counts_from_the_end_of_the_run() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish=True)),))
    driver.at(10)
    assert driver.wake_s == (None, None)
    driver.at(14)
    driver.ended()
    assert driver.wake_s == (24, None)


def test_an_interval_from_the_finish_counts_from_there_for_the_next_scheduler_too() -> None:
    job = make_job(schedule=Interval(seconds(10), from_finish=True))
    driver = Driver((job,))
    driver.at(10)
    driver.at(14)
    driver.ended()
    finishes = {mark.job: mark.finish_ns for mark in of_type(driver.done, effects.IntervalEnded)}
    assert Driver((job,), now=driver.now, is_first=False, finishes=finishes).wake_s == (24, None)


def test_an_interval_from_the_finish_goes_on_after_a_slot_without_a_run() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish=True), enabled=False),))
    driver.at(10)
    assert driver.wake_s == (20, None)


# --- missed slots ---


def test_missed_slots_are_one_catch_up_and_one_record_of_the_rest() -> None:
    driver = Driver((make_job(),))
    driver.at(58)
    [skip] = skips(driver)
    assert (skip.reason, skip.count, skip.detail) == (SkipReason.MISSED, 4, "reached 48s late")
    assert [(slot_s(start), start.trigger) for start in driver.starts] == [(50, Trigger.CATCH_UP)]
    assert driver.wake_s == (60, None)


@pytest.mark.parametrize("overlap", [Overlap.ALLOW, Overlap.QUEUE, Overlap.SKIP])
def test_all_missed_slots_can_be_made_up_for(overlap: Overlap) -> None:
    driver = Driver((make_job(policy=Policy(on_missed=OnMissed.ALL, overlap=overlap)),))
    driver.at(52)
    for _ in range(5):
        if overlap is not Overlap.ALLOW:
            driver.ended()
    assert [slot_s(start) for start in driver.starts] == [10, 20, 30, 40, 50]
    assert [start.trigger for start in driver.starts] == [*[Trigger.CATCH_UP] * 4, Trigger.SLOT]
    assert skips(driver) == []


def test_all_slots_are_made_up_for_however_short_the_time_was_that_nobody_could_start_them() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(1)), policy=Policy(on_missed=OnMissed.ALL)),))
    driver.at(4.5)
    for _ in range(4):
        driver.ended()
    assert [slot_s(start) for start in driver.starts] == [1, 2, 3, 4]
    assert skips(driver) == []


def test_slots_that_passed_between_two_schedulers_are_not_lost() -> None:
    driver = Driver((make_job(),), since_ns=START.wall_ns - seconds(35))
    driver.at(0)
    assert [slot_s(start) for start in driver.starts] == [-5]
    assert [skip.count for skip in skips(driver)] == [2]


def test_slots_long_past_are_one_record_and_the_latest_is_made_up_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timetable, "MAX_PASSED", 10)
    jobs = make_job("every"), make_job("cron", parse_cron("*/10 * * * * *", timezone="UTC"))
    driver = Driver(jobs)
    driver.at(1008)
    for job, count in (("every", 90), ("cron", None)):
        found = [
            (since_start_s(skip.first_ns), since_start_s(skip.last_ns), skip.count)
            for skip in skips(driver)
            if skip.job == job
        ]
        assert found == [(10, 900, count), (910, 990, 9)]
        assert [slot_s(start) for start in driver.starts if start.job == job] == [1000]


def test_slots_long_past_with_much_jitter_are_all_come_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "MAX_PASSED", 10)
    policy = Policy(jitter_ns=seconds(900), overlap=Overlap.ALLOW)
    driver = Driver((make_job(policy=policy),))
    for second in range(1000, 1010):
        driver.at(second)
    told = sum(skip.count or 0 for skip in skips(driver)) + len(of_type(driver.done, effects.RunQueued))
    next_slot_ns = driver.engine.timetable.jobs["job"].slot_ns
    assert next_slot_ns is not None
    assert told == since_start_s(next_slot_ns) / 10 - 1


def test_slots_long_past_end_where_the_job_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "MAX_PASSED", 10)
    policy = Policy(expires_at_ns=START.wall_ns + seconds(995))
    driver = Driver((make_job(policy=policy),))
    driver.at(2000)
    assert [slot_s(start) for start in driver.starts] == [990]
    assert driver.wake_s == (None, None)


# --- overlap ---


def test_a_slot_during_a_run_is_skipped_with_the_run_as_evidence() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.at(20)
    [skip] = skips(driver)
    run = driver.starts[0].run
    assert (SkipReason.OVERLAP, f"run {run} is not over", run) == (skip.reason, skip.detail, skip.blocker)
    driver.ended()
    driver.at(30)
    assert [slot_s(start) for start in driver.starts] == [10, 30]


def test_a_start_during_a_run_is_dropped_without_a_slot_to_account_for() -> None:
    driver = Driver((make_job(policy=Policy(run_on_start=True)),))
    driver.send(events.JobsLoaded((make_job(policy=Policy(run_on_start=True)),)))
    assert len(driver.starts) == 1
    assert skips(driver) == []


def test_queued_slots_wait_for_the_run_to_end() -> None:
    driver = Driver((make_job(policy=Policy(overlap=Overlap.QUEUE)),))
    for second in (10, 20, 30):
        driver.at(second)
    assert len(driver.starts) == 1
    driver.ended()
    driver.ended()
    assert [slot_s(start) for start in driver.starts] == [10, 20, 30]


def test_allowed_overlaps_run_side_by_side_up_to_max_running() -> None:
    driver = Driver((make_job(policy=Policy(overlap=Overlap.ALLOW, max_running=2)),))
    for second in (10, 20, 30):
        driver.at(second)
    assert [slot_s(start) for start in driver.starts] == [10, 20]
    assert [skip.detail for skip in skips(driver)] == ["2 runs are not over"]


def test_max_running_is_for_allowed_overlaps_only() -> None:
    driver = Driver((make_job(policy=Policy(overlap=Overlap.QUEUE, max_running=1)),))
    driver.at(10)
    driver.at(20)
    driver.ended()
    assert [slot_s(start) for start in driver.starts] == [10, 20]
    driver = Driver((make_job(policy=Policy(overlap=Overlap.ALLOW, max_running=1)),))
    driver.at(10)
    driver.at(20)
    assert [skip.detail for skip in skips(driver)] == ["1 run is not over"]


def test_a_replacing_slot_ends_the_run_and_starts_when_it_is_over() -> None:
    execution = Execution(kill_timeout_ns=seconds(60))
    driver = Driver((make_job(policy=Policy(overlap=Overlap.REPLACE), execution=execution),))
    driver.at(10)
    driver.began()
    first = driver.last_key
    assert of_type(driver.at(20), effects.Signal) == [effects.Signal(first, 15, State.CANCELLED)]
    assert len(driver.starts) == 1
    # A third slot takes the place of the second, which has not begun; nobody is told to end twice.
    assert of_type(driver.at(30), effects.Signal) == []
    [skip] = skips(driver)
    assert SkipReason.OVERLAP is skip.reason
    assert skip.run is not None
    driver.ended(first, signum=15)
    assert [slot_s(start) for start in driver.starts] == [10, 30]
    assert [end.state for end in of_type(driver.done, effects.RunFinished)] == [State.CANCELLED]


def test_a_replacing_slot_takes_the_place_of_a_run_that_waits_for_its_retry() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(60)))
    driver = Driver((make_job(policy=Policy(overlap=Overlap.REPLACE), execution=execution),))
    driver.at(10)
    driver.ended(code=1)
    driver.at(20)
    assert [slot_s(start) for start in driver.starts] == [10, 20]


# --- the clock ---


def test_a_step_of_the_clock_moves_intervals_and_leaves_cron_where_it_is() -> None:
    jobs = (make_job("every"), make_job("cron", parse_cron("*/10 * * * * *", timezone="UTC")))
    driver = Driver(jobs)
    driver.send(events.ClockStepped(seconds(-3)))
    assert [(due - START.wall_ns) / seconds(1) for due, _ in driver.engine.timetable.first(2)] == [7, 10]
    assert effects.ClockStepNoted(seconds(-3)) == driver.done[-1]


def test_a_clock_put_right_by_hours_holds_at_once() -> None:
    driver = Driver((make_job(schedule=parse_cron("*/10 * * * * *", timezone="UTC")),))
    year = 366 * 86400
    driver.now = Now(START.wall_ns - seconds(year), START.elapsed_ns)
    driver.send(events.ClockStepped(seconds(-year)))
    assert driver.wake_s == (10 - year, None)
    assert [0, -year] == [since_start_s(mark.until_ns) for mark in of_type(driver.done, effects.Accounted)]


def test_a_sleep_of_the_machine_is_noted() -> None:
    driver = Driver((make_job(),))
    assert driver.send(events.Suspended(seconds(3600))) == [effects.SuspendNoted(seconds(3600))]


def test_an_interval_that_starts_at_an_instant_stays_on_the_wall_clock() -> None:
    policy = Policy(starts_at_ns=START.wall_ns + seconds(30), expires_at_ns=START.wall_ns + seconds(200))
    driver = Driver((make_job(policy=policy),))
    driver.send(events.ClockStepped(seconds(-3)))
    assert driver.wake_s == (30, None)


def test_an_interval_that_a_step_moves_past_its_end_is_over() -> None:
    policy = Policy(expires_at_ns=START.wall_ns + seconds(12))
    driver = Driver((make_job(policy=policy),))
    driver.send(events.ClockStepped(seconds(1)))
    assert driver.wake_s == (11, None)
    driver.send(events.ClockStepped(seconds(1)))
    assert driver.wake_s == (None, None)


def test_a_step_back_runs_no_slot_twice() -> None:
    driver = Driver((make_job(schedule=parse_cron("*/10 * * * * *", timezone="UTC")),))
    driver.at(10)
    driver.ended()
    driver.send(events.ClockStepped(seconds(-8)))
    for second in range(2, 21):
        driver.at(second)
    assert [slot_s(start) for start in driver.starts] == [10, 20]


def test_a_step_leaves_an_interval_that_waits_for_its_run_alone() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish=True)),))
    driver.at(10)
    driver.send(events.ClockStepped(seconds(5)))
    assert driver.wake_s == (None, None)

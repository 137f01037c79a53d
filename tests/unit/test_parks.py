"""Jobs that fail too often in a row: they are parked, tried, and resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core import protocol
from taskman_cli.core.clock import Now
from taskman_cli.core.engine import answers, effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.fingerprint import fingerprint
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.model import (
    Account,
    Execution,
    Exit,
    Group,
    Job,
    OnCrash,
    OnMissed,
    Overlap,
    Policy,
    Retry,
    Settings,
    SkipReason,
    State,
    Trigger,
)
from taskman_cli.core.pause import Failures, Park, Pause
from taskman_cli.core.schedule import Interval
from taskman_cli.core.variables import Variables

TWICE = Policy(max_failures=2)
DAY = seconds(86_400)


def ask(driver: Driver, request: protocol.Request) -> list[effects.Effect]:
    """Let a client ask for something."""
    return driver.send(events.RequestReceived(1, request, "ann"))


def reload(driver: Driver, *jobs: Job) -> list[effects.Effect]:
    """Let the job files be read again."""
    return driver.send(events.JobsReloaded(1, jobs, Settings(), (), "ann"))


def fail(driver: Driver, *at: float, code: int = 1) -> None:
    """Let the run of each slot fail."""
    for second in at:
        driver.at(second)
        driver.began()
        driver.ended(code=code)


def park_of(driver: Driver, job: str = "job") -> Park | None:
    """Return the park of a job."""
    return driver.engine.timetable.jobs[job].park


def count_of(driver: Driver) -> int:
    """Return how many runs of the job have failed in a row."""
    failures = driver.engine.timetable.jobs["job"].failures
    return failures.count if failures else 0


def skips(driver: Driver) -> list[tuple[float, SkipReason]]:
    """Return the slots that were skipped, in seconds, and why."""
    return [
        ((skip.first_ns - START.wall_ns) / seconds(1), skip.reason)
        for skip in of_type(driver.done, effects.SlotsSkipped)
    ]


def told(driver: Driver, kind: str) -> list[effects.Commanded]:
    """Return the events of a kind."""
    return [told for told in of_type(driver.done, effects.Commanded) if told.kind == kind]


def restarted(driver: Driver, *jobs: Job, now: Now | None = None, step_ns: int = 0) -> Driver:
    """Return the next scheduler, which knows what this one has recorded of its jobs."""
    known = {
        armed.job.id: events.JobStanding(
            definition_of(armed.job), START.wall_ns, START.wall_ns, armed.run_count, pause=armed.pause,
            failures=armed.failures,
        )
        for armed in driver.engine.timetable.jobs.values()
    }  # fmt: skip
    other = Driver(jobs or driver.jobs, now=now or driver.now)
    other.done.clear()
    other.engine = type(other.engine)(Settings())
    other.send(
        events.JobsLoaded(
            other.jobs, known, driver.now.wall_ns, step_ns, is_new_boot=False, is_new_life=False
        )
    )
    return other


def test_a_job_is_parked_after_so_many_failed_runs_in_a_row_and_its_slots_are_skipped() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10)
    assert park_of(driver) is None
    fail(driver, 20)
    assert park_of(driver) == Park(driver.now.wall_ns, "2 runs in a row failed (the last: exit 1)")
    driver.at(30)
    driver.at(55)
    assert skips(driver) == [(30, SkipReason.PARKED), (40, SkipReason.PARKED)]  # the second are two
    assert len(driver.starts) == 2
    assert [(event.by, event.job, event.detail) for event in told(driver, "parked")] == [
        ("taskman", "job", "2 runs in a row failed (the last: exit 1)")
    ]


@pytest.mark.parametrize("ending", ["failed", "timed_out", "lost", "unstarted"])
def test_failed_timed_out_and_lost_runs_count(ending: str) -> None:
    execution = Execution(timeout_ns=seconds(1))
    driver = Driver((make_job(policy=Policy(max_failures=1), execution=execution),))
    driver.at(10)
    if ending == "unstarted":
        driver.failed()
    else:
        driver.began()
    if ending == "lost":
        driver.send(events.AttemptGone(driver.last_key))
    elif ending == "timed_out":
        driver.at(11)
        driver.ended(signum=15)
    elif ending == "failed":
        driver.ended(code=3)
    reasons = {
        "failed": "a run failed (exit 3)",
        "timed_out": "a run failed (timed out: killed by SIGTERM)",
        "lost": "a run failed (its end was not seen)",
        "unstarted": "a run failed (not found: nosuch)",
    }
    park = park_of(driver)
    assert park is not None
    assert park.reason == reasons[ending]


def test_a_success_begins_anew_and_a_cancelled_run_changes_nothing() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10)
    driver.at(20)
    driver.began()
    ask(driver, protocol.Cancel(target="job"))
    driver.ended(signum=15)
    assert count_of(driver) == 1
    driver.at(30)
    driver.began()
    driver.ended()
    assert count_of(driver) == 0
    assert of_type(driver.done, effects.FailuresNoted)[-1] == effects.FailuresNoted("job", None)
    fail(driver, 40)
    assert park_of(driver) is None


def test_a_retry_is_no_failed_run() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(1)))
    driver = Driver((make_job(policy=Policy(max_failures=1), execution=execution),))
    fail(driver, 10)
    assert park_of(driver) is None
    fail(driver, 11)
    assert park_of(driver) is not None


def test_a_job_whose_failures_do_not_matter_writes_nothing_about_them() -> None:
    driver = Driver((make_job(),))
    fail(driver, 10, 20, 30)
    driver.at(40)
    driver.began()
    driver.ended()
    assert of_type(driver.done, effects.FailuresNoted) == []


def test_resume_ends_a_park_and_counts_from_none() -> None:
    driver = Driver((make_job(policy=TWICE), make_job("other", policy=TWICE)))
    fail(driver, 10)
    for key in [start.key for start in driver.starts]:
        driver.ended(key, code=1)
    fail(driver, 20)
    for key in [start.key for start in driver.starts]:
        driver.ended(key, code=1)
    assert park_of(driver) is not None
    assert park_of(driver, "other") is not None
    ask(driver, protocol.Resume(jobs=["job"]))
    assert (park_of(driver), count_of(driver)) == (None, 0)
    assert [event.by for event in told(driver, "unparked")] == ["ann"]
    ask(driver, protocol.Resume(all=True))
    assert park_of(driver, "other") is None
    fail(driver, 30)
    assert park_of(driver) is None


def test_a_pause_and_a_park_are_two_things_and_resume_ends_both() -> None:
    driver = Driver((make_job(schedule=None, policy=TWICE),))
    fail(driver, 10, 20)
    ask(driver, protocol.PauseJobs(jobs=["job"], for_ns=seconds(5)))
    armed = driver.engine.timetable.jobs["job"]
    assert armed.pause is not None
    driver.at(26)
    assert armed.pause is None
    assert armed.park is not None
    ask(driver, protocol.PauseJobs(jobs=["job"]))
    ask(driver, protocol.Resume(jobs=["job"]))
    assert (armed.pause, armed.park) == (None, None)


def test_a_trigger_tries_one_run_and_the_job_stays_parked_whatever_becomes_of_it() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10, 20)
    done = ask(driver, protocol.TriggerJob(job="job"))
    (answer,) = of_type(done, effects.Answer)
    assert answer.reply["parked"] is True
    driver.began()
    driver.ended(code=1)
    assert count_of(driver) == 3
    ask(driver, protocol.TriggerJob(job="job"))
    driver.began()
    driver.ended()
    assert count_of(driver) == 0
    assert park_of(driver) is not None
    assert len(told(driver, "parked")) == 1


def test_after_park_for_the_next_slot_is_tried_and_its_success_resumes_the_job() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15), overlap=Overlap.ALLOW)),))
    fail(driver, 10, 20)
    driver.at(30)
    assert len(driver.starts) == 2
    driver.at(40)  # the first slot after 35
    assert len(driver.starts) == 3
    driver.began()
    park = park_of(driver)
    assert park is not None
    assert park.trial == driver.starts[-1].run
    driver.at(50)  # one run tries it
    assert len(driver.starts) == 3
    assert skips(driver) == [(30, SkipReason.PARKED), (50, SkipReason.PARKED)]
    driver.ended()
    assert (park_of(driver), count_of(driver)) == (None, 0)
    assert [event.detail for event in told(driver, "unparked")] == [
        f"run {driver.starts[-1].run} has succeeded"
    ]


def test_a_failed_try_parks_the_job_for_the_same_time_again() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15))),))
    fail(driver, 10, 20, 40)
    assert park_of(driver) == Park(
        driver.now.wall_ns, "its run failed again when it was tried (exit 1)", START.wall_ns + seconds(55)
    )
    assert len(told(driver, "parked")) == 2
    driver.at(50)
    assert len(driver.starts) == 3


def test_a_try_that_is_cancelled_is_no_try() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15))),))
    fail(driver, 10, 20)
    driver.at(40)
    driver.began()
    ask(driver, protocol.Cancel(target="job"))
    driver.ended(signum=15)
    park = park_of(driver)
    assert park is not None
    assert park.trial == ""
    driver.at(50)
    assert len(driver.starts) == 4


def test_of_slots_that_passed_unseen_the_one_after_park_for_is_tried() -> None:
    policy = replace(TWICE, park_for_ns=seconds(15), on_missed=OnMissed.ALL)
    driver = Driver((make_job(policy=policy),))
    fail(driver, 10, 20)
    driver.at(69)
    assert len(driver.starts) == 3
    reasons = [reason for _, reason in skips(driver)]
    assert set(reasons) == {SkipReason.PARKED}
    assert driver.starts[-1].slot_ns == START.wall_ns + seconds(40)


def test_queued_runs_of_a_job_that_is_parked_are_skipped_but_not_those_that_somebody_asked_for() -> None:
    driver = Driver((make_job(policy=Policy(max_failures=1, overlap=Overlap.QUEUE)),))
    driver.at(10)
    driver.began()
    driver.at(20)
    ask(driver, protocol.TriggerJob(job="job"))
    driver.ended(driver.starts[0].key, code=1)
    assert skips(driver) == [(20, SkipReason.PARKED)]
    assert [start.trigger for start in driver.starts] == [Trigger.SLOT, Trigger.MANUAL]


def test_runs_that_wait_for_a_worker_when_their_job_is_parked_are_skipped_and_running_ones_go_on() -> None:
    policy = Policy(max_failures=1, overlap=Overlap.ALLOW)
    driver = Driver((make_job(policy=policy),), settings=Settings(max_workers=2))
    driver.at(10)
    driver.at(20)
    driver.at(30)
    driver.ended(driver.starts[0].key, code=1)
    assert skips(driver) == [(30, SkipReason.PARKED)]
    assert [run.id for run in driver.engine._running.activity["job"].runs] == [driver.starts[1].run]


def test_a_run_that_could_not_be_started_yet_when_its_job_was_parked_is_skipped() -> None:
    driver = Driver((make_job(policy=Policy(max_failures=1, overlap=Overlap.ALLOW)),))
    driver.at(10)
    driver.at(20)
    first, second = driver.starts
    driver.failed(first.key)
    driver.failed(second.key, is_transient=True)
    assert skips(driver) == [(20, SkipReason.PARKED)]
    driver.at(29)
    assert driver.starts == [first, second]


def test_a_cancelled_task_whose_run_parks_the_job_leaves_those_that_are_given_up_by_that_alone() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(60), exit_codes=(75,)))
    policy = Policy(max_failures=1, overlap=Overlap.QUEUE)
    driver = Driver((make_job(policy=policy, tasks=("a", "b"), execution=execution),))
    driver.at(10)
    first, second = driver.starts
    driver.ended(first.key, code=1)
    driver.ended(second.key, code=75)
    driver.at(20)
    done = ask(driver, protocol.Cancel(target="job.b"))
    assert [state.state for state in of_type(done, effects.RunFinished)] == [State.FAILED]
    assert skips(driver) == [(20, SkipReason.PARKED)]
    [answer] = of_type(done, effects.Answer)
    assert [run["run"] for run in answer.reply["runs"]] == [first.run]


def test_run_on_start_does_not_run_a_parked_job() -> None:
    job = make_job(policy=Policy(max_failures=1, run_on_start=True))
    park = Failures(1, (), fingerprint(job), Park(START.wall_ns, "a run failed"))
    known = {"job": events.JobStanding(definition_of(job), START.wall_ns, START.wall_ns, failures=park)}
    driver = Driver(())
    driver.engine = type(driver.engine)(Settings())
    driver.send(events.JobsLoaded((job,), known, START.wall_ns))
    assert driver.starts == []
    assert skips(driver) == []


def test_on_crash_park_parks_a_job_at_its_first_lost_run_and_judges_no_other() -> None:
    driver = Driver((make_job(policy=Policy(on_crash=OnCrash.PARK)),))
    fail(driver, 10, 20, 30)
    assert park_of(driver) is None
    driver.at(40)
    driver.began()
    driver.send(events.AttemptGone(driver.last_key))
    park = park_of(driver)
    assert park is not None
    assert park.reason == "a run was lost (its end was not seen), and on_crash is park"
    driver.at(50)
    assert len(driver.starts) == 4


def test_a_changed_definition_ends_a_park_and_the_same_one_does_not() -> None:
    job = make_job(policy=TWICE)
    driver = Driver((job,))
    fail(driver, 10, 20)
    reload(driver, replace(job, source="elsewhere:1"))
    assert park_of(driver) is not None
    reload(driver, make_job(policy=TWICE, command="false"))
    assert (park_of(driver), count_of(driver)) == (None, 0)
    assert [event.detail for event in told(driver, "unparked")] == ["its definition has changed"]


def test_a_changed_schedule_ends_a_park_too_and_a_count() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10)
    reload(driver, make_job(schedule=Interval(seconds(7)), policy=TWICE))
    assert count_of(driver) == 0
    assert told(driver, "unparked") == []
    fail(driver, 17, 24)
    assert park_of(driver) is not None
    reload(driver, make_job(schedule=Interval(seconds(9)), policy=TWICE))
    assert park_of(driver) is None
    assert of_type(driver.done, effects.FailuresNoted)[-1] == effects.FailuresNoted("job", None)


def test_a_run_of_an_earlier_definition_says_nothing_of_the_job() -> None:
    driver = Driver((make_job(policy=TWICE),))
    driver.at(10)
    driver.began()
    reload(driver, make_job(policy=Policy(max_failures=1)))
    driver.ended(code=1)
    assert count_of(driver) == 0


def test_the_run_of_a_job_that_was_removed_counts_nowhere() -> None:
    driver = Driver((make_job(policy=TWICE),))
    driver.at(10)
    driver.began()
    reload(driver)
    driver.ended(code=1)
    assert of_type(driver.done, effects.FailuresNoted) == []
    assert driver.engine.parked == []


def test_a_parked_job_that_is_removed_is_not_parked_any_more() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10, 20)
    assert [armed.job.id for armed in driver.engine.parked] == ["job"]
    reload(driver)
    assert driver.engine.parked == []


def test_a_restart_keeps_count_and_park() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10)
    driver = restarted(driver)
    assert count_of(driver) == 1
    fail(driver, 20)
    park = park_of(driver)
    assert park is not None
    driver = restarted(driver)
    assert park_of(driver) == park
    driver.at(30)
    assert skips(driver)[-1] == (30, SkipReason.PARKED)
    assert of_type(driver.engine.restate(driver.now), effects.FailuresNoted) == [
        effects.FailuresNoted("job", driver.engine.timetable.jobs["job"].failures)
    ]


def test_a_definition_that_changed_while_nobody_looked_ends_a_park() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10, 20)
    other = restarted(driver, make_job(policy=TWICE, command="false"))
    assert park_of(other) is None
    assert [event.by for event in told(other, "unparked")] == ["taskman"]
    assert of_type(other.done, effects.FailuresNoted) == [effects.FailuresNoted("job", None)]
    again = restarted(driver, make_job(schedule=Interval(seconds(9)), policy=TWICE))
    assert park_of(again) is None


def test_a_count_of_another_definition_ends_without_an_event() -> None:
    driver = Driver((make_job(policy=TWICE),))
    fail(driver, 10)
    other = restarted(driver, make_job(policy=TWICE, command="false"))
    assert count_of(other) == 0
    assert told(other, "unparked") == []


def test_a_step_of_the_clock_moves_a_park_along() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15))),))
    fail(driver, 10, 20)
    driver.now = Now(driver.now.wall_ns + 14 * 365 * DAY, driver.now.elapsed_ns)
    driver.send(events.ClockStepped(14 * 365 * DAY))
    park = park_of(driver)
    assert park is not None
    assert (park.since_ns, park.until_ns) == (driver.now.wall_ns, driver.now.wall_ns + seconds(15))


def test_a_step_that_nobody_saw_moves_it_too() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15))),))
    fail(driver, 10, 20)
    later = Now(driver.now.wall_ns + DAY, driver.now.elapsed_ns)
    park = park_of(restarted(driver, now=later, step_ns=DAY))
    assert park is not None
    assert park.until_ns == later.wall_ns + seconds(15)


def test_a_park_of_a_clock_that_was_years_ahead_lasts_no_longer_than_it_would() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=seconds(15))),))
    fail(driver, 10, 20)
    right = Now(driver.now.wall_ns - 14 * 365 * DAY, 1)
    park = park_of(restarted(driver, now=right))
    assert park is not None
    assert (park.since_ns, park.until_ns) == (right.wall_ns, right.wall_ns + seconds(15))


def test_a_park_ends_no_later_than_can_be_recorded() -> None:
    driver = Driver((make_job(policy=replace(TWICE, park_for_ns=10**9 * DAY)),))
    fail(driver, 10, 20)
    assert ends_of(driver) == protocol.LAST_NS
    driver.now = Now(driver.now.wall_ns + DAY, driver.now.elapsed_ns)
    driver.send(events.ClockStepped(DAY))
    assert ends_of(driver) == protocol.LAST_NS
    later = Now(driver.now.wall_ns + DAY, driver.now.elapsed_ns)
    assert ends_of(restarted(driver, now=later, step_ns=DAY)) == protocol.LAST_NS


def ends_of(driver: Driver) -> int | None:
    park = park_of(driver)
    assert park is not None
    return park.until_ns


def test_a_lost_run_that_is_set_aside_counts() -> None:
    job = make_job(policy=Policy(max_failures=1))
    driver = Driver((job,))
    driver.at(10)
    run = driver.starts[0].run
    item = events.OpenRun(run, "job", driver.starts[0].slot_ns, Trigger.SLOT, set_aside="it crashed")
    gone = replace(item, run=f"{run[:-1]}0", job="gone")
    other = Driver((job,), now=driver.now, is_first=False, runs=(item, gone))
    park = park_of(other)
    assert park is not None
    assert park.reason == "a run failed (it crashed)"


def test_a_lost_run_that_is_set_aside_changes_nothing_where_failures_do_not_matter() -> None:
    item = events.OpenRun("67avwqy000", "job", START.wall_ns, Trigger.SLOT, set_aside="it crashed")
    other = Driver((make_job(),), is_first=False, runs=(item,))
    assert of_type(other.done, effects.FailuresNoted) == []


def test_a_start_that_was_never_asked_for_is_skipped_if_the_end_of_another_run_parks_the_job() -> None:
    job = make_job(policy=Policy(max_failures=1, overlap=Overlap.ALLOW))
    driver = Driver((job,))
    driver.at(10)
    driver.at(20)
    first, second = of_type(driver.done, effects.RunQueued)
    end = events.AttemptEnded(f"{first.run}.main.1", Exit(exit_code=1), driver.now)
    over = events.OpenAttempt("main", 1, events.Over(100, START, end))
    unstarted = events.OpenAttempt("main", 1, events.Unstarted())
    runs = (
        events.OpenRun(first.run, "job", first.slot_ns, Trigger.SLOT, (over,)),
        events.OpenRun(second.run, "job", second.slot_ns, Trigger.SLOT, (unstarted,)),
    )
    other = Driver((job,), now=driver.now, is_first=False, runs=runs)
    assert (skips(other), other.starts) == ([(20, SkipReason.PARKED)], [])


def test_a_run_that_waited_when_the_end_of_another_parks_the_job_after_a_restart_is_skipped() -> None:
    job = make_job(policy=Policy(max_failures=1, overlap=Overlap.QUEUE))
    driver = Driver((job,))
    driver.at(10)
    driver.at(20)
    begun, queued = of_type(driver.done, effects.RunQueued)
    pid, started = 100, START
    end = events.AttemptEnded(f"{begun.run}.main.1", Exit(exit_code=1), driver.now)
    over = events.OpenAttempt("main", 1, events.Over(pid, started, end))
    runs = (
        events.OpenRun(begun.run, "job", begun.slot_ns, Trigger.SLOT, (over,)),
        events.OpenRun(queued.run, "job", queued.slot_ns, Trigger.SLOT),
    )
    other = Driver((job,), now=driver.now, is_first=False, runs=runs)
    assert skips(other) == [(20, SkipReason.PARKED)]
    assert other.starts == []


def test_views_show_parked_jobs_among_the_first_and_no_start_of_theirs() -> None:
    driver = Driver((make_job("a"), make_job(policy=TWICE), make_job("z")))
    for _ in range(2):
        driver.at((driver.now.elapsed_ns - START.elapsed_ns) / seconds(1) + 10)
        for start in driver.starts[-3:]:
            driver.ended(start.key, code=1)
    snapshot = take_snapshot(driver.engine, driver.now, started_ns=0, rows=5)
    assert (snapshot.parked, [row.job for row in snapshot.queue]) == (1, ["a", "z", "job"])
    alarms = [(alarm.failing.job, alarm.note) for alarm in snapshot.alarms]
    assert alarms == [("job", "parked"), ("a", ""), ("z", "")]
    status = answers.status(driver.engine, driver.now, started_ns=0)
    assert [row["job"] for row in status["next"]] == ["a", "z"]
    assert [(item["job"], item["count"]) for item in status["parked"]] == [("job", 2)]
    armed = driver.engine.timetable.jobs["job"]
    item = answers.job_item(driver.engine, armed, driver.now)
    assert (item["state"], item["park"]["reason"]) == ("parked", "2 runs in a row failed (the last: exit 1)")
    assert answers.is_in_state(item, ["parked"])
    assert not answers.is_in_state(item, ["paused"])
    assert answers.next_slots(armed, 2) == []
    assert armed.failures is not None
    assert armed.park is not None
    until = replace(armed.park, until_ns=START.wall_ns + seconds(45))
    armed.failures = replace(armed.failures, park=until)
    assert answers.next_slots(armed, 2) == [START.wall_ns + seconds(50), START.wall_ns + seconds(60)]
    armed.pause = Pause(START.wall_ns, START.wall_ns + seconds(55))
    assert answers.next_slots(armed, 1) == [START.wall_ns + seconds(60)]


def test_a_parked_job_without_slots_is_shown_all_the_same() -> None:
    driver = Driver((make_job(policy=replace(TWICE, expires_at_ns=START.wall_ns + seconds(25))),))
    fail(driver, 10, 20)
    snapshot = take_snapshot(driver.engine, driver.now, started_ns=0, rows=5)
    assert [(row.job, row.slot_ns) for row in snapshot.queue] == [("job", None)]


def test_many_slots_of_a_parked_job_that_passed_are_one_skip() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(1)), policy=Policy(max_failures=1)),))
    fail(driver, 1)
    driver.at(1000)
    found = of_type(driver.done, effects.SlotsSkipped)
    assert [(skip.reason, skip.count) for skip in found] == [
        (SkipReason.PARKED, 799),
        (SkipReason.PARKED, 200),
    ]


def test_a_fingerprint_is_of_what_was_said_and_not_of_what_holds_by_default() -> None:
    job = make_job(execution=Execution(env={"A": "1"}, user=Account("ann", 7), group=Group("g", 3)))
    same = make_job(
        execution=Execution(
            env=Variables({"A": "1"}, {}), user=Account("ann", 8, groups=(1,)), group=Group("g", 4)
        )
    )
    assert fingerprint(job) == fingerprint(same)
    assert fingerprint(job) != fingerprint(replace(job, description="x"))
    assert fingerprint(job) != fingerprint(replace(job, policy=Policy(on_missed=OnMissed.ALL)))


def test_the_state_of_a_run_that_parks_is_its_own() -> None:
    driver = Driver((make_job(policy=Policy(max_failures=1)),))
    fail(driver, 10)
    assert [end.state for end in of_type(driver.done, effects.RunFinished)] == [State.FAILED]

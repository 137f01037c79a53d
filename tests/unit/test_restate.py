"""What a scheduler says of itself to a ledger that knows nothing, for the next one to go on from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Execution, Job, Mode, Overlap, Policy, Retry, Settings
from taskman_cli.core.schedule import Interval

Fate = events.Told | events.Going | events.Gone


def standing_of(records: list[effects.Record | effects.Mark], job: Job) -> events.JobStanding:
    """Read what marks say of a job, as the ledger would."""
    [armed] = [mark for mark in records if isinstance(mark, effects.JobArmed) and mark.job == job.id]
    counts = {mark.job: mark.count for mark in records if isinstance(mark, effects.RunsCounted)}
    ended = {mark.job: mark.finish_ns for mark in records if isinstance(mark, effects.IntervalEnded)}
    return events.JobStanding(
        armed.definition, armed.since_ns, armed.anchor_ns, counts.get(job.id, 0), ended.get(job.id)
    )


def open_runs_of(records: list[effects.Record | effects.Mark], *, fate: Fate) -> tuple[events.OpenRun, ...]:
    """Read which runs are open, as the ledger would; what is begun and not over meets a fate."""
    runs: dict[str, events.OpenRun] = {}
    attempts: dict[tuple[str, str, int], Fate] = {}
    for record in records:
        match record:
            case effects.RunQueued():
                runs[record.run] = events.OpenRun(record.run, record.job, record.slot_ns, record.trigger)
            case effects.AttemptBegun():
                attempts[record.run, record.task, record.attempt] = fate
            case effects.AttemptFinished():
                pause_ns = record.retry_in_ns
                next_ns = None if pause_ns is None else record.ended_ns + pause_ns
                attempts[record.run, record.task, record.attempt] = events.Told(
                    record.state, record.ended_ns, next_ns
                )
            case effects.RunCancelling():
                runs[record.run] = replace(runs[record.run], is_cancelled=True)
            case _:
                pass
    for (run, task, number), what in attempts.items():
        found = (*runs[run].attempts, events.OpenAttempt(task, number, what))
        runs[run] = replace(runs[run], attempts=found)
    return tuple(runs.values())


def restated(driver: Driver, *, fate: Fate) -> Driver:
    """Let a scheduler begin with what another says there is."""
    records = driver.engine.restate(driver.now)
    again = Driver((), driver.settings, now=driver.now)
    [accounted] = [mark for mark in records if isinstance(mark, effects.Accounted)]
    again.send(
        events.JobsLoaded(
            driver.jobs,
            {job.id: standing_of(records, job) for job in driver.jobs},
            accounted.until_ns,
            runs=open_runs_of(records, fate=fate),
            is_new_boot=False,
            is_new_life=False,
        )
    )
    return again


def picture(driver: Driver) -> dict[str, Any]:
    """Return where a scheduler stands, as far as its next steps depend on it."""
    running = driver.engine._running
    return {
        "active": {
            run.id: (run.state, run.is_cancelled, dict(run.results), [task.id for task in run.pending])
            for activity in running.activity.values()
            for run in activity.active.values()
        },
        "backlog": [run.id for activity in running.activity.values() for run in activity.backlog],
        "attempts": {
            attempt.key: (attempt.state, attempt.ending)
            for activity in running.activity.values()
            for run in activity.active.values()
            for attempt in run.attempts.values()
        },
        "counts": {
            name: armed.run_count
            for name, armed in driver.engine.timetable.jobs.items()
            if armed.job.policy.max_runs is not None
        },
        "slots": [(armed.job.id, armed.slot_ns, due) for due, armed in driver.engine.timetable.first(99)],
        "wake": driver.wake_s,
        "ready": driver.engine.pool.ready_count,
        "resting": driver.engine.pool.resting_count,
    }


def test_what_is_restated_is_all_that_the_next_scheduler_needs() -> None:
    execution = Execution(retry=Retry(max=3, delay_ns=seconds(60)), timeout_ns=seconds(500))
    jobs = (
        make_job("queue", policy=Policy(overlap=Overlap.QUEUE, max_runs=5)),
        make_job("sequence", tasks=("a", "b", "c"), policy=Policy(mode=Mode.SEQUENCE)),
        make_job("resting", execution=execution),
        make_job("finish", Interval(seconds(7), from_finish=True)),
        make_job("side", tasks=("a", "b"), execution=execution),
    )
    driver = Driver(jobs)
    driver.at(7)
    driver.ended()
    driver.at(10)
    keys = {start.key.partition(".")[2] + start.job: start.key for start in driver.starts}
    for key in keys.values():
        if key in driver.engine.pool.running:
            driver.began(key)
    driver.ended(keys["a.1sequence"])
    driver.ended(keys["main.1resting"], code=1)
    driver.ended(keys["a.1side"], code=1)
    driver.at(12)
    for key in driver.engine.pool.running:
        driver.began(key)
    driver.at(20)
    again = restated(driver, fate=events.Going(100, driver.now))
    expected = picture(driver)
    found = picture(again)
    # The processes began earlier than the fate says: their timeouts are not what is compared.
    for one in (expected, found):
        del one["wake"]
    assert expected == found
    assert (len(expected["active"]), len(expected["backlog"]), expected["resting"]) == (5, 1, 2)


def test_what_a_stop_left_is_restated_too() -> None:
    driver = Driver(
        (make_job(policy=Policy(overlap=Overlap.QUEUE)), make_job("held")), Settings(max_workers=1)
    )
    driver.at(10)
    driver.at(20)
    driver.send(events.StopRequested())
    again = restated(driver, fate=events.Going(100, driver.now))
    queued = [record.run for record in of_type(driver.done, effects.RunQueued)]
    assert 4 > len(queued) > 1
    assert sorted(queued) == sorted([*picture(again)["active"], *picture(again)["backlog"]])
    [cancelling] = of_type(driver.done, effects.RunCancelling)
    assert [cancelling.run] == [run for run, what in picture(again)["active"].items() if what[1]]


@pytest.mark.parametrize("jitter_s", [0, 8], ids=["", "jitter"])
def test_a_slot_that_is_still_to_come_is_not_accounted_for_by_restating(jitter_s: int) -> None:
    driver = Driver((make_job(policy=Policy(jitter_ns=seconds(jitter_s))),))
    driver.at(18)
    driver.ended()
    driver.now = Now(START.wall_ns + seconds(20), START.elapsed_ns + seconds(20))
    again = restated(driver, fate=events.Gone())
    assert driver.wake_s == again.wake_s
    again.at(28)
    assert [START.wall_ns + seconds(20)] == [start.slot_ns for start in again.starts]

"""Runs: seats, retries, timeouts, the kill ladder, stops, and what a new scheduler takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.engine_driver import FIXED, START, Driver, make_job, of_type, seconds, slot_s

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.model import (
    Account,
    Execution,
    Exit,
    Mode,
    Overlap,
    Policy,
    Retry,
    Settings,
    SkipReason,
    State,
)
from taskman_cli.core.protocol import Cancel
from taskman_cli.core.schedule import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

KILL, TERM, INT = 9, 15, 2


def signals(done: list[effects.Effect]) -> list[int]:
    return [int(effect.signum) for effect in of_type(done, effects.Signal)]


def verdicts(driver: Driver) -> list[State]:
    return [finished.state for finished in of_type(driver.done, effects.RunFinished)]


def withdrawn(driver: Driver) -> list[effects.AttemptWithdrawn]:
    return of_type(driver.done, effects.AttemptWithdrawn)


def ends(driver: Driver) -> list[tuple[str, int, State, str]]:
    return [
        (end.task, end.attempt, end.state, end.detail)
        for end in of_type(driver.done, effects.AttemptFinished)
    ]


# --- seats ---


def test_no_more_attempts_run_than_there_are_seats() -> None:
    driver = Driver(tuple(make_job(f"j{n}") for n in range(5)), Settings(max_workers=2))
    driver.at(10)
    assert [start.job for start in driver.starts] == ["j0", "j1"]
    driver.ended(driver.starts[0].key)
    assert [start.job for start in driver.starts] == ["j0", "j1", "j2"]


def test_what_ends_together_leaves_its_seats_together_and_records_come_apart_from_actions() -> None:
    driver = Driver(tuple(make_job(f"j{n}") for n in range(5)), replace(FIXED, max_workers=2))
    driver.at(10)
    news = [events.AttemptEnded(start.key, Exit(exit_code=0), driver.now) for start in driver.starts]
    records, actions = driver.engine.handle_all(news, driver.now)
    assert [type(record) for record in records] == [
        *(effects.AttemptFinished, effects.RunFinished) * 2, *(effects.AttemptBegun,) * 2
    ]  # fmt: skip
    assert actions[:2] == [effects.Forget((event.key,)) for event in news]
    assert [action.job for action in actions[2:] if isinstance(action, effects.Start)] == ["j2", "j3"]


def test_each_event_of_a_step_is_handled_before_the_next_is_asked_for() -> None:
    driver = Driver((make_job("a"), make_job("b")))
    driver.at(10)
    left: list[int] = []

    def news() -> Iterator[events.Event]:
        for start in driver.starts:
            yield events.AttemptEnded(start.key, Exit(exit_code=0), driver.now)
            left.append(len(driver.engine.pool.running))

    driver.engine.handle_all(news(), driver.now)
    assert left == [1, 0]


def test_priority_goes_before_the_time_of_the_slot() -> None:
    jobs = (
        make_job("busy", policy=Policy(run_on_start=True)),
        make_job("early", Interval(seconds(10))),
        make_job("late", Interval(seconds(12))),
        make_job("urgent", Interval(seconds(14)), policy=Policy(priority=1)),
    )
    driver = Driver(jobs, Settings(max_workers=1))
    for second in (10, 12, 14):
        driver.at(second)
    for _ in range(3):
        driver.ended()
    assert [start.job for start in driver.starts] == ["busy", "urgent", "early", "late"]


def test_a_run_that_waited_past_its_start_deadline_is_skipped_as_late() -> None:
    policy = Policy(start_deadline_ns=seconds(15))
    jobs = (
        make_job("busy", policy=Policy(run_on_start=True)),
        make_job("job", policy=policy, tasks=("a", "b")),
    )
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.at(26)
    driver.ended()
    late = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE]
    assert [(skip.job, skip.detail) for skip in late] == [("job", "reached 16s late")]
    assert late[0].run in [queued.run for queued in of_type(driver.done, effects.RunQueued)]
    assert [start.job for start in driver.starts] == ["busy"]
    assert driver.engine.pool.ready_count == 0
    # The job is free for its next slot.
    driver.at(30)
    assert [start.job for start in driver.starts] == ["busy", "busy"]


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
def test_a_run_that_waits_too_long_is_given_up_even_if_no_seat_is_ever_free(overlap: Overlap) -> None:
    policy = Policy(start_deadline_ns=seconds(15), overlap=overlap)
    jobs = (make_job("hung", policy=Policy(run_on_start=True)), make_job("job", policy=policy))
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.at(20)
    driver.at(25)
    driver.at(25.1)
    late = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE]
    assert [("job", START.wall_ns + seconds(10))] == [(skip.job, skip.first_ns) for skip in late]
    driver.at(36)
    late = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE]
    assert (2 if overlap is Overlap.QUEUE else 1) == len(late)


def test_a_seat_that_comes_free_after_the_deadline_comes_too_late() -> None:
    policy = Policy(start_deadline_ns=seconds(5))
    jobs = (
        make_job("hung", policy=Policy(run_on_start=True)),
        make_job("job", policy=policy, tasks=("a", "b")),
    )
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.now = Now(START.wall_ns + seconds(15.1), START.elapsed_ns + seconds(15.1))
    driver.ended()
    assert [start.job for start in driver.starts] == ["hung"]
    assert [skip.reason for skip in of_type(driver.done, effects.SlotsSkipped) if skip.job == "job"] == [
        SkipReason.LATE
    ]


def test_many_runs_that_waited_too_long_are_given_up_together() -> None:
    policy = Policy(start_deadline_ns=seconds(15), overlap=Overlap.QUEUE)
    jobs = (make_job("hung", policy=Policy(run_on_start=True)), make_job("job", policy=policy))
    driver = Driver(jobs, Settings(max_workers=1))
    for second in (10, 20, 30):
        driver.at(second)
    driver.at(60)
    late = [skip.first_ns for skip in of_type(driver.done, effects.SlotsSkipped) if skip.job == "job"]
    assert [START.wall_ns + seconds(second) for second in (10, 20, 30, 40)] == sorted(late)
    driver.ended()
    assert [start.job for start in driver.starts] != ["hung", "hung"]


def test_the_wake_comes_when_a_waiting_run_is_too_late() -> None:
    policy = Policy(start_deadline_ns=seconds(5))
    jobs = (make_job("hung", policy=Policy(run_on_start=True)), make_job("job", policy=policy))
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    assert driver.wake_s[0] == pytest.approx(15)
    driver.ended()
    assert driver.wake_s == (20, None)


def test_a_run_that_waits_for_a_worker_is_not_said_to_run() -> None:
    jobs = (make_job("hung", policy=Policy(run_on_start=True)), make_job("job"))
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.at(20)
    details = [skip.detail for skip in of_type(driver.done, effects.SlotsSkipped) if skip.job == "job"]
    [run] = [queued.run for queued in of_type(driver.done, effects.RunQueued) if queued.job == "job"]
    assert details == [f"run {run} still waits for a worker"]


def test_a_run_whose_start_could_not_be_recorded_is_not_said_to_wait_for_a_worker() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.send(events.StartHeld(driver.last_key))
    driver.at(20)
    [skip] = of_type(driver.done, effects.SlotsSkipped)
    assert skip.detail == f"run {skip.blocker} still waits until its start can be recorded"
    driver.failed(is_transient=True)  # it was on record then, and there was no process to be had
    driver.at(30)
    assert (
        of_type(driver.done, effects.SlotsSkipped)[-1].detail
        == f"run {skip.blocker} still waits until there is room for another process"
    )


def test_a_run_in_the_backlog_can_be_late_too() -> None:
    driver = Driver((make_job(policy=Policy(overlap=Overlap.QUEUE, start_deadline_ns=seconds(15))),))
    for second in (10, 20, 30, 40):
        driver.at(second)
    driver.ended()
    assert [slot_s(start) for start in driver.starts] == [10, 30]
    assert [skip.reason for skip in of_type(driver.done, effects.SlotsSkipped)] == [SkipReason.LATE]


def test_want_of_processes_pauses_all_starts_and_is_not_the_jobs_fault() -> None:
    driver = Driver((make_job("a"), make_job("b")), Settings(max_workers=2))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    driver.failed(first, is_transient=True)
    driver.failed(second, is_transient=True)
    assert [seconds(0.1)] == [delay.pause_ns for delay in of_type(driver.done, effects.SpawnDelayed)]
    assert driver.wake_s == (20, pytest.approx(10.1))
    assert driver.engine.pool.ready_count == 2
    driver.at(10.1)
    assert [first, second, first, second] == [start.key for start in driver.starts]
    # What did not come to be is taken back, and begins anew.
    keys = [f"{record.run}.{record.task}.{record.attempt}" for record in withdrawn(driver)]
    assert keys == [first, second]
    assert len(of_type(driver.done, effects.AttemptBegun)) == 4
    assert driver.engine.metrics.counters().started == 2
    driver.failed(first, is_transient=True)
    assert seconds(0.2) == of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns
    driver.began(second)
    driver.at(10.5)
    driver.failed(first, is_transient=True)
    assert seconds(0.1) == of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns


def as_user(name: str) -> Execution:
    return Execution(user=Account(name, uid=70_001))


def started_jobs(driver: Driver) -> list[str]:
    return [start.job for start in driver.starts]


def test_a_limit_of_one_user_pauses_his_starts_and_nobody_else_s() -> None:
    jobs = (
        make_job("a", execution=as_user("ann")),
        make_job("b", execution=as_user("bob")),
        make_job("c", execution=as_user("ann")),
        make_job("r"),
    )
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(10)
    driver.failed(is_transient=True, is_users=True)
    assert of_type(driver.done, effects.SpawnDelayed) == [
        effects.SpawnDelayed("Resource temporarily unavailable", seconds(0.1), "ann", driver.starts[0].run)
    ]
    for _ in range(2):
        driver.began()
        driver.ended()
    assert started_jobs(driver) == ["a", "b", "r"]
    assert driver.wake_s == (20, pytest.approx(10.1))
    driver.at(10.1)
    assert started_jobs(driver) == ["a", "b", "r", "c"]
    # Another user's start says nothing of this one's limit: the next pause is twice as long.
    driver.failed(is_transient=True, is_users=True)
    assert of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns == seconds(0.2)
    driver.at(10.3)
    driver.began()
    driver.ended()
    driver.failed(is_transient=True, is_users=True)
    assert started_jobs(driver)[4:] == ["a", "c"]
    assert of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns == seconds(0.1)


def test_a_process_that_was_made_before_its_user_s_limit_does_not_end_the_pause() -> None:
    jobs = tuple(make_job(name, execution=as_user("ann")) for name in "abc")
    driver = Driver(jobs)
    driver.at(10)
    first, second, third = (start.key for start in driver.starts)
    driver.failed(second, is_transient=True, is_users=True)
    driver.began(first)  # a fork reports late
    driver.failed(third, is_transient=True, is_users=True)
    assert (started_jobs(driver), driver.wake_s) == (["a", "b", "c"], (20, pytest.approx(10.1)))
    driver.at(10.1)
    assert started_jobs(driver) == ["a", "b", "c", "b", "c"]
    driver.failed(is_transient=True, is_users=True)
    assert of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns == seconds(0.1)


def test_what_waits_for_its_user_s_limit_can_be_cancelled_and_the_rest_goes_on() -> None:
    driver = Driver((make_job("a", execution=as_user("ann")), make_job("c", execution=as_user("ann"))))
    driver.at(10)
    first, second = driver.starts
    driver.failed(first.key, is_transient=True, is_users=True)
    driver.failed(second.key, is_transient=True, is_users=True)
    driver.send(events.RequestReceived(1, Cancel(target=first.run), "ann"))
    driver.at(10.1)
    assert started_jobs(driver) == ["a", "c", "c"]


def test_a_process_that_never_became_its_command_is_not_on_record_as_one() -> None:
    driver = Driver((make_job(execution=as_user("ann")),))
    driver.at(10)
    driver.began()
    driver.failed(is_transient=True, is_users=True)
    assert [type(record) for record in driver.engine.restate(driver.now)][-1] is effects.RunQueued


def test_a_run_that_waited_for_room_past_its_start_deadline_is_late() -> None:
    driver = Driver((make_job(policy=Policy(start_deadline_ns=seconds(5)), tasks=("a", "b")),))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    driver.failed(first, is_transient=True)
    driver.failed(second, is_transient=True)
    driver.at(16)
    late = [skip for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE]
    assert [driver.starts[0].run] == [skip.run for skip in late]
    assert driver.engine.pool.ready_count == 0


def test_a_pause_of_starts_does_not_grow_past_its_longest() -> None:
    driver = Driver((make_job(),), Settings(spawn_retry_max_ns=seconds(3)))
    driver.at(10)
    for _ in range(40):
        driver.failed(is_transient=True)
        driver.at(driver.wake_s[1] or 0)
    assert seconds(3) == of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns


# --- ends and retries ---


def test_a_run_ends_with_its_last_task_and_each_end_is_forgotten_at_once() -> None:
    driver = Driver((make_job(tasks=("a", "b")),))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    done = driver.ended(second, code=3)
    assert of_type(done, effects.RunFinished) == []
    # On record, and at once forgotten: the supervisor keeps no more than it must.
    assert of_type(done, effects.Forget) == [effects.Forget((second,))]
    done = driver.ended(first)
    assert verdicts(driver) == [State.FAILED]
    assert of_type(done, effects.Forget) == [effects.Forget((first,))]
    assert ends(driver) == [("b", 1, State.FAILED, "exit 3"), ("a", 1, State.SUCCEEDED, "")]


def test_other_exit_codes_can_mean_success() -> None:
    driver = Driver((make_job(execution=Execution(success_exit_codes=(0, 24))),))
    driver.at(10)
    driver.ended(code=24)
    assert verdicts(driver) == [State.SUCCEEDED]


def test_a_failed_attempt_is_tried_again_after_its_pause() -> None:
    execution = Execution(retry=Retry(max=2, delay_ns=seconds(1), backoff=2))
    driver = Driver((make_job(execution=execution),))
    driver.at(10)
    driver.ended(code=1)
    assert driver.wake_s == (20, 11)
    driver.at(11)
    driver.ended(code=1)
    assert driver.wake_s == (20, 13)
    assert driver.engine.pool.resting_count == 1
    driver.at(13)
    driver.ended(code=1)
    assert [start.attempt for start in driver.starts] == [1, 2, 3]
    assert verdicts(driver) == [State.FAILED]
    first, second, third = (start.key for start in driver.starts)
    assert [(first,), (second,), (third,)] == [forget.keys for forget in of_type(driver.done, effects.Forget)]
    assert [seconds(1), seconds(2), None] == [
        end.retry_in_ns for end in of_type(driver.done, effects.AttemptFinished)
    ]
    assert driver.engine.metrics.counters().retried == 2


def test_a_command_that_cannot_be_started_fails_with_the_reason_and_is_retried() -> None:
    driver = Driver((make_job(execution=Execution(retry=Retry(max=1, delay_ns=seconds(1)))),))
    driver.at(10)
    driver.failed()
    driver.at(11)
    driver.ended()
    assert ends(driver) == [("main", 1, State.FAILED, "not found: nosuch"), ("main", 2, State.SUCCEEDED, "")]
    assert verdicts(driver) == [State.SUCCEEDED]


def test_tasks_in_sequence_follow_each_other_until_one_fails() -> None:
    driver = Driver((make_job(tasks=("a", "b", "c"), policy=Policy(mode=Mode.SEQUENCE)),))
    driver.at(10)
    driver.ended()
    driver.ended(code=1)
    assert [start.task.id for start in driver.starts] == ["a", "b"]
    assert verdicts(driver) == [State.FAILED]


def test_a_task_in_sequence_waits_for_the_retries_of_the_one_before() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(1)))
    driver = Driver((make_job(tasks=("a", "b"), policy=Policy(mode=Mode.SEQUENCE), execution=execution),))
    driver.at(10)
    driver.ended(code=1)
    driver.at(11)
    driver.ended()
    driver.ended()
    assert [(start.task.id, start.attempt) for start in driver.starts] == [("a", 1), ("a", 2), ("b", 1)]
    assert verdicts(driver) == [State.SUCCEEDED]


def test_run_ids_are_unique_and_sort_by_time() -> None:
    driver = Driver(tuple(make_job(f"j{n}") for n in range(3)))
    driver.at(10)
    for start in driver.starts:
        driver.ended(start.key)
    driver.at(20)
    runs = [start.run for start in driver.starts]
    assert sorted(set(runs)) == runs
    assert len(runs) == 6


def test_what_is_left_undone_is_said() -> None:
    driver = Driver((make_job(tasks=("a", "b", "c"), policy=Policy(mode=Mode.SEQUENCE)),))
    driver.at(10)
    driver.ended(code=1)
    assert [finished.undone for finished in of_type(driver.done, effects.RunFinished)] == [("b", "c")]


# --- timeouts and the ladder ---


def test_a_timeout_tells_to_end_and_then_kills() -> None:
    execution = Execution(timeout_ns=seconds(3), kill_timeout_ns=seconds(2), kill_signal=INT)
    driver = Driver((make_job(execution=execution),))
    driver.at(10)
    driver.at(10.5)
    driver.began()
    assert driver.wake_s == (20, 13.5)
    assert signals(driver.at(13.5)) == [INT]
    assert driver.wake_s == (20, 15.5)
    assert signals(driver.at(15.5)) == [KILL]
    assert driver.wake_s == (20, 25.5)
    driver.ended(signum=KILL)
    assert ends(driver) == [("main", 1, State.TIMED_OUT, "killed by SIGKILL")]
    assert verdicts(driver) == [State.TIMED_OUT]


def test_a_command_that_ends_well_after_its_timeout_has_timed_out_all_the_same() -> None:
    driver = Driver((make_job(execution=Execution(timeout_ns=seconds(3))),))
    driver.at(10)
    driver.began()
    driver.at(13)
    driver.ended(code=0)
    assert verdicts(driver) == [State.TIMED_OUT]


def test_a_command_that_ended_just_before_its_timeout_has_not_timed_out() -> None:
    driver = Driver((make_job(execution=Execution(timeout_ns=seconds(3))),))
    driver.at(10)
    driver.began()
    ended = driver.now.elapsed_ns + seconds(2.9)
    driver.at(13)
    driver.send(events.AttemptEnded(driver.last_key, Exit(exit_code=0, is_group_left=True), Now(0, ended)))
    assert verdicts(driver) == [State.SUCCEEDED]
    assert signals(driver.done) == [TERM]


def test_a_timeout_is_retried_unless_exit_codes_say_otherwise() -> None:
    for exit_codes, expected in ((None, 2), ((1,), 1)):
        execution = Execution(timeout_ns=seconds(1), retry=Retry(max=1, exit_codes=exit_codes))
        driver = Driver((make_job(execution=execution),))
        driver.at(10)
        driver.began()
        driver.at(11)
        driver.ended(code=1)
        driver.at(12)
        assert len(driver.starts) == expected


def test_what_is_left_of_a_group_that_was_told_to_end_is_killed() -> None:
    driver = Driver((make_job(execution=Execution(timeout_ns=seconds(1))),))
    driver.at(10)
    driver.began()
    driver.at(11)
    end = Exit(signal=TERM, is_group_left=True)
    done = driver.send(events.AttemptEnded(driver.last_key, end, driver.now))
    kinds = [type(effect) for effect in done if isinstance(effect, effects.Signal | effects.Forget)]
    assert kinds == [effects.Signal, effects.Forget]
    assert signals(done) == [KILL]


def test_what_is_left_of_a_group_that_ended_by_itself_is_let_be() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    assert (
        signals(driver.send(events.AttemptEnded(driver.last_key, Exit(0, is_group_left=True), driver.now)))
        == []
    )


# --- stops ---


def test_a_stop_ends_what_runs_and_leaves_what_waits_to_the_next_start() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(60)))
    jobs = (
        make_job("running", policy=Policy(overlap=Overlap.QUEUE)),
        make_job("resting", execution=execution),
        make_job("ready", policy=Policy(overlap=Overlap.ALLOW)),
        make_job("queued"),
    )
    driver = Driver(jobs, Settings(max_workers=2))
    driver.at(10)
    running, resting = (start.key for start in driver.starts)
    driver.began(running)
    driver.ended(resting, code=1)
    ready = driver.last_key
    driver.at(20)
    done = driver.send(events.StopRequested())
    assert [(running, TERM), (ready, TERM)] == [(s.key, int(s.signum)) for s in of_type(done, effects.Signal)]
    assert [running[:10], ready[:10]] == [record.run for record in of_type(done, effects.RunCancelling)]
    kinds = {effects.Signal, effects.RunCancelling, effects.AttemptEnding}
    assert {type(effect) for effect in done} == kinds
    assert driver.wake_s == (None, 30)
    assert driver.send(events.StopRequested()) == []
    driver.at(29)
    driver.ended(running, signum=TERM)
    assert signals(driver.at(30)) == [KILL]
    assert of_type(driver.ended(ready, signum=KILL), effects.Stopped) == [effects.Stopped()]
    assert verdicts(driver) == [State.CANCELLED] * 2
    assert driver.at(90) == []
    assert [running, resting, ready] == [start.key for start in driver.starts]
    assert (driver.engine.pool.ready_count, driver.engine.pool.resting_count) == (0, 0)


def test_a_stop_ends_the_whole_of_a_run_that_runs() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(60)))
    driver = Driver((make_job(tasks=("a", "b", "c"), execution=execution),), Settings(max_workers=2))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    driver.ended(first, code=1)
    driver.send(events.StopRequested())
    driver.ended(second, signum=TERM)
    driver.ended(driver.last_key, signum=TERM)
    assert verdicts(driver) == [State.CANCELLED]
    assert list(of_type(driver.done, effects.RunFinished)[0].undone) == ["a"]


def test_a_start_that_found_no_room_is_taken_back_by_a_stop_and_left_to_the_next_start() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.failed(is_transient=True)
    assert driver.send(events.StopRequested()) == [effects.Stopped()]
    assert [driver.starts[0].run] == [record.run for record in withdrawn(driver)]
    assert (ends(driver), verdicts(driver)) == ([], [])


def test_a_stop_with_nothing_under_way_is_done_at_once() -> None:
    driver = Driver((make_job(),))
    assert driver.send(events.StopRequested()) == [effects.Stopped()]
    assert driver.send(events.KillRequested()) == []


def test_a_second_request_kills_at_once() -> None:
    driver = Driver((make_job(tasks=("a", "b")),))
    driver.at(10)
    driver.send(events.StopRequested())
    assert signals(driver.send(events.KillRequested())) == [KILL, KILL]


def test_a_start_in_flight_during_a_stop_is_ended_when_it_exists() -> None:
    driver = Driver((make_job(execution=Execution(timeout_ns=seconds(1))),))
    driver.at(10)
    assert signals(driver.send(events.StopRequested())) == [TERM]
    driver.began()
    assert driver.wake_s == (None, 20)


def test_a_start_that_fails_during_a_stop_is_not_tried_again() -> None:
    for is_transient in (True, False):
        driver = Driver((make_job(execution=Execution(retry=Retry(max=1))),))
        driver.at(10)
        driver.send(events.StopRequested())
        assert of_type(driver.failed(is_transient=is_transient), effects.Stopped) == [effects.Stopped()]
        assert verdicts(driver) == [State.CANCELLED]


def test_an_interval_from_the_finish_does_not_go_on_after_a_stop_and_counts_from_there_all_the_same() -> None:
    driver = Driver((make_job(schedule=Interval(seconds(10), from_finish=True)),))
    driver.at(10)
    driver.send(events.StopRequested())
    driver.at(17)
    driver.ended(signum=TERM)
    assert driver.wake_s == (None, None)
    ended = effects.IntervalEnded("job", START.wall_ns + seconds(17))
    assert ended == of_type(driver.done, effects.IntervalEnded)[-1]


# --- a ledger that cannot be written ---


def test_a_start_that_is_not_on_record_waits_and_nobody_is_told() -> None:
    driver = Driver((make_job("a"), make_job("b")))
    driver.at(10)
    first, second = (start.key for start in driver.starts)
    done = [*driver.send(events.StartHeld(first)), *driver.send(events.StartHeld(second))]
    assert {effects.AttemptWithdrawn} == {type(effect) for effect in done}
    assert driver.engine.pool.ready_count == 2
    assert driver.wake_s == (20, pytest.approx(10.1))
    driver.at(10.1)
    assert [first, second] * 2 == [start.key for start in driver.starts]
    driver.ended(first)
    assert verdicts(driver) == [State.SUCCEEDED]


def test_all_that_waited_starts_at_once_when_it_can_be_put_on_record_again() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    for _ in range(5):  # each pause is twice the last
        driver.send(events.StartHeld(driver.last_key))
        hold_s = driver.wake_s[1]
        assert hold_s is not None
        driver.at(hold_s)
    driver.send(events.StartHeld(driver.last_key))
    before = len(driver.starts)
    driver.send(events.StartsReleased())
    assert before + 1 == len(driver.starts)
    driver.send(events.StartHeld(driver.last_key))
    assert pytest.approx((driver.now.wall_ns - START.wall_ns) / 1e9 + 0.1) == driver.wake_s[1]


def test_a_run_that_is_not_on_record_past_its_start_deadline_is_late() -> None:
    driver = Driver((make_job(policy=Policy(start_deadline_ns=seconds(5))),))
    driver.at(10)
    driver.send(events.StartHeld(driver.last_key))
    done = driver.at(15.1)
    assert [skip.reason for skip in of_type(done, effects.SlotsSkipped)] == [SkipReason.LATE]
    assert of_type(done, effects.Start) == []


def test_a_retry_that_waits_for_room_is_no_slot_without_a_run() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(1)))
    driver = Driver((make_job(execution=execution, policy=Policy(start_deadline_ns=seconds(5))),))
    driver.at(10)
    driver.ended(code=1)
    driver.at(11)
    driver.send(events.StartHeld(driver.last_key))
    driver.at(16)
    assert [skip.reason for skip in of_type(driver.done, effects.SlotsSkipped)] == []
    assert [start.attempt for start in driver.starts] == [1, 2, 2]


@pytest.mark.parametrize("request_", [events.StopRequested(), events.KillRequested()], ids=["stop", "kill"])
def test_a_start_that_is_not_on_record_when_a_stop_comes_is_over(request_: events.Event) -> None:
    driver = Driver((make_job(execution=Execution(retry=Retry(max=1))),))
    driver.at(10)
    driver.send(request_)
    done = driver.send(events.StartHeld(driver.last_key))
    assert ends(driver) == [("main", 1, State.CANCELLED, "never started")]
    assert verdicts(driver) == [State.CANCELLED]
    assert of_type(done, effects.Stopped) == [effects.Stopped()]


def test_a_start_that_was_held_before_a_stop_is_left_to_the_next_start() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.send(events.StartHeld(driver.last_key))
    assert driver.send(events.StopRequested()) == [effects.Stopped()]
    assert (ends(driver), verdicts(driver)) == ([], [])
    assert driver.at(60) == []


# --- what nobody knows ---


def test_news_of_unknown_attempts_are_forgotten() -> None:
    driver = Driver((make_job(),))
    assert driver.began("unknown.main.1") == []
    assert driver.failed("unknown.main.1") == []
    assert driver.ended("unknown.main.1") == [effects.Forget(("unknown.main.1",))]
    assert driver.send(events.StartHeld("unknown.main.1")) == []
    assert driver.send(events.OrphanAdopted("unknown.main.1", 7)) == []
    assert driver.send(events.AttemptGone("unknown.main.1")) == []


# --- the picture ---


def test_a_snapshot_shows_what_goes_on() -> None:
    execution = Execution(timeout_ns=seconds(5), retry=Retry(max=1, delay_ns=seconds(60)))
    jobs = (
        make_job("a", command="sleep 9", execution=execution),
        make_job("b", Interval(seconds(11)), policy=Policy(priority=-1)),
        make_job("c", Interval(seconds(9)), execution=execution),
    )
    driver = Driver(jobs, Settings(max_workers=1))
    driver.at(9)
    driver.ended(code=2)
    driver.at(10)
    driver.began(pid=42)
    driver.at(11)
    picture = take_snapshot(driver.engine, driver.now, started_ns=START.wall_ns, rows=2)
    assert (
        picture.jobs, picture.max_workers, picture.ready, picture.waiting_retries, picture.stopping
    ) == (3, 1, 1, 1, False)  # fmt: skip
    assert [(row.job, (row.slot_ns - START.wall_ns) / seconds(1)) for row in picture.queue] == [
        ("c", 18),
        ("a", 20),
    ]
    [worker] = picture.workers
    assert ("a", 42, "sleep 9", "", seconds(5)) == (
        worker.job, worker.pid, worker.command, worker.note, worker.timeout_ns
    )  # fmt: skip
    assert [(row.job, row.state, row.detail) for row in picture.recent] == [("c", State.FAILED, "exit 2")]
    assert (picture.counters.started, picture.counters.failed, picture.counters.retried) == (2, 1, 1)
    driver.at(15)
    [worker] = take_snapshot(driver.engine, driver.now, started_ns=0, rows=9).workers
    assert worker.note == "timed out, ending"

"""What a scheduler goes on with: runs that an earlier one did not finish, and what became of them since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.policy import MAX_RERUNS
from taskman_cli.core.model import (
    Execution,
    Exit,
    Mode,
    OnCrash,
    Overlap,
    Policy,
    Retry,
    Settings,
    SkipReason,
    State,
    Trigger,
)
from taskman_cli.core.schedule import Interval

KILL, TERM = 9, 15
RUN = "1k0zpm61m0"
KEY = f"{RUN}.main.1"
#: When its process came to be, and when that ended, if it did.
BEGAN = Now(START.wall_ns - seconds(4), START.elapsed_ns - seconds(4))
ENDED = Now(START.wall_ns - seconds(1), START.elapsed_ns - seconds(1))
RETRY = Execution(retry=Retry(max=2, delay_ns=seconds(3)))

Fate = events.Told | events.Unstarted | events.Gone | events.Going | events.Over | events.StartFailed

going = events.Going(77, BEGAN)
orphan = events.Going(77, BEGAN, is_orphan=True)
unstarted = events.Unstarted()
gone = events.Gone()


def over(key: str = KEY, code: int | None = 0, *, ending: State | None = None) -> events.Over:
    """Make the end of a process; without a code nobody knows how."""
    return events.Over(77, BEGAN, events.AttemptEnded(key, Exit(code), ENDED), ending)


def failed(key: str = KEY) -> events.StartFailed:
    return events.StartFailed(key, "not found: x", is_transient=False, at=ENDED)


def told(state: State = State.FAILED, *, next_s: float | None = None) -> events.Told:
    """Make an end on record; `next_s`: when the next attempt is to begin, in seconds after the start."""
    return events.Told(state, ENDED.wall_ns, None if next_s is None else START.wall_ns + seconds(next_s))


def opened(
    *fates: Fate, job: str = "job", run: str = RUN, slot_s: float | None = -5, **tasks: Fate
) -> events.OpenRun:
    """Make a run: of attempts of one task, in the order of their numbers, or of one attempt of each task."""
    attempts = [events.OpenAttempt("main", number, fate) for number, fate in enumerate(fates, 1)]
    attempts += [events.OpenAttempt(task, 1, fate) for task, fate in tasks.items()]
    slot_ns = None if slot_s is None else START.wall_ns + seconds(slot_s)
    return events.OpenRun(run, job, slot_ns, Trigger.SLOT, tuple(attempts))


def recovered(*runs: events.OpenRun, now: Now = START, **options: Any) -> Driver:
    """Let a scheduler begin with a job and these runs."""
    return Driver((make_job(**options),), now=now, is_first=False, runs=runs)


def cancelled(run: events.OpenRun) -> events.OpenRun:
    return replace(run, is_cancelled=True)


def ends(driver: Driver) -> list[tuple[str, int, State, str]]:
    return [
        (end.task, end.attempt, end.state, end.detail)
        for end in of_type(driver.done, effects.AttemptFinished)
    ]


def verdicts(driver: Driver) -> list[State]:
    return [finished.state for finished in of_type(driver.done, effects.RunFinished)]


def started(driver: Driver) -> list[tuple[str, int]]:
    return [(start.task.id, start.attempt) for start in driver.starts]


def signals(done: list[effects.Effect]) -> list[tuple[str, int]]:
    return [(effect.key, int(effect.signum)) for effect in of_type(done, effects.Signal)]


def forgotten(driver: Driver) -> list[str]:
    return [key for forget in of_type(driver.done, effects.Forget) for key in forget.keys]


def spawned(driver: Driver) -> list[tuple[int, Now]]:
    return [(record.pid, record.started) for record in of_type(driver.done, effects.AttemptSpawned)]


# --- each fate ---


def test_a_run_that_goes_on_is_taken_over_with_what_is_left_of_its_timeout() -> None:
    driver = recovered(opened(going), execution=Execution(timeout_ns=seconds(10)))
    assert driver.starts == []
    assert spawned(driver) == [(77, BEGAN)]
    assert driver.wake_s == (10, 6)
    driver.at(2)
    driver.ended(KEY)
    assert verdicts(driver) == [State.SUCCEEDED]
    assert [seconds(6)] == [end.duration_ns for end in of_type(driver.done, effects.AttemptFinished)]
    assert forgotten(driver) == [KEY]


def test_an_attempt_that_is_not_on_record_is_so_before_it_goes_on_and_does_not_begin_again() -> None:
    run = opened(a=going, b=going)
    first, second = run.attempts
    run = replace(run, attempts=(first, replace(second, is_on_record=False)))
    driver = recovered(run, tasks=("a", "b"))
    assert [(begun.task, begun.attempt) for begun in of_type(driver.done, effects.AttemptBegun)] == [("b", 1)]
    assert driver.starts == []
    for attempt in run.attempts:
        driver.ended(f"{RUN}.{attempt.task}.1", code=int(attempt.task == "b"))
    assert verdicts(driver) == [State.FAILED]


def test_a_timeout_that_passed_meanwhile_is_up_at_once() -> None:
    driver = recovered(opened(going), execution=Execution(timeout_ns=seconds(2)))
    assert signals(driver.at(0)) == [(KEY, TERM)]


def test_an_end_that_came_meanwhile_is_heard_of() -> None:
    driver = recovered(opened(over(code=3)))
    assert ends(driver) == [("main", 1, State.FAILED, "exit 3")]
    assert verdicts(driver) == [State.FAILED]
    [end] = of_type(driver.done, effects.AttemptFinished)
    assert (ENDED.wall_ns, seconds(3)) == (end.ended_ns, end.duration_ns)
    assert spawned(driver) == [(77, BEGAN)]
    assert forgotten(driver) == [KEY]


def test_a_start_that_failed_meanwhile_is_heard_of() -> None:
    driver = recovered(opened(failed()))
    assert ends(driver) == [("main", 1, State.FAILED, "not found: x")]
    assert [end.duration_ns for end in of_type(driver.done, effects.AttemptFinished)] == [0]
    assert verdicts(driver) == [State.FAILED]
    assert forgotten(driver) == [KEY]


def test_what_was_on_record_and_never_started_starts_under_the_same_record() -> None:
    driver = recovered(opened(unstarted))
    assert [start.key for start in driver.starts] == [KEY]
    assert of_type(driver.done, effects.AttemptBegun) == []
    driver.ended()
    assert verdicts(driver) == [State.SUCCEEDED]


def test_what_never_started_and_is_too_late_now_is_a_slot_without_a_run() -> None:
    driver = recovered(opened(unstarted), policy=Policy(start_deadline_ns=seconds(4)))
    assert (driver.starts, verdicts(driver)) == ([], [])
    assert [(skip.run, skip.reason) for skip in of_type(driver.done, effects.SlotsSkipped)] == [
        (RUN, SkipReason.LATE)
    ]
    assert [record.run for record in of_type(driver.done, effects.AttemptWithdrawn)] == [RUN]


def test_an_end_that_nobody_saw_is_lost() -> None:
    driver = recovered(opened(gone), execution=RETRY)
    assert ends(driver) == [("main", 1, State.LOST, "its end was not seen")]
    assert [end.duration_ns for end in of_type(driver.done, effects.AttemptFinished)] == [None]
    assert verdicts(driver) == [State.LOST]
    assert driver.starts == []
    assert forgotten(driver) == [KEY]


def test_what_came_before_in_a_sequence_is_over_though_the_ledger_was_lost() -> None:
    job = make_job(tasks=("a", "b", "c"), policy=Policy(mode=Mode.SEQUENCE))
    item = replace(opened(b=going), is_on_record=False)
    driver = Driver((job,), is_first=False, runs=(item,))
    finish_all(driver)
    assert ([start.task.id for start in driver.starts], verdicts(driver)) == (["c"], [State.SUCCEEDED])


def test_an_end_on_record_is_not_told_twice() -> None:
    driver = recovered(opened(told(State.FAILED)))
    assert ends(driver) == []
    assert verdicts(driver) == [State.FAILED]
    assert driver.wake_s == (10, None)


FATES: dict[str, Fate] = {
    "told": told(State.SUCCEEDED),
    "told-and-retried": told(State.FAILED, next_s=0),
    "unstarted": unstarted,
    "gone": gone,
    "going": going,
    "orphan": orphan,
    "over": over(f"{RUN}.a.1"),
    "start-failed": failed(f"{RUN}.a.1"),
}
#: How the run ends whose task `a` met this fate, when all that is begun from there on succeeds.
VERDICTS = {"gone": State.LOST, "start-failed": State.FAILED}


def finish_all(driver: Driver) -> None:
    """Let all that runs succeed, and all that waits begin."""
    for _ in range(10):
        driver.at((driver.now.wall_ns - START.wall_ns) / seconds(1))
        for key in list(driver.engine.pool.running):
            driver.ended(key)


@pytest.mark.parametrize("is_on_record", [True, False], ids=["on-record", "unknown"])
@pytest.mark.parametrize("defined", ["job", "no-task", "no-job"])
@pytest.mark.parametrize("is_cancelled", [False, True], ids=["", "cancelled"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("fate", FATES)
def test_a_run_ends_once_whatever_has_become_of_it(
    fate: str, mode: Mode, is_cancelled: bool, defined: str, is_on_record: bool
) -> None:
    tasks = ("b", "c") if defined == "no-task" else ("a", "b", "c")
    job = make_job("other" if defined == "no-job" else "job", tasks=tasks, policy=Policy(mode=mode))
    item = replace(opened(a=FATES[fate]), is_cancelled=is_cancelled, is_on_record=is_on_record)
    driver = Driver((job,), is_first=False, runs=(item,))
    finish_all(driver)
    # Once, with each task that is still defined brought to its end, unless it was cancelled or one failed.
    [finished] = of_type(driver.done, effects.RunFinished)
    has_failed = fate in VERDICTS or (fate == "told-and-retried" and defined != "job")
    expected = State.FAILED if fate == "told-and-retried" and defined != "job" else VERDICTS.get(fate)
    if fate == "unstarted" and defined != "job":
        has_failed, expected = True, State.CANCELLED
    # Where the ledger is another, what is not known of may have been over: it is not begun.
    is_unheard = not is_on_record and defined != "no-job"
    is_unheard &= mode is Mode.PARALLEL or defined == "no-task"
    if is_unheard and expected is not State.FAILED:
        expected = State.LOST
    expected = State.CANCELLED if is_cancelled else expected or State.SUCCEEDED
    assert (RUN, expected) == (finished.run, finished.state)
    begun = {start.task.id for start in driver.starts}
    if is_cancelled or defined == "no-job":
        assert set() == begun
    elif has_failed and mode is Mode.SEQUENCE:
        assert begun <= {"a"}
    elif is_unheard:
        assert begun <= {"a"}
        assert (
            fate == "unstarted"
            or finished.detail == "b, c: the ledger was lost, so their results are unknown"
        )
    else:
        assert {"b", "c"} <= begun
    # Nothing without a command is ever started, and nothing twice.
    assert all(start.task.command for start in driver.starts)
    keys = [start.key for start in driver.starts]
    assert sorted(set(keys)) == sorted(keys)
    # No end is told that was on record, nor twice; each that is told is forgotten.
    told_ends = [(end.task, end.attempt) for end in of_type(driver.done, effects.AttemptFinished)]
    assert len(set(told_ends)) == len(told_ends)
    assert {f"{RUN}.{task}.{number}" for task, number in told_ends} == set(forgotten(driver))
    assert (("a", 1) in told_ends) == (
        not fate.startswith("told") and (fate != "unstarted" or (defined == "job" and not is_cancelled))
    )
    queued = [record.run for record in of_type(driver.done, effects.RunQueued)]
    assert ([] if is_on_record else [RUN]) == queued
    # Nothing is left of it.
    assert not driver.engine.pool.running
    assert (driver.engine.pool.ready_count, driver.engine.pool.resting_count) == (0, 0)


# --- several attempts, several tasks ---


def test_the_latest_attempt_counts() -> None:
    key = f"{RUN}.main.2"
    driver = recovered(opened(told(next_s=-1), over(key, 1)), execution=RETRY)
    assert ends(driver) == [("main", 2, State.FAILED, "exit 1")]
    # The third begins three seconds after the end of the second, which was a second ago.
    assert driver.wake_s == (10, 2)
    driver.at(2)
    assert started(driver) == [("main", 3)]


@pytest.mark.parametrize(
    ("now_s", "wake_s"), [(0, 2), (1.5, 2), (-1000, -997)],
    ids=["at-once", "later", "the-clock-was-put-back"],
)  # fmt: skip
def test_a_retry_rests_for_what_is_left_of_its_pause_and_never_longer(now_s: float, wake_s: float) -> None:
    now = Now(START.wall_ns + seconds(now_s), START.elapsed_ns + seconds(now_s))
    driver = recovered(opened(told(next_s=2)), now=now, execution=RETRY)
    assert wake_s == driver.wake_s[1]
    assert driver.engine.pool.resting_count == 1
    driver.at(wake_s)
    assert started(driver) == [("main", 2)]


@pytest.mark.parametrize("now_s", [2, 60], ids=["when-due", "long-after"])
def test_a_retry_whose_pause_is_over_starts_at_once(now_s: float) -> None:
    now = Now(START.wall_ns + seconds(now_s), START.elapsed_ns + seconds(now_s))
    driver = recovered(opened(told(next_s=2)), now=now, execution=RETRY)
    assert started(driver) == [("main", 2)]


def test_a_retry_that_rests_is_no_slot_without_a_run_however_late_it_begins() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(60)))
    policy = Policy(start_deadline_ns=seconds(15))
    driver = recovered(opened(told(next_s=59)), execution=execution, policy=policy)
    driver.at(20)
    driver.at(59)
    assert started(driver) == [("main", 2)]
    assert {skip.run for skip in of_type(driver.done, effects.SlotsSkipped)} == {None}


def test_tasks_that_had_not_begun_begin_when_those_before_have_ended() -> None:
    policy = Policy(mode=Mode.SEQUENCE)
    driver = recovered(opened(a=over(f"{RUN}.a.1")), tasks=("a", "b"), policy=policy)
    assert started(driver) == [("b", 1)]
    driver = recovered(opened(a=told(State.SUCCEEDED)), tasks=("a", "b"), policy=policy)
    assert started(driver) == [("b", 1)]
    driver = recovered(opened(a=going), tasks=("a", "b"), policy=policy)
    assert driver.starts == []
    driver.ended(f"{RUN}.a.1")
    assert started(driver) == [("b", 1)]


def test_nothing_follows_a_task_of_a_sequence_that_failed_while_nobody_was_there() -> None:
    policy = Policy(mode=Mode.SEQUENCE)
    for fate in (over(f"{RUN}.a.1", 1), told(State.TIMED_OUT), gone):
        driver = recovered(opened(a=fate), tasks=("a", "b"), policy=policy)
        assert driver.starts == []
        assert [finished.undone for finished in of_type(driver.done, effects.RunFinished)] == [("b",)]


def test_tasks_side_by_side_that_had_not_begun_begin_at_once() -> None:
    driver = recovered(opened(a=going), tasks=("a", "b"))
    assert started(driver) == [("b", 1)]


def test_a_run_of_many_tasks_ends_with_the_last_of_them() -> None:
    driver = recovered(
        opened(a=told(State.SUCCEEDED), b=over(f"{RUN}.b.1"), c=gone, d=going), tasks=("a", "b", "c", "d")
    )
    assert verdicts(driver) == []
    driver.ended(f"{RUN}.d.1")
    assert verdicts(driver) == [State.LOST]


# --- on_crash ---


@pytest.mark.parametrize("on_crash", OnCrash)
def test_on_crash_says_whether_what_was_lost_is_run_again(on_crash: OnCrash) -> None:
    driver = recovered(opened(gone), policy=Policy(on_crash=on_crash))
    driver.at(0)
    if on_crash is not OnCrash.RERUN:
        assert (started(driver), verdicts(driver)) == ([], [State.LOST])
        return
    assert started(driver) == [("main", 2)]
    assert [end.retry_in_ns for end in of_type(driver.done, effects.AttemptFinished)] == [0]
    driver.ended()
    assert verdicts(driver) == [State.SUCCEEDED]


@pytest.mark.parametrize("before", range(MAX_RERUNS + 1))
def test_a_run_is_run_again_only_so_often(before: int) -> None:
    fates = [told(State.LOST, next_s=-1)] * before
    driver = recovered(opened(*fates, gone), policy=Policy(on_crash=OnCrash.RERUN))
    driver.at(0)
    if before < MAX_RERUNS:
        assert started(driver) == [("main", before + 2)]
    else:
        assert (started(driver), verdicts(driver)) == ([], [State.LOST])


@pytest.mark.parametrize("on_crash", OnCrash)
def test_an_end_without_an_exit_code_is_lost_and_never_run_again(on_crash: OnCrash) -> None:
    driver = recovered(opened(over(code=None)), policy=Policy(on_crash=on_crash), execution=RETRY)
    driver.at(0)
    words = "exit code unknown: its supervisor had died"
    assert ends(driver) == [("main", 1, State.LOST, words)]
    assert (started(driver), verdicts(driver)) == ([], [State.LOST])


# --- orphans ---


def test_an_orphan_is_adopted() -> None:
    driver = recovered(opened(orphan), execution=Execution(timeout_ns=seconds(10)))
    [adopt] = of_type(driver.done, effects.Adopt)
    assert (KEY, RUN, "job", "main", 1, START.wall_ns - seconds(5), Trigger.SLOT, 77, BEGAN) == (
        adopt.key, adopt.run, adopt.job, adopt.task.id, adopt.attempt, adopt.slot_ns, adopt.trigger,
        adopt.pid, adopt.started,
    )  # fmt: skip
    assert driver.wake_s == (10, 6)
    assert driver.send(events.OrphanAdopted(KEY, 77)) == [effects.AttemptAdopted(RUN, "job", "main", 1, 77)]
    driver.ended(KEY)
    assert verdicts(driver) == [State.SUCCEEDED]


@pytest.mark.parametrize("on_crash", OnCrash)
def test_an_orphan_that_is_not_there_any_more_is_lost(on_crash: OnCrash) -> None:
    driver = recovered(opened(orphan), policy=Policy(on_crash=on_crash))
    driver.send(events.AttemptGone(KEY))
    assert ends(driver) == [("main", 1, State.LOST, "its end was not seen")]
    assert forgotten(driver) == [KEY]
    driver.at(0)
    assert ([("main", 2)] if on_crash is OnCrash.RERUN else []) == started(driver)


def test_an_orphan_that_is_to_end_is_adopted_first() -> None:
    driver = recovered(cancelled(opened(orphan)))
    actions = [effect for effect in driver.done if isinstance(effect, effects.Adopt | effects.Signal)]
    assert [effects.Adopt, effects.Signal] == [type(action) for action in actions]
    assert signals(driver.done) == [(KEY, TERM)]


def test_only_orphans_are_adopted() -> None:
    assert of_type(recovered(opened(going)).done, effects.Adopt) == []


# --- runs that were told to end ---


def test_a_run_whose_signal_was_never_sent_is_told_to_end() -> None:
    driver = recovered(
        cancelled(opened(going)), execution=Execution(kill_timeout_ns=seconds(2), retry=Retry(max=1))
    )
    assert of_type(driver.done, effects.Signal) == [effects.Signal(KEY, TERM, State.CANCELLED)]
    assert of_type(driver.done, effects.RunCancelling) == []
    assert driver.wake_s == (10, 2)
    assert signals(driver.at(2)) == [(KEY, KILL)]
    driver.ended(KEY, signum=KILL)
    assert verdicts(driver) == [State.CANCELLED]


def test_a_run_that_was_told_is_not_told_again_before_the_kill() -> None:
    told_to = replace(going, ending=State.CANCELLED)
    driver = recovered(cancelled(opened(told_to)), execution=Execution(kill_timeout_ns=seconds(2)))
    assert signals(driver.done) == []
    assert signals(driver.at(2)) == [(KEY, KILL)]


def test_a_kill_timeout_goes_on_from_when_the_run_was_told_to_end() -> None:
    told = Now(START.wall_ns - seconds(3), START.elapsed_ns - seconds(3))
    told_to = replace(going, ending=State.TIMED_OUT, told=told)
    driver = recovered(opened(told_to), execution=Execution(kill_timeout_ns=seconds(4)))
    # The ledger may be another by now.
    ending = effects.AttemptEnding(RUN, "job", "main", 1, State.TIMED_OUT, told)
    assert of_type(driver.done, effects.AttemptEnding) == [ending]
    assert ending in driver.engine.restate(driver.now)
    assert signals(driver.done) == []
    assert signals(driver.at(1)) == [(KEY, KILL)]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("is_over", [True, False], ids=["over", "going"])
def test_a_run_that_only_the_supervisor_knows_to_be_cancelled_begins_nothing_more(
    mode: Mode, is_over: bool
) -> None:
    key = f"{RUN}.a.1"
    fate: Fate = replace(going, ending=State.CANCELLED)
    if is_over:
        fate = over(key, ending=State.CANCELLED)
    driver = recovered(opened(a=fate), tasks=("a", "b"), policy=Policy(mode=mode), execution=RETRY)
    assert of_type(driver.done, effects.RunCancelling) == [effects.RunCancelling(RUN, "job")]
    if not is_over:
        driver.ended(key, signum=TERM)
    assert driver.starts == []
    assert verdicts(driver) == [State.CANCELLED]


def test_what_ended_because_of_its_timeout_has_timed_out() -> None:
    execution = Execution(timeout_ns=seconds(1))
    driver = recovered(opened(over(ending=State.TIMED_OUT)), execution=execution)
    assert verdicts(driver) == [State.TIMED_OUT]


def test_an_attempt_of_a_cancelled_run_that_never_started_is_taken_back() -> None:
    driver = recovered(cancelled(opened(unstarted)))
    assert [record.run for record in of_type(driver.done, effects.AttemptWithdrawn)] == [RUN]
    assert (driver.starts, verdicts(driver)) == ([], [State.CANCELLED])
    assert driver.engine.metrics.counters().started == 0


# --- what is not defined any more ---


def test_the_end_of_a_run_whose_job_is_gone_is_told() -> None:
    driver = recovered(opened(going, job="gone"))
    driver.ended(KEY)
    assert [(finished.job, finished.state) for finished in of_type(driver.done, effects.RunFinished)] == [
        ("gone", State.SUCCEEDED)
    ]


def test_tasks_that_are_new_begin_with_the_run_that_goes_on() -> None:
    driver = recovered(opened(old=going, slot_s=None))
    assert started(driver) == [("main", 1)]
    driver.ended()
    driver.ended(f"{RUN}.old.1")
    assert verdicts(driver) == [State.SUCCEEDED]


def test_what_is_not_defined_any_more_is_not_begun_and_says_so() -> None:
    driver = recovered(opened(old=unstarted), policy=Policy(mode=Mode.SEQUENCE))
    [finished] = of_type(driver.done, effects.RunFinished)
    words = "the task old is not defined any more"
    assert (State.CANCELLED, ("main",), words) == (finished.state, finished.undone, finished.detail)
    assert driver.starts == []


def test_what_is_not_defined_any_more_is_not_run_again_though_the_job_would_be() -> None:
    policy = Policy(on_crash=OnCrash.RERUN, mode=Mode.SEQUENCE)
    driver = recovered(opened(old=gone), policy=policy)
    driver.at(0)
    assert (driver.starts, verdicts(driver)) == ([], [State.LOST])


def test_a_run_of_a_job_that_is_gone_and_far_too_late_ends_too() -> None:
    driver = recovered(opened(unstarted, job="gone", slot_s=-100_000))
    assert verdicts(driver) == [State.CANCELLED]


# --- what is not on record ---


def test_a_run_that_only_the_supervisor_knows_of_is_put_on_record() -> None:
    driver = recovered(replace(opened(going), is_on_record=False))
    slot_ns = START.wall_ns - seconds(5)
    assert [
        effects.RunQueued(RUN, "job", slot_ns, Trigger.SLOT, slot_ns),
        effects.AttemptBegun(RUN, "job", "main", 1, slot_ns),
        effects.AttemptSpawned(RUN, "job", "main", 1, 77, BEGAN, delay_ns=BEGAN.wall_ns - slot_ns),
    ] == [
        effect
        for effect in driver.done
        if isinstance(effect, effects.RunQueued | effects.AttemptBegun | effects.AttemptSpawned)
    ]


# --- with what comes after ---


def test_a_run_that_goes_on_overlaps_the_next_slot() -> None:
    driver = recovered(opened(going))
    driver.at(10)
    assert [(skip.reason, skip.blocker) for skip in of_type(driver.done, effects.SlotsSkipped)] == [
        (SkipReason.OVERLAP, RUN)
    ]


def test_a_run_that_goes_on_overlaps_the_run_at_the_start() -> None:
    job = make_job(policy=Policy(run_on_start=True))
    driver = Driver((job,), runs=(opened(orphan),))
    assert driver.starts == []
    driver.ended(KEY)
    driver.at(10)
    assert len(driver.starts) == 1


def test_runs_that_go_on_hold_their_seats() -> None:
    driver = Driver(
        (make_job(), make_job("b")), Settings(max_workers=1), is_first=False, runs=(opened(going),)
    )
    driver.at(10)
    assert driver.starts == []
    driver.ended(KEY)
    assert [start.job for start in driver.starts] == ["b"]


def test_an_interval_from_the_finish_waits_for_the_run_that_goes_on() -> None:
    driver = recovered(opened(going), schedule=Interval(seconds(10), from_finish=True))
    assert driver.wake_s == (None, None)
    driver.at(3)
    driver.ended(KEY)
    assert driver.wake_s == (13, None)


def test_an_interval_counts_from_the_news_of_the_end() -> None:
    driver = recovered(opened(over()), schedule=Interval(seconds(10), from_finish=True))
    assert driver.wake_s == (10, None)
    assert of_type(driver.done, effects.IntervalEnded) == [effects.IntervalEnded("job", START.wall_ns)]


def test_run_ids_go_on_after_those_taken_over() -> None:
    driver = recovered(opened(going, run="zzzzzzzzz0"), policy=Policy(overlap=Overlap.ALLOW))
    driver.at(10)
    assert [start.run for start in driver.starts] == ["zzzzzzzzz1"]


# --- runs that had begun nothing ---


def waiting(number: int, *, job: str = "job", slot_s: float | None = -5) -> events.OpenRun:
    return opened(job=job, run=f"1k0zpm61m{number}", slot_s=slot_s)


def test_runs_that_had_begun_nothing_go_on_in_order_after_those_that_had() -> None:
    job = make_job(policy=Policy(overlap=Overlap.QUEUE))
    driver = Driver(
        (job,), is_first=False, runs=(waiting(2, slot_s=-1), waiting(1, slot_s=-2), opened(going))
    )
    assert driver.starts == []
    driver.ended(KEY)
    driver.ended()
    assert [start.run for start in driver.starts] == ["1k0zpm61m1", "1k0zpm61m2"]
    assert of_type(driver.done, effects.RunQueued) == []


def test_runs_that_had_begun_nothing_go_on_side_by_side_where_they_may() -> None:
    job = make_job(policy=Policy(overlap=Overlap.ALLOW))
    driver = Driver((job,), is_first=False, runs=(waiting(1), waiting(2), opened(going)))
    assert [start.run for start in driver.starts] == ["1k0zpm61m1", "1k0zpm61m2"]


def test_a_run_that_had_begun_nothing_and_is_too_late_is_a_slot_without_a_run() -> None:
    driver = recovered(waiting(1, slot_s=-20), policy=Policy(start_deadline_ns=seconds(15)))
    assert [(skip.run, skip.reason) for skip in of_type(driver.done, effects.SlotsSkipped)] == [
        ("1k0zpm61m1", SkipReason.LATE)
    ]
    assert driver.starts == []


def test_a_run_that_had_begun_nothing_has_until_its_deadline() -> None:
    driver = Driver(
        (make_job(policy=Policy(start_deadline_ns=seconds(15))), make_job("busy")),
        Settings(max_workers=1),
        is_first=False,
        runs=(opened(going, job="busy"), waiting(1)),
    )
    driver.at(10)
    driver.at(10.1)
    assert [
        skip.run for skip in of_type(driver.done, effects.SlotsSkipped) if skip.reason is SkipReason.LATE
    ] == ["1k0zpm61m1"]


def test_a_run_without_a_slot_was_due_when_it_was_made() -> None:
    driver = recovered(waiting(1, slot_s=None), policy=Policy(start_deadline_ns=seconds(1)))
    assert [start.run for start in driver.starts] == ["1k0zpm61m1"]


@pytest.mark.parametrize(
    ("job", "is_cancelled", "words"),
    [("gone", False, "the job is not defined any more"), ("job", True, "")],
    ids=["no-job", "cancelled"],
)
def test_a_run_that_had_begun_nothing_and_never_will_is_cancelled(
    job: str, is_cancelled: bool, words: str
) -> None:
    driver = recovered(replace(waiting(1, job=job), is_cancelled=is_cancelled))
    assert [("1k0zpm61m1", job, State.CANCELLED, words)] == [
        (finished.run, finished.job, finished.state, finished.detail)
        for finished in of_type(driver.done, effects.RunFinished)
    ]
    assert driver.starts == []


def test_an_interval_from_the_finish_waits_for_a_run_that_had_begun_nothing() -> None:
    driver = recovered(waiting(1), schedule=Interval(seconds(10), from_finish=True))
    assert [start.run for start in driver.starts] == ["1k0zpm61m1"]
    assert driver.wake_s == (None, None)

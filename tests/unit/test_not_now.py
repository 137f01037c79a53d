"""Commands that say "not now", and commands that say whether a run begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds, slot_s

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.fingerprint import fingerprint
from taskman_cli.core.model import (
    GATE,
    GATE_CODES,
    SHELL_GATE_CODES,
    Execution,
    Job,
    Mode,
    OnCrash,
    Overlap,
    Policy,
    Retry,
    Settings,
    SkipReason,
    State,
    Task,
    Trigger,
)

NOT_NOW = Execution(skip_exit_codes=(75,), retry=Retry(max=3))


def gated(*, policy: Policy | None = None, tasks: tuple[str, ...] = ("main",), **values: object) -> Job:
    """Make a job with a gate that may take a second."""
    gate = Task(GATE, "check", Execution(skip_exit_codes=SHELL_GATE_CODES, timeout_ns=seconds(1)))
    execution = Execution(**values)  # type: ignore[arg-type]
    return replace(make_job(policy=policy, tasks=tasks, execution=execution), gate=gate)


def ends(driver: Driver) -> list[State]:
    """Return how runs ended."""
    return [end.state for end in of_type(driver.done, effects.RunFinished)]


def skips(driver: Driver) -> list[tuple[SkipReason, str]]:
    """Return why slots were skipped, with the evidence."""
    return [(skip.reason, skip.detail) for skip in of_type(driver.done, effects.SlotsSkipped)]


def begun(driver: Driver) -> list[str]:
    """Return the tasks that were started, in order."""
    return [start.task.id for start in driver.starts]


def test_a_command_that_says_not_now_ends_its_run_as_skipped_without_a_retry() -> None:
    driver = Driver((make_job(execution=NOT_NOW),))
    driver.at(10)
    driver.began()
    driver.ended(code=75)
    assert (skips(driver), ends(driver)) == ([(SkipReason.NOT_NOW, "exit 75")], [])
    (skip,) = of_type(driver.done, effects.SlotsSkipped)
    assert skip.run == driver.starts[0].run
    assert [end.state for end in of_type(driver.done, effects.AttemptFinished)] == [State.SKIPPED]
    counters = driver.engine.metrics.counters()
    assert (counters.skipped, counters.failed) == (1, 0)
    assert [row.detail for row in driver.engine.metrics.recent()] == ["not_now"]
    driver.at(20)
    assert len(driver.starts) == 2


def test_not_now_is_neutral_for_max_failures_and_does_not_count_for_max_runs() -> None:
    policy = Policy(max_failures=2, max_runs=2)
    driver = Driver((make_job(policy=policy, execution=replace(NOT_NOW, retry=Retry())),))
    for second, code in ((10, 1), (20, 75), (30, 1)):
        driver.at(second)
        driver.began()
        driver.ended(code=code)
    armed = driver.engine.timetable.jobs["job"]
    assert armed.park is not None
    assert armed.run_count == 2


def test_a_job_that_had_its_last_run_goes_on_if_that_run_said_not_now() -> None:
    driver = Driver((make_job(policy=Policy(max_runs=1), execution=NOT_NOW),))
    driver.at(10)
    driver.began()
    driver.ended(code=75)
    driver.at(20)
    assert [slot_s(start) for start in driver.starts] == [10, 20]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 75), State.SKIPPED), ((75, 1), State.FAILED), ((75, 75), State.SKIPPED)],
    ids=["the other succeeds", "the other fails", "both"],
)
def test_of_several_tasks_one_that_says_not_now_skips_the_run_unless_one_fails(
    codes: tuple[int, int], expected: State
) -> None:
    execution = replace(NOT_NOW, retry=Retry())
    driver = Driver((make_job(tasks=("a", "b"), execution=execution),))
    driver.at(10)
    for start, code in zip(driver.starts, codes, strict=True):
        driver.ended(start.key, code=code)
    if expected is State.SKIPPED:
        name = "b" if codes[0] == 0 else "a"
        assert (skips(driver), ends(driver)) == ([(SkipReason.NOT_NOW, f"{name}: exit 75")], [])
    else:
        assert (skips(driver), ends(driver)) == ([], [expected])


def test_in_a_sequence_nothing_follows_a_task_that_says_not_now() -> None:
    driver = Driver((make_job(tasks=("a", "b"), policy=Policy(mode=Mode.SEQUENCE), execution=NOT_NOW),))
    driver.at(10)
    driver.ended(code=75)
    assert (begun(driver), skips(driver)) == (["a"], [(SkipReason.NOT_NOW, "a: exit 75")])


def test_a_run_that_somebody_asked_for_may_say_not_now_too() -> None:
    driver = Driver((make_job(execution=NOT_NOW),))
    driver.send(events.RequestReceived(1, protocol.TriggerJob(job="job"), "ann"))
    driver.ended(code=75)
    (skip,) = of_type(driver.done, effects.SlotsSkipped)
    assert (skip.reason, skip.first_ns) == (SkipReason.NOT_NOW, START.wall_ns)


# --- only_if ---


@pytest.mark.parametrize("tasks", [("main",), ("a", "b")])
def test_the_tasks_begin_once_the_gate_has_said_yes(tasks: tuple[str, ...]) -> None:
    driver = Driver((gated(tasks=tasks),))
    driver.at(10)
    driver.began()
    assert begun(driver) == [GATE]
    driver.ended()
    assert begun(driver) == [GATE, *tasks]
    for start in driver.starts[1:]:
        driver.ended(start.key)
    assert (ends(driver), skips(driver)) == ([State.SUCCEEDED], [])
    assert [row.task for row in driver.engine.metrics.recent()] == list(tasks)


def test_a_gate_that_says_no_skips_the_slot_with_its_run() -> None:
    driver = Driver((gated(tasks=("a", "b"), policy=Policy(max_runs=1)),))
    driver.at(10)
    driver.began()
    driver.ended(code=3)
    assert (begun(driver), ends(driver)) == ([GATE], [])
    assert skips(driver) == [(SkipReason.ONLY_IF, "exit 3")]
    driver.at(20)
    assert begun(driver) == [GATE, GATE]


@pytest.mark.parametrize("how", ["unstarted", "killed", "127", "timeout", "lost"])
def test_a_gate_that_gives_no_answer_is_a_failure(how: str) -> None:
    driver = Driver((gated(),))
    driver.at(10)
    if how == "unstarted":
        driver.failed()
    else:
        driver.began()
    if how == "killed":
        driver.ended(signum=9)
    elif how == "127":
        driver.ended(code=127)
    elif how == "timeout":
        driver.at(11)
        driver.ended(signum=15)
    elif how == "lost":
        driver.send(events.AttemptGone(driver.last_key))
    expected = {"timeout": State.TIMED_OUT, "lost": State.LOST}.get(how, State.FAILED)
    assert (begun(driver), ends(driver), skips(driver)) == ([GATE], [expected], [])
    (end,) = of_type(driver.done, effects.RunFinished)
    assert end.undone == ("main",)


def test_a_lost_gate_is_asked_again_with_on_crash_rerun() -> None:
    driver = Driver((gated(policy=Policy(on_crash=OnCrash.RERUN)),))
    driver.at(10)
    driver.began()
    driver.send(events.AttemptGone(driver.last_key))
    driver.at(11)
    assert [(start.task.id, start.attempt) for start in driver.starts] == [(GATE, 1), (GATE, 2)]
    driver.ended()
    assert begun(driver) == [GATE, GATE, "main"]


def test_the_first_task_begins_in_the_seat_of_the_gate_whoever_waits_for_one() -> None:
    urgent = make_job("urgent", policy=Policy(priority=50))
    driver = Driver((gated(policy=Policy(priority=60)), urgent), settings=Settings(max_workers=1))
    driver.at(10)
    driver.began()
    driver.ended()
    assert [(start.job, start.task.id) for start in driver.starts] == [("job", GATE), ("job", "main")]
    assert len(driver.engine.pool.running) == 1


def test_a_task_that_draws_on_resources_waits_for_them_like_all_others() -> None:
    job = gated(resources=(("db", 1),))
    driver = Driver((job,))
    driver.at(10)
    driver.began()
    driver.ended()
    assert begun(driver) == [GATE, "main"]


def test_nothing_begins_after_the_gate_while_no_process_can_be_made_or_taskman_stops() -> None:
    job, other = gated(policy=Policy(priority=1)), make_job("other")
    driver = Driver((job, other))
    driver.at(10)
    gate, second = (start.key for start in driver.starts)
    driver.failed(second, is_transient=True)
    driver.ended(gate)
    assert begun(driver) == [GATE, "main"]
    driver.at(11)
    assert begun(driver) == [GATE, "main", "main", "main"]
    stopping = Driver((gated(),))
    stopping.at(10)
    stopping.began()
    stopping.send(events.DrainRequested())
    stopping.ended()
    assert begun(stopping) == [GATE]


def test_a_cancelled_gate_cancels_its_run() -> None:
    driver = Driver((gated(),))
    driver.at(10)
    driver.began()
    driver.send(events.RequestReceived(1, protocol.Cancel(target="job"), "ann"))
    driver.ended(signum=15)
    assert (ends(driver), skips(driver)) == ([State.CANCELLED], [])


def test_a_run_whose_tasks_were_all_cancelled_does_not_go_on_after_its_gate() -> None:
    driver = Driver((gated(),))
    driver.at(10)
    driver.began()
    driver.send(events.RequestReceived(1, protocol.Cancel(target="job.main"), "ann"))
    driver.ended()
    assert (begun(driver), ends(driver)) == ([GATE], [State.CANCELLED])


def test_a_waiting_run_gets_the_gate_of_the_new_definition() -> None:
    policy = Policy(overlap=Overlap.QUEUE)
    driver = Driver((make_job(policy=policy),))
    driver.at(10)
    driver.at(20)
    driver.send(events.JobsReloaded(1, (gated(policy=policy),), Settings(), (), "ann"))
    driver.ended()
    assert begun(driver) == ["main", GATE]


def test_the_gate_is_a_part_of_the_definition_and_of_the_commands() -> None:
    job = gated()
    assert fingerprint(job) != fingerprint(replace(job, gate=None))
    assert [task.id for task in job.commands] == [GATE, "main"]
    assert [task.id for task in replace(job, gate=None).commands] == ["main"]
    assert job.command_path(GATE) == ("only_if",)


# --- after a restart ---

RUN = "67avwqy000"


def recovered(job: Job, *attempts: events.OpenAttempt, is_on_record: bool = True) -> Driver:
    """Return a scheduler that takes over a run of the job."""
    item = events.OpenRun(
        RUN, "job", START.wall_ns, Trigger.SLOT, attempts, is_on_record=is_on_record
    )  # fmt: skip
    return Driver((job,), is_first=False, runs=(item,))


def attempt(task: str, fate: object) -> events.OpenAttempt:
    """Return an attempt of that run."""
    return events.OpenAttempt(task, 1, fate)  # type: ignore[arg-type]


GOING = events.Going(100, START)


def test_a_run_whose_gate_has_said_yes_goes_on_and_is_not_asked_again() -> None:
    driver = recovered(gated(), attempt(GATE, events.Told(State.SUCCEEDED, START.wall_ns)))
    driver.at(0)
    assert begun(driver) == ["main"]


def test_a_gate_that_still_runs_is_waited_for() -> None:
    driver = recovered(gated(), attempt(GATE, GOING))
    driver.at(0)
    assert begun(driver) == []
    driver.ended(f"{RUN}.{GATE}.1")
    assert begun(driver) == ["main"]


def test_a_gate_that_still_runs_is_waited_for_if_the_ledger_is_new_too() -> None:
    driver = recovered(gated(), attempt(GATE, GOING), is_on_record=False)
    driver.ended(f"{RUN}.{GATE}.1")
    assert begun(driver) == ["main"]


def test_a_gate_that_is_not_defined_any_more_still_says_no() -> None:
    driver = recovered(make_job(), attempt(GATE, GOING))
    driver.ended(f"{RUN}.{GATE}.1", code=GATE_CODES[-1])
    assert skips(driver) == [(SkipReason.ONLY_IF, "exit 255")]


def test_an_attempt_that_was_told_to_end_before_it_was_asked_for_never_starts() -> None:
    driver = recovered(make_job(), attempt("main", events.Unstarted(State.CANCELLED)))
    driver.at(0)
    assert (begun(driver), ends(driver)) == ([], [State.CANCELLED])
    (end,) = of_type(driver.done, effects.AttemptFinished)
    assert (end.detail, end.duration_ns) == ("never started", 0)


def test_what_said_not_now_before_a_restart_skips_its_run() -> None:
    job = make_job(tasks=("a", "b"), execution=NOT_NOW)
    driver = recovered(job, attempt("a", events.Told(State.SKIPPED, START.wall_ns)), attempt("b", GOING))
    driver.ended(f"{RUN}.b.1")
    assert skips(driver) == [(SkipReason.NOT_NOW, "a: ")]

"""`pause --stop`: no time of a timeout passes while a command is stopped, whoever goes on with it."""

from __future__ import annotations

import pytest
from unit.control_scene import Scene
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.answers import job_item, status
from taskman_cli.core.model import Execution, Exit, Job, Mode, Policy, Retry, State
from taskman_cli.core.protocol import Cancel, PauseJobs, Resume, Stop, TriggerJob
from taskman_cli.core.schedule import Interval

KILL, TERM, CONT, STOP = 9, 15, 18, 19
LIMITED = Execution(timeout_ns=seconds(10), kill_timeout_ns=seconds(3))
DAILY = Interval(seconds(86_400))


def limited(name: str = "job") -> Job:
    return make_job(name, DAILY, execution=LIMITED)


def stopped_at(second: float, scene: Scene | None = None) -> Scene:
    """Let a command begin at 0 and be stopped then."""
    scene = scene or Scene(limited(), limited("other"))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.at(second)
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    return scene


def attempt_of(scene: Scene) -> tuple[float | None, float, State]:
    """Return since when the attempt on record is stopped, how long it was before, and its state."""
    [run] = scene.disk.runs.values()
    [attempt] = run.attempts.values()
    since = None if attempt.stopped is None else (attempt.stopped.elapsed_ns - START.elapsed_ns) / 1e9
    return since, round(attempt.stopped_ns / 1e9, 3), attempt.state


def test_while_a_command_is_stopped_none_of_its_timeout_passes() -> None:
    scene = stopped_at(4)
    assert scene.engine.next_wake().elapsed_ns is None
    scene.at(100)
    assert scene.signals == [("job", STOP)]
    assert attempt_of(scene) == (4, 0, State.RUNNING)
    scene.ask(Resume(jobs=["job"]))
    assert attempt_of(scene) == (None, 96, State.RUNNING)
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(106)
    scene.at(105.9)
    assert scene.signals == [("job", STOP), ("job", CONT)]
    scene.at(106)
    assert scene.signals == [("job", STOP), ("job", CONT), ("job", TERM)]
    scene.ended(signum=TERM)
    assert attempt_of(scene)[2] is State.TIMED_OUT


def test_a_command_that_goes_on_at_the_moment_it_was_stopped_is_known_to_have_been_stopped() -> None:
    scene = stopped_at(4)
    scene.ask(Resume(jobs=["job"]))
    since, _, state = attempt_of(scene)
    assert (since, state) == (None, State.RUNNING)
    [run] = scene.disk.runs.values()
    [attempt] = run.attempts.values()
    assert attempt.stopped_ns == 1  # or nobody would send its SIGCONT again after a crash


def test_it_may_be_stopped_several_times_and_a_pause_that_is_made_anew_does_not_stop_it_anew() -> None:
    scene = stopped_at(4)
    scene.at(6)
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    assert attempt_of(scene)[0] == 4
    scene.at(10)
    scene.ask(Resume(jobs=["job"]))
    scene.at(12)
    scene.ask(PauseJobs(jobs=["job"], stop=True, for_ns=seconds(5)))
    scene.at(17)  # it goes on by itself
    assert attempt_of(scene) == (None, 11, State.RUNNING)
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(21)


@pytest.mark.parametrize("is_restated", [False, True], ids=["same ledger", "new ledger"])
def test_another_scheduler_knows_that_it_is_stopped_and_how_long_it_was(*, is_restated: bool) -> None:
    scene = stopped_at(4)
    scene.at(6)
    scene.ask(Resume(jobs=["job"]))
    scene.at(7)
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.restart(is_restated=is_restated)
    assert attempt_of(scene) == (7, 2, State.RUNNING)
    # It may be on record, and the signal not sent.
    assert scene.signals[-1] == ("job", STOP)
    scene.at(50)
    scene.ask(Resume(jobs=["job"]))
    assert attempt_of(scene) == (None, 45, State.RUNNING)
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(55)
    scene.restart(is_restated=is_restated)
    assert scene.signals[-1] == ("job", CONT)
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(55)


def test_what_was_stopped_goes_on_where_the_pause_is_over_before_anybody_is_there() -> None:
    scene = stopped_at(4)
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(10)))
    scene.now = Now(START.wall_ns + seconds(30), START.elapsed_ns + seconds(30))
    scene.restart()
    scene.send(events.Tick())
    assert scene.signals[-1] == ("job", CONT)
    assert attempt_of(scene) == (None, 26, State.RUNNING)


def test_what_was_stopped_goes_on_where_its_job_is_gone() -> None:
    scene = stopped_at(4)
    scene.reload(limited("other"))
    assert scene.signals[-1] == ("job", CONT)
    scene = stopped_at(4)
    scene.jobs = (limited("other"),)
    scene.restart()
    assert scene.signals[-1] == ("job", CONT)
    assert attempt_of(scene) == (None, 0, State.RUNNING)


@pytest.mark.parametrize("request_", [Cancel(target="job"), Stop()], ids=["cancel", "stop"])
def test_what_is_told_to_end_goes_on_for_that_with_its_kill_timeout(request_: Cancel | Stop) -> None:
    scene = stopped_at(4)
    scene.at(9)
    scene.ask(request_)
    assert scene.signals == [("job", STOP), ("job", TERM), ("job", CONT)]
    assert attempt_of(scene) == (None, 5, State.RUNNING)
    scene.at(12)
    assert scene.signals[-1] == ("job", KILL)


def test_what_is_being_ended_is_not_stopped() -> None:
    scene = Scene(limited())
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(Cancel(target="job"))
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    assert [number for _, number in scene.signals] == [TERM]
    assert attempt_of(scene)[0] is None


def test_what_ends_while_it_is_stopped_is_on_record_with_how_long_it_was() -> None:
    scene = stopped_at(4)
    scene.at(9)
    scene.ended(signum=KILL)
    assert attempt_of(scene) == (None, 5, State.FAILED)


def test_a_timeout_that_was_told_too_late_counts_no_time_in_which_it_was_stopped() -> None:
    scene = stopped_at(4)
    scene.at(10)
    scene.ask(Resume(jobs=["job"]))
    scene.now = Now(START.wall_ns + seconds(16), START.elapsed_ns + seconds(16))
    scene.send(events.Tick())
    key = scene.starts[0].key
    before = Now(START.wall_ns + seconds(15.9), START.elapsed_ns + seconds(15.9))
    scene.send(events.AttemptEnded(key, Exit(exit_code=0), before))
    assert attempt_of(scene)[2] is State.SUCCEEDED


def test_a_process_that_was_stopped_before_it_was_told_of_has_all_its_time() -> None:
    scene = Scene(limited())
    scene.ask(TriggerJob(job="job"))
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.began()
    assert scene.engine.next_wake().elapsed_ns is None
    scene.at(5)
    scene.ask(Resume(jobs=["job"]))
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(15)


def test_a_start_that_is_put_off_is_made_when_its_job_goes_on() -> None:
    scene = Scene(limited())
    scene.ask(TriggerJob(job="job"))
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    key = scene.starts[0].key
    scene.send(events.StartFailed(key, "no room", is_transient=True, at=scene.now))
    scene.at(5)
    assert len(scene.starts) == 1
    scene.ask(Resume(jobs=["job"]))
    scene.began()
    assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(15)


@pytest.mark.parametrize("is_restated", [False, True], ids=["same ledger", "new ledger"])
def test_what_cannot_be_stopped_goes_on_and_so_does_its_timeout(*, is_restated: bool) -> None:
    scene = stopped_at(4)
    key, told = scene.starts[0].key, []
    for _ in range(2):  # it may be told again, after another signal
        told += scene.send(events.AttemptUnstoppable(key, "a consumer's task cannot be stopped"))
    [goes_on] = of_type(told, effects.AttemptContinued)
    assert (goes_on.stopped_ns, goes_on.why) == (0, "a consumer's task cannot be stopped")
    for _ in range(2):
        assert attempt_of(scene) == (None, 0, State.RUNNING)
        assert scene.engine.next_wake().elapsed_ns == START.elapsed_ns + seconds(10)
        [row] = status(scene.engine, scene.now, started_ns=0)["running"]
        assert (row["note"], row["stopped_ns"]) == ("goes on: it cannot be stopped", 0)
        item = job_item(scene.engine, scene.engine.timetable.jobs["job"], scene.now)
        assert (item["stopped"], item["unstopped"]) == ([], [row["run"]])
        scene.restart(is_restated=is_restated)
    assert [number for _, number in scene.signals] == [STOP]
    scene.ask(Resume(jobs=["job"]))
    [row] = status(scene.engine, scene.now, started_ns=0)["running"]
    assert row["note"] == ""
    scene.at(10)
    assert scene.signals[-1] == ("job", TERM)


def test_that_a_command_cannot_be_stopped_is_told_too_late_for_one_that_is_over() -> None:
    scene = stopped_at(4)
    scene.ended(signum=KILL)
    assert scene.send(events.AttemptUnstoppable(scene.starts[0].key, "why")) == []


RETRIED = Execution(retry=Retry(max=1, delay_ns=seconds(5)), kill_timeout_ns=seconds(3))


def retried(second: float = 2) -> Scene:
    """Let a command fail at 1, and its job be stopped before the retry at 6."""
    scene = Scene(make_job("job", DAILY, execution=RETRIED, tasks=("a",)))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.at(1)
    scene.ended(code=1)
    scene.at(second)
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    return scene


@pytest.mark.parametrize("restarts", [0, 1])
@pytest.mark.parametrize("is_restated", [False, True], ids=["same ledger", "new ledger"])
def test_a_retry_waits_until_its_job_goes_on(*, restarts: int, is_restated: bool) -> None:
    scene = retried()
    for _ in range(restarts):
        scene.restart(is_restated=is_restated)
    scene.at(60)
    assert [start.attempt for start in scene.starts] == [1]
    scene.ask(PauseJobs(jobs=["job"], reason="longer"))
    scene.at(70)
    assert [start.attempt for start in scene.starts] == [1]
    scene.ask(Resume(jobs=["job"]))
    assert [start.attempt for start in scene.starts] == [1, 2]


def test_a_retry_waits_for_the_end_of_a_pause_that_ends_by_itself() -> None:
    scene = retried()
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(30)))
    scene.at(20)
    assert len(scene.starts) == 1
    scene.at(32)
    assert len(scene.starts) == 2


def test_a_pause_that_stops_nothing_lets_retries_begin_and_so_does_a_job_that_is_gone() -> None:
    scene = Scene(make_job("job", DAILY, execution=RETRIED))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ended(code=1)
    scene.ask(PauseJobs(jobs=["job"]))
    scene.at(5)
    assert len(scene.starts) == 2
    scene = retried()
    scene.at(6)
    scene.reload()
    assert len(scene.starts) == 2


def test_what_somebody_triggers_after_the_pause_begins() -> None:
    scene = retried()
    scene.at(10)
    reply = scene.ask(TriggerJob(job="job", force=True))
    assert reply["paused"]
    scene.ask(Cancel(target=scene.starts[0].run))
    assert [start.run for start in scene.starts][1:] == [reply["run"]]


def test_a_retry_that_waits_for_its_job_can_be_cancelled() -> None:
    scene = retried()
    scene.at(10)
    scene.ask(Cancel(target="job"))
    scene.ask(Resume(jobs=["job"]))
    scene.at(20)
    assert len(scene.starts) == 1
    assert [run.state for run in scene.disk.runs.values()] == [State.CANCELLED]


def test_the_next_task_of_a_sequence_waits_too() -> None:
    policy = Policy(mode=Mode.SEQUENCE)
    scene = Scene(make_job("job", DAILY, tasks=("a", "b"), policy=policy))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.ended()
    scene.at(10)
    assert [start.task.id for start in scene.starts] == ["a"]
    scene.ask(Resume(jobs=["job"]))
    assert [start.task.id for start in scene.starts] == ["a", "b"]


def test_who_sets_a_job_aside_does_not_let_it_go_on() -> None:
    scene = retried()
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(30)))
    scene.set_aside = {"job": "a fault"}
    scene.restart()
    scene.at(60)
    assert len(scene.starts) == 1


def test_a_job_without_a_timeout_is_stopped_and_goes_on() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.began()
    driver.send(events.RequestReceived(1, PauseJobs(all=True, stop=True), "ann"))
    driver.send(events.RequestReceived(2, Resume(all=True), "ann"))
    assert [effect.signum for effect in of_type(driver.done, effects.Signal)] == [STOP, CONT]


def test_that_it_is_stopped_is_told() -> None:
    scene = stopped_at(4)
    scene.at(9)
    [row] = status(scene.engine, scene.now, started_ns=0)["running"]
    assert (row["note"], row["stopped_ns"]) == ("stopped", seconds(5))
    item = job_item(scene.engine, scene.engine.timetable.jobs["job"], scene.now)
    assert (item["state"], item["stopped"]) == ("running", [row["run"]])
    assert job_item(scene.engine, scene.engine.timetable.jobs["other"], scene.now)["stopped"] == []
    scene.ask(Cancel(target="job"))
    [row] = status(scene.engine, scene.now, started_ns=0)["running"]
    assert (row["note"], row["stopped_ns"]) == ("cancelled, ending", seconds(5))

"""What KILL does not end: told of while taskman runs, and given up when it stops."""

from __future__ import annotations

import pytest
from unit.engine_driver import Driver, make_job, of_type, seconds

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.model import Execution, OnCrash, Policy, Retry, State

KILL, TERM = 9, 15
LIMITED = Execution(timeout_ns=seconds(3), kill_timeout_ns=seconds(2), retry=Retry(max=3))
DETAIL = "was killed and did not end (pid 100)"


def running(execution: Execution = LIMITED, policy: Policy | None = None) -> Driver:
    """Let a command begin at 10."""
    driver = Driver((make_job(execution=execution, policy=policy),))
    driver.at(10)
    driver.began()
    return driver


def stuck() -> Driver:
    """Let a command have been killed at 15 for its timeout, and still be there at 25."""
    driver = running()
    driver.at(13)
    driver.at(15)
    driver.at(25)
    return driver


def notes(driver: Driver) -> list[str]:
    snapshot = take_snapshot(driver.engine, driver.now, started_ns=0, rows=1)
    return [worker.note for worker in snapshot.workers]


def signals(done: list[effects.Effect]) -> list[int]:
    return [int(effect.signum) for effect in of_type(done, effects.Signal)]


def ends(driver: Driver) -> list[tuple[State, str]]:
    return [(end.state, end.detail) for end in of_type(driver.done, effects.AttemptFinished)]


def verdicts(driver: Driver) -> list[State]:
    return [finished.state for finished in of_type(driver.done, effects.RunFinished)]


def test_what_kill_does_not_end_is_told_of_once_and_watched_on() -> None:
    driver = running()
    driver.at(13)
    driver.at(15)
    assert notes(driver) == ["timed out, ending"]
    assert of_type(driver.at(24.9), effects.AttemptStuck) == []
    [record] = of_type(driver.at(25), effects.AttemptStuck)
    assert (record.job, record.task, record.attempt, record.pid) == ("job", "main", 1, 100)
    assert notes(driver) == ["does not end after KILL"]
    assert driver.wake_s == (30, None)
    assert of_type(driver.at(1000), effects.AttemptStuck) == []
    driver.ended(signum=KILL)
    assert ends(driver) == [(State.TIMED_OUT, "killed by SIGKILL")]


@pytest.mark.parametrize(
    "request_",
    [events.StopRequested(), events.KillRequested(), events.DrainRequested()],
    ids=["stop", "kill", "drain"],
)
def test_a_stop_gives_up_at_once_what_kill_has_not_ended_before_it(request_: events.Event) -> None:
    driver = stuck()
    driver.send(request_)
    assert of_type(driver.done, effects.Stopped) == []
    done = driver.at(25)
    assert of_type(done, effects.Abandon) == [effects.Abandon(driver.last_key)]
    assert of_type(done, effects.Stopped) == [effects.Stopped()]
    assert ends(driver) == [(State.LOST, DETAIL)]
    assert verdicts(driver) == [State.LOST]


def test_a_stop_gives_up_what_it_has_killed_when_that_has_had_its_time() -> None:
    driver = running(Execution(kill_timeout_ns=seconds(2)))
    driver.at(11)
    assert signals(driver.send(events.StopRequested())) == [TERM]
    assert signals(driver.at(13)) == [KILL]
    assert signals(driver.send(events.KillRequested())) == [KILL]
    assert driver.wake_s == (None, 23)
    assert of_type(driver.at(22.9), effects.Stopped) == []
    driver.send(events.KillRequested())
    assert of_type(driver.at(23), effects.Stopped) == [effects.Stopped()]
    assert ends(driver) == [(State.LOST, DETAIL)]
    # Should it end all the same, before the program has left: that is nobody's news.
    assert driver.ended(signum=KILL) == [effects.Forget((driver.last_key,))]


@pytest.mark.parametrize("is_signal", [True, False], ids=["kill_signal", "stop --now"])
def test_where_kill_is_the_first_signal_the_time_runs_from_there(*, is_signal: bool) -> None:
    driver = running(Execution(kill_signal=KILL if is_signal else TERM, kill_timeout_ns=seconds(60)))
    driver.at(12)
    driver.send(events.StopRequested() if is_signal else events.KillRequested())
    assert driver.wake_s == (None, 22)
    assert of_type(driver.at(22), effects.Stopped) == [effects.Stopped()]


def test_a_process_that_nobody_has_told_of_is_given_up_like_any_other() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.send(events.KillRequested())
    driver.at(20)
    assert ends(driver) == [(State.LOST, "was killed and did not end")]


def test_what_is_given_up_in_a_drain_is_not_tried_again_beside_itself() -> None:
    driver = running(policy=Policy(on_crash=OnCrash.RERUN))
    driver.send(events.DrainRequested())
    for second in (13, 15, 25):
        driver.at(second)
    assert verdicts(driver) == [State.LOST]
    assert [end.retry_in_ns for end in of_type(driver.done, effects.AttemptFinished)] == [None]


def test_the_others_of_a_stop_are_waited_for() -> None:
    driver = Driver((make_job("stuck"), make_job("slow", execution=Execution(kill_timeout_ns=seconds(60)))))
    driver.at(10)
    for start in driver.starts:
        driver.began(start.key)
    driver.send(events.StopRequested())
    driver.at(20)
    driver.at(30)
    assert verdicts(driver) == [State.LOST]
    assert of_type(driver.done, effects.Stopped) == []
    driver.ended(signum=TERM)
    assert of_type(driver.done, effects.Stopped) == [effects.Stopped()]

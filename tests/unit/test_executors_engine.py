"""Attempts of executors in the engine: names on record, seats, what they wait for, what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.answers import status
from taskman_cli.core.engine.policy import describe, judge
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.executors import ExecutorDefinition, executor_of, kind_and_name, seats_of
from taskman_cli.core.model import Execution, Exit, Job, Overlap, Policy, Resource, Settings, State, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission
from tests.unit.engine_driver import FIXED, START, Driver, make_job, of_type, seconds

FAR = ExecutorDefinition("far", "ssh", max_workers=1)
SETTINGS = replace(FIXED, executors=(FAR,), resources=((seats_of("far"), Resource(1)),))


def far_job(name: str = "job", first_s: float = 10, executor: str = "far") -> Job:
    """Make a job on an executor."""
    execution = Execution(executor=executor, resources=((seats_of(executor), 1),))
    policy = Policy(overlap=Overlap.QUEUE, start_deadline_ns=None)
    return make_job(name, Interval(seconds(first_s)), policy=policy, execution=execution)


def test_the_name_of_an_attempt_is_on_record_before_it_starts() -> None:
    driver = Driver((far_job(),), SETTINGS)
    driver.engine._running.attempts.identity = "id"
    done = driver.at(10)
    [begun], [start] = of_type(done, effects.AttemptBegun), of_type(done, effects.Start)
    assert begun.handle == start.handle == f"far/id.{start.key}"
    assert done.index(begun) < done.index(start)
    assert of_type(Driver((make_job(),), SETTINGS).at(10), effects.AttemptBegun)[0].handle == ""


def test_it_runs_without_a_process_here() -> None:
    driver = Driver((far_job(),), SETTINGS)
    driver.at(10)
    [spawned] = of_type(
        driver.send(events.AttemptStarted(driver.last_key, None, driver.now)), effects.AttemptSpawned
    )
    assert spawned.pid is None


def test_an_end_in_words_is_a_failure_and_says_so() -> None:
    end = Exit(error="KeyError: 'x'")
    assert judge(end, Execution()) is State.FAILED
    assert describe(end, is_shell=True) == "KeyError: 'x'"
    assert judge(Exit(), Execution()) is State.LOST


def test_as_many_run_as_the_executor_may_and_the_others_wait_for_it() -> None:
    driver = Driver((far_job("a"), far_job("b")), SETTINGS)
    driver.at(10)
    assert [start.job for start in driver.starts] == ["a"]
    [wait] = driver.engine.first_waits(driver.engine.waits(driver.now), 2)
    assert (wait.kind, wait.resource) == (WaitsFor.EXECUTOR, None)
    assert wait.reason == "for executor far: all 1 of its workers are busy"
    driver.ended()
    assert [start.job for start in driver.starts] == ["a", "b"]


def test_one_that_is_kept_for_another_is_waited_for() -> None:
    both = Execution(executor="far", resources=(("db", 1), (seats_of("far"), 1)))
    jobs = (
        make_job("holder", Interval(seconds(10)), execution=Execution(resources=(("db", 1),))),
        make_job("first", Interval(seconds(11)), execution=both),
        far_job("second", 12),
    )
    settings = replace(SETTINGS, resources=(("db", Resource(1)), *SETTINGS.resources))
    driver = Driver(jobs, settings)
    for second in (10, 11, 12):
        driver.at(second)
    waits = driver.engine.first_waits(driver.engine.waits(driver.now), 3)
    reasons = {wait.job: wait.reason for wait in waits}
    assert reasons["second"] == "for executor far, which is kept for one that waits before it"


def test_an_executor_without_room_holds_only_its_own_starts_up() -> None:
    settings = replace(SETTINGS, resources=((seats_of("far"), Resource(9)),))
    driver = Driver((far_job("a"), far_job("b", 11), make_job("here", Interval(seconds(11)))), settings)
    driver.at(10)
    [delayed] = of_type(driver.failed(is_transient=True, is_users=True), effects.SpawnDelayed)
    assert (delayed.executor, delayed.user, delayed.run) == ("far", "", driver.starts[0].run)
    driver.at(10.05)
    assert [start.job for start in driver.starts] == ["a"]
    driver.at(11)
    assert sorted(start.job for start in driver.starts) == ["a", "a", "b", "here"]
    assert driver.starts[0].handle == driver.starts[1].handle


def test_progress_and_a_lost_connection_are_shown_and_forgotten() -> None:
    driver = Driver((far_job(),), SETTINGS)
    driver.at(10)
    driver.send(events.AttemptStarted(driver.last_key, None, driver.now))

    def shown() -> tuple[object, ...]:
        [row] = take_snapshot(driver.engine, driver.now, started_ns=START.wall_ns, rows=9).workers
        return row.executor, row.progress, row.note, row.pid

    def told() -> tuple[object, ...]:
        [row] = status(driver.engine, driver.now, started_ns=START.wall_ns)["running"]
        return row["executor"], row["progress"], row["said"]

    assert shown() == ("ssh far", None, "", None)
    assert told() == ("ssh far", None, None)
    driver.send(events.AttemptProgressed(driver.last_key, 0.5, "half"))
    driver.send(events.AttemptUnheard(driver.last_key, "no line"))
    assert shown() == ("ssh far", (0.5, "half"), "no answer: no line", None)
    assert told() == ("ssh far", 0.5, "half")
    driver.send(events.AttemptUnheard(driver.last_key, ""))
    assert shown() == ("ssh far", (0.5, "half"), "", None)
    for event in (events.AttemptProgressed("gone", None, ""), events.AttemptUnheard("gone", "")):
        assert driver.send(event) == []


def test_an_attempt_that_begins_anew_goes_where_its_job_says_now() -> None:
    run = encode_run_id(1)
    for executor, handle in (("near", f"near/.{run}.main.1"), ("local", "")):
        execution = Execution(executor=executor)
        job = make_job("job", Interval(seconds(10)), execution=execution)
        attempt = events.OpenAttempt("main", 1, events.Unstarted(), handle="far/x", is_on_record=False)
        opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,))
        driver = Driver((job,), replace(FIXED, max_workers=1), is_first=False, runs=(opened,))
        [start] = driver.starts
        assert start.handle == handle
        assert of_type(driver.done, effects.AttemptWithdrawn)
        assert of_type(driver.done, effects.AttemptBegun)[-1].handle == handle


def test_an_attempt_of_a_lost_ledger_keeps_the_name_that_it_has() -> None:
    run = encode_run_id(1)
    attempt = events.OpenAttempt("main", 1, events.Unstarted(), handle="far/x", is_on_record=False)
    opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,), is_on_record=False)
    driver = Driver((far_job(),), SETTINGS, is_first=False, runs=(opened,))
    assert driver.starts[0].handle == "far/x"


def test_what_runs_elsewhere_is_not_booked_when_the_load_begins_to_count() -> None:
    driver = Driver((far_job("a"), make_job("b")), SETTINGS)
    driver.at(10)
    driver.engine.pool.configure(replace(SETTINGS, admission=Admission.AUTO))
    assert driver.engine.pool.gate is not None
    assert driver.engine.pool.memory.booked == 0
    for start in list(driver.starts):
        driver.ended(start.key)
    assert driver.engine.pool.running == {}


def test_what_was_never_asked_for_is_withdrawn_until_it_starts() -> None:
    run = encode_run_id(1)
    attempt = events.OpenAttempt("main", 1, events.Unstarted(), handle="far/x")
    opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,))
    driver = Driver((far_job(),), SETTINGS, is_first=False, runs=(opened,))
    kinds = [type(effect) for effect in driver.done]
    assert (
        kinds.index(effects.AttemptWithdrawn) < kinds.index(effects.AttemptBegun) < kinds.index(effects.Start)
    )


def test_what_runs_elsewhere_is_found_again_by_its_name() -> None:
    run = encode_run_id(1)
    going = events.Going(None, START, None, is_orphan=True)
    attempt = events.OpenAttempt("main", 1, going, handle="gone/x")
    opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,))
    driver = Driver((make_job(),), SETTINGS, is_first=False, runs=(opened,))
    [adopt] = of_type(driver.done, effects.Adopt)
    assert (adopt.handle, adopt.pid) == ("gone/x", None)
    [row] = take_snapshot(driver.engine, driver.now, started_ns=START.wall_ns, rows=9).workers
    assert row.executor == "executor gone"
    [adopted] = of_type(driver.send(events.OrphanAdopted(adopt.key, None)), effects.AttemptAdopted)
    assert adopted.pid is None
    [ended] = of_type(driver.send(events.AttemptGone(adopt.key, "no trace")), effects.AttemptFinished)
    assert (ended.state, ended.detail) == (State.LOST, "no trace")


def test_the_load_of_this_machine_holds_no_executor_up() -> None:
    settings = Settings(
        admission=Admission.AUTO, executors=(FAR,), resources=((seats_of("far"), Resource(9)),)
    )
    jobs = (make_job("a", Interval(seconds(10))), make_job("b", Interval(seconds(10))), far_job("c"))
    driver = Driver(jobs, settings)
    busy = Signals(
        cpus=1, runnable=50, memory_bytes=8 << 30, available_bytes=8 << 30, stalled_ns=0, most_workers=None
    )
    driver.at(9.99)
    driver.send(events.SignalsRead(busy))
    driver.at(10)
    driver.send(events.SignalsRead(busy))
    names = [start.job for start in driver.starts]
    assert "c" in names
    assert len(names) < 3
    key = next(start.key for start in driver.starts if start.job == "c")
    done = driver.send(events.AttemptEnded(key, Exit(0, peak_rss_bytes=1 << 30), driver.now))
    assert of_type(done, effects.NeedLearned) == []


@pytest.mark.parametrize(
    ("resource", "executor"), [(seats_of("far"), "far"), ("db", "")], ids=["seats", "other"]
)
def test_the_resource_of_an_executor_is_known_by_its_name(resource: str, executor: str) -> None:
    assert executor_of(resource) == executor


def test_an_executor_is_named_with_its_type() -> None:
    assert kind_and_name("far", [FAR]) == "ssh far"
    assert kind_and_name("gone", [FAR]) == "executor gone"

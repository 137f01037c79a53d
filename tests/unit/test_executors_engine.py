"""Attempts of executors in the engine: names on record, seats, what they wait for, what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskman_cli.core.conditions import Condition, FarWorker, FarWorkers, Reach, as_values, sum_of
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.answers import status
from taskman_cli.core.engine.figures import Figures
from taskman_cli.core.engine.policy import describe, judge
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.engine.view import ExecutorRow
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.executors import ExecutorDefinition, executor_of, kind_and_name, seats_of
from taskman_cli.core.model import Execution, Exit, Job, Overlap, Policy, Resource, Settings, State, Trigger
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission
from taskman_cli.scheduler.heard import Hello, to_event
from taskman_cli.supervisor.wire import PROTOCOL_VERSION
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


def test_a_limit_that_a_reload_brings_holds_for_those_that_wait() -> None:
    unlimited = replace(
        SETTINGS, max_workers=1, executors=(replace(FAR, max_workers=None),),
        resources=((seats_of("far"), Resource(None)),),
    )  # fmt: skip
    jobs = tuple(far_job(name) for name in ("a", "b", "c"))
    driver = Driver(jobs, unlimited)
    driver.at(10)
    assert driver.engine.pool._ready.is_plain
    driver.send(events.JobsReloaded(1, jobs, replace(SETTINGS, max_workers=3), (), "ann"))
    assert [start.job for start in driver.starts] == ["a"]
    driver.began(driver.last_key, pid=0)
    driver.ended(driver.last_key)
    assert [start.job for start in driver.starts] == ["a", "b"]
    driver.send(events.JobsReloaded(2, jobs, replace(unlimited, max_workers=3), (), "ann"))
    assert [start.job for start in driver.starts] == ["a", "b", "c"]


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
    assert sorted(start.job for start in driver.starts) == ["a", "a", "here"]  # at first, one is tried
    tried = [start.key for start in driver.starts if start.job == "a"][-1]
    driver.send(events.AttemptStarted(tried, None, driver.now))
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


def recovered(job: Job, fate: events.Unstarted | events.Going) -> Driver:
    """Return an engine that has found an attempt of a job which was a command here when it began."""
    opened = events.OpenRun(
        encode_run_id(1), "job", None, Trigger.MANUAL, (events.OpenAttempt("main", 1, fate),)
    )
    return Driver((job,), SETTINGS, is_first=False, runs=(opened,))


def test_what_was_to_begin_here_begins_on_the_executor_that_its_job_has_now() -> None:
    driver = recovered(far_job(), events.Unstarted())
    [start], [begun] = driver.starts, of_type(driver.done, effects.AttemptBegun)
    assert start.handle == begun.handle == f"far/.{start.key}"
    assert len(of_type(driver.done, effects.AttemptWithdrawn)) == 1


def test_what_runs_here_still_does_when_its_job_is_for_an_executor_now() -> None:
    driver = recovered(far_job(), events.Going(9, START, None))
    [row] = take_snapshot(driver.engine, driver.now, started_ns=START.wall_ns, rows=9).workers
    assert (row.executor, row.pid) == ("", 9)


def test_an_attempt_of_a_lost_ledger_keeps_the_name_that_it_has() -> None:
    run = encode_run_id(1)
    attempt = events.OpenAttempt("main", 1, events.Unstarted(), handle="far/x", is_on_record=False)
    opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,), is_on_record=False)
    driver = Driver((far_job(),), SETTINGS, is_first=False, runs=(opened,))
    assert driver.starts[0].handle == "far/x"


def test_what_runs_elsewhere_is_not_booked_when_the_load_begins_to_count() -> None:
    driver = Driver((far_job("a"), make_job("b")), SETTINGS)
    driver.at(10)
    driver.engine.pool.configure(replace(SETTINGS, admission=Admission.AUTO), driver.now.elapsed_ns)
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


@pytest.mark.parametrize("most", [9, None], ids=["so many workers", "any number"])
def test_the_load_of_this_machine_holds_no_executor_up(most: int | None) -> None:
    settings = Settings(
        admission=Admission.AUTO, executors=(FAR,), resources=((seats_of("far"), Resource(most)),)
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


def away(driver: Driver, words: str = "executor far: far: no route") -> None:
    """Let the latest start fail since its executor is away."""
    driver.send(events.StartFailed(driver.last_key, words, True, driver.now, is_users=True))


def told(
    reach: Reach, words: str = "", *, workers: FarWorkers | None = None, restarts: int = 0
) -> events.ExecutorTold:
    return events.ExecutorTold("far", Condition(reach, START.elapsed_ns, words, workers), restarts)


def test_a_start_waits_for_an_executor_that_is_away_and_says_so() -> None:
    driver = Driver((far_job("a"), far_job("b", 11)), SETTINGS)
    driver.at(10)
    away(driver)
    assert of_type(driver.done, effects.AttemptFinished) == []
    driver.at(10.05)
    [wait] = driver.engine.first_waits(driver.engine.waits(driver.now), 9)
    assert (wait.kind, wait.job) == (WaitsFor.EXECUTOR, "a")
    assert wait.reason == "for executor far: far: no route (for 50ms)"
    reply = status(driver.engine, driver.now, started_ns=START.wall_ns)
    assert (reply["ready"], reply["retries"]) == (1, 0)
    assert [item["reason"] for item in reply["waiting"]] == [wait.reason]
    driver.send(told(Reach.DOWN, "no line"))
    driver.at(10.06)
    [wait] = driver.engine.first_waits(driver.engine.waits(driver.now), 9)
    assert wait.reason == "for executor far: no line (for 10s)"


WIDE = replace(SETTINGS, resources=((seats_of("far"), Resource(9)),))


def test_after_a_pause_one_is_tried_and_all_begin_when_it_has_begun() -> None:
    driver = Driver((far_job("a"), far_job("b"), far_job("c"), make_job("here")), WIDE)
    driver.at(10)
    begun = [start for start in driver.starts if start.job != "here"]
    assert [start.job for start in begun] == ["a", "b", "c"]
    for start in begun:
        driver.send(events.StartFailed(start.key, "away", True, driver.now, is_users=True))
    assert len(of_type(driver.done, effects.SpawnDelayed)) == 1
    driver.at(10.2)
    [tried] = driver.starts[4:]
    assert driver.engine.pool.ready_count == 2
    driver.send(events.StartFailed(tried.key, "away", True, driver.now, is_users=True))
    assert of_type(driver.done, effects.SpawnDelayed)[-1].pause_ns == seconds(0.2)
    driver.at(10.3)
    assert len(driver.starts) == 5
    driver.at(10.5)
    [tried] = driver.starts[5:]
    driver.send(events.AttemptStarted(tried.key, None, driver.now))
    driver.at(10.5)
    assert len(driver.starts) == 8
    assert driver.engine.pool.ready_count == 0


def test_if_nothing_is_heard_of_the_one_that_is_tried_the_next_is() -> None:
    driver = Driver((far_job("a"), far_job("b")), WIDE)
    driver.at(10)
    for start in [*driver.starts]:
        driver.send(events.StartFailed(start.key, "away", True, driver.now, is_users=True))
    driver.at(10.2)
    driver.at(40)
    assert len(driver.starts) == 3
    driver.at(40.2)
    assert len(driver.starts) == 4


def test_one_that_cannot_be_started_for_a_reason_of_its_own_shows_that_the_executor_is_there() -> None:
    driver = Driver((far_job("a"), far_job("b")), WIDE)
    driver.at(10)
    for start in [*driver.starts]:
        driver.send(events.StartFailed(start.key, "away", True, driver.now, is_users=True))
    driver.at(10.2)
    driver.send(events.StartFailed(driver.last_key, "no such directory", False, driver.now))
    driver.at(10.2)
    assert len(driver.starts) == 4
    assert dict(rows(driver)[1].ends)[State.FAILED] == 1


def test_when_an_executor_says_that_it_is_back_what_waits_begins_at_once() -> None:
    driver = Driver((far_job("a"), far_job("b")), WIDE)
    driver.at(10)
    for _ in range(12):  # until the pause is the longest
        for start in [*driver.starts]:
            driver.send(events.StartFailed(start.key, "away", True, driver.now, is_users=True))
        wake = driver.engine.next_wake().elapsed_ns
        assert wake is not None
        driver.at((wake - START.elapsed_ns) / 1e9)
    assert max(one.pause_ns for one in of_type(driver.done, effects.SpawnDelayed)) == seconds(60)
    away(driver)
    count = len(driver.starts)
    driver.send(told(Reach.DOWN, "no line"))
    driver.send(told(Reach.CONNECTING))
    driver.send(events.Tick())
    assert len(driver.starts) == count
    driver.send(told(Reach.UP))
    driver.send(events.Tick())
    assert len(driver.starts) == count + 2


def test_what_executors_do_is_counted_and_shown() -> None:
    driver = Driver((far_job("a"), far_job("b"), make_job("here")), SETTINGS)
    assert [row.reach for row in rows(driver)] == [Reach.UP, Reach.IDLE]
    driver.at(10)
    for start in [*driver.starts]:
        driver.send(events.AttemptStarted(start.key, None, driver.now))
    here, far = rows(driver)
    assert (here.name, here.running, here.waiting, here.starts) == ("local", 1, 0, 1)
    assert (far.name, far.type, far.running, far.max_workers, far.waiting) == ("far", "ssh", 1, 1, 1)
    assert (far.reach, far.since_elapsed_ns, far.starts) == (Reach.UP, None, 1)
    workers = sum_of([FarWorker("w", 1, 4)])
    driver.send(told(Reach.UP, workers=workers, restarts=2))
    driver.ended(next(start.key for start in driver.starts if start.job == "a"), code=1)
    [_, far] = rows(driver)
    assert (far.restarts, far.workers, dict(far.ends)[State.FAILED]) == (2, workers, 1)
    [_, item] = status(driver.engine, driver.now, started_ns=START.wall_ns)["executors"]
    assert (item["executor"], item["state"], item["failed"], item["lost"]) == ("far", "up", 1, 0)
    assert item["since_ns"] == START.wall_ns
    assert item["workers"] == {
        "count": 1, "running": 1, "slots": 4, "memory_bytes": None, "resources": {},
        "first": [{"worker": "w", "running": 1, "slots": 4, "memory_bytes": None, "resources": {}}],
    }  # fmt: skip
    [_, figures] = Figures(driver.engine).whole(driver.now)["executors"]
    assert figures[:3] == ["far", True, 1]
    assert figures[6:] == [2, [1, 1, 4]]


@pytest.mark.parametrize("left", [(), (ExecutorDefinition("near", "ssh"),)], ids=["none", "another"])
def test_what_runs_on_an_executor_that_a_reload_removed_is_shown_there(
    left: tuple[ExecutorDefinition, ...],
) -> None:
    driver = Driver((far_job("a"),), SETTINGS)
    driver.at(10)
    driver.began(driver.last_key, pid=0)
    settings = replace(SETTINGS, executors=left, resources=())
    driver.send(events.JobsReloaded(1, (make_job("b"),), settings, (), "ann"))
    shown = [(row.name, row.type, row.running, row.waiting) for row in rows(driver)]
    near = [(one.name, "ssh", 0, 0) for one in left]
    assert shown == [("local", "local", 0, 0), *near, ("far", "removed", 1, 0)]
    driver.ended(driver.last_key)
    assert [row.name for row in rows(driver)] == (["local", "near"] if left else [])


def test_without_executors_nothing_is_shown_of_them() -> None:
    assert rows(Driver((make_job(),))) == ()


def test_a_start_that_failed_shows_an_executor_down_that_says_nothing_of_itself() -> None:
    driver = Driver((far_job("a"),), SETTINGS)
    driver.at(10)
    away(driver)
    [_, far] = rows(driver)
    assert (far.reach, far.words, far.waiting) == (Reach.DOWN, "far: no route", 1)
    driver.at(10.2)
    driver.send(events.AttemptStarted(driver.last_key, None, driver.now))
    [_, far] = rows(driver)
    assert (far.reach, far.words) == (Reach.UP, "")


def test_what_is_known_of_an_executor_goes_with_it() -> None:
    driver = Driver((far_job("a"),), SETTINGS)
    driver.send(told(Reach.DOWN, "no line"))
    driver.engine.pool.configure(replace(SETTINGS, executors=()), 0)
    driver.engine.pool.configure(SETTINGS, 0)
    assert rows(driver)[1].reach is Reach.IDLE


def test_an_executor_that_a_reload_defines_otherwise_is_tried_at_once() -> None:
    other = ExecutorDefinition("other", "ssh")
    settings = replace(SETTINGS, executors=(FAR, other))
    driver = Driver((far_job("a"), far_job("b", executor="other")), settings)
    driver.at(10)
    for start in [*driver.starts]:
        driver.send(events.StartFailed(start.key, "no such host", True, driver.now, is_users=True))
    assert [row.words for row in rows(driver)] == ["", "no such host", "no such host"]
    mended = replace(settings, executors=(replace(FAR, settings=(("host", "right"),)), other))
    driver.send(events.JobsReloaded(1, driver.jobs, mended, (), "ann"))
    assert [row.reach for row in rows(driver)] == [Reach.UP, Reach.IDLE, Reach.DOWN]
    driver.send(events.Tick())
    assert [start.job for start in driver.starts] == ["a", "b", "a"]


def rows(driver: Driver) -> tuple[ExecutorRow, ...]:
    return take_snapshot(driver.engine, driver.now, started_ns=START.wall_ns, rows=9).executors


def test_a_slot_that_finds_its_run_waiting_for_the_executor_says_so() -> None:
    policy = Policy(overlap=Overlap.SKIP, start_deadline_ns=None)
    execution = Execution(executor="far", resources=((seats_of("far"), 1),))
    driver = Driver((make_job("a", policy=policy, execution=execution),), SETTINGS)
    driver.at(10)
    for _ in range(7):
        away(driver)
        wake = driver.engine.next_wake().elapsed_ns
        assert wake is not None
        driver.at((wake - START.elapsed_ns) / 1e9)
    away(driver)
    driver.at(20)
    skips = of_type(driver.done, effects.SlotsSkipped)
    assert [skip.detail for skip in skips] == [f"run {driver.starts[0].run} still waits for executor far"]


@pytest.mark.parametrize(
    ("is_over", "state"), [(True, State.CANCELLED), (False, State.LOST)], ids=["over", "not known"]
)
def test_what_was_told_to_end_and_has_is_not_lost(is_over: bool, state: State) -> None:
    driver = Driver((far_job(),), SETTINGS)
    driver.at(10)
    key = driver.last_key
    driver.send(events.AttemptStarted(key, None, driver.now))
    driver.send(events.StopRequested())
    [ended] = of_type(
        driver.send(events.AttemptGone(key, "no trace", is_over=is_over)), effects.AttemptFinished
    )
    assert (ended.state, ended.detail) == (state, "no trace")


def test_what_was_not_told_to_end_is_lost_though_it_is_over() -> None:
    driver = Driver((far_job(),), SETTINGS)
    driver.at(10)
    driver.send(events.AttemptStarted(driver.last_key, None, driver.now))
    gone = events.AttemptGone(driver.last_key, "no trace", is_over=True)
    [ended] = of_type(driver.send(gone), effects.AttemptFinished)
    assert ended.state is State.LOST


@pytest.mark.parametrize(
    ("ending", "state"), [(State.TIMED_OUT, State.TIMED_OUT), (None, State.LOST)], ids=["told", "not told"]
)
def test_the_next_scheduler_says_the_same_of_what_was_told_to_end_and_has(
    ending: State | None, state: State
) -> None:
    run = encode_run_id(1)
    attempt = events.OpenAttempt("main", 1, events.Gone("no trace", ending), handle="far/x")
    opened = events.OpenRun(run, "job", None, Trigger.MANUAL, (attempt,))
    driver = Driver((far_job(),), SETTINGS, is_first=False, runs=(opened,))
    [ended] = of_type(driver.done, effects.AttemptFinished)
    assert ended.state is state


def test_how_an_end_that_was_not_seen_is_told() -> None:
    end = {"lost": "no trace", "is_over": True}
    assert to_event(("ended", "k", end)) == events.AttemptGone("k", "no trace", is_over=True)
    assert to_event(("ended", "k", {"lost": "no trace"})) == events.AttemptGone("k", "no trace")
    meta = ("r", "job", "main", 1, None, "slot", "far/x")
    seen = Hello(
        {
            "version": PROTOCOL_VERSION, "started_ns": 1, "scheduler_ended_ns": None, "kept": {},
            "attempts": [
                ("k", meta, 0, 1, 2, end, "cancelled"), ("l", meta, 0, 1, 2, {"lost": "x"}, "cancelled"),
            ],
        }
    ).attempts  # fmt: skip
    assert [one.fate for one in seen] == [events.Gone("no trace", State.CANCELLED), events.Gone("x")]


def test_an_executor_that_stands_is_told_whole() -> None:
    condition = Condition(Reach.DOWN, 7, "no line", sum_of([FarWorker("w", 1, 4)]))
    told = {"restarts": 2, "condition": as_values(condition)}
    assert to_event(("executor", "far", told)) == events.ExecutorTold("far", condition, 2)
    assert to_event(("executor", "far", {})) == events.ExecutorTold("far", None, 0)

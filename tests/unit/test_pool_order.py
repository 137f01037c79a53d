"""Which of several waiting attempts goes first: priority, with ageing; then slot time; then arrival."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import events
from taskman_cli.core.engine.ready import rank
from taskman_cli.core.engine.runs import Attempt, Run, encode_run_id
from taskman_cli.core.model import GATE, Mode, Overlap, Policy, Retry, Settings, State, Trigger
from taskman_cli.core.schedule import Interval
from tests.unit.engine_driver import START, Driver, make_job, seconds

MINUTE_S = 60
ONE_SEAT = Settings(max_workers=1)


def prioritised(name: str, first_s: float, priority: int = 0):
    """Make a job that is due once, `first_s` after the start."""
    policy = Policy(priority=priority, max_runs=1, start_deadline_ns=None, overlap=Overlap.QUEUE)
    return make_job(name, Interval(seconds(first_s)), policy=policy)


def order(*jobs, settings: Settings = ONE_SEAT, until_s: float = 200) -> list[str]:
    """Return in which order the jobs start behind one that holds the only seat until then."""
    busy = make_job("busy", Interval(seconds(10**6)), policy=Policy(run_on_start=True))
    driver = Driver((busy, *jobs), settings)
    for second in sorted({job.schedule.every_ns / 1e9 for job in jobs}):
        driver.at(second)
    driver.at(until_s)
    for _ in jobs:
        driver.ended()
    return [start.job for start in driver.starts[1:]]


def test_the_higher_priority_goes_first_while_nobody_has_waited_long() -> None:
    assert order(prioritised("low", 10), prioritised("high", 50, 1)) == ["high", "low"]


def test_a_waiting_attempt_gains_a_step_of_priority_each_minute() -> None:
    assert order(prioritised("low", 10), prioritised("high", 10 + 2 * MINUTE_S + 1, 2)) == ["low", "high"]
    assert order(prioritised("low", 10), prioritised("high", 10 + 2 * MINUTE_S - 1, 2)) == ["high", "low"]


def test_ageing_can_be_faster() -> None:
    settings = replace(ONE_SEAT, ageing_ns=seconds(1))
    assert order(prioritised("low", 10), prioritised("high", 15, 4), settings=settings) == ["low", "high"]


def test_without_ageing_waiting_gains_nothing() -> None:
    settings = replace(ONE_SEAT, ageing_ns=None)
    assert order(prioritised("low", 10), prioritised("high", 190, 1), settings=settings) == ["high", "low"]


def test_of_equal_rank_the_earlier_slot_goes_first_and_then_the_first_in_the_file() -> None:
    jobs = (prioritised("third", 12), prioritised("first", 11), prioritised("fourth", 12))
    busy = make_job("busy", Interval(seconds(10**6)), policy=Policy(run_on_start=True))
    driver = Driver((busy, *jobs), ONE_SEAT)
    driver.at(14)  # all of them are noticed at once
    for _ in jobs:
        driver.ended()
    assert [start.job for start in driver.starts[1:]] == ["first", "third", "fourth"]


def test_a_reload_that_changes_the_ageing_orders_those_that_wait_anew() -> None:
    busy = make_job("busy", Interval(seconds(10**6)), policy=Policy(run_on_start=True))
    jobs = (busy, prioritised("low", 10), prioritised("high", 30, 1))
    driver = Driver(jobs, ONE_SEAT)
    driver.at(10)
    driver.at(30)
    driver.send(events.JobsReloaded(1, jobs, replace(ONE_SEAT, ageing_ns=seconds(5)), (), "ann"))
    driver.ended()
    assert driver.starts[-1].job == "low"


def test_a_reload_of_the_job_keeps_how_long_its_run_has_waited() -> None:
    busy = make_job("busy", Interval(seconds(10**6)), policy=Policy(run_on_start=True))
    low, high = prioritised("low", 10), prioritised("high", 80, 1)
    driver = Driver((busy, low, high), ONE_SEAT)
    driver.at(10)
    changed = replace(low, tasks=make_job("low", command="false").tasks)
    driver.at(79)
    driver.send(events.JobsReloaded(1, (busy, changed, high), ONE_SEAT, (), "ann"))
    driver.at(80)
    driver.ended()
    assert driver.starts[-1].job == "low"


def test_the_next_task_of_a_sequence_waits_from_the_end_of_the_one_before() -> None:
    job = make_job("job", policy=Policy(mode=Mode.SEQUENCE, run_on_start=True), tasks=("a", "b"))
    driver = Driver((job, prioritised("other", 5)), ONE_SEAT)
    driver.at(5)
    driver.at(6)
    driver.ended()
    assert driver.starts[-1].job == "other"


def test_an_attempt_that_found_no_room_on_the_machine_keeps_its_place() -> None:
    jobs = (make_job("first", policy=Policy(run_on_start=True)), prioritised("second", 3))
    driver = Driver(jobs, ONE_SEAT)
    driver.at(3)
    driver.failed(is_transient=True)
    driver.at(4)
    assert [start.job for start in driver.starts] == ["first", "first"]


def waiting(name: str, queued_s: float, **more: object) -> events.OpenRun:
    """Return a run that was queued before the start of this scheduler."""
    number = (START.wall_ns + seconds(queued_s)) >> 13
    return events.OpenRun(encode_run_id(number), name, None, Trigger.MANUAL, **more)


def restarted(*runs: events.OpenRun) -> list[str]:
    """Return in which order runs start after a restart."""
    priorities = {"low": 0, "high": 2}
    jobs = tuple(
        make_job(name, Interval(seconds(10**6)), policy=Policy(priority=priorities[name]), tasks=("a", "b"))
        for name in priorities
    )
    jobs = tuple(
        replace(
            job,
            tasks=tuple(
                replace(task, execution=replace(task.execution, retry=Retry(max=3))) for task in job.tasks
            ),
        )
        for job in jobs
    )
    driver = Driver(jobs, ONE_SEAT, is_first=False, runs=runs)
    names = []
    for _ in range(4):
        names.append(driver.starts[-1].job)
        driver.ended()
    return list(dict.fromkeys(names))


def test_a_restart_keeps_how_long_runs_have_waited() -> None:
    assert restarted(waiting("high", -1), waiting("low", -119)) == ["high", "low"]
    assert restarted(waiting("high", -1), waiting("low", -122)) == ["low", "high"]


def test_a_clock_that_was_set_meanwhile_does_not_count_as_waiting() -> None:
    assert restarted(waiting("high", -1), waiting("low", -122, moved_ns=seconds(60))) == ["high", "low"]


def test_a_run_of_the_future_has_not_waited() -> None:
    assert restarted(waiting("low", 3600), waiting("high", -1)) == ["high", "low"]


def test_an_attempt_on_record_that_was_never_asked_for_keeps_its_place() -> None:
    begun = (events.OpenAttempt("a", 1, events.Unstarted()),)
    assert restarted(waiting("high", -1), waiting("low", -122, attempts=begun)) == ["low", "high"]
    assert restarted(waiting("high", -1), waiting("low", -119, attempts=begun)) == ["high", "low"]


def test_a_retry_that_fell_due_while_no_scheduler_ran_has_waited_since() -> None:
    def failed(next_s: float) -> events.OpenRun:
        told = events.Told(State.FAILED, START.wall_ns + seconds(-500), START.wall_ns + seconds(next_s))
        done = events.Told(State.SUCCEEDED, START.wall_ns + seconds(-500))
        return waiting(
            "low", -600, attempts=(events.OpenAttempt("a", 1, told), events.OpenAttempt("b", 1, done))
        )

    assert restarted(waiting("high", -1), failed(-122)) == ["low", "high"]
    assert restarted(waiting("high", -1), failed(-119)) == ["high", "low"]


def test_a_run_whose_gate_has_said_yes_before_a_restart_has_waited_since_it_was_made() -> None:
    def gated(queued_s: float) -> events.OpenRun:
        yes = events.Told(State.SUCCEEDED, START.wall_ns + seconds(-1))
        return waiting("low", queued_s, attempts=(events.OpenAttempt(GATE, 1, yes),))

    assert restarted(waiting("high", -1), gated(-122)) == ["low", "high"]
    assert restarted(waiting("high", -1), gated(-119)) == ["high", "low"]


@given(
    st.lists(
        st.tuples(st.integers(-100, 100), st.integers(0, 10**13), st.integers(-(10**18), 10**18)),
        min_size=2,
        max_size=6,
    ),
    st.integers(1, 10**12),
    st.integers(0, 10**14),
)
def test_the_order_is_that_of_priority_plus_steps_waited_at_any_moment(
    facts: list[tuple[int, int, int]], ageing_ns: int, later_ns: int
) -> None:
    attempts = []
    for priority, since_ns, due_ns in facts:
        job = make_job(policy=Policy(priority=priority))
        run = Run("0" * 10, job, None, Trigger.MANUAL, due_ns)
        attempt = Attempt.of(run, job.tasks[0], 1)
        attempt.waits_since_ns = since_ns
        attempts.append(attempt)
    now_ns = 10**13 + later_ns

    def gained(attempt: Attempt) -> int:
        """Return priority and waiting, in nanoseconds of waiting."""
        assert attempt.waits_since_ns is not None
        return attempt.run.job.policy.priority * ageing_ns + now_ns - attempt.waits_since_ns

    by_rank = sorted(attempts, key=lambda attempt: rank(attempt, ageing_ns))
    by_gain = sorted(attempts, key=lambda attempt: (-gained(attempt), attempt.run.due_ns))
    assert [id(attempt) for attempt in by_rank] == [id(attempt) for attempt in by_gain]


@pytest.mark.parametrize("highest", [1, 100])
def test_no_attempt_waits_longer_than_its_bound(highest: int) -> None:
    # A new attempt of the highest priority each second, and one seat that is free once a second.
    settings = replace(ONE_SEAT, ageing_ns=seconds(1))
    policy = Policy(priority=highest, overlap=Overlap.ALLOW, start_deadline_ns=None, run_on_start=True)
    flood = make_job("flood", Interval(seconds(1)), policy=policy)
    driver = Driver((flood, prioritised("low", 5, -100)), settings)
    bound_s = 5 + (highest + 100) + 1
    for second in range(1, bound_s + 2):
        driver.at(second)
        driver.ended()
        if driver.starts[-1].job == "low":
            break
    assert driver.starts[-1].job == "low"
    assert driver.now <= Now(START.wall_ns + seconds(bound_s), START.elapsed_ns + seconds(bound_s))

"""What monitoring is told: what is counted of runs and slots, and how it is given out in portions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events, figures
from taskman_cli.core.engine.figures import MOST_COLLECTIONS, Figures, JobRow
from taskman_cli.core.engine.histogram import Histogram
from taskman_cli.core.engine.tallies import Tallies
from taskman_cli.core.model import (
    Execution,
    Mode,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
    SkipReason,
    State,
    Trigger,
)
from taskman_cli.core.protocol import PauseJobs, TriggerJob
from taskman_cli.core.schedule import Once, load_zone
from taskman_cli.core.tuning import Admission


def tallies(driver: Driver) -> Tallies:
    return driver.engine.metrics.tallies


def run(driver: Driver, second: float, *, took_s: float = 1, code: int = 0) -> None:
    """Let the slot at a second run."""
    driver.at(second)
    driver.began()
    driver.now = Now(driver.now.wall_ns + seconds(took_s), driver.now.elapsed_ns + seconds(took_s))
    driver.ended(code=code)


# --- histograms ---


@given(st.lists(st.integers(-5, 5_000_000_000)))
def test_a_histogram_counts_each_length_at_the_first_bound_that_is_not_below_it(lengths: list[int]) -> None:
    histogram = Histogram((0.5, 1, 2.5))
    for length_ns in lengths:
        histogram.observe(length_ns)
    bounds = [500_000_000, 1_000_000_000, 2_500_000_000]
    known = [max(0, length_ns) for length_ns in lengths]
    below = [sum(length_ns <= bound for length_ns in known) for bound in bounds]
    told = histogram.as_json()
    assert told["bounds_ns"] == bounds
    assert [sum(told["counts"][: index + 1]) for index in range(4)] == [*below, len(lengths)]
    assert told["total_ns"] == sum(known)


# --- counting ---


def test_runs_are_counted_by_their_end_and_the_last_success_is_known() -> None:
    driver = Driver((make_job(),))
    run(driver, 10)
    run(driver, 20, took_s=3, code=1)
    tally = tallies(driver).of("job")
    assert (tally.succeeded, tally.failed, tally.cancelled) == (1, 1, 0)
    assert (tally.success_ns, tally.duration_ns) == (START.wall_ns + seconds(11), seconds(3))
    assert tallies(driver).runs() == {
        State.SUCCEEDED: 1, State.FAILED: 1, State.TIMED_OUT: 0, State.CANCELLED: 0, State.LOST: 0
    }  # fmt: skip
    assert tallies(driver).slots_run == 2
    assert tallies(driver).durations.total_ns == seconds(4)


def test_a_run_that_times_out_or_is_lost_has_failed_and_a_cancelled_one_has_not() -> None:
    found = Tallies()
    for state in (State.TIMED_OUT, State.LOST, State.FAILED, State.CANCELLED):
        found.finished(effects.RunFinished("r", "job", state, None))
    tally = found.of("job")
    assert (tally.failed, tally.cancelled, tally.duration_ns, tally.success_ns) == (3, 1, None, None)
    assert (found.slots_run, found.durations.counts) == (0, [0] * len(found.durations.counts))


def test_skipped_slots_are_counted_by_reason() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.began()
    driver.at(20)
    driver.engine.metrics.fold([effects.SlotsSkipped("job", 1, 9, None, SkipReason.MISSED, "past counting")])
    owed = effects.SlotsSkipped("job", 1, 9, 3, SkipReason.MISSED, "", is_owed=True)
    driver.engine.metrics.fold([owed])
    skipped = tallies(driver).slots_skipped
    assert {reason: count for reason, count in skipped.items() if count} == {
        SkipReason.OVERLAP: 1, SkipReason.MISSED: 1
    }  # fmt: skip
    assert set(skipped) == set(SkipReason)


def test_a_run_of_several_commands_takes_from_its_first_process_to_its_end() -> None:
    job = make_job(tasks=("one", "two"), policy=Policy(mode=Mode.SEQUENCE))
    driver = Driver((job,))
    driver.at(10)
    driver.began()
    driver.at(12)
    driver.ended()
    driver.began()
    driver.at(15)
    driver.ended()
    assert tallies(driver).of("job").duration_ns == seconds(5)


def test_the_pause_before_a_retry_belongs_to_the_run() -> None:
    job = make_job(execution=Execution(retry=Retry(max=1, delay_ns=seconds(2))))
    driver = Driver((job,))
    run(driver, 10, code=1)
    driver.at(13)
    driver.began()
    driver.at(14)
    driver.ended()
    assert tallies(driver).of("job").duration_ns == seconds(4)
    assert tallies(driver).runs()[State.SUCCEEDED] == 1


def test_a_run_without_a_process_took_no_time() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.failed()
    assert tallies(driver).runs()[State.FAILED] == 1
    assert tallies(driver).of("job").duration_ns is None


def test_a_start_is_as_late_as_its_first_process_and_what_catches_up_is_left_out() -> None:
    driver = Driver((make_job(tasks=("a", "b")),))
    driver.at(10)
    late = Now(driver.now.wall_ns + seconds(0.25), driver.now.elapsed_ns + seconds(0.25))
    for start in driver.starts:
        driver.send(events.AttemptStarted(start.key, 7, late))
    spawned = of_type(driver.done, effects.AttemptSpawned)
    assert [record.delay_ns for record in spawned] == [seconds(0.25), None]
    assert tallies(driver).delays.total_ns == seconds(0.25)
    caught = Driver((make_job(),), is_first=False, since_ns=START.wall_ns - seconds(100))
    caught.at(7)
    assert caught.starts[0].trigger is Trigger.CATCH_UP
    caught.began()
    assert sum(tallies(caught).delays.counts) == 0


def test_the_last_successes_on_record_are_continued_and_told_to_a_new_ledger() -> None:
    driver = Driver((make_job("a"), make_job("b"), make_job("c")))
    tallies(driver).resume({"a": 5, "b": 6, "gone": 7})
    run(driver, 10)  # of c, which was armed last
    marks = of_type(list(driver.engine.restate(driver.now)), effects.SuccessNoted)
    ended_ns = START.wall_ns + seconds(11)
    assert marks == [
        effects.SuccessNoted("a", 5), effects.SuccessNoted("b", 6), effects.SuccessNoted("c", ended_ns)
    ]  # fmt: skip
    tallies(driver).finished(effects.RunFinished("r", "a", State.FAILED, None))
    assert tallies(driver).success_of("a") == 5


def test_a_job_that_is_not_defined_any_more_is_forgotten() -> None:
    driver = Driver((make_job("a"), make_job("b", enabled=False)))
    tallies(driver).resume({"b": 6})
    run(driver, 10)
    driver.send(events.JobsReloaded(1, (), Settings(), (), by="somebody"))
    assert (tallies(driver).jobs, tallies(driver).success_of("b")) == ({}, None)


# --- giving out ---


def collect(found: Figures) -> list[JobRow]:
    number, rows, start = found.begin(START), [], 0
    while True:
        portion = found.jobs(number, start)
        assert portion is not None
        rows += portion[0]
        if portion[1] is None:
            return rows
        start = portion[1]


def test_each_job_has_one_row() -> None:
    off = make_job("off", enabled=False)
    driver = Driver((make_job("a"), make_job("parked", policy=Policy(max_failures=1)), off))
    driver.at(10)
    for start in driver.starts:
        driver.began(start.key)
        driver.ended(start.key, code=1 if start.job == "parked" else 0)
    driver.send(events.RequestReceived(1, PauseJobs(jobs=["a"]), "somebody"))
    a, parked, other = collect(Figures(driver.engine))
    ten_ns = START.wall_ns + seconds(10)
    assert a[:5] == ("a", 1, 0, 0, ten_ns)
    assert a[6:] == (0, False, True)
    assert parked == ("parked", 0, 1, 0, None, ten_ns + seconds(10), 0, True, False)
    assert other == ("off", 0, 0, 0, None, None, None, False, False)


def test_no_job_comes_twice_and_none_is_left_out_whatever_becomes_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "PORTION", 2)
    driver = Driver(tuple(make_job(f"j{number}") for number in range(5)))
    found = Figures(driver.engine)
    number = found.begin(driver.now)
    first = found.jobs(number, 0)
    assert first is not None
    left = tuple(make_job(name) for name in ("new", "j4", "j3"))
    driver.send(events.JobsReloaded(1, left, Settings(), (), by="somebody"))
    second = found.jobs(number, 2)
    third = found.jobs(number, 4)
    assert second is not None
    assert third is not None
    assert [row[0] for portion in (first, second, third) for row in portion[0]] == ["j0", "j1", "j3", "j4"]
    assert (first[1], second[1], third[1]) == (2, 4, None)
    assert found.jobs(number, 0) is None, "it is over"


def test_of_many_collections_the_oldest_is_given_up_and_numbers_never_come_again() -> None:
    driver = Driver((make_job(),))
    found = Figures(driver.engine)
    numbers = [found.begin(driver.now) for _ in range(MOST_COLLECTIONS + 1)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= START.wall_ns
    assert found.jobs(numbers[0], 0) is None
    assert all(found.jobs(number, 0) for number in numbers[1:])


def test_one_off_jobs_count_but_have_no_row() -> None:
    driver = Driver((make_job(),))
    once = replace(
        make_job("once-1", Once(START.wall_ns, load_zone("UTC")), policy=Policy(max_runs=1)), is_once=True
    )
    driver.send(events.OnceRequested(1, once, "somebody"))
    assert [row[0] for row in collect(Figures(driver.engine))] == ["job"]
    driver.began()
    driver.ended()
    assert tallies(driver).runs()[State.SUCCEEDED] == 1
    assert tallies(driver).jobs == {}, "nothing of it is left"


def test_the_whole_has_every_count_from_the_beginning() -> None:
    resources = (("db", Resource(2)), ("rate", Resource(rate=1)))
    settings = Settings(max_workers=3, resources=resources, admission=Admission.FIXED)
    job = make_job(execution=Execution(resources=(("db", 1),)), policy=Policy(overlap=Overlap.ALLOW))
    driver = Driver((job,), settings)
    found = Figures(driver.engine)
    before = found.whole(driver.now)
    assert set(before["runs"].values()) == {0}
    assert before["slots"] == [["run", "none", 0], *(["skipped", str(reason), 0] for reason in SkipReason)]
    assert (before["busy"], before["free"], before["target"], before["jobs"]) == (0, 3, 3, 1)
    driver.at(10)
    driver.began()
    now = found.whole(driver.now)
    assert (now["busy"], now["free"], now["parked"]) == (1, 2, 0)
    assert now["resources"] == [["db", 1, 2], ["rate", 0, None]]
    assert now["counters"]["started"] == 1


def test_the_target_is_that_of_the_gate_where_there_is_one() -> None:
    driver = Driver((make_job(),), Settings(admission=Admission.AUTO))
    target = Figures(driver.engine).whole(driver.now)["target"]
    assert target == driver.engine.pool.target.value(driver.now.elapsed_ns, driver.engine.pool.memory.tuning)


def test_a_resource_that_is_held_though_it_is_not_declared_any_more_is_told() -> None:
    job = make_job(execution=Execution(resources=(("db", 1),)))
    driver = Driver((job,), Settings(resources=(("db", Resource(2)),)))
    driver.at(10)
    driver.send(events.JobsReloaded(1, (make_job(),), Settings(), (), by="somebody"))
    assert Figures(driver.engine).whole(driver.now)["resources"] == [["db", 1, None]]


def test_what_waits_is_counted() -> None:
    driver = Driver((make_job(), make_job("other")), Settings(max_workers=1, admission=Admission.FIXED))
    driver.at(10)
    engine = driver.engine
    assert (engine.waiting_count, engine.pool.ready_count, engine.timetable.due_count()) == (1, 1, 2)
    driver.began()
    assert engine.pool.timer_count() == 0
    driver.send(events.RequestReceived(1, TriggerJob(job="other"), "somebody"))

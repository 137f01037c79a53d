"""What the views count: all of one life of the program, and nothing that nobody was there for."""

from __future__ import annotations

from unit.engine_driver import START, Driver, make_job, seconds

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.answers import idle_jobs
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.metrics import RECENT, Metrics
from taskman_cli.core.engine.view import Counters, ResultRow
from taskman_cli.core.model import Settings, SkipReason, State
from taskman_cli.core.schedule import Interval, Once, load_zone

OLD = ResultRow("old", "main", "r", 1, State.FAILED, 5, 6, "exit 1")


def test_a_scheduler_goes_on_from_what_those_before_it_counted_and_from_the_results_on_record() -> None:
    first = Driver((make_job(),))
    first.at(10)
    first.began()
    first.ended(code=1)
    again = Metrics()
    again.resume(first.engine.metrics.counts, [OLD])
    assert again.counters() == Counters(started=1, failed=1)
    again.fold([effects.SlotsSkipped("job", 1, 3, 3, SkipReason.OVERLAP, "run x is not over")])
    assert again.counters() == Counters(started=1, failed=1, skipped=3)
    assert [row.job for row in again.recent()] == ["old", "job"]


def test_what_another_version_counted_is_taken_as_far_as_it_is_known() -> None:
    metrics = Metrics()
    metrics.resume({"started": 3, "danced": 4, "failed": "many", "lost": None}, [OLD] * (RECENT + 5))
    assert metrics.counters() == Counters(started=3)
    assert len(metrics.recent()) == RECENT


def test_slots_that_an_earlier_definition_owes_are_none_of_this_life() -> None:
    then_ns = START.wall_ns - seconds(1000)
    known = {
        name: events.JobStanding(definition_of(make_job(name)), then_ns, then_ns)
        for name in ("gone", "changed", "same")
    }
    engine = Engine(Settings())
    jobs = (make_job("changed", Interval(seconds(60))), make_job("same"))
    done = engine.handle(events.JobsLoaded(jobs, known, then_ns), START)
    done += engine.handle(events.Tick(), START)
    skips = [skip for skip in done if isinstance(skip, effects.SlotsSkipped)]
    assert {skip.job for skip in skips if skip.is_owed} == {"gone", "changed"}
    assert engine.metrics.counters().skipped == sum(skip.count or 0 for skip in skips if skip.job == "same")
    assert {row.job for row in engine.metrics.recent()} == {"same"}


def test_jobs_that_will_never_run_are_named_and_no_others() -> None:
    past = Once(START.wall_ns - seconds(10), load_zone("UTC"))
    driver = Driver((make_job("past", past), make_job("off", past, enabled=False), make_job()))
    assert idle_jobs(driver.engine) == ["past"]


def test_results_are_the_same_however_often_they_are_looked_at() -> None:
    driver = Driver((make_job(),))
    driver.at(10)
    driver.began()
    driver.ended(code=1)
    [row] = first = driver.engine.metrics.recent()
    assert (row.job, row.state) == ("job", State.FAILED)
    assert first == driver.engine.metrics.recent()
    driver.at(20)
    driver.began()
    driver.ended()
    assert [row.state for row in driver.engine.metrics.recent()] == [State.FAILED, State.SUCCEEDED]

"""A reload that changes many jobs comes to the engine in parts, and what happens in between counts."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from unit.engine_driver import FIXED, Driver, make_job, of_type

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.marks import JobHidden
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.core.model import Execution, Job, Policy, Resource, Settings
from taskman_cli.core.protocol import Remove
from taskman_cli.core.sinks import ReportKind, SinkDefinition
from taskman_cli.jobfile import JobFile
from taskman_cli.jobfile.difference import Difference
from taskman_cli.scheduler.requests.job_changes import Definitions, JobChanges, with_earlier

JOBS = tuple(make_job(name) for name in "abcde")


class World:
    """What `JobChanges` works with, and the events that it gives the engine."""

    def __init__(self) -> None:
        self.given: list[events.JobsReloaded] = []
        self.engine: Any = SimpleNamespace(
            is_stopping=False, once_jobs=[], timetable=SimpleNamespace(jobs={}), settings=Settings(),
            reports=SimpleNamespace(sinks=()),
        )  # fmt: skip
        self.poison = SimpleNamespace(left_out=frozenset())
        self.tokens = 0
        self.changes = JobChanges(
            self, self, self, Definitions(JobFile(JOBS, Settings(), "UTC", ())), timezone="UTC"  # type: ignore[arg-type]
        )  # fmt: skip
        self.changes.portion = 2

    def give(self, event: events.JobsReloaded) -> None:
        self.given.append(event)

    def read(self) -> None:
        """Read the files."""

    def add(self, *_: object, **__: object) -> int:
        self.tokens += 1
        return self.tokens

    def reload(self, jobs: tuple[Job, ...], *, removed: tuple[str, ...] = ()) -> None:
        self.changes.reload(None, "ann")
        jobfile = JobFile(JOBS + jobs, Settings(), "UTC", ())
        self.changes.reloaded(jobfile, difference=Difference(jobs, removed))

    def told(self) -> list[tuple[str, str, bool]]:
        """Return what the engine was told: names of jobs, of those that were removed, and if more follows."""
        return [
            ("".join(job.id for job in event.jobs), "".join(event.removed or ()), event.is_part)
            for event in self.given
        ]


@pytest.fixture
def world() -> World:
    return World()


def finish(world: World) -> None:
    while world.changes.has_parts:
        world.changes.take_part()


def test_what_fits_is_told_at_once(world: World) -> None:
    world.reload(JOBS[:1], removed=("x",))
    assert (world.told(), world.changes.has_parts) == ([("a", "x", False)], False)


def test_a_new_job_comes_with_one_that_goes_and_the_last_part_is_answered(world: World) -> None:
    """It may be the same under another name: at each instant one of them is there."""
    world.engine.timetable.jobs = {"a": None, "x": None, "y": None, "z": None}
    world.reload(JOBS, removed=("x", "y", "z"))
    assert (world.told(), world.changes.has_parts) == ([("b", "x", True)], True)
    finish(world)
    assert world.told() == [("b", "x", True), ("c", "y", True), ("d", "z", True), ("ea", "", False)]
    assert {event.token for event in world.given} == {1}


def test_a_job_that_is_removed_in_between_stays_so(world: World) -> None:
    world.reload(JOBS)
    world.changes.hidden["d"] = JobHidden("d", (), is_all=True)
    finish(world)
    assert world.told() == [("ab", "", True), ("c", "d", True), ("e", "", False)]


def test_the_next_reload_comes_after_all_of_this_one(world: World) -> None:
    world.reload(JOBS)
    world.reload(JOBS[:1])
    assert world.told() == [("ab", "", True), ("cd", "", True), ("e", "", False), ("a", "", False)]
    assert [event.token for event in world.given] == [1, 1, 1, 2]


def test_during_a_stop_the_rest_is_left_to_the_next_scheduler(world: World) -> None:
    world.reload(JOBS)
    world.engine.is_stopping = True
    finish(world)
    assert world.told() == [("ab", "", True), ("", "", False)]


def test_jobs_in_whose_place_others_stand_are_told_too(world: World) -> None:
    world.poison.left_out = frozenset("aex")
    world.reload((make_job("f"),), removed=("b", "x"))
    finish(world)
    assert world.told() == [("f", "b", True), ("a", "x", True), ("e", "", False)]
    world.given.clear()
    world.reload(JOBS[:1])
    assert world.told() == [("ae", "", False)]


def test_what_is_removed_by_hand_in_between_is_told_apart_from_the_reload() -> None:
    driver = Driver((make_job("a"), make_job("b")))
    driver.send(events.JobsReloaded(1, (make_job("c"),), FIXED, (), "ann", removed=(), is_part=True))
    driver.send(events.JobsReloaded(2, (), FIXED, (), "bob", "removed", "b", removed=("b",)))
    driver.send(events.JobsReloaded(1, (make_job("d"),), FIXED, (), "ann", removed=("a",)))
    taken = of_type(driver.done, effects.JobsTaken)[-2:]
    assert [(one.added, one.removed) for one in taken] == [((), ("b",)), (("c", "d"), ("a",))]


# --- what jobs use whose part is to come ---


def jobs_with(resource: str, sink: str) -> tuple[Job, ...]:
    execution = Execution(resources=((resource, 1),))
    return tuple(make_job(name, policy=Policy(sinks=(sink,)), execution=execution) for name in "abc")


def world_of_an_engine(before: JobFile) -> tuple[World, Driver]:
    """Return a world whose events go to an engine that has these jobs."""
    world, driver = World(), Driver(before.jobs, before.settings)
    driver.engine.reports.reload(before.sinks)
    world.engine, world.give = driver.engine, driver.send  # type: ignore[method-assign, assignment]
    world.changes = JobChanges(world, world, world, Definitions(before), timezone="UTC")  # type: ignore[arg-type]
    world.changes.portion = 2
    return world, driver


def file_with(resource: str, sink: str) -> JobFile:
    settings = replace(FIXED, resources=((resource, Resource(limit=1)),))
    return JobFile(
        jobs_with(resource, sink),
        settings,
        "UTC",
        (),
        sinks=(SinkDefinition(sink, "file", on=frozenset(ReportKind), repeat_ns=0),),
    )


def test_a_resource_and_a_sink_under_another_name_hold_for_the_jobs_whose_part_is_to_come() -> None:
    before, after = file_with("db", "ops"), file_with("base", "duty")
    world, driver = world_of_an_engine(before)
    world.changes.reload(None, "ann")
    world.changes.reloaded(after, difference=Difference(after.jobs, ()))
    resources = driver.engine.pool.resources
    assert {name: resources.limit_of(name) for name in ("db", "base")} == {"db": 1, "base": 1}
    driver.at(10)
    told = [to for report in of_type(driver.done, effects.Reported) for to, _ in report.to]
    assert (sorted(start.job for start in driver.starts), told) == (["a", "c"], ["duty", "ops"])
    finish(world)
    assert {name: resources.limit_of(name) for name in ("db", "base")} == {"db": None, "base": 1}
    assert [sink.name for sink in driver.engine.reports.sinks] == ["duty"]
    (taken,) = [one for one in of_type(driver.done, effects.JobsTaken) if one.by == "ann"]
    assert (taken.changed, taken.settings) == (("a", "b", "c"), ("resources", "sinks"))


def test_what_is_removed_by_hand_in_between_leaves_them_as_they_are() -> None:
    before, after = file_with("db", "ops"), file_with("base", "duty")
    world, driver = world_of_an_engine(before)
    world.changes.reload(None, "ann")
    world.changes.reloaded(after, difference=Difference(after.jobs, ()))
    world.changes.remove(Remove(job="c"), SimpleNamespace(pid=1, uid=0))  # type: ignore[arg-type]
    assert driver.engine.pool.resources.limit_of("db") == 1
    assert {sink.name for sink in driver.engine.reports.sinks} == {"duty", "ops"}


def test_an_executor_that_goes_is_there_until_the_last_part() -> None:
    before = replace(FIXED, executors=(ExecutorDefinition("far", "ssh"),))
    found = with_earlier(replace(FIXED, executors=(ExecutorDefinition("near", "ssh"),)), before)
    assert [one.name for one in found.executors] == ["far", "near"]

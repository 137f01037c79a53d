"""Jobs that nothing is special about take fewer steps, and come to the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events, timetable
from taskman_cli.core.engine.timetable import is_plain
from taskman_cli.core.executors import ExecutorDefinition, seats_of
from taskman_cli.core.model import GATE, Execution, Policy, Resource, Retry, Settings, Task
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = Settings(max_workers=1, admission=Admission.FIXED)
MINUTELY = Interval(seconds(60))
JOB = make_job()
OTHER = make_job("other", MINUTELY)


def succeed(driver: Driver) -> None:
    for second in (60, 120, 180):
        driver.at(second)
        driver.began()
        driver.ended()


def fail_and_be_parked(driver: Driver) -> None:
    for second in (60, 120, 180, 240):
        driver.at(second)
        if driver.done[-1:] == driver.starts[-1:]:
            driver.began()
            driver.ended(code=3)


def be_tried_again(driver: Driver) -> None:
    driver.at(60)
    driver.began()
    driver.ended(code=3)
    driver.at(65)
    driver.began()
    driver.ended()


def overlap_and_wait_for_a_worker(driver: Driver) -> None:
    driver.at(60)
    driver.at(120)
    driver.ended(driver.starts[0].key)
    driver.at(180)
    driver.ended()


def be_unrecorded(driver: Driver) -> None:
    driver.at(60)
    driver.send(events.StartHeld(driver.last_key))
    driver.at(120)  # which is skipped, since the one before could not be recorded
    driver.send(events.StartsReleased())
    driver.at(180)
    driver.ended()


def have_no_room(driver: Driver) -> None:
    driver.at(60)
    driver.failed(is_transient=True)
    driver.at(61)
    driver.failed(is_transient=True)
    driver.at(300)
    driver.ended()


def be_late(driver: Driver) -> None:
    driver.at(60)
    driver.at(400)
    driver.ended(driver.starts[0].key)
    driver.at(401)


def be_changed_while_it_waits(driver: Driver) -> None:
    driver.at(60)
    job = make_job(schedule=MINUTELY, command="false", policy=Policy(max_failures=1))
    driver.send(events.JobsReloaded(1, (job, OTHER), SETTINGS, (), "ann"))
    driver.ended(driver.starts[0].key)
    driver.ended(code=1)


def be_stopped(driver: Driver) -> None:
    driver.at(60)
    pause = protocol.PauseJobs(jobs=["job", "other"], stop=True)
    driver.send(events.RequestReceived(1, pause, "ann"))
    driver.ended(driver.starts[0].key)
    driver.at(65)
    driver.send(events.RequestReceived(2, protocol.Resume(jobs=["job", "other"]), "ann"))
    driver.ended()


STORIES = (
    succeed, fail_and_be_parked, be_tried_again, overlap_and_wait_for_a_worker, be_unrecorded, have_no_room,
    be_late, be_changed_while_it_waits, be_stopped,
)  # fmt: skip


#: What carries out the job, and what it draws on.
WHERE = {
    "here": Execution(),
    "far": Execution(executor="far"),
    "far, with seats": Execution(executor="far", resources=((seats_of("far"), 1),)),
    "here, with resources": Execution(resources=(("api", 1), ("db", 2))),
}
RESOURCES = (
    ("api", Resource(rate=2, burst=2, per_ns=seconds(60))),
    ("db", Resource(3)),
    (seats_of("far"), Resource(1)),
)
FAR = ExecutorDefinition("far", "ssh", max_workers=1)


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("where", WHERE)
def test_the_short_way_comes_to_the_same(
    story: Callable[[Driver], None], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, resources=RESOURCES, executors=(FAR,))

    def play() -> Driver:
        retry = Retry(max=1, delay_ns=seconds(2)) if story is be_tried_again else Retry()
        execution = replace(WHERE[where], retry=retry)
        most = 2 if story is fail_and_be_parked else None
        policy = Policy(max_failures=most, start_deadline_ns=seconds(100) if story is be_late else None)
        driver = Driver((make_job("job", MINUTELY, policy=policy, execution=execution), OTHER), settings)
        story(driver)
        return driver

    short = play()
    monkeypatch.setattr(timetable, "is_plain", lambda _: False)
    long = play()
    assert short.engine.timetable.jobs["job"].is_plain
    assert short.done == long.done
    assert of_type(short.done, effects.RunQueued)


def test_most_jobs_are_plain() -> None:
    timed = Execution(timeout_ns=seconds(3), retry=Retry(max=2))
    policy = Policy(start_deadline_ns=seconds(5), priority=3, max_failures=2, starts_at_ns=START.wall_ns)
    assert is_plain(JOB)
    assert is_plain(make_job(policy=policy, execution=timed))
    assert is_plain(make_job(execution=Execution(executor="far", resources=(("db", 1),))))


@pytest.mark.parametrize(
    "job",
    [
        make_job(tasks=("a", "b")),
        make_job(enabled=False),
        make_job(schedule=Interval(seconds(10), from_finish=True)),
        replace(JOB, is_once=True),
        replace(JOB, gate=Task(GATE, "true", Execution())),
        *(
            make_job(policy=policy)
            for policy in (
                Policy(jitter_ns=1), Policy(max_runs=1), Policy(sinks=("mail",)), Policy(slow_after_ns=1),
                Policy(delayed_after_ns=1), Policy(expect_every_ns=1),
            )
        ),
    ],
)  # fmt: skip
def test_a_job_that_something_is_special_about_is_not_plain(job: object) -> None:
    assert not is_plain(job)  # type: ignore[arg-type]

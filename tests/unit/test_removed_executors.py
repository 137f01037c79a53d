"""Which executors the supervisor is to know of that a reload has removed: those that a run may still need."""

from __future__ import annotations

from dataclasses import replace

from unit.control_scene import Scene
from unit.engine_driver import FIXED, make_job, seconds

from taskman_cli.core.executors import LOCAL, ExecutorDefinition
from taskman_cli.core.model import Execution, Retry, Settings
from taskman_cli.core.protocol import TriggerJob
from taskman_cli.core.schedule import Interval
from taskman_cli.scheduler.requests.job_changes import with_earlier
from taskman_cli.scheduler.requests.removed_executors import RemovedExecutors

DAILY = Interval(seconds(86_400))
FAR, NEAR, OTHER = (ExecutorDefinition(name, "ssh") for name in ("far", "near", "other"))
RETRIED = Execution(executor="far", retry=Retry(max=2, delay_ns=seconds(5)))
BEFORE = replace(FIXED, executors=(FAR, OTHER))


def names(settings: Settings) -> list[str]:
    return [one.name for one in settings.executors]


def scene_of(removed: list[RemovedExecutors]) -> Scene:
    """Let a run begin on an executor, and a reload remove that."""
    scene = Scene(make_job("job", DAILY, execution=RETRIED), make_job("idle", DAILY), settings=BEFORE)
    removed.append(RemovedExecutors(scene.engine))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.reload(make_job("job", DAILY), make_job("idle", DAILY), settings=replace(FIXED, executors=(NEAR,)))
    return scene


def test_an_executor_that_a_retry_may_need_is_known_until_the_run_is_over() -> None:
    found: list[RemovedExecutors] = []
    scene = scene_of(found)
    [removed] = found
    removed.take(replace(FIXED, executors=(FAR, NEAR, OTHER)))
    for second in (5, 10):
        assert names(removed.added_to(scene.engine.settings)) == ["far", "near"]
        scene.ended(code=1)
        assert not removed.forget()
        scene.at(second)
        scene.began()
    assert [start.task.execution.executor for start in scene.starts] == ["far", "far", "far"]
    scene.ended()
    assert removed.forget()
    assert names(removed.added_to(scene.engine.settings)) == ["near"]
    assert not removed.forget()


def test_what_another_reload_defines_again_is_the_new_one() -> None:
    found: list[RemovedExecutors] = []
    scene_of(found)
    [removed] = found
    removed.take(BEFORE)
    again = replace(FAR, lost_after_ns=1)
    assert removed.added_to(replace(FIXED, executors=(again,))).executors == (again,)


def test_one_that_is_local_now_is_known_as_it_was() -> None:
    found: list[RemovedExecutors] = []
    scene = scene_of(found)
    [removed] = found
    local = replace(FIXED, executors=(ExecutorDefinition("far", LOCAL), NEAR))
    assert with_earlier(local, BEFORE).executors == (FAR, NEAR, OTHER)
    scene.reload(make_job("job", DAILY), make_job("idle", DAILY), settings=local)
    removed.take(with_earlier(local, BEFORE))
    assert FAR in removed.added_to(local).executors


def test_a_run_that_waits_has_the_new_definition_and_needs_none_of_them() -> None:
    settings = replace(BEFORE, max_workers=1)
    jobs = make_job("a", DAILY), make_job("job", DAILY, execution=RETRIED)
    scene = Scene(*jobs, settings=settings)
    removed = RemovedExecutors(scene.engine)
    for name in ("a", "job"):
        scene.ask(TriggerJob(job=name))
    scene.reload(jobs[0], make_job("job", DAILY), settings=replace(FIXED, max_workers=1))
    removed.take(settings)
    assert names(removed.added_to(scene.engine.settings)) == []

"""Cancellations: of runs, of jobs, of one task, of one-hit jobs before their time."""

from __future__ import annotations

import signal

import pytest
from unit.control_scene import ANN, Scene
from unit.engine_driver import make_job, of_type, seconds

from taskman_cli.core import effects, events
from taskman_cli.core.model import Execution, Overlap, Policy, Retry, Settings
from taskman_cli.core.protocol import Cancel, Stop, TriggerJob

TRIGGER = TriggerJob(job="job")


def running(*tasks: str, settings: Settings | None = None) -> Scene:
    """Return a scheduler in which all tasks of a job run."""
    scene = Scene(make_job(tasks=tasks or ("main",)), settings=settings)
    scene.ask(TRIGGER)
    for start in scene.starts:
        scene.began(start.key)
    return scene


def test_a_run_gets_its_signal_and_ends_as_cancelled() -> None:
    scene = running()
    run = scene.starts[0].run
    reply = scene.ask(Cancel(target=run))
    assert {"ok": True, "runs": [{"run": run, "job": "job", "state": "running"}]} == reply
    assert [("job", signal.SIGTERM)] == scene.signals
    assert ("cancelled", "job", "", ANN) == scene.commanded[-1]
    scene.check_restart()
    scene.ended(scene.starts[0].key, signum=15)
    assert ["cancelled"] == scene.states()


def test_another_signal_or_kill_at_once() -> None:
    scene = running()
    scene.ask(Cancel(target="job", signal=signal.SIGUSR1))
    scene.ask(Cancel(target="job", now=True))
    assert [("job", signal.SIGUSR1), ("job", signal.SIGKILL)] == scene.signals


def test_one_task_alone() -> None:
    scene = running("a", "b")
    [first, _] = scene.starts
    scene.ask(Cancel(target="job.a", now=True))
    assert [signal.SIGTERM, signal.SIGKILL] == [signum for _, signum in scene.signals]
    assert {first.key} == {signal.key for signal in of_type(scene.done, effects.Signal)}
    assert ("cancelled", "job", "a", ANN) == scene.commanded[-1]
    scene.ended(first.key, signum=9)
    assert ["running"] == scene.states()


def test_one_task_that_waits_for_its_seat_never_begins() -> None:
    scene = running("a", "b", settings=Settings(max_workers=1))
    reply = scene.ask(Cancel(target="job.b"))
    assert ["queued"] == [run["state"] for run in reply["runs"]]
    scene.ended()
    assert 1 == len(scene.starts)
    assert ["cancelled"] == scene.states()


def test_a_run_that_waits_for_its_next_try_is_dropped() -> None:
    retry = Execution(retry=Retry(max=1, delay_ns=seconds(60)))
    scene = Scene(make_job(execution=retry))
    scene.ask(TRIGGER)
    scene.ended(code=1)
    scene.ask(Cancel(target="job"))
    assert ["cancelled"] == scene.states()


def test_all_runs_of_a_job_those_that_wait_too() -> None:
    scene = Scene(make_job(policy=Policy(overlap=Overlap.QUEUE)))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TRIGGER)
    reply = scene.ask(Cancel(target="job"))
    assert ["running", "queued"] == [run["state"] for run in reply["runs"]]
    assert ["running", "cancelled"] == scene.states()


def test_nothing_to_cancel_is_said() -> None:
    reply = Scene(make_job()).ask(Cancel(target="job"))
    assert {"ok": False, "error": "nothing of job is going on", "code": 4} == reply


def test_a_one_hit_job_before_its_time_is_gone() -> None:
    scene = Scene()
    scene.once(at=60)
    assert {"ok": True, "runs": [], "jobs": ["once-1"]} == scene.ask(Cancel(target="once-1"))
    assert {} == scene.slots()
    scene.check_restart()
    scene.at(60)
    assert [] == scene.starts


def test_a_scheduler_that_drains_refuses_all_but_cancellations() -> None:
    scene = running()
    assert not scene.engine.is_draining
    scene.send(events.DrainRequested())
    assert scene.engine.is_draining
    assert {"ok": False, "error": "taskman is stopping", "code": 1} == scene.ask(TRIGGER)
    assert scene.ask(Cancel(target="job"))["ok"]
    assert [("job", signal.SIGTERM)] == scene.signals


@pytest.mark.parametrize(
    ("request_", "signals", "detail"),
    [
        (Stop(), [signal.SIGTERM], ""),
        (Stop(drain_ns=-1), [], "drain"),
        (Stop(now=True), [signal.SIGTERM, signal.SIGKILL], "now"),
    ],
    ids=["stop", "drain", "now"],
)
def test_a_stop_is_on_record_with_who_wanted_it(request_: Stop, signals: list[int], detail: str) -> None:
    scene = running()
    assert {"ok": True, "stopping": True, "running": 1} == scene.ask(request_)
    assert ("stopping", None, detail, ANN) == scene.commanded[-1]
    assert signals == [signum for _, signum in scene.signals]
    assert (True, request_.drain_ns is not None) == (scene.engine.is_stopping, scene.engine.is_draining)


def test_a_drain_after_a_stop_does_not_take_it_back() -> None:
    scene = running()
    scene.ask(Stop())
    assert scene.ask(Stop(drain_ns=-1))["ok"]
    assert not scene.engine.is_draining


def test_a_stop_is_answered_before_it_is_over() -> None:
    assert Scene(make_job()).ask(Stop())["ok"]

"""Ends by people: of a run, of all runs of a job, of one task of them."""

from __future__ import annotations

import pytest
from unit.control_scene import ANN, Scene
from unit.engine_driver import make_job, seconds

from taskman_cli.core.engine import events
from taskman_cli.core.model import Execution, Mode, Overlap, Policy, Retry, Settings
from taskman_cli.core.protocol import Cancel, Stop, TriggerJob
from taskman_cli.core.schedule import Interval

TERM, KILL, HUP = 15, 9, 1
TWO = ("a", "b")
TRIGGER = TriggerJob(job="job")


def running(*tasks: str, **policy: object) -> Scene:
    """Return a scheduler with a run of its job under way, all its tasks at once."""
    scene = Scene(make_job(policy=Policy(**policy), tasks=tasks or ("main",)))  # type: ignore[arg-type]
    scene.ask(TRIGGER)
    for start in list(scene.starts):
        scene.began(start.key)
    return scene


@pytest.mark.parametrize("by", ["run", "job"])
def test_a_run_gets_the_signal_and_then_the_kill_timeout(by: str) -> None:
    scene = running()
    run = scene.starts[0].run
    reply = scene.ask(Cancel(target=run if by == "run" else "job"))
    assert reply == {"ok": True, "runs": [{"run": run, "job": "job", "state": "running"}]}
    assert scene.signals == [("job", TERM)]
    assert scene.commanded[-1] == ("cancelled", "job", "", ANN)
    scene.check_restart()
    scene.at(9.9)
    assert len(scene.signals) == 1
    scene.at(10)
    assert scene.signals[-1] == ("job", KILL)
    scene.ended(scene.starts[0].key, signum=KILL)
    assert scene.states()[:1] == ["cancelled"]


def test_a_signal_of_ones_own() -> None:
    scene = running()
    scene.ask(Cancel(target="job", signal=HUP))
    assert scene.signals == [("job", HUP)]


@pytest.mark.parametrize("target", ["job", "job.main"])
@pytest.mark.parametrize("signum", [None, HUP])
def test_kill_at_once_sends_no_other_signal(target: str, signum: int | None) -> None:
    scene = running()
    scene.ask(Cancel(target=target, signal=signum, now=True))
    assert scene.signals == [("job", KILL)]
    scene.ended(scene.starts[0].key, signum=KILL)
    assert scene.states() == ["cancelled"]


def test_nobody_is_told_twice_but_killed_if_that_is_wanted() -> None:
    scene = running()
    scene.ask(Cancel(target="job"))
    scene.ask(Cancel(target="job"))
    assert scene.signals == [("job", TERM)]
    scene.ask(Cancel(target="job", now=True))
    assert scene.signals == [("job", TERM), ("job", KILL)]


def test_a_run_that_waits_is_dropped() -> None:
    scene = Scene(make_job(policy=Policy(overlap=Overlap.QUEUE)))
    scene.ask(TRIGGER)
    scene.began()
    waiting = scene.ask(TRIGGER)["run"]
    reply = scene.ask(Cancel(target=waiting))
    assert reply["runs"] == [{"run": waiting, "job": "job", "state": "queued"}]
    assert (scene.states(), scene.signals) == (["running", "cancelled"], [])
    scene.check_restart()


def test_a_retry_that_rests_never_begins() -> None:
    execution = Execution(retry=Retry(max=1, delay_ns=seconds(5)))
    scene = Scene(make_job(schedule=Interval(seconds(1000)), execution=execution))
    scene.ask(TRIGGER)
    scene.ended(code=1)
    scene.ask(Cancel(target="job"))
    scene.at(6)
    assert (len(scene.starts), scene.states()) == (1, ["cancelled"])


def test_one_task_alone_is_told_to_end_and_the_others_go_on() -> None:
    scene = running(*TWO)
    reply = scene.ask(Cancel(target="job.a"))
    assert [told["state"] for told in reply["runs"]] == ["running"]
    assert (scene.signals, scene.commanded[-1][2]) == ([("job", TERM)], "a")
    scene.ask(Cancel(target="job.a", now=True))
    assert scene.signals == [("job", TERM), ("job", KILL)]
    a, b = (start.key for start in scene.starts)
    scene.ended(a, signum=TERM)
    assert scene.states() == ["running"]
    scene.ended(b)
    assert scene.states() == ["cancelled"]


def test_a_task_of_a_sequence_whose_turn_it_is_not_never_begins() -> None:
    scene = running("a", "b", "c", mode=Mode.SEQUENCE)
    reply = scene.ask(Cancel(target="job.c"))
    assert [told["state"] for told in reply["runs"]] == ["queued"]
    assert scene.signals == []
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    scene.ended()
    assert ([start.task.id for start in scene.starts], scene.states()) == (["a", "b"], ["cancelled"])


def test_a_task_that_waits_for_a_seat_never_begins_and_the_run_is_late_no_more() -> None:
    policy = Policy(start_deadline_ns=seconds(5))
    jobs = (make_job("busy", schedule=Interval(seconds(1000))), make_job(policy=policy, tasks=TWO))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.began()
    scene.at(10)
    scene.ask(Cancel(target="job.a"))
    counters = scene.engine.metrics.counters()
    assert (counters.started, counters.cancelled) == (1, 1)
    scene.check_restart()
    scene.at(17)
    assert scene.skips == []
    scene.ask(Cancel(target="job.b"))
    assert scene.states() == ["cancelled"]
    assert not scene.engine.unfinished("job")


def test_the_last_task_of_a_run_that_waits_for_another_ends_it() -> None:
    scene = Scene(make_job(policy=Policy(overlap=Overlap.QUEUE)))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TRIGGER)
    scene.ended(scene.starts[0].key)
    scene.began()
    waiting = scene.ask(TRIGGER)["run"]
    scene.ask(Cancel(target="job.main"))
    assert scene.disk.runs[waiting].state == "cancelled"
    assert scene.signals == [("job", TERM)]


def test_where_nothing_is_going_on_nothing_is_cancelled() -> None:
    scene = Scene(make_job())
    reply = scene.ask(Cancel(target="job"))
    assert reply == {"ok": True, "runs": []}


def test_a_one_off_job_that_is_to_come_never_comes() -> None:
    scene = Scene()
    scene.once(at=30)
    assert scene.ask(Cancel(target="once-1")) == {"ok": True, "runs": [], "jobs": ["once-1"]}
    assert (scene.slots(), scene.disk.once) == ({}, {})
    scene.check_restart()
    scene.at(60)
    assert scene.starts == []


def test_a_scheduler_that_drains_refuses_all_but_cancellations() -> None:
    scene = running()
    assert not scene.engine.is_draining
    scene.send(events.DrainRequested())
    assert scene.engine.is_draining
    assert scene.ask(TRIGGER) == {"ok": False, "error": "taskman is stopping", "code": 1}
    assert scene.ask(Cancel(target="job"))["ok"]
    assert scene.signals == [("job", TERM)]


@pytest.mark.parametrize(
    ("request_", "signals", "detail"),
    [
        (Stop(), [TERM], ""),
        (Stop(drain_ns=-1), [], "drain"),
        (Stop(now=True), [KILL], "now"),
    ],
    ids=["stop", "drain", "now"],
)
def test_a_stop_is_on_record_with_who_wanted_it(request_: Stop, signals: list[int], detail: str) -> None:
    scene = running()
    assert scene.ask(request_) == {"ok": True, "stopping": True, "running": 1}
    assert scene.commanded[-1] == ("stopping", None, detail, ANN)
    assert signals == [signum for _, signum in scene.signals]
    assert (True, request_.drain_ns is not None) == (scene.engine.is_stopping, scene.engine.is_draining)


def test_a_stop_at_once_kills_what_was_told_to_end_before() -> None:
    scene = running()
    scene.ask(Stop())
    scene.ask(Stop(now=True))
    assert scene.signals == [("job", TERM), ("job", KILL)]


def test_a_drain_after_a_stop_does_not_take_it_back() -> None:
    scene = running()
    scene.ask(Stop())
    assert scene.ask(Stop(drain_ns=-1))["ok"]
    assert not scene.engine.is_draining


def test_a_stop_is_answered_before_it_is_over() -> None:
    assert Scene(make_job()).ask(Stop())["ok"]

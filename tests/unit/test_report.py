"""What the running scheduler tells of itself."""

from __future__ import annotations

from typing import Any

from unit.control_scene import ANN, Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core import events, report
from taskman_cli.core.model import Policy, Settings
from taskman_cli.core.protocol import Pause, TriggerJob
from taskman_cli.core.schedule import Interval, parse_cron
from taskman_cli.core.snapshot import take_snapshot


def item(scene: Scene, job: str = "job", removed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what is told of a job."""
    return report.job_item(scene.engine, scene.engine.timetable.jobs[job], removed)


def status(scene: Scene) -> dict[str, Any]:
    """Return what is told of the whole."""
    return report.status(scene.engine, scene.now, started_ns=START.wall_ns)


def test_what_runs_is_told_with_when_it_began() -> None:
    scene = Scene(make_job(tasks=("a",), command="sleep 9"), make_job("other"))
    scene.at(3)
    run = scene.ask(TriggerJob(job="job"))["run"]
    scene.began()
    scene.ask(Pause(jobs=["other"]))
    told = status(scene)
    [row] = told["running"]
    assert (run, "job", "a", 1, 100, "sleep 9", "manual", "") == (
        row["run"], row["job"], row["task"], row["attempt"], row["pid"], row["command"], row["trigger"],
        row["note"],
    )  # fmt: skip
    assert START.wall_ns + seconds(3) == row["started_ns"]
    assert (2, 1, False) == (told["jobs"], told["paused"], told["stopping"])
    assert [("job", START.wall_ns + seconds(10))] == [(row["job"], row["due_ns"]) for row in told["next"]]
    assert 1 == told["counters"]["started"]


def test_after_a_stop_nothing_is_to_come() -> None:
    scene = Scene(make_job())
    scene.send(events.DrainRequested())
    assert (True, []) == (status(scene)["stopping"], status(scene)["next"])


def test_a_job_is_in_one_state() -> None:
    scene = Scene(
        make_job(), make_job("off", enabled=False), make_job("past", policy=Policy(expires_at_ns=1))
    )
    states = [item(scene, name)["state"] for name in ("job", "off", "past")]
    assert ["waiting", "disabled", "over"] == states
    scene.ask(Pause(jobs=["job"], reason="tea", for_ns=seconds(60)))
    told = item(scene)
    assert ("paused", "tea", ANN) == (told["state"], told["pause"]["reason"], told["pause"]["by"])
    assert START.wall_ns + seconds(60) == told["pause"]["until_ns"]
    run = scene.ask(TriggerJob(job="job"))["run"]
    scene.began()
    assert ("running", [run], 0) == (item(scene)["state"], item(scene)["running"], item(scene)["queued"])


def test_a_run_that_has_no_process_yet_is_queued() -> None:
    scene = Scene(make_job("a"), make_job("b"), settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="a"))
    scene.began()
    run = scene.ask(TriggerJob(job="b"))["run"]
    assert ("queued", 1) == (item(scene, "b")["state"], item(scene, "b")["queued"])
    assert ("queued", "queued") == (scene.engine.state_of(run), scene.engine.state_of("nosuch"))


def test_when_it_is_due_is_told_with_its_tasks_and_those_left_out() -> None:
    told = item(Scene(make_job(tasks=("a", "b"))), removed=("c",))
    due_ns = START.wall_ns + seconds(10)
    assert (due_ns, due_ns) == (told["slot_ns"], told["due_ns"])
    assert (["a", "b"], ["c"], False) == (told["tasks"], told["removed_tasks"], told["once"])


def test_the_next_slots_as_far_as_they_can_be_known() -> None:
    jobs = (make_job(), make_job("end", Interval(seconds(10), from_finish=True)))
    armed = Scene(*jobs).engine.timetable.jobs
    first_ns = START.wall_ns + seconds(10)
    assert [first_ns, first_ns + seconds(10)] == report.next_slots(armed["job"], 2)
    assert [first_ns] == report.next_slots(armed["end"], 2)


def test_a_view_has_the_paused_jobs_too_those_that_stand_still_last() -> None:
    jobs = (make_job("still"), make_job("cron", parse_cron("* * * * *", timezone="UTC")), make_job("other"))
    scene = Scene(*jobs)
    scene.ask(Pause(jobs=["still", "cron"], reason="tea"))
    snapshot = take_snapshot(scene.engine, scene.now, started_ns=0, rows=10)
    told = [(row.job, row.slot_ns is None, row.pause and row.pause.reason) for row in snapshot.queue]
    assert [("other", False, None), ("cron", False, "tea"), ("still", True, "tea")] == told
    assert (2, False) == (snapshot.paused, snapshot.draining)
    assert ["other", "cron"] == [row["job"] for row in status(scene)["next"]]

"""Reloads: what is as it was keeps its timer; what is left out; one-hit jobs and their names."""

from __future__ import annotations

from dataclasses import replace

from unit.control_scene import ANN, Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core import events
from taskman_cli.core.effects import JobHidden
from taskman_cli.core.inforce import clashing, visible
from taskman_cli.core.model import Policy, Settings
from taskman_cli.core.protocol import Cancel, Pause, TriggerJob
from taskman_cli.core.schedule import Interval

TRIGGER = TriggerJob(job="job")


def test_what_is_as_it_was_keeps_its_timer_and_what_is_new_counts_from_now() -> None:
    scene = Scene(make_job("a"), make_job("b"), make_job("c"))
    scene.at(3)
    reply = scene.reload(make_job("a"), make_job("b", Interval(seconds(20))), make_job("d"))
    expected = {"ok": True, "added": ["d"], "changed": ["b"], "removed": ["c"], "jobs": 3}
    assert expected == reply
    assert {"a": 10, "b": 23, "d": 13} == scene.slots()
    assert [("reloaded", None, "", ANN)] == scene.commanded
    scene.check_restart()


def test_another_command_keeps_the_timer_and_is_what_runs() -> None:
    scene = Scene(make_job())
    scene.at(3)
    assert ["job"] == scene.reload(make_job(command="false"))["changed"]
    assert {"job": 10} == scene.slots()
    scene.at(10)
    assert "false" == scene.starts[-1].task.command


def test_another_place_in_the_file_is_no_change() -> None:
    scene = Scene(make_job())
    assert [] == scene.reload(replace(make_job(), source="jobs.toml:7"))["changed"]


def test_settings_are_in_force_at_once() -> None:
    scene = Scene(make_job("a"), make_job("b"), settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="a"))
    scene.ask(TriggerJob(job="b"))
    assert 1 == len(scene.starts)
    scene.reload(make_job("a"), make_job("b"), settings=Settings(max_workers=2))
    assert 2 == len(scene.starts)


def test_what_has_had_its_runs_has_had_them_after_a_change_too() -> None:
    scene = Scene(make_job(policy=Policy(max_runs=1)))
    scene.ask(TRIGGER)
    scene.ended()
    scene.reload(make_job(schedule=Interval(seconds(20)), policy=Policy(max_runs=1)))
    assert {"job": None} == scene.slots()


def test_a_changed_job_stays_paused() -> None:
    scene = Scene(make_job())
    scene.ask(Pause(jobs=["job"], reason="tea"))
    scene.reload(make_job(schedule=Interval(seconds(20))))
    pause = scene.engine.timetable.jobs["job"].pause
    assert pause is not None
    assert "tea" == pause.reason
    scene.check_restart()
    scene.at(60)
    assert [] == scene.starts


def test_an_interval_from_the_end_waits_for_the_end_of_what_runs() -> None:
    scene = Scene(make_job())
    scene.ask(TRIGGER)
    scene.began()
    scene.reload(make_job(schedule=Interval(seconds(20), from_finish=True)))
    assert {"job": None} == scene.slots()
    scene.at(5)
    scene.ended()
    assert {"job": 25} == scene.slots()


def test_what_runs_of_a_removed_job_goes_on_to_its_end() -> None:
    scene = Scene(make_job())
    scene.ask(TRIGGER)
    scene.began()
    assert ["job"] == scene.reload()["removed"]
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    assert ["succeeded"] == scene.states()


def test_a_scheduler_that_stops_takes_nothing() -> None:
    scene = Scene(make_job())
    scene.send(events.DrainRequested())
    assert {"ok": False, "error": "taskman is stopping", "code": 1} == scene.reload()
    assert "taskman is stopping" == scene.once()["error"]
    assert ["job"] == list(scene.slots())


def test_what_is_left_out_stays_so_through_restarts_until_it_is_shown() -> None:
    jobs = (make_job("a"), make_job("b", tasks=("x", "y")))
    scene = Scene(*jobs)
    scene.reload(*jobs, hidden=(JobHidden("a", (), True), JobHidden("b", ("x",))), kind="removed")
    assert ["b"] == list(scene.slots())
    scene.check_restart()
    scene.ask(TriggerJob(job="b"))
    assert ["y"] == [start.task.id for start in scene.starts]
    scene.ended()
    reply = scene.reload(*jobs, hidden=(JobHidden("a", ()), JobHidden("b", ())), kind="restored")
    assert (["a"], ["b"]) == (reply["added"], reply["changed"])
    scene.check_restart()


def test_a_job_of_which_every_task_is_left_out_is_left_out() -> None:
    job = make_job(tasks=("x", "y"))
    assert () == visible([job], {"job": JobHidden("job", ("x", "y"))})


def test_a_one_hit_job_outlives_a_reload_and_keeps_its_name() -> None:
    scene = Scene(make_job())
    scene.once("job-2", at=60)
    reply = scene.reload(make_job(), make_job("job-2"))
    assert ([], []) == (reply["added"], reply["removed"])
    assert {"job": 10, "job-2": 60} == scene.slots()
    scene.ask(Cancel(target="job-2"))
    assert {"job": 10, "job-2": 10} == scene.slots()
    assert not scene.engine.timetable.jobs["job-2"].job.is_once


def test_a_one_hit_job_goes_when_it_has_run_and_its_run_is_on_record() -> None:
    scene = Scene()
    reply = scene.once(at=5)
    assert {"ok": True, "job": "once-1", "at_ns": START.wall_ns + seconds(5)} == reply
    assert {"ok": False, "error": "there is a job once-1 already", "code": 1} == scene.once()
    scene.check_restart()
    scene.at(5)
    scene.began()
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    assert ({}, ["succeeded"]) == (scene.slots(), scene.states("once-1"))


def test_a_run_that_has_begun_nothing_is_of_the_new_definition() -> None:
    scene = Scene(make_job("busy"), make_job(tasks=("x", "y")), settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.began()
    run = scene.ask(TRIGGER)["run"]
    scene.reload(make_job("busy"), make_job(tasks=("y", "z")))
    scene.check_restart()
    for _ in range(3):
        scene.ended(scene.starts[-1].key)
    assert [(run, "y"), (run, "z")] == [(start.run, start.task.id) for start in scene.starts[1:]]


def test_a_start_that_could_not_be_recorded_is_late_though_its_job_is_gone() -> None:
    job = make_job(schedule=Interval(seconds(10)), policy=Policy(start_deadline_ns=seconds(5)))
    scene = Scene(job)
    scene.at(10)
    scene.reload()
    scene.send(events.StartHeld(scene.starts[-1].key))
    scene.at(16)
    assert ([("job", 10, "late")], {}) == (scene.skips, scene.slots())


def test_a_job_with_the_name_of_a_one_hit_job_is_refused_with_the_mend() -> None:
    assert clashing("tea").startswith("tea is the name of a one-hit job that is not over: cancel that")

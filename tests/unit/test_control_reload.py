"""Other definitions for a running scheduler, and one-off jobs beside those of the files."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.control_scene import ANN, Scene
from unit.engine_driver import FIXED, START, make_job, seconds

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.jobset import clashing, visible
from taskman_cli.core.model import Execution, Overlap, Policy, Settings
from taskman_cli.core.protocol import PauseJobs, TriggerJob
from taskman_cli.core.schedule import Interval

LONG = Interval(seconds(1000))


@pytest.fixture(params=["all jobs", "what is different", "in parts"], autouse=True)
def tells_difference(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine be told all jobs, or only those that are new, changed or gone, perhaps in parts."""
    monkeypatch.setattr(Scene, "tells_difference", request.param != "all jobs")
    monkeypatch.setattr(Scene, "tells_parts", request.param == "in parts")


TRIGGER = TriggerJob(job="job")
CONT = 18


def test_what_is_due_when_it_was_keeps_its_timer_and_its_runs() -> None:
    scene = Scene(make_job())
    scene.ask(TRIGGER)
    scene.began()
    scene.at(7)
    other = make_job(execution=Execution(nice=5), command="false")
    reply = scene.reload(other, make_job("new"))
    expected = {"ok": True, "added": ["new"], "changed": ["job"], "removed": [], "jobs": 2}
    assert expected == reply
    assert scene.slots() == {"job": 10, "new": 17}
    assert scene.commanded[-1] == ("reloaded", None, "", ANN)
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    scene.at(10)
    assert scene.starts[-1].task.command == "false"


def test_what_is_due_at_other_times_counts_from_now() -> None:
    scene = Scene(make_job())
    scene.at(7)
    scene.reload(make_job(schedule=Interval(seconds(20))))
    assert scene.slots() == {"job": 27}
    scene.check_restart()


def test_other_numbers_of_the_scheduler_are_told() -> None:
    scene = Scene(make_job())
    scene.settings = replace(FIXED, max_workers=3, refresh_ns=seconds(1))
    assert scene.reload(make_job())["settings"] == ["max_workers", "refresh"]


def test_nothing_is_changed_by_the_same_jobs_in_other_places() -> None:
    scene = Scene(make_job())
    moved = make_job()
    object.__setattr__(moved, "source", "jobs.toml:17")
    reply = scene.reload(moved)
    assert (reply["added"], reply["changed"], reply["removed"]) == ([], [], [])
    assert scene.engine.timetable.jobs["job"].job.source == "jobs.toml:17"


def test_a_run_that_has_begun_nothing_is_of_the_new_definition() -> None:
    jobs = (make_job("busy", schedule=LONG), make_job(schedule=LONG))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.began()
    scene.ask(TRIGGER)
    scene.reload(jobs[0], make_job(schedule=LONG, command="new"))
    scene.ended(scene.starts[0].key)
    assert scene.starts[-1].task.command == "new"


def test_a_run_of_a_task_that_is_gone_ends_unbegun() -> None:
    jobs = (make_job("busy", schedule=LONG), make_job(schedule=LONG, tasks=("a", "b")))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.began()
    scene.ask(TriggerJob(job="job", task="b"))
    scene.reload(jobs[0], make_job(schedule=LONG, tasks=("a",)))
    assert scene.states() == ["cancelled"]


def test_of_a_job_that_is_gone_what_runs_goes_on_and_what_waits_ends() -> None:
    scene = Scene(make_job(policy=Policy(overlap=Overlap.QUEUE)))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TRIGGER)
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    assert scene.reload()["removed"] == ["job"]
    assert scene.states() == ["running", "cancelled"]
    assert scene.signals[-1] == ("job", CONT)
    scene.ended(scene.starts[0].key)
    assert scene.states() == ["succeeded", "cancelled"]
    assert scene.slots() == {}


def test_a_pause_outlives_a_change() -> None:
    scene = Scene(make_job())
    scene.ask(PauseJobs(jobs=["job"]))
    scene.at(5)
    scene.reload(make_job(schedule=Interval(seconds(60))))
    assert scene.slots() == {"job": None}
    scene.check_restart()


@pytest.mark.parametrize("before", [None, 3], ids=["now", "then too"])
def test_runs_are_counted_on_from_where_they_were_counted(before: int | None) -> None:
    scene = Scene(make_job(policy=Policy(max_runs=before)))
    scene.ask(TRIGGER)
    scene.ended()
    scene.reload(make_job(policy=Policy(max_runs=2)))
    scene.ask(TRIGGER)
    assert scene.engine.timetable.jobs["job"].is_used_up == (before is not None)


def test_an_interval_from_the_end_that_is_new_waits_for_the_run_under_way() -> None:
    scene = Scene(make_job())
    scene.ask(TRIGGER)
    scene.began()
    scene.reload(make_job(schedule=Interval(seconds(30), from_finish=True)))
    assert scene.slots() == {"job": None}
    scene.at(8)
    scene.ended()
    assert scene.slots() == {"job": 38}


def test_a_run_that_could_not_be_recorded_is_given_up_late_though_its_job_is_gone() -> None:
    scene = Scene(make_job(policy=Policy(start_deadline_ns=seconds(5))))
    scene.at(10)
    scene.reload()
    scene.send(events.StartHeld(scene.starts[0].key))
    scene.at(15.1)
    assert (scene.skips, scene.states()) == ([("job", 10, "late")], ["skipped"])


def test_the_numbers_of_the_pool_are_taken_too() -> None:
    jobs = (make_job("a", schedule=LONG), make_job("b", schedule=LONG))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="a"))
    scene.ask(TriggerJob(job="b"))
    assert len(scene.starts) == 1
    scene.reload(*jobs, settings=Settings(max_workers=2))
    assert len(scene.starts) == 2


def test_what_was_left_out_is_on_record_and_stays_so() -> None:
    scene = Scene(make_job(tasks=("a", "b")))
    scene.reload(*scene.jobs, hidden=(effects.JobHidden("job", ("a",), is_all=False),), kind="removed")
    assert [task.id for task in scene.engine.timetable.jobs["job"].job.tasks] == ["b"]
    scene.check_restart()
    scene.reload(*scene.jobs, hidden=(effects.JobHidden("job", (), is_all=False),), kind="restored")
    assert len(scene.engine.timetable.jobs["job"].job.tasks) == 2
    assert scene.disk.hidden == {}
    scene.check_restart()


@pytest.mark.parametrize(
    "hidden", [effects.JobHidden("job", (), is_all=True), effects.JobHidden("job", ("a", "b"), is_all=False)]
)
def test_a_job_that_is_left_out_or_all_of_whose_tasks_are_is_in_force_no_more(
    hidden: effects.JobHidden,
) -> None:
    scene = Scene(make_job(tasks=("a", "b")))
    scene.reload(*scene.jobs, hidden=(hidden,), kind="removed")
    assert scene.engine.timetable.jobs == {}
    scene.check_restart()


@pytest.mark.parametrize("wish", ["reload", "once", "trigger"])
def test_in_a_stop_nothing_is_taken(wish: str) -> None:
    scene = Scene(make_job())
    scene.send(events.StopRequested())
    reply = {"reload": scene.reload, "once": scene.once, "trigger": lambda: scene.ask(TRIGGER)}[wish]()
    assert (reply["ok"], reply["code"]) == (False, 1)
    assert "stopping" in reply["error"]


# --- one-off jobs ---


def test_a_one_off_job_runs_once_and_is_gone() -> None:
    scene = Scene()
    reply = scene.once(at=30)
    assert reply == {"ok": True, "job": "once-1", "at_ns": START.wall_ns + seconds(30)}
    assert scene.commanded[-1] == ("once", "once-1", "", ANN)
    scene.check_restart()
    scene.at(30)
    assert scene.slots_of_runs("once-1") == [30]
    scene.began()
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    assert (scene.slots(), scene.disk.once) == ({}, {})
    scene.restart()
    assert (scene.slots(), scene.states("once-1")) == ({}, ["succeeded"])


def test_one_for_now_begins_in_the_same_step() -> None:
    scene = Scene()
    scene.once(at=0)
    assert [start.job for start in scene.starts] == ["once-1"]


def test_a_name_is_one_jobs() -> None:
    scene = Scene(make_job())
    reply = scene.once("job", at=30)
    assert reply == {"ok": False, "error": "there is a job job already", "code": 1}


@pytest.mark.parametrize("way", ["reload", "restart"])
def test_a_job_of_the_files_gets_its_name_when_the_one_off_job_that_has_it_is_over(way: str) -> None:
    scene = Scene()
    scene.once("job", at=30)
    if way == "reload":
        assert scene.reload(make_job())["added"] == []
    else:
        scene.jobs = (make_job(),)
        scene.restart()
    assert scene.slots() == {"job": 30}
    scene.at(30)
    scene.ended()
    assert scene.slots() == {"job": 40}
    scene.check_restart()


def test_after_a_stop_it_runs_with_the_next_scheduler() -> None:
    scene = Scene(make_job("busy", schedule=LONG), settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.began()
    scene.once(at=0)
    scene.send(events.DrainRequested())
    scene.ended(scene.starts[0].key)
    scene.restart()
    assert scene.starts[-1].job == "once-1"
    scene.ended()
    assert (set(scene.slots()), scene.disk.once) == ({"busy"}, {})


def test_a_run_that_waits_for_another_goes_on_waiting_with_the_new_definition() -> None:
    scene = Scene(make_job(schedule=LONG, policy=Policy(overlap=Overlap.QUEUE)))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TRIGGER)
    scene.reload(make_job(schedule=LONG, policy=Policy(overlap=Overlap.QUEUE), command="new"))
    assert len(scene.starts) == 1
    scene.ended(scene.starts[0].key)
    assert (len(scene.starts), scene.starts[-1].task.command) == (2, "new")


def test_a_job_without_a_task_is_left_out_itself_and_a_clash_names_the_fix() -> None:
    job = make_job(tasks=("a",))
    assert visible((job,), {"job": effects.JobHidden("job", ("a",), is_all=False)}) == ()
    assert "cancel it" in clashing("job")

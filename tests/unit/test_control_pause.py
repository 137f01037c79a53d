"""Pauses: no new runs, slots accounted for, and an interval that goes on with what was left of it."""

from __future__ import annotations

import pytest
from unit.control_scene import ANN, Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.protocol import Cancel, PauseJobs, Resume, TriggerJob
from taskman_cli.core.schedule import Interval, parse_cron

EVERY_MINUTE = parse_cron("* * * * *", timezone="UTC")
EVERY_SECOND = parse_cron("* * * * * *", timezone="UTC")
STOP, CONT, TERM = 19, 18, 15


def test_slots_of_cron_that_pass_are_skipped_as_paused_and_say_by_whom() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    reply = scene.ask(PauseJobs(jobs=["job"], reason="database is down"))
    assert reply == {"ok": True, "jobs": ["job"], "unchanged": [], "until_ns": None}
    scene.at(60)
    scene.at(120)
    assert scene.skips == [("job", 60, "paused"), ("job", 120, "paused")]
    assert scene.disk.skips[0].detail == f"paused by {ANN}: database is down"
    scene.at(130)
    assert scene.ask(Resume(jobs=["job"]))["jobs"] == ["job"]
    scene.at(180)
    assert scene.slots_of_runs() == [180]
    assert [(kind, detail) for kind, _, detail, _ in scene.commanded] == [
        ("paused", "database is down"),
        ("resumed", ""),
    ]


@pytest.mark.parametrize("is_from_finish", [False, True], ids=["start", "finish"])
def test_an_interval_goes_on_with_what_was_left_of_it(is_from_finish: bool) -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=is_from_finish)))
    scene.at(7)
    scene.ask(PauseJobs(jobs=["job"]))
    assert scene.slots() == {"job": None}
    scene.at(100)
    scene.check_restart()
    scene.ask(Resume(jobs=["job"]))
    assert scene.slots() == {"job": 103}
    scene.check_restart()
    scene.at(103)
    assert (scene.slots_of_runs(), scene.skips) == ([103], [])


def test_it_ends_by_itself_when_its_time_is_over_even_over_a_restart() -> None:
    scene = Scene(make_job())
    scene.at(4)
    reply = scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(60)))
    assert START.wall_ns + seconds(64) == reply["until_ns"]
    assert START.wall_ns + seconds(64) == scene.engine.next_wake().wall_ns
    scene.restart()
    scene.at(63.9)
    assert scene.slots() == {"job": None}
    scene.at(64)
    assert scene.slots() == {"job": 70}
    assert scene.commanded[-1] == ("resumed", "job", "", "its time is over")


def test_a_pause_that_is_made_anew_ends_by_the_new_word_and_began_by_the_old() -> None:
    scene = Scene(make_job())
    scene.at(3)
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(5)))
    scene.at(4)
    scene.ask(PauseJobs(jobs=["job"], reason="longer"))
    scene.at(50)
    pause = scene.engine.timetable.jobs["job"].pause
    assert pause is not None
    assert (START.wall_ns + seconds(3), None, "longer") == (pause.since_ns, pause.until_ns, pause.reason)
    scene.ask(Resume(jobs=["job"]))
    assert scene.slots() == {"job": 57}


def test_a_pause_is_as_long_as_it_was_whatever_the_clock_does() -> None:
    scene = Scene(make_job(), make_job("other"))
    scene.ask(PauseJobs(all=True, for_ns=seconds(60)))
    scene.step(1000)
    assert START.wall_ns + seconds(1060) == scene.engine.next_wake().wall_ns
    scene.check_restart()


def test_jobs_are_named_or_have_a_tag_or_are_all_of_them() -> None:
    tagged = make_job("b")
    object.__setattr__(tagged, "tags", ("night",))
    scene = Scene(make_job("a"), tagged, make_job("c"))
    assert scene.ask(PauseJobs(tags=["night"]))["jobs"] == ["b"]
    assert scene.ask(PauseJobs(jobs=["a"]))["jobs"] == ["a"]
    reply = scene.ask(Resume(all=True))
    assert (reply["jobs"], reply["unchanged"]) == (["a", "b"], ["c"])
    assert scene.ask(PauseJobs(all=True))["jobs"] == ["a", "b", "c"]


def test_running_commands_go_on_unless_they_are_to_stop_and_what_is_stopped_is_told_to_go_on() -> None:
    scene = Scene(make_job(), make_job("other"))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(TriggerJob(job="other"))
    scene.began()
    scene.ask(PauseJobs(jobs=["job"]))
    assert scene.signals == []
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.ask(Resume(jobs=["job"]))
    assert scene.signals == [("job", STOP), ("job", CONT)]


def test_a_stopped_command_that_is_to_end_is_woken_to_hear_of_it() -> None:
    scene = Scene(make_job())
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.ask(Cancel(target="job"))
    assert scene.signals == [("job", STOP), ("job", TERM), ("job", CONT)]


def test_an_interval_from_the_end_that_ends_while_paused_has_all_of_it_left() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(PauseJobs(jobs=["job"]))
    scene.at(5)
    scene.ended()
    assert scene.slots() == {"job": None}
    scene.at(20)
    scene.check_restart()
    scene.ask(Resume(jobs=["job"]))
    assert scene.slots() == {"job": 30}


def test_an_interval_from_the_end_that_is_resumed_while_it_runs_counts_from_the_end() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(PauseJobs(jobs=["job"]))
    scene.ask(Resume(jobs=["job"]))
    assert scene.slots() == {"job": None}
    scene.at(8)
    scene.ended()
    assert scene.slots() == {"job": 18}


@pytest.mark.parametrize("name", ["job", "once-1"])
def test_a_one_off_job_that_is_paused_over_its_instant_has_its_run_afterwards(name: str) -> None:
    scene = Scene()
    scene.once(name, at=30)
    scene.ask(PauseJobs(jobs=[name]))
    scene.at(60)
    scene.check_restart()
    assert scene.starts == []
    scene.ask(Resume(jobs=[name]))
    scene.at(60.1)
    assert scene.slots_of_runs(name) == [30]


# --- and nobody there ---


def test_slots_of_a_long_pause_are_told_together_and_not_one_by_one() -> None:
    scene = Scene(make_job(schedule=EVERY_SECOND))
    scene.ask(PauseJobs(jobs=["job"]))
    scene.at(5000)
    [before, *_] = scene.disk.skips
    assert (before.reason.value, before.count) == ("paused", None)
    assert {reason for _, _, reason in scene.skips} == {"paused"}


def test_a_pause_that_ends_while_nobody_is_there_covers_its_slots_and_no_others() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(90)))
    scene.now = Now(scene.now.wall_ns + seconds(185), scene.now.elapsed_ns + seconds(185))
    scene.restart()
    scene.at(185)
    assert scene.skips == [("job", 60, "paused"), ("job", 120, "missed")]
    assert scene.slots_of_runs() == [180]
    assert scene.engine.timetable.jobs["job"].pause is None


@pytest.mark.parametrize(("pause_s", "reason"), [(1000, "paused"), (90, "missed")])
def test_what_a_paused_job_owed_when_it_was_removed_is_told(pause_s: float, reason: str) -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(pause_s)))
    scene.jobs = ()
    scene.now = Now(scene.now.wall_ns + seconds(130), scene.now.elapsed_ns + seconds(130))
    scene.restart()
    assert scene.skips == [("job", 60, reason)]


def test_an_interval_that_stood_still_owes_nothing_when_it_is_changed_and_goes_on_standing() -> None:
    scene = Scene(make_job())
    scene.ask(PauseJobs(jobs=["job"]))
    scene.jobs = (make_job(schedule=Interval(seconds(60))),)
    scene.now = Now(scene.now.wall_ns + seconds(130), scene.now.elapsed_ns + seconds(130))
    scene.restart()
    assert (scene.skips, scene.slots()) == ([], {"job": None})
    scene.check_restart()
    scene.ask(Resume(jobs=["job"]))
    assert scene.slots() == {"job": 190}


@pytest.mark.parametrize("step_s", [500, -500])
def test_a_pause_keeps_its_length_through_a_step_that_nobody_saw(step_s: float) -> None:
    scene = Scene(make_job())
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(60)))
    scene.now = Now(scene.now.wall_ns + seconds(step_s), scene.now.elapsed_ns)
    scene.restart(step_s=step_s)
    pause = scene.engine.timetable.jobs["job"].pause
    assert pause is not None
    assert scene.now.wall_ns + seconds(60) == pause.until_ns
    assert scene.disk.jobs["job"].pause == pause


def test_the_end_of_a_pause_of_a_job_that_is_gone_is_nothing() -> None:
    scene = Scene(make_job(), make_job("other"))
    scene.ask(PauseJobs(jobs=["job"], for_ns=seconds(5)))
    scene.reload(make_job("other"))
    scene.at(6)
    assert [told for told in scene.commanded if told[0] == "resumed"] == []

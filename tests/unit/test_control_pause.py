"""Pauses: no new runs, slots skipped as paused, intervals that go on with what was left."""

from __future__ import annotations

import signal

from unit.control_scene import ANN, Scene
from unit.engine_driver import START, make_job, of_type, seconds

from taskman_cli.core import effects
from taskman_cli.core.model import Policy
from taskman_cli.core.protocol import Pause, Resume, TriggerJob
from taskman_cli.core.schedule import Interval, parse_cron

EVERY_MINUTE = parse_cron("* * * * *", timezone="UTC")
PAUSE = Pause(jobs=["job"])
RESUME = Resume(jobs=["job"])


def test_the_slots_that_pass_are_skipped_as_paused_and_the_next_one_runs() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    reply = scene.ask(Pause(jobs=["job"], reason="tea"))
    assert {"ok": True, "jobs": ["job"], "unchanged": [], "until_ns": None} == reply
    assert [("paused", "job", "tea", ANN)] == scene.commanded
    scene.check_restart()
    scene.at(60)
    assert ([], [("job", 60, "paused")]) == (scene.starts, scene.skips)
    assert ["job"] == scene.ask(RESUME)["jobs"]
    scene.at(120)
    assert [120] == scene.slots_of_runs()
    assert [("resumed", "job", "", ANN)] == scene.commanded


def test_an_interval_goes_on_with_what_was_left_of_it() -> None:
    scene = Scene(make_job())
    scene.at(3)
    scene.ask(PAUSE)
    scene.at(100)
    scene.check_restart()
    scene.ask(RESUME)
    assert {"job": 107} == scene.slots()
    scene.check_restart()
    scene.at(107)
    assert [107] == scene.slots_of_runs()


def test_an_interval_from_the_end_does_too() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    scene.at(3)
    scene.ask(PAUSE)
    scene.at(50)
    scene.ask(RESUME)
    assert {"job": 57} == scene.slots()
    scene.check_restart()


def test_an_interval_that_would_go_on_beyond_its_end_is_over() -> None:
    scene = Scene(make_job(policy=Policy(expires_at_ns=START.wall_ns + seconds(30))))
    scene.at(3)
    scene.ask(PAUSE)
    scene.at(50)
    scene.ask(RESUME)
    assert {"job": None} == scene.slots()


def test_one_for_a_time_ends_by_itself_and_says_so() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    reply = scene.ask(Pause(jobs=["job"], for_ns=seconds(90)))
    assert START.wall_ns + seconds(90) == reply["until_ns"]
    scene.check_restart()
    scene.at(60)
    scene.at(90)
    assert ("resumed", "job", "", "its time is over") == scene.commanded[-1]
    scene.at(120)
    assert ([("job", 60, "paused")], [120]) == (scene.skips, scene.slots_of_runs())


def test_one_for_a_time_is_as_long_however_the_clock_is_set() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    scene.ask(Pause(jobs=["job"], for_ns=seconds(90)))
    scene.step(600)
    pause = scene.engine.timetable.jobs["job"].pause
    assert pause is not None
    assert START.wall_ns + seconds(690) == pause.until_ns
    scene.check_restart()


def test_a_second_pause_says_until_when_and_keeps_what_was_left() -> None:
    scene = Scene(make_job())
    scene.at(3)
    scene.ask(PAUSE)
    scene.at(5)
    scene.ask(Pause(jobs=["job"], for_ns=seconds(10), reason="again"))
    scene.at(15)
    assert {"job": 22} == scene.slots()


def test_by_tag_and_all_and_what_was_not_paused_is_told() -> None:
    scene = Scene(make_job("a"), make_job("b"))
    assert ["a", "b"] == scene.ask(Pause(all=True))["jobs"]
    assert ["a"] == scene.ask(Resume(jobs=["a"]))["jobs"]
    reply = scene.ask(Resume(all=True))
    assert (["b"], ["a"]) == (reply["jobs"], reply["unchanged"])


def test_running_commands_go_on_unless_they_are_to_be_stopped() -> None:
    scene = Scene(make_job())
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(PAUSE)
    assert [] == scene.signals
    scene.ask(Pause(jobs=["job"], stop=True))
    scene.ask(RESUME)
    assert [("job", signal.SIGSTOP), ("job", signal.SIGCONT)] == scene.signals


def test_what_was_stopped_goes_on_when_its_job_is_gone() -> None:
    scene = Scene(make_job())
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(Pause(jobs=["job"], stop=True))
    scene.reload()
    assert ("job", signal.SIGCONT) == scene.signals[-1]


def test_a_one_hit_job_that_is_paused_runs_when_it_goes_on() -> None:
    scene = Scene()
    scene.once(at=10)
    scene.ask(Pause(all=True))
    scene.at(20)
    assert [] == scene.starts
    scene.ask(Resume(all=True))
    scene.at(20)
    assert [10] == scene.slots_of_runs("once-1")


def test_a_scheduler_with_a_pause_is_not_idle() -> None:
    job = make_job(policy=Policy(max_runs=1))
    scene = Scene(job)
    assert not scene.engine.is_idle
    scene.ask(TriggerJob(job="job"))
    assert not scene.engine.is_idle
    scene.ended()
    assert scene.engine.is_idle
    scene.ask(PAUSE)
    assert not scene.engine.is_idle


def test_of_very_many_slots_that_passed_all_are_skipped_as_paused() -> None:
    scene = Scene(make_job(schedule=parse_cron("* * * * * *", timezone="UTC")))
    scene.ask(PAUSE)
    scene.at(1_000)
    skips = of_type(scene.done, effects.SlotsSkipped)
    assert {"paused"} == {skip.reason.value for skip in skips}
    spans = [(skip.first_ns, skip.last_ns) for skip in skips]
    assert (seconds(1), seconds(1_000)) == (spans[0][0] - START.wall_ns, spans[-1][1] - START.wall_ns)
    assert len(spans) > 1


def test_a_schedule_that_is_over_has_no_slot_to_take_while_paused() -> None:
    policy = Policy(expires_at_ns=START.wall_ns + seconds(30))
    scene = Scene(make_job(schedule=EVERY_MINUTE, policy=policy))
    scene.ask(PAUSE)
    reply = scene.ask(TriggerJob(job="job", instead=True))
    assert {"ok": False, "error": "job has no slot to come", "code": 1} == reply

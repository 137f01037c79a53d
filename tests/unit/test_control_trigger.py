"""Extra runs: of a job or one of its tasks, beside its schedule or instead of its next slot."""

from __future__ import annotations

import pytest
from unit.control_scene import ANN, Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.model import Execution, Mode, Overlap, Policy, Retry, Settings
from taskman_cli.core.protocol import Cancel, PauseJobs, TriggerJob
from taskman_cli.core.schedule import Interval, parse_cron

EVERY_MINUTE = parse_cron("* * * * *", timezone="UTC")
DAILY = parse_cron("0 2 * * *", timezone="UTC")
TRIGGER = TriggerJob(job="job")
INSTEAD = TriggerJob(job="job", instead=True)
HOUR = 3600.0


def busy(overlap: Overlap, *, max_running: int | None = None) -> Scene:
    """Return a scheduler with a run of its job under way."""
    scene = Scene(make_job(policy=Policy(overlap=overlap, max_running=max_running)))
    assert scene.ask(TRIGGER)["ok"]
    scene.began()
    return scene


def test_a_trigger_makes_a_run_and_leaves_the_schedule_alone() -> None:
    scene = Scene(make_job())
    scene.at(3)
    reply = scene.ask(TRIGGER)
    [start] = scene.starts
    expected = {"ok": True, "run": start.run, "job": "job", "paused": False, "parked": False, "slot_ns": None}
    assert expected == reply
    assert (start.trigger, start.slot_ns) == ("manual", None)
    assert scene.slots() == {"job": 10}
    assert scene.commanded == [("triggered", "job", "", ANN)]
    assert scene.engine.state_of(start.run) == "running"
    scene.began()
    scene.check_restart()


def test_overlap_skip_refuses_and_says_what_is_in_the_way() -> None:
    scene = busy(Overlap.SKIP)
    run = scene.starts[0].run
    reply = scene.ask(TRIGGER)
    words = f"job: run {run} is not over (overlap = skip); --force runs it all the same"
    assert reply == {"ok": False, "error": words, "code": 1}
    assert len(scene.starts) == 1
    assert scene.ask(TriggerJob(job="job", force=True))["ok"]
    assert len(scene.starts) == 2


def test_overlap_queue_lets_it_wait() -> None:
    scene = busy(Overlap.QUEUE)
    run = scene.ask(TRIGGER)["run"]
    assert len(scene.starts) == 1
    assert scene.engine.state_of(run) == "queued"
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    assert run == scene.starts[-1].run


def test_overlap_allow_runs_it_beside_up_to_max_running() -> None:
    scene = busy(Overlap.ALLOW, max_running=2)
    assert scene.ask(TRIGGER)["ok"]
    reply = scene.ask(TRIGGER)
    words = "job: 2 runs are not over (overlap = allow); --force runs it all the same"
    assert (1, words) == (reply["code"], reply["error"])
    assert len(scene.starts) == 2


def test_overlap_replace_ends_what_runs_and_what_waits() -> None:
    scene = busy(Overlap.REPLACE)
    scene.ask(TRIGGER)
    last = scene.ask(TRIGGER)["run"]
    assert scene.signals == [("job", 15)]
    assert scene.states() == ["running", "skipped", "queued"]
    scene.ended(scene.starts[0].key, signum=15)
    assert last == scene.starts[-1].run


def test_a_run_of_which_a_task_was_cancelled_is_replaced_as_cancelled() -> None:
    scene = Scene(make_job(policy=Policy(overlap=Overlap.REPLACE), tasks=("a", "b")))
    scene.ask(TRIGGER)
    scene.ask(TRIGGER)
    assert scene.ask(Cancel(target="job.a"))["ok"]
    scene.ask(TRIGGER)
    assert scene.states() == ["running", "cancelled", "queued"]


def test_a_job_that_has_had_its_runs_gets_another_by_force_only() -> None:
    scene = Scene(make_job(policy=Policy(max_runs=1)))
    scene.ask(TRIGGER)
    scene.ended()
    assert scene.slots() == {"job": None}
    reply = scene.ask(TRIGGER)
    assert reply["error"] == "job: it has had its 1 runs (max_runs); --force runs it all the same"
    assert scene.ask(TriggerJob(job="job", force=True))["ok"]
    scene.ended()
    assert scene.states() == ["succeeded", "succeeded"]
    scene.check_restart()


@pytest.mark.parametrize("is_paused", [False, True], ids=["disabled", "paused"])
def test_it_works_while_no_slot_gets_a_run(is_paused: bool) -> None:
    scene = Scene(make_job(enabled=is_paused))
    if is_paused:
        scene.ask(PauseJobs(jobs=["job"]))
    reply = scene.ask(TRIGGER)
    assert (True, is_paused) == (reply["ok"], reply["paused"])
    assert len(scene.starts) == 1


def test_one_task_alone_with_variables_which_survive_a_restart() -> None:
    retry = Execution(retry=Retry(max=1, delay_ns=seconds(5)))
    scene = Scene(make_job(tasks=("a", "b", "c"), execution=retry))
    scene.ask(TriggerJob(job="job", task="b", env={"DAY": "monday"}))
    [start] = scene.starts
    assert (start.task.id, dict(start.params)) == ("b", {"DAY": "monday"})
    scene.ended(code=1)
    scene.check_restart()
    scene.at(5)
    assert (
        scene.starts[-1].task.id, scene.starts[-1].attempt, dict(scene.starts[-1].params)
    ) == ("b", 2, {"DAY": "monday"})  # fmt: skip
    scene.ended()
    assert scene.states() == ["succeeded"]


def test_a_run_that_waits_keeps_its_task_and_variables_through_a_restart() -> None:
    scene = Scene(make_job(), make_job("big", tasks=("a", "b")), settings=Settings(max_workers=1))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TriggerJob(job="big", task="b", env={"X": "1"}))
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    assert (scene.starts[-1].task.id, dict(scene.starts[-1].params)) == ("b", {"X": "1"})


def test_a_run_that_waits_for_a_task_that_is_gone_is_cancelled() -> None:
    scene = Scene(make_job(), make_job("big", tasks=("a", "b")), settings=Settings(max_workers=1))
    scene.ask(TRIGGER)
    scene.began()
    scene.ask(TriggerJob(job="big", task="b"))
    scene.jobs = (scene.jobs[0], make_job("big", tasks=("a",)))
    scene.restart()
    assert scene.states("big") == ["cancelled"]
    assert "the task b is not defined any more" in str(scene.done)


# --- instead of the next slot ---


def test_a_slot_of_cron_is_taken_and_the_one_after_it_is_next() -> None:
    scene = Scene(make_job(schedule=EVERY_MINUTE))
    scene.at(10)
    reply = scene.ask(INSTEAD)
    assert START.wall_ns + seconds(60) == reply["slot_ns"]
    assert scene.slots() == {"job": 120}
    assert scene.slots_of_runs() == [60]
    scene.began()
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    scene.at(60)
    assert scene.slots_of_runs() == [60]
    scene.at(120)
    assert scene.slots_of_runs() == [60, 120]


def test_a_slot_many_hours_ahead_does_not_run_again_after_a_restart() -> None:
    scene = Scene(make_job(schedule=DAILY))
    before = scene.slots()["job"]
    scene.ask(INSTEAD)
    scene.ended()
    scene.at(60)
    scene.restart()
    assert before is not None
    assert scene.slots() == {"job": before + 24 * HOUR}
    scene.step(30)
    assert scene.slots() == {"job": before + 24 * HOUR}
    scene.restart()
    assert scene.slots() == {"job": before + 24 * HOUR}


def test_a_slot_that_was_taken_by_a_clock_hours_ahead_is_none_of_today() -> None:
    scene = Scene(make_job(schedule=DAILY))
    before = scene.slots()["job"]
    scene.step(48 * HOUR)
    scene.ask(INSTEAD)
    scene.ended()
    scene.step(-48 * HOUR)
    assert scene.slots() == {"job": before}
    scene.restart()
    assert scene.slots() == {"job": before}


def test_a_clock_put_right_while_nobody_is_there_is_seen_too() -> None:
    scene = Scene(make_job(schedule=DAILY))
    before = scene.slots()["job"]
    scene.step(48 * HOUR)
    scene.ask(INSTEAD)
    scene.ended()
    scene.now = START
    scene.restart()
    assert scene.slots() == {"job": before}


def test_an_interval_counts_from_now() -> None:
    scene = Scene(make_job())
    scene.at(3)
    scene.ask(INSTEAD)
    assert (scene.slots_of_runs(), scene.slots()) == ([10], {"job": 13})
    scene.began()
    scene.check_restart()


def test_in_the_instant_of_a_slot_the_next_one_is_not_run_twice() -> None:
    scene = Scene(make_job())
    scene.ask(INSTEAD)
    scene.ended()
    scene.at(10)
    assert scene.slots_of_runs() == [10]
    scene.at(10.1)
    assert scene.slots_of_runs() == [10, 10.000000001]


def test_an_interval_from_the_end_counts_from_the_end_of_this_run() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    scene.at(3)
    scene.ask(INSTEAD)
    assert (scene.slots_of_runs(), scene.slots()) == ([10], {"job": None})
    scene.began()
    scene.check_restart()
    scene.at(5)
    scene.ended(scene.starts[0].key)
    assert scene.slots() == {"job": 15}
    scene.check_restart()


def test_an_extra_run_of_an_interval_from_the_end_counts_too() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    scene.at(3)
    scene.ask(TRIGGER)
    scene.began()
    assert scene.slots() == {"job": None}
    scene.check_restart()
    scene.at(15)
    scene.ended(scene.starts[0].key)
    assert scene.slots() == {"job": 25}


def test_at_is_taken_and_nothing_is_left() -> None:
    from zoneinfo import ZoneInfo

    from taskman_cli.core.schedule import Once

    scene = Scene(make_job(schedule=Once(START.wall_ns + seconds(100), ZoneInfo("UTC"))))
    scene.ask(INSTEAD)
    assert (scene.slots_of_runs(), scene.slots()) == ([100], {"job": None})
    scene.ended()
    scene.check_restart()
    reply = scene.ask(INSTEAD)
    assert reply == {"ok": False, "error": "job has no next slot", "code": 1}


def test_the_slot_of_a_job_with_an_end_is_its_last() -> None:
    expires_at_ns = START.wall_ns + seconds(90)
    scene = Scene(make_job(schedule=EVERY_MINUTE, policy=Policy(expires_at_ns=expires_at_ns)))
    scene.ask(INSTEAD)
    assert scene.slots() == {"job": None}


def test_with_jitter_a_slot_after_the_one_taken_may_be_due_already() -> None:
    policy = Policy(jitter_ns=seconds(59), overlap=Overlap.ALLOW)
    schedule = parse_cron("* * * * * *", timezone="UTC")
    job = make_job(schedule=schedule, policy=policy)
    delays = [ArmedJob(job, 0).due_at(START.wall_ns + seconds(s)) - START.wall_ns for s in range(1, 40)]
    scene = Scene(job)
    scene.now = scene.now._replace(wall_ns=START.wall_ns + delays[0] - 1)
    reply = scene.ask(INSTEAD)
    assert START.wall_ns + seconds(1) == reply["slot_ns"]
    owed = [float(s) for s in range(1, 40)]
    due = next(s for s in owed[1:] if delays[int(s) - 1] > delays[0] - 1)
    assert owed[: int(due) - 1] == scene.slots_of_runs()
    assert scene.slots() == {"job": due}


@pytest.mark.parametrize("schedule", [EVERY_MINUTE, Interval(seconds(60))], ids=["cron", "every"])
def test_instead_works_while_paused_and_the_job_stays_paused(schedule: Interval) -> None:
    scene = Scene(make_job(schedule=schedule))
    scene.at(10)
    scene.ask(PauseJobs(jobs=["job"]))
    scene.at(20)
    reply = scene.ask(INSTEAD)
    assert (reply["ok"], reply["paused"]) == (True, True)
    scene.began()
    scene.check_restart()
    scene.ended(scene.starts[0].key)
    scene.at(130)
    assert len(scene.starts) == 1


def test_an_instead_that_is_refused_takes_nothing() -> None:
    scene = busy(Overlap.SKIP)
    assert not scene.ask(INSTEAD)["ok"]
    assert scene.slots() == {"job": 10}


def test_a_slot_that_waited_too_long_after_all_is_skipped_and_not_run_again() -> None:
    policy = Policy(start_deadline_ns=seconds(5))
    jobs = (make_job("busy"), make_job(schedule=EVERY_MINUTE, policy=policy))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    scene.ask(TriggerJob(job="busy"))
    scene.ask(INSTEAD)
    scene.at(5.1)
    assert scene.skips == [("job", 60, "late")]
    assert scene.slots() == {"busy": 10, "job": 120}


def test_in_a_sequence_the_tasks_follow_each_other() -> None:
    scene = Scene(make_job(policy=Policy(mode=Mode.SEQUENCE), tasks=("a", "b")))
    scene.ask(TRIGGER)
    scene.ended()
    assert [start.task.id for start in scene.starts] == ["a", "b"]

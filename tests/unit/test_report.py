"""What the engine can be asked without changing it."""

from __future__ import annotations

from typing import Any

import pytest
from unit.control_scene import Scene
from unit.engine_driver import START, make_job, seconds

from taskman_cli.core.engine import events
from taskman_cli.core.engine.answers import changes_in_words, is_in_state, job_item, next_slots, status
from taskman_cli.core.engine.effects import JobsTaken
from taskman_cli.core.engine.news import shortened
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.model import Execution, Policy, Retry, Settings
from taskman_cli.core.protocol import PauseJobs, Resume, TriggerJob
from taskman_cli.core.schedule import Interval, parse_cron


def told(scene: Scene) -> dict[str, Any]:
    return status(scene.engine, scene.now, started_ns=START.wall_ns)


def item(scene: Scene, name: str = "job") -> dict[str, Any]:
    return job_item(scene.engine, scene.engine.timetable.jobs[name], scene.now)


def test_the_status_of_a_scheduler_at_work() -> None:
    execution = Execution(timeout_ns=seconds(60))
    scene = Scene(
        make_job("a", execution=execution), make_job("b"), make_job("c"), settings=Settings(max_workers=1)
    )
    scene.ask(PauseJobs(jobs=["c"]))
    run = scene.ask(TriggerJob(job="a"))["run"]
    scene.began()
    scene.ask(TriggerJob(job="b"))
    scene.now = scene.now._replace(elapsed_ns=scene.now.elapsed_ns + 1)
    found = told(scene)
    [row] = found["running"]
    assert tuple(row[key] for key in ("run", "job", "task", "attempt", "pid", "trigger", "command")) == (
        run,
        "a",
        "main",
        1,
        100,
        "manual",
        "true",
    )
    # The two clocks are read together: what lies a nanosecond back on one does on the other.
    assert START.wall_ns - 1 == row["started_ns"]
    assert tuple(found[key] for key in ("jobs", "paused", "max_workers", "ready", "retries", "stopping")) == (
        3,
        1,
        1,
        1,
        0,
        False,
    )
    assert [(coming["job"], (coming["slot_ns"] - START.wall_ns) / 1e9) for coming in found["next"]] == [
        ("a", 10),
        ("b", 10),
    ]
    assert found["counters"]["started"] == 1


def test_in_a_stop_nothing_comes_any_more() -> None:
    scene = Scene(make_job())
    scene.send(events.StopRequested())
    assert (told(scene)["stopping"], told(scene)["next"]) == (True, [])


def test_a_retry_that_rests_is_counted() -> None:
    scene = Scene(make_job(execution=Execution(retry=Retry(max=1, delay_ns=seconds(5)))))
    scene.ask(TriggerJob(job="job"))
    scene.ended(code=1)
    assert told(scene)["retries"] == 1


def test_a_job_waits_runs_is_queued_paused_disabled_or_over() -> None:
    over = make_job("over", policy=Policy(max_runs=1))
    scene = Scene(make_job(), make_job("off", enabled=False), over, settings=Settings(max_workers=1))
    assert (item(scene)["state"], item(scene, "off")["state"]) == ("waiting", "disabled")
    scene.ask(TriggerJob(job="job"))
    scene.began()
    scene.ask(TriggerJob(job="over"))
    assert (item(scene)["state"], item(scene, "over")["state"]) == ("running", "queued")
    scene.ended(scene.starts[0].key)
    scene.ended()
    assert item(scene, "over")["state"] == "over"
    scene.ask(PauseJobs(jobs=["job"], reason="r"))
    found = item(scene)
    assert (found["state"], found["due_ns"], found["pause"]["reason"]) == ("paused", None, "r")


def test_a_job_tells_its_slots_and_its_tasks() -> None:
    scene = Scene(make_job(policy=Policy(jitter_ns=seconds(5)), tasks=("a", "b")))
    armed = scene.engine.timetable.jobs["job"]
    found = job_item(scene.engine, armed, scene.now, ("c",))
    assert tuple(found[key] for key in ("tasks", "removed_tasks", "running", "queued")) == (
        ["a", "b"],
        ["c"],
        [],
        0,
    )
    assert armed.slot_ns is not None
    assert (armed.slot_ns, armed.due_at(armed.slot_ns)) == (found["slot_ns"], found["due_ns"])
    assert [(slot_ns - START.wall_ns) / 1e9 for slot_ns in next_slots(armed, 3)] == [10, 20, 30]


def test_of_an_interval_from_the_end_one_slot_can_be_known() -> None:
    scene = Scene(make_job(schedule=Interval(seconds(10), from_finish=True)))
    assert len(next_slots(scene.engine.timetable.jobs["job"], 3)) == 1


@pytest.mark.parametrize("is_enabled", [True, False])
def test_there_is_nothing_to_wait_for_where_nothing_runs_or_will(is_enabled: bool) -> None:
    scene = Scene(make_job(enabled=is_enabled, policy=Policy(max_runs=1)))
    assert scene.engine.is_idle == (not is_enabled)
    scene.ask(TriggerJob(job="job"))
    assert not scene.engine.is_idle
    scene.ended()
    assert scene.engine.is_idle
    scene.send(events.DrainRequested())
    assert (scene.engine.is_stopping, scene.engine.is_draining) == (True, True)


def test_a_view_has_the_paused_jobs_too_those_that_stand_still_last() -> None:
    jobs = (make_job("still"), make_job("cron", parse_cron("* * * * *", timezone="UTC")), make_job("other"))
    scene = Scene(*jobs)
    scene.ask(PauseJobs(jobs=["still", "cron"], reason="tea"))
    snapshot = take_snapshot(scene.engine, scene.now, started_ns=0, rows=10)
    rows = [(row.job, row.slot_ns is None, row.pause and row.pause.reason) for row in snapshot.queue]
    assert rows == [("other", False, None), ("cron", False, "tea"), ("still", True, "tea")]
    assert (snapshot.paused, snapshot.draining) == (2, False)
    assert [row["job"] for row in told(scene)["next"]] == ["other"]


def test_what_is_next_is_what_will_start_however_many_are_disabled_or_paused_before_it() -> None:
    every_minute, every_hour = (parse_cron(text, timezone="UTC") for text in ("* * * * *", "0 * * * *"))
    off = [make_job(f"off{number}", every_minute, enabled=False) for number in range(20)]
    scene = Scene(
        *off, make_job("held", every_minute), make_job("back", every_minute), make_job("on", every_hour)
    )
    scene.ask(PauseJobs(jobs=["held"], for_ns=seconds(60.5)))
    scene.ask(PauseJobs(jobs=["back"], for_ns=seconds(59.5)))
    assert [row["job"] for row in told(scene)["next"]] == ["back", "on"]
    rows = take_snapshot(scene.engine, scene.now, started_ns=0, rows=5).queue
    assert [row.job for row in rows][:5] == ["back", "on", "held", "off0", "off1"]


def test_a_view_says_how_many_jobs_there_are_beside_those_that_it_shows() -> None:
    scene = Scene(*(make_job(f"job-{number}") for number in range(20)))
    scene.ask(PauseJobs(jobs=["job-1", "job-2"]))
    for rows, shown in ((5, 7), (1, 2), (100, 20)):
        snapshot = take_snapshot(scene.engine, scene.now, started_ns=0, rows=rows)
        assert (len(snapshot.queue), snapshot.queue_more) == (shown, 20 - shown)


def test_neither_a_view_nor_the_status_looks_at_all_jobs() -> None:
    class Watched(dict[str, Any]):
        """Jobs that can be looked up, but not gone through."""

        def __iter__(self) -> Any:
            raise AssertionError("there may be a hundred thousand")

        values = items = keys = __iter__

    scene = Scene(*(make_job(f"job-{number}") for number in range(20)))
    scene.ask(PauseJobs(jobs=["job-1"]))
    scene.engine.timetable.jobs = Watched(scene.engine.timetable.jobs)
    snapshot = take_snapshot(scene.engine, scene.now, started_ns=0, rows=5)
    assert (snapshot.jobs, snapshot.paused, snapshot.queue_more, told(scene)["paused"]) == (20, 1, 14, 1)


def test_the_next_slots_of_a_job_are_those_that_get_a_run() -> None:
    every_minute = parse_cron("* * * * *", timezone="UTC")
    policy = Policy(jitter_ns=seconds(30))
    scene = Scene(make_job("off", every_minute, enabled=False), make_job("job", every_minute, policy=policy))
    jobs = scene.engine.timetable.jobs
    assert next_slots(jobs["off"], 3) == []
    scene.ask(PauseJobs(jobs=["job"]))
    assert next_slots(jobs["job"], 3) == []
    scene.ask(Resume(jobs=["job"]))
    first = next_slots(jobs["job"], 5)
    until_ns = jobs["job"].due_at(first[2])
    scene.ask(PauseJobs(jobs=["job"], until_ns=until_ns))
    assert first[2:] == next_slots(jobs["job"], 3)
    scene.ask(PauseJobs(jobs=["job"], until_ns=until_ns + 1))
    assert first[3:] == next_slots(jobs["job"], 2)


def test_a_run_that_goes_on_hides_neither_a_pause_nor_that_the_job_is_disabled() -> None:
    scene = Scene(make_job("off", enabled=False), make_job())
    for name in ("off", "job"):
        scene.ask(TriggerJob(job=name))
        scene.began()
    assert not is_in_state(item(scene), ["paused"])
    scene.ask(PauseJobs(jobs=["job"]))
    found, off = item(scene), item(scene, "off")
    assert (found["state"], off["state"]) == ("running", "running")
    assert tuple(is_in_state(found, [state]) for state in ("paused", "running", "disabled")) == (
        True,
        True,
        False,
    )
    assert (is_in_state(off, ["paused"]), is_in_state(off, ["disabled"])) == (False, True)


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (JobsTaken(1, (), (), ()), "nothing changed"),
        (JobsTaken(2, ("a",), (), ("b", "c")), "added job: a; removed 2 jobs: b, c"),
        (JobsTaken(2, (), ("a",), (), ("watch",)), "changed job: a; changed settings: watch"),
        (JobsTaken(11, tuple("abcdefghijk"), (), ()), "added 11 jobs: a, b, c, d, e, f, g, h, i, j, …"),
    ],
)
def test_what_a_reload_changed_is_one_line(taken: JobsTaken, words: str) -> None:
    assert words == changes_in_words(taken)


def test_a_report_that_nobody_reads_to_its_end_is_cut() -> None:
    assert shortened("a\nb") == "a\nb"
    lines = shortened("\n".join("x" * 300)).splitlines()
    assert (len(lines), lines[-1]) == (201, "… and 100 more lines")

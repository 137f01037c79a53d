"""What the sinks are told, and when trouble that goes on is told again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds

from taskman_cli.core import protocol
from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import answers, effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.statusline import status_line
from taskman_cli.core.model import (
    GATE,
    Execution,
    Exit,
    Job,
    Mode,
    Policy,
    Retry,
    Settings,
    State,
    Task,
    Trigger,
)
from taskman_cli.core.schedule import Interval, Once, load_zone
from taskman_cli.core.sinks import ALL_OUTPUT, ReportKind, SinkDefinition

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = SinkDefinition("all", "file", on=frozenset(ReportKind), repeat_ns=0)
OPS = SinkDefinition("ops", "webhook", output_lines=5)
K = ReportKind


class Scene(Driver):
    """A scheduler with sinks."""

    def __init__(
        self, *jobs: Job, sinks: tuple[SinkDefinition, ...] = (ALL,), now: Now = START,
        known: Mapping[str, events.JobStanding] | None = None, **loaded: Any,
    ) -> None:  # fmt: skip
        self.jobs, self.settings, self.now, self.done = jobs, Settings(), now, []
        self.engine = Engine(self.settings, sinks)
        standings = dict(known or {})
        self.send(
            events.JobsLoaded(
                jobs, standings, now.wall_ns if standings else None,
                is_new_boot=not standings, is_new_life=not standings, **loaded,
            )
        )  # fmt: skip

    def told(self, sink: str = "all") -> list[tuple[str, int]]:
        """Return what a sink was told so far, each with how many."""
        return [
            (str(report.kind), dict(report.to)[sink])
            for report in of_type(self.done, effects.Reported)
            if sink in dict(report.to)
        ]

    def reload(self, *jobs: Job, sinks: tuple[SinkDefinition, ...] = (ALL,)) -> list[effects.Effect]:
        return self.send(events.JobsReloaded(1, jobs, self.settings, (), "ann", sinks=sinks))

    def reports(self, kind: ReportKind) -> list[effects.Reported]:
        return [report for report in of_type(self.done, effects.Reported) if report.kind is kind]


def job(name: str = "job", **policy: Any) -> Job:
    policy.setdefault("sinks", ("all",))
    return make_job(name, policy=Policy(**policy))


def play(scene: Scene, ends: str, *, begin: int = 1) -> None:
    """Let one run after the other succeed (s) or fail (f)."""
    for slot, end in enumerate(ends, begin):
        scene.at(slot * 10)
        scene.began()
        scene.ended(code=0 if end == "s" else 3)


def test_a_run_is_told_from_its_begin_to_its_end() -> None:
    scene = Scene(job())
    scene.at(10)
    scene.began()
    scene.now = Now(scene.now.wall_ns + SECOND_NS, scene.now.elapsed_ns + SECOND_NS)
    scene.ended(code=3)
    assert scene.told() == [("started", 1), ("failed", 1)]
    (begun,) = scene.reports(K.STARTED)
    (failed,) = scene.reports(K.FAILED)
    run = scene.starts[0].run
    assert (begun.job, begun.run, begun.task, begun.attempt) == ("job", run, "main", 1)
    assert begun.slot_ns == START.wall_ns + seconds(10)
    assert (failed.state, failed.detail, failed.task, failed.attempt) == ("failed", "exit 3", "main", 1)
    assert failed.exit is not None
    assert (failed.exit.exit_code, failed.duration_ns) == (3, SECOND_NS)
    assert (failed.started_ns, failed.ended_ns) == (scene.now.wall_ns - SECOND_NS, scene.now.wall_ns)
    assert failed.output_lines == ALL.output_lines


@pytest.mark.parametrize("codes", [None, (75,)], ids=["always", "not now"])
def test_a_healthcheck_hears_of_no_start_that_may_have_no_end(codes: tuple[int, ...] | None) -> None:
    check = replace(ALL, name="check", type="healthcheck")
    policy, execution = Policy(sinks=("all", "check")), Execution(skip_exit_codes=codes)
    scene = Scene(make_job("job", policy=policy, execution=execution), sinks=(ALL, check))
    for second, code in ((10, 75), (20, 0)):
        scene.at(second)
        scene.began()
        scene.ended(code=code)
    told = [kind for kind, _ in scene.told()]
    assert told[:2] == ["started", "skipped" if codes else "failed"]
    found = [kind for kind, _ in scene.told("check")]
    assert found == ([kind for kind in told if kind != "started"] if codes else told)


def test_a_report_follows_the_record_that_it_tells_of() -> None:
    scene = Scene(job())
    play(scene, "s")
    kinds = [type(effect).__name__ for effect in scene.done]
    assert kinds[kinds.index("RunFinished") + 1] == "Reported"
    assert kinds[kinds.index("AttemptBegun") + 1] == "Reported"


def test_nothing_is_told_where_nobody_wants_to_know() -> None:
    quiet = Scene(job(sinks=()), job("other", sinks=("gone",)))
    play(quiet, "fs")
    assert of_type(quiet.done, effects.Reported) == []
    problems = Scene(job(sinks=("ops",)), sinks=(ALL, OPS))
    play(problems, "ss")
    assert of_type(problems.done, effects.Reported) == []


def test_the_first_success_after_failures_is_told_with_how_many_there_were() -> None:
    scene = Scene(job(sinks=("ops",)), sinks=(OPS,))
    play(scene, "fffss")
    assert scene.told("ops") == [("failed", 1), ("recovered", 1)]
    (noticed,) = of_type(scene.done, effects.Noticed)
    assert (noticed.kind, noticed.detail) == (K.RECOVERED, "after 3 failed runs")
    (recovered,) = scene.reports(K.RECOVERED)
    assert (recovered.detail, recovered.attempt, recovered.state) == ("after 3 failed runs", 1, "succeeded")
    play(scene, "fs", begin=6)
    assert scene.told("ops")[2:] == [("failed", 1), ("recovered", 1)]
    assert scene.reports(K.RECOVERED)[-1].detail == "after 1 failed run"


@pytest.mark.parametrize(
    ("repeat_ns", "told"),
    [
        (0, [("failed", 1)] * 6),
        (None, [("failed", 1)]),
        (seconds(25), [("failed", 1), ("failed", 3)]),
    ],
)
def test_trouble_that_goes_on_is_told_again_as_repeat_says(repeat_ns: Any, told: list[Any]) -> None:
    scene = Scene(job(sinks=("ops",)), sinks=(replace(OPS, repeat_ns=repeat_ns),))
    play(scene, "ffffff")
    assert scene.told("ops") == told
    play(scene, "s", begin=7)
    assert scene.told("ops")[-1] == ("recovered", 1)


def test_trouble_was_told_by_a_clock_that_has_been_set_back_is_told_again() -> None:
    scene = Scene(job(sinks=("ops",)), sinks=(OPS,))
    play(scene, "f")
    series = of_type(scene.done, effects.SeriesNoted)[-1]
    later = replace(series, told_ns=series.told_ns + seconds(7200), untold=4)
    known = {"job": events.JobStanding(definition_of(scene.jobs[0]), START.wall_ns, START.wall_ns)}
    again = Scene(*scene.jobs, sinks=(OPS,), known=known, series=(later,))
    play(again, "f")
    assert again.told("ops") == [("failed", 5)]


def test_trouble_on_record_goes_on_in_the_next_scheduler_but_not_of_what_is_gone() -> None:
    scene = Scene(job(sinks=("ops",)), sinks=(OPS,))
    play(scene, "ff")
    series = of_type(scene.done, effects.SeriesNoted)[-1]
    assert (series.job, series.sink, series.trouble, series.untold) == ("job", "ops", "failed", 1)
    known = {"job": events.JobStanding(definition_of(scene.jobs[0]), START.wall_ns, START.wall_ns)}
    others = (replace(series, job="gone"), replace(series, sink="gone"))
    again = Scene(*scene.jobs, sinks=(OPS,), known=known, series=(series, *others))
    play(again, "f")
    assert again.told("ops") == []
    assert again.engine.reports.restate()[1:] == [replace(series, untold=2, run=again.starts[-1].run)]


def test_skips_that_were_not_asked_for_are_told_with_their_reason() -> None:
    scene = Scene(job(sinks=("ops", "all")), sinks=(replace(OPS, repeat_ns=0), ALL))
    scene.at(10)
    scene.at(20)  # overlap
    assert scene.told("ops") == []
    assert scene.told() == [("started", 1), ("skipped", 1)]
    scene.ended()
    scene.at(300)
    (missed,) = [report for report in scene.reports(K.SKIPPED) if report.reason == "missed"]
    assert dict(missed.to) == {"ops": 27, "all": 27}
    assert (missed.state, missed.slot_ns) == ("skipped", START.wall_ns + seconds(30))


def test_skips_of_a_job_that_is_gone_are_told_to_nobody() -> None:
    known = {"gone": events.JobStanding('{"every_ns": 10000000000}', START.wall_ns, START.wall_ns)}
    now = Now(START.wall_ns + seconds(60), START.elapsed_ns + seconds(60))
    scene = Scene(sinks=(ALL,), now=START, known=known)
    late = Engine(Settings(), (ALL,))
    done = late.handle(events.JobsLoaded((), known, START.wall_ns), now)
    assert of_type(done, effects.SlotsSkipped)
    assert of_type(done, effects.Reported) == scene.reports(K.SKIPPED) == []


def test_with_first_other_trouble_is_over_after_a_run_without_it() -> None:
    first = replace(OPS, repeat_ns=None)
    scene = Scene(job(sinks=("ops",), delayed_after_ns=seconds(2)), sinks=(first,))
    for late in (3, 3, 0, 3):
        slot = len(scene.starts) * 10 + 10
        scene.at(slot + late)
        scene.began()
        scene.ended()
    assert scene.told("ops") == [("delayed", 1), ("delayed", 1)]
    assert [noticed.detail for noticed in of_type(scene.done, effects.Noticed)] == ["began 3s late"] * 3


def test_what_is_delayed_is_in_the_journal_without_any_sink() -> None:
    scene = Scene(job(sinks=(), delayed_after_ns=seconds(2)), sinks=())
    scene.at(13)
    assert [noticed.kind for noticed in of_type(scene.done, effects.Noticed)] == [K.DELAYED]
    assert of_type(scene.done, effects.Reported) == []


def test_a_run_that_takes_long_is_told_once_while_it_runs() -> None:
    scene = Scene(job(slow_after_ns=seconds(3)))
    scene.at(10)
    scene.began()
    assert scene.engine.reports.slow.next_due() == START.elapsed_ns + seconds(13)
    scene.at(13)
    assert scene.told() == [("started", 1), ("slow", 1)]
    assert of_type(scene.done, effects.Noticed)[0].detail == "still runs after 3s"
    scene.at(15)
    scene.ended()
    assert scene.told()[2:] == [("succeeded", 1)]
    assert scene.engine.reports.slow.next_due() is None


def test_a_run_that_is_fast_is_not_slow() -> None:
    scene = Scene(job(slow_after_ns=seconds(3)))
    scene.at(10)
    scene.began()
    scene.ended()
    assert (scene.engine.reports.slow.next_due(), scene.told()) == (None, [("started", 1), ("succeeded", 1)])


def test_the_time_of_a_slow_run_counts_from_its_first_command() -> None:
    tasks = make_job(
        "job", policy=Policy(sinks=("all",), slow_after_ns=seconds(5), mode=Mode.SEQUENCE), tasks=("a", "b")
    )
    scene = Scene(tasks)
    scene.at(10)
    scene.began()
    scene.at(14)
    scene.ended()
    scene.began()
    scene.at(15)
    assert [kind for kind, _ in scene.told()] == ["started", "slow"]


@pytest.mark.parametrize("is_gated", [False, True])
def test_a_run_whose_process_did_not_become_its_command_is_not_slow(is_gated: bool) -> None:
    slow = job(slow_after_ns=seconds(5))
    scene = Scene(replace(slow, gate=Task(GATE, "true", Execution())) if is_gated else slow)
    scene.at(10)
    if is_gated:
        scene.began()
        scene.ended()
    scene.began()
    scene.failed(is_transient=True, is_users=True)
    assert scene.engine.reports.slow.next_due() is None
    scene.at(17)
    assert scene.reports(K.SLOW) == []
    scene.began()
    scene.at(22)
    assert len(scene.reports(K.SLOW)) == 1


def test_a_run_is_watched_while_another_command_of_it_runs() -> None:
    both = make_job("job", policy=Policy(sinks=("all",), slow_after_ns=seconds(5)), tasks=("a", "b"))
    scene = Scene(both)
    scene.at(10)
    first, second = (start.key for start in scene.starts)
    scene.began(first)
    scene.began(second)
    scene.failed(second, is_transient=True, is_users=True)
    scene.at(15)
    assert len(scene.reports(K.SLOW)) == 1


def test_a_run_that_waits_again_after_it_was_slow_is_told_so_no_more() -> None:
    slow = job(slow_after_ns=seconds(5))
    opened = events.OpenRun("67cpdrpeqk", "job", START.wall_ns, Trigger.SLOT, is_slow=True)
    known = {"job": events.JobStanding(definition_of(slow), START.wall_ns, START.wall_ns)}
    scene = Scene(slow, known=known, runs=(opened,))
    scene.began()
    scene.at(9)
    assert scene.reports(K.SLOW) == []


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_run_is_slow_once_whatever_scheduler_watches_it(is_slow: bool) -> None:
    slow = job(slow_after_ns=seconds(5))
    run = "67cpdrpeqk"
    going = events.Going(100, Now(START.wall_ns - seconds(10), START.elapsed_ns - seconds(10)))
    opened = events.OpenRun(
        run, "job", START.wall_ns - seconds(10), Trigger.SLOT, (events.OpenAttempt("main", 1, going),),
        is_slow=is_slow,
    )  # fmt: skip
    known = {"job": events.JobStanding(definition_of(slow), START.wall_ns, START.wall_ns)}
    scene = Scene(slow, known=known, runs=(opened,))
    scene.at(0.1)
    assert scene.told() == ([] if is_slow else [("slow", 1)])
    scene.ended(f"{run}.main.1")
    assert scene.told()[-1] == ("succeeded", 1)


def test_a_run_that_has_begun_is_not_told_to_begin_by_the_next_scheduler() -> None:
    tasks = make_job("job", policy=Policy(sinks=("all",), mode=Mode.SEQUENCE), tasks=("a", "b"))
    told = events.OpenAttempt("a", 1, events.Told(State.SUCCEEDED, START.wall_ns))
    opened = events.OpenRun("67cpdrpeqk", "job", START.wall_ns, Trigger.SLOT, (told,))
    known = {"job": events.JobStanding(definition_of(tasks), START.wall_ns, START.wall_ns)}
    scene = Scene(tasks, known=known, runs=(opened,))
    assert [start.task.id for start in scene.starts] == ["b"]
    scene.began()
    scene.ended()
    assert scene.told() == [("succeeded", 1)]


def test_a_run_of_which_one_task_has_begun_is_not_told_to_begin_with_the_next() -> None:
    tasks = make_job("job", policy=Policy(sinks=("all",)), tasks=("a", "b"))
    going = events.OpenAttempt("a", 1, events.Going(100, Now(START.wall_ns, START.elapsed_ns)))
    opened = events.OpenRun("67cpdrpeqk", "job", START.wall_ns, Trigger.SLOT, (going,))
    known = {"job": events.JobStanding(definition_of(tasks), START.wall_ns, START.wall_ns)}
    scene = Scene(tasks, known=known, runs=(opened,))
    assert [start.task.id for start in scene.starts] == ["b"]
    assert scene.told() == []


@pytest.mark.parametrize("is_gated", [False, True])
def test_a_run_whose_start_was_withdrawn_is_told_to_begin_once_by_whatever_scheduler(is_gated: bool) -> None:
    plain = job()
    gated = replace(plain, gate=Task(GATE, "true", Execution())) if is_gated else plain
    scene = Scene(gated)
    scene.at(10)
    if is_gated:
        scene.failed(is_transient=True)  # of the gate: nothing was told
        assert of_type(scene.done, effects.RunTold) == []
        scene.at(12)
        scene.began()
        scene.ended()
    assert scene.told() == [("started", 1)]
    scene.failed(is_transient=True)
    (mark,) = of_type(scene.done, effects.RunTold)
    assert mark == effects.RunTold(scene.starts[-1].run, K.STARTED)
    assert mark in scene.engine.restate(scene.now)
    known = {"job": events.JobStanding(definition_of(gated), START.wall_ns, START.wall_ns)}
    opened = events.OpenRun(mark.run, "job", START.wall_ns + seconds(10), Trigger.SLOT, is_told=True)
    another = Scene(plain, known=known, runs=(opened,))
    assert ([start.run for start in another.starts], another.told()) == ([mark.run], [])


def test_a_new_ledger_knows_which_runs_are_told_to_be_slow() -> None:
    scene = Scene(job(slow_after_ns=seconds(3)))
    scene.at(10)
    scene.began()
    scene.at(13)
    marks = of_type(scene.engine.restate(scene.now), effects.RunTold)
    assert [mark.kind for mark in marks] == [K.STARTED, K.SLOW]


def test_a_run_that_could_not_go_on_is_told_as_lost_and_one_that_is_not_wanted_as_cancelled() -> None:
    jobs = (job("one"), job("two"), job("quiet", sinks=()))
    known = {one.id: events.JobStanding(definition_of(one), START.wall_ns, START.wall_ns) for one in jobs}
    runs = (
        events.OpenRun("67cpdrpeqk", "one", None, Trigger.MANUAL, set_aside="it ends schedulers"),
        events.OpenRun("67cpdrpeqm", "two", None, Trigger.MANUAL, is_cancelled=True),
        events.OpenRun("67cpdrpeqn", "quiet", None, Trigger.MANUAL, is_cancelled=True),
    )
    scene = Scene(*jobs, known=known, runs=runs)
    assert [
        (report.job, str(report.kind), report.detail) for report in of_type(scene.done, effects.Reported)
    ] == [
        ("one", "lost", "it ends schedulers"),
        ("two", "cancelled", ""),
    ]


def test_of_several_tasks_the_one_that_decides_is_told_and_the_time_of_all() -> None:
    scene = Scene(make_job("job", policy=Policy(sinks=("all",)), tasks=("a", "b")))
    scene.at(10)
    first, second = (start.key for start in scene.starts)
    scene.began(first)
    scene.began(second, 101)
    scene.at(12)
    scene.ended(second, code=4)
    scene.at(15)
    scene.ended(first)
    assert [kind for kind, _ in scene.told()] == ["started", "failed"]
    (failed,) = scene.reports(K.FAILED)
    assert (failed.task, failed.detail, failed.duration_ns) == ("b", "exit 4", seconds(5))


def test_a_run_that_is_cancelled_before_it_begins_is_told_without_an_attempt() -> None:
    scene = Scene(job(), job("busy"))
    scene.engine.pool.configure(replace(Settings(), max_workers=1), 0)
    scene.at(10)
    scene.send(
        events.RequestReceived(
            1,
            protocol.Cancel(
                target=scene.engine.runs_of("busy")[0][0] if scene.engine.runs_of("busy")[0] else "busy"
            ),
            "ann",
        )
    )
    (cancelled,) = scene.reports(K.CANCELLED)
    assert (cancelled.attempt, cancelled.state) == (0, "cancelled")


def test_a_lost_task_among_others_leaves_the_time_open() -> None:
    scene = Scene(make_job("job", policy=Policy(sinks=("all",)), tasks=("a", "b")))
    scene.at(10)
    first, second = (start.key for start in scene.starts)
    for key in (first, second):
        scene.began(key)
        scene.send(events.AttemptGone(key))
    (lost,) = scene.reports(K.LOST)
    assert (lost.started_ns, lost.duration_ns) == (None, None)


def test_a_retry_is_told_with_how_the_attempt_ended() -> None:
    execution = Execution(retry=Retry(max=1))
    scene = Scene(
        make_job("job", policy=Policy(sinks=("all",)), execution=execution),
        make_job("quiet", policy=Policy(), execution=execution),
    )
    scene.at(10)
    for start in list(scene.starts):
        scene.began(start.key)
        scene.ended(start.key, code=7)
    assert scene.told() == [("started", 1), ("retried", 1)]
    assert scene.reports(K.RETRIED)[0].detail == "exit 7"
    scene.at(12)
    scene.began(scene.starts[-2].key)
    assert scene.told() == [("started", 1), ("retried", 1)]  # it began before


def test_what_only_if_says_is_no_begin_of_a_run() -> None:
    gated = replace(job(), gate=Task(GATE, "true", Execution(skip_exit_codes=(1,))))
    scene = Scene(gated)
    scene.at(10)
    scene.began()
    scene.ended(code=1)
    assert scene.told() == [("skipped", 1)]
    scene.at(20)
    scene.began()
    scene.ended()
    scene.began()
    scene.ended()
    assert scene.told()[1:] == [("started", 1), ("succeeded", 1)]
    scene.at(30)
    scene.began()
    scene.ended(code=7)  # it failed itself
    assert scene.told()[3:] == [("failed", 1)]
    assert scene.reports(K.FAILED)[0].task == GATE


def test_a_parked_job_is_told_with_why() -> None:
    scene = Scene(job(max_failures=1), job("quiet", sinks=(), max_failures=1))
    scene.at(10)
    for start in list(scene.starts):
        scene.began(start.key)
        scene.ended(start.key, code=3)
    (parked,) = scene.reports(K.PARKED)
    assert (parked.job, parked.detail) == ("job", "a run failed (exit 3)")


def test_a_job_that_was_parked_and_removed_at_once_is_told_to_nobody() -> None:
    scene = Scene(job())
    found = scene.engine.reports.added_to([effects.Commanded("parked", "taskman", "gone", "r", "why")], START)
    assert of_type(found, effects.Reported) == []


def test_what_happens_to_the_scheduler_goes_to_each_sink_that_names_it() -> None:
    reports = Scene(job(), sinks=(ALL, OPS)).engine.reports
    started = reports.about_scheduler(effects.SchedulerNoted("scheduler_started"))
    died = reports.about_scheduler(effects.SchedulerNoted("scheduler_died", "it ended"))
    assert started is not None
    assert died is not None
    assert (started.kind, started.to) == (K.SCHEDULER_STARTED, (("all", 1),))
    assert (died.to, died.detail) == ((("all", 1), ("ops", 1)), "it ended")
    assert reports.about_scheduler(effects.SchedulerNoted("scheduler_started", "again")) is None
    assert reports.about_scheduler(effects.SchedulerNoted("stalled")) is None
    only_ops = Scene(job(), sinks=(OPS,)).engine.reports
    assert only_ops.about_scheduler(effects.SchedulerNoted("scheduler_stopped")) is None


# --- reloads ---


def test_a_reload_changes_sinks_and_forgets_what_those_that_are_gone_were_told() -> None:
    scene = Scene(job(sinks=("ops", "mail")), sinks=(OPS, replace(OPS, name="mail")))
    play(scene, "f")
    new = scene.reload(job(sinks=("ops", "mail")), sinks=(OPS, ALL))
    assert of_type(new, effects.SinksTaken) == [effects.SinksTaken(("ops", "all"))]
    assert of_type(new, effects.JobsTaken)[0].settings == ("sinks",)
    assert [sink.name for sink in scene.engine.reports.sinks] == ["ops", "all"]
    play(scene, "f", begin=2)
    assert scene.told("mail") == [("failed", 1)]
    assert of_type(scene.reload(job(sinks=("ops",)), sinks=(OPS, ALL)), effects.SinksTaken) == []
    play(scene, "s", begin=3)
    assert scene.told("ops")[-1] == ("recovered", 1)


def test_a_job_that_is_removed_is_forgotten_with_its_trouble() -> None:
    scene = Scene(job(sinks=("ops",)), sinks=(OPS,))
    play(scene, "f")
    scene.reload(sinks=(OPS,))
    assert scene.engine.reports.restate() == [effects.SinksTaken(("ops",))]


# --- overdue ---


def expecting(**policy: Any) -> Job:
    return job(expect_every_ns=seconds(60), **policy)


def standing(one: Job, since_s: float, told_s: float | None = None) -> dict[str, events.JobStanding]:
    told_ns = None if told_s is None else START.wall_ns + seconds(told_s)
    expected = effects.JobExpected("job", START.wall_ns + seconds(since_s), told_ns)
    return {
        "job": events.JobStanding(
            definition_of(one), START.wall_ns, START.wall_ns, expected=expected
        )
    }  # fmt: skip


def overdue(scene: Scene) -> list[str]:
    return [noticed.detail for noticed in of_type(scene.done, effects.Noticed) if noticed.kind is K.OVERDUE]


def test_a_job_without_a_success_is_overdue_once_until_it_succeeds() -> None:
    scene = Scene(expecting(sinks=()), sinks=())
    play(scene, "fffff")
    scene.at(59.9)
    assert overdue(scene) == []
    scene.at(60)
    assert overdue(scene) == ["no success for 1m"]
    scene.began()
    scene.ended(code=1)
    play(scene, "fs", begin=7)
    assert len(overdue(scene)) == 1
    play(scene, "ffffff", begin=9)
    assert len(overdue(scene)) == 2


def test_an_overdue_job_is_told_even_if_nothing_ran() -> None:
    scene = Scene(replace(expecting(), schedule=Interval(seconds(86_400))))
    scene.at(60)
    assert scene.told() == [("overdue", 1)]
    assert scene.wake_s == (86_400, None)


def test_the_time_goes_on_while_no_scheduler_runs_and_is_told_once() -> None:
    slow = replace(expecting(), schedule=Interval(seconds(86_400)))
    scene = Scene(slow, known=standing(slow, -3600))
    scene.at(0)
    assert overdue(scene) == ["no success for 1h"]
    told = Scene(slow, known=standing(slow, -3600, -3000))
    told.at(0)
    assert overdue(told) == []
    assert told.engine.reports.restate()[-1] == standing(slow, -3600, -3000)["job"].expected


def test_a_clock_that_was_wrong_makes_no_job_overdue() -> None:
    slow = replace(expecting(), schedule=Interval(seconds(86_400)))
    stepped = Scene(slow, known=standing(slow, -10), step_ns=seconds(3600))
    stepped.at(1)
    assert overdue(stepped) == []
    assert of_type(stepped.done, effects.JobExpected)[0].since_ns == START.wall_ns + seconds(3590)
    ahead = Scene(slow, known=standing(slow, 86_400))
    assert of_type(ahead.done, effects.JobExpected)[0].since_ns == START.wall_ns
    running = Scene(slow)
    running.now = Now(START.wall_ns + seconds(3600), START.elapsed_ns)
    running.send(events.ClockStepped(seconds(3600)))
    running.send(events.Tick())
    assert overdue(running) == []
    told = Scene(slow, known=standing(slow, -3600, -3000))
    told.send(events.ClockStepped(seconds(5)))
    assert of_type(told.done, effects.JobExpected)[-1].told_ns == START.wall_ns + seconds(-2995)


def test_a_paused_job_is_not_expected_and_its_time_begins_anew() -> None:
    scene = Scene(expecting())
    scene.at(1)
    scene.send(events.RequestReceived(1, protocol.PauseJobs(jobs=["job"]), "ann"))
    scene.at(600)
    assert overdue(scene) == []
    scene.send(events.RequestReceived(2, protocol.Resume(jobs=["job"]), "ann"))
    scene.at(659)
    assert overdue(scene) == []
    scene.at(661)
    assert len(overdue(scene)) == 1
    scene.reload(expecting(), job("other"))
    scene.send(events.RequestReceived(3, protocol.PauseJobs(jobs=["other"]), "ann"))
    scene.send(events.RequestReceived(4, protocol.Resume(jobs=["other"]), "ann"))
    assert len(overdue(scene)) == 1
    paused = standing(scene.jobs[0], -3600)
    pause = of_type(scene.done, effects.JobPaused)[0].pause
    paused["job"] = replace(paused["job"], pause=pause)
    assert overdue(Scene(*scene.jobs, known=paused)) == []


def overdue_now(scene: Scene) -> list[tuple[str, float]]:
    """Return which jobs a status has as overdue, and since when."""
    found = answers.status(scene.engine, scene.now, started_ns=0)["overdue"]
    return [(item["job"], (item["since_ns"] - START.wall_ns) / SECOND_NS) for item in found]


def test_a_status_has_the_jobs_that_are_overdue_the_longest_first() -> None:
    slow = Interval(seconds(86_400))
    other = replace(expecting(), id="other", schedule=slow)
    expected = effects.JobExpected("other", START.wall_ns - seconds(3600))
    known = {
        "other": events.JobStanding(definition_of(other), START.wall_ns, START.wall_ns, expected=expected)
    }
    scene = Scene(replace(expecting(), schedule=slow), other, known=known)
    assert overdue_now(scene) == []
    scene.at(60)
    assert overdue_now(scene) == [("other", -3600), ("job", 0)]
    assert status_line(scene.engine, scene.now, load_zone("UTC")).endswith("; 2 jobs overdue (other, …)")
    # After a restart, too.
    again = Scene(replace(expecting(), schedule=slow), known=standing(expecting(), -3600, -3000))
    assert overdue_now(again) == [("job", -3600)]


def test_a_job_is_overdue_until_it_succeeds_is_paused_or_nothing_is_expected_of_it() -> None:
    scene = Scene(expecting())
    play(scene, "ffffff")
    assert overdue_now(scene) == [("job", 0)]
    play(scene, "s", begin=7)
    assert overdue_now(scene) == []

    def late() -> Scene:
        scene = Scene(replace(expecting(), schedule=Interval(seconds(86_400))))
        scene.at(60)
        assert overdue_now(scene) == [("job", 0)]
        return scene

    paused = late()
    paused.send(events.RequestReceived(1, protocol.PauseJobs(jobs=["job"]), "ann"))
    assert overdue_now(paused) == []
    for other in (
        job(),
        job(expect_every_ns=seconds(3600)),
        expecting(expires_at_ns=START.wall_ns + seconds(30)),
        replace(expecting(), enabled=False),
    ):
        scene = late()
        scene.reload(replace(other, schedule=Interval(seconds(86_400))))
        assert overdue_now(scene) == []
    scene = late()
    scene.reload()
    assert overdue_now(scene) == []


def test_what_is_not_expected_is_never_overdue() -> None:
    once = Job(
        "once",
        Once(START.wall_ns + seconds(5), load_zone("UTC")),
        (),
        Policy(expect_every_ns=1),
        is_once=True,
    )
    disabled = replace(expecting(), enabled=False)
    scene = Scene(disabled, once)
    assert of_type(scene.done, effects.JobExpected) == []
    limited = Scene(expecting(max_runs=1))
    play(limited, "f")
    limited.at(100)
    assert overdue(limited) == []
    expired = Scene(expecting(expires_at_ns=START.wall_ns + seconds(30)))
    expired.at(100)
    assert overdue(expired) == []
    not_yet = Scene(expecting(starts_at_ns=START.wall_ns + seconds(100)))
    not_yet.at(90)
    assert overdue(not_yet) == []


def test_a_reload_begins_and_ends_expectations() -> None:
    scene = Scene(job(), job("other"), sinks=())
    scene.at(5)
    scene.reload(expecting(), job("other"), sinks=())
    assert of_type(scene.done, effects.JobExpected)[-1].since_ns == START.wall_ns + seconds(5)
    scene.reload(job(expect_every_ns=seconds(600)), job("other"), sinks=())
    scene.at(66)
    assert overdue(scene) == []
    scene.reload(job(), job("other"), sinks=())
    assert of_type(scene.done, effects.JobExpected)[-1] == effects.JobExpected("job", None)
    scene.reload(expecting(), sinks=())
    scene.reload(sinks=())
    assert scene.engine.reports.restate() == [effects.SinksTaken(())]
    assert not scene.engine.reports.is_on


def test_what_is_on_record_of_a_job_that_is_not_expected_is_forgotten() -> None:
    plain = job()
    scene = Scene(plain, known=standing(plain, -10))
    assert of_type(scene.done, effects.JobExpected) == [effects.JobExpected("job", None)]
    gone = Scene(known=standing(plain, -10))
    assert of_type(gone.done, effects.JobExpected) == []
    empty = {
        "job": events.JobStanding(
            definition_of(plain), START.wall_ns, START.wall_ns, expected=effects.JobExpected("job", None)
        )
    }
    assert of_type(Scene(plain, known=empty).done, effects.JobExpected) == []


def test_a_sink_that_wants_all_output_is_told_only_where_anything_was_printed() -> None:
    mails = SinkDefinition(
        "crontab-mail", "crontab-mail", on=frozenset({K.SUCCEEDED, K.LOST}), output_lines=ALL_OUTPUT
    )
    scene = Scene(job(sinks=("all", "crontab-mail")), sinks=(ALL, mails))
    for slot, output_bytes in enumerate((0, 6), 1):
        scene.at(slot * 10)
        scene.began()
        scene.send(events.AttemptEnded(scene.starts[-1].key, Exit(0, output_bytes=output_bytes), scene.now))
    assert scene.told("crontab-mail") == [("succeeded", 1)]
    (silent, loud) = scene.reports(K.SUCCEEDED)
    assert (silent.output_lines, loud.output_lines) == (ALL.output_lines, ALL_OUTPUT)
    assert loud.exit is not None
    assert loud.exit.output_bytes == 6


def test_the_secrets_of_the_sinks_in_force_are_known() -> None:
    hook = SinkDefinition("hook", "webhook", settings={"secret": {"env": "HOOK"}})
    scene = Scene(job(), sinks=(ALL, hook))
    assert scene.engine.reports.secrets == {"HOOK"}
    scene.reload(job(), sinks=(ALL,))
    assert scene.engine.reports.secrets == frozenset()

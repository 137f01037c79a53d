"""What becomes of the jobs when a scheduler begins: which go on, which are new, and what is owed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, Driver, make_job, of_type, seconds, slot_s

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events, timetable
from taskman_cli.core.engine.arming import restate_job
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.outbox import Outbox
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.engine.takeover import Takeover, take_jobs
from taskman_cli.core.model import Execution, Job, OnMissed, Overlap, Policy, Settings, SkipReason, Trigger
from taskman_cli.core.schedule import Interval, Once, Reboot, parse_cron

if TYPE_CHECKING:
    from taskman_cli.core.schedule import Schedule

T = TypeVar("T")

DAY_S = 86_400
HOUR_S = 3_600
EVERY_TEN_S = parse_cron("*/10 * * * * *", timezone="UTC")


def at(second: float) -> int:
    """Return an instant on the wall clock, in seconds after the start."""
    return START.wall_ns + seconds(second)


def standing(job: Job, *, since_s: float = -1000, run_count: int = 0) -> events.JobStanding:
    """Say how a job stands that was armed at an instant."""
    return events.JobStanding(definition_of(job), at(since_s), at(since_s), run_count)


def taken(
    *jobs: Job, known: dict[str, events.JobStanding], accounted_s: float = -35, is_new_boot: bool = False
) -> Takeover:
    """Take jobs at the start, with all slots accounted for up to an instant before."""
    event = events.JobsLoaded(jobs, known, at(accounted_s), is_new_boot=is_new_boot)
    return take_jobs(event, START, Outbox())


def slots(takeover: Takeover) -> list[float | None]:
    """Return the next slot of each job, in seconds after the start."""
    return [
        None if armed.slot_ns is None else (armed.slot_ns - START.wall_ns) / seconds(1)
        for armed in takeover.armed
    ]


def of_kind(takeover: Takeover, kind: type[T]) -> list[T]:
    return of_type(list(takeover.records), kind)


def owed(takeover: Takeover) -> list[tuple[str, float, float, int | None, SkipReason, str]]:
    return [
        (
            skip.job,
            (skip.first_ns - START.wall_ns) / seconds(1),
            (skip.last_ns - START.wall_ns) / seconds(1),
            skip.count,
            skip.reason,
            skip.detail,
        )
        for skip in of_kind(takeover, effects.SlotsSkipped)
    ]


def changes(takeover: Takeover) -> effects.JobsTaken:
    [found] = of_kind(takeover, effects.JobsTaken)
    return found


# --- jobs that go on ---


@pytest.mark.parametrize("schedule", [Interval(seconds(10)), EVERY_TEN_S], ids=["every", "cron"])
def test_a_job_that_is_due_when_it_was_goes_on_with_its_owed_slots(
    schedule: Schedule,
) -> None:
    job = make_job(schedule=schedule)
    takeover = taken(job, known={"job": standing(job)})
    assert slots(takeover) == [-30]
    assert takeover.records == [effects.JobsTaken(1, (), (), ())]


def test_an_interval_keeps_its_rhythm() -> None:
    job = make_job()
    takeover = taken(job, known={"job": standing(job, since_s=-1003)}, accounted_s=-1)
    assert slots(takeover) == [7]


def test_what_a_job_does_with_a_slot_may_change_as_it_goes_on() -> None:
    job = make_job()
    other = make_job(
        command="false",
        execution=Execution(timeout_ns=1),
        policy=Policy(overlap=Overlap.ALLOW, on_missed=OnMissed.ALL, keep_runs=3, run_on_start=True),
        tasks=("a", "b"),
    )
    assert effects.JobsTaken(1, (), (), ()) == changes(taken(other, known={"job": standing(job)}))


def test_slots_owed_by_a_job_that_goes_on_are_its_own_to_make_up_for() -> None:
    job = make_job(policy=Policy(on_missed=OnMissed.ALL, overlap=Overlap.ALLOW))
    driver = Driver((job,), since_ns=at(-35), anchor_ns=at(-1000))
    driver.at(0)
    assert [slot_s(start) for start in driver.starts] == [-30, -20, -10, 0]
    assert of_type(driver.done, effects.SlotsSkipped) == []


def test_slots_from_before_a_job_was_there_are_nobodys() -> None:
    job = make_job(schedule=EVERY_TEN_S)
    assert slots(taken(job, known={"job": standing(job, since_s=-15)})) == [-10]


@pytest.mark.parametrize("jitter_s", [0, 5, 30, 200])
def test_a_slot_whose_jitter_is_not_over_is_still_to_come(jitter_s: int) -> None:
    job = make_job(schedule=EVERY_TEN_S, policy=Policy(jitter_ns=seconds(jitter_s)))
    armed = timetable.ArmedJob(job, 0)
    due = [slot for slot in range(-400, 10, 10) if armed.due_at(at(slot)) > at(-35)]
    takeover = taken(job, known={"job": standing(job)})
    assert slots(takeover) == [due[0]]


def test_jitter_brings_no_slot_from_before_a_job_was_there() -> None:
    job = make_job(schedule=EVERY_TEN_S, policy=Policy(jitter_ns=seconds(200)))
    assert slots(taken(job, known={"job": standing(job, since_s=-35)})) == [-30]


def test_max_runs_keeps_its_count() -> None:
    job = make_job(policy=Policy(max_runs=3))
    takeover = taken(job, known={"job": standing(job, run_count=2)})
    assert ([armed.run_count for armed in takeover.armed], slots(takeover)) == ([2], [-30])
    assert slots(taken(job, known={"job": standing(job, run_count=3)})) == [None]


def test_an_interval_from_the_finish_goes_on_from_the_last_end() -> None:
    job = make_job(schedule=Interval(seconds(60), from_finish=True))
    known = replace(standing(job), finish_ns=at(-40))
    takeover = taken(job, known={"job": known})
    assert ([20], [at(-40)]) == (slots(takeover), [armed.anchor_ns for armed in takeover.armed])


def test_a_one_shot_that_is_over_does_not_come_back() -> None:
    job = make_job(schedule=Once(at(-50), ZoneInfo("UTC")))
    assert slots(taken(job, known={"job": standing(job)})) == [None]
    missed = make_job(schedule=Once(at(-20), ZoneInfo("UTC")))
    assert slots(taken(missed, known={"job": standing(missed)})) == [-20]


# --- new jobs ---


def test_a_new_job_counts_from_now() -> None:
    jobs = make_job("a", Interval(seconds(7))), make_job("b", EVERY_TEN_S)
    takeover = taken(*jobs, known={})
    assert slots(takeover) == [7, 10]
    assert takeover.records == [
        effects.JobArmed("a", definition_of(jobs[0]), START.wall_ns, START.wall_ns),
        effects.JobArmed("b", definition_of(jobs[1]), START.wall_ns, START.wall_ns),
        effects.JobsTaken(2, ("a", "b"), (), ()),
    ]


def test_at_the_very_first_start_all_is_accounted_for_by_now() -> None:
    takeover = take_jobs(events.JobsLoaded((make_job(),)), START, Outbox())
    assert effects.Accounted(START.wall_ns) == takeover.records[0]
    assert START.wall_ns == takeover.accounted_ns


# --- changed and removed jobs ---

OWED = ("job", -30, 0, 4, SkipReason.MISSED)


def test_a_changed_job_counts_from_now_and_what_it_owed_is_missed() -> None:
    old, new = make_job(), make_job(schedule=Interval(seconds(7)))
    takeover = taken(new, known={"job": standing(old, run_count=4)})
    assert slots(takeover) == [7]
    assert owed(takeover) == [(*OWED, "the job was changed while taskman was not running")]
    assert effects.JobArmed("job", definition_of(new), START.wall_ns, START.wall_ns) in takeover.records
    assert effects.JobsTaken(1, (), ("job",), ()) == changes(takeover)
    assert [armed.run_count for armed in takeover.armed] == [0], "nobody counted before"


def test_max_runs_keeps_its_count_when_it_is_changed_itself() -> None:
    old, new = make_job(policy=Policy(max_runs=2)), make_job(policy=Policy(max_runs=3))
    takeover = taken(new, known={"job": standing(old, run_count=2)})
    assert ([armed.run_count for armed in takeover.armed], slots(takeover)) == ([2], [10])
    # It had had all its runs: nothing was owed.
    assert owed(takeover) == []


def test_a_removed_job_is_removed_and_what_it_owed_is_missed() -> None:
    takeover = taken(known={"job": standing(make_job())})
    assert owed(takeover) == [(*OWED, "the job was removed while taskman was not running")]
    assert of_kind(takeover, effects.JobRemoved) == [effects.JobRemoved("job")]
    assert effects.JobsTaken(0, (), (), ("job",)) == changes(takeover)


def test_a_renamed_job_is_one_removed_and_one_added() -> None:
    takeover = taken(make_job("new"), known={"job": standing(make_job())})
    assert effects.JobsTaken(1, ("new",), (), ("job",)) == changes(takeover)
    assert (slots(takeover), [skip[0] for skip in owed(takeover)]) == ([10], ["job"])


def test_a_job_that_comes_back_is_a_new_one() -> None:
    job = make_job(policy=Policy(max_runs=2))
    gone = taken(known={"job": standing(job, run_count=2)})
    assert of_kind(gone, effects.JobRemoved) == [effects.JobRemoved("job")]
    # What is removed is not known any more.
    back = taken(job, known={})
    assert effects.JobsTaken(1, ("job",), (), ()) == changes(back)
    assert (slots(back), [armed.run_count for armed in back.armed]) == ([10], [0])
    # Its count is on record still, and begins anew there too.
    assert of_kind(back, effects.RunsCounted) == [effects.RunsCounted("job", 0)]


@pytest.mark.parametrize(("was_enabled", "reason"), [(True, SkipReason.MISSED), (False, SkipReason.DISABLED)])
def test_a_job_that_is_enabled_or_disabled_is_changed(was_enabled: bool, reason: SkipReason) -> None:
    old, new = make_job(enabled=was_enabled), make_job(enabled=not was_enabled)
    takeover = taken(new, known={"job": standing(old)})
    assert effects.JobsTaken(1, (), ("job",), ()) == changes(takeover)
    assert [(4, reason)] == [(skip[3], skip[4]) for skip in owed(takeover)]


def test_a_job_of_which_nothing_was_due_owes_nothing() -> None:
    for old in (
        make_job(schedule=Interval(seconds(2000))),
        make_job(schedule=Reboot("UTC")),
        make_job(schedule=Once(at(-50), ZoneInfo("UTC"))),
        make_job(schedule=Once(at(1), ZoneInfo("UTC"))),
        make_job(policy=Policy(expires_at_ns=at(-40))),
        make_job(policy=Policy(starts_at_ns=at(1))),
    ):
        assert owed(taken(known={"job": standing(old)})) == []


def test_an_interval_from_the_finish_owes_one_slot_and_no_more() -> None:
    old = make_job(schedule=Interval(seconds(10), from_finish=True))
    known = replace(standing(old), finish_ns=at(-100))
    assert [skip[1:4] for skip in owed(taken(known={"job": known}))] == [(-30, -30, 1)]


def test_a_definition_that_cannot_be_read_any_more_owes_nothing() -> None:
    known = replace(standing(make_job()), definition='{"cron": "@daily", "timezone": "Mars/Olympus"}')
    takeover = taken(known={"job": known})
    assert owed(takeover) == []
    assert of_kind(takeover, effects.JobRemoved) == [effects.JobRemoved("job")]


@pytest.mark.parametrize("away_s", [100, 5_000, 500_000])
def test_all_that_a_job_owed_is_one_stretch_however_long(away_s: int) -> None:
    for schedule, is_counted in ((Interval(seconds(10)), True), (EVERY_TEN_S, away_s < 2_000)):
        old = make_job(schedule=schedule)
        known = {"job": standing(old, since_s=-away_s - 5)}
        first, last = (5 - away_s, -5) if isinstance(schedule, Interval) else (10 - away_s, 0)
        count = (last - first) // 10 + 1
        found = owed(taken(known=known, accounted_s=-away_s))
        assert [(first, last, count if is_counted else None)] == [skip[1:4] for skip in found]


@given(
    every_s=st.integers(1, 50),
    away_s=st.integers(0, 500),
    jitter_s=st.integers(0, 60),
    anchor_s=st.integers(0, 99),
)
def test_what_a_removed_job_owed_is_what_it_would_have_made_up_for(
    every_s: int, away_s: int, jitter_s: int, anchor_s: int
) -> None:
    policy = Policy(jitter_ns=seconds(jitter_s), on_missed=OnMissed.SKIP)
    job = make_job(schedule=Interval(seconds(every_s)), policy=policy)
    known = {"job": standing(job, since_s=-away_s - anchor_s)}
    # To go on means to skip all that is reached late, or to run it.
    engine = Engine(Driver(()).settings)
    engine.handle(events.JobsLoaded((job,), known, at(-away_s), is_new_life=False, is_new_boot=False), START)
    done = engine.handle(events.Tick(), START)
    expected = sum(skip.count or 0 for skip in of_type(done, effects.SlotsSkipped))
    expected += len(of_type(done, effects.RunQueued))
    found = owed(taken(known=known, accounted_s=-away_s))
    assert sum(skip[3] or 0 for skip in found) == expected
    assert len(found) <= 1


# --- the clock ---


def test_a_clock_put_back_by_hours_holds_at_once() -> None:
    job = make_job(schedule=EVERY_TEN_S)
    takeover = taken(job, known={"job": standing(job, since_s=4 * HOUR_S)}, accounted_s=5 * HOUR_S)
    assert slots(takeover) == [10]
    assert of_kind(takeover, effects.Accounted) == [effects.Accounted(START.wall_ns, is_anew=True)]
    assert START.wall_ns == takeover.accounted_ns
    # So that the next scheduler goes on from there.
    assert of_kind(takeover, effects.JobArmed) == [
        effects.JobArmed("job", definition_of(job), START.wall_ns, START.wall_ns)
    ]
    assert effects.JobsTaken(1, (), (), ()) == changes(takeover)


def test_a_clock_put_back_by_less_runs_no_slot_twice() -> None:
    job = make_job(schedule=EVERY_TEN_S)
    takeover = taken(job, known={"job": standing(job)}, accounted_s=2 * HOUR_S + 5)
    assert slots(takeover) == [2 * HOUR_S + 10]
    assert takeover.records == [effects.JobsTaken(1, (), (), ())]


@pytest.mark.parametrize("is_from_finish", [False, True])
def test_an_interval_of_a_clock_that_was_a_day_ahead_counts_from_now(is_from_finish: bool) -> None:
    job = make_job(schedule=Interval(seconds(60), from_finish=is_from_finish))
    known = standing(job, since_s=DAY_S)
    if is_from_finish:
        known = replace(known, since_ns=at(-50), anchor_ns=at(-50), finish_ns=at(DAY_S))
    takeover = taken(job, known={"job": known}, accounted_s=DAY_S, is_new_boot=True)
    assert slots(takeover) == [60]
    [armed] = of_kind(takeover, effects.JobArmed)
    assert START.wall_ns == armed.anchor_ns


@pytest.mark.parametrize("step_s", [-DAY_S, -HOUR_S, HOUR_S, DAY_S])
def test_an_interval_keeps_its_rhythm_through_a_step_of_the_clock_while_nobody_was_there(step_s: int) -> None:
    job = make_job(schedule=Interval(seconds(60)))
    # By the clock as it was, it is 20 seconds after the last slot and 5 after all was accounted for.
    known = {"job": standing(job, since_s=-step_s - 620)}
    engine = Engine(Driver(()).settings)
    engine.handle(
        events.JobsLoaded(
            (job,), known, at(-step_s - 5), seconds(step_s), is_new_life=False, is_new_boot=False
        ),
        START,
    )
    assert engine.handle(events.Tick(), START) == []
    assert at(40) == engine.timetable.jobs["job"].slot_ns


# --- once in a life ---


@pytest.mark.parametrize("is_new_boot", [True, False])
@pytest.mark.parametrize("is_new_life", [True, False])
def test_what_is_done_once_a_start_is_done_once_a_start(is_new_boot: bool, is_new_life: bool) -> None:
    jobs = make_job("life", policy=Policy(run_on_start=True)), make_job("boot", Reboot("UTC"))
    known = {job.id: standing(job) for job in jobs}
    event = events.JobsLoaded(
        jobs, known, at(-1), boot="b", supervisor=7, is_new_boot=is_new_boot, is_new_life=is_new_life
    )
    done = Engine(Driver(()).settings).handle(event, START)
    expected = [*["life"] * is_new_life, *["boot"] * is_new_boot]
    assert sorted(expected) == sorted(start.job for start in of_type(done, effects.Start))
    assert {Trigger.START} >= {start.trigger for start in of_type(done, effects.Start)}
    is_noted = is_new_boot or is_new_life
    assert [effects.LifeBegun("b", 7)] * is_noted == of_type(done, effects.LifeBegun)


# --- how a job stands ---


def test_marks_of_a_job_say_how_it_stands() -> None:
    job = make_job("a", Interval(seconds(10), from_finish=True), policy=Policy(max_runs=3))
    armed = timetable.ArmedJob.of(job, since_ns=at(0), anchor_ns=at(0), run_count=2)
    assert restate_job(armed, since_ns=at(5)) == [
        effects.JobArmed("a", definition_of(job), at(5), at(0)),
        effects.RunsCounted("a", 2),
        effects.IntervalEnded("a", at(0)),
    ]
    plain = timetable.ArmedJob.of(make_job("b"), since_ns=at(0), anchor_ns=at(0))
    assert restate_job(plain, since_ns=at(5)) == [
        effects.JobArmed("b", definition_of(make_job("b")), at(5), at(0))
    ]


def test_run_numbers_go_on_after_the_last_on_record() -> None:
    last = Now(START.wall_ns + seconds(100), 0).wall_ns >> 13
    event = events.JobsLoaded((make_job(policy=Policy(run_on_start=True)),), last_run=last)
    [start] = of_type(Engine(Driver(()).settings).handle(event, START), effects.Start)
    assert last + 1 == decode_run_id(start.run)


def test_a_job_that_is_only_shown_in_another_zone_goes_on() -> None:
    old = make_job(schedule=Interval(seconds(70), timezone="UTC"))
    new = make_job(schedule=Interval(seconds(70), timezone="Asia/Tokyo"))
    takeover = taken(new, known={"job": standing(old)})
    assert slots(takeover) == [-20]
    assert of_kind(takeover, effects.JobRezoned) == [effects.JobRezoned("job", definition_of(new))]
    assert changes(takeover).changed == ()
    assert of_kind(taken(new, known={"job": standing(new)}), effects.JobRezoned) == []


def test_a_reload_that_only_shows_a_job_in_another_zone_leaves_its_slots_alone() -> None:
    old = make_job(schedule=Interval(seconds(70), timezone="UTC"))
    new = make_job(schedule=Interval(seconds(70), timezone="Asia/Tokyo"))
    engine = Engine(Settings())
    engine.handle(events.JobsLoaded((old,), {}, None), START)
    later = Now(START.wall_ns + seconds(5), START.elapsed_ns + seconds(5))
    reloaded = events.JobsReloaded(1, (new,), Settings(), (), "ann", "reloaded")
    effects_ = engine.handle(reloaded, later)
    assert of_type(effects_, effects.JobRezoned) == [effects.JobRezoned("job", definition_of(new))]
    assert of_type(effects_, effects.JobArmed) == []
    assert START.wall_ns + seconds(70) == engine.timetable.jobs["job"].slot_ns
    assert of_type(engine.handle(reloaded, later), effects.JobRezoned) == []

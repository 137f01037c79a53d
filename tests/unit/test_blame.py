"""What the engine was at when something raised, and how it begins without that."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from unit.engine_driver import START, Driver, make_job, of_type, seconds
from unit.test_recovery import KEY, RUN, going, opened, over, told

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.answers import status
from taskman_cli.core.engine.blame import ADMISSION, EngineBroken, Item, item_of
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.marks import NeedLearned
from taskman_cli.core.engine.outbox import WatchedOutbox
from taskman_cli.core.model import Policy, Settings, SkipReason, State
from taskman_cli.core.pause import Pause
from taskman_cli.core.schedule import Interval, Reboot, parse_cron

EVERY_TEN_S = parse_cron("*/10 * * * * *", timezone="UTC")


def breaking(driver: Driver, owner: Any, method: str) -> Driver:
    """Let a part of the engine raise."""

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("a fault")

    setattr(owner, method, fail)
    return driver


# --- who is to blame ---


def test_who_watches_hears_of_each_subject_that_is_decided_on() -> None:
    outbox = WatchedOutbox()
    outbox.subject = "unheard"
    heard: list[object] = []
    outbox.watch = heard.append
    outbox.subject = "a"
    assert (outbox.subject, heard) == ("a", ["a"])


def test_a_slot_that_raises_is_its_jobs() -> None:
    driver = Driver((make_job("a"), make_job("b", Interval(seconds(20)))))
    breaking(driver, driver.engine._slots, "decide")
    with pytest.raises(EngineBroken) as caught:
        driver.at(10)
    assert (caught.value.item, type(caught.value.__cause__)) == (Item("job", "a", "a"), KeyError)


def test_a_start_that_raises_is_its_runs() -> None:
    driver = Driver((make_job("a"),))
    breaking(driver, driver.engine._running.attempts, "begin")
    with pytest.raises(EngineBroken) as caught:
        driver.at(10)
    assert caught.value.item
    assert (caught.value.item.kind, caught.value.item.job) == ("run", "a")


def test_a_start_that_is_held_is_its_runs() -> None:
    driver = Driver((make_job("a"),))
    breaking(driver, driver.engine._running, "skip_parked")
    driver.at(10)
    with pytest.raises(EngineBroken) as caught:
        driver.send(events.StartHeld(driver.last_key))
    assert caught.value.item == Item("run", driver.starts[0].run, "a")


def test_a_run_that_cannot_be_taken_over_is_named() -> None:
    engine = Engine(Settings())
    driver = Driver(())
    breaking(driver, engine._recovery, "_rebuild")
    with pytest.raises(EngineBroken) as caught:
        engine.handle(events.JobsLoaded((make_job(),), runs=(opened(going),)), START)
    assert Item("run", RUN, "job") == caught.value.item


def test_a_record_that_cannot_be_counted_is_not_counted() -> None:
    driver = Driver((make_job("a"),))
    driver.engine.metrics._counts.clear()
    driver.at(10)
    assert len(driver.starts) == 1
    assert isinstance(driver.engine.metrics.take_error(), KeyError)
    assert driver.engine.metrics.take_error() is None


@pytest.mark.parametrize(
    ("part", "method"),
    [("gate", "_is_memory_plenty"), ("memory", "_unknown_need"), ("memory", "begin"), ("target", "value")],
)
def test_what_raises_in_the_gate_is_the_gate_s_whoever_asked_it(part: str, method: str) -> None:
    driver = Driver((make_job("a"), make_job("b")), Settings())
    seen = events.SignalsRead(Signals(2, 0, 1 << 30, 1 << 30, 0))
    driver.send(seen)
    breaking(driver, getattr(driver.engine.pool, part), method)
    steps = (partial(driver.at, 10), partial(driver.send, seen), driver.began, partial(driver.at, 10.3))
    with pytest.raises(EngineBroken) as caught:
        _ = [step() for step in steps]
    assert (caught.value.item, type(caught.value.__cause__)) == (ADMISSION, KeyError)


def test_without_its_gate_a_pool_is_fixed_until_the_job_files_are_read_again() -> None:
    jobs = (make_job("a"), make_job("b"))
    engine = Engine(Settings(), is_gate_shut=True)
    needs = {("a", "main"): 5, ("b", "main"): 6}
    engine.handle(events.JobsLoaded(jobs, needs=needs), START)
    assert (engine.pool.gate, engine.pool.seats, engine.pool.wants_signals) == (None, 64, False)
    assert status(engine, START, started_ns=0)["admission"] == "fixed"
    learned = [NeedLearned("a", "main", 5), NeedLearned("b", "main", 6)]
    assert engine.pool.memory.restate() == learned
    engine.handle(events.JobsReloaded(1, jobs[:1], Settings(), (), "ann"), START)
    assert engine.pool.seats == 64
    engine.handle(events.GateTried(), START)
    assert (engine.pool.seats, engine.pool.wants_signals) == (512, True)
    assert status(engine, START, started_ns=0)["admission"] == "auto"
    assert engine.pool.memory.restate() == learned[:1]


def test_who_watches_hears_once_of_the_job_and_of_its_run() -> None:
    driver = Driver((make_job("a"),))
    heard: list[object] = []
    at = Now(START.wall_ns + seconds(10), START.elapsed_ns + seconds(10))
    driver.engine.handle(events.Tick(), at, watch=heard.append)
    assert [item.kind for item in map(item_of, heard) if item] == ["job", "run"]


def test_what_is_of_no_job_is_nobodys() -> None:
    driver = Driver((make_job("a"),))
    breaking(driver, driver.engine._running.waiting, "end_step")
    with pytest.raises(EngineBroken) as caught:
        driver.at(10)
    assert caught.value.item is None


# --- a run that is set aside ---


def set_aside(run: events.OpenRun, *, is_on_record: bool = True) -> Driver:
    run = replace(run, set_aside="a fault", is_on_record=is_on_record)
    return Driver((make_job(),), is_first=False, runs=(run,))


@pytest.mark.parametrize("fate", [going, over(), events.Unstarted()], ids=["going", "over", "unstarted"])
def test_a_run_that_is_set_aside_is_lost_and_forgotten(fate: Any) -> None:
    driver = set_aside(opened(fate))
    [end] = of_type(driver.done, effects.AttemptFinished)
    assert (end.state, end.detail, end.exit) == (State.LOST, "a fault", None)
    [run] = of_type(driver.done, effects.RunFinished)
    assert (run.state, run.detail) == (State.LOST, "a fault")
    assert of_type(driver.done, effects.Forget) == [effects.Forget((KEY,))]
    assert driver.engine.unfinished("job") == []
    driver.at(10)
    assert len(driver.starts) == 1, "the job goes on"


def test_the_ends_of_it_that_are_on_record_stay_as_they_are() -> None:
    driver = set_aside(opened(told(State.FAILED, next_s=3), over()))
    assert [end.attempt for end in of_type(driver.done, effects.AttemptFinished)] == [2]


def test_one_that_is_not_on_record_is_put_there() -> None:
    driver = set_aside(opened(going), is_on_record=False)
    kinds = [type(effect) for effect in driver.done if getattr(effect, "run", None) == RUN]
    assert kinds == [
        effects.RunQueued, effects.AttemptBegun, effects.AttemptFinished, effects.RunFinished
    ]  # fmt: skip


def test_one_that_was_stopped_is_so_no_more() -> None:
    item = opened(going)
    stopped = replace(item.attempts[0], stopped=Now(0, START.elapsed_ns - 5), stopped_ns=2)
    driver = set_aside(replace(item, attempts=(stopped,)))
    assert [record.stopped_ns for record in of_type(driver.done, effects.AttemptContinued)] == [7]


def test_an_end_that_is_set_aside_is_lost_with_the_reason() -> None:
    driver = Driver((make_job(),), is_first=False, runs=(opened(events.Gone("a fault")),))
    [end] = of_type(driver.done, effects.AttemptFinished)
    assert (end.state, end.detail) == (State.LOST, "a fault")


# --- a job that is set aside ---


def loaded(job: Any, *, pause: Pause | None = None, known: Any = None, since_s: float = -35) -> list[Any]:
    since_ns = START.wall_ns + seconds(since_s)
    standing = known or events.JobStanding(definition_of(job), since_ns, since_ns, pause=pause)
    engine = Engine(Settings())
    event = events.JobsLoaded(
        (job,), {job.id: standing}, since_ns, is_new_boot=False, is_new_life=False,
        set_aside={job.id: "a fault", "gone": "a fault"},
    )  # fmt: skip
    return [*engine.handle(event, START), *engine.handle(events.Tick(), START), engine]


def test_a_job_that_is_set_aside_is_paused_and_its_slots_are_skipped() -> None:
    *done, engine = loaded(make_job(schedule=EVERY_TEN_S))
    assert [
        (effect.kind, effect.by, effect.job, effect.detail) for effect in of_type(done, effects.Commanded)
    ] == [("paused", "taskman", "job", "a fault")]
    assert [skip.reason for skip in of_type(done, effects.SlotsSkipped)] == [SkipReason.PAUSED]
    assert Pause(START.wall_ns, reason="a fault", by="taskman") == engine.timetable.jobs["job"].pause
    assert of_type(done, effects.Start) == []


@pytest.mark.parametrize(("since_s", "count"), [(-35, 3), (-5, None)])
def test_the_slots_of_an_interval_that_are_due_are_skipped_as_well(since_s: float, count: int | None) -> None:
    *done, engine = loaded(make_job(), since_s=since_s)
    skips = of_type(done, effects.SlotsSkipped)
    assert ([count] if count else []) == [skip.count for skip in skips]
    pause = engine.timetable.jobs["job"].pause
    assert seconds(5) == pause.left_ns


def test_those_that_are_too_many_to_be_looked_at_are_one_stretch_before_them() -> None:
    *done, _ = loaded(make_job(), since_s=-10_000)
    assert sum(skip.count or 0 for skip in of_type(done, effects.SlotsSkipped)) == 1000
    assert len(of_type(done, effects.SlotsSkipped)) == 2


def test_an_interval_from_the_finish_stands_still() -> None:
    *done, engine = loaded(make_job(schedule=Interval(seconds(10), from_finish=True)))
    assert of_type(done, effects.SlotsSkipped) == []
    assert engine.timetable.jobs["job"].pause.left_ns == 1


@pytest.mark.parametrize(("until_s", "by"), [(None, "ann"), (60, "taskman")])
def test_a_pause_of_somebody_stays_unless_it_ends_by_itself(until_s: float | None, by: str) -> None:
    until_ns = None if until_s is None else START.wall_ns + seconds(until_s)
    pause = Pause(START.wall_ns - seconds(40), until_ns, "swap", "ann", seconds(7))
    *_, engine = loaded(make_job(), pause=pause)
    paused = engine.timetable.jobs["job"].pause
    assert (by, None, seconds(7)) == (paused.by, paused.until_ns, paused.left_ns)


def test_a_job_that_never_comes_due_is_only_paused() -> None:
    *done, engine = loaded(make_job(schedule=Reboot("UTC")))
    assert (
        engine.timetable.jobs["job"].slot_ns,
        engine.timetable.jobs["job"].pause.by,
    ) == (None, "taskman")
    assert of_type(done, effects.SlotsSkipped) == []


def test_what_a_job_owes_for_which_another_stands_in_is_one_skip() -> None:
    was = make_job(schedule=EVERY_TEN_S)
    since_ns = START.wall_ns - seconds(35)
    known = events.JobStanding(definition_of(was), since_ns, since_ns)
    *done, _ = loaded(replace(was, schedule=Reboot("UTC"), policy=Policy()), known=known)
    [skip] = of_type(done, effects.SlotsSkipped)
    assert (since_ns, START.wall_ns, None, SkipReason.PAUSED, "paused: a fault") == (
        skip.first_ns, skip.last_ns, skip.count, skip.reason, skip.detail
    )  # fmt: skip


def test_an_attempt_whose_rest_is_over_waits_for_a_seat() -> None:
    driver = Driver((make_job(),), is_first=False, runs=(opened(told(next_s=3)),))
    driver.now = Now(START.wall_ns + seconds(3), START.elapsed_ns + seconds(3))
    driver.send(events.Tick())
    assert [start.key for start in driver.starts] == [f"{RUN}.main.2"]

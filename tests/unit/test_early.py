"""Starts that are asked for while all seats are taken: the supervisor holds them until a command ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from unit.engine_driver import FIXED, Driver, make_job, of_type, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.admission import Signals
from taskman_cli.core.engine.early import MOST_EARLY
from taskman_cli.core.engine.figures import Figures
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.core.engine.statusline import status_line
from taskman_cli.core.executors import ExecutorDefinition, seats_of
from taskman_cli.core.model import (
    GATE,
    Account,
    Execution,
    Job,
    Overlap,
    Policy,
    Resource,
    Settings,
    State,
    Task,
)
from taskman_cli.core.protocol import Cancel, PauseJobs, Stop
from taskman_cli.core.schedule import Interval, Once
from taskman_cli.core.tuning import Admission

TWO_SEATS = replace(FIXED, max_workers=2)
AUTO = replace(TWO_SEATS, admission=Admission.AUTO)
FAR = Execution(executor="far")
MANY_SEATS = Settings(admission=Admission.AUTO)
MILLISECOND_NS = 1_000_000


def jobs(count: int, execution: Execution | None = None, **policy: object) -> tuple[Job, ...]:
    """Make jobs that run once, at the start."""
    once = Policy(run_on_start=True, overlap=Overlap.QUEUE, **policy)  # type: ignore[arg-type]
    every = Interval(seconds(10**6))
    return tuple(
        make_job(f"job{number:02}", every, policy=once, execution=execution) for number in range(count)
    )


def burst(
    count: int = 20,
    execution: Execution | None = None,
    settings: Settings = TWO_SEATS,
    *,
    ends: int = 2,
    has_early: bool = True,
    took_ms: float = 1,
    driver: Driver | None = None,
    **policy: object,
) -> Driver:
    """Let many jobs be due, and as many commands of the first ones start and end."""
    driver = driver or Driver(jobs(count, execution, **policy), settings, has_early=has_early)
    for number in range(ends):
        driver.began(driver.starts[number].key)
        pass_ms(driver, took_ms)
        driver.ended(driver.starts[number].key)
        fill(driver)
    return driver


def fill(driver: Driver) -> None:
    """Let those start that have a seat by now, as the supervisor does."""
    pool = driver.engine.pool
    while pool.early.attempts and pool.busy_count < pool.level:
        driver.began(next(iter(pool.early.attempts)))


def pass_ms(driver: Driver, count: float) -> None:
    """Let time pass."""
    passed_ns = int(count * MILLISECOND_NS)
    driver.now = Now(driver.now.wall_ns + passed_ns, driver.now.elapsed_ns + passed_ns)


def early(driver: Driver) -> list[str]:
    """Return the jobs whose starts were asked for early, in order."""
    return [start.job for start in driver.starts if start.is_early]


def returned(driver: Driver, key: str | None = None) -> list[effects.Effect]:
    """Let a start come back; by default the last one."""
    return driver.send(events.StartReturned(key or driver.last_key))


def states(driver: Driver) -> list[tuple[str, State]]:
    return [(end.job, end.state) for end in of_type(driver.done, effects.RunFinished)]


# --- how many, and which ---


def test_as_many_starts_are_asked_for_early_as_short_commands_have_just_ended() -> None:
    driver = burst(ends=2)
    assert [start.job for start in driver.starts] == ["job00", "job01", "job02", "job03", "job04", "job05"]
    assert early(driver) == ["job03", "job04", "job05"]


def test_each_of_them_is_on_record_before_it_is_asked_for() -> None:
    driver = burst()
    begun = [record.job for record in of_type(driver.done, effects.AttemptBegun)]
    assert begun == [start.job for start in driver.starts]


def test_there_are_never_more_than_a_few() -> None:
    driver = burst(count=200, ends=120, took_ms=0.01)
    assert len(driver.engine.pool.early.attempts) == MOST_EARLY


@pytest.mark.parametrize(
    ("options"),
    [
        pytest.param({"has_early": False}, id="the supervisor cannot hold them"),
        pytest.param({"took_ms": 60}, id="commands take long"),
        pytest.param(
            {"execution": Execution(resources=(("db", 1),))}, id="they need what others may wait for"
        ),
        pytest.param(
            {"execution": Execution(user=Account("ann", uid=1))}, id="another user's may pause alone"
        ),
        pytest.param({"ends": 0}, id="nothing has ended"),
    ],
)
def test_no_start_is_asked_for_early_if(options: dict[str, object]) -> None:
    settings = replace(TWO_SEATS, resources=(("db", Resource(9)),))
    assert early(burst(settings=settings, **options)) == []  # type: ignore[arg-type]


def test_ends_are_forgotten_after_a_moment() -> None:
    driver = burst(ends=1)
    assert len(early(driver)) == 1
    pass_ms(driver, 11)
    driver.began(driver.last_key)
    assert len(early(driver)) == 1


def test_none_is_asked_for_early_while_one_waits_first_that_may_not_be() -> None:
    first, *others = jobs(9)
    needy = make_job("needy", Interval(seconds(10**6)), policy=replace(first.policy, priority=9))
    needy = replace(needy, tasks=jobs(1, Execution(user=Account("ann", uid=1)))[0].tasks)
    driver = Driver((first, needy, *others), TWO_SEATS, has_early=True)
    driver.ended(driver.starts[0].key)
    driver.ended(driver.starts[1].key)
    assert "needy" not in early(driver)


def test_what_executors_carry_out_is_asked_for_early_too_whatever_the_gate_says() -> None:
    driver = Driver(jobs(20, FAR), AUTO, has_early=True)
    driver.send(events.SignalsRead(Signals(cpus=2, runnable=50)))
    for start in driver.starts[:2]:
        driver.began(start.key)
        driver.ended(start.key)
    starts = [start for start in driver.starts if start.is_early]
    assert [start.handle for start in starts] == [f"far/.{start.key}" for start in starts]
    assert len(starts) == 2


def test_what_has_no_seat_yet_waits_for_its_executor_and_does_not_run_there() -> None:
    far = replace(FAR, resources=((seats_of("far"), 1),))
    settings = replace(
        TWO_SEATS, executors=(ExecutorDefinition("far", "ssh"),), resources=((seats_of("far"), Resource()),)
    )
    driver = burst(8, execution=far, settings=settings)
    pool = driver.engine.pool
    assert (pool.busy_count, len(pool.early.attempts)) == (2, 2)
    shown = take_snapshot(driver.engine, driver.now, started_ns=0, rows=1).executors
    assert [(row.name, row.running, row.waiting) for row in shown] == [("local", 0, 0), ("far", 2, 4)]


def test_what_only_if_lets_go_on_keeps_its_place_before_runs_that_came_later() -> None:
    gated = tuple(replace(job, gate=Task(GATE, "true", Execution())) for job in jobs(12))
    driver = burst(ends=8, driver=Driver(gated, TWO_SEATS, has_early=True))
    order = [(start.job, start.task.id) for start in driver.starts]
    assert order.index(("job03", "main")) < order.index(("job11", GATE))


def test_what_an_executor_has_no_room_for_lets_those_come_back_that_are_held() -> None:
    driver = burst(execution=FAR)
    keys = list(driver.engine.pool.early.attempts)
    key = next(key for key, attempt in driver.engine.pool.running.items() if not attempt.is_early)
    done = driver.send(events.StartFailed(key, "full", is_transient=True, at=driver.now, is_users=True))
    assert len(of_type(done, effects.Recall)) == 1
    for held in keys:
        returned(driver, held)
    assert not driver.engine.pool.early.attempts


# --- with `admission = "auto"` ---


@dataclass
class Machine(Driver):
    """A driver whose machine has two CPUs, and says so and what is runnable whenever it is asked."""

    runnable: int = 0

    def send(self, event: events.Event) -> list[effects.Effect]:
        if self.engine.pool.gate is not None and self.engine.pool.gate.signals is None:
            self.engine.handle(self.look(), self.now)
        new = super().send(event)
        while self.engine.pool.wants_signals:
            new += super().send(self.look())
        return new

    def look(self) -> events.SignalsRead:
        """Return what the machine says now."""
        return events.SignalsRead(Signals(cpus=2, runnable=self.runnable))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Return how many run as far as is known, how many are to start early, and how many are to run."""
        pool = self.engine.pool
        return pool.busy_count, len(pool.early.attempts), pool.level


def flood(*, runnable: int, settings: Settings = MANY_SEATS, execution: Execution | None = None) -> Machine:
    """Let many jobs be due; those run that the gate has admitted."""
    driver = Machine(jobs(20, execution), settings, has_early=True, runnable=runnable)
    for start in driver.starts:
        driver.began(start.key)
    pass_ms(driver, 1)
    return driver


def test_without_signals_of_the_machine_the_gate_refuses_nothing() -> None:
    assert len(early(burst(settings=AUTO))) == 3


def test_what_the_gate_holds_back_takes_the_place_of_a_command_that_ends() -> None:
    driver = flood(runnable=2)
    assert (len(driver.starts), driver.counts) == (4, (4, 0, 512))
    driver.ended(driver.starts[0].key)
    assert [(start.job, start.is_early) for start in driver.starts[4:]] == [("job04", False), ("job05", True)]
    assert driver.counts == (4, 1, 4)


def test_one_that_has_started_without_anybody_saying_so_yet_is_counted() -> None:
    driver = flood(runnable=2)
    driver.ended(driver.starts[0].key)
    driver.ended(driver.starts[1].key)
    assert early(driver) == ["job05", "job06"]
    assert driver.counts == (3, 2, 4)
    driver.began(driver.starts[5].key)
    assert driver.counts == (4, 1, 4)


def test_as_long_as_they_wait_they_are_no_load() -> None:
    driver = burst(settings=AUTO, driver=flood(runnable=4, settings=AUTO))
    assert early(driver) == early(burst()) == ["job03", "job04", "job05"]


def test_seats_that_are_left_free_for_a_while_are_taken_again_however_many_wait_to_start_early() -> None:
    driver = flood(runnable=2, settings=replace(MANY_SEATS, max_workers=4))
    driver.runnable = 50
    pass_ms(driver, 11)
    for start in driver.starts[:2]:
        driver.ended(start.key)
    assert driver.counts == (2, 2, 2)
    driver.runnable = 0
    pass_ms(driver, 11)
    driver.send(events.Tick())
    assert driver.counts == (2, 4, 4)


def test_the_load_of_others_leaves_no_credit_but_for_as_many_as_there_are_cpus() -> None:
    driver = flood(runnable=2)
    driver.runnable = 50
    pass_ms(driver, 11)
    driver.ended(driver.starts[0].key)
    assert (early(driver), driver.counts) == ([], (3, 0, 512))
    driver.ended(driver.starts[1].key)
    assert (early(driver), driver.counts) == (["job04", "job05"], (2, 2, 2))
    driver.ended(driver.starts[2].key)
    assert (early(driver), driver.counts) == (["job04", "job05", "job06"], (1, 3, 2))


def test_what_the_gate_admits_beside_them_lets_the_first_of_them_start_and_waits_behind_it() -> None:
    driver = flood(runnable=2)
    driver.ended(driver.starts[0].key)
    assert driver.counts == (4, 1, 4)
    driver.runnable = 0
    driver.at(0.02)
    assert early(driver) == ["job05", "job06", "job07", "job08", "job09", "job10", "job11"]
    assert driver.counts == (4, 7, 10)


def test_what_the_gate_admits_beside_them_that_may_not_be_early_starts_at_once() -> None:
    others = Execution(user=Account("ann", uid=1))
    driver = flood(runnable=2)
    driver.ended(driver.starts[0].key)
    for job in driver.jobs[6:]:
        driver.send(events.RequestReceived(1, Cancel(target=job.id), "ann"))
    assert driver.counts == (4, 1, 4)
    driver.runnable = 5
    pass_ms(driver, 11)
    driver.send(
        events.OnceRequested(
            1, make_job("ann", Once(driver.now.wall_ns, ZoneInfo("UTC")), execution=others), "ann"
        )
    )
    assert [(start.job, start.is_early) for start in driver.starts[6:]] == [("ann", False)]
    assert driver.counts == (5, 1, 5)


def test_one_that_comes_back_leaves_no_cpu_behind() -> None:
    driver = flood(runnable=2)
    driver.ended(driver.starts[0].key)
    count = len(driver.starts)
    returned(driver)
    assert len(driver.starts) == count
    [wait, *_] = driver.engine.first_waits(driver.engine.waits(driver.now), 1)
    assert (wait.job, wait.reason) == ("job05", "for a CPU: 6 runnable on 2 CPUs")


def test_one_that_waits_to_start_early_waits_for_a_cpu() -> None:
    driver = flood(runnable=2)
    driver.ended(driver.starts[0].key)
    [wait, *_] = driver.engine.first_waits(driver.engine.waits(driver.now), 1)
    words = "for a CPU: it starts when one of 4 commands ends"
    assert (wait.job, wait.kind.value, wait.reason) == ("job05", "cpu", words)


def test_the_machine_is_not_looked_at_for_each_of_them() -> None:
    driver = flood(runnable=2)
    pass_ms(driver, 5)
    driver.ended(driver.starts[0].key)
    assert driver.engine.pool.early.attempts
    looks = 0
    for _ in range(8):
        driver.began(next(iter(driver.engine.pool.early.attempts)))
        pass_ms(driver, 0.5)
        driver.ended(next(key for key in driver.engine.pool.running))
        looks += driver.engine.pool.wants_signals
    assert looks == 0


# --- what becomes of them ---


def test_one_that_starts_takes_the_seat_of_the_command_that_ended() -> None:
    driver = burst()
    pool = driver.engine.pool
    assert (pool.busy_count, len(pool.early.attempts)) == (2, 2)
    driver.ended(driver.starts[2].key)
    assert pool.busy_count == 1
    driver.began(driver.starts[4].key)
    assert pool.busy_count == 2
    assert list(pool.early.attempts) == [start.key for start in driver.starts[5:]]


def test_one_that_comes_back_waits_again_in_its_place_and_none_is_asked_for_at_once() -> None:
    driver = burst()
    key, job = driver.last_key, driver.starts[-1].job
    done = returned(driver)
    assert [type(effect) for effect in done] == [effects.AttemptWithdrawn]
    assert not driver.engine.pool.early.attempts.get(key)
    count = len(driver.starts)
    for start in driver.starts[1:5]:
        if start.key in driver.engine.pool.running:
            driver.ended(start.key)
    assert driver.starts[count].job == job
    assert driver.starts[count].key == key


def test_a_run_that_came_back_has_not_begun() -> None:
    driver = burst()
    run = driver.starts[-1].run
    returned(driver)
    assert driver.engine.state_of(run) == "queued"
    [record] = of_type(driver.done, effects.AttemptWithdrawn)
    assert record.run == run


def test_what_has_a_process_or_is_not_known_does_not_come_back() -> None:
    driver = burst()
    key = driver.last_key
    driver.began(key)
    assert returned(driver, key) == []
    assert returned(driver, "unknown.main.1") == []


def test_a_cancelled_one_that_comes_back_is_over() -> None:
    driver = burst()
    start = driver.starts[-1]
    driver.send(events.RequestReceived(1, Cancel(target=start.job), "ann"))
    [told] = [effect for effect in of_type(driver.done, effects.Signal) if effect.key == start.key]
    assert told.ending is State.CANCELLED
    done = returned(driver, start.key)
    assert [(end.state, end.detail) for end in of_type(done, effects.AttemptFinished)] == [
        (State.CANCELLED, "never started")
    ]
    assert (start.job, State.CANCELLED) in states(driver)


def test_one_whose_job_is_paused_with_stop_waits_until_that_is_over() -> None:
    driver = burst()
    start = driver.starts[-1]
    driver.send(events.RequestReceived(1, PauseJobs(jobs=[start.job], stop=True), "ann"))
    assert [int(effect.signum) for effect in of_type(driver.done, effects.Signal)] == [19]
    returned(driver, start.key)
    for key in list(driver.engine.pool.running):
        driver.ended(key)
    assert start.key not in driver.engine.pool.running


def test_a_failure_for_want_of_room_lets_those_that_come_back_wait_for_the_end_of_the_pause() -> None:
    driver = burst()
    keys = list(driver.engine.pool.early.attempts)
    driver.failed(driver.starts[2].key, is_transient=True)
    for key in keys:
        returned(driver, key)
    count = len(driver.starts)
    driver.ended(driver.starts[3].key)
    assert len(driver.starts) == count


# --- the end of the program ---


def test_a_stop_recalls_them_and_leaves_those_that_come_back_for_the_next_start() -> None:
    driver = burst()
    keys = list(driver.engine.pool.early.attempts)
    done = driver.send(events.StopRequested())
    assert len(of_type(done, effects.Recall)) == 1
    assert not {*keys} & {effect.key for effect in of_type(done, effects.Signal)}
    for key in keys:
        returned(driver, key)
    for key in list(driver.engine.pool.running):
        driver.ended(key, signum=15)
    assert len(of_type(driver.done, effects.Stopped)) == 1
    left = {
        record.run for record in driver.engine.restate(driver.now) if isinstance(record, effects.RunQueued)
    }
    assert {key.split(".")[0] for key in keys} <= left
    assert {key.split(".")[0] for key in keys}.isdisjoint(
        record.run for record in of_type(driver.done, effects.RunFinished)
    )


@pytest.mark.parametrize(
    ("event", "signum"),
    [
        pytest.param(events.StopRequested(), 15, id="stop"),
        pytest.param(events.KillRequested(), 9, id="kill"),
    ],
)
def test_one_that_has_started_when_a_stop_comes_is_ended_as_soon_as_that_is_known(
    event: events.Event, signum: int
) -> None:
    driver = burst()
    key = driver.last_key
    driver.send(event)
    done = driver.began(key)
    assert [(effect.key, int(effect.signum)) for effect in of_type(done, effects.Signal)] == [(key, signum)]
    assert of_type(driver.began(key), effects.Signal) == []


def test_a_drain_recalls_them_and_lets_one_that_has_started_end_by_itself() -> None:
    driver = burst()
    first, second = list(driver.engine.pool.early.attempts)
    done = driver.send(events.DrainRequested())
    assert len(of_type(done, effects.Recall)) == 1
    returned(driver, second)
    assert of_type(driver.began(first), effects.Signal) == []
    assert len(of_type(driver.send(events.DrainRequested()), effects.Recall)) == 0


# --- what people are told ---


def test_what_is_asked_for_early_is_shown_as_waiting() -> None:
    driver = burst(count=9)
    engine, now = driver.engine, driver.now
    snapshot = take_snapshot(engine, now, started_ns=0, rows=5)
    assert (len(snapshot.workers), snapshot.ready) == (2, 5)
    assert status_line(engine, now, UTC).startswith("2 running, 5 waiting")
    whole = Figures(engine).whole(now)
    assert (whole["busy"], whole["free"]) == (2, 0)
    job = driver.starts[-1].job
    assert engine.runs_of(job) == ([], 1)
    assert engine.state_of(driver.starts[-1].run) == "queued"
    waits = engine.waits(now)
    assert [wait.job for wait in engine.first_waits(waits, 3)] == ["job04", "job05", "job06"]
    [wait] = engine.waits_of(job, waits, 20)
    assert wait.reason == "for a worker: all 2 are busy"


def test_a_cancel_and_a_stop_say_what_really_runs() -> None:
    driver = burst()
    start = driver.starts[-1]
    [answer] = of_type(
        driver.send(events.RequestReceived(1, Cancel(target=f"{start.job}.main"), "ann")), effects.Answer
    )
    assert answer.reply["runs"][0]["state"] == "queued"
    [answer] = of_type(driver.send(events.RequestReceived(2, Stop(), "ann")), effects.Answer)
    assert answer.reply["running"] == 2

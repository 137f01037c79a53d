"""A simulation plays the scheduler's own engine: each slot has one end, and the pool's rules hold."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.model import (
    GATE,
    GATE_CODES,
    Execution,
    Job,
    Mode,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
    Task,
)
from taskman_cli.core.schedule import Interval, Reboot, parse_cron
from taskman_cli.core.tuning import Admission
from taskman_cli.simulate import player
from taskman_cli.simulate.habits import Habits, Sample
from taskman_cli.simulate.player import Played, Player, Scenario
from taskman_cli.simulate.work import Hardware

MINUTE_NS, HOUR_NS = 60 * SECOND_NS, 3600 * SECOND_NS
#: 2026-11-24T04:00:00Z.
START_NS = 1_795_492_800 * SECOND_NS
FIXED = Settings(max_workers=64, admission=Admission.FIXED)


def job(name: str, every_s: int | str = 60, policy: Policy | None = None, **execution: Any) -> Job:
    schedule = (
        parse_cron(every_s, timezone="UTC") if isinstance(every_s, str) else Interval(every_s * SECOND_NS)
    )
    return Job(name, schedule, (Task("main", "true", Execution(**execution)),), policy or Policy())


def play(
    *jobs: Job,
    settings: Settings = FIXED,
    hours: float = 1,
    cores: int = 64,
    memory: int | None = None,
    history: dict[tuple[str, str], list[Sample]] | None = None,
    from_ns: int = START_NS,
    **given: int,
) -> Played:
    scenario = Scenario(jobs, settings, "UTC", from_ns, int(hours * HOUR_NS), Hardware(cores, memory), {})
    return Player(scenario, Habits(jobs, history=history or {}, given=given)).play()


def test_each_slot_becomes_a_run_that_ends() -> None:
    tally = play(job("a", 60)).tally
    assert tally.states == {"succeeded": 59}  # the last is due at the very end
    assert tally.unfinished == 1
    assert (tally.waits.count, tally.waits.worst_ns, dict(tally.skips)) == (60, 0, {})


def test_what_is_still_running_at_the_next_slot_lets_it_be_skipped() -> None:
    tally = play(job("a", 60), a=90 * SECOND_NS).tally
    assert dict(tally.skips) == {"overlap": 30}
    assert tally.states == {"succeeded": 29}


def test_one_worker_lets_the_others_wait() -> None:
    jobs = [job(name, "0 * * * *") for name in "abc"]
    played = play(
        *jobs, settings=replace(FIXED, max_workers=1), hours=1.5, a=MINUTE_NS, b=MINUTE_NS, c=MINUTE_NS
    )
    tally = played.tally
    assert [round(tally.jobs[name].waits.worst_ns / SECOND_NS) for name in "abc"] == [0, 60, 120]
    assert tally.worst == ("c", START_NS + HOUR_NS)
    assert {what: round(ns / SECOND_NS) for what, ns in tally.waited_for.items()} == {"worker": 120}
    assert (tally.peak, tally.busiest[0].starts, tally.busiest[0].at_ns) == (
        1, 1, START_NS + HOUR_NS + 2 * MINUTE_NS,
    )  # fmt: skip


def test_a_resource_is_waited_for_by_name() -> None:
    jobs = [job(name, "0 * * * *", resources=(("db", 1),)) for name in "ab"]
    settings = replace(FIXED, resources=(("db", Resource(1)),))
    tally = play(*jobs, settings=settings, hours=1.5, a=MINUTE_NS).tally
    assert {what: round(ns / SECOND_NS) for what, ns in tally.waited_for.items()} == {"db": 60}


def test_the_first_deadline_missed_is_told() -> None:
    policy = Policy(start_deadline_ns=30 * SECOND_NS)
    jobs = [job("long", "0 * * * *"), job("short", "0 * * * *", policy)]
    tally = play(*jobs, settings=replace(FIXED, max_workers=1), hours=1.5, long=MINUTE_NS).tally
    assert dict(tally.skips) == {"late": 1}
    missed = tally.first_missed
    assert missed is not None
    assert (missed.job, missed.slot_ns, missed.at_ns - missed.slot_ns) == (
        "short", START_NS + HOUR_NS, 30 * SECOND_NS + 1,
    )  # fmt: skip


def test_a_timeout_ends_a_command_and_its_signal_is_obeyed() -> None:
    tally = play(job("a", 600, timeout_ns=5 * SECOND_NS), a=MINUTE_NS).tally
    assert tally.states == {"timed_out": 5}


def test_failures_are_retried_and_park_a_job() -> None:
    history = {("a", "main"): [Sample(SECOND_NS, exit_code=1)]}
    retrying = job("a", 600, Policy(max_failures=3), retry=Retry(max=1, delay_ns=SECOND_NS))
    tally = play(retrying, history=history).tally
    assert (tally.states, tally.retries) == ({"failed": 3}, 3)
    assert dict(tally.skips) == {"parked": 3}
    assert list(tally.parked) == ["a"]


def test_a_gate_and_an_exit_code_skip_slots() -> None:
    gate = Task(GATE, "true", Execution(skip_exit_codes=GATE_CODES))
    gated = replace(job("a", 600), gate=gate)
    history = {
        ("a", GATE): [Sample(SECOND_NS, exit_code=1)],
        ("b", "main"): [Sample(SECOND_NS, exit_code=75)],
    }
    tally = play(gated, job("b", 600, skip_exit_codes=(75,)), history=history).tally
    assert dict(tally.skips) == {"only_if": 5, "not_now": 5}
    assert tally.unfinished == 2


def test_what_could_not_be_started_fails() -> None:
    tally = play(job("a", 600), history={("a", "main"): [Sample(0, is_unstarted=True)]}).tally
    assert (tally.states, tally.unfinished) == ({"failed": 5}, 1)


def test_a_start_that_fails_takes_time_so_that_no_number_of_retries_stops_the_clock() -> None:
    failing = job("a", 600, retry=Retry(max=7, delay_ns=0))
    tally = play(failing, history={("a", "main"): [Sample(0, is_unstarted=True)]}).tally
    assert (tally.states, tally.retries) == ({"failed": 5}, 35)
    assert tally.done.worst_ns >= 8 * SECOND_NS // 1000


def test_what_overlaps_is_slower_and_says_so() -> None:
    jobs = [job(name, "0 * * * *") for name in "abcdefgh"]
    history = {(name, "main"): [Sample(SECOND_NS, SECOND_NS)] for name in "abcdefgh"}
    alone = play(*jobs, hours=1.5, cores=8, history=history)
    crowded = play(*jobs, hours=1.5, cores=1, history=history)
    assert (round(alone.slowdown, 1), round(crowded.slowdown)) == (1.0, 8)
    assert crowded.tally.done.worst_ns > 7 * alone.tally.done.worst_ns


def test_what_overlaps_with_nothing_is_no_slower_however_short_it_is() -> None:
    history = {("a", "main"): [Sample(2_000_000, 1_000_000)]}
    played = play(job("a", 10), history=history)
    assert round(played.slowdown, 3) == 1.0


def test_what_runs_elsewhere_slows_nothing_here() -> None:
    names = [f"far{number}" for number in range(40)]
    jobs = [job(name, "0 * * * *", executor="farm") for name in names]
    history = {(name, "main"): [Sample(100 * SECOND_NS, 90 * SECOND_NS, 1 << 30)] for name in names}
    played = play(*jobs, hours=1.5, cores=1, memory=2 << 30, history=history)
    assert (played.tally.memory_kills, played.tally.states) == (0, {"succeeded": 40})
    assert played.tally.done.worst_ns < 101 * SECOND_NS
    assert played.cores_busy < 0.001


def test_the_gate_holds_back_what_a_machine_cannot_bear() -> None:
    names = [f"job{number}" for number in range(40)]
    jobs = [job(name, "0 * * * *") for name in names]
    history = {(name, "main"): [Sample(2 * SECOND_NS, SECOND_NS // 5, 200 << 20)] for name in names}
    fixed = play(*jobs, hours=1.5, cores=2, memory=2 << 30, history=history)
    auto = play(
        *jobs,
        hours=1.5,
        cores=2,
        memory=2 << 30,
        history=history,
        settings=Settings(admission=Admission.AUTO),
    )
    assert fixed.tally.memory_kills > 0
    assert (auto.tally.memory_kills, auto.tally.states) == (0, {"succeeded": 40})
    assert auto.tally.waited_for["memory"] > 0


def test_a_start_of_the_program_is_no_boot() -> None:
    reboot = Job("boot", Reboot("UTC"), (Task("main", "true", Execution()),))
    tally = play(reboot, job("start", 7200, Policy(run_on_start=True))).tally
    assert {name: one.states for name, one in tally.jobs.items()} == {"start": {"succeeded": 1}}


def test_the_pool_over_the_day_is_counted_in_the_parts_it_is_of() -> None:
    played = play(job("a", "0 12 * * *"), hours=48, a=HOUR_NS)
    tally = played.tally
    hours = [round(sum(tally.parts_ns[part : part + 4]) / HOUR_NS, 2) for part in range(0, 96, 4)]
    assert hours == [2.0 if hour == 12 else 0 for hour in range(24)]
    assert sum(tally.passed_ns) == 48 * HOUR_NS
    assert tally.peaks[48:52] == [1, 1, 1, 1]


def test_the_same_seed_is_the_same_simulation() -> None:
    history = {("a", "main"): [Sample(number * SECOND_NS, number) for number in range(1, 100)]}
    done = [play(job("a", 60), history=history).tally.done for _ in range(2)]
    assert done[0].quantile(0.5) == done[1].quantile(0.5)
    assert done[0].total_ns == done[1].total_ns


@pytest.mark.no_cover
def test_each_slot_of_random_jobs_has_one_end() -> None:
    for seed in range(25):
        chance = random.Random(seed)
        jobs = tuple(_random_job(f"job{number}", chance) for number in range(chance.randint(1, 6)))
        history = {
            (one.id, task.id): [
                Sample(
                    int(chance.expovariate(0.05) * SECOND_NS),
                    int(chance.expovariate(1) * SECOND_NS),
                    chance.randint(0, 400 << 20),
                    chance.choice([0, 0, 0, 1, 75]),
                )
                for _ in range(5)
            ]
            for one in jobs
            for task in one.commands
        }
        settings = Settings(
            max_workers=chance.choice([1, 2, 64]),
            admission=chance.choice(list(Admission)),
            resources=(("db", Resource(2)),),
        )
        hours = chance.choice([0.3, 1, 3])
        played = play(
            *jobs,
            settings=settings,
            hours=hours,
            cores=chance.choice([1, 4]),
            memory=2 << 30,
            history=history,
        )
        tally = played.tally
        ended = sum(
            sum(counted.states.values()) + sum(counted.skips.values()) for counted in tally.jobs.values()
        )
        slots = sum(_slots(one, START_NS, START_NS + int(hours * HOUR_NS)) for one in jobs)
        assert ended + tally.unfinished == slots, f"seed {seed}"
        assert tally.peak <= played.seats


def _random_job(name: str, chance: random.Random) -> Job:
    pick = chance.choice
    execution = Execution(
        timeout_ns=pick([None, 20 * SECOND_NS]),
        retry=Retry(max=pick([0, 2]), delay_ns=3 * SECOND_NS),
        skip_exit_codes=pick([None, (75,)]),
        resources=pick([(), (("db", 1),), (("db", 2),)]),
    )
    policy = Policy(
        overlap=pick(list(Overlap)),
        max_running=pick([None, 2]),
        start_deadline_ns=pick([None, 10 * SECOND_NS]),
        priority=pick([0, 0, 5]),
        mode=pick(list(Mode)),
        max_failures=pick([None, 2]),
        park_for_ns=pick([None, 600 * SECOND_NS]),
    )
    tasks = tuple(Task(task, "true", execution) for task in "abc"[: chance.randint(1, 3)])
    gate = Task(GATE, "true", replace(execution, skip_exit_codes=GATE_CODES, retry=Retry()))
    schedule = pick(
        [parse_cron(pick(["* * * * *", "*/5 * * * *"]), timezone="UTC"), Interval(37 * SECOND_NS)]
    )
    return Job(name, schedule, tasks, policy, gate=pick([None, None, gate]))


def _slots(one: Job, after_ns: int, until_ns: int) -> int:
    armed = ArmedJob.of(one, since_ns=after_ns, anchor_ns=after_ns)
    count = 0
    slot_ns = armed.slot_after(after_ns)
    while slot_ns is not None and slot_ns <= until_ns:
        count += 1
        slot_ns = armed.slot_after(slot_ns)
    return count


class Prompt(player._Commands):
    """Commands of which each start is told at once."""

    def tell_of_start(self, started: events.AttemptStarted) -> None:
        self.news.append(started)


@pytest.mark.no_cover
def test_that_starts_are_told_with_what_comes_next_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def played(seed: int) -> tuple[object, ...]:
        chance = random.Random(seed)
        jobs = [
            replace(one, policy=replace(one.policy, slow_after_ns=chance.choice([None, None, 5 * SECOND_NS])))
            for one in (_random_job(f"job{number}", chance) for number in range(5))
        ]
        history = {
            (one.id, task.id): [
                Sample(int(chance.expovariate(0.05) * SECOND_NS), SECOND_NS // 9, chance.randint(0, 9 << 20))
                for _ in range(3)
            ]
            for one in jobs
            for task in one.commands
        }
        settings = Settings(max_workers=4, resources=(("db", Resource(2)),))
        tally = play(*jobs, settings=settings, hours=0.5, cores=2, memory=2 << 30, history=history).tally
        one_by_one = [(name, one.states, one.skips, one.done.total_ns) for name, one in tally.jobs.items()]
        return one_by_one, tally.waits.total_ns, tally.waited_for, tally.busiest, tally.parts_ns

    later = [played(seed) for seed in range(8)]
    monkeypatch.setattr(player, "_Commands", Prompt)
    assert [played(seed) for seed in range(8)] == later


def test_a_start_is_told_before_the_first_thing_that_depends_on_it() -> None:
    limits = [{"timeout_ns": 7 * SECOND_NS}, {}, {}]
    slow = [None, 5 * SECOND_NS, None]
    jobs = [
        job(f"job{number}", 60, Policy(slow_after_ns=slow_after_ns), **limit)
        for number, (limit, slow_after_ns) in enumerate(zip(limits, slow, strict=True))
    ]
    for admission, found in ((Admission.FIXED, [7, 5, None]), (Admission.AUTO, [0.25, 0.25, 0.25])):
        engine = Engine(Settings(admission=admission))
        now = Now(START_NS, 0)
        engine.handle(events.JobsLoaded(tuple(jobs), accounted_ns=START_NS), now)
        engine.handle(events.Tick(), Now(START_NS + MINUTE_NS, MINUTE_NS))
        timers = [engine.first_timer_ns(attempt) for attempt in engine.pool.running.values()]
        assert [None if timer_ns is None else timer_ns / SECOND_NS for timer_ns in timers] == found


@pytest.mark.no_cover
def test_what_has_ended_is_not_kept() -> None:
    def peak(hours: float) -> int:
        tracemalloc.start()
        play(*(job(f"job{number}", 20) for number in range(5)), hours=hours)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    play(job("a"))  # whatever is kept once for all
    short, long = peak(0.5), peak(4)
    assert long < 1.5 * short

"""A scenario that several players share is played as one player plays it, whatever is in it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import (
    GATE,
    GATE_CODES,
    Execution,
    Job,
    Overlap,
    Policy,
    Resource,
    Retry,
    Settings,
    Task,
)
from taskman_cli.core.schedule import Interval, parse_cron
from taskman_cli.core.tuning import Admission
from taskman_cli.simulate.habits import Habits, Sample
from taskman_cli.simulate.player import Part, Played, Player, Scenario
from taskman_cli.simulate.stretches import Stretch, beginning_of, finish, plan, play_stretch
from taskman_cli.simulate.work import Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_NS = 3600 * SECOND_NS
#: 2026-11-24T04:00:00Z.
START_NS = 1_795_492_800 * SECOND_NS
FIXED = Settings(max_workers=64, admission=Admission.FIXED)
AUTO = Settings(max_workers=64, admission=Admission.AUTO)


class Near:
    """The player of a stretch in this process, which plays all of it at once."""

    def __init__(
        self, habits: Habits, first: Player, stretch: Stretch, followers: Sequence[Near], *, fails: str = ""
    ) -> None:
        self.marks_ns = stretch.marks_ns
        self.joined: int | None = None
        self.is_closed = False
        self._fails = fails
        self._states: list[bytes] = []
        player = Player(first.scenario, habits, beginning_of(stretch, first))
        self._parts = play_stretch(player, stretch, followers, tell=self._states.append)

    def digest(self) -> bytes | None:
        return None if self._fails == "digest" else self._states.pop(0)

    def close(self) -> None:
        self.is_closed = True

    def rest(self, mark: int) -> Part | None:
        if self._fails == "rest":
            return None
        self.joined = mark
        first, *others = self._parts[mark:]
        for one in others:
            first.merge(one)
        return first


def shared(
    scenario: Scenario, habits: Habits, *, most: int = 2, turns: int = 300, fails: str = ""
) -> tuple[Played, list[int | None]]:
    """Play a scenario with several players; return what came of it, and at which mark each was joined."""
    player = Player(scenario, habits)
    player.run(turns=turns)
    part = player.cut()
    followers: list[Near] = []
    for stretch in reversed(plan(player, most=most, least_turns=1)):
        followers.insert(0, Near(habits, player, stretch, followers, fails=fails))
    part.merge(finish(player, followers))
    assert all(one.is_closed == (one.joined is None) for one in followers)
    return Played.of(scenario, part, seats=player.engine.pool.seats), [one.joined for one in followers]


def facts(played: Played) -> dict[str, object]:
    """Return all that a report can tell of what was played, in its order."""
    tally = played.tally
    told: dict[str, object] = {
        name: getattr(tally, name) for name in tally.__slots__ if name not in ("jobs", "waits", "done")
    }
    sketches = {"": (tally.waits, tally.done)} | {n: (one.waits, one.done) for n, one in tally.jobs.items()}
    for name, pair in sketches.items():
        told[f"sketches of {name}"] = [
            {slot: getattr(one, slot) for slot in one.__slots__ if slot != "_counts"}
            | dict(sorted(one._counts.items()))
            for one in pair
        ]
    for name, one in tally.jobs.items():
        told[name] = one.states, one.skips, one.worst_due_ns
    figures = (played.slowdown, played.cores_busy, played.memory_peak_bytes, played.seats)
    told |= {"jobs": list(tally.jobs), "figures": figures}
    return {name: list(one.items()) if isinstance(one, dict) else one for name, one in told.items()}


def job(name: str, every: str, policy: Policy | None = None, **execution: Any) -> Job:
    return Job(
        name,
        parse_cron(every, timezone="UTC") if " " in every else Interval(int(every) * SECOND_NS),
        (Task("main", "true", Execution(**execution)),),
        policy or Policy(),
    )


def scenario_of(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    hours: float = 10,
    cores: int = 2,
    memory: int | None = 1 << 30,
) -> Scenario:
    return Scenario(
        jobs, settings, "Europe/Berlin", START_NS, int(hours * HOUR_NS), Hardware(cores, memory), {}
    )


#: Two run at any time, so that the gate looks at the machine.
LONG = {f"job-{minute}": 90 * SECOND_NS for minute in range(10)}
PLAIN = [job(f"job-{minute}", f"{minute}-59/10 * * * *") for minute in range(10)]


@pytest.mark.parametrize("settings", [FIXED, AUTO], ids=["fixed", "auto"])
@pytest.mark.parametrize("most", [2, 4])
def test_plain_jobs_are_played_in_stretches_that_are_joined_at_once(settings: Settings, most: int) -> None:
    scenario, habits = scenario_of(PLAIN, settings, hours=12), Habits(PLAIN, history={}, given=LONG)
    played, joined = shared(scenario, habits, most=most)
    assert joined == [0] * (most - 1)
    assert facts(played) == facts(Player(scenario, habits).play())


def test_what_runs_at_the_mark_is_counted_once() -> None:
    jobs = [job("long", "*/20 * * * *"), job("short", "*/5 * * * *")]
    given = {"long": 19 * 60 * SECOND_NS, "short": 299 * SECOND_NS}
    scenario, habits = scenario_of(jobs, AUTO, hours=12, cores=1), Habits(jobs, history={}, given=given)
    played, joined = shared(scenario, habits, turns=60)
    assert joined == [0]
    assert facts(played) == facts(Player(scenario, habits).play())


@pytest.mark.parametrize("settings", [FIXED, AUTO], ids=["fixed", "auto"])
def test_a_run_at_the_start_of_another_player_is_no_hindrance(settings: Settings) -> None:
    """It begins with what is known by then of the memory that it needs."""
    jobs = [*PLAIN, replace(PLAIN[0], id="starts", policy=Policy(run_on_start=True))]
    scenario, habits = scenario_of(jobs, settings, hours=12), Habits(jobs, history={}, given=LONG)
    played, joined = shared(scenario, habits)
    assert joined == [0]
    assert facts(played) == facts(Player(scenario, habits).play())


def test_a_job_that_always_fails_is_no_hindrance() -> None:
    jobs = [*PLAIN, job("broken", "*/30 * * * *")]
    history = {("broken", "main"): [Sample(SECOND_NS, exit_code=1)]}
    scenario, habits = scenario_of(jobs, AUTO, hours=12), Habits(jobs, history=history, given=LONG)
    played, joined = shared(scenario, habits)
    assert joined == [0]
    assert facts(played) == facts(Player(scenario, habits).play())


@pytest.mark.parametrize("jitter_ns", [0, 600 * SECOND_NS])
def test_a_slot_that_only_one_player_has_had_is_no_hindrance(jitter_ns: int) -> None:
    jobs = [*PLAIN, job("seldom", "30 15 * * *", Policy(jitter_ns=jitter_ns))]
    scenario, habits = scenario_of(jobs, FIXED, hours=24), Habits(jobs, history={}, given=LONG)
    played, joined = shared(scenario, habits)
    assert played.tally.jobs["seldom"].waits.count == 1
    assert joined == [0]
    assert facts(played) == facts(Player(scenario, habits).play())


@pytest.mark.parametrize("settings", [FIXED, AUTO], ids=["fixed", "auto"])
def test_what_is_on_record_of_needs_is_no_hindrance(settings: Settings) -> None:
    scenario, habits = scenario_of(PLAIN, settings, hours=12), Habits(PLAIN, history={}, given=LONG)
    scenario = replace(scenario, needs={("job-1", "main"): 20 << 20, ("gone", "main"): 1 << 20})
    played, joined = shared(scenario, habits)
    assert joined == [0]
    assert facts(played) == facts(Player(scenario, habits).play())


def test_what_is_told_of_several_parts_is_in_the_order_in_which_it_happened() -> None:
    hours = (13, 4, 12)
    jobs = [*PLAIN, *(job(f"fails-{hour}", f"30 {hour} * * *", Policy(max_failures=1)) for hour in hours)]
    fails = {(one.id, "main"): [Sample(SECOND_NS, exit_code=1)] for one in jobs if "fails" in one.id}
    scenario, habits = scenario_of(jobs, FIXED, hours=12), Habits(jobs, history=fails, given=LONG)
    played, joined = shared(scenario, habits)
    assert joined == [0]
    assert list(played.tally.parked) == ["fails-4", "fails-12", "fails-13"]
    assert facts(played) == facts(Player(scenario, habits).play())


@pytest.mark.parametrize("fails", ["digest", "rest"])
def test_a_player_that_fails_only_costs_time(fails: str) -> None:
    scenario, habits = scenario_of(PLAIN, AUTO), Habits(PLAIN, history={}, given=LONG)
    played, joined = shared(scenario, habits, fails=fails)
    assert joined == [None]
    assert facts(played) == facts(Player(scenario, habits).play())


def test_what_depends_on_all_that_was_before_is_played_by_one() -> None:
    """What counts from the end of the run before has no slot that another player could know."""
    chained = replace(PLAIN[0], id="chained", schedule=Interval(437 * SECOND_NS, from_finish=True))
    over = replace(chained, policy=Policy(max_runs=1))
    for one, joined_at in ((chained, []), (replace(chained, enabled=False), [0]), (over, [0])):
        jobs = [one, *PLAIN]
        scenario, habits = scenario_of(jobs, FIXED), Habits(jobs, history={}, given=LONG)
        played, joined = shared(scenario, habits)
        assert joined == joined_at
        assert facts(played) == facts(Player(scenario, habits).play())


def test_where_the_needs_of_memory_depend_on_all_that_was_before_the_first_plays_on() -> None:
    samples = [Sample(60 * SECOND_NS, SECOND_NS, (50 + number * 37 % 90) << 20) for number in range(20)]
    history = {(one.id, "main"): samples for one in PLAIN}
    scenario, habits = scenario_of(PLAIN, AUTO), Habits(PLAIN, history=history, given={})
    played, joined = shared(scenario, habits)
    assert joined == [None]
    assert facts(played) == facts(Player(scenario, habits).play())


def test_a_short_scenario_or_a_little_of_one_is_not_shared() -> None:
    habits = Habits(PLAIN, history={}, given=LONG)
    short = Player(scenario_of(PLAIN, FIXED, hours=2), habits)
    short.run(turns=20)
    assert plan(short, most=8, least_turns=1) == []  # the lead would be most of it
    long = Player(scenario_of(PLAIN, FIXED, hours=24), habits)
    assert plan(long, most=8, least_turns=1) == []  # nothing is known of it yet
    long.run(turns=100)
    assert plan(long, most=1, least_turns=1) == []
    assert plan(long, most=8, least_turns=10_000) == []
    assert len(plan(long, most=8, least_turns=1)) == 7
    long.run()
    assert plan(long, most=8, least_turns=1) == []


def test_the_lead_is_as_long_as_the_jobs_that_come_often_need() -> None:
    jobs = [job("often", "* * * * *"), job("seldom", "0 */3 * * *"), job("once a day", "0 7 * * *")]
    player = Player(scenario_of(jobs, FIXED, hours=48), Habits(jobs, history={}, given={}))
    player.run(turns=100)
    (stretch,) = plan(player, most=2, least_turns=1)
    assert stretch.marks_ns[0] - stretch.begin_ns == 3 * HOUR_NS * 9 // 8


KINDS = (
    "plain",
    "failing",
    "parked",
    "retrying",
    "db",
    "rated",
    "slow",
    "late",
    "gated",
    "counted",
    "interval",
    "jitter",
)


def random_job(name: str, dice: random.Random, history: dict[tuple[str, str], list[Sample]]) -> Job:
    kind = dice.choice(KINDS)
    every = dice.choice(["* * * * *", "*/5 * * * *", "*/7 * * * *", f"{dice.randrange(60)} * * * *"])
    lengths = [dice.randrange(1, 400) * SECOND_NS // 4 for _ in range(dice.choice([1, 3]))]
    memory = dice.choice([10 << 20, 300 << 20])
    codes = [dice.random() < 0.4 and kind in ("failing", "parked", "retrying") for _ in lengths]
    history[name, "main"] = [
        Sample(length, length // dice.choice([1, 3]), memory, int(code))
        for length, code in zip(lengths, codes, strict=True)
    ]
    policy = Policy(overlap=dice.choice(list(Overlap)), priority=dice.choice([0, 0, 10]))
    execution: dict[str, Any] = {}
    match kind:
        case "parked":
            policy = replace(policy, max_failures=2, park_for_ns=dice.choice([None, 1800 * SECOND_NS]))
        case "retrying":
            execution = {"retry": Retry(max=2, delay_ns=20 * SECOND_NS)}
        case "db":
            execution = {"resources": (("db", dice.choice([1, 2])),)}
        case "rated":
            execution = {"resources": (("api", 1),)}
        case "slow":
            execution = {"timeout_ns": 30 * SECOND_NS}
        case "late":
            policy = replace(policy, start_deadline_ns=20 * SECOND_NS)
        case "counted":
            policy = replace(policy, max_runs=dice.choice([5, 60]))
        case "jitter":
            policy = replace(policy, jitter_ns=60 * SECOND_NS)
        case "interval":
            every = str(dice.choice([90, 450]))
    made = job(name, every, policy, **execution)
    if kind == "gated":
        gate = Task(GATE, "true", Execution(skip_exit_codes=GATE_CODES))
        history[name, GATE] = [Sample(SECOND_NS), Sample(SECOND_NS, exit_code=1)]
        made = replace(made, gate=gate)
    return made


def random_play(seed: int) -> tuple[Scenario, Habits]:
    dice, history = random.Random(seed), dict[tuple[str, str], list[Sample]]()
    jobs = [random_job(f"job-{number}", dice, history) for number in range(dice.randrange(2, 6))]
    settings = replace(
        dice.choice([FIXED, AUTO]),
        max_workers=dice.choice([1, 2, 64]),
        resources=(("api", Resource(rate=6, per_ns=60 * SECOND_NS, burst=2)), ("db", Resource(2))),
    )
    memory = dice.choice([None, 1 << 30, 500 << 20])
    scenario = scenario_of(jobs, settings, hours=6, cores=dice.choice([1, 4]), memory=memory)
    return scenario, Habits(jobs, history=history, given={}, seed=seed)


def test_random_scenarios_are_played_as_by_one_player() -> None:
    joined = []
    for seed in range(10):
        scenario, habits = random_play(seed)
        played, marks = shared(scenario, habits, most=3, turns=100)
        assert facts(played) == facts(Player(scenario, habits).play()), f"seed {seed}"
        joined += [mark for mark in marks if mark is not None]
    assert len(joined) >= 4  # or all of this would say nothing of what joins

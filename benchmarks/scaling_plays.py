"""One play of the benchmark of the pool: a load, a machine, a contestant; and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from scaling_loads import make_load
from scaling_pools import AUTO, Fixed, GoTaskman, KnowAll, Laws, Taskman
from scaling_stage import Stage, percentile

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scaling_loads import Load
    from scaling_stage import Work

#: How large the loads and the memory are on so many cores: of size 1, a load suits two cores and 2 GB.
SIZES = {1: 0.5, 2: 1.0, 8: 4.0, 64: 8.0}
MEMORY_MB = 2048
#: How long after a step it is looked at whether the pool has settled.
WINDOW_S = 25
#: Waits up to this long are none.
NO_WAIT_S = 0.1

FIXED = {**{f"fixed {seats}": float(seats) for seats in (1, 2, 4, 16, 64)}, "unlimited": inf}
#: The know-all rules: how many more than there are cores may burn (in halves of the cores), and how careful.
KNOW_ALL = {
    f"know-all {halves}{' careful' if is_careful else ''}": (halves, is_careful)
    for halves in (0, 1, 2, 6)
    for is_careful in (True, False)
}
GO_TASKMAN, OURS = "go-taskman", "taskman"
#: Needs of memory by job and task, in bytes.
Needs = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one play; times in seconds."""

    wait99: float
    response99: float
    makespan: float
    #: How long a probe waited for its start; None: there was none.
    probe99: float | None
    #: The most memory that was used, as a share of what there is; and for how long it was too much.
    peak: float
    over: float
    kills: int
    #: Changes of direction of the published target after the step; None: there was no step.
    reversals: int | None
    #: After the step: when something came that waited, and how long it waited.
    late: tuple[tuple[float, float], ...]
    #: The load after the step, as a share of the cores.
    demand: float
    most_running: int
    #: How the published target behaved; None: nothing is published.
    laws: Laws | None

    def settled(self, tolerance: float) -> float:
        """Return when the last came, after the step, that waited longer than this."""
        return max((after for after, wait in self.late if wait > tolerance), default=0.0)


def play(load_name: str, cpus: int, contestant: str, *, seed: int) -> Outcome:
    """Let a contestant other than ours play."""
    load = make_load(load_name, SIZES[cpus], seed)
    if contestant in FIXED:
        return _outcome(load, cpus, Fixed(FIXED[contestant]))
    if contestant == GO_TASKMAN:
        return _outcome(load, cpus, GoTaskman())
    halves, is_careful = KNOW_ALL[contestant]
    return _outcome(load, cpus, KnowAll((cpus * halves + 1) // 2, is_careful=is_careful))


@dataclass(frozen=True, slots=True)
class Ours:
    """Our plays of one load: as if none of its jobs had ever run, and with what that has taught."""

    first: Outcome
    again: Outcome
    #: The same with needs that were learned when all run times were half or twice as long.
    halved: Outcome
    doubled: Outcome
    #: With needs of half or twice the memory.
    half_needs: Outcome
    double_needs: Outcome


def play_ours(load_name: str, cpus: int, *, seed: int) -> Ours:
    """Let our engine play."""

    def one(needs: Mapping[tuple[str, str], int] | None = None) -> tuple[Outcome, Needs]:
        return _learn(make_load(load_name, SIZES[cpus], seed), cpus, needs)

    def taught(factor: float) -> Needs:
        load = make_load(load_name, SIZES[cpus], seed)
        for work in load.works:
            _stretch(work, factor)
        return _learn(load, cpus, None)[1]

    first, needs = one()
    return Ours(
        first,
        one(needs)[0],
        one(taught(0.5))[0],
        one(taught(2.0))[0],
        one(_times(needs, 0.5))[0],
        one(_times(needs, 2.0))[0],
    )


def play_credit(cpus: int, settle_ns: int, *, seed: int) -> tuple[float, Outcome]:
    """Play the burst with looks at the machine that are good for so long; return looks a start, too."""
    tuning = AUTO.admission_tuning
    if settle_ns != tuning.settle_ns:  # then while something is held back, too
        tuning = replace(tuning, settle_ns=settle_ns, settle_held_ns=settle_ns)
    load = make_load("burst", SIZES[cpus], seed)
    pool = Taskman(load.works, settings=replace(AUTO, admission_tuning=tuning))
    outcome = _outcome(load, cpus, pool)
    return pool.counts["looks"] / len(load.works), outcome


def _times(needs: Needs, factor: float) -> Needs:
    return {owner: int(need * factor) for owner, need in needs.items()}


def _stretch(work: Work, factor: float) -> None:
    """Let work take so many times as long."""
    work.cpu_s *= factor
    work.sleep_s *= factor
    work.disk_s *= factor
    work.ramp_s *= factor


def _learn(load: Load, cpus: int, needs: Mapping[tuple[str, str], int] | None) -> tuple[Outcome, Needs]:
    pool = Taskman(load.works, needs=needs)
    return _outcome(load, cpus, pool), pool.needs


def _outcome(load: Load, cpus: int, pool: Fixed | GoTaskman | KnowAll | Taskman) -> Outcome:
    stage = Stage(cpus, MEMORY_MB * SIZES[cpus], load.works, pool)
    pool.stage = stage
    stage.play()
    works = [work for work in stage.works if work.kind != "probe"]
    probes = [work.wait_s for work in stage.works if work.kind == "probe"]
    end_s = max(work.at_s + work.response_s for work in works)
    late: tuple[tuple[float, float], ...] = ()
    turns = None
    if load.step_s is not None:
        step_s = load.step_s
        seen = [
            sample.target
            for sample in stage.samples
            if step_s - 1 <= sample.at_s <= min(step_s + 30, end_s + 1)
        ]
        turns = reversals(seen)
        late = tuple(
            (work.at_s - step_s, work.wait_s)
            for work in stage.works
            if step_s <= work.at_s <= step_s + WINDOW_S and work.wait_s > NO_WAIT_S
        )
    return Outcome(
        wait99=percentile((work.wait_s for work in works), 0.99),
        response99=percentile((work.response_s for work in works), 0.99),
        makespan=end_s - min(work.at_s for work in works),
        probe99=percentile(probes, 0.99) if probes else None,
        peak=stage.peak,
        over=stage.over_ns / SECOND_NS,
        kills=stage.machine.kills,
        reversals=turns,
        late=late,
        demand=load.demand_after_step(WINDOW_S, cpus),
        most_running=max((sample.running for sample in stage.samples), default=0),
        laws=pool.laws if isinstance(pool, Taskman) else None,
    )


def reversals(values: Sequence[int]) -> int:
    """Return how often values change their direction; less than 15 % of the last extreme is no change."""
    count, direction = 0, 0
    extreme = values[0] if values else 0
    for value in values:
        least = max(2, 0.15 * extreme)
        if value > extreme and direction >= 0:
            extreme, direction = value, 1
        elif value < extreme and direction <= 0:
            extreme, direction = value, -1
        elif direction and direction * (extreme - value) > least:
            count, extreme, direction = count + 1, value, -direction
    return count

"""The aims of the benchmark of the pool: figures from its plays, each compared with its aim."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaling_loads import PLAIN, PLAIN_MEMORY
from scaling_plays import FIXED, GO_TASKMAN, KNOW_ALL, NO_WAIT_S, OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scaling_plays import Ours, Outcome

#: Differences in time up to this count for nothing.
SLIGHT_S = 0.1
#: Loads of more than this share of the cores need not settle.
HEAVY_DEMAND = 0.8


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure and what it should be."""

    name: str
    words: str
    value: float
    bound: float
    is_least: bool = False
    #: The load that the figure comes from.
    where: str = ""

    @property
    def is_met(self) -> bool:
        """Tell whether the figure is as it should be."""
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    @property
    def text(self) -> str:
        """Return the bound in words."""
        return f"{'>=' if self.is_least else '<='} {self.bound:g}"

    @property
    def mark(self) -> str:
        """Return what stands behind the figure."""
        return "met" if self.is_met else "MISSED"


@dataclass(frozen=True, slots=True)
class Case:
    """All plays of one load."""

    load: str
    others: Mapping[str, Outcome]
    ours: Ours

    @property
    def know_all(self) -> Outcome:
        """Return the play of the best rule that knows all: without kills, by p99 response."""
        plays = [self.others[name] for name in KNOW_ALL]
        return min(plays, key=lambda play: (play.kills > 0, play.response99, play.wait99))

    @property
    def best_fixed(self) -> Outcome:
        """Return the play of the best fixed pool: without kills, by makespan."""
        return min((self.others[name] for name in FIXED), key=lambda play: (play.kills > 0, play.makespan))

    def play_of(self, contestant: str) -> Outcome:
        """Return a contestant's play; ours is the first."""
        return self.ours.first if contestant == OURS else self.others[contestant]

    def response(self, outcome: Outcome) -> float:
        """Return the p99 response as a ratio to the know-all's."""
        return ratio(outcome.response99, self.know_all.response99)

    def makespan(self, outcome: Outcome) -> float:
        """Return the makespan as a ratio to the best fixed pool's."""
        return ratio(outcome.makespan, self.best_fixed.makespan)

    def settled(self, outcome: Outcome) -> float:
        """Return how long after the step the last one came that waited clearly longer than it had to."""
        wait = self.know_all.wait99
        return outcome.settled(max(NO_WAIT_S, 1.3 * wait, wait + SLIGHT_S))


def ratio(value: float, base: float) -> float:
    """Return a ratio of two times; slight differences count for nothing."""
    plain = value / base if base else math.inf
    return min(plain, 1.0) if value - base <= SLIGHT_S else plain


def worst(cases: Iterable[Case], figure: Callable[[Case], float | None]) -> tuple[float, str]:
    """Return the largest figure, and the load that it comes from; 0 if there is none."""
    found = [(value, case.load) for case in cases if (value := figure(case)) is not None]
    value, load = max(found, key=lambda pair: pair[0], default=(0.0, ""))
    return value, load if value else ""


def change(outcome: Outcome, other: Outcome) -> float:
    """Return by how much one play differs from another, as a ratio that is 1 if it does not."""
    pairs = [(outcome.response99, other.response99), (outcome.makespan, other.makespan)]
    return max(max(ratio(a, b), ratio(b, a)) for a, b in pairs)


def judge(cases: list[Case]) -> list[Aim]:
    """Compare the plays on one number of cores with the aims."""

    def aim(name: str, words: str, bound: float, figure: Callable[[Case], float | None]) -> Aim:
        value, where = worst(cases, figure)
        return Aim(name, words, value, bound, where=where)

    near = sum(case.response(case.ours.first) <= 1.3 for case in cases)
    least = math.ceil(len(cases) * 15 / 18)
    return [
        Aim("near", f"loads of {len(cases)}: p99 response within 1.3 x know-all", near, least, is_least=True),
        aim("response", "p99 response / know-all", 2, lambda case: case.response(case.ours.first)),
        aim("makespan_plain", "makespan / best fixed: CPU, sleep, known memory", 1.05, _plain_makespan),
        aim("makespan", "makespan / best fixed: other loads", 1.35, _other_makespan),
        aim("settled", "s until settled after a step (demand <= 80 %)", 2, _settled),
        aim("reversals", "reversals of the target after a step", 1, lambda case: case.ours.first.reversals),
        aim("kills", "kills of jobs seen before", 0, lambda case: case.ours.again.kills),
        aim("overshoot", "memory beyond what there is, first runs", 0.1, _overshoot),
        aim("probe", "s from a probe's slot to its start, p99", 0.1, lambda case: case.ours.first.probe99),
        aim("run_times", "change if run times were half or double", 1, _change),
        *_target(cases),
    ]  # fmt: skip


def _plain_makespan(case: Case) -> float | None:
    if case.load not in (*PLAIN, *PLAIN_MEMORY):
        return None
    return case.makespan(case.ours.again if case.load in PLAIN_MEMORY else case.ours.first)


def _other_makespan(case: Case) -> float | None:
    return None if case.load in PLAIN else case.makespan(case.ours.first)


def _settled(case: Case) -> float | None:
    first = case.ours.first
    return None if first.demand > HEAVY_DEMAND else case.settled(first)


def _overshoot(case: Case) -> float:
    return max(0.0, case.ours.first.peak - 1)


def _change(case: Case) -> float:
    again = case.ours.again
    return max(change(case.ours.halved, again), change(case.ours.doubled, again))


def _target(cases: list[Case]) -> list[Aim]:
    """Return how the published target behaved in all our plays."""
    laws = [law for case in cases for law in (case.ours.first.laws, case.ours.again.laws) if law]
    falls = min((law.least_fall for law in laws), default=1.0)
    gap_s = min((law.least_gap_s for law in laws), default=1.0)
    return [
        Aim("target_up", "target below what runs, at most", max(law.below_running for law in laws), 0),
        Aim("target_down", "smallest fall of the target", min(falls, 1.0), 0.15, is_least=True),
        Aim("target_rows", "s between two rows of the target", min(gap_s, 60.0), 1, is_least=True),
    ]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a contestant did over all loads."""

    contestant: str
    response: float
    worst_response: float
    makespan: float
    kills: int
    over: float
    probe: float


def summaries(cases: list[Case]) -> list[Summary]:
    """Return the contestants in turn; ratios as geometric means."""
    found = []
    for name in (*FIXED, GO_TASKMAN, OURS):
        plays = [(case, case.play_of(name)) for case in cases]
        responses = [play.response99 / case.know_all.response99 for case, play in plays]
        found.append(
            Summary(
                name,
                mean(responses),
                max(responses),
                mean([play.makespan / case.best_fixed.makespan for case, play in plays]),
                sum(play.kills for _, play in plays),
                sum(play.over for _, play in plays),
                max((play.probe99 for _, play in plays if play.probe99 is not None), default=0.0),
            )
        )
    return found


def mean(ratios: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))

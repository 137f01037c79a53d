"""How near does the pool come to one that knows all, however the load changes?

Eighteen loads are played on a virtual machine of 1, 2, 8 and 64 cores: virtual time, cores shared among what
burns, memory with a kernel that kills. taskman plays with its own engine and gate, as the scheduler's loop
drives them, with the defaults but for `max_workers`: it is set out of the way, as the know-all rules have no
such cap. The others are fixed pools, the controller of go-taskman as its README describes it, and eight rules
that know what each command will do; of these, the best one for each load is what all are compared with.

Nothing here takes real time or chance, so it needs no quiet machine, and says the same each time. `--quick`
plays on two cores only.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from harness import Figure, main, print_report
from scaling_aims import Case, judge, summaries
from scaling_loads import LOADS
from scaling_plays import FIXED, GO_TASKMAN, KNOW_ALL, SIZES, play, play_credit, play_ours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling_aims import Aim

SEED = 1
#: How long a look at the machine is good for further starts; 10 ms is the default.
CREDITS_MS = (0.001, 10, 20, 50)
OTHERS = (*FIXED, *KNOW_ALL, GO_TASKMAN)


def play_all(cpus: int, workers: ProcessPoolExecutor) -> list[Case]:
    """Play all loads on so many cores."""
    ours = {load: workers.submit(play_ours, load, cpus, seed=SEED) for load in LOADS}
    others = {
        load: {name: workers.submit(play, load, cpus, name, seed=SEED) for name in OTHERS} for load in LOADS
    }
    return [
        Case(load, {name: play.result() for name, play in others[load].items()}, ours[load].result())
        for load in LOADS
    ]


def by_contestant(cases: list[Case]) -> list[Sequence[str]]:
    """Return the table of contestants."""
    head = ("contestant", "p99 response", "worst", "makespan", "killed", "s over memory", "probe s")
    rows = [
        (
            each.contestant, f"{each.response:.2f}", f"{each.worst_response:.2f}", f"{each.makespan:.2f}",
            f"{each.kills}", f"{each.over:.0f}", f"{each.probe:.2f}",
        )
        for each in summaries(cases)
    ]  # fmt: skip
    return [head, *rows]


def by_load(cases: list[Case]) -> list[Sequence[str]]:
    """Return the table of our plays: of jobs that never ran, and (again) of jobs seen before."""
    head = (
        "load", "know-all s", "ours s", "ratio", "again", "makespan", "again", "peak", "killed", "probe s",
        "settled s", "reversals", "most at once",
    )  # fmt: skip
    rows = []
    for case in cases:
        first, again = case.ours.first, case.ours.again
        rows.append(
            (
                case.load, f"{case.know_all.response99:.2f}", f"{first.response99:.2f}",
                f"{first.response99 / case.know_all.response99:.2f}",
                f"{again.response99 / case.know_all.response99:.2f}",
                f"{first.makespan / case.best_fixed.makespan:.2f}",
                f"{again.makespan / case.best_fixed.makespan:.2f}",
                f"{first.peak:.0%}", f"{first.kills + again.kills}",
                "-" if first.probe99 is None else f"{first.probe99:.2f}",
                "-" if first.reversals is None else f"{case.settled(first):.1f}",
                "-" if first.reversals is None else f"{first.reversals}",
                f"{first.most_running}",
            )
        )  # fmt: skip
    return [head, *rows]


def by_needs(cases: list[Case]) -> list[Sequence[str]]:
    """Return what wrong needs of memory do; there is no aim for it."""
    head = ("load", "half: ratio", "peak", "killed", "double: ratio", "peak", "killed")
    rows: list[Sequence[str]] = []
    for case in cases:
        half, double = case.ours.half_needs, case.ours.double_needs
        if max(half.peak, double.peak, case.ours.again.peak) < 0.5:
            continue  # it is not short of memory
        cells = [
            (f"{each.response99 / case.know_all.response99:.2f}", f"{each.peak:.0%}", f"{each.kills}")
            for each in (half, double)
        ]
        rows.append((case.load, *cells[0], *cells[1]))
    return [head, *rows]


def by_credit(cpus: int, workers: ProcessPoolExecutor) -> list[Sequence[str]]:
    """Return what comes of looks at the machine that are good for a longer or shorter time."""
    plays = {
        settle_ms: workers.submit(play_credit, cpus, int(settle_ms * 1e6), seed=SEED)
        for settle_ms in CREDITS_MS
    }
    rows = []
    for settle_ms, played in plays.items():
        looks, outcome = played.result()
        name = f"{settle_ms:g} ms" if settle_ms >= 1 else "each start has one"
        rows.append((name, f"{looks:.2f}", f"{outcome.response99:.2f}", f"{outcome.makespan:.2f}"))
    return [("a look is good for", "looks a start", "p99 response s", "makespan s"), *rows]


def by_aim(aims: list[Aim]) -> list[Sequence[str]]:
    """Return the table of aims."""
    rows = [(each.words, f"{each.value:.2f}", each.text, each.mark, each.where) for each in aims]
    return [("aim", "figure", "should be", "", "load"), *rows]


def measure(quick: bool) -> None:
    """Play on each number of cores."""
    missed = 0
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        for cpus in (2,) if quick else SIZES:
            cases = play_all(cpus, workers)
            aims = judge(cases)
            missed += sum(not aim.is_met for aim in aims)
            on = f"{cpus} core{'s' if cpus > 1 else ''}"
            print_report(
                f"{on}: {len(LOADS)} loads, means; ratios to the know-all and to the best fixed pool",
                by_contestant(cases),
                [],
            )
            print_report(f"{on}: taskman by load", by_load(cases), [])
            print_report(f"{on}: taskman with needs of memory that are wrong (no aim)", by_needs(cases), [])
            credit = by_credit(cpus, workers)
            print_report(
                f"{on}: a burst of tiny commands, and how often the machine is looked at",
                credit,
                [],
            )
            figures = [Figure(f"scaling.{cpus}.{aim.name}", aim.value, aim.text) for aim in aims]
            print_report(f"{on}: aims", by_aim(aims), figures)
    print(f"{missed} aims missed" if missed else "all aims met")


if __name__ == "__main__":
    main(measure, __doc__, needs_quiet=False)

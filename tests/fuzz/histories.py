"""Plays histories of the scheduler in which every job has all rules of the pool, and everything dies.

    python tests/fuzz/histories.py [--seeds N] [--first N]

Each history has jobs with resources, rates, `only_if`, `max_failures` and priorities, under the gate of
`admission = "auto"`; the scheduler, its supervisor and the machine crash again and again. Each slot has one
end, no attempt is started twice, no resource is given out twice: see `unit/simulation.py`. The end says in
how many histories each rule was met. A failure prints its seed: `--first SEED --seeds 1` plays it again.
Ctrl-C ends it with what there was so far.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from unit.simulation import Machine, Unlawful, play

from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.model import GATE, SkipReason


def met(machine: Machine) -> set[str]:
    """Name the rules that a history has met."""
    disk = machine.disk
    attempts = [attempt for run in disk.runs.values() for attempt in run.attempts.values()]
    tasks = {task for run in disk.runs.values() for task, _ in run.attempts}
    skips = {skip.reason for skip in disk.skips}
    found = {
        "a crash": machine.crashes > 0,
        "resources held": any(attempt.holds for attempt in attempts),
        "only_if": GATE in tasks,
        "skipped by only_if": SkipReason.ONLY_IF in skips,
        "parked": SkipReason.PARKED in skips or any(one.failures for one in disk.jobs.values()),
        "skipped as parked": SkipReason.PARKED in skips,
        "given up as late": SkipReason.LATE in skips,
        "memory learned": bool(disk.needs),
        "the clock was set": machine.stepped,
        "the ledger was lost": machine.replaced,
    }
    return {name for name, is_so in found.items() if is_so}


class Totals:
    """What there was in all histories so far."""

    def __init__(self) -> None:
        self.played = self.failures = self.runs = self.crashes = 0
        self.met: Counter[str] = Counter()

    def play(self, seed: int) -> None:
        """Play one more."""
        try:
            machine = play(seed, has_all=True)
        except (Exception, Unlawful, EngineBroken) as error:
            self.failures += 1
            print(f"--first {seed} --seeds 1 plays it again: {type(error).__name__}: {error}", flush=True)
        else:
            self.met.update(met(machine))
            self.runs += len(machine.disk.runs)
            self.crashes += machine.crashes
        self.played += 1


def main() -> int:
    """Play them; return 1 if one breaks a law."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    totals = Totals()
    with suppress(KeyboardInterrupt):  # then the end says what there was so far
        for seed in range(options.first, options.first + options.seeds):
            totals.play(seed)
    print(
        f"{totals.played} histories, {totals.runs:,} runs, {totals.crashes:,} crashes;"
        f" {totals.failures} broke a law"
    )
    for name, count in totals.met.most_common():
        print(f"{count:>8}  {name}")
    return 1 if totals.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""How many slots a second does `taskman simulate` play, and does its memory stay flat?

1,000 jobs are due every ten minutes; a week of them is a million slots. They come at all seconds, or all at
the full minutes, a hundred at a time. Each command takes the second that is assumed of it, on a model of two
cores. Each play is a command of its own, with all that a user waits for: the file is read, and the report
printed. A long one uses all cores; its CPU time is that of all of them. The memory of a long play is compared
with that of a tenth of it: that of the largest of its processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from harness import BenchmarkError, Figure, child_environment, main, print_report
from taskman import work_directory

if TYPE_CHECKING:
    from pathlib import Path

JOBS, EVERY_MINUTES = 1_000, 10
WEEK_SLOTS = JOBS * 7 * 24 * 60 // EVERY_MINUTES
#: A million slots in under a minute.
SPEED_AIM = ">= 16667"
MEMORY_AIM = "<= 1.1"


class Played(NamedTuple):
    """What one play took."""

    slots: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def slots_a_second(self) -> float:
        """Return how fast it was."""
        return self.slots / self.wall_s


def write_jobs(admission: str, shape: str) -> str:
    """Return the text of the job file; `shape`: when jobs are due, "spread" or "minutes"."""
    tables = [f'[taskman]\ntimezone = "UTC"\n\n[pool]\nadmission = "{admission}"\nmax_workers = 64\n']
    for number in range(JOBS):
        # A number of seconds that shares no factor with 600, so that all seconds have some.
        second = number * 7 % (EVERY_MINUTES * 60) if shape == "spread" else number % EVERY_MINUTES * 60
        expression = f"{second % 60} {second // 60}-59/{EVERY_MINUTES} * * * *"
        tables.append(f'[jobs.job-{number}]\ncron = "{expression}"\ncommand = "/usr/bin/process {number}"\n')
    return "\n".join(tables)


def play(path: Path, slots: int) -> Played:
    """Play as long as so many slots take."""
    minutes = slots * EVERY_MINUTES // JOBS
    command = [
        sys.executable, "-m", "taskman_cli", "simulate", str(path), "--from", "2026-01-05T00:00Z",
        "--for", f"{minutes}m", "--cores", "2", "--runs", "none", "--json",
    ]  # fmt: skip
    report = path.with_suffix(".json")
    with report.open("wb") as out:
        begun = time.perf_counter()
        child = subprocess.Popen(command, env=child_environment(), stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise BenchmarkError(f"{' '.join(command)} exited {child.returncode}")
    done = count_slots(json.loads(report.read_text())["simulations"][0])
    if not 0.99 * slots <= done <= 1.01 * slots:
        raise BenchmarkError(f"{done:,} slots were played, and not {slots:,}")
    return Played(done, wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def count_slots(simulation: dict[str, object]) -> int:
    """Return how many slots a simulation decided on: they have a run, or were skipped."""
    runs, skips, unfinished = (simulation[name] for name in ("runs", "skips", "unfinished"))
    assert isinstance(runs, dict)
    assert isinstance(skips, dict)
    assert isinstance(unfinished, int)
    return int(sum(runs.values()) + sum(skips.values()) + unfinished)


def measure(quick: bool) -> None:
    """Play a week and a tenth of it, or with `quick` a tenth and a hundredth."""
    most = WEEK_SLOTS // 10 if quick else WEEK_SLOTS
    table = [("admission, due at", "slots", "slots/s", "s", "CPU s", "CPU µs a slot", "peak MB")]
    figures = []
    with work_directory() as directory:
        path = directory / "jobs.toml"
        for admission, shape in (("auto", "spread"), ("fixed", "spread"), ("auto", "minutes")):
            path.write_text(write_jobs(admission, shape))
            # A herd at every minute is asked about again and again: a tenth shows what it costs.
            sizes = (most // 10, most) if shape == "spread" else (most // 10,)
            played = [play(path, slots) for slots in sizes]
            for one in played:
                cells = (
                    f"{one.slots:,}",
                    f"{one.slots_a_second:,.0f}",
                    f"{one.wall_s:.1f}",
                    f"{one.cpu_s:.1f}",
                )
                a_slot_us = one.cpu_s / one.slots * 1e6
                table.append((f"{admission}, {shape}", *cells, f"{a_slot_us:.0f}", f"{one.peak_mb:.0f}"))
            name, last = f"{admission}_{shape}", played[-1]
            figures.append(Figure(f"simulate.slots_a_second_{name}", last.slots_a_second, SPEED_AIM))
            if len(played) > 1:
                grown = last.peak_mb / played[0].peak_mb
                figures.append(Figure(f"simulate.memory_{name}", grown, MEMORY_AIM))
    print_report(f"plays of {JOBS:,} jobs, each every {EVERY_MINUTES} minutes", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

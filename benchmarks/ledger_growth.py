"""Do commands and a start take longer when the ledger has a million runs, and does its upkeep delay starts?

The floor is the same with a thousand runs; both ledgers know 2,000 jobs, which the job file defines. Then
what is not kept any more is removed, a step between two turns of the loop: how long does a step take?

TASKMAN_BENCH_RUNS=10000000 makes that many runs; it takes minutes, and three gigabytes.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    ROOT,
    BenchmarkError,
    Figure,
    child_environment,
    in_turn,
    main,
    paired_ratio,
    print_report,
    wait_until,
)
from ledger_rows import CRON, ZONE, job_names, make_ledger
from many_jobs import elapsed_s, is_up
from taskman import job, work_directory

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS, FEW = 2_000, 1_000
JOB = "job-0005"
AIM, STEP_AIM_MS = "<= 1.5", "<= 20"
COMMANDS = {
    "history": ("history", "-n", "20"),
    "history JOB": ("history", JOB),
    "history --state lost": ("history", "--state", "lost"),
    "why": ("why", JOB),
    "log": ("log", JOB),
}
#: What is kept of each job while the steps are measured; steps of more than this many are not waited for.
KEPT_SHARE, MOST_STEPS = 0.8, 3_000


def environment() -> dict[str, str]:
    """Return the environment of commands of this checkout."""
    return child_environment(PYTHONPATH=str(ROOT))


def command(*words: str, state: Path) -> None:
    """Run a command, its output dropped; it may find nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", *words, "--state-dir", str(state)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1, 4):
        raise BenchmarkError(f"taskman {' '.join(words)} exited {done.returncode}: {done.stderr[-300:]!r}")


class Starts:
    """Starts a scheduler on a ledger; what follows is measured while it runs."""

    def __init__(self, jobs: Path) -> None:
        self._jobs = jobs
        self.lists_s: dict[Path, list[float]] = {}

    def measure(self, state: Path) -> float:
        """Return how long a start takes until the scheduler answers; time `list` meanwhile."""
        words = ["run", str(self._jobs), "--no-live", "--log-level", "error", "--state-dir", str(state)]
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "taskman_cli", *words], env=environment())
        try:
            place = state / "taskman.sock"
            wait_until(lambda: is_up(place), timeout_s=600, what="the scheduler's answer")
            taken_s = time.perf_counter() - begun
            listing = elapsed_s(lambda: command("list", "--json", state=state))
            self.lists_s.setdefault(state, []).append(listing)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        return taken_s


def measure_commands(few: Path, many: Path, jobs: Path, rounds: int, runs: int) -> None:
    """Measure each command with few runs and with many, in turn."""
    starts = Starts(jobs)
    # The first start of a ledger that is new to its scheduler is not measured.
    for state in (few, many):
        starts.measure(state)
    starts.lists_s.clear()
    contestants: dict[str, Callable[[], float]] = {}
    for name, words in COMMANDS.items():
        for state in (few, many):
            contestants[f"{name} {state.name}"] = partial(elapsed_s, partial(command, *words, state=state))
    for state in (few, many):
        contestants[f"start {state.name}"] = partial(starts.measure, state)
    measured = in_turn(rounds, contestants)
    for state in (few, many):
        measured[f"list {state.name}"] = starts.lists_s[state]
    table = [("", f"{FEW:,} runs s", f"{runs:,} runs s", "ratio")]
    figures = []
    for name in (*COMMANDS, "start", "list"):
        values = [measured[f"{name} {state.name}"] for state in (many, few)]
        ratio = paired_ratio(*values)
        seconds = [f"{statistics.median(one):.3f}" for one in reversed(values)]
        table.append((name, *seconds, f"{ratio:.2f}"))
        figures.append(Figure(f"ledger_growth.{name.replace(' ', '_')}", ratio, AIM))
    print_report(f"a ledger of {FEW:,} and of {runs:,} runs, {JOBS:,} jobs; aim: {AIM}", table, figures)


def measure_upkeep(state: Path, runs: int) -> None:
    """Measure the steps that remove what is not kept any more."""
    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import Settings
    from taskman_cli.ledger.ledger import Ledger

    now = Now(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    ledger = Ledger(state, Settings(), supervisor=2, now=now)
    kept = max(1, round(runs / JOBS * KEPT_SHARE))
    for name in job_names(JOBS):
        ledger.note_kept(name, keep_runs=kept, keep_for_ns=None)
    steps_ms, used_ms = [], []
    while ledger.has_chores and len(steps_ms) < MOST_STEPS:
        before_s = time.thread_time()
        steps_ms.append(elapsed_s(lambda: ledger.tidy(now.wall_ns)) * 1000)
        used_ms.append((time.thread_time() - before_s) * 1000)
    ledger.close()
    table = [(f"{len(steps_ms):,} steps", "median ms", "p99 ms", "max ms")]
    for what, values in (("elapsed", steps_ms), ("processor", used_ms)):
        values.sort()
        points = (statistics.median(values), values[len(values) * 99 // 100], values[-1])
        table.append((what, *(f"{point:.2f}" for point in points)))
    figure = Figure("ledger_growth.step_max_ms", steps_ms[-1], STEP_AIM_MS)
    print_report("what is not kept any more is removed: a step", table, [figure])


def measure(quick: bool) -> None:
    """Make both ledgers, and measure."""
    runs = int(os.environ.get("TASKMAN_BENCH_RUNS", "100000" if quick else "1000000"))
    with work_directory() as directory:
        jobs, few, many = directory / "jobs.toml", directory / "few", directory / "many"
        jobs.write_text(
            "".join(job(name, command="true", cron=CRON, timezone=ZONE) for name in job_names(JOBS))
        )
        for state, count in ((few, FEW), (many, runs)):
            path = make_ledger(state, count, last_ns=time.time_ns(), jobs=JOBS)
        size = path.stat().st_size / runs
        measure_commands(few, many, jobs, 3 if quick else 7, runs)
        print_report(
            "on disk", [("bytes a run",), (f"{size:.0f}",)], [Figure("ledger_growth.bytes_a_run", size)]
        )
        measure_upkeep(many, runs)


if __name__ == "__main__":
    main(measure, __doc__)

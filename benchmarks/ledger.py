"""What does the ledger cost, and does it stay fast when it is large?

Starts a second of `true` through the whole daemon, four wide, with the ledger against the same daemon whose
writes do nothing; how long a commit takes during that; and how long `history`, `why` and a start take with a
million recorded runs, from a wheel installed into a fresh environment.
"""

from __future__ import annotations

import statistics
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    BenchmarkError,
    Figure,
    compile_c,
    in_turn,
    main,
    paired_ratio,
    print_report,
    read_stamps,
    slot_in,
)
from ledger_rows import RARE, make_ledger
from startup import install, timed
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 4
AIM = ">= 0.9"
AIM_S = "<= 0.3"
LOAD_RATE = 1000
INJECT = Path(__file__).with_name("inject")


class Rates:
    """The contestants: each method runs one burst and returns its starts per second."""

    def __init__(self, count: int) -> None:
        self._count = count
        #: How long each commit took, in nanoseconds, of all bursts.
        self.commits_ns: list[int] = []

    def without(self) -> float:
        with work_directory() as directory:
            return self._burst(directory, "off")

    def ours(self) -> float:
        with work_directory() as directory:
            times = directory / "times"
            rate = self._burst(directory, f"times:{times}")
            content = times.read_bytes()
            self.commits_ns += [value for (value,) in struct.iter_unpack("=q", content)]
            return rate

    def _burst(self, directory: Path, what: str) -> float:
        slot_ns = slot_in(2 + self._count / LOAD_RATE)
        first, last = directory / "first", directory / "last"
        stamp = str(compile_c("stamp"))
        text = f'[pool]\nadmission = "fixed"\nmax_workers = {WIDTH}\n'
        text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
        text += job("first", at_ns=slot_ns, command=[stamp, str(first)], priority=10)
        for number in range(self._count):
            text += job(f"job-{number}", at_ns=slot_ns, command=["/bin/true"])
        text += job("last", at_ns=slot_ns, command=[stamp, str(last)], priority=-10)
        with Taskman(directory, text, PYTHONPATH=str(INJECT), TASKMAN_BENCH_LEDGER=what) as taskman:
            taskman.wait_until(lambda: bool(read_stamps(last)), timeout_s=120, what="the last start")
        (first_ns,), (last_ns,) = read_stamps(first), read_stamps(last)
        if first_ns - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        return (self._count + 1) / ((last_ns - first_ns) / 1e9)


def measure(quick: bool) -> None:
    """Measure the cost of writing, then the speed of a large ledger."""
    measure_cost(quick)
    measure_size(quick)


def measure_cost(quick: bool) -> None:
    """Measure starts with and without the ledger, in turn."""
    count, rounds = (1000, 3) if quick else (2000, 5)
    rates = Rates(count)
    measured = in_turn(rounds, {"without": rates.without, "ours": rates.ours})
    ratio = paired_ratio(measured["ours"], measured["without"])
    commits_us = sorted(value / 1000 for value in rates.commits_ns)
    table = [
        ("", "without", "with", "ratio"),
        ("starts per second", *(f"{statistics.median(measured[name]):.0f}" for name in ("without", "ours")),
         f"{ratio:.2f}"),
    ]  # fmt: skip
    print_report(
        f"starts per second with and without the ledger; aim: ratio {AIM}",
        table,
        [Figure("ledger.starts", ratio, AIM)],
    )
    points = [statistics.median(commits_us), commits_us[len(commits_us) * 99 // 100], commits_us[-1]]
    table = [("commits", "median µs", "p99 µs", "max µs")]
    table.append((f"{len(commits_us)}", *(f"{point:.0f}" for point in points)))
    print_report("a commit under that load", table, [])


def measure_size(quick: bool) -> None:
    """Measure what reads a ledger of a million runs."""
    runs, rounds = (100_000, 3) if quick else (1_000_000, 5)
    with work_directory() as directory:
        state = directory / "state"
        make_ledger(state, runs, last_ns=time.time_ns())
        programs = install(directory)
        jobs = directory / "jobs.toml"
        jobs.write_text('[jobs.past]\nat = 2020-01-01T00:00:00Z\ncommand = ["true"]\n')
        taskman = [str(programs / "taskman")]
        where = ["--state-dir", str(state)]
        once = [str(jobs), "--until-idle", "--log-level", "error"]
        contestants = {
            "history": timed([*taskman, "history", *where, "-n", "20"]),
            "history JOB": timed([*taskman, "history", *where, RARE]),
            "why JOB": timed([*taskman, "why", *where, RARE]),
            "start and stop": timed([*taskman, "run", *where, *once]),
            "the same, no ledger yet": _fresh_start(taskman, directory, once),
        }
        measured = in_turn(rounds, contestants)
    table = [("with that many runs", "seconds")]
    figures = []
    for name, times_ms in measured.items():
        seconds = statistics.median(times_ms) / 1000
        table.append((name, f"{seconds:.3f}"))
        if not name.startswith("the same"):
            figures.append(Figure(f"ledger.{name.replace(' ', '_')}_s", seconds, AIM_S))
    print_report(f"a ledger of {runs:,} runs; aim: {AIM_S} s", table, figures)


def _fresh_start(taskman: list[str], directory: Path, once: list[str]) -> Callable[[], float]:
    """Return what starts and stops a taskman whose state directory is new each time."""
    made = iter(range(1000))

    def run() -> float:
        where = ["--state-dir", str(directory / f"fresh-{next(made)}")]
        return timed([*taskman, "run", *where, *once])()

    return run


if __name__ == "__main__":
    main(measure, __doc__)

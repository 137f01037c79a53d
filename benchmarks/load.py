"""How long does it take to load and arm 10,000 and 100,000 jobs, and how many bytes is a job?

A fresh process reads a job file, makes the jobs and arms each for its next slot in the engine; the floor is a
fresh process that only does `tomllib.load` of the same file. Both measure their own time from the call to its
return, without imports, and the growth of their own memory after garbage collection. Every job has its own
command; there are about two hundred different expressions, as in practice.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

from harness import Figure, in_turn, json_of, main, paired_ratio, print_report
from taskman import work_directory

#: What runs in the fresh processes.
LOAD_ONCE = Path(__file__).with_name("load_once.py")
TIME_AIM = "<= 1.4"
BYTES_AIM = "<= 1126"
#: Distinct cron expressions in the file.
EXPRESSIONS = 208


def write_jobs(count: int) -> str:
    """Return the text of a job file with `count` jobs."""
    expressions = [f"{number * 7 % 60} {number // 60 * 5} * * *" for number in range(EXPRESSIONS - 8)]
    expressions += [f"*/{minutes} * * * *" for minutes in (2, 3, 5, 10, 15, 20, 30, 45)]
    tables = (
        f'[jobs.job-{number}]\ncron = "{expressions[number % EXPRESSIONS]}"\n'
        f'command = "/usr/bin/process --shard {number}"\n'
        for number in range(count)
    )
    return "\n".join(tables)


def measure(quick: bool) -> None:
    """Measure both sizes, floor and ours in turn, each in a process of its own."""
    plan = {10_000: 3} if quick else {10_000: 7, 100_000: 3}
    table = [("jobs", "tomllib s", "taskman s", "ratio", "CPU ratio", "tomllib B/job", "taskman B/job")]
    figures = []
    for count, rounds in plan.items():
        with work_directory() as directory:
            path = directory / "jobs.toml"
            path.write_text(write_jobs(count))
            bytes_a_job: dict[str, list[float]] = {"tomllib": [], "taskman": []}
            cpu_s: dict[str, list[float]] = {"tomllib": [], "taskman": []}

            def load(
                way: str, path: Path = path, kept: dict[str, list[float]] = bytes_a_job,
                used: dict[str, list[float]] = cpu_s,
            ) -> float:  # fmt: skip
                taken = json_of([sys.executable, LOAD_ONCE, way, path])
                kept[way].append(taken["bytes"] / taken["jobs"])
                used[way].append(taken["cpu_s"])
                return taken["s"]

            measured = in_turn(rounds, {way: partial(load, way) for way in bytes_a_job})
        ratio = paired_ratio(measured["taskman"], measured["tomllib"])
        cpu_ratio = paired_ratio(cpu_s["taskman"], cpu_s["tomllib"])
        seconds = {way: statistics.median(values) for way, values in measured.items()}
        held = {way: statistics.median(values) for way, values in bytes_a_job.items()}
        table.append(
            (
                f"{count:,}",
                f"{seconds['tomllib']:.3f}",
                f"{seconds['taskman']:.3f}",
                f"{ratio:.2f}",
                f"{cpu_ratio:.2f}",
                f"{held['tomllib']:.0f}",
                f"{held['taskman']:.0f}",
            )
        )
        figures.append(Figure(f"load.time_{count}", ratio, TIME_AIM))
        figures.append(Figure(f"load.cpu_{count}", cpu_ratio, TIME_AIM))
        figures.append(Figure(f"load.bytes_a_job_{count}", held["taskman"], BYTES_AIM))
    print_report(f"load and arm; aim: ratio {TIME_AIM}, bytes a job {BYTES_AIM}", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

"""How long do check, start, reload and list take with 100,000 jobs, and does a reload delay starts?

The floor is a fresh process that only does `tomllib.load` of the same file. A reload changes one job; while
it goes on, a command is due twenty times a second, and the ledger says how late each began. The memory is
that of the scheduler once all jobs are armed.

With TASKMAN_BENCH_BASE=DIR, another checkout is measured in turn with this one.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import ROOT, BenchmarkError, Figure, child_environment, main, paired_ratio, print_report
from load import write_jobs
from procfs import read_memory
from taskman import Taskman, work_directory

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of the process that only parses the file.
AIMS = {"check": "<= 1.4", "up": "<= 2", "reload": "<= 2.5", "list": ""}
LATE_AIM_MS = "<= 20"
PROBE = '[jobs.probe]\nevery = "50ms"\ncommand = ["/bin/true"]\noverlap = "allow"\nkeep_runs = 100000\n'
CHANGED = '--shard 7"\n'
_TOML = "import sys, tomllib; tomllib.load(open(sys.argv[1], 'rb'))"


class Round(NamedTuple):
    """What was measured of one checkout, in seconds, milliseconds and megabytes."""

    check: float
    up: float
    reload: float
    list: float
    late_ms: float
    #: The latest start in as long a time before the reload.
    usual_ms: float
    cpu_s: float
    memory_mb: float


def write_idle_jobs(count: int) -> str:
    """Return a job file whose commands exist, and are due in January only."""
    return write_jobs(count).replace(' * * *"', ' 1 1 *"').replace("/usr/bin/process", "/bin/true")


def elapsed_s(what: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def command(*words: str, tree: Path, state: Path) -> None:
    """Run a command of a checkout, its output dropped."""
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", *words],
        env=child_environment(PYTHONPATH=str(tree), STATE_DIRECTORY=str(state)),
        cwd=state.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"taskman {' '.join(words)} exited {done.returncode}: {done.stderr[-300:]!r}")


def ask(place: Path, request: dict[str, object]) -> dict[str, object]:
    """Send a request over the control socket, and return the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(120)
        sock.connect(str(place))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as lines:
            answer: dict[str, object] = json.loads(lines.readline())
    if not answer.get("ok"):
        raise BenchmarkError(f"{request} is refused: {answer}")
    return answer


def is_up(place: Path) -> bool:
    """Tell whether the scheduler answers."""
    try:
        return bool(ask(place, {"do": "status"}))
    except OSError:
        return False


def measure_tree(tree: Path, count: int) -> Round:
    """Measure one checkout once."""
    with work_directory() as directory:
        text = write_idle_jobs(count) + PROBE
        path, state = directory / "jobs.toml", directory / "state"
        path.write_text(text)
        check_s = elapsed_s(lambda: command("check", str(path), tree=tree, state=state))
        place = state / "taskman.sock"
        begun = time.perf_counter()
        with Taskman(directory, text, log_level="error", PYTHONPATH=str(tree)) as taskman:
            taskman.wait_until(lambda: is_up(place), timeout_s=120, what="the scheduler's answer")
            up_s = time.perf_counter() - begun
            memory = read_memory(taskman.scheduler_pid).pss_bytes
            time.sleep(3)
            path.write_text(text.replace(CHANGED, '--shard seven"\n'))
            before, begun_ns = taskman.usage(), time.time_ns()
            answer: dict[str, object] = {}
            reload_s = elapsed_s(lambda: answer.update(ask(place, {"do": "reload"})))
            used, ended_ns = taskman.usage() - before, time.time_ns()
            if answer["changed"] != ["job-7"]:
                raise BenchmarkError(f"the reload was to change one job: {str(answer)[:200]}")
            time.sleep(0.5)
            list_s = elapsed_s(lambda: command("list", "--json", tree=tree, state=state))
            late = lateness_ms(state / "ledger.db", begun_ns, ended_ns + 200_000_000)
            earlier_ns = max(begun_ns - (ended_ns - begun_ns), begun_ns - 3_000_000_000)
            usual = lateness_ms(state / "ledger.db", earlier_ns, begun_ns)
        return Round(check_s, up_s, reload_s, list_s, max(late), max(usual), used.cpu_ns / 1e9, memory / 1e6)


def lateness_ms(ledger: Path, begun_ns: int, ended_ns: int) -> list[float]:
    """Return how late the runs of the probe began whose slots are between two instants."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT slot_ns, min(started_ns) FROM runs JOIN attempts ON run = runs.id"
            " WHERE slot_ns BETWEEN ? AND ? GROUP BY runs.id",
            (begun_ns, ended_ns),
        ).fetchall()
    late = [(started_ns - slot_ns) / 1e6 for slot_ns, started_ns in rows if started_ns is not None]
    if not late:
        raise BenchmarkError("the probe did not run")
    return late


def measure(quick: bool) -> None:
    """Measure the floor and each checkout in turn."""
    trees = {"taskman": ROOT}
    if base := os.environ.get("TASKMAN_BENCH_BASE"):
        trees["base"] = Path(base)
    for count, rounds in ({10_000: 3} if quick else {10_000: 5, 100_000: 5}).items():
        floor: list[float] = []
        found: dict[str, list[Round]] = {name: [] for name in trees}
        for _ in range(rounds):
            with work_directory() as directory:
                path = directory / "jobs.toml"
                path.write_text(write_idle_jobs(count))
                load = [sys.executable, "-c", _TOML, str(path)]
                floor.append(elapsed_s(lambda load=load: subprocess.run(load, check=True)))
            for name, tree in trees.items():
                found[name].append(measure_tree(tree, count))
        report(count, floor, found)


def report(count: int, floor: list[float], found: dict[str, list[Round]]) -> None:
    """Print the medians, and ratios to the floor and to the other checkout."""
    table = [("", "check s", "up s", "reload s", "list s", "late ms", "usual ms", "CPU s", "MB")]
    for name, rounds in found.items():
        table.append((name, *(f"{statistics.median(values):.2f}" for values in zip(*rounds, strict=True))))
    table.append(("tomllib", f"{statistics.median(floor):.2f}", *[""] * 7))
    figures = []
    for place, (what, aim) in enumerate(AIMS.items()):
        ratio = paired_ratio([one[place] for one in found["taskman"]], floor)
        figures.append(Figure(f"many_jobs.{what}_{count}", ratio, aim))
        if "base" in found:
            ratio = paired_ratio(
                [one[place] for one in found["taskman"]], [one[place] for one in found["base"]]
            )
            figures.append(Figure(f"many_jobs.{what}_{count}_to_base", ratio))
    late_ms = statistics.median(one.late_ms for one in found["taskman"])
    figures.append(Figure(f"many_jobs.late_ms_{count}", late_ms, LATE_AIM_MS))
    memory = statistics.median(one.memory_mb for one in found["taskman"])
    figures.append(Figure(f"many_jobs.memory_mb_{count}", memory))
    print_report(f"{count:,} jobs; late: the latest start during a reload, usual: before it", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

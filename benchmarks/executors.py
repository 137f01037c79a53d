"""How many calls of a function a second does `type = "python"` begin, against commands of a shell?

As in starts.py: thousands of one-off jobs are due at the same time, four run at once, and jobs of the highest
and lowest priority stamp the first start and the last. Both run in the whole program, in turn: `sh -c :` as a
command, and a function that does nothing, called in warm workers.

With the package distributed, also `sh -c :` on a Dask cluster of two workers on this machine, with TLS,
beside the same here, both sixteen wide: what a cluster costs, on cores that it shares with taskman.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from taskman import Taskman, at, count_successes, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 4
AIM = ">= 3"
#: With a cluster, more have to be on their way at the same time.
FAR_WIDTH = 16
FAR_AIM = ">= 200"
#: Jobs a second that can certainly be loaded before their slot.
LOAD_RATE = 1000
FUNCTIONS = """
def nothing():
    pass
"""


class Rates:
    """The contestants: each method runs one burst and returns its starts per second."""

    def __init__(self, count: int, *, width: int = WIDTH) -> None:
        self._count = count
        self._width = width

    def shell(self) -> float:
        return self._burst("", lambda name, slot_ns: job(name, at_ns=slot_ns, command=":"))

    def python(self) -> float:
        def call(name: str, slot_ns: int) -> str:
            where = json.dumps("functions.py:nothing")
            return f'[jobs.{name}]\nexecutor = "py"\ncall = {where}\nat = {at(slot_ns)}\n'

        table = '[executors.py]\ntype = "python"\nmax_calls = 1000000\n'
        # So that the workers are there; the time that they take to start is that of any program.
        warm = "".join(
            f'[jobs.warm-{number}]\nexecutor = "py"\ncall = "time:sleep"\nargs = [0.5]\n'
            'every = "24h"\nrun_on_start = true\n'
            for number in range(WIDTH)
        )
        return self._burst(table + warm, call, extra=WIDTH)

    def dask(self, cluster: Any) -> float:
        def command(name: str, slot_ns: int) -> str:
            return f'[jobs.{name}]\nexecutor = "farm"\ncommand = ":"\nat = {at(slot_ns)}\n'

        # The first command has the workers load what they need.
        warm = '[jobs.warm]\nexecutor = "farm"\ncommand = ":"\nevery = "24h"\nrun_on_start = true\n'
        return self._burst(f"[executors.farm]\n{cluster.table}{warm}", command, extra=1)

    def _burst(self, text: str, job_of: Callable[[str, int], str], *, extra: int = 0) -> float:
        with work_directory() as directory:
            slot_ns = slot_in(4 + self._count / LOAD_RATE)
            first, last = directory / "first", directory / "last"
            (directory / "functions.py").write_text(FUNCTIONS)
            text += f'[pool]\nadmission = "fixed"\nmax_workers = {self._width}\n'
            text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
            text += self._stamping("first", first, slot_ns, priority=10)
            text += "".join(job_of(f"job-{number}", slot_ns) for number in range(self._count))
            text += self._stamping("last", last, slot_ns, priority=-10)
            with Taskman(directory, text) as taskman:
                taskman.wait_until(lambda: bool(read_stamps(first)), timeout_s=60, what="the first start")
                taskman.wait_until(lambda: bool(read_stamps(last)), timeout_s=120, what="the last start")
                taskman.wait_until(
                    lambda: count_successes(taskman.log_lines()) == self._count + 2 + extra,
                    timeout_s=10,
                    what="every run to end well",
                )
            (first_ns,), (last_ns,) = read_stamps(first), read_stamps(last)
        if first_ns - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        return (self._count + 1) / ((last_ns - first_ns) / 1e9)

    def _stamping(self, name: str, file: Path, slot_ns: int, *, priority: int) -> str:
        return job(name, at_ns=slot_ns, command=[str(compile_c("stamp")), str(file)], priority=priority)


def measure(quick: bool) -> None:
    """Measure both in turn."""
    count, rounds = (1000, 3) if quick else (2000, 5)
    rates = Rates(count)
    measured = in_turn(rounds, {"sh": rates.shell, "python": rates.python})
    ratio = paired_ratio(measured["python"], measured["sh"])
    shell, python = statistics.median(measured["sh"]), statistics.median(measured["python"])
    table = [("sh -c : /s", "python /s", "ratio"), (f"{shell:.0f}", f"{python:.0f}", f"{ratio:.2f}")]
    figures = [Figure("executors.python", ratio, AIM)]
    print_report(f"starts a second, {WIDTH} wide, {count} due at once; aim: {AIM}", table, figures)
    measure_cluster(count, rounds)


def measure_cluster(count: int, rounds: int) -> None:
    """Measure commands on a Dask cluster beside the same ones here, in turn."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from dask_cluster import DaskCluster, make_certificates, why_not

    if words := why_not():
        print(f"a Dask cluster is not measured: {words}")
        return
    rates = Rates(count, width=FAR_WIDTH)
    with tempfile.TemporaryDirectory() as name:
        cluster = DaskCluster(Path(name), tls=make_certificates(Path(name)))
        try:
            for worker in ("one", "two"):
                cluster.start_worker(worker)
            measured = in_turn(rounds, {"local": rates.shell, "dask": lambda: rates.dask(cluster)})
        finally:
            cluster.stop()
    ratio = paired_ratio(measured["dask"], measured["local"])
    here, there = statistics.median(measured["local"]), statistics.median(measured["dask"])
    table = [("local /s", "dask /s", "ratio"), (f"{here:.0f}", f"{there:.0f}", f"{ratio:.2f}")]
    figures = [Figure("executors.dask", there, FAR_AIM)]
    title = f"starts a second, {FAR_WIDTH} wide, {count} due at once, two workers here; aim: {FAR_AIM}"
    print_report(title, table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

"""How many short commands a second go through the whole daemon, against a C loop of the same width?

Thousands of one-off jobs are due at the same time and four run at once, or 64, with the settings that users
have: output captured, every run logged. The rate is taken from the first start to the last: jobs of the
highest and the lowest priority stamp those two moments. The floor is vfork + exec + wait in C, as wide;
for the echo it reads a pipe a command to the end, as we must. That is with `admission = "fixed"`; what the
default costs, which asks before each start whether the machine can bear one more, is given beside it, as the
ratio of the two rates.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from harness import (
    BenchmarkError,
    Figure,
    compile_c,
    in_turn,
    main,
    output_of,
    paired_ratio,
    print_report,
    read_stamps,
    slot_in,
)
from taskman import Taskman, count_successes, job, work_directory

#: How many run at once, and what the ratio to C is to be.
AIMS = {4: ">= 0.67", 64: ">= 0.72"}
AUTO_AIM = ">= 0.9"
#: Jobs a second that can certainly be loaded, or loaded and run once, before their slot.
LOAD_RATE = 1000
WARM_UP_RATE = 200


@dataclass(frozen=True, slots=True)
class Variant:
    """One command, as the job file says it and as the floor runs it."""

    name: str
    command: str | tuple[str, ...]
    floor: tuple[str, ...]
    floor_captures: bool = False
    #: "info" has a line a run, which the benchmark counts; "warning", as the default, leaves those out.
    log_level: str = "info"
    #: Let each job run once before the burst: its first output makes a directory, later ones only a file.
    warm_up: bool = False
    #: Measure `admission = "auto"` too.
    has_auto: bool = False
    width: int = 4


VARIANTS = (
    Variant("true_array", ("/bin/true",), ("/bin/true",), has_auto=True),
    Variant("true_not_logged", ("/bin/true",), ("/bin/true",), log_level="warning"),
    Variant("true_string", "/bin/true", ("/bin/true",)),
    Variant("true_array_64", ("/bin/true",), ("/bin/true",), has_auto=True, width=64),
    Variant("sh", ":", ("/bin/sh", "-c", ":"), has_auto=True),
    Variant("sh_64", ":", ("/bin/sh", "-c", ":"), has_auto=True, width=64),
    Variant("echo", ("/bin/echo", "hello"), ("/bin/echo", "hello"), floor_captures=True, warm_up=True),
    Variant("echo_first_run", ("/bin/echo", "hello"), ("/bin/echo", "hello"), floor_captures=True),
)


class Rates:
    """The contestants: each method runs one burst and returns its starts per second."""

    def __init__(self, variant: Variant, count: int) -> None:
        self._variant = variant
        self._count = count
        #: CPU time of our two processes a run, in microseconds, one a burst.
        self.cpu_us: list[float] = []

    def floor(self) -> float:
        mode = "capture" if self._variant.floor_captures else "inherit"
        elapsed_ns = output_of(
            [compile_c("burst"), mode, str(self._variant.width), str(self._count), "0", *self._variant.floor]
        ).split()[-1]
        return (self._count - 1) / (int(elapsed_ns) / 1e9)

    def fixed(self) -> float:
        return self._ours("fixed", self.cpu_us)

    def auto(self) -> float:
        return self._ours("auto", [])

    def _ours(self, admission: str, cpu_us: list[float]) -> float:
        with work_directory() as directory:
            warm_up = self._variant.warm_up
            slot_ns = slot_in(2 + self._count / (WARM_UP_RATE if warm_up else LOAD_RATE))
            first, last = directory / "first", directory / "last"
            stamp = str(compile_c("stamp"))
            text = f'[pool]\nadmission = "{admission}"\nmax_workers = {self._variant.width}\n'
            # Keeps the scheduler running after the burst, so that its CPU time can be read.
            text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
            text += job("first", at_ns=slot_ns, command=[stamp, str(first)], priority=10)
            for number in range(self._count):
                text += job(
                    f"job-{number}", at_ns=slot_ns, command=self._variant.command, run_on_start=warm_up
                )
            text += job("last", at_ns=slot_ns, command=[stamp, str(last)], priority=-10)
            with Taskman(directory, text, log_level=self._variant.log_level) as taskman:
                taskman.wait_until(lambda: bool(read_stamps(first)), timeout_s=60, what="the first start")
                # From the first run on: the time before is loading.
                before = taskman.usage()
                taskman.wait_until(lambda: bool(read_stamps(last)), timeout_s=120, what="the last start")
                used = taskman.usage() - before
                runs = self._count * (2 if warm_up else 1) + 2
                if self._variant.log_level == "info":
                    taskman.wait_until(
                        lambda: count_successes(taskman.log_lines()) == runs,
                        timeout_s=10,
                        what="every run to end well",
                    )
            (first_ns,), (last_ns,) = read_stamps(first), read_stamps(last)
        if first_ns - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        cpu_us.append(used.cpu_ns / 1000 / self._count)
        return (self._count + 1) / ((last_ns - first_ns) / 1e9)


def measure(quick: bool) -> None:
    """Measure every variant, floor and ours in turn."""
    count, rounds = (1000, 3) if quick else (2000, 5)
    table = [("command", "C /s", "taskman /s", "ratio", "own CPU µs/run", "auto / fixed")]
    figures = []
    for variant in VARIANTS:
        rates = Rates(variant, count)
        contestants = {"floor": rates.floor, "fixed": rates.fixed}
        if variant.has_auto:
            contestants["auto"] = rates.auto
        measured = in_turn(rounds, contestants)
        ratio = paired_ratio(measured["fixed"], measured["floor"])
        floor, ours = statistics.median(measured["floor"]), statistics.median(measured["fixed"])
        cpu_us = statistics.median(rates.cpu_us)
        row = [variant.name, f"{floor:.0f}", f"{ours:.0f}", f"{ratio:.2f}", f"{cpu_us:.0f}", ""]
        figures.append(Figure(f"starts.{variant.name}", ratio, AIMS[variant.width]))
        if variant.has_auto:
            cost = paired_ratio(measured["auto"], measured["fixed"])
            row[-1] = f"{cost:.2f}"
            figures.append(Figure(f"starts.{variant.name}_auto", cost, AUTO_AIM))
        table.append(tuple(row))
    print_report(
        f"starts a second, {count} due at once; aims: ratio {AIMS[4]} four wide and {AIMS[64]} 64 wide,"
        f" auto / fixed {AUTO_AIM}",
        table,
        figures,
    )


if __name__ == "__main__":
    main(measure, __doc__)

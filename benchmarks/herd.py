"""When 1,000 jobs are due in the same second, how long is it from the slot to the first start and the last?

Each command is a tiny C program whose first act is to stamp the time into a file. It is run through the
shell (`shell` forced) and as the same string where the shell can be left out. The floor is a C loop, 16
wide as our pool, that waits for the slot and starts the program through `sh -c`.

APScheduler with 16 threads, and cronstable, which knows no width, do the same beside us: a string through the
shell, and a list without one.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from functools import partial

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
    wait_until,
)
from peers import LEAD_S, install, running
from taskman import Taskman, job, work_directory

WIDTH = 16
COUNT = 1000
PEERS = ("APScheduler", "cronstable")
AIMS = {"shell": "<= 1.25", "direct": "<= 0.8"}
#: From the slot to the first start, in ms.
FIRST_AIM = "<= 6"


class Herds:
    """The contestants: each method runs one herd and returns the ms from its slot to its last start."""

    def __init__(self) -> None:
        self.medians_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.firsts_ms: defaultdict[str, list[float]] = defaultdict(list)

    def floor(self) -> float:
        with work_directory() as directory:
            stamps = directory / "stamps"
            slot_ns = slot_in(0.2)
            line = f"{compile_c('stamp')} {stamps}"
            output_of(
                [compile_c("burst"), "inherit", str(WIDTH), str(COUNT), str(slot_ns), "/bin/sh", "-c", line]
            )
            return self._last_ms("floor", slot_ns, read_stamps(stamps))

    def shell(self) -> float:
        return self._ours("shell", {"shell": "/bin/sh"})

    def direct(self) -> float:
        return self._ours("direct", {})

    def _ours(self, name: str, keys: dict[str, str]) -> float:
        with work_directory() as directory:
            stamps = directory / "stamps"
            slot_ns = slot_in(2.5)
            line = f"{compile_c('stamp')} {stamps}"
            text = f'[pool]\nadmission = "fixed"\nmax_workers = {WIDTH}\n'
            text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
            for number in range(COUNT):
                text += job(f"job-{number}", at_ns=slot_ns, command=line, **keys)
            with Taskman(directory, text) as taskman:
                taskman.wait_until(lambda: len(read_stamps(stamps)) == COUNT, timeout_s=60, what="all starts")
            return self._last_ms(name, slot_ns, read_stamps(stamps))

    def peer(self, name: str, way: str) -> float:
        """Run a herd with another scheduler."""
        with work_directory() as directory:
            stamps = directory / "stamps"
            slot_ns = slot_in(LEAD_S[name])
            words = [str(compile_c("stamp")), str(stamps)]
            command = " ".join(words) if way == "shell" else words
            with running(name, directory, command, count=COUNT, width=WIDTH, slot_ns=slot_ns):
                wait_until(
                    lambda: len(read_stamps(stamps)) == COUNT, timeout_s=60, what=f"all starts of {name}"
                )
            return self._last_ms(f"{name} {way}", slot_ns, read_stamps(stamps))

    def _last_ms(self, name: str, slot_ns: int, stamps: list[int]) -> float:
        if len(stamps) != COUNT or stamps[0] < slot_ns:
            raise BenchmarkError(f"{name}: {len(stamps)} starts instead of {COUNT}, or one before its slot")
        if stamps[0] - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        self.firsts_ms[name].append((stamps[0] - slot_ns) / 1e6)
        self.medians_ms[name].append((statistics.median(stamps) - slot_ns) / 1e6)
        return (stamps[-1] - slot_ns) / 1e6


def are_there() -> bool:
    """Tell whether the others can be run; say why not."""
    try:
        install()
    except BenchmarkError as error:
        print(f"without the others: {error}", file=sys.stderr)
        return False
    return True


def measure(quick: bool) -> None:
    """Measure all ways in turn."""
    herds = Herds()
    contestants = {"floor": herds.floor, "shell": herds.shell, "direct": herds.direct}
    peers = [(name, way) for name in PEERS for way in AIMS] if are_there() else []
    contestants |= {f"{name} {way}": partial(herds.peer, name, way) for name, way in peers}
    measured = in_turn(3 if quick else 7, contestants)
    table = [("way", "first ms", "median ms", "last ms", "ratio", "aim")]
    figures = []
    labels = {"floor": "C, sh -c", "shell": "taskman, shell", "direct": "taskman, no shell"}
    labels |= {f"{name} {way}": f"{name}, {'no ' * (way == 'direct')}shell" for name, way in peers}
    for name, label in labels.items():
        ratio = paired_ratio(measured[name], measured["floor"])
        first_ms = statistics.median(herds.firsts_ms[name])
        median_ms, last_ms = statistics.median(herds.medians_ms[name]), statistics.median(measured[name])
        times = (f"{first_ms:.1f}", f"{median_ms:.0f}", f"{last_ms:.0f}")
        table.append((label, *times, f"{ratio:.2f}", AIMS.get(name, "")))
        if name in AIMS:
            figures.append(Figure(f"herd.{name}", ratio, AIMS[name]))
    figures.append(Figure("herd.first_ms", statistics.median(herds.firsts_ms["direct"]), FIRST_AIM))
    for name, way in peers:
        against, ours = measured[f"{name} {way}"], measured[way]
        if way == "shell":  # the same string, of which only taskman leaves out the shell
            ratio = paired_ratio(measured["direct"], against)
            figures.append(Figure(f"herd.string_to_{name.lower()}", ratio, "<= 1"))
        # For a list, APScheduler's threads do no more than the C loop.
        aim = "<= 1" if name == "cronstable" else ""
        figures.append(Figure(f"herd.{way}_to_{name.lower()}", paired_ratio(ours, against), aim))
    print_report(
        f"{COUNT} jobs due in the same second, {WIDTH} wide: from the slot to the start", table, figures
    )


if __name__ == "__main__":
    main(measure, __doc__)

"""How late is a start after 2 s and after 60 s of idling, compared with the same wait and spawn in C?

Time-outs of epoll fire 0.1 % of the wait late, so a scheduler that sleeps on one is 60 ms late after a
minute. Ours and the floor (an absolute timerfd, then vfork + exec) run side by side: their slots alternate,
half an interval apart, so both are measured on the same machine in the same minutes, and each has idled for
the whole interval. How late a start was is stamped by the command itself, a tiny C program.
"""

from __future__ import annotations

import statistics
import subprocess
from typing import TYPE_CHECKING

from harness import BenchmarkError, Figure, compile_c, main, print_report, read_stamps, slot_in
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

AIM = "<= 1.5"
SECOND_NS = 1_000_000_000


def lateness_ms(slots_ns: Sequence[int], stamps_ns: Sequence[int]) -> list[float]:
    """Return how late each stamp is after its slot; both are in order of time."""
    if len(slots_ns) != len(stamps_ns):
        raise BenchmarkError(f"{len(stamps_ns)} starts for {len(slots_ns)} slots")
    late = [(stamp - slot) / 1e6 for slot, stamp in zip(slots_ns, stamps_ns, strict=True)]
    if min(late) < 0:
        raise BenchmarkError(f"a start {-min(late):.1f} ms before its slot")
    return late


def alternate(interval_s: int, count: int) -> tuple[list[float], list[float]]:
    """Let the floor and taskman each start once every `interval_s`, `count` times; return ms late of each."""
    interval_ns = interval_s * SECOND_NS
    # The first wait is as long as the others, less the start-up.
    floor_first_ns = slot_in(interval_s + 1)
    ours_first_ns = floor_first_ns + interval_ns // 2
    floor_slots = [floor_first_ns + turn * interval_ns for turn in range(count)]
    our_slots = [ours_first_ns + turn * interval_ns for turn in range(count)]
    stamp = str(compile_c("stamp"))
    with work_directory() as directory:
        floor_stamps, our_stamps = directory / "floor", directory / "ours"
        jobs = [job(f"job-{slot}", at_ns=slot, command=[stamp, str(our_stamps)]) for slot in our_slots]
        jobs.append('[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n')
        command = [
            str(compile_c("on_time")),
            str(floor_first_ns),
            str(interval_ns),
            str(count),
            stamp,
            str(floor_stamps),
        ]
        floor = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            with Taskman(directory, "".join(jobs)) as taskman:
                # One look a second: each look would warm the machine up for the start that it waits for.
                taskman.wait_until(
                    lambda: len(read_stamps(our_stamps)) == count,
                    timeout_s=interval_s * (count + 2) + 10,
                    what="all starts",
                    poll_s=1.0,
                )
            floor.wait(10)
        finally:
            floor.kill()
            floor.wait()
        return lateness_ms(floor_slots, read_stamps(floor_stamps)), lateness_ms(
            our_slots, read_stamps(our_stamps)
        )


def measure(quick: bool) -> None:
    """Measure short waits, and long ones unless `quick`."""
    plan = {2: 10} if quick else {2: 20, 60: 4}
    table = [("after idling", "C ms late", "taskman ms late", "slowest ms", "ratio")]
    figures = []
    for interval_s, count in plan.items():
        floor, ours = alternate(interval_s, count)
        ratio = statistics.median(ours) / statistics.median(floor)
        table.append(
            (
                f"{interval_s} s",
                f"{statistics.median(floor):.2f}",
                f"{statistics.median(ours):.2f}",
                f"{max(ours):.2f}",
                f"{ratio:.2f}",
            )
        )
        figures.append(Figure(f"idle_start.after_{interval_s}s", ratio, AIM))
    print_report(f"one start after idling, medians; aim: ratio {AIM}", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

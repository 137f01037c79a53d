"""How much of a core does the live view take, with two thousand jobs and a hundred results a second?

The jobs run one after the other, a hundred a second, on a terminal of 50 lines and without one, in turn. What
the view takes is the difference of the CPU times of the scheduler, in percent of the time that passed. The
terminal itself is a reader that throws away what it gets.
"""

from __future__ import annotations

import os
import statistics
import termios
import threading
import time
from functools import partial

from harness import BenchmarkError, Figure, in_turn, main, print_report
from procfs import read_usage
from taskman import Taskman, job, work_directory

JOBS, ROUND_S = 2_000, 20
AIM = "<= 3"
#: Seconds before the measurement, in which the view and the pool find their size.
_WARM_UP_S = 3


def _jobs() -> str:
    # A twentieth of them in each second, where jitter spreads them evenly.
    return "".join(
        job(
            f"job-{number}", command=["/bin/true"], jitter="1s",
            cron="{},{},{} * * * * *".format(*range(number % ROUND_S, 60, ROUND_S)),
        )
        for number in range(JOBS)
    )  # fmt: skip


def share(seconds: float, *, is_live: bool) -> float:
    """Return what the scheduler takes of a core, in percent."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (50, 160))
    reader = threading.Thread(target=_read, args=(master,), daemon=True)
    reader.start()
    try:
        with (
            work_directory() as directory,
            Taskman(directory, _jobs(), terminal=slave if is_live else None) as taskman,
        ):
            os.close(slave)
            time.sleep(_WARM_UP_S)
            before, begun = read_usage(taskman.scheduler_pid), time.monotonic()
            # A sleep, so that this process takes nothing.
            time.sleep(seconds)
            used = read_usage(taskman.scheduler_pid) - before
            if is_live and not _drawn:
                raise BenchmarkError("nothing was drawn")
            return used.cpu_ns / 1e7 / (time.monotonic() - begun)
    finally:
        reader.join(5)
        os.close(master)


#: How many bytes were drawn.
_drawn: list[int] = []


def _read(master: int) -> None:
    try:
        while data := os.read(master, 1 << 16):
            _drawn.append(len(data))
    except OSError:  # the other end is closed
        return


def measure(quick: bool) -> None:
    """Measure both in turn."""
    seconds, rounds = (10, 2) if quick else (ROUND_S, 5)
    contestants = {
        name: partial(share, seconds, is_live=name == "live view") for name in ("none", "live view")
    }
    shares = in_turn(rounds, contestants)
    alone, live = shares.values()
    extra = statistics.median(one - other for one, other in zip(live, alone, strict=True))
    table = [("scheduler", "% of a core")]
    table += [(name, f"{statistics.median(values):.1f}") for name, values in shares.items()]
    print_report(
        f"{JOBS:,} jobs, {JOBS // ROUND_S} results a second",
        table,
        [Figure("live_view.share_percent", extra, AIM)],
    )


if __name__ == "__main__":
    main(measure, __doc__)

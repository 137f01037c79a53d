"""What do a hundred thousand jobs cost: while none is due, while a thousand are due a minute, and to list?

Idle: CPU time, wakeups and memory of both processes. Due: a thousand of the jobs run once a minute, spread
over it, or all at its beginning; the lag is how late the loop came to what was due, as the metrics have it
(the upper bound of the bucket that the 99th percentile is in). A list is the whole of `taskman list`, from
the start of the command to its end, and the CPU time of the command and of the scheduler.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from harness import BenchmarkError, Figure, child_environment, main, print_report
from procfs import read_memory, read_usage
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS, DUE = 100_000, 1_000
LAG_AIM, LIST_AIM = "<= 20", "<= 1"
#: Starting takes a few seconds, and many on a busy machine.
_UP_S = 120
_SETTLE_S = 5


def _jobs(count: int) -> str:
    """Return jobs of which none is due soon."""
    hour = (time.gmtime().tm_hour + 12) % 24
    tables = (
        job(f"job-{number}", command=f"/usr/bin/process --shard {number}", cron=f"{number % 60} {hour} * * *")
        for number in range(count)
    )
    # Others that use the machine hold none of them back.
    return '[taskman]\ntimezone = "UTC"\n[pool]\nadmission = "fixed"\n' + "".join(tables)


def _due(**keys: str) -> str:
    """Return jobs that run once a minute."""
    return "".join(
        job(f"due-{number}", command=["/bin/true"], cron="* * * * *", **keys) for number in range(DUE)
    )


def _ask(directory: Path, **request: object) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(directory / "state" / "taskman.sock"))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as replies:
            found: dict[str, Any] = json.loads(replies.readline())
    return found


def _wait_until_up(taskman: Taskman, directory: Path) -> None:
    def is_up() -> bool:
        try:
            return bool(_ask(directory, do="status")["ok"])
        except OSError:
            return False

    taskman.wait_until(is_up, timeout_s=_UP_S, what="the scheduler")


def idle(window_s: float, lists: int) -> tuple[list[tuple[str, str]], list[Figure]]:
    """Measure a scheduler that has nothing to do but to list its jobs."""
    with work_directory() as directory, Taskman(directory, _jobs(JOBS), log_level="error") as taskman:
        _wait_until_up(taskman, directory)
        time.sleep(_SETTLE_S)
        before = taskman.usage()
        time.sleep(window_s)
        used = taskman.usage() - before
        memory = read_memory(taskman.supervisor_pid) + read_memory(taskman.scheduler_pid)
        cpu_ms = used.cpu_ns / 1e6 * 60 / window_s
        rows = [
            ("idle: CPU ms a minute", f"{cpu_ms:.1f}"),
            ("idle: wakeups a minute", f"{used.wakeups * 60 / window_s:.0f}"),
            ("MB (RSS)", f"{memory.rss_bytes / 1e6:.0f}"),
            ("bytes a job (PSS)", f"{memory.pss_bytes / JOBS:.0f}"),
        ]
        times = list(_lists(taskman, directory, lists))
    took_s, command_s, scheduler_s = (statistics.median(values) for values in zip(*times, strict=True))
    rows.append(("a list: s", f"{took_s:.2f}"))
    rows.append(("a list: CPU s of command, scheduler", f"{command_s:.2f} + {scheduler_s:.2f}"))
    return rows, [
        Figure("armed.idle_cpu_ms_a_minute", cpu_ms),
        Figure("armed.rss_mb", memory.rss_bytes / 1e6),
        Figure("armed.list_s", took_s, LIST_AIM),
        Figure("armed.list_cpu_s", command_s + scheduler_s, LIST_AIM),
    ]


def _lists(taskman: Taskman, directory: Path, count: int) -> Iterator[tuple[float, float, float]]:
    command = [sys.executable, "-m", "taskman_cli", "list"]
    environment = child_environment(STATE_DIRECTORY=str(directory / "state"))
    for _ in range(count):
        scheduler, own, begun = read_usage(taskman.scheduler_pid), os.times(), time.perf_counter()
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        took_s, after = time.perf_counter() - begun, os.times()
        if done.stdout.count("\n") != JOBS + 1:
            raise BenchmarkError("the list is not whole")
        command_s = after.children_user + after.children_system - own.children_user - own.children_system
        yield took_s, command_s, (read_usage(taskman.scheduler_pid) - scheduler).cpu_ns / 1e9


def lag_ms(window_s: float, **keys: str) -> tuple[float, float]:
    """Return the 99th percentile of the loop's lag, and CPU microseconds of both processes for a run."""
    text = _jobs(JOBS - DUE) + _due(**keys)
    with work_directory() as directory, Taskman(directory, text, log_level="error") as taskman:
        _wait_until_up(taskman, directory)
        # Of the minute that it starts in, a part of the slots is before its time.
        time.sleep(60 - time.time() % 60 + _SETTLE_S)
        before, used = _ask(directory, do="metrics"), taskman.usage()
        time.sleep(window_s)
        after, used = _ask(directory, do="metrics"), taskman.usage() - used
        runs = after["counters"]["succeeded"] - before["counters"]["succeeded"]
        if runs < DUE * window_s / 60 * 0.9:
            raise BenchmarkError(f"only {runs} runs in {window_s:.0f} s")
    counts = [
        late - early
        for late, early in zip(after["loop_lag"]["counts"], before["loop_lag"]["counts"], strict=True)
    ]
    left = sum(counts) * 0.99
    for bound_ns, count in zip([*after["loop_lag"]["bounds_ns"], float("inf")], counts, strict=True):
        left -= count
        if left <= 0:
            return bound_ns / 1e6, used.cpu_ns / 1e3 / runs
    raise BenchmarkError("the loop was never woken")


def measure(quick: bool) -> None:
    """Measure an idle scheduler, and two that are at work."""
    rows, figures = idle(15 if quick else 60, 3 if quick else 5)
    window_s = 60 if quick else 120
    for name, keys in (("spread", {"jitter": "60s"}), ("together", {})):
        lag, cpu_us = lag_ms(window_s, **keys)
        rows.append((f"{DUE:,} due a minute, {name}: 99 % of wakings within, ms", f"{lag:g}"))
        rows.append((f"{DUE:,} due a minute, {name}: CPU µs a run", f"{cpu_us:.0f}"))
        figures.append(Figure(f"armed.lag_p99_ms_{name}", lag, LAG_AIM))
    print_report(f"{JOBS:,} jobs", [("what", ""), *rows], figures)


if __name__ == "__main__":
    main(measure, __doc__)

"""What do both processes cost while nothing is due: CPU, wakeups and memory over a minute with 100 jobs?

A wakeup is a voluntary context switch of any thread: a thread that went to sleep and was woken. The memory of
both processes is given as RSS, which counts shared pages twice, and as PSS, which counts them once. There is
no terminal.
"""

from __future__ import annotations

import time

from harness import Figure, compile_c, main, print_report, read_stamps, slot_in
from procfs import Memory, Usage, read_memory, read_usage
from taskman import Taskman, job, work_directory

JOBS = 100
#: Pause between the first run and the measurement, for what follows a run, such as a commit.
SETTLE_S = 5.0
WAKEUPS_AIM = "<= 1"
MEMORY_AIM = "<= 40"


def write_jobs(stamp: str, stamps: str, slot_ns: int) -> str:
    """Return a job file of one run at `slot_ns` and `JOBS` jobs that are hours away."""
    hour = time.gmtime(slot_ns // 1_000_000_000).tm_hour
    text = '[taskman]\ntimezone = "UTC"\n' + job("ready", at_ns=slot_ns, command=[stamp, stamps])
    for number in range(JOBS - 1):
        name, command = f"job-{number}", f"/usr/bin/printf 'job %s' {number}"
        if number % 2:
            text += job(name, command=command, every=f"{6 + number % 12}h")
        else:
            text += job(name, command=command, cron=f"{number % 60} {(hour + 4 + number % 16) % 24} * * *")
    return text


def idle(window_s: float) -> tuple[list[Usage], list[Memory]]:
    """Return what supervisor and scheduler used in a window of idling, and what they hold at its end."""
    with work_directory() as directory:
        stamps = directory / "stamps"
        text = write_jobs(str(compile_c("stamp")), str(stamps), slot_in(2))
        with Taskman(directory, text) as taskman:
            taskman.wait_until(lambda: bool(read_stamps(stamps)), timeout_s=30, what="the first run")
            time.sleep(SETTLE_S)
            before = [read_usage(pid) for pid in taskman.pids]
            time.sleep(window_s)
            after = [read_usage(pid) for pid in taskman.pids]
            memories = [read_memory(pid) for pid in taskman.pids]
    return [late - early for late, early in zip(after, before, strict=True)], memories


def measure(quick: bool) -> None:
    """Start taskman, let it do one run, leave it idle for a minute, and read what that cost."""
    window_s = 15 if quick else 60
    # A short run first, so that all modules are compiled and the memory is that of later starts.
    idle(window_s=0)
    table = [("process", "CPU ms", "wakeups", "RSS MB", "PSS MB")]
    usages, memories = idle(window_s)
    total_usage, total_memory = usages[0] + usages[1], memories[0] + memories[1]
    rows = zip(
        ("supervisor", "scheduler", "together"),
        (*usages, total_usage),
        (*memories, total_memory),
        strict=True,
    )
    for name, usage, memory in rows:
        rss_mb, pss_mb = memory.rss_bytes / 1e6, memory.pss_bytes / 1e6
        table.append(
            (name, f"{usage.cpu_ns / 1e6:.2f}", str(usage.wakeups), f"{rss_mb:.1f}", f"{pss_mb:.1f}")
        )
    per_minute = 60 / window_s
    figures = [
        Figure("idle.supervisor_wakeups_a_minute", usages[0].wakeups * per_minute, WAKEUPS_AIM),
        Figure("idle.scheduler_wakeups_a_minute", usages[1].wakeups * per_minute, WAKEUPS_AIM),
        Figure("idle.cpu_ms_a_minute", total_usage.cpu_ns / 1e6 * per_minute),
        Figure("idle.rss_mb", total_memory.rss_bytes / 1e6, MEMORY_AIM),
        Figure("idle.pss_mb", total_memory.pss_bytes / 1e6, MEMORY_AIM),
    ]
    aims = f"aim: {WAKEUPS_AIM} wakeup a minute each, {MEMORY_AIM} MB together"
    print_report(f"{window_s} s of idling with {JOBS} jobs; {aims}", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

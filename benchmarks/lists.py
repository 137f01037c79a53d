"""How much do clients that list two thousand jobs each second delay starts?

Jobs are due one after the other and each records when it started; two thousand others are not due. Nobody
asks; or ten clients ask for the list of all jobs once a second each, at different moments, and read it as
fast as they can; or ten ask and stop reading. The aim is for the 99th percentile of the lateness with ten
clients, in milliseconds, with the delay beside it: what that is more than without, in the same round.

Then how long the whole list takes a client of an idle scheduler, and how much CPU time of the scheduler.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from harness import BenchmarkError, Figure, compile_c, in_turn, main, print_report, read_stamps, slot_in
from procfs import read_usage
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS, CLIENTS = 2_000, 10
SPACING_NS = 40_000_000
LATENESS_AIM = "<= 1"
LIST = b'{"do": "list"}\n'

#: The process of the clients; its arguments are the socket, their number, and whether they read. It prints
#: "ready" after the first whole list.
_CLIENTS = f"""
import selectors, socket, sys, time
path, count, reads = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "read"
poll = selectors.DefaultSelector()
due, told = [], False
begun = time.monotonic()
for place in range(count):
    sock = socket.socket(socket.AF_UNIX); sock.connect(path); sock.setblocking(False)
    poll.register(sock, selectors.EVENT_READ)
    due.append([begun + place / count, sock])
if not reads:
    for _, sock in due: sock.send({LIST!r})
    print("ready", flush=True)
    time.sleep(1e6)
while True:
    now = time.monotonic()
    for item in due:
        if item[0] <= now:
            item[0] += 1
            item[1].send({LIST!r})
    for key, _ in poll.select(max(0, min(due)[0] - time.monotonic())):
        data = key.fileobj.recv(1 << 20)
        if not data: sys.exit("the scheduler has hung up")
        if data.endswith(b"\\n") and not told:
            told = True
            print("ready", flush=True)
"""


def _jobs() -> str:
    return "".join(
        job(
            f"other-{number}", command=["/bin/true"], every="24h", description=f"the job number {number}",
            tags=["other", f"tag-{number % 50}"],
        )
        for number in range(JOBS)
    )  # fmt: skip


def lateness_ms(count: int, clients: int, *, do_read: bool = True) -> float:
    """Return the 99th percentile of how late `count` jobs start, in milliseconds."""
    with work_directory() as directory:
        stamp, path = str(compile_c("stamp")), directory / "stamps"
        slot_ns = slot_in(6)
        slots = [slot_ns + number * SPACING_NS for number in range(count)]
        text = "".join(
            job(f"job-{number}", at_ns=at_ns, command=(stamp, str(path)))
            for number, at_ns in enumerate(slots)
        )
        with Taskman(directory, text + _jobs(), log_level="error") as taskman:
            process = _clients(taskman, directory, clients, do_read=do_read) if clients else None
            try:
                if time.time_ns() > slot_ns:
                    raise BenchmarkError("the clients were not there by the first slot")
                taskman.wait_until(
                    lambda: len(read_stamps(path)) >= count, timeout_s=60 + count, what="all starts"
                )
                if process is not None and process.poll() is not None:
                    raise BenchmarkError("the clients have left")
            finally:
                if process is not None:
                    process.kill()
                    process.wait()
        late = [stamped - due for stamped, due in zip(sorted(read_stamps(path)), slots, strict=True)]
    return statistics.quantiles(late, n=100)[98] / 1e6


def _clients(taskman: Taskman, directory: Path, count: int, *, do_read: bool) -> subprocess.Popen[bytes]:
    path = str(directory / "state" / "taskman.sock")
    taskman.wait_until(lambda: _is_there(path), timeout_s=30, what="the control socket")
    process = subprocess.Popen(
        [sys.executable, "-c", _CLIENTS, path, str(count), "read" if do_read else "stop"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        process.kill()
        process.wait()
        raise BenchmarkError("the clients got no list")
    return process


def _is_there(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
    except OSError:
        return False
    return True


def whole_lists(rounds: int) -> Iterator[tuple[float, float, int]]:
    """List all jobs of an idle scheduler; yield milliseconds, those of its CPU, and bytes of the reply."""
    with work_directory() as directory, Taskman(directory, _jobs(), log_level="error") as taskman:
        path = str(directory / "state" / "taskman.sock")
        taskman.wait_until(lambda: _is_there(path), timeout_s=30, what="the control socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(path)
            with sock.makefile("rb") as replies:
                for number in range(rounds + 1):
                    before, begun = read_usage(taskman.scheduler_pid), time.perf_counter()
                    sock.sendall(LIST)
                    line = replies.readline()
                    took_ms = (time.perf_counter() - begun) * 1000
                    used = read_usage(taskman.scheduler_pid) - before
                    if len(json.loads(line)["jobs"]) != JOBS:
                        raise BenchmarkError("the list is not whole")
                    if number:  # the first one warms up
                        yield took_ms, used.cpu_ns / 1e6, len(line)


def measure(quick: bool) -> None:
    """Measure starts with and without clients in turn, and lists of an idle scheduler."""
    count, rounds = (150, 2) if quick else (500, 5)
    contestants = {
        "nobody": partial(lateness_ms, count, 0),
        f"{CLIENTS} clients": partial(lateness_ms, count, CLIENTS),
        f"{CLIENTS} that stop reading": partial(lateness_ms, count, CLIENTS, do_read=False),
    }
    late = in_turn(rounds, contestants)
    alone, asked, stopped = late.values()
    delay_ms = statistics.median(one - other for one, other in zip(asked, alone, strict=True))
    lists = [*whole_lists(5 if quick else 20)]
    took_ms, cpu_ms, size_bytes = (statistics.median(values) for values in zip(*lists, strict=True))
    table = [("who lists", "99 % of starts within, ms")]
    table += [(name, f"{statistics.median(values):.2f}") for name, values in late.items()]
    print_report(
        f"{JOBS:,} jobs, {count} due {SPACING_NS / 1e6:.0f} ms apart\n"
        f"a list of {size_bytes / 1000:,.0f} KB: {took_ms:.1f} ms, {cpu_ms:.1f} ms of the scheduler's CPU",
        table,
        [
            Figure("lists.lateness_p99_ms", statistics.median(asked), LATENESS_AIM),
            Figure("lists.stopped_p99_ms", statistics.median(stopped), LATENESS_AIM),
            Figure("lists.delay_ms", delay_ms),
            Figure("lists.cpu_ms", cpu_ms),
        ],
    )


if __name__ == "__main__":
    main(measure, __doc__)

"""How much do clients that list two thousand jobs each second delay starts?

Jobs are due one after the other and each records when it started; two thousand others are not due. Nobody
asks; or ten clients ask for the list of all jobs once a second each, at different moments, and read it as
fast as they can; or ten ask and stop reading. The floor is a C program that starts the same command on a
timer, also in a session of its own, in the same seconds, between our starts. The aim is for the 99th
percentile of the lateness with ten clients beyond that of the floor, in milliseconds, all rounds together;
the delay beside it is what that is more than with nobody.

A virtual machine may be ten times slower for some milliseconds (measured: 0.1 ms of arithmetic takes one,
without a gap, even under a real-time priority), and the 99th percentile of what takes longer than the floor
would tell of that alone. So another C program does such a piece every five milliseconds, and the starts of
both in moments in which it took twice as long as usual are left out; their share is printed. On a busy
machine most of the lateness is the wait of a new session behind what computes, see docs/systemd.md.

Then how long the whole list takes a client of an idle scheduler, and how much CPU time of the scheduler.
"""

from __future__ import annotations

import json
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from harness import BenchmarkError, Figure, compile_c, main, print_report, read_stamps, slot_in
from procfs import read_usage
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

JOBS, CLIENTS = 2_000, 10
SPACING_NS = 40_000_000
#: How often the machine's own pace is looked at: some milliseconds before and after each start.
PACE_NS = 5_000_000
_PACES = SPACING_NS // PACE_NS
#: Its pace is slow from so many times what the quicker half usually needs.
_SLOW = 2
#: With fewer calm moments, nothing can be said.
_LEAST_CALM = 0.5
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


class Starts(NamedTuple):
    """How late starts were in moments in which the machine was not slow by itself, in nanoseconds."""

    ours: list[int]
    floor: list[int]
    #: How many there were in all, ours and those of the floor.
    count: int

    def __add__(self, other: object) -> Starts:
        """Return those of both."""
        assert isinstance(other, Starts)
        return Starts(self.ours + other.ours, self.floor + other.floor, self.count + other.count)

    @property
    def slow_share(self) -> float:
        """Return the share of the moments that were left out."""
        return 1 - (len(self.ours) + len(self.floor)) / self.count


def calm_moments(paces: Sequence[int], count: int, *, first: int) -> list[bool]:
    """Tell for `count` moments whether the machine was slow: just before each, and twice after it.

    `paces` is how long a piece of work took; `first` is the one before the first moment.
    """
    usual = statistics.median(sorted(paces)[: len(paces) // 2])
    return [
        max(paces[place : place + 3]) < _SLOW * usual
        for place in range(first, first + count * _PACES, _PACES)
    ]


def measure_starts(count: int, clients: int, *, do_read: bool = True) -> Starts:
    """Return how late `count` jobs start, and as many of the floor."""
    with work_directory() as directory:
        stamp = str(compile_c("stamp"))
        ours, floor, paces = (directory / name for name in ("ours", "floor", "paces"))
        slot_ns = slot_in(6)
        slots = [slot_ns + number * SPACING_NS for number in range(count)]
        text = "".join(
            job(f"job-{number}", at_ns=at_ns, command=(stamp, str(ours)))
            for number, at_ns in enumerate(slots)
        )
        between_ns = slot_ns + SPACING_NS // 2
        programs = {
            "on_time": ("-s", between_ns, SPACING_NS, count, stamp, floor),
            # Between the moments, so that it takes no start's processor.
            "pace": (slot_ns - PACE_NS // 2, PACE_NS, (count + 1) * _PACES, paces),
        }
        with Taskman(directory, text + _jobs(), log_level="error") as taskman, ExitStack() as processes:
            process = _clients(taskman, directory, clients, do_read=do_read) if clients else None
            if process is not None:
                processes.callback(_end, process)
            others = []
            for name, arguments in programs.items():
                other = subprocess.Popen(
                    [str(compile_c(name)), *map(str, arguments)], stdin=subprocess.DEVNULL
                )
                processes.callback(_end, other)
                others.append(other)
            if time.time_ns() > slot_ns - PACE_NS:
                raise BenchmarkError("the clients were not there by the first slot")
            taskman.wait_until(
                lambda: len(read_stamps(ours)) >= count, timeout_s=60 + count, what="all starts", poll_s=0.5
            )
            if process is not None and process.poll() is not None:
                raise BenchmarkError("the clients have left")
            if any(other.wait(30) for other in others):
                raise BenchmarkError("a program of the floor has failed")
        found = list(struct.unpack(f"={(count + 1) * _PACES}q", paces.read_bytes()))
        half = _PACES // 2
        return Starts(
            _lateness(ours, slots, calm_moments(found, count, first=0)),
            _lateness(
                floor,
                [slot + SPACING_NS // 2 for slot in slots],
                calm_moments(found, count, first=half),
            ),
            2 * count,
        )


def _lateness(path: Path, slots: Sequence[int], calm: Sequence[bool]) -> list[int]:
    """Return how late the starts were that a file has, those in calm moments."""
    stamps = read_stamps(path)
    return [stamped - due for stamped, due, is_calm in zip(stamps, slots, calm, strict=True) if is_calm]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


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


def _p99_ms(late_ns: Sequence[int]) -> float:
    return statistics.quantiles(late_ns, n=100)[98] / 1e6


def measure(quick: bool) -> None:
    """Measure starts with and without clients in turn, and lists of an idle scheduler."""
    count, rounds = (150, 3) if quick else (500, 5)
    contestants = {
        "nobody": (0, True),
        f"{CLIENTS} clients": (CLIENTS, True),
        f"{CLIENTS} that stop reading": (CLIENTS, False),
    }
    found = dict.fromkeys(contestants, Starts([], [], 0))
    for _ in range(rounds):
        for name, (clients, do_read) in contestants.items():
            found[name] += measure_starts(count, clients, do_read=do_read)
    table = [("who lists", "median ms", "99 %", "floor", "99 %", "beyond it", "left out")]
    beyond = []
    for name, starts in found.items():
        if starts.slow_share > 1 - _LEAST_CALM:
            raise BenchmarkError(f"this machine was slow by itself in {starts.slow_share:.0%} of the moments")
        p99, floor_p99 = _p99_ms(starts.ours), _p99_ms(starts.floor)
        beyond.append(p99 - floor_p99)
        medians = (statistics.median(values) / 1e6 for values in (starts.ours, starts.floor))
        cells = [f"{value:.2f}" for value in (*medians, p99, floor_p99, p99 - floor_p99)]
        table.append((name, cells[0], cells[2], cells[1], *cells[3:], f"{starts.slow_share:.1%}"))
    alone, asked, stopped = beyond
    lists = [*whole_lists(5 if quick else 20)]
    took_ms, cpu_ms, size_bytes = (statistics.median(values) for values in zip(*lists, strict=True))
    print_report(
        f"{JOBS:,} jobs, {count * rounds} due {SPACING_NS / 1e6:.0f} ms apart; floor: a C program\n"
        f"a list of {size_bytes / 1000:,.0f} KB: {took_ms:.1f} ms, {cpu_ms:.1f} ms of the scheduler's CPU",
        table,
        [
            Figure("lists.lateness_p99_ms", asked, LATENESS_AIM),
            Figure("lists.stopped_p99_ms", stopped, LATENESS_AIM),
            Figure("lists.alone_p99_ms", alone),
            Figure("lists.delay_ms", asked - alone),
            Figure("lists.cpu_ms", cpu_ms),
        ],
    )


if __name__ == "__main__":
    main(measure, __doc__)

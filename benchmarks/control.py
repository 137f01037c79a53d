"""How much do clients of the control socket delay starts, and how long do they wait for answers?

Lateness: jobs are due one after the other and each records when it started, without clients and with 200.
Some clients ask for the status again and again, some ask and never read, some send half a line and sleep,
some send invalid requests. The ratio is that of the 99th percentiles, with clients to without.

Round trip of `status`: of an idle scheduler, and of one with 1,000 jobs due at the same moment.
The whole of `taskman status` is compared with `python -c 'import click'`.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from harness import (
    BenchmarkError,
    Figure,
    child_environment,
    compile_c,
    in_turn,
    main,
    paired_ratio,
    print_report,
    read_stamps,
    slot_in,
)
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLIENTS = 200
SPACING_NS = 40_000_000
#: Pause between two requests, as for a client that watches.
THINK_S = 0.5
HERD = 1_000
STATUS = b'{"do": "status"}\n'
LIST = b'{"do": "list"}\n'
HOLD = '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
LATENESS_AIM, STATUS_AIM = "<= 1.5", "<= 2"

#: The process of the clients; its arguments are the path of the socket and their number.
CROWD = f"""
import itertools, selectors, socket, sys, time
path, count = sys.argv[1], int(sys.argv[2])
def connected():
    sock = socket.socket(socket.AF_UNIX); sock.settimeout(10); sock.connect(path); return sock
def send(sock, data):
    try: sock.send(data)
    except OSError: pass
socks = [connected() for _ in range(count)]
for sock in socks: sock.setblocking(False)
print("ready", flush=True)
for turn in itertools.count():
    for place, sock in enumerate(socks):
        kind = place % 4
        if kind == 0:
            try: sock.recv(1 << 16)
            except OSError: pass
            send(sock, {STATUS!r})
        elif kind == 1: send(sock, {LIST!r})  # and never reads
        elif kind == 2: send(sock, b"" if turn else b'{{"do": "sta')
        else:
            try: sock.recv(1 << 16)
            except OSError: pass
            send(sock, b"junk\\n")
        time.sleep({THINK_S} / count)
"""


def lateness_us(count: int, clients: int) -> float:
    """Return the 99th percentile of how late `count` jobs start, in microseconds."""
    with work_directory() as directory:
        stamp, path = str(compile_c("stamp")), directory / "stamps"
        slot_ns = slot_in(4)
        slots = [slot_ns + number * SPACING_NS for number in range(count)]
        text = HOLD + "".join(
            job(f"job-{number}", at_ns=at_ns, command=(stamp, str(path)))
            for number, at_ns in enumerate(slots)
        )
        with Taskman(directory, text, log_level="error") as taskman:
            _connected(taskman, directory).close()
            crowd = _crowd(directory, clients)
            try:
                if time.time_ns() > slot_ns:
                    raise BenchmarkError("the clients were not there by the first slot")
                taskman.wait_until(
                    lambda: len(read_stamps(path)) >= count, timeout_s=60 + count, what="all starts"
                )
            finally:
                if crowd is not None:
                    crowd.kill()
                    crowd.wait()
        late = [stamped - due for stamped, due in zip(sorted(read_stamps(path)), slots, strict=True)]
    return statistics.quantiles(late, n=100)[98] / 1000


def _crowd(directory: Path, clients: int) -> subprocess.Popen[bytes] | None:
    if not clients:
        return None
    crowd = subprocess.Popen(
        [sys.executable, "-c", CROWD, str(directory / "state" / "taskman.sock"), str(clients)],
        stdout=subprocess.PIPE,
    )
    assert crowd.stdout is not None
    if crowd.stdout.readline() != b"ready\n":
        crowd.kill()
        crowd.wait()
        raise BenchmarkError("the clients could not connect")
    return crowd


def _connected(taskman: Taskman, directory: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)

    def connect() -> bool:
        try:
            sock.connect(str(directory / "state" / "taskman.sock"))
        except OSError:
            return False
        return True

    taskman.wait_until(connect, timeout_s=30, what="the control socket")
    return sock


def round_trips_us(taskman: Taskman, directory: Path, *, seconds: float) -> list[float]:
    """Ask for the status again and again, and return how long each answer took."""
    times = []
    with _connected(taskman, directory) as sock, sock.makefile("rb") as replies:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.perf_counter()
            sock.sendall(STATUS)
            if not json.loads(replies.readline())["ok"]:
                raise BenchmarkError("status was refused")
            times.append((time.perf_counter() - begun) * 1e6)
            time.sleep(0.002)
    return times


def trips(herd: int, *, seconds: float) -> list[float]:
    """Return round trips of an idle scheduler, or of one with many jobs due at the same moment."""
    with work_directory() as directory:
        slot_ns = slot_in(2 + herd / 1000)
        text = HOLD + "".join(
            job(f"job-{number}", at_ns=slot_ns, command=["/bin/true"]) for number in range(herd)
        )
        with Taskman(directory, text, log_level="error") as taskman:
            _connected(taskman, directory).close()
            if herd:
                time.sleep(max(0.0, slot_ns / 1e9 - time.time()))
            return round_trips_us(taskman, directory, seconds=seconds)


def _timed(command: Sequence[str], **environ: str) -> float:
    begun = time.perf_counter()
    subprocess.run(
        command, env=child_environment(**environ), check=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return (time.perf_counter() - begun) * 1000


def measure(quick: bool) -> None:
    """Measure all three."""
    count, rounds = (150, 1) if quick else (300, 3)
    late = in_turn(
        rounds, {"idle": lambda: lateness_us(count, 0), "crowd": lambda: lateness_us(count, CLIENTS)}
    )
    ratio = paired_ratio(late["crowd"], late["idle"])
    figures = [Figure("control.lateness_p99", ratio, LATENESS_AIM)]
    table = [("start lateness", "p99 µs", "ratio")]
    table.append(("no clients", f"{statistics.median(late['idle']):.0f}", ""))
    table.append((f"{CLIENTS} clients", f"{statistics.median(late['crowd']):.0f}", f"{ratio:.2f}"))
    seconds = 1 if quick else 3
    for name, herd in (("idle", 0), (f"herd of {HERD}", HERD)):
        times = trips(herd, seconds=seconds)
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        table.append((f"status, {name}", f"{p99:.0f}", f"(p50 {p50:.0f} µs)"))
    with work_directory() as directory, Taskman(directory, HOLD) as taskman:
        _connected(taskman, directory).close()
        state = {"STATE_DIRECTORY": str(directory / "state")}
        whole = in_turn(
            10 if quick else 40,
            {
                "click": lambda: _timed([sys.executable, "-c", "import click"]),
                "status": lambda: _timed([sys.executable, "-m", "taskman_cli", "status"], **state),
            },
        )
    ratio = paired_ratio(whole["status"], whole["click"])
    figures.append(Figure("control.status", ratio, STATUS_AIM))
    table.append(
        ("taskman status / import click", f"{statistics.median(whole['status']):.0f} ms", f"{ratio:.2f}")
    )
    print_report("the control socket", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

"""How much does a scraper of the metrics delay starts, with ten thousand jobs?

Jobs are due one after the other and each records when it started; thousands of others have series and are not
due. Nobody asks for the metrics; or they are served, and a process asks for them ten times a second, so that
the exporter collects as often as it ever does. The delay is the difference of the 99th percentiles of a
round, in milliseconds. Exporter and scraper take their share of the CPUs, as they would elsewhere.

A portion: the time that a collection takes from the loop for each of its answers, as CPU time of an idle
scheduler; and the slowest answer but one in a hundred, as its client sees it.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from harness import BenchmarkError, Figure, compile_c, in_turn, main, print_report, read_stamps, slot_in
from procfs import read_usage
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 10_000
SPACING_NS = 40_000_000
DELAY_AIM = "<= 5"

#: The scraper; its argument is the socket of the metrics.
_SCRAPER = """
import socket, sys, time
count = 0
while True:
    time.sleep(0.1)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(sys.argv[1])
            sock.sendall(b"GET /metrics HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
            size = sum(map(len, iter(lambda: sock.recv(1 << 16), b"")))
    except OSError:
        continue
    if size > 500_000 and not count:
        count = 1
        print("ready", flush=True)
"""


def _others() -> str:
    return "".join(job(f"other-{number}", command=["/bin/true"], every="24h") for number in range(JOBS))


def lateness_ms(count: int, *, is_scraped: bool) -> float:
    """Return the 99th percentile of how late `count` jobs start, in milliseconds."""
    with work_directory() as directory:
        stamp, path, served = str(compile_c("stamp")), directory / "stamps", directory / "metrics.sock"
        slot_ns = slot_in(12)
        slots = [slot_ns + number * SPACING_NS for number in range(count)]
        text = f'[metrics]\nlisten = "{served}"\n' if is_scraped else ""
        text += "".join(
            job(f"job-{number}", at_ns=at_ns, command=(stamp, str(path)))
            for number, at_ns in enumerate(slots)
        )
        with Taskman(directory, text + _others(), log_level="error") as taskman:
            scraper = _scraper(served) if is_scraped else None
            try:
                if time.time_ns() > slot_ns:
                    raise BenchmarkError("the scraper had no answer by the first slot")
                taskman.wait_until(
                    lambda: len(read_stamps(path)) >= count, timeout_s=60 + count, what="all starts"
                )
            finally:
                if scraper is not None:
                    scraper.kill()
                    scraper.wait()
        late = [stamped - due for stamped, due in zip(sorted(read_stamps(path)), slots, strict=True)]
    return statistics.quantiles(late, n=100)[98] / 1e6


def _scraper(served: Path) -> subprocess.Popen[bytes]:
    scraper = subprocess.Popen([sys.executable, "-c", _SCRAPER, str(served)], stdout=subprocess.PIPE)
    assert scraper.stdout is not None
    if scraper.stdout.readline() != b"ready\n":
        scraper.kill()
        scraper.wait()
        raise BenchmarkError("the metrics are not served")
    return scraper


def portions_ms(rounds: int) -> tuple[float, list[float]]:
    """Collect again and again from an idle scheduler.

    Return its CPU time for an answer, and how long each answer took, in milliseconds.
    """
    found = []
    with work_directory() as directory, Taskman(directory, _others(), log_level="error") as taskman:
        path = str(directory / "state" / "taskman.sock")
        taskman.wait_until(lambda: _is_there(path), timeout_s=30, what="the control socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(path)
            with sock.makefile("rb") as replies:
                for number in range(rounds + 1):
                    if number == 1:  # the first one warms up
                        found.clear()
                        before = read_usage(taskman.scheduler_pid)
                    collection, start = 0, 0
                    while start is not None:
                        request = {"do": "metrics", "collection": collection, "start": start}
                        begun = time.perf_counter()
                        sock.sendall(json.dumps(request).encode() + b"\n")
                        line = replies.readline()
                        found.append((time.perf_counter() - begun) * 1000)
                        reply = json.loads(line)
                        collection, start = reply.get("collection", collection), reply["next"]
            used = read_usage(taskman.scheduler_pid)
    return (used.cpu_ns - before.cpu_ns) / 1e6 / len(found), found


def _is_there(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
    except OSError:
        return False
    return True


def measure(quick: bool) -> None:
    """Measure starts without a scraper and with one, in turn, and the answers of an idle scheduler."""
    count, rounds = (100, 2) if quick else (250, 5)
    contestants = {
        "nobody": lambda: lateness_ms(count, is_scraped=False),
        "a scraper": lambda: lateness_ms(count, is_scraped=True),
    }
    late = in_turn(rounds, contestants)
    delays = [scraped - alone for scraped, alone in zip(late["a scraper"], late["nobody"], strict=True)]
    cpu_ms, answers = portions_ms(3 if quick else 20)
    slowest_ms = statistics.quantiles(answers, n=100)[98]
    table = [("who asks", "99 % of starts within, ms")]
    table += [(name, f"{statistics.median(values):.2f}") for name, values in late.items()]
    print_report(
        f"{JOBS:,} jobs, {count} due {SPACING_NS / 1e6:.0f} ms apart; aim for the delay: {DELAY_AIM} ms\n"
        f"{len(answers):,} portions: {cpu_ms:.2f} ms of CPU each; answered within "
        f"{statistics.median(answers):.2f} ms (median), {slowest_ms:.2f} ms (99 %)",
        table,
        [
            Figure("scrape.delay_ms", statistics.median(delays), DELAY_AIM),
            Figure("scrape.portion_cpu_ms", cpu_ms, DELAY_AIM),
        ],
    )


if __name__ == "__main__":
    main(measure, __doc__)

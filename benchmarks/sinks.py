"""What do three sinks cost: starts a second, and how late a start is, with them and without?

Thousands of one-off jobs are due at the same time and four run at once, as in `starts`. Without sinks; with
three web hooks that are told of problems, as by default; and with three that are told of all, so that each
run makes two reports for each of three receivers while the burst goes on. The receivers are servers on this
machine, in processes of their own, which take their share of the CPUs. A start is as late as the time from
the slot to it: the last start of the burst tells.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
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
    from collections.abc import Iterator

WIDTH = 4
RATE_AIM, DELAY_AIM = ">= 0.95", "<= 1.05"
LOAD_RATE = 1000
SINKS = 3

#: Takes all, and prints the port that it listens on.
_SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def receivers() -> Iterator[list[str]]:
    """Run the servers, and return their URLs."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, env=child_environment(), text=True
        )
        for _ in range(SINKS)
    ]
    try:
        urls = []
        for process in processes:
            assert process.stdout
            urls.append(f"http://127.0.0.1:{int(process.stdout.readline())}/")
        yield urls
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Bursts:
    """Each method runs one burst and returns its starts per second."""

    def __init__(self, count: int, urls: list[str]) -> None:
        self._count = count
        self._urls = urls
        #: How late the last start was, in seconds, by contestant.
        self.delays_s: dict[str, list[float]] = {}

    def none(self) -> float:
        return self._burst("none", "")

    def problems(self) -> float:
        return self._burst("problems", "[]")

    def all(self) -> float:
        return self._burst("all", '["all"]')

    def _burst(self, name: str, on: str) -> float:
        with work_directory() as directory:
            slot_ns = slot_in(2 + self._count / LOAD_RATE)
            first, last = directory / "first", directory / "last"
            stamp = str(compile_c("stamp"))
            text = f'[pool]\nadmission = "fixed"\nmax_workers = {WIDTH}\n'
            if on:
                told = f"on = {on}\n" if on != "[]" else ""
                for number, url in enumerate(self._urls):
                    text += f'[sinks.s{number}]\ntype = "webhook"\nurl = "{url}"\n{told}'
                text += f"[defaults]\nsinks = {[f's{number}' for number in range(SINKS)]}\n"
            text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
            text += job("first", at_ns=slot_ns, command=[stamp, str(first)], priority=10)
            for number in range(self._count):
                text += job(f"job-{number}", at_ns=slot_ns, command=("/bin/true",))
            text += job("last", at_ns=slot_ns, command=[stamp, str(last)], priority=-10)
            with Taskman(directory, text, log_level="warning") as taskman:
                taskman.wait_until(lambda: bool(read_stamps(first)), timeout_s=60, what="the first start")
                taskman.wait_until(lambda: bool(read_stamps(last)), timeout_s=120, what="the last start")
            (first_ns,), (last_ns,) = read_stamps(first), read_stamps(last)
        if first_ns - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        self.delays_s.setdefault(name, []).append((last_ns - slot_ns) / 1e9)
        return (self._count + 1) / ((last_ns - first_ns) / 1e9)


def measure(quick: bool) -> None:
    """Measure without sinks, with three for problems, and with three for all, in turn."""
    count, rounds = (1000, 3) if quick else (2000, 5)
    with receivers() as urls:
        bursts = Bursts(count, urls)
        contestants = {"none": bursts.none, "problems": bursts.problems, "all": bursts.all}
        rates = in_turn(rounds, contestants)
    table = [("sinks told of", "starts /s", "ratio", "last start, s", "ratio")]
    figures = []
    for name in contestants:
        rate, delay = statistics.median(rates[name]), statistics.median(bursts.delays_s[name])
        rate_ratio = paired_ratio(rates[name], rates["none"])
        delay_ratio = paired_ratio(bursts.delays_s[name], bursts.delays_s["none"])
        table.append((name, f"{rate:.0f}", f"{rate_ratio:.3f}", f"{delay:.3f}", f"{delay_ratio:.3f}"))
        if name != "none":
            is_default = name == "problems"
            figures.append(Figure(f"sinks.{name}", rate_ratio, RATE_AIM if is_default else ""))
            figures.append(Figure(f"sinks.{name}_delay", delay_ratio, DELAY_AIM if is_default else ""))
    print_report(
        f"{SINKS} sinks, {WIDTH} wide, {count} due at once; aims for problems: rate {RATE_AIM}, "
        f"delay {DELAY_AIM}",
        table,
        figures,
    )


if __name__ == "__main__":
    main(measure, __doc__)

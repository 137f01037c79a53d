"""How many reports a second does a sink take that catches up?

Some thousand reports are on record. Then one sink after the other is told them all again, as after it was
down: a file, a web hook on this machine, and a program that only exits. The ratio is that of the web hook to
a loop in Python that sends the same number of requests of the same size, each with a connection of its own:
what is missing is the way through two processes and the ledger, where the end of each delivery is on record
before the next begins.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import time
from typing import TYPE_CHECKING, Any

from harness import BenchmarkError, Figure, in_turn, main, paired_ratio, print_report, slot_in
from sinks import receivers
from taskman import Taskman, job, work_directory

if TYPE_CHECKING:
    from pathlib import Path

#: What a report of a run without output is in JSON, roughly.
REPORT_BYTES = 700


class Scene:
    """A scheduler with reports on record for each of its sinks."""

    def __init__(self, taskman: Taskman, directory: Path) -> None:
        self._taskman = taskman
        self._path = str(directory / "state" / "taskman.sock")

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask the scheduler, and return its reply."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(self._path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            reply: dict[str, Any] = json.loads(sock.makefile("rb").readline())
        if not reply["ok"]:
            raise BenchmarkError(reply["error"])
        return reply

    def is_there(self) -> bool:
        """Tell whether the scheduler answers."""
        try:
            self.ask(do="sinks")
        except OSError:
            return False
        return True

    def waiting(self, name: str) -> int:
        """Return how many reports a sink is still to be told."""
        return next(item["waiting"] for item in self.ask(do="sinks")["sinks"] if item["sink"] == name)

    def rate(self, name: str) -> float:
        """Tell a sink all again, and return how many reports a second it took."""
        count = self.ask(do="replay_sink", sink=name, since=1)["reports"]
        begun = time.perf_counter()
        self._taskman.wait_until(
            lambda: self.waiting(name) == 0, timeout_s=300, what=f"all reports at {name}", poll_s=0.05
        )
        return count / (time.perf_counter() - begun)


def floor_rate(url: str, count: int) -> float:
    """Return how many requests a second a plain loop sends."""
    host = url.removeprefix("http://").rstrip("/")
    body = b"x" * REPORT_BYTES
    begun = time.perf_counter()
    for _ in range(count):
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.close()
    return count / (time.perf_counter() - begun)


def measure(quick: bool) -> None:
    """Let each sink catch up, in turn with the loop."""
    count, rounds = (500, 2) if quick else (2_000, 5)
    with work_directory() as directory, receivers() as (url, *_):
        names = ("file", "webhook", "command")
        text = f'[sinks.file]\ntype = "file"\npath = "{directory}/told"\non = ["succeeded"]\n'
        text += f'[sinks.webhook]\ntype = "webhook"\nurl = "{url}"\non = ["succeeded"]\n'
        text += '[sinks.command]\ntype = "command"\ncommand = ["/bin/true"]\non = ["succeeded"]\n'
        text += f'[defaults]\nsinks = {json.dumps(names)}\n[jobs.hold]\nevery = "24h"\ncommand = "true"\n'
        slot_ns = slot_in(2 + count / 1000)
        text += "".join(job(f"job-{number}", at_ns=slot_ns, command=["/bin/true"]) for number in range(count))
        with Taskman(directory, text, log_level="warning") as taskman:
            scene = Scene(taskman, directory)
            taskman.wait_until(scene.is_there, timeout_s=30, what="the control socket")
            taskman.wait_until(
                lambda: time.time_ns() > slot_ns
                and all(item["delivered"] >= count for item in scene.ask(do="sinks")["sinks"]),
                timeout_s=300, what="all reports",
            )  # fmt: skip
            contestants = {name: (lambda name=name: scene.rate(name)) for name in names}
            rates = in_turn(rounds, contestants | {"a plain loop": lambda: floor_rate(url, count)})
    table = [("told", "reports /s")]
    table += [(name, f"{statistics.median(found):.0f}") for name, found in rates.items()]
    ratio = paired_ratio(rates["webhook"], rates["a plain loop"])
    print_report(
        f"{count:,} reports on record, one sink after the other", table, [Figure("sink_rate.webhook", ratio)]
    )


if __name__ == "__main__":
    main(measure, __doc__)

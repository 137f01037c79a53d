"""`python tests/e2e/sink_torture.py [--events N] [--seed N]`: five sinks, and everything is killed at random.

Real jobs, real web servers: one that takes all, one that takes its time for each message, one that hangs, one
that is down half of the time, one that answers 500. Scheduler, program and the process of the sinks are
killed with SIGKILL at random until there are so many events. Then all servers take what they are sent, and
each must have got every event at least once, with one key for each, in the order of each job; the memory of
neither the scheduler nor the process of the sinks may have grown with the events: not from the first
schedulers to the last, which have them all in their ledger, nor while all is delivered in the end. Takes some
ten minutes for 10,000 events.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from e2e.receivers import Receiver, receivers
from e2e.running import Running
from e2e.test_sinks import courier, job, rows, sink
from process_table import kill, resident_bytes
from wait import wait_until

_BEHIND = "SELECT 1 FROM sinks WHERE cursor < (SELECT max(seq) FROM reports)"
MANNERS = ("ok", "slow", "hang", "down", "refuse")
#: How long the slow one takes for a message: a digest has many.
SLOW_S = 5.0
#: By how much the process of the sinks may grow, in MiB: its sinks, and a digest of a thousand reports.
GROWTH_MIB = 64
#: By how much the scheduler may: messages of a thousand reports, and what it reads ahead.
SCHEDULER_GROWTH_MIB = 32


def job_file(servers: list[Receiver], *, every: str) -> str:
    """Return jobs that make events all the time, for all sinks."""
    text = '[taskman]\nkeep_events = 1_000_000\n[pool]\nadmission = "fixed"\nmax_workers = 8\n'
    for name, server in zip(MANNERS, servers, strict=True):
        digest = ['digest = "1s"'] if name in ("slow", "hang") else []
        attempts = "attempts = 2"
        options = ['on = ["all"]', 'repeat = "every"', 'timeout = "8s"', attempts, *digest]
        text += sink(name, server.url, *options)
    names = f"sinks = {json.dumps(list(MANNERS))}"
    for number in range(6):
        command = "exit 1" if number % 3 == 0 else "echo hello"
        text += job(f"job{number}", command, names, every=every)
    return text


def change_at_random(servers: list[Receiver], stop: threading.Event, chance: random.Random) -> None:
    """Let the one that is down be up half of the time."""
    down = servers[MANNERS.index("down")]
    while not stop.wait(chance.uniform(0.2, 1)):
        down.manner = "ok" if down.manner == "down" else "down"


def resident_mib(pid: int) -> float:
    """Return how much memory a process uses."""
    return resident_bytes(pid) / 2**20


class Memory:
    """How much memory schedulers used, one after the other, just before they were killed."""

    def __init__(self) -> None:
        self._found_mib: list[float] = []

    def look(self, running: Running) -> None:
        """Look at the scheduler that lives now, if it does."""
        if found := resident_mib(running.scheduler_pid()):
            self._found_mib.append(found)

    def growth_mib(self) -> float:
        """Return by how much the most of the last quarter is more than the most of the first."""
        quarter = max(1, len(self._found_mib) // 4)
        return max(self._found_mib[-quarter:]) - max(self._found_mib[:quarter])


def torture(directory: Path, *, events: int, seed: int) -> str:
    """Do it, and return what was found in words; AssertionError: something is lost, twice or out of order."""
    chance = random.Random(seed)
    kills, memory = 0, Memory()
    with receivers(*MANNERS) as servers:
        servers[MANNERS.index("slow")].delay_s = SLOW_S
        stop = threading.Event()
        changer = threading.Thread(target=change_at_random, args=(servers, stop, chance), daemon=True)
        changer.start()
        text = job_file(servers, every="100ms")
        count = 0
        while count < events:
            with Running(directory, text, "-q", "--no-live") as running:
                running.scheduler_pid()
                for _ in range(chance.randint(1, 4)):
                    time.sleep(chance.uniform(0.5, 5))
                    memory.look(running)
                    if chance.random() < 0.3:
                        kill(courier(running), signal.SIGKILL)
                    else:
                        running.kill_scheduler()
                    kills += 1
                os.kill(running.process.pid, signal.SIGKILL)
                running.process.wait()
                kills += 1
            with Running(
                directory, job_file(servers, every="1h"), "-q", "--no-live", "--for", "1s"
            ) as running:
                running.end()
                count = rows(running, "SELECT count(*) FROM reports")[0][0]
            print(f"{count:,} events, {kills} kills", flush=True)
        stop.set()
        changer.join()
        for server in servers:
            server.heal()
        with Running(directory, job_file(servers, every="1h"), "-q", "--no-live") as running:
            pid = courier(running)
            scheduler = running.scheduler_pid()
            before_mib, scheduler_mib = resident_mib(pid), resident_mib(scheduler)
            most_mib = scheduler_mib

            def is_done() -> bool:
                nonlocal most_mib
                most_mib = max(most_mib, resident_mib(scheduler))
                return not rows(running, _BEHIND)

            wait_until(is_done, timeout_s=1_200, what="all sinks at the end")
            growth_mib = resident_mib(pid) - before_mib
            scheduler_growth_mib = max(most_mib - scheduler_mib, memory.growth_mib())
            jobs_of = dict(rows(running, "SELECT seq, coalesce(job, '') FROM reports"))
        twice = {}
        for server, manner in zip(servers, MANNERS, strict=True):
            missing = jobs_of.keys() - set(server.seqs)
            assert not missing, f"{manner}: {len(missing):,} events never came: {sorted(missing)[:5]}"
            for name in set(jobs_of.values()):
                order = [seq for seq in server.seqs if jobs_of.get(seq) == name]
                assert order == sorted(order), f"{manner}: the events of {name} came in another order"
            keys: dict[int, set[str]] = {}
            for arrival in server.arrivals:
                for seq in arrival.seqs:
                    keys.setdefault(seq, set()).add(arrival.key)
            assert all(len(found) == 1 for found in keys.values()), f"{manner}: two keys of one event"
            twice[manner] = sum(len(arrival.seqs) for arrival in server.arrivals) - len(jobs_of)
        assert twice["ok"] <= kills, f"{twice['ok']} were repeated after {kills} kills"
        assert growth_mib <= GROWTH_MIB, f"the process of the sinks grew by {growth_mib:.0f} MiB"
        words = f"the scheduler grew by {scheduler_growth_mib:.0f} MiB"
        assert scheduler_growth_mib <= SCHEDULER_GROWTH_MIB, words
    repeated = ", ".join(f"{name} {number:,}" for name, number in twice.items())
    return (
        f"{len(jobs_of):,} events reached each of {len(MANNERS)} sinks over {kills} kills; "
        f"repeated: {repeated}; "
        f"the process of the sinks grew by {growth_mib:.1f} MiB, the scheduler by "
        f"{scheduler_growth_mib:.1f} MiB"
    )


def main() -> None:
    """Run it as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="taskman-sinks-") as name:
        print(torture(Path(name), events=given.events, seed=given.seed))


if __name__ == "__main__":
    main()

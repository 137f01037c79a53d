"""Plays a scenario with several processes, for tests: see `test_simulate_forked`.

    python simulate_forked_driver.py HOURS CPUS [TROUBLE]

Prints what came of it as JSON, and how many of the other players were joined.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import signal
import sys
import time
from typing import Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Execution, Job, Policy, Settings, Task
from taskman_cli.core.schedule import parse_cron
from taskman_cli.simulate import forked
from taskman_cli.simulate.habits import Habits
from taskman_cli.simulate.player import Part, Player, Scenario
from taskman_cli.simulate.work import Hardware

JOBS = [
    Job(
        f"job-{minute}",
        parse_cron(f"{minute}-59/10 * * * *", timezone="UTC"),
        (Task("main", "true", Execution()),),
        Policy(),
    )
    for minute in range(10)
]
GIVEN = {job.id: 90 * SECOND_NS for job in JOBS}
joined = 0


def note_joins() -> None:
    rest = forked.Forked.rest

    def noted(one: forked.Forked, mark: int) -> Part | None:
        global joined
        joined += 1
        return rest(one, mark)

    forked.Forked.rest = noted  # type: ignore[method-assign]


def signal_players(signum: int) -> None:
    fork = forked._fork

    def signalled(*arguments: Any) -> forked.Forked:
        one = fork(*arguments)
        os.kill(one.pid, signum)
        return one

    forked._fork = signalled


def refuse_processes(*, after: int) -> None:
    fork, numbers = os.fork, iter(range(after))

    def refused() -> int:
        if next(numbers, None) is None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = refused


def take_long() -> None:
    """Let the others be at one turn for an hour."""
    forked.play_stretch = lambda *_, **__: time.sleep(3600)  # type: ignore[assignment]


def be_unlike() -> None:
    """Let no state be the same; the first goes on only when all others have ended."""
    first, run, pids = os.getpid(), Player.run, []
    fork = forked._fork

    def noted(*arguments: Any) -> forked.Forked:
        one = fork(*arguments)
        pids.append(one.pid)
        return one

    def run_alone(player: Player, **options: Any) -> None:
        if os.getpid() == first and pids and "to_ns" not in options:
            for pid in pids:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        run(player, **options)

    forked._fork = noted
    forked.Forked.digest = lambda _: b""  # type: ignore[method-assign]
    Player.run = run_alone  # type: ignore[method-assign]


TROUBLES = {
    "": lambda: None,
    "killed": lambda: signal_players(signal.SIGKILL),
    "stopped": lambda: signal_players(signal.SIGSTOP),
    "refused": lambda: refuse_processes(after=0),
    "few": lambda: refuse_processes(after=1),
    "slow": take_long,
    "unlike": be_unlike,
}


def main(hours: str, cpus: str, trouble: str = "") -> None:
    note_joins()
    TROUBLES[trouble]()
    scenario = Scenario(
        JOBS,
        Settings(),
        "UTC",
        1_795_492_800 * SECOND_NS,
        int(hours) * 3600 * SECOND_NS,
        Hardware(2, 1 << 30),
        {},
    )
    habits = Habits(JOBS, history={}, given=GIVEN)
    played = forked.play(scenario, habits, most=lambda: int(cpus), first_turns=300, least_turns=1)
    told = hashlib.sha256(pickle.dumps(played.tally)).hexdigest()
    print(json.dumps({"joined": joined, "attempts": played.tally.attempts, "told": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Plays a scenario with several processes, for tests: see `test_simulate_forked`.

    python simulate_forked_driver.py HOURS CPUS [killed|refused]

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
from typing import Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import Execution, Job, Policy, Settings, Task
from taskman_cli.core.schedule import parse_cron
from taskman_cli.simulate import forked
from taskman_cli.simulate.habits import Habits
from taskman_cli.simulate.player import Part, Scenario
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


def kill_players() -> None:
    fork = forked._fork

    def killed(*arguments: Any) -> forked.Forked:
        one = fork(*arguments)
        os.kill(one.pid, signal.SIGKILL)
        return one

    forked._fork = killed


def refuse_processes() -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    os.fork = fork


def main(hours: str, cpus: str, trouble: str = "") -> None:
    note_joins()
    if trouble == "killed":
        kill_players()
    elif trouble == "refused":
        refuse_processes()
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
    played = forked.play(scenario, habits, cpus=int(cpus), first_turns=300, least_turns=1)
    told = hashlib.sha256(pickle.dumps(played.tally)).hexdigest()
    print(json.dumps({"joined": joined, "attempts": played.tally.attempts, "told": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])

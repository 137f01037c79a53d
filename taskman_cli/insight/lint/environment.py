"""Findings from facts that the caller looked up: missing programs and paths, durations of runs."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from taskman_cli.core.schedule import CronSchedule, Interval
from taskman_cli.core.simplecommand import SHELL_WORDS
from taskman_cli.core.timespec import format_duration
from taskman_cli.insight.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskman_cli.core.model import Job, Task

_FIRST_WORD = re.compile(r"[ \t]*([A-Za-z0-9_./+-]+)(?=[ \t]|$)")
#: The shortest distance between slots is sought among this many.
_SLOTS = 8


def program_of(task: Task) -> str | None:
    """Return the program that a command starts with; None for a shell builtin or anything complex."""
    if not isinstance(task.command, str):
        return task.command[0]
    match = _FIRST_WORD.match(task.command)
    return match[1] if match and match[1] not in SHELL_WORDS else None


def lint_program(job: Job, task: Task, program: str, *, user: str = "") -> Finding:
    """Make the finding for a program that does not exist, or that `user` may not run."""
    where = "is not a program that can be run" if "/" in program else "is not on the PATH of the job"
    if user:
        where = f"is not a program that {user} can run"
    fix = "install it, write its full path, or set PATH in env"
    return Finding(
        "no-such-program", job.id, job.source, job.command_path(task.id), f'"{program}" {where}', fix
    )


#: By key of the job file: the finding's name, and how to fix it.
_MISSING = {
    "cwd": ("no-such-cwd", "create it, or correct cwd"),
    "env_file": ("no-such-env-file", "correct it, or remove it from env_file"),
    "shell": ("no-such-shell", "install it, or correct shell"),
}


def lint_missing(job: Job, task: Task, key: str, message: str) -> Finding:
    """Make the finding for a path in a key that cannot be used."""
    name, fix = _MISSING[key]
    return Finding(name, job.id, job.source, (*job.command_path(task.id)[:-1], key), message, fix)


def lint_search_path(job: Job, task: Task, message: str) -> Finding:
    """Make the finding for a search path into which other users can put programs."""
    fix = "set PATH in env, or trust it (--trust)"
    return Finding("path-of-others", job.id, job.source, job.command_path(task.id), message, fix)


def lint_durations(jobs: Sequence[Job], typical_ns: Mapping[str, int], *, now_ns: int) -> Iterator[Finding]:
    """Yield a finding for each job whose runs typically take longer than the time between slots."""
    for job in jobs:
        taken_ns = typical_ns.get(job.id)
        distance_ns = None if taken_ns is None else _distance(job, now_ns)
        if taken_ns is None or distance_ns is None or taken_ns <= distance_ns:
            continue
        key = "every" if isinstance(job.schedule, Interval) else "cron"
        seconds_ns = taken_ns // 1_000_000 * 1_000_000
        message = (
            f"runs take {format_duration(seconds_ns)}, but slots are {format_duration(distance_ns)} apart"
        )
        fix = 'run it less often, or write every with every_from = "finish"'
        yield Finding("slow-runs", job.id, job.source, (key,), message, fix)


def _distance(job: Job, now_ns: int) -> int | None:
    """Return the shortest time between two upcoming slots."""
    match job.schedule:
        case Interval(every_ns=every_ns, from_finish=False):
            return every_ns
        case CronSchedule() as schedule:
            slots = [now_ns]
            while len(slots) <= _SLOTS and (slot_ns := schedule.next_after(slots[-1])) is not None:
                slots.append(slot_ns)
            return min((b - a for a, b in pairwise(slots[1:])), default=None)
    return None

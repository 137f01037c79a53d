"""What a request names, looked up: who sent it, its job and task, its variables.

A look-up returns what it has found or raises `Refused`; it never answers a client.
"""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.core.limits import excess
from taskman_cli.core.nearest import did_you_mean, meant_or_known
from taskman_cli.errors import EXIT_NOT_FOUND, EXIT_USAGE, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from taskman_cli.control.peers import Client
    from taskman_cli.core.engine.marks import JobHidden
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.sinks import SinkDefinition


#: Among more jobs than this, nobody looks for the one that was meant: it would delay starts.
MOST_SEARCHED = 5_000


def requester(client: Client) -> str:
    """Say who sent a request: "root (uid 0, pid 123)"."""
    try:
        name = pwd.getpwuid(client.uid).pw_name
    except KeyError:
        name = "somebody"
    return f"{name} (uid {client.uid}, pid {client.pid})"


def find_job(jobs: Mapping[str, ArmedJob], hidden: Mapping[str, JobHidden], name: str) -> ArmedJob:
    """Return the job of a name; the refusal says if it was removed."""
    armed = jobs.get(name)
    if armed is None:
        raise no_job(name, jobs, hidden)
    return armed


def no_job(
    name: str, jobs: Collection[str], hidden: Mapping[str, JobHidden], *, what: str = "there is no job {}"
) -> Refused:
    """Return the refusal for a job that does not exist, with the name that was probably meant."""
    if name in hidden and hidden[name].is_all:
        words = f"{name} was removed (taskman remove): `taskman restore {name}` brings it back"
    else:
        hint = meant_or_known(name, jobs) if len(jobs) <= MOST_SEARCHED else ""
        words = what.format(printable(quoted(name))) + hint
    return Refused(words, EXIT_NOT_FOUND)


def check_task(armed: ArmedJob, task_id: str | None) -> None:
    """Check that a job has a task; None names no task."""
    tasks = [task.id for task in armed.job.tasks]
    if task_id is not None and task_id not in tasks:
        words = f"{armed.job.id} has no task {task_id}{did_you_mean(task_id, tasks)}"
        raise Refused(words, EXIT_NOT_FOUND)


def check_sink(name: str, sinks: Iterable[SinkDefinition]) -> None:
    """Check that there is a sink of this name."""
    known = [sink.name for sink in sinks]
    if name not in known:
        words = f"there is no sink {printable(quoted(name))}{did_you_mean(name, known)}"
        raise Refused(words if known else f"{words}: the job files define none", EXIT_NOT_FOUND)


def is_once(armed: ArmedJob | None) -> bool:
    """Tell whether there is a job, and it is a one-off job."""
    return armed is not None and armed.job.is_once


def check_variables(env: Mapping[str, str]) -> None:
    """Check that these can be variables of an environment."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            words = f"env: {name!r} with this value is not a valid environment variable"
            raise Refused(words, EXIT_USAGE)
        if wrong := excess(f"{name}={value}"):
            raise Refused(f"env: {name} is {wrong}", EXIT_USAGE)

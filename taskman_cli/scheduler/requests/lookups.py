"""Who asks, and whether there is what they name; where there is not, they are told. Part of the desk."""

from __future__ import annotations

import json
import pwd
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.errors import EXIT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.control.peers import Client
    from taskman_cli.core.engine.marks import JobHidden
    from taskman_cli.core.engine.timetable import ArmedJob


def by(client: Client) -> str:
    """Say who asks: "root (uid 0, pid 123)"."""
    try:
        name = pwd.getpwuid(client.uid).pw_name
    except KeyError:
        name = "somebody"
    return f"{name} (uid {client.uid}, pid {client.pid})"


def find_job(
    jobs: Mapping[str, ArmedJob], hidden: Mapping[str, JobHidden], name: str, client: Client
) -> ArmedJob | None:
    """Return a job; where there is none of that name, say so, and if it was taken out."""
    armed = jobs.get(name)
    if armed is None:
        client.refuse(no_job(name, jobs, hidden), code=EXIT_NOT_FOUND)
    return armed


def no_job(
    name: str, jobs: Iterable[str], hidden: Mapping[str, JobHidden], *, what: str = "there is no job {}"
) -> str:
    """Say that there is no job of a name, and which is meant if that is likely."""
    if name in hidden and hidden[name].is_all:
        return f"{name} was taken out (taskman remove): `taskman restore {name}` brings it back"
    return what.format(shown(name)) + did_you_mean(name, jobs)


def has_task(armed: ArmedJob, task_id: str | None, client: Client) -> bool:
    """Tell whether a job has a task, if one is named; where it has not, say so."""
    tasks = [task.id for task in armed.job.tasks]
    if task_id is None or task_id in tasks:
        return True
    words = f"{armed.job.id} has no task {task_id}{did_you_mean(task_id, tasks)}"
    client.refuse(words, code=EXIT_NOT_FOUND)
    return False


def shown(name: str) -> str:
    """Return a name as it can stand in a message, whatever somebody gave as one."""
    return name if name and name.isprintable() else printable(json.dumps(name, ensure_ascii=False))


def is_once(armed: ArmedJob | None) -> bool:
    """Tell whether there is a job, and it is a one-hit job."""
    return armed is not None and armed.job.is_once


def bad_variables(env: Mapping[str, str]) -> str | None:
    """Say what is wrong with variables of an environment, or None."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            return f"env: {name!r} cannot be a variable of an environment with this value"
    return None

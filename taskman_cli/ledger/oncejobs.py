"""One-off jobs as the ledger keeps them: from text to a job and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.model import Execution, Job, OnMissed, Overlap, Policy, Task
from taskman_cli.core.schedule import Once, load_zone
from taskman_cli.ledger.values import BadValue, check, is_instant, is_int, is_texts, parsed

if TYPE_CHECKING:
    import sqlite3

#: A one-off is never too late: it runs at the next start, as with at(1).
POLICY = Policy(overlap=Overlap.ALLOW, on_missed=OnMissed.ONCE, start_deadline_ns=None, max_runs=1)


def once_job(
    name: str,
    command: str | tuple[str, ...],
    *,
    at_ns: int,
    timezone: str,
    cwd: str,
    env: dict[str, str],
    umask: int,
    elapsed: bool = False,
    sinks: tuple[str, ...] | list[str] = (),
) -> Job:
    """Make a one-off job: a command with the directory, umask and environment of the request."""
    execution = Execution(cwd=cwd, env=env, inherit_env=False, umask=umask)
    schedule = Once(at_ns, load_zone(timezone), elapsed)
    policy = replace(POLICY, sinks=tuple(sinks)) if sinks else POLICY
    return Job(name, schedule, (Task("main", command, execution),), policy, is_once=True)


def write_once(job: Job) -> str:
    """Return a one-off job as text."""
    assert isinstance(job.schedule, Once)
    task = job.tasks[0]
    values: dict[str, Any] = {
        "command": task.command,
        "at_ns": job.schedule.at_ns,
        "timezone": job.schedule.zone.key,
        "cwd": task.execution.cwd,
        "env": dict(task.execution.env),
        "umask": task.execution.umask,
    }
    if job.schedule.is_elapsed:
        values["elapsed"] = True
    if job.policy.sinks:
        values["sinks"] = list(job.policy.sinks)
    return json.dumps(values)


def read_once_jobs(connection: sqlite3.Connection) -> tuple[Job, ...]:
    """Return the one-off jobs that are not over."""
    rows = connection.execute("SELECT name, job FROM once_jobs ORDER BY rowid")
    return tuple(once_from(name, text) for name, text in rows)


def once_from(name: str, text: str) -> Job:
    """Read a one-off job. Raises ValueError, TypeError, LookupError or ScheduleError for any other text."""
    values = parsed(text)
    command = values.pop("command")
    is_words = isinstance(command, list) and command and all(isinstance(word, str) for word in command)
    if not isinstance(command, str) and not is_words:
        raise BadValue("command is neither a string nor an array of strings")
    job = once_job(name, command if isinstance(command, str) else tuple(command), **values)
    check(is_instant(values["at_ns"]), "at_ns", values["at_ns"])
    check(isinstance(values["cwd"], str), "cwd", values["cwd"])
    check(is_texts(values["env"]), "env", values["env"])
    check(is_int(values["umask"], 0, 0o777), "umask", values["umask"])
    sinks = values.get("sinks", [])
    check(isinstance(sinks, list) and all(isinstance(sink, str) for sink in sinks), "sinks", sinks)
    check(isinstance(values.get("elapsed", False), bool), "elapsed", values.get("elapsed"))
    return job


def read_last_once(connection: sqlite3.Connection) -> int:
    """Return the highest N of the jobs on record named once-N, or 0."""
    query = "SELECT max(CAST(substr(name, 6) AS INTEGER)) FROM job_state WHERE name GLOB 'once-[1-9]*'"
    return connection.execute(query).fetchone()[0] or 0

"""Completions for a shell: names of jobs, tasks, runs, tags, instances and zones, each with a description.

They come from the running scheduler, or else from the ledger. Somebody has pressed the tab key and waits, and
there is no place to show an error: names that are not available at once are not offered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import click
    from click.shell_completion import CompletionItem

T = TypeVar("T")

#: The most that are offered: nobody chooses among more.
_MANY = 1_000
#: How many of the latest runs are offered.
_RUNS = 50
#: How long to wait for the scheduler.
_PATIENCE_S = 0.5


class Name(NamedTuple):
    """Something that can be offered."""

    value: str
    about: str = ""


@dataclass(slots=True)
class KnownNames:
    """All names that can be completed."""

    jobs: list[Name] = field(default_factory=list)
    #: As JOB.TASK.
    tasks: list[Name] = field(default_factory=list)
    runs: list[Name] = field(default_factory=list)
    tags: list[Name] = field(default_factory=list)
    #: Those of `jobs` that are paused, and those that are parked.
    paused: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)


def complete_jobs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of jobs that were not given already."""
    given = ctx.params.get("jobs") or ()
    return _matching([job for job in _known(ctx).jobs if job.value not in given], incomplete)


def complete_selected(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of jobs that `pause` or `resume` would change, and that were not given already."""
    known, given = _known(ctx), ctx.params.get("jobs") or ()
    names = {job.value for job in known.jobs} - known.paused
    if ctx.command.name == "resume":
        names = known.paused | known.parked
    return _matching([job for job in known.jobs if job.value in names and job.value not in given], incomplete)


def complete_tasks(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of jobs, and after a dot those of tasks."""
    known = _known(ctx)
    return _matching(known.tasks if "." in incomplete else known.jobs, incomplete)


def complete_targets(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of jobs and runs, and after a dot those of tasks."""
    known = _known(ctx)
    return _matching(known.tasks if "." in incomplete else [*known.jobs, *known.runs], incomplete)


def complete_outputs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the same, with runs that have ended."""
    found = complete_targets(ctx, param, incomplete)
    told = {item.value for item in found}
    runs: list[Name] = [] if "." in incomplete else _read(ctx, _recent_runs, default=[])
    return found + [item for item in _matching(runs, incomplete) if item.value not in told]


def complete_runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of jobs and runs."""
    known = _known(ctx)
    return _matching([*known.jobs, *known.runs], incomplete)


def complete_removed(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of jobs that were removed, or have removed tasks."""
    return _matching(_read(ctx, _removed, default=[]), incomplete)


def complete_tags(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the tags of jobs."""
    return _matching(_known(ctx).tags, incomplete)


def complete_instances(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of instances."""
    from taskman_cli.control.client import running_directories
    from taskman_cli.instance.directory import instance_names, state_directory

    base = state_directory(os.environ, is_root=os.geteuid() == 0)
    running = {place.name for place in running_directories(base)}
    names = instance_names(base)
    return _matching(
        [Name(name, "running" if name in running else "not running") for name in names], incomplete
    )


def complete_zones(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of time zones, with their offsets now."""
    from datetime import datetime
    from zoneinfo import ZoneInfo, available_timezones

    names = sorted(name for name in available_timezones() if name.startswith(incomplete))
    return _matching([Name(name, f"UTC{datetime.now(ZoneInfo(name)):%z}") for name in names], incomplete)


def complete_signals(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the names of signals."""
    import signal

    names = [
        Name(member.name.removeprefix("SIG"), signal.strsignal(member) or "") for member in signal.Signals
    ]
    return _matching(names, incomplete)


def _matching(names: Iterable[Name], incomplete: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    found = [name for name in names if name.value.startswith(incomplete)]
    return [CompletionItem(name.value, help=name.about or None) for name in found[:_MANY]]


# --- what there is ---


def _known(ctx: click.Context) -> KnownNames:
    """Return the known names, or none if neither source can be read."""
    try:
        return _from_scheduler(_directory(ctx))
    except Exception:  # the boundary of a shell that asks: whatever it is, it has no place to go
        return _read(ctx, _from_ledger, default=KnownNames())


def _read(ctx: click.Context, read: Callable[[sqlite3.Connection], T], *, default: T) -> T:
    """Return what a function reads from the ledger, or the default if it cannot be read."""
    from taskman_cli.ledger.queries.reader import reading

    try:
        with reading(_directory(ctx)) as ledger:
            return read(ledger)
    except Exception:  # the same boundary
        return default


def _directory(ctx: click.Context) -> Path:
    """Return the state directory that the options so far select."""
    from taskman_cli.control.client import running_directories
    from taskman_cli.instance.directory import state_directory

    given = ctx.params.get("state_dir")
    instance = None if given else ctx.params.get("instance")
    directory = state_directory(os.environ, is_root=os.geteuid() == 0, instance=instance, given=given)
    running = [] if given or instance else running_directories(directory)
    return running[0] if len(running) == 1 else directory


def _from_scheduler(directory: Path) -> KnownNames:
    from taskman_cli.control.client import connect
    from taskman_cli.core.protocol import ListJobs

    with connect(directory, patience_s=0) as connection:
        jobs = connection.ask(ListJobs(), timeout_s=_PATIENCE_S)["jobs"]
    tags = [tag for job in jobs for tag in job["tags"]]
    counts = {tag: tags.count(tag) for tag in dict.fromkeys(tags)}
    return KnownNames(
        jobs=[Name(job["job"], _about(job)) for job in jobs],
        tasks=[Name(f"{job['job']}.{task}", _about(job)) for job in jobs for task in job["tasks"]],
        runs=[Name(run, f"{job['job']}, running") for job in jobs for run in job["running"]],
        tags=[Name(tag, "1 job" if count == 1 else f"{count:,} jobs") for tag, count in counts.items()],
        paused={job["job"] for job in jobs if job["pause"] is not None},
        parked={job["job"] for job in jobs if job.get("park")},
    )


def _about(job: dict[str, Any]) -> str:
    """Describe a job: why it is paused, else what it is for, and when it runs."""
    pause = job["pause"]
    if pause is not None:
        return f"paused: {pause['reason']}" if pause["reason"] else "paused"
    if job.get("park"):
        return "parked, since it failed too often"
    return f"{job['description']} ({job['schedule']})" if job["description"] else job["schedule"]


def _from_ledger(ledger: sqlite3.Connection) -> KnownNames:
    from taskman_cli.ledger.queries.attempts import tasks_of
    from taskman_cli.ledger.queries.reader import find_job, job_names

    names = job_names(ledger)
    jobs = [job for job in (find_job(ledger, name) for name in names[:_MANY]) if job is not None]
    return KnownNames(
        jobs=[Name(name) for name in names],
        tasks=[Name(f"{job.name}.{task}") for job in jobs for task in tasks_of(ledger, job.id)],
        runs=_recent_runs(ledger),
    )


def _recent_runs(ledger: sqlite3.Connection) -> list[Name]:
    """Return the latest runs of all jobs."""
    from taskman_cli.cli.render import column_time
    from taskman_cli.core.engine.runs import encode_run_id

    rows = ledger.execute(
        "SELECT r.id, j.name, r.state, r.queued_ns FROM runs r JOIN job_state j ON j.id = r.job"
        " ORDER BY r.id DESC LIMIT ?",
        (_RUNS,),
    ).fetchall()
    return [
        Name(encode_run_id(run), f"{job}, {state.replace('_', ' ')}, {column_time(at_ns, now_ns=at_ns)}")
        for run, job, state, at_ns in rows
    ]


def _removed(ledger: sqlite3.Connection) -> list[Name]:
    """Return the jobs of which something was removed."""
    from taskman_cli.ledger.standing import read_hidden

    return [
        Name(name, "removed" if hidden.is_all else f"tasks removed: {', '.join(hidden.tasks)}")
        for name, hidden in sorted(read_hidden(ledger).items())
    ]

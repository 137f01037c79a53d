"""Completions for a shell: names of jobs, tasks, runs and instances.

They come from the running scheduler, or else from the ledger. Somebody has pressed the tab key and waits, and
there is no place to show an error: names that are not available at once are not offered.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    import click

#: The most that are offered: nobody chooses among more.
_MANY = 1_000
#: How long to wait for the scheduler.
_PATIENCE_S = 0.5


class KnownNames(NamedTuple):
    """All names that can be completed."""

    jobs: list[str]
    #: As JOB.TASK.
    tasks: list[str]
    runs: list[str]


def complete_jobs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of jobs."""
    return _matching(_known(ctx).jobs, incomplete)


def complete_tasks(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of jobs, and after a dot those of tasks."""
    known = _known(ctx)
    return _matching(known.tasks if "." in incomplete else known.jobs, incomplete)


def complete_targets(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of jobs and runs, and after a dot those of tasks."""
    known = _known(ctx)
    return _matching(known.tasks if "." in incomplete else [*known.jobs, *known.runs], incomplete)


def complete_runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of jobs and runs."""
    known = _known(ctx)
    return _matching([*known.jobs, *known.runs], incomplete)


def complete_instances(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of instances."""
    from taskman_cli.instance.directory import instance_names, state_directory

    base = state_directory(os.environ, is_root=os.geteuid() == 0)
    return _matching(instance_names(base), incomplete)


def _matching(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)][:_MANY]


def _known(ctx: click.Context) -> KnownNames:
    """Return the known names, or none if neither source can be read."""
    for source in (_from_scheduler, _from_ledger):
        try:
            return source(_directory(ctx))
        except Exception:  # noqa: S112 - the boundary of a shell that asks: whatever it is, it has no place to go
            continue
    return KnownNames([], [], [])


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
    return KnownNames(
        jobs=[job["job"] for job in jobs],
        tasks=[f"{job['job']}.{task}" for job in jobs for task in job["tasks"]],
        runs=[run for job in jobs for run in job["running"]],
    )


def _from_ledger(directory: Path) -> KnownNames:
    from taskman_cli.core.engine.runs import encode_run_id
    from taskman_cli.ledger.queries.attempts import tasks_of
    from taskman_cli.ledger.queries.reader import find_job, job_names, reading

    with reading(directory) as ledger:
        names = job_names(ledger)
        jobs = [job for job in (find_job(ledger, name) for name in names[:_MANY]) if job is not None]
        tasks = [f"{job.name}.{task}" for job in jobs for task in tasks_of(ledger, job.id)]
        runs = [
            encode_run_id(run)
            for (run,) in ledger.execute("SELECT id FROM runs ORDER BY id DESC LIMIT 50").fetchall()
        ]
    return KnownNames(names, tasks, runs)

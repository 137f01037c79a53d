"""`taskman remove`: take a job, or one of its tasks, out of the running scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import JobTask, JobTaskType, listed
from taskman_cli.cli.render import say
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import Remove

if TYPE_CHECKING:
    from pathlib import Path


@click.command("remove")
@click.argument("target", metavar="JOB[.TASK]", type=JobTaskType(), shell_complete=complete_tasks)
@click.option("--cancel", is_flag=True, help="End what runs of it, too.")
@with_running_directory
def remove(*, directory: Path, target: JobTask, cancel: bool) -> None:
    """Take a job or a task out of the running scheduler.

    The job file stays as it is: `taskman restore` brings back what it still defines. It survives a new start
    and a reload.
    """
    reply = ask(directory, Remove(job=target.job, task=target.task, cancel=cancel))
    name = reply["job"] if reply["task"] is None else f"{reply['job']}.{reply['task']}"
    runs = reply["runs"]
    fate = ("is being ended" if cancel else "goes on") if len(runs) == 1 else None
    fate = fate or ("are being ended" if cancel else "go on")
    rest = f"; {'run' if len(runs) == 1 else 'runs'} {listed(runs, 'of them')} {fate}" if runs else ""
    say(f"removed {name}{rest}")

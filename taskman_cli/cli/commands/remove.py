"""`taskman remove`: remove a job, or one of its tasks, from the running scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import JobTask, JobTaskType, listed
from taskman_cli.cli.render import say
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import Remove

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "remove",
    cls=Command,
    examples={
        "taskman remove backup": "",
        "taskman remove checks.disk": "one task",
        "taskman remove --cancel backup": "its running commands too",
    },
)
@click.argument("target", metavar="JOB[.TASK]", type=JobTaskType(), shell_complete=complete_tasks)
@click.option("--cancel", is_flag=True, help="Also cancel its runs.")
@with_running_directory
def remove(*, directory: Path, target: JobTask, cancel: bool) -> None:
    """Remove a job or a task from the running scheduler.

    The job file is not changed. The job stays removed after a restart and a reload, until `taskman restore`
    brings it back.
    """
    reply = ask(directory, Remove(job=target.job, task=target.task, cancel=cancel))
    name = reply["job"] if reply["task"] is None else f"{reply['job']}.{reply['task']}"
    runs = reply["runs"]
    fate = ("is being cancelled" if cancel else "continues") if len(runs) == 1 else None
    fate = fate or ("are being cancelled" if cancel else "continue")
    rest = f"; {'run' if len(runs) == 1 else 'runs'} {listed(runs, 'of them')} {fate}" if runs else ""
    say(f"removed {name}{rest}")

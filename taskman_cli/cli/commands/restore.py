"""`taskman restore`: restore removed jobs and tasks that the job file still defines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_removed
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import listed
from taskman_cli.cli.render import note, say, show
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import Restore

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "restore",
    cls=Command,
    examples={
        "taskman restore": "everything",
        "taskman restore backup": "",
    },
)
@click.argument("job", metavar="[JOB]", required=False, shell_complete=complete_removed)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def restore(*, directory: Path, job: str | None, as_json: bool) -> None:
    """Restore removed jobs and tasks.

    It restores everything that the job file still defines, or one job with all its tasks. The schedule starts
    again from now.
    """
    reply = ask(directory, Restore(job=job))
    if as_json:
        show({key: reply[key] for key in ("jobs", "tasks")}, (), as_json=True)
        return
    names = [*reply["jobs"], *reply["tasks"]]
    if names:
        say(f"restored {listed(names)}")
    else:
        note("nothing was removed" if job is None else f"nothing of {job} was removed")

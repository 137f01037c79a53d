"""`taskman resume`: resume paused and parked jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import check_selection, listed, with_selection
from taskman_cli.cli.render import say, show
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import Resume

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "resume",
    cls=Command,
    examples={
        "taskman resume backup": "",
        "taskman resume --all": "",
    },
)
@with_selection
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def resume(
    *, directory: Path, jobs: tuple[str, ...], tags: tuple[str, ...], is_all: bool, as_json: bool
) -> None:
    """Resume paused and parked jobs.

    An interval continues with the time that was left when it was paused. Commands that were stopped get
    SIGCONT. The failures of a parked job are counted from none.
    """
    check_selection(jobs, tags, is_all=is_all)
    reply = ask(directory, Resume(jobs=[*jobs], tags=[*tags], all=is_all))
    if as_json:
        show({key: reply[key] for key in ("jobs", "unchanged")}, (), as_json=True)
        return
    if reply["jobs"]:
        say(f"resumed {listed(reply['jobs'])}")
    if reply["unchanged"] and not (is_all and reply["jobs"]):
        say(f"neither paused nor parked: {listed(reply['unchanged'])}")

"""`taskman pause`: no new runs of some jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.instance import with_running_directory
from taskman_cli.cli.instants import until
from taskman_cli.cli.run import Duration
from taskman_cli.cli.scheduler import ask
from taskman_cli.cli.targets import check_selection, listed, with_selection
from taskman_cli.core.protocol import Pause

if TYPE_CHECKING:
    from pathlib import Path


@click.command("pause")
@with_selection
@click.option("--for", "for_ns", type=Duration(), metavar="DUR", help="For so long; else until `resume`.")
@click.option("--reason", default="", metavar="TEXT", help="Why; `list` tells it.")
@click.option("--stop", is_flag=True, help="Stop their running commands too (SIGSTOP), until `resume`.")
@with_running_directory
def pause(
    *,
    directory: Path,
    jobs: tuple[str, ...],
    tags: tuple[str, ...],
    is_all: bool,
    for_ns: int | None,
    reason: str,
    stop: bool,
) -> None:
    """Let jobs have no new runs until they are resumed.

    The slots that pass are skipped as paused. What runs goes on, unless --stop is given. It survives a new
    start of taskman.
    """
    check_selection(jobs, tags, is_all=is_all)
    if for_ns == 0:
        raise click.BadParameter("a pause takes time", param_hint="--for")
    request = Pause(jobs=[*jobs], tags=[*tags], all=is_all, for_ns=for_ns, reason=reason, stop=stop)
    reply = ask(directory, request)
    limit = until(reply["until_ns"], now_ns=time.time_ns())
    if reply["jobs"]:
        click.echo(f"paused {listed(reply['jobs'])} {limit}".rstrip())
    if reply["unchanged"]:
        click.echo(f"paused already: {listed(reply['unchanged'])}")

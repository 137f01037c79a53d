"""`taskman wait`: wait until a run, or all current runs of a job, have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_runs
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import note, say
from taskman_cli.cli.support.run_result import describe_end, exit_code
from taskman_cli.cli.support.scheduler_client import await_ends, note_if_interrupted
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Wait
from taskman_cli.errors import EXIT_TIMED_OUT, ControlError, NotFound

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "wait",
    cls=Command,
    examples={
        "taskman wait backup": "",
        "taskman wait --timeout 10m backup && echo done": "",
    },
)
@click.argument("target", metavar="RUN|JOB", shell_complete=complete_runs)
@click.option(
    "--timeout",
    "timeout_ns",
    type=Duration(),
    metavar="DUR",
    help=f"Stop waiting after this long, and exit with {EXIT_TIMED_OUT}.",
)
@with_running_directory
def wait(*, directory: Path, target: str, timeout_ns: int | None) -> int:
    """Wait until a run, or all current runs of a job, have ended.

    For a one-off job it waits for the run that is still to come. taskman exits with the exit code of the run;
    for several runs, with the code of the first one that did not succeed.
    """
    with connect(directory) as connection, note_if_interrupted("its runs continue"):
        try:
            reply = connection.ask(Wait(target=target, timeout_ns=timeout_ns))
        except ControlError as error:
            end = _on_record(error, directory, target)
        else:
            runs = [target] if reply.get("once") else reply["runs"]
            if reply.get("once"):
                note(f"{target} has not run yet; waiting for its run")
            elif not runs:
                note(f"{target} has no running or queued run")
            end = await_ends(connection, directory, target, runs=runs, timeout_ns=timeout_ns)
    for run in end["runs"]:
        say(describe_end(run))
    if end["timed_out"]:
        note(f"{target} has not ended yet")
        return EXIT_TIMED_OUT
    return next((code for code in map(exit_code, end["runs"]) if code), 0)


def _on_record(error: ControlError, directory: Path, target: str) -> dict[str, Any]:
    """Return how a run ended that was over before the request: the caller cannot know that."""
    from taskman_cli.cli.support.ended_run import ended_run, is_run

    end = ended_run(directory, target) if error.exit_code == NotFound.exit_code and is_run(target) else None
    if end is None:
        raise error
    return {"runs": [end], "timed_out": False}

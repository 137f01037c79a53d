"""`taskman wait`: wait until a run, or all current runs of a job, have ended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_runs
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import note, say, show
from taskman_cli.cli.support.run_result import describe_end, exit_code, nothing_of
from taskman_cli.cli.support.scheduler_client import ask_about, await_ends, note_if_interrupted
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Wait
from taskman_cli.errors import EXIT_TIMED_OUT

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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def wait(*, directory: Path, target: str, timeout_ns: int | None, as_json: bool) -> int:
    """Wait until a run, or all current runs of a job, have ended.

    For a one-off job it waits for the run that is still to come, or says how it ended. RUN may be the
    beginning of its id. taskman exits with the exit code of the run; for several runs, with that of the first
    one that did not succeed.
    """
    with connect(directory) as connection, note_if_interrupted("its runs continue"):
        answer = ask_about(connection, directory, target, partial(Wait, timeout_ns=timeout_ns))
        target, reply = answer.target, answer.reply
        if answer.end is not None:
            end: dict[str, Any] = {"runs": [answer.end], "timed_out": False}
        else:
            runs = [target] if reply.get("once") else reply["runs"]
            if reply.get("once"):
                note(f"{target} has not run yet; waiting for its run")
            elif not runs:
                note(nothing_of(target))
            end = await_ends(connection, directory, target, runs=runs, timeout_ns=timeout_ns)
    if as_json:
        show({key: end[key] for key in ("runs", "timed_out")}, (), as_json=True)
    else:
        for run in end["runs"]:
            say(describe_end(run))
    if end["timed_out"]:
        note(f"{target} has not ended yet")
        return EXIT_TIMED_OUT
    return next((code for code in map(exit_code, end["runs"]) if code), 0)

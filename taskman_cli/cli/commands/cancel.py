"""`taskman cancel`: cancel a run, all runs of a job, or one task of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_signals, complete_targets
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import SignalType
from taskman_cli.cli.render import note, say, show
from taskman_cli.cli.support.run_result import describe_end, nothing_of
from taskman_cli.cli.support.scheduler_client import ask_about, await_ends, note_if_interrupted
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Cancel

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "cancel",
    cls=Command,
    examples={
        "taskman cancel backup": "",
        "taskman cancel checks.disk": "one task",
        "taskman cancel --signal INT --wait backup": "",
    },
)
@click.argument("target", metavar="RUN|JOB[.TASK]", shell_complete=complete_targets)
@click.option(
    "--signal",
    "signum",
    type=SignalType(),
    metavar="S",
    shell_complete=complete_signals,
    help="Send this signal instead of `kill_signal`.",
)
@click.option("--now", is_flag=True, help="Send SIGKILL at once, and no other signal.")
@click.option("--wait", is_flag=True, help="Wait until all of them have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def cancel(*, directory: Path, target: str, signum: int | None, now: bool, wait: bool, as_json: bool) -> None:
    """Cancel a run, all runs of a job, or one task of them.

    Running commands get their `kill_signal`, then SIGKILL after `kill_timeout`. Queued runs are dropped. RUN
    may be the beginning of its id.
    """
    if now and signum is not None:
        raise click.UsageError("--now sends SIGKILL: leave out --signal", click.get_current_context())
    with connect(directory) as connection:
        request = partial(Cancel, signal=signum, now=now, wait=wait)
        answer = ask_about(connection, directory, target, request)
        target, reply = answer.target, answer.reply
        if answer.end is not None:
            note(f"{describe_end(answer.end)}; there is nothing to cancel")
            reply = {"runs": [answer.end], "jobs": []}
        elif not as_json:
            _tell(reply)
        if not reply["runs"] and not reply.get("jobs"):
            note(nothing_of(target))
        ends = reply["runs"]
        if wait and answer.end is None:
            with note_if_interrupted("it is still being cancelled"):
                runs = [run["run"] for run in ends]
                ends = await_ends(connection, directory, target.partition(".")[0], runs=runs)["runs"]
    if as_json:
        unknown = dict.fromkeys(("exit_code", "signal", "detail"))  # it has not been waited for
        runs = [unknown | run for run in ends]
        show({"runs": runs, "jobs": reply.get("jobs", [])}, (), as_json=True)
    elif wait and answer.end is None:
        for run in ends:
            say(describe_end(run))


def _tell(reply: dict[str, Any]) -> None:
    """Print what is cancelled."""
    for run in reply["runs"]:
        deed = "cancelled queued" if run["state"] == "queued" else "cancelling"
        say(f"{run['job']}: {deed} run {run['run']}")
    for job in reply.get("jobs", ()):
        say(f"{job}: cancelled before its time")

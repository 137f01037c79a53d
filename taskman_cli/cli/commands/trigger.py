"""`taskman trigger`: run a job now, as an extra run or for its next slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import JobTask, JobTaskType, with_env
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import day_and_time, note, say, show
from taskman_cli.cli.support.reply_times import in_seconds, moment
from taskman_cli.cli.support.run_result import describe_end, exit_code, state_of
from taskman_cli.cli.support.scheduler_client import await_end, note_if_interrupted
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import TriggerJob

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from taskman_cli.control.client import Connection


@click.command(
    "trigger",
    cls=Command,
    examples={
        "taskman trigger backup": "",
        "taskman trigger --follow backup": "with its output, until it has ended",
        "taskman trigger --env LEVEL=full --wait backup": "",
    },
)
@click.argument("target", metavar="JOB[.TASK]", type=JobTaskType(), shell_complete=complete_tasks)
@with_env
@click.option("--instead", is_flag=True, help="Run the next slot now instead of at its time.")
@click.option("--force", is_flag=True, help="Start it even if `overlap` would not allow it.")
@click.option("--wait", is_flag=True, help="Wait until it has ended, and exit with its exit code.")
@click.option("--follow", is_flag=True, help="Print its output while it runs; implies --wait.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def trigger(
    *,
    directory: Path,
    target: JobTask,
    variables: tuple[tuple[str, str], ...],
    instead: bool,
    force: bool,
    wait: bool,
    follow: bool,
    as_json: bool,
) -> int:
    """Run a job or one of its tasks now.

    The schedule does not change, unless --instead moves the next slot to now. A paused or parked job runs
    too, and stays paused or parked.
    """
    if follow and as_json:
        raise click.UsageError(
            "--follow prints the output of the run: leave out --json, or give --wait instead of it",
            click.get_current_context(),
        )
    request = TriggerJob(
        job=target.job,
        task=target.task,
        env=dict(variables),
        instead=instead,
        force=force,
        wait=wait or follow,
    )
    with connect(directory) as connection:
        reply = connection.ask(request)
        if reply["paused"]:
            note(f"{reply['job']} is paused, but runs now")
        if reply.get("parked"):  # an older scheduler does not send it
            note(
                f"{reply['job']} is parked: it is tried once, and stays parked until"
                f" taskman resume {reply['job']}"
            )
        going_on = f"the run continues; to cancel it: taskman cancel {reply['run']}"
        with note_if_interrupted(going_on):
            if follow:
                return _follow(connection, reply, directory, target)
            if not as_json:
                say(_words(reply, shown_zone(directory)))
            end = await_end(connection, directory, reply["run"]) if wait else None
    if as_json:
        show(_document(reply, target, end), (), as_json=True)
    elif end is not None:
        say(describe_end(end))
    return exit_code(end) if end is not None else 0


def _document(reply: dict[str, Any], target: JobTask, end: dict[str, Any] | None) -> dict[str, Any]:
    """Return the JSON document."""
    about = {"job": reply["job"], "task": target.task, "run": reply["run"], "slot": moment(reply["slot_ns"])}
    return about | {"paused": reply["paused"]} | state_of(reply, end)


def _follow(connection: Connection, reply: dict[str, Any], directory: Path, target: JobTask) -> int:
    """Print only the output of the run on standard output; return the exit code."""
    from taskman_cli.cli.support.run_output import follow_run

    note(_words(reply, shown_zone(directory)))
    follow_run(directory, reply["run"], target.task)
    end = await_end(connection, directory, reply["run"])
    note(describe_end(end))
    return exit_code(end)


def _words(reply: dict[str, Any], zone: tzinfo | None) -> str:
    state = (
        "is running" if reply["state"] == "running" else "is queued: it waits for a worker or for its turn"
    )
    slot_ns = reply["slot_ns"]
    slot = "" if slot_ns is None else f", for the slot {day_and_time(in_seconds(slot_ns, zone))}"
    return f"{reply['job']}: run {reply['run']} {state}{slot}"

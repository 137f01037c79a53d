"""`taskman remove`: remove a job, or one of its tasks, from the running scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import JobTask, JobTaskType, listed
from taskman_cli.cli.render import note, say, show
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Cancel, Reload, Remove, Show, Status
from taskman_cli.errors import NoScheduler, TaskmanError

if TYPE_CHECKING:
    from taskman_cli.control.client import Connection


@click.command(
    "remove",
    cls=Command,
    examples={
        "taskman remove backup": "",
        "taskman remove checks.disk": "one task",
        "taskman remove --delete extra": "undo `taskman add extra`",
    },
)
@click.argument("target", metavar="JOB[.TASK]", type=JobTaskType(), shell_complete=complete_tasks)
@click.option("--cancel", is_flag=True, help="Also cancel its runs.")
@click.option("--delete", is_flag=True, help="Also delete its file, if that defines nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def remove(*, directory: Path, target: JobTask, cancel: bool, delete: bool, as_json: bool) -> None:
    """Remove a job or a task from the running scheduler.

    The job file is not changed. The job stays removed after a restart and a reload, until `taskman restore`
    brings it back. With --delete, the file that `taskman add` wrote for the job is deleted too, and nothing
    is left to restore.
    """
    if delete and target.task is not None:
        raise click.UsageError("--delete deletes a whole job, not a task", click.get_current_context())
    with connect(directory) as connection:
        if delete:
            reply = _delete(connection, target.job, cancel=cancel)
        else:
            reply = connection.ask(Remove(job=target.job, task=target.task, cancel=cancel))
    if as_json:
        document = {key: reply[key] for key in ("job", "task", "runs")}
        show(document | {"deleted": reply.get("deleted")}, (), as_json=True)
        return
    name = reply["job"] if reply["task"] is None else f"{reply['job']}.{reply['task']}"
    runs = reply["runs"]
    fate = ("is being cancelled" if cancel else "continues") if len(runs) == 1 else None
    fate = fate or ("are being cancelled" if cancel else "continue")
    rest = f"; {'run' if len(runs) == 1 else 'runs'} {listed(runs, 'of them')} {fate}" if runs else ""
    say(f"removed {name}{rest}")
    if "deleted" in reply:
        say(f"deleted {reply['deleted']}")


def _delete(connection: Connection, name: str, *, cancel: bool) -> dict[str, Any]:
    """Delete the file of a job, and let the scheduler read the job files without it."""
    from taskman_cli.cli.support.dropin import taken_away

    shown = connection.ask(Show(job=name))
    if shown["job"]["once"]:
        raise TaskmanError(f"{name} is a one-off job: cancel it instead")
    place = Path(shown["source"])
    if str(place) in connection.ask(Status())["files"]:
        raise TaskmanError(
            f"{place} is the job file that taskman was started with: delete {name} from it yourself, then "
            "`taskman reload`"
        )
    with taken_away(name, place, uid=connection.uid):
        try:
            connection.ask(Reload())
        except NoScheduler:
            note("the scheduler exited before it had read the job files again")
    if cancel and shown["job"]["running"]:
        connection.ask(Cancel(target=name))
    return {"job": name, "task": None, "runs": shown["job"]["running"], "deleted": str(place)}

"""`taskman add`: write a new job to a file that the job file of the running scheduler includes."""

from __future__ import annotations

import time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.commands.reload import warn, warnings_of
from taskman_cli.cli.options.commandline import CommandLine, given_command
from taskman_cli.cli.options.completions import complete_zones
from taskman_cli.cli.options.files import FileName, complete_files
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.moment import instant_ns, read_moment
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import say, show
from taskman_cli.cli.support.scheduler_client import list_jobs
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import ListJobs, Reload, Restore, Status
from taskman_cli.errors import ControlError, NoScheduler, NotFound, TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from taskman_cli.control.client import Connection


@click.command(
    "add",
    cls=CommandLine,
    examples={
        "taskman add tidy --cron '0 4 * * *' 'find ~/.cache -mtime +7 -delete'": "",
        "taskman add disk --every 10m -- df -h /": "",
        "taskman add party --at '31 Dec 23:59' 'echo Happy New Year'": "",
    },
)
@click.argument("name", metavar="NAME")
@click.argument(
    "words", metavar="{COMMAND | -- COMMAND ARGUMENT...}", nargs=-1, shell_complete=complete_files
)
@click.option("--cron", "expression", metavar="EXPR", help="Run it on this cron expression.")
@click.option("--every", "interval", metavar="DUR", help='Run it at this interval: "90s", "1h30m".')
@click.option("--at", "moment", metavar="SPEC", help='Run it once at this time: "tomorrow 8am", or ISO 8601.')
@click.option(
    "--timezone",
    metavar="TZ",
    shell_complete=complete_zones,
    help="Time zone of its schedule (default: that of the job file).",
)
@click.option(
    "--file",
    "file",
    type=FileName(),
    metavar="FILE",
    help="Write this file, which the job file must include.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
@click.pass_context
def add(
    ctx: click.Context,
    *,
    directory: Path,
    name: str,
    words: tuple[str, ...],
    expression: str | None,
    interval: str | None,
    moment: str | None,
    timezone: str | None,
    file: str | None,
    as_json: bool,
) -> None:
    """Add a job in a new file and reload.

    The file is NAME.toml in the directory that the job file of the scheduler includes. COMMAND in quotes runs
    in the shell; the words after -- run without a shell.
    """
    if [expression, interval, moment].count(None) != 2:
        raise click.UsageError("give one of --cron, --every and --at", ctx)
    _check_name(name)
    command = given_command(ctx, words, example=f"taskman add {name} …")
    if command is None:
        raise click.UsageError("no command: give one in quotes for the shell, or after --", ctx)
    job: dict[str, Any] = {
        "cron": expression,
        "every": interval,
        "at": None if moment is None else _time_to_come(moment, timezone, directory),
        "timezone": timezone,
        "command": command,
    }
    from taskman_cli.cli.support.dropin import check, place_of, text_of, write
    from taskman_cli.cli.support.running_options import trust_of

    with connect(directory) as connection:
        status = connection.ask(Status())
        files = _absolute(status, status["files"])
        _refuse_known(connection, name)
        place = Path(file).absolute() if file is not None else place_of(name, files)
        if place.exists():
            raise TaskmanError(f"{place} already exists: choose another name, or edit it and reload")
        text = text_of(name, job)
        crontabs = _absolute(status, status["user_crontabs"])
        check(
            text,
            place,
            files,
            user_crontabs=crontabs,
            skip_bad=status["skip_bad"],
            dialect=status.get("dialect"),  # an older scheduler does not send it
            trust=trust_of(status["pid"]),
        )
        write(text, place)
        reply = _take_in(connection, name, place)
    if as_json:
        show({"job": name, "file": str(place), "warnings": warnings_of(reply, name)}, (), as_json=True)
        return
    warn(reply, name)
    say(f"added {name}: {place}")


def _absolute(status: dict[str, Any], names: Iterable[str]) -> list[Path]:
    """Return the absolute paths of the scheduler's files; they are relative to where it was started."""
    files = [Path(name) for name in names]
    if all(file.is_absolute() for file in files):
        return files
    try:
        directory = Path(f"/proc/{status['pid']}/cwd").readlink()
    except OSError as error:
        raise TaskmanError(
            f"cannot find the scheduler's {files[0]} (process {status['pid']}): {error.strerror}"
        ) from error
    return [directory / file for file in files]


def _take_in(connection: Connection, name: str, place: Path) -> dict[str, Any]:
    """Let the scheduler read the new file, and return its answer; remove the file if it is refused."""
    try:
        reply = connection.ask(Reload())
        if name in _names(connection) or _is_restored(connection, name):
            return reply
    except NoScheduler:
        raise TaskmanError(f"{place} was written, but the scheduler exited before it loaded it") from None
    except TaskmanError:
        place.unlink(missing_ok=True)
        raise
    place.unlink(missing_ok=True)
    raise TaskmanError(f"no job file of the scheduler includes {place}, so it was removed again")


def _is_restored(connection: Connection, name: str) -> bool:
    """Bring back a job of this name that was removed earlier; return False if none was."""
    try:
        connection.ask(Restore(job=name))
    except ControlError as error:
        if error.exit_code != NotFound.exit_code:
            raise
        return False
    return name in _names(connection)


def _refuse_known(connection: Connection, name: str) -> None:
    if name in _names(connection):
        raise TaskmanError(f"a job named {name} already exists (taskman show {name}): choose another name")


def _names(connection: Connection) -> set[str]:
    return set(list_jobs(connection, ListJobs(fields=["job"]), itemgetter("job")))


def _time_to_come(text: str, timezone: str | None, directory: Path) -> datetime:
    """Read the time of a one-off job; "now" would be over when the scheduler reads it."""
    now_ns = time.time_ns()
    at = read_moment(text, now_ns=now_ns, zone=shown_zone(directory), timezone=timezone)
    if instant_ns(at) <= now_ns:
        raise click.BadParameter(
            "the time must be in the future; to run a command now, use `taskman once`", param_hint="--at"
        )
    return at


def _check_name(name: str) -> None:
    from taskman_cli.jobfile.problems import Rejected
    from taskman_cli.jobfile.values import check_name

    try:
        check_name(name, "job")
    except Rejected as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None

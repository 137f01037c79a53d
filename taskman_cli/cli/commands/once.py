"""`taskman once`: run a command once, now or later, in the caller's directory and environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.commandline import CommandLine, command_from_stdin, given_command
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.files import DirectoryName, complete_files
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.moment import check_last, instant_ns, read_moment
from taskman_cli.cli.options.targets import with_env
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import day_and_time, note, say, show
from taskman_cli.cli.support.reply_times import in_seconds, moment
from taskman_cli.cli.support.run_result import describe_end, exit_code, state_of
from taskman_cli.cli.support.scheduler_client import await_begin, await_end, note_if_interrupted
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import RunOnce
from taskman_cli.core.timespec import is_from_now
from taskman_cli.errors import NoScheduler, TaskmanError
from taskman_cli.launch.environment import PRIVATE
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from taskman_cli.control.client import Connection


@click.command(
    "once",
    cls=CommandLine,
    examples={
        "taskman once --in 20m 'echo tea is ready'": "",
        "taskman once --at 'tomorrow 8am' 'make report'": "",
        "taskman once --follow -- df -h /": "now, without a shell, with its output",
    },
)
@click.argument(
    "words", metavar="[COMMAND | -- COMMAND ARGUMENT...]", nargs=-1, shell_complete=complete_files
)
@click.option(
    "--at",
    "moment",
    metavar="SPEC",
    help='Run it at this time: "17:00", "tomorrow 8am", "now + 2 hours", or ISO 8601.',
)
@click.option(
    "--in", "in_ns", type=Duration(), metavar="DUR", help='Run it after this long, such as "90s" or "1h30m".'
)
@click.option("--name", metavar="NAME", help="Name of the one-off job (default: once-N).")
@click.option(
    "--cwd", metavar="DIR", type=DirectoryName(), help="Run it in this directory (default: the current one)."
)
@with_env
@click.option("--wait", is_flag=True, help="Wait until it has ended, and exit with its exit code.")
@click.option("--follow", is_flag=True, help="Print its output while it runs, and exit with its exit code.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--batch",
    is_flag=True,
    help="Start it only when the load is low, as batch(1) does.",
)
@click.option(
    "--sink",
    "sinks",
    metavar="NAME",
    multiple=True,
    help="Tell this sink what becomes of it; may be repeated.",
)
@with_running_directory
@click.pass_context
def once(
    ctx: click.Context,
    *,
    directory: Path,
    words: tuple[str, ...],
    moment: str | None,
    in_ns: int | None,
    name: str | None,
    cwd: str | None,
    variables: tuple[tuple[str, str], ...],
    wait: bool,
    follow: bool,
    as_json: bool,
    batch: bool,
    sinks: tuple[str, ...],
) -> int:
    """Run a command once, now or later.

    COMMAND in quotes runs in the shell; the words after -- run without a shell. Without a command, it is read
    from standard input. It gets the current directory, umask and environment.

    The running scheduler takes the command and keeps it even if it is restarted. If no scheduler runs,
    taskman waits in the foreground, runs the command and exits with its exit code.
    """
    if moment is not None and in_ns is not None:
        raise click.UsageError("give --at or --in, not both", ctx)
    if follow and as_json:
        raise click.UsageError(
            "--follow prints the output of the command: leave out --json, or give --wait instead of it", ctx
        )
    _check_name(name)
    now_ns = time.time_ns()
    zone = shown_zone(directory)
    at_ns = _at_ns(moment, zone, now_ns=now_ns) if moment is not None else None
    if in_ns is not None:
        check_last(now_ns + in_ns, option="--in")
    directory_of_it = _working_directory(cwd)
    command = given_command(ctx, words, example="taskman once") or command_from_stdin(ctx)
    request = RunOnce(
        command=command,
        at_ns=at_ns if in_ns is None else now_ns + in_ns,
        elapsed=in_ns is not None or (moment is not None and is_from_now(moment)),
        name=name,
        cwd=directory_of_it,
        env=_environment(directory_of_it, variables, is_moved=cwd is not None),
        umask=_umask(),
        batch=batch,
        wait=wait or follow,
        sinks=[*sinks],
    )
    try:
        connection = connect(directory)
    except NoScheduler as error:
        from taskman_cli.cli.trial.foreground import run_here

        if _is_held(directory):
            raise  # it runs but does not answer: running the command here would leave it unrecorded
        if sinks:
            raise NoScheduler(f"{error}; only a scheduler has sinks to tell (--sink)") from None
        if as_json:
            raise NoScheduler(f"{error}; with --json the command is not run in the foreground") from None
        note(f"{error}: running the command in the foreground")
        return run_here(request, zone)
    with connection:
        return _hand_over(connection, directory, request, zone, is_followed=follow, as_json=as_json)


def _is_held(directory: Path) -> bool:
    from taskman_cli.instance.lock import holder

    return directory.is_dir() and holder(directory) is not None


def _hand_over(
    connection: Connection,
    directory: Path,
    request: RunOnce,
    zone: ZoneInfo | None,
    *,
    is_followed: bool,
    as_json: bool,
) -> int:
    """Hand the command to the scheduler; return the exit code."""
    reply = connection.ask(request)
    job = reply["job"]
    end = None
    goes_on = "the command is left alone" if is_followed else "the job stays scheduled"
    with note_if_interrupted(f"{goes_on}; to cancel it: taskman cancel {job}"):
        if is_followed:
            note(_words(reply, zone, is_batch=request.batch))
            end = _follow(connection, directory, job, reply["run"])
        else:
            if not as_json:
                say(_words(reply, zone, is_batch=request.batch))
            if request.wait:
                end = await_end(connection, directory, reply["run"] or job)
    if as_json:
        about = {"job": job, "run": end["run"] if end else reply["run"], "at": moment(reply["at_ns"])}
        show(about | state_of(reply, end), (), as_json=True)
    elif end is not None:
        note(describe_end(end))
    return exit_code(end) if end is not None else 0


def _follow(connection: Connection, directory: Path, job: str, run: str | None) -> dict[str, Any]:
    """Print the output of the run of a one-off job, once there is one; return how it ended."""
    from taskman_cli.cli.support.run_output import follow_run

    end = None
    if run is None:
        run, end = await_begin(connection, directory, job)
    if run is not None:
        follow_run(directory, run)
    return end or await_end(connection, directory, run or job)


def _words(reply: dict[str, Any], zone: ZoneInfo | None, *, is_batch: bool) -> str:
    now_ns = time.time_ns()
    run = f", run {reply['run']}" if reply["run"] else ""
    if reply["state"] == "waiting":
        when = countdown(reply["at_ns"] - now_ns)
        if is_batch:
            when = f"{when}, when the load is low" if reply["at_ns"] > now_ns else "when the load is low"
    else:
        when = "running now" if reply["state"] == "running" else "queued"
    return f"{reply['job']}  {day_and_time(in_seconds(reply['at_ns'], zone))}  {when}{run}"


# --- when ---


def _at_ns(text: str, zone: ZoneInfo | None, *, now_ns: int) -> int | None:
    """Read --at; None: now, or the current minute."""
    at_ns = instant_ns(read_moment(text, now_ns=now_ns, zone=zone))
    return at_ns if at_ns > now_ns else None


def _check_name(name: str | None) -> None:
    if name is None:
        return
    from taskman_cli.jobfile.problems import Rejected
    from taskman_cli.jobfile.values import check_name

    try:
        check_name(name, "job")
    except Rejected as error:
        raise click.BadParameter(str(error), param_hint="--name") from None


# --- the caller's directory, environment and umask ---


def _working_directory(given: str | None) -> str:
    """Return the absolute path of the directory to run in."""
    try:
        current = os.getcwd()  # noqa: PTH109 - as a string
    except FileNotFoundError:
        if given is None or not given.startswith("/"):
            raise TaskmanError("the current directory no longer exists: give --cwd") from None
        current = "/"
    if given is None:
        return current
    path = os.path.normpath(os.path.join(current, given))  # noqa: PTH118 - a link's .. would be another one
    if not Path(path).is_dir():
        raise click.BadParameter(f"{path} is not a directory", param_hint="--cwd")
    return path


def _environment(directory: str, variables: tuple[tuple[str, str], ...], *, is_moved: bool) -> dict[str, str]:
    """Return our own environment with the variables of --env."""
    environment = {name: value for name, value in os.environ.items() if name not in PRIVATE}
    if is_moved:
        environment["PWD"] = directory
    return environment | dict(variables)


def _umask() -> int:
    """Return our umask; the system call would have to set it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

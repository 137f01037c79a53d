"""`taskman export`: job files as a crontab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import dialect_option, print_warnings
from taskman_cli.cli.options.files import FileName, job_files
from taskman_cli.cli.render import flush, note, print_data, say, screen, write_bytes, write_shown
from taskman_cli.core.escapes import has_odd_bytes
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import load
from taskman_cli.jobfile.crontab.from_jobs import to_crontab
from taskman_cli.jobfile.crontab.source import Form
from taskman_cli.launch.accounts import own_account

if TYPE_CHECKING:
    from taskman_cli.jobfile import JobFile

_PLAIN = (
    "under cron, runs of a job may overlap, missed runs are not made up for, and commands start in the "
    "home directory with a minimal environment"
)


@click.command(
    "export",
    cls=Command,
    examples={
        "taskman export --crontab jobs.toml": "",
        "taskman export --crontab --system jobs.toml > taskman.cron": "",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@click.option(
    "--crontab",
    "is_crontab",
    is_flag=True,
    required=True,
    help="Write a crontab; there is no other format yet.",
)
@click.option(
    "--system",
    "form",
    flag_value=Form.SYSTEM.value,
    help="Write a system crontab with a column of users, for /etc/cron.d.",
)
@click.option("--user", "form", flag_value=Form.USER.value, help="Write a user's crontab, for crontab(1).")
@dialect_option
def export(*, files: tuple[str, ...], is_crontab: bool, form: str | None, dialect: str | None) -> int:
    """Convert job files to a crontab.

    The crontab goes to standard output. What cron cannot express is reported on standard error with the job
    and the key, and the exit code is 1. The crontab has a column of users if a job names a user, unless you
    give --system or --user. On a terminal, control characters are escaped; a file or a pipe gets every byte.
    Without a FILE it is ./jobs.toml; for root, /etc/taskman/jobs.toml.
    """
    job_file = load([Path(name) for name in job_files(files)], dialect=dialect, is_run_here=False)
    print_warnings(job_file.notes)
    account = own_account()
    own = None if account is None else account.name
    is_system = form == Form.SYSTEM.value if form else _names_a_user(job_file)
    if is_system and own is None:
        raise TaskmanError("your user id has no name, so a system crontab cannot name you")
    exported = to_crontab(job_file.jobs, system=is_system, user=own or "", timezone=_machine_zone(job_file))
    if shown := screen():
        write_shown(shown.feed(exported.text.encode("utf-8", "surrogateescape")) + shown.end())
        flush()
    elif has_odd_bytes(exported.text):
        write_bytes(exported.text.encode("utf-8", "surrogateescape"))  # unchanged: cron accepts any byte
        flush()
    else:
        print_data(exported.text)
    for omission in exported.omissions:
        say(f"taskman: {omission}", err=True)
    if any(line.startswith("CRON_TZ=") for line in exported.text.splitlines()):
        note(
            "only cronie supports CRON_TZ: Debian's cron ignores it and runs the lines in the machine's zone"
        )
    if any(job.policy.overlap != "allow" or job.policy.on_missed != "skip" for job in job_file.jobs):
        note(_PLAIN)
    return 1 if exported.omissions else 0


def _names_a_user(job_file: JobFile) -> bool:
    return any(task.execution.user for job in job_file.jobs for task in job.tasks)


def _machine_zone(job_file: JobFile) -> str:
    """Return the zone of cron, which is the machine's; that of the files if it is unknown."""
    from taskman_cli.errors import ScheduleError
    from taskman_cli.jobfile.settings import local_zone

    try:
        return local_zone().key
    except ScheduleError:
        return job_file.timezone

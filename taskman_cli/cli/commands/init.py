"""`taskman init`: a job file to start from, which runs unchanged."""

from __future__ import annotations

import os
import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import print_data, say

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTER = """\
# What runs, and when. These jobs only print something: replace them with your own.
#
#   taskman check FILE        find errors, and show when each job is due
#   taskman run FILE          run it, and watch; Ctrl-C stops it
#   taskman test JOB FILE     run one job now, as the scheduler would
#   taskman why JOB           explain why it ran, or did not run
#
# All keys: man taskman.toml. For editors that complete them: taskman schema > taskman.schema.json, and
# "#:schema ./taskman.schema.json" as the first line here.

[defaults]                          # any key of a job, for all jobs
timeout = "10m"                     # a longer command gets SIGTERM, then SIGKILL
env = { GREETING = "hello" }        # added to the environment of taskman

[jobs]                              # crontab lines work unchanged
hourly = "0 * * * * df -P"

[jobs.heartbeat]
every = "5s"                        # an interval
run_on_start = true
command = 'echo "$GREETING, it is $(date +%T)"'     # a string runs in the shell

[jobs.backup]
cron = "30 2 * * *"                 # minute, hour, day of month, month, day of week
timezone = "UTC"                    # if left out, the machine's
command = ["echo", "restic", "backup", "/home"]     # an array runs without a shell
retry = { max = 3, delay = "1m", backoff = 2 }      # after a failure, in 1, 2 and 4 minutes
on_missed = "once"                  # if the machine was off at 02:30, run when it is on again

[jobs.reminder]
at = {AT}            # once
command = 'echo "this was your first day with taskman"'

[jobs.sync]
every = "15s"
run_on_start = true
overlap = "skip"                    # if the last run has not ended: skip, queue, allow or replace
command = 'echo "copying"; sleep 4; echo "done"'
output = "capture"                  # shown by: taskman log sync; or inherit, discard
max_output = "64KiB"                # of more output, its head and tail are kept
keep_runs = 20

[jobs.checks]                       # tasks start together, or with mode = "sequence" in turn
every = "20s"
run_on_start = true

[jobs.checks.tasks]
disk = "df -P /"
load = { command = "cat /proc/loadavg", timeout = "5s" }
"""


@click.command(
    "init",
    cls=Command,
    examples={
        "taskman init && taskman check jobs.toml": "",
        "taskman init web.toml": "",
    },
)
@click.argument("file", type=FileName(), default="jobs.toml")
def init(*, file: str) -> None:
    """Write a job file to start from.

    FILE is jobs.toml if left out, or - for standard output. The job file runs as it is, and its jobs show
    something at once. An existing file is never overwritten.
    """
    text = starter(datetime.now().astimezone())
    if file == "-":
        print_data(text)
        return
    path = Path(file)
    if os.path.lexists(path):
        raise click.UsageError(
            f"{file} already exists: name another file, or print the job file with `taskman init -`",
            click.get_current_context(),
        )
    from taskman_cli.cli.support.dropin import write

    write(text, path)
    say(f"taskman: wrote {file}; next:", err=True)
    for line in _next_commands(file):
        say(f"  {line}", err=True)


def starter(now: datetime) -> str:
    """Return the text of a job file to start from; one job in it is due tomorrow."""
    tomorrow = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0, tzinfo=None)
    return _STARTER.replace("{AT}", tomorrow.isoformat())


def _next_commands(file: str) -> Iterator[str]:
    name = shlex.quote(file)
    yield f"taskman check {name}"
    yield f"taskman run {name}"
    yield f"taskman test heartbeat {name}"

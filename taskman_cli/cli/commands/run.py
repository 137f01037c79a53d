"""`taskman run`: become the supervisor of a scheduler that runs job files."""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import crontab_options
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.files import FileName, job_files, trust_option
from taskman_cli.cli.options.instance import with_directory
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.locale import UTF8

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

LEVELS = ("debug", "info", "warning", "error", "critical")

#: The scheduler does not start with fewer; each running command takes some more.
_LEAST_DESCRIPTORS = 32


@click.command(
    "run",
    cls=Command,
    examples={
        "taskman run jobs.toml": "until Ctrl-C",
        "taskman run -i night night.toml": "a second scheduler, with its own state",
        "taskman run --for 8h /etc/crontab": "stop after 8 hours",
    },
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FileName())
@crontab_options
@trust_option
@click.option("--no-live", is_flag=True, help="Print log lines instead of the live view, also on a terminal.")
@click.option("--for", "run_for_ns", type=Duration(), metavar="DURATION", help="Stop after this long.")
@click.option("--until-idle", is_flag=True, help="Stop when nothing runs and nothing is scheduled any more.")
@click.option(
    "--log-level",
    type=OneOf(LEVELS),
    help="Log messages of this level and above (default: info; with the live view: critical).",
)
@with_directory
def run(
    *,
    directory: Path,
    files: tuple[str, ...],
    user_crontabs: tuple[str, ...],
    skip_bad: bool,
    trusted: tuple[str, ...],
    no_live: bool,
    run_for_ns: int | None,
    until_idle: bool,
    log_level: str | None,
) -> NoReturn:
    """Run job files in the foreground.

    A FILE may also be a classic crontab such as /etc/crontab, or a directory of job files or crontabs.
    Without one it is ./jobs.toml; for root, /etc/taskman/jobs.toml.

    On a terminal, a live view shows the queue, the workers and the results; elsewhere, log lines go to
    standard error. Ctrl-C or SIGTERM stops taskman: no new command starts, and running commands get their
    `kill_signal`, then SIGKILL after `kill_timeout`. A second Ctrl-C kills them at once.

    All that happens is recorded in the ledger in the state directory, and the next start continues from
    there. To run two schedulers at the same time, give one of them a name with -i.
    """
    files = job_files(files, user_crontabs)
    _need_descriptors()
    from taskman_cli.instance.directory import make_state
    from taskman_cli.instance.lock import take_lock
    from taskman_cli.scheduler.options import Options
    from taskman_cli.trust import standing_trust
    from taskman_cli.ui.terminal import can_draw

    is_live = not no_live and can_draw(sys.stdout)
    try:
        start = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        raise TaskmanError("the current directory no longer exists: change to another one") from None
    directory = make_state(directory, standing_trust(os.environ, named=trusted))
    lock_fd = take_lock(directory)
    os.set_inheritable(lock_fd, True)
    options = Options(
        files=files,
        state_directory=str(directory),
        is_live=is_live,
        run_for_ns=run_for_ns,
        is_until_idle=until_idle,
        log_level=(log_level or ("critical" if is_live else "info")).lower(),
        user_crontabs=user_crontabs,
        skip_bad=skip_bad,
        start=start,
        trusted=trusted,
    )
    # -P: files in the current directory must not replace modules of ours.
    python = [sys.executable, *UTF8, "-P", "-m"]
    argv = [
        *[*python, "taskman_cli.supervisor", "--lock", str(lock_fd), "--"],
        *[*python, "taskman_cli.scheduler", *options.to_words()],
    ]
    try:
        os.execv(sys.executable, argv)  # noqa: S606 - no shell is wanted
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise TaskmanError(
                f"{len(files) + len(user_crontabs):,} file names are too many for a command line: "
                "give their directory, or one file that includes them"
            ) from None
        raise TaskmanError(f"cannot run {sys.executable}: {error.strerror}") from None


def _need_descriptors() -> None:
    """Raise TaskmanError if the limit on open files is too low for the scheduler to start."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < _LEAST_DESCRIPTORS:
        raise TaskmanError(
            f"the limit on open files is {limit}, but taskman needs {_LEAST_DESCRIPTORS}: "
            "raise it (ulimit -n 1024, or LimitNOFILE= in a systemd unit)"
        )

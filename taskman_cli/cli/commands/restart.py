"""`taskman restart`: start a new scheduler under the same supervisor, for an upgrade."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import say
from taskman_cli.errors import NoScheduler, SchedulerUnresponsive

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    "restart",
    cls=Command,
    examples={
        "taskman restart": "",
        "taskman restart && taskman status": "",
    },
)
@with_running_directory
def restart(*, directory: Path) -> None:
    """Restart the scheduler without disturbing running commands.

    Use it after an upgrade of taskman. Running commands continue, and the new scheduler records how they end.
    It does not read the job files again. The supervisor, which is the parent of the commands, stays the same;
    to upgrade it too, stop taskman and run it again.
    """
    from taskman_cli.control.reach import no_scheduler
    from taskman_cli.instance.lock import holder
    from taskman_cli.instance.silence import STOPPED, in_words, state_of

    pid = holder(directory)
    if pid is None:
        raise no_scheduler(directory)
    if state_of(pid) in STOPPED:
        raise SchedulerUnresponsive(in_words(pid, what="supervisor"))
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        raise NoScheduler(f"the taskman with the state in {directory} is exiting") from None
    except PermissionError:
        raise NoScheduler(
            f"process {pid}, which runs with the state in {directory}, belongs to another user"
        ) from None
    say(f"restarting the scheduler of process {pid}")
